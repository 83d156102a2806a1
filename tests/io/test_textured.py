"""A texture in files: OBJ with its MTL and PNG, all or none, and GLB."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image

from lpdif.errors import ResourceError, UsageError
from lpdif.io.read import load_scan
from lpdif.io.textured import side_files, split_vertices
from lpdif.io.write import encode_mesh, write_mesh
from lpdif.types import Mesh, Texture

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
SIDES = np.array([[0, 1, 2], [0, 2, 3]])
NORMALS = np.tile([0.0, 0, 1], (4, 1))
# two charts: the second lies elsewhere than the first, so the corners that they share are two
PLACES = np.array([[[0.0, 0], [0.4, 0], [0.4, 0.4]], [[0.5, 0.5], [0.9, 0.9], [0.5, 0.9]]])
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
MESH = Mesh(CORNERS, SIDES, NORMALS, np.full((4, 3), 7, np.uint8), texture=Texture(PLACES, IMAGE))


def shown(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners, texture coordinates of corners, and the picture, as trimesh reads a file."""
    other: Any = trimesh.load(path, force="mesh", process=False)
    material = other.visual.material
    image = material.image if hasattr(material, "image") else material.baseColorTexture
    return other.triangles, other.visual.uv[other.faces], np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("ending", ["obj", "glb"])
@pytest.mark.parametrize("normals", [True, False])
def test_other_programs_see_the_texture(tmp_path: Path, ending: str, normals: bool) -> None:
    mesh = MESH if normals else Mesh(CORNERS, SIDES, texture=MESH.texture)
    write_mesh(tmp_path / f"a.{ending}", mesh, scale=2)
    triangles, places, image = shown(tmp_path / f"a.{ending}")
    np.testing.assert_allclose(triangles, 2 * CORNERS[SIDES])
    np.testing.assert_allclose(places, PLACES, atol=1e-6)
    np.testing.assert_array_equal(image, IMAGE)
    own = load_scan(tmp_path / f"a.{ending}")  # and lpdif itself the mesh
    assert own.faces is not None
    np.testing.assert_allclose(own.points[own.faces], 2 * CORNERS[SIDES])


def test_obj_names_its_files(tmp_path: Path) -> None:
    write_mesh(tmp_path / "my red mesh.obj", MESH)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my red mesh.obj", "my_red_mesh.mtl", "my_red_mesh.png"]
    assert "mtllib my_red_mesh.mtl\n" in (tmp_path / "my red mesh.obj").read_text()
    assert "map_Kd my_red_mesh.png\n" in (tmp_path / "my_red_mesh.mtl").read_text()
    assert side_files(Path("a/b.obj")) == (Path("a/b.mtl"), Path("a/b.png"))
    with Image.open(tmp_path / "my_red_mesh.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), IMAGE)


def test_the_same_bytes_each_time(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name in ("a.obj", "a.glb"):
            write_mesh(tmp_path / folder / name, MESH)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize("there", ["a.obj", "a.mtl", "a.png"])
def test_no_file_is_replaced_unasked(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("precious")
    with pytest.raises(UsageError, match="exists already"):
        write_mesh(tmp_path / "a.obj", MESH)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(there, "precious")]
    write_mesh(tmp_path / "a.obj", MESH, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("last", [1, 2, 3])
def test_a_full_disk_leaves_none_or_the_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """At the first, the second and the third file that would be complete."""
    for name in ("a.obj", "a.mtl", "a.png"):
        (tmp_path / name).write_text("precious")
    sync, calls = os.fsync, []

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == last:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="disk full"):
        write_mesh(tmp_path / "a.obj", MESH, overwrite=True)
    assert sorted((path.name, path.read_text()) for path in tmp_path.iterdir()) == [
        ("a.mtl", "precious"), ("a.obj", "precious"), ("a.png", "precious"),
    ]  # fmt: skip


def test_too_little_room_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(ResourceError, match=r"disk full: 0\.0 MB are needed"):
        write_mesh(tmp_path / "a.obj", MESH)
    assert list(tmp_path.iterdir()) == []


def test_the_obj_file_gets_its_name_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    replace = Path.replace

    def noted(self: Path, target: Path) -> Path:
        order.append(Path(target).name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", noted)
    write_mesh(tmp_path / "a.obj", MESH)
    assert order == ["a.png", "a.mtl", "a.obj"]


def test_vertices_are_split_at_seams_alone() -> None:
    assert MESH.texture is not None
    old, places, faces = split_vertices(MESH, MESH.texture)
    assert sorted(old.tolist()) == [0, 0, 1, 2, 2, 3]
    np.testing.assert_array_equal(old[faces], SIDES)
    np.testing.assert_array_equal(places[faces], PLACES)


@pytest.mark.parametrize("kind", ["ply", "stl", "off", "3mf", "obj"])
def test_what_cannot_carry_it_says_so(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    encode_mesh(MESH, kind)
    assert f"{kind.upper()} has no place for the texture" in caplog.text
