"""Regions of solids that planes bound: exact points, normals and distances of every form.

A solid is what the half-spaces of its sheets have in common or share out, so its surface is where the sheets' distances, put together as the
form says, are zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from shapes import rotation

from lpdif.core.regions import HALO, Seen

FloatArray = NDArray[np.float64]
X, Y, Z = np.eye(3)


class Solid(NamedTuple):
    """The forms that describe it, by their numbers in FORMS, its sheets' normals, the heights of their planes along these, and how distances
    are put together."""

    forms: tuple[int, ...]
    normals: tuple[FloatArray, ...]
    heights: tuple[float, ...]
    together: Callable[..., float]


def wedge(angle: float) -> tuple[FloatArray, FloatArray]:
    """The normals of two planes that meet at this angle, in degrees, between the normals."""
    turn = np.radians(angle)
    return Z, np.array([np.sin(turn), 0.0, np.cos(turn)])


SOLIDS = {
    "plane": Solid((0,), (Z,), (0,), lambda a: a),
    "edge of a cube": Solid((1,), (X, Z), (0, 0), max),
    "blunt edge": Solid((1,), wedge(50), (0, 0), max),
    "knife": Solid((1,), wedge(130), (0, 0), max),
    "thin wall": Solid((1,), (Z, -Z), (0.15, 0.15), max),
    "groove": Solid((2,), (X, Z), (0, 0), min),
    "gap": Solid((2,), (Z, -Z), (-0.15, -0.15), min),
    "corner of a cube": Solid((3,), (X, Y, Z), (0, 0, 0), max),
    "corner of a room": Solid((4,), (X, Y, Z), (0, 0, 0), min),
    "convex saddle": Solid((5,), (X, Y, Z), (0, 0, 0), lambda a, b, c: max(a, min(b, c))),
    "concave saddle": Solid((6,), (X, Y, Z), (0, 0, 0), lambda a, b, c: min(a, max(b, c))),
    "step": Solid((5, 6), (Z, X, Z), (-0.25, 0, 0.25), lambda a, b, c: min(a, max(b, c))),
}
BENT = [name for name, solid in SOLIDS.items() if 0 not in solid.forms]


class Cut(NamedTuple):
    """A region cut out of a solid.

    points, normals  (P, 3) nearest to the centre first
    sheet            (P,) of each point
    planes           normals (M, 3) and heights (M,) of the sheets
    together         distances to the sheets -> distance to the solid
    """

    points: FloatArray
    normals: FloatArray
    sheet: NDArray[np.int64]
    planes: tuple[FloatArray, FloatArray]
    together: Callable[..., float]

    def to_sheets(self, places: FloatArray) -> FloatArray:
        """(X, M) signed distance of places (X, 3) to the planes of the sheets."""
        return np.asarray(places @ self.planes[0].T - self.planes[1])

    def distance(self, places: FloatArray) -> FloatArray:
        """(X,) what the form makes of them."""
        return np.array([self.together(*row) for row in self.to_sheets(places).tolist()])


def cut(name: str, points: int, seed: int, off: float = 0.15) -> Cut:
    """So many points of a solid within HALO of a centre that lies up to `off` from its corner, turned at random."""
    solid, rng = SOLIDS[name], np.random.default_rng([seed, points, len(name)])
    turn, corner = rotation(int(rng.integers(1 << 30))), rng.uniform(-off, off, 3)
    normals = np.array(solid.normals) @ turn.T
    found = Cut(
        np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0, np.int64), (normals, np.array(solid.heights) + normals @ corner), solid.together
    )
    tries = 40 * points
    sheet = rng.integers(0, len(normals), tries)
    place = rng.uniform(-2, 2, (tries, 3))
    place += (found.planes[1][sheet] - (place * normals[sheet]).sum(1))[:, None] * normals[sheet]
    there = (np.abs(found.distance(place)) < 1e-9) & (np.linalg.norm(place, axis=1) < HALO)
    chosen = np.flatnonzero(there)[:points]
    assert len(chosen) == points
    chosen = chosen[np.argsort(np.linalg.norm(place[chosen], axis=1))]
    return found._replace(points=place[chosen], normals=normals[sheet[chosen]], sheet=sheet[chosen])


def noisy(cuts: list[Cut]) -> list[Cut]:
    """The same with a little noise: exact planes explain all points equally well, and rounding says which starts the third sheet."""
    rng = np.random.default_rng(0)
    return [each._replace(points=each.points + 0.02 * rng.normal(size=each.points.shape)) for each in cuts]


def as_seen(cuts: list[Cut], dtype: torch.dtype = torch.float32) -> Seen:
    """Regions side by side; those of fewer points are padded."""
    most = max(len(each.points) for each in cuts)
    points, normals = (
        np.stack([np.pad(getattr(each, part), [(0, most - len(each.points)), (0, 0)]) for each in cuts]) for part in Cut._fields[:2]
    )
    mask = np.arange(most) < np.array([[len(each.points)] for each in cuts])
    return Seen(torch.from_numpy(points).to(dtype), torch.from_numpy(normals).to(dtype), torch.from_numpy(mask))
