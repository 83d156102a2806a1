"""The JSON of a glTF 2.0 file: a tree of nodes, their meshes, and accessors to the numbers of these.

None of it is trusted: every accessor is compared with the size of the data before it is read. A file in text may name others that hold its
numbers; these are opened only where they lie in its folder.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray
from lpdif.errors import InputError
from lpdif.io.polygons import first_outside
from lpdif.io.source import DOWNLOAD_AGAIN, UNPACKED_TIMES, Source
from lpdif.storage.safe_open import open_regular
from lpdif.text import counted

Json = dict[str, object]

_COMPONENTS = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}

_COMPRESSION = {"KHR_draco_mesh_compression": "Draco", "EXT_meshopt_compression": "meshopt", "KHR_meshopt_compression": "meshopt"}
# extensions that do not change where points are; the quantization changes only the types of coordinates
_HARMLESS = re.compile(
    r"[A-Z\d]+_(?:materials?|textures?|techniques|lights?|image|animation|audio|xmp|mesh_quantization|mesh_features|structural_metadata)(?:_.*)?"
)


@dataclass
class Gltf:
    """The JSON and the binary data of a file; no binary data where it is text.

    unpacked: bytes of all numbers that were read so far; beside: bytes of the files beside it.
    """

    source: Source
    json: Json
    binary: memoryview | None
    unpacked: int = 0
    beside: int = 0
    _decoded: dict[int, memoryview] = field(default_factory=dict)  # buffers whose data is in the JSON

    def refuse_extensions(self) -> None:
        """Raises InputError where the file requires an extension that is not known here."""
        required = self.json.get("extensionsRequired", [])
        for name in required if isinstance(required, list) else []:
            if name in tuple(_COMPRESSION):
                raise self._compressed(name)
            if isinstance(name, str) and not _HARMLESS.fullmatch(name[:100]):
                raise self.source.error(f"needs the glTF extension {name[:60]}, which is not read", "export it without, or as PLY or OBJ")

    def refuse_compressed(self, primitive: Json, position: int) -> None:
        """Raises InputError where a primitive has its coordinates in compressed form only."""
        names = [name for name in self.object_of(primitive, "extensions") if name in _COMPRESSION]
        if names and "bufferView" not in self.item("accessors", position):
            raise self._compressed(names[0])

    def _compressed(self, extension: str) -> InputError:
        return self.source.error(f"compressed with {_COMPRESSION[extension]}, which is not read", "export it without compression")

    def placed_meshes(self) -> Iterator[tuple[int, FloatArray]]:
        """The index of each mesh of the scene, with the matrix (4, 4) that moves it to its place."""
        nodes = self.items_of(self.json, "nodes")
        if not nodes:  # a library of meshes
            yield from ((index, np.eye(4)) for index in range(len(self.items_of(self.json, "meshes"))))
            return
        visited = [False] * len(nodes)
        left = [(index, np.eye(4)) for index in reversed(self._roots(nodes))]
        while left:
            index, above = left.pop()
            node = self.item("nodes", index)
            if visited[index]:
                raise self.source.error(f"its nodes form no tree: node {index} is below two others, or below itself")
            visited[index] = True
            matrix = above @ self._matrix(node, index)
            if "mesh" in node:
                yield self.whole(node, "mesh"), matrix
            left += [(child, matrix) for child in reversed(self._wholes(node, "children"))]

    def _roots(self, nodes: list[Json]) -> list[int]:
        """The root nodes of the scene that is shown.

        Where there are no scenes, these are all nodes that are no children.
        """
        if self.items_of(self.json, "scenes"):
            return self._wholes(self.item("scenes", self.whole(self.json, "scene", 0)), "nodes")
        children = {child for node in nodes for child in self._wholes(node, "children")}
        roots = [index for index in range(len(nodes)) if index not in children]
        return roots or [0]  # all are children: then they form a circle, which `placed_meshes` finds

    def _matrix(self, node: Json, index: int) -> FloatArray:
        """The matrix (4, 4) of a node.

        It is given, or made of scale, rotation (a quaternion x, y, z, w) and translation.
        """
        if "matrix" in node:
            return self._vector(node, "matrix", index, [0.0] * 16).reshape(4, 4).T
        x, y, z, w = self._vector(node, "rotation", index, [0.0, 0.0, 0.0, 1.0])
        turn = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
                [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
                [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
            ]
        )
        matrix = np.eye(4)
        matrix[:3, :3] = turn * self._vector(node, "scale", index, [1.0] * 3)
        matrix[:3, 3] = self._vector(node, "translation", index, [0.0] * 3)
        return matrix

    def _vector(self, node: Json, key: str, index: int, default: list[float]) -> FloatArray:
        """A list of numbers of a node, as many as in the default. Raises InputError for anything else."""
        values = node.get(key, default)
        if isinstance(values, list) and len(values) == len(default) and all(type(value) in (int, float) for value in values):
            vector = np.array([float(value) if abs(value) < 1e300 else np.inf for value in values])
            if np.isfinite(vector).all():
                return vector
        raise self.source.error(f"node {index}: its {key} is not {len(default)} numbers")

    def numbers(self, index: int, width: int) -> FloatArray:
        """The first `width` values of each element of accessor `index`, (N, width).

        Normalized integers become fractions.
        """
        values = self._accessor(index, width)
        kind = values.dtype
        numbers = values[:, :width].astype(np.float64)
        if kind.kind in "iu" and self.item("accessors", index).get("normalized") is True:
            numbers = np.maximum(numbers / np.iinfo(kind.str).max, -1.0)
        return numbers

    def indices(self, index: int) -> IntArray:
        """The indices (T,) of accessor `index`."""
        values = self._accessor(index, 1)
        if values.dtype.kind != "u":
            raise self.source.error(f"accessor {index}: indices of type {values.dtype}")
        return values[:, 0].astype(np.int64)

    def unpack(self, count: int) -> None:
        """Counts so many more numbers.

        Raises InputError where the numbers used are far more than the file holds.
        """
        self.unpacked += count * 8
        if self.unpacked > max(self.source.most_unpacked, UNPACKED_TIMES * self.beside):
            raise self.source.error(f"draws more than {UNPACKED_TIMES} times what it holds", "export its parts one by one")

    def _accessor(self, index: int, width: int) -> NDArray[np.generic]:
        """The elements of an accessor, each of `width` values or more.

        Raises InputError where the file does not hold them.
        """
        accessor = self.item("accessors", index)
        count, kind_of_element = self.whole(accessor, "count"), accessor.get("type")
        given = _WIDTHS.get(kind_of_element, 0) if isinstance(kind_of_element, str) else 0
        kind = self._kind(accessor)
        if given < width:
            raise self.source.error(f"accessor {index}: elements of {counted(given, 'number')}, where {width} are needed")
        values = self._elements(accessor, kind, count, given) if "bufferView" in accessor else None  # a view, which takes no memory
        self.unpack(count * given)
        if values is None:
            values = np.zeros((count, given), dtype=kind)
        if "sparse" in accessor:
            sparse = self.object_of(accessor, "sparse")
            changed = self.whole(sparse, "count")
            where = self.object_of(sparse, "indices")
            rows = self._elements(where, self._kind(where), changed, 1)[:, 0].astype(np.int64)
            if first_outside(rows, count) is not None:
                raise self.source.error(f"accessor {index}: changes elements that are not there")
            values = values.copy()
            values[rows] = self._elements(self.object_of(sparse, "values"), kind, changed, given)
        return values

    def _kind(self, accessor: Json) -> np.dtype[np.generic]:
        """The type of the numbers of an accessor."""
        kind = _COMPONENTS.get(self.whole(accessor, "componentType"))
        if kind is None:
            raise self.source.error(f"numbers of type {accessor['componentType']} are not understood")
        return np.dtype(kind)

    def _elements(self, place: Json, kind: np.dtype[np.generic], count: int, width: int) -> NDArray[np.generic]:
        """Numbers (count, width) of a buffer, without a copy.

        place: the object that names the buffer view and the offset into it.
        """
        view = self.item("bufferViews", self.whole(place, "bufferView"))
        size = width * kind.itemsize
        begin, stride = self.whole(place, "byteOffset", 0), self.whole(view, "byteStride", 0) or size
        room = self.whole(view, "byteLength") - begin
        if stride < size:
            raise self.source.error(f"elements of {size} bytes every {counted(stride, 'byte')}")
        data = self._buffer(self.whole(view, "buffer"))
        begin += self.whole(view, "byteOffset", 0)
        room = max(0, min(room, len(data) - begin))
        if count and (count - 1) * stride + size > room:
            raise self.source.error(f"its data ends after {max(0, room - size + stride) // stride:,} of {count:,} elements", DOWNLOAD_AGAIN)
        return np.ndarray((count, width), kind, data, begin if count else 0, (stride, kind.itemsize))

    def _buffer(self, index: int) -> memoryview:
        """The bytes of a buffer: the binary chunk, or data in the JSON.

        Raises InputError for a buffer in another file.
        """
        buffer = self.item("buffers", index)
        uri = buffer.get("uri")
        if uri is None and index == 0 and self.binary is not None:
            return self.binary
        if isinstance(uri, str) and uri.startswith("data:"):
            try:
                if index not in self._decoded:
                    self._decoded[index] = memoryview(base64.b64decode(uri.partition(",")[2]))
            except (binascii.Error, ValueError):
                raise self.source.error(f"buffer {index}: its data is damaged", DOWNLOAD_AGAIN) from None
            return self._decoded[index]
        for name in self.object_of(buffer, "extensions"):
            if name in _COMPRESSION:
                raise self._compressed(name)
        if isinstance(uri, str) and self.binary is None and self.source.path is not None:
            if index not in self._decoded:
                self._decoded[index] = memoryview(self._file_beside(self.source.path, uri))
                self.beside += len(self._decoded[index])
            return self._decoded[index]
        elsewhere = f"in another file, {str(uri)[:60]}" if isinstance(uri, str) else "nowhere in the file"
        raise self.source.error(f"keeps its data {elsewhere}", "export it as one GLB file that holds everything")

    def _file_beside(self, path: Path, uri: str) -> bytes:
        """The bytes of the file that a text file names. Raises InputError for one that is missing, or is not in its folder or below it."""
        folder, name = Path(os.path.realpath(path)).parent, unquote(uri)
        place = Path(os.path.realpath(folder / name))
        if ":" in name or "\\" in name or "\0" in name or not place.is_relative_to(folder):
            raise self.source.error(f"keeps its data in another folder, {uri[:60]}", "export it as one GLB file that holds everything")
        try:
            with open_regular(place, folder) as file:
                return file.read()
        except OSError:
            raise self.source.error(
                f"keeps its data in {uri[:60]}, which is not beside it", "copy that file too, or export it as GLB"
            ) from None

    def item(self, kind: str, index: int) -> Json:
        """Object `index` of the list `kind`. Raises InputError where there is none."""
        items = self.json.get(kind, [])
        if not isinstance(items, list) or index >= len(items) or not isinstance(item := items[index], dict):
            raise self.source.error(f"its JSON uses {kind}[{index}], which is not there", DOWNLOAD_AGAIN)
        return item

    def items_of(self, where: Json, key: str) -> list[Json]:
        """The list of objects by this key; an empty one where the key is missing."""
        items = where.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.source.error(f"its JSON has {key} that are no list of objects", DOWNLOAD_AGAIN)
        return items

    def object_of(self, where: Json, key: str) -> Json:
        """The object by this key; an empty one where the key is missing."""
        found = where.get(key, {})
        if not isinstance(found, dict):
            raise self.source.error(f"its JSON has {key} that is no object", DOWNLOAD_AGAIN)
        return found

    def whole(self, where: Json, key: str, default: int | None = None) -> int:
        """The whole number from 0 on by this key. Raises InputError for anything else."""
        value = where.get(key, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if type(value) is not int or not 0 <= value < 1 << 53:
            raise self.source.error(f"its JSON has no {key} that is a whole number", DOWNLOAD_AGAIN)
        return value

    def _wholes(self, where: Json, key: str) -> list[int]:
        """The list of whole numbers by this key; an empty one where the key is missing."""
        values = where.get(key, [])
        if not isinstance(values, list):
            raise self.source.error(f"its JSON has {key} that are no list of numbers", DOWNLOAD_AGAIN)
        return [self.whole({key: value}, key) for value in values]
