"""Depth cameras: the steps in which their depths come are an error along the ray, not shape.

A structured-light or time-of-flight camera measures each pixel's depth in whole steps, 7 cm at 5 m for some. A floor seen at a grazing
angle is then a stair of upright slats, which stand closer together within than to each other, so that no neighbourhood in space shows the
floor. In the image it does: the inverse depth of a plane is linear over the image, and that of each pixel is known to within half a step. So
inverse depths d are smoothed as far as the measured ones m and a tolerance of half a step allow:

    E(d) = sum over pixels of max(0, |d - m| - tolerance)^2 + sum over rows and columns of (d_left - 2 d + d_right)^2  ->  least

A second difference counts only where its pixels could lie on a line, which is up to two steps, and not at an edge of depth. Cameras also
err by more than they round. So the tolerance grows until, where the image is smoothest, nearly all readings are within it. No point
leaves its ray.

N points, an image of (H, W) pixels, each with at most one surface. Inverse depths are per unit length.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IntArray
from lpdif.points.neighbours import SAMPLE_PLACES, even_rows, query, search_tree


class DepthStepSettings(NamedTuple):
    """When a scan is the image of a depth camera with steps, and how its depths are smoothed."""

    points_a_level: int = 8  # Depths come in levels if at least this many points, on average, share each.
    same_level: float = 1e-6  # Depths that differ by no more than this share of themselves are one level.
    fewest_levels: int = 3  # Two or fewer levels are faces of a thing, not steps.
    gaps: int = 5  # The step at a level is the median of so many gaps between levels around it.
    even: float = 0.5  # Points are the pixels of an image if the nearest other one is at least this share of the typical pitch away ...
    pixels: float = 0.9  # ... at this share of the places.
    emptiest: float = 0.1  # They fill at least this share of it; real frames fill nine tenths.
    shared: float = 0.2  # Pixels beside each other, and above each other, have one level at this share of the places; else no slats form.
    halvings: int = 6  # The image is smoothed from its 2^6 times coarser copy downwards, because levels may be a hundred pixels wide.
    tolerances: tuple[float, ...] = (0.5, 0.75, 1.0, 1.5)  # The first of these is taken, in steps, that suits the noise of the camera.
    places: int = 16  # That is judged in squares of so many pixels.
    smoothest: float = 0.1  # At this share of them, the smoothest, the rest that is off is noise ...
    beyond: float = 0.05  # ... and a tolerance suits if no more than this share of the readings is off by more.
    sweeps: int = 40  # At each size so many steps of accelerated gradient descent are made.


DEPTH_STEPS = DepthStepSettings()


class DepthImage(NamedTuple):
    """Points as pixels.

    pixel (N,) of each point, in an image of shape (H, W)    inverse (N,) its inverse depth    step (N,) in which that comes
    order (N,) rows in an order that depends on the points alone
    """

    order: IntArray
    pixel: IntArray
    shape: tuple[int, int]
    inverse: FloatArray
    step: FloatArray


class Smoothed(NamedTuple):
    """Points (N, 3) without steps, and how large these were in depth, typically."""

    points: FloatArray
    step: float


def without_depth_steps(points: FloatArray, eye: FloatArray) -> Smoothed | None:
    """Points (N, 3) moved along their rays from `eye` (3,) so that the steps of a depth camera there are gone.

    None where they are no image of such a camera.
    """
    image = depth_image(points - eye)
    if image is None:
        return None
    nearer = image.inverse / smooth_inverse(image)
    return Smoothed(eye + (points - eye) * nearer[:, None], float(np.median(image.step / image.inverse**2)))


def depth_image(seen: FloatArray) -> DepthImage | None:
    """Points (N, 3), relative to the camera, as pixels of its image; None if they are not.

    The depth is the coordinate that comes in steps, and the camera looks along that axis. Seen from it, points are pixels, evenly far from
    each other, and many pixels beside and above each other have one depth.
    """
    for axis in (2, 1, 0):
        depth = seen[:, axis] if seen[0, axis] > 0 else -seen[:, axis]
        if depth.min() <= 0:
            continue
        levels, of = levels_of(depth)
        if not DEPTH_STEPS.fewest_levels <= len(levels) <= len(seen) / DEPTH_STEPS.points_a_level:
            continue
        across = np.delete(seen, axis, axis=1) / depth[:, None]
        order = np.lexsort(seen.T)
        apart = query(search_tree(across), across[order[even_rows(len(seen), SAMPLE_PLACES)]], [2])[0][:, 0]
        pitch = float(np.median(apart))
        if pitch <= 0 or np.mean(apart > DEPTH_STEPS.even * pitch) < DEPTH_STEPS.pixels:
            continue
        height, width = (int(n) + 1 for n in np.round(np.ptp(across, axis=0) / pitch))
        if DEPTH_STEPS.emptiest * height * width > len(seen):
            continue
        cell = np.round((across - across.min(axis=0)) / pitch).astype(np.int64)
        level = np.full((height, width), -1)
        level[cell[order, 0], cell[order, 1]] = of[order]
        if min(shared_levels(level), shared_levels(level.T)) >= DEPTH_STEPS.shared:
            return DepthImage(order, cell[:, 0] * width + cell[:, 1], (height, width), 1 / depth, steps_of(1 / levels)[of])
    return None


def levels_of(depth: FloatArray) -> tuple[FloatArray, IntArray]:
    """Levels (M,), ascending, that depths (N,) > 0 come in, and the level (N,) of each.

    Depths that single precision hardly tells apart are one level.
    """
    values, of = np.unique(depth, return_inverse=True)
    new = np.r_[True, np.diff(values) > DEPTH_STEPS.same_level * values[1:]]
    return values[new], (np.cumsum(new) - 1)[of]


def shared_levels(level: IntArray) -> float:
    """Share of the pixels (H, W) that have the level of the pixel above them, -1 where nothing was seen."""
    both = (level[:-1] >= 0) & (level[1:] >= 0)
    return float((level[:-1] == level[1:])[both].mean()) if both.any() else 0.0


def steps_of(levels: FloatArray) -> FloatArray:
    """(M,) step at each of M levels in order: the median of the gaps around, as nothing may have been at the level beside."""
    gaps = np.abs(np.diff(levels))
    half = DEPTH_STEPS.gaps // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(gaps, half, mode="reflect" if len(gaps) > half else "edge"), DEPTH_STEPS.gaps)
    medians = np.median(windows, axis=1)
    return np.asarray(np.r_[medians[0], medians] + np.r_[medians, medians[-1]]) / 2


def smooth_inverse(image: DepthImage) -> FloatArray:
    """(N,) inverse depths that are smooth over the image and near those that were measured."""
    count = np.bincount(image.pixel, minlength=image.shape[0] * image.shape[1]).reshape(image.shape)
    there = count > 0
    mean, step = (
        (np.bincount(image.pixel[image.order], values[image.order], minlength=count.size) / np.maximum(count.ravel(), 1)).reshape(image.shape)
        for values in (image.inverse, image.step)
    )
    for tolerance in DEPTH_STEPS.tolerances:
        found = smoothed(mean, step, there, tolerance, DEPTH_STEPS.halvings)
        if share_beyond(np.abs(found - mean) > tolerance * step, there) <= DEPTH_STEPS.beyond:
            break
    return np.asarray(image.inverse + (found - mean).ravel()[image.pixel])


def share_beyond(beyond: BoolArray, there: BoolArray) -> float:
    """The share of the readings (H, W) that is `beyond` the tolerance, where that is smallest: in one of the smoothest squares."""
    size = DEPTH_STEPS.places
    squares = tuple(n // size for n in there.shape)

    def count(array: BoolArray) -> IntArray:
        whole = array[: squares[0] * size, : squares[1] * size]
        return np.asarray(whole.reshape(squares[0], size, squares[1], size).sum(axis=(1, 3)))

    number = count(there)
    filled = number > size * size / 2
    return float(np.quantile((count(beyond & there)[filled] / number[filled]), DEPTH_STEPS.smoothest)) if filled.any() else 0.0


def smoothed(values: FloatArray, step: FloatArray, there: BoolArray, tolerance: float, halvings: int) -> FloatArray:
    """(H, W) values of least energy around the measured `values` (H, W), which are `there` (H, W) and come in steps (H, W).

    They begin as those of the image of half the size, where its pixels do not lie across an edge of depth. tolerance: in steps.
    """
    start = values
    if halvings and min(values.shape) > 4:
        coarse, coarse_step, flat = halved(values, step, there)
        below = smoothed(coarse, coarse_step, flat, tolerance, halvings - 1)
        rows, columns = (np.arange(n) // 2 for n in values.shape)
        start = np.where(flat[rows][:, columns] & there, below[rows][:, columns], values)
    return descend(start, values - tolerance * step, values + tolerance * step, second_differences(values, step, there))


def halved(values: FloatArray, step: FloatArray, there: BoolArray) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Means of 2 x 2 pixels, their step, and where these are there and differ by no more than a step: (H / 2, W / 2), rounded up."""
    tall, wide = values.shape[0] % 2, values.shape[1] % 2

    def fours(array: FloatArray) -> FloatArray:
        padded = np.pad(array, ((0, tall), (0, wide)))
        return np.stack([padded[0::2, 0::2], padded[0::2, 1::2], padded[1::2, 0::2], padded[1::2, 1::2]])

    inside = fours(there.astype(np.float64)) > 0
    number = np.maximum(inside.sum(axis=0), 1)
    block = fours(values)
    steps = np.where(inside, fours(step), 0).sum(axis=0) / number
    spread = np.where(inside, block, -np.inf).max(axis=0) - np.where(inside, block, np.inf).min(axis=0)
    return np.where(inside, block, 0).sum(axis=0) / number, steps, inside.any(axis=0) & (spread <= 1.01 * steps)


