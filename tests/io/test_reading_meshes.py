"""OBJ, OFF, STL, VTK and GLB: points and faces, and what is refused."""

from __future__ import annotations

import logging
import struct

import numpy as np
import pytest
from seed_files import COLORS, FACES, NORMALS, OBJ, OFF, POINTS, ply, stl_binary, stl_text, vtk
from test_reading_ply import refusal

from lpdif.errors import InputError
from lpdif.io.formats.stl import merge_equal
from lpdif.io.polygons import triangulate
from lpdif.io.read import read_scan

V = b"v 0 0 0\nv 1 0 0.25\nv 0 1 -0.5\nv 0.125 0.25 1\n"


def test_obj_with_everything() -> None:
    scan = read_scan(OBJ, "a.obj")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, FACES)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    assert scan.colors is not None
    assert np.abs(scan.colors.astype(int) - COLORS).max() <= 4  # written with two digits


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_obj_in_any_encoding_and_line_end(encoding: str, newline: str) -> None:
    text = OBJ.decode().replace("\n", newline)
    mark = "\ufeff" if encoding[-3:] in ("-be", "-le") else ""
    np.testing.assert_array_equal(read_scan((mark + text).encode(encoding), "a.obj").faces, FACES)


def test_obj_of_points_only() -> None:
    rows = zip(NORMALS.tolist(), POINTS.tolist(), strict=True)
    data = "".join("vn {} {} {}\nv {} {} {}\n".format(*normal, *point) for normal, point in rows).encode()
    for more in (b"", b"p 1 2 3 4\n", b"l 1 2\nl 3 4\n", b"p -1\n"):
        scan = read_scan(data + more, "a.obj")
        np.testing.assert_array_equal(scan.points, POINTS)
        np.testing.assert_array_equal(scan.normals, NORMALS)
        assert scan.faces is None


def test_obj_normals_that_do_not_belong_to_points_are_left() -> None:
    normals = b"vn 0 0 1\nvn 1 0 0\n"
    assert read_scan(V + normals, "a.obj").normals is None
    assert read_scan(V + normals + b"f 1//1 2//1 3//1\nf 1//2 2//2 4//2\n", "a.obj").normals is None  # flat shading
    assert read_scan(V + normals + b"f 1/1 2/1 3/1\n", "a.obj").normals is None
    named = read_scan(V + normals + b"f 1//1 2//1 3//2\n", "a.obj").normals
    np.testing.assert_array_equal(named, [[0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_obj_negative_indices_count_from_their_line() -> None:
    data = b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 0 0\nv 6 0 0\nv 5 1 0\nf -3/1 -2/1 -1/1\n  f -6\t-1 2 # so\n"
    np.testing.assert_array_equal(read_scan(data, "a.obj").faces, [[0, 1, 2], [3, 4, 5], [0, 5, 1]])


def test_obj_lines_may_go_on() -> None:
    data = V + b"f 1 \\\n2 \\\r\n3\nf 1 2 9\n"
    assert refusal(data, "a.obj") == "line 8: face uses point 9, but the points go from 1 to 4"
    np.testing.assert_array_equal(read_scan(data.replace(b"9", b"4"), "a.obj").faces, [[0, 1, 2], [0, 1, 3]])


def test_obj_colors_of_some_points_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "lpdif"):
        assert read_scan(V.replace(b"0.25 1", b"0.25 1 0.5 0.5 0.5"), "a.obj").colors is None
    assert "only 1 of 4 points" in caplog.text


def test_obj_faces_of_two_corners_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        np.testing.assert_array_equal(read_scan(V + b"f 1// 2//\nf 1// 2// 3//\nf 2 2 3\n", "a.obj").faces, [[0, 1, 2]])
    assert "1 face of fewer" in caplog.text
    assert "1 triangle with a point used twice" in caplog.text


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (b"f 1 2 5\n", "line 5: face uses point 5, but the points go from 1 to 4"),
        (b"f 1 2 0\n", "line 5: face uses point 0, "),
        (b"f 1 2 -5\n", "line 5: face uses point -5, "),
        (b"f 1 2 1e99\n", "line 5: face uses point 1e+99, "),
        (b"f 1 2 nan\n", "line 5: face uses point nan, "),
        (b"f 1 2 3.5\n", "line 5: face uses point 3.5, "),
        (b"f 1 2 x\n", "line 5: 'x' is not a number"),
        (b"\nf\n", "line 6: nothing follows 'f'"),
        (b"v\n", "line 5: nothing follows 'v'"),
        (b"v 1 2\n", "line 5: a point of 2 coordinates"),
        (b"v 3.1+e2 2 3\n", "line 5: '3.1+e2' is not a number"),
        (b"vn 1 2\n", "line 5: 2 numbers instead of 3"),
    ],
)
def test_obj_lines_that_are_wrong(more: bytes, said: str) -> None:
    assert refusal(V + more, "a.obj").startswith(said)


