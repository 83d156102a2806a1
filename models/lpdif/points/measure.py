"""Clean points of a scan, with density and noise: where reconstructions and reports start.

Rows without a position are dropped -> duplicates are merged -> steps of a depth camera are smoothed -> the origin is shifted -> copies and
lines are thinned -> outliers go -> spacing and noise are measured. Every decision is logged. N points that are left, k neighbours.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IntArray
from lpdif.memory import let_go
from lpdif.points.cloud import Cloud
from lpdif.points.depth_steps import without_depth_steps
from lpdif.points.mesh_points import points_of_mesh
from lpdif.points.neighbours import NEIGHBOURHOOD, Neighbours, nearest, neighbours_of_kept, search_tree
from lpdif.points.noise import local_noise, noise_sigma
from lpdif.points.normals import unit_normals
from lpdif.points.outliers import OUTLIERS, inlier_rows
from lpdif.points.spacing import local_spacing, typical_spacing
from lpdif.points.thinning import thin_copies_and_lines
from lpdif.points.validity import check_extent, check_precision, clean_rows, note
from lpdif.text import counted
from lpdif.types import MINIMUM_POINTS, Facts, Scan

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

log = logging.getLogger("lpdif")

ORIGIN_BITS = 20  # The origin is rounded to this many binary digits of the extent.
SPACING_FLOOR = 0.05  # A local spacing is at least this share of the typical one.


@dataclass(frozen=True)
class Sample:
    """The points that are left while a scan is cleaned.

    rows     (N,) of the world points that they are
    points   (N, 3), around the origin, in units
    tree     their search tree
    normals  (N, 3) unit where `usable` (N,), else zero
    near     their nearest neighbours
    noise    standard deviation about the surface, typical of all
    """

    rows: IntArray
    points: FloatArray
    tree: cKDTree
    normals: FloatArray
    usable: BoolArray
    near: Neighbours
    noise: float

    @property
    def known_normals(self) -> FloatArray | None:
        """(N, 3) given normals if every point has one, else None."""
        return self.normals if self.usable.all() else None


def measure(
    scan: Scan, keep_outliers: bool = False, seed: int = 0, threads: int = -1, sensor: tuple[float, float, float] | None = None
) -> Cloud:
    """Clean points of a scan with their density and noise, and the normals that were given.

    A mesh gives points of its faces (see `mesh_points`), spread by `seed`. threads: -1 takes one for each core; the result does not depend
    on it. sensor: position of the scanner, instead of what the file says. Raises InputError for a scan with too few or degenerate points.
    """
    facts: Facts = {}
    world, given, source = scan.points, scan.normals, np.arange(len(scan.points))
    from_faces = scan.faces is not None and len(scan.faces) > 0
    if from_faces:
        mesh = points_of_mesh(scan, seed)
        world, given, source = mesh.points, mesh.normals, mesh.rows
        keep_outliers |= mesh.spread
    rows = clean_rows(world, scan.name, facts, keep_outliers)
    if not from_faces:
        world = smooth_depths(world, rows, scan.sensor if sensor is None else np.asarray(sensor, np.float64), facts)
    origin, unit = frame_of(world[rows])
    rows, points = spatial_order(rows, (world[rows] - origin) / unit)
    normals, usable = unit_normals(given[rows] if given is not None else np.zeros_like(points))
    let_go(scan.arrays)
    left = thinned(sampled(rows, points, normals, usable, threads), facts, threads)
    if not keep_outliers:
        inlier = inliers(left, scan.name, facts, threads)
        if not inlier.all():
            check_extent(world[left.rows[inlier]], scan.name)
            origin, _ = frame_of(world[left.rows[inlier]])
            left = without_outliers(left, inlier, (world[left.rows[inlier]] - origin) / unit, threads)
    spacing, around = spacings(left)
    log.info(
        "spacing %.4g, noise %.3g (%.2f spacings), %s",
        spacing * unit, left.noise * unit, left.noise / spacing, counted(len(left.points), "point"),
    )  # fmt: skip
    noise_around = local_noise(left.points, left.tree, left.known_normals, left.noise, around, threads)
    log_uneven_noise(noise_around, left.noise, unit)
    check_precision(world[left.rows], spacing * unit)
    return Cloud(
        points=left.points,
        origin=origin / unit,
        unit=unit,
        kept=source[left.rows],
        normals=left.normals,
        usable=left.usable,
        near=left.near,
        spacing=spacing,
        local_spacing=around,
        noise=left.noise,
        local_noise=noise_around,
        facts=facts | {"spacing": spacing * unit, "noise": left.noise * unit},
        threads=threads,
    )


def smooth_depths(world: FloatArray, rows: IntArray, sensor: FloatArray | None, facts: Facts) -> FloatArray:
    """Points (N, 3) of which the `rows` (M,) have no steps of a depth camera any more, if they are an image of one.

    The camera is at the sensor (3,), or at the one place of (N, 3) ones, or else at the origin of the file.
    """
    if sensor is not None and sensor.ndim == 2:
        if (sensor != sensor[:1]).any():
            return world
        sensor = sensor[0]
    found = without_depth_steps(world[rows], np.zeros(3) if sensor is None else sensor)
    if found is None:
        return world
    result = world.copy()
    result[rows] = found.points
    facts["depth_step"] = found.step
    log.info("an image of a depth camera in steps of %.3g: depths are smoothed along their rays", found.step)
    return result


def frame_of(world: FloatArray) -> tuple[FloatArray, float]:
    """Origin (3,) and unit to compute in: about the middle of the bounding box and the extent.

    The unit is a power of two, and the origin is rounded to a short binary number. A scan shifted by a number as short has an origin shifted
    by just that, and so the very same points.
    """
    low, high = world.min(axis=0), world.max(axis=0)
    unit = 2.0 ** np.ceil(np.log2((high - low).max()))
    step = unit * 2.0**-ORIGIN_BITS
    return np.round((low + high) / 2 / step) * step, float(unit)


def spatial_order(rows: IntArray, points: FloatArray) -> tuple[IntArray, FloatArray]:
    """Rows (N,) and points (N, 3) in the order of a search tree's leaves.

    So neighbours lie near each other in memory, and a regular sample of the rows is an even one of the surface.
    """
    order = search_tree(points).indices
    return rows[order], points[order]


def sampled(rows: IntArray, points: FloatArray, normals: FloatArray, usable: BoolArray, threads: int) -> Sample:
    """Points (N, 3) with their search tree, nearest neighbours and noise."""
    tree = search_tree(points)
    near = nearest(tree, points, NEIGHBOURHOOD, threads)
    return Sample(rows, points, tree, normals, usable, near, noise_sigma(points, tree, normals if usable.all() else None, threads))


def thinned(left: Sample, facts: Facts, threads: int) -> Sample:
    """What is left without copies of points, and with dense lines thinned.

    Then the neighbours of a point lie around it.
    """
    even = thin_copies_and_lines(left.points, left.tree, left.near, threads)
    if even.kept.all():
        return left
    note(facts, "merged_copies", even.copies, "point", "left out: copies a hair from others")
    note(facts, "thinned_lines", even.along_lines, "point", "left out: they lie far denser along lines than across")
    kept = even.kept
    return sampled(left.rows[kept], left.points[kept], left.normals[kept], left.usable[kept], threads)


def inliers(left: Sample, name: str, facts: Facts, threads: int) -> BoolArray:
    """(N,) points to keep: all but outliers, unless these would be a large part of the scan."""
    noise = local_noise(left.points, left.tree, left.known_normals, left.noise, spacings(left)[1], threads)
    inlier = inlier_rows(left.points, left.tree, left.near, noise, threads)
    count = len(left.points)
    out = int(count - inlier.sum())
    if out > OUTLIERS.most_share * count or count - out < MINIMUM_POINTS:
        log.warning("%s: %d of %d points look like outliers: too many to be; all are kept", name, out, count)
        return np.ones(count, dtype=np.bool_)
    note(facts, "dropped_outliers", out, "outlier", f"left out, {100 * out / count:.2g} % of the points")
    return inlier


def without_outliers(left: Sample, inlier: BoolArray, points: FloatArray, threads: int) -> Sample:
    """The inliers (N,) alone, at their new places `points`; the noise stays as it was measured."""
    tree = search_tree(points)
    return replace(
        left,
        rows=left.rows[inlier],
        points=points,
        tree=tree,
        normals=left.normals[inlier],
        usable=left.usable[inlier],
        near=neighbours_of_kept(tree, points, left.near, inlier, threads),
    )


def spacings(left: Sample) -> tuple[float, FloatArray]:
    """Typical spacing, and that around each point (N,), which has a floor."""
    k = left.near.indices.shape[1]
    around = local_spacing(left.near.reach, k, left.noise)
    typical = typical_spacing(around, k)
    return typical, np.maximum(around, SPACING_FLOOR * typical)


def log_uneven_noise(around: FloatArray, noise: float, unit: float) -> None:
    """Logs the range of the local noise (N,) where it differs from the `noise` of the scan."""
    other = around[around != noise]
    if len(other):
        low, high = unit * np.quantile(other, (0.05, 0.95))
        log.info("noise is not the same everywhere: %.3g to %.3g around %.0f %% of the points", low, high, 100 * len(other) / len(around))
