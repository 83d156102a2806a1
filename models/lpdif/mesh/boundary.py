"""Smooth boundaries: an open surface ends along a smooth line where its points end.

Letters: V vertices, F faces, K nearest points of a vertex, s local spacing, u signed distance of a place past the border of the points, in the
surface and in spacings (negative where there are points all around).

Of points that fill a half-plane evenly, the mean under a Gaussian of width sigma around a vertex lies off the vertex by
sigma * lambda(u s / sigma), where lambda(t) = phi(t) / Phi(-t) is the inverse Mills ratio: 0.8 sigma at the border, less inside, more outside.
The offset grows with u, so it gives u without a search for the border.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import log_ndtr

from lpdif.arrays import CHUNK, BoolArray, FloatArray, chunks, index_type
from lpdif.geometry import Surface, number_anew
from lpdif.mesh.topology import boundary_vertices_if_oriented
from lpdif.mesh.trim import pinholes
from lpdif.points.coverage import Coverage, DensityLevel, NearestPoints
from lpdif.points.neighbours import query


class BoundarySettings(NamedTuple):
    """How the distance past the border of the points is measured."""

    neighbours: int = 32  # K.
    sigma: float = 1.25  # Width of the Gaussian in spacings: amid points, K of them reach 2.5 sigma.
    search: float = 5.0  # The distance is measured within so many spacings of the surface's boundary.


BOUNDARY = BoundarySettings()
MILLS_ARGUMENTS = np.linspace(-4.0, 6.0, 201)  # The t for which lambda is in the table.
MILLS_RATIOS = np.exp(-0.5 * MILLS_ARGUMENTS**2 - log_ndtr(-MILLS_ARGUMENTS)) / np.sqrt(2 * np.pi)  # From 0.0001 to 6.2.


def smooth_boundary(surface: Surface, coverage: Coverage, limit: float, largest_hole: FloatArray) -> Surface:
    """The surface, cut off where it is `limit` local spacings or more past the border of the points.

    Only what is connected with the surface's own boundary is cut, or has an area above `largest_hole` (V,), world units squared: a place with
    few points that has others all around is no border.
    """
    boundary = boundary_vertices_if_oriented(surface.faces, len(surface.vertices))
    if not boundary.any():
        return surface
    around = coverage.around(surface.vertices)
    distance = query(cKDTree(surface.vertices[boundary]), surface.vertices, threads=coverage.threads)[0]
    close = np.flatnonzero(distance <= BOUNDARY.search * around.spacing)
    past = np.full(len(surface.vertices), MILLS_ARGUMENTS[0] * BOUNDARY.sigma)
    past[close] = border_distance(surface.vertices[close], coverage, around.at(close))
    past[in_pinholes(surface, past >= limit, largest_hole)] = np.nextafter(limit, -np.inf)
    del around, distance, close  # large, and the surface is copied now
    return clip(surface, past, limit)


def border_distance(vertices: FloatArray, coverage: Coverage, around: NearestPoints) -> FloatArray:
    """(V,) u of the vertices (V, 3) of a surface. around: what the points cover at each of them."""
    found = np.empty(len(vertices))
    for number, level in enumerate(coverage.levels):
        rows = np.flatnonzero(around.level == number)
        for part in chunks(len(rows), CHUNK // 4):  # fewer than elsewhere: each has K neighbours
            found[rows[part]] = border_distance_at_level(vertices[rows[part]], level, around.spacing[rows[part]], coverage.threads)
    return found


def border_distance_at_level(vertices: FloatArray, level: DensityLevel, spacing: FloatArray, threads: int = 1) -> FloatArray:
    """(V,) u of vertices (V, 3) where the points of one level count, with the spacing (V,) around each."""
    distance, index = query(level.tree, vertices, np.arange(1, min(BOUNDARY.neighbours, level.tree.n) + 1), threads)
    sigma = BOUNDARY.sigma * spacing[:, None]
    weight = np.exp(-0.5 * (np.square(distance) - np.square(distance[:, :1])) / np.square(sigma))
    weight /= weight.sum(1, keepdims=True)
    mean = np.einsum("vk,vki->vi", weight, level.tree.data[index] - vertices[:, None])
    normal = np.einsum("vk,vki->vi", weight, level.normals[index])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    offset = mean - (mean * normal).sum(1, keepdims=True) * normal  # in the tangent plane
    return np.asarray(BOUNDARY.sigma * np.interp(np.linalg.norm(offset, axis=1) / sigma[:, 0], MILLS_RATIOS, MILLS_ARGUMENTS))


def in_pinholes(surface: Surface, past: BoolArray, largest_hole: FloatArray) -> BoolArray:
    """(V,) the vertices past the limit, as past (V,) tells, all of whose faces past it are pinholes."""
    chosen = np.asarray(past[surface.faces].any(1))
    faces, small = surface.faces[chosen], pinholes(surface, chosen, largest_hole)
    found, others = np.zeros((2, len(past)), bool)
    found[faces[small]] = True
    others[faces[~small]] = True
    return found & ~others & past


def clip(surface: Surface, values: FloatArray, level: float) -> Surface:
    """The part of the surface where the values (V,), linear on every face, are below the level."""
    vertices, faces = surface
    inside = values < level
    count = inside[faces].sum(1, dtype=np.int8)
    # Each cut face is turned until its odd corner, alone on its side, comes first.
    cut = np.flatnonzero((count == 1) | (count == 2))
    alone = np.argmax(inside[faces[cut]] == (count[cut] == 1)[:, None], axis=1)
    a, b, c = (faces[cut, (alone + turn) % 3] for turn in range(3))
    ends = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
    _, first, row = np.unique(ends[:, 0].astype(np.int64) * len(vertices) + ends[:, 1], return_index=True, return_inverse=True)
    low, high = ends[first].T
    share = (level - values[low]) / (values[high] - values[low])
    fresh = vertices[low] + share[:, None] * (vertices[high] - vertices[low])
    ab, ac = np.split((row.reshape(-1) + len(vertices)).astype(index_type(len(vertices) + len(fresh))), 2)
    one = count[cut] == 1
    two = ~one
    cut_faces = np.stack([a, ab, ac], 1)[one], np.stack([ab, b, c], 1)[two], np.stack([ab, c, ac], 1)[two]
    left = np.concatenate([faces[count == 3], *cut_faces])
    used = np.zeros(len(vertices) + len(fresh), bool)
    used[left] = True
    number_anew(left, used, left)
    kept, begin = np.empty((int(used.sum()), 3)), 0
    old = (vertices[part][used[part]] for part in chunks(len(vertices)))
    for some in itertools.chain(old, [fresh[used[len(vertices) :]]]):
        kept[begin : begin + len(some)] = some
        begin += len(some)
    return Surface(kept, left)
