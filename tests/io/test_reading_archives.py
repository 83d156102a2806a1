"""Archives and arrays of NumPy as networks and scripts of others store them."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
from shapes import even_sphere_points
from test_reading_ply import refusal

from lpdif.errors import InputError
from lpdif.io.read import read_scan

POINTS = np.round(even_sphere_points(60)[0], 4)
NORMALS = POINTS / np.linalg.norm(POINTS, axis=1)[:, None]
COLORS = np.random.default_rng(0).integers(1, 256, (60, 3)).astype(np.uint8)


def npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize("name", ["coord", "points3D", "lidar", "surface_samples", "X"])
def test_names_of_points(name: str) -> None:
    scan = read_scan(npz(**{name: POINTS, "color": COLORS, "normal": NORMALS, "loc": np.zeros(3), "label": np.arange(60)}), "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.extras["label"], np.arange(60))


def test_of_two_arrays_that_may_be_points_none_is_guessed() -> None:
    assert refusal(npz(first=POINTS, second=POINTS), "a.npz") == "none of its arrays is called points: first, second"


@pytest.mark.parametrize("name", ["rgbs", "point_colors", "pcd_colors"])
@pytest.mark.parametrize("scale", [1, 255])
def test_names_of_colors(name: str, scale: int) -> None:
    np.testing.assert_array_equal(read_scan(npz(points=POINTS, **{name: COLORS / scale if scale > 1 else COLORS}), "a.npz").colors, COLORS)


def test_pictures_of_points_with_their_pictures() -> None:
    """As VGGT and its kin store them: several pictures, the colours channel by channel."""
    points, colors = (array.reshape(2, 5, 6, 3) for array in (POINTS, COLORS))
    images = np.moveaxis(colors / np.float32(255), -1, 1)
    scan = read_scan(npz(world_points=points, images=images, conf=np.arange(60.0).reshape(2, 5, 6)), "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.extras["conf"], np.arange(60))


def test_images_of_x_y_and_z() -> None:
    arrays = {name: axis.reshape(6, 10) for name, axis in zip("xyz", POINTS.T, strict=True)}
    scan = read_scan(npz(**arrays, heat=np.arange(60.0).reshape(6, 10)), "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.extras["heat"], np.arange(60))


def test_clouds_that_would_become_one_are_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(5)
    read_scan(npy(rng.permutation(np.concatenate([POINTS, POINTS])).reshape(2, 60, 3)), "a.npy")
    assert "a.npy: 2 rows of 60 points read as one scan: they are no neighbours" in caplog.text
    caplog.clear()
    y, x = np.mgrid[0:40, 0:50] / 50
    image = np.stack([x, y, 1 + 0.1 * np.sin(x * 5)], axis=2)
    image[3:5, 7:9] = np.nan
    read_scan(npy(image), "a.npy")
    assert "neighbours" not in caplog.text


def test_what_to_do_about_depths_and_flat_arrays() -> None:
    for array, hint in ((np.ones((48, 64), dtype=np.uint16), "focal lengths"), (np.ones(90), "array.reshape(-1, 3)")):
        with pytest.raises(InputError) as caught:
            read_scan(npy(array), "a.npy")
        assert hint in (caught.value.hint or "")
    np.testing.assert_array_equal(read_scan(npy(POINTS[:, :, None]), "a.npy").points, POINTS)


def test_the_only_array_of_points_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        read_scan(npz(surface=POINTS, names=np.arange(5)), "a.npz")
    assert "a.npz: points are its array surface, the only one that may be some" in caplog.text


def test_a_depth_image_is_called_that() -> None:
    image = pytest.importorskip("PIL.Image")
    for array, said in (
        (np.ones((48, 64), np.uint16), "a PNG picture of 16 bits in grey, as depth images are"),
        (np.ones((48, 64), np.uint8), "a PNG picture"),
    ):
        file = io.BytesIO()
        image.fromarray(array).save(file, "PNG")
        assert refusal(file.getvalue(), "depth.png") == f"{said}, not a scan"
