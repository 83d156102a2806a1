"""Normals that came with a scan: do they fit its points, can their signs be trusted, what is missing.

N points, M of them as a sample, k neighbours. The plane of a point is the one fitted to its neighbours.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, chunks
from lpdif.points.cloud import Cloud
from lpdif.points.neighbours import SAMPLE_PLACES, even_rows
from lpdif.points.orientation.blocks import block_extent
from lpdif.points.orientation.priors import MAJORITY, NEARLY_ALL, STRAY_SHARE
from lpdif.points.orientation.propagation import PROPAGATION, agreement, all_agreements, follow_neighbours, wall_separations
from lpdif.points.orientation.winding import WINDING, block_influence
from lpdif.points.spacing import EXACT

log = logging.getLogger("lpdif")


class GivenSettings(NamedTuple):
    """When given normals fit, when their signs are scattered, and when they are those of a solid."""

    # Neighbours lie in a plane, and its axis is known, if their least variance is below this share of the middle one.
    planar: float = 0.1
    # They lie in a very flat plane if it is below this share, as it is not at edges and in thin parts that are scanned coarsely.
    flat: float = 0.03
    # A normal fits where the size of its cosine to the axis of the plane is at least this, and agrees with its neighbours where the
    # mean size of the agreement is. A normal that does neither is wrong; if all are so on the median, none is of this surface.
    fit: float = 0.8
    # A normal on a very flat plane is far off if the size of its cosine to the axis is below this. Where there is no plane, it is wrong if
    # the mean size of its agreement with its neighbours is.
    far_off: float = 0.5
    # Wrong normals are looked for if more than this share of all places has one that is far off. In clean samples of twelve meshes
    # it is .005 at most, and .01 to .023 where 5 % of the normals are wrong.
    far_off_share: float = 0.008

    # Signs are scattered if more normals stand alone than strays do, or neighbours contradict each other in more than this share of the
    # pairs, on the mean.
    contradicting: float = 0.33
    # Walls part the neighbours that contradict each other if the mean of their distance is this many standard deviations.
    wall_ratio: float = 0.3


GIVEN = GivenSettings()


@dataclass(frozen=True)
class NormalQuality:
    """How well given normals fit the points.

    fit              median |cos| between normals and the axes of the planes; 1 for normals that agree with their neighbours, and
                     where too few places have a plane
    contradicting    mean share of the neighbours that a normal clearly contradicts
    alone            share of the normals that almost all their neighbours contradict
    walls            mean distance along the normals between neighbours that face opposite ways, over its standard deviation
    outward          share of the surface where the winding number may be that of a solid
    inward           share of the surface where it is that of a solid that is inside out
    """

    fit: float
    contradicting: float
    alone: float
    walls: float
    outward: float
    inward: float

    @property
    def scattered(self) -> bool:
        """Whether the signs are scattered.

        Across walls thinner than the spacing neighbours contradict each other although their signs are right.
        """
        return self.alone > STRAY_SHARE or (self.contradicting > GIVEN.contradicting and self.walls < GIVEN.wall_ratio)

    @property
    def inside_out(self) -> bool:
        """Whether nearly all normals are those of a solid that is inside out."""
        return self.inward >= NEARLY_ALL


def normal_quality(
    points: FloatArray, normals: FloatArray, areas: FloatArray, indices: IndexArray, spacing: float, reach: FloatArray
) -> NormalQuality:
    """How well unit normals (N, 3) fit points (N, 3).

    areas (N,); indices (N, k) of the neighbours; reach (N,) as in `agreement`. All but the winding number is taken at a sample of
    places, which costs a fraction of finding the neighbours.
    """
    rows = even_rows(len(points), SAMPLE_PLACES)
    cosine, planar, agreements = _against_neighbours(points, normals, rows, indices, reach, GIVEN.planar)
    agreeing = np.abs(agreements).mean(axis=1) >= GIVEN.fit
    clear = np.maximum((np.abs(agreements) > PROPAGATION.clear).sum(axis=1), 1)
    contradicting = (agreements < -PROPAGATION.clear).sum(axis=1) / clear
    winding = surface_winding(points, normals, areas, spacing)
    distance, facing_away = wall_separations(points, normals, rows, indices[rows])
    return NormalQuality(
        fit=float(np.median(np.where(agreeing, 1.0, cosine)[planar])) if planar.mean() >= STRAY_SHARE else 1.0,
        contradicting=float(contradicting.mean()),
        alone=float((contradicting > NEARLY_ALL).mean()),
        walls=mean_over_deviation(distance[facing_away], EXACT * spacing),
        outward=float((winding > WINDING.solid_like).mean()),
        inward=float((winding < -WINDING.closed).mean()),
    )


def mean_over_deviation(values: FloatArray, least: float) -> float:
    """Size of the mean of values (M,) over their standard deviation; 0 if the size is at most `least`."""
    mean = float(np.abs(values.mean())) if len(values) else 0.0
    return mean / max(float(values.std()), 1e-300) if mean > least else 0.0


def wrong_normals(points: FloatArray, normals: FloatArray, indices: IndexArray, reach: FloatArray) -> BoolArray:
    """(N,) which unit normals (N, 3) of points (N, 3) are not normals of the surface there.

    A wrong normal is far from the axis of the plane, or there is no plane (at edges and in noise); and it neither clearly agrees with
    its neighbours nor clearly contradicts them, because along scan lines the plane alone says nothing. None is wrong where so
    few are far off that these may be at the edges of a sound scan. indices (N, k) of the neighbours; reach (N,) as
    in `agreement`.
    """
    rows = even_rows(len(points), SAMPLE_PLACES)
    cosine, flat, agreements = _against_neighbours(points, normals, rows, indices, reach, GIVEN.flat)
    far_off = flat & (cosine < GIVEN.far_off) & (np.abs(agreements).mean(axis=1) < GIVEN.fit)
    if far_off.mean() <= GIVEN.far_off_share:
        return np.zeros(len(points), dtype=np.bool_)
    wrong = np.empty(len(points), dtype=np.bool_)
    for part in chunks(len(points)):
        cosine, planar, agreements = _against_neighbours(points, normals, np.arange(part.start, part.stop), indices, reach, GIVEN.planar)
        size = np.abs(agreements).mean(axis=1)
        wrong[part] = np.where(planar, (cosine < GIVEN.fit) & (size < GIVEN.fit), size < GIVEN.far_off)
    return wrong


def _against_neighbours(
    points: FloatArray, normals: FloatArray, rows: IntArray, indices: IndexArray, reach: FloatArray, flatness: float
) -> tuple[FloatArray, BoolArray, FloatArray]:
    """How the normals of points `rows` (M,) stand to those of their neighbours.

    Returns (M,) |cos| to the axis of the plane, (M,) whether the plane is flatter than `flatness`, the least variance over the middle
    one, and (M, k) the agreement with the neighbours.
    """
    near = points[indices[rows]] - points[rows][:, None]
    centred = near - near.mean(axis=1, keepdims=True)
    variances, axes = np.linalg.eigh(np.swapaxes(centred, 1, 2) @ centred)
    cosine = np.abs(np.einsum("mi,mi->m", axes[:, :, 0], normals[rows]))
    return cosine, variances[:, 0] < flatness * variances[:, 1], agreement(points, normals, rows[:, None], indices[rows], reach)


def surface_winding(
    points: FloatArray, normals: FloatArray, areas: FloatArray, spacing: float, places: int = 400, run: int = 8, blocks: int = 2000
) -> FloatArray:
    """(M,) winding number on the surface at `places` spread over it, averaged over every `run` of these.

    It is the mean of both sides of the surface. Points should be in spatial order, so that the places of a run are near each other.
    It is summed over about so many `blocks`.
    """
    extent = spacing * block_extent(len(points), blocks)
    lattice = np.floor((points - points.min(axis=0)) / extent).astype(np.int64)
    # Blocks do not mix the faces of a sheet: they are split by the direction their normals are nearest to
    longest = np.abs(normals).argmax(axis=1)
    facing = 2 * longest + (np.take_along_axis(normals, longest[:, None], axis=1)[:, 0] > 0)
    key = ((((lattice[:, 0] << 20) + lattice[:, 1]) << 20) + lattice[:, 2]) * 6 + facing
    _, block = np.unique(key, return_inverse=True)
    targets = points[even_rows(len(points), places)]
    count = int(block.max()) + 1
    influence = block_influence(
        points, normals * areas[:, None], areas, block, count, np.full(count, extent), np.full(len(points), spacing), targets
    )
    at_targets = influence.sum(axis=1, dtype=np.float64)
    starts = np.arange(0, len(targets), run)
    means: FloatArray = np.add.reduceat(at_targets, starts) / np.diff(np.append(starts, len(targets)))
    return means


def find_wrong_normals(cloud: Cloud, normals: FloatArray, usable: BoolArray) -> BoolArray:
    """(N,) which of the usable (N,) given normals (N, 3) are not normals of the surface; logs their share."""
    wrong = usable & wrong_normals(cloud.points, normals, cloud.near.indices, cloud.reach)
    share = wrong.sum() / usable.sum()
    if share > 1 - MAJORITY:
        log.info("normals: given, but they do not fit the points (%.3g %% askew); estimated instead", 100 * share)
    elif share:
        log.info("normals: %.3g %% are not those of the surface; left out", 100 * share)
    return wrong


def fill_in_normals(cloud: Cloud, given: FloatArray, usable: BoolArray) -> FloatArray:
    """Given normals (N, 3) where usable (N,); elsewhere estimated axes whose signs follow the neighbours."""
    axes = np.where(usable[:, None], given, cloud.estimated)
    signs = np.ones(len(axes))
    follow_neighbours(signs, usable, cloud.around, all_agreements(cloud.points, axes, cloud.around, cloud.reach))
    return axes * signs[:, None]


def ambiguous_share(cloud: Cloud, normals: FloatArray, places: int = 5000) -> float:
    """Share of the points, from a sample, whose normal does not clearly agree with its neighbours'."""
    rows = even_rows(len(normals), places)
    agreements = agreement(cloud.points, normals, rows[:, None], cloud.around[rows], cloud.reach)
    return float((agreements.sum(axis=1) < PROPAGATION.clear * np.abs(agreements).sum(axis=1)).mean())
