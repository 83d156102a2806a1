"""Parts of a mesh: connected components, or solids with their voids; the largest part, and those too small to be shown.

Letters: V vertices, F faces.
"""

from __future__ import annotations

import logging

import numpy as np

from lpdif.arrays import BoolArray, IntArray
from lpdif.geometry import Surface, face_areas, keep_faces
from lpdif.mesh.shells import outer_shells, shells
from lpdif.mesh.simplify import SIMPLIFY
from lpdif.mesh.topology import vertex_components
from lpdif.text import counted

log = logging.getLogger("lpdif")


def parts(surface: Surface, closed: bool) -> IntArray:
    """(F,) number of the part of each face.

    closed: parts are solids, each with its voids; else connected components, over shared vertices.
    """
    if not closed:
        return vertex_components(surface)[surface.faces[:, 0]]
    shell = shells(surface)
    return np.asarray(np.unique(outer_shells(surface, shell)[shell], return_inverse=True)[1], np.int64)


def largest_part(surface: Surface, closed: bool) -> Surface:
    """The part with the largest area alone. What is dropped is logged."""
    part = parts(surface, closed)
    areas = np.bincount(part, face_areas(surface))
    return without(surface, part != np.argmax(areas), len(areas) - 1, "--keep largest")


def without_crumbs(solids: Surface, most: int) -> Surface:
    """Closed surfaces without solids and voids too small to be shown where the whole has at most `most` faces.

    That is where a share of the faces by area would be fewer than a closed surface keeps when it is simplified. The largest solid always
    stays. What is dropped is logged.
    """
    shell = shells(solids)
    areas = np.bincount(shell, face_areas(solids))
    outer = outer_shells(solids, shell)
    small = areas * most < SIMPLIFY.min_faces * areas.sum()
    small[np.argmax(np.bincount(outer, areas))] = False
    small |= small[outer]  # voids go with their solid
    return without(solids, np.asarray(small[shell]), int(small.sum()), f"too small to be shown by {most:,} faces")


def without(surface: Surface, dropped: BoolArray, count: int, why: str) -> Surface:
    """The surface without the dropped faces (F,), which are so many parts; says so where there are any."""
    if not dropped.any():
        return surface
    areas = face_areas(surface)
    log.info("%s dropped (%s): %.2g %% of the area", counted(count, "part"), why, 100 * areas[dropped].sum() / areas.sum())
    return keep_faces(surface, ~dropped)[0]
