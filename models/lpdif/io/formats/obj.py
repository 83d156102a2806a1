"""Wavefront OBJ: points or a mesh, with colours, normals, negative indices and polygons.

Materials, textures, lines and free-form surfaces are ignored.
"""

from __future__ import annotations

import logging
import re

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray
from lpdif.errors import InputError
from lpdif.io.polygons import triangulate
from lpdif.io.source import Source, Text, as_text, join_continued, with_comments
from lpdif.io.table.colors import colors_of
from lpdif.io.table.numbers import Bytes, Rows, read_rows
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_ELEMENT_LINE = re.compile(rb"(?m)^[ \t]*(?:v|vn|f)[ \t]+[-+.\d]")
_KEYWORDS = {b"v", b"vt", b"vn", b"vp", b"f", b"l", b"p", b"o", b"g", b"s", b"usemtl", b"mtllib"}


def is_obj(source: Source) -> bool:
    """Whether lines of a text begin with v, vn or f and a number.

    Where these are capital letters, all lines have to be of OBJ.
    """
    head = source.head
    return source.is_text and (
        _ELEMENT_LINE.search(head) is not None or (_ELEMENT_LINE.search(head.lower()) is not None and may_be_obj(source))
    )


def may_be_obj(source: Source) -> bool:
    """Whether the first lines of a file begin with words of OBJ, though none of them may be a point."""
    return b"\x00" not in source.head and all(map(_is_obj_line, source.head.splitlines()[:50]))


def _is_obj_line(line: bytes) -> bool:
    words = line.split(None, 1)
    return not words or words[0].startswith(b"#") or words[0].lower() in _KEYWORDS


def read_obj(source: Source) -> Scan:
    """Reads an OBJ file. Raises InputError naming the line of a bad number or index."""
    text = with_comments(join_continued(as_text(source)), b"#")
    vertices = read_rows(text, keyword=b"v")
    if not len(vertices.counts):
        raise source.empty('no line that begins with "v"')
    short = np.flatnonzero(vertices.counts < 3)
    if len(short):
        raise text.error(int(vertices.lines[short[0]]), f"a point of {counted(int(vertices.counts[short[0]]), 'coordinate')}")
    starts = vertices.starts
    points = vertices.values[starts[:, None] + np.arange(3)]
    colors = _colors(source, vertices)

    normals = read_rows(text, keyword=b"vn", columns=3).values.reshape(-1, 3)
    corners = read_rows(text, keyword=b"f", prepare=_first_parts)
    faces: IntArray | None = None
    own_normals: FloatArray | None = None
    if len(corners.counts):
        indices = _indices(text, corners, vertices.lines, len(points), "point")
        faces = triangulate(indices, corners.counts, points, source.name)
        if len(normals):
            own_normals = _normals_of_corners(text, indices, corners, normals, len(points))
    elif len(normals) == len(points):
        own_normals = normals
    return Scan(points, own_normals, colors, {}, faces if faces is not None and len(faces) else None, None, source.name)


def _colors(source: Source, vertices: Rows) -> NDArray[np.uint8] | None:
    """The colours behind the coordinates; None where not all points have one."""
    colored = vertices.counts >= 6
    if not colored.any():
        return None
    if not colored.all():
        log.warning("%s: colours left out: only %d of %s with one", source.name, int(colored.sum()), counted(len(colored), "point"))
        return None
    return colors_of([vertices.values[vertices.starts + place] for place in (3, 4, 5)], source.name)


def _indices(text: Text, corners: Rows, lines: IntArray, number: int, thing: str) -> IntArray:
    """Indices, from 0, of corners.

    In the file they count from 1, or with negative numbers backwards from the last `thing` before their line. lines: of the `number` things.
    Raises InputError for an index of none.
    """
    raw = corners.values
    bad = ~((np.abs(raw) < 2.0**62) & (raw == np.rint(raw)))
    indices = np.where(bad, 0, raw).astype(np.int64)
    bad |= indices == 0
    backwards = np.flatnonzero(indices < 0)
    indices[indices > 0] -= 1
    if len(backwards):
        row = np.searchsorted(np.cumsum(corners.counts), backwards, side="right")
        indices[backwards] += np.searchsorted(lines, corners.lines[row])
    bad |= (indices < 0) | (indices >= number)
    if bad.any():
        place = int(np.flatnonzero(bad)[0])
        at = int(corners.lines[np.searchsorted(np.cumsum(corners.counts), place, side="right")])
        raise text.error(at, f"face uses {thing} {raw[place]:g}, but the {thing}s go from 1 to {number}")
    return indices


def _normals_of_corners(text: Text, indices: IntArray, corners: Rows, normals: FloatArray, number: int) -> FloatArray | None:
    """The normals of points (N, 3) by those of corners.

    None unless every corner has one, and all corners of a point have the same.
    """
    thirds = read_rows(text, keyword=b"f", prepare=_third_parts, bare=True)
    if not np.array_equal(thirds.lines, corners.lines) or not np.array_equal(thirds.counts, corners.counts):
        return None
    lines = read_rows(text, keyword=b"vn").lines
    try:
        named = _indices(text, thirds, lines, len(normals), "normal")
    except InputError as error:  # the points can be used all the same
        log.warning("%s: normals left out", error.message)
        return None
    of_point = np.full(number, -1, dtype=np.int64)
    of_point[indices] = named
    if not np.array_equal(of_point[indices], named):
        return None
    out = np.zeros((number, 3))
    out[of_point >= 0] = normals[of_point[of_point >= 0]]
    return out


def _parts(block: Bytes) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """For each byte, to which part of a corner "a/b/c" it belongs, and whether it separates parts.

    The parts are 0, 1 and 2.
    """
    slash = block == 47
    space = block <= 32
    before = np.cumsum(slash, dtype=np.int32)
    at_space = np.maximum.accumulate(np.where(space, before, 0))
    part: NDArray[np.int32] = before - at_space
    return part, slash | space


def _first_parts(block: Bytes) -> Bytes:
    """The block with "a" for each "a/b/c", and blanks for the rest."""
    part, _ = _parts(block)
    return np.where(part == 0, block, np.where(block == 10, block, np.uint8(32)))


def _third_parts(block: Bytes) -> Bytes:
    """The block with "c" for each "a/b/c", and blanks for the rest."""
    part, separator = _parts(block)
    return np.where((part == 2) & ~separator, block, np.where(block == 10, block, np.uint8(32)))
