"""Surface only where there is data: what lies too far from the points goes, pinholes between them stay closed, crumbs go.

Letters: V vertices, F faces.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray
from lpdif.geometry import Surface, face_areas, vertex_normals
from lpdif.mesh.topology import edge_numbers, face_components, vertex_components
from lpdif.points.neighbours import query

ASKED = 12  # points asked for their normals
LEAST_ALIKE = 0.2  # cosine
CHUNK = 1 << 15  # vertices looked at together


def trim(surface: Surface, supported: NDArray[np.bool_], largest_hole: FloatArray) -> NDArray[np.bool_]:
    """(F,) faces to keep: those whose vertices are all supported (V,), and pinholes.

    A pinhole is a connected part of the other faces that does not reach the surface's own border and whose area is at most
    largest_hole (V,), world units squared, around its vertices.
    """
    kept: NDArray[np.bool_] = np.asarray(supported[surface.faces].all(1))
    if kept.all():
        return kept
    kept[~kept] = pinholes(surface, ~kept, largest_hole)
    return kept


def opposing(surface: Surface, vertex: IntArray, tree: cKDTree, normals: FloatArray, threads: int = 1) -> NDArray[np.bool_]:
    """(M,) of the vertices (M,), those where the surface looks the way of none of the nearest points, at least at LEAST_ALIKE.

    tree: of the points (N, 3), with unit normals (N, 3). That is a sheet that no scanner saw: it runs back behind the points, or across a gap.
    """
    facing = vertex_normals(surface)[vertex]
    found = np.empty(len(vertex), bool)
    for start in range(0, len(vertex), CHUNK):
        part = slice(start, start + CHUNK)
        near = query(tree, surface.vertices[vertex[part]], np.arange(1, min(ASKED, tree.n) + 1), threads)[1]
        found[part] = np.einsum("vki,vi->vk", normals[near], facing[part]).max(1) < LEAST_ALIKE
    return found


def pinholes(surface: Surface, chosen: NDArray[np.bool_], largest: FloatArray) -> NDArray[np.bool_]:
    """Of each chosen face (F,), in their order: whether the part that they form over shared edges does not reach the surface's own border and
    has an area of at most `largest` (V,), where that differs in the harmonic mean."""
    if not chosen.any():
        return np.zeros(0, bool)
    # only faces around them matter: every face at an edge of one of them is there
    involved = np.zeros(len(surface.vertices), bool)
    involved[surface.faces[chosen]] = True
    around = np.nonzero(involved[surface.faces].any(1))[0]
    doubtful = np.asarray(chosen[around])
    number, count = edge_numbers(surface.faces[around])
    parts = face_components(surface.faces[around], number, doubtful)[doubtful]
    on_border = (count[number] == 1).reshape(3, -1).any(0)[doubtful]
    total = parts.max() + 1
    touches = np.bincount(parts[on_border], minlength=total) > 0
    faces = surface.faces[around[doubtful]]
    share = np.bincount(parts, face_areas(Surface(surface.vertices, faces)) * np.reciprocal(largest)[faces].mean(1), total)
    return np.asarray((~touches & (share <= 1))[parts])


def large_parts(surface: Surface, weight: FloatArray, least: float, of: IntArray | None = None) -> NDArray[np.bool_]:
    """(F,) faces of parts, connected over vertices, whose summed weight (F,) is at least `least`. The heaviest part always stays; where parts
    are pieces of something, whose number `of` (V,) tells, the heaviest piece of each."""
    vertex = surface.faces[:, 0]
    part = vertex_components(surface)[vertex]
    sums = np.bincount(part, weight)
    good = sums >= least
    whole = np.zeros(len(sums), np.int64)
    if of is not None:
        whole[part] = of[vertex]
    order = np.lexsort((sums, whole))
    good[order[np.diff(whole[order], append=-1) != 0]] = True
    return np.asarray(good[part])
