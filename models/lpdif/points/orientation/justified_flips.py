"""Which flips of consistent given normals are kept: of whole closed parts, of inconsistent components.

N points with K neighbours each, as of a cloud. A flip anywhere else would make inconsistent what was consistent.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, Float32Array, FloatArray, IntArray, chunks
from lpdif.points.cloud import Cloud
from lpdif.points.orientation.given_normals import GIVEN
from lpdif.points.orientation.orient_axes import Orientation
from lpdif.points.orientation.priors import NEARLY_ALL
from lpdif.points.orientation.propagation import (
    PROPAGATION,
    all_agreements,
    components_of,
    inconsistent_components,
    neighbour_consistency,
    wall_separations,
)
from lpdif.points.orientation.visibility import scanned_from_within
from lpdif.points.orientation.winding import WINDING
from lpdif.points.spacing import EXACT


class FlipSettings(NamedTuple):
    """Which neighbours do not count for consistency, because they are on another sheet or wall."""

    # There is a wall only if at least this many pairs of neighbours face opposite ways.
    wall_pairs: int = 4
    # Their mean distance along the normals must be at least this many times its standard error.
    wall_errors: float = 6.0


FLIPS = FlipSettings()


def keep_justified_flips(cloud: Cloud, normals: FloatArray, found: Orientation) -> Orientation:
    """The orientation `found` of consistent normals (N, 3) with only those flips that are justified.

    A part that is flipped nearly as a whole stays so if it is closed: by the winding number on it, and by what it adds itself,
    because open sheets over each other add up to that of a solid. A room that was scanned from within is not flipped, though. Flipped
    components of other parts stay so if they were inconsistent with the points beside them. A sheet in front of another does not count
    there, because both may face the same way, nor does the other side of a wall.
    """
    around, flipped = cloud.around, found.signs < 0
    points_of_part = np.bincount(found.part, minlength=len(found.winding))
    whole = np.bincount(found.part, flipped, minlength=len(found.winding)) > NEARLY_ALL * points_of_part
    closed = (found.winding > WINDING.closed) & (np.abs(found.own_winding) > WINDING.closed)
    inside_out = flipped & (whole & closed)[found.part]
    if inside_out.any() and scanned_from_within(cloud.points, normals, cloud.areas):
        inside_out[:] = False

    candidates = flipped & ~whole[found.part]
    component = components_of(candidates, around)
    agreements = all_agreements(cloud.points, normals, around, cloud.reach)
    beside = _agreements_beside(cloud, normals, candidates, agreements)
    beside[_across_walls(cloud, normals, candidates, component)] = 0.0
    inconsistent = inconsistent_components(candidates, component, np.ones(len(flipped)), around, beside)
    signs = np.where(inside_out | inconsistent, -1.0, 1.0)
    return replace(found, signs=signs, consistency=neighbour_consistency(signs, around, agreements))


def _agreements_beside(cloud: Cloud, normals: FloatArray, candidates: BoolArray, agreements: Float32Array) -> Float32Array:
    """Agreements (N, K), with 0 for neighbours in front of one of the candidates (N,), not beside it."""
    around, beside = cloud.around, agreements.copy()
    rows_of = np.flatnonzero(candidates)
    for part in chunks(len(rows_of)):
        rows = rows_of[part]
        cosine = np.einsum("nki,ni->nk", normals[around[rows]], normals[rows])
        in_front = (np.abs(cosine) > PROPAGATION.parallel) & (np.abs(cosine - agreements[rows]) > 2 * PROPAGATION.clear)
        beside[rows] = np.where(in_front, 0.0, agreements[rows])
    return beside


def _across_walls(cloud: Cloud, normals: FloatArray, candidates: BoolArray, component: IntArray) -> BoolArray:
    """(N, K) which neighbours of the candidates (N,) lie on the other side of a wall.

    These are all neighbours that face the other way, if those of them that are no candidates are, on the mean over the component
    (N,), clearly apart from it along the normals.
    """
    around, rows_of = cloud.around, np.flatnonzero(candidates)
    count = int(component.max(initial=-1)) + 1
    moments = np.zeros((3, count))
    facing_away = np.zeros(around.shape, dtype=np.bool_)
    for part in chunks(len(rows_of)):
        rows = rows_of[part]
        distance, opposite = wall_separations(cloud.points, normals, rows, around[rows])
        facing_away[rows] = opposite
        opposite &= ~candidates[around[rows]]
        of = np.repeat(component[rows], opposite.sum(axis=1))
        moments += [np.bincount(of, distance[opposite] ** power, minlength=count) for power in range(3)]
    pairs = np.maximum(moments[0], 1)
    mean = np.abs(moments[1] / pairs)
    deviation = np.sqrt(np.maximum(moments[2] / pairs - mean**2, 0))
    clearly = np.maximum(GIVEN.wall_ratio, FLIPS.wall_errors / np.sqrt(pairs)) * deviation
    walled = (moments[0] >= FLIPS.wall_pairs) & (mean > np.maximum(clearly, EXACT * cloud.spacing))
    return np.asarray(facing_away & walled[component][:, None])
