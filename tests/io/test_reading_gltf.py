"""glTF in text, with its numbers in the JSON or in files beside it, and nothing else opened."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from seed_files import NORMALS, POINTS
from test_reading_glb import INDICES, SINGLE, gltf, meshed, pack
from test_reading_ply import refusal

from lpdif.errors import InputError
from lpdif.io.read import load_scan, read_scan


def written(folder: Path, uri: str = "scan.bin", name: str = "scan.gltf", beside: str = "scan.bin") -> Path:
    """A mesh in text, and the file of its numbers."""
    words, binary = gltf(SINGLE, INDICES)
    words["meshes"][0]["primitives"][0] |= {"indices": 1, "mode": 4}
    words["buffers"][0]["uri"] = uri
    folder.mkdir(exist_ok=True)
    (folder / beside).write_bytes(binary)
    (folder / name).write_text(json.dumps(words, indent=1))
    return folder / name


@pytest.mark.parametrize(("uri", "beside"), [("scan.bin", "scan.bin"), ("my%20scan.bin", "my scan.bin"), ("./scan.bin", "scan.bin")])
def test_numbers_in_the_file_beside(uri: str, beside: str, tmp_path: Path) -> None:
    scan = load_scan(written(tmp_path, uri, beside=beside))
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.faces is not None


def test_no_other_file_is_opened(tmp_path: Path) -> None:
    outside = tmp_path / "secret.bin"
    outside.write_bytes(bytes(1000))
    folder = tmp_path / "scans"
    for uri in ("../secret.bin", str(outside), outside.as_uri(), "%2e%2e/secret.bin", "..%5csecret.bin"):
        with pytest.raises(InputError, match="keeps its data in another folder"):
            load_scan(written(folder, uri))
    (folder / "link.bin").symlink_to(outside)
    with pytest.raises(InputError, match="keeps its data in another folder"):
        load_scan(written(folder, "link.bin"))
    with pytest.raises(InputError, match=r"keeps its data in gone\.bin, which is not beside it"):
        load_scan(written(folder, "gone.bin"))
    with pytest.raises(InputError, match=r"which is not beside it"):
        load_scan(written(folder, "."))
    text = written(folder).read_bytes()
    assert refusal(text, "scan.gltf") == "keeps its data in another file, scan.bin"  # standard input has nothing beside it


def test_many_points_beside_few_words(tmp_path: Path) -> None:
    """The JSON alone says nothing about how much a file may hold."""
    points = np.random.default_rng(0).normal(size=(3_000_000, 3)).astype("f4")
    words, binary = gltf(points)
    words["buffers"][0]["uri"] = "b.bin"
    (tmp_path / "b.bin").write_bytes(binary)
    (tmp_path / "a.gltf").write_text(json.dumps(words))
    assert len(load_scan(tmp_path / "a.gltf").points) == len(points)


def test_normals_of_points_turn_with_their_node() -> None:
    words, binary = gltf(SINGLE, NORMALS.astype("f4"))
    words["meshes"][0]["primitives"][0]["attributes"]["NORMAL"] = 1
    words["nodes"][0]["scale"] = [2, 1, 1]
    words["nodes"][0]["rotation"] = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]
    scan = read_scan(pack(words, binary), "a.glb")
    x, y, z = POINTS.T
    np.testing.assert_allclose(scan.points, np.column_stack([-y, 2 * x, z]), atol=1e-12)
    assert scan.normals is not None
    x, y, z = NORMALS.T
    np.testing.assert_allclose(scan.normals, np.column_stack([-y, x / 2, z]), atol=1e-12)


def test_bones_and_copies_are_said(caplog: pytest.LogCaptureFixture) -> None:
    words, binary = meshed()
    words["nodes"][0]["skin"] = 0
    words["extensionsUsed"] = ["EXT_mesh_gpu_instancing"]
    read_scan(pack(words, binary), "a.glb")
    assert "a.glb: bones left out: its meshes are taken as they are stored" in caplog.text
    assert "a.glb: copies of meshes by EXT_mesh_gpu_instancing left out" in caplog.text
