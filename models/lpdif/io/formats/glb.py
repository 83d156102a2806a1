"""glTF 2.0, binary (GLB) or text: points and triangles of the scene.

JSON describes a tree of nodes and their meshes; a binary chunk, or files beside the text, hold their numbers. Beside a GLB nothing is opened,
and every accessor is checked against the bytes there are before it is read.
"""

from __future__ import annotations

import json
import logging

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.io.formats.gltf import Gltf, Json
from lpdif.io.polygons import first_outside, strips, triangulate
from lpdif.io.source import DOWNLOAD_AGAIN, Source, as_text
from lpdif.io.table.colors import colors_of
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_HEADER_BYTES = 12  # before the first chunk
_LONGEST_JSON = 1 << 25  # Bytes. The objects of Python take twenty times as much memory.
_MODE_POINTS, _MODES_LINES, _MODE_TRIANGLES, _MODE_STRIP, _MODE_FAN = 0, (1, 2, 3), 4, 5, 6  # modes of primitives
_NO_ACCESSOR = 1 << 52  # the index that stands for a missing accessor


def is_glb(source: Source) -> bool:
    """Whether the file begins as GLB files do."""
    return source.data.startswith(b"glTF")


def read_glb(source: Source) -> Scan:
    """Reads all meshes and points of the file's scene, moved by its nodes, with the colours of points.

    Raises InputError for a file that is cut off, compressed or keeps its data in another file, and where its JSON contradicts itself.
    """
    return _scan(Gltf(source, *_chunks(source)))


def is_gltf(source: Source) -> bool:
    """Whether the file is JSON with the word that every glTF has."""
    return source.data.lstrip()[:1] == b"{" and b'"asset"' in source.data[:_LONGEST_JSON]


def read_gltf(source: Source) -> Scan:
    """Reads glTF in text as `read_glb` does, with the files in its folder that hold its numbers."""
    return _scan(Gltf(source, _json_of(source, as_text(source).data), None))


def _scan(gltf: Gltf) -> Scan:
    """The points of all meshes of the scene that is shown, moved by its nodes."""
    source = gltf.source
    gltf.refuse_extensions()
    _tell_left_out(gltf)
    points: list[FloatArray] = []
    faces: list[IntArray] = []
    colors: list[FloatArray] = []
    normals: list[FloatArray] = []
    total = left_out = 0
    with np.errstate(over="ignore", invalid="ignore"):
        for mesh, matrix in gltf.placed_meshes():
            turned = np.linalg.det(matrix[:3, :3]) < 0  # a mirror turns triangles round
            shared: dict[tuple[int, int], range] = {}  # primitives of several materials may use the same points
            for primitive in gltf.items_of(gltf.item("meshes", mesh), "primitives"):
                attributes, mode = gltf.object_of(primitive, "attributes"), gltf.whole(primitive, "mode", _MODE_TRIANGLES)
                if mode in _MODES_LINES or "POSITION" not in attributes:
                    left_out += 1
                    continue
                position, color = gltf.whole(attributes, "POSITION"), gltf.whole(attributes, "COLOR_0", _NO_ACCESSOR)
                gltf.refuse_compressed(primitive, position)
                if (position, color) not in shared:
                    vertices = gltf.numbers(position, 3)
                    shared[position, color] = range(total, total + len(vertices))
                    total += len(vertices)
                    points.append(vertices @ matrix[:3, :3].T + matrix[:3, 3])
                    if color != _NO_ACCESSOR and len(values := gltf.numbers(color, 3)) == len(vertices):
                        colors.append(values)
                    normal = gltf.whole(attributes, "NORMAL", _NO_ACCESSOR)
                    if mode == _MODE_POINTS and normal != _NO_ACCESSOR and len(values := gltf.numbers(normal, 3)) == len(vertices):
                        normals.append(values @ np.linalg.pinv(matrix[:3, :3]))  # they stay upright on what is stretched
                own = shared[position, color]
                if mode != _MODE_POINTS:
                    triangles = _triangles(gltf, primitive, mode, len(own)) + own.start
                    faces.append(triangles[:, ::-1] if turned else triangles)
    if left_out:
        log.info("%s: %s without points or of lines left out", source.name, counted(left_out, "primitive"))
    if not total:
        raise source.empty()
    corners = np.concatenate(faces) if faces else np.zeros((0, 3), dtype=np.int64)
    whole = np.concatenate(points)
    kept = triangulate(corners.reshape(-1), np.full(len(corners), 3), whole, source.name)
    if colors and len(colors) < len(points):
        log.info("%s: colours left out: only %d of %s with one", source.name, len(colors), counted(len(points), "part"))
        colors = []
    return Scan(
        whole,
        normals=np.concatenate(normals) if len(normals) == len(points) else None,
        colors=colors_of(list(np.concatenate(colors).T), source.name) if colors else None,
        faces=kept if len(kept) else None,
        name=source.name,
    )


