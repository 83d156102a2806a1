"""What stands before the rows of a table, and words, comments and gaps among them: read where it is clear, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from test_reading_ply import refusal

from lpdif.errors import InputError
from lpdif.reading import read_scan

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
        ("x y z\nm m m\nfirst part\n1 2 3\n", 3),
        ("x y z\n1.5 abc 7\n1 2 3\n", 2),
        ("Garden\nby the sea\n1 2 3\n", 2),
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
