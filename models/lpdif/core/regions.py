"""Regions of a scan: overlapping cubes on a sparse lattice.

There are several sizes where the density of the scan varies.

Letters: N points of a scan, R regions, P points of a region, Q queries, s region size. A region of size s sits on every corner (a
multiple of s) of a lattice cube that holds a point; it covers the cube of half-width SUPPORT * s around it, and the field is
the blend of the regions that cover a query, with weights that fall smoothly to zero at the border.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from lpdif.arrays import FloatArray, IntArray
from lpdif.lattice_keys import distinct, pack_keys, unpack_keys

SUPPORT = 0.625  # A region covers a cube of this half-width, in s: about two regions cover a query.
HALO = 1.5  # The encoder sees points within this distance of the region's centre, in its unit.
LEAST_POINTS = (
    16  # Where these are fewer, it sees so many, with those of another side within WIDE_HALO halos: just beyond a corner it would not
)
ROUNDING = 1e-9  # Distances that differ by less than this share may be equal but for rounding.
WIDE_HALO = (
    2.0  # know of one side. Another side has a normal of a cosine within OTHER_SIDE to the mean of those seen; a thin wall's back has -1.
)
OTHER_SIDE = (-0.1, 0.7)
MOST_POINTS = 128  # The encoder sees at most this many points of a region: the nearest to its centre.


class RegionSettings(NamedTuple):
    """What a region is taken to know. Lengths are in the encoder's unit."""

    full_support: int = 12  # A region that sees this many points counts in full; with fewer, by the cube of their share.
    off_centre: tuple[float, float] = (0.9, 1.2)  # A region counts less from the first distance of its points' mean on, hardly from the second.
    least_support: float = 1e-6  # The least support: such a region only counts where no other reaches.


REGION = RegionSettings()


@dataclass(frozen=True)
class RegionLattice:
    """The regions of one size.

    size     s, in the scan's unit
    keys     (R,) packed lattice coordinates, sorted
    first    the number of the first region, among the regions of all sizes
    """

    size: float
    keys: IntArray
    first: int

    @property
    def corners(self) -> IntArray:
        """(R, 3) the lattice coordinates of the regions."""
        return unpack_keys(self.keys)

    def find(self, corners: IntArray) -> IntArray:
        """(…,) number of the region at each lattice corner (…, 3), or -1."""
        keys = pack_keys(corners)
        at = np.minimum(np.searchsorted(self.keys, keys), max(0, len(self.keys) - 1))
        return np.where(self.keys[at] == keys, at + self.first, -1) if len(self.keys) else np.full(keys.shape, -1)

    def window(self, low: IntArray, high: IntArray) -> IntArray:
        """(n, m, k) region numbers of a box of lattice corners: `find` for a whole box.

        low, high (3,): its first and last corner, both in it. -1 where no region is.
        """
        axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
        return self.find(np.stack(np.meshgrid(*axes, indexing="ij"), -1))


def nearest_region(lattices: Sequence[RegionLattice], points: FloatArray) -> IntArray:
    """(Q,) number of the region nearest to each point (Q, 3), in the first of the lattices in which one stands at the nearest corner.

    -1 where none does in any.
    """
    region = np.full(len(points), -1)
    for lattice in lattices:
        open_ = np.nonzero(region < 0)[0]
        region[open_] = lattice.find(np.rint(points[open_] / lattice.size).astype(np.int64))
    return region


