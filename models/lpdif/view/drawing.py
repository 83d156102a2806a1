"""What a page draws of a mesh and of a scan: not too many faces and points, with the values that colour them.

Letters: V vertices, F faces, N points.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import BoolArray, FloatArray, IntArray
from lpdif.errors import InputError
from lpdif.geometry import Surface, keep_faces
from lpdif.mesh.simplify import collapsed_by_component
from lpdif.mesh.topology import vertex_components
from lpdif.mesh_queries import closest_points
from lpdif.points.neighbours import even_rows, query, search_tree
from lpdif.points.validity import VALIDITY
from lpdif.text import counted
from lpdif.types import Mesh, Scan
from lpdif.view.frame import Frame, frame_of
from lpdif.view.packing import morton_order

log = logging.getLogger("lpdif")


class DrawingSettings(NamedTuple):
    """How much a page draws."""

    most_faces: int = 200_000  # A mesh with more faces is simplified for the page, so that a page has about 3 MB.
    most_points: int = 80_000  # Of a scan with more points, so many are drawn.
    farthest: float = 1000.0  # What lies more longest sides of the frame away from it is not drawn.
    most_patterns: int = 255  # Patterns are told apart in one byte.
    far_scan: float = 0.1  # A scan and a mesh are no pair if half of each is more than so many longest sides of the mesh from the other.


DRAWING = DrawingSettings()


class Note(NamedTuple):
    """A line that the page tells its reader; a warning where something is wrong."""

    text: str
    warning: bool


def note(notes: list[Note], text: str, warning: bool = True) -> None:
    """Adds a line to the notes of a page, and logs it."""
    notes.append(Note(text, warning))
    log.log(logging.WARNING if warning else logging.INFO, "%s", text)


@dataclass(frozen=True)
class DrawnMesh:
    """The mesh as it is drawn: vertices (V, 3), faces (F, 3), and what colours them.

    colors (V, 3), confidence (V,) and pattern (F,), each None where the mesh has none. pattern_names: as in `Mesh`.
    """

    surface: Surface
    colors: NDArray[np.uint8] | None
    confidence: FloatArray | None
    pattern: IntArray | None
    pattern_names: dict[int, str]


@dataclass(frozen=True)
class DrawnScan:
    """The points that are drawn (N, 3) with their colours (N, 3) or None, and the distances of both directions.

    to_mesh (N,): from each point to the surface of the whole mesh. to_scan (V,): from each vertex that is drawn to the nearest of all points.
    count: how many points the scan has.
    """

    points: FloatArray
    colors: NDArray[np.uint8] | None
    to_mesh: FloatArray
    to_scan: FloatArray
    count: int


def whole_surface(mesh: Mesh, name: str, notes: list[Note]) -> tuple[Surface, IntArray, IntArray]:
    """The surface of a mesh with one vertex at each place, and the rows that its vertices and faces have in the mesh.

    Faces with a vertex that is not finite, or with two corners at one place, are left out; the first is added to `notes`. Raises InputError
    where no face is left.
    """
    usable = representable(mesh.vertices)
    rows = np.flatnonzero(usable[mesh.faces].all(axis=1))
    if len(rows) < len(mesh.faces):
        note(notes, f"{name}: {counted(len(mesh.faces) - len(rows), 'face')} left out: not all coordinates are finite")
    corners, number = np.unique(mesh.faces[rows], return_inverse=True)
    kept, welded = weld(mesh.vertices[corners])
    faces = welded[number.reshape(-1, 3)]
    a, b, c = faces.T
    proper = np.asarray((a != b) & (b != c) & (c != a))
    if not proper.any():
        raise InputError(f"{name}: none of its {counted(len(mesh.faces), 'face')} has an area", "a mesh has corners at different places")
    surface, used = keep_faces(Surface(mesh.vertices[corners[kept]], faces), proper)
    return surface, corners[kept][used], rows[proper]


def representable(positions: FloatArray) -> BoolArray:
    """(N,) whether positions (N, 3) are finite, and not beyond any length."""
    return np.asarray((np.abs(positions) <= VALIDITY.longest).all(axis=1))


def weld(positions: FloatArray) -> tuple[IntArray, IntArray]:
    """The first row of each place among positions (V, 3), and (V,) which of these places each position is."""
    order = np.lexsort(positions.T)
    in_order = positions[order]
    new = np.ones(len(positions), np.bool_)
    new[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    first = np.minimum.reduceat(order, np.flatnonzero(new))
    place = np.empty(len(positions), np.int64)
    place[order] = np.cumsum(new) - 1
    rank = np.argsort(first)
    number = np.empty(len(first), np.int64)
    number[rank] = np.arange(len(first))
    return first[rank], number[place]


def drawn_mesh(mesh: Mesh, whole: Surface, rows: tuple[IntArray, IntArray], frame: Frame, name: str, notes: list[Note]) -> DrawnMesh:
    """The mesh as it is drawn. rows: of the vertices and of the faces of the whole surface in the mesh."""
    near = np.asarray(frame.holds(whole.vertices, DRAWING.farthest)[whole.faces].all(axis=1))
    if not near.all():
        far = counted(int((~near).sum()), "face")
        note(notes, f"{name}: {far} more than {DRAWING.farthest:,.0f} times the size of the mesh away from it: not drawn")
    surface, vertex = keep_faces(whole, near)
    face = np.flatnonzero(near)
    if len(surface.faces) > DRAWING.most_faces:
        before = surface
        surface, source = collapsed_by_component(surface, vertex_components(surface), DRAWING.most_faces, False, {})
        vertex = vertex[source]
        face = face[closest_points(surface.vertices[surface.faces].mean(axis=1), *before)[1]]
        note(notes, f"{name}: drawn with {len(surface.faces):,} of its {len(mesh.faces):,} faces; facts and distances are of all", False)
    confidence = mesh.vertex_values.get("confidence")
    return DrawnMesh(
        surface,
        None if mesh.colors is None else mesh.colors[rows[0][vertex]],
        None if confidence is None else np.nan_to_num(np.asarray(confidence, np.float64)[rows[0][vertex]], posinf=0.0, neginf=0.0),
        patterns_of(mesh, rows[1][face], name, notes),
        mesh.pattern_names,
    )


def patterns_of(mesh: Mesh, rows: IntArray, name: str, notes: list[Note]) -> IntArray | None:
    """The pattern (F,) of these faces of a mesh; None where it has none, or what is called so is no number of a pattern."""
    values = mesh.face_values.get("pattern")
    if values is None:
        return None
    pattern = np.asarray(values, np.float64)
    if not np.isfinite(pattern).all() or (pattern != np.rint(pattern)).any() or len(np.unique(pattern)) > DRAWING.most_patterns:
        note(notes, f'{name}: the values "pattern" of its faces are not at most {DRAWING.most_patterns} whole numbers: not shown')
        return None
    return pattern[rows].astype(np.int64)


def drawn_scan(scan: Scan, whole: Surface, drawn: Surface, frame: Frame, notes: list[Note], threads: int) -> DrawnScan:
    """The points of a scan as they are drawn, and how far they and the mesh are from each other.

    Raises InputError where none of them is finite. A scan that lies far from the mesh is added to `notes`.
    """
    usable = np.flatnonzero(representable(scan.points))
    if len(usable) == 0:
        raise InputError(f"{scan.name}: none of its {counted(len(scan.points), 'point')} has finite coordinates", "name another scan")
    if len(usable) < len(scan.points):
        note(notes, f"{scan.name}: {counted(len(scan.points) - len(usable), 'point')} left out: not all coordinates are finite")
    points = scan.points[usable]
    to_scan = query(search_tree(points), drawn.vertices, threads=threads)[0]
    near = np.flatnonzero(frame.holds(points, DRAWING.farthest))
    if len(near) < len(points):
        far = counted(len(points) - len(near), "point")
        note(notes, f"{scan.name}: {far} more than {DRAWING.farthest:,.0f} times the size of the mesh away from it: not drawn")
    shown = near[morton_order(points[near])] if len(near) else near
    shown = shown[even_rows(len(shown), DRAWING.most_points)]
    if len(shown) < len(near):
        note(notes, f"{scan.name}: {len(shown):,} of its {len(points):,} points are drawn; the distances of the mesh are to all", False)
    to_mesh = closest_points(points[shown], *whole)[0]
    apart = min(float(np.median(to_scan)), float(np.median(to_mesh)) if len(shown) else np.inf)
    if apart > DRAWING.far_scan * frame.longest_side:
        note(
            notes,
            f"{scan.name}: lies far from the mesh: half of it is more than {apart:.3g} away, and the mesh is {frame.longest_side:.3g} across; "
            "is it the scan of this mesh, in the same unit?",
        )
    colors = None if scan.colors is None else scan.colors[usable][shown]
    return DrawnScan(points[shown], colors, to_mesh, to_scan, len(scan.points))


def framed(whole: Surface, name: str, notes: list[Note]) -> Frame:
    """The frame of a surface. What lies outside of it is added to `notes`."""
    frame = frame_of(whole)
    outside = int((~frame.holds(whole.vertices, 1e-9)[whole.faces].all(axis=1)).sum())
    if outside:
        note(notes, f"{name}: {counted(outside, 'face')} far from the rest, outside of the first view: zoom out to see them")
    return frame
