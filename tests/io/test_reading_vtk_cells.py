"""VTK legacy files of unstructured grids, as meshio and ParaView write them, and values in any order."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest
from seed_files import COLORS, FACES, NORMALS, POINTS
from test_reading_ply import refusal

from lpdif.io.read import read_scan


def numbers(values: object, kind: str, binary: bool) -> bytes:
    array = np.asarray(values)
    if not binary:
        return " ".join(str(value) for value in array.reshape(-1).tolist()).encode() + b"\n"
    kinds = {"double": ">f8", "int": ">i4", "vtktypeint64": ">i8", "unsigned_char": "u1"}
    return array.astype(kinds[kind]).tobytes() + b"\n"


def grid(cells: Sequence[tuple[int, Sequence[int]]], binary: bool, version: str, behind: bytes = b"") -> bytes:
    """A grid of the four points with cells (kind, corners)."""
    corners = [corner for _, cell in cells for corner in cell]
    kind = b"BINARY" if binary else b"ASCII"
    parts = [b"# vtk DataFile Version %s\na\n%s\nDATASET UNSTRUCTURED_GRID\n" % (version.encode(), kind)]
    parts += [b"POINTS 4 double\n", numbers(POINTS, "double", binary)]
    if version >= "5":
        offsets = np.cumsum([0, *(len(cell) for _, cell in cells)])
        parts += [b"CELLS %d %d\n" % (len(offsets), len(corners))]
        parts += [b"OFFSETS vtktypeint64\n", numbers(offsets, "vtktypeint64", binary)]
        parts += [b"CONNECTIVITY vtktypeint64\n", numbers(corners, "vtktypeint64", binary)]
    else:
        flat = [number for _, cell in cells for number in (len(cell), *cell)]
        parts += [b"CELLS %d %d\n" % (len(cells), len(flat)), numbers(flat, "int", binary)]
    parts += [b"CELL_TYPES %d\n" % len(cells), numbers([kind for kind, _ in cells], "int", binary)]
    return b"".join(parts) + behind


def data_of_points(binary: bool) -> bytes:
    parts = [b"CELL_DATA 4\nSCALARS part double 1\nLOOKUP_TABLE own\n", numbers(np.arange(4.0), "double", binary)]
    parts += [b"LOOKUP_TABLE own 2\n", numbers([0] * 8 if binary else [0.0] * 8, "unsigned_char", binary)]
    parts += [b"POINT_DATA 4\nTENSORS stress double\n", numbers(np.zeros(36), "double", binary)]
    parts += [b"TEXTURE_COORDINATES uv 2 double\n", numbers(np.zeros(8), "double", binary)]
    parts += [b"NORMALS n double\n", numbers(NORMALS, "double", binary)]
    parts += [b"COLOR_SCALARS c 3\n", numbers(COLORS if binary else COLORS / 255, "unsigned_char", binary)]
    return b"".join(parts)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("version", ["3.0", "5.1"])
def test_triangles_and_values_of_an_unstructured_grid(binary: bool, version: str) -> None:
    cells = [(5, face.tolist()) for face in FACES]
    scan = read_scan(grid(cells, binary, version, data_of_points(binary)), "a.vtk")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, FACES)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    assert scan.extras == {}


def test_cells_of_all_kinds(caplog: pytest.LogCaptureFixture) -> None:
    cells = [(1, [0]), (3, [0, 1]), (10, [0, 1, 2, 3]), (9, [0, 1, 2, 3]), (8, [0, 1, 3, 2]), (6, [0, 1, 2, 3]), (7, [0, 1, 2])]
    scan = read_scan(grid(cells, False, "4.2"), "a.vtk")
    square = read_scan(grid([(9, [0, 1, 2, 3])], False, "4.2"), "a.vtk").faces
    assert square is not None
    np.testing.assert_array_equal(scan.faces, [*square, *square, [0, 1, 2], [0, 1, 2], [2, 1, 3]])
    assert "a.vtk: 1 cell that are solids or curved left out: their points are taken" in caplog.text


def test_grids_that_are_wrong() -> None:
    with_types = grid([(5, [0, 1, 2])], False, "4.2")
    assert refusal(with_types.replace(b"CELL_TYPES 1\n5", b"CELL_TYPES 2\n5 5"), "a.vtk") == "2 cell types for 1 cell"
    assert "uses point 7" in refusal(with_types.replace(b"3 0 1 2", b"3 0 1 7"), "a.vtk")


def test_values_of_cells_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        read_scan(grid([(5, face.tolist()) for face in FACES], False, "3.0", data_of_points(False)), "a.vtk")
    assert "a.vtk: values of cells left out" in caplog.text
