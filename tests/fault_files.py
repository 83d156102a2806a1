"""Files for tests of faults: scans whose headers lie, archives, pickles and checkpoints."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import torch
from numpy.typing import NDArray
from shapes import even_sphere_points

FloatArray = NDArray[np.float64]

XYZ = "property float x\nproperty float y\nproperty float z\n"


def ball(count: int = 400) -> tuple[FloatArray, FloatArray]:
    """Points and normals of a ball of radius 1."""
    return even_sphere_points(count)


def text(points: FloatArray) -> bytes:
    return "".join(" ".join(f"{c:.17g}" for c in row) + "\n" for row in points).encode()


def ply(count: object, rows: bytes = b"1 2 3\n" * 40, kind: str = "ascii", end: str = "end_header\n") -> bytes:
    return f"ply\nformat {kind} 1.0\nelement vertex {count}\n{XYZ}{end}".encode() + rows


def faces(index: int) -> bytes:
    head = f"ply\nformat ascii 1.0\nelement vertex 400\n{XYZ}element face 1\nproperty list uchar int vertex_indices\nend_header\n"
    return head.encode() + text(ball()[0]) + f"3 0 1 {index}\n".encode()


def checkpoint() -> bytes:
    file = io.BytesIO()
    torch.save({"points": torch.zeros(100, 3)}, file)
    return file.getvalue()


def packed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("scan.ply", text(ball()[0]))
    return file.getvalue()


def npy_of(thing: object) -> bytes:
    file = io.BytesIO()
    array = np.empty(40, dtype=object)
    array[:] = [thing] * 40
    np.save(file, array, allow_pickle=True)
    return file.getvalue()
