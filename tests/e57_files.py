"""E57 files of any columns, by the parts of pye57 that its own writer does not show."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

SURFACE_NORMALS = "http://www.libe57.org/E57_EXT_surface_normals.txt"


def integers(values: np.ndarray, low: int, high: int) -> tuple[str, np.ndarray, Any]:
    return "IntegerNode", values, (low, low, high)


def scaled(values: np.ndarray, low: int, high: int, scale: float) -> tuple[str, np.ndarray, Any]:
    return "ScaledIntegerNode", values, (low, low, high, scale, 0.0)


def floats(values: np.ndarray) -> tuple[str, np.ndarray, Any]:
    return "FloatNode", values, (0.0,)


Column = tuple[str, np.ndarray, Any]
Place = tuple[list[float], list[float]]


def e57_of(
    *scans: Mapping[str, Column], limits: tuple[float | str, float] | None = None, poses: list[Place] | None = None, prefix: str = "nor"
) -> bytes:
    """The bytes of an E57 file of scans of these columns; limits: of all colours; poses: quaternion and translation of each scan."""
    import pye57
    from pye57 import libe57

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.e57")
        file = pye57.E57(str(path), mode="w")
        image = file.image_file
        image.extensionsAdd(prefix, SURFACE_NORMALS)

        def numbers(**values: float | str) -> Any:
            node = libe57.StructureNode(image)
            for name, value in values.items():
                node.set(name, libe57.StringNode(image, value) if isinstance(value, str) else libe57.FloatNode(image, value))
            return node

        for index, columns in enumerate(scans):
            scan = libe57.StructureNode(image)
            scan.set("guid", libe57.StringNode(image, f"{{{index}}}"))
            if limits is not None:
                ends = (("Minimum", limits[0]), ("Maximum", limits[1]))
                scan.set("colorLimits", numbers(**{f"color{c}{end}": value for c in ("Red", "Green", "Blue") for end, value in ends}))
            if poses is not None:
                pose = libe57.StructureNode(image)
                scan.set("pose", pose)
                pose.set("rotation", numbers(**dict(zip("wxyz", poses[index][0], strict=True))))
                pose.set("translation", numbers(**dict(zip("xyz", poses[index][1], strict=True))))
            prototype, buffers = libe57.StructureNode(image), libe57.VectorSourceDestBuffer()
            held = []
            for name, (kind, values, arguments) in columns.items():
                prototype.set(name, getattr(libe57, kind)(image, *arguments))
                held.append(np.ascontiguousarray(values, dtype=np.float64))
                buffers.append(libe57.SourceDestBuffer(image, name, held[-1], len(values), True, True))
            points = libe57.CompressedVectorNode(image, prototype, libe57.VectorNode(image, True))
            scan.set("points", points)
            file.data3d.append(scan)
            writer = points.writer(buffers)
            writer.write(len(held[0]))
            writer.close()
        file.close()
        return path.read_bytes()
