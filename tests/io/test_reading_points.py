"""Columns of text, PCD, NPY and NPZ: points with what belongs to them, and what is refused."""

from __future__ import annotations

import logging
import pickle
import random
import struct
import zipfile
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seed_files import COLORS, CSV, FACES, NORMALS, POINTS, PTS, npy, npz, pcd
from test_reading_ply import refusal

from lpdif.io.formats.pcd import decompress_lzf
from lpdif.io.read import read_scan


def table(*columns: np.ndarray, delimiter: str = " ", head: str = "", form: str = "%.9g") -> bytes:
    rows = np.column_stack(columns)
    return (head + "".join(delimiter.join(form % value for value in row) + "\n" for row in rows)).encode()


def sphere(count: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return 3 * normals + [100.0, -20.0, 7.0], normals, rng.integers(0, 256, size=(count, 3))


def test_columns_without_names_are_told_by_their_values() -> None:
    points, normals, colors = sphere()
    label = np.arange(40) % 5
    heat = np.linspace(-40, 90, 40)
    layouts: list[tuple[list[np.ndarray], list[str]]] = [
        ([points], []),
        ([points, normals], ["normals"]),
        ([points, colors], ["colors"]),
        ([points, colors / 255], ["colors"]),
        ([points, colors, normals], ["colors", "normals"]),
        ([points, normals, colors], ["colors", "normals"]),
        ([points, heat], ["intensity"]),
        ([points, heat, colors], ["intensity", "colors"]),
        ([points, colors, label], ["colors", "intensity"]),
        ([points, normals, heat, label], ["normals", "intensity", "value2"]),
        ([np.arange(40), points, normals], ["normals"]),
        ([np.arange(1, 41), points], []),
    ]
    for columns, names in layouts:
        for delimiter in (" ", ", ", ";", "\t", " , ", "  "):
            scan = read_scan(table(*columns, delimiter=delimiter), "a.xyz")
            np.testing.assert_allclose(scan.points, points, rtol=1e-8)
            assert (scan.normals is not None) == ("normals" in names)
            assert (scan.colors is not None) == ("colors" in names)
            assert set(scan.extras) == {name for name in names if name not in ("normals", "colors")}
            if scan.colors is not None:
                np.testing.assert_array_equal(scan.colors, colors)
            if scan.normals is not None:
                np.testing.assert_allclose(scan.normals, normals, atol=1e-8)


def test_columns_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        read_scan(PTS, "a.pts")
    assert "a.pts: columns taken as x y z intensity red green blue" in caplog.text


@pytest.mark.parametrize(
    "head",
    [
        "x,y,z,nx,ny,nz,heat\n",
        "# X Y Z Nx Ny Nz heat\n",
        "//X;Y;Z;Nx;Ny;Nz;heat\n",
        '"x","y","z","normal_x","normal_y","normal_z","heat"\n',
        "% made by a test\n#\nX [m],Y [m],Z [m],NormalX,NormalY,NormalZ,heat\n",
        "Points:0,Points:1,Points:2,Normals:0,Normals:1,Normals:2,heat\n",
        "Easting,Northing,Height,nx,ny,nz,heat\n",
    ],
)
def test_names_of_columns(head: str) -> None:
    points, _, _ = sphere()
    other = np.full((40, 3), 0.25)  # which values would not tell to be normals
    scan = read_scan(table(points, other, np.arange(40), delimiter=",", head=head), "a.csv")
    np.testing.assert_allclose(scan.points, points, rtol=1e-8)
    np.testing.assert_array_equal(scan.normals, other)
    np.testing.assert_array_equal(scan.extras["heat"], np.arange(40))


def test_names_in_another_order_words_gaps_and_quotes() -> None:
    data = b'kind,z,y,x,"note"\ntree,3,2,1,"a"\nhouse,6,5,4,"b"\n,9,,7,\n'
    scan = read_scan(data, "a.csv")
    np.testing.assert_array_equal(scan.points, [[1, 2, 3], [4, 5, 6], [7, np.nan, 9]])
    assert scan.extras == {}
    assert refusal(data.replace(b"4", b"abc"), "a.csv") == "line 3: 'abc' is not a number"
    assert refusal(data + b"a,1,2\n", "a.csv") == "line 5: 3 fields instead of 5"


def test_decimal_commas_where_semicolons_part_columns() -> None:
    np.testing.assert_array_equal(read_scan(b"x;y;z\n1,5;2,25;-3\n4;5;6,125;\n", "a.csv").points, [[1.5, 2.25, -3], [4, 5, 6.125]])


def test_comments_blank_lines_and_delimiters_at_the_end() -> None:
    data = b"# one\n\n1, 2, 3,\n# two\n4, 5, 6,\n\n  \n7, 8, nan, # three\n"
    np.testing.assert_array_equal(read_scan(data, "a.txt").points, [[1, 2, 3], [4, 5, 6], [7, 8, np.nan]])


@pytest.mark.parametrize("word", ["nan", "NaN", "-nan", "inf", "-nan(ind)", "nan(snan)", "1.#QNAN", "-1.#IND00", "1.#INF"])
def test_missing_numbers_in_any_spelling(word: str) -> None:
    for data, name in (
        (f"1 2 3\n4 {word} 6\n", "a.xyz"),
        (f"{word} 2 3\n4 5 6\n", "a.xyz"),
        (f"v 1 2 3\nv 4 {word} 6\n", "a.obj"),
    ):
        points = read_scan(data.encode(), name).points
        assert points.shape == (2, 3)
        assert (~np.isfinite(points)).sum() == 1


def test_utm_coordinates_keep_their_digits() -> None:
    scan = read_scan(b"665187.522077 5648349.895035 241.767693 117 73 49\n665187.404645 5648349.776039 244.857091 91 87 74\n", "a.xyz")
    assert scan.points[0].tolist() == [665187.522077, 5648349.895035, 241.767693]
    assert scan.colors is not None
    assert scan.colors.tolist() == [[117, 73, 49], [91, 87, 74]]


def test_rows_are_read_alike_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    points, _, _ = sphere(300)
    data = table(points, form="%.17g", head="\n# head\n")
    whole = read_scan(data, "a.xyz").points
    np.testing.assert_array_equal(whole, points)
    for size in (1, 7, 64, 1000):
        monkeypatch.setattr("lpdif.io.table.numbers.BLOCK_BYTES", size)
        np.testing.assert_array_equal(read_scan(data, "a.xyz").points, whole)
        assert refusal(data.replace(b"\n", b" x\n").replace(b" x", b"", 200), "a.xyz").startswith("line 201: ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"1 2\n3 4\n", "rows of 2 numbers"),
        (b"1 2 3\n4\n5 6 7\n", "line 2: 1 number instead of 3"),
        (b"1 2 3\n4 5\n6 7 8\n", "line 2: 2 numbers instead of 3"),
        (b"1 2 3\n4 x 5\n6 7 8\n", "line 2: 'x' is not a number"),
        (b"4\n1 2 3\n4 5 6\n", "ends after 2 of 4 points (header says 4)"),
        (b"1\n1 2 3\n4 5 6\n", "header says 1 point, but the file holds 2"),
        (b"4294967295\n1 2 3\n", "ends after 1 of 4,294,967,295 points"),
        (b"lat,lon,height\n50.1,8.2,100\n", "degrees"),
        (b"# nothing\n\n", "not columns of numbers"),
        (b"x y z\n", "not columns of numbers"),
        (b"once upon a time\nthere was a scan\n", "not columns of numbers"),
        (b"# all on one line\n" + b"1.5 " * (1 << 20), "line 2: a line of 4 MB is no row of numbers"),
    ],
)
def test_text_that_is_wrong(data: bytes, said: str) -> None:
    assert said in refusal(data, "a.xyz")


