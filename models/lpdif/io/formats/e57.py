"""E57 (ASTM E2807), read by pye57 (an extra of lpdif) in a child process.

Several scans become one, in their common frame.
"""

from __future__ import annotations

import importlib.util
import logging
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray
from lpdif.errors import InputError
from lpdif.io.sandbox import Arrays, arrays_from_child
from lpdif.io.source import DOWNLOAD_AGAIN, Source
from lpdif.io.table.colors import colors_of
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

PACKAGES = ("pye57",)  # the extra "e57" of lpdif
_CARTESIAN = ("cartesianX", "cartesianY", "cartesianZ")
_SPHERICAL = ("sphericalRange", "sphericalAzimuth", "sphericalElevation")
_COLOR_FIELDS = ("colorRed", "colorGreen", "colorBlue")
_NORMAL_FIELDS = ("normalX", "normalY", "normalZ")  # an extension: the file puts a prefix before them, such as "nor:"
_MOST_BITS = 32  # An integer of more bits has no declared bounds, but those of its type.


def is_e57(source: Source) -> bool:
    """Whether the file begins as E57 files do."""
    return source.data.startswith(b"ASTM-E57")


def read_e57(source: Source) -> Scan:
    """Reads all scans of an E57 file, moved by their poses.

    The sensor position of a point is that of its scan. Raises InputError for a file cut off, and where pye57 is not installed.
    """
    if len(source.data) < 48:
        raise source.error(f"ends within its header ({len(source.data)} of 48 bytes)", DOWNLOAD_AGAIN)
    length = int.from_bytes(source.data[16:24], "little")
    if length > len(source.data):
        raise source.cut(len(source.data), length, "byte")
    if importlib.util.find_spec("pye57") is None:
        raise source.error("reading E57 needs the package pye57", _how_to_install())
    arrays = arrays_from_child(source, "e57", source.most_unpacked)
    points = arrays["points"].astype(np.float64, copy=False)
    if not len(points):
        raise source.empty()
    counts = arrays["counts"]
    log.info("%s: %s (points: %s)", source.name, counted(len(counts), "scan"), ", ".join(str(count) for count in counts[:20]))
    for line in arrays.get("messages", np.zeros(0)):
        log.warning("%s: %s", source.name, line)
    colors, normals = arrays.get("colors"), arrays.get("normals")
    return Scan(
        points,
        normals=None if normals is None or not normals.any() else normals.astype(np.float64, copy=False),
        colors=None if colors is None else colors_of(list(colors.T), source.name),
        extras={"intensity": arrays["intensity"]} if "intensity" in arrays else {},
        sensor=arrays["sensor"].astype(np.float64, copy=False) if "sensor" in arrays else None,
        name=source.name,
    )


def _how_to_install() -> str:
    """The hint where pye57 is missing: on Linux on ARM, pip finds no wheel of it."""
    if sys.platform == "linux" and platform.machine() == "aarch64":
        return "pye57 has no wheel for Linux on ARM: export the scan as PLY or LAS"
    return "pip install pye57"


def _columns(points: Any) -> dict[str, Any]:
    """The numeric columns of a scan by name, as the nodes of libe57 that tell their types and bounds."""
    from pye57 import libe57

    kinds = {
        libe57.NodeType.E57_FLOAT: libe57.FloatNode,
        libe57.NodeType.E57_INTEGER: libe57.IntegerNode,
        libe57.NodeType.E57_SCALED_INTEGER: libe57.ScaledIntegerNode,
    }
    prototype = libe57.StructureNode(points.prototype())
    nodes = [prototype.get(index) for index in range(prototype.childCount())]
    return {node.elementName(): kinds[node.type()](node) for node in nodes if node.type() in kinds}


def _bits(points: Any) -> int:
    """The least number of bits that a point takes, by the types of its columns.

    Constant columns take none.
    """
    from pye57 import libe57

    columns = _columns(points).values()
    return sum(32 if isinstance(node, libe57.FloatNode) else (node.maximum() - node.minimum()).bit_length() for node in columns)


def decode(path: Path) -> Arrays:
    """The points, normals, colours, intensity and sensor positions of all scans, and messages about them.

    Runs in the child process. Colours and intensity are kept where every scan has them; normals where one scan has them, with zeros for the
    others; positions where every scan has a pose, and one shows that a scanner stood there.
    """
    import pye57

    file = pye57.E57(str(path))
    scans: list[Arrays] = []
    messages: list[str] = []
    scanned = False  # whether poses tell where a scanner stood: merged scans have poses of zeros
    for index in range(file.scan_count):
        header = file.get_header(index)
        if header.point_count == 0:
            continue
        if header.point_count * max(1, _bits(header.points)) > 8 * path.stat().st_size:
            raise InputError(f"scan {index + 1} says {header.point_count} points, more than the file can hold")
        scan = _scan(file.image_file, header, f"scan {index + 1}", messages)
        if not len(scan["points"]):
            continue
        scans.append(scan)
        if header.has_pose():
            place = np.asarray(header.translation, dtype=np.float64)
            scan["sensor"] = np.tile(place, (len(scan["points"]), 1))
            scanned |= bool(place.any()) or "rowIndex" in header.point_fields or "sphericalRange" in header.point_fields
    if any("normals" in scan for scan in scans):
        for scan in scans:
            scan.setdefault("normals", np.zeros((len(scan["points"]), 3)))
    out: Arrays = {"points": np.zeros((0, 3)), "counts": np.array([len(scan["points"]) for scan in scans], dtype=np.int64)}
    for name, words in (("points", ""), ("normals", ""), ("colors", "colours"), ("intensity", "intensity"), ("sensor", "")):
        parts = [scan.pop(name) for scan in scans if name in scan]
        if parts and len(parts) == len(scans):
            out[name] = np.concatenate(parts)
        elif parts and words:
            messages.append(f"{words} left out: {len(scans) - len(parts)} of {counted(len(scans), 'scan')} without")
    if not scanned:
        out.pop("sensor", None)
    if messages:
        out["messages"] = np.array(messages)
    return out


