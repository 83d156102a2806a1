"""The clever parts of the readers against slow, obvious ones: rows of text, parts of corners, strips, lists."""

from __future__ import annotations

import time

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seed_files import POINTS, ply
from test_reading_ply import refusal

from lpdif.errors import InputError
from lpdif.io.formats import ply_lists
from lpdif.io.formats.obj import _first_parts, _third_parts
from lpdif.io.polygons import strips
from lpdif.io.read import read_scan
from lpdif.io.source import Source, Text
from lpdif.io.table import numbers as numbers_module
from lpdif.io.table.numbers import read_rows

LINE = st.sampled_from([b"", b" ", b"1 2 3", b"v 1 2", b"  v -1e3", b"\tv\t.5  7.", b"vn 1", b"# 9 9", b"5 # 6", b"v 8#", b"4\r", b"v 1 nan\r"])


@given(st.lists(LINE, max_size=30), st.sampled_from([1, 5, 17, 1 << 20]), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_rows_are_those_of_the_slow_reader(lines: list[bytes], block: int, ended: bool, with_keyword: bool) -> None:
    if not with_keyword:
        lines = [line for line in lines if b"v" not in line]
    data = b"\n".join(lines) + b"\n" * ended
    keyword = b"v" if with_keyword else b""
    expected, numbers = naive.text_rows(data, keyword, b"#")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numbers_module, "BLOCK_BYTES", block)
        got = read_rows(Text(Source("a", data), data, comments=(b"#",)), keyword=keyword)
        limited = read_rows(Text(Source("a", data), data, comments=(b"#",)), rows=3, keyword=keyword)
    np.testing.assert_array_equal(got.values, [value for row in expected for value in row])
    np.testing.assert_array_equal(got.counts, [len(row) for row in expected])
    np.testing.assert_array_equal(got.lines, numbers)
    np.testing.assert_array_equal(limited.lines, numbers[:3])
    rest = read_rows(Text(Source("a", data), data, comments=(b"#",)), limited.end, keyword=keyword)
    np.testing.assert_array_equal(rest.lines, numbers[3:])


CORNER = st.sampled_from([b"1", b"12/3", b"-4/5/6", b"7//8", b"9//", b"10/"])


@given(st.lists(st.lists(CORNER, min_size=1, max_size=5), min_size=1, max_size=5))
@settings(deadline=None)
def test_parts_of_corners(faces: list[list[bytes]]) -> None:
    data = b"\n".join(b" ".join(face) for face in faces)
    block = np.frombuffer(data, np.uint8)
    first, third = (parts(block).tobytes().split(b"\n") for parts in (_first_parts, _third_parts))
    for face, a, c in zip(faces, first, third, strict=True):
        assert ([int(word) for word in a.split()], [int(word) for word in c.split()]) == naive.first_and_third_parts(b" ".join(face))


@given(st.lists(st.lists(st.integers(-1, 6), max_size=12), min_size=1, max_size=3))
@settings(deadline=None)
def test_strips(lists: list[list[int]]) -> None:
    expected = [triangle for strip in lists for triangle in naive.strip_triangles(strip)]
    got = strips(np.array([corner for strip in lists for corner in strip], dtype=np.int64), np.array([len(strip) for strip in lists]))
    np.testing.assert_array_equal(got, np.array(expected, dtype=np.int64).reshape(-1, 3))


@given(st.integers(1, 9), st.integers(0, 6), st.sampled_from(["binary_little_endian", "binary_big_endian"]))
@settings(deadline=None)
def test_lists_of_one_length_are_read_as_those_found_one_by_one(count: int, length: int, encoding: str) -> None:
    polygons = (np.arange(count * length) % 4).reshape(count, length).tolist()
    data = ply(tuple(zip("xyz", ["f4"] * 3, POINTS.T, strict=True)), encoding, polygons)
    fast = read_scan(data, "a.ply").faces
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ply_lists, "_uniform", lambda *_: None)
        np.testing.assert_array_equal(read_scan(data, "a.ply").faces, fast)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"1 2 3\n" * 9 + b"1 2 \x03\n", "line 10: control character 3: this is no text"),
        (b"1 2 3\n" * 9 + b"1 2\x032\n", "line 10: control character 3: this is no text"),
        (b"1 2 3\n" * 9 + b"1 2 3\x03\n", "line 10: '3\\x03' is not a number"),
        (b"1 2 3\n\n" * 9 + b"1 2 3\n1 2 \x1b[31m\n", "line 20: '\\x1b[31m' is not a number"),
        (b"1 2 3\n1 2 3 " + b"4 " * (1 << 20), "line 2: 1,048,579 numbers on one line"),
    ],
)
def test_what_is_no_text_is_named_by_line(data: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_rows(Text(Source("a.xyz", data), data))
    assert caught.value.message == f"a.xyz: {said}"


def test_lines_that_do_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers_module, "LONGEST_LINE", 1 << 20)
    assert refusal(b"1 2 3\n" + b" " * (2 << 20) + b"1 2 3\n", "a.xyz") == "line 1: a line of 2 MB"


def test_messages_hold_nothing_that_a_terminal_obeys() -> None:
    data = ply((("\x1b[31mred", "f4", POINTS[:, 0]),))
    assert refusal(data) == "no columns x, y and z; its columns are \\x1b[31mred"
    with pytest.raises(InputError) as caught:
        read_scan(b"", "a\x1b[31m\nb.ply")
    assert caught.value.message == "a\\x1b[31m\\nb.ply: is empty (0 bytes), at least 32 points are needed"


def without_end(many: int) -> list[tuple[str, bytes]]:
    """Names and contents of files with about so many blanks or brackets, which a careless pattern or loop reads over and over."""
    return [
        ("a.obj", b"v 1 2 3\n" + b" " * many + b"v 1 2\n"),
        ("a.vtk", b"# vtk DataFile Version 3.0\na\nASCII\nDATASET POLYDATA\nPOINTS 1 float\n" + b"\n" * many + b"1 2\n"),
        ("a.ply", b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float " + b"(" * many + b"\nend_header\n1\n"),
        ("a.csv", b"(" * min(many, 60_000) + b",b,c\n1,2,3\n1,2\n"),
        ("a.off", b"\n" * many + b"OFF"),
    ]


def refusal_seconds(data: bytes, name: str) -> float:
    """CPU time, which other work on the machine hardly changes."""
    began = time.process_time()
    refusal(data, name)
    return time.process_time() - began


def test_four_times_the_blanks_do_not_take_sixteen_times_as_long() -> None:
    many = 1 << 17
    for (name, few), (_, more) in zip(without_end(many), without_end(4 * many), strict=True):
        assert refusal_seconds(more, name) < 8 * refusal_seconds(few, name) + 2, name
