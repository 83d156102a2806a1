"""Outliers: points that lie on no surface.

A point of a surface lies in the planes of points around it, and they in its own; both are then linked. Points most of whose neighbours are
linked to them form sheets, connected by their links. What lies in the planes of a sheet's points belongs to it, as at edges. All other points
are strays, unless many of them together look like a surface of their own, as small or noisy parts do, and most of those as sparse do.

N points, k neighbours of each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, NumberArray, chunks
from lpdif.components import linked_components
from lpdif.points.neighbours import NEIGHBOURHOOD, Neighbours, neighbours_of_kept, query, search_tree

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

ROWS_COUNTED = 1 << 18  # so many points' neighbours are counted at once: each time takes a pass over all points


class OutlierSettings(NamedTuple):
    """When a point is an outlier."""

    rounds: int = 3  # Points are judged again at most this many times, as outliers bend the planes of the points around them.
    most_share: float = 0.3  # If more than this share of a scan seem to be outliers, none is taken for one.

    # Links: two points lie in each other's planes
    largest_sine: float = 0.35  # The way from one to the other leaves either plane by no more than this sine, beside noise.
    noises: float = 3.0  # Noise may lift a point out of a plane by this many of its standard deviations.
    largest_gap: float = 2.0  # A link is at most this many mean distances of the neighbours of the point that it leads to.

    # Sheets
    linked: float = 0.5  # A point belongs to a sheet if it is linked to this share of its neighbours, or of those whose neighbour it is.
    attached: float = 0.25  # A point that lies in the planes of this share belongs to their sheet, whatever its own plane.
    smallest_sheet: int = 192  # A component of fewer linked points is no sheet.

    # Parts: what is left, of points near each other
    part_of_quadric: int = 96  # A part of at most this many points is judged as a whole, a larger one around each of its points.
    quadric_scatter: float = 0.15  # A part is a surface if it scatters about its best quadric by at most this share of its own radius.

    # Space filled by outliers: a large part, or points of a sheet that are hardly linked
    sparse: float = 1.8  # Points of a sheet may fill space if they are this many times as far apart as is typical, and hardly linked.
    crowd: int = 48  # The growth of the number of points is measured from the `NEIGHBOURHOOD`-th to this nearest point.
    alike: float = 0.5  # Points around whose neighbours are nearer than this share of one's own belong to something else.
    fills_space: float = 2.55  # Points whose number grows with a higher power of the distance than this fill space, and lie on no surface.


OUTLIERS = OutlierSettings()


def inlier_rows(points: FloatArray, tree: cKDTree, neighbours: Neighbours, noise: FloatArray, threads: int = 1) -> BoolArray:
    """(N,) True where a point belongs to a surface.

    points      (N, 3) distinct, with their search tree
    neighbours  their `NEIGHBOURHOOD` nearest (fewer only in a scan of fewer points)
    noise       (N,) standard deviation of the points about the surface, around each

    Points are judged again, against the points still there, while any go.
    """
    left = np.arange(len(points))
    for _ in range(OUTLIERS.rounds):
        if neighbours.indices.shape[1] < NEIGHBOURHOOD:
            break
        good = on_surface(points[left], tree, neighbours, noise[left], threads)
        if good.all() or good.sum() <= NEIGHBOURHOOD:
            break
        left = left[good]
        tree = search_tree(points[left])
        neighbours = neighbours_of_kept(tree, points[left], neighbours, good, threads)
    inlier = np.zeros(len(points), dtype=np.bool_)
    inlier[left] = True
    return inlier


def on_surface(points: FloatArray, tree: cKDTree, neighbours: Neighbours, noise: FloatArray, threads: int) -> BoolArray:
    """(N,) whether points (N, 3) belong to a sheet, or to a part that looks like a surface; not to a mist that fills space."""
    indices, mean = neighbours.indices, neighbours.mean
    close, in_theirs, in_own = links(points, neighbours, noise)
    linked = close & in_theirs & in_own
    flat = enough(indices, linked, linked, OUTLIERS.linked)
    joined = flat[indices]
    joined &= linked
    joined &= flat[:, None]
    sheet = large(components(indices, joined), flat, OUTLIERS.smallest_sheet)
    del joined  # as large as half a scan, as are those below
    beside = sheet[indices]
    beside &= close
    in_theirs &= beside
    in_own &= sheet[:, None]
    attached = enough(indices, in_theirs, in_own, OUTLIERS.attached)
    del in_theirs, in_own
    good = sheet | attached
    near = beside.mean(axis=1) >= OUTLIERS.attached
    doubtful = np.flatnonzero(~sheet & near)
    offset, aside, deviation = plane_offset(points[indices[doubtful]] - points[doubtful][:, None])
    good[doubtful] = offset <= np.hypot(OUTLIERS.noises * np.maximum(deviation, noise[doubtful]), aside)
    rest = np.flatnonzero(~good & ~near)
    if len(rest):
        good[rest] = in_parts(points, rest, neighbours, close, tree, threads)
    share = linked.mean(axis=1)
    misty = np.flatnonzero(good & (mean > OUTLIERS.sparse * np.median(mean)) & (share < 1))
    misty = misty[share[indices[misty]].mean(axis=1) < OUTLIERS.linked]
    dimension = intrinsic_dimension(tree, mean, misty, threads)
    few = np.isinf(dimension) & (sheet | attached)[misty]  # as sparse points beside a dense detail, which are no mist
    good[misty] = (dimension <= OUTLIERS.fills_space) | few
    patch = flat & beside.any(axis=1) & (mean <= OUTLIERS.sparse * np.median(mean))
    return good | patch  # as of a thin wall, whose sides keep each other's points apart


def links(points: FloatArray, neighbours: Neighbours, noise: FloatArray) -> tuple[BoolArray, BoolArray, BoolArray]:
    """(N, k) whether a point is close to its neighbour; whether it lies in its plane; whether that lies in its own.

    The plane of a point is the best one through it and its neighbours.
    """
    indices = neighbours.indices
    axes = np.empty_like(points)
    for part in chunks(len(points)):
        axes[part] = plane_axes(points[indices[part]] - points[part][:, None], noise[part])
    close, in_theirs, in_own = np.empty((3, *indices.shape), dtype=np.bool_)
    for part in chunks(len(points)):
        way = points[indices[part]] - points[part][:, None]
        length = np.linalg.norm(way, axis=2)
        slope, beside = OUTLIERS.largest_sine * length, indices[part]
        close[part] = length <= OUTLIERS.largest_gap * neighbours.mean[beside]
        in_theirs[part] = np.abs(np.einsum("nki,nki->nk", way, axes[beside])) <= np.hypot(slope, OUTLIERS.noises * noise[beside])
        in_own[part] = np.abs(np.einsum("nki,ni->nk", way, axes[part])) <= np.hypot(slope, OUTLIERS.noises * noise[part, None])
    return close, in_theirs, in_own


def plane_axes(near: FloatArray, noise: FloatArray) -> FloatArray:
    """(M, 3) axes of the planes of points whose neighbours lie at offsets (M, k, 3).

    Of the best planes through a point and all its neighbours, or the nearer half of them, the one that more of all neighbours lie in: beside
    a thin wall's other side, or a stray, the nearer ones tell more.
    """
    allowed = np.hypot(OUTLIERS.largest_sine * np.linalg.norm(near, axis=2), OUTLIERS.noises * noise[:, None])
    best, most = np.zeros((len(near), 3)), np.full(len(near), -1)
    for count in (near.shape[1], near.shape[1] // 2):
        around = np.concatenate([np.zeros_like(near[:, :1]), near[:, :count]], axis=1)
        around -= around.mean(axis=1, keepdims=True)
        axis = np.linalg.eigh(np.swapaxes(around, 1, 2) @ around)[1][:, :, 0]
        there = (np.abs(np.einsum("mki,mi->mk", near, axis)) <= allowed).sum(axis=1)
        better = there > most
        best[better], most[better] = axis[better], there[better]
    return best


def plane_offset(near: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Distance (M,) of the origin from the best plane through points (M, k, 3), from their middle in it, and the former's deviation.

    The deviation is that of one more point, from the scatter of the k about their own plane, which has k - 3 degrees of freedom. Beyond an edge
    of up to 90 degrees, a point of the surface is off the plane before it by no more than it is off the middle.
    """
    centre, k = near.mean(axis=1), near.shape[1]
    centred = near - centre[:, None]
    values, axes = np.linalg.eigh(np.swapaxes(centred, 1, 2) @ centred * ((k + 1) / k / max(k - 3, 1)))
    offset, *aside = np.moveaxis(np.einsum("mi,mij->mj", centre, axes), 1, 0)
    return np.abs(offset), np.hypot(*aside), np.sqrt(np.maximum(values[:, 0], 0))


