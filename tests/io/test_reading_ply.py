"""PLY in every spelling: encodings, property orders, faces, colours, normals, headers that lie."""

from __future__ import annotations

import logging
import struct
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from seed_files import COLORS, FACES, POINTS, ply

from lpdif.errors import InputError
from lpdif.io.formats.ply_header import Property
from lpdif.io.formats.ply_lists import one_row_a_line
from lpdif.io.read import read_scan

ENCODINGS = ("ascii", "binary_little_endian", "binary_big_endian")
XYZ = tuple(zip("xyz", ["f4"] * 3, POINTS.T, strict=True))


def refusal(data: bytes, name: str = "scan.ply") -> str:
    with pytest.raises(InputError) as caught:
        read_scan(data, name)
    assert caught.value.message.startswith(f"{name}: ") or "no such file" in caught.value.message
    assert caught.value.hint
    assert "\n" not in caught.value.message
    return caught.value.message.removeprefix(f"{name}: ")


@st.composite
def clouds(draw: st.DrawFn) -> tuple[list[tuple[str, str, NDArray[np.generic]]], int]:
    """Properties of a vertex element in any order: coordinates, perhaps normals, colours, labels."""
    count = draw(st.integers(1, 12))
    real = draw(st.sampled_from(["f4", "f8"]))
    limits = {"allow_nan": False, "allow_infinity": False, "allow_subnormal": False}
    column = hnp.arrays(real, count, elements=limits)
    properties: list[tuple[str, str, NDArray[np.generic]]] = [(name, real, draw(column)) for name in "xyz"]
    if draw(st.booleans()):
        names = draw(st.sampled_from([("nx", "ny", "nz"), ("normal_x", "normal_y", "normal_z")]))
        properties += [(name, "f4", draw(hnp.arrays("f4", count, elements=st.floats(-1, 1, width=32)))) for name in names]
    if draw(st.booleans()):
        names = draw(st.sampled_from([("red", "green", "blue"), ("diffuse_red", "diffuse_green", "diffuse_blue"), ("r", "g", "b")]))
        properties += [(name, "u1", draw(hnp.arrays("u1", count))) for name in names]
    for name, kind in (("label", "i4"), ("quality", "f8"), ("ring", "u2"), ("sign", "i1")):
        if draw(st.booleans()):
            elements = st.floats(-1e30, 1e30, allow_subnormal=False) if kind == "f8" else None
            properties.append((name, kind, draw(hnp.arrays(kind, count, elements=elements))))
    return draw(st.permutations(properties)), count


@given(clouds(), st.sampled_from(ENCODINGS), st.sampled_from(["\n", "\r\n"]))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_encoding_and_order_gives_the_numbers_back(
    cloud: tuple[list[tuple[str, str, NDArray[np.generic]]], int], encoding: str, newline: str
) -> None:
    properties, _ = cloud
    scan = read_scan(ply(properties, encoding, newline=newline), "scan.ply")
    given_columns = {name: column for name, _, column in properties}
    kinds = {name: kind for name, kind, _ in properties}
    np.testing.assert_array_equal(scan.points, np.column_stack([given_columns.pop(name) for name in "xyz"]).astype(np.float64))
    assert scan.points.dtype == np.float64
    normals = [given_columns.pop(name) for name in ("nx", "ny", "nz", "normal_x", "normal_y", "normal_z") if name in given_columns]
    if np.any(normals):
        assert scan.normals is not None
        np.testing.assert_array_equal(scan.normals, np.column_stack(normals))
    else:
        assert scan.normals is None
    names = ("red", "green", "blue", "diffuse_red", "diffuse_green", "diffuse_blue", "r", "g", "b")
    colors = [given_columns.pop(name) for name in names if name in given_columns]
    if colors and np.any(colors):
        np.testing.assert_array_equal(scan.colors, np.column_stack(colors))
    else:
        assert scan.colors is None
    assert set(scan.extras) == set(given_columns)
    for name, column in given_columns.items():
        np.testing.assert_array_equal(scan.extras[name], column)
        assert scan.extras[name].dtype == np.dtype(kinds[name])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("corners", ["vertex_indices", "vertex_index"])
