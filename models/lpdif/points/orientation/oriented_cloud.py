"""What is done to the normals of a cloud before their sides are sought: filling in, strays, walls."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IntArray, chunks
from lpdif.points.cloud import Cloud
from lpdif.points.neighbours import even_rows
from lpdif.points.orientation.blocks import Orientation
from lpdif.points.orientation.given_normals import THINNEST, WALLS, stray_normals
from lpdif.points.orientation.propagation import (
    agreement,
    all_agreements,
    follow_neighbours,
    loose_pieces,
    neighbour_consistency,
    pieces_of,
    separate_walls,
)

log = logging.getLogger("lpdif")

ENOUGH = 0.5  # share of the points that must have a normal, and of these that must be of the surface, for the given ones to count
AMBIGUOUS = 0.3  # accord with its neighbours below which the side of a point is a guess
AMBIGUOUS_PLACES = 5000  # looked at where given normals are kept

WHOLE = 0.9  # share of a part that must be turned over for the part to be
CLOSED = 0.42  # winding number on a part from which it is a solid's

PARALLEL = 0.7  # size of the cosine of two normals, and
IN_FRONT = 0.3  # of the product of their cosines to the line between both points beyond which one lies in front of the other, not beside it
PAIRS = 4  # of such neighbours, at least, tell a wall,
SURELY = 6.0  # times the standard error of its mean that the distance of neighbours facing opposite ways must be to show a wall


def only_well_founded(cloud: Cloud, normals: FloatArray, found: Orientation) -> Orientation:
    """Of the turns of consistent normals those of closed parts that were inside out, and of pieces that did not hang together with what is
    around them: a turn anywhere else would tear what was whole. Nothing is said of a sheet in front of another, as both may face the same way,
    nor of the other side of a wall, when neighbours that face opposite ways are clearly apart.

    A part is closed if the winding number on it says so, and what it adds to that itself: open sheets over each other add up to a solid's.
    """
    over = found.signs < 0
    whole = np.bincount(found.part, over, minlength=len(found.winding)) > WHOLE * np.bincount(found.part, minlength=len(found.winding))
    closed = (found.winding > CLOSED) & (np.abs(found.own) > CLOSED)
    inside_out = over & (whole & closed)[found.part]
    around = cloud.around
    agreements = all_agreements(cloud.points, normals, around, cloud.reach)
    pieces = over & ~whole[found.part]
    beside = agreements.copy()
    turned = np.flatnonzero(pieces)
    for part in chunks(len(turned)):
        rows = turned[part]
        alike = np.einsum("nki,ni->nk", normals[around[rows]], normals[rows])
        in_front = (np.abs(alike) > PARALLEL) & (np.abs(alike - agreements[rows]) > 2 * IN_FRONT)
        beside[rows] = np.where(in_front, 0.0, agreements[rows])
    piece = pieces_of(pieces, around)
    beside[_across_walls(cloud, normals, pieces, piece)] = 0.0
    loose = loose_pieces(pieces, piece, np.ones(len(over)), around, beside)
    signs = np.where(inside_out | loose, -1.0, 1.0)
    return replace(found, signs=signs, accord=neighbour_consistency(signs, around, agreements))


def _across_walls(cloud: Cloud, normals: FloatArray, pieces: BoolArray, piece: IntArray) -> BoolArray:
    """(N, NEIGHBOURS) which neighbours of the points of `pieces` (N,), each of the piece (N,), are on the other side of a wall: all that face
    the other way, if those that are of no piece are, on the mean, clearly apart from this one along the normals."""
    around, rows_of = cloud.around, np.flatnonzero(pieces)
    count = int(piece.max(initial=-1)) + 1
    moments = np.zeros((3, count))
    facing_away = np.zeros(around.shape, dtype=np.bool_)
    for part in chunks(len(rows_of)):
        rows = rows_of[part]
        apart, opposite = separate_walls(cloud.points, normals, rows, around[rows])
        facing_away[rows] = opposite
        opposite &= ~pieces[around[rows]]
        of = np.repeat(piece[rows], opposite.sum(axis=1))
        moments += [np.bincount(of, apart[opposite] ** power, minlength=count) for power in range(3)]
    pairs = np.maximum(moments[0], 1)
    mean = np.abs(moments[1] / pairs)
    deviation = np.sqrt(np.maximum(moments[2] / pairs - mean**2, 0))
    walled = (moments[0] >= PAIRS) & (mean > np.maximum(np.maximum(WALLS, SURELY / np.sqrt(pairs)) * deviation, THINNEST * cloud.spacing))
    return np.asarray(facing_away & walled[piece][:, None])


def stray_rows(cloud: Cloud, normals: FloatArray, usable: BoolArray) -> BoolArray:
    """(N,) which of the given normals, those of (N, 3) that are usable (N,), are not those of the surface; says so."""
    stray = usable & stray_normals(cloud.points, normals, cloud.near.indices, cloud.reach)
    share = stray.sum() / usable.sum()
    if share > 1 - ENOUGH:
        log.info("normals: given, but they do not fit the points (%.3g %% askew); estimated instead", 100 * share)
    elif share:
        log.info("normals: %.3g %% are not those of the surface; left out", 100 * share)
    return stray


def filled_in(cloud: Cloud, given: FloatArray, usable: BoolArray) -> FloatArray:
    """Given normals (N, 3), and where they are not usable (N,) those of planes through the neighbours, on the others' side."""
    axes = np.where(usable[:, None], given, cloud.estimated)
    signs = np.ones(len(axes))
    follow_neighbours(signs, usable, cloud.around, all_agreements(cloud.points, axes, cloud.around, cloud.reach))
    return axes * signs[:, None]


def ambiguous_share(cloud: Cloud, normals: FloatArray) -> float:
    """Share of the points whose normal does not agree with its neighbours', from a sample."""
    rows = even_rows(len(normals), AMBIGUOUS_PLACES)
    agreements = agreement(cloud.points, normals, rows[:, None], cloud.around[rows], cloud.reach)
    return float((agreements.sum(axis=1) < AMBIGUOUS * np.abs(agreements).sum(axis=1)).mean())