def test_obj_normals_that_are_not_there_are_left_out_and_said(caplog: pytest.LogCaptureFixture) -> None:
    scan = read_scan(V + b"vn 0 0 1\nf 1//1 2//1 3//2\n", "a.obj")
    assert scan.normals is None
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, [[0, 1, 2]])
    assert "a.obj: line 6: face uses normal 2, but the normals go from 1 to 1: normals left out" in caplog.text


def test_obj_without_points() -> None:
    assert "holds no points" in refusal(b"# nothing\n", "a.obj")
    assert "holds no points" in refusal(b"o thing\ng part\n", "a.obj")


def test_off_with_colors() -> None:
    scan = read_scan(OFF, "a.off")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, FACES)
    np.testing.assert_array_equal(scan.colors, COLORS)


@pytest.mark.parametrize("head", [b"OFF\n4 2 0\n", b"  OFF 4 2 0\n", b"OFF4 2 # so\n", b"# before\nOFF\n\n4 2\n", b"OFF\r\n4 2 5\r\n"])
def test_off_heads_in_many_spellings(head: bytes) -> None:
    body = b"0 0 0\n1 0 .25 # a point\n\n0 1 -.5\n.125 .25 1\n3 0 1 2 255 0 0\n4 0 1 2 3 0.5 0.5 0.5\n"
    scan = read_scan(head + body, "a.off")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.faces is not None
    assert len(scan.faces) == 3


@pytest.mark.parametrize("head", [b"off\n4 0 0\n", b"# so\noff # counts\n# follow\n4 0\n", b"noff 4 0 0\n", b"cnoff\n4 0 0\n"])
def test_off_in_small_letters(head: bytes) -> None:
    more = {b"n": " 0 0 1", b"c": " 0 0 1 9 8 7"}.get(head[:1], "")
    rows = "".join("{} {} {}".format(*point) + more + "\n" for point in POINTS)
    scan = read_scan(head + rows.encode(), "a.off")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert (scan.normals is not None, scan.colors is not None) == (bool(more), head[:1] == b"c")
    assert "other than three dimensions" in refusal(b"nOFF\n4 0 0\n", "a.off")


def test_off_without_its_first_line() -> None:
    rows = b"0 0 0\n1 0 .25\n0 1 -.5\n.125 .25 1\n"
    for head, hint in (
        (b"# so\n4 4 0\n", "put a first line before its counts that says OFF"),
        (b"", "if these are x y z, rename it to end in .xyz"),
    ):
        with pytest.raises(InputError, match="no OFF header") as caught:
            read_scan(head + rows + b"3 0 1 2\n" * (4 if head else 0), "a.off")
        assert caught.value.hint == hint