def test_csv_and_pts() -> None:
    scan = read_scan(CSV, "a.csv")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    scan = read_scan(PTS, "a.pts")
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.extras["intensity"], [5, 6, 7, 8])


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
def test_pcd(kind: str) -> None:
    scan = read_scan(pcd(kind), "a.pcd")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.extras["label"], [7, 8, 9, 60000])
    assert scan.extras["label"].dtype == np.uint16
    assert scan.sensor is None
    np.testing.assert_array_equal(read_scan(pcd(kind, "1 2 3 1 0 0 0"), "a.pcd").sensor, [1, 2, 3])
    np.testing.assert_array_equal(read_scan(pcd(kind, height=2), "a.pcd").sensor, [0, 0, 0])


def test_pcd_of_old_headers_padding_and_wide_fields() -> None:
    header = b"VERSION .5\nCOLUMNS x y z\nWIDTH 2\nHEIGHT 1\nDATA ascii\n"
    np.testing.assert_array_equal(read_scan(header + b"1 2 3\n4 5 nan\n", "a.pcd").points, [[1, 2, 3], [4, 5, np.nan]])
    header = b"FIELDS x _ y z fpfh rgba\nSIZE 8 1 8 8 4 4\nTYPE F U F F F U\nCOUNT 1 3 1 1 2 1\n"
    header += b"WIDTH 1\nHEIGHT 1\nPOINTS 1\nDATA binary\n"
    body = struct.pack("<d3xdd2fI", 1.5, 2.5, 4_500_000.123, 0, 0, 0x00FF8001)
    scan = read_scan(header + body, "a.pcd")
    assert scan.points.tolist() == [[1.5, 2.5, 4_500_000.123]]
    assert scan.extras == {}
    assert scan.colors is not None
    assert scan.colors.tolist() == [[255, 128, 1]]


