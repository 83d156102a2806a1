"""What speaks for the signs of normals besides the surface itself: the normals of the file, the scanner's position, the view.

N points, k neighbours, M sampled places. Given normals are votes, not truth: here they are judged. Votes are one number a
point: positive for the sign that its axis has, the size being the weight against one point's squared distance from the
winding number 1/2 (see `orientation.orient`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.orientation import agreement, sunder
from lpdif.scans import FloatArray, IntArray
from lpdif.spacing import IndexArray, chunks, even_rows
from lpdif.winding import block_influence

BoolArray = NDArray[np.bool_]

PLACES = 2000  # at which normals are looked at
CONFIDENT = 0.1  # least over middle variance of the neighbours: below it they lie in a plane, whose axis is known
CLEAR = 0.3  # size of an agreement from which it counts
ALONE = 0.8  # share of contradicting neighbours from which a normal stands alone
WINDING_PLACES, WINDING_RUN = 400, 8  # places of the winding number, and how many neighbouring ones are averaged
WINDING_BLOCKS = 2000
OUTWARD = 0.2  # winding number on the surface, averaged, above which the normals may well be those of a solid,
INSIDE_OUT = -0.35  # and below which they are clearly those of one that is inside out: an open bowl stays above

LEAST_SURE = 0.02  # share of the places that must show a plane for the given normals to be judged by it
FITTING = 0.8  # |cos| to such an axis, of one doubtful normal or the median of all, below which they are not those of the surface
SCATTERED = 0.03  # share of normals alone against their neighbours from which flips are scattered all over,
AT_ODDS = 0.33  # and mean share of contradicting neighbours: two touching surfaces alone stay below both
WALLS = 0.3  # distance between normals that face opposite ways, mean over standard deviation, from which walls part them: flips have none,
THINNEST = 0.05  # if it is this share of the spacing at least: less is curvature
SOLID, SOLID_INSIDE_OUT = 0.98, 0.9  # share of such places from which the scan counts as one or the other

ASKEW = 0.5  # |cos| to such an axis below which a normal is none of the surface there,
FLAT = 0.03  # at places that are flatter still, as edges and thin parts that are scanned coarsely are not,
# and that up to a share of all places: of clean samples of twelve meshes .005 at the most, where 5 % of the normals stray .01 to .023;
STRAYS = 0.008  # beyond it all that do not fit are doubted,
VAGUE = 0.8  # if the mean size of their agreement with the neighbours is below this too,
VAGUER = 0.65  # or below this where there is no such axis

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


@dataclass(frozen=True)
class Trust:
    """How given normals fit the points.

    fit        median |cos| between normals and the planes of the neighbours, 1 where they agree with the neighbours' and where too few places
               show a plane
    at_odds    mean share of neighbours that a normal clearly contradicts
    alone      share of normals that almost all their neighbours contradict
    walls      distance along them between neighbours that face opposite ways, mean over standard deviation
    outward    share of the surface where the winding number is as on a solid's
    inward     share where it is as on a solid that is inside out
    """

    fit: float
    at_odds: float
    alone: float
    walls: float
    outward: float
    inward: float

    @property
    def flipped(self) -> bool:
        """Signs are scattered, not those of a surface. Across walls thinner than the spacing neighbours contradict each other too."""
        return self.alone > SCATTERED or (self.at_odds > AT_ODDS and self.walls < WALLS)


def trust_in(points: FloatArray, normals: FloatArray, areas: FloatArray, indices: IndexArray, spacing: float, reach: FloatArray) -> Trust:
    """Judges unit normals (N, 3) of points (N, 3), whose nearest are `indices` (N, k); areas (N,); `reach` as in `agreement`.

    It looks at a sample of places, the winding number apart, and costs a fraction of finding the neighbours.
    """
    rows = even_rows(len(points), PLACES)
    cosine, sure, agreements = _against_neighbours(points, normals, rows, indices, reach, CONFIDENT)
    clear = np.abs(agreements).mean(axis=1)
    against = (agreements < -CLEAR).sum(axis=1) / np.maximum((np.abs(agreements) > CLEAR).sum(axis=1), 1)
    winding = surface_winding(points, normals, areas, spacing)
    apart, facing_away = sunder(points, normals, rows, indices[rows])
    return Trust(
        fit=float(np.median(np.where(clear < VAGUE, cosine, 1.0)[sure])) if sure.mean() >= LEAST_SURE else 1.0,
        at_odds=float(against.mean()),
        alone=float((against > ALONE).mean()),
        walls=clearness(apart[facing_away], THINNEST * spacing),
        outward=float((winding > OUTWARD).mean()),
        inward=float((winding < INSIDE_OUT).mean()),
    )


def clearness(values: FloatArray, least: float) -> float:
    """Size of the mean of values (M,) over their standard deviation; 0 where it is below `least`."""
    mean = float(np.abs(values.mean())) if len(values) else 0.0
    return mean / max(float(values.std()), 1e-300) if mean > least else 0.0


def stray_normals(points: FloatArray, normals: FloatArray, indices: IndexArray, reach: FloatArray) -> BoolArray:
    """(N,) which of the unit normals (N, 3) of points (N, 3), whose nearest are `indices` (N, k), are no normals of the surface there.

    They are far from the axis of a plane through the neighbours, or there is no such plane, at edges and in noise; and they neither agree nor
    disagree with the neighbours' (so that what planes along scan lines say counts for nothing). None where so few do that it may be
    the edges of a sound scan. reach (N,): as in `agreement`.
    """
    rows = even_rows(len(points), PLACES)
    cosine, sure, agreements = _against_neighbours(points, normals, rows, indices, reach, FLAT)
    if (sure & (cosine < ASKEW) & (np.abs(agreements).mean(axis=1) < VAGUE)).mean() <= STRAYS:
        return np.zeros(len(points), dtype=np.bool_)
    stray = np.empty(len(points), dtype=np.bool_)
    for part in chunks(len(points)):
        cosine, sure, agreements = _against_neighbours(points, normals, np.arange(part.start, part.stop), indices, reach, CONFIDENT)
        clear = np.abs(agreements).mean(axis=1)
        stray[part] = np.where(sure, (cosine < FITTING) & (clear < VAGUE), clear < VAGUER)
    return stray


def _against_neighbours(
    points: FloatArray, normals: FloatArray, rows: IntArray, indices: IndexArray, reach: FloatArray, flat: float
) -> tuple[FloatArray, BoolArray, FloatArray]:
    """(M,) |cos| between the normals of points `rows` and the planes through their nearest; (M,) whether these lie in a plane, as far as `flat`
    says; and (M, k) the agreement with theirs."""
    near = points[indices[rows]] - points[rows][:, None]
    centred = near - near.mean(axis=1, keepdims=True)
    values, axes = np.linalg.eigh(np.swapaxes(centred, 1, 2) @ centred)
    cosine = np.abs(np.einsum("mi,mi->m", axes[:, :, 0], normals[rows]))
    return cosine, values[:, 0] < flat * values[:, 1], agreement(points, normals, rows[:, None], indices[rows], reach)


def surface_winding(points: FloatArray, normals: FloatArray, areas: FloatArray, spacing: float) -> FloatArray:
    """(M,) winding number, mean of both sides, at places spread over the surface, each averaged over WINDING_RUN points.

    Points should be in spatial order, so that those of a run are near each other.
    """
    extent = spacing * max(2.5, float(np.sqrt(len(points) / WINDING_BLOCKS)))
    lattice = np.floor((points - points.min(axis=0)) / extent).astype(np.int64)
    # Blocks do not mix the faces of a sheet: they are split by the direction their normals are nearest to
    longest = np.abs(normals).argmax(axis=1)
    facing = 2 * longest + (np.take_along_axis(normals, longest[:, None], axis=1)[:, 0] > 0)
    key = ((((lattice[:, 0] << 20) + lattice[:, 1]) << 20) + lattice[:, 2]) * 6 + facing
    _, block = np.unique(key, return_inverse=True)
    targets = points[even_rows(len(points), WINDING_PLACES)]
    count = int(block.max()) + 1
    influence = block_influence(
        points, normals * areas[:, None], areas, block, count, np.full(count, extent), np.full(len(points), spacing), targets
    )
    at_targets = influence.sum(axis=1, dtype=np.float64)
    starts = np.arange(0, len(targets), WINDING_RUN)
    means: FloatArray = np.add.reduceat(at_targets, starts) / np.diff(np.append(starts, len(targets)))
    return means


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
