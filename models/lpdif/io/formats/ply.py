"""PLY (Stanford): text and both byte orders; a vertex element with any properties, faces as lists or strips; Gaussian splats.

The header is text: "element NAME COUNT", each followed by its properties, scalar or "list COUNTTYPE TYPE NAME".
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.io.formats.ply_lists import Lists, lists_of_bytes, lists_of_rows, one_row_a_line
from lpdif.io.formats.splats import as_points, is_compressed_splat, is_splat
from lpdif.io.polygons import first_outside, strips, triangulate
from lpdif.io.source import DOWNLOAD_AGAIN, Source, Text
from lpdif.io.table.columns import Column, first_of, scan_of_columns
from lpdif.io.table.numbers import read_rows, read_table
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

HEADER_LIMIT = 1 << 20  # no true header is longer
_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
    "int64": "i8", "uint64": "u8", "long": "i8", "ulong": "u8", "bool": "u1",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_FIRST_WORD = re.compile(rb"\s*ply\s", re.IGNORECASE)
_END = re.compile(rb"(?<=[\r\n])end_header")
_BOOL = re.compile(rb"(?m)^[ \t]*property[ \t]+(?:list[ \t]+\w+[ \t]+)?bool\b")
_TRUTH = re.compile(rb"\b(?:true|false)\b", re.IGNORECASE)
_CORNERS = ("vertex_indices", "vertex_index", "vertex_indexes", "vertices", "indices")


@dataclass(frozen=True)
class Property:
    """name, type of the values (numpy, byte order included), and type of the count before them if it is a list."""

    name: str
    type: str
    count_type: str = ""


@dataclass
class Element:
    """A table of the file: `count` rows of its properties."""

    name: str
    count: int
    properties: list[Property]

    @property
    def names(self) -> list[str]:
        return [prop.name for prop in self.properties]

    @property
    def has_lists(self) -> bool:
        return any(prop.count_type for prop in self.properties)

    @property
    def thing(self) -> str:
        """What one of its rows is called in messages."""
        return {"vertex": "point", "face": "face"}.get(self.name, f"row of {self.name}")


@dataclass
class Header:
    order: str  # "" text, "<" or ">" binary
    elements: list[Element]
    size: int  # bytes before the data


def is_ply(source: Source) -> bool:
    """Whether the first word of the file is "ply"."""
    return _FIRST_WORD.match(source.head) is not None


def read_ply(source: Source) -> Scan:
    """Reads a PLY file. Raises InputError for whatever its header or size belies."""
    header = _read_header(source)
    names = next((element.names for element in header.elements if element.name == "vertex"), None)
    if names is None:
        raise source.error('header has no element "vertex"')
    if is_compressed_splat(names):
        raise source.error("a compressed Gaussian splat, which is not read", "save it as PLY without compression, with SuperSplat say")
    tables = _read_text(source, header) if not header.order else _read_binary(source, header)
    scalars, _ = tables["vertex"]
    if not len(next(iter(scalars.values()), ())):
        raise source.empty("element vertex 0")
    if is_splat(scalars):
        log.info("%s: a Gaussian splat: the centres of its Gaussians are taken as points", source.name)
        scalars = as_points(scalars)
    scan = scan_of_columns(source, list(scalars), list(scalars.values()), sensor=_sensor(tables))
    if scan.normals is not None and not scan.normals.any():  # as programs write that they have none
        log.info("%s: normals left out: all are zero", source.name)
        scan = replace(scan, normals=None)
    return replace(scan, faces=_faces(source, tables, scan.points))


Table = tuple[dict[str, Column], dict[str, Lists]]  # scalar properties, list properties


def _read_header(source: Source) -> Header:
    data = source.data
    match = _END.search(data, 0, HEADER_LIMIT)
    if match is None:
        where = f"its first {HEADER_LIMIT} bytes" if len(data) > HEADER_LIMIT else "the file"
        raise source.error(f"PLY header does not end: no end_header in {where}", DOWNLOAD_AGAIN)
    found, size = match.span()
    while size < len(data) and data[size] in b" \t":
        size += 1
    if data[size : size + 1] == b"\r":  # a lone carriage return ends lines only where it has ended the first
        old_mac = data.find(b"\n", 0, found) < 0
        size += 1 if old_mac else 2 if data[size + 1 : size + 2] == b"\n" else 1
    elif data[size : size + 1] == b"\n":
        size += 1
    elif size < len(data):
        raise source.error("PLY header: end_header is followed by other letters on its line")

    order: str | None = None
    elements: list[Element] = []
    for number, raw in enumerate(data[:found].decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        words = raw.split()
        if not words or words[0].lower() == "ply" or words[0] in ("comment", "obj_info"):
            continue
        if words[0] == "format":
            order = _ORDERS.get(words[1] if len(words) > 1 else "")
            if order is None:
                raise source.error(f"line {number}: PLY format {' '.join(words[1:])[:40]!r} is none of {', '.join(_ORDERS)}")
        elif words[0] == "element":
            elements.append(Element(words[1] if len(words) > 1 else "", _count(source, number, words), []))
        elif words[0] == "property" and elements:
            elements[-1].properties.append(_property(source, number, words, order or ""))
        else:
            raise source.error(f"line {number}: {raw.strip()[:40]!r} belongs in no PLY header")
    if order is None:
        raise source.error("PLY header has no format line")
    if len({element.name for element in elements}) < len(elements):
        raise source.error("PLY header lists an element twice")
    return Header(order, elements, size)


def _count(source: Source, number: int, words: list[str]) -> int:
    if len(words) != 3 or not words[2].isascii() or not words[2].removeprefix("-").isdigit() or len(words[2]) > 20:
        raise source.error(f'line {number}: {" ".join(words)[:60]!r} is not "element NAME COUNT"')
    count = int(words[2])
    if count < 0:
        raise source.error(f"line {number}: header says {counted(count, Element(words[1], 0, []).thing)}")
    return count


def _property(source: Source, number: int, words: list[str], order: str) -> Property:
    is_list = len(words) == 5 and words[1] == "list"
    types = words[2:4] if is_list else words[1:2]
    unknown = [name for name in types if name not in _TYPES]
    if unknown or len(words) != (5 if is_list else 3):
        raise source.error(f"line {number}: PLY property {' '.join(words[1:])[:60]!r} is not understood")
    numpy_types = [order + _TYPES[name] for name in types]
    if is_list and numpy_types[0][-2] == "f":
        raise source.error(f"line {number}: a list cannot count its values in {types[0]}")
    return Property(words[-1], numpy_types[-1], numpy_types[0] if is_list else "")


def _read_text(source: Source, header: Header) -> dict[str, Table]:
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
            pass
        else:
            log.info("%s: its lines are no rows; rows are told apart by their numbers of values", source.name)
            return tables
        raise  # what it says of the lines is true of the file


def _tables_of_text(text: Text, header: Header) -> dict[str, Table]:
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
    """The values of an element without lists; of rows that all have one number too many, as some programs write opacities, without it."""
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
    """Columns by the names of their properties; the first of two of one name counts."""
    out: dict[str, Column] = {}
    for prop, column in zip(element.properties, columns, strict=True):
        out.setdefault(prop.name, column)
    return out


def _typed(column: NDArray[np.float64], kind: str) -> Column:
    """Text gives doubles; integers and labels become what the header calls them, where they are that."""
    if kind in ("f8", "f4"):
        return column  # digits beyond float are worth keeping
    limits = np.iinfo(kind)
    fits = np.isfinite(column).all() and (column == np.rint(column)).all() and column.min(initial=0) >= limits.min
    return column.astype(kind) if fits and column.max(initial=0) <= limits.max else column


def _read_binary(source: Source, header: Header) -> dict[str, Table]:
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


def _faces(source: Source, tables: dict[str, Table], points: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Triangles of the elements face and tristrips; None if there are none."""
    parts: list[NDArray[np.int64]] = []
    for element, thing in (("face", "face"), ("tristrips", "strip")):
        lists = tables.get(element, ({}, {}))[1]
        key = first_of({name: entry.values for name, entry in lists.items()}, _CORNERS)
        if key is None or not len(lists[key].counts):
            continue
        corners, counts = lists[key].as_indices(source, thing), lists[key].counts
        outside = first_outside(corners[corners != -1] if element == "tristrips" else corners, len(points))
        if outside is not None:
            if element == "tristrips":
                outside = int(np.flatnonzero(corners != -1)[outside])
            row = int(np.searchsorted(np.cumsum(counts), outside, side="right"))
            raise source.error(f"{thing} {row + 1} of {len(counts)} uses point {corners[outside]}, but points go from 0 to {len(points) - 1}")
        parts.append(triangulate(corners, counts, points, source.name) if element == "face" else strips(corners, counts))
    faces = np.concatenate(parts) if parts else np.zeros((0, 3), dtype=np.int64)
    return faces if len(faces) else None


def _sensor(tables: dict[str, Table]) -> NDArray[np.float64] | None:
    """Where the scanner stood, from the camera element that PCL writes; it is all zeros where PCL did not know."""
    camera = tables.get("camera", ({}, {}))[0]
    if not {"view_px", "view_py", "view_pz"} <= set(camera) or len(camera["view_px"]) != 1:
        return None
    place = np.array([float(camera[key][0]) for key in ("view_px", "view_py", "view_pz")])
    organised = "viewporty" in camera and float(camera["viewporty"][0]) > 1
    return place if np.isfinite(place).all() and (organised or place.any()) else None
