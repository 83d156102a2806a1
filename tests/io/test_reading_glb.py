"""GLB, byte by byte: scenes, accessors, what is compressed or kept elsewhere, and JSON that lies."""

from __future__ import annotations

import base64
import json
import logging
import struct
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from seed_files import COLORS, FACES, POINTS
from test_reading_ply import refusal

from lpdif import Mesh, encode_mesh
from lpdif.errors import InputError
from lpdif.io.formats import glb as reader
from lpdif.io.formats.gltf import Gltf
from lpdif.io.read import read_scan
from lpdif.io.source import Source

TYPES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}


def gltf(*arrays: NDArray[np.generic]) -> tuple[dict[str, Any], bytes]:
    """The JSON and the binary chunk of a file that draws the first array as points; each array is an accessor."""
    views, accessors, binary = [], [], b""
    for array in arrays:
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        views.append({"buffer": 0, "byteOffset": len(binary), "byteLength": len(raw)})
        kind = "SCALAR" if array.ndim == 1 else f"VEC{array.shape[1]}"
        accessors.append({"bufferView": len(views) - 1, "componentType": TYPES[array.dtype.str[1:]], "type": kind, "count": len(array)})
        binary += raw + bytes(-len(raw) % 4)
    return {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}, "mode": 0}]}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(binary)}],
    }, binary


def pack(words: object, binary: bytes = b"") -> bytes:
    text = words if isinstance(words, bytes) else json.dumps(words).encode()
    text += b" " * (-len(text) % 4)
    chunk = struct.pack("<I", len(binary)) + b"BIN\0" + binary if binary else b""
    return b"glTF" + struct.pack("<III", 2, 20 + len(text) + len(chunk), len(text)) + b"JSON" + text + chunk


SINGLE = POINTS.astype("f4")
INDICES = FACES.reshape(-1).astype("u2")


def meshed(**primitive: object) -> tuple[dict[str, Any], bytes]:
    words, binary = gltf(SINGLE, INDICES)
    words["meshes"][0]["primitives"] = [{"attributes": {"POSITION": 0}, "indices": 1, **primitive}]
    return words, binary


def test_what_is_written_is_read() -> None:
    scan = read_scan(encode_mesh(Mesh(POINTS, FACES, colors=COLORS), "glb"), "a.glb")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, FACES)
    np.testing.assert_array_equal(scan.colors, COLORS)


@pytest.mark.parametrize("colors", [COLORS, COLORS.astype("u2") * 257, (COLORS / 255).astype("f4"), np.column_stack([COLORS, COLORS[:, :1]])])
def test_points_with_colors(colors: NDArray[np.generic]) -> None:
    words, binary = gltf(SINGLE, colors)
    words["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"] = 1
    words["accessors"][1]["normalized"] = colors.dtype.kind == "u"
    scan = read_scan(pack(words, binary), "a.glb")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    assert scan.faces is None


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2"])
def test_quantized_coordinates(kind: str) -> None:
    limits = np.iinfo(kind)
    quantized = np.array([[limits.min, 0, limits.max], [0, limits.max, 7], [limits.max, 1, limits.min]], dtype=kind)
    words, binary = gltf(quantized)
    words["extensionsRequired"] = ["KHR_mesh_quantization"]
    np.testing.assert_array_equal(read_scan(pack(words, binary), "a.glb").points, quantized)
    words["accessors"][0]["normalized"] = True
    expected = np.maximum(quantized.astype(float) / limits.max, -1)
    scan = read_scan(pack(words, binary), "a.glb")
    np.testing.assert_array_equal(scan.points, expected)
    words["nodes"][0] |= {"scale": [2, 3, 4], "translation": [10, 20, 30]}
    np.testing.assert_allclose(read_scan(pack(words, binary), "a.glb").points, expected * [2, 3, 4] + [10, 20, 30])


