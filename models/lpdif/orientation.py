"""Signs for axes: from unsigned axes, votes and geometry to normals that point outward.

N points, k neighbours, M groups of points that keep their relative signs, T targets.
The method, from the small to the large:
1. every two neighbours say, with a strength, whether their axes point to the same side (`agreement`);
2. a spanning tree over the strongest pairs gives every point a sign (Hoppe et al. 1992);
3. points are gathered into small groups; whole branches of the tree of groups are then turned over as long as that
   brings the winding number on the surface closer to 1/2, as on the surface of a solid, or neighbours and votes
   into better accord (`branches`). That mends the tree where it took a wrong turn, and finds every part's outside,
   nested shells included;
4. the points too scattered for any group follow their neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.branches import rooted, settle
from lpdif.spacing import FloatArray, IndexArray, chunks, even_rows
from lpdif.winding import group_influence

IntArray = NDArray[np.int64]
Float32Array = NDArray[np.float32]

NEIGHBOURS = 10
REACH_NOISE = 3.0  # offsets between two points shorter than this many noise sigmas, and
REACH_SPACING = 0.3  # than this share of the spacing, say nothing about the surface between them
SURE = 0.5  # agreement from which two points belong into one group
GROUPS = 1200  # groups aimed at
MOST_GROUPS = 2500  # and never exceeded: the least are left to their neighbours' vote
LEAST_GROUP = 4  # points of a group that takes part
GROUP_EXTENT = 2.5  # spacings: the smallest extent of a group
TARGETS = 1500  # places at which the winding number is held against 1/2
SOURCES = 60_000  # points that stand for all in the winding number
SWEEPS = 5  # of the last vote of single points


@dataclass(frozen=True)
class Orientation:
    """What is known of the signs of N axes.

    signs (N,) +1 or -1      accord (N,) agreement of each point with its neighbours, -1 to 1
    part (N,) number of the connected part of each point, or -1 of a point too scattered for any
    winding (parts,) mean winding number on each part: about 1/2 where it is closed, about 0 where open and flat
    """

    signs: FloatArray
    accord: FloatArray
    part: IntArray
    winding: FloatArray


def mirror_reach(spacing: float, noise: float) -> float:
    """The `reach` of `agreement` for points of this spacing and noise."""
    return float(np.hypot(REACH_NOISE * noise, REACH_SPACING * spacing))


def agreement(points: FloatArray, axes: FloatArray, first: NDArray[np.integer], second: NDArray[np.integer], reach: float) -> FloatArray:
    """How surely the axes of the points `first` and `second` (row numbers that broadcast) point to the same side, -1 to 1.

    For unit axes m, n at the ends of an offset d: m.n - 2 (m.d)(n.d) / (d^2 + reach^2), the scalar product after a mirror
    half way has taken one end to the other. On any circular arc this is exactly 1 (Koenig and Gumhold 2009): around sharp
    edges and for the two faces of a thin sheet too, where m.n alone is wrong. `reach` takes the mirror away from
    points so near each other that noise alone gave d its direction.
    """
    offset = np.take(points, second, axis=0) - np.take(points, first, axis=0)
    one, other = np.take(axes, first, axis=0), np.take(axes, second, axis=0)
    across = np.einsum("...i,...i->...", one, offset) * np.einsum("...i,...i->...", other, offset)
    squared = np.einsum("...i,...i->...", offset, offset)
    result: FloatArray = np.einsum("...i,...i->...", one, other) - 2 * across / (squared + reach**2)
    return result


def all_agreements(points: FloatArray, axes: FloatArray, indices: IndexArray, reach: float) -> Float32Array:
    """(N, k) `agreement` of every point with its neighbours `indices` (N, k)."""
    result = np.empty(indices.shape, dtype=np.float32)
    for part in chunks(len(points)):
        result[part] = agreement(points, axes, np.arange(part.start, part.stop)[:, None], indices[part], reach)
    return result


def spanning_signs(points: FloatArray, axes: FloatArray, indices: IndexArray, agreements: Float32Array, reach: float) -> FloatArray:
    """(N,) signs that follow the strongest agreements: along a minimum spanning tree of 1 - |agreement|.

    Each connected part has its own tree; its lowest row keeps the sign of its axis.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    count, k = indices.shape
    weights = (1.001 - np.abs(agreements)).ravel().astype(np.float64)  # a weight of nought would mean "no pair"
    graph = csr_array((weights, indices.ravel(), np.arange(count + 1) * k), shape=(count, count))
    tree = minimum_spanning_tree(graph).tocoo()
    _, ancestor = rooted(tree.row, tree.col, count)
    signs = np.where(agreement(points, axes, np.arange(count), ancestor, reach) < 0, -1.0, 1.0)
    while True:  # pointer doubling: a sign is that of the path to the ancestor, which is twice as far each time
        further = ancestor[ancestor]
        if (further == ancestor).all():
            return signs
        signs = signs * signs[ancestor]
        ancestor = further


