"""Arrays of NumPy, and fields of several values a point: what is points in them, and what is a volume, a map or a picture."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from seed_files import npy, npz
from test_reading_ply import refusal

from lpdif.io.read import read_scan

POINTS = np.random.default_rng(0).uniform(-50, 50, (660, 3))
HEAT = np.arange(660.0) / 4


@pytest.mark.parametrize(
    "array",
    [
        POINTS.reshape(22, 30, 3),
        POINTS.reshape(1, 660, 3),
        POINTS.reshape(660, 1, 3),
        POINTS.reshape(1, 1, 22, 30, 3),
        POINTS.reshape(3, 220, 3),
        np.column_stack([POINTS, HEAT]).reshape(22, 30, 4),
        np.moveaxis(POINTS.reshape(22, 30, 3), 2, 0),
        np.column_stack([POINTS, *[HEAT] * 20]),
    ],
)
def test_images_of_points(array: np.ndarray) -> None:
    np.testing.assert_array_equal(read_scan(npy(array), "a.npy").points, POINTS)


@pytest.mark.parametrize(
    "array",
    [
        np.ones((20, 20, 20)),
        np.ones((48, 64)),
        np.ones((3, 10, 10)),  # x, y and z, or three rows of ten values?
        np.ones((3, 10, 4)),
        np.ones((2, 20, 20, 3)),
        np.ones((20, 20, 2)),
        np.ones((20, 30, 3), dtype=np.uint8),
        np.ones(()),
        np.ones((0, 3, 40)),
    ],
)
def test_volumes_maps_and_pictures_are_refused(array: np.ndarray) -> None:
    depth = ": a depth image or a matrix" if array.ndim == 2 and min(array.shape) > 32 else ""
    assert refusal(npy(array), "a.npy") == f"shape {array.shape} is no list of points{depth}"
    if array.ndim < 4:  # the name says that several pictures of three channels are points
        assert refusal(npz(points=array, other=HEAT), "a.npz") == f"array points of shape {array.shape} is no list of points{depth}"


@pytest.mark.parametrize("columns", [4, 6, 10])
def test_columns_instead_of_rows(columns: int) -> None:
    table = np.column_stack([POINTS, *[HEAT] * (columns - 3)])
    np.testing.assert_array_equal(read_scan(npy(table.T), "a.npy").points, POINTS)
    assert refusal(npy(table[: 10 * columns].T), "a.npy").endswith("is no list of points") or columns == 4  # too few to tell
    assert refusal(npy(np.ones((11, 660))), "a.npy") == "shape (11, 660) is no list of points"


def structured(*fields: tuple[str, str, int], **values: np.ndarray) -> np.ndarray:
    array = np.zeros(660, dtype=[(name, kind, (number,)) if number > 1 else (name, kind) for name, kind, number in fields])
    for name, value in values.items():
        array[name] = value
    return array


def test_fields_of_several_values() -> None:
    ones = np.ones((660, 4), dtype=np.uint8) * 7
    for name in ("xyz", "position", "Points"):
        array = structured((name, "f8", 3), ("rgba", "u1", 4), ("heat", "f8", 1), ("other", "f8", 5), **{name: POINTS}, rgba=ones, heat=HEAT)
        scan = read_scan(npy(array), "a.npy")
        np.testing.assert_array_equal(scan.points, POINTS)
        np.testing.assert_array_equal(scan.colors, ones[:, :3])
        assert set(scan.extras) == {"heat"}
    scan = read_scan(npy(structured(("xyzi", "f8", 4), ("normal", "f8", 3), xyzi=np.column_stack([POINTS, HEAT]), normal=POINTS)), "a.npy")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.normals, POINTS)
    np.testing.assert_array_equal(scan.extras["i"], HEAT)
    assert refusal(npy(structured(("fpfh", "f8", 33))), "a.npy").startswith("no columns x, y and z")


@pytest.mark.parametrize("kind", ["ascii", "binary"])
def test_pcd_with_a_field_of_points(kind: str) -> None:
    header = f"FIELDS xyz heat\nSIZE 8 8\nTYPE F F\nCOUNT 3 1\nWIDTH 660\nHEIGHT 1\nPOINTS 660\nDATA {kind}\n".encode()
    table = np.column_stack([POINTS, HEAT])
    body = table.tobytes() if kind == "binary" else b"".join(b"%r %r %r %r\n" % tuple(row) for row in table.tolist())
    scan = read_scan(header + body, "a.pcd")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.extras["heat"], HEAT)


def test_archives_of_single_coordinates() -> None:
    scan = read_scan(npz(y=POINTS[:, 1], z=POINTS[:, 2], x=POINTS[:, 0], heat=HEAT, other=np.ones(3)), "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert set(scan.extras) == {"heat"}
    assert refusal(npz(x=HEAT, y=HEAT, z=HEAT[1:]), "a.npz") == "its arrays of coordinates are not of one length: x 660, y 660, z 659"
    assert refusal(npz(x=HEAT[:0], y=HEAT[:0], z=HEAT[:0]), "a.npz").startswith("holds no points")


COLORS = np.random.default_rng(1).integers(0, 256, (660, 3), dtype=np.uint8)
NORMALS = np.random.default_rng(2).normal(size=(660, 3))
NORMALS /= np.linalg.norm(NORMALS, axis=1)[:, None]


@pytest.mark.parametrize(
    "layout",
    [
        lambda table: table,
        lambda table: table.T,
        lambda table: table[None],
        lambda table: table.reshape(22, 30, -1),
        lambda table: table.reshape(1, 22, 30, -1),
        lambda table: np.moveaxis(table.reshape(22, 30, -1), 2, 0),
    ],
)
@pytest.mark.parametrize("scale", [1, 255])
def test_colors_and_normals_in_the_layout_of_the_points(layout: Callable[[np.ndarray], np.ndarray], scale: int) -> None:
    colors = COLORS if scale == 1 else COLORS / scale
    given = {"pts3d": POINTS, "rgb": np.column_stack([colors, colors[:, :1]]), "normals": NORMALS, "heat": HEAT[:, None]}
    scan = read_scan(npz(**{name: layout(table) for name, table in given.items()}), "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.extras["heat"], HEAT)


def test_colors_and_normals_beside_wide_tables() -> None:
    scan = read_scan(npz(points=np.column_stack([POINTS, HEAT]), colors=COLORS, normals=NORMALS, weight=HEAT), "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    assert set(scan.extras) == {"intensity", "weight"}
    scan = read_scan(npz(points=np.column_stack([POINTS, NORMALS[::-1]]), normals=NORMALS, sensor=POINTS[0]), "a.npz")
    np.testing.assert_array_equal(scan.normals, NORMALS)  # what is named comes before what is guessed
    np.testing.assert_array_equal(scan.sensor, POINTS[0])


def test_colors_of_another_layout_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    grid = POINTS.reshape(22, 30, 3)
    scan = read_scan(npz(points=grid, colors=COLORS.reshape(30, 22, 3), normals=NORMALS[1:]), "a.npz")
    assert (scan.colors, scan.normals) == (None, None)
    assert "array colors of shape (30, 22, 3) left out: the file has 660 points" in caplog.text
    assert "array normals of shape (659, 3) left out" in caplog.text


def test_colors_in_an_array_each() -> None:
    scan = read_scan(npz(coords=POINTS, R=COLORS[:, 0] / 255, G=COLORS[:, 1] / 255, B=COLORS[:, 2] / 255, heat=HEAT), "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    assert set(scan.extras) == {"heat"}


@pytest.mark.parametrize("kind", ["F", "f", "U"])
def test_packed_colors_in_text_of_pcd(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    packed = (COLORS.astype(np.uint32) << [16, 8, 0]).sum(axis=1).astype(np.uint32)
    written = packed.astype(np.float64) if kind != "F" else packed.view(np.float32).astype(np.float64)
    head = f"fields x y z rgb\nsize 4 4 4 4\ntype F F F {kind}\ncount 1 1 1 1\nwidth 660\nheight 1\npoints 660\ndata ascii\n"
    rows = [b"%r %r %r %r\n" % row for row in zip(*POINTS.T.tolist(), written.tolist(), strict=True)]
    scan = read_scan(head.encode() + b"".join(rows), "a.pcd")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    rows[0] = b"nan nan nan nan\n"  # no point, as of a camera that sees nothing there
    scan = read_scan(head.encode() + b"".join(rows), "a.pcd")
    assert scan.colors is not None
    np.testing.assert_array_equal(scan.colors[1:], COLORS[1:])
    rows[0] = b"1 2 3 nan\n"
    assert read_scan(head.encode() + b"".join(rows), "a.pcd").colors is None
    assert "a.pcd: colours left out: 1 point without one" in caplog.text


def test_tables_that_begin_like_a_pcd_in_small_letters_are_none() -> None:
    assert read_scan(b"version 1.2\nx y z\n1 2 3\n4 5 6\n", "a.txt").points.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("name", ["pcd", "cloud", "pts3d", "world_points", "positions", "vertices", "data", "point_cloud", "pts", "xyz"])
def test_names_of_points_in_an_archive(name: str) -> None:
    np.testing.assert_array_equal(read_scan(npz(**{name: POINTS, "other": np.ones(3)}), "a.npz").points, POINTS)


def test_objects_beside_points_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    out = BytesIO()
    np.savez(out, about=np.array([{"a": 1}], dtype=object), points=POINTS, heat=HEAT)
    np.testing.assert_array_equal(read_scan(out.getvalue(), "a.npz").points, POINTS)
    assert "a.npz: 1 array of pickled Python objects left out: about" in caplog.text
    out = BytesIO()
    np.savez(out, points=np.array([{"a": 1}], dtype=object), normals=POINTS)
    assert refusal(out.getvalue(), "a.npz") == "array points: holds pickled Python objects, which are never read"


@pytest.mark.parametrize("name", ["f", "v", "heat"])
def test_values_with_names_of_points_and_faces(name: str) -> None:
    heat = np.arange(len(POINTS)) / 7
    for arrays in (dict(zip("xyz", POINTS.T, strict=True)), {"points": POINTS}):
        scan = read_scan(npz(**arrays, **{name: heat}), "a.npz")
        np.testing.assert_array_equal(scan.points, POINTS)
        np.testing.assert_array_equal(scan.extras[name], heat)


@pytest.mark.parametrize("place", [np.array("front"), np.array([1j, 2, 3]), np.array((1, 2), dtype="f8,f8"), np.zeros(3, dtype="M8[s]")])
def test_a_position_that_is_no_number_is_left_out(place: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    scan = read_scan(npz(points=POINTS, viewpoint=place), "a.npz")
    assert scan.sensor is None
    assert "a.npz: array viewpoint of type" in caplog.text


def test_arrays_of_degrees() -> None:
    lat, lon, alt = POINTS.T
    assert refusal(npz(lat=lat, lon=lon, alt=alt), "a.npz") == "coordinates are degrees of latitude and longitude"


def test_what_columns_of_an_array_may_be_else_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    read_scan(npy(np.column_stack([rng.permutation(400) + 500.0, rng.random((400, 3)) * 9])), "a.npy")
    assert "x y z may be its columns 2 to 4" in caplog.text


def record(order: str = "<", **more: np.ndarray) -> np.ndarray:
    """Points with normals and colours in fields, as pandas and pyntcloud write them, and further ones."""
    fields = dict(zip("xyz", POINTS.T, strict=True)) | dict(zip(("nx", "ny", "nz"), NORMALS.T, strict=True))
    fields |= dict(zip(("red", "green", "blue"), COLORS.T, strict=True)) | more
    array = np.zeros(660, dtype=[(name, values.dtype.newbyteorder(order)) for name, values in fields.items()])
    for name, values in fields.items():
        array[name] = values
    return array


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("name", ["points", "arr_0", "my_tree"])
def test_archives_of_fields_are_read_as_the_array_is(name: str, order: str) -> None:
    array = record(order, heat=HEAT, kept=HEAT > 80)
    expected = read_scan(npy(array), "a.npy")
    for arrays in ({name: array}, {name: array.reshape(22, 30)}, {name: array, "about": np.ones(3), "words": np.array(["a", "b"])}):
        scan = read_scan(npz(**arrays), "a.npz")
        np.testing.assert_array_equal(scan.points, POINTS)
        np.testing.assert_array_equal(scan.normals, NORMALS)
        np.testing.assert_array_equal(scan.colors, COLORS)
        assert set(scan.extras) == set(expected.extras) == {"heat", "kept"}
        np.testing.assert_array_equal(scan.extras["heat"], HEAT)


def test_arrays_beside_fields() -> None:
    array = record()[["x", "y", "z"]].copy()
    faces = np.array([(0, 1, 2), (1, 2, 3)], dtype=[("v1", "i4"), ("v2", "i4"), ("v3", "i4")])
    scan = read_scan(npz(points=array, mesh=faces, normals=NORMALS, rgb=COLORS, heat=HEAT, sensor=POINTS[0]), "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.faces, [[0, 1, 2], [1, 2, 3]])
    np.testing.assert_array_equal(scan.sensor, POINTS[0])
    assert set(scan.extras) == {"heat"}
    assert refusal(npz(points=record()[["nx", "ny"]].copy()), "a.npz") == "no columns x, y and z; its columns are nx, ny"
    assert refusal(npz(points=array[:0]), "a.npz").startswith("holds no points")


def test_fields_of_fields() -> None:
    array = np.zeros(660, dtype=[("position", [("x", ">f8"), ("y", ">f8"), ("z", ">f8")]), ("heat", ">f4")])
    for axis, column in zip("xyz", POINTS.T, strict=True):
        array["position"][axis] = column
    for scan in (read_scan(npy(array), "a.npy"), read_scan(npz(points=array), "a.npz")):
        np.testing.assert_array_equal(scan.points, POINTS)
        assert set(scan.extras) == {"heat"}
