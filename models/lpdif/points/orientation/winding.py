"""The generalized winding number of oriented points: 1 inside a closed surface, 0 outside, 1/2 on it.

N points with unit normals and areas are dipoles: w(x) = sum_j a_j n_j . (p_j - x) / (4 pi |p_j - x|^3) (Barill et al. 2018).
M blocks of points, T targets. The sums are one-level multipole sums: blocks far from a target count as one dipole at
their centre of area, blocks near it point by point. All sums run in a fixed order, so no thread count changes a bit.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import Float32Array, FloatArray, IntArray, chunks


class WindingSettings(NamedTuple):
    """How the winding number is summed, and what its mean on a part says, which is 1/2 on a solid."""

    # A block whose centre is nearer to the target than this many block sizes is summed point by point.
    near_field: float = 1.5
    # The field of a point is smoothed within this many spacings, because a point stands for a small disc.
    softening: float = 0.5
    # A surface on which the mean winding number is above this is closed: on an open one, even on a bowl, it is smaller. So it is at a
    # place inside of it.
    closed: float = 0.4
    # A surface on which the mean winding number is above this may be that of a solid; on smaller ones the shape does not tell the outside.
    solid_like: float = 0.2


WINDING = WindingSettings()


def summed(numbers: IntArray, values: FloatArray, count: int) -> FloatArray:
    """(M,) sums of values (N,) that have the same number (N,), of 0 .. count - 1."""
    return np.bincount(numbers, values, minlength=count).astype(np.float64, copy=False)


def summed_rows(numbers: IntArray, values: FloatArray, count: int) -> FloatArray:
    """(M, c) sums of rows of values (N, c) that have the same number (N,)."""
    return np.stack([summed(numbers, column, count) for column in values.T], axis=1)


def block_influence(
    points: FloatArray,
    dipoles: FloatArray,
    areas: FloatArray,
    block: IntArray,
    count: int,
    size: FloatArray,
    spacing: FloatArray,
    targets: FloatArray,
) -> Float32Array:
    """(T, M) winding number that each block of points adds at each target.

    points (N, 3); dipoles (N, 3), area times unit normal; areas (N,); block (N,), in 0 .. count - 1; size (M,), extents of
    the blocks; spacing (N,), that around each point; targets (T, 3). At a point of the surface itself the sum over all blocks
    is the mean of both sides. The result takes 4 T M bytes.
    """
    totals = np.maximum(summed(block, areas, count), 1e-300)
    centres = summed_rows(block, points * areas[:, None], count) / totals[:, None]
    widest = np.full(count, spacing.min(initial=1.0))  # not 0 for a block without points, because it is divided by
    np.maximum.at(widest, block, spacing)
    influence = _far_influence(centres, summed_rows(block, dipoles, count), targets, WINDING.softening * widest)
    pair_target, pair_block = _near_pairs(targets, centres, WINDING.near_field * size)
    members = np.argsort(block, kind="stable")
    sizes = np.bincount(block, minlength=count)
    starts = np.cumsum(sizes) - sizes
    exact = np.empty(len(pair_target))
    step = max(1, 2_000_000 // max(int(sizes.max(initial=1)), 1))
    for part in chunks(len(pair_target), step):
        of_pair, owner = _ranges(starts[pair_block[part]], sizes[pair_block[part]])
        source = members[of_pair]
        target = pair_target[part][owner]
        values = dipole_field(points[source] - targets[target], dipoles[source], WINDING.softening * spacing[source])
        exact[part] = np.bincount(owner, values, minlength=part.stop - part.start)
    influence[pair_target, pair_block] = exact
    return influence


def _near_pairs(targets: FloatArray, centres: FloatArray, limit: FloatArray) -> tuple[NDArray[np.int32], IntArray]:
    """(P,), (P,) pairs of a target and a block whose centre is nearer than the block's own limit (M,)."""
    from scipy.spatial import cKDTree

    tree, found = cKDTree(targets), []
    for distance in np.unique(limit):  # only a few, because extents are powers of two apart
        chosen = np.flatnonzero(limit == distance)
        near = tree.sparse_distance_matrix(cKDTree(centres[chosen]), distance, output_type="coo_matrix")
        found.append((near.row, chosen[near.col]))
    row, column = zip(*found, strict=True)
    return np.concatenate(row), np.concatenate(column)


def dipole_field(offsets: FloatArray, dipoles: FloatArray, softening: FloatArray | float) -> FloatArray:
    """(...) winding number that dipoles (..., 3) add at a target, at offsets (..., 3) from it."""
    squared = np.einsum("...i,...i->...", offsets, offsets) + softening**2
    field: FloatArray = np.einsum("...i,...i->...", offsets, dipoles) / (4 * np.pi * squared * np.sqrt(squared))
    return field


def _far_influence(centres: FloatArray, dipoles: FloatArray, targets: FloatArray, softening: FloatArray, rows: int = 256) -> Float32Array:
    """(T, M) winding number of each dipole at each target, `rows` at a time; float32 is exact enough."""
    middle = centres.mean(axis=0)
    places = np.ascontiguousarray((centres - middle).T, dtype=np.float32)
    moments = np.ascontiguousarray(dipoles.T / (4 * np.pi), dtype=np.float32)
    seen_from = np.ascontiguousarray((targets - middle).T, dtype=np.float32)
    result = np.empty((len(targets), len(centres)), dtype=np.float32)
    for part in chunks(len(targets), rows):
        squared = np.tile(np.square(softening.astype(np.float32)), (part.stop - part.start, 1))
        product = np.zeros_like(squared)
        for axis in range(3):
            offset = places[axis] - seen_from[axis, part, None]
            squared += offset * offset
            product += offset * moments[axis]
        result[part] = product / (squared * np.sqrt(squared))
    return result


def _ranges(starts: IntArray, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """The numbers starts[i] .. starts[i] + sizes[i] - 1 of every i in order, and the i of each number."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    first = np.cumsum(sizes) - sizes
    return np.arange(len(owner)) - first[owner] + starts[owner], owner
