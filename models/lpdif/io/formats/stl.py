"""STL, text or binary: triangles whose corners are given one by one; equal corners become one point."""

from __future__ import annotations

import logging
import re

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.io.polygons import triangulate
from lpdif.io.source import DOWNLOAD_AGAIN, Source, Text, as_text
from lpdif.io.table.numbers import read_rows
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_TRIANGLE = np.dtype([("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_HEADER_BYTES = 84  # 80 bytes of text, 4 of the count
# where a line may be broken, since some programs write several words, or all of them, on one line
_INNER_WORD = re.compile(rb"(?<=[ \t])(?=vertex[ \t]+[-+.\dni]|endloop\s)", re.IGNORECASE)


def is_binary_stl(data: bytes) -> bool:
    """Whether the data has just the size that the count at byte 80 needs."""
    return len(data) >= _HEADER_BYTES and len(data) == _HEADER_BYTES + _TRIANGLE.itemsize * int.from_bytes(data[80:84], "little")


def is_text_stl(data: bytes) -> bool:
    """Whether the data begins as STL text does."""
    head = data[:4096].lower()
    return head.startswith(b"solid") and not is_binary_stl(data) and (b"facet" in head or b"endsolid" in head)


def is_stl(source: Source) -> bool:
    """Whether the file is a binary STL, by its size, or a text one, by its first words."""
    return is_binary_stl(source.data) or is_text_stl(source.head.lstrip())


def may_be_stl(source: Source) -> bool:
    """Whether the file may be an STL that is cut off.

    A binary one has at least its header, and zero bytes; a text one has its first word.
    """
    return (len(source.data) >= _HEADER_BYTES and b"\x00" in source.head) or source.data[:5].lower() == b"solid"


def read_stl(source: Source) -> Scan:
    """Reads an STL file. Raises InputError where it ends early or holds no triangle."""
    text_like = as_text(source).data.lstrip()[:4096]
    as_words = is_text_stl(text_like) or (text_like.startswith(b"solid") and b"\0" not in text_like)
    corners = _read_text(source) if as_words and not is_binary_stl(source.data) else _read_binary(source)
    if not len(corners):
        raise source.error("holds no triangles")
    points, index = merge_equal(corners)
    faces = triangulate(index, np.full(len(index) // 3, 3), points, source.name)
    return Scan(points, faces=faces if len(faces) else None, name=source.name)


def _read_binary(source: Source) -> NDArray[np.float64]:
    data = source.data
    if len(data) < _HEADER_BYTES:
        raise source.error(f"not an STL file: {counted(len(data), 'byte')}, where a binary one has {_HEADER_BYTES} at least", DOWNLOAD_AGAIN)
    count, room = int.from_bytes(data[80:84], "little"), (len(data) - _HEADER_BYTES) // _TRIANGLE.itemsize
    if count == 0 and room and (len(data) - _HEADER_BYTES) % _TRIANGLE.itemsize == 0:  # a program that did not know the count before
        log.warning("%s: header says 0 triangles, its size says %s: these are read", source.name, f"{room:,}")
        count = room
    if count > room:
        raise source.cut(room, count, "triangle")
    if len(data) > _HEADER_BYTES + count * _TRIANGLE.itemsize:
        behind = counted(len(data) - _HEADER_BYTES - count * _TRIANGLE.itemsize, "byte")
        log.warning("%s: %s behind its %s left out", source.name, behind, counted(count, "triangle"))
    return np.frombuffer(data, _TRIANGLE, count, _HEADER_BYTES)["corners"].reshape(-1, 3).astype(np.float64)


def _read_text(source: Source) -> NDArray[np.float64]:
    text = as_text(source)
    if text.data.count(b"\n") < 2 * text.data.lower().count(b"vertex"):  # a triangle usually has seven lines, three of them vertices
        try:
            rows = read_rows(Text(source, _INNER_WORD.sub(b"\n", text.data)), keyword=b"vertex", columns=3)
        except InputError:  # it names a line of the changed text
            raise source.error('"vertex" is not followed by three numbers everywhere') from None
    else:
        rows = read_rows(text, keyword=b"vertex", columns=3)
    if len(rows.counts) % 3:
        raise text.error(int(rows.lines[-1]), "ends within a triangle", DOWNLOAD_AGAIN)
    if b"endsolid" not in text.data[-4096:].lower():
        log.warning("%s: has no last line endsolid: it may be cut off", source.name)
    return rows.values.reshape(-1, 3)


def merge_equal(corners: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Merges equal corners (N, 3) into points.

    Returns the points (U, 3) in the order of their first use, and the index of each corner's point (N,).
    """
    values = np.ascontiguousarray(corners + 0.0)  # -0.0 becomes 0.0
    words = values.view(np.uint64)
    key = (words * np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    key ^= key >> np.uint64(29)
    _, first, index = np.unique(key, return_index=True, return_inverse=True)
    if not np.array_equal(words[first][index], words):  # two different points have the same key
        _, first, index = np.unique(words, axis=0, return_index=True, return_inverse=True)
        index = index.reshape(-1)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return values[first[order]], rank[index]
