"""E57 (ASTM E2807), by pye57: an extra of lpdif, run in a child process. Several scans become one, in their common frame."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.formats.child import Arrays, arrays_from_child
from lpdif.formats.columns import colors_of
from lpdif.formats.source import DOWNLOAD_AGAIN, Source
from lpdif.scans import Scan
from lpdif.words import counted

MAGIC = b"ASTM-E57"

log = logging.getLogger("lpdif")


def read_e57(source: Source) -> Scan:
    """Reads all scans of an E57 file, each moved by its pose; the sensor position of each point is its scan's.

    Raises InputError for a file cut off, and where pye57 is not installed.
    """
    if len(source.data) < 48:
        raise source.error(f"ends within its header ({len(source.data)} of 48 bytes)", DOWNLOAD_AGAIN)
    length = int.from_bytes(source.data[16:24], "little")
    if length > len(source.data):
        raise source.cut(len(source.data), length, "byte")
    if importlib.util.find_spec("pye57") is None:
        raise source.error("reading E57 needs the package pye57", "pip install pye57")
    arrays = arrays_from_child(source, "e57", source.most_unpacked)
    points = arrays["points"].astype(np.float64, copy=False)
    if not len(points):
        raise source.empty()
    counts = arrays["counts"]
    log.info("%s: %s (points: %s)", source.name, counted(len(counts), "scan"), ", ".join(str(count) for count in counts[:20]))
    colors = arrays.get("colors")
    return Scan(
        points,
        colors=None if colors is None else colors_of(list(colors.T), source.name),
        extras={"intensity": arrays["intensity"]} if "intensity" in arrays else {},
        sensor=arrays["sensor"].astype(np.float64, copy=False) if "sensor" in arrays else None,
        name=source.name,
    )


def _bits(points: Any) -> int:
    """Bits of a point at the least, by the types of its columns: those of constant columns take none."""
    from pye57 import libe57

    bits = 0
    prototype = libe57.StructureNode(points.prototype())
    for index in range(prototype.childCount()):
        node = prototype.get(index)
        kind = node.type()
        if kind == libe57.NodeType.E57_FLOAT:
            bits += 32
        elif kind == libe57.NodeType.E57_INTEGER:
            column = libe57.IntegerNode(node)
            bits += (column.maximum() - column.minimum()).bit_length()
        elif kind == libe57.NodeType.E57_SCALED_INTEGER:
            column = libe57.ScaledIntegerNode(node)
            bits += (column.maximum() - column.minimum()).bit_length()
    return bits


def decode(path: Path) -> Arrays:
    """Points, colours, intensity and sensor positions of all scans. Runs in the child process.

    Colours and intensity are kept where every scan has them, positions where every scan has a pose and some pose is not zero.
    """
    import pye57

    file = pye57.E57(str(path))
    columns: dict[str, list[NDArray[np.generic]]] = {"points": [], "colors": [], "intensity": [], "sensor": []}
    counts: list[int] = []
    scanned = False  # whether poses tell where a scanner stood: merged clouds have poses of zeros
    for index in range(file.scan_count):
        header = file.get_header(index)
        if header.point_count == 0:
            continue
        if header.point_count * max(1, _bits(header.points)) > 8 * path.stat().st_size:
            raise InputError(f"scan {index + 1} says {header.point_count} points, more than the file can hold")
        data = file.read_scan(index, intensity=True, colors=True, ignore_missing_fields=True)
        count = len(data["cartesianX"])
        if count == 0:
            continue
        counts.append(count)
        columns["points"].append(np.column_stack([data["cartesianX"], data["cartesianY"], data["cartesianZ"]]))
        if all(name in data for name in ("colorRed", "colorGreen", "colorBlue")):
            columns["colors"].append(np.column_stack([data["colorRed"], data["colorGreen"], data["colorBlue"]]))
        if "intensity" in data:
            columns["intensity"].append(np.asarray(data["intensity"]))
        if header.has_pose():
            place = np.asarray(header.translation, dtype=np.float64)
            columns["sensor"].append(np.tile(place, (count, 1)))
            scanned |= bool(place.any()) or "rowIndex" in header.point_fields or "sphericalRange" in header.point_fields
    out: Arrays = {name: np.concatenate(parts) for name, parts in columns.items() if counts and len(parts) == len(counts)}
    out.setdefault("points", np.zeros((0, 3)))
    if not scanned:
        out.pop("sensor", None)
    out["counts"] = np.array(counts, dtype=np.int64)
    return out
