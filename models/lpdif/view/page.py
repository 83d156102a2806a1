"""The page itself: one file of HTML with everything in it, which asks for nothing from anywhere.

The script, the style and the frame of the page are files in `assets/`; the first two are built from `viewer/`.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.errors import InputError
from lpdif.geometry import face_areas
from lpdif.storage.strict_json import dump
from lpdif.text import printable
from lpdif.types import Mesh, Progress, Scan, silent
from lpdif.view.drawing import DrawnMesh, DrawnScan, Note, drawn_mesh, drawn_scan, framed, whole_surface
from lpdif.view.facts import MeshFacts, fact_rows, mesh_facts
from lpdif.view.frame import Frame
from lpdif.view.packing import (
    FARTHEST,
    STEPS,
    Archive,
    encode_bytes,
    encode_colors,
    encode_faces,
    encode_positions,
    levels,
    morton_order,
    quantise,
    sorted_faces,
)

_PARTS = 5  # Of the work, for its progress: the whole surface, what is drawn of it, the scan, the facts, the packing.
ASSETS = Path(__file__).parent / "assets"


class ScaleSettings(NamedTuple):
    """Where the colour scales of distances end."""

    top: float = 0.99  # So many of the distances are smaller, so that a few large ones do not hide the others.
    spacings: float = 3.0  # But that of the mesh goes on to so many spacings of the points: up to there a place has points around it.


SCALE = ScaleSettings()

Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Page:
    """A page of HTML, and what is on it.

    faces, points: how many are drawn. facts: of the mesh. notes: what its reader is told about the drawing.
    """

    html: str
    faces: int
    points: int
    facts: MeshFacts
    notes: list[Note]


def build_page(
    mesh: Mesh,
    scan: Scan | None = None,
    *,
    name: str = "mesh",
    made_with: Rows = (),
    up: str = "z",
    threads: int = 1,
    progress: Progress = silent,
) -> Page:
    """The page of a mesh, and of the scan that it was made from.

    name: of the mesh, for its title and messages. made_with: further rows, as of what was chosen when the mesh was made. up: the axis that
    points up at first, x, y or z, or one of these after a minus. Raises InputError for a mesh without faces or without extent, and for a scan
    without finite points.
    """
    if len(mesh.faces) == 0:
        raise InputError(f"{name}: points without faces", "make a mesh of them first: lpdif reconstruct")
    notes: list[Note] = []
    whole, *rows = whole_surface(mesh, name, notes)
    frame = framed(whole, name, notes)
    progress("page", 1, _PARTS)
    drawn = drawn_mesh(mesh, whole, (rows[0], rows[1]), frame, name, notes)
    progress("page", 2, _PARTS)
    points = None if scan is None else drawn_scan(scan, whole, drawn.surface, frame, notes, threads)
    progress("page", 3, _PARTS)
    facts = mesh_facts(whole)
    progress("page", 4, _PARTS)
    archive = Archive()
    about: dict[str, object] = {
        "name": printable(name),
        "up": up,
        "frame": [frame.low, frame.high],
        "step": frame.longest_side / STEPS,
        "facts": fact_rows(facts),
        "made_with": [[printable(what), printable(value)] for what, value in made_with],
        **put_mesh(archive, drawn, None if points is None else points.to_scan, frame),
    }
    if scan is not None and points is not None:
        about |= {"scan": printable(scan.name), "scan_facts": scan_rows(points)}
        about |= put_points(archive, points, frame) if len(points.points) else {}
    about |= {"notes": [[printable(text), warning] for text, warning in notes], "places": archive.places}
    text = filled(printable(name), dump(about), archive.packed())
    progress("page", _PARTS, _PARTS)
    return Page(text, len(drawn.surface.faces), 0 if points is None else len(points.points), facts, notes)


def put_mesh(archive: Archive, drawn: DrawnMesh, to_scan: FloatArray | None, frame: Frame) -> dict[str, object]:
    """Adds a mesh to the archive, and returns what the page has to know of it. to_scan (V,): distances of its vertices, or None."""
    surface = drawn.surface
    vertex = morton_order(surface.vertices)
    number = np.empty(len(vertex), np.int64)
    number[vertex] = np.arange(len(vertex))
    faces, face = sorted_faces(number[surface.faces])
    archive.put("positions", encode_positions(steps_of(surface.vertices[vertex], frame)))
    archive.put("faces", encode_faces(faces))
    about: dict[str, object] = {"vertices": len(vertex), "faces": len(faces)}
    if drawn.colors is not None:
        archive.put("colors", encode_colors(drawn.colors[vertex]))
    if drawn.confidence is not None:
        values = drawn.confidence[vertex]
        low, high = (0.0, 1.0) if values.min() >= 0 and values.max() <= 1 else (float(values.min()), float(values.max()))
        archive.put("confidence", encode_bytes(levels(values, low, high)))
        about["confidence"] = [low, high]
    if drawn.pattern is not None:
        known, row = np.unique(drawn.pattern[face], return_inverse=True)
        area = np.bincount(row, face_areas(surface)[face], len(known))
        archive.put("pattern", encode_bytes(row.astype(np.uint8)))
        names = [printable(drawn.pattern_names.get(int(pattern), f"pattern {pattern}")) for pattern in known]
        about["patterns"] = [[int(row[0]), float(row[1]), row[2]] for row in zip(known, area / area.sum(), names, strict=True)]
    if to_scan is not None:
        # The nearest of points that are spread at random is half of their spacing away, on the mean.
        top = max(scale_top(to_scan), SCALE.spacings * 2 * float(np.median(to_scan)))
        archive.put("distance", encode_bytes(levels(to_scan[vertex], 0.0, top)))
        about["distance"] = [0.0, top]
    return about


def put_points(archive: Archive, points: DrawnScan, frame: Frame) -> dict[str, object]:
    """Adds the points of a scan to the archive, and returns what the page has to know of them."""
    archive.put("points", encode_positions(steps_of(points.points, frame)))
    if points.colors is not None:
        archive.put("point_colors", encode_colors(points.colors))
    top = scale_top(points.to_mesh)
    archive.put("point_distance", encode_bytes(levels(points.to_mesh, 0.0, top)))
    return {"points": len(points.points), "point_distance": [0.0, top]}


def scan_rows(points: DrawnScan) -> Rows:
    """The facts of a scan beside its mesh, as names and words."""
    rows = [("points", f"{points.count:,}")]
    for name, distance in (("points to mesh", points.to_mesh), ("mesh to points", points.to_scan)):
        if len(distance):
            rows += [(f"{name}, median", f"{np.median(distance):.3g}"), (f"{name}, 95 %", f"{np.quantile(distance, 0.95):.3g}")]
    return rows


def steps_of(positions: FloatArray, frame: Frame) -> IntArray:
    """Positions (N, 3) in steps from the low corner of a frame."""
    steps = quantise(positions, frame.low, frame.longest_side / STEPS)
    assert np.abs(steps).max(initial=0) <= FARTHEST
    return steps


def scale_top(distances: FloatArray) -> float:
    """Where a colour scale of distances ends: above 0, even where all are."""
    return float(np.quantile(distances, SCALE.top)) or float(distances.max()) or 1.0


def filled(title: str, about: str, data: str) -> str:
    """The frame of the page, filled. Its security policy lets nothing run but the script and the style that are in it."""
    script, style = asset("viewer.min.js"), asset("page.min.css")
    parts = {
        "policy": f"default-src 'none'; script-src '{digest(script)}'; style-src '{digest(style)}'; base-uri 'none'; form-action 'none'",
        "title": html.escape(title),
        "style": style,
        "about": about.replace("<", "\\u003c"),  # no text in it can end the element
        "data": data,
        "script": script,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda slot: parts[slot[1]], asset("page.html"))


def asset(name: str) -> str:
    """A file of the page."""
    return (ASSETS / name).read_text(encoding="utf-8")


def digest(text: str) -> str:
    """A text as a security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"