def second_differences(values: FloatArray, step: FloatArray, there: BoolArray) -> tuple[FloatArray, FloatArray]:
    """1 where three pixels along a column (H - 2, W) or a row (H, W - 2) could lie on a line, else 0.

    Each is known to half a step, so their second difference is then at most two steps.
    """

    def along_columns(v: FloatArray, s: FloatArray, t: BoolArray) -> FloatArray:
        could = t[:-2] & t[1:-1] & t[2:] & (np.abs(v[:-2] - 2 * v[1:-1] + v[2:]) <= 2.01 * s[1:-1])
        return could.astype(np.float64)

    return along_columns(values, step, there), along_columns(values.T, step.T, there.T).T


def descend(start: FloatArray, low: FloatArray, high: FloatArray, counts: tuple[FloatArray, FloatArray]) -> FloatArray:
    """Values (H, W) of small energy: of squares of the second differences that count, and of what is below `low` or above `high`.

    Accelerated gradient descent (Nesterov 1983). The matrix of squared second differences has no eigenvalue above 16 along either axis, and
    that of the readings none above 1, so 1 / 33 is a safe step.
    """
    down, along = counts
    now = ahead = np.clip(start, low, high)
    pace = 1.0
    for _ in range(DEPTH_STEPS.sweeps):
        slope = ahead - np.clip(ahead, low, high)
        for gradient, some, values in ((slope, down, ahead), (slope.T, along.T, ahead.T)):
            bend = some * (values[:-2] - 2 * values[1:-1] + values[2:])
            gradient[:-2] += bend
            gradient[1:-1] -= 2 * bend
            gradient[2:] += bend
        after = ahead - slope / 33
        faster = (1 + np.sqrt(1 + 4 * pace**2)) / 2
        ahead = after + (pace - 1) / faster * (after - now)
        now, pace = after, faster
    return now
