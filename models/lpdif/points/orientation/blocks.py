"""Signs for axes: from unsigned axes, votes and geometry to normals that point outward.

N points, k neighbours, M blocks of points that keep their relative signs, T targets.
The method, from the small to the large:
1. every two neighbours say, with a strength, whether their axes point to the same side (`agreement`);
2. a spanning tree over the strongest pairs gives every point a sign (Hoppe et al. 1992);
3. points are gathered into small blocks; whole branches of the tree of blocks are then turned over as long as that
   brings the winding number on the surface closer to 1/2, as on the surface of a solid, or neighbours and votes
   into better accord (`branches`). That mends the tree where it took a wrong turn, and finds every part's outside,
   nested shells included;
4. the points too scattered for any block follow their neighbours, which stand for them in the winding number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import Float32Array, FloatArray, IndexArray, IntArray, chunks
from lpdif.points.neighbours import even_rows
from lpdif.points.orientation.energy import Energy, settle, spanning_forest
from lpdif.points.orientation.propagation import (
    SWEEPS,
    all_agreements,
    follow_neighbours,
    mirror_reach,
    neighbour_consistency,
    spanning_signs,
    sparseness,
)
from lpdif.points.orientation.winding import block_influence, summed

NEIGHBOURS = 10

SURE = 0.5  # agreement from which two points belong into one block
BLOCKS = 1200  # blocks aimed at
MOST_BLOCKS = 2500  # and never exceeded: the least are left to their neighbours' vote
LEAST_BLOCK = 4  # points of a block that takes part; for those of lesser ones their neighbours stand
BLOCK_EXTENT = 2.5  # spacings: the smallest extent of a block
TARGETS = 1500  # places at which the winding number is held against 1/2
SOURCES = 60_000  # points that stand for all in the winding number
CLOSED = 0.25  # tolerated distance of the winding number, averaged a little, on a closed surface from 1/2
MOSTLY = 0.75  # share of such places from which a scan counts as closed
OPEN_WEIGHT = 0.05  # of the winding number at other places, where the scan is not


@dataclass(frozen=True)
class Orientation:
    """What is known of the signs of N axes.

    signs (N,) +1 or -1      accord (N,) agreement of each point with its neighbours, -1 to 1
    part (N,) number of the connected part of each point
    winding (parts,) mean winding number on each part: about 1/2 where it is closed, about 0 where open and flat
    own (parts,) what of it is due to the part itself
    """

    signs: FloatArray
    accord: FloatArray
    part: IntArray
    winding: FloatArray
    own: FloatArray


def gather_blocks(points: FloatArray, indices: IndexArray, accordance: Float32Array, extent: FloatArray) -> IntArray:
    """(N,) numbers of small blocks of points, each of one sheet.

    A block is what hangs together, within one cube of a lattice, by pairs whose accordance (N, k), agreement times both
    signs, is at least SURE. The lattice of each point has cubes of its own extent (N,).
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    count = len(points)
    lattice = np.floor((points - points.min(axis=0)) / extent[:, None]).astype(np.int64)
    cube = (lattice[:, 0] << 42) + (lattice[:, 1] << 21) + lattice[:, 2]
    linked = (accordance >= SURE) & (np.take(cube, indices) == cube[:, None]) & (np.take(extent, indices) == extent[:, None])
    starts = np.concatenate([[0], np.cumsum(linked.sum(axis=1))])
    ends = indices[linked]
    graph = csr_array((np.ones(len(ends), dtype=np.int8), ends, starts), shape=(count, count))
    _, block = connected_components(graph, directed=False)
    return np.asarray(block, dtype=np.int64)


