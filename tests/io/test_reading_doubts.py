"""Coordinates that are none, or may be something else: angles, degrees, times, points that were deleted. None is taken in silence."""

from __future__ import annotations

import io
import logging
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from shapes import even_sphere_points
from test_reading_ply import refusal

from lpdif.io.read import read_scan

POINTS = np.round(even_sphere_points(60)[0], 4)
DEGREES = POINTS * [1e-5, 1e-5, 1] + [8.5, 47.3, 400]


def table(points: NDArray[np.float64], head: str = "", digits: int = 8, sep: str = " ") -> bytes:
    return (head + "".join(sep.join(f"{value:.{digits}f}" for value in row) + "\n" for row in points)).encode()


@pytest.mark.parametrize("names", ["range azimuth elevation", "r theta phi", "Hz V Distance", "Azimuth Zenith Slope_Distance"])
def test_a_distance_and_angles_are_no_coordinates(names: str) -> None:
    said = refusal(table(POINTS, names + "\n"), "a.txt")
    assert said == f"its columns are a distance and angles, as a scanner measures: {names}"


def test_a_distance_and_angles_beside_coordinates_are_values() -> None:
    scan = read_scan(table(np.column_stack([POINTS, POINTS]), "one two three range azimuth elevation\n"), "a.txt")
    np.testing.assert_array_equal(scan.points, POINTS)


@pytest.mark.parametrize("name", ["a.xyz", "a.csv", "a.npy"])
def test_degrees_beside_metres_are_a_warning(name: str, caplog: pytest.LogCaptureFixture) -> None:
    file = io.BytesIO()
    np.save(file, DEGREES)
    data = {"a.xyz": table(DEGREES), "a.csv": table(DEGREES, "x,y,z\n", sep=","), "a.npy": file.getvalue()}[name]
    read_scan(data, name)
    assert f"{name}: x and y may be degrees of longitude and latitude" in caplog.text


@pytest.mark.parametrize("points", [POINTS, POINTS * [1, 1, 100], POINTS * [1e-5, 1e-5, 1] + [465000, 0, 0], POINTS * [0, 0, 1]])
def test_what_is_in_metres_is_no_warning(points: NDArray[np.float64], caplog: pytest.LogCaptureFixture) -> None:
    read_scan(table(points, "x y z\n"), "a.xyz")
    assert "degrees" not in caplog.text


def las(points: NDArray[np.float64], record: object = None, withheld: NDArray[np.bool_] | None = None, kind: int = 6) -> bytes:
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(version="1.4", point_format=kind)
    header.scales, header.offsets = [1e-7, 1e-7, 1e-3], np.floor(points.mean(axis=0))
    if record is not None:
        number, content = record
        header.vlrs.append(laspy.VLR("LASF_Projection", number, "", content))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points.T
    if withheld is not None:
        cloud.withheld[:] = withheld
    out = io.BytesIO()
    cloud.write(out)
    return out.getvalue()


def keys(model: int) -> tuple[int, bytes]:
    return 34735, struct.pack("<12H", 1, 1, 0, 2, 1024, 0, 1, model, 1025, 0, 1, 1)


@pytest.mark.parametrize(
    "record",
    [
        keys(2),
        (2112, b'GEOGCS["WGS 84",DATUM["WGS_1984"]]\0'),
        (2112, b'COMPD_CS["WGS 84 + EGM96",GEOGCS["WGS 84"]]\0'),
        (2112, b'GEOGCRS["WGS 84",DATUM["World"]]\0'),
    ],
)
def test_degrees_by_the_header_of_las(record: tuple[int, bytes]) -> None:
    assert refusal(las(DEGREES, record), "a.las") == "coordinates are degrees of latitude and longitude, as its header says"
    metres = POINTS + np.array([465000, 5249000, 400])
    np.testing.assert_allclose(read_scan(las(metres, record), "a.las").points, metres, atol=1e-3)  # then the header is wrong


@pytest.mark.parametrize("record", [keys(1), (2112, b'PROJCS["UTM 32",GEOGCS["WGS 84"]]\0'), (34735, b"\1")])
def test_projected_coordinates_of_las(record: tuple[int, bytes]) -> None:
    np.testing.assert_allclose(read_scan(las(POINTS, record), "a.las").points, POINTS, atol=1e-3)


@pytest.mark.parametrize("kind", [3, 6])
def test_points_that_las_withholds_are_left_out(kind: int, caplog: pytest.LogCaptureFixture) -> None:
    withheld = np.arange(60) % 4 == 0
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(las(POINTS, None, withheld, kind), "a.las")
    np.testing.assert_allclose(scan.points, POINTS[~withheld], atol=1e-3)
    assert "a.las: 15 points withheld, as deleted ones are, left out" in caplog.text
    assert len(read_scan(las(POINTS, None, np.ones(60, bool), kind), "a.las").points) == 60


def test_a_time_before_the_coordinates_is_a_doubt(caplog: pytest.LogCaptureFixture) -> None:
    read_scan(table(np.column_stack([300_000 + np.arange(60) * 0.013, POINTS])), "a.txt")
    assert "columns taken as x y z intensity, but the first may be a time: name the columns to be sure" in caplog.text


@pytest.mark.parametrize("step", [256, 257])
def test_bytes_that_were_made_16_bits_wide_are_colors(step: int) -> None:
    colors = np.random.default_rng(1).integers(0, 256, (60, 3))
    scan = read_scan(table(np.column_stack([POINTS, colors * step]), digits=4), "a.txt")
    assert scan.colors is not None
    assert np.abs(scan.colors.astype(int) - colors).max() <= 1
    assert read_scan(table(np.column_stack([POINTS, colors * step + 1]), digits=4), "a.txt").colors is None


def test_heads_that_come_again_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    one = table(POINTS, "Scan by a program\nx,y,z\n", sep=",")
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(one + b"\n" + one.replace(b"\n", b"\r\n"), "a.csv")
    np.testing.assert_array_equal(scan.points, np.concatenate([POINTS, POINTS]))
    assert "a.csv: its head comes again in 2 lines, which are left out" in caplog.text
    assert refusal(one + b"X,Y,Z\n", "a.csv") == "line 63: 'X' is not a number"


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark(encoding: str) -> None:
    data = table(POINTS, "X\tY\tHöhe\r\n", sep="\t").decode().encode(encoding)
    np.testing.assert_array_equal(read_scan(data, "a.txt").points, POINTS)
    assert "not columns of numbers" in refusal(data[:-1], "a.txt")  # half a letter