def test_off_with_normals_and_without_faces() -> None:
    rows = "".join("{} {} {} {} {} {}\n".format(*point, *normal) for point, normal in zip(POINTS, NORMALS, strict=True))
    for head in ("NOFF\n4 0 0\n", "OFF\n4 0 0\n"):
        scan = read_scan((head + rows).encode(), "a.off")
        np.testing.assert_array_equal(scan.normals, NORMALS)
        assert scan.faces is None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"4 4 6", b"353535235358 4 6", "header says 353,535,235,358 points, but the file has room for"),
        (b"4 4 6", b"4 4294967295 6", "header says 4,294,967,295 faces, but the file has room for"),
        (b"4 4 6", b"-5 4 6", "line 2: the header's counts of points and faces are -5 and 4"),
        (b"4 4 6", b"nan 4 6", "line 2: the header's counts of points and faces are nan"),
        (b"4 4 6", b"4", "ends before the counts"),
        (b"4 4 6", b"0 4 6", "holds no points"),
        (b"4 4 6", b"9 0 0", "header says 9 points, but the file has room for 8 at most"),
        (b"4 4 6", b"5 4 6", "line 7: 4 numbers instead of 7"),
        (b"4 4 6", b"4 5 6", "ends after 4 of 5 faces"),
        (b"3 0 1 3", b"3 0 1 9", "line 8: face uses point 9, but the points go from 0 to 3"),
        (b"3 0 1 3", b"3 0 1 -1", "line 8: face uses point -1"),
        (b"3 0 1 3", b"9 0 1 3", "line 8: a face whose count of corners is 9, on a line of 4 numbers"),
        (b"COFF", b"4OFF", "other than three dimensions"),
        (b"COFF # a tetrahedron", b"OFF BINARY", "binary OFF"),
    ],
)
def test_off_that_is_wrong(old: bytes, new: bytes, said: str) -> None:
    assert said in refusal(OFF.replace(old, new, 1), "a.off")


@pytest.mark.parametrize("data", [stl_text(), stl_binary(), stl_text().upper(), stl_text().replace(b"\n", b"\r\n")])
def test_stl_corners_are_put_together(data: bytes) -> None:
    scan = read_scan(data, "a.stl")
    assert scan.faces is not None
    assert sorted(map(tuple, scan.points.tolist())) == sorted(map(tuple, POINTS.tolist()))
    np.testing.assert_array_equal(scan.points[scan.faces], POINTS[FACES])


def test_stl_binary_that_begins_with_solid() -> None:
    data = b"solid ".ljust(80) + stl_binary()[80:]
    np.testing.assert_array_equal(read_scan(data, "a.stl").points[0], POINTS[0])
    assert read_scan(data, "no_ending").faces is not None


def test_stl_that_is_wrong(caplog: pytest.LogCaptureFixture) -> None:
    assert refusal(stl_binary()[:-1], "a.stl") == "ends after 3 of 4 triangles (header says 4)"
    lying = stl_binary()[:80] + struct.pack("<I", 4294967295) + stl_binary()[84:]
    assert refusal(lying, "a.stl") == "ends after 4 of 4,294,967,295 triangles (header says 4,294,967,295)"
    assert "holds no triangles" in refusal(bytes(80).replace(b"\0", b" ") + bytes(4), "a.stl")
    assert "holds no triangles" in refusal(b"solid nothing\nendsolid nothing\n", "a.stl")
    cut = stl_text()[: stl_text().rindex(b"vertex")]
    assert "ends within a triangle" in refusal(cut, "a.stl")
    with caplog.at_level(logging.WARNING, "lpdif"):
        assert len(read_scan(stl_text()[: stl_text().rindex(b"endsolid")], "a.stl").points) == 4
        assert len(read_scan(stl_binary() + b"more", "a.stl").points) == 4
    assert "endsolid" in caplog.text
    assert "4 bytes behind its 4 triangles" in caplog.text


@pytest.mark.parametrize("data", [stl_text(), stl_text().upper()])
def test_stl_text_with_many_words_to_the_line(data: bytes) -> None:
    expected = read_scan(data, "a.stl")
    for written in (b" ".join(data.split()), data.replace(b"\n      ", b" ")):
        scan = read_scan(written, "a.stl")
        np.testing.assert_array_equal(scan.points, expected.points)
        np.testing.assert_array_equal(scan.faces, expected.faces)
    bent = b" ".join(data.split()).replace(b"0.25", b"x", 1)
    assert refusal(bent, "a.stl") == '"vertex" is not followed by three numbers everywhere'


