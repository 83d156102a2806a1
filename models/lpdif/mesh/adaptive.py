"""Triangles where they are needed: few faces on what is flat, and many on details, within a distance of the fine surface.

Quadric edge collapse takes the edges first whose loss moves the surface least. So the number of faces alone says how far it may move, and the
least number that keeps a distance is found by halving.

Letters: V vertices, F faces.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from lpdif.geometry import Surface
from lpdif.mesh.simplify import simplify_quietly
from lpdif.mesh_queries import closest_points


class AdaptiveSettings(NamedTuple):
    """How the number of faces is looked for."""

    fewest: float = 1 / 1024  # No fewer faces than this share of the fine surface's are tried.
    rounds: int = 8  # Halvings of the interval of its logarithm: the number is found within 3 %.


ADAPTIVE = AdaptiveSettings()


def fewest_faces(surface: Surface, distance: float) -> int:
    """The least number of faces, within 3 %, with which `simplify` keeps the surface within a distance of what it was.

    Both ways: of each given vertex from the simplified surface, and of each vertex of that from the given surface. Where no number does, that
    of the given faces.
    """
    faces = len(surface.faces)
    low, high = math.log(max(4, faces * ADAPTIVE.fewest)), math.log(faces)
    best = faces
    for _ in range(ADAPTIVE.rounds):
        middle = 0.5 * (low + high)
        found = simplify_quietly(surface, int(math.exp(middle)))[0]
        if farthest(surface, found) <= distance:
            best, high = int(math.exp(middle)), middle
        else:
            low = middle
    return best


def farthest(surface: Surface, other: Surface) -> float:
    """The largest distance of a vertex of either surface from the other one."""
    middle = surface.vertices.mean(axis=0)  # the queries are in single precision
    one, two = Surface(surface.vertices - middle, surface.faces), Surface(other.vertices - middle, other.faces)
    away = (closest_points(a.vertices, b.vertices, b.faces)[0] for a, b in ((one, two), (two, one)))
    return max(float(found.max()) for found in away)
