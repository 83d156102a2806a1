"""How dense and how noisy a scan is, on its points without strays: what every reconstruction, and every report, starts with.

rows without a position go -> duplicates are merged -> the origin is shifted -> spacing and noise are measured -> outliers go. Every decision is
logged. N points that are left, k neighbours.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IntArray
from lpdif.points.local_noise import local_noise
from lpdif.points.mesh_points import points_of_mesh
from lpdif.points.neighbours import Neighbours, nearest, neighbours_of_kept, search_tree
from lpdif.points.noise import noise_sigma
from lpdif.points.normals import unit_normals
from lpdif.points.outliers import OUTLIER_NEIGHBOURS, inlier_rows
from lpdif.points.spacing import local_spacing, typical_spacing
from lpdif.points.thinning import thin_copies_and_lines
from lpdif.points.validity import check_extent, check_precision, clean_rows, note
from lpdif.text import counted
from lpdif.types import MINIMUM_POINTS, Facts, Scan

if TYPE_CHECKING:
    from scipy.spatial import cKDTree

log = logging.getLogger("lpdif")

ORIGIN_BITS = 20  # the origin is a multiple of a power of two that is about 2^-20 of the extent
MOST_OUTLIERS = 0.3  # share of a scan that may be outliers; if more seem to be, none is taken for one
SPACING_FLOOR = 0.05  # local spacings are never below this share of the typical one


@dataclass(frozen=True)
class Measured:
    """Clean points in spatial order, around 0 and in a unit of about their extent, a power of two, which costs no bit.

    points       (N, 3) = (world - origin (3,)) / unit
    axes         (N, 3) normals as given, where `usable` (N,), unit
    kept         (N,) row of the scan that each point came from; of a mesh, the nearest vertex
    near         their nearest neighbours
    spacing      square root of the area per point, typical of the scan, in units; local_spacing (N,) around each point
    noise        standard deviation of the points about the surface, in units, typical of the scan; local_noise (N,) around each point
    facts        what was found and done, for reports; lengths as the scan has them
    """

    points: FloatArray
    origin: FloatArray
    unit: float
    axes: FloatArray
    usable: BoolArray
    kept: IntArray
    near: Neighbours
    spacing: float
    local_spacing: FloatArray
    noise: float
    local_noise: FloatArray
    facts: Facts


def measure(scan: Scan, keep_outliers: bool = False, seed: int = 0, threads: int = -1) -> Measured:
    """Clean points of a scan with their density and noise. A mesh gives points of its faces (see `mesh_points`), spread by `seed`.

    threads: -1 takes one for each core; the result does not depend on it. Raises InputError for a scan with too few or degenerate points.
    """
    facts: Facts = {}
    world, given, source = scan.points, scan.normals, np.arange(len(scan.points))
    if scan.faces is not None and len(scan.faces):
        mesh = points_of_mesh(scan, seed)
        world, given, source = mesh.points, mesh.normals, mesh.rows
        keep_outliers |= mesh.spread
    rows = clean_rows(world, scan.name, facts, keep_outliers)
    origin, unit = frame_of(world[rows])
    rows, points = spatial_order(rows, (world[rows] - origin) / unit)
    axes = np.zeros_like(points)
    usable = np.zeros(len(points), dtype=np.bool_)
    if given is not None:
        axes, usable = unit_normals(given[rows])
    tree = search_tree(points)
    near, noise = neighbourhood(points, tree, axes if usable.all() else None, threads)
    even = thin_copies_and_lines(points, tree, near, threads)
    if not even.kept.all():
        note(facts, "merged_copies", even.copies, "point", "left out: copies a hair from others")
        note(facts, "thinned_lines", even.lined, "point", "left out: they lie far denser along lines than across")
        rows, axes, usable = rows[even.kept], axes[even.kept], usable[even.kept]
        points = points[even.kept]
        tree = search_tree(points)
        near, noise = neighbourhood(points, tree, axes if usable.all() else None, threads)
    if not keep_outliers:
        inlier = inliers(points, tree, near, noise, scan.name, facts, threads)
        if not inlier.all():
            rows, axes, usable = rows[inlier], axes[inlier], usable[inlier]
            check_extent(world[rows], scan.name)
            origin, _ = frame_of(world[rows])
            points = (world[rows] - origin) / unit
            tree = search_tree(points)
            near = neighbours_of_kept(tree, points, near, inlier, threads)
    k = near.indices.shape[1]
    local = local_spacing(near.reach, k, noise)
    spacing = typical_spacing(local, k)
    local = np.maximum(local, SPACING_FLOOR * spacing)
    log.info("spacing %.4g, noise %.3g (%.2f spacings), %s", spacing * unit, noise * unit, noise / spacing, counted(len(points), "point"))
    around = local_noise(points, tree, axes if usable.all() else None, noise, local, threads)
    other = (around != noise).mean()
    if other:
        low, high = unit * np.quantile(around[around != noise], (0.05, 0.95))
        log.info("noise is not the same everywhere: %.3g to %.3g around %.0f %% of the points", low, high, 100 * other)
    check_precision(world[rows], spacing * unit)
    facts |= {"spacing": spacing * unit, "noise": noise * unit}
    return Measured(points, origin, unit, axes, usable, source[rows], near, spacing, local, noise, around, facts)


def frame_of(world: FloatArray) -> tuple[FloatArray, float]:
    """Origin (3,) and unit to compute in: the middle of the bounding box and a power of two near the extent.

    The origin is rounded to a short binary number. A scan shifted by a number as short has an origin shifted by just that,
    and so the very same points.
    """
    low, high = world.min(axis=0), world.max(axis=0)
    unit = 2.0 ** np.ceil(np.log2((high - low).max()))
    step = unit * 2.0**-ORIGIN_BITS
    return np.round((low + high) / 2 / step) * step, float(unit)


def spatial_order(rows: IntArray, points: FloatArray) -> tuple[IntArray, FloatArray]:
    """Rows (N,) and points (N, 3) in the order of a search tree's leaves: neighbours lie near in memory, a regular sample is an even one."""
    order = search_tree(points).indices
    return rows[order], points[order]


def neighbourhood(points: FloatArray, tree: cKDTree, normals: FloatArray | None, threads: int) -> tuple[Neighbours, float]:
    """Nearest neighbours and noise of points (N, 3), whose search tree is given."""
    return nearest(tree, points, OUTLIER_NEIGHBOURS, threads), noise_sigma(points, tree, normals, threads)


def inliers(points: FloatArray, tree: cKDTree, near: Neighbours, noise: float, name: str, facts: Facts, threads: int) -> BoolArray:
    """(N,) points to keep: all but outliers, unless these would be a large part of the scan."""
    inlier = inlier_rows(points, tree, near, noise, threads)
    out = int(len(points) - inlier.sum())
    if out > MOST_OUTLIERS * len(points) or len(points) - out < MINIMUM_POINTS:
        log.warning("%s: %d of %d points look like outliers: too many to be; all are kept", name, out, len(points))
        return np.ones(len(points), dtype=np.bool_)
    note(facts, "dropped_outliers", out, "outlier", f"left out, {100 * out / len(points):.2g} % of the points")
    return inlier
