"""The place from which each point was seen, in columns of any format, and what LAS files class as noise."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
from seed_files import npy, ply

from lpdif.io.read import read_scan

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-50, 50, (60, 3)).round(3)
PLACES = RNG.uniform(-5, 5, (60, 3)).round(3)
NAMES = [
    "sensor_x,sensor_y,sensor_z",
    "vpx,vpy,vpz",
    "vp_x,vp_y,vp_z",
    "Scan Origin X,Scan Origin Y,Scan Origin Z",
    "viewpoint.x,viewpoint.y,viewpoint.z",
]


def table(places: np.ndarray, names: str) -> bytes:
    rows = np.column_stack([POINTS, places])
    return f"x,y,z,{names}\n".encode() + "".join(",".join(f"{value:.3f}" for value in row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("names", NAMES)
def test_columns_of_a_table_are_places_of_the_sensor(names: str) -> None:
    scan = read_scan(table(PLACES, names), "a.csv")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.sensor, PLACES)
    assert not scan.extras


def test_coordinates_may_come_after_the_places_of_the_sensor() -> None:
    lines = table(PLACES, "sensor_x,sensor_y,sensor_z").decode().splitlines()
    turned = "\n".join(",".join(line.split(",")[3:] + line.split(",")[:3]) for line in lines).encode()
    np.testing.assert_array_equal(read_scan(turned, "a.csv").points, POINTS)


def test_properties_of_ply_and_fields_of_arrays_are_places_of_the_sensor() -> None:
    names = ("x", "y", "z", "vpx", "vpy", "vpz")
    columns = [(name, "f8", column) for name, column in zip(names, np.column_stack([POINTS, PLACES]).T, strict=True)]
    np.testing.assert_array_equal(read_scan(ply(columns), "a.ply").sensor, PLACES)
    fields = np.array([*zip(POINTS, PLACES, strict=True)], dtype=[("xyz", "f8", 3), ("viewpoint", "f8", 3)])
    np.testing.assert_array_equal(read_scan(npy(fields), "a.npy").sensor, PLACES)


def test_fields_of_pcd_go_before_the_viewpoint_of_its_header() -> None:
    header = (
        "# .PCD v0.7\nVERSION 0.7\nFIELDS x y z vp_x vp_y vp_z\nSIZE 4 4 4 4 4 4\nTYPE F F F F F F\nCOUNT 1 1 1 1 1 1\n"
        "WIDTH 60\nHEIGHT 1\nVIEWPOINT 9 9 9 1 0 0 0\nPOINTS 60\nDATA ascii\n"
    )
    lines = "".join(" ".join(f"{value:.3f}" for value in row) + "\n" for row in np.column_stack([POINTS, PLACES]))
    np.testing.assert_array_equal(read_scan((header + lines).encode(), "a.pcd").sensor, PLACES)


def test_places_that_are_unknown_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    assert read_scan(table(np.zeros((60, 3)), NAMES[0]), "a.csv").sensor is None
    some = np.where(np.arange(60)[:, None] == 7, np.nan, PLACES)
    assert read_scan(table(some, NAMES[0]), "a.csv").sensor is None
    assert "a.csv: places of the sensor left out: 1 point without one" in caplog.text


@pytest.mark.parametrize("noise", [7, 18])
def test_points_that_las_classes_as_noise_are_left_out(noise: int, caplog: pytest.LogCaptureFixture) -> None:
    laspy = pytest.importorskip("laspy")
    header = laspy.LasHeader(version="1.4", point_format=6)
    header.scales = [0.001] * 3
    header.add_extra_dim(laspy.ExtraBytesParams("sensor", "3f8"))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = POINTS.T
    cloud.classification = np.where(np.arange(60) % 5 == 0, noise, 2)
    cloud["sensor"] = PLACES
    out = io.BytesIO()
    cloud.write(out)
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(out.getvalue(), "a.las")
    kept = np.arange(60) % 5 != 0
    np.testing.assert_allclose(scan.points, POINTS[kept], atol=1e-6)
    np.testing.assert_array_equal(scan.sensor, PLACES[kept])
    assert (scan.extras["classification"] == 2).all()
    assert "a.las: 12 points classified as noise (7, 18) left out" in caplog.text
    cloud.classification[:] = noise
    out = io.BytesIO()
    cloud.write(out)
    assert len(read_scan(out.getvalue(), "a.las").points) == 60
