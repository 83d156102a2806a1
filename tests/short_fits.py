"""What tests of the stages share: small shapes, and the settings of a fit of 18 steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

import trimesh
from shapes import as_mesh, sphere_points

import lpdif
from lpdif.config import FitConfig, PreprocessConfig
from lpdif.storage.workspace import Workspace

SAMPLING = PreprocessConfig(regions_per_shape=120, points=48, samples=16, finest=1 / 32)
SHORT = FitConfig(
    seed=3, patterns=3, shared_steps=9, pattern_steps=9, features=6, width=8, batch=24, kde_every=3, reassign_every=4, snapshot_every=5
)


def write_shapes(folder: Path) -> Path:
    """Two closed shapes and a scan without faces."""
    lpdif.write_mesh(folder / "ring.ply", as_mesh(trimesh.creation.torus(1.0, 0.4)))
    lpdif.write_mesh(folder / "box.obj", as_mesh(trimesh.creation.box((1.0, 0.7, 0.5))))
    points, normals = sphere_points(4000)
    lpdif.write_scan(folder / "ball.ply", lpdif.Scan(points, normals))
    return folder


def stop_at(*steps: int) -> Callable[[], bool]:
    """Says yes after these steps, counted from the start of the run."""
    count = iter(range(1, 10_000))
    return lambda: next(count) in steps


def model_bytes(place: Path) -> bytes:
    return Workspace(place).model.read_bytes()


def change(config: FitConfig = SHORT, **settings: Any) -> FitConfig:
    return dataclasses.replace(config, **settings)


def run_jobs_here(work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], count: int) -> Generator[tuple[int, Any]]:
    """Stands for run_jobs: no worker processes."""
    for number, job in enumerate(jobs):
        yield number, work(*job)
