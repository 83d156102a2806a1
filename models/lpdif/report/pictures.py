"""Pictures in a page: a scan beside its mesh from four sides, and thumbnails, as PNG with few colours.

N points, V vertices, F faces.
"""

from __future__ import annotations

import base64
import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray
from lpdif.tools.rendering import UPRIGHT, draw_mesh, draw_points, fit_view, view_axes


class PictureSettings(NamedTuple):
    """The pictures of a report."""

    pixels: int = 480  # Width of a picture of a mesh, which is shown half as wide.
    point_pixels: int = 240  # Width of a picture of points: a point is a pixel, and has to be seen.
    colours: int = 32  # Colours of a picture.
    azimuths: tuple[float, ...] = (35.0, 125.0, 215.0, 305.0)  # The four sides, in degrees around the axis that points up.
    elevation: float = 22.0  # How far above the horizon they are seen from, in degrees.
    most_points: int = 300_000  # At most so many points are drawn.
    thumbnail: int = 96  # Width of a thumbnail.
    thumbnail_colours: int = 12  # Its colours: with so few it takes about 2 kB, and a thousand of them 2 MB.


PICTURES = PictureSettings()


class Sides(NamedTuple):
    """Pictures of a scan and of its mesh from the same sides, as addresses that hold their data."""

    points: list[str]
    mesh: list[str]


def data_address(png: bytes) -> str:
    """The address of a PNG picture that holds the picture itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def encode_png(picture: NDArray[np.uint8], colours: int) -> bytes:
    """A picture (H, W, 3) as PNG with a palette."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).quantize(colours).save(file, "PNG", optimize=True)
    return file.getvalue()


def draw_sides(points: FloatArray, vertices: FloatArray, faces: IntArray, up: str = "z") -> Sides:
    """Points (N, 3) and the mesh from four sides, with an axis of `UPRIGHT` up.

    The frame is that of the mesh: what is far from it may lie outside.
    """
    middle = 0.5 * (vertices.min(0) + vertices.max(0))  # rays are in single precision, which has too few digits for geographic coordinates
    finite = points[np.isfinite(points).all(1)]
    shown = finite[:: -(-len(finite) // PICTURES.most_points) or 1] - middle
    found = Sides([], [])
    for azimuth in PICTURES.azimuths:
        axes = view_axes(azimuth, PICTURES.elevation) @ np.array(UPRIGHT[up])
        center, half = fit_view(vertices - middle, axes)
        found.points.append(data_address(encode_png(draw_points(shown, axes, center, half, PICTURES.point_pixels), PICTURES.colours)))
        picture = draw_mesh(vertices - middle, faces, axes, center, half, PICTURES.pixels)
        found.mesh.append(data_address(encode_png(picture, PICTURES.colours)))
    return found


def thumbnail(vertices: FloatArray, faces: IntArray, up: str = "z") -> str:
    """A small picture of a mesh with an axis of `UPRIGHT` up; "" for one without faces.

    vertices (V, 3), faces (F, 3).
    """
    if len(faces) == 0:
        return ""
    middle = 0.5 * (vertices.min(0) + vertices.max(0))
    axes = view_axes(PICTURES.azimuths[0], PICTURES.elevation) @ np.array(UPRIGHT[up])
    center, half = fit_view(vertices - middle, axes)
    large = draw_mesh(vertices - middle, faces, axes, center, half, 2 * PICTURES.thumbnail).astype(np.float64)
    small = large.reshape(PICTURES.thumbnail, 2, PICTURES.thumbnail, 2, 3).mean((1, 3))
    return data_address(encode_png(small.astype(np.uint8), PICTURES.thumbnail_colours))
