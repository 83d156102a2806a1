"""VTK in XML: every way to write numbers gives the same scan, and files that lie are refused."""

from __future__ import annotations

import base64
import lzma
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from seed_files import COLORS, FACES, NORMALS, POINTS
from test_reading_ply import refusal

from lpdif.io.read import read_scan

TYPES = {"f4": "Float32", "f8": "Float64", "i4": "Int32", "i8": "Int64", "u1": "UInt8"}
PACK = {"": None, "vtkZLibDataCompressor": zlib.compress, "vtkLZMADataCompressor": lzma.compress}
BLOCK = 40  # bytes: arrays of these tests take several


class Written:
    """A file that is written array by array."""

    def __init__(self, mode: str, compressor: str = "", big: bool = False, header: str = "u4", kind: str = "PolyData") -> None:
        self.mode, self.compressor, self.order, self.header, self.kind = mode, compressor, ">" if big else "<", header, kind
        self.appended = b""

    def array(self, values: object, kind: str, name: str, width: int = 1) -> str:
        data = np.asarray(values)
        head = f'<DataArray type="{TYPES[kind]}" Name="{name}" NumberOfComponents="{width}"'
        key = '<InformationKey name="L2" location="x"><Value index="0">0 7</Value></InformationKey>'
        if self.mode == "ascii":
            return f'{head} format="ascii">{" ".join(map(str, data.reshape(-1).tolist()))}{key}</DataArray>'
        parts = self.encoded(data.astype(self.order + kind).tobytes())
        if self.mode == "binary":
            return f'{head} format="binary">\n  {b"".join(map(base64.b64encode, parts)).decode()}\n{key}</DataArray>'
        place = len(self.appended)
        self.appended += b"".join(map(base64.b64encode, parts)) if self.mode == "base64" else b"".join(parts)
        return f'{head} format="appended" offset="{place}"/>'

    def encoded(self, raw: bytes) -> list[bytes]:
        """What goes into base64 each for itself."""

        def words(*numbers: int) -> bytes:
            return np.array(numbers, dtype=self.order + self.header).tobytes()

        pack = PACK[self.compressor]
        if pack is None:
            return [words(len(raw)) + raw]
        blocks = [pack(raw[place : place + BLOCK]) for place in range(0, len(raw), BLOCK)]
        return [words(len(blocks), BLOCK, len(raw) % BLOCK, *map(len, blocks)), b"".join(blocks)]

    def file(self, *pieces: str) -> bytes:
        order = "BigEndian" if self.order == ">" else "LittleEndian"
        header = "UInt64" if self.header == "u8" else "UInt32"
        packed = f' compressor="{self.compressor}"' if self.compressor else ""
        head = f'<?xml version="1.0"?>\n<VTKFile type="{self.kind}" version="1.0" byte_order="{order}" header_type="{header}"{packed}>'
        out = f"{head}<{self.kind}>{''.join(pieces)}</{self.kind}>".encode()
        if self.appended:
            out += b'<AppendedData encoding="%s">\n _' % (b"raw" if self.mode == "raw" else b"base64") + self.appended + b"\n</AppendedData>"
        return out + b"</VTKFile>\n"

    def piece(self, cells: str, faces: NDArray[np.int64] = FACES) -> str:
        points = f"<Points>{self.array(POINTS, 'f8', 'Points', 3)}</Points>"
        values = self.array(np.arange(4), "f4", "heat") + self.array(NORMALS, "f4", "Normals", 3) + self.array(COLORS, "u1", "RGB", 3)
        own = self.array(faces, "i8", "connectivity") + self.array(np.arange(1, len(faces) + 1) * 3, "i4", "offsets")
        own += self.array(np.full(len(faces), 5), "u1", "types") if cells == "Cells" else ""
        whole = f"<PointData>{values}</PointData><CellData>{self.array(np.arange(4), 'f4', 'part')}</CellData>"
        return f'<Piece NumberOfPoints="4">{whole}{points}<{cells}>{own}</{cells}></Piece>'


@pytest.mark.parametrize("compressor", PACK)
@pytest.mark.parametrize("mode", ["ascii", "binary", "raw", "base64"])
@pytest.mark.parametrize(("big", "header"), [(False, "u4"), (True, "u8")])
def test_every_way_to_write_numbers(mode: str, compressor: str, big: bool, header: str) -> None:
    for kind, cells in (("PolyData", "Polys"), ("UnstructuredGrid", "Cells")):
        file = Written(mode, compressor, big, header, kind)
        scan = read_scan(file.file(file.piece(cells)), "a.vtp")
        np.testing.assert_array_equal(scan.points, POINTS)
        np.testing.assert_array_equal(scan.faces, FACES)
        np.testing.assert_array_equal(scan.normals, NORMALS)
        np.testing.assert_array_equal(scan.colors, COLORS)
        assert list(scan.extras) == ["heat"]
        np.testing.assert_array_equal(scan.extras["heat"], np.arange(4))


def test_pieces_become_one() -> None:
    file = Written("binary")
    scan = read_scan(file.file(file.piece("Polys"), file.piece("Polys")), "a.vtp")
    np.testing.assert_array_equal(scan.faces, np.concatenate([FACES, FACES + 4]))
    assert len(scan.points) == 8


def test_files_that_lie() -> None:
    file = Written("ascii")
    good = file.file(file.piece("Polys"))
    assert refusal(good.replace(b'NumberOfPoints="4"', b'NumberOfPoints="5"'), "a.vtp") == "12 numbers for 5 points"
    assert refusal(good.replace(b'NumberOfPoints="4"', b'NumberOfPoints="x"'), "a.vtp").endswith("the number of points is no number")
    assert "uses point 3" not in refusal(good.replace(b"3 6 9 12", b"3 6 9 13"), "a.vtp")
    assert refusal(good.replace(b"<?xml", b"<?xml", 1).replace(b"?>", b'?><!DOCTYPE a [<!ENTITY b "c">]>', 1), "a.vtp")
    assert refusal(good[:-20], "a.vtp").startswith("damaged XML")
    image = refusal(good.replace(b"PolyData", b"ImageData"), "a.vti")
    assert image == "VTK data of type 'ImageData', which holds no list of points or polygons"
    file = Written("raw", "vtkZLibDataCompressor")
    packed = file.file(file.piece("Polys"))
    assert refusal(packed.replace(b"vtkZLib", b"vtkLZ4"), "a.vtp") == "compressed by vtkLZ4DataCompressor, which is not read"
    where = packed.index(b" _") + 2
    assert "is damaged" in refusal(packed[:where] + b"\xff\xff\xff\x7f" + packed[where + 4 :], "a.vtp")
    assert refusal(packed[: where + 4] + b"\xff\xff\xff\x7f" + packed[where + 8 :], "a.vtp") == "unpacks to more than 200 times its size"
