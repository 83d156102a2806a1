"""Meshes with a texture as OBJ, MTL and PNG, or as GLB; the same mesh gives the same bytes on a machine."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lpdif.io.encode_mesh import formatted, log_left_out, significant_digits
from lpdif.types import Mesh, Texture

TEXTURED_FORMATS = ("glb", "obj")  # formats that can carry a texture


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """A picture (S, S, 3) as PNG."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def side_files(path: Path) -> tuple[Path, Path]:
    """The material file and the picture that belong to an OBJ file. Their names have no blanks, as OBJ cannot have them."""
    stem = re.sub(r"[^\w.-]+", "_", path.stem)
    return path.with_name(f"{stem}.mtl"), path.with_name(f"{stem}.png")


def encode_textured_obj(mesh: Mesh, texture: Texture, path: Path) -> dict[Path, bytes]:
    """The OBJ file `path` and the files that belong to it, by their paths, the OBJ file first."""
    log_left_out(mesh, "OBJ", colors=True, normals=True)
    material, picture = side_files(path)
    place = f"%.{significant_digits(mesh)}g"
    corner, number = distinct_coordinates(texture)
    parts = [f"# lpdif\nmtllib {material.name}\n".encode(), *formatted(f"v {place} {place} {place}\n", mesh.vertices)]
    parts += formatted("vt %.6g %.6g\n", corner)
    vertex, where = mesh.faces + 1, number + 1
    if mesh.normals is not None:
        parts += formatted("vn %.5g %.5g %.5g\n", mesh.normals)
        rows = np.stack([vertex, where, vertex], axis=2).reshape(-1, 9)
        row = "f %d/%d/%d %d/%d/%d %d/%d/%d\n"
    else:
        rows = np.stack([vertex, where], axis=2).reshape(-1, 6)
        row = "f %d/%d %d/%d %d/%d\n"
    parts += [b"usemtl scan\n", *formatted(row, rows)]
    about = f"# lpdif\nnewmtl scan\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {picture.name}\n"
    return {path: b"".join(parts), material: about.encode(), picture: encode_png(texture.image)}


def distinct_coordinates(texture: Texture) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Each pair of coordinates once (n, 2), and the row of the pair of each corner (F, 3)."""
    pairs, number = np.unique(texture.coordinates.reshape(-1, 2), axis=0, return_inverse=True)
    return pairs, number.reshape(-1, 3)


def split_vertices(mesh: Mesh, texture: Texture) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
    """Vertices for formats in which one has a single place in the texture.

    Gives the old number (n,) and the coordinates (n, 2) of each new vertex, and the faces (F, 3) of new vertices.
    """
    pairs, number = distinct_coordinates(texture)
    both, corner = np.unique(np.stack([mesh.faces.reshape(-1), number.reshape(-1)], 1), axis=0, return_inverse=True)
    return both[:, 0], pairs[both[:, 1]], corner.reshape(-1, 3)
