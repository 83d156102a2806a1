"""Trimming: surface far from the points and small components go, pinholes between points stay closed.

Letters: V vertices, F faces.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import BoolArray, FloatArray, IntArray, chunks
from lpdif.geometry import Surface, face_areas, vertex_normals
from lpdif.mesh.topology import edge_numbers, face_components, vertex_components
from lpdif.points.neighbours import NEIGHBOURHOOD, query
from lpdif.points.orientation.priors import PRIORS


def trim(surface: Surface, supported: BoolArray, largest_hole: FloatArray) -> BoolArray:
    """(F,) faces to keep: those whose vertices are all supported (V,), and pinholes.

    A pinhole is a connected component of the other faces that does not reach the surface's own boundary and whose area is at most
    largest_hole (V,), world units squared, around its vertices.
    """
    kept: BoolArray = np.asarray(supported[surface.faces].all(1))
    if kept.all():
        return kept
    kept[~kept] = pinholes(surface, ~kept, largest_hole)
    return kept


def faces_away(surface: Surface, vertex: IntArray, tree: cKDTree, normals: FloatArray, threads: int = 1) -> BoolArray:
    """(M,) of the vertices (M,), those where the surface faces the way of none of the nearest points.

    tree: of the points (N, 3), with unit normals (N, 3). Such surface was not seen by the scanner: it runs back behind the points, or across
    a gap.
    """
    facing = vertex_normals(surface)[vertex]
    found = np.empty(len(vertex), bool)
    for part in chunks(len(vertex)):
        near = query(tree, surface.vertices[vertex[part]], np.arange(1, min(NEIGHBOURHOOD, tree.n) + 1), threads)[1]
        found[part] = np.einsum("vki,vi->vk", normals[near], facing[part]).max(1) < PRIORS.grazing
    return found


def faces_scanner(surface: Surface, scanner: FloatArray, nearest: IntArray) -> BoolArray:
    """(V,) whether the surface faces the scanner, as all does that it can have seen.

    scanner: one place (3,), or that of each point (N, 3); nearest (V,): the nearest point.
    """
    sight = (scanner[nearest] if scanner.ndim == 2 else scanner) - surface.vertices
    return np.asarray(np.einsum("vi,vi->v", vertex_normals(surface), sight) > 0)


def pinholes(surface: Surface, chosen: BoolArray, largest: FloatArray) -> BoolArray:
    """Of each chosen face (F,), in their order: whether its connected component is a pinhole.

    That is: the component of chosen faces, over shared edges, does not reach the surface's own boundary and has an area of at most `largest`
    (V,); where that differs, the harmonic mean counts.
    """
    if not chosen.any():
        return np.zeros(0, bool)
    # Only faces around the chosen ones matter: every face at an edge of one of them is among these.
    involved = np.zeros(len(surface.vertices), bool)
    involved[surface.faces[chosen]] = True
    around = np.nonzero(involved[surface.faces].any(1))[0]
    doubtful = np.asarray(chosen[around])
    number, count = edge_numbers(surface.faces[around])
    component = face_components(surface.faces[around], number, doubtful)[doubtful]
    on_boundary = (count[number] == 1).reshape(3, -1).any(0)[doubtful]
    total = component.max() + 1
    is_open = np.bincount(component[on_boundary], minlength=total) > 0
    faces = surface.faces[around[doubtful]]
    share = np.bincount(component, face_areas(Surface(surface.vertices, faces)) * np.reciprocal(largest)[faces].mean(1), total)
    return np.asarray((~is_open & (share <= 1))[component])


def large_components(surface: Surface, weight: FloatArray, least: float, origin: IntArray | None = None) -> BoolArray:
    """(F,) faces of connected components whose summed weight (F,) is at least `least`.

    Components are connected over vertices. The heaviest always stays. origin (V,): where components came off larger ones, the number of the
    component that each vertex was of; the heaviest of each stays.
    """
    vertex = surface.faces[:, 0]
    component = vertex_components(surface)[vertex]
    sums = np.zeros(int(component.max(initial=-1)) + 1)
    for part in chunks(len(component)):  # np.bincount sums in the same order, but of numbers twice as long
        np.add.at(sums, component[part], weight[part])
    good = sums >= least
    whole = np.zeros(len(sums), np.int64)
    if origin is not None:
        whole[component] = origin[vertex]
    order = np.lexsort((sums, whole))
    good[order[np.diff(whole[order], append=-1) != 0]] = True
    return np.asarray(good[component])