def between_points(points: FloatArray, normals: FloatArray, distance: FloatArray) -> FloatArray:
    """(8N, 3) places around each point (N, 3), in eight directions of its tangent plane.

    distance (N,): of the places from their point. There the surface goes on between the points. Regions that sit there too leave no gap
    where points lie farther apart than regions.
    """
    across = np.where(np.abs(normals[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(normals, across)
    first *= (distance / np.maximum(np.linalg.norm(first, axis=1), 1e-12))[:, None]
    second = np.cross(normals, first)
    angles = np.arange(8) * (np.pi / 4)
    turned = np.cos(angles)[:, None, None] * first + np.sin(angles)[:, None, None] * second
    return np.asarray((points + turned).reshape(-1, 3))


def region_lattices(points: FloatArray, finest: float, level: IntArray, first: int = 0) -> list[RegionLattice]:
    """Regions around points (N, 3): one lattice for each level (N,) that occurs, finest first.

    Those of level l have size finest * 2^l and sit around the points of that level. first: the number of the first region.
    """
    lattices = []
    for number in np.unique(level):
        size = finest * 2.0 ** int(number)
        lattices.append(lattice_around(cubes_at(points[level == number], size), size, first))
        first += len(lattices[-1].keys)
    return lattices


def cubes_at(points: FloatArray, size: float) -> IntArray:
    """(n,) sorted keys of the lattice cubes of this size that hold any of the points (N, 3)."""
    return distinct(pack_keys(np.floor(points / size).astype(np.int64)))


def lattice_around(cubes: IntArray, size: float, first: int) -> RegionLattice:
    """The regions at the corners of these cubes (n,), sorted keys; first: the number of the first."""
    keys = cubes
    for step in pack_keys(np.eye(3, dtype=np.int64)) - pack_keys(np.zeros(3, dtype=np.int64)):
        keys = distinct(np.concatenate([keys, keys + step]))
    return RegionLattice(size, keys, first)


class Gathered(NamedTuple):
    """The points that R regions see, nearest to the centre first.

    points   (R, P, 3) float32, relative to the centre and in s
    normals  (R, P, 3) float32
    mask     (R, P) which of them are there
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    mask: NDArray[np.bool_]


def gather_points(tree: cKDTree, points: FloatArray, normals: FloatArray, centers: FloatArray, size: float, halo: float, most: int) -> Gathered:
    """The up to `most` scan points nearest to each centre (R, 3), within halo * size; where these are few, also those of another side."""
    most = min(most, len(points))

    distance, index = nearest_in_order(tree, centers, most, halo * size)
    mask = np.isfinite(distance)
    few = np.flatnonzero((mask.sum(1) < LEAST_POINTS) & mask.any(1))
    if len(few):
        distance, index[few] = nearest_in_order(tree, centers[few], most, WIDE_HALO * halo * size)
        there = np.isfinite(distance)
        mask[few] |= of_another_side(normals, np.where(there, index[few], 0), mask[few], there)
        order = np.argsort(~mask[few], axis=1, kind="stable")
        mask[few], index[few] = np.take_along_axis(mask[few], order, 1), np.take_along_axis(index[few], order, 1)
    longest = max(1, int(mask.sum(1).max(initial=0)))
    mask, index = mask[:, :longest], np.where(mask, index, 0)[:, :longest]
    local = ((points[index] - centers[:, None]) / size).astype(np.float32) * mask[..., None]
    return Gathered(local, normals[index].astype(np.float32) * mask[..., None], mask)


def nearest_in_order(tree: cKDTree, centers: FloatArray, count: int, within: float) -> tuple[FloatArray, IntArray]:
    """(R, count) distances and numbers of the nearest points to each centre (R, 3), those at one distance in the order of their numbers.

    From `within` on the distance is infinite. A tree alone gives points at one distance in an order, and of points that differ by rounding the
    one or the other, by how it was built from all points, so that a region's code would depend on points that it does not see.
    """
    distance, index = tree.query(centers, k=count + 1, distance_upper_bound=within * (1 + ROUNDING))
    cut = np.flatnonzero(distance[:, count] <= distance[:, count - 1] * (1 + ROUNDING))  # the last one has others at its distance
    cut = cut[np.isfinite(distance[cut, count])]
    distance, index = distance[:, :count], index[:, :count]
    distance[distance >= within] = np.inf
    tied = np.flatnonzero(((distance[:, 1:] == distance[:, :-1]) & np.isfinite(distance[:, 1:])).any(axis=1))
    order = np.lexsort((index[tied], distance[tied]), axis=1)
    index[tied] = np.take_along_axis(index[tied], order, 1)
    if len(cut):
        for whole, part in zip((distance, index), nearest_in_order(tree, centers[cut], 2 * count, within), strict=True):
            whole[cut] = part[:, :count]
    return distance, index


def of_another_side(normals: FloatArray, index: IntArray, seen: NDArray[np.bool_], there: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(R, P) the nearest points of another side than those `seen` (R, P), so that LEAST_POINTS are seen. index (R, P), there (R, P)."""
    near = normals[index]
    mean = np.einsum("rpi,rp->ri", near, seen)
    mean /= np.maximum(np.linalg.norm(mean, axis=1), 1e-12)[:, None]
    cosine = np.einsum("rpi,ri->rp", near, mean)
    other = there & ~seen & (cosine > OTHER_SIDE[0]) & (cosine < OTHER_SIDE[1])
    return np.asarray(other & (other.cumsum(axis=1) <= LEAST_POINTS - seen.sum(axis=1, keepdims=True)))


class Seen(NamedTuple):
    """The points that R regions see, as tensors, nearest to the centre first.

    points, normals (R, P, 3), mask (R, P) bool; rows without a point are zero.
    """

    points: Tensor
    normals: Tensor
    mask: Tensor


def region_support(mask_RP: Tensor, origin_R3: Tensor) -> Tensor:
    """(R,) how well the points that regions see support them, in [REGION.least_support, 1].

        min(1, n / full_support)^3, fading where the mean lies far from the centre

    mask (R, P): the points that are there; origin (R, 3): their weighted mean, in the encoder's unit.
    A region that hangs beside an edge or over a gap sees few points, and all of them to one side. It takes the surface to go on towards it,
    so it only counts where no other region reaches.
    """
    near, far = REGION.off_centre
    backed = (mask_RP.sum(1).to(origin_R3.dtype) / REGION.full_support).clamp(max=1.0)
    beside: Tensor = ((far - origin_R3.norm(dim=1)) / (far - near)).clamp(0.0, 1.0)
    return (backed * backed * backed * beside).clamp_min(REGION.least_support)


class Pairs(NamedTuple):
    """Which region covers which query: query, region (X,) int64, weight (X,) float32, unnormalised."""

    query: IntArray
    region: IntArray
    weight: NDArray[np.float32]


def covering_pairs(points: FloatArray, lattice: RegionLattice, window: IntArray | None = None, low: IntArray | None = None) -> Pairs:
    """All (query, region) pairs of one lattice for queries (Q, 3).

    The weight is the product over the axes of (1 - t^2)^2, t the distance to the centre over the support. `window` with its
    corner `low` is the dense index of a box that holds the queries; without it every corner is searched for.
    """
    scaled = points / lattice.size
    base = np.floor(scaled)
    fraction = (scaled - base).astype(np.float32)
    bump = [np.square(np.maximum(0, 1 - np.square(part / np.float32(SUPPORT)))) for part in (fraction, 1 - fraction)]
    corners = base.astype(np.int64)
    flat = None if window is None or low is None else np.ravel_multi_index(tuple((corners - low).T), window.shape)
    found = []
    for corner in np.ndindex(2, 2, 2):
        weight = bump[corner[0]][:, 0] * bump[corner[1]][:, 1] * bump[corner[2]][:, 2]
        query = np.nonzero(weight)[0]
        if flat is None or window is None:
            region = lattice.find(corners[query] + np.array(corner))
        else:
            region = window.ravel()[flat[query] + int(np.dot(corner, (window.shape[1] * window.shape[2], window.shape[2], 1)))]
        there = region >= 0
        found.append(Pairs(query[there], region[there], weight[query[there]]))
    return Pairs(*(np.concatenate(part) for part in zip(*found, strict=True)))
