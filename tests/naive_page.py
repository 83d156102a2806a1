"""A page of `lpdif view`, taken apart one number at a time: the obvious twin of `lpdif.view.packing` and of the page's script."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import dataclass
from typing import Any


@dataclass
class ReadPage:
    """What is in a page: what it says of itself, and its byte strings by name."""

    about: dict[str, Any]
    parts: dict[str, bytes]

    def places(self, name: str) -> list[list[float]]:
        """Positions in the coordinates of the file."""
        raw, low, step = self.parts[name], self.about["frame"][0], self.about["step"]
        columns = []
        for axis in range(3):
            value, column = 0, []
            for code in numbers(raw)[axis * len(raw) // 12 : (axis + 1) * len(raw) // 12]:
                value += -(code + 1) // 2 if code % 2 else code // 2
                column.append(low[axis] + value * step)
            columns.append(column)
        return [list(place) for place in zip(*columns, strict=True)]

    def faces(self) -> list[list[int]]:
        """The corners of each face."""
        coded = numbers(self.parts["faces"])
        count = len(coded) // 3
        first, found = 0, []
        for face in range(count):
            first += coded[face]
            found.append([first, first + coded[count + face], first + coded[2 * count + face]])
        return found

    def bytes(self, name: str, channels: int = 1) -> list[list[int]]:
        """Values in bytes, a row a vertex, point or face."""
        raw = self.parts[name]
        count = len(raw) // channels
        columns = []
        for channel in range(channels):
            value, column = 0, []
            for difference in raw[channel * count : (channel + 1) * count]:
                value = (value + difference) % 256
                column.append(value)
            columns.append(column)
        return [list(row) for row in zip(*columns, strict=True)]

    def colors(self, name: str) -> list[list[int]]:
        """Red, green and blue, a row a vertex or point."""
        return [[(red + green) % 256, green, (blue + green) % 256] for green, red, blue in self.bytes(name, 3)]


def numbers(planes: bytes) -> list[int]:
    """Numbers of four bytes, of which all lowest bytes come first."""
    count = len(planes) // 4
    return [sum(planes[plane * count + i] << (8 * plane) for plane in range(4)) for i in range(count)]


def element(text: str, name: str) -> str:
    """The content of the element with this id."""
    found = re.findall(rf'id="{name}">(.*?)</script>', text, re.S)
    assert len(found) == 1
    return str(found[0])


def read_page(text: str) -> ReadPage:
    """Takes a page apart."""
    about = json.loads(element(text, "about"))
    data = zlib.decompress(base64.b64decode(element(text, "data"), validate=True))
    parts = {name: data[begin : begin + count] for name, (begin, count) in about["places"].items()}
    assert sum(map(len, parts.values())) == len(data)
    return ReadPage(about, parts)
