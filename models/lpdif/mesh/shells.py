"""Shells, the closed connected components of a surface: which way they face, which bound one solid.

Letters: F faces, P shells. The winding number of all faces is 1 inside a solid and 0 outside (Jacobson et al. 2013).
"""

from __future__ import annotations

import numpy as np

from lpdif.arrays import IntArray
from lpdif.geometry import Surface, face_normals, keep_faces
from lpdif.mesh.topology import edge_numbers, face_components
from lpdif.mesh_queries import winding_numbers


def shells(surface: Surface) -> IntArray:
    """(F,) number of the shell of each face; faces are connected over edges."""
    return face_components(surface.faces, edge_numbers(surface.faces)[0], np.ones(len(surface.faces), bool))


def is_outward(surface: Surface, offset: float) -> bool:
    """Whether the winding number of a closed surface is 1 just inside each shell and 0 just outside.

    offset: the distance from the shell at which it is asked for.
    """
    shell = shells(surface)
    normals = face_normals(surface)
    area = np.linalg.norm(normals, axis=1)
    order = np.lexsort((-area, shell))
    probe = order[np.unique(shell[order], return_index=True)[1]]  # the largest face of each shell
    center = surface.vertices[surface.faces[probe]].mean(1)
    shift = offset * normals[probe] / np.maximum(area[probe], 1e-300)[:, None]
    winding = winding_numbers(np.concatenate([center - shift, center + shift]), *surface)
    inner, outer = np.split(winding, 2)
    return bool((np.abs(inner - 1) < 0.5).all() and (np.abs(outer) < 0.5).all())


def outer_shells(solid: Surface, shell: IntArray) -> IntArray:
    """(P,) the outer shell of the solid that each shell bounds.

    For a void, that is the innermost outward shell around it, else the shell itself.

    solid: shells that do not meet and, from the outside in, face outward and inward by turns. shell (F,): the shell of each face.
    """
    order = np.argsort(shell, kind="stable")
    begin = np.flatnonzero(np.diff(shell[order], prepend=-1))
    corners = solid.vertices[solid.faces[order]]
    probe = corners[begin, 0]
    low, high = np.minimum.reduceat(corners.min(1), begin), np.maximum.reduceat(corners.max(1), begin)
    # From a point of the shell: else rounding could change the sign of a small volume far from the origin.
    a, b, c = (corners - probe[shell[order]][:, None]).transpose(1, 0, 2)
    volume = np.bincount(shell[order], np.einsum("ij,ij->i", a, np.cross(b, c)))
    found = np.arange(len(volume))
    voids = np.flatnonzero(volume < 0)
    for outer in np.argsort(volume)[len(voids) :]:  # the smallest first: it is the innermost
        inside = voids[(low[voids] > low[outer]).all(1) & (high[voids] < high[outer]).all(1)]
        if len(inside):
            inside = inside[winding_numbers(probe[inside], *keep_faces(solid, shell == outer)[0]) > 0.5]
            found[inside] = outer
            voids = np.setdiff1d(voids, inside)
    return found
