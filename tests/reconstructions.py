"""What tests of reconstruct share: models, scans of known surfaces, and a run."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from shapes import even_sphere_points, tiny_model

import lpdif
from lpdif.config import ReconstructConfig
from lpdif.core.model import Model
from lpdif.stages.reconstruct import Reconstruction, reconstruct
from lpdif.storage.models import load_model
from lpdif.types import Mesh, Scan

FloatArray = NDArray[np.float64]

BUNDLED = Path(lpdif.__file__).parent / "weights" / "default.safetensors"
SPACING = np.sqrt(4 * np.pi / 1500)  # of the balls below

both_models = pytest.mark.parametrize(
    "name", ["tiny", pytest.param("bundled", marks=pytest.mark.skipif(not BUNDLED.exists(), reason="no model is bundled yet"))]
)


@cache
def all_models() -> dict[str, Model]:
    """By name. Shared between tests: not to be written to."""
    return {"tiny": tiny_model()} | ({"bundled": load_model()} if BUNDLED.exists() else {})


def run(scan: Scan, model: Model, threads: int = 1, **settings: object) -> Reconstruction:
    return reconstruct(scan, model, ReconstructConfig(**settings), "cpu", threads)  # type: ignore[arg-type]


def ball(count: int = 1500, normals: bool = True) -> Scan:
    points, outward = even_sphere_points(count)
    return Scan(points, outward if normals else None)


def ring(count: int = 4000, seed: int = 0) -> Scan:
    """A torus of radii 1 and 0.4, evenly but at random."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0, 2 * np.pi, (2, 2 * count))
    chosen = np.nonzero(rng.uniform(0, 1.4, 2 * count) < 1 + 0.4 * np.cos(b))[0][:count]
    a, b = a[chosen], b[chosen]
    normals = np.column_stack([np.cos(b) * np.cos(a), np.cos(b) * np.sin(a), np.sin(b)])
    return Scan(np.column_stack([np.cos(a), np.sin(a), np.zeros_like(a)]) + 0.4 * normals, normals)


def ring_distance(x: FloatArray) -> FloatArray:
    return np.asarray(np.hypot(np.hypot(x[:, 0], x[:, 1]) - 1, x[:, 2]) - 0.4)


def moved(scan: Scan, turn: FloatArray | None = None, scale: float = 1.0, shift: FloatArray | float = 0.0) -> Scan:
    turn = np.eye(3) if turn is None else turn
    return Scan(scale * scan.points @ turn.T + shift, None if scan.normals is None else scan.normals @ turn.T)


def shape_of(mesh: Mesh) -> trimesh.Trimesh:
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
