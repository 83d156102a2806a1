"""Signs of normals from neighbour to neighbour: agreement, spanning trees, loose pieces, walls kept apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import Float32Array, FloatArray, IndexArray, IntArray, chunks
from lpdif.points.orientation.energy import rooted

REACH_NOISE = 3.0  # offsets between two points shorter than this many noise sigmas, and
REACH_SPACING = 0.3  # than this share of the spacing, say nothing about the surface between them

SWEEPS = 5  # of the votes of single points


def mirror_reach(spacing: float, noise: FloatArray) -> FloatArray:
    """The `reach` of `agreement` for points of this spacing and noise (N,)."""
    return np.hypot(REACH_NOISE * noise, REACH_SPACING * spacing)


def agreement(points: FloatArray, axes: FloatArray, first: NDArray[np.integer], second: NDArray[np.integer], reach: FloatArray) -> FloatArray:
    """How surely the axes of the points `first` and `second` (row numbers that broadcast) point to the same side, -1 to 1.

    For unit axes m, n at the ends of an offset d: m.n - 2 (m.d)(n.d) / (d^2 + reach^2), the scalar product after a mirror
    half way has taken one end to the other. On any circular arc this is exactly 1 (Koenig and Gumhold 2009): around sharp
    edges and for the two faces of a thin sheet too, where m.n alone is wrong. `reach` (N,), that of both ends, takes the mirror
    away from points so near each other that noise alone gave d its direction.
    """
    offset = np.take(points, second, axis=0) - np.take(points, first, axis=0)
    one, other = np.take(axes, first, axis=0), np.take(axes, second, axis=0)
    across = np.einsum("...i,...i->...", one, offset) * np.einsum("...i,...i->...", other, offset)
    squared = np.einsum("...i,...i->...", offset, offset)
    least = (np.square(np.take(reach, first)) + np.square(np.take(reach, second))) / 2
    result: FloatArray = np.einsum("...i,...i->...", one, other) - 2 * across / (squared + least)
    return result


def all_agreements(points: FloatArray, axes: FloatArray, indices: IndexArray, reach: FloatArray) -> Float32Array:
    """(N, k) `agreement` of every point with its neighbours `indices` (N, k)."""
    result = np.empty(indices.shape, dtype=np.float32)
    for part in chunks(len(points)):
        result[part] = agreement(points, axes, np.arange(part.start, part.stop)[:, None], indices[part], reach)
    return result


def spanning_signs(points: FloatArray, axes: FloatArray, indices: IndexArray, agreements: Float32Array, reach: FloatArray) -> FloatArray:
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


def sparseness(areas: FloatArray, indices: IndexArray, spacing: float) -> FloatArray:
    """(N,) power of two, at least 1: how many times the typical spacing the points around each one are apart.

    areas (N,) that each point stands for; those of its nearest, indices (N, k), are averaged, so that an even scan is one throughout.
    """
    octave = np.log2(areas)[indices].mean(axis=1) / 2 - np.log2(spacing)
    return np.asarray(np.exp2(np.maximum(0.0, np.round(octave))))


def follow_neighbours(signs: FloatArray, settled: NDArray[np.bool_], indices: IndexArray, agreements: Float32Array) -> None:
    """Sets, in place, the signs (N,) of the points not `settled` (N,) by the vote of their neighbours: from these inward, each ring by those
    before it, and then SWEEPS times all of them."""
    from scipy.sparse import csr_array

    known, open_rows = settled.copy(), np.flatnonzero(~settled)
    count, k = indices.shape

    def vote(rows: IntArray) -> IntArray:
        near = indices[rows]
        pull = (agreements[rows] * (signs[near] * known[near])).sum(axis=1)
        told: IntArray = rows[pull != 0]
        signs[told] = np.sign(pull[pull != 0])
        return told

    starts = np.arange(len(open_rows) + 1) * k
    asking = csr_array((np.ones(len(open_rows) * k, np.int8), indices[open_rows].ravel(), starts), shape=(len(open_rows), count)).T.tocsr()
    front = open_rows[known[indices[open_rows]].any(axis=1)]
    while len(front):
        told = vote(front)
        known[told] = True
        front = open_rows[np.unique(asking[told].indices)]
        front = front[~known[front]]
    for _ in range(SWEEPS):
        known[vote(open_rows)] = True


def pieces_of(chosen: NDArray[np.bool_], indices: IndexArray) -> IntArray:
    """(N,) of the chosen points (N,), the number of the piece that each belongs to: of what hangs together by chosen neighbours (N, k)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, other = np.repeat(np.flatnonzero(chosen), indices.shape[1]), indices[chosen].ravel().astype(np.int64)
    within = chosen[other]
    pairs = (first[within], other[within])
    found = connected_components(coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape=(len(chosen),) * 2), directed=False)[1]
    return np.asarray(found, dtype=np.int64)


def loose_pieces(
    chosen: NDArray[np.bool_], piece: IntArray, signs: FloatArray, indices: IndexArray, agreements: Float32Array
) -> NDArray[np.bool_]:
    """(N,) of the chosen points, those of pieces (N,) whose neighbours among the others, on the whole, point to the other side.

    indices, agreements (N, k), with signs (N,). A piece without other neighbours is loose.
    """
    first, other = np.repeat(np.flatnonzero(chosen), indices.shape[1]), indices[chosen].ravel().astype(np.int64)
    across = ~chosen[other]
    accordance = agreements[chosen].ravel() * signs[first] * signs[other]
    pieces = int(piece.max(initial=-1)) + 1
    hold = np.bincount(piece[first[across]], accordance[across], minlength=pieces)
    alone = np.bincount(piece[first[across]], minlength=pieces) == 0
    return np.asarray(chosen & (alone | (hold < 0))[piece])


def separate_walls(points: FloatArray, normals: FloatArray, rows: IntArray, indices: IndexArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(M, k) how far the neighbours (M, k) of points `rows` (M,) lie in front of them, and these in front of the neighbours, on the mean; and
    which of them face the other way.

    Of pairs that face apart it is the thickness of the wall between them, negative; of pairs of which one normal is turned over by mistake it
    is nought, but for noise.
    """
    own, other = normals[rows][:, None], normals[indices]
    offset = points[indices] - points[rows][:, None]
    return np.einsum("mki,mki->mk", own - other, offset) / 2, np.asarray(np.einsum("mji,mki->mk", own, other) < 0)


def neighbour_consistency(signs: FloatArray, indices: IndexArray, agreements: Float32Array) -> FloatArray:
    """(N,) sum of each point's agreements with its neighbours, with both their signs, over the sum of their sizes: -1 to 1."""
    result, short = np.empty(len(signs)), signs.astype(np.float32)
    for part in chunks(len(signs)):
        pull = agreements[part] * short[part][:, None] * np.take(short, indices[part])
        result[part] = pull.sum(axis=1) / np.maximum(np.abs(agreements[part]).sum(axis=1), 1e-6)
    return result