def test_faces_of_mixed_sizes_become_triangles(encoding: str, corners: str) -> None:
    data = ply(XYZ, encoding, [[0, 1, 2], [0, 1, 2, 3], [1, 2], [3, 2, 1], [0, 0, 1]], corners=corners)
    scan = read_scan(data, "scan.ply")
    assert scan.faces is not None
    assert scan.faces.dtype == np.int64
    assert sorted(map(tuple, scan.faces.tolist()))[0] == (0, 1, 2)
    assert len(scan.faces) == 4  # 1 + 2 + 0 + 1 + 0
    assert read_scan(ply(XYZ, encoding, FACES.tolist()), "scan.ply").faces is not None


def test_a_polygon_with_a_dent_is_cut_within_itself() -> None:
    outline = np.array([[0.0, 0, 0], [2, 0, 0], [0.5, 0.5, 0], [0, 2, 0]])  # concave at its third corner
    area = []
    for turn in range(4):
        faces = read_scan(
            ply(tuple(zip("xyz", ["f4"] * 3, outline.T, strict=True)), "ascii", [np.roll(range(4), turn).tolist()]), "a.ply"
        ).faces
        assert faces is not None
        a, b, c = (outline[faces[:, corner]] for corner in range(3))
        normals = np.cross(b - a, c - a)[:, 2] / 2
        assert (normals > 0).all()
        area.append(normals.sum())
    np.testing.assert_allclose(area, 1.0)


def test_lists_before_and_after_scalars_and_several_lists() -> None:
    header = (
        "ply\nformat {} 1.0\nelement face 2\nproperty uchar flags\nproperty list uchar float texcoord\n"
        "property list ushort uint vertex_index\nproperty double quality\nelement vertex 4\n"
        "property float x\nproperty float y\nproperty float z\nend_header\n"
    )
    for encoding, order in (("binary_little_endian", "<"), ("binary_big_endian", ">")):
        for second in ((1, [0.5]), (2, [0.5, 0.25])):  # the same length in both rows, or not
            body = struct.pack(order + "BBffHIIId", 7, 2, 0.0, 1.0, 3, 0, 1, 2, 1.5)
            body += struct.pack(order + f"BB{second[0]}fHIIId", 8, second[0], *second[1], 3, 1, 2, 3, 2.5)
            data = header.format(encoding).encode() + body + POINTS.astype(order + "f4").tobytes()
            np.testing.assert_array_equal(read_scan(data, "a.ply").faces, [[0, 1, 2], [1, 2, 3]])
    rows = "7 2 0 1 3 0 1 2 1.5\n8 1 0.5 3 1 2 3 2.5\n" + "".join("{} {} {}\n".format(*row) for row in POINTS)
    np.testing.assert_array_equal(read_scan((header.format("ascii") + rows).encode(), "a.ply").faces, [[0, 1, 2], [1, 2, 3]])


def test_triangle_strips_turn_every_second_triangle() -> None:
    body = "".join("{} {} {}\n".format(*row) for row in POINTS) + "9 0 1 2 3 -1 3 2 2 1\n"
    header = "ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
    data = f"{header}element tristrips 1\nproperty list int int vertex_indices\nend_header\n{body}".encode()
    np.testing.assert_array_equal(read_scan(data, "a.ply").faces, [[0, 1, 2], [2, 1, 3]])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("u1", COLORS),
        ("u2", COLORS.astype(np.uint16) * 257),
        ("f4", COLORS / 255),
        ("f4", COLORS.astype(np.float32)),
        ("i4", COLORS),
    ],
)
def test_colors_of_any_type(kind: str, values: NDArray[np.generic]) -> None:
    data = ply([*XYZ, *((name, kind, values[:, axis]) for axis, name in enumerate(("red", "green", "blue")))])
    np.testing.assert_array_equal(read_scan(data, "a.ply").colors, COLORS)


