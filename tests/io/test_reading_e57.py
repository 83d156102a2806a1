"""E57: columns of any type and range, the extension of normals, several scans of different columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from e57_files import Column, e57_of, floats, integers, scaled
from test_reading_ply import refusal

from lpdif.io.formats.e57 import decode
from lpdif.io.read import read_scan

pytest.importorskip("pye57")

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-5, 5, (50, 3))
COLORS = RNG.integers(0, 256, (50, 3))
COLORS[0], COLORS[1] = 0, 255
NORMALS = POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
QUARTER = ([np.sqrt(0.5), 0.0, 0.0, np.sqrt(0.5)], [10.0, 20.0, 30.0])  # about z


def places(points: np.ndarray = POINTS) -> dict[str, Column]:
    return {f"cartesian{axis}": floats(column) for axis, column in zip("XYZ", points.T, strict=True)}


def colors(make: object, values: np.ndarray, *arguments: float) -> dict[str, Column]:
    return {f"color{name}": make(column, *arguments) for name, column in zip(("Red", "Green", "Blue"), values.T, strict=True)}  # type: ignore[operator]


def normals(prefix: str = "nor:") -> dict[str, Column]:
    return {f"{prefix}normal{axis}": floats(column) for axis, column in zip("XYZ", NORMALS.T, strict=True)}


@pytest.mark.parametrize(
    ("columns", "limits"),
    [
        (colors(integers, COLORS, 0, 255), None),
        (colors(integers, COLORS, 0, 255), (0, 255)),
        (colors(integers, COLORS, 0, 255), (0, 65535)),  # more than their type holds
        (colors(integers, COLORS, 0, 255), (0, 1)),  # and less than they are
        (colors(integers, COLORS * 257, 0, 65535), None),
        (colors(integers, COLORS * 257, 0, 65535), (0, 65535)),
        (colors(integers, COLORS, 0, 65535), (0, 255)),
        (colors(integers, COLORS, 0, 65535), None),
        (colors(integers, np.rint(COLORS / 255 * 1023), 0, 1023), None),
        (colors(integers, np.rint(COLORS / 255 * 4095), 0, 65535), (0, 4095)),
        (colors(integers, np.rint(COLORS / 255 * 1000) + 24, 0, 2000), (24, 1024)),
        (colors(scaled, COLORS / 255, 0, 65535, 1 / 65535), None),
        (colors(scaled, COLORS / 255, 0, 65535, 1 / 65535), (0, 1)),
        (colors(scaled, COLORS * 257, 0, 65535, 1.0), None),
        (colors(integers, COLORS, 0, 255), ("none", 255)),
        (colors(floats, COLORS / 255), None),
        (colors(floats, COLORS / 255 * 1e6), (0, 1e6)),
        (colors(floats, COLORS / 255), (0, 1)),
        (colors(floats, COLORS), None),
        (colors(floats, COLORS * 257), None),
        (colors(floats, COLORS / 255 * 4 - 2), (-2, 2)),
    ],
)
def test_colors_of_any_range(columns: dict[str, Column], limits: tuple[float | str, float] | None, tmp_path: Path) -> None:
    (tmp_path / "a.e57").write_bytes(e57_of(places() | columns, limits=limits))
    out = decode(tmp_path / "a.e57")
    np.testing.assert_array_equal(out["colors"], COLORS)
    np.testing.assert_array_equal(out["points"], POINTS)
    assert "said" not in out


def test_colors_of_16_bits_come_through_the_child() -> None:
    scan = read_scan(e57_of(places() | colors(integers, COLORS * 257, 0, 65535) | {"intensity": integers(COLORS[:, 0] * 9, 0, 4095)}), "a.e57")
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.extras["intensity"], COLORS[:, 0] * 9)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"colorRed": integers(COLORS[:, 0], 0, 255)}, "they are no numbers, or not all there"),
        (colors(floats, COLORS - 300.0), "their values go beyond every range"),
        (colors(floats, COLORS * np.nan), "some of their values are no finite numbers"),
    ],
)
def test_colors_that_cannot_be_had_are_left_out_and_said(wrong: dict[str, Column], why: str, caplog: pytest.LogCaptureFixture) -> None:
    scan = read_scan(e57_of(places() | wrong), "a.e57")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.colors is None
    assert f"a.e57: colours of scan 1 left out: {why}" in caplog.text


@pytest.mark.parametrize("prefix", ["nor", "n"])
def test_normals_turn_with_their_scan(prefix: str) -> None:
    scan = read_scan(e57_of(places() | normals(f"{prefix}:"), poses=[QUARTER], prefix=prefix), "a.e57")
    np.testing.assert_allclose(scan.points, POINTS[:, [1, 0, 2]] * [-1, 1, 1] + [10, 20, 30], atol=1e-12)
    np.testing.assert_allclose(scan.normals, NORMALS[:, [1, 0, 2]] * [-1, 1, 1], atol=1e-12)


def test_scans_of_different_columns(caplog: pytest.LogCaptureFixture) -> None:
    full = places() | normals() | colors(integers, COLORS, 0, 255) | {"intensity": floats(COLORS[:, 0])}
    scan = read_scan(e57_of(full, places(POINTS + 20), full), "a.e57")
    assert len(scan.points) == 150
    assert scan.normals is not None
    np.testing.assert_array_equal(scan.normals, np.concatenate([NORMALS, np.zeros((50, 3)), NORMALS]))
    assert (scan.colors, scan.extras) == (None, {})
    for what in ("colours", "intensity"):
        assert f"a.e57: {what} left out: 1 of 3 scans without" in caplog.text


def test_spherical_coordinates_and_points_that_are_invalid() -> None:
    distance = np.linalg.norm(POINTS, axis=1)
    angles = np.arctan2(POINTS[:, 1], POINTS[:, 0]), np.arcsin(POINTS[:, 2] / distance)
    columns = {"sphericalRange": floats(distance), "sphericalAzimuth": floats(angles[0]), "sphericalElevation": floats(angles[1])}
    state = np.arange(50) % 3
    columns |= normals() | {"sphericalInvalidState": integers(state, 0, 2)}
    scan = read_scan(e57_of(columns, poses=[QUARTER]), "a.e57")
    np.testing.assert_allclose(scan.points, (POINTS[:, [1, 0, 2]] * [-1, 1, 1] + [10, 20, 30])[state == 0], atol=1e-9)
    np.testing.assert_allclose(scan.normals, (NORMALS[:, [1, 0, 2]] * [-1, 1, 1])[state == 0], atol=1e-12)


def test_no_coordinates() -> None:
    flat = {name: column for name, column in places().items() if name != "cartesianZ"}
    assert refusal(e57_of(flat), "a.e57") == "scan 1 has no coordinates; its columns are cartesianX, cartesianY"
