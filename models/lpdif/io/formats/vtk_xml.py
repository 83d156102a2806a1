"""VTK in XML: polygonal data, unstructured and structured grids (.vtp, .vtu, .vts), with numbers as text, base64 or appended bytes."""

from __future__ import annotations

import base64
import binascii
import logging
import lzma
import re
import zlib
from dataclasses import dataclass, field
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray
from lpdif.io.formats.vtk import faces_of_cells, keep_values, surface_cells
from lpdif.io.source import DOWNLOAD_AGAIN, UNPACKED_TIMES, Source
from lpdif.io.table.colors import colors_of
from lpdif.io.table.columns import Column
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--(?>.*?-->)\s*)*+<VTKFile\b", re.DOTALL)
_APPENDED = re.compile(rb"<AppendedData\b([^>]*)>\s*_")
_KINDS = ("PolyData", "UnstructuredGrid", "StructuredGrid")
_SECTIONS = ("Points", "PointData", "Polys", "Strips", "Cells")
_TYPES = {
    "Float32": "f4", "Float64": "f8", "Int8": "i1", "Int16": "i2", "Int32": "i4", "Int64": "i8",
    "UInt8": "u1", "UInt16": "u2", "UInt32": "u4", "UInt64": "u8",
}  # fmt: skip
_HOW = "save it in binary or ASCII, without compression by LZ4, or as PLY"


@dataclass
class _Array:
    """An array: what the file says about it, and its text, which is empty for appended bytes."""

    given: dict[str, str]
    text: list[str] = field(default_factory=list)


@dataclass
class _Piece:
    """A part of the data: its arrays by section, in their order."""

    points: int
    arrays: dict[str, list[_Array]] = field(default_factory=lambda: {name: [] for name in _SECTIONS})


def is_vtk_xml(source: Source) -> bool:
    """Whether the file begins as VTK files in XML do."""
    return _ROOT.match(source.head) is not None


def read_vtk_xml(source: Source) -> Scan:
    """Reads the points of all pieces with their values, and polygons and strips.

    Raises InputError for other kinds of data, as images of voxels are, for damage, and where sizes contradict each other.
    """
    return _Reader(source).scan()


