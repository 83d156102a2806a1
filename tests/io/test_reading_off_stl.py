"""OFF with colours of faces and in either order of its letters, and STL of programs that did not know their count."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from seed_files import COLORS, FACES, NORMALS, POINTS

from lpdif.io.read import read_scan


def off(word: str, rows: np.ndarray, behind: list[str] | None = None) -> bytes:
    lines = [word, f"{len(rows)} {len(FACES)} 0", *(" ".join(map(str, row)) for row in rows.tolist())]
    lines += [f"3 {a} {b} {c} {(behind or [''] * 4)[row]}" for row, (a, b, c) in enumerate(FACES.tolist())]
    return "\n".join([*lines, ""]).encode()


@pytest.mark.parametrize("fractions", [False, True])
def test_colors_of_faces(fractions: bool, caplog: pytest.LogCaptureFixture) -> None:
    behind = [" ".join(map(str, color / 255 if fractions else color)) for color in COLORS]
    with caplog.at_level("INFO", "lpdif"):
        scan = read_scan(off("OFF", POINTS, behind), "a.off")
    expected = [np.rint(COLORS[(point == FACES).any(axis=1)].mean(axis=0)) for point in range(4)]
    np.testing.assert_array_equal(scan.colors, expected)
    assert "colours of points taken from those of the faces around them" in caplog.text
    own = read_scan(off("COFF", np.hstack([POINTS, COLORS]), behind), "a.off")
    np.testing.assert_array_equal(own.colors, COLORS)  # those of points come first


@pytest.mark.parametrize("behind", ["", "7", "1 2"])
def test_numbers_behind_faces_that_are_no_colors(behind: str) -> None:
    assert read_scan(off("OFF", POINTS, [behind] * 4), "a.off").colors is None
    assert read_scan(off("OFF", POINTS, ["1 2 3", "", "", ""]), "a.off").colors is None


@pytest.mark.parametrize("normals_first", [False, True])
def test_normals_and_colors_in_either_order(normals_first: bool) -> None:
    opaque = np.column_stack([COLORS, np.full(4, 255)])
    parts = [NORMALS, opaque] if normals_first else [opaque, NORMALS]
    scan = read_scan(off("NCOFF", np.hstack([POINTS, *parts])), "a.off")
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.faces, FACES)


def test_stl_whose_count_is_zero(caplog: pytest.LogCaptureFixture) -> None:
    rows = b"".join(struct.pack("<12fH", 0, 0, 0, *POINTS[face].reshape(-1), 0) for face in FACES)
    scan = read_scan(bytes(84) + rows, "a.stl")
    assert scan.faces is not None
    np.testing.assert_array_equal(scan.points[scan.faces], POINTS[FACES])
    assert "a.stl: header says 0 triangles, its size says 4: these are read" in caplog.text