def _scan(image: Any, header: Any, name: str, messages: list[str]) -> Arrays:
    """The valid points of one scan.

    With them come normals (N, 3), colours (N, 3) in bytes and intensity (N,), where the scan has these. Adds to `messages` what is left out.
    Raises InputError where there are no coordinates.
    """
    from pye57.utils import convert_spherical_to_cartesian

    nodes = _columns(header.points)
    spellings = {key.rpartition(":")[2]: key for key in nodes}
    normals = [spellings.get(part, part) for part in _NORMAL_FIELDS]
    coordinates = next((axes for axes in (_CARTESIAN, _SPHERICAL) if set(axes) <= set(nodes)), None)
    if coordinates is None:
        raise InputError(f"{name} has no coordinates; its columns are {', '.join(header.point_fields)[:120]}")
    wanted = [triple for triple in (coordinates, _COLOR_FIELDS, normals) if set(triple) <= set(nodes)]
    state = "cartesianInvalidState" if coordinates is _CARTESIAN else "sphericalInvalidState"
    single = [key for key in ("intensity", state) if key in nodes]
    for words, keys in (("colours", _COLOR_FIELDS), ("intensity", ("intensity",))):
        if set(keys) & set(header.point_fields) and not set(keys) <= set(nodes):
            messages.append(f"{words} of {name} left out: they are no numbers, or not all there")
    columns = _values(image, header.points, [*(key for triple in wanted for key in triple), *single])
    if state in columns:
        valid = columns.pop(state) == 0
        columns = {key: column[valid] for key, column in columns.items()}
    points = np.column_stack([columns.pop(key) for key in coordinates])
    if coordinates is _SPHERICAL:
        points = convert_spherical_to_cartesian(points)
    turn = header.rotation_matrix if header.has_pose() else None
    out: Arrays = {"points": points if turn is None else points @ turn.T + header.translation}
    if set(normals) <= set(columns):
        vectors = np.column_stack([columns[key] for key in normals])
        out["normals"] = vectors if turn is None else vectors @ turn.T
    if set(_COLOR_FIELDS) <= set(columns) and len(points):
        colors = np.column_stack([columns[key] for key in _COLOR_FIELDS])
        scaled = _bytes_of(colors, [nodes[key] for key in _COLOR_FIELDS], _limits(header)) if np.isfinite(colors).all() else None
        if scaled is None:
            what = "their values go beyond every range" if np.isfinite(colors).all() else "some of their values are no finite numbers"
            messages.append(f"colours of {name} left out: {what}")
        else:
            out["colors"] = scaled
    if "intensity" in columns:
        out["intensity"] = columns["intensity"]
    return out


def _values(image: Any, points: Any, names: list[str]) -> dict[str, FloatArray]:
    """Columns of a scan in double precision; scaled integers are multiplied by their scale."""
    from pye57 import libe57

    count = points.childCount()
    columns = {name: np.empty(count) for name in names}
    buffers = libe57.VectorSourceDestBuffer()
    for name, column in columns.items():
        buffers.append(libe57.SourceDestBuffer(image, name, column, count, True, True))
    points.reader(buffers).read()
    return columns


def _limits(header: Any) -> tuple[FloatArray, FloatArray] | None:
    """The lowest and highest red, green and blue that the file declares for a scan.

    None where it declares none, or no numbers.
    """
    from pye57 import libe57

    limits = header["colorLimits"] if "colorLimits" in header.scan_fields else None
    if not isinstance(limits, libe57.StructureNode):
        return None
    names = [[f"{color}{end}" for color in _COLOR_FIELDS] for end in ("Minimum", "Maximum")]
    if not all(limits.isDefined(name) for row in names for name in row):
        return None
    nodes = [[limits[name] for name in row] for row in names]
    if not all(isinstance(node, (libe57.FloatNode, libe57.IntegerNode, libe57.ScaledIntegerNode)) for row in nodes for node in row):
        return None
    least, most = ([float(node.scaledValue() if hasattr(node, "scaledValue") else node.value()) for node in row] for row in nodes)
    return np.array(least), np.array(most)


def _bytes_of(colors: FloatArray, nodes: list[Any], limits: tuple[FloatArray, FloatArray] | None) -> NDArray[np.uint8] | None:
    """Colours (N, 3) scaled to bytes by the first range that holds them all; None where none does.

    For integers the ranges are that of the file's limits, where their type goes so far, that of bytes, and that of their bits; for other
    numbers that of the limits, 0 to 1, 0 to 255 and 0 to 65535.
    """
    from pye57 import libe57

    tops = [1, 255, 65535]
    whole = all(isinstance(node, libe57.IntegerNode) for node in nodes)
    if whole:
        bits = max(node.maximum() for node in nodes).bit_length()
        tops = [255, 2**bits - 1 if bits <= _MOST_BITS else 65535]
    ranges = [(np.zeros(3), np.full(3, float(top))) for top in tops]
    if limits is not None and not (whole and limits[1].max() > tops[-1]):
        ranges.insert(0, limits)
    low, high = colors.min(axis=0), colors.max(axis=0)
    for least, most in ranges:
        if (least <= low).all() and (high <= most).all() and (least < most).all():
            return np.rint((colors - least) / (most - least) * 255).astype(np.uint8)
    return None
