"""A place in a VTK legacy file, from which words and numbers are read."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import IntArray
from lpdif.io.source import DOWNLOAD_AGAIN, Source, Text
from lpdif.io.table.numbers import read_rows
from lpdif.text import counted, several

VTK_TYPES = {
    "char": "i1", "signed_char": "i1", "unsigned_char": "u1", "short": "i2", "unsigned_short": "u2",
    "int": "i4", "unsigned_int": "u4", "long": "i8", "unsigned_long": "u8",
    "vtkidtype": "i4", "vtktypeint64": "i8", "vtktypeuint64": "u8", "vtktypeint32": "i4", "float": "f4", "double": "f8",
    "bit": "u1",
}  # fmt: skip
_NEXT_WORD = re.compile(rb"\n[ \t\r]*(?!nan|inf)[A-Za-z]", re.IGNORECASE)


@dataclass
class Cursor:
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
        if kind not in VTK_TYPES:
            raise source.error(f"line {self.line()}: VTK type {kind[:40]!r} is not understood")
        dtype = np.dtype(">" + VTK_TYPES[kind])
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


def _whole(source: Source, values: NDArray[np.float64], things: str) -> IntArray:
    """Values as integers. Raises InputError where one is no whole number."""
    good = np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < 2.0**62)
    if not good.all():
        raise source.error(f"{values[~good][0]:g} among the {things} is not a whole number")
    return values.astype(np.int64)