def test_normals_of_zeros_are_none(caplog: pytest.LogCaptureFixture) -> None:
    normals = np.zeros((4, 3))
    for last, said in ((0.0, True), (np.nan, False), (1.0, False)):
        normals[3] = last
        caplog.clear()
        with caplog.at_level(logging.INFO, "lpdif"):
            scan = read_scan(ply([*XYZ, *zip(("nx", "ny", "nz"), ["f4"] * 3, normals.T, strict=True)], polygons=FACES.tolist()), "a.ply")
        assert (scan.normals is None) == said
        assert ("a.ply: normals left out: all are zero" in caplog.text) == said
        np.testing.assert_array_equal(scan.faces, FACES)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "1 point without one"), (-1, "go from -1"), (70000, "to 70000"), (None, "black")])
def test_colors_that_are_none_are_left_out_and_said(value: float | None, said: str, caplog: pytest.LogCaptureFixture) -> None:
    values = COLORS.astype(np.float32)
    values[1, 1] = 0 if value is None else value
    values = values * 0 if value is None else values
    data = ply([*XYZ, *((name, "f4", values[:, axis]) for axis, name in enumerate(("red", "green", "blue")))])
    with caplog.at_level(logging.INFO, "lpdif"):
        assert read_scan(data, "a.ply").colors is None
    assert said in caplog.text


def test_texture_coordinates_and_alpha_are_not_carried() -> None:
    ones = np.ones(4)
    colors = tuple(zip(("red", "green", "blue"), ["u1"] * 3, COLORS.T, strict=True))
    rest = [("s", "f4", ones), ("t", "f4", ones), ("alpha", "u1", ones), ("weight", "f4", ones)]
    assert set(read_scan(ply([*XYZ, *colors, *rest]), "a.ply").extras) == {"weight"}
    assert set(read_scan(ply([*XYZ, *rest[1:]]), "a.ply").extras) == {"t", "alpha", "weight"}  # a time, and who knows


def test_nan_rows_are_kept_and_text_keeps_all_digits() -> None:
    points = POINTS.copy()
    points[2] = np.nan
    data = ply(tuple(zip("xyz", ["f8"] * 3, (points + 4_500_000.123).T, strict=True)), "ascii")
    scan = read_scan(data.replace(b"property double", b"property float"), "a.ply")  # as many programs write it
    np.testing.assert_array_equal(scan.points, points + 4_500_000.123)


def test_camera_of_the_point_cloud_library_is_the_sensor() -> None:
    base = ply(XYZ, "ascii").decode()
    names = ("view_px", "view_py", "view_pz", "viewportx", "viewporty")
    header = "element camera 1\n" + "".join(f"property float {name}\n" for name in names)
    for values, sensor in (("1 2 3 4 1", [1, 2, 3]), ("0 0 0 2 2", [0, 0, 0]), ("0 0 0 4 1", None)):
        data = base.replace("end_header", header + "end_header") + values + "\n"
        got = read_scan(data.encode(), "a.ply").sensor
        assert (got is None) if sensor is None else np.array_equal(got, sensor)  # type: ignore[arg-type]


def test_line_ends_of_the_header_are_told_from_the_data() -> None:
    for first in (b"\n", b"\r", b"\r\n", b"A"):  # the data's first byte
        points = POINTS.astype("<f4").copy()
        raw = bytearray(points.tobytes())
        raw[: len(first)] = first
        header = ply(XYZ)[: -len(raw)]
        for newline in (b"\n", b"\r\n", b"\r"):
            data = header.replace(b"\n", newline) + bytes(raw)
            np.testing.assert_array_equal(read_scan(data, "a.ply").points, np.frombuffer(bytes(raw), "<f4").reshape(-1, 3))
    mixed = ply(XYZ).replace(b"end_header\n", b"end_header\r\n")  # only the last line ends so
    np.testing.assert_array_equal(read_scan(mixed, "a.ply").points, POINTS)


