"""Small blocks of points, each of one sheet, that keep their relative signs, and pairs of these.

N points, k neighbours, M blocks, P pairs of blocks. The consistency of two neighbours is their `agreement` times both signs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lpdif.arrays import Float32Array, FloatArray, IndexArray, IntArray, chunks
from lpdif.components import linked_components
from lpdif.points.orientation.winding import summed


class BlockSettings(NamedTuple):
    """Which points form a block, and which blocks take part."""

    # Two neighbours belong into one block if their consistency is at least this.
    consistency: float = 0.5
    # About this many blocks are made of a scan that is large enough. At most twice as many take part, the largest ones; the points of the
    # others follow their neighbours.
    wanted: int = 1200
    # A block takes part if it has at least this many points.
    least_points: int = 4
    # The side of a block is at least this many spacings.
    least_extent: float = 2.5


BLOCKS = BlockSettings()


@dataclass(frozen=True)
class Blocks:
    """M blocks that take part, and the P pairs of them that are neighbours.

    number (N,)          block of each point, or -1
    count                M
    extent (M,)          side of each block's cube
    first, second (P,)   the pairs, the lower number first
    consistency (P,)     sum of the consistency of the pair's points
    """

    number: IntArray
    count: int
    extent: FloatArray
    first: IntArray
    second: IntArray
    consistency: FloatArray


def block_extent(count: int, wanted: int) -> float:
    """Side of a block, in spacings, with which `count` points form about as many blocks as wanted."""
    return max(BLOCKS.least_extent, float(np.sqrt(count / wanted)))


def make_blocks(points: FloatArray, indices: IndexArray, consistency: Float32Array, extent: FloatArray) -> Blocks:
    """Blocks of points (N, 3), in cubes of side extent (N,), and their pairs.

    indices (N, k) of the neighbours, with consistency (N, k).
    """
    number, count = _largest_blocks(gather_blocks(points, indices, consistency, extent))
    extents = np.ones(count)
    taking_part = number >= 0
    extents[number[taking_part]] = extent[taking_part]
    return Blocks(number, count, extents, *_block_pairs(number, count, indices, consistency))


def gather_blocks(points: FloatArray, indices: IndexArray, consistency: Float32Array, extent: FloatArray) -> IntArray:
    """(N,) numbers of small blocks of points, each of one sheet.

    A block is a connected component within one cube of a lattice, linked by neighbours (N, k) of consistency (N, k) of at least
    BLOCKS.consistency. The lattice of each point has cubes of its own side extent (N,).
    """
    low, cube = points.min(axis=0), np.empty(len(points), np.int64)
    for part in chunks(len(points)):
        lattice = np.floor((points[part] - low) / extent[part, None]).astype(np.int64)
        cube[part] = (lattice[:, 0] << 42) + (lattice[:, 1] << 21) + lattice[:, 2]

    def links(part: slice) -> tuple[IntArray, IndexArray]:
        near = indices[part]
        same_cube = (np.take(cube, near) == cube[part, None]) & (np.take(extent, near) == extent[part, None])
        linked = (consistency[part] >= BLOCKS.consistency) & same_cube
        return np.repeat(np.arange(part.start, part.stop), linked.sum(axis=1)), near[linked]

    return np.asarray(linked_components(len(points), map(links, chunks(len(points)))), dtype=np.int64)


def _largest_blocks(block: IntArray) -> tuple[IntArray, int]:
    """Numbers (N,) from 0 of the blocks large enough to take part, -1 for all others; and their count."""
    sizes = np.bincount(block)
    active = np.argsort(-sizes, kind="stable")[: 2 * BLOCKS.wanted]
    active = active[sizes[active] >= min(BLOCKS.least_points, int(sizes.max()))]
    number = np.full(len(sizes), -1, dtype=np.int64)
    number[active] = np.arange(len(active))
    return number[block], len(active)


def _block_pairs(block: IntArray, count: int, indices: IndexArray, consistency: Float32Array) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of neighbouring blocks (P,), (P,), lower number first; sums (P,) of their points' consistency."""
    key, value = [], []
    for part in chunks(len(block)):
        one = np.broadcast_to(block[part][:, None], indices[part].shape)
        other = np.take(block, indices[part])
        across = (one != other) & (one >= 0) & (other >= 0)
        low, high = np.minimum(one[across], other[across]), np.maximum(one[across], other[across])
        pair, of_pair = np.unique(low * count + high, return_inverse=True)
        key.append(pair)
        value.append(summed(of_pair, consistency[part][across], len(pair)))
    pair, of_pair = np.unique(np.concatenate(key), return_inverse=True)
    return pair // count, pair % count, summed(of_pair, np.concatenate(value), len(pair))