@pytest.mark.parametrize("kind", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("WIDTH 4", "WIDTH -4", "WIDTH -4"),
        ("POINTS 4", "POINTS 5", "5 points, but 4 x 1"),
        ("WIDTH 4\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 4", "WIDTH 0\nHEIGHT 1\nPOINTS 0", "holds no points"),
        ("WIDTH 4\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 4", "WIDTH 4294967295\nHEIGHT 1\nPOINTS 4294967295", ""),
        ("WIDTH 4\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS 4", "WIDTH 5\nHEIGHT 1\nPOINTS 5", ""),
        ("SIZE 4 4", "SIZE 3 4", "of type F and 3 bytes"),
        ("SIZE 4 4", "SIZE 4", "8 of FIELDS and 7 of SIZE"),
        ("COUNT 1", "COUNT 0", "COUNT of 0"),
        ("COUNT 1", "COUNT x", "'x' is not a whole number"),
        ("FIELDS x", "FIELDS a", "no columns x, y and z"),
        ("VIEWPOINT 0", "VIEWPOINT x", "VIEWPOINT"),
        ("VERSION 0.7", "VARSION 0.7", "belongs in no PCD header"),
        ("DATA ", "DATE ", "no line DATA"),
        ("DATA ", "DATA un", "is none of ascii"),
    ],
)
def test_pcd_that_is_wrong(kind: str, old: str, new: str, said: str) -> None:
    assert said in refusal(pcd(kind).replace(old.encode(), new.encode(), 1), "a.pcd")


def test_pcd_compressed_sizes_that_lie() -> None:
    data = pcd("binary_compressed")
    place = data.index(b"DATA binary_compressed\n") + 23
    packed, unpacked = struct.unpack_from("<II", data, place)
    for first, second in ((packed, unpacked + 1), (2**32 - 1, unpacked), (0, unpacked), (3, unpacked), (packed - 2, unpacked)):
        refusal(data[:place] + struct.pack("<II", first, second) + data[place + 8 :], "a.pcd")
    refusal(data[: place + 5], "a.pcd")


