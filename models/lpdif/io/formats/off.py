"""OFF (Geomview): text; the variants COFF, NOFF and CNOFF, and plain OFF whose points carry colours."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.io.polygons import first_outside, triangulate_with_rows
from lpdif.io.source import DOWNLOAD_AGAIN, Source, as_text, with_comments
from lpdif.io.table.colors import colors_of, colors_of_faces
from lpdif.io.table.columns import scan_of_columns
from lpdif.io.table.infer_columns import guess_names
from lpdif.io.table.numbers import Rows, read_rows, read_table
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_HEADER = re.compile(
    rb"(?:\s|#[^\n]*\n)*(ST|st)?(?P<both>NC|nc(?=off))?(C|c)?(N|n(?=off))?(4)?(n)?(?:OFF(?![A-Za-z_])|off(?=\s*(?:#[^\n]*\n\s*)*\d))"
)

_COUNTS = re.compile(rb"(?:\s|#[^\n]*\n)*[1-9]\d*[ \t]+\d+(?:[ \t]+\d+)?\s*\n")  # of points, of faces and maybe of edges


def is_off(source: Source) -> bool:
    """Whether the file begins with the word OFF, or one of its variants."""
    return _HEADER.match(source.head) is not None


def headerless_hint(source: Source) -> str:
    """How to mend an OFF file without its first word, which begins with counts; "" for other files."""
    return "put a first line before its counts that says OFF" if _COUNTS.match(source.head) else ""


def read_off(source: Source) -> Scan:
    """Reads an OFF file. Raises InputError naming the line of what is wrong."""
    text = with_comments(as_text(source), b"#")
    match = _HEADER.match(text.data)
    if match is None:
        raise source.error("not an OFF file: it does not begin with OFF")
    if match[5] or match[6]:
        raise source.error(f"{match[0].strip().decode()} has points of other than three dimensions")
    if text.data[match.end() :].lstrip().startswith(b"BINARY"):
        raise source.error("is a binary OFF file, which is not read", "save it as text, or as PLY")
    head = read_rows(text, match.end(), rows=1)
    if not len(head.counts) or head.counts[0] < 2:
        raise source.error("ends before the counts of its points and faces", DOWNLOAD_AGAIN)
    counts = head.values[:2]
    if not (np.isfinite(counts).all() and (counts == np.rint(counts)).all() and (counts >= 0).all()):
        raise text.error(int(head.lines[0]), f"the header's counts of points and faces are {counts[0]:g} and {counts[1]:g}")
    number, polygons = (int(count) for count in counts)
    if number == 0:
        raise source.empty("header says 0")

    first = read_rows(text, head.end, rows=1)
    columns = int(first.counts[0]) if len(first.counts) else 3
    if columns < 3:
        raise text.error(int(first.lines[0]), f"a point of {counted(columns, 'coordinate')}")
    table, place = read_table(text, head.end, number, columns, "point")
    names = _names(columns, bool(match[3]), bool(match[4])) or guess_names(table, False)
    if names[:3] != ["x", "y", "z"]:  # their values look like something else, but in OFF the coordinates always come first
        names = [*"xyz", *(f"value{number}" for number in range(1, columns - 2))]
    points = np.ascontiguousarray(table[:, :3])

    faces = colors = None
    row_of = np.zeros(0, dtype=np.int64)
    if polygons:
        if polygons > (len(text.data) - place + 1) // 2:
            raise source.error(
                f"header says {counted(polygons, 'face')}, but the file has room for {(len(text.data) - place + 1) // 2:,} at most",
                DOWNLOAD_AGAIN,
            )
        rows = read_rows(text, place, polygons)
        if len(rows.counts) < polygons:
            raise source.cut(len(rows.counts), polygons, "face")
        sizes = rows.values[rows.starts]
        wrong = ~((sizes >= 0) & (sizes == np.rint(sizes)) & (sizes < rows.counts))
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise text.error(
                int(rows.lines[row]),
                f"a face whose count of corners is {sizes[row]:g}, on a line of {counted(int(rows.counts[row]), 'number')}",
            )
        size = sizes.astype(np.int64)
        ends = np.cumsum(size)
        raw = rows.values[np.arange(int(ends[-1])) + np.repeat(rows.starts + 1 - (ends - size), size)]
        with np.errstate(invalid="ignore"):
            corners = np.where(np.isfinite(raw) & (raw == np.rint(raw)) & (np.abs(raw) < 2.0**62), raw, -1).astype(np.int64)
        outside = first_outside(corners, number)
        if outside is not None:
            row = int(np.searchsorted(ends, outside, side="right"))
            raise text.error(int(rows.lines[row]), f"face uses point {raw[outside]:g}, but the points go from 0 to {number - 1}")
        faces, row_of = triangulate_with_rows(corners, size, points, source.name)
        colors = _colors_of_rows(rows, size)
    scan = scan_of_columns(source, names, list(table.T), faces if faces is not None and len(faces) else None)
    if colors is None or scan.faces is None or scan.colors is not None:
        return scan
    of_faces = colors_of(list(colors[row_of].T), source.name)
    if of_faces is None:
        return scan
    log.info("%s: colours of points taken from those of the faces around them", source.name)
    return replace(scan, colors=colors_of_faces(scan.faces, of_faces, number))


def _colors_of_rows(rows: Rows, size: IntArray) -> FloatArray | None:
    """Red, green and blue behind the corners of each face; None where not all faces have them."""
    if not len(size) or (rows.counts < size + 4).any():
        return None
    colors: FloatArray = rows.values[(rows.starts + size + 1)[:, None] + np.arange(3)]
    return colors


def _names(columns: int, colored: bool, with_normals: bool) -> list[str]:
    """The names of columns that the letters of the header give.

    None are returned where they give none, or none that fit.
    """
    names = ["x", "y", "z"] + ["nx", "ny", "nz"] * with_normals
    if colored and columns - len(names) in (3, 4):
        names += ["red", "green", "blue", "alpha"]
    return names[:columns] + ["" for _ in range(columns - len(names))] if colored or with_normals else []