class _Reader:
    """The structure of a file, and its appended bytes."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.given: dict[str, str] = {}
        self.pieces: list[_Piece] = []
        self.unpacked = 0
        match = _APPENDED.search(source.data)
        self.appended = source.data[match.end() :] if match else b""
        self.appended_raw = match is not None and b"raw" in match[1]
        self._parse(source.data[: match.start()] + b"</VTKFile>" if match else source.data)
        order = "<" if self.given.get("byte_order", "LittleEndian") == "LittleEndian" else ">"
        self.order, self.header = order, np.dtype(order + ("u8" if self.given.get("header_type") == "UInt64" else "u4"))

    def _parse(self, data: bytes) -> None:
        """Finds the pieces and their arrays."""
        parser, section = expat.ParserCreate(), ""
        opened = [_Array({})]  # the array whose text follows, for each element that is open: text within others is none of an array

        def start(tag: str, given: dict[str, str]) -> None:
            nonlocal section
            opened.append(_Array({}))
            if tag == "VTKFile":
                self.given = given
                if given.get("type") not in _KINDS:
                    what = f"VTK data of type {given.get('type', '')[:40]!r}, which holds no list of points or polygons"
                    raise self.source.error(what, "save its surface or points as .vtp, or as PLY")
            elif tag == "Piece":
                self.pieces.append(_Piece(int(given.get("NumberOfPoints", "-1"))))
            elif tag == "DataArray" and section in _SECTIONS and self.pieces:
                opened[-1] = _Array(given)
                self.pieces[-1].arrays[section].append(opened[-1])
            elif tag in (*_SECTIONS, "CellData", "FieldData", "Verts", "Lines"):
                section = tag

        def end(tag: str) -> None:
            nonlocal section
            opened.pop()
            if tag == section:
                section = ""

        def refuse(*_: object) -> None:
            raise self.source.error("declares a document type, which no VTK file has")

        parser.StartElementHandler, parser.EndElementHandler, parser.StartDoctypeDeclHandler = start, end, refuse
        parser.CharacterDataHandler = lambda text: opened[-1].text.append(text)
        try:
            parser.Parse(data, True)
        except expat.ExpatError as error:
            raise self.source.error(f"damaged XML ({error})", DOWNLOAD_AGAIN) from None
        except ValueError:
            raise self.source.error(f"line {parser.CurrentLineNumber}: the number of points is no number", DOWNLOAD_AGAIN) from None

    def scan(self) -> Scan:
        """The scan of all pieces."""
        points: list[FloatArray] = []
        faces: list[IntArray] = []
        values: list[dict[str, Column]] = []
        total = 0
        for piece in self.pieces:
            arrays = piece.arrays["Points"]
            if not arrays:
                continue
            own = self._values(arrays[0]).astype(np.float64)
            if own.size % 3 or (piece.points >= 0 and own.size != 3 * piece.points):
                raise self.source.error(f"{counted(own.size, 'number')} for {counted(piece.points, 'point')}", DOWNLOAD_AGAIN)
            own = own.reshape(-1, 3)
            corners = faces_of_cells(self.source, self._cells(piece), own)
            found: dict[str, Column] = {}
            for array in piece.arrays["PointData"]:
                if array.given.get("type") not in _TYPES:
                    continue
                column = self._values(array)
                if len(own) and column.size and column.size % len(own) == 0:
                    keep_values(found, array.given.get("Name", "value")[:100], column.reshape(len(own), -1))
            points.append(own)
            values.append(found)
            if corners is not None:
                faces.append(corners + total)
            total += len(own)
        if not total:
            raise self.source.empty()
        shared = [name for name in values[0] if all(name in found for found in values)]
        joined = {name: np.concatenate([found[name] for found in values]) for name in shared}
        normals, colors = joined.pop("normals", None), joined.pop("colors", None)
        return Scan(
            np.concatenate(points),
            None if normals is None else normals.astype(np.float64),
            None if colors is None else colors_of(list(colors.T), self.source.name),
            joined,
            np.concatenate(faces) if faces else None,
            None,
            self.source.name,
        )

    def _cells(self, piece: _Piece) -> dict[str, tuple[IntArray, IntArray]]:
        """The corners of polygons and strips, and the number in each, by the words that legacy files have for them."""
        out: dict[str, tuple[IntArray, IntArray]] = {}
        for section, word in (("Polys", "POLYGONS"), ("Strips", "TRIANGLE_STRIPS"), ("Cells", "CELLS")):
            named = {array.given.get("Name", ""): array for array in piece.arrays[section]}
            if not {"connectivity", "offsets"} <= set(named):
                continue
            corners, ends = (self._values(named[name]).astype(np.int64) for name in ("connectivity", "offsets"))
            counts = np.diff(ends, prepend=0)
            if (counts < 0).any() or (ends[-1:] != len(corners)).any():
                raise self.source.error("offsets of cells do not rise to the number of corners")
            if word != "CELLS":
                out[word] = corners, counts
            elif "types" in named:
                out |= surface_cells(self.source, corners, counts, self._values(named["types"]).astype(np.int64))
        return out

    def _values(self, array: _Array) -> NDArray[np.generic]:
        """The numbers of an array, one after the other."""
        given, text = array.given, "".join(array.text)
        kind = _TYPES.get(given.get("type", ""))
        if kind is None:
            raise self.source.error(f"numbers of type {given.get('type', '')[:40]!r} are not understood")
        name = given.get("Name", "of points")[:40]
        try:
            if given.get("format") == "ascii":
                return np.array(text.split(), dtype=np.float64 if kind[0] == "f" else kind)
            if given.get("format") == "appended":
                data = self.appended[int(given.get("offset", "0")) :]
                raw = self._unpacked(data, self.appended_raw)
            else:
                raw = self._unpacked(text.strip().encode(), False)
            return np.frombuffer(raw, np.dtype(self.order + kind))
        except (ValueError, OverflowError, binascii.Error, zlib.error, lzma.LZMAError, IndexError) as error:
            raise self.source.error(f"its array {name} is damaged ({str(error)[:80]})", DOWNLOAD_AGAIN) from None

    def _unpacked(self, data: bytes, raw: bool) -> bytes:
        """The bytes of an array: behind a header with their number, or the numbers of compressed blocks."""
        word = self.header.itemsize
        compressor = self.given.get("compressor", "")
        if not compressor:
            size = int(np.frombuffer(_part(data, 0, word, raw), self.header)[0])
            self._count(size)
            found = _part(data, 0, word + size, raw)[word:]
            if len(found) < size:
                raise ValueError(f"{counted(len(found), 'byte')} of {size:,}")
            return found
        blocks = int(np.frombuffer(_part(data, 0, word, raw), self.header)[0])
        if blocks > len(data):
            raise ValueError(f"{counted(blocks, 'block')} in {counted(len(data), 'byte')}")
        head = np.frombuffer(_part(data, 0, word * (3 + blocks), raw), self.header).tolist()
        sizes, start = head[3:], word * (3 + blocks)
        self._count(blocks * head[1])
        packed = _part(data[start if raw else _letters(start) :], 0, sum(sizes), raw)
        out, place = [], 0
        for size in sizes:
            out.append(self._block(compressor, packed[place : place + size], head[1]))
            place += size
        return b"".join(out)

    def _block(self, compressor: str, packed: bytes, most: int) -> bytes:
        """One block, of `most` bytes at most."""
        if compressor == "vtkZLibDataCompressor":
            return zlib.decompressobj().decompress(packed, max(1, most))
        if compressor == "vtkLZMADataCompressor":
            return lzma.LZMADecompressor().decompress(packed, max(1, most))
        raise self.source.error(f"compressed by {compressor[:40]}, which is not read", _HOW)

    def _count(self, size: int) -> None:
        """Counts unpacked bytes. Raises InputError where they are so many that this is no scan."""
        self.unpacked += size
        if self.unpacked > self.source.most_unpacked:
            raise self.source.error(f"unpacks to more than {UNPACKED_TIMES} times its size", _HOW)


def _letters(size: int) -> int:
    """How many letters of base64 so many bytes take."""
    return -(-size // 3) * 4


def _part(data: bytes, start: int, size: int, raw: bool) -> bytes:
    """The first bytes of data, or of what it is in base64."""
    if raw:
        return data[start : start + size]
    return base64.b64decode(data[: _letters(start + size)])[start : start + size]
