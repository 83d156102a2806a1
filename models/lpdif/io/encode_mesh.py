"""Encodes meshes as PLY, OBJ, OFF and STL files. The same mesh gives the same bytes.

Letters: V vertices, F faces.
"""

from __future__ import annotations

import itertools
import logging
import math
import re
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray, chunks
from lpdif.errors import ResourceError, UsageError
from lpdif.types import Mesh

log = logging.getLogger("lpdif")

_ROWS_AT_ONCE = 20_000  # So many rows of a text file are formatted at once.
_TOLERATED_LOSS = 1e-4  # Single precision may move a vertex by so much of the smallest length; else double precision is used.
_LAST_DIGIT = 1e-6  # The last digit of a coordinate in a text file is worth so much of the smallest length.
_PLY_TYPES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float", "f8": "double",
}  # fmt: skip
_RESERVED_NAMES = {"x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "vertex_indices"}


def smallest_length(vertices: FloatArray, faces: IntArray | None) -> float:
    """The smallest length that matters, in the unit of the vertices (V, 3); 0 where there is none.

    That is the median edge of a mesh with faces (F, 3), and the mean spacing of points without faces.
    """
    if faces is not None and len(faces):
        some = faces[:: max(1, len(faces) // 100_000)]
        edges = np.linalg.norm(vertices[some] - vertices[np.roll(some, 1, axis=1)], axis=-1)
        edges = edges[np.isfinite(edges) & (edges > 0)]
        return float(np.median(edges)) if len(edges) else 0.0
    good = vertices[np.isfinite(vertices).all(axis=1)]
    extent = float(np.linalg.norm(good.max(axis=0) - good.min(axis=0))) if len(good) else 0.0
    return extent / math.sqrt(max(1, len(good)))


def needs_double(vertices: FloatArray, faces: IntArray | None) -> bool:
    """Whether single precision would move vertices (V, 3) too far for a mesh with faces (F, 3).

    The limit is 1e-4 of the smallest length.
    """
    loss = 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for part in chunks(len(vertices)):
            off = np.abs(vertices[part] - vertices[part].astype(np.float32))
            loss = max(loss, float(off.max(initial=0.0, where=~np.isnan(off))))
    return loss > _TOLERATED_LOSS * smallest_length(vertices, faces)


def encode_ply(mesh: Mesh) -> bytes:
    """Binary little-endian PLY with normals, colours and the values of vertices and faces as properties."""
    return b"".join(ply_parts(mesh)[1])


def ply_parts(mesh: Mesh) -> tuple[int, Iterator[bytes]]:
    """How many bytes `encode_ply` makes of a mesh, and these, some rows at a time."""
    faces = corner_table(mesh)
    header = ["ply", "format binary_little_endian 1.0", "comment lpdif"]
    header += [f"comment pattern {number} {ascii(name)[1:-1]}" for number, name in mesh.pattern_names.items()]
    double = needs_double(mesh.vertices, mesh.faces)
    of_vertices = {name: _storable(column) for name, column in _with_ply_names(mesh.vertex_values, len(mesh.vertices)).items()}

    def vertex_rows(part: slice) -> NDArray[np.void]:
        normals = None if mesh.normals is None else mesh.normals[part]
        colors = None if mesh.colors is None else mesh.colors[part]
        return vertex_table(mesh.vertices[part], normals, colors, {name: column[part] for name, column in of_vertices.items()}, double)

    vertex_kind = vertex_rows(slice(0)).dtype
    header += ply_element("vertex", vertex_kind, len(mesh.vertices))
    values = {name: _storable(column) for name, column in _with_ply_names(mesh.face_values, len(mesh.faces)).items()}
    kinds = [("count", "u1"), ("corners", "<i4", (3,)), *((name, column.dtype.str) for name, column in values.items())]
    face_kind = np.dtype(kinds)

    def face_rows(part: slice) -> NDArray[np.void]:
        rows = np.empty(part.stop - part.start, face_kind)
        rows["count"] = 3
        rows["corners"] = faces[part]
        for name, column in values.items():
            rows[name] = column[part]
        return rows

    header += [f"element face {len(faces)}", "property list uchar int vertex_indices"]
    header += [f"property {_PLY_TYPES[column.dtype.str[1:]]} {name}" for name, column in values.items()]
    head = "\n".join([*header, "end_header\n"]).encode("ascii")
    size = len(head) + len(mesh.vertices) * vertex_kind.itemsize + len(faces) * face_kind.itemsize
    vertex_parts = (vertex_rows(part).tobytes() for part in chunks(len(mesh.vertices)))
    return size, itertools.chain([head], vertex_parts, (face_rows(part).tobytes() for part in chunks(len(faces))))


def vertex_table(
    points: FloatArray,
    normals: FloatArray | None,
    colors: NDArray[np.uint8] | None,
    values: Mapping[str, NDArray[np.generic]],
    double: bool,
) -> NDArray[np.void]:
    """The rows (V,) of a PLY vertex element.

    They hold points, normals and colours, each (V, 3), and values (V,) by name. double: whether positions are in double precision.
    """
    real = "<f8" if double else "<f4"
    kinds = [(name, real) for name in "xyz"]
    if normals is not None:
        kinds += [(name, "<f4") for name in ("nx", "ny", "nz")]
    if colors is not None:
        kinds += [(name, "|u1") for name in ("red", "green", "blue")]
    storable = {name: _storable(column) for name, column in _with_ply_names(values, len(points)).items()}
    kinds += [(name, column.dtype.str) for name, column in storable.items()]
    rows = np.empty(len(points), dtype=np.dtype(kinds))
    with np.errstate(over="ignore", invalid="ignore"):
        for names, table in (("xyz", points), (("nx", "ny", "nz"), normals), (("red", "green", "blue"), colors)):
            if table is not None:
                for axis, name in enumerate(names):
                    rows[name] = table[:, axis]
    for name, column in storable.items():
        rows[name] = column
    return rows


def ply_element(name: str, kind: np.dtype[np.void], count: int) -> list[str]:
    """The header lines of an element of so many rows of this type, whose properties are scalars."""
    return [f"element {name} {count}", *(f"property {_PLY_TYPES[kind[key].str[1:]]} {key}" for key in kind.names or ())]


def encode_obj(mesh: Mesh) -> bytes:
    """OBJ with normals, and colours behind the coordinates.

    It has digits enough for a millionth of the median edge.
    """
    log_left_out(mesh, "OBJ", colors=True, normals=True)
    places = f"%.{significant_digits(mesh)}g"
    parts = [b"# lpdif\n"]
    if mesh.colors is None:
        parts += formatted(f"v {places} {places} {places}\n", mesh.vertices)
    else:
        row = np.column_stack([mesh.vertices, mesh.colors / 255.0])
        parts += formatted(f"v {places} {places} {places} %.4g %.4g %.4g\n", row)
    corners = mesh.faces + 1
    if mesh.normals is not None:
        parts += formatted("vn %.5g %.5g %.5g\n", mesh.normals)
        parts += formatted("f %d//%d %d//%d %d//%d\n", np.repeat(corners, 2, axis=1))
    else:
        parts += formatted("f %d %d %d\n", corners)
    return b"".join(parts)


def encode_off(mesh: Mesh) -> bytes:
    """OFF as text, or COFF where there are colours; with digits enough for a millionth of the median edge."""
    log_left_out(mesh, "OFF", colors=True, normals=False)
    places = f"%.{significant_digits(mesh)}g"
    parts = [f"{'OFF' if mesh.colors is None else 'COFF'}\n{len(mesh.vertices)} {len(mesh.faces)} 0\n".encode()]
    if mesh.colors is None:
        parts += formatted(f"{places} {places} {places}\n", mesh.vertices)
    else:
        parts += formatted(f"{places} {places} {places} %d %d %d 255\n", np.column_stack([mesh.vertices, mesh.colors]))
    parts += formatted("3 %d %d %d\n", mesh.faces)
    return b"".join(parts)


def encode_stl(mesh: Mesh) -> bytes:
    """Binary STL: triangles in single precision. What it cannot hold is logged."""
    log_left_out(mesh, "STL", colors=False, normals=False)
    corner_table(mesh)
    if needs_double(mesh.vertices, mesh.faces):
        log.warning("STL holds single precision, which moves these vertices by up to %.2g: use PLY or OBJ", _single_loss(mesh))
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    rows = np.zeros(len(mesh.faces), dtype=[("normal", "<f4", (3,)), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    rows["normal"] = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
    with np.errstate(over="ignore"):
        rows["corners"] = corners
    return b"lpdif".ljust(80, b"\0") + len(rows).to_bytes(4, "little") + rows.tobytes()


def _single_loss(mesh: Mesh) -> float:
    """How far single precision moves the vertices, at most."""
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.nanmax(np.abs(mesh.vertices - mesh.vertices.astype(np.float32))))


def corner_table(mesh: Mesh) -> NDArray[np.int32]:
    """The faces (F, 3) in 32 bits. Raises ResourceError where there are more than these can count."""
    if len(mesh.vertices) > np.iinfo(np.int32).max or len(mesh.faces) > np.iinfo(np.uint32).max:
        raise ResourceError(
            f"{len(mesh.vertices)} vertices and {len(mesh.faces)} faces are more than mesh files can count",
            "choose a coarser --resolution",
        )
    return mesh.faces.astype(np.int32, copy=False)


def significant_digits(mesh: Mesh) -> int:
    """The number of significant digits that a text file needs for the vertices."""
    finite = np.abs(mesh.vertices[np.isfinite(mesh.vertices)])
    largest, smallest = float(finite.max(initial=0.0)), smallest_length(mesh.vertices, mesh.faces)
    if not (largest > 0 and smallest > 0):
        return 17
    return min(17, max(9, math.ceil(math.log10(largest / (_LAST_DIGIT * smallest)))))


def formatted(row: str, table: NDArray[np.generic]) -> list[bytes]:
    """The rows of a table as lines of text.

    Many rows are formatted at a time, as one long tuple: that is the fastest way in Python.
    """
    form = row.encode("ascii")
    chunks = (table[begin : begin + _ROWS_AT_ONCE] for begin in range(0, len(table), _ROWS_AT_ONCE))
    return [form * len(chunk) % tuple(chunk.reshape(-1).tolist()) for chunk in chunks]


def _storable(column: NDArray[np.generic]) -> NDArray[np.generic]:
    """A column in a little-endian type that PLY has.

    Integers of 64 bits get 32 bits where they fit, else double precision.
    """
    if column.dtype.kind == "b":
        return column.astype("|u1")
    if column.dtype.kind in "iu" and column.dtype.itemsize == 8:
        limits = np.iinfo(np.int32)
        numbers = column.astype(np.float64)
        fits = not len(column) or (numbers.min() >= limits.min and numbers.max() <= limits.max)
        return column.astype("<i4") if fits else column.astype("<f8")
    if column.dtype.kind == "f" and column.dtype.itemsize not in (4, 8):
        return column.astype("<f4" if column.dtype.itemsize < 4 else "<f8")
    if column.dtype.kind not in "iuf":
        raise UsageError(f"values of type {column.dtype} cannot be written", "use numbers")
    return column.astype(column.dtype.newbyteorder("<"), copy=False)


def _with_ply_names(values: Mapping[str, NDArray[np.generic]], number: int) -> dict[str, NDArray[np.generic]]:
    """Values by names that a PLY header can hold, each of them once."""
    out: dict[str, NDArray[np.generic]] = {}
    for name, column in values.items():
        if column.shape != (number,):
            raise UsageError(f"value {name!r} has shape {column.shape}, where ({number},) is needed", "give one value for each row")
        word = re.sub(r"[^!-~]+", "_", name) or "value"
        word = f"value_{word}" if word in _RESERVED_NAMES else word
        while word in out:
            word += "_"
        out[word] = column
    return out


def log_left_out(mesh: Mesh, title: str, colors: bool, normals: bool) -> None:
    """Logs what a format cannot hold of this mesh. colors, normals: whether it holds these."""
    lost = [*mesh.vertex_values, *mesh.face_values]
    lost += ["colours"] if mesh.colors is not None and not colors else []
    lost += ["normals"] if mesh.normals is not None and not normals else []
    if lost:
        log.info("%s has no place for %s: use PLY to keep them", title, ", ".join(lost))
