"""Is this a scan: rows without a position, marks for no data, duplicates, absurd extents, lines and single points.

Each check raises one InputError that names the scan, or drops rows and says so.
"""

from __future__ import annotations

import logging

import numpy as np

from lpdif.arrays import FloatArray, IntArray, chunks
from lpdif.errors import InputError
from lpdif.points.mesh_points import solid_faces, without_positions
from lpdif.points.neighbours import even_rows
from lpdif.text import counted
from lpdif.types import MINIMUM_POINTS, Facts, Scan

log = logging.getLogger("lpdif")

LONGEST = 1e30  # extents and coordinates beyond this overflow when squared and cubed
SHORTEST = 1e-30  # and extents below it vanish
NO_DATA = (
    -9999.0,
    -99999.0,
    -999999.0,
    -32768.0,
    -32767.0,
    9999.0,
    99999.0,
)  # what stands for a missing coordinate in rasters and depth images
GLANCE = 10_000  # points that are looked at for the middle of all
FAR_AWAY = 1000.0  # fewer than FRAGMENT points this many times farther out than all others are outliers before anything is measured
FINEST = 2.0**-40  # extent over largest coordinate: below this float64 cannot tell the points apart
FLAT = 2e-7  # second singular value over the first: below this, which single precision may leave, all points lie on one line

FRAGMENT = 12  # a group of fewer points, farther than GAP from everything else, is an outlier


def finite_rows(points: FloatArray) -> IntArray:
    """Numbers of the rows of (N, 3) without NaN or infinity, and without what stands for these: numbers beyond any length, as 3.4e38.

    These stay where they are all there is, bar fewer than MINIMUM_POINTS: then it is the unit that is wrong.
    """
    rows = np.flatnonzero(((points <= LONGEST) & (points >= -LONGEST)).all(axis=1))
    return rows if len(rows) >= MINIMUM_POINTS else np.flatnonzero(np.isfinite(points).all(axis=1))


def distinct_rows(points: FloatArray) -> IntArray:
    """Row numbers of (N, 3) finite points, one for each distinct point (the first of it), sorted by x, then y, then z.

    The order depends on the points alone, not on the order they came in.
    """
    order = np.lexsort((points[:, 2], points[:, 1], points[:, 0]))
    in_order = points[order]
    new = np.ones(len(points), dtype=np.bool_)
    new[1:] = (in_order[1:] != in_order[:-1]).any(axis=1)
    return order[new]


def marked_rows(points: FloatArray) -> IntArray:
    """Numbers of the rows of (N, 3) finite points with a coordinate that stands for none: one of NO_DATA, farther from all others along its
    axis than these from each other."""
    marked = np.zeros(len(points), dtype=np.bool_)
    for values in points.T:
        if values.min(initial=np.inf) in NO_DATA or values.max(initial=-np.inf) in NO_DATA:
            rest = values[~np.isin(values, list(NO_DATA))]
            for mark in NO_DATA if len(rest) >= MINIMUM_POINTS else ():
                if np.abs(rest - mark).min() > np.ptp(rest):
                    marked |= values == mark
    return np.flatnonzero(marked)


@np.errstate(over="ignore", invalid="ignore")  # of coordinates near the largest number there is
def far_rows(points: FloatArray, most: int = FRAGMENT) -> IntArray:
    """Numbers of the rows of (N, 3) finite points that lie FAR_AWAY times as far out as all others: fewer than `most`, or none.

    Fewer than FRAGMENT are what `inlier_rows` calls a fragment; but next to these the others have too few digits to be measured.
    """
    none = np.zeros(0, dtype=np.int64)
    most = min(most, len(points))
    if most < 2:
        return none
    middle = _middle(points)
    typical = float(np.median(_farness(points[even_rows(len(points), GLANCE)], middle)))
    if max(np.abs(points.min(axis=0) - middle).max(), np.abs(points.max(axis=0) - middle).max()) <= FAR_AWAY * typical:
        return none  # as of most scans: all others reach at least as far as the typical point
    out = _farness(points, middle)
    farthest = np.argpartition(out, len(out) - most)[len(out) - most :]
    farthest = farthest[np.argsort(-out[farthest], kind="stable")]
    gaps = np.flatnonzero(out[farthest[:-1]] > FAR_AWAY * out[farthest[1:]])
    return np.sort(farthest[: gaps[-1] + 1]) if len(gaps) else none


