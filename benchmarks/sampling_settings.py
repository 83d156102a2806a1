"""What a scanner might see of a closed mesh: points in several settings, and two shapes made by code.

Every mesh has its longest side scaled to 1, so all lengths here are shares of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import unit_rows
from lpdif.geometry import surface_points
from lpdif.surface.marching_cubes import marching_cubes
from lpdif.types import Mesh, Scan

FloatArray = NDArray[np.float64]

CELLS = 96  # of the lattice along an axis on which the shapes are made
BOX = 0.6  # outliers lie within this distance of the centre along each axis


@dataclass(frozen=True)
class Setting:
    """How a mesh is seen.

    points    number of points in all
    noise     standard deviation of the noise in each coordinate
    tilt      standard deviation of the noise in each component of the unit normals, before they are made unit again
    contrast  density at one end of the longest axis over that at the other
    outliers  share of the points that lie anywhere around the shape
    normals   whether the points come with normals
    """

    points: int
    noise: float = 0.0
    tilt: float = 0.0
    contrast: float = 1.0
    outliers: float = 0.0
    normals: bool = True


SETTINGS = {
    "dense": Setting(100_000),
    "clean": Setting(20_000),
    "sparse": Setting(3_000),
    "noisy-dense": Setting(100_000, noise=0.003, tilt=0.2),
    "noisy": Setting(20_000, noise=0.005, tilt=0.2),
    "uneven": Setting(50_000, noise=0.001, tilt=0.1, contrast=20.0),
    "outliers": Setting(50_000, noise=0.001, tilt=0.1, outliers=0.02),
    "no-normals": Setting(50_000, noise=0.001, normals=False),
}


def unit_mesh(mesh: Mesh) -> Mesh:
    """The mesh alone, centred, with its longest side scaled to 1."""
    low, high = mesh.vertices[mesh.faces].min((0, 1)), mesh.vertices[mesh.faces].max((0, 1))
    return Mesh((mesh.vertices - (low + high) / 2) / float((high - low).max()), mesh.faces)


def scan_of(mesh: Mesh, setting: Setting, seed: int = 0) -> Scan:
    """Points of a mesh whose longest side is 1, in random order. The same seed gives the same points."""
    rng = np.random.default_rng([seed, zlib.crc32(repr(setting).encode())])
    stray = round(setting.outliers * setting.points)
    points, normals = uneven_points(mesh, setting.points - stray, setting.contrast, rng)
    points = points + setting.noise * rng.normal(size=points.shape)
    normals = unit_rows(normals + setting.tilt * rng.normal(size=normals.shape))
    points = np.concatenate([points, rng.uniform(-BOX, BOX, (stray, 3))])
    normals = np.concatenate([normals, unit_rows(rng.normal(size=(stray, 3)))])
    order = rng.permutation(len(points))
    return Scan(points[order], normals[order] if setting.normals else None)


def uneven_points(mesh: Mesh, count: int, contrast: float, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """Points and face normals (count, 3); the density falls along the longest axis, exponentially, from `contrast` to 1."""
    if contrast == 1:
        return surface_points(mesh.vertices, mesh.faces, count, rng)
    axis = int(np.argmax(np.ptp(mesh.vertices, axis=0)))
    low, extent = mesh.vertices[:, axis].min(), np.ptp(mesh.vertices[:, axis])
    found: list[tuple[FloatArray, FloatArray]] = []
    while sum(len(points) for points, _ in found) < count:
        points, normals = surface_points(mesh.vertices, mesh.faces, 2 * count, rng)
        kept = rng.random(len(points)) < contrast ** -((points[:, axis] - low) / extent)
        found.append((points[kept], normals[kept]))
    return np.concatenate([p for p, _ in found])[:count], np.concatenate([n for _, n in found])[:count]


def made_shapes() -> dict[str, Mesh]:
    """Shapes for those who have no meshes at hand."""
    return {"bracket": unit_mesh(zero_surface(bracket)), "torus": unit_mesh(zero_surface(torus))}


def torus(points: FloatArray) -> FloatArray:
    """(Q,) signed distance to a torus around the z axis."""
    ring = np.hypot(points[:, 0], points[:, 1]) - 0.34
    return np.asarray(np.hypot(ring, points[:, 2]) - 0.14)


def bracket(points: FloatArray) -> FloatArray:
    """(Q,) a field that is zero on a block with a round hole and a thin fin on top, negative inside; near a face the signed distance."""
    block = np.max(np.abs(points - [0.0, 0.0, -0.12]) - [0.481, 0.301, 0.163], axis=1)
    hole = 0.163 - np.hypot(points[:, 0], points[:, 1])
    fin = np.max(np.abs(points - [-0.303, 0.0, 0.12]) - [0.009, 0.251, 0.2], axis=1)
    return np.asarray(np.minimum(np.maximum(block, hole), fin))


def zero_surface(field: Callable[[FloatArray], FloatArray], cells: int = CELLS) -> Mesh:
    """The zero surface of a field in the cube from -1/2 to 1/2, faces outward."""
    axis = np.linspace(-0.5, 0.5, cells + 1)
    places = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    vertices, faces = marching_cubes(field(places).reshape((cells + 1,) * 3))
    return Mesh(vertices / cells - 0.5, faces)