def test_first_of_two_properties_of_a_name_counts() -> None:
    scan = read_scan(ply([*XYZ, ("x", "f4", POINTS[:, 1]), ("heat", "f4", POINTS[:, 0]), ("heat", "u1", np.ones(4))]), "a.ply")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.extras["heat"], POINTS[:, 0])


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("vertex 4", "vertex 4294967295", "ends after"),
        ("vertex 4", "vertex 1000000000000000000", "ends after"),
        ("vertex 4", "vertex 99999999999999999999999", 'is not "element NAME COUNT"'),
        ("vertex 4", "vertex -5", "header says -5 points"),
        ("vertex 4", "vertex four", 'is not "element NAME COUNT"'),
        ("vertex 4", "vertex", 'is not "element NAME COUNT"'),
        ("vertex 4", "vertex 0", "holds no points"),
        ("vertex 4", "corner 4", 'no element "vertex"'),
        ("float x", "float a", "no columns x, y and z; its columns are a, y, z"),
        ("float x", "quad x", "not understood"),
        ("float x", "list uchar", "not understood"),
        ("float x", "list float int x", "cannot count its values in float"),
        ("property float x", "propperty float x", "belongs in no PLY header"),
        ("end_header", "end_heeder", "does not end"),
        ("end_header", "end_headers", "followed by other letters"),
        ("format ", "formt ", "belongs in no PLY header"),
        ("1.0", "1.0\nelement vertex 1\nproperty float x", "lists an element twice"),
        ("little_endian", "little", "is none of ascii"),
    ],
)
def test_headers_that_lie(old: str, new: str, said: str) -> None:
    assert said in refusal(ply(XYZ, polygons=FACES.tolist()).replace(old.encode(), new.encode(), 1))


@pytest.mark.parametrize(("count", "said"), [("4294967295", "room for"), ("1000000000000000000", "room for"), ("9", "ends after")])
def test_text_headers_that_lie(count: str, said: str) -> None:
    assert said in refusal(ply(XYZ, "ascii").replace(b"vertex 4", f"vertex {count}".encode()))


def test_a_giant_header_is_not_searched_through() -> None:
    head = b"ply\nformat ascii 1.0\n" + b"comment " + b"a" * (2 << 20) + b"\n"
    assert "no end_header in its first" in refusal(head + ply(XYZ, "ascii")[21:])


def test_cut_files_say_how_far_they_go() -> None:
    points = np.random.default_rng(0).random((100, 3))
    columns = tuple(zip("xyz", ["f4"] * 3, points.T, strict=True))
    data = ply(columns)
    assert refusal(data[: -47 * 12]) == "ends after 53 of 100 points (header says 100)"
    assert refusal(data[: -47 * 12 - 5]) == "ends after 52 of 100 points (header says 100)"
    written = ply(columns, "ascii")
    rows = written.splitlines(keepends=True)
    assert refusal(b"".join(rows[:-47])) == "ends after 53 of 100 points (header says 100)"
    assert refusal(b"".join(rows[:-46])[:-30]) == "ends after 53 of 100 points (header says 100)"
    meshed = ply(columns, polygons=[[0, 1, 2]] * 9)
    assert refusal(meshed[:-20]) == "ends after 7 of 9 faces (header says 9)"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_faces_that_use_points_that_are_not_there(encoding: str) -> None:
    for wrong in (4, -1, 2**31 - 1):
        message = refusal(ply(XYZ, encoding, [[0, 1, 2], [0, 1, wrong], [0, 1, 2]]))
        assert message == f"face 2 of 3 uses point {wrong}, but points go from 0 to 3"


