"""Likely viewpoints of a scan of which no sensor is known: the origin of its file, or from above.

N points, M places spread over them, k neighbours of each in an image. A scan counts as seen from a viewpoint if its image from there
shows a single surface, or if its points are more even in the image than on the surface: a scanner takes even steps of angle.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray
from lpdif.points.neighbours import SAMPLE_PLACES, SAMPLE_POINTS, even_rows
from lpdif.points.orientation.priors import MAJORITY, PRIORS, STRAY_SHARE


class ViewpointSettings(NamedTuple):
    """When an image of a scan shows a single surface, or both sides of a thin body."""

    # At each place an image is judged by this many neighbours in it: fewer do not see the depth jump in a room or a street.
    neighbours: int = 16
    # A scan seen from its origin lies within a cone around the middle of the view whose half angle has this cosine.
    cone: float = 0.25
    # A second surface or sheet is seen at a place if it has at least this many of the neighbours there.
    least_neighbours: int = 3
    # Neighbours in the image belong to another surface if they are farther in space than this many distances of nearest neighbours,
    # those at the place or the typical ones.
    far: float = 8.0
    # Two groups of neighbours are mixed, not parted by a silhouette, if their means in the image are nearer to each other than this
    # share of the distance of the farthest neighbour.
    mixed: float = 0.6
    # Two sheets are apart if they are farther from each other than this many standard deviations of the depths from them. Where one
    # noisy sheet is divided into a nearer and a farther half, it is 2.7.
    sheet_gap: float = 4.5
    # An image shows a single surface if surfaces overlap at no more than this share of the places.
    overlap: float = 0.15
    # Points were spread by a scanner at a place if the logarithm of their areas in the image from there spreads less than this share of
    # what it does on the surface. Scans that are stored in the scanner's frame have .23 to .56, others 1.4 and more.
    evenness: float = 0.7


VIEWPOINTS = ViewpointSettings()


class Viewpoint(NamedTuple):
    """From where a scan may have been seen.

    place (3,) the viewpoint "origin", or the direction towards the viewpoint "above", which is far away
    two_sheets whether the scan shows two sheets from there, one close behind the other: the sides of a thin body
    """

    place: FloatArray
    name: str
    two_sheets: bool

    def position(self, points: FloatArray) -> FloatArray:
        """The viewpoint (3,); for one far away, places (N, 3) in its direction from the points (N, 3)."""
        return self.place if self.name == "origin" else points + self.place


class Image(NamedTuple):
    """What is seen of N points from a named place or direction (3,): coordinates (N, 2), depths (N,)."""

    place: FloatArray
    name: str
    coordinates: FloatArray
    depth: FloatArray


def likely_viewpoints(points: FloatArray, origin: FloatArray) -> list[Viewpoint]:
    """The viewpoints from which a scan without normals may have been seen, the likeliest first.

    points (N, 3) in coordinates in which the file's own origin is at -origin. Range images are often stored in the scanner's
    frame ("origin"); range images of some scanners, and aerial scans, have z up ("above"). Of a scan that shows a single surface from
    both, the origin is likelier, because a camera may look up, unless clearly more overlaps from there: the origin of a turntable's
    frame lies inside the object on it.
    """
    some = points[even_rows(len(points), SAMPLE_POINTS)]
    from_origin = _image_from(some, -origin)
    images = ([] if from_origin is None else [from_origin]) + [Image(np.array([0.0, 0.0, 1.0]), "above", some[:, :2], some[:, 2])]
    shares = [overlap_share(image.coordinates, some) for image in images]
    if shares[-1] < shares[0] - STRAY_SHARE:
        images, shares = images[::-1], shares[::-1]
    return [
        Viewpoint(image.place, image.name, double_sheet_share(image.coordinates, image.depth) > MAJORITY)
        for image, share in zip(images, shares, strict=True)
        if share <= VIEWPOINTS.overlap
    ]


def evenness(points: FloatArray, axes: FloatArray, areas: FloatArray, eye: FloatArray) -> float:
    """How evenly points (N, 3) are spread in the image from `eye` (3,), compared with the surface: below 1 for a scanner there.

    It is the spread of the logarithm of their areas (N,), seen from there, over that on the surface. Seen from there, an area is
    area * |cos| / distance^2, with the angle between axis (N, 3) and sight. Points that are seen at a grazing angle do not count.
    """
    sight = eye - points
    squared = np.maximum(np.einsum("ni,ni->n", sight, sight), 1e-300)
    cosine = np.abs(np.einsum("ni,ni->n", axes, sight)) / np.sqrt(squared)
    seen = cosine > PRIORS.grazing
    if seen.mean() < MAJORITY:
        return float("inf")
    on_surface = np.log(areas[seen])
    in_image = on_surface + np.log(cosine[seen] / squared[seen])
    spread, spread_seen = (float(np.diff(np.quantile(values, [0.16, 0.84]))[0]) for values in (on_surface, in_image))
    return spread_seen / max(spread, 1e-300)


def depth_jump_share(points: FloatArray, eye: FloatArray) -> float:
    """Share of places where points (N, 3) that are neighbours in the image from `eye` (3,), all around it, are far apart in space."""
    some = points[even_rows(len(points), SAMPLE_POINTS)]
    sight = some - eye
    far, _, _ = _far_neighbours(sight / np.maximum(np.linalg.norm(sight, axis=1), 1e-300)[:, None], some)
    return float((far.sum(axis=1) >= VIEWPOINTS.least_neighbours).mean())


def _image_from(points: FloatArray, eye: FloatArray) -> Image | None:
    """The image of points (N, 3) from the place `eye` (3,), or None if they are not all in one cone."""
    sight = points - eye
    distance = np.linalg.norm(sight, axis=1)
    middle = (sight / np.maximum(distance, 1e-300)[:, None]).mean(axis=0)
    middle /= max(float(np.linalg.norm(middle)), 1e-300)
    depth = sight @ middle
    if not ((depth > VIEWPOINTS.cone * distance).all() and (distance > 0).all()):
        return None
    across = np.linalg.qr(middle[:, None], mode="complete")[0][:, 1:]
    return Image(eye, "origin", sight @ across / depth[:, None], depth)


def overlap_share(image: FloatArray, points: FloatArray) -> float:
    """Share of places where one surface of points (N, 3) is seen through another in their image (N, 2).

    At such a place near and far points are mixed. At a silhouette, which every image of a scanner has, a line parts them.
    """
    far, offset, radius = _far_neighbours(image, points)
    return float(((far.sum(axis=1) >= VIEWPOINTS.least_neighbours) & _mixed(offset, far, radius)).mean())


def _far_neighbours(image: FloatArray, points: FloatArray) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Which neighbours (M, k) of places in an image (N, 2 or 3) of points (N, 3) are far from these in space.

    Also their offsets (M, k, 2 or 3) in the image, and the largest (M,) of these at each place.
    """
    from scipy.spatial import cKDTree

    rows = even_rows(len(points), SAMPLE_PLACES)
    _, near = cKDTree(image).query(image[rows], k=min(VIEWPOINTS.neighbours + 1, len(points)))
    nearest, _ = cKDTree(points).query(points[rows], k=min(5, len(points)))
    limit = VIEWPOINTS.far * np.maximum(nearest[:, -1:], np.median(nearest[:, -1]))
    far = np.linalg.norm(points[near] - points[rows][:, None], axis=2) > limit
    offset = image[near] - image[rows][:, None]
    return far, offset, np.linalg.norm(offset, axis=2).max(axis=1)


