"""PTX: scans one after the other, each a raster with a matrix; and what a head may say that its points do not bear out."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reading_ply import refusal

from lpdif.errors import InputError
from lpdif.io.read import read_scan

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-50, 50, (60, 3)).round(3)
INTENSITY = (np.arange(60) / 64)[:, None]
COLORS = RNG.integers(0, 256, (60, 3))
TURN = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [100, 200, 300, 1]])  # a quarter, x to y, and away


def ptx(*values: np.ndarray, size: tuple[int, int] = (12, 5), position: Sequence[float] = (0, 0, 0), matrix: np.ndarray | None = None) -> bytes:
    """One scan of columns of values, each (N, k)."""
    head: list[Sequence[float]] = [[size[0]], [size[1]], position, [1, 0, 0], [0, 1, 0], [0, 0, 1]]
    rows = [*head, *(np.eye(4) if matrix is None else matrix).tolist(), *np.column_stack(values).tolist()]
    return "".join(" ".join(f"{value:.9g}" for value in row) + "\n" for row in rows).encode()


ONE = ptx(POINTS, INTENSITY, COLORS)


@pytest.mark.parametrize("name", ["a.ptx", "a.txt", "a.xyz", "a"])
def test_one_scan(name: str) -> None:
    for data in (ONE, ONE.replace(b"\n", b"\r\n"), ONE.replace(b" ", b"\t"), ONE.rstrip(), ONE + b"\x1a"):
        scan = read_scan(data, name)
        np.testing.assert_array_equal(scan.points, POINTS)
        np.testing.assert_array_equal(scan.colors, COLORS)
        np.testing.assert_array_equal(scan.extras["intensity"], INTENSITY[:, 0])
        np.testing.assert_array_equal(scan.sensor, np.zeros((60, 3)))


def test_scans_are_moved_as_row_vectors_and_each_point_knows_its_scanner(caplog: pytest.LogCaptureFixture) -> None:
    hidden = POINTS[:20].copy()
    hidden[[3, 7]] = 0
    first = ptx(POINTS, INTENSITY, position=(5, 6, 7))
    second = ptx(hidden, INTENSITY[:20], size=(4, 5), matrix=TURN)
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(first + ptx(np.zeros((0, 4)), size=(0, 0)) + second, "a.ptx")
    kept = np.delete(POINTS[:20], [3, 7], axis=0)
    moved = np.array([[100 - y, 200 + x, 300 + z] for x, y, z in kept])
    np.testing.assert_allclose(scan.points, np.concatenate([POINTS, moved]), rtol=1e-14)
    np.testing.assert_array_equal(scan.sensor, [[5, 6, 7]] * 60 + [[100, 200, 300]] * 18)  # its own is not filled in
    np.testing.assert_array_equal(scan.extras["intensity"], np.concatenate([INTENSITY[:, 0], np.delete(INTENSITY[:20, 0], [3, 7])]))
    assert scan.colors is None
    assert "a.ptx: 2 of 80 points without a return left out" in caplog.text
    assert "a.ptx: 3 scans (points: 60, 0, 18)" in caplog.text


def test_scans_that_were_merged_have_no_scanner() -> None:
    assert read_scan(ONE + ONE, "a.ptx").sensor is None
    assert read_scan(ONE + ptx(POINTS, INTENSITY, position=(1, 0, 0)), "a.ptx").sensor is not None


def changed(line: int, words: str) -> bytes:
    """The scan with other words on a line (from 1), left out where these are none."""
    lines = ONE.decode().splitlines()
    lines[line - 1 : line] = [words] if words else []
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (changed(1, "4294967295"), "header says 21,474,836,475 points, but the file has room for "),
        (changed(1, "13"), "line 1: ends after 60 of 65 points of this scan"),
        (changed(1, "11"), "line 66: 7 numbers instead of 1 in the head of a scan"),
        (ONE[: ONE.rindex(b"\n", 0, -1) + 1], "line 1: ends after 59 of 60 points of this scan"),
        (ONE[: ONE.rindex(b" ")], "line 70: 6 numbers instead of 7"),
        (ONE + ONE[:30], "line 77: 1 number instead of 4 in the head of a scan"),
        (ONE + b"1\n1\n0 0 0\n", "line 73: ends within the head of a scan"),
        (changed(5, ""), "line 6: 4 numbers instead of 3 in the head of a scan"),
        (changed(5, "0 abc 1"), "line 5: 'abc' is not a number"),
        (changed(30, "1 2 x 4 5 6 7"), "line 30: 'x' is not a number"),
        (changed(11, "1 2 3 4 5"), "line 11: 5 numbers instead of 4 or 7"),
        (changed(40, "1 2 3 4"), "line 40: 4 numbers instead of 7"),
        (changed(3, "0 nan 0"), "line 3: the scanner's position is no finite number"),
        (changed(8, "0 nan 0 0"), "line 7: the matrix of the scan holds NaN or infinity"),
        (changed(8, "2 0 0 0"), "line 7: the matrix of the scan is singular"),
        (changed(8, "0 1 0 5"), "line 7: the matrix of the scan does not end its rows with 0, 0, 0 and 1"),
        (ptx(np.zeros((60, 4))), "holds no points (no return in 60 directions), at least 32 are needed"),
        (ONE + changed(1, "1e300"), "line 71: 1e+300 columns and 5 rows are no size of a scan"),
        (ONE + changed(1, "-12"), "line 71: -12 columns and 5 rows are no size of a scan"),
        (ONE + changed(1, "nan"), "line 71: nan columns and 5 rows are no size of a scan"),
        (b"1 2 3\n4 5 6\n", "not a PTX file: it holds bare columns of numbers and no PTX header"),
        (b"12\n5\n", "not a PTX file (it begins with '12')"),
    ],
)
def test_ptx_that_is_wrong(data: bytes, said: str) -> None:
    assert refusal(data, "a.ptx").startswith(said)


def test_a_file_that_is_cut_says_so() -> None:
    for data in (ONE[: len(ONE) // 2], ONE[: ONE.rindex(b" ")]):
        with pytest.raises(InputError) as caught:
            read_scan(data, "a.ptx")
        assert caught.value.hint == "the file is cut off or damaged: copy or download it again"


@given(st.integers(0, len(ONE) - 1), st.sampled_from([b"", b"9", b"-", b"\n", b" ", b"nan", b"e9", b"\x00", b"1\n1\n"]))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_gives_points_or_one_error(place: int, byte: bytes) -> None:
    data = ONE[:place] + byte + ONE[place + 1 :]
    try:
        read_scan(data, "a.ptx")
    except InputError:
        refusal(data, "a.ptx")


def test_points_in_one_line_have_no_scanner() -> None:
    """As of scans that were merged: a closed thing around the origin would be turned inside out."""
    rows = np.column_stack([RNG.normal(size=(500, 3)), np.full(500, 0.5)])
    assert read_scan(ptx(rows, size=(1, 500)), "a.ptx").sensor is None
    assert read_scan(ptx(rows, size=(20, 25)), "a.ptx").sensor is not None


def test_colours_are_those_of_scans_with_points() -> None:
    colored, bare = np.column_stack([POINTS, INTENSITY, COLORS]), np.zeros((60, 4))
    assert read_scan(ptx(colored) + ptx(bare), "a.ptx").colors is not None
