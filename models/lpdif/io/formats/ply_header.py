"""The header of a PLY file, which is text: "element NAME COUNT", each followed by its properties.

A property is "property TYPE NAME", or "property list COUNTTYPE TYPE NAME".
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from lpdif.io.source import DOWNLOAD_AGAIN, Source
from lpdif.text import counted, excerpt, printable

LONGEST_HEADER = 1 << 20  # bytes
_PROPERTY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4", "double": "f8", "float64": "f8",
    "int64": "i8", "uint64": "u8", "long": "i8", "ulong": "u8", "bool": "u1",
}  # fmt: skip
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_PATTERN = re.compile(r"comment pattern (-?\d{1,9}) (\S.*)")
_END = re.compile(rb"(?<=[\r\n])end_header")


@dataclass(frozen=True)
class Property:
    """A property: its name and the numpy types of its values and of their count.

    Types include the byte order. The type of the count is "" where the property is no list.
    """

    name: str
    type: str
    count_type: str = ""


@dataclass
class Element:
    """A table of the file: `count` rows, each with a value of every property."""

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
        """The noun for one of its rows in messages."""
        return {"vertex": "point", "face": "face"}.get(self.name, f"row of {self.name}")


@dataclass
class Header:
    """The header of a file."""

    order: str  # "" text, "<" or ">" binary
    elements: list[Element]
    size: int  # bytes before the data
    pattern_names: dict[int, str]  # from comments, as lpdif writes them


def read_header(source: Source) -> Header:
    """The header of a file. Raises InputError naming the line that is wrong in it."""
    data = source.data
    match = _END.search(data, 0, LONGEST_HEADER)
    if match is None:
        where = f"its first {LONGEST_HEADER} bytes" if len(data) > LONGEST_HEADER else "the file"
        raise source.error(f"PLY header does not end: no end_header in {where}", DOWNLOAD_AGAIN)
    found, size = match.span()
    while size < len(data) and data[size] in b" \t":
        size += 1
    if data[size : size + 1] == b"\r":  # a lone carriage return ends a line only where it ends the first one
        old_mac = data.find(b"\n", 0, found) < 0
        size += 1 if old_mac else 2 if data[size + 1 : size + 2] == b"\n" else 1
    elif data[size : size + 1] == b"\n":
        size += 1
    elif size < len(data):
        raise source.error("PLY header: end_header is followed by other letters on its line")

    order: str | None = None
    elements: list[Element] = []
    names: dict[int, str] = {}
    for number, raw in enumerate(data[:found].decode("latin-1").replace("\r\n", "\n").replace("\r", "\n").split("\n"), 1):
        words = raw.split()
        if not words or words[0].lower() == "ply" or words[0] in ("comment", "obj_info"):
            if named := _PATTERN.fullmatch(raw.rstrip()):
                names.setdefault(int(named[1]), excerpt(printable(named[2])))
            continue
        if words[0] == "format":
            order = _ORDERS.get(words[1].lower() if len(words) > 1 else "")
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
    return Header(order, elements, size, names)


def _count(source: Source, number: int, words: list[str]) -> int:
    """The count of the words "element NAME COUNT" in this line of the header."""
    if len(words) != 3 or not words[2].isascii() or not words[2].removeprefix("-").isdigit() or len(words[2]) > 20:
        raise source.error(f'line {number}: {" ".join(words)[:60]!r} is not "element NAME COUNT"')
    count = int(words[2])
    if count < 0:
        raise source.error(f"line {number}: header says {counted(count, Element(words[1], 0, []).thing)}")
    return count


def _property(source: Source, number: int, words: list[str], order: str) -> Property:
    """The property that the words in this line of the header declare."""
    is_list = words[1:2] == ["list"]
    types = [name.lower() for name in (words[2:4] if is_list else words[1:2])]
    unknown = [name for name in types if name not in _PROPERTY_TYPES]
    name = " ".join(words[4 if is_list else 2 :])  # the scalar fields of some programs have blanks in their names
    if unknown or not name:
        raise source.error(f"line {number}: PLY property {' '.join(words[1:])[:60]!r} is not understood")
    numpy_types = [order + _PROPERTY_TYPES[name] for name in types]
    if is_list and numpy_types[0][-2] == "f":
        raise source.error(f"line {number}: a list cannot count its values in {types[0]}")
    return Property(name, numpy_types[-1], numpy_types[0] if is_list else "")
