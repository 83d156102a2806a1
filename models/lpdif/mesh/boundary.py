"""Even rims: an open surface ends along a smooth line where its points end, not face by face somewhere beyond them.

Letters: V vertices, F faces, K points around a vertex, u distance beyond the border of the points (negative inland), s local spacing.

Of points that fill a half-plane evenly, the mean under a Gaussian of width sigma around a vertex lies off the vertex by
sigma * lambda(u / sigma), lambda(t) = phi(t) / Phi(-t) the inverse Mills ratio: 0.8 sigma at the border, less inland, more beyond.
It grows with u, so the offset tells u, without a search for the border.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import log_ndtr

from lpdif.arrays import FloatArray
from lpdif.geometry import Surface, keep_faces
from lpdif.mesh.topology import boundary_vertices_if_oriented
from lpdif.mesh.trim import pinholes
from lpdif.points.coverage import Around, Coverage, View
from lpdif.points.neighbours import query

NEAREST = 32  # K
SIGMA = 1.25  # of the Gaussian, in spacings: K points inland reach 2.5 sigma
WIDE = 5.0  # u is asked for within so many spacings of the surface's border
STEPS = np.linspace(-4.0, 6.0, 201)  # t at which lambda is tabled; it lies between 0.0001 and 6.2
MILLS = np.exp(-0.5 * STEPS**2 - log_ndtr(-STEPS)) / np.sqrt(2 * np.pi)
CHUNK = 1 << 15  # vertices looked at together


def smooth_boundary(surface: Surface, cover: Coverage, beyond: float, largest_hole: FloatArray) -> Surface:
    """The surface cut off where it reaches `beyond` local spacings past the border of the points that cover it.

    Only what hangs together with the surface's own border is cut, or is larger than `largest_hole` (V,), world units squared: a thin spot
    amid the points is no rim.
    """
    border = boundary_vertices_if_oriented(surface.faces, len(surface.vertices))
    if not border.any():
        return surface
    around = cover.around(surface.vertices)
    off = query(cKDTree(surface.vertices[border]), surface.vertices, threads=cover.threads)[0]
    close = np.flatnonzero(off <= WIDE * around.spacing)
    past = np.full(len(surface.vertices), STEPS[0] * SIGMA)
    past[close] = border_distance(surface.vertices[close], cover, around.at(close))
    past[inland(surface, past >= beyond, largest_hole)] = np.nextafter(beyond, -np.inf)
    return cut_at(surface, past, beyond)


def border_distance(vertices: FloatArray, cover: Coverage, around: Around) -> FloatArray:
    """(V,) u / s: how far vertices lie past the border of the points, in the surface that these lie on; around: what counts there."""
    found = np.empty(len(vertices))
    for number, view in enumerate(cover.views):
        rows = np.flatnonzero(around.view == number)
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            found[part] = past_border(vertices[part], view, around.spacing[part], cover.threads)
    return found


def past_border(vertices: FloatArray, view: View, spacing: FloatArray, threads: int = 1) -> FloatArray:
    """The same for vertices of one view, in the spacing (V,) around each."""
    distance, index = query(view.tree, vertices, np.arange(1, min(NEAREST, view.tree.n) + 1), threads)
    sigma = SIGMA * spacing[:, None]
    weight = np.exp(-0.5 * (np.square(distance) - np.square(distance[:, :1])) / np.square(sigma))
    weight /= weight.sum(1, keepdims=True)
    mean = np.einsum("vk,vki->vi", weight, view.tree.data[index] - vertices[:, None])
    upward = np.einsum("vk,vki->vi", weight, view.normals[index])
    upward /= np.maximum(np.linalg.norm(upward, axis=1, keepdims=True), 1e-12)
    along = mean - (mean * upward).sum(1, keepdims=True) * upward
    return np.asarray(SIGMA * np.interp(np.linalg.norm(along, axis=1) / sigma[:, 0], MILLS, STEPS))


def inland(surface: Surface, past: NDArray[np.bool_], largest_hole: FloatArray) -> NDArray[np.bool_]:
    """(V,) of the vertices that lie past the rim, those whose faces hang together in a small part that does not meet the border."""
    chosen = np.asarray(past[surface.faces].any(1))
    faces, small = surface.faces[chosen], pinholes(surface, chosen, largest_hole)
    found, others = np.zeros((2, len(past)), bool)
    found[faces[small]] = True
    others[faces[~small]] = True
    return found & ~others & past


def cut_at(surface: Surface, values: FloatArray, level: float) -> Surface:
    """The part of the surface where the values (V,), taken as linear on every face, are below the level."""
    vertices, faces = surface
    inside = values < level
    count = inside[faces].sum(1)
    # each cut face is turned until its odd corner, alone on its side, comes first
    cut = np.flatnonzero((count == 1) | (count == 2))
    alone = np.argmax(inside[faces[cut]] == (count[cut] == 1)[:, None], axis=1)
    a, b, c = (faces[cut, (alone + turn) % 3] for turn in range(3))
    ends = np.sort(np.concatenate([np.stack([a, b], 1), np.stack([a, c], 1)]), axis=1)
    _, first, row = np.unique(ends[:, 0] * len(vertices) + ends[:, 1], return_index=True, return_inverse=True)
    low, high = ends[first].T
    share = (level - values[low]) / (values[high] - values[low])
    fresh = vertices[low] + share[:, None] * (vertices[high] - vertices[low])
    ab, ac = np.split(row.reshape(-1) + len(vertices), 2)
    one = count[cut] == 1
    two = ~one
    pieces = [
        faces[count == 3],
        np.stack([a, ab, ac], 1)[one],
        np.stack([ab, b, c], 1)[two],
        np.stack([ab, c, ac], 1)[two],
    ]
    whole = Surface(np.concatenate([vertices, fresh]), np.concatenate(pieces))
    return keep_faces(whole, np.ones(len(whole.faces), bool))[0]