def test_decimal_commas_are_called_that() -> None:
    files = {
        "a.obj": b"v 0 0 0\nv 1,5 2 3\n",
        "a.stl": stl_text().replace(b"0.25", b"-1,5e3"),
        "a.ply": ply(tuple(zip("xyz", ["f4"] * 3, POINTS.T, strict=True)), "ascii").replace(b"0.25", b"0,25"),
        "a.pcd": b"FIELDS x y z\nWIDTH 2\nHEIGHT 1\nDATA ascii\n1 2 3\n1 2 0,25\n",
        "a.off": b"OFF\n2 0 0\n1 2 3\n1 2 0,25\n",
    }
    for name, data in files.items():
        with pytest.raises(InputError) as caught:
            read_scan(data, name)
        assert caught.value.message.endswith("' is not a number: it has a decimal comma")
        assert caught.value.hint == "export it with decimal points (the language of the program decides)"
    assert refusal(V + b"v 1,2,3 4 5\n", "a.obj") == "line 5: '1,2,3' is not a number"


@pytest.mark.parametrize("count", [1, 2, 7, 300])
@pytest.mark.parametrize("distinct", [1, 3, 200])
def test_merging_equal_points_against_the_slow_way(count: int, distinct: int) -> None:
    rng = np.random.default_rng(count + distinct)
    corners = rng.normal(size=(distinct, 3))[rng.integers(distinct, size=count)]
    corners[0] = [0.0, -0.0, np.nan]
    points, index = merge_equal(corners)
    seen: dict[bytes, int] = {}
    slow = [seen.setdefault((corner + 0.0).tobytes(), len(seen)) for corner in corners]
    np.testing.assert_array_equal(index, slow)
    np.testing.assert_array_equal(points[index], corners)


def test_merging_survives_keys_that_collide() -> None:
    corners = np.random.default_rng(0).integers(0, 3, size=(200, 3)).astype(np.float64)
    words = corners.view(np.uint64)
    assert len(np.unique(words.sum(axis=1, dtype=np.uint64))) < len(np.unique(words, axis=0))  # such keys do exist
    points, index = merge_equal(corners)
    np.testing.assert_array_equal(points[index], corners)
    assert len(points) == len(np.unique(corners, axis=0))


@pytest.mark.parametrize("sizes", [[3], [3, 3, 3], [4], [3, 4, 5, 3, 6], [0, 1, 2, 3], [20, 3, 20]])
def test_convex_polygons_become_fans_in_their_order(sizes: list[int]) -> None:
    corners: list[int] = []
    points: list[list[float]] = []
    slow: list[list[int]] = []
    for size in sizes:
        ring = list(range(len(points), len(points) + size))
        points += [[np.cos(2 * np.pi * k / size), np.sin(2 * np.pi * k / size), 0.5 * len(points)] for k in range(size)]
        corners += ring
        slow += [[ring[0], ring[k], ring[k + 1]] for k in range(1, size - 1)]
    # corners of a polygon lie in one plane, each polygon in its own
    faces = triangulate(np.array(corners, dtype=np.int64), np.array(sizes), np.array(points).reshape(-1, 3), "a")
    np.testing.assert_array_equal(faces, np.array(slow, dtype=np.int64).reshape(-1, 3))


@pytest.mark.parametrize("binary", [False, True])
def test_vtk_polygons_normals_and_scalars(binary: bool) -> None:
    scan = read_scan(vtk(binary), "a.vtk")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, FACES)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.extras["heat"], [1.5, 2.5, 3.5, 4.5])


