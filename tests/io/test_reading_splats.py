"""Gaussian splats in PLY: their centres are points, with the colours that they have from all sides."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from seed_files import COLORS, POINTS, ply
from test_reading_ply import XYZ, refusal

from lpdif.io.formats.ply_splats import is_compressed_splat, is_splat, opaque_rows, splat_centres
from lpdif.io.read import read_scan

CONSTANT = (COLORS / 255 - 0.5) / 0.28209479177387814
SHAPE = [
    *(f"f_rest_{index}" for index in range(9)),
    "opacity",
    *(f"scale_{index}" for index in range(3)),
    *(f"rot_{index}" for index in range(4)),
]
PROPERTIES = [
    *XYZ,
    *((name, "f4", np.zeros(4)) for name in ("nx", "ny", "nz")),
    *((f"f_dc_{axis}", "f4", CONSTANT[:, axis]) for axis in range(3)),
    *((name, "f4", np.ones(4)) for name in SHAPE),
    ("label", "u1", np.arange(4)),
]


@pytest.mark.parametrize("encoding", ["ascii", "binary_little_endian"])
def test_centres_are_points_with_colors(encoding: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(ply(PROPERTIES, encoding), "a.ply")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    assert scan.normals is None
    assert set(scan.extras) == {"label"}
    assert "a.ply: a Gaussian splat: the centres of its Gaussians are taken as points" in caplog.text


def test_colors_are_clipped_and_those_that_are_given_stay() -> None:
    columns = {name: np.asarray(column, dtype=np.float32) for name, _, column in PROPERTIES}
    columns["f_dc_0"] = np.array([-9.0, 9.0, 0.0, np.nan])
    columns["green"] = np.arange(4)
    found = splat_centres(columns)
    np.testing.assert_array_equal(found["red"], [0, 1, 0.5, np.nan])
    np.testing.assert_array_equal(found["green"], np.arange(4))
    assert set(found) == {"x", "y", "z", "nx", "ny", "nz", "red", "green", "blue", "label"}


def test_faint_gaussians_go(caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(0)
    opacity = np.where(np.arange(100) % 3 == 0, 0.018, rng.uniform(0.3, 1.0, 100))
    opacity[1:3] = np.nan, 0.5
    points = rng.normal(size=(100, 3)).astype(np.float32)
    values = dict.fromkeys((name for name, _, _ in PROPERTIES), np.zeros(100)) | dict(zip("xyz", points.T, strict=True))
    values["opacity"] = np.log(opacity / (1 - opacity))
    values["label"] = np.arange(100)
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(ply([(name, kind, values[name].astype(kind)) for name, kind, _ in PROPERTIES]), "a.ply")
    solid = np.arange(100) % 3 != 0
    np.testing.assert_array_equal(scan.points, points[solid])
    np.testing.assert_array_equal(scan.extras["label"], np.flatnonzero(solid))
    assert scan.colors is not None
    assert len(scan.colors) == solid.sum()
    assert "a.ply: 34 Gaussians left out: opacity below 0.1" in caplog.text


@pytest.mark.parametrize(("solid", "kept"), [(31, 80), (32, 32), (80, 80)])
def test_all_gaussians_stay_where_too_few_would(solid: int, kept: int) -> None:
    opacity = np.where(np.arange(80) < solid, 0.0, -9.0).astype(np.float32)
    assert opaque_rows(opacity).sum() == kept


def test_what_is_a_splat() -> None:
    names = [name for name, _, _ in PROPERTIES]
    assert is_splat(names)
    assert not is_splat([name for name in names if name != "opacity"])
    assert not is_compressed_splat(names)
    kept = [prop for prop in PROPERTIES if prop[0] != "rot_0"]  # then these are values of points
    assert "f_dc_0" in read_scan(ply(kept), "a.ply").extras


def compressed(count: int, chunks: int, with_colors: bool) -> tuple[bytes, np.ndarray, np.ndarray, np.ndarray]:
    """A splat as SuperSplat compresses it, and its points, colours and opacities, unpacked the slow way, one by one."""
    rng = np.random.default_rng(4)
    names = [f"{end}_{axis}" for end in ("min", "max") for axis in ("x", "y", "z", *("rgb" if with_colors else ""))]
    ranges = {name: np.sort(rng.uniform(-1, 1.5, chunks)).astype("f4") + (name[:3] == "max") for name in names}
    position, color = (rng.integers(0, 2**32, count, dtype=np.uint32) for _ in range(2))
    zeros = [(name, "u4", np.zeros(count)) for name in ("packed_rotation", "packed_scale")]
    chunk = ply([(name, "f4", ranges[name]) for name in names]).partition(b"end_header\n")
    vertex = ply([("packed_position", "u4", position), *zeros, ("packed_color", "u4", color)]).partition(b"end_header\n")
    head = chunk[0].replace(b"element vertex", b"element chunk") + vertex[0][vertex[0].index(b"element") :]
    points, colors, opacity = np.zeros((count, 3)), np.zeros((count, 3)), np.zeros(count)
    for row in range(count):
        bits = f"{position[row]:032b}"
        parts = [int(bits[:11], 2) / 2047, int(bits[11:21], 2) / 1023, int(bits[21:], 2) / 2047]
        own = {name: float(ranges[name][row // 256]) for name in names}
        points[row] = [own[f"min_{axis}"] + (own[f"max_{axis}"] - own[f"min_{axis}"]) * part for axis, part in zip("xyz", parts, strict=True)]
        whole = int(color[row])
        for place, axis in enumerate("rgb"):
            part = (whole >> (24 - 8 * place) & 255) / 255
            if with_colors:
                part = min(1.0, max(0.0, own[f"min_{axis}"] + (own[f"max_{axis}"] - own[f"min_{axis}"]) * part))
            colors[row, place] = round(part * 255)
        opacity[row] = (whole & 255) / 255
    return head + b"end_header\n" + chunk[2] + vertex[2], points, colors, opacity


@pytest.mark.parametrize("with_colors", [False, True])
def test_a_compressed_splat(with_colors: bool, caplog: pytest.LogCaptureFixture) -> None:
    data, points, colors, opacity = compressed(600, 3, with_colors)
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(data, "a.ply")
    solid = opacity >= 0.1
    np.testing.assert_allclose(scan.points, points[solid], atol=1e-12)
    np.testing.assert_array_equal(scan.colors, colors[solid])
    assert scan.extras == {}
    assert f"a.ply: {(~solid).sum()} Gaussians left out: opacity below 0.1" in caplog.text


def test_a_compressed_splat_that_lacks_chunks() -> None:
    data = compressed(600, 3, False)[0].replace(b"element chunk 3", b"element chunk 2")
    assert refusal(data) == "a compressed splat of 600 Gaussians in 2 chunks of 256"
    head = "ply\nformat binary_little_endian 1.0\nelement chunk 1\nproperty float min_x\nelement vertex 1\n"
    data = (head + "property uint packed_position\nproperty uint packed_color\nend_header\n").encode() + bytes(12)
    assert refusal(data) == "a compressed splat of 1 Gaussian in 0 chunks of 256"
