"""From where a scan was seen: sensors, the file's origin, above; what each says about the side of every normal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray
from lpdif.points.neighbours import even_rows

PLACES = 2000  # at which normals are looked at

SOLID, SOLID_INSIDE_OUT = 0.98, 0.9  # share of such places from which the scan counts as one or the other

GIVEN_VOTE = 0.05  # of normals that are consistent: only what clearly contradicts them turns them over
SCATTERED_VOTE = 0.5  # of normals with scattered signs: their majority decides where the shape does not
VIEW_VOTE = 0.2
GRAZING = 0.2  # |cos| to the line of sight below which a vote fades

LOW = 0.5  # height over width of a scene up to which it may be land
GROUND_COLUMNS = 1024  # columns that land is looked at in: ground lies within this share of a column's width from its lowest point,
GROUND_RISE = 0.5
LEVEL = 0.7  # has normals no farther from the vertical than this cosine,
MOST_COLUMNS = 0.5  # and is found in this share of the columns, at least

VIEW_PLACES = 50_000  # points that an image is judged by
VIEW_ANGLE = 0.25  # cosine of the half angle that a scene seen from its origin may fill
IMAGE_NEIGHBOURS = 16  # of which at least
BEHIND = 3  # must be far from the place in space,
FAR = 8.0  # that is, this many times the distance of nearest neighbours, its own or the typical one,
MIXED = 0.6  # and on the same side of it as the others, by this share of the farthest's distance: else they lie beyond a silhouette
SINGLE = 0.15  # share of overlaid places up to which an image shows one surface
SHEETS = 0.5  # share of places with two sheets, one close behind the other, from which these are both sides of a thin body,
SPLITS = 4  # times that the depths around a place are parted into nearer and farther ones
SPLIT = 4.5  # and how far apart these are, in their standard deviations: halves of one sheet's noise are 2.7
CLEARLY = 0.03  # and by which one view must be ahead of another to be clearly better


def sensor_votes(points: FloatArray, axes: FloatArray, sensor: FloatArray) -> FloatArray:
    """(N,) votes, -1 to 1, for the side of axes (N, 3) that faces the sensor, (3,) or (N, 3); they fade at grazing sight."""
    sight = sensor - points
    cosine = np.einsum("ni,ni->n", axes, sight) / np.maximum(np.linalg.norm(sight, axis=1), 1e-300)
    return np.asarray(np.clip(cosine / GRAZING, -1, 1))


def ground_votes(points: FloatArray, axes: FloatArray) -> FloatArray:
    """(N,) votes, -1 to 1, for the upper side of the axes (N, 3) of level ground, z being up; zeros where a scan has none.

    Ground is what is lowest in its column, and level, if it fills most columns of a scene that is wide and low. Only it votes: of what stands
    on it, or hangs above it, nothing is said.
    """
    low = points.min(axis=0)
    extent = points.max(axis=0) - low
    if extent[2] > LOW * extent[:2].min() or extent[2] == 0:
        return np.zeros(len(points))
    side = float(np.sqrt(extent[0] * extent[1] / GROUND_COLUMNS))
    column = np.floor((points[:, :2] - low[:2]) / side).astype(np.int64)
    wide, deep = column.max(axis=0) + 1
    number = column[:, 0] * deep + column[:, 1]
    lowest = np.full(wide * deep, np.inf)
    np.minimum.at(lowest, number, points[:, 2])
    ground = (points[:, 2] - lowest[number] < side * GROUND_RISE) & (np.abs(axes[:, 2]) > LEVEL)
    if len(np.unique(number[ground])) < MOST_COLUMNS * wide * deep:
        return np.zeros(len(points))
    return np.asarray(np.where(ground, np.sign(axes[:, 2]), 0.0))


class View(NamedTuple):
    """Where a scan may have been seen from: a place (3,), "origin", or a direction (3,), "above"; whether it shows two sheets so."""

    place: FloatArray
    name: str
    two_sheets: bool


def likely_views(points: FloatArray, origin: FloatArray) -> list[View]:
    """Where a scan without normals may have been seen from, the likeliest first.

    points (N, 3) in coordinates in which the file's own origin is at -origin. Range images are often stored in the scanner's
    frame ("origin", a place), and range images of some scanners and aerial scans with z up ("above", a direction). A scan counts as one of
    them if it shows a single surface from there. Where it does from both, the origin comes first, as a camera may look up, unless clearly more
    is overlaid from there: the origin of a turntable's frame lies inside of what stands on it.
    """
    some = points[even_rows(len(points), VIEW_PLACES)]
    eye = -origin
    sight = some - eye
    distance = np.linalg.norm(sight, axis=1)
    middle = (sight / np.maximum(distance, 1e-300)[:, None]).mean(axis=0)
    middle /= max(float(np.linalg.norm(middle)), 1e-300)
    depth = sight @ middle
    images = [(np.array([0.0, 0.0, 1.0]), "above", some[:, :2], some[:, 2])]
    if (depth > VIEW_ANGLE * distance).all() and (distance > 0).all():
        across = np.linalg.qr(middle[:, None], mode="complete")[0][:, 1:]
        images.insert(0, (eye, "origin", sight @ across / depth[:, None], depth))
    shares = [overlaid(image, some) for _, _, image, _ in images]
    if shares[-1] < shares[0] - CLEARLY:
        images, shares = images[::-1], shares[::-1]
    return [
        View(place, name, sheets(image, depth) > SHEETS)
        for (place, name, image, depth), share in zip(images, shares, strict=True)
        if share <= SINGLE
    ]


def overlaid(image: FloatArray, points: FloatArray) -> float:
    """Share of places, spread over points (N, 3), where one surface is seen through another, if (N, 2) is what is seen of them.

    At such a place near and far points mix. At a silhouette, which every image of a scanner has, a line parts them.
    """
    from scipy.spatial import cKDTree

    rows = even_rows(len(points), PLACES)
    _, near = cKDTree(image).query(image[rows], k=min(IMAGE_NEIGHBOURS + 1, len(points)))
    nearest, _ = cKDTree(points).query(points[rows], k=min(5, len(points)))
    far = np.linalg.norm(points[near] - points[rows][:, None], axis=2) > FAR * np.maximum(nearest[:, -1:], np.median(nearest[:, -1]))
    offset = image[near] - image[rows][:, None]
    radius = np.linalg.norm(offset, axis=2).max(axis=1)
    behind = far.sum(axis=1)
    return float(((behind >= BEHIND) & _mixed(offset, far, radius)).mean())


def sheets(image: FloatArray, depth: FloatArray) -> float:
    """Share of places, spread over an image (N, 2) with a depth (N,), where one sheet lies close behind another: both sides of a thin body.

    Around such a place two parallel planes leave far less of the depths than they are apart, and the points of both mix.
    """
    from scipy.spatial import cKDTree

    rows = even_rows(len(image), PLACES)
    near = cKDTree(image).query(image[rows], k=min(IMAGE_NEIGHBOURS, len(image)))[1]
    offset, depths = image[near] - image[rows][:, None], depth[near] - depth[rows][:, None]
    radius = np.maximum(np.linalg.norm(offset, axis=2).max(axis=1), 1e-300)
    plane = np.concatenate([np.ones_like(offset[..., :1]), offset / radius[:, None, None]], axis=2)
    coefficients = (np.linalg.pinv(plane) @ depths[..., None])[..., 0]
    apart = np.zeros(len(rows))
    for _ in range(SPLITS):
        farther = depths - np.einsum("mki,mi->mk", plane, coefficients[:, :3]) > apart[:, None] / 2
        terms = np.concatenate([plane, farther[..., None]], axis=2)
        coefficients = (np.linalg.pinv(terms) @ depths[..., None])[..., 0]
        apart = coefficients[:, 3]
    left = depths - np.einsum("mki,mi->mk", terms, coefficients)
    deviation = np.sqrt((left**2).sum(axis=1) / max(1, left.shape[1] - 4))
    number = farther.sum(axis=1)
    both = np.minimum(number, farther.shape[1] - number) >= BEHIND
    return float((both & (apart > SPLIT * deviation) & _mixed(offset, farther, radius)).mean())


def _mixed(offset: FloatArray, chosen: BoolArray, radius: FloatArray) -> BoolArray:
    """(M,) whether those of the offsets (M, k, 2), of this radius (M,), that are chosen (M, k) lie among the others: where all are in one place
    too, as of a grid seen along it."""
    means = [np.einsum("mki,mk->mi", offset, some) / np.maximum(some.sum(axis=1), 1)[:, None] for some in (chosen, ~chosen)]
    return np.asarray(np.linalg.norm(means[0] - means[1], axis=1) <= MIXED * radius)
