"""Meshes and scans to files and back: every format, enough digits, the same bytes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from seed_files import COLORS, FACES, NORMALS, POINTS

from lpdif.arrays import chunks
from lpdif.errors import ResourceError, UsageError
from lpdif.io.encode_mesh import needs_double, ply_parts, smallest_length
from lpdif.io.read import load_scan, read_scan
from lpdif.io.write import MESH_FORMATS, encode_mesh, encode_scan_file, mesh_format, write_mesh, write_scan
from lpdif.types import Mesh, Scan

UTM = np.array([500_000.125, 4_500_000.123, 100.5])
FORMATS = tuple(kind for kind in MESH_FORMATS if kind != "3mf")  # which is not read


def grid(size: int = 12, step: float = 0.1) -> Mesh:
    """A bumpy square of size x size vertices."""
    row, column = (index.ravel() for index in np.mgrid[:size, :size])
    vertices = np.column_stack([row * step, column * step, np.sin(row + column) * step])
    first = (np.arange(size - 1)[:, None] * size + np.arange(size - 1)).ravel()
    faces = np.concatenate([np.column_stack([first, first + size, first + 1]), np.column_stack([first + 1, first + size, first + size + 1])])
    return Mesh(vertices, faces)


def full(mesh: Mesh) -> Mesh:
    """The mesh with all that a mesh can carry."""
    rng = np.random.default_rng(0)
    count = len(mesh.vertices)
    normals = rng.normal(size=(count, 3))
    return Mesh(
        mesh.vertices,
        mesh.faces,
        normals / np.linalg.norm(normals, axis=1, keepdims=True),
        rng.integers(1, 256, size=(count, 3)).astype(np.uint8),
        {
            "confidence": rng.random(count).astype(np.float32),
            "label": rng.integers(-9, 9, size=count),
            "time": rng.random(count) + 1e9,
        },
        {"pattern": rng.integers(0, 8, size=len(mesh.faces)).astype(np.uint8)},
    )


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("shift", [np.zeros(3), UTM])
def test_a_mesh_comes_back(kind: str, shift: np.ndarray) -> None:
    plain = grid()
    mesh = full(Mesh(plain.vertices + shift, plain.faces))
    data = encode_mesh(mesh, kind)
    assert data == encode_mesh(mesh, kind)
    scan = read_scan(data, f"a.{kind}")
    assert scan.faces is not None
    if kind == "stl":
        tolerance = 0.3 if shift.any() else 1e-6
        np.testing.assert_allclose(scan.points[scan.faces[0]], mesh.vertices[mesh.faces[0]], rtol=0, atol=tolerance)
        return
    np.testing.assert_array_equal(scan.faces, mesh.faces)
    np.testing.assert_allclose(scan.points, mesh.vertices, rtol=0, atol=2e-6)
    np.testing.assert_array_equal(scan.colors, mesh.colors)
    if kind in ("ply", "obj"):
        assert scan.normals is not None
        assert mesh.normals is not None
        np.testing.assert_allclose(scan.normals, mesh.normals, atol=1e-4)
    if kind == "ply":
        for name, values in mesh.vertex_values.items():
            np.testing.assert_array_equal(scan.extras[name], values)
        assert scan.extras["label"].dtype == np.int32


@pytest.mark.parametrize("kind", ["ply", "obj", "off"])
def test_world_coordinates_survive(kind: str) -> None:
    mesh = Mesh(POINTS + UTM, FACES)
    np.testing.assert_array_equal(read_scan(encode_mesh(mesh, kind), f"a.{kind}").points, mesh.vertices)


@pytest.mark.parametrize("kind", FORMATS)
def test_other_readers_agree(kind: str, tmp_path: Path) -> None:
    mesh = full(grid())
    write_mesh(tmp_path / f"a.{kind}", mesh)
    other = trimesh.load(tmp_path / f"a.{kind}", force="mesh", process=False)
    assert isinstance(other, trimesh.Trimesh)
    if kind != "stl":
        np.testing.assert_allclose(other.vertices, mesh.vertices, atol=1e-6)
        np.testing.assert_array_equal(other.faces, mesh.faces)
    np.testing.assert_allclose(other.triangles, mesh.vertices[mesh.faces], atol=1e-6)
    if kind in ("ply", "obj", "glb"):
        np.testing.assert_array_equal(np.asarray(other.visual.vertex_colors)[:, :3], mesh.colors)  # type: ignore[union-attr]


def test_face_values_are_properties_of_faces() -> None:
    mesh = full(grid())
    data = encode_mesh(mesh, "ply")
    header, body = data.split(b"end_header\n", 1)
    assert b"property list uchar int vertex_indices\nproperty uchar pattern\n" in header
    rows = np.frombuffer(body[-14 * len(mesh.faces) :], dtype=[("count", "u1"), ("corners", "<i4", 3), ("pattern", "u1")])
    np.testing.assert_array_equal(rows["corners"], mesh.faces)
    np.testing.assert_array_equal(rows["pattern"], mesh.face_values["pattern"])


@pytest.mark.parametrize(
    ("scale", "shift", "double"), [(1, 0, False), (1, 4_500_000, True), (1e-3, 1, True), (1000, 1e5, False), (1e-9, 0, False)]
)
def test_double_only_where_single_is_too_little(scale: float, shift: float, double: bool) -> None:
    mesh = grid()
    vertices = mesh.vertices * scale + shift
    assert needs_double(vertices, mesh.faces) == double
    header = encode_mesh(Mesh(vertices, mesh.faces), "ply").split(b"end_header")[0]
    assert (b"property double x" in header) == double
    scan = read_scan(encode_mesh(Mesh(vertices, mesh.faces), "ply"), "a.ply")
    assert np.abs(scan.points - vertices).max() <= 1e-4 * smallest_length(vertices, mesh.faces)


@given(
    hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(-1e7, 1e7, allow_subnormal=False)),
    st.sampled_from(["ply", "obj", "off"]),
    st.data(),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_mesh_comes_back_within_a_millionth(vertices: np.ndarray, kind: str, data: st.DataObject) -> None:
    corner = st.integers(0, len(vertices) - 1)
    faces = data.draw(st.lists(st.tuples(corner, corner, corner).filter(lambda face: len(set(face)) == 3), max_size=8))
    mesh = Mesh(vertices, np.array(faces, dtype=np.int64).reshape(-1, 3))
    scan = read_scan(encode_mesh(mesh, kind), f"a.{kind}")
    np.testing.assert_array_equal(scan.faces if scan.faces is not None else np.zeros((0, 3)), mesh.faces)
    assert np.abs(scan.points - vertices).max() <= max(1e-4 if kind == "ply" else 1e-6, 1e-16) * smallest_length(vertices, mesh.faces) + 1e-9


@pytest.mark.parametrize("with_all", [False, True])
def test_a_ply_in_parts_is_the_whole(monkeypatch: pytest.MonkeyPatch, with_all: bool, tmp_path: Path) -> None:
    mesh = full(grid()) if with_all else grid()
    mesh.vertex_values["wide"] = np.arange(len(mesh.vertices)) << 40  # too wide for PLY's integers, though the first few would fit
    whole = encode_mesh(mesh, "ply")
    monkeypatch.setattr("lpdif.io.encode_mesh.chunks", lambda count: chunks(count, 7))
    size, parts = ply_parts(mesh)
    found = list(parts)
    assert len(found) > 10
    assert b"".join(found) == whole
    assert size == len(whole)
    write_mesh(tmp_path / "mesh.ply", mesh)
    assert (tmp_path / "mesh.ply").read_bytes() == whole


def test_formatting_in_chunks_is_formatting_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = full(grid())
    whole = {kind: encode_mesh(mesh, kind) for kind in ("obj", "off")}
    for rows in (1, 7, 144):
        monkeypatch.setattr("lpdif.io.encode_mesh._ROWS_AT_ONCE", rows)
        assert {kind: encode_mesh(mesh, kind) for kind in ("obj", "off")} == whole
    lines = [line for line in whole["obj"].decode().splitlines() if line.startswith("f")]
    assert lines == ["f " + " ".join(f"{corner + 1}//{corner + 1}" for corner in face) for face in mesh.faces.tolist()]


def test_what_a_format_cannot_hold_is_said(caplog: pytest.LogCaptureFixture) -> None:
    mesh = full(Mesh(grid().vertices + UTM, grid().faces))
    with caplog.at_level(logging.INFO, "lpdif"):
        for kind in ("obj", "stl", "off", "glb"):
            encode_mesh(mesh, kind)
    said = caplog.text
    assert "OBJ has no place for confidence, label, time, pattern: use PLY" in said
    assert "STL has no place for confidence, label, time, pattern, colours, normals" in said
    assert "STL holds single precision, which moves these vertices by up to 0.2" in said
    assert "GLB has no place for" in said


def test_names_of_values_fit_a_header() -> None:
    count = len(POINTS)
    mesh = Mesh(
        POINTS,
        FACES,
        vertex_values={"signal to noise": np.ones(count), "x": np.arange(count), "signal_to_noise": np.zeros(count, dtype=bool)},
    )
    scan = read_scan(encode_mesh(mesh, "ply"), "a.ply")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert list(scan.extras) == ["signal_to_noise", "value_x", "signal_to_noise_"]
    with pytest.raises(UsageError, match="has shape"):
        encode_mesh(Mesh(POINTS, FACES, vertex_values={"a": np.ones(3)}), "ply")
    with pytest.raises(UsageError, match="cannot be written"):
        encode_mesh(Mesh(POINTS, FACES, vertex_values={"a": np.array(["tree"] * 4)}), "ply")


@pytest.mark.parametrize(
    "values",
    [
        np.array([True, False, True, True]),
        np.array([2**40, 0, -1, 5]),
        np.array([1, 2, 3, 4], dtype=">i4"),
        np.array([0.5, 1, 2, 3], dtype=np.float16),
    ],
)
def test_values_of_any_type(values: np.ndarray) -> None:
    scan = read_scan(encode_mesh(Mesh(POINTS, FACES, vertex_values={"a": values}), "ply"), "a.ply")
    np.testing.assert_array_equal(scan.extras["a"], values.astype(np.float64))


def test_formats_that_are_not_known(tmp_path: Path) -> None:
    for name in ("mesh.fbx", "mesh", "mesh.ply.gz"):
        with pytest.raises(UsageError) as caught:
            write_mesh(tmp_path / name, grid())
        assert caught.value.hint == "meshes are written to .obj, .ply, .stl, .off, .glb, .3mf"
        assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="'fbx' is not known"):
        encode_mesh(grid(), "fbx")
    assert mesh_format("a/b.c/Mesh.PLY") == "ply"
    assert list(tmp_path.iterdir()) == []


def test_meshes_beyond_what_files_can_count() -> None:
    vertices = np.broadcast_to(np.zeros(3), (2**31 + 1, 3))
    for kind in ("ply", "stl"):
        with pytest.raises(ResourceError, match="more than mesh files can count"):
            encode_mesh(Mesh(vertices, FACES), kind)


def test_empty_meshes_have_headers() -> None:
    mesh = Mesh(np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))
    for kind in ("ply", "obj", "off", "stl"):
        assert encode_mesh(mesh, kind)


def test_scans_are_written_with_all_they_have(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    points = rng.random((50, 3)) + UTM
    points[3] = np.nan
    scan = Scan(points, rng.random((50, 3)), rng.integers(1, 256, (50, 3)).astype(np.uint8), {"intensity": np.arange(50, dtype=np.uint16)})
    write_scan(tmp_path / "a.ply", scan)
    back = load_scan(tmp_path / "a.ply")
    np.testing.assert_array_equal(back.points, points)
    np.testing.assert_array_equal(back.colors, scan.colors)
    np.testing.assert_array_equal(back.extras["intensity"], scan.extras["intensity"])
    assert back.normals is not None
    assert scan.normals is not None
    np.testing.assert_allclose(back.normals, scan.normals, atol=1e-7)
    assert back.faces is None
    meshed = Scan(POINTS, NORMALS, COLORS, {}, FACES)
    np.testing.assert_array_equal(read_scan(encode_scan_file(meshed), "a.ply").faces, FACES)
    with pytest.raises(UsageError, match="PLY only"):
        write_scan(tmp_path / "a.obj", scan)


def test_files_are_not_replaced_unasked(tmp_path: Path) -> None:
    write_mesh(tmp_path / "a.ply", grid())
    before = (tmp_path / "a.ply").read_bytes()
    with pytest.raises(UsageError, match="exists already") as caught:
        write_mesh(tmp_path / "a.ply", grid(5))
    assert caught.value.hint == "pass --overwrite to replace it"
    assert (tmp_path / "a.ply").read_bytes() == before
    write_mesh(tmp_path / "a.ply", grid(5), overwrite=True)
    assert load_scan(tmp_path / "a.ply").points.shape == (25, 3)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ply"]
