"""Colours and normals as programs write them, in any format: fractions, packed into a number, of faces, or zeros for none."""

from __future__ import annotations

import io
import logging

import numpy as np
import pytest
from numpy.typing import NDArray
from seed_files import COLORS, FACES, POINTS, ply
from test_reading_ply import XYZ

from lpdif.io.read import read_scan
from lpdif.io.table.colors import colors_of_faces, packed_colors

PACKED = (COLORS.astype(np.uint32) << [16, 8, 0]).sum(axis=1).astype(np.uint32)


def npy(columns: dict[str, NDArray[np.generic]]) -> bytes:
    """A structured array, as numpy.save writes it."""
    array = np.zeros(len(POINTS), [(name, column.dtype) for name, column in columns.items()])
    for name, column in columns.items():
        array[name] = column
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def csv(header: str, *columns: NDArray[np.generic]) -> bytes:
    rows = zip(*(column.tolist() for column in (*POINTS.T, *columns)), strict=True)
    return "\n".join([header, *(",".join(map(repr, row)) for row in rows), ""]).encode()


@pytest.mark.parametrize("brighter", [1.0, 1.001, 1.5])
def test_fractions_that_go_beyond_one_are_cut_off(brighter: float, caplog: pytest.LogCaptureFixture) -> None:
    colors = COLORS / 255 * brighter
    expected = np.minimum(np.rint(colors * 255), 255)
    named = zip(("red", "green", "blue"), ["f8"] * 3, colors.T, strict=True)
    with caplog.at_level(logging.INFO, "lpdif"):
        np.testing.assert_array_equal(read_scan(ply([*XYZ, *named]), "a.ply").colors, expected)
        np.testing.assert_array_equal(read_scan(csv("x,y,z,r,g,b", *colors.T), "a.csv").colors, expected)
    assert ("cut off at 1" in caplog.text) is (brighter > 1)


def test_small_whole_numbers_are_bytes() -> None:
    """A dark picture, in floats: 2 of 255 is no fraction."""
    dark = np.array([[0, 1, 2], [2, 2, 0], [1, 0, 0], [0, 0, 2]])
    named = zip(("red", "green", "blue"), ["f4"] * 3, dark.T, strict=True)
    np.testing.assert_array_equal(read_scan(ply([*XYZ, *named]), "a.ply").colors, dark)


@pytest.mark.parametrize("opacity", [0, 255])
@pytest.mark.parametrize("name", ["rgb", "rgba"])
def test_colors_that_are_packed_into_a_number(name: str, opacity: int) -> None:
    packed = PACKED | np.uint32(opacity << 24)
    arrays: dict[str, NDArray[np.generic]] = dict(zip("xyz", POINTS.T, strict=True))
    for column in (packed, packed.view(np.int32), packed.astype(np.int64), packed.view(np.float32)):
        scan = read_scan(npy(arrays | {name: column}), "a.npy")
        np.testing.assert_array_equal(scan.colors, COLORS)
        assert scan.extras == {}
    for data, file in ((csv(f"x,y,z,{name}", packed), "a.csv"), (ply([*XYZ, (name, "u4", packed)]), "a.ply")):
        np.testing.assert_array_equal(read_scan(data, file).colors, COLORS)


@pytest.mark.parametrize(
    "column",
    [
        np.arange(4, dtype=np.int32),  # a number of a colour
        np.array([0.5, 0.25, 1.0, 0.75], dtype=np.float32),
        np.array([0.5, np.nan, 1e9, 0.75]),
        np.array([1, 2, 3, 4], dtype=np.uint8),
        np.array([1 << 40, 2, 3, 4]),
    ],
)
def test_other_values_called_rgb_stay_values(column: NDArray[np.generic]) -> None:
    assert packed_colors(column) is None
    scan = read_scan(npy(dict(zip("xyz", POINTS.T, strict=True)) | {"rgb": column}), "a.npy")
    assert scan.colors is None
    np.testing.assert_array_equal(scan.extras["rgb"], column)


@pytest.mark.parametrize("name", ["a.npy", "a.csv", "a.ply"])
def test_normals_of_zeros_are_none_in_any_format(name: str, caplog: pytest.LogCaptureFixture) -> None:
    zeros = np.zeros(4)
    if name == "a.npy":
        data = npy(dict(zip("xyz", POINTS.T, strict=True)) | dict.fromkeys(("nx", "ny", "nz"), zeros))
    elif name == "a.csv":
        data = csv("x,y,z,nx,ny,nz", zeros, zeros, zeros)
    else:
        data = ply([*XYZ, *((axis, "f4", zeros) for axis in ("nx", "ny", "nz"))])
    with caplog.at_level(logging.INFO, "lpdif"):
        assert read_scan(data, name).normals is None
    assert f"{name}: normals left out: all are zero" in caplog.text


@pytest.mark.parametrize("words", ["rot;grün;blau", "Rouge;Vert;Bleu", "rojo;verde;azul", "Rosso;Verde;Blu"])
def test_colors_in_other_languages(words: str) -> None:
    data = csv(f"x;y;z;{words}", *COLORS.T).replace(b",", b";")
    np.testing.assert_array_equal(read_scan(data, "a.csv").colors, COLORS)


def test_colors_of_faces_go_to_the_points_around(caplog: pytest.LogCaptureFixture) -> None:
    """As MeshLab saves colours of faces, where points have none."""
    colors = np.array([[0, 30, 90], [10, 60, 0], [20, 90, 0], [255, 0, 6]])
    head, _, rows = ply(XYZ, "ascii", FACES.tolist()).partition(b"end_header\n")
    head += b"property uchar red\nproperty uchar green\nproperty uchar blue\nend_header\n"
    lines = rows.decode().splitlines()
    lines[4:] = [f"{line} {r} {g} {b}" for line, (r, g, b) in zip(lines[4:], colors, strict=True)]
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(head + "\n".join(lines).encode() + b"\n", "a.ply")
    expected = np.array([np.rint(colors[(point == FACES).any(axis=1)].mean(axis=0)) for point in range(4)])
    np.testing.assert_array_equal(scan.colors, expected)
    assert "colours of points taken from those of the faces around them" in caplog.text


def test_points_without_faces_are_black() -> None:
    colors = np.full((1, 3), 200, dtype=np.uint8)
    np.testing.assert_array_equal(colors_of_faces(np.array([[0, 1, 2]]), colors, 4), [[200] * 3] * 3 + [[0] * 3])


def test_headers_of_ply_in_capitals_and_names_of_two_words() -> None:
    data = ply([*XYZ, ("quality", "f4", np.arange(4))], "ascii")
    data = data.replace(b"float quality", b"Float Signed distances").replace(b"format ascii", b"format ASCII")
    np.testing.assert_array_equal(read_scan(data, "a.ply").extras["Signed distances"], np.arange(4))
