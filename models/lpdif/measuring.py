"""How dense and how noisy a scan is, as `lpdif.preparation.prepare` finds it, without what comes after: no normals are made."""

from __future__ import annotations

from typing import NamedTuple

from lpdif.cleaning import check_extent
from lpdif.normals import unit_normals
from lpdif.preparation import Facts, clean_rows, frame_of, inliers, neighbourhood, spatial_order
from lpdif.scans import Scan
from lpdif.spacing import local_spacing, neighbours_of_kept, search_tree, typical_spacing


class Density(NamedTuple):
    """spacing: square root of the area per point; noise: standard deviation of the points about the surface; both in the scan's unit.
    points: how many are left without duplicates and outliers."""

    spacing: float
    noise: float
    points: int


def density_of(scan: Scan) -> Density:
    """Spacing and noise of the points of a scan. Raises InputError for a scan with too few or degenerate points."""
    facts: Facts = {}
    rows = clean_rows(scan.points, scan.name, facts)
    origin, unit = frame_of(scan.points[rows])
    rows, points = spatial_order(rows, (scan.points[rows] - origin) / unit)
    axes, usable = unit_normals(scan.normals[rows]) if scan.normals is not None else (None, None)
    near, noise = neighbourhood(points, axes if usable is not None and usable.all() else None, -1)
    inlier = inliers(points, near, noise, scan.name, facts, -1)
    if not inlier.all():
        rows = rows[inlier]
        check_extent(scan.points[rows], scan.name)
        origin, _ = frame_of(scan.points[rows])
        points = (scan.points[rows] - origin) / unit
        near = neighbours_of_kept(search_tree(points), points, near, inlier, -1)
    k = near.indices.shape[1]
    return Density(typical_spacing(local_spacing(near.reach, k, noise), k) * unit, noise * unit, len(points))
