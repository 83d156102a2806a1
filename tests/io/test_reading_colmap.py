"""COLMAP's points3D.txt: rows that end in tracks of any length."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from test_reading_ply import refusal

from lpdif.io.detect import is_prose
from lpdif.io.read import read_scan
from lpdif.io.source import Source

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-50, 50, (60, 3)).round(3)
COLORS = RNG.integers(0, 256, (60, 3))
ERRORS = (np.arange(60) / 64).tolist()
HEAD = """# 3D point list with one line of data per point:
#   POINT3D_ID, X, Y, Z, R, G, B, ERROR, TRACK[] as (IMAGE_ID, POINT2D_IDX)
# Number of points: 60, mean track length: 3.1
"""


def rows(tracks: list[int]) -> str:
    """Rows of the points, with tracks of so many pictures, again and again."""
    out = ""
    for index, (point, color, error) in enumerate(zip(POINTS.tolist(), COLORS.tolist(), ERRORS, strict=True)):
        track = [value for picture in range(tracks[index % len(tracks)]) for value in (picture, index)]
        out += " ".join(map(str, [7 * index + 3, *point, *color, error, *track])) + "\n"
    return out


@pytest.mark.parametrize("tracks", [[2, 3, 9, 4], [0], [3], [0, 2000], [1]])
def test_points_with_tracks_of_any_length(tracks: list[int]) -> None:
    for head in (HEAD, HEAD.rsplit("#", 1)[0], HEAD.replace("\n", "\r\n")):
        scan = read_scan((head + rows(tracks)).encode(), "points3D.txt")
        np.testing.assert_array_equal(scan.points, POINTS)
        np.testing.assert_array_equal(scan.colors, COLORS)
        np.testing.assert_array_equal(scan.extras["error"], ERRORS)
        assert set(scan.extras) == {"error"}


def test_without_its_header_the_values_tell() -> None:
    scan = read_scan(rows([3]).encode(), "points3D.txt")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.colors, COLORS)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (HEAD + rows([3])[:-3], "line 63: 13 numbers, where 8 make a point and pairs of numbers its track"),
        (HEAD + rows([3]) + "1 2 3\n", "line 64: 3 numbers, where "),
        (HEAD + rows([3]).replace(" 0 0 ", " x 0 ", 1), "line 4: 'x' is not a number"),
        (HEAD + rows([3, 5])[: len(rows([3, 5])) // 2].rsplit("\n", 1)[0], "ends after 30 of 60 points (header says 60)"),
        (HEAD, "not columns of numbers (it begins with '# 3D point list with one line of')"),
    ],
)
def test_points_that_are_wrong(data: str, said: str) -> None:
    assert refusal(data.encode(), "points3D.txt").startswith(said)


@pytest.mark.parametrize(
    "header", [b"#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME", b"#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
)
def test_images_and_cameras_are_no_points(header: bytes) -> None:
    assert is_prose(Source("images.txt", b"# list\n" + header + b"\n" + b"1 0.8 0.1 0.2 0.3 1 2 3 1 a.jpg\n" * 5000))


def binary(tracks: list[int]) -> bytes:
    """points3D.bin of points with tracks of so many pictures."""
    rng = np.random.default_rng(3)
    rows = [
        struct.pack("<Q3d3BdQ", row, *place, *color, 0.5, track) + bytes(8 * track)
        for row, (place, color, track) in enumerate(
            zip(rng.normal(size=(len(tracks), 3)), rng.integers(1, 256, (len(tracks), 3)), tracks, strict=True)
        )
    ]
    return struct.pack("<Q", len(tracks)) + b"".join(rows)


def test_points_in_binary() -> None:
    tracks = [2, 0, 7, 1, 30]
    scan = read_scan(binary(tracks), "points3D.bin")
    rng = np.random.default_rng(3)
    np.testing.assert_array_equal(scan.points, rng.normal(size=(5, 3)))
    np.testing.assert_array_equal(scan.colors, rng.integers(1, 256, (5, 3)))
    np.testing.assert_array_equal(scan.extras["error"], [0.5] * 5)


def test_binary_that_lies() -> None:
    data = binary([2, 0, 7, 1, 30])
    for end in range(8, len(data)):
        assert refusal(data[:end], "points3D.bin").startswith(("ends after ", "its tracks do not end where the file does"))
    assert refusal(data + b"x", "points3D.bin").startswith("its tracks do not end")
    assert "header says" in refusal(struct.pack("<Q", 2**63) + data[8:], "points3D.bin")
    assert refusal(bytes(8) + b"x", "points3D.bin") == "holds no points (header says 0), at least 32 are needed"
    assert "not recognised as a scan" in refusal(data, "other.bin")
