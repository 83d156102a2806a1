"""How numbers are written in columns of text: decimal commas, what parts fields and thousands. Read right, or refused."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import pytest
from test_reading_ply import refusal

from lpdif.io.read import read_scan

POINTS = np.random.default_rng(0).uniform(-500, 500, (60, 3)).round(3)
HEAT = np.arange(60.0) / 4


def rows(delimiter: str, write: Callable[[float], str], table: np.ndarray = POINTS) -> bytes:
    """Text of the rows of a table."""
    return "".join(delimiter.join(map(write, row)) + "\n" for row in table.tolist()).encode()


def german(value: float) -> str:
    return f"{value:.3f}".replace(".", ",")


def trimmed(value: float) -> str:
    """As programs write that leave out zeros at the end: whole numbers have no comma."""
    return f"{value:g}".replace(".", ",")


def english_thousands(value: float) -> str:
    return f"{value:,.3f}"


def german_thousands(value: float) -> str:
    return f"{value:,.3f}".translate(str.maketrans(",.", ".,"))


@pytest.mark.parametrize("delimiter", [" ", "  ", "\t", ";", "; ", " ; ", ", ", " , ", ",\t", '" "', '","', '";"'])
@pytest.mark.parametrize("write", [german, trimmed, "{:.3f}".format, "{:g}".format])
def test_decimal_points_and_commas(delimiter: str, write: Callable[[float], str]) -> None:
    data = rows(delimiter, write)
    if '"' in delimiter:
        data = b"".join(b'"' + line + b'"\n' for line in data.splitlines())
    if delimiter == " " and write is german:
        assert data.splitlines()[0].count(b",") == 3
    scan = read_scan(data, "a.xyz")
    np.testing.assert_allclose(scan.points, POINTS, atol=0.0051 if write in (trimmed, "{:g}".format) else 1e-9)
    assert scan.extras == {}
    assert scan.normals is None


def test_the_rows_that_came_out_as_six_columns() -> None:
    scan = read_scan(b"107,271 117,286 106,952\n107,275 117,290 106,961\n", "a.xyz")
    np.testing.assert_array_equal(scan.points, [[107.271, 117.286, 106.952], [107.275, 117.290, 106.961]])


def test_decimal_commas_come_in_small_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for size in (1, 7, 64):
        monkeypatch.setattr("lpdif.io.table.numbers.BLOCK_BYTES", size)
        np.testing.assert_array_equal(read_scan(rows(" ", german), "a.xyz").points, POINTS)


@pytest.mark.parametrize("delimiter", [" ", "\t", ";", ", "])
@pytest.mark.parametrize("head", ["", "X{0}Y{0}Z{0}heat\n", "# X{0}Y{0}Z{0}heat\n# 1,5\n\n"])
def test_decimal_commas_after_names_comments_and_with_values(delimiter: str, head: str) -> None:
    data = head.format(delimiter).encode() + rows(delimiter, german, np.column_stack([POINTS, HEAT]))
    scan = read_scan(data, "a.csv")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.extras["heat" if head else "intensity"], HEAT)


def test_decimal_commas_with_a_count_a_gap_an_exponent_and_a_nan() -> None:
    np.testing.assert_array_equal(read_scan(b"2\n1,5 2,5 3\n-4,5 +5,5e1 nan\n", "a.pts").points, [[1.5, 2.5, 3], [-4.5, 55, np.nan]])
    np.testing.assert_array_equal(read_scan(b"1,5, 2,5, 3,5\n1,5, , 3,5\n", "a.csv").points, [[1.5, 2.5, 3.5], [1.5, np.nan, 3.5]])
    np.testing.assert_array_equal(read_scan(b"x;y;z\n1,5;2,5;3,5\n1,5;;3,5\n", "a.csv").points, [[1.5, 2.5, 3.5], [1.5, np.nan, 3.5]])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("1,2,3", [1, 2, 3]),
        ("1.5,2.5,3.5", [1.5, 2.5, 3.5]),
        ("1, 2,3", [1, 2, 3]),
        ("  1.000, -22.000,1000.000", [1, -22, 1000]),  # columns of one width, which the last number fills
        ("1.5,2.5,3.5 255 0 0", [1.5, 2.5, 3.5]),
        ("1.5,2.5 3.5", [1.5, 2.5, 3.5]),
        ("1,2,3 4,5,6", [1, 2, 3]),
        ("7,123.4,5.6,7.8", [7, 123.4, 5.6]),
        ("123,456,789", [123, 456, 789]),
    ],
)
def test_commas_that_part_fields(line: str, expected: list[float]) -> None:
    np.testing.assert_array_equal(read_scan(f"{line}\n{line}\n".encode(), "a.xyz").points, [expected] * 2)


@pytest.mark.parametrize("delimiter", [" ", "\t", ", ", '","', ","])
@pytest.mark.parametrize("factor", [20.0, 9000.0])
def test_thousands_that_are_parted_by_commas_are_refused(delimiter: str, factor: float) -> None:
    table = np.abs(POINTS) * factor + 1000
    data = rows(delimiter, english_thousands, table)
    if '"' in delimiter:
        data = b"".join(b'"' + line + b'"\n' for line in data.splitlines())
    assert refusal(data, "a.csv").startswith("thousands are parted within its numbers, as in ")


@pytest.mark.parametrize("delimiter", [" ", "\t", ", ", ";"])
def test_thousands_that_are_parted_by_points_are_refused(delimiter: str) -> None:
    said = refusal(rows(delimiter, german_thousands, np.abs(POINTS) * 20 + 1000), "a.csv")
    assert said.startswith("thousands are parted" if delimiter != ";" else "not columns of numbers (it begins with '")


def test_thousands_in_whole_numbers_and_later_rows() -> None:
    assert "thousands are parted" in refusal(b"1,234,567 2,345,678 345\n", "a.xyz")
    assert refusal(b"12,5 3,5 6,5\n1.234 5,5 6,5\n" * 9000, "a.xyz").startswith("line 2: ")
    data = b"12,5 3,5 6,5\n" * 9000
    assert refusal(data + b"1.234 5,5 6,5\n", "a.xyz") == "line 9001: a decimal point, where line 1 has the other"
    assert refusal(b"1.5;2;3\n4;5,5;6\n", "a.csv") == "line 2: a decimal comma, where line 1 has the other"
    assert refusal(data + b"1.234,5 5,5 6,5\n", "a.xyz").startswith("line 9001: ")
    assert refusal(data + b"1,2,3 5,5 6,5\n", "a.xyz") == "line 9001: '1.2.3' is not a number"
    assert refusal(b"1;2;3\n1, 5;2;3\n", "a.csv").startswith("line 2: ")


@pytest.mark.parametrize("data", [b"1, 2, 3,4\n5, 6, 7,8\n", b"   1,   2,1234,   5,   6,7890\n", b"1,5, 2,5, 0\n3,5, 4,5, 0\n"])
def test_commas_that_may_be_either_are_refused(data: bytes) -> None:
    assert refusal(data, "a.xyz").startswith("its commas may be decimal points or part columns, as in '")
    assert len(read_scan(data.replace(b", ", b";"), "a.xyz").points) == len(data.splitlines())


def test_rows_of_two_numbers_with_decimal_commas_are_no_points() -> None:
    assert refusal(b"1,5 2,5\n3,5 4,5\n", "a.xyz") == "rows of 2 numbers, where a point needs x, y and z"


def test_a_comment_may_hold_points(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        assert len(read_scan(b"# version 1.5\n1,5 2,5 3,5 # 7.5\n", "a.xyz").points) == 1
    assert "a.xyz: commas in its numbers taken as decimal points" in caplog.text


def test_odd_numbers_among_words_and_gaps() -> None:
    data = b"kind,x,y,z\ntree,1,2,3\n,1,,1.#QNAN\n"
    np.testing.assert_array_equal(read_scan(data, "a.csv").points, [[1, 2, 3], [1, np.nan, np.nan]])
    assert refusal(data.replace(b"1.#QNAN", b"1_0"), "a.csv") == "line 3: '1_0' is not a number"


@pytest.mark.parametrize("letter", ["D", "d"])
@pytest.mark.parametrize("delimiter", [" ", ",", ";", "|"])
@pytest.mark.parametrize("head", ["", "x{0}y{0}z\n", "kind{0}x{0}y{0}z\n"])
def test_exponents_as_fortran_writes_them(letter: str, delimiter: str, head: str) -> None:
    data = rows(delimiter, lambda value: f"{value:.8e}".replace("e", letter))
    if head.startswith("kind"):
        data = b"".join(b"tree" + delimiter.encode() + line + b"\n" for line in data.splitlines())
    np.testing.assert_array_equal(read_scan(head.format(delimiter).encode() + data, "a.xyz").points, POINTS)


def test_exponents_of_fortran_with_decimal_commas_and_what_only_looks_like_one() -> None:
    np.testing.assert_array_equal(read_scan(b"1,5D0 2,5D+01 -3,5d-1\n" * 2, "a.xyz").points, [[1.5, 25, -0.35]] * 2)
    assert refusal(b"1 2 3\n1D 2 3\n", "a.xyz") == "line 2: '1D' is not a number"
    assert refusal(b"1 2 3\n1D2D3 2 3\n", "a.xyz").startswith("line 2: ")
    assert np.isnan(read_scan(b"1.5D0 2 3\n1 nan(ind) 3\n", "a.xyz").points[1, 1])


@pytest.mark.parametrize("delimiter", ["|", " | "])
@pytest.mark.parametrize("write", [german, "{:.3f}".format])
@pytest.mark.parametrize("head", ["", "x|y|z\n", "# x | y | z\n"])
def test_bars_part_fields(delimiter: str, write: Callable[[float], str], head: str) -> None:
    data = head.encode() + rows(delimiter, write)
    np.testing.assert_array_equal(read_scan(data, "a.csv").points, POINTS)
    gap = read_scan(data + delimiter.join(["1", "", "3"]).encode() + b"\n", "a.csv").points
    np.testing.assert_array_equal(gap, np.concatenate([POINTS, [[1, np.nan, 3]]]))


def test_blanks_and_signs_of_typography() -> None:
    for blank in ("\u00a0", "\u00a0 ", "\t\u00a0"):
        np.testing.assert_array_equal(read_scan(rows(blank, "{:.3f}".format), "a.txt").points, POINTS)
    data = rows(" ", "{:.3f}".format).replace(b"-", "\u2212".encode())
    assert "\u2212".encode() in data
    np.testing.assert_array_equal(read_scan(data, "a.txt").points, POINTS)
    np.testing.assert_array_equal(read_scan(data.decode().encode("utf-16"), "a.txt").points, POINTS)
    parted = rows(";", lambda value: f"{abs(value) * 90 + 1000:,.3f}".replace(",", "\u00a0"))
    assert "no columns" in refusal(parted, "a.txt") or "not columns" in refusal(parted, "a.txt")


@pytest.mark.parametrize("end", [b"\x1a", b"\x1a\r\n", b"\n\x1a\x1a", b"\0" * 5, b"\x1a\0\0", b"\0" * 100_000])
def test_what_stands_behind_the_end(end: bytes, caplog: pytest.LogCaptureFixture) -> None:
    np.testing.assert_array_equal(read_scan(rows(" ", "{:.3f}".format) + end, "a.xyz").points, POINTS)
    assert (f"a.xyz: {end.count(0):,} zero bytes behind its last line left out" in caplog.text) == (b"\0" in end)


def test_zeros_and_marks_elsewhere_are_no_end() -> None:
    data = rows(" ", "{:.3f}".format)
    assert refusal(data[:100] + b"\x1a" + data[100:], "a.xyz").startswith("line ")
    assert refusal(data[:100] + b"\0" + data[100:], "a.xyz").startswith("not columns of numbers")