def orient(
    points: FloatArray,
    axes: FloatArray,
    areas: FloatArray,
    indices: IndexArray,
    spacing: float,
    noise: FloatArray,
    start: FloatArray | None = None,
    votes: FloatArray | None = None,
    solid: bool = True,
) -> Orientation:
    """Signs that turn axes (N, 3) into outward normals.

    points (N, 3), areas (N,) of surface that each stands for, indices (N, NEIGHBOURS) of its nearest, noise (N,),
    start (N,) signs to begin with (else the spanning tree's), votes (N,) for the sign of each axis: positive for +1,
    the size being the weight against one point's squared distance from the winding number 1/2, which counts little if not `solid`: there
    the surface as a whole is known to have no inside.
    """
    reach = mirror_reach(spacing, noise)
    agreements = all_agreements(points, axes, indices, reach)
    signs = spanning_signs(points, axes, indices, agreements, reach) if start is None else start.copy()
    short = signs.astype(np.float32)
    accordance = agreements * short[:, None] * np.take(short, indices)
    times = sparseness(areas, indices, spacing)
    extent = times * (spacing * max(BLOCK_EXTENT, float(np.sqrt(len(points) / BLOCKS))))
    block, count = _largest_blocks(gather_blocks(points, indices, accordance, extent))
    first, second, strength = _block_pairs(block, count, indices, accordance)

    inside = np.flatnonzero(block >= 0)
    stood_for = _stood_for(block >= 0, indices)
    targets = inside[np.argsort(block[inside], kind="stable")]
    targets = targets[even_rows(len(targets), TARGETS)]
    sources = inside[even_rows(len(inside), SOURCES)]
    thinned = len(inside) / len(sources)
    share = areas[sources] * stood_for[sources] * thinned
    extents = np.ones(count)
    extents[block[inside]] = extent[inside]
    influence = block_influence(
        points[sources], axes[sources] * (signs[sources] * share)[:, None], share, block[sources], count,
        extents, times[sources] * (spacing * float(np.sqrt(thinned))), points[targets],
    )  # fmt: skip
    leaning = np.zeros(count)
    if votes is not None:
        leaning = summed(block[inside], (votes * signs)[inside], count)
    weight = np.full(len(targets), (1.0 if solid else OPEN_WEIGHT) * len(inside) / len(targets))
    turned = settle(Energy.weighed(influence, weight, first, second, strength, leaning))
    of_target = block[targets]
    winding = _field(influence, turned)
    closed = np.abs(_averaged(winding, of_target, first, second, count)[of_target] - 0.5) < CLOSED
    if solid and closed.mean() < MOSTLY:
        # An open scene: where no solid is in sight, its winding number must not tear the surface apart
        weight *= np.where(closed, 1.0, OPEN_WEIGHT)
        turned = settle(Energy.weighed(influence, weight, first, second, strength, leaning))
        winding = _field(influence, turned)

    signs[inside] *= turned[block[inside]]
    forest = spanning_forest(first, second, np.abs(strength), count)
    tree = np.empty(count, dtype=np.int64)
    tree[forest.order] = forest.tree
    part = _spread(np.where(block >= 0, tree[block], -1), indices)
    parts = int(tree.max()) + 1
    asked = np.maximum(np.bincount(part[targets], minlength=parts), 1)
    own = _field(influence * (tree[of_target][:, None] == tree), turned)
    means, own = (summed(part[targets], values, parts) / asked for values in (winding, own))
    follow_neighbours(signs, block >= 0, indices, agreements)
    return Orientation(signs, neighbour_consistency(signs, indices, agreements), part, means, own)


def _stood_for(taking_part: NDArray[np.bool_], indices: IndexArray) -> FloatArray:
    """(N,) how many points each one stands for: itself and an even share of every neighbour that takes no part; or none."""
    absent = np.flatnonzero(~taking_part)
    near = indices[absent].astype(np.int64)
    heirs = np.take(taking_part, near)
    share = heirs / np.maximum(heirs.sum(axis=1, keepdims=True), 1)
    return taking_part + summed(near.ravel(), share.ravel(), len(taking_part))


def _field(influence: Float32Array, signs: FloatArray) -> FloatArray:
    """(T,) winding number at the targets."""
    return np.asarray(np.einsum("tm,m->t", influence, signs.astype(np.float32)), dtype=np.float64)


def _averaged(values: FloatArray, of_target: IntArray, first: IntArray, second: IntArray, count: int) -> FloatArray:
    """(M,) means of values (T,) at targets of the blocks `of_target` (T,), over each block and all its neighbours."""
    total, number = summed(of_target, values, count), summed(of_target, np.ones(len(values)), count)
    wide, among = (x + summed(first, x[second], count) + summed(second, x[first], count) for x in (total, number))
    means: FloatArray = wide / np.maximum(among, 1)
    return means


def _spread(part: IntArray, indices: IndexArray) -> IntArray:
    """(N,) part numbers in which those that are -1 are taken from a neighbour; 0 for points far from any."""
    part = part.copy()
    for _ in range(SWEEPS):
        open_rows = np.flatnonzero(part < 0)
        near = part[indices[open_rows]]
        first = (near >= 0).argmax(axis=1)
        part[open_rows] = near[np.arange(len(near)), first]
    return np.maximum(part, 0)


def _largest_blocks(block: IntArray) -> tuple[IntArray, int]:
    """The blocks large enough to take part renumbered from 0, -1 for the points of all others; and their count."""
    sizes = np.bincount(block)
    active = np.argsort(-sizes, kind="stable")[:MOST_BLOCKS]
    active = active[sizes[active] >= min(LEAST_BLOCK, int(sizes.max()))]
    number = np.full(len(sizes), -1, dtype=np.int64)
    number[active] = np.arange(len(active))
    return number[block], len(active)


def _block_pairs(block: IntArray, count: int, indices: IndexArray, accordance: Float32Array) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of neighbouring blocks (P,), (P,), the first the lower, and the sum (P,) of their points' accordance."""
    key, value = [], []
    for part in chunks(len(block)):
        one = np.broadcast_to(block[part][:, None], indices[part].shape)
        other = np.take(block, indices[part])
        across = (one != other) & (one >= 0) & (other >= 0)
        low, high = np.minimum(one[across], other[across]), np.maximum(one[across], other[across])
        pair, of_pair = np.unique(low * count + high, return_inverse=True)
        key.append(pair)
        value.append(summed(of_pair, accordance[part][across], len(pair)))
    pair, of_pair = np.unique(np.concatenate(key), return_inverse=True)
    return pair // count, pair % count, summed(of_pair, np.concatenate(value), len(pair))
