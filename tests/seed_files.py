"""Small valid files of every format that is read, made by code: what tests cut, bend and feed to the fuzzer."""

from __future__ import annotations

import importlib.util
import io
import struct
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# a tetrahedron: 4 points, 4 faces, every coordinate exact in single precision
POINTS = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.25], [0.0, 1.0, -0.5], [0.125, 0.25, 1.0]])
FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
COLORS = np.array([[255, 0, 10], [0, 255, 20], [1, 2, 30], [200, 100, 40]], dtype=np.uint8)
NORMALS = np.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])

PLY_TYPES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float", "f8": "double"}


def ply(
    properties: Sequence[tuple[str, str, NDArray[np.generic]]],
    encoding: str = "binary_little_endian",
    polygons: Iterable[Sequence[int]] | None = None,
    newline: str = "\n",
    corners: str = "vertex_indices",
) -> bytes:
    """A PLY file of (name, numpy type, column) properties, and faces if there are polygons."""
    order = {"ascii": "<", "binary_little_endian": "<", "binary_big_endian": ">"}[encoding]
    header = ["ply", f"format {encoding} 1.0", "comment made by a test", f"element vertex {len(properties[0][2])}"]
    header += [f"property {PLY_TYPES[kind]} {name}" for name, kind, _ in properties]
    faces = None if polygons is None else [list(polygon) for polygon in polygons]
    if faces is not None:
        header += [f"element face {len(faces)}", f"property list uchar int {corners}"]
    out = "".join(line + newline for line in [*header, "end_header"]).encode()
    if encoding == "ascii":
        rows = [" ".join(text(column[row], kind) for _, kind, column in properties) for row in range(len(properties[0][2]))]
        rows += [" ".join(map(str, [len(face), *face])) for face in faces or []]
        return out + "".join(row + newline for row in rows).encode()
    table = np.empty(len(properties[0][2]), dtype=[(f"p{i}", order + kind) for i, (_, kind, _) in enumerate(properties)])
    for index, (_, _, column) in enumerate(properties):
        table[f"p{index}"] = column
    body = b"".join(bytes([len(face)]) + np.array(face, dtype=order + "i4").tobytes() for face in faces or [])
    return out + table.tobytes() + body


def text(value: object, kind: str) -> str:
    """A number as text that gives the same number back in its type."""
    return repr(float(np.dtype(kind).type(value))) if kind[0] == "f" else str(int(value))  # type: ignore[call-overload]


def stl_text() -> bytes:
    lines = ["solid tetrahedron"]
    for face in FACES:
        lines += ["  facet normal 0 0 0", "    outer loop"]
        lines += [f"      vertex {x} {y} {z}" for x, y, z in POINTS[face]]
        lines += ["    endloop", "  endfacet"]
    return ("\n".join(lines) + "\nendsolid tetrahedron\n").encode()