def near_rows(points: FloatArray, rows: IntArray) -> IntArray:
    """Those of `rows` of (N, 3) whose points do not lie far out among them (see `far_rows`); all where too few would be left."""
    far = far_rows(points[rows])
    return np.delete(rows, far) if len(far) and len(rows) - len(far) >= MINIMUM_POINTS else rows


def _middle(points: FloatArray) -> FloatArray:
    """The median (3,) of points (N, 3), or of an even sample of them."""
    return np.asarray(np.median(points[even_rows(len(points), GLANCE)], axis=0))


def _farness(points: FloatArray, middle: FloatArray) -> FloatArray:
    """(N,) how far points (N, 3) lie from the middle (3,), along the axis along which it is most."""
    return np.asarray(np.abs(points - middle).max(axis=1))


def farness_ratio(points: FloatArray, far: IntArray) -> float:
    """How many times farther out the nearest of the points `far` of (N, 3) lies than the farthest of all others."""
    out = _farness(points, _middle(points))
    rest = float(np.delete(out, far).max(initial=0.0))
    return float(out[far].min()) / rest if rest > 0 else np.inf


def check_extent(points: FloatArray, name: str) -> None:
    """Refuse (InputError) distinct points (N, 3) that are too few, or of no usable extent: one spot, one line, no scale."""
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(3), np.zeros(3))
    largest = float(max(np.abs(low).max(), np.abs(high).max()))
    if largest > LONGEST:
        raise InputError(f"{name}: coordinates up to {largest:.3g} are beyond any unit of length", "check the file's columns and scale")
    extent = float((high - low).max())
    if 0 < extent < SHORTEST and len(points) >= MINIMUM_POINTS:
        raise InputError(f"{name}: an extent of {extent:.3g} is below any unit of length", "check the file's columns and scale")
    if len(points) < MINIMUM_POINTS or extent == 0:
        distinct = len(points) if extent else min(1, len(points))
        raise InputError(
            f"{name}: {counted(distinct, 'distinct point')}, at least {MINIMUM_POINTS} are needed",
            "a surface cannot be made from so few points; check that the whole file was exported",
        )
    if extent < FINEST * largest:
        raise InputError(
            f"{name}: extent {extent:.3g} at coordinates of {largest:.3g}: the points cannot be told apart",
            "export the scan with a local origin, or check its unit",
        )
    if on_a_line(points):
        far = far_rows(points, len(points) // 2)
        if len(far) and not on_a_line(np.delete(points, far, axis=0)):
            raise InputError(
                f"{name}: {len(far):,} of {counted(len(points), 'point')} {'lies' if len(far) == 1 else 'lie'} "
                f"{farness_ratio(points, far):.2g} times as far out as the rest, which are one spot beside it",
                f"remove {'it' if len(far) == 1 else 'them'}: {' '.join(f'{value:.6g}' for value in points[far[0]])}",
            )
        raise InputError(
            f"{name}: all {counted(len(points), 'point')} lie on one line",
            "a surface needs points that spread in two directions; if they do, some are in other coordinates, far off",
        )


def on_a_line(points: FloatArray) -> bool:
    """Whether points (N, 3), as far as rounding lets tell, lie on one line, or in one place."""
    if not len(points):
        return True
    low, high = points.min(axis=0), points.max(axis=0)
    largest = float(max(np.abs(low).max(), np.abs(high).max()))
    if largest > LONGEST:  # which nothing can be told of
        return True
    extent = float((high - low).max())
    if extent == 0:
        return True
    mean = ((points - low) / extent).mean(axis=0)
    # Not from the matrix of squares, whose rounding would hide all below 1e-8
    factors = [np.linalg.qr((points[part] - low) / extent - mean, mode="r") for part in chunks(len(points))]
    singular = np.linalg.svd(np.concatenate(factors), compute_uv=False)
    rounding = np.finfo(np.float64).eps * largest / extent * np.sqrt(len(points))
    return bool(singular[1:2].sum() <= max(FLAT * singular[0], rounding))


QUICK_LOOK = 10_000  # points that are looked at before any other
AMONG = 48  # nearest of these, by which their spacing is told: more than there may be copies a hair apart
WIDEST = 2.0**21  # extent in such spacings, beyond which no lattice of regions can number them

COARSE_FLOAT = 0.2  # step of single-precision coordinates, in spacings, from which it hurts


def check_scan(scan: Scan, keep_outliers: bool = False, sized: bool = False) -> None:
    """Raises at once the InputError of `measure` for points that are too few or degenerate, or faces without area; and one for an extent
    that is far too large for the spacing, unless the size of regions is given (`sized`).

    Of a large scan a glance at some points tells that it is not such a one.
    """
    if not isinstance(scan, Scan):
        raise TypeError(f"a Scan is needed, not a {type(scan).__name__}: lpdif.Scan(points), or lpdif.load_scan(file)")
    if scan.faces is not None and len(scan.faces):
        solid_faces(scan)
        return
    finite = finite_rows(scan.points)
    some = scan.points[finite[even_rows(len(finite), QUICK_LOOK)]]
    rows = distinct_rows(some)
    try:
        rows = rows if keep_outliers else near_rows(some, rows)
        check_extent(some[rows], scan.name)
    except InputError:
        clean_rows(scan.points, scan.name, {}, keep_outliers)
    else:
        if not sized:
            check_units(np.delete(some[rows], marked_rows(some[rows]), axis=0), scan.name)


def check_units(points: FloatArray, name: str) -> None:
    """Raises InputError where distinct points (N, 3), some of all, lie so much farther apart on the whole than next to each other that no
    lattice of regions can number them."""
    from scipy.spatial import cKDTree

    if len(points) < MINIMUM_POINTS:  # which is said later, with what became of the others
        return
    extent = float(np.ptp(points, axis=0).max())
    k = min(AMONG, len(points) - 1)
    apart = float(np.median(cKDTree(points).query(points, k=[k + 1])[0])) * np.sqrt(np.pi / k)
    if extent > WIDEST * apart:
        raise InputError(
            f"{name}: extent {extent:.4g} is more than {WIDEST:,.0f} times the {apart:.2g} between its points",
            "check the units, and whether all parts are in the same coordinates; or remove points far from all others; or give --region-size",
        )


def clean_rows(world: FloatArray, name: str, facts: Facts, keep_outliers: bool = False) -> IntArray:
    """Rows of (N, 3) that are finite and distinct, and not absurdly far out, sorted by position.

    Raises InputError if they are too few or degenerate.
    """
    finite = finite_rows(world)
    if len(world) > len(finite) == 0:
        raise without_positions(name, counted(len(world), "point"))
    if on_a_line(world[finite[even_rows(len(finite), QUICK_LOOK)]]) and not len(far_rows(world[finite], len(finite) // 2)):
        check_extent(world[finite], name)  # millions of points are not sorted first to say that they are one
    note(facts, "dropped_not_finite", len(world) - len(finite), "point", "without a finite position dropped")
    marked = marked_rows(world[finite])
    if len(marked):
        mark = ", ".join(f"{value:g}" for value in np.intersect1d(world[finite[marked]], NO_DATA))
        note(facts, "dropped_no_data", len(marked), "point", f"dropped: a coordinate of {mark}, far from all others, stands for none")
        finite = np.delete(finite, marked)
    rows = finite[distinct_rows(world[finite])]
    note(facts, "merged_duplicates", len(finite) - len(rows), "exact duplicate", "merged")
    near = rows if keep_outliers else near_rows(world, rows)
    if len(near) < len(rows):
        times = farness_ratio(world[rows], far_rows(world[rows]))
        note(facts, "dropped_outliers", len(rows) - len(near), "outlier", f"left out: {times:.2g} times as far out as all the rest")
        rows = near
    check_extent(world[rows], name)
    return rows


def check_precision(world: FloatArray, spacing: float) -> None:
    """Warns of coordinates (N, 3) that were once stored in single precision, far from their origin."""
    largest = np.float32(np.abs(world).max())
    step = float(np.spacing(largest))
    if step > COARSE_FLOAT * spacing and (world.astype(np.float32) == world).all():
        log.warning(
            "coordinates come in steps of %.2g (single precision at %.3g), the points are %.2g apart: "
            "export double precision, or a local origin", step, largest, spacing,
        )  # fmt: skip


def note(facts: Facts, name: str, count: int, noun: str, what: str) -> None:
    """Notes and logs a count that is not nought."""
    if count:
        facts[name] = int(facts.get(name, 0)) + count
        log.info("%s %s", counted(count, noun), what)