def enough(indices: IndexArray, forward: BoolArray, backward: BoolArray, share: float) -> BoolArray:
    """(N,) whether a share of the neighbours of a point count, or of the points whose neighbour it is.

    forward (N, k): whether a neighbour counts for the point; backward (N, k): whether the point counts for its neighbour.
    """
    count = len(indices)
    times, counted = np.zeros((2, count), np.int32)
    for part in chunks(count, ROWS_COUNTED):
        times += np.bincount(indices[part].ravel(), minlength=count)
        counted += np.bincount(indices[part][backward[part]], minlength=count)
    return np.asarray((forward.mean(axis=1) >= share) | (counted >= np.maximum(share * times, 1)))


def components(indices: IndexArray, joined: BoolArray) -> NumberArray:
    """(N,) number of the connected component of each point, along the joined (N, k) of its neighbours."""

    def links(part: slice) -> tuple[IndexArray, IndexArray]:
        rows = np.arange(part.start, part.stop, dtype=np.int32)
        return np.repeat(rows, joined[part].sum(axis=1)), indices[part][joined[part]]

    return linked_components(len(indices), map(links, chunks(len(indices))))


def large(component: NumberArray, chosen: BoolArray, least: int) -> BoolArray:
    """(N,) the chosen points whose component holds at least so many of them."""
    return np.asarray(chosen & (np.bincount(component, chosen)[component] >= least))


