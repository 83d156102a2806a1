"""Encodes meshes as GLB (binary glTF 2.0). The same mesh gives the same bytes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lpdif.io.encode_mesh import needs_double
from lpdif.io.textured import split_vertices
from lpdif.io.units import unit_of
from lpdif.types import Mesh, Texture

if TYPE_CHECKING:
    from trimesh.visual import TextureVisuals

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
    if mesh.texture is None:
        shape = trimesh.Trimesh(vertices, mesh.faces, vertex_normals=mesh.normals, vertex_colors=mesh.colors, process=False)
    else:
        old, coordinates, faces = split_vertices(mesh, mesh.texture)
        normals = None if mesh.normals is None else mesh.normals[old]
        shape = trimesh.Trimesh(vertices[old], faces, vertex_normals=normals, visual=material(mesh.texture, coordinates), process=False)
    scene = trimesh.Scene()
    scene.add_geometry(shape, node_name="mesh", geom_name="mesh", transform=node)
    data: bytes = export_glb(scene, include_normals=mesh.normals is not None)  # type: ignore[no-untyped-call]
    return data


def material(texture: Texture, coordinates: NDArray[np.float64]) -> TextureVisuals:
    """The texture as trimesh has it, for vertices with these coordinates (V, 2): matt, as scanned colours have their light in them."""
    from PIL import Image
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    paint = PBRMaterial(name="scan", baseColorTexture=Image.fromarray(texture.image), metallicFactor=0.0, roughnessFactor=1.0)  # type: ignore[no-untyped-call]
    return TextureVisuals(uv=coordinates, material=paint)  # type: ignore[no-untyped-call]


def placed(mesh: Mesh, units: str | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The vertices (V, 3) that single precision can hold, and the matrix (4, 4) of the node that puts them in place, in metres."""
    node = np.eye(4)
    vertices = mesh.vertices
    if needs_double(vertices, mesh.faces):
        node[:3, 3] = np.round((vertices.min(axis=0) + vertices.max(axis=0)) / 2)
        vertices = vertices - node[:3, 3]
    if units:
        node[:3] *= unit_of(units).millimetres / 1000
    return vertices, node
