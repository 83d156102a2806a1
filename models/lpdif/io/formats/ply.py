"""PLY (Stanford): points, faces and Gaussian splats, as text or binary in either byte order.

Points may have any properties; faces are lists or strips. Their header is read by `ply_header`, rows with lists by `ply_lists`.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.io.formats.ply_header import Element, Header, read_header
from lpdif.io.formats.ply_lists import Lists, lists_of_bytes, lists_of_rows, one_row_a_line
from lpdif.io.formats.ply_splats import points_of_splat
from lpdif.io.polygons import first_outside, strips, triangulate_with_rows
from lpdif.io.source import Source, Text
from lpdif.io.table.colors import colors_of, colors_of_faces
from lpdif.io.table.columns import Column, first_of, scan_of_columns
from lpdif.io.table.numbers import read_rows, read_table
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_FIRST_WORD = re.compile(rb"\s*ply\s", re.IGNORECASE)
_BOOL = re.compile(rb"(?m)^[ \t]*property[ \t]+(?:list[ \t]+\w+[ \t]+)?bool\b")
_TRUTH = re.compile(rb"\b(?:true|false)\b", re.IGNORECASE)
_FACE_COLORS = ("red", "green", "blue")
_CORNER_LISTS = ("vertex_indices", "vertex_index", "vertex_indexes", "vertices", "indices")


def is_ply(source: Source) -> bool:
    """Whether the first word of the file is "ply"."""
    return _FIRST_WORD.match(source.head) is not None


def read_ply(source: Source) -> Scan:
    """Reads a PLY file. Raises InputError for a damaged file, and where its header contradicts its size."""
    header = read_header(source)
    names = next((element.names for element in header.elements if element.name == "vertex"), None)
    if names is None:
        raise source.error('header has no element "vertex"')
    tables = _read_text(source, header) if not header.order else _read_binary(source, header)
    scalars, _ = tables["vertex"]
    if not len(next(iter(scalars.values()), ())):
        raise source.empty("element vertex 0")
    scalars = points_of_splat(source, scalars, tables.get("chunk", ({}, {}))[0])
    scan = scan_of_columns(source, list(scalars), list(scalars.values()), sensor=_sensor(tables))
    faces, face_values = _faces(source, tables, scan.points)
    colors = scan.colors
    if colors is None and faces is not None and set(_FACE_COLORS) <= set(face_values):
        of_faces = colors_of([face_values.pop(name) for name in _FACE_COLORS], source.name)
        if of_faces is not None:
            log.info("%s: colours of points taken from those of the faces around them", source.name)
            colors = colors_of_faces(faces, of_faces, len(scan.points))
    return replace(scan, colors=colors, faces=faces, face_values=face_values, pattern_names=header.pattern_names)


Table = tuple[dict[str, Column], dict[str, Lists]]  # scalar properties, list properties


def _read_text(source: Source, header: Header) -> dict[str, Table]:
    """The elements of a text file, by name. Rows need not be on lines of their own."""
    data = source.data if b"\n" in source.data else source.data.replace(b"\r", b"\n")
    if _BOOL.search(data, 0, header.size):
        data = data[: header.size] + _TRUTH.sub(lambda word: b"1" if word[0][:1] in b"tT" else b"0", data[header.size :])
    try:
        return _tables_of_text(Text(source, data), header)
    except InputError:
        loose = one_row_a_line(data, header.size, header.elements)
        if loose is None:
            raise
        try:
            tables = _tables_of_text(Text(source, loose), header)
        except InputError:
            pass  # the first error is raised below
        else:
            log.info("%s: its lines are no rows; rows are told apart by their numbers of values", source.name)
            return tables
        raise


def _tables_of_text(text: Text, header: Header) -> dict[str, Table]:
    """The elements of a text file with one row a line, by name."""
    source, place = text.source, header.size
    tables: dict[str, Table] = {}
    for element in header.elements:
        if not element.properties and element.count:
            raise source.error(f"element {element.name} has rows but no properties")
        if not element.has_lists:
            values, place = _read_values(text, place, element)
            tables[element.name] = (
                _by_name(element, [_typed(values[:, i], p.type) for i, p in enumerate(element.properties)]),
                {},
            )
            continue
        if not element.count:
            tables[element.name] = ({}, {})
            continue
        rows = read_rows(text, place, element.count)
        if len(rows.counts) < element.count:
            raise source.cut(len(rows.counts), element.count, element.thing)
        place = rows.end
        tables[element.name] = lists_of_rows(text, rows, element.properties)
    return tables


def _read_values(text: Text, place: int, element: Element) -> tuple[NDArray[np.float64], int]:
    """The values of an element without lists, and the byte after them.

    Where all rows have one number too many, as some programs write opacities, the last one is left out.
    """
    columns = max(1, len(element.properties))
    try:
        return read_table(text, place, element.count, columns, element.thing)
    except InputError:
        try:
            values, end = read_table(text, place, element.count, columns + 1, element.thing)
        except InputError:
            values, end = np.zeros((0, columns)), place
        if not len(values):
            raise
    log.warning("%s: the last of %d numbers left out in each row: the header names %d", text.source.name, columns + 1, columns)
    return values[:, :columns], end


def _by_name(element: Element, columns: list[Column]) -> dict[str, Column]:
    """Columns by the names of their properties; of two with the same name the first counts."""
    out: dict[str, Column] = {}
    for prop, column in zip(element.properties, columns, strict=True):
        out.setdefault(prop.name, column)
    return out


def _typed(column: NDArray[np.float64], kind: str) -> Column:
    """A column of a text file in the integer type that its header gives, where its values fit.

    Else it stays in double precision.
    """
    if kind in ("f8", "f4"):
        return column  # text may hold more digits than single precision
    limits = np.iinfo(kind)
    fits = np.isfinite(column).all() and (column == np.rint(column)).all() and column.min(initial=0) >= limits.min
    return column.astype(kind) if fits and column.max(initial=0) <= limits.max else column


def _read_binary(source: Source, header: Header) -> dict[str, Table]:
    """The elements of a binary file, by name."""
    tables: dict[str, Table] = {}
    place = header.size
    for element in header.elements:
        if element.has_lists:
            table, place = lists_of_bytes(source, place, element.count, element.properties, element.thing)
            tables[element.name] = table
            continue
        row = np.dtype([(f"p{index}", prop.type) for index, prop in enumerate(element.properties)])
        room = (len(source.data) - place) // row.itemsize if row.itemsize else 0
        if element.count and not row.itemsize:
            raise source.error(f"element {element.name} has rows but no properties")
        if element.count > room:
            raise source.cut(room, element.count, element.thing)
        if row.itemsize:
            values = np.frombuffer(source.data, row, element.count, place)
            place += element.count * row.itemsize
            columns = [values[f"p{index}"] for index in range(len(element.properties))]
            tables[element.name] = (_by_name(element, [column.astype(column.dtype.newbyteorder("=")) for column in columns]), {})
        else:
            tables[element.name] = ({}, {})
    return tables


def _faces(
    source: Source, tables: dict[str, Table], points: NDArray[np.float64]
) -> tuple[NDArray[np.int64] | None, dict[str, NDArray[np.generic]]]:
    """The triangles (F, 3) of the elements face and tristrips, and the values (F,) of the element face by name.

    None where there are no triangles. Strips have no values, so where there are strips no triangle has any.
    """
    parts: list[NDArray[np.int64]] = []
    values: dict[str, NDArray[np.generic]] = {}
    for element, thing in (("face", "face"), ("tristrips", "strip")):
        lists = tables.get(element, ({}, {}))[1]
        key = first_of({name: entry.values for name, entry in lists.items()}, _CORNER_LISTS)
        if key is None or not len(lists[key].counts):
            continue
        corners, counts = lists[key].as_indices(source, thing), lists[key].counts
        outside = first_outside(corners[corners != -1] if element == "tristrips" else corners, len(points))
        if outside is not None:
            if element == "tristrips":
                outside = int(np.flatnonzero(corners != -1)[outside])
            row = int(np.searchsorted(np.cumsum(counts), outside, side="right"))
            raise source.error(f"{thing} {row + 1} of {len(counts)} uses point {corners[outside]}, but points go from 0 to {len(points) - 1}")
        if element == "tristrips":
            parts.append(strips(corners, counts))
            values = {}
            continue
        triangles, rows = triangulate_with_rows(corners, counts, points, source.name)
        parts.append(triangles)
        values = {name: column[rows] for name, column in tables[element][0].items()}
    faces = np.concatenate(parts) if parts else np.zeros((0, 3), dtype=np.int64)
    return (faces, values) if len(faces) else (None, {})


def _sensor(tables: dict[str, Table]) -> NDArray[np.float64] | None:
    """The position of the scanner (3,), from the element camera that PCL writes.

    None where it is missing or unknown. PCL writes zeros where it does not know the position. They count only for an organised cloud, which
    one scan has made.
    """
    camera = tables.get("camera", ({}, {}))[0]
    if not {"view_px", "view_py", "view_pz"} <= set(camera) or len(camera["view_px"]) != 1:
        return None
    place = np.array([float(camera[key][0]) for key in ("view_px", "view_py", "view_pz")])
    organised = "viewporty" in camera and float(camera["viewporty"][0]) > 1
    return place if np.isfinite(place).all() and (organised or place.any()) else None
