"""VTK legacy files: the points of any data set with their values, and polygons and strips."""

from __future__ import annotations

import logging
import re

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import IntArray
from lpdif.io.formats.vtk_cursor import VTK_TYPES, Cursor
from lpdif.io.polygons import first_outside, strips, triangulate
from lpdif.io.source import DOWNLOAD_AGAIN, Source
from lpdif.io.table.colors import colors_of
from lpdif.io.table.columns import Column, parts_named
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_HEADER = re.compile(rb"# vtk DataFile Version (\d+)\.\d+[^\n]*\n[^\n]{0,300}\n\s*(ASCII|BINARY)\s*\n", re.IGNORECASE)
# numbers of the kinds of cells: points and lines have no surface; triangle, polygon, quad; a quad whose corners go row by row; a strip
_POLYGON_CELLS = (5, 7, 9)
_FLAT_CELLS = (0, 1, 2, 3, 4, *_POLYGON_CELLS)
_PIXEL, _STRIP = 8, 6
_CELL_WORDS = {"POLYGONS", "TRIANGLE_STRIPS", "VERTICES", "LINES"}


def is_vtk(source: Source) -> bool:
    """Whether the file begins with the header of a VTK legacy file."""
    return _HEADER.match(source.data) is not None


def read_vtk(source: Source) -> Scan:
    """Reads a VTK legacy file.

    Raises InputError for a damaged file, and where its counts contradict its size.
    """
    match = _HEADER.match(source.data)
    if match is None:
        raise source.error("VTK header is not understood", DOWNLOAD_AGAIN)
    cursor = Cursor(source, match[2].upper() == b"BINARY", match.end())
    points: NDArray[np.float64] | None = None
    cells: dict[str, tuple[IntArray, IntArray]] = {}
    data: dict[str, Column] = {}
    while (words := cursor.words()) is not None:
        word = words[0].upper()
        if word in ("DATASET", "DIMENSIONS"):  # a grid lists its points too
            continue
        if word == "POINTS" and len(words) == 3:
            count = cursor.number(words[1])
            points = cursor.values(words[2], 3 * count, "point", per=3).astype(np.float64).reshape(-1, 3)
        elif word in _CELL_WORDS and len(words) == 3:
            cells[word] = _cells(cursor, cursor.number(words[1]), cursor.number(words[2]), int(match[1]) >= 5)
        elif word == "POINT_DATA" and len(words) == 2 and points is not None:
            if cursor.number(words[1]) != len(points):
                raise source.error(f"line {cursor.line()}: {counted(cursor.number(words[1]), 'value')} for {counted(len(points), 'point')}")
            if not _data(cursor, len(points), data):
                break
        elif word == "METADATA":
            _skip_metadata(cursor)
        elif word == "FIELD" and len(words) == 3:
            if not _field(cursor, cursor.number(words[2]), {}, None):
                if points is None:
                    raise source.error("the FIELD before its points cannot be passed over", "save it without field data, or as PLY")
                break
        elif word == "CELLS" and len(words) == 3:
            cells[word] = _cells(cursor, cursor.number(words[1]), cursor.number(words[2]), int(match[1]) >= 5)
        elif word == "CELL_TYPES" and len(words) == 2:
            kinds = cursor.values("int", cursor.number(words[1]), "cell type").astype(np.int64)
            cells |= surface_cells(source, *cells.pop("CELLS", (kinds[:0], kinds[:0])), kinds)
        elif word == "CELL_DATA" and len(words) == 2:
            log.info("%s: values of cells left out", source.name)
            if not _data(cursor, cursor.number(words[1]), {}):
                break
        else:
            raise source.error(f"line {cursor.line()}: {' '.join(words)[:60]!r} is not understood", "save it as polygonal data, or as PLY")
    if points is None or not len(points):
        raise source.empty()
    faces = faces_of_cells(source, cells, points)
    normals = data.pop("normals", None)
    colors = data.pop("colors", None)
    return Scan(
        points,
        None if normals is None else normals.astype(np.float64),
        None if colors is None else colors_of(list(colors.T), source.name),
        data,
        faces,
        None,
        source.name,
    )


