"""Whether points are a scan: no-data marks, duplicates, absurd extents, lines, single points.

Each check raises one InputError that names the scan, or drops rows and logs how many. N points.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray, IntArray, chunks
from lpdif.errors import InputError
from lpdif.lattice_keys import HALF
from lpdif.points.mesh_points import solid_faces, without_positions
from lpdif.points.neighbours import NEIGHBOURHOOD, WIDE_NEIGHBOURHOOD, even_rows
from lpdif.text import counted
from lpdif.types import MINIMUM_POINTS, Facts, Scan

log = logging.getLogger("lpdif")


class ValiditySettings(NamedTuple):
    """When points are no points of a scan, or a scan is none."""

    longest: float = 1e30  # Beyond this, extents and coordinates overflow when they are squared and cubed; extents below its inverse vanish.
    # These coordinates stand for a missing one in rasters and depth images.
    no_data: tuple[float, ...] = (-9999.0, -99999.0, -999999.0, -32768.0, -32767.0, 9999.0, 99999.0)
    sample: int = 10_000  # This many points, evenly chosen, are looked at before all are.
    far_out: float = 1000.0  # A few points this many times farther out than all others are outliers before anything is measured.
    finest: float = 2.0**-40  # Below this extent, as a share of the largest coordinate, float64 cannot tell points apart.
    collinear: float = 2e-7  # Points lie on a line if their second singular value is below this share of the first: float32 may leave so much.
    coarse_step: float = 0.2  # Coordinates in single precision are too coarse if their step is more than this many spacings.


VALIDITY = ValiditySettings()


def finite_rows(points: FloatArray) -> IntArray:
    """Numbers of the rows of (N, 3) without NaN, infinity and numbers beyond any length.

    Such numbers, as 3.4e38, stand for a missing coordinate. They stay where fewer than MINIMUM_POINTS other rows are left: then it is the
    unit that is wrong.
    """
    rows = np.flatnonzero(((points <= VALIDITY.longest) & (points >= -VALIDITY.longest)).all(axis=1))
    return rows if len(rows) >= MINIMUM_POINTS else np.flatnonzero(np.isfinite(points).all(axis=1))


def distinct_rows(points: FloatArray) -> IntArray:
    """Row numbers of (N, 3) finite points, the first of each distinct point.

    They are sorted by x, then y, then z, so that their order depends on the points alone, not on the order they came in.
    """
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0]))
    in_order = points[order]
    new = np.ones(len(points), dtype=np.bool_)
    new[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    return order[new]


def no_data_rows(points: FloatArray) -> IntArray:
    """Numbers of the rows of (N, 3) finite points with a coordinate that stands for a missing one.

    It is one of `VALIDITY.no_data`, and farther from all others along its axis than these are from each other.
    """
    marked = np.zeros(len(points), dtype=np.bool_)
    for values in points.T:
        if values.min(initial=np.inf) in VALIDITY.no_data or values.max(initial=-np.inf) in VALIDITY.no_data:
            rest = values[~np.isin(values, list(VALIDITY.no_data))]
            for mark in VALIDITY.no_data if len(rest) >= MINIMUM_POINTS else ():
                if np.abs(rest - mark).min() > np.ptp(rest):
                    marked |= values == mark
    return np.flatnonzero(marked)


@np.errstate(over="ignore", invalid="ignore")  # of coordinates near the largest number there is
def far_rows(points: FloatArray, most: int = NEIGHBOURHOOD) -> IntArray:
    """Numbers of the few rows of (N, 3) finite points that lie absurdly far out, or none.

    They are `VALIDITY.far_out` times as far out as all others, and fewer than `most`.
    So small a group far from all others is what `inlier_rows` takes for outliers; but beside it the others have too few digits to be measured.
    """
    none = np.zeros(0, dtype=np.int64)
    most = min(most, len(points))
    if most < 2:
        return none
    middle = _median_point(points)
    typical = float(np.median(_distance_along_axes(points[even_rows(len(points), VALIDITY.sample)], middle)))
    if max(np.abs(points.min(axis=0) - middle).max(), np.abs(points.max(axis=0) - middle).max()) <= VALIDITY.far_out * typical:
        return none  # as of most scans: all others reach at least as far as the typical point
    out = _distance_along_axes(points, middle)
    farthest = np.argpartition(out, len(out) - most)[len(out) - most :]
    farthest = farthest[np.argsort(-out[farthest], kind="stable")]
    gaps = np.flatnonzero(out[farthest[:-1]] > VALIDITY.far_out * out[farthest[1:]])
    return np.sort(farthest[: gaps[-1] + 1]) if len(gaps) else none


def without_far_rows(points: FloatArray, rows: IntArray) -> IntArray:
    """Those of `rows` of (N, 3) whose points do not lie far out among them (see `far_rows`).

    All are kept where too few would be left.
    """
    far = far_rows(points[rows])
    return np.delete(rows, far) if len(far) and len(rows) - len(far) >= MINIMUM_POINTS else rows


def _median_point(points: FloatArray) -> FloatArray:
    """The median (3,) of points (N, 3), or of an even sample of them."""
    return np.asarray(np.median(points[even_rows(len(points), VALIDITY.sample)], axis=0))


def _distance_along_axes(points: FloatArray, middle: FloatArray) -> FloatArray:
    """(N,) largest distance along an axis between points (N, 3) and the middle (3,)."""
    return np.asarray(np.abs(points - middle).max(axis=1))


def far_out_ratio(points: FloatArray, far: IntArray) -> float:
    """How many times farther out the points `far` of (N, 3) lie than all others.

    It compares the nearest of them with the farthest of the others.
    """
    out = _distance_along_axes(points, _median_point(points))
    rest = float(np.delete(out, far).max(initial=0.0))
    return float(out[far].min()) / rest if rest > 0 else np.inf


def check_extent(points: FloatArray, name: str) -> None:
    """Raises InputError for distinct points (N, 3) that are too few or of no usable extent.

    They are one spot, one line, or of a size beyond any unit.
    """
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(3), np.zeros(3))
    largest = float(max(np.abs(low).max(), np.abs(high).max()))
    if largest > VALIDITY.longest:
        raise InputError(f"{name}: coordinates up to {largest:.3g} are beyond any unit of length", "check the file's columns and scale")
    extent = float((high - low).max())
    if 0 < extent < 1 / VALIDITY.longest and len(points) >= MINIMUM_POINTS:
        raise InputError(f"{name}: an extent of {extent:.3g} is below any unit of length", "check the file's columns and scale")
    if len(points) < MINIMUM_POINTS or extent == 0:
        distinct = len(points) if extent else min(1, len(points))
        raise InputError(
            f"{name}: {counted(distinct, 'distinct point')}, at least {MINIMUM_POINTS} are needed",
            "a surface cannot be made from so few points; check that the whole file was exported",
        )
    if extent < VALIDITY.finest * largest:
        raise InputError(
            f"{name}: extent {extent:.3g} at coordinates of {largest:.3g}: the points cannot be told apart",
            "export the scan with a local origin, or check its unit",
        )
    if collinear(points):
        far = far_rows(points, len(points) // 2)
        if len(far) and not collinear(np.delete(points, far, axis=0)):
            raise InputError(
                f"{name}: {len(far):,} of {counted(len(points), 'point')} {'lies' if len(far) == 1 else 'lie'} "
                f"{far_out_ratio(points, far):.2g} times as far out as the rest, which are one spot beside it",
                f"remove {'it' if len(far) == 1 else 'them'}: {' '.join(f'{value:.6g}' for value in points[far[0]])}",
            )
        raise InputError(
            f"{name}: all {counted(len(points), 'point')} lie on one line",
            "a surface needs points that spread in two directions; if they do, some are in other coordinates, far off",
        )


def collinear(points: FloatArray) -> bool:
    """Whether points (N, 3), as far as rounding lets tell, lie on one line, or in one place."""
    if not len(points):
        return True
    low, high = points.min(axis=0), points.max(axis=0)
    largest = float(max(np.abs(low).max(), np.abs(high).max()))
    if largest > VALIDITY.longest:  # which nothing can be told of
        return True
    extent = float((high - low).max())
    if extent == 0:
        return True
    mean = ((points - low) / extent).mean(axis=0)
    # Not from the matrix of squares, whose rounding would hide all below 1e-8
    factors = [np.linalg.qr((points[part] - low) / extent - mean, mode="r") for part in chunks(len(points))]
    singular = np.linalg.svd(np.concatenate(factors), compute_uv=False)
    rounding = np.finfo(np.float64).eps * largest / extent * np.sqrt(len(points))
    return bool(singular[1:2].sum() <= max(VALIDITY.collinear * singular[0], rounding))


def check_scan(scan: Scan, keep_outliers: bool = False, sized: bool = False) -> None:
    """Raises at once the InputError that `measure` would raise for a degenerate scan.

    Its points are degenerate, or its faces have no area.
    It also raises one for an extent that is far too large for the spacing, unless the size of regions is given (`sized`).

    Of a large scan only a sample is looked at, unless that looks degenerate.
    """
    if not isinstance(scan, Scan):
        raise TypeError(f"a Scan is needed, not a {type(scan).__name__}: lpdif.Scan(points), or lpdif.load_scan(file)")
    if scan.faces is not None and len(scan.faces):
        solid_faces(scan)
        return
    finite = finite_rows(scan.points)
    some = scan.points[finite[even_rows(len(finite), VALIDITY.sample)]]
    rows = distinct_rows(some)
    try:
        rows = rows if keep_outliers else without_far_rows(some, rows)
        check_extent(some[rows], scan.name)
    except InputError:
        clean_rows(scan.points, scan.name, {}, keep_outliers)
    else:
        if not sized:
            check_units(np.delete(some[rows], no_data_rows(some[rows]), axis=0), scan.name)


def check_units(points: FloatArray, name: str) -> None:
    """Raises InputError where the extent of points (N, 3) is too large for their spacing.

    No lattice of regions can then number them: as a rule some are in another unit, or in other coordinates. The points are distinct, and a
    sample is enough.
    """
    from scipy.spatial import cKDTree

    if len(points) < MINIMUM_POINTS:  # too few points get an error of their own later, which tells what became of the others
        return
    extent = float(np.ptp(points, axis=0).max())
    # by a far one of the near points, as more than a few may be copies a hair apart
    k = min(WIDE_NEIGHBOURHOOD, len(points) - 1)
    apart = float(np.median(cKDTree(points).query(points, k=[k + 1])[0])) * np.sqrt(np.pi / k)
    if extent > 2 * HALF * apart:
        raise InputError(
            f"{name}: extent {extent:.4g} is more than {2 * HALF:,.0f} times the {apart:.2g} between its points",
            "check the units, and whether all parts are in the same coordinates; or remove points far from all others; or give --region-size",
        )


def clean_rows(world: FloatArray, name: str, facts: Facts, keep_outliers: bool = False) -> IntArray:
    """Rows of (N, 3) that are finite and distinct, and not absurdly far out, sorted by position.

    Raises InputError if they are too few or degenerate.
    """
    finite = finite_rows(world)
    if len(world) > len(finite) == 0:
        raise without_positions(name, counted(len(world), "point"))
    if collinear(world[finite[even_rows(len(finite), VALIDITY.sample)]]) and not len(far_rows(world[finite], len(finite) // 2)):
        check_extent(world[finite], name)  # so that millions of equal points are refused before they are sorted
    note(facts, "dropped_not_finite", len(world) - len(finite), "point", "without a finite position dropped")
    marked = no_data_rows(world[finite])
    if len(marked):
        mark = ", ".join(f"{value:g}" for value in np.intersect1d(world[finite[marked]], VALIDITY.no_data))
        note(facts, "dropped_no_data", len(marked), "point", f"dropped: a coordinate of {mark}, far from all others, stands for none")
        finite = np.delete(finite, marked)
    rows = finite[distinct_rows(world[finite])]
    note(facts, "merged_duplicates", len(finite) - len(rows), "exact duplicate", "merged")
    near = rows if keep_outliers else without_far_rows(world, rows)
    if len(near) < len(rows):
        times = far_out_ratio(world[rows], far_rows(world[rows]))
        note(facts, "dropped_outliers", len(rows) - len(near), "outlier", f"left out: {times:.2g} times as far out as all the rest")
        rows = near
    check_extent(world[rows], name)
    return rows


def check_precision(world: FloatArray, spacing: float) -> None:
    """Warns of coordinates (N, 3) that were once stored in single precision, far from their origin."""
    largest = np.float32(np.abs(world).max())
    step = float(np.spacing(largest))
    if step > VALIDITY.coarse_step * spacing and (world.astype(np.float32) == world).all():
        log.warning(
            "coordinates come in steps of %.2g (single precision at %.3g), the points are %.2g apart: "
            "export double precision, or a local origin", step, largest, spacing,
        )  # fmt: skip


def note(facts: Facts, name: str, count: int, noun: str, what: str) -> None:
    """Adds a count that is not zero to the facts, and logs it."""
    if count:
        facts[name] = int(facts.get(name, 0)) + count
        log.info("%s %s", counted(count, noun), what)
