"""Arrays of NumPy, and fields of several values a point: what is points in them, and what is a volume, a map or a picture."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from seed_files import npy, npz
from test_reading_ply import refusal

from lpdif.reading import read_scan

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
    assert refusal(npy(array), "a.npy") == f"shape {array.shape} is no list of points"
    assert refusal(npz(points=array, other=HEAT), "a.npz") == f"array points of shape {array.shape} is no list of points"


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


@pytest.mark.parametrize("name", ["pcd", "cloud", "data", "point_cloud", "pts", "xyz"])
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