def in_parts(points: FloatArray, rows: IntArray, neighbours: Neighbours, close: BoolArray, tree: cKDTree, threads: int) -> BoolArray:
    """(R,) whether points `rows`, on no sheet, belong to a part that looks like a surface.

    A part is a connected component of such points near each other. Up to half of the small clouds of strays look like a surface, by chance. So
    parts count only where, of all points in parts as sparse, no more look like none than look like one.
    """
    chosen = np.zeros(len(points), dtype=np.bool_)
    chosen[rows] = True
    number = np.cumsum(chosen) - 1
    indices = neighbours.indices[rows]
    part = components(np.where(chosen[indices], number[indices], 0).astype(np.int32), chosen[indices] & close[rows])
    size = np.bincount(part)
    found = np.zeros(len(rows), dtype=np.bool_)
    whole = np.flatnonzero((size[part] >= NEIGHBOURHOOD) & (size[part] <= OUTLIERS.part_of_quadric))
    whole = whole[np.argsort(part[whole], kind="stable")]
    for one in np.split(whole, np.flatnonzero(np.diff(part[whole])) + 1):
        found[one] = len(one) > 0 and quadric_scatter(points[rows[one]]) <= OUTLIERS.quadric_scatter
    many = np.flatnonzero(size[part] > OUTLIERS.part_of_quadric)
    found[many] = intrinsic_dimension(tree, neighbours.mean, rows[many], threads) <= OUTLIERS.fills_space
    sparsity = (np.bincount(part, neighbours.mean[rows]) / size)[part]
    return found & (alike(sparsity, sparsity[found]) >= alike(sparsity, sparsity[~found]))


def alike(values: FloatArray, among: FloatArray) -> IntArray:
    """(R,) how many `among` (M,) are alike to each of the values (R,), up to the factor `OUTLIERS.alike`."""
    ordered = np.sort(among)
    return np.searchsorted(ordered, values / OUTLIERS.alike, side="right") - np.searchsorted(ordered, values * OUTLIERS.alike)


def quadric_scatter(points: FloatArray) -> float:
    """Scatter of points (M, 3) about the quadric nearest to them, over the radius of the whole; 0 of a plane, a sphere, a rod.

    The distance is that of Taubin (1991): the square sum of a quadratic function over that of its gradient, least over all functions. It is
    freed of the degrees of freedom.
    """
    from scipy.linalg import eigh

    centred = points - points.mean(axis=0)
    radius = np.sqrt(np.square(centred).sum(axis=1).mean())
    x, y, z = (centred / max(radius, 1e-300)).T
    one, none = np.ones_like(x), np.zeros_like(x)
    terms = np.stack([x, y, z, x * x, y * y, z * z, x * y, x * z, y * z], axis=1)
    slopes = np.stack(
        [
            [one, none, none, 2 * x, none, none, y, z, none],
            [none, one, none, none, 2 * y, none, x, none, z],
            [none, none, one, none, none, 2 * z, none, x, y],
        ]
    )
    terms -= terms.mean(axis=0)  # so that the constant term is the best one
    least = eigh(terms.T @ terms, np.einsum("itm,ism->ts", slopes, slopes) + 1e-12 * np.eye(9), eigvals_only=True)[0]
    return float(np.sqrt(max(least, 0.0) * len(points) / max(len(points) - 9, 1)))


def intrinsic_dimension(tree: cKDTree, mean: FloatArray, rows: IntArray, threads: int = 1) -> FloatArray:
    """(R,) intrinsic dimension around points `rows`.

    The number of points grows with this power of the distance: it is 1 on a line, 2 on a surface, 3 in space. tree: of N points; mean (N,):
    mean distances of their neighbours. For one point it is a guess, from the ratio of two of its distances (Pettis et al. 1979); so it is
    averaged over the 2 `OUTLIERS.crowd` points around, of those of about the same density. It is infinite where fewer than `OUTLIERS.crowd`
    of these are (or all there are): too few to be a surface.
    """
    growth = np.full(tree.n, np.nan)
    crowd = min(OUTLIERS.crowd, tree.n - 1)
    near = min(NEIGHBOURHOOD, crowd)
    found = np.empty(len(rows))
    for part in chunks(len(rows)):
        around = query(tree, tree.data[rows[part]], min(2 * OUTLIERS.crowd, tree.n - 1) + 1, threads)[1]
        new = np.unique(around)
        new = new[np.isnan(growth[new])]
        distances = query(tree, tree.data[new], [near + 1, crowd + 1], threads)[0]
        growth[new] = np.log(distances[:, 1] / distances[:, 0])
        alike = mean[around] > OUTLIERS.alike * mean[rows[part]][:, None]
        found[part] = np.log(crowd / near) * alike.sum(axis=1) / np.maximum((growth[around] * alike).sum(axis=1), 1e-12)
        found[part][alike.sum(axis=1) < crowd] = np.inf
    return found
