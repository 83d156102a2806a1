"""The texture of a mesh: each texel gets the colour of the scan's points around its place on the surface.

Letters: N points, F faces, T texels. Coordinates of the texture run from 0 to 1, the first to the right and the second upwards; row 0 of the
picture is its top.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from lpdif.arrays import CHUNK, BoolArray, FloatArray, IntArray
from lpdif.geometry import Surface, vertex_normals
from lpdif.points.neighbours import FEW_NEIGHBOURS, WIDE_NEIGHBOURHOOD, query
from lpdif.points.spacing import NEGLIGIBLE


class Texels(NamedTuple):
    """Texels of the picture, with their place on the surface: row (T,), column (T,), face (T,), and weights (T, 3) of its corners."""

    row: IntArray
    column: IntArray
    face: IntArray
    weights: FloatArray


def bake(
    surface: Surface,
    coordinates: FloatArray,
    size: int,
    tree: cKDTree,
    normals: FloatArray,
    spacing: FloatArray,
    colors: NDArray[np.uint8],
    threads: int = 1,
) -> NDArray[np.uint8]:
    """(size, size, 3) picture of the colours of points, for texture coordinates (F, 3, 2).

    tree: of the points (N, 3), which have unit normals (N, 3), local spacing (N,) and colours (N, 3). Points that face away from the surface
    do not count: they lie on the other side of a thin wall. Texels outside of all faces get the colour of the nearest one inside, so that
    nothing shows at seams.
    """
    picture = np.zeros((size, size, 3), np.uint8)
    covered = np.zeros((size, size), bool)
    facing = vertex_normals(surface)
    for texels in rasterised(coordinates, size, covered):
        corners = surface.faces[texels.face]
        place = np.einsum("tk,tki->ti", texels.weights, surface.vertices[corners])
        normal = np.einsum("tk,tki->ti", texels.weights, facing[corners])
        picture[texels.row, texels.column] = colors_at(place, normal, tree, normals, spacing, colors, threads)
    if covered.any() and not covered.all():
        row, column = distance_transform_edt(~covered, return_distances=False, return_indices=True)
        picture = picture[row, column]
    return picture


def rasterised(coordinates: FloatArray, size: int, covered: BoolArray) -> Iterator[Texels]:
    """The texels whose centre lies in a face, some faces at a time; marks them in covered (size, size).

    coordinates (F, 3, 2). A face in which no centre lies gets the texel at its own centre, unless that is taken already.
    """
    corners = coordinates * size - 0.5  # in texels, the centre of the first at 0
    corners[:, :, 1] = size - 1 - corners[:, :, 1]
    low = np.ceil(corners.min(axis=1)).astype(np.int64).clip(0, size - 1)
    high = np.floor(corners.max(axis=1)).astype(np.int64).clip(0, size - 1)
    width, height = np.maximum(0, high - low + 1).T
    candidates = width * height
    seen = np.zeros(len(corners), bool)
    group = np.cumsum(candidates) // CHUNK
    for faces in np.split(np.arange(len(corners)), np.flatnonzero(np.diff(group)) + 1):
        face = np.repeat(faces, candidates[faces])
        number = np.arange(len(face)) - np.repeat(np.cumsum(candidates[faces]) - candidates[faces], candidates[faces])
        down, across = np.divmod(number, np.maximum(1, width[face]))
        column, row = low[face, 0] + across, low[face, 1] + down
        weights = barycentric(corners[face], np.stack([column, row], axis=1))
        inside = np.flatnonzero((weights >= 0).all(axis=1))
        seen[face[inside]] = True
        covered[row[inside], column[inside]] = True
        yield Texels(row[inside], column[inside], face[inside], weights[inside])
    face = np.flatnonzero(~seen)
    column, row = np.rint(corners[face].mean(axis=1)).astype(np.int64).clip(0, size - 1).T
    free = np.flatnonzero(~covered[row, column])
    covered[row[free], column[free]] = True
    yield Texels(row[free], column[free], face[free], np.full((len(free), 3), 1 / 3))


def barycentric(corners: FloatArray, place: FloatArray | IntArray) -> FloatArray:
    """(T, 3) weights of the corners (T, 3, 2) of triangles at places (T, 2); -1 for triangles without area."""
    first, second, third = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    way = place - first
    area = second[:, 0] * third[:, 1] - second[:, 1] * third[:, 0]
    safe = np.where(area == 0, 1.0, area)
    one = (way[:, 0] * third[:, 1] - way[:, 1] * third[:, 0]) / safe
    two = (second[:, 0] * way[:, 1] - second[:, 1] * way[:, 0]) / safe
    return np.where((area == 0)[:, None], -1.0, np.stack([1 - one - two, one, two], axis=1))


def colors_at(
    place: FloatArray,
    normal: FloatArray,
    tree: cKDTree,
    normals: FloatArray,
    spacing: FloatArray,
    colors: NDArray[np.uint8],
    threads: int = 1,
) -> NDArray[np.uint8]:
    """(T, 3) colours at places (T, 3) of the surface with normals (T, 3), from the points around that face the same way.

    Where none of them does, the nearest point counts.
    """
    found = np.empty((len(place), 3), np.uint8)
    left = np.arange(len(place))
    for count in (FEW_NEIGHBOURS, WIDE_NEIGHBOURHOOD):
        distance, near = query(tree, place[left], np.arange(1, min(count, tree.n) + 1), threads)
        counts = np.einsum("tki,ti->tk", normals[near], normal[left]) > 0
        some = counts.any(axis=1)
        # by the distance, but no point stands out as a dot
        weight = counts[some] / (np.square(distance[some]) + np.square(NEGLIGIBLE * spacing[near[some]]))
        total = np.einsum("tk,tki->ti", weight, colors[near[some]].astype(np.float64)) / weight.sum(axis=1)[:, None]
        found[left[some]] = np.rint(total).astype(np.uint8)
        left, nearest = left[~some], near[~some, 0]
        if len(left) == 0:
            return found
    found[left] = colors[nearest]
    return found
