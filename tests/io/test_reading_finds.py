"""What fuzzing and property tests have found in the readers, so that it stays found."""

from __future__ import annotations

import pytest
from test_reading_ply import refusal

VTK = b"# vtk DataFile Version 3.0\na\nBINARY\n"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.off", b"OFF\n\x00", "line 2: control character 0: this is no text"),  # no number to take the line from
        ("a.off", b"OFF\n\x0c\x1f 2\n", "line 2: control character 31: this is no text"),
        ("a.vtk", VTK + b"\x1c\x85\n", "line 4: '\\x1c\\x85' is not understood"),  # blanks for str, but not for bytes
        ("a.vtk", VTK + b"DATASET POLYDATA\n\xa0\n", "line 5: '\\xa0' is not understood"),
        ("a.vtk", VTK + b"POLYGONS 4 0", "header says 4 cells in 0 numbers"),
        ("a.vtk", VTK + b"POLYGONS 1000000000000000 4\n" + bytes(16), "header says 1,000,000,000,000,000 cells in 4 numbers"),
    ],
)
def test_finds(name: str, data: bytes, said: str) -> None:
    assert refusal(data, name) == said