def gather_groups(points: FloatArray, indices: IndexArray, accordance: Float32Array, spacing: float) -> tuple[IntArray, float]:
    """Small groups of points, each of one sheet: (N,) group numbers, and the extent of a group.

    A group is what hangs together, within one cube of a lattice, by pairs whose accordance (N, k), agreement times both
    signs, is at least SURE.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    count = len(points)
    extent = spacing * max(GROUP_EXTENT, float(np.sqrt(count / GROUPS)))
    lattice = np.floor((points - points.min(axis=0)) / extent).astype(np.int64)
    cube = (lattice[:, 0] << 42) + (lattice[:, 1] << 21) + lattice[:, 2]
    linked = (accordance >= SURE) & (np.take(cube, indices) == cube[:, None])
    starts = np.concatenate([[0], np.cumsum(linked.sum(axis=1))])
    ends = indices[linked]
    _, group = connected_components(csr_array((np.ones(len(ends), dtype=np.int8), ends, starts), shape=(count, count)), directed=False)
    return group.astype(np.int64), extent


def orient(
    points: FloatArray,
    axes: FloatArray,
    areas: FloatArray,
    indices: IndexArray,
    spacing: float,
    noise: float,
    start: FloatArray | None = None,
    votes: FloatArray | None = None,
) -> Orientation:
    """Signs that turn axes (N, 3) into outward normals.

    points (N, 3), areas (N,) of surface that each stands for, indices (N, NEIGHBOURS) of its nearest,
    start (N,) signs to begin with (else the spanning tree's), votes (N,) for the sign of each axis: positive for +1,
    the size being the weight against one point's squared distance from the winding number 1/2.
    """
    reach = mirror_reach(spacing, noise)
    agreements = all_agreements(points, axes, indices, reach)
    signs = spanning_signs(points, axes, indices, agreements, reach) if start is None else start.copy()
    accordance = agreements * np.float32(signs)[:, None] * np.take(np.float32(signs), indices)
    group, extent = gather_groups(points, indices, accordance, spacing)
    group, count = _largest_groups(group)
    first, second, strength = _group_pairs(group, count, indices, accordance)

    grouped = np.flatnonzero(group >= 0)
    targets = grouped[np.argsort(group[grouped], kind="stable")]
    targets = targets[even_rows(len(targets), TARGETS)]
    sources = grouped[even_rows(len(grouped), SOURCES)]
    thinned = len(grouped) / len(sources)
    share = areas[sources] * thinned
    influence = group_influence(
        points[sources], axes[sources] * (signs[sources] * share)[:, None], share, group[sources], count,
        extent, spacing * float(np.sqrt(thinned)), points[targets],
    )  # fmt: skip
    leaning = np.zeros(count)
    if votes is not None:
        leaning = np.bincount(group[grouped], (votes * signs)[grouped], minlength=count)
    turned, tree = settle(first, second, strength, influence, len(grouped) / len(targets), leaning)

    signs[grouped] *= turned[group[grouped]]
    part = np.where(group >= 0, tree[group], -1)
    winding = influence @ np.float32(turned)
    per_part = np.bincount(part[targets], minlength=tree.max() + 1)
    means = np.bincount(part[targets], winding, minlength=len(per_part)) / np.maximum(per_part, 1)
    accord = _follow_neighbours(signs, group >= 0, indices, agreements)
    return Orientation(signs, accord, part, means)


def _largest_groups(group: IntArray) -> tuple[IntArray, int]:
    """The groups large enough to take part renumbered from 0, -1 for the points of all others; and their count."""
    sizes = np.bincount(group)
    active = np.argsort(-sizes, kind="stable")[:MOST_GROUPS]
    active = active[sizes[active] >= min(LEAST_GROUP, sizes.max())]
    number = np.full(len(sizes), -1, dtype=np.int64)
    number[active] = np.arange(len(active))
    return number[group], len(active)


def _group_pairs(group: IntArray, count: int, indices: IndexArray, accordance: Float32Array) -> tuple[IntArray, IntArray, FloatArray]:
    """Pairs of neighbouring groups (P,), (P,), the first the lower, and the sum (P,) of their points' accordance."""
    key, value = [], []
    for part in chunks(len(group)):
        one = np.broadcast_to(group[part][:, None], indices[part].shape)
        other = np.take(group, indices[part])
        across = (one != other) & (one >= 0) & (other >= 0)
        low, high = np.minimum(one[across], other[across]), np.maximum(one[across], other[across])
        pair, of_pair = np.unique(low * count + high, return_inverse=True)
        key.append(pair)
        value.append(np.bincount(of_pair, accordance[part][across], minlength=len(pair)))
    pair, of_pair = np.unique(np.concatenate(key), return_inverse=True)
    return pair // count, pair % count, np.bincount(of_pair, np.concatenate(value), minlength=len(pair))


def _follow_neighbours(signs: FloatArray, settled: NDArray[np.bool_], indices: IndexArray, agreements: Float32Array) -> FloatArray:
    """Sets, in place, the signs of points not `settled` by their neighbours' vote; returns the accord (N,) of every point.

    The accord is the sum of a point's agreements with its neighbours, both signs in, over the sum of their sizes.
    """
    known = settled.copy()
    for _ in range(SWEEPS):
        open_rows = np.flatnonzero(~settled)
        near = indices[open_rows]
        vote = (agreements[open_rows] * np.take(signs * known, near)).sum(axis=1)
        signs[open_rows] = np.where(vote == 0, signs[open_rows], np.sign(vote))
        known[open_rows] |= vote != 0
    accord = np.empty(len(signs))
    for part in chunks(len(signs)):
        pull = agreements[part] * np.float32(signs[part])[:, None] * np.take(np.float32(signs), indices[part])
        accord[part] = pull.sum(axis=1) / np.maximum(np.abs(agreements[part]).sum(axis=1), 1e-6)
    return accord
