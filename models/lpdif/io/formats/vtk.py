"""VTK legacy files: the points of any data set with their values, and polygons and strips."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import IntArray
from lpdif.io.polygons import first_outside, strips, triangulate
from lpdif.io.source import DOWNLOAD_AGAIN, Source, Text
from lpdif.io.table.colors import colors_of
from lpdif.io.table.columns import Column, parts_named
from lpdif.io.table.numbers import read_rows
from lpdif.text import counted, several
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_HEADER = re.compile(rb"# vtk DataFile Version (\d+)\.\d+[^\n]*\n[^\n]{0,300}\n\s*(ASCII|BINARY)\s*\n", re.IGNORECASE)
_VTK_TYPES = {
    "char": "i1", "signed_char": "i1", "unsigned_char": "u1", "short": "i2", "unsigned_short": "u2",
    "int": "i4", "unsigned_int": "u4", "long": "i8", "unsigned_long": "u8",
    "vtkidtype": "i4", "vtktypeint64": "i8", "vtktypeuint64": "u8", "vtktypeint32": "i4", "float": "f4", "double": "f8",
    "bit": "u1",
}  # fmt: skip
_CELL_WORDS = {"POLYGONS", "TRIANGLE_STRIPS", "VERTICES", "LINES"}


@dataclass
class _Cursor:
    """A place in the file, from which words and numbers are read. binary: whether numbers are written so."""

    source: Source
    binary: bool
    place: int

    def words(self) -> list[str] | None:
        """The words of the next line that has any; None at the end of the file."""
        data = self.source.data
        while self.place < len(data):
            end = data.find(b"\n", self.place)
            end = len(data) if end < 0 else end
            line = data[self.place : min(end, self.place + 1000)]
            self.place = end + 1
            if line.strip():
                return [word.decode("latin-1") for word in line.split()]
        return None

    def number(self, word: str) -> int:
        """A word as a count. Raises InputError where it is none."""
        if not word.isascii() or not word.removeprefix("-").isdigit() or len(word) > 20 or int(word) < 0:
            raise self.source.error(f"line {self.line()}: {word[:40]!r} is not a count")
        return int(word)

    def line(self) -> int:
        """The number, from 1, of the line that was read last."""
        return self.source.data.count(b"\n", 0, max(0, self.place - 1)) + 1

    def values(self, kind: str, count: int, thing: str, per: int = 1) -> NDArray[np.generic]:
        """The next `count` values of a VTK type; `per` of them make one `thing`.

        Raises InputError where the file has fewer.
        """
        source = self.source
        kind = kind.lower()
        if kind not in _VTK_TYPES:
            raise source.error(f"line {self.line()}: VTK type {kind[:40]!r} is not understood")
        dtype = np.dtype(">" + _VTK_TYPES[kind])
        room = len(source.data) - self.place
        if self.binary and kind == "bit":
            packed = self.values("unsigned_char", -(-count // 8), thing)
            return np.unpackbits(packed.astype(np.uint8), count=count)
        if self.binary:
            if count * dtype.itemsize > room:
                raise source.cut(max(0, room) // (dtype.itemsize * per), count // per, thing)
            out: NDArray[np.generic] = np.frombuffer(source.data, dtype, count, self.place).astype(dtype.newbyteorder("="))
            self.place += count * dtype.itemsize
            return out
        if count > (room + 1) // 2:
            raise source.error(
                f"header says {counted(count // per, thing)}, but the file has room for {max(0, room + 1) // (2 * per):,} at most",
                DOWNLOAD_AGAIN,
            )
        end = _NEXT_WORD.search(source.data, self.place)  # numbers may be on any number of lines, up to the next word
        text = Text(source, source.data[: end.start() + 1] if end else source.data)
        rows = read_rows(text, self.place)
        if len(rows.values) < count:
            raise source.cut(len(rows.values) // per, count // per, thing)
        if len(rows.values) > count:
            line = int(rows.lines[np.searchsorted(np.cumsum(rows.counts), count, side="right")])
            raise text.error(line, f"more numbers than those of {counted(count // per, thing)}")
        self.place = rows.end
        return rows.values if dtype.kind == "f" else _whole(source, rows.values, several(thing)).astype(dtype.newbyteorder("="))


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
    cursor = _Cursor(source, match[2].upper() == b"BINARY", match.end())
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
            data = _point_data(cursor, len(points))
            break
        elif word == "METADATA":
            _skip_metadata(cursor)
        elif word == "FIELD" and len(words) == 3:
            if not _field(cursor, cursor.number(words[2]), {}, None):
                if points is None:
                    raise source.error("the FIELD before its points cannot be passed over", "save it without field data, or as PLY")
                break
        elif word in ("CELL_DATA", "CELLS", "CELL_TYPES"):
            log.info("%s: %s and what follows left out", source.name, word)
            break
        else:
            raise source.error(f"line {cursor.line()}: {' '.join(words)[:60]!r} is not understood", "save it as polygonal data, or as PLY")
    if points is None or not len(points):
        raise source.empty()
    faces = _faces(source, cells, points)
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


_NEXT_WORD = re.compile(rb"\n[ \t\r]*(?!nan|inf)[A-Za-z]", re.IGNORECASE)


def _whole(source: Source, values: NDArray[np.float64], things: str) -> IntArray:
    """Values as integers. Raises InputError where one is no whole number."""
    good = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2.0**62)
    if not good.all():
        raise source.error(f"{values[~good][0]:g} among the {things} is not a whole number")
    return values.astype(np.int64)


def _cells(cursor: _Cursor, number: int, size: int, with_offsets: bool) -> tuple[IntArray, IntArray]:
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


def _faces(source: Source, cells: dict[str, tuple[IntArray, IntArray]], points: NDArray[np.float64]) -> IntArray | None:
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


def _point_data(cursor: _Cursor, number: int) -> dict[str, Column]:
    """The values of points by name: "normals" and "colors" are (N, 3), the others (N,)."""
    source = cursor.source
    out: dict[str, Column] = {}
    while (words := cursor.words()) is not None:
        word = words[0].upper()
        if word == "SCALARS" and len(words) in (3, 4) and words[2].lower() in _VTK_TYPES:
            width = cursor.number(words[3]) if len(words) == 4 else 1
            before = cursor.place
            following = cursor.words()
            if following is None or following[0].upper() != "LOOKUP_TABLE":
                cursor.place = before
            values = cursor.values(words[2], number * width, f"value of {words[1][:40]}", per=max(1, width))
            _keep(out, words[1], values.reshape(number, width))
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
        elif word == "FIELD" and len(words) == 3:
            if not _field(cursor, cursor.number(words[2]), out, number):
                break
        elif word == "METADATA":
            _skip_metadata(cursor)
        else:
            log.warning("%s: %s and what follows left out", source.name, " ".join(words[:3])[:80])
            break
    return out


def _field(cursor: _Cursor, arrays: int, out: dict[str, Column], number: int | None) -> bool:
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
        if words[3].lower() not in _VTK_TYPES:
            log.warning("%s: array %s of type %s and what follows left out", cursor.source.name, words[0][:40], words[3][:40])
            return False
        values = cursor.values(words[3], width * rows, f"value of {words[0][:40]}", per=max(1, width)).reshape(rows, width)
        if rows == number:
            _keep(out, words[0], values)
    return True


def _keep(out: dict[str, Column], name: str, values: NDArray[np.generic]) -> None:
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


def _skip_metadata(cursor: _Cursor) -> None:
    """Skips all lines up to an empty one."""
    data = cursor.source.data
    end = data.find(b"\n\n", cursor.place)
    cursor.place = len(data) if end < 0 else end + 1