def test_rows_that_are_wrong_are_named_by_line() -> None:
    data = ply(XYZ, "ascii", FACES.tolist())
    first = data[: data.index(b"end_header")].count(b"\n") + 2
    assert refusal(data.replace(b"1.0 0.0 0.25", b"1.0 abc 0.25")) == f"line {first + 1}: 'abc' is not a number"
    assert refusal(data.replace(b"1.0 0.0 0.25", b"1.0 1_0 0.25")) == f"line {first + 1}: '1_0' is not a number"
    assert refusal(data.replace(b"1.0 0.0 0.25", b"1.0 0.25")) == f"line {first + 1}: 2 numbers instead of 3"
    assert refusal(data.replace(b"3 0 1 3", b"4 0 1 3")).startswith(f"line {first + 5}: vertex_indices has fewer values")
    assert refusal(data.replace(b"3 0 1 3", b"2 0 1 3")).startswith(f"line {first + 5}: more numbers than")
    assert refusal(data.replace(b"3 0 1 3", b"-3 0 1 3")).startswith(f"line {first + 5}: vertex_indices does not begin")
    assert refusal(data.replace(b"3 0 1 3", b"3 0 1.5 3")) == "face 2 of 4 uses point 1.5: not a whole number"
    assert refusal(data.replace(b"1.0 0.0 0.25", b"1.0 0.0\x010.25")) == f"line {first + 1}: control character 1: this is no text"


@pytest.mark.parametrize("layout", ["one line", "one number a line", "pairs", "as the writer's screen"])
@pytest.mark.parametrize("polygons", [None, FACES.tolist(), [[0, 1, 2], [0, 1, 2, 3], [1, 2], [3, 2, 1]]])
def test_rows_are_told_apart_by_their_numbers(layout: str, polygons: list[list[int]] | None) -> None:
    data = ply([*XYZ, ("heat", "u2", np.arange(4))], "ascii", polygons)
    expected = read_scan(data, "a.ply")
    start = data.index(b"end_header\n") + 11
    words = data[start:].split()
    width = {"one line": len(words), "one number a line": 1, "pairs": 2, "as the writer's screen": 5}[layout]
    body = b"\r\n".join(b" ".join(words[place : place + width]) for place in range(0, len(words), width))
    for ending in (b"", b"\n", b" \r\n\n"):
        scan = read_scan(data[:start] + body + ending, "a.ply")
        np.testing.assert_array_equal(scan.points, POINTS)
        np.testing.assert_array_equal(scan.extras["heat"], np.arange(4))
        np.testing.assert_array_equal(scan.faces, expected.faces)
    for wrong in (body + b" 7", body[: body.rindex(words[-1])]):  # then they are not
        refusal(data[:start] + wrong, "a.ply")


def test_one_row_a_line() -> None:
    class Sized(NamedTuple):
        count: int
        properties: list[Property]

    scalar, of_many = Property("x", "f4"), Property("corners", "i4", "u1")
    elements = [Sized(2, [scalar, scalar]), Sized(0, []), Sized(2, [of_many, scalar])]
    words = b"1 2 3\n4 2 8 9 5 0\n\n6"
    assert one_row_a_line(b"head\n" + words, 5, elements) == b"head\n1 2\n3 4\n2 8 9 5\n0  6"
    for wrong in (b"", b"1 2 3", words + b" 7", words.replace(b"2 8", b"x 8"), words.replace(b"3", b"\x013"), b"1 2 3 4 9999999999 1"):
        assert one_row_a_line(wrong, 0, elements) is None
    assert one_row_a_line(words, 0, [Sized(10**18, [scalar])]) is None
    assert one_row_a_line(words, 0, [Sized(10**18, [of_many])]) is None


