"""Pictures of meshes by one ray for each pixel: enough to see seams, holes and noise, without a GPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray
from lpdif.mesh_queries import ray_hits

if TYPE_CHECKING:
    from PIL.Image import Image

BACKGROUND = np.array([255.0, 255.0, 255.0])
FRONT = np.array([188.0, 200.0, 214.0])
BACK = np.array([226.0, 150.0, 110.0])  # another colour than the front, so that holes and flipped faces show
INK = np.array([40.0, 70.0, 120.0])


def view_axes(azimuth: float, elevation: float) -> FloatArray:
    """(3, 3) rows right, up and towards the camera.

    azimuth, elevation: angles in degrees around the z axis and above the horizon.
    """
    a, e = np.radians([azimuth, elevation])
    back = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    right = np.array([-np.sin(a), np.cos(a), 0.0])
    return np.stack([right, np.cross(back, right), back])


UPRIGHT: dict[str, tuple[tuple[int, int, int], ...]] = {  # rows of the rotations that turn an axis to where z is
    "z": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "-z": ((1, 0, 0), (0, -1, 0), (0, 0, -1)),
    "y": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "-y": ((1, 0, 0), (0, 0, 1), (0, -1, 0)),
    "x": ((0, 1, 0), (0, 0, 1), (1, 0, 0)),
    "-x": ((0, 0, 1), (0, 1, 0), (-1, 0, 0)),
}


def fit_view(points: FloatArray, axes: FloatArray) -> tuple[FloatArray, float]:
    """Centre (3,) and half-width of a square view that holds the points (N, 3)."""
    seen = points @ axes.T
    low, high = seen.min(0), seen.max(0)
    return (0.5 * (low + high)) @ axes, float(0.52 * max(high[:2] - low[:2]))


def draw_mesh(
    vertices: FloatArray,
    faces: IntArray,
    axes: FloatArray,
    center: FloatArray,
    half: float,
    pixels: int,
    colors: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """(pixels, pixels, 3) picture of a mesh by parallel rays.

    center, half: middle and half-width of the view. colors (F, 3): of the faces, else FRONT; the inside shows BACK.
    """
    axis = (np.arange(pixels) + 0.5) / pixels * 2 - 1
    u, v = np.meshgrid(axis * half, -axis * half)
    depth = float(np.abs((vertices - center) @ axes[2]).max(initial=1.0)) + half
    origin = center + u.reshape(-1, 1) * axes[0] + v.reshape(-1, 1) * axes[1] + depth * axes[2]
    face = ray_hits(origin, np.broadcast_to(-axes[2], origin.shape), vertices, faces)[1]
    hit = face >= 0
    corners = vertices[faces[face[hit]]]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    facing = normal @ axes[2]
    light = normal @ (axes.T @ np.array([-0.35, 0.55, 0.76]))
    tone = np.where(facing[:, None] >= 0, FRONT if colors is None else colors[face[hit]], BACK)
    shade = 0.25 + 0.75 * np.clip(np.where(facing >= 0, light, -light), 0, 1)
    picture = np.tile(BACKGROUND, (pixels * pixels, 1))
    picture[hit] = tone * shade[:, None]
    return picture.reshape(pixels, pixels, 3).astype(np.uint8)


def draw_points(
    points: FloatArray, axes: FloatArray, center: FloatArray, half: float, pixels: int, colors: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """(pixels, pixels, 3) picture of points (N, 3), the nearer in front.

    center, half: middle and half-width of the view. colors (N, 3): else INK, paler with distance.
    """
    seen = (points - center) @ axes.T
    at = np.floor((np.stack([seen[:, 0], -seen[:, 1]], 1) / half + 1) * 0.5 * pixels).astype(np.int64)
    inside = np.all((at >= 0) & (at < pixels), axis=1)
    order = np.argsort(seen[inside, 2], kind="stable")
    at, depth = at[inside][order], seen[inside, 2][order]
    fade = np.clip((depth - depth.min(initial=0)) / max(float(np.ptp(depth)) if len(depth) else 0.0, 1e-12), 0, 1)[:, None]
    tone = INK * fade + (0.35 * INK + 0.65 * BACKGROUND) * (1 - fade) if colors is None else colors[inside][order]
    picture = np.tile(BACKGROUND, (pixels, pixels, 1))
    picture[at[:, 1], at[:, 0]] = tone
    return picture.astype(np.uint8)


def sheet(rows: list[tuple[str, list[NDArray[np.uint8]]]], margin: int = 190) -> Image:
    """One picture of pictures of equal size in rows, with the words of each row to their left."""
    from PIL import Image, ImageDraw

    pixels = rows[0][1][0].shape[0]
    widest = max(len(pictures) for _, pictures in rows)
    whole = Image.new("RGB", (margin + widest * pixels, len(rows) * pixels), "white")
    pen = ImageDraw.Draw(whole)
    for number, (words, pictures) in enumerate(rows):
        pen.multiline_text((8, number * pixels + 8), words, fill="black")
        for place, picture in enumerate(pictures):
            whole.paste(Image.fromarray(picture), (margin + place * pixels, number * pixels))
    return whole
