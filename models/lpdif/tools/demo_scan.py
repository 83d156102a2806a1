"""A small scan made by code: a snail, so that the first command works anywhere.

It has what tests a reconstruction: a smooth body, growth lines on the shell, the seam between the turns, thin stalks, and a sole
with a sharp edge. Lengths are in millimetres; signed distances are negative inside.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, unit_rows
from lpdif.types import Scan


class DemoSettings(NamedTuple):
    """How the demo scan samples the snail."""

    points: int = 20_000  # How many points it has by default.
    noise: float = 0.08  # Standard deviation of the positions, in mm.
    tilt: float = 0.05  # Standard deviation of the normals, in radians.


DEMO = DemoSettings()
_LOW, _HIGH = np.array([-50.0, -24.0, -1.0]), np.array([56.0, 24.0, 62.0])  # the box around the snail
_CREAM, _BROWN = np.array([236.0, 205.0, 150.0]), np.array([139.0, 78.0, 40.0])
_OLIVE, _DARK = np.array([150.0, 148.0, 96.0]), np.array([40.0, 34.0, 30.0])


def make_demo_scan(points: int = DEMO.points, seed: int = 0) -> Scan:
    """A scan of the snail: noisy positions and normals, colours. The same seed gives the same scan."""
    rng = np.random.default_rng(seed)
    surface = _draw_surface(points, rng)
    normals = unit_rows(_gradient(surface))
    colors = _colors(surface)
    positions = surface + DEMO.noise * rng.normal(size=surface.shape)
    tilted = unit_rows(normals + DEMO.tilt * rng.normal(size=normals.shape))
    return Scan(points=positions, normals=tilted, colors=colors, name="demo")


def snail(x: FloatArray) -> FloatArray:
    """(N,) about the signed distance of points (N, 3) to the snail, in mm; exact at 0, negative inside."""
    distance = _smooth_union(_body(x), _shell(x)[0], 1.2)
    return np.maximum(distance, -x[:, 2])  # the sole is flat


def _body(x: FloatArray) -> FloatArray:
    """(N,) distance to foot, neck, head and the four stalks."""
    mirrored = np.column_stack([x[:, 0], np.abs(x[:, 1]), x[:, 2]])
    foot = _ellipsoid(x, (-2.0, 0.0, 1.0), (45.0, 12.0, 8.5))
    tail = _capsule(x, (-20.0, 0.0, 2.0), (-44.0, 0.0, 0.6), 5.0, 1.4)
    neck = _capsule(x, (20.0, 0.0, 6.0), (38.0, 0.0, 19.0), 8.5, 6.5)
    head = _ellipsoid(x, (41.0, 0.0, 20.5), (9.0, 7.6, 7.0))
    stalk = _capsule(mirrored, (43.0, 3.6, 24.0), (49.0, 9.5, 42.0), 2.1, 1.0)
    eye = _ball(mirrored, (49.3, 9.8, 43.0), 2.2)
    feeler = _capsule(mirrored, (47.5, 3.2, 18.0), (53.5, 5.6, 14.0), 1.5, 0.9)
    body = _smooth_union(_smooth_union(foot, tail, 5.0), _smooth_union(neck, head, 4.0), 7.0)
    return _smooth_union(body, _smooth_union(_smooth_union(stalk, eye, 0.8), feeler, 0.5), 2.5)


def _shell(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Distance (N,) to the shell, and the place (N,) along it in radians from its mouth.

    The shell is a tube along a logarithmic spiral.
    """
    center, turns = np.array([-8.0, 0.0, 31.0]), 3
    growth = 0.115  # the tube shrinks by a factor of exp(-growth) for each radian
    mouth = math.radians(-62)  # where the outermost turn ends, in the plane of the spiral
    local = x - center
    radius = np.hypot(local[:, 0], local[:, 2])
    angle = np.arctan2(local[:, 2], local[:, 0])
    # Every turn passes once at this angle; the nearest turn counts.
    along = np.mod(angle[:, None] - mouth, 2 * math.pi) + 2 * math.pi * np.arange(turns)
    size = np.exp(-growth * along)
    ridges = 1 + 0.04 * np.cos(26 * along)  # growth lines
    sideways = np.maximum(np.abs(local[:, 1:2]) - 8.5 * (1 - size), 0)  # inner turns stand out on both sides
    distance = np.hypot(radius[:, None] - 19.0 * size, 0.8 * sideways) - 10.4 * size * ridges
    end = local - 19.0 * np.array([math.cos(mouth), 0.0, math.sin(mouth)])
    cap = np.linalg.norm(end * [1.0, 0.8, 1.0], axis=1) - 10.4 * 1.04
    distance[:, 0] = np.minimum(distance[:, 0], cap)  # the tube ends round, within the foot: a flat end would be a jump of the field
    distance[:, -1] = np.minimum(distance[:, -1], _ellipsoid(local, (0.0, 0.0, 0.0), (3.4, 9.2, 3.4)))  # no hole in the middle
    nearest = distance.argmin(axis=1)[:, None]
    return np.take_along_axis(distance, nearest, 1)[:, 0], np.take_along_axis(along, nearest, 1)[:, 0]