def test_a_number_too_many_in_every_row(caplog: pytest.LogCaptureFixture) -> None:
    data = ply(XYZ, "ascii", FACES.tolist())
    start = data.index(b"end_header\n") + 11
    lines = data[start:].splitlines(keepends=True)
    rows = [line.replace(b"\n", b" 255\n") for line in lines[:4]]
    scan = read_scan(data[:start] + b"".join([*rows, *lines[4:]]), "a.ply")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.faces, FACES)
    assert "a.ply: the last of 4 numbers left out in each row: the header names 3" in caplog.text
    assert "4 numbers instead of 3" in refusal(data[:start] + b"".join([*rows[:2], *lines[2:]]), "a.ply")


def test_beginnings_in_other_spellings() -> None:
    data = ply(XYZ, "ascii", FACES.tolist())
    for spelt in (b"PLY" + data[3:], b"\n" + data, b" \r\n\r\n" + data.replace(b"ply", b"Ply", 1)):
        np.testing.assert_array_equal(read_scan(spelt, "a.ply").faces, FACES)
    assert refusal(b"PLY\nformat ascii 1.0\nelement vertex 1\n") == "PLY header does not end: no end_header in the file"
    assert refusal(b"PLYS\nformat ascii 1.0\nelement vertex 1\n") == "not a PLY file (it begins with 'PLYS')"


def test_list_counts_that_lie() -> None:
    data = bytearray(ply(XYZ, polygons=FACES.tolist()))
    data[-13] = 255
    assert refusal(bytes(data)) == "ends after 3 of 4 faces (header says 4)"
    wide = ply(XYZ, polygons=FACES.tolist()).replace(b"list uchar int", b"list uint int")
    assert refusal(wide).startswith("ends after ")


def test_a_number_that_moved_to_another_line_is_no_other_row() -> None:
    """Lines are rows here: all rows between the one that is too short and the one that is too long would be shifted."""
    lines = [b"%d %d %d" % (i, i + 1, i * i) for i in range(100)]
    lines[6], lines[61] = lines[6].rsplit(b" ", 1)[0], lines[61] + b" 7"
    head = b"ply\nformat ascii 1.0\nelement vertex 100\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    assert refusal(head + b"\n".join(lines) + b"\n", "a.ply") == "line 14: 2 numbers instead of 3"


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("words", [False, True])
def test_truth_values(encoding: str, words: bool) -> None:
    """As pyntcloud writes them: one byte, or 0 and 1, or True and False; among single values and in lists."""
    green = np.array([1, 0, 0, 1], dtype=np.uint8)
    data = ply([*XYZ, ("green", "u1", green)], encoding, FACES.tolist()).replace(b"property uchar green", b"property bool green")
    if words and encoding == "ascii":
        rows = data.split(b"\n")
        start = rows.index(b"end_header") + 1
        rows[start : start + 4] = [row[:-1] + (b"True" if row[-1:] == b"1" else b"False") for row in rows[start : start + 4]]
        data = b"\n".join(rows)
        assert data.count(b"True") == 2
    scan = read_scan(data, "a.ply")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.extras["green"], green)
    np.testing.assert_array_equal(scan.faces, FACES)


def test_lists_of_truth_values() -> None:
    header = "ply\nformat {} 1.0\nelement vertex 3\n" + "".join(f"property float {axis}\n" for axis in "xyz")
    header += "property list uchar bool seen\nend_header\n"
    text = header.format("ascii").encode() + b"1 2 3 2 true false\n4 5 6 0\n7 8 9 1 True\n"
    rows = [struct.pack("<3fB2?", 1, 2, 3, 2, True, False), struct.pack("<3fB", 4, 5, 6, 0), struct.pack("<3fB?", 7, 8, 9, 1, True)]
    for data in (text, header.format("binary_little_endian").encode() + b"".join(rows)):
        np.testing.assert_array_equal(read_scan(data, "a.ply").points, np.arange(1, 10).reshape(3, 3))


def test_words_are_no_numbers_where_nothing_is_true_or_false() -> None:
    assert "'True' is not a number" in refusal(ply(XYZ, "ascii").replace(b"\n0.0 ", b"\nTrue ", 1))


