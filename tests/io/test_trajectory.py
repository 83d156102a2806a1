"""A trajectory gives each point the place from which it was seen; what does not match is told, and what cannot be used is one error."""

from __future__ import annotations

import io
import logging
from pathlib import Path

import numpy as np
import pytest
from seed_files import ply

from lpdif import Scan, load_scan, load_trajectory, read_scan, seen_along
from lpdif.errors import InputError
from lpdif.io.trajectory import Trajectory
from lpdif.points.prepare import prepare

RNG = np.random.default_rng(0)
TIMES = np.linspace(100, 110, 21)
PLACES = np.column_stack([TIMES - 100, np.sin(TIMES), np.full(21, 1.5)])


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def rows(columns: np.ndarray, delimiter: str = " ") -> str:
    return "".join(delimiter.join(f"{value:.6f}" for value in row) + "\n" for row in columns)


TABLE = np.column_stack([TIMES, PLACES])


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("plain.txt", rows(TABLE)),
        ("commas.csv", rows(TABLE, ",")),
        ("named.csv", "time,x,y,z\n" + rows(TABLE, ",")),
        ("other order.csv", "X,Y,Z,GPSTime\n" + rows(TABLE[:, [1, 2, 3, 0]], ",")),
        ("tum.txt", "# timestamp tx ty tz qx qy qz qw\n" + rows(np.column_stack([TABLE, RNG.uniform(size=(21, 4))]))),
        ("bare tum.txt", rows(np.column_stack([TABLE, RNG.uniform(size=(21, 4))]))),
        ("mixed.txt", rows(TABLE[::-1]) + rows(TABLE[:3])),
    ],
)
def test_tables_of_positions_over_time(name: str, text: str, tmp_path: Path) -> None:
    found = load_trajectory(written(tmp_path / name, text))
    np.testing.assert_allclose(found.times, TIMES, atol=1e-6)
    np.testing.assert_allclose(found.positions, PLACES, atol=1e-6)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("x,y,z,speed\n" + rows(TABLE, ","), "no column of times; its columns are x y z speed"),
        ("time,east\n" + rows(TABLE[:, :2], ","), "no columns x, y and z"),
        (rows(TABLE[:, :3]), "rows of 3 numbers, where a position has time, x, y and z"),
        (rows(TABLE[:1]), "positions at 1 time, where at least 2 are needed"),
        (rows(TABLE) + "1 2 3 x\n", "line 22: 'x' is not a number"),
        ("no numbers here", "no table of numbers"),
        ("", "no table of numbers"),
    ],
)
def test_what_is_no_trajectory_is_refused(text: str, what: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=what):
        load_trajectory(written(tmp_path / "t.txt", text))


def test_a_missing_trajectory_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.txt: no such file"):
        load_trajectory(tmp_path / "nowhere.txt")


def test_rows_without_a_position_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    found = load_trajectory(written(tmp_path / "t.txt", rows(TABLE) + "200 nan 0 0\n"))
    assert len(found.times) == 21
    assert "1 row without a time or position left out" in caplog.text


def test_each_point_is_seen_from_where_the_scanner_was() -> None:
    times = RNG.uniform(100, 110, 500)
    scan = seen_along(Scan(RNG.normal(size=(500, 3)), extras={"GPS Time": times}), Trajectory(TIMES, PLACES))
    assert scan.sensor is not None
    np.testing.assert_allclose(scan.sensor[:, 0], times - 100)
    for time, place in zip(times[:50], scan.sensor[:50], strict=True):  # between the two positions beside it
        after = int(np.flatnonzero(time < TIMES)[0])
        share = (time - TIMES[after - 1]) / (TIMES[after] - TIMES[after - 1])
        np.testing.assert_allclose(place, (1 - share) * PLACES[after - 1] + share * PLACES[after])
    assert scan.extras == {}  # the times have served, and no mesh carries them


def test_times_as_cloudcompare_calls_them() -> None:
    scan = Scan(RNG.normal(size=(500, 3)), extras={"scalar_GpsTime": np.full(500, 105.0), "scalar_Intensity": np.ones(500)})
    assert set(seen_along(scan, Trajectory(TIMES, PLACES)).extras) == {"scalar_Intensity"}