def squeeze(data: bytes, rng: random.Random) -> bytes:
    """LZF the slow way: at each place a literal run, or a reference to where the same bytes have been."""
    out = bytearray()
    literals = bytearray()
    place = 0

    def flush() -> None:
        for begin in range(0, len(literals), 32):
            out.append(len(literals[begin : begin + 32]) - 1)
            out.extend(literals[begin : begin + 32])
        literals.clear()

    while place < len(data):
        found = (0, 0)
        for start in range(max(0, place - 8192), place):
            length = 0
            while place + length < len(data) and length < 264 and data[start + length] == data[place + length]:
                length += 1
            found = max(found, (length, start))
        length, start = found
        if length >= 3 and rng.random() < 0.9:
            flush()
            distance = place - start - 1
            if length - 2 < 7:
                out.append((length - 2) << 5 | distance >> 8)
            else:
                out.extend([7 << 5 | distance >> 8, length - 9])
            out.append(distance & 255)
            place += length
        else:
            literals.append(data[place])
            place += 1
    flush()
    return bytes(out)


@given(st.binary(max_size=60), st.integers(1, 60), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_lzf_undoes_compression(data: bytes, times: int, rng: random.Random) -> None:
    data *= times
    data = data[:600]
    packed = squeeze(data, rng)
    assert decompress_lzf(packed, len(data)) == data
    for size in (len(data) - 1, len(data) + 1):
        with pytest.raises(ValueError, match=r"bytes? it announces"):
            decompress_lzf(packed, size)


@pytest.mark.parametrize("packed", [b"\x05a", b"\x20", b"\xe0\x01", b"\x20\x00", b"\x00a\x20\x01"])
def test_lzf_that_is_damaged(packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"ends within|before its beginning"):
        decompress_lzf(packed, 100)


@pytest.mark.parametrize(
    "array",
    [
        POINTS,
        POINTS.astype(">f4"),
        np.asfortranarray(POINTS),
        POINTS.astype(np.float16),
        POINTS.reshape(2, 2, 3),
        np.tile(POINTS, (8, 1)).T,
        np.array([(*point, 1.0) for point in POINTS], dtype=[("x", "f8"), ("y", "f4"), ("z", ">f8"), ("heat", "f4")]),
    ],
)
def test_npy_of_many_shapes(array: np.ndarray) -> None:
    np.testing.assert_array_equal(read_scan(npy(array), "a.npy").points[:4], POINTS)


def test_npy_with_more_columns() -> None:
    points, normals, colors = sphere()
    scan = read_scan(npy(np.column_stack([points, colors, normals])), "a.npy")
    np.testing.assert_array_equal(scan.points, points)
    np.testing.assert_array_equal(scan.normals, normals)
    np.testing.assert_array_equal(scan.colors, colors)


def test_npz_by_its_names() -> None:
    data = npz(points=POINTS, normals=NORMALS, colors=COLORS, faces=FACES, heat=np.arange(4), sensor=np.ones(3), other=np.ones(9))
    scan = read_scan(data, "a.npz")
    np.testing.assert_array_equal(scan.points, POINTS)
    np.testing.assert_array_equal(scan.normals, NORMALS)
    np.testing.assert_array_equal(scan.colors, COLORS)
    np.testing.assert_array_equal(scan.faces, FACES)
    np.testing.assert_array_equal(scan.extras["heat"], np.arange(4))
    np.testing.assert_array_equal(scan.sensor, np.ones(3))
    assert set(scan.extras) == {"heat"}
    np.testing.assert_array_equal(read_scan(npz(whatever=POINTS), "a.npz").points, POINTS)


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (npy(POINTS)[:-1], "ends after 11 of 12 values"),
        (npy(POINTS)[:9], "no NPY header"),
        (npy(np.zeros((0, 3))), "no points"),
        (npy(np.zeros((4, 2))), "shape (4, 2) is no list of points"),
        (npy(np.zeros(3)), "shape (3,) is no list of points"),
        (npy(np.zeros((4, 3), dtype="c16")), "holds no coordinates"),
        (npy(np.zeros((4, 3), dtype="U5")), "holds no coordinates"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000000, 3), }"), "ends after 0 of"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': (-5, 3), }"), "not understood"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (5, 3), }"), "pickled Python objects"),
        (header("{'descr': [('x', '|O')], 'fortran_order': False, 'shape': (5, 3), }"), "pickled Python objects"),
        (header("__import__('os').system('echo')"), "not understood"),
        (header("[" * 5000), "not understood"),
        (header("{'descr': '<f8', 'fortran_order': False, 'shape': " + str((0,) * 70) + "}"), "not understood"),
    ],
)
def test_npy_that_is_wrong(data: bytes, said: str) -> None:
    assert said in refusal(data, "a.npy")


