"""The facts of a mesh that its page shows.

Letters: F faces.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.geometry import Surface, face_areas
from lpdif.mesh.topology import count_boundary_loops, edge_numbers, half_edges, vertex_components


class MeshFacts(NamedTuple):
    """Counts of a mesh, and its lengths in the unit of its file.

    size        sides of the bounding box
    parts       connected components, over shared vertices
    closed      every edge has two faces
    open_loops  boundary loops; None where an edge has more than two faces, or the faces beside an edge face apart
    volume      of a closed mesh whose faces all face the same way, else None
    """

    faces: int
    vertices: int
    size: tuple[float, float, float]
    parts: int
    closed: bool
    open_loops: int | None
    area: float
    volume: float | None


def mesh_facts(surface: Surface) -> MeshFacts:
    """The facts of a surface with one vertex at each place, all of which are used."""
    _, count = edge_numbers(surface.faces)
    start, end = half_edges(surface.faces)
    directed = np.sort(start.astype(np.int64) * len(surface.vertices) + end)
    proper = int(count.max()) <= 2 and not (directed[1:] == directed[:-1]).any()
    closed = bool((count == 2).all())
    extent = np.ptp(surface.vertices, axis=0)
    return MeshFacts(
        faces=len(surface.faces),
        vertices=len(surface.vertices),
        size=(float(extent[0]), float(extent[1]), float(extent[2])),
        parts=int(vertex_components(surface).max()) + 1,
        closed=closed,
        open_loops=count_boundary_loops(surface) if proper else None,
        area=float(face_areas(surface).sum()),
        volume=signed_volume(surface) if closed and proper else None,
    )


def signed_volume(surface: Surface) -> float:
    """The volume of a closed surface, negative where its faces face inward: the sum of the tetrahedra below its faces."""
    corners: FloatArray = surface.vertices[surface.faces] - surface.vertices.mean(axis=0)
    a, b, c = corners.transpose(1, 0, 2)
    return float(np.einsum("fi,fi->", a, np.cross(b, c)) / 6)


def fact_rows(facts: MeshFacts) -> list[tuple[str, str]]:
    """The facts as names and words."""
    loops = "" if facts.open_loops is None else f", {facts.open_loops:,} open loop{'' if facts.open_loops == 1 else 's'}"
    rows = [
        ("faces", f"{facts.faces:,}"),
        ("vertices", f"{facts.vertices:,}"),
        ("parts", f"{facts.parts:,}"),
        ("closed", "yes" if facts.closed else f"no{loops}"),
        ("size", " × ".join(f"{side:.4g}" for side in facts.size)),
        ("area", f"{facts.area:.6g}"),
    ]
    return rows if facts.volume is None else [*rows, ("volume", f"{facts.volume:.6g}")]
