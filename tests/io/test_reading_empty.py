"""Files without a point are refused, whatever their format, and the refusal names how many a scan must have."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from seed_files import npy, npz
from test_reading_ply import refusal

PLY = b"ply\nformat ascii 1.0\nelement vertex 0\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
PCD = b"FIELDS x y z\nWIDTH 0\nHEIGHT 1\nDATA ascii\n"
VTK = b"# vtk DataFile Version 3.0\na\nASCII\nDATASET POLYDATA\nPOINTS 0 float\n"


def glb() -> bytes:
    """A glTF file of an empty scene."""
    words = json.dumps({"asset": {"version": "2.0"}, "scene": 0, "scenes": [{}]}).encode()
    words = words.ljust(-(-len(words) // 4) * 4)
    return b"glTF" + struct.pack("<III", 2, 20 + len(words), len(words)) + b"JSON" + words


@pytest.mark.parametrize(
    ("name", "data", "why"),
    [
        ("a.ply", PLY, " (element vertex 0)"),
        ("a.off", b"OFF\n0 0 0\n", " (header says 0)"),
        ("a.pcd", PCD, " (header says 0)"),
        ("a.obj", b"# nothing\n", ' (no line that begins with "v")'),
        ("a.vtk", VTK, ""),
        ("a.npy", npy(np.zeros((0, 3))), ""),
        ("a.npy", npy(np.zeros(0, dtype=[("x", "f4"), ("y", "f4"), ("z", "f4")])), ""),
        ("a.npz", npz(points=np.zeros((0, 3)), heat=np.zeros(0)), ""),
        ("a.glb", glb(), ""),
    ],
)
def test_no_points_are_refused_with_the_number_there_must_be(name: str, data: bytes, why: str) -> None:
    assert refusal(data, name) == f"holds no points{why}, at least 32 are needed"
