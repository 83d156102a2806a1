"""Which columns are x, y and z, by what they are called: never another way round, and never a time or a number."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from seed_files import npy, pcd
from test_reading_ply import refusal

from lpdif.io.read import read_scan

POINTS = np.random.default_rng(0).uniform(-50, 50, (60, 3)).round(3)
YXZ = POINTS[:, [1, 0, 2]]
ZYX = POINTS[:, ::-1]
CLOCK = np.arange(60.0) + 1.5e9


def rows(*columns: np.ndarray, delimiter: str = ",") -> bytes:
    return "".join(delimiter.join(f"{value:.3f}" for value in row) + "\n" for row in np.column_stack(columns)).encode()


@pytest.mark.parametrize(
    ("head", "table"),
    [
        ("northing,easting,altitude", YXZ),
        ("PosY,PosX,PosZ", YXZ),
        ("YCoord,XCoord,ZCoord", YXZ),
        ("Y-Coordinate,X-Coordinate,Z-Coordinate", YXZ),
        ("center_y,center_x,center_z", YXZ),
        ("pose.position.y,pose.position.x,pose.position.z", YXZ),
        ("N,E,Z", YXZ),
        ("n,e,u", YXZ),
        ("depth,y,x", ZYX),
        ("Hochwert,Rechtswert,Höhe", YXZ),
        ("Northing (m),Easting (m),Elevation (ft)", YXZ),
        ("utm_northing,utm_easting,ellipsoidal_height", YXZ),
        ("Y_m,X_m,Z_m", YXZ),
        ("Y [m],X [m],Z [m]", YXZ),
        ("# columns: y x z", YXZ),
        ("# fields = y x z", YXZ),
        ("# format y x z", YXZ),
        ("%time,field.x,field.y,field.z", np.column_stack([CLOCK, POINTS])),
        ("stamp,id,field.y,field.x,field.z", np.column_stack([CLOCK, CLOCK, YXZ])),
        ("vx,vy,vz,y,x,z", np.column_stack([ZYX, YXZ])),
        ("q.x,q.y,q.z,position.y,position.x,position.z", np.column_stack([ZYX, YXZ])),
        ("left_x,left_y,left_z,pos_y,pos_x,altitude", np.column_stack([ZYX, YXZ])),
        ("height,y,x,z", np.column_stack([CLOCK, YXZ])),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_axes_by_name(head: str, table: np.ndarray, encoding: str) -> None:
    data = head.encode(encoding) + b"\n" + rows(table)
    np.testing.assert_array_equal(read_scan(data, "a.csv").points, POINTS)


def test_axes_by_name_in_other_formats() -> None:
    fields = np.array([tuple(row) for row in YXZ.tolist()], dtype=[("northing", "f8"), ("easting", "f8"), ("height", "f8")])
    np.testing.assert_array_equal(read_scan(npy(fields), "a.npy").points, POINTS)
    data = pcd("ascii").replace(b"FIELDS x y z", b"FIELDS pos_y pos_x pos_z")
    np.testing.assert_array_equal(read_scan(data, "a.pcd").points, read_scan(pcd("ascii"), "a.pcd").points[:, [1, 0, 2]])


def test_what_is_taken_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        read_scan(b"depth,y,x\n" + rows(ZYX), "a.csv")
    assert "a.csv: x, y and z are its columns x y depth" in caplog.text


@pytest.mark.parametrize(
    ("head", "count"),
    [
        ("nx,ny,nz", 3),
        ("x,y,intensity", 3),
        ("x,y,heat", 3),
        ("y,x,heat,more", 4),
        ("time,a,b", 3),
        ("id,class,label,a,b", 5),
        ("a,b,gps_time,c,timestamp,scale_x,scale_y,scale_z,red", 2),
    ],
)
def test_columns_that_are_no_coordinates_are_never_taken_for_some(head: str, count: int) -> None:
    names = head.split(",")
    said = refusal(head.encode() + b"\n" + rows(np.ones((40, len(names)))), "a.csv") if count > 2 else ""
    assert said == (f"no columns x, y and z; its columns are {', '.join(names)}" if said else "")


def test_values_tell_only_what_names_leave_open() -> None:
    scan = read_scan(b"time,a,b,c,intensity\n" + rows(CLOCK, POINTS, CLOCK), "a.csv")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert set(scan.extras) == {"time", "intensity"}


def test_names_that_are_too_few_are_not_guessed_at() -> None:
    assert refusal(b"y,x,z\n" + rows(YXZ, CLOCK), "a.csv") == "3 names for its 4 columns: y x z"
    np.testing.assert_array_equal(read_scan(b"x,y,z\n" + rows(POINTS, CLOCK), "a.csv").points, POINTS)


@pytest.mark.parametrize(
    "head",
    [
        "lat,lon,h",
        "lat,lng,alt",
        "lat_deg,lon_deg,h_m",
        "gps_lat,gps_lon,gps_alt",
        "PosLat,PosLon,PosAlt",
        "LAT_WGS84,LON_WGS84,ELEV",
        "Latitude (deg),Longitude (deg),Altitude (m)",
        "GPSLatitude,GPSLongitude,GPSAltitude",
        "long,lat,height",
    ],
)
def test_degrees_by_their_names(head: str) -> None:
    assert refusal(head.encode() + b"\n" + rows(POINTS), "a.csv") == "coordinates are degrees of latitude and longitude"


@pytest.mark.parametrize("head", ["x,y,z,lat,lng", "plate_x,plate_y,plate_z,lateral,longest", "Northing,Easting,Height,Lat,Lon"])
def test_degrees_beside_coordinates_are_values(head: str) -> None:
    scan = read_scan(head.encode() + b"\n" + rows(YXZ if head[0] == "N" else POINTS, CLOCK, CLOCK), "a.csv")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert len(scan.extras) == 2


@pytest.mark.parametrize("names", ["x,y,elevation_angle,intensity", "x,y,range,height_above_ground"])
def test_an_angle_or_a_distance_is_no_height(names: str) -> None:
    rows = "".join("1,2,3,4\n" for _ in range(50))
    assert refusal(f"{names}\n{rows}".encode(), "a.csv").startswith("no columns x, y and z")


def test_a_depth_is_told(caplog: pytest.LogCaptureFixture) -> None:
    rows = "".join(f"{i},{i % 7},{i % 5}\n" for i in range(50))
    read_scan(f"Easting,Northing,Depth\n{rows}".encode(), "a.csv")
    assert "z is a depth" in caplog.text