def stl_binary() -> bytes:
    rows = np.zeros(len(FACES), dtype=[("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
    rows["corners"] = POINTS[FACES]
    return b"made by a test".ljust(80) + struct.pack("<I", len(FACES)) + rows.tobytes()


def lzf_literals(data: bytes) -> bytes:
    """LZF of literals only, with one reference where the data ends in a run of one byte."""
    out = b""
    run = len(data) - len(data.rstrip(data[-1:]))
    body = data[: len(data) - run + 1] if 9 <= run <= 264 else data
    for begin in range(0, len(body), 32):
        piece = body[begin : begin + 32]
        out += bytes([len(piece) - 1]) + piece
    return out + (bytes([7 << 5, run - 1 - 9, 0]) if body is not data else b"")


def pcd(kind: str, extra: str = "", height: int = 1) -> bytes:
    packed = (COLORS.astype(np.uint32) << np.array([16, 8, 0], dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
    header = (
        "# .PCD v0.7 - Point Cloud Data file format\nVERSION 0.7\nFIELDS x y z rgb normal_x normal_y normal_z label\n"
        "SIZE 4 4 4 4 4 4 4 2\nTYPE F F F F F F F U\nCOUNT 1 1 1 1 1 1 1 1\n"
        f"WIDTH {4 // height}\nHEIGHT {height}\nVIEWPOINT {extra or '0 0 0 1 0 0 0'}\nPOINTS 4\nDATA {kind}\n"
    ).encode()
    label = np.array([7, 8, 9, 60000], dtype="<u2")
    columns = [*POINTS.T.astype("<f4"), packed.view("<f4"), *NORMALS.T.astype("<f4"), label]
    if kind == "ascii":
        rows = zip(*columns, strict=True)
        return header + "".join(" ".join(repr(value.item()) for value in row) + "\n" for row in rows).encode()
    if kind == "binary":
        table = np.empty(4, dtype=[(f"p{i}", column.dtype) for i, column in enumerate(columns)])
        for index, column in enumerate(columns):
            table[f"p{index}"] = column
        return header + table.tobytes()
    data = b"".join(column.tobytes() for column in columns)
    squeezed = lzf_literals(data)
    return header + struct.pack("<II", len(squeezed), len(data)) + squeezed


def vtk(binary: bool) -> bytes:
    kind_line = b"BINARY" if binary else b"ASCII"
    head = b"# vtk DataFile Version 3.0\nmade by a test\n" + kind_line + b"\nDATASET POLYDATA\nPOINTS 4 float\n"
    cells = np.column_stack([np.full(4, 3), FACES])
    scalar = np.array([1.5, 2.5, 3.5, 4.5])

    def block(values: NDArray[np.generic], kind: str) -> bytes:
        if binary:
            return values.astype(kind).tobytes() + b"\n"
        return (" ".join(repr(value) for value in values.ravel().tolist()) + "\n").encode()

    return b"".join(
        [
            head,
            block(POINTS, ">f4"),
            b"POLYGONS 4 16\n",
            block(cells, ">i4"),
            b"POINT_DATA 4\nSCALARS heat double 1\nLOOKUP_TABLE default\n",
            block(scalar, ">f8"),
            b"NORMALS normals float\n",
            block(NORMALS, ">f4"),
        ]
    )


def npy(array: NDArray[np.generic]) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def npz(**arrays: NDArray[np.generic]) -> bytes:
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


OBJ = b"""# a tetrahedron
o tetrahedron
v 0 0 0 1 0 0.04
v 1 0 0.25 0 1 0.08
v 0 1 -0.5 0.004 0.008 0.12
v 0.125 0.25 1 0.8 0.4 0.16
vn 0 0 -1
vn 1 0 0
vn 0 1 0
vn 0 0 1
f 1//1 3//3 2//2
f 1//1 2//2 4//4
f -3//-3 -2//-2 -1//-1
f 3//3 1//1 4//4
"""
OFF = b"COFF # a tetrahedron\n4 4 6\n0 0 0 255 0 10 255\n1 0 .25 0 255 20 255\n0 1 -.5 1 2 30 255\n.125 .25 1 200 100 40 255\n" + b"".join(
    b"3 %d %d %d\n" % tuple(face) for face in FACES.tolist()
)
CSV = b"x,y,z,nx,ny,nz,intensity\n0,0,0,0,0,-1,5\n1,0,0.25,1,0,0,6\n0,1,-0.5,0,1,0,7\n0.125,0.25,1,0,0,1,8\n"
PTS = b"4\n0 0 0 5 255 0 10\n1 0 0.25 6 0 255 20\n0 1 -0.5 7 1 2 30\n0.125 0.25 1 8 200 100 40\n"


def las(compressed: bool, points: NDArray[np.float64] = POINTS, /, **extra: NDArray[np.generic]) -> bytes | None:
    """A LAS file by laspy, with extra dimensions, None where that is not installed."""
    if importlib.util.find_spec("laspy") is None or (compressed and importlib.util.find_spec("lazrs") is None):
        return None
    import laspy

    header = laspy.LasHeader(version="1.2", point_format=3)
    header.scales, header.offsets = np.full(3, 0.001), np.array([500_000.0, 4_500_000.0, 0.0])
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = (points + header.offsets).T
    cloud.red, cloud.green, cloud.blue = np.resize(COLORS, (len(points), 3)).T.astype(np.uint16) * 257
    cloud.intensity = np.resize(np.array([1, 2, 3, 4], dtype=np.uint16), len(points))
    cloud.classification = np.resize(np.array([2, 2, 6, 6], dtype=np.uint8), len(points))
    for name, values in extra.items():
        cloud.add_extra_dim(laspy.ExtraBytesParams(name, f"{values[0].size if values.ndim > 1 else ''}{values.dtype.str[1:]}"))
        cloud[name] = values
    out = io.BytesIO()
    cloud.write(out, do_compress=compressed)
    return out.getvalue()


def e57() -> bytes | None:
    """An E57 file of two scans with poses by pye57, None where that is not installed."""
    if importlib.util.find_spec("pye57") is None:
        return None
    import pye57

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "two.e57")
        file = pye57.E57(str(path), mode="w")
        half_turn = np.array([0.0, 0.0, 0.0, 1.0])  # about z
        for translation, rotation in (([10.0, 20.0, 30.0], [1.0, 0.0, 0.0, 0.0]), ([-1.0, 0.0, 0.0], half_turn)):
            data = dict(zip(("cartesianX", "cartesianY", "cartesianZ"), POINTS.T, strict=True))
            data |= dict(zip(("colorRed", "colorGreen", "colorBlue"), COLORS.T, strict=True))
            data["intensity"] = np.array([0.25, 0.5, 0.75, 1.0])
            file.write_scan_raw(data, rotation=np.array(rotation), translation=np.array(translation))
        file.close()
        return path.read_bytes()


def seeds() -> dict[str, bytes]:
    """Name -> content, one file of each kind; those of extras only where they are installed."""
    columns = [*zip("xyz", ["f4"] * 3, POINTS.T, strict=True), *zip(("red", "green", "blue"), ["u1"] * 3, COLORS.T, strict=True)]
    from lpdif import Mesh, encode_mesh

    found = {
        "ascii.ply": ply(columns, "ascii", FACES.tolist()),
        "little.ply": ply(columns, "binary_little_endian", [[0, 1, 2, 3], [0, 1, 3]]),
        "big.ply": ply(columns, "binary_big_endian", FACES.tolist()),
        "a.obj": OBJ,
        "a.off": OFF,
        "text.stl": stl_text(),
        "binary.stl": stl_binary(),
        "a.csv": CSV,
        "a.pts": PTS,
        "comma.xyz": "".join(" ".join(f"{value:.4f}" for value in row) + "\n" for row in POINTS).replace(".", ",").encode(),
        "ascii.pcd": pcd("ascii"),
        "binary.pcd": pcd("binary"),
        "compressed.pcd": pcd("binary_compressed"),
        "ascii.vtk": vtk(False),
        "binary.vtk": vtk(True),
        "a.npy": npy(POINTS),
        "a.npz": npz(points=POINTS, normals=NORMALS, faces=FACES, heat=np.arange(4.0)),
        "a.glb": encode_mesh(Mesh(POINTS, FACES, colors=COLORS), "glb"),
        "a.las": las(False),
        "a.laz": las(True),
        "a.e57": e57(),
    }
    return {name: data for name, data in found.items() if data is not None}