def test_vtk_cells_of_mixed_sizes_strips_and_offsets() -> None:
    head = "# vtk DataFile Version {}\nname\nASCII\nDATASET POLYDATA\nPOINTS 4 double\n0 0 0 1 0\n.25 0 1 -.5\n.125 .25 1\n"
    old = head.format("2.0") + "VERTICES 1 5\n4 0 1 2 3\nPOLYGONS 2 9\n3 0 1 2\n4 0 1 2 3\nTRIANGLE_STRIPS 1 5\n4 0 1 2 3\n"
    scan = read_scan(old.encode(), "a.vtk")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.faces is not None
    np.testing.assert_array_equal(scan.faces[-2:], [[0, 1, 2], [2, 1, 3]])
    assert len(scan.faces) == 5
    new = (
        head.format("5.1") + "METADATA\nINFORMATION 0\n\nPOLYGONS 3 7\nOFFSETS vtktypeint64\n0 3 7\nCONNECTIVITY vtktypeint64\n0 1 2\n0 1 2 3\n"
    )
    np.testing.assert_array_equal(read_scan(new.encode(), "a.vtk").faces, scan.faces[:3])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"POINTS 4", b"POINTS 4294967295", "points"),
        (b"POINTS 4", b"POINTS -5", "'-5' is not a count"),
        (b"POINTS 4", b"POINTS 0", ""),
        (b"POINTS 4 float", b"POINTS 4 quad", "'quad' is not understood"),
        (b"POLYGONS 4 16", b"POLYGONS 4 1600", ""),
        (b"POLYGONS 4 16", b"POLYGONS 5 16", ""),
        (b"POINT_DATA 4", b"POINT_DATA 5", "5 values for 4 points"),
        (b"DATASET POLYDATA", b"SOMETHING ELSE", "'SOMETHING ELSE' is not understood"),
    ],
)
@pytest.mark.parametrize("binary", [False, True])
def test_vtk_that_is_wrong(old: bytes, new: bytes, said: str, binary: bool) -> None:
    assert said in refusal(vtk(binary).replace(old, new), "a.vtk")


def test_obj_in_capitals() -> None:
    scan = read_scan(OBJ.upper(), "a.obj")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, FACES)
    atoms = b"5\ncarbon tetrafluoride\nC 0 0 0\nF 1 0 0\nF 0 1 0\nF 0 0 1\nF 1 1 1\n"  # which are no faces
    assert len(read_scan(atoms, "a.xyz").points) == 5


@pytest.mark.parametrize("kind", ["ASCII", "BINARY"])
def test_vtk_structured_grids_are_points(kind: str) -> None:
    head = f"# vtk DataFile Version 3.0\na\n{kind}\nDATASET STRUCTURED_GRID\nDIMENSIONS 2 2 1\nPOINTS 4 double\n".encode()
    body = POINTS.astype(">f8").tobytes() if kind == "BINARY" else b"".join(b"%r %r %r\n" % tuple(row) for row in POINTS.tolist())
    scan = read_scan(head + body, "a.vtk")
    np.testing.assert_array_equal(scan.points, POINTS)
    assert scan.faces is None


def test_lines_of_vertices_are_no_binary_stl() -> None:
    lines = b"vertex 1.5 2.5 3.5\nvertex 2.5 2.5 3.5\nvertex 2.5 3.5 3.5\n" * 30
    assert refusal(lines, "a.stl") == "not an STL file: it holds bare columns of numbers and no STL header"
    assert refusal(b"corners\n" + lines, "a.stl") == "not an STL file (it begins with 'corners')"
    assert len(read_scan(b"solid a\n" + lines, "a.stl").points) == 3


def test_many_blanks_in_a_text_stl_take_no_time() -> None:
    """A search that begins anew at each blank would take an hour."""
    facet = b"facet normal 0 0 1 outer loop vertex 0 0 0 vertex 1 0 0 vertex 0 1 0 endloop endfacet"
    assert len(read_scan(b"solid x\n" + facet + b" " * 1_000_000 + b"x\nendsolid\n", "a.stl").points) == 3


def test_a_point_of_off_begins_with_its_coordinates() -> None:
    """Whole numbers that rise before three columns with decimals would be numbers of rows elsewhere."""
    points = np.column_stack([np.arange(40) * 2 + 7, np.random.default_rng(0).random((40, 3)) * 9])
    rows = "\n".join(" ".join(f"{value:.17g}" for value in row) for row in points)
    np.testing.assert_array_equal(read_scan(f"OFF\n40 0 0\n{rows}\n".encode(), "a.off").points, points[:, :3])
