"""From a scan to clean, oriented points: what every reconstruction starts with.

rows without a position go -> duplicates merged -> origin shifted -> spacing and noise measured -> outliers left out -> normals checked,
repaired or made. Every decision is logged. N points that are left, k neighbours. Lengths are in the scan's unit.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from lpdif.cleaning import OUTLIER_NEIGHBOURS, check_extent, distinct_rows, finite_rows, inlier_rows
from lpdif.mesh_points import points_of_mesh
from lpdif.normals import axis_neighbours, estimate_axes, unit_normals
from lpdif.orientation import NEIGHBOURS, mirror_reach, orient
from lpdif.scans import FloatArray, IntArray, Scan
from lpdif.spacing import local_spacing, nearest, noise_sigma, typical_spacing
from lpdif.votes import trust_in

log = logging.getLogger("lpdif")

SPACING_NEIGHBOURS = 16
FITTING = 0.8  # given normals whose |cos| to the planes of the points is below this, in the median, are no normals of this surface
CONTESTED = 0.12  # share of places where given normals contradict each other, from which their signs are made anew
INSIDE_OUT = 0.5  # share of places that lie on a closed surface turned inside out
VOTE = 0.02  # weight of a given normal's sign where signs are made anew
AMBIGUOUS = 0.2  # accord with the neighbours below which the side of a normal is a guess


@dataclass(frozen=True)
class Prepared:
    """Points (N, 3) = world - origin (3,), unit outward normals (N, 3), and the scan's row `kept` (N,) that each came from.

    spacing        square root of the area per point, typical of the scan; local_spacing (N,) around each point
    noise          standard deviation of the points about the surface
    facts          what was found and done, for reports
    """

    points: FloatArray
    origin: FloatArray
    normals: FloatArray
    kept: IntArray
    spacing: float
    local_spacing: FloatArray
    noise: float
    facts: dict[str, float | int | str] = field(default_factory=dict)


def prepare(
    scan: Scan, sensor: tuple[float, float, float] | None = None, keep_outliers: bool = False, seed: int = 0, threads: int = 1
) -> Prepared:
    """Clean, oriented points of a scan. sensor: scanner position, instead of what the file says. A mesh gives points of its faces.

    Raises InputError for too few or degenerate points. The result does not depend on the number of threads.
    """
    facts: dict[str, float | int | str] = {}
    world, given, source = scan.points, scan.normals, np.arange(len(scan.points))
    if scan.faces is not None:
        world, given, source = points_of_mesh(scan, seed)
    finite = finite_rows(world)
    report(facts, "dropped_not_finite", len(world) - len(finite), "%d rows without a finite position dropped")
    kept = finite[distinct_rows(world[finite])]
    report(facts, "merged_duplicates", len(finite) - len(kept), "%d duplicate points merged")
    check_extent(world[kept], scan.name)
    origin = 0.5 * (world[kept].min(0) + world[kept].max(0))
    points = world[kept] - origin
    axes, usable = unit_normals(given[kept]) if given is not None else (np.zeros_like(points), np.zeros(len(points), np.bool_))

    tree = cKDTree(points)
    neighbours = nearest(tree, points, OUTLIER_NEIGHBOURS, threads)
    noise = noise_sigma(points, tree, axes if usable.all() else None, threads)
    if not keep_outliers:
        inlier = inlier_rows(points, neighbours, noise, threads)
        if not inlier.all():
            report(facts, "dropped_outliers", int((~inlier).sum()), "%d outliers left out")
            points, kept, axes, usable = points[inlier], kept[inlier], axes[inlier], usable[inlier]
            check_extent(points + origin, scan.name)
            tree = cKDTree(points)
            noise = noise_sigma(points, tree, axes if usable.all() else None, threads)
    k = min(SPACING_NEIGHBOURS, len(points) - 1)
    around = nearest(tree, points, k, threads)
    local = local_spacing(around.reach, around.indices.shape[1], noise)
    spacing = typical_spacing(local, around.indices.shape[1])
    local = np.maximum(local, 0.05 * spacing)
    stand = np.asarray(sensor, dtype=np.float64) if sensor is not None else scan.sensor
    if stand is not None and stand.ndim == 2:
        stand = stand[source[kept]]
    normals = oriented(points, axes, usable, local, spacing, noise, tree, None if stand is None else stand - origin, threads, facts)
    return Prepared(points, origin, normals, source[kept], spacing, local, noise, facts)


def oriented(
    points: FloatArray,
    axes: FloatArray,
    usable: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    local: FloatArray,
    spacing: float,
    noise: float,
    tree: cKDTree,
    stand: FloatArray | None,
    threads: int,
    facts: dict[str, float | int | str],
) -> FloatArray:
    """Unit outward normals (N, 3). axes (N, 3) are the given normals, of which `usable` (N,) say something; stand: scanner, (3,) or (N, 3)."""
    near = nearest(tree, points, NEIGHBOURS, threads).indices
    areas = local**2
    votes = None
    if usable.mean() > 0.5:
        filled = fill(axes, usable, near)
        trust = trust_in(points, filled, areas, near, spacing, mirror_reach(spacing, noise))
        if trust.fit >= FITTING:
            if trust.contested < CONTESTED:
                turned = trust.inward > INSIDE_OUT
                if turned:
                    log.info("normals: given, all of them inward; turned over")
                facts["normals"] = "given, turned over" if turned else "given"
                return -filled if turned else filled
            votes = np.full(len(points), VOTE)
            log.info("normals: given, but %.0f %% contradict their neighbours; their signs are made anew", 100 * trust.contested)
            facts["normals"] = "given, signs made anew"
            axes = filled
        else:
            log.info("normals: given, but they do not fit the points (median |cos| %.2f); made anew", trust.fit)
    if votes is None:
        count = axis_neighbours(len(points), spacing, noise)
        axes = estimate_axes(points, nearest(tree, points, count, threads).indices, local, noise)
        facts["normals"] = "estimated"
    if stand is not None:
        log.info("normals: turned towards the scanner")
        return axes * np.where(((stand - points) * axes).sum(1) < 0, -1.0, 1.0)[:, None]
    found = orient(points, axes, areas, near, spacing, noise, votes=votes)
    ambiguous = float((found.accord < AMBIGUOUS).mean())
    facts["ambiguous_normals"] = round(ambiguous, 4)
    log.info("normals: %s and oriented, %.1f %% of them ambiguous", facts["normals"], 100 * ambiguous)
    return axes * found.signs[:, None]


def fill(axes: FloatArray, usable: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], near: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> FloatArray:
    """Normals (N, 3) with those that are not usable replaced by the mean of their neighbours' (again and again, outwards)."""
    axes, known = axes.copy(), usable.copy()
    while not known.all():
        open_rows = np.flatnonzero(~known)
        mean, there = unit_normals((axes[near[open_rows]] * known[near[open_rows]][..., None]).sum(1))
        if not there.any():
            axes[open_rows] = [0.0, 0.0, 1.0]
            break
        axes[open_rows[there]] = mean[there]
        known[open_rows[there]] = True
    return axes


def report(facts: dict[str, float | int | str], name: str, count: int, words: str) -> None:
    """Note and log a count that is not zero."""
    if count:
        facts[name] = count
        log.info(words, count)