def test_objects_are_never_unpickled() -> None:
    out = BytesIO()
    np.save(out, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "pickled Python objects, which are never read" in refusal(out.getvalue(), "a.npy")
    out = BytesIO()
    np.savez(out, points=np.array([{"a": 1}], dtype=object))
    assert "pickled Python objects, which are never read" in refusal(out.getvalue(), "a.npz")
    assert "Python pickle" in refusal(pickle.dumps(POINTS.tolist()), "a.pkl")
    assert "Python pickle" in refusal(pickle.dumps(POINTS.tolist()), "a.ply")


def test_npz_that_is_wrong() -> None:
    assert "none of its arrays is called points: a, b" in refusal(npz(a=POINTS, b=POINTS), "a.npz")
    assert "face 1 of 1 uses point 9" in refusal(npz(points=POINTS, faces=np.array([[0, 1, 9]])), "a.npz")
    assert "holds no faces" in refusal(npz(points=POINTS, faces=POINTS), "a.npz")
    assert "is a position" in refusal(npz(points=POINTS, sensor=np.ones(2)), "a.npz")
    data = npz(points=np.random.default_rng(0).random((100, 3)))
    assert refusal(data[:-30], "a.npz") == "a damaged zip archive"
    assert "damaged NPZ archive" in refusal(data[:300] + b"!!!!" + data[304:], "a.npz")


def test_a_bomb_is_not_unpacked() -> None:
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", bytes(80 << 20))
    assert "unpacks to more than 200 times its size" in refusal(out.getvalue(), "a.npz")
    lying = out.getvalue().replace(struct.pack("<I", 80 << 20), struct.pack("<I", 1000))  # says that it is small
    refusal(lying, "a.npz")


def surface(count: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points of a bowl in no order, their colours as of a picture on it, and an intensity that is noise."""
    rng = np.random.default_rng(1)
    flat = rng.uniform(-3, 3, (count, 2))
    points = np.array([100.03, 50.01, 7.02]) + np.column_stack([flat, (flat**2).sum(axis=1) / 4])
    shade = 128 + 90 * np.sin(flat[:, 0]) * np.cos(flat[:, 1])
    colors = np.rint(shade[:, None] + rng.normal(0, 6, (count, 3))).astype(int)
    return points.round(4), np.clip(colors, 0, 255), rng.integers(0, 200, count)


RASTER = np.stack(np.meshgrid(np.arange(30), np.arange(20), indexing="ij"), axis=-1).reshape(-1, 2)
RISING = 1001 + np.cumsum(1 + np.arange(600) % 3)


@pytest.mark.parametrize(
    ("before", "said"),
    [
        (RISING, "- x y z"),
        (RISING - 5000, "- x y z"),
        (np.arange(600) + 7, "- x y z"),
        (np.full(600, 3), "- x y z"),
        (1 + np.arange(600) // 250, "- x y z"),
        (1.7e9 + np.arange(600) * 0.01, "time x y z"),
        (1.7e18 + np.arange(600) * 1e7, "time x y z"),
        (RASTER, "- - x y z"),
        (RASTER[:, ::-1] + 1, "- - x y z"),
        (np.delete(RASTER, 5, axis=0), "- - x y z"),
    ],
)
@pytest.mark.parametrize("behind", ["", "intensity", "red green blue", "nx ny nz"])
def test_what_stands_before_the_coordinates(before: np.ndarray, said: str, behind: str, caplog: pytest.LogCaptureFixture) -> None:
    points, colors, heat = surface()
    _, normals, _ = sphere(600)
    columns = [points, *{"": [], "intensity": [heat / 7], "red green blue": [colors], "nx ny nz": [normals]}[behind]]
    if before.ndim == 2:  # a raster goes along the surface
        order = np.lexsort((points[:, 1], np.floor(points[:, 0])))
        columns = [column[order] for column in columns]
        points = columns[0]
    with caplog.at_level(logging.INFO, "lpdif"):
        scan = read_scan(table(before, *(column[: len(before)] for column in columns), form="%.15g"), "a.xyz")
    if behind in ("", "intensity") and before.ndim == 1 and len(np.unique(before)) < 10:  # what may be slices is told, and left as it is
        np.testing.assert_array_equal(scan.points, np.column_stack([before, points[:, :2]]))
        assert caplog.records[-1].levelno == logging.WARNING
        assert "x y z may be its columns 2 to 4" in caplog.text
        return
    np.testing.assert_array_equal(scan.points, points[: len(before)])
    assert [record.getMessage() for record in caplog.records] == [f"a.xyz: columns taken as {said} {behind}".strip()]
    assert caplog.records[0].levelno == logging.INFO
    if said.startswith("time"):
        np.testing.assert_array_equal(scan.extras["time"], before)


def test_colours_before_the_coordinates() -> None:
    points, colors, heat = surface()
    for columns in ([colors, points], [colors, points, heat]):
        scan = read_scan(table(*columns), "a.xyz")
        np.testing.assert_array_equal(scan.points, points)
        np.testing.assert_array_equal(scan.colors, colors)


HEIGHTS = np.column_stack([RASTER, np.sin(RASTER.sum(axis=1) / 9), np.random.default_rng(5).random((600, 2)) * [3, 180]])


@pytest.mark.parametrize(
    "values",
    [
        np.column_stack([np.full(600, 5), np.random.default_rng(0).random((600, 3)) * [4, 3, 60]]),
        np.column_stack([np.repeat(np.arange(10), 60), np.random.default_rng(0).random((600, 3)) * [4, 3, 50]]),
        HEIGHTS,
        np.column_stack(
            [np.random.default_rng(0).permutation(np.argwhere(np.ones((9, 9, 9)))) + 190, np.random.default_rng(1).random((729, 3)) * 9]
        ),
    ],
    ids=["a wall", "slices", "heights with slopes", "voxels"],
)
def test_the_first_three_columns_stay_coordinates_where_they_are_a_surface(values: np.ndarray) -> None:
    np.testing.assert_array_equal(read_scan(table(values, form="%.17g"), "a.xyz").points, values[:, :3])


CELLS = np.argwhere(np.ones((9, 9, 9)))
FLAT = np.column_stack([RASTER, np.sin(RASTER[:, 0]) + 0.1])


@pytest.mark.parametrize(
    "columns",
    [
        [CELLS],
        [CELLS * 20],
        [CELLS, np.sin(np.arange(729.0))],
        [CELLS * 20, np.sin(np.arange(2187.0)).reshape(729, 3) * 4],
        [CELLS[::-1] + 300, np.sin(np.arange(2187.0)).reshape(729, 3) * 4],
        [CELLS, sphere(729)[1]],
        [np.random.default_rng(0).permutation(CELLS * 25), sphere(729)[1]],
        [np.random.default_rng(0).permutation(CELLS * 25), sphere(729)[2] / 255],
        [CELLS, sphere(729)[2]],
        [CELLS[:, ::-1], np.arange(729) % 7],
        [FLAT],
        [FLAT, np.arange(600) / 7],
        [FLAT, sphere(600)[1]],
        [FLAT, sphere(600)[2] / 255],
        [FLAT, sphere(600)[2]],
        [surface()[0] * 1e6],
    ],
)
def test_whole_coordinates_stay_coordinates(columns: list[np.ndarray], caplog: pytest.LogCaptureFixture) -> None:
    np.testing.assert_allclose(read_scan(table(*columns, form="%.15g"), "a.xyz").points, columns[0], rtol=1e-14)
    assert "but" not in caplog.text


def test_numbers_beyond_all_measure_raise_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    points, colors, heat = surface()
    for factor in (1e306, 1e-310):
        wide = np.column_stack([points * factor, colors, heat])
        assert len(read_scan(table(wide, form="%.17g"), "a.xyz").points) == 600
        assert len(read_scan(table(np.tile(points * factor, 9)[:, :25], form="%.17g"), "a.xyz").points) == 600
    assert len(read_scan(b"inf 1 2 3\n" * 40 + b"-inf 1 2 3\n" + b"1e308 1 2 3\n-1e308 4 5 6\n", "a.xyz").points) == 43
    assert [str(warning.message) for warning in recwarn] == []


@pytest.mark.parametrize(
    ("before", "doubt"),
    [
        (surface()[2], "x y z may be its columns 2 to 4"),
        (np.arange(600)[::-1] // 3, "x y z may be its columns 2 to 4"),
        (RASTER[::-1], "x y z may be its columns 3 to 5"),
        (RASTER + 400, "x y z may be its columns 3 to 5"),
        (np.random.default_rng(0).integers(0, 60, (600, 3)), "x y z may be its columns 4 to 6"),
    ],
)
def test_what_may_stand_before_the_coordinates_is_a_warning(before: np.ndarray, doubt: str, caplog: pytest.LogCaptureFixture) -> None:
    points = np.column_stack([before, surface()[0]])
    np.testing.assert_array_equal(read_scan(table(points), "a.xyz").points, points[:, :3])
    assert caplog.records[-1].getMessage().endswith(f", but {doubt}: name the columns to be sure")


def test_a_rising_number_before_whole_coordinates_is_in_doubt(caplog: pytest.LogCaptureFixture) -> None:
    read_scan(table(RISING, np.rint(surface()[0] * 1000)), "a.xyz")
    assert "columns taken as x y z intensity, but the first may be the number of the row: name the columns to be sure" in caplog.text


def test_four_bytes_are_told_by_which_three_go_together(caplog: pytest.LogCaptureFixture) -> None:
    points, colors, heat = surface()
    like = np.clip(colors.mean(axis=1).round() + np.random.default_rng(2).integers(-60, 60, 600), 0, 255)  # shaded as the colours are
    for values in (heat, like, np.arange(600) % 5):
        for columns in ([values, colors], [colors, values], [values, colors, np.full(600, 255)]):
            scan = read_scan(table(points, *columns), "a.xyz")
            np.testing.assert_array_equal(scan.colors, colors)
            np.testing.assert_array_equal(scan.extras["intensity"], values)
            assert set(scan.extras) == {"intensity"}
    scan = read_scan(table(points, colors, np.full(600, 255)), "a.xyz")
    np.testing.assert_array_equal(scan.colors, colors)
    assert scan.extras == {}
    assert read_scan(table(points, colors / 255, np.ones(600)), "a.xyz").extras == {}
    assert [record for record in caplog.records if record.levelname == "WARNING"] == []


def test_four_bytes_that_may_be_either_are_said(caplog: pytest.LogCaptureFixture) -> None:
    points, _, _ = surface()
    four = np.random.default_rng(3).integers(0, 256, (600, 4))
    np.testing.assert_array_equal(read_scan(table(points, four), "a.xyz").colors, four[:, 1:])
    assert caplog.messages == [
        "a.xyz: columns taken as x y z intensity red green blue, but the last four may be red green blue intensity: name the columns to be sure"
    ]


def test_of_many_columns_the_first_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        read_scan(table(surface()[0], np.random.default_rng(4).normal(size=(600, 40)) * 1e3), "a.xyz")
    assert caplog.messages[0].endswith("as x y z intensity value2 value3 value4 value5 value6 value7 value8 value9 ... and 31 more")
