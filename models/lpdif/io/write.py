"""Writes meshes and scans to files, whole or not at all, with digits enough for their coordinates."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from lpdif.errors import UsageError
from lpdif.io.encode_3mf import encode_3mf
from lpdif.io.encode_glb import encode_glb
from lpdif.io.encode_mesh import encode_obj, encode_off, encode_ply, encode_stl, needs_double, ply_element, ply_parts, vertex_table
from lpdif.io.textured import encode_textured_obj
from lpdif.io.units import tell_print_size, unit_of
from lpdif.storage.atomic_write import write_bytes, write_parts
from lpdif.storage.write_together import write_together
from lpdif.types import Mesh, Scan

log = logging.getLogger("lpdif")


WITH_UNITS: dict[str, Callable[[Mesh, str | None], bytes]] = {"glb": encode_glb, "3mf": encode_3mf}  # formats that say what one unit is
MESH_FORMATS: dict[str, Callable[..., bytes]] = {"obj": encode_obj, "ply": encode_ply, "stl": encode_stl, "off": encode_off, **WITH_UNITS}


def mesh_format(path: str | Path) -> str:
    """The format that the ending of a name stands for.

    Raises UsageError, which lists the formats, where it stands for none.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in MESH_FORMATS:
        what = f"format {ending!r} is not known" if ending else "the name has no ending, which would tell the format"
        raise UsageError(f"{path}: {what}", f"meshes are written to {', '.join('.' + name for name in MESH_FORMATS)}")
    return ending


def encode_mesh(mesh: Mesh, kind: str, units: str | None = None, scale: float = 1.0) -> bytes:
    """The bytes of a mesh file in one of MESH_FORMATS; the same mesh gives the same bytes.

    units: what one unit of the mesh is (mm, cm, m or in), for formats that say it; scale: its coordinates are written times this. Raises
    UsageError for another format, unit or scale.
    """
    if kind not in MESH_FORMATS:
        raise UsageError(f"mesh format {kind!r} is not known", f"meshes are written to {', '.join(MESH_FORMATS)}")
    return b"".join(mesh_parts(mesh, kind, units, scale)[1])


def mesh_parts(mesh: Mesh, kind: str, units: str | None, scale: float) -> tuple[int, Iterable[bytes]]:
    """How many bytes `encode_mesh` makes of a mesh, and these: of a PLY, which large meshes are written as, some rows at a time."""
    mesh = scaled(mesh, scale)
    if units is not None:
        unit_of(units)
    if mesh.texture is not None and kind != "glb":
        log.warning("%s has no place for the texture: use GLB, or write_mesh with OBJ", kind.upper())
    tell_print_size(mesh, kind, units)
    if units is not None and kind not in WITH_UNITS:
        log.info("%s has no place for the unit (%s): use 3MF or GLB to keep it", kind.upper(), units)
    if kind == "ply":
        return ply_parts(mesh)
    data = WITH_UNITS[kind](mesh, units) if kind in WITH_UNITS else MESH_FORMATS[kind](mesh)
    return len(data), [data]


def write_mesh(path: str | Path, mesh: Mesh, overwrite: bool = False, units: str | None = None, scale: float = 1.0) -> None:
    """Writes a mesh in the format of the name's ending, whole or not at all; with a texture as OBJ, its MTL and PNG files too.

    units, scale: as for encode_mesh. Raises UsageError for an ending that stands for no format and for an output that exists already, is a
    link or cannot be written; ResourceError where the disk is full, with nothing left behind.
    """
    if mesh_format(path) == "obj" and mesh.texture is not None:
        write_together(encode_textured_obj(scaled(mesh, scale), mesh.texture, Path(path)), overwrite)
    else:
        write_parts(path, *mesh_parts(mesh, mesh_format(path), units, scale), overwrite)


def scaled(mesh: Mesh, scale: float) -> Mesh:
    """The mesh with its coordinates times `scale`. Raises UsageError unless that is above 0."""
    if not 0 < scale < float("inf"):
        raise UsageError(f"scale {scale!r} is not allowed", "give a number above 0")
    return mesh if scale == 1 else dataclasses.replace(mesh, vertices=mesh.vertices * scale)


def encode_scan_file(scan: Scan) -> bytes:
    """A scan as binary PLY: points, normals, colours, values and faces, but no positions of the sensor."""
    if scan.faces is not None:
        values = dict(scan.extras), dict(scan.face_values)
        return encode_ply(Mesh(scan.points, scan.faces, scan.normals, scan.colors, *values, pattern_names=scan.pattern_names))
    rows = vertex_table(scan.points, scan.normals, scan.colors, scan.extras, needs_double(scan.points, None))
    header = ["ply", "format binary_little_endian 1.0", "comment lpdif", *ply_element("vertex", rows.dtype, len(rows)), "end_header\n"]
    return "\n".join(header).encode("ascii") + rows.tobytes()


def write_scan(path: str | Path, scan: Scan, overwrite: bool = False) -> None:
    """Writes a scan as PLY. Raises as write_mesh does."""
    if Path(path).suffix.lower() != ".ply":
        raise UsageError(f"{path}: scans are written as PLY only", "let the name end in .ply")
    write_bytes(path, encode_scan_file(scan), overwrite)