def test_nodes_move_what_is_below_them() -> None:
    words, binary = meshed()
    half = 0.5**0.5
    words["nodes"] = [
        {"children": [1, 2], "translation": [100, 0, 0]},
        {"mesh": 0, "rotation": [0, 0, half, half]},  # a quarter turn about z
        {"mesh": 0, "matrix": [-1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 5, 0, 1]},  # a mirror
    ]
    scan = read_scan(pack(words, binary), "a.glb")
    x, y, z = POINTS.T
    np.testing.assert_allclose(
        scan.points, np.concatenate([np.column_stack([100 - y, x, z]), np.column_stack([100 - x, 5 + y, z])]), atol=1e-12
    )
    np.testing.assert_array_equal(scan.faces, np.concatenate([FACES, FACES[:, ::-1] + 4]))


def test_scenes_may_be_missing() -> None:
    words, binary = meshed()
    words["nodes"] = [{"mesh": 0, "translation": [1, 2, 3]}, {"children": [0], "scale": [2, 2, 2]}]
    del words["scene"], words["scenes"]
    np.testing.assert_array_equal(read_scan(pack(words, binary), "a.glb").points, (POINTS + np.array([1, 2, 3])) * 2)
    del words["nodes"]
    np.testing.assert_array_equal(read_scan(pack(words, binary), "a.glb").points, POINTS)
    words["scenes"] = [{}]
    words["nodes"] = [{"mesh": 0}]
    assert refusal(pack(words, binary), "a.glb").startswith("holds no points")  # the scene is empty


def test_strips_fans_and_bare_triangles() -> None:
    words, binary = gltf(SINGLE, np.arange(4, dtype="u1"))
    for mode, indexed, faces in (
        (5, 1, [[0, 1, 2], [2, 1, 3]]),
        (6, 1, [[0, 1, 2], [0, 2, 3]]),
        (5, 0, [[0, 1, 2], [2, 1, 3]]),
        (4, 0, [[0, 1, 2]]),
    ):
        words["meshes"][0]["primitives"] = [{"attributes": {"POSITION": 0}, "mode": mode} | ({"indices": 1} if indexed else {})]
        np.testing.assert_array_equal(read_scan(pack(words, binary), "a.glb").faces, faces)


def test_lines_are_left_out_and_points_may_be_shared(caplog: pytest.LogCaptureFixture) -> None:
    words, binary = meshed()
    words["meshes"][0]["primitives"] *= 2
    words["meshes"][0]["primitives"].append({"attributes": {"POSITION": 0}, "mode": 1})
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(pack(words, binary), "a.glb")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, np.concatenate([FACES, FACES]))
    assert "1 primitive without points or of lines left out" in caplog.text


def test_colors_of_some_parts_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    words, binary = gltf(SINGLE, COLORS)
    words["meshes"][0]["primitives"].append({"attributes": {"POSITION": 0, "COLOR_0": 1}, "mode": 0})
    with caplog.at_level(logging.INFO, "lpdif"):
        assert read_scan(pack(words, binary), "a.glb").colors is None
    assert "colours left out: only 1 of 2 parts with one" in caplog.text


def test_strides_sparse_changes_and_data_in_the_json() -> None:
    rows = np.zeros(4, dtype=[("xyz", "<f4", 3), ("more", "<u4")])
    rows["xyz"] = SINGLE
    changed = np.array([[7, 8, 9]], dtype="<f4")
    binary = rows.tobytes() + changed.tobytes() + b"\2\0\0\0"
    words, _ = gltf(SINGLE)
    words["bufferViews"] = [{"buffer": 0, "byteLength": 64, "byteStride": 16}, {"buffer": 0, "byteOffset": 64, "byteLength": 16}]
    expected = POINTS.copy()
    for sparse in (None, {"count": 1, "indices": {"bufferView": 1, "byteOffset": 12, "componentType": 5121}, "values": {"bufferView": 1}}):
        if sparse:
            words["accessors"][0]["sparse"] = sparse
            expected[2] = [7, 8, 9]
        np.testing.assert_array_equal(read_scan(pack(words, binary), "a.glb").points, expected)
        inline = words | {"buffers": [{"uri": "data:application/octet-stream;base64," + base64.b64encode(binary).decode()}]}
        np.testing.assert_array_equal(read_scan(pack(inline), "a.glb").points, expected)
    del words["accessors"][0]["bufferView"]  # then what is not changed is zero
    np.testing.assert_array_equal(read_scan(pack(words, binary), "a.glb").points, expected * [[0], [0], [1], [0]])
    assert "changes elements that are not there" in refusal(pack(words, binary[:-4] + b"\4\0\0\0"), "a.glb")


