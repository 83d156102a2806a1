"""What stands before the rows of a table, and words, comments and gaps among them: read where it is clear, or refused."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from test_reading_ply import refusal

from lpdif.errors import InputError
from lpdif.io.read import read_scan

POINTS = np.random.default_rng(0).uniform(-50, 50, (60, 3)).round(3)


def rows(delimiter: str = ",", form: str = "{}", numbers: np.ndarray = POINTS) -> str:
    """Text of the points; `form` of what stands on a line."""
    return "".join(form.format(delimiter.join(f"{value:.3f}" for value in row)) + "\n" for row in numbers)


@pytest.mark.parametrize(
    "text",
    [
        "0,1,2\n" + rows(),
        ",0,1,2\n" + "".join(f"{index},{line}\n" for index, line in enumerate(rows().splitlines())),
        "0 1 2\n" + rows(" "),
        "sep=;\nx;y;z\n" + rows(";"),
        "sep=,\n" + rows(),
        "Scan of the garden\nx,y,z\n" + rows(),
        "Scan 12 of 2024\nmade at home\n\nx,y,z\n" + rows(),
        "x,y,z\nm,m,m\n" + rows(),
        "x y z\n--- --- ---\n" + rows(" "),
        "x y z\nm m m\nfirst part\n" + rows(" "),
        "Garden\nby the sea\n" + rows(" "),
        "; made by a program\n; 2024-05-01 10:00:00\n" + rows(" "),
        "*HEADING\n*NODE\n" + rows(" "),
        "Points 60 of 60\nScan 1\n" + rows(" "),
        rows(", ", "({})"),
        rows(", ", "[{}],"),
        "[" + rows(" ", "[{}]") + "]",
        rows(", ", "{{{}}}"),
        "Garden\n" + rows(),
        rows(" ", "P0 {}"),
        rows(",", "tree,{}"),
        "60\nwater at 300 K\n" + rows(" ", "O {}"),
        "60\n\n" + rows(" ", "F  {}"),
        "60\n" + rows(" "),
        rows(" ", "{} # c"),
        rows(",", "{} // c, d"),
        "x y z\n" + rows(" ", "{} ! c"),
    ],
)
def test_heads_and_labels(text: str) -> None:
    scan = read_scan(text.encode(), "a.txt")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.extras == {}


def test_a_row_of_whole_numbers_is_a_point_where_others_are() -> None:
    np.testing.assert_array_equal(read_scan(b"0,1,2\n1,2,3\n1.5,2,3\n", "a.csv").points[0], [0, 1, 2])
    np.testing.assert_array_equal(read_scan(b"0 1 2\n", "a.xyz").points, [[0, 1, 2]])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("1 2 O\n4 5 6\n", 1),
        ("x y z\n1.5 abc 7\n1 2 3\n", 2),
        ("P0 1 2 3\n4 5 6\n7 8 9\n", 1),
        ("Garden\nP0 1 2 3\nP1 1 2 3\n", 2),
    ],
)
def test_lines_that_are_neither_are_named(text: str, line: int) -> None:
    said = refusal(text.encode(), "a.pts")
    assert said.startswith((f"line {line}: ", "not columns of numbers"))


@pytest.mark.parametrize(
    "line",
    ["{},high veg", '{},"high veg"', '{},"tall, green; # 1"', "{},None", '{},""', "{},", "{},12"],
)
def test_words_are_kept_whole(line: str) -> None:
    text = "x,y,z,class\n" + rows(",", "{},ground") + rows(",", line)
    for data in (text, text.replace("ground", "NA"), "\n".join([text.split("\n")[0], *text.split("\n")[:0:-1]]).replace("\n\n", "\n")):
        scan = read_scan(data.encode(), "a.csv")
        assert len(scan.points) == 120
        np.testing.assert_array_equal(np.sort(scan.points, axis=0), np.sort(np.concatenate([POINTS, POINTS]), axis=0))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_date_before_the_coordinates(delimiter: str) -> None:
    text = delimiter.join(["date", "x", "y", "z"]) + "\n" + rows(delimiter, "2024-01-02 03:04:05" + delimiter + "{}")
    np.testing.assert_array_equal(read_scan(text.encode(), "a.csv").points, POINTS)


@pytest.mark.parametrize("word", ["NA", "n/a", "<NA>", "null", "None", "-", "--", "?", "NaN", "missing"])
@pytest.mark.parametrize("delimiter", [",", " ", ";", "\t"])
def test_words_for_a_number_that_is_missing(word: str, delimiter: str) -> None:
    expected = np.concatenate([POINTS, [[1, np.nan, 3]]])
    data = rows(delimiter) + delimiter.join(["1", word, "3"]) + "\n"
    np.testing.assert_array_equal(read_scan(data.encode(), "a.csv").points, expected)
    data = delimiter.join(["1", word, "3"]) + "\n" + rows(delimiter)
    np.testing.assert_array_equal(read_scan(data.encode(), "a.csv").points, expected[[60, *range(60)]])


@pytest.mark.parametrize("line", ["{}", "tree,{}", "{},,7"])
def test_a_last_row_that_is_cut(line: str) -> None:
    head = "" if line == "{}" else "kind,x,y,z\n" if line.startswith("tree") else "x,y,z,a,b\n"
    whole = head + rows(",", line)
    with pytest.raises(InputError) as caught:
        read_scan(whole[: whole.rindex(",", 0, whole.rindex(",") if line == "{}" else -6)].encode(), "a.csv")
    assert caught.value.message.startswith(f"a.csv: line {60 + bool(head)}: ")
    assert caught.value.hint == "the file is cut off or damaged: copy or download it again"


def test_columns_of_words_are_no_coordinates() -> None:
    said = "2 columns of numbers, where a point needs x, y and z"
    assert refusal(b",0,1,2\n-,1.5,2.5,a b\n-,1.5,2.5,c\n", "a.csv") == said


def test_segments_as_gmt_parts_them() -> None:
    data = "> one -W2p\n" + rows(" ", numbers=POINTS[:30]) + ">\n  > 2 3 4\n" + rows(" ", numbers=POINTS[30:])
    np.testing.assert_array_equal(read_scan(data.encode(), "a.xyz").points, POINTS)
    assert refusal(data.replace("\n> ", "\n").replace("2 3 4", "").encode() + b"1 2 > 3\n", "a.xyz") == "line 64: 4 numbers instead of 3"


def several(*counts: int) -> str:
    """PTS of scans with so many of the points, one after the other."""
    ends = np.cumsum(counts)
    return "".join(f"{count}\n" + rows(" ", numbers=POINTS[end - count : end]) for count, end in zip(counts, ends.tolist(), strict=True))


@pytest.mark.parametrize("counts", [(60,), (20, 40), (1, 0, 58, 1), (60, 0), (10,) * 6])
def test_scans_one_after_the_other(counts: tuple[int, ...], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        for data in (several(*counts), several(*counts).replace("\n", "\r\n"), several(*counts).rstrip(), several(*counts) + "\n\n"):
            np.testing.assert_array_equal(read_scan(data.encode(), "a.pts").points, POINTS)
    commented = several(*counts).replace(f"\n{counts[-1]}\n", f"\n# another\n\n// scan 2: 7\n{counts[-1]} # points\n")
    np.testing.assert_array_equal(read_scan(commented.encode(), "a.pts").points, POINTS)
    said = f"a.pts: {len(counts)} scans (points: {', '.join(map(str, counts))})"
    assert (said in caplog.text) == (len(counts) > 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (several(20, 40).replace("\n40\n", "\n41\n"), "line 22: says 41 points, but 40 lines follow"),
        (several(20, 20, 20).replace("\n20\n", "\n21\n", 1), "line 43: 1 number instead of 3"),
        (several(20, 20, 20).replace("\n20\n", "\n19\n", 1), "line 42: 3 numbers, where the count of another scan's points belongs"),
        (several(20, 40) + "-3\n", "line 63: 1 number, where the count of another scan's points belongs"),
        (several(20, 40) + "nan\n", "line 63: 1 number, where the count of another scan's points belongs"),
        (several(20, 40) + f"{10**17}\n", "line 63: says 100,000,000,000,000,000 points, but 0 lines follow"),
        (several(20, 40)[:-9], "line 62: 2 numbers instead of 3"),
        (several(20, 40).replace("20\n", "21\n", 1), "line 22: 1 number instead of 3"),
        (several(20, 40).replace("20\n", "19\n", 1), "line 22: 1 number instead of 3"),
    ],
)
def test_counts_of_scans_that_lie(text: str, said: str) -> None:
    assert refusal(text.encode(), "a.pts") == said


HEIGHTS = 100 + np.sin(np.arange(40)[:, None] / 5) + np.cos(np.arange(50) / 7)


def test_rasters_of_heights_are_no_points() -> None:
    head = "ncols 50\nnrows 40\nxllcorner 500000\nyllcorner 100\ncellsize 1\nNODATA_value -9999\n"
    for name in ("a.asc", "a.txt"):
        said = "an ESRI ASCII grid, a raster of heights"
        assert refusal((head + rows(" ", numbers=HEIGHTS)).encode(), name) == said
        assert refusal((head.upper().replace("\n", "\r\n") + rows(" ", numbers=HEIGHTS)).encode(), name) == said
    holes = np.where(np.random.default_rng(0).random(HEIGHTS.shape) < 0.1, -9999, HEIGHTS)
    for numbers in (HEIGHTS, holes, np.rint(HEIGHTS * 100), np.full((40, 50), 7.0), np.where(holes < 0, np.nan, HEIGHTS)):
        assert refusal(rows(" ", numbers=numbers).encode(), "a.txt") == "40 rows of 50 numbers of one kind: a raster of heights, not points"
    said = "one row of 180 numbers, where each point has a row of its own"
    assert refusal(rows(" ").replace("\n", " ").encode(), "a.xyz") == said


@pytest.mark.parametrize("values", [np.zeros((60, 40)), np.ones((60, 40)) * np.arange(40) / 9, np.random.default_rng(1).normal(size=(60, 40))])
def test_points_with_many_values_are_no_raster(values: np.ndarray) -> None:
    np.testing.assert_array_equal(read_scan(rows(" ", numbers=np.column_stack([POINTS, values])).encode(), "a.txt").points, POINTS)
    small = POINTS / 50
    np.testing.assert_allclose(read_scan(rows(" ", numbers=np.column_stack([small, values])).encode(), "a.txt").points, small, atol=6e-4)
