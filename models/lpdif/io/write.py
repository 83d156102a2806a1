"""Writes meshes and scans to files, whole or not at all, with digits enough for their coordinates."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lpdif.errors import UsageError
from lpdif.io.encode_mesh import encode_obj, encode_off, encode_ply, encode_stl, needs_double, ply_element, vertex_table
from lpdif.storage.atomic_write import write_bytes
from lpdif.types import Mesh, Scan

log = logging.getLogger("lpdif")


def encode_glb(mesh: Mesh) -> bytes:
    """GLB by trimesh, in single precision.

    Where that is too little, the mesh is moved to its centre, and a node moves it back.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb

    lost = [*mesh.vertex_values, *mesh.face_values]
    if lost:
        log.info("GLB has no place for %s: use PLY to keep them", ", ".join(lost))
    shift = np.eye(4)
    vertices = mesh.vertices
    if needs_double(vertices, mesh.faces):
        shift[:3, 3] = np.round((vertices.min(axis=0) + vertices.max(axis=0)) / 2)
        vertices = vertices - shift[:3, 3]
    shape = trimesh.Trimesh(vertices, mesh.faces, vertex_normals=mesh.normals, vertex_colors=mesh.colors, process=False)
    scene = trimesh.Scene()
    scene.add_geometry(shape, node_name="mesh", geom_name="mesh", transform=shift)
    data: bytes = export_glb(scene, include_normals=mesh.normals is not None)  # type: ignore[no-untyped-call]
    return data


MESH_FORMATS: dict[str, Callable[[Mesh], bytes]] = {
    "obj": encode_obj,
    "ply": encode_ply,
    "stl": encode_stl,
    "off": encode_off,
    "glb": encode_glb,
}


def mesh_format(path: str | Path) -> str:
    """The format that the ending of a name stands for.

    Raises UsageError, which lists the formats, where it stands for none.
    """
    ending = Path(path).suffix.lower().removeprefix(".")
    if ending not in MESH_FORMATS:
        what = f"format {ending!r} is not known" if ending else "the name has no ending, which would tell the format"
        raise UsageError(f"{path}: {what}", f"meshes are written to {', '.join('.' + name for name in MESH_FORMATS)}")
    return ending


def encode_mesh(mesh: Mesh, kind: str) -> bytes:
    """The bytes of a mesh file in one of MESH_FORMATS; the same mesh gives the same bytes.

    Raises UsageError for another format.
    """
    if kind not in MESH_FORMATS:
        raise UsageError(f"mesh format {kind!r} is not known", f"meshes are written to {', '.join(MESH_FORMATS)}")
    return MESH_FORMATS[kind](mesh)


def write_mesh(path: str | Path, mesh: Mesh, overwrite: bool = False) -> None:
    """Writes a mesh in the format of the name's ending, whole or not at all.

    Raises UsageError for an ending that stands for no format and for an output that exists already, is a link or cannot
    be written; ResourceError where the disk is full, with nothing left behind.
    """
    write_bytes(path, encode_mesh(mesh, mesh_format(path)), overwrite)


def encode_scan_file(scan: Scan) -> bytes:
    """A scan as binary PLY: points, normals, colours, values and faces, but no positions of the sensor."""
    if scan.faces is not None:
        return encode_ply(Mesh(scan.points, scan.faces, scan.normals, scan.colors, dict(scan.extras), dict(scan.face_values)))
    rows = vertex_table(scan.points, scan.normals, scan.colors, scan.extras, needs_double(scan.points, None))
    header = ["ply", "format binary_little_endian 1.0", "comment lpdif", *ply_element("vertex", rows), "end_header\n"]
    return "\n".join(header).encode("ascii") + rows.tobytes()


def write_scan(path: str | Path, scan: Scan, overwrite: bool = False) -> None:
    """Writes a scan as PLY. Raises as write_mesh does."""
    if Path(path).suffix.lower() != ".ply":
        raise UsageError(f"{path}: scans are written as PLY only", "let the name end in .ply")
    write_bytes(path, encode_scan_file(scan), overwrite)