@pytest.mark.parametrize(
    ("extension", "said"),
    [
        ("KHR_draco_mesh_compression", "compressed with Draco, which is not read"),
        ("EXT_meshopt_compression", "compressed with meshopt, which is not read"),
        ("EXT_mesh_gpu_instancing", "needs the glTF extension EXT_mesh_gpu_instancing, which is not read"),
        ("CESIUM_RTC", "needs the glTF extension CESIUM_RTC, which is not read"),
        ("KHR_materials_unlit", ""),
        ("KHR_texture_transform", ""),
        ("EXT_texture_webp", ""),
        ("KHR_lights_punctual", ""),
        ("KHR_mesh_quantization", ""),
        ("KHR_xmp_json_ld", ""),
    ],
)
def test_extensions_that_are_required(extension: str, said: str) -> None:
    words, binary = meshed()
    words["extensionsRequired"] = ["KHR_materials_unlit", 7, [], extension]
    if not said:
        assert read_scan(pack(words, binary), "a.glb").faces is not None
        return
    with pytest.raises(InputError) as caught:
        read_scan(pack(words, binary), "a.glb")
    assert caught.value.message == f"a.glb: {said}"
    assert caught.value.hint == ("export it without compression" if "compressed" in said else "export it without, or as PLY or OBJ")


def test_compression_that_is_only_used() -> None:
    words, binary = meshed(extensions={"KHR_draco_mesh_compression": {"bufferView": 0, "attributes": {"POSITION": 0}}})
    np.testing.assert_array_equal(read_scan(pack(words, binary), "a.glb").points, POINTS)  # it has them in plain form too
    del words["accessors"][0]["bufferView"]
    assert refusal(pack(words, binary), "a.glb") == "compressed with Draco, which is not read"
    words, binary = meshed()
    words["bufferViews"][0]["buffer"] = 1
    words["buffers"].append({"byteLength": 1000, "extensions": {"EXT_meshopt_compression": {"fallback": True}}})
    assert refusal(pack(words, binary), "a.glb") == "compressed with meshopt, which is not read"