def faces_with_values(encoding: str) -> bytes:
    """Four points, and a triangle, a square, a face of two corners and a triangle with a point used twice, each with a number and a weight."""
    polygons, numbers, weights = [(0, 1, 2), (0, 1, 2, 3), (0, 1), (1, 1, 2)], [7, -2, 5, 6], [0.5, 1.5, 2.5, 3.5]
    head = f"ply\nformat {encoding} 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\nelement face 4\n"
    head += "property int pattern\nproperty list uchar int vertex_indices\nproperty float weight\nend_header\n"
    if encoding == "ascii":
        rows = [f"{n} {len(p)} {' '.join(map(str, p))} {w}" for n, p, w in zip(numbers, polygons, weights, strict=True)]
        return (head + "0 0 0\n1 0 0\n1 1 0\n0 1 0\n" + "\n".join(rows) + "\n").encode()
    order = "<" if "little" in encoding else ">"
    body = struct.pack(f"{order}12f", 0, 0, 0, 1, 0, 0, 1, 1, 0, 0, 1, 0)
    for number, polygon, weight in zip(numbers, polygons, weights, strict=True):
        body += struct.pack(f"{order}iB{len(polygon)}if", number, len(polygon), *polygon, weight)
    return head.encode() + body


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_values_of_faces_go_with_their_triangles(encoding: str) -> None:
    scan = read_scan(faces_with_values(encoding), "a.ply")
    assert scan.faces is not None
    assert scan.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3]]
    assert set(scan.face_values) == {"pattern", "weight"}
    assert scan.face_values["pattern"].tolist() == [7, -2, -2]
    assert scan.face_values["weight"].tolist() == [0.5, 1.5, 1.5]


def test_values_of_faces_are_written_and_read_again() -> None:
    from lpdif.io.write import encode_scan_file

    scan = read_scan(faces_with_values("ascii"), "a.ply")
    again = read_scan(encode_scan_file(scan), "a.ply")
    assert {name: values.tolist() for name, values in again.face_values.items()} == {"pattern": [7, -2, -2], "weight": [0.5, 1.5, 1.5]}


def test_names_of_patterns_are_written_and_read_again() -> None:
    from lpdif.io.write import encode_scan_file

    names = {7: "convex edge", -1: "no region"}
    scan = replace(read_scan(faces_with_values("ascii"), "a.ply"), pattern_names=names)
    data = encode_scan_file(scan)
    assert b"\ncomment pattern 7 convex edge\ncomment pattern -1 no region\nelement" in data
    assert read_scan(data, "a.ply").pattern_names == names
    strange = encode_scan_file(replace(scan, pattern_names={1: "Kante \xe4\nend_header"}))
    assert read_scan(strange, "a.ply").pattern_names == {1: r"Kante \xe4\nend_header"}


@pytest.mark.parametrize("line", ["pattern", "pattern 7", "pattern x edge", "pattern 1.5 edge", "patterns 1 edge"])
def test_other_comments_are_no_names_of_patterns(line: str) -> None:
    data = faces_with_values("ascii").replace(b"element vertex", f"comment {line}\nelement vertex".encode())
    assert read_scan(data, "a.ply").pattern_names == {}


def test_a_name_of_a_pattern_is_kept_short_and_counts_once() -> None:
    lines = b"comment pattern 3 " + b"x" * 5000 + b"\ncomment pattern 3 again\n"
    names = read_scan(faces_with_values("ascii").replace(b"element vertex", lines + b"element vertex"), "a.ply").pattern_names
    assert names == {3: "x" * 77 + "..."}


def test_strips_take_the_values_of_faces_with_them() -> None:
    strip = b"element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    data = faces_with_values("ascii").replace(b"end_header\n", strip) + b"4 0 1 3 2\n"
    scan = read_scan(data, "a.ply")
    assert scan.faces is not None
    assert len(scan.faces) == 5
    assert scan.face_values == {}