def double_sheet_share(image: FloatArray, depth: FloatArray) -> float:
    """Share of places in an image (N, 2) with depths (N,) where one sheet lies close behind another.

    It does where both sides of a thin body are seen. Around such a place the depths lie close to two parallel planes, compared with
    the gap between these, and the points of both are mixed.
    """
    from scipy.spatial import cKDTree

    rows = even_rows(len(image), SAMPLE_PLACES)
    near = cKDTree(image).query(image[rows], k=min(VIEWPOINTS.neighbours, len(image)))[1]
    offset, depths = image[near] - image[rows][:, None], depth[near] - depth[rows][:, None]
    radius = np.maximum(np.linalg.norm(offset, axis=2).max(axis=1), 1e-300)
    farther, gap, deviation = _two_parallel_planes(offset / radius[:, None, None], depths)
    count = farther.sum(axis=1)
    enough = np.minimum(count, farther.shape[1] - count) >= VIEWPOINTS.least_neighbours
    return float((enough & (gap > VIEWPOINTS.sheet_gap * deviation) & _mixed(offset, farther, radius)).mean())


def _two_parallel_planes(offset: FloatArray, depths: FloatArray, rounds: int = 4) -> tuple[BoolArray, FloatArray, FloatArray]:
    """Fits two parallel planes to depths (M, k) over offsets (M, k, 2) in an image.

    In each round the points are divided into two groups by the planes so far, and the planes are fitted to these. Returns which
    points (M, k) belong to the farther plane, the gap (M,) between the planes, and the standard deviation (M,) of the depths from them.
    """
    plane = np.concatenate([np.ones_like(offset[..., :1]), offset], axis=2)
    coefficients = (np.linalg.pinv(plane) @ depths[..., None])[..., 0]
    gap = np.zeros(len(depths))
    for _ in range(rounds):
        farther = depths - np.einsum("mki,mi->mk", plane, coefficients[:, :3]) > gap[:, None] / 2
        terms = np.concatenate([plane, farther[..., None]], axis=2)
        coefficients = (np.linalg.pinv(terms) @ depths[..., None])[..., 0]
        gap = coefficients[:, 3]
    residual = depths - np.einsum("mki,mi->mk", terms, coefficients)
    return farther, gap, np.sqrt((residual**2).sum(axis=1) / max(1, residual.shape[1] - 4))


def _mixed(offset: FloatArray, chosen: BoolArray, radius: FloatArray) -> BoolArray:
    """(M,) whether the chosen (M, k) of the offsets (M, k, 2) in an image lie among the others.

    radius (M,): the largest size of the offsets. They count as mixed also where all lie in one place, as on a grid that is seen along
    one of its axes.
    """
    means = [np.einsum("mki,mk->mi", offset, some) / np.maximum(some.sum(axis=1), 1)[:, None] for some in (chosen, ~chosen)]
    return np.asarray(np.linalg.norm(means[0] - means[1], axis=1) <= VIEWPOINTS.mixed * radius)