def _colors(surface: FloatArray) -> NDArray[np.uint8]:
    """(N, 3) uint8: a striped shell on an olive body, dark eyes."""
    shell, along = _shell(surface)
    stripes = (0.5 + 0.5 * np.cos(6.5 * along + 0.35 * np.abs(surface[:, 1])))[:, None] ** 2
    on_shell = _CREAM + stripes * (_BROWN - _CREAM)
    waves = np.array([[1.7, 0.6, 0.4], [-0.5, 1.9, 0.7], [0.6, -0.8, 1.5]])
    speckle = np.sin(surface @ waves.T).prod(axis=1)[:, None]
    on_body = _OLIVE + 22 * speckle
    eyes = np.hypot(surface[:, 0] - 49.3, np.hypot(np.abs(surface[:, 1]) - 9.8, surface[:, 2] - 43.0))[:, None] < 2.4
    share = np.clip((_body(surface) - shell)[:, None] / 1.5 + 0.5, 0, 1)  # 1 on the shell, 0 on the body
    mixed = np.where(eyes, _DARK, on_body + share * (on_shell - on_body))
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def _draw_surface(points: int, rng: np.random.Generator, layer: float = 0.8) -> FloatArray:
    """(points, 3) places on the snail, uniform by area.

    They are drawn from a layer of half-width `layer`, in mm, around the surface, and then moved onto it.
    """
    found = np.empty((0, 3))
    while len(found) < points:
        x = rng.uniform(_LOW, _HIGH, (6 * points, 3))
        field = snail(x)
        near = np.abs(field) < 2 * layer
        x, field = x[near], field[near]
        slope = _gradient(x)
        near = np.abs(field) < layer * np.linalg.norm(slope, axis=1)
        x, field, slope = x[near], field[near], slope[near]
        for _ in range(3):  # Newton steps along the gradient
            x = x - slope * (field / np.maximum(np.einsum("nd,nd->n", slope, slope), 1e-9))[:, None]
            field, slope = snail(x), _gradient(x)
        found = np.concatenate([found, x[np.abs(field) < 1e-3]])
    return found[:points]


def _gradient(x: FloatArray, step: float = 1e-3) -> FloatArray:
    """(N, 3) gradient of the snail's field by central differences over `step`, in mm."""
    shifts = step * np.eye(3)
    return np.stack([(snail(x + shift) - snail(x - shift)) / (2 * step) for shift in shifts], axis=1)


def _smooth_union(a: FloatArray, b: FloatArray, width: float) -> FloatArray:
    """Union of two fields, blended where they are closer than `width` (polynomial smooth minimum)."""
    overlap = np.maximum(width - np.abs(a - b), 0) / width
    return np.asarray(np.minimum(a, b) - overlap * overlap * width / 4)


def _ball(x: FloatArray, center: tuple[float, float, float], radius: float) -> FloatArray:
    return np.asarray(np.linalg.norm(x - np.array(center), axis=1) - radius)


def _ellipsoid(x: FloatArray, center: tuple[float, float, float], radii: tuple[float, float, float]) -> FloatArray:
    """First-order distance to an ellipsoid."""
    scaled = (x - np.array(center)) / np.array(radii)
    k0 = np.linalg.norm(scaled, axis=1)
    k1 = np.linalg.norm(scaled / np.array(radii), axis=1)
    return np.asarray(k0 * (k0 - 1) / np.maximum(k1, 1e-9))


def _capsule(x: FloatArray, start: tuple[float, float, float], end: tuple[float, float, float], radius: float, end_radius: float) -> FloatArray:
    """Distance to a rod from `start` to `end` whose radius changes evenly."""
    a, axis = np.array(start), np.array(end) - np.array(start)
    share = np.clip((x - a) @ axis / (axis @ axis), 0, 1)
    return np.asarray(np.linalg.norm(x - a - share[:, None] * axis, axis=1) - (radius + share * (end_radius - radius)))
