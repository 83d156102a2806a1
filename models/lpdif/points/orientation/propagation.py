"""Signs of normals from neighbour to neighbour: agreement, spanning trees, components, walls.

N points, k neighbours. An axis is a unit normal whose sign is not known yet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import BoolArray, Float32Array, FloatArray, IndexArray, IntArray, chunks
from lpdif.points.orientation.energy import rooted


class PropagationSettings(NamedTuple):
    """What counts as agreement of two neighbours, and how signs spread from point to point."""

    # The direction from one point to another says nothing about the surface where they are nearer than this many standard
    # deviations of the noise.
    reach_noise: float = 3.0
    # Nor does it where they are nearer than this share of the spacing.
    reach_spacing: float = 0.3
    # An agreement of smaller size, of two points or on the mean over a point's neighbours, leaves the side open.
    clear: float = 0.3
    # Two directions are parallel when the size of their cosine is above this (an angle of 45 degrees).
    parallel: float = 0.7
    # Points outside all blocks take the sign and the part of their neighbours this many times.
    sweeps: int = 5


PROPAGATION = PropagationSettings()


def mirror_reach(spacing: float, noise: FloatArray) -> FloatArray:
    """The `reach` of `agreement` for points of this spacing and noise (N,)."""
    return np.hypot(PROPAGATION.reach_noise * noise, PROPAGATION.reach_spacing * spacing)


def agreement(points: FloatArray, axes: FloatArray, first: NDArray[np.integer], second: NDArray[np.integer], reach: FloatArray) -> FloatArray:
    """How surely the axes of two points point to the same side, -1 to 1.

    For unit axes m, n at the ends of an offset d it is
        m.n - 2 (m.d)(n.d) / (d^2 + reach^2),
    the scalar product after a reflection in the plane half way between both ends. On any circular arc this is exactly 1 (Koenig and
    Gumhold 2009), also around sharp edges and for the two faces of a thin sheet, where m.n alone is wrong.
    first, second: row numbers of the points, which broadcast. reach (N,): a length for each point, of which the mean square of both
    ends is taken; the reflection fades for points nearer than that, where noise alone gave d its direction.
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
    weights = (1.001 - np.abs(agreements)).ravel().astype(np.float64)  # a weight of 0 would mean "no pair"
    graph = csr_array((weights, indices.ravel(), np.arange(count + 1) * k), shape=(count, count))
    tree = minimum_spanning_tree(graph, overwrite=True).tocoo()
    del graph, weights
    _, ancestor = rooted(tree.row, tree.col, count)
    signs = np.where(agreement(points, axes, np.arange(count), ancestor, reach) < 0, -1.0, 1.0)
    while True:  # pointer doubling: each sign covers the path to an ancestor, which is twice as long each time
        further = ancestor[ancestor]
        if (further == ancestor).all():
            return signs
        signs = signs * signs[ancestor]
        ancestor = further


def sparseness(areas: FloatArray, indices: IndexArray, spacing: float) -> FloatArray:
    """(N,) local spacing over the typical one, rounded to a power of two and at least 1.

    areas (N,) that each point stands for are averaged over its neighbours, indices (N, k), so that it is 1 throughout an even scan.
    """
    octave = np.log2(areas)[indices].mean(axis=1) / 2 - np.log2(spacing)
    return np.asarray(np.exp2(np.maximum(0.0, np.round(octave))))


def follow_neighbours(signs: FloatArray, decided: BoolArray, indices: IndexArray, agreements: Float32Array) -> None:
    """Sets, in place, the signs (N,) of points not `decided` (N,) by the majority of their neighbours.

    Rings of points take their signs from the rings before them, starting at the decided points. Then all of them take the majority
    of all their neighbours, several times. indices (N, k) with agreements (N, k).
    """
    from scipy.sparse import csr_array

    known, open_rows = decided.copy(), np.flatnonzero(~decided)
    count, k = indices.shape

    def take_majority(rows: IntArray) -> IntArray:
        near = indices[rows]
        pull = (agreements[rows] * (signs[near] * known[near])).sum(axis=1)
        newly_decided: IntArray = rows[pull != 0]
        signs[newly_decided] = np.sign(pull[pull != 0])
        return newly_decided

    starts = np.arange(len(open_rows) + 1) * k
    links = csr_array((np.ones(len(open_rows) * k, np.int8), indices[open_rows].ravel(), starts), shape=(len(open_rows), count))
    neighbour_of = links.T.tocsr()  # the open points that have each point as a neighbour
    front = open_rows[known[indices[open_rows]].any(axis=1)]
    while len(front):
        newly_decided = take_majority(front)
        known[newly_decided] = True
        front = open_rows[np.unique(neighbour_of[newly_decided].indices)]
        front = front[~known[front]]
    for _ in range(PROPAGATION.sweeps):
        known[take_majority(open_rows)] = True


def components_of(chosen: BoolArray, indices: IndexArray) -> IntArray:
    """(N,) number of the connected component of each chosen point (N,), linked by neighbours (N, k)."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, other = np.repeat(np.flatnonzero(chosen), indices.shape[1]), indices[chosen].ravel().astype(np.int64)
    both_chosen = chosen[other]
    pairs = (first[both_chosen], other[both_chosen])
    found = connected_components(coo_array((np.ones(len(pairs[0]), np.int8), pairs), shape=(len(chosen),) * 2), directed=False)[1]
    return np.asarray(found, dtype=np.int64)


def inconsistent_components(
    chosen: BoolArray, component: IntArray, signs: FloatArray, indices: IndexArray, agreements: Float32Array
) -> BoolArray:
    """(N,) chosen points of those components (N,) that, on the whole, contradict their neighbours outside.

    indices, agreements (N, k), with signs (N,). A component without neighbours outside counts as inconsistent.
    """
    first, other = np.repeat(np.flatnonzero(chosen), indices.shape[1]), indices[chosen].ravel().astype(np.int64)
    outside = ~chosen[other]
    consistency = agreements[chosen].ravel() * signs[first] * signs[other]
    count = int(component.max(initial=-1)) + 1
    total = np.bincount(component[first[outside]], consistency[outside], minlength=count)
    isolated = np.bincount(component[first[outside]], minlength=count) == 0
    return np.asarray(chosen & (isolated | (total < 0))[component])


def wall_separations(points: FloatArray, normals: FloatArray, rows: IntArray, indices: IndexArray) -> tuple[FloatArray, BoolArray]:
    """(M, k) distances along the normals from points `rows` (M,) to their neighbours, and which face away.

    The distance is the mean of how far the neighbour lies in front of the point and the point in front of the neighbour. Where both
    sides of a wall are right, it is minus its thickness; where one of two normals is flipped by mistake, it is 0 but for noise.
    """
    own, other = normals[rows][:, None], normals[indices]
    offset = points[indices] - points[rows][:, None]
    return np.einsum("mki,mki->mk", own - other, offset) / 2, np.asarray(np.einsum("mji,mki->mk", own, other) < 0)


def neighbour_consistency(signs: FloatArray, indices: IndexArray, agreements: Float32Array) -> FloatArray:
    """(N,) sum of a point's agreements with its neighbours, times both signs, over their sizes: -1 to 1."""
    result, short = np.empty(len(signs)), signs.astype(np.float32)
    for part in chunks(len(signs)):
        pull = agreements[part] * short[part][:, None] * np.take(short, indices[part])
        result[part] = pull.sum(axis=1) / np.maximum(np.abs(agreements[part]).sum(axis=1), 1e-6)
    return result
