"""What is packed comes out again, by a decoder that goes from number to number."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_page import ReadPage, numbers

from lpdif.view.packing import (
    FARTHEST,
    LEVELS,
    STEPS,
    Archive,
    byte_planes,
    encode_bytes,
    encode_colors,
    encode_faces,
    encode_positions,
    levels,
    morton_order,
    quantise,
    sorted_faces,
)


@given(st.lists(st.integers(0, 2**32 - 1), max_size=20))
@settings(max_examples=50, deadline=None)
def test_byte_planes_hold_the_numbers(values: list[int]) -> None:
    assert numbers(byte_planes(np.array(values, np.int64), 4)) == values


@given(st.lists(st.tuples(*[st.integers(-FARTHEST, FARTHEST)] * 3), min_size=1, max_size=20))
@settings(max_examples=80, deadline=None)
def test_positions_come_out_again(steps: list[tuple[int, int, int]]) -> None:
    page = ReadPage({"frame": [[0, 0, 0], [1, 1, 1]], "step": 1}, {"positions": encode_positions(np.array(steps))})
    assert page.places("positions") == [list(row) for row in steps]


def test_positions_are_rounded_to_half_a_step_at_most() -> None:
    positions = np.random.default_rng(0).uniform(-3, 5, (1000, 3))
    corner, step = positions.min(axis=0), 8 / STEPS
    steps = quantise(positions, corner, step)
    assert np.abs(corner + steps * step - positions).max() <= step / 2 * (1 + 1e-6)
    assert steps.min() >= 0
    assert steps.max() <= STEPS


def test_faces_come_out_again_turned_but_not_turned_over() -> None:
    rng = np.random.default_rng(1)
    faces = np.array([rng.choice(50, 3, replace=False) for _ in range(200)])
    turned, rows = sorted_faces(faces)
    page = ReadPage({}, {"faces": encode_faces(turned)})
    found = page.faces()
    assert sorted(rows.tolist()) == list(range(200))
    for row, face in zip(rows.tolist(), found, strict=True):
        a, b, c = faces[row].tolist()
        assert face in ([a, b, c], [b, c, a], [c, a, b])
        assert face[0] == min(face)
    assert found == sorted(found)


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_come_out_again(channels: int) -> None:
    values = np.random.default_rng(2).integers(0, 256, (300, channels)).astype(np.uint8)
    page = ReadPage({}, {"values": encode_bytes(values if channels > 1 else values[:, 0])})
    assert page.bytes("values", channels) == values.tolist()


def test_colors_come_out_again() -> None:
    colors = np.random.default_rng(3).integers(0, 256, (300, 3)).astype(np.uint8)
    assert ReadPage({}, {"colors": encode_colors(colors)}).colors("colors") == colors.tolist()


def test_levels_go_from_the_first_to_the_last() -> None:
    assert levels(np.array([-1.0, 0, 1, 2, 3, 9]), 0.0, 3.0).tolist() == [0, 0, 21, 42, LEVELS - 1, LEVELS - 1]
    assert levels(np.array([2.0, 2.0]), 2.0, 2.0).tolist() == [0, 0]


def test_morton_order_interleaves_the_bits() -> None:
    cells = np.random.default_rng(4).integers(0, 2**16, (500, 3))
    cells[0], cells[1] = 0, 2**16 - 1  # the ends, so that a position is its cell

    def key(row: list[int]) -> int:
        return sum(((row[axis] >> bit) & 1) << (3 * bit + axis) for bit in range(16) for axis in range(3))

    assert [key(row) for row in cells[morton_order(cells.astype(float))].tolist()] == sorted(map(key, cells.tolist()))


def test_points_at_one_place_have_an_order() -> None:
    assert morton_order(np.ones((5, 3))).tolist() == [0, 1, 2, 3, 4]


def test_an_archive_says_where_its_parts_are() -> None:
    archive = Archive()
    archive.put("one", b"abc")
    archive.put("none", b"")
    archive.put("two", b"de")
    assert archive.places == {"one": [0, 3], "none": [3, 0], "two": [3, 2]}