def test_data_in_another_file_is_never_opened() -> None:
    words, binary = meshed()
    words["buffers"] = [{"byteLength": 100, "uri": "/etc/passwd"}]
    with pytest.raises(InputError) as caught:
        read_scan(pack(words, binary), "a.glb")
    assert caught.value.message == "a.glb: keeps its data in another file, /etc/passwd"
    assert caught.value.hint == "export it as one GLB file that holds everything"
    words["buffers"] = [{"byteLength": 100, "uri": "data:;base64,a"}]
    assert refusal(pack(words, binary), "a.glb") == "buffer 0: its data is damaged"
    words["bufferViews"][0]["buffer"] = 1
    words["buffers"] = [{}, {}]
    assert refusal(pack(words, binary), "a.glb") == "keeps its data nowhere in the file"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("nodes",), [{"children": [1]}, {"children": [0]}], "its nodes form no tree: node 0 is below two others, or below itself"),
        (("nodes",), [{"children": [1, 1]}, {}], "its nodes form no tree: node 1 "),
        (("nodes", 0), {"children": [7]}, "its JSON uses nodes[7], which is not there"),
        (("nodes", 0), {"children": 7}, "its JSON has children that are no list of numbers"),
        (("nodes",), [7], "its JSON has nodes that are no list of objects"),
        (("nodes", 0, "mesh"), 3, "its JSON uses meshes[3], which is not there"),
        (("nodes", 0, "matrix"), [1, 2], "node 0: its matrix is not 16 numbers"),
        (("nodes", 0, "scale"), [1, 10**400, 1], "node 0: its scale is not 3 numbers"),
        (("scenes", 0, "nodes"), [-1], "its JSON has no nodes that is a whole number"),
        (("accessors", 0, "count"), 5, "its data ends after 4 of 5 elements"),
        (("accessors", 0, "count"), 10**9, "its data ends after 4 of 1,000,000,000 elements"),
        (("accessors", 0, "count"), 4.5, "its JSON has no count that is a whole number"),
        (("accessors", 0, "count"), True, "its JSON has no count that is a whole number"),
        (("accessors", 0, "byteOffset"), 4, "its data ends after 3 of 4 elements"),
        (("accessors", 0, "type"), "VEC2", "accessor 0: elements of 2 numbers, where 3 are needed"),
        (("accessors", 0, "type"), ["VEC3"], "accessor 0: elements of 0 numbers, where 3 are needed"),
        (("accessors", 0, "componentType"), 5130, "numbers of type 5130 are not understood"),
        (("accessors", 0, "bufferView"), 2, "its JSON uses bufferViews[2], which is not there"),
        (("accessors", 1, "componentType"), 5122, "accessor 1: indices of type int16"),
        (("bufferViews", 0, "byteStride"), 4, "elements of 12 bytes every 4 bytes"),
        (("bufferViews", 0, "byteLength"), 1, "its data ends after 0 of 4 elements"),
        (("bufferViews", 0, "byteOffset"), 10**9, "its data ends after 0 of 4 elements"),
        (("meshes", 0, "primitives", 0, "mode"), 9, "a primitive of mode 9 is not understood"),
        (("meshes", 0, "primitives", 0, "attributes"), [], "its JSON has attributes that is no object"),
        (("buffers",), {}, "its JSON uses buffers[0], which is not there"),
    ],
)
def test_json_that_lies(path: tuple[str | int, ...], value: object, said: str) -> None:
    words, binary = meshed()
    place: Any = words
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    began = time.process_time()
    assert refusal(pack(words, binary), "a.glb").startswith(said)
    assert time.process_time() - began < 10  # what believes such a number takes minutes, or all memory


def test_faces_of_points_that_are_not_there() -> None:
    words, binary = gltf(SINGLE[:3], INDICES)
    words["meshes"][0]["primitives"] = [{"attributes": {"POSITION": 0}, "indices": 1}]
    assert refusal(pack(words, binary), "a.glb") == "a face uses point 3, but its points go from 0 to 2"


def test_a_scene_that_repeats_its_points_without_end_is_refused() -> None:
    words, binary = gltf(np.zeros((1000, 3), dtype="f4"))
    words["nodes"] = [{"mesh": 0}] * 10_000
    words["scenes"] = [{"nodes": list(range(10_000))}]
    assert refusal(pack(words, binary), "a.glb") == "draws more than 200 times what it holds"


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}", b"\xff\xfe{}"])
def test_json_that_is_none(text: bytes) -> None:
    assert refusal(pack(text), "a.glb").startswith("its JSON chunk is damaged (")


def test_chunks_that_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    data = pack(*meshed())
    assert refusal(pack([1]), "a.glb") == "its JSON chunk holds no object"
    for place, value in ((12, b"\xff\xff\xff\xff"), (16, b"JPEG")):
        bent = data[:place] + value + data[place + 4 :]
        assert refusal(bent, "a.glb") == "does not begin with a JSON chunk that ends within the file"
    monkeypatch.setattr(reader, "_LONGEST_JSON", 100)
    assert "MB of JSON" in refusal(data, "a.glb")


def test_a_document_reads_objects_and_numbers() -> None:
    document = Gltf(Source("a", b""), {"accessors": [{"count": 2.0}]}, memoryview(b""))
    assert document.whole(document.item("accessors", 0), "count") == 2
    assert document.whole({}, "byteOffset", 0) == 0
    assert document.items_of({}, "nodes") == []
    assert document.object_of({}, "extensions") == {}


def test_triangles_without_indices_are_counted_too() -> None:
    words = {
        "accessors": [{"componentType": 5126, "type": "VEC3", "count": 900_000}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0}}] * 40}],
    }
    assert refusal(pack(words), "a.glb") == "draws more than 200 times what it holds"
