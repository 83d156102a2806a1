"""Prior weights of hypotheses about the side of each normal: given normals, a viewpoint, level ground.

N points. A prior is one number for each point: positive where the hypothesis gives its axis the sign +1, negative for -1, 0 where it
leaves the side open. Its size counts against one point's squared distance of the winding number from 1/2 (see `energy`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.points.neighbours import SAMPLE_PLACES
from lpdif.points.orientation.propagation import PROPAGATION

MAJORITY = 0.5  # share that a rule about most of the points, places or columns asks for
NEARLY_ALL = 0.9  # share that a rule about nearly all of them asks for
STRAY_SHARE = 0.02  # share up to which they are strays, of which a rule about the whole scan does not speak


class PriorSettings(NamedTuple):
    """The weights of the hypotheses, of which a known sensor has 1, and how level ground is found."""

    # Weight of given normals that are consistent: they are flipped only where something clearly contradicts them.
    given: float = 0.05
    # Weight of given normals with scattered signs: their majority decides where the shape does not.
    given_scattered: float = 0.5
    # Weight of a viewpoint that is only likely, and of ground, which is seen from above.
    viewpoint: float = 0.2
    # The weight of a viewpoint fades where the size of the cosine between normal and line of sight is below this.
    grazing: float = 0.2
    # A scene has ground only where its height is at most this share of its shorter side.
    ground_height: float = 0.5


PRIORS = PriorSettings()


def viewpoint_prior(points: FloatArray, axes: FloatArray, viewpoint: FloatArray) -> FloatArray:
    """(N,) which side of the axes (N, 3) faces the viewpoint, (3,) or (N, 3), -1 to 1.

    The size is 1 where a point is seen at more than a grazing angle.
    """
    sight = viewpoint - points
    cosine = np.einsum("ni,ni->n", axes, sight) / np.maximum(np.linalg.norm(sight, axis=1), 1e-300)
    return np.asarray(np.clip(cosine / PRIORS.grazing, -1, 1))


def ground_prior(points: FloatArray, axes: FloatArray) -> FloatArray:
    """(N,) which side of the axes (N, 3) of level ground faces up along z, -1 or 1; 0 for other points.

    Ground is what lies lowest in its column, and level, where it is found in most columns of a scene that is wide and low. What
    stands on the ground or hangs above it gets no prior. All is 0 where a scan has no ground.
    """
    low = points.min(axis=0)
    extent = points.max(axis=0) - low
    if extent[2] > PRIORS.ground_height * extent[:2].min() or extent[2] == 0:
        return np.zeros(len(points))
    side = float(np.sqrt(extent[0] * extent[1] / SAMPLE_PLACES))
    cell = np.floor((points[:, :2] - low[:2]) / side).astype(np.int64)
    rows, columns = cell.max(axis=0) + 1
    column = cell[:, 0] * columns + cell[:, 1]
    lowest = np.full(rows * columns, np.inf)
    np.minimum.at(lowest, column, points[:, 2])
    ground = (points[:, 2] - lowest[column] < side / 2) & (np.abs(axes[:, 2]) > PROPAGATION.parallel)
    if len(np.unique(column[ground])) < MAJORITY * rows * columns:
        return np.zeros(len(points))
    return np.asarray(np.where(ground, np.sign(axes[:, 2]), 0.0))
