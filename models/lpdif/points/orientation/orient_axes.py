"""Signs for axes: from axes, a prior and the geometry to normals that point outward.

N points, k neighbours, M blocks of points that keep their relative signs, P pairs of these, T targets. The steps, from the small to
the large:
1. every two neighbours have an agreement: whether, and how surely, their axes point to the same side (`propagation`);
2. a spanning tree over the pairs of strongest agreement gives every point a sign (Hoppe et al. 1992);
3. the points are gathered into small blocks (`blocks`). Branches of a tree of blocks are then flipped as long as that lowers an
   energy (`energy`): the winding number on the surface should be near 1/2, as on a solid, neighbours should agree, and the prior
   be kept. That mends the tree of step 2, and finds the outside of every part, of nested shells too;
4. the points that are in no block follow their neighbours, which stand for them in the winding number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, Float32Array, FloatArray, IndexArray, IntArray
from lpdif.points.neighbours import SAMPLE_PLACES, SAMPLE_POINTS, even_rows
from lpdif.points.orientation.blocks import BLOCKS, Blocks, block_extent, make_blocks
from lpdif.points.orientation.energy import Energy, minimise, spanning_forest
from lpdif.points.orientation.propagation import (
    PROPAGATION,
    all_agreements,
    follow_neighbours,
    mirror_reach,
    neighbour_consistency,
    spanning_signs,
    sparseness,
)
from lpdif.points.orientation.winding import block_influence, summed


class OrientationSettings(NamedTuple):
    """Where the winding number is computed, and how much it counts."""

    # A target is on a closed surface if the winding number, averaged over its block and the neighbours, is nearer to 1/2 than this.
    closed_tolerance: float = 0.25
    # A scan is closed if at least this share of the targets is on a closed surface.
    closed_share: float = 0.75
    # Weight of the winding number at targets on an open surface, relative to those on a closed one.
    open_weight: float = 0.05


ORIENTATION = OrientationSettings()


@dataclass(frozen=True)
class Orientation:
    """What is known of the signs of N axes.

    signs (N,)             +1 or -1
    consistency (N,)       agreement of each point with its neighbours, times both signs, -1 to 1
    part (N,)              number of the connected part of each point
    winding (parts,)       mean winding number on each part: about 1/2 where it is closed, about 0 where it is open and flat
    own_winding (parts,)   the share of it that the part itself adds
    """

    signs: FloatArray
    consistency: FloatArray
    part: IntArray
    winding: FloatArray
    own_winding: FloatArray


def orient_axes(
    points: FloatArray,
    axes: FloatArray,
    areas: FloatArray,
    indices: IndexArray,
    spacing: float,
    noise: FloatArray,
    start: FloatArray | None = None,
    prior: FloatArray | None = None,
    solid: bool = True,
) -> Orientation:
    """Signs that turn axes (N, 3) into outward normals.

    points (N, 3), areas (N,) of surface that each point stands for, indices (N, k) of its nearest, noise (N,).
    start (N,): signs to begin with, instead of the spanning tree's. prior (N,): for the sign of each axis, positive for +1; its
    size counts against one point's squared distance of the winding number from 1/2. solid: False where the surface as a whole is
    known to have no inside, so that the winding number counts little.
    """
    reach = mirror_reach(spacing, noise)
    agreements = all_agreements(points, axes, indices, reach)
    signs = spanning_signs(points, axes, indices, agreements, reach) if start is None else start.copy()
    short = signs.astype(np.float32)
    consistency = agreements * short[:, None] * np.take(short, indices)
    local = sparseness(areas, indices, spacing) * spacing
    blocks = make_blocks(points, indices, consistency, local * block_extent(len(points), BLOCKS.wanted))

    inside = np.flatnonzero(blocks.number >= 0)
    targets = inside[np.argsort(blocks.number[inside], kind="stable")]
    targets = targets[even_rows(len(targets), SAMPLE_PLACES)]
    represented = areas * _points_represented(blocks.number >= 0, indices)
    influence = _influence_on(targets, points, axes * signs[:, None], represented, local, blocks)
    block_prior = np.zeros(blocks.count)
    if prior is not None:
        block_prior = summed(blocks.number[inside], (prior * signs)[inside], blocks.count)
    flips = _block_signs(influence, blocks, blocks.number[targets], len(inside), block_prior, solid)

    signs[inside] *= flips[blocks.number[inside]]
    follow_neighbours(signs, blocks.number >= 0, indices, agreements)
    part, winding, own = _parts(influence, flips, blocks, targets, indices)
    return Orientation(signs, neighbour_consistency(signs, indices, agreements), part, winding, own)


def _influence_on(
    targets: IntArray, points: FloatArray, normals: FloatArray, areas: FloatArray, local_spacing: FloatArray, blocks: Blocks
) -> Float32Array:
    """(T, M) winding number that each block adds at the points `targets` (T,).

    points and normals (N, 3), areas (N,), local_spacing (N,). Only some of the points in blocks are summed, each of which stands for
    an even share of the others.
    """
    inside = np.flatnonzero(blocks.number >= 0)
    sources = inside[even_rows(len(inside), SAMPLE_POINTS)]
    thinned = len(inside) / len(sources)
    area = areas[sources] * thinned
    dipoles = normals[sources] * area[:, None]
    spacing = local_spacing[sources] * float(np.sqrt(thinned))
    return block_influence(points[sources], dipoles, area, blocks.number[sources], blocks.count, blocks.extent, spacing, points[targets])


def _points_represented(in_block: BoolArray, indices: IndexArray) -> FloatArray:
    """(N,) how many points each one stands for in the winding number: 0 outside blocks.

    A point in a block stands for itself and an even share of each of its neighbours outside blocks.
    """
    absent = np.flatnonzero(~in_block)
    near = indices[absent].astype(np.int64)
    present = np.take(in_block, near)
    share = present / np.maximum(present.sum(axis=1, keepdims=True), 1)
    return in_block + summed(near.ravel(), share.ravel(), len(in_block))


def _block_signs(influence: Float32Array, blocks: Blocks, of_target: IntArray, points: int, prior: FloatArray, solid: bool) -> FloatArray:
    """(M,) signs of the blocks that minimise the energy.

    influence (T, M) on targets that lie in the blocks `of_target` (T,) and together stand for this many `points`; prior (M,);
    solid as in `orient_axes`. Where the scan is open, it is minimised again with targets on an open surface counting little, so that
    their winding number does not make the surface inconsistent.
    """

    def signs_for(weight: FloatArray) -> FloatArray:
        return minimise(Energy.from_influence(influence, weight, blocks.first, blocks.second, blocks.consistency, prior))

    weight = np.full(len(of_target), (1.0 if solid else ORIENTATION.open_weight) * points / len(of_target))
    signs = signs_for(weight)
    if solid:
        around = _mean_around(_winding(influence, signs), of_target, blocks)
        closed = np.abs(around[of_target] - 0.5) < ORIENTATION.closed_tolerance
        if closed.mean() < ORIENTATION.closed_share:
            signs = signs_for(weight * np.where(closed, 1.0, ORIENTATION.open_weight))
    return signs


def _winding(influence: Float32Array, signs: FloatArray) -> FloatArray:
    """(T,) winding number at the targets where the blocks have these signs (M,)."""
    return np.asarray(np.einsum("tm,m->t", influence, signs.astype(np.float32)), dtype=np.float64)


def _mean_around(values: FloatArray, of_target: IntArray, blocks: Blocks) -> FloatArray:
    """(M,) means of values (T,) at targets in blocks `of_target` (T,), over each block and its neighbours."""
    count, first, second = blocks.count, blocks.first, blocks.second
    total, number = summed(of_target, values, count), summed(of_target, np.ones(len(values)), count)
    totals, numbers = (x + summed(first, x[second], count) + summed(second, x[first], count) for x in (total, number))
    means: FloatArray = totals / np.maximum(numbers, 1)
    return means


def _parts(
    influence: Float32Array, signs: FloatArray, blocks: Blocks, targets: IntArray, indices: IndexArray
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Part (N,) of each point, mean winding number (parts,) on each, and what the part itself adds to it."""
    forest = spanning_forest(blocks.first, blocks.second, np.abs(blocks.consistency), blocks.count)
    tree = np.empty(blocks.count, dtype=np.int64)
    tree[forest.order] = forest.tree
    part = _spread_parts(np.where(blocks.number >= 0, tree[blocks.number], -1), indices)
    count = int(tree.max()) + 1
    of_part = np.maximum(np.bincount(part[targets], minlength=count), 1)
    own = _winding(influence * (tree[blocks.number[targets]][:, None] == tree), signs)
    mean, own_mean = (summed(part[targets], values, count) / of_part for values in (_winding(influence, signs), own))
    return part, mean, own_mean


def _spread_parts(part: IntArray, indices: IndexArray) -> IntArray:
    """(N,) part numbers with each -1 replaced by the part of a neighbour, or by 0 where all are far."""
    part = part.copy()
    for _ in range(PROPAGATION.sweeps):
        open_rows = np.flatnonzero(part < 0)
        near = part[indices[open_rows]]
        first = (near >= 0).argmax(axis=1)
        part[open_rows] = near[np.arange(len(near)), first]
    return np.maximum(part, 0)