def _cells(cursor: Cursor, number: int, size: int, with_offsets: bool) -> tuple[IntArray, IntArray]:
    """The corners of all cells, and their number in each cell.

    with_offsets: whether they are two arrays, offsets and corners, as since version 5; before, each cell is "count corner corner ...".
    """
    source, thing = cursor.source, "number of cells"
    if with_offsets:
        arrays: list[IntArray] = []
        for word, length in (("OFFSETS", number), ("CONNECTIVITY", size)):
            words = cursor.words() or []
            if len(words) != 2 or words[0].upper() != word:
                raise source.error(f"line {cursor.line()}: {word} expected")
            arrays.append(cursor.values(words[1], length, thing).astype(np.int64))
        offsets, corners = arrays
        if number and (offsets[0] != 0 or offsets[-1] != size or (np.diff(offsets) < 0).any()):
            raise source.error("offsets of cells do not rise from 0 to the number of corners")
        return corners, np.diff(offsets)
    if number > size:
        raise source.error(f"header says {counted(number, 'cell')} in {counted(size, 'number')}")
    values = cursor.values("int", size, thing).astype(np.int64)
    if number and size % number == 0 and (values.reshape(number, -1)[:, 0] == size // number - 1).all():
        table = values.reshape(number, -1)
        return table[:, 1:].reshape(-1), table[:, 0].copy()
    counts = np.empty(number, dtype=np.int64)
    place, listed = 0, values.tolist()
    for cell in range(number):
        if place >= size or not 0 <= listed[place] < size - place:
            raise source.error(f"cell {cell + 1} of {number} is longer than its list")
        counts[cell] = listed[place]
        place += 1 + listed[place]
    if place != size:
        raise source.error(f"{counted(number, 'cell')} of {counted(place, 'number')}, but the header says {size:,}")
    keep = np.ones(size, dtype=np.bool_)
    keep[np.cumsum(counts + 1) - counts - 1] = False
    return values[keep], counts


def faces_of_cells(source: Source, cells: dict[str, tuple[IntArray, IntArray]], points: NDArray[np.float64]) -> IntArray | None:
    """The triangles (F, 3) of polygons and strips; None where there are none."""
    parts: list[IntArray] = []
    for word in ("POLYGONS", "TRIANGLE_STRIPS"):
        if word not in cells:
            continue
        corners, counts = cells[word]
        outside = first_outside(corners, len(points))
        if outside is not None:
            cell = int(np.searchsorted(np.cumsum(counts), outside, side="right"))
            raise source.error(f"cell {cell + 1} of {len(counts)} uses point {corners[outside]}, but the points go from 0 to {len(points) - 1}")
        parts.append(triangulate(corners, counts, points, source.name) if word == "POLYGONS" else strips(corners, counts))
    faces = np.concatenate(parts) if parts else np.zeros((0, 3), dtype=np.int64)
    return faces if len(faces) else None


def surface_cells(source: Source, corners: IntArray, counts: IntArray, kinds: IntArray) -> dict[str, tuple[IntArray, IntArray]]:
    """The cells of an unstructured grid that are polygons, and those that are strips, by the words that polygonal data has for them."""
    if len(kinds) != len(counts):
        raise source.error(f"{counted(len(kinds), 'cell type')} for {counted(len(counts), 'cell')}")
    solid = int((~np.isin(kinds, (*_FLAT_CELLS, _PIXEL, _STRIP))).sum())
    if solid:
        log.warning("%s: %s that are solids or curved left out: their points are taken", source.name, counted(solid, "cell"))
    corners, starts = corners.copy(), np.cumsum(counts) - counts
    pixels = starts[(kinds == _PIXEL) & (counts == 4)]
    corners[pixels + 2], corners[pixels + 3] = corners[pixels + 3], corners[pixels + 2]  # row by row, not around
    out: dict[str, tuple[IntArray, IntArray]] = {}
    for word, wanted in (("POLYGONS", (*_POLYGON_CELLS, _PIXEL)), ("TRIANGLE_STRIPS", (_STRIP,))):
        chosen = np.isin(kinds, wanted)
        out[word] = corners[np.repeat(chosen, counts)], counts[chosen]
    return out


def _data(cursor: Cursor, number: int, out: dict[str, Column]) -> bool:
    """Adds the values of points (or cells) by name: "normals" and "colors" are (N, 3), the others (N,).

    False where what follows cannot be read. It stops before the values of cells or points.
    """
    source = cursor.source
    while True:
        before_line = cursor.place
        if (words := cursor.words()) is None:
            return True
        word = words[0].upper()
        if word in ("POINT_DATA", "CELL_DATA"):
            cursor.place = before_line
            return True
        if word == "SCALARS" and len(words) in (3, 4) and words[2].lower() in VTK_TYPES:
            width = cursor.number(words[3]) if len(words) == 4 else 1
            before = cursor.place
            following = cursor.words()
            if following is None or following[0].upper() != "LOOKUP_TABLE":
                cursor.place = before
            values = cursor.values(words[2], number * width, f"value of {words[1][:40]}", per=max(1, width))
            keep_values(out, words[1], values.reshape(number, width))
        elif word in ("NORMALS", "VECTORS") and len(words) == 3:
            values = cursor.values(words[2], number * 3, f"value of {words[1][:40]}", per=3).reshape(-1, 3)
            if word == "NORMALS" or words[1].lower() == "normals":
                out["normals"] = values
        elif word == "COLOR_SCALARS" and len(words) == 3:
            width = cursor.number(words[2])
            kind = "unsigned_char" if cursor.binary else "float"
            values = cursor.values(kind, number * width, "colour", per=max(1, width)).reshape(number, width)
            if width >= 3:
                out["colors"] = values[:, :3]
        elif word == "LOOKUP_TABLE" and len(words) == 3:
            cursor.values("unsigned_char" if cursor.binary else "float", 4 * cursor.number(words[2]), "colour of a table", per=4)
        elif word == "TENSORS" and len(words) == 3:
            cursor.values(words[2], number * 9, f"value of {words[1][:40]}", per=9)
        elif word == "TEXTURE_COORDINATES" and len(words) == 4:
            cursor.values(words[3], number * cursor.number(words[2]), f"value of {words[1][:40]}", per=max(1, cursor.number(words[2])))
        elif word == "FIELD" and len(words) == 3:
            if not _field(cursor, cursor.number(words[2]), out, number):
                return False
        elif word == "METADATA":
            _skip_metadata(cursor)
        else:
            log.warning("%s: %s and what follows left out", source.name, " ".join(words[:3])[:80])
            return False


def _field(cursor: Cursor, arrays: int, out: dict[str, Column], number: int | None) -> bool:
    """Reads the arrays of a FIELD, and adds those with `number` rows to `out`.

    False where an array of words ends what can be read.
    """
    for _ in range(arrays):
        words = cursor.words() or []
        if words[:1] == ["METADATA"]:
            _skip_metadata(cursor)
            words = cursor.words() or []
        if len(words) != 4:
            raise cursor.source.error(f'line {cursor.line()}: {" ".join(words)[:60]!r} is not "NAME VALUES POINTS TYPE" of an array')
        width, rows = cursor.number(words[1]), cursor.number(words[2])
        if words[3].lower() not in VTK_TYPES:
            log.warning("%s: array %s of type %s and what follows left out", cursor.source.name, words[0][:40], words[3][:40])
            return False
        values = cursor.values(words[3], width * rows, f"value of {words[0][:40]}", per=max(1, width)).reshape(rows, width)
        if rows == number:
            keep_values(out, words[0], values)
    return True


def keep_values(out: dict[str, Column], name: str, values: NDArray[np.generic]) -> None:
    """Adds values (N, C) of points to `out`.

    There has to be one for each point, or the name has to say that they are normals or colours.
    """
    parts = parts_named(name, values.shape[1]) if values.shape[1] > 1 else None
    if values.shape[1] == 1 and name not in ("normals", "colors"):
        out.setdefault(name, values[:, 0])
    elif parts is not None and parts[:3] == ["nx", "ny", "nz"]:
        out.setdefault("normals", values[:, :3])
    elif parts is not None and parts[:3] in (["red", "green", "blue"], ["r", "g", "b"]):
        out.setdefault("colors", values[:, :3])


def _skip_metadata(cursor: Cursor) -> None:
    """Skips all lines up to an empty one."""
    data = cursor.source.data
    end = data.find(b"\n\n", cursor.place)
    cursor.place = len(data) if end < 0 else end + 1