def test_names_that_do_not_fit_the_columns_are_no_names(tmp_path: Path) -> None:
    """Read by position, the column before the time would be the time."""
    table = np.column_stack([np.arange(21), TABLE[:, :4]])
    with pytest.raises(InputError, match="4 names for its 5 columns: time x y z"):
        load_trajectory(written(tmp_path / "t.txt", "time x y z\n" + rows(table)))
    assert len(load_trajectory(written(tmp_path / "t.txt", "Walk of May\n" + rows(TABLE))).times) == 21


def test_points_outside_of_the_trajectory_are_told(caplog: pytest.LogCaptureFixture) -> None:
    scan = Scan(RNG.normal(size=(4, 3)), extras={"time": np.array([99.0, 105.0, 111.0, 110.0])}, name="a.csv")
    found = seen_along(scan, Trajectory(TIMES, PLACES, "t.txt")).sensor
    assert found is not None
    np.testing.assert_array_equal(found[[0, 2]], PLACES[[0, -1]])
    assert "a.csv: 2 points outside of the trajectory, seen from its nearest end: times 99 to 111, t.txt has 100 to 110" in caplog.text


@pytest.mark.parametrize(
    ("extras", "what"),
    [
        ({}, "its points have no times"),
        ({"intensity": np.ones(3)}, r"its points have no times \(values: intensity\)"),
        ({"time": np.array([1.0, np.nan, 3.0])}, "1 point without a time"),
        ({"time": np.array([1e9, 1e9 + 1, 1e9 + 2])}, "no point has a time of the trajectory: 1000000000 to 1000000002"),
    ],
)
def test_a_scan_that_does_not_match_is_refused(extras: dict[str, np.ndarray], what: str) -> None:
    with pytest.raises(InputError, match=what):
        seen_along(Scan(np.zeros((3, 3)), extras=extras), Trajectory(TIMES, PLACES))


def test_times_of_a_ply_file() -> None:
    points = RNG.normal(size=(40, 3))
    times = RNG.uniform(100, 110, 40)
    data = ply([*((name, "f8", column) for name, column in zip("xyz", points.T, strict=True)), ("time", "f8", times)])
    found = seen_along(read_scan(data, "a.ply"), Trajectory(TIMES, PLACES)).sensor
    assert found is not None
    np.testing.assert_allclose(found[:, 0], times - 100)


def test_times_of_a_las_file_are_read_where_they_are_wanted(tmp_path: Path) -> None:
    laspy = pytest.importorskip("laspy")
    cloud = laspy.LasData(laspy.LasHeader(point_format=1, version="1.2"))
    points, times = RNG.uniform(0, 9, (50, 3)).round(2), RNG.uniform(100, 110, 50)
    cloud.x, cloud.y, cloud.z = points.T
    cloud.gps_time = times
    cloud.write(str(tmp_path / "a.las"))
    assert not load_scan(tmp_path / "a.las").extras
    scan = load_scan(tmp_path / "a.las", times=True)
    np.testing.assert_array_equal(scan.extras["gps_time"], times)
    data = io.BytesIO((tmp_path / "a.las").read_bytes()).getvalue()
    np.testing.assert_array_equal(read_scan(data, "a.las", times=True).extras["gps_time"], times)


def test_a_corridor_along_which_a_scanner_went_faces_inward(caplog: pytest.LogCaptureFixture) -> None:
    """Its walls, 40 m long: from the one place in its middle the ends would be seen at a grazing angle."""
    count = 12_000
    along, around = RNG.uniform(0, 40, count), RNG.uniform(0, 1, count)
    side = (4 * around).astype(int)
    across = 2 * (4 * around - side) - 1
    y = np.choose(side, [across, np.ones(count), across, -np.ones(count)])
    z = np.choose(side, [np.ones(count), across, -np.ones(count), across])
    points = np.column_stack([along, y, z])
    path = Trajectory(np.array([0.0, 40.0]), np.array([[0.0, 0, 0], [40.0, 0, 0]]))
    with caplog.at_level(logging.INFO, "lpdif"):
        ready = prepare(seen_along(Scan(points, extras={"time": along}), path))
    inward = -np.einsum("ni,ni->n", ready.normals[:, 1:], (ready.points + ready.origin)[:, 1:])
    assert (inward > 0).mean() > 0.99
    assert "12,000 points seen along trajectory" in caplog.text
