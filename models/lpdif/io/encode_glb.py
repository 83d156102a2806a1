"""Encodes meshes as GLB (binary glTF 2.0). The same mesh gives the same bytes."""

from __future__ import annotations

import logging

import numpy as np

from lpdif.io.encode_mesh import needs_double
from lpdif.io.units import unit_of
from lpdif.types import Mesh

log = logging.getLogger("lpdif")


def encode_glb(mesh: Mesh, units: str | None = None) -> bytes:
    """GLB by trimesh, in single precision.

    Where that is too little, the mesh is moved to its centre, and a node moves it back. glTF is in metres: where the unit of the mesh is
    known, the node scales it to these.
    """
    import trimesh
    from trimesh.exchange.gltf import export_glb

    lost = [*mesh.vertex_values, *mesh.face_values]
    if lost:
        log.info("GLB has no place for %s: use PLY to keep them", ", ".join(lost))
    vertices, node = placed(mesh, units)
    shape = trimesh.Trimesh(vertices, mesh.faces, vertex_normals=mesh.normals, vertex_colors=mesh.colors, process=False)
    scene = trimesh.Scene()
    scene.add_geometry(shape, node_name="mesh", geom_name="mesh", transform=node)
    data: bytes = export_glb(scene, include_normals=mesh.normals is not None)  # type: ignore[no-untyped-call]
    return data


def placed(mesh: Mesh, units: str | None) -> tuple[np.ndarray, np.ndarray]:
    """The vertices (V, 3) that single precision can hold, and the matrix (4, 4) of the node that puts them in place, in metres."""
    node = np.eye(4)
    vertices = mesh.vertices
    if needs_double(vertices, mesh.faces):
        node[:3, 3] = np.round((vertices.min(axis=0) + vertices.max(axis=0)) / 2)
        vertices = vertices - node[:3, 3]
    if units:
        node[:3] *= unit_of(units).millimetres / 1000
    return vertices, node
