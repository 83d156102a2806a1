"""GLB (binary glTF), by trimesh, run in a child process: its readers trust what a file says of itself."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from lpdif.formats.child import Arrays, arrays_from_child
from lpdif.formats.columns import colors_of
from lpdif.formats.polygons import first_outside, triangulate
from lpdif.formats.source import DOWNLOAD_AGAIN, Source
from lpdif.scans import Scan

MAGIC = b"glTF"

log = logging.getLogger("lpdif")


def read_glb(source: Source) -> Scan:
    """Reads all meshes and points of a GLB file, moved to where its scene puts them.

    Raises InputError for a file cut off or damaged.
    """
    if len(source.data) < 20:
        raise source.error(f"ends within its header ({len(source.data)} of 20 bytes)", DOWNLOAD_AGAIN)
    version, length = (int.from_bytes(source.data[place : place + 4], "little") for place in (4, 8))
    if version != 2:
        raise source.error(f"glTF version {version} is not understood, only version 2")
    if length > len(source.data):
        raise source.cut(len(source.data), length, "byte")
    arrays = arrays_from_child(source, "glb", source.most_unpacked)
    points = arrays["points"].astype(np.float64, copy=False)
    if not len(points):
        raise source.empty()
    raw = arrays["faces"].astype(np.int64)
    if first_outside(raw.reshape(-1), len(points)) is not None:
        raise source.error("a face uses a point that is not there")
    faces = triangulate(raw.reshape(-1), np.full(len(raw), 3), points, source.name)
    colors = arrays.get("colors")
    return Scan(
        points,
        colors=None if colors is None else colors_of(list(colors.T), source.name),
        faces=faces if len(faces) else None,
        name=source.name,
    )


def decode(path: Path) -> Arrays:
    """Points, triangles and colours of the whole scene. Runs in the child process."""
    import trimesh
    from trimesh.visual.color import ColorVisuals, VertexColor

    with path.open("rb") as file:
        scene = trimesh.load_scene(file, file_type="glb", process=False)
    points, faces, colors = [], [], []
    total = 0
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        shape = scene.geometry[name]
        if not isinstance(shape, (trimesh.Trimesh, trimesh.PointCloud)):
            continue
        vertices = np.asarray(shape.vertices, dtype=np.float64).reshape(-1, 3)
        points.append(vertices @ transform[:3, :3].T + transform[:3, 3])
        if isinstance(shape, trimesh.Trimesh):
            faces.append(np.asarray(shape.faces, dtype=np.int64).reshape(-1, 3) + total)
        visual = shape.visual
        if isinstance(visual, (ColorVisuals, VertexColor)) and visual.kind == "vertex" and len(visual.vertex_colors) == len(vertices):
            colors.append(np.asarray(visual.vertex_colors)[:, :3])
        total += len(vertices)
    out: Arrays = {
        "points": np.concatenate([np.zeros((0, 3)), *points]),
        "faces": np.concatenate(faces) if faces else np.zeros((0, 3), dtype=np.int64),
    }
    if colors and len(colors) == len(points):
        out["colors"] = np.concatenate(colors)
    return out
