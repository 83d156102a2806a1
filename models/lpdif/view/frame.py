"""What part of space a page shows: most of the surface, whatever crumbs lie far away."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray
from lpdif.geometry import Surface, face_areas


class FrameSettings(NamedTuple):
    """Where the frame of a surface ends."""

    tail: float = 0.01  # So much of the area may lie beyond either side of the middle box, along each axis.
    margin: float = 0.5  # The frame reaches so many sides of the middle box beyond it, but never beyond the surface.


FRAME = FrameSettings()


class Frame(NamedTuple):
    """A box: low and high corner, each (3,)."""

    low: FloatArray
    high: FloatArray

    @property
    def longest_side(self) -> float:
        """The longest of its three sides."""
        return float((self.high - self.low).max())

    def holds(self, positions: FloatArray, margin: float) -> BoolArray:
        """(N,) whether positions (N, 3) are in the box, or at most so many longest sides from it along each axis."""
        reach = margin * self.longest_side
        return np.asarray(((positions >= self.low - reach) & (positions <= self.high + reach)).all(axis=1))


def frame_of(surface: Surface) -> Frame:
    """The box around a surface, all of whose vertices are used, without what little of it lies far away.

    The middle box holds all but a small part of the area on either side of each axis. Things as far away as half of its side are still of the
    frame. So a surface that is all in one place is framed as a whole.
    """
    vertices, faces = surface
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    around = np.bincount(faces.reshape(-1), np.repeat(face_areas(surface), 3), len(vertices))
    weight = np.asarray(around, np.float64)  # three times the area around each vertex
    if weight.sum() == 0:
        return Frame(low, high)
    middle = np.stack([_weighted_quantiles(vertices[:, axis], weight, (FRAME.tail, 1 - FRAME.tail)) for axis in range(3)], axis=1)
    reach = FRAME.margin * float((middle[1] - middle[0]).max())
    return Frame(np.maximum(low, middle[0] - reach), np.minimum(high, middle[1] + reach))


def _weighted_quantiles(values: FloatArray, weight: FloatArray, shares: tuple[float, float]) -> FloatArray:
    """The values (2,) at which the sum of the weights of the values up to them first reaches each of the shares."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    return np.asarray(values[order[np.searchsorted(total, np.asarray(shares) * total[-1]).clip(max=len(order) - 1)]])