def _chunks(source: Source) -> tuple[Json, memoryview]:
    """The JSON object of the file, and the bytes of its binary chunk."""
    data = source.data
    if len(data) < _HEADER_BYTES + 8:
        raise source.error(f"ends within its header ({len(data)} of {_HEADER_BYTES + 8} bytes)", DOWNLOAD_AGAIN)
    version, length, size = (int.from_bytes(data[place : place + 4], "little") for place in (4, 8, 12))
    if version != 2:
        raise source.error(f"glTF version {version} is not understood, only version 2")
    if length > len(data):
        raise source.cut(len(data), length, "byte")
    start = _HEADER_BYTES + 8
    if data[16:20] != b"JSON" or size > len(data) - start:
        raise source.error("does not begin with a JSON chunk that ends within the file", DOWNLOAD_AGAIN)
    found = _json_of(source, data[start : start + size].rstrip(b"\0 "))
    place = start + size
    binary = memoryview(data)[place + 8 : place + 8 + int.from_bytes(data[place : place + 4], "little")]
    return found, binary if data[place + 4 : place + 8] == b"BIN\0" else memoryview(b"")


def _json_of(source: Source, data: bytes) -> Json:
    """The JSON object in these bytes."""
    if len(data) > _LONGEST_JSON:
        most = f"{len(data) / 2**20:.0f} MB of JSON, {_LONGEST_JSON >> 20} at most are read"
        raise source.error(f"describes its scene in {most}", "save it as PLY")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise source.error(f"its JSON chunk is damaged ({str(error)[:100]})", DOWNLOAD_AGAIN) from None
    if not isinstance(found, dict):
        raise source.error("its JSON chunk holds no object", DOWNLOAD_AGAIN)
    return found


def _tell_left_out(gltf: Gltf) -> None:
    """Logs what moves or repeats points and is not followed: bones, and instances where a file does not require them."""
    if any("skin" in node and "mesh" in node for node in gltf.items_of(gltf.json, "nodes")):
        log.warning("%s: bones left out: its meshes are taken as they are stored", gltf.source.name)
    used = gltf.json.get("extensionsUsed", [])
    if isinstance(used, list) and "EXT_mesh_gpu_instancing" in used:
        log.warning("%s: copies of meshes by EXT_mesh_gpu_instancing left out", gltf.source.name)


def _triangles(gltf: Gltf, primitive: Json, mode: int, number: int) -> IntArray:
    """The triangles (F, 3) of a primitive of `number` points: single triangles, a strip or a fan."""
    if "indices" in primitive:
        corners = gltf.indices(gltf.whole(primitive, "indices"))
    else:
        gltf.unpack(number)
        corners = np.arange(number)
    if mode in (_MODE_STRIP, _MODE_FAN):
        gltf.unpack(3 * len(corners))
    outside = first_outside(corners, number)
    if outside is not None:
        raise gltf.source.error(f"a face uses point {corners[outside]}, but its points go from 0 to {number - 1}")
    if mode == _MODE_STRIP:
        return strips(corners, np.array([len(corners)]))
    if mode == _MODE_FAN:
        rim = corners[1:]
        return np.stack([np.broadcast_to(corners[:1], (max(0, len(rim) - 1),)), rim[:-1], rim[1:]], axis=1)
    if mode != _MODE_TRIANGLES:
        raise gltf.source.error(f"a primitive of mode {mode} is not understood")
    return corners[: len(corners) // 3 * 3].reshape(-1, 3)
