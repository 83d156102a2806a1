"""compare: several models get the same points, and their meshes are measured alike.

A mesh is taken for the truth: points sampled from it are meshed, and the meshes measured against it. Of a scan without faces, some points are
held out, and their distances to the meshes of the others are measured.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray
from lpdif.config import CompareConfig
from lpdif.errors import InputError
from lpdif.geometry import surface_points
from lpdif.mesh_queries import closest_points
from lpdif.points.mesh_points import solid_faces
from lpdif.stages.reconstruct import Reconstruction
from lpdif.text import counted
from lpdif.tools.metrics import evaluate
from lpdif.types import MINIMUM_POINTS, Mesh, Scan

KNOWN_SPACINGS = 3.0  # Held-out points farther than this from all others are outliers, or lie where nobody could know the surface.


class Trial(NamedTuple):
    """What all models get, and what their meshes are measured by: the true mesh, or the points (U, 3) that were held out."""

    scan: Scan
    truth: Mesh | None
    unseen: FloatArray


class Errors(NamedTuple):
    """How far a mesh is off.

    error               against a true mesh: its Chamfer distance in thousandths of the truth's longest side; of a scan: mean distance of the
                        held-out points in spacings of the points
    p95                 95th percentile of these distances, in the same unit
    normal_consistency  against a true mesh: see `lpdif.tools.metrics`; NaN for a scan
    within              of a scan: share of the held-out points within one spacing of the mesh; of a true mesh: the F-score
    unit                the length in which error and p95 are given, in the unit of the file
    """

    error: float
    p95: float
    normal_consistency: float
    within: float
    unit: float


def trial_of(given: Scan, config: CompareConfig) -> Trial:
    """The trial of a mesh or a scan; the same for the same points, seed and settings.

    Raises InputError for faces without area, and for too few points.
    """
    rng = np.random.default_rng([config.seed, zlib.crc32(repr(dataclasses.astuple(config)).encode())])
    if given.faces is not None and len(given.faces):
        faces = solid_faces(given)[0]
        points, normals = surface_points(given.points, faces, config.points, rng)
        side = float(np.ptp(given.points[faces], axis=(0, 1)).max())
        points = points + config.noise * side * rng.normal(size=points.shape)
        return Trial(Scan(points, normals, name=given.name), Mesh(given.points, faces), np.empty((0, 3)))
    finite = np.flatnonzero(np.isfinite(given.points).all(1))
    distinct = finite[np.unique(given.points[finite], axis=0, return_index=True)[1]]  # a copy of a held-out point must not stay
    order = rng.permutation(len(distinct))
    held = round(config.held_out * len(distinct))
    if held == 0 or len(distinct) - held < MINIMUM_POINTS:
        raise InputError(f"{given.name}: {counted(len(distinct), 'distinct point')} are too few to hold some out", "give a denser scan")
    return Trial(rows_of(given, np.sort(distinct[order[held:]])), None, given.points[distinct[order[:held]]])


def rows_of(scan: Scan, rows: IntArray) -> Scan:
    """The scan with these of its points alone."""
    each = scan.sensor is not None and scan.sensor.ndim == 2
    return dataclasses.replace(
        scan,
        points=scan.points[rows],
        normals=None if scan.normals is None else scan.normals[rows],
        colors=None if scan.colors is None else scan.colors[rows],
        extras={name: values[rows] for name, values in scan.extras.items()},
        sensor=scan.sensor[rows] if each and scan.sensor is not None else scan.sensor,
        faces=None,
    )


def measured(made: Reconstruction, trial: Trial, seed: int) -> Errors:
    """How far the mesh of a trial's scan is off. Raises InputError where no held-out point is near the others."""
    if trial.truth is not None:
        figures = evaluate(made.mesh, trial.truth, seed=seed)
        unit = figures.longest_side / 1000
        return Errors(figures.cd / unit, figures.p95 / unit, figures.normal_consistency, figures.f_score, unit)
    spacing = float(made.facts["spacing"])
    middle = made.used.points.mean(axis=0)  # libraries of distances lose digits far from the origin
    unseen = trial.unseen - middle
    known = cKDTree(made.used.points - middle).query(unseen)[0] <= KNOWN_SPACINGS * spacing
    if not known.any():
        raise InputError(f"{trial.scan.name}: no held-out point lies near the others", "give a denser scan")
    away = closest_points(unseen[known], made.mesh.vertices - middle, made.mesh.faces)[0] / spacing
    return Errors(float(away.mean()), float(np.quantile(away, 0.95)), float("nan"), float((away <= 1).mean()), spacing)


class Summary(NamedTuple):
    """A model over several inputs: means, and the geometric mean of its error over that of the first model."""

    error: float
    ratio: float
    normal_consistency: float
    within: float


def summaries(rows: Sequence[Sequence[Errors]]) -> list[Summary]:
    """A summary for each model. rows: for each input the errors of all models, in the same order."""
    table = np.array([[tuple(errors) for errors in row] for row in rows], np.float64)  # inputs, models, figures
    means = table.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):  # an error of zero has no ratio
        ratios = np.exp(np.log(table[:, :, 0] / table[:, :1, 0]).mean(axis=0))
    return [Summary(float(m[0]), float(ratio), float(m[2]), float(m[3])) for m, ratio in zip(means, ratios, strict=True)]
