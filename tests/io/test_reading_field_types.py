"""Types and names of the fields of LAS, PCD and VTK that some programs write."""

from __future__ import annotations

import numpy as np
import pytest
from seed_files import COLORS, NORMALS, POINTS, las
from test_reading_ply import refusal

from lpdif.io.read import read_scan

HEAT = np.array([1.5, 2.5, 3.5, 4.5])
PCD = "VERSION 0.7\nFIELDS x y z seen\nSIZE 4 4 4 1\nTYPE F F F B\nCOUNT 1 1 1 1\nWIDTH 4\nHEIGHT 1\nPOINTS 4\nDATA {}\n"
SEEN = np.array([1, 0, 1, 1], dtype=np.uint8)


@pytest.mark.parametrize("kind", ["ascii", "binary"])
def test_truth_values_of_pcd(kind: str) -> None:
    table = np.zeros(4, dtype=[("xyz", "<f4", 3), ("seen", "u1")])
    table["xyz"], table["seen"] = POINTS, SEEN
    body = (
        table.tobytes()
        if kind == "binary"
        else b"".join(b"%r %r %r %d\n" % (*row, seen) for row, seen in zip(POINTS.tolist(), SEEN, strict=True))
    )
    scan = read_scan(PCD.format(kind).encode() + body, "a.pcd")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.extras["seen"], SEEN)


def extra_las(**extra: np.ndarray) -> bytes:
    data = las(False, **extra)
    if data is None:
        pytest.skip("laspy is not installed")
    return data


@pytest.mark.parametrize("names", [("NormalX", "NormalY", "NormalZ"), ("nx", "ny", "nz")])
def test_normals_among_the_extra_dimensions_of_las(names: tuple[str, str, str]) -> None:
    scan = read_scan(extra_las(**dict(zip(names, NORMALS.T.astype("<f4"), strict=True)), colors=HEAT), "a.las")
    np.testing.assert_allclose(scan.points, POINTS + np.array([500_000, 4_500_000, 0]), atol=1e-3)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    assert set(scan.extras) == {"intensity", "classification", "colors"}
    np.testing.assert_array_equal(scan.extras["colors"], HEAT)


def test_extra_dimensions_of_three_values() -> None:
    scan = read_scan(extra_las(normals=NORMALS.astype("<f8"), other=NORMALS.astype("<f4")), "a.las")
    np.testing.assert_array_equal(scan.normals, NORMALS)
    assert set(scan.extras) == {"intensity", "classification"}


VTK = b"# vtk DataFile Version 3.0\nmade by a test\n%s\nDATASET POLYDATA\n%sPOINTS 4 double\n%s\n%s"


def vtk(data: list[tuple[str, np.ndarray, str]], binary: bool, before: list[tuple[str, np.ndarray, str]] | None = None) -> bytes:
    """A VTK file of the points, with (head, values, type) of what belongs to them, and of what comes before them."""

    def blocks(parts: list[tuple[str, np.ndarray, str]]) -> bytes:
        out = b""
        for head, values, kind in parts:
            numbers = " ".join(map(repr, values.ravel().tolist())).encode()
            packed = np.packbits(values).tobytes() if kind == "bit" else values.astype(kind).tobytes()
            out += head.encode() + b"\n" + (packed if binary else numbers) + b"\n"
        return out

    points = POINTS.astype(">f8").tobytes() if binary else " ".join(map(repr, POINTS.ravel().tolist())).encode()
    head = b"FIELD FieldData %d\n" % len(before) if before else b""
    return VTK % (b"BINARY" if binary else b"ASCII", head + blocks(before or []), points, b"POINT_DATA 4\n" + blocks(data))


@pytest.mark.parametrize("binary", [False, True])
def test_arrays_of_a_field_of_vtk(binary: bool) -> None:
    """As VTK and pyvista write all but one array of each kind."""
    field = [
        ("FIELD FieldData 4\nNormals 3 4 float", NORMALS, ">f4"),
        ("RGB 3 4 unsigned_char", COLORS, "u1"),
        ("heat 1 4 double", HEAT, ">f8"),
        ("other 2 4 float", NORMALS[:, :2], ">f4"),
        ("SCALARS ids vtkIdType 1\nLOOKUP_TABLE default", np.arange(4), ">i4"),  # of 4 bytes, whatever VTK has in memory
        ("SCALARS many vtktypeuint64 1\nLOOKUP_TABLE default", np.arange(4) + 5, ">u8"),
        ("SCALARS seen bit 1\nLOOKUP_TABLE default", SEEN, "bit"),
        ("SCALARS last float 1\nLOOKUP_TABLE default", HEAT, ">f4"),
    ]
    scan = read_scan(vtk(field, binary, before=[("TimeValue 1 1 double", np.array([0.5]), ">f8")]), "a.vtk")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    expected = {"heat": HEAT, "ids": np.arange(4), "many": np.arange(4) + 5, "seen": SEEN, "last": HEAT}
    assert set(scan.extras) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(scan.extras[name], values)


def test_what_vtk_says_in_words_is_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    data = vtk([("FIELD FieldData 2\nnames 1 4 string", np.arange(4), ">i4"), ("heat 1 4 double", HEAT, ">f8")], False)
    scan = read_scan(data, "a.vtk")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert "a.vtk: array names of type string and what follows left out" in caplog.text
    data = vtk([("SCALARS names string 1\nLOOKUP_TABLE default", np.arange(4), ">i4")], False)
    np.testing.assert_array_equal(read_scan(data, "a.vtk").points, POINTS)
    assert "a.vtk: SCALARS names string and what follows left out" in caplog.text


def test_fields_of_vtk_that_are_wrong() -> None:
    assert refusal(vtk([("FIELD FieldData 2\nheat 1 4 double", HEAT, ">f8")], False), "a.vtk").endswith('"NAME VALUES POINTS TYPE" of an array')
    assert "ends after" in refusal(vtk([("FIELD FieldData 1\nheat 9 4 double", HEAT, ">f8")], True), "a.vtk")
    words = [("names 1 1 string", np.array([1]), ">i4")]
    assert refusal(vtk([], False, before=words), "a.vtk") == "the FIELD before its points cannot be passed over"
