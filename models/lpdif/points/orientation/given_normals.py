"""Normals that came with a scan: whether they fit its points, and whether their sides can be trusted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, chunks
from lpdif.points.neighbours import even_rows
from lpdif.points.orientation.propagation import agreement, separate_walls
from lpdif.points.orientation.viewpoints import PLACES
from lpdif.points.orientation.winding import block_influence

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

ASKEW = 0.5  # |cos| to such an axis below which a normal is none of the surface there,
FLAT = 0.03  # at places that are flatter still, as edges and thin parts that are scanned coarsely are not,
# and that up to a share of all places: of clean samples of twelve meshes .005 at the most, where 5 % of the normals stray .01 to .023;
STRAYS = 0.008  # beyond it all that do not fit are doubted,
VAGUE = 0.8  # if the mean size of their agreement with the neighbours is below this too,
VAGUER = 0.65  # or below this where there is no such axis


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
    apart, facing_away = separate_walls(points, normals, rows, indices[rows])
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
