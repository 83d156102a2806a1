"""Tables whose rows have names or numbers, for which the header has no name (R) or an empty one (R's write.csv, pandas)."""

from __future__ import annotations

import numpy as np
import pytest
from test_reading_ply import refusal

from lpdif.io.read import read_scan

POINTS = np.round(np.random.default_rng(0).uniform(-5, 5, (60, 3)), 3)
NUMBERS = [str(row + 1) for row in range(60)]
QUOTED = [f'"{row + 1}"' for row in range(60)]
SOME = [f'"{3 * row + 7}"' for row in range(60)]  # of a part of a table
WORDS = [f'"pt {row}"' for row in range(60)]
FROM_ZERO = [str(row) for row in range(60)]


def table(header: str, names: list[str], columns: int, by: str = " ") -> bytes:
    rows = [by.join([name, *map(str, point[:columns])]) for name, point in zip(names, POINTS.tolist(), strict=True)]
    return "\n".join([header, *rows, ""]).encode()


@pytest.mark.parametrize(
    ("header", "names", "by"),
    [
        ('"x" "y" "z"', QUOTED, " "),
        ('"x" "y" "z"', SOME, " "),
        ('"x" "y" "z"', WORDS, " "),
        ('"V1" "V2" "V3"', QUOTED, " "),
        ('"V1" "V2" "V3"', SOME, " "),
        ('"V1" "V2" "V3"', WORDS, " "),
        ("x y z", NUMBERS, " "),
        ("x y z", [f"p{number}" for number in NUMBERS], " "),
        ('"x"\t"y"\t"z"', QUOTED, "\t"),
        ('"x","y","z"', SOME, ","),
        ('"" "x" "y" "z"', WORDS, " "),
        ('"","x","y","z"', SOME, ","),
        ('"","x","y","z"', WORDS, ","),
        (",x,y,z", FROM_ZERO, ","),
        (",x,y,z", NUMBERS[::-1], ","),
        (",0,1,2", FROM_ZERO, ","),
        ("\tx\ty\tz", FROM_ZERO, "\t"),
        (";x;y;z", FROM_ZERO, ";"),
    ],
)
def test_names_of_rows_are_no_coordinates(header: str, names: list[str], by: str) -> None:
    scan = read_scan(table(header, names, 3, by), "a.txt")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.extras == {}


@pytest.mark.parametrize(
    ("header", "names", "by"),
    [
        ('"X" "Y"', QUOTED, " "),
        ('"X" "Y"', SOME, " "),
        ("X Y", NUMBERS, " "),
        ('"X"\t"Y"', QUOTED, "\t"),
        ('""\t"X"\t"Y"', QUOTED, "\t"),
        ('"X","Y"', SOME, ","),
        ('"","X","Y"', QUOTED, ","),
        (",X,Y", FROM_ZERO, ","),
        (",X,Y", NUMBERS[::-1], ","),
        ("\tX\tY", FROM_ZERO, "\t"),
        (";X;Y", FROM_ZERO, ";"),
    ],
)
def test_two_coordinates_and_names_of_rows_are_no_points(header: str, names: list[str], by: str) -> None:
    assert refusal(table(header, names, 2, by), "a.txt") == "no columns x, y and z; its columns are X, Y"


def test_two_names_for_three_columns_of_which_none_counts_rows() -> None:
    some = [name.strip('"') for name in SOME]
    assert refusal(table("X Y", some, 2), "a.txt") == "2 names for its 3 columns: X Y"


def test_values_behind_with_names() -> None:
    rows = [f'"{2 * row + 1}" {x} {y} {z} "tree" {row % 7}' for row, (x, y, z) in enumerate(POINTS.tolist())]
    scan = read_scan("\n".join(['"z" "y" "x" "kind" "class"', *rows, ""]).encode(), "a.txt")
    np.testing.assert_array_equal(scan.points, POINTS[:, ::-1])
    np.testing.assert_array_equal(scan.extras["class"], np.arange(60) % 7)


def test_a_name_too_few_without_names_of_rows() -> None:
    """The last column has no name: the first is none of the row, as it neither counts nor stands in quotes."""
    scan = read_scan("\n".join(["x y z", *(f"{x} {y} {z} {row % 7}" for row, (x, y, z) in enumerate(POINTS.tolist())), ""]).encode(), "a.txt")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert set(scan.extras) == {"intensity"}
