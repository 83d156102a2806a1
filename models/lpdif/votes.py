"""Given normals are votes, not truth: how far the normals of a file can be trusted.

N points, k neighbours, M sampled places. Nothing is changed here; the preparation decides what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.orientation import agreement
from lpdif.spacing import FloatArray, IndexArray, even_rows
from lpdif.winding import group_influence

PLACES = 2000  # at which normals are looked at
CONFIDENT = 0.1  # least over middle variance of the neighbours: below it they lie in a plane, whose axis is known
CLEAR = 0.3  # agreement below minus this is a clear contradiction
WINDING_PLACES = 400
WINDING_GROUPS = 2000
ON_SURFACE = 0.25  # tolerated distance of the winding number on the surface from 1/2


@dataclass(frozen=True)
class Trust:
    """How given normals fit the points.

    fit        median |cos| between normals and the planes of the neighbours, 1 where nothing could be told
    contested  share of places where a normal clearly contradicts a neighbour's
    outward    share of places where the winding number is about 1/2: all of a closed outward surface
    inward     share where it is about -1/2: all of a closed surface turned inside out
    """

    fit: float
    contested: float
    outward: float
    inward: float


def trust_in(points: FloatArray, normals: FloatArray, areas: FloatArray, indices: IndexArray, spacing: float, reach: float) -> Trust:
    """Checks unit normals (N, 3) of points (N, 3) with their neighbours `indices` (N, k); areas (N,), reach as in `agreement`.

    Looked at in a sample of places only, so this costs the same for a small and for a large scan, up to one pass over it.
    """
    rows = even_rows(len(points), PLACES)
    near = points[indices[rows]] - points[rows][:, None]
    centred = near - near.mean(axis=1, keepdims=True)
    values, axes = np.linalg.eigh(np.swapaxes(centred, 1, 2) @ centred)
    sure = values[:, 0] < CONFIDENT * values[:, 1]
    cosine = np.abs(np.einsum("mi,mi->m", axes[:, :, 0], normals[rows]))
    fit = float(np.median(cosine[sure])) if sure.any() else 1.0
    against = agreement(points, normals, rows[:, None], indices[rows], reach) < -CLEAR
    winding = surface_winding(points, normals, areas, spacing)
    return Trust(
        fit,
        float(against.any(axis=1).mean()),
        float((np.abs(winding - 0.5) < ON_SURFACE).mean()),
        float((np.abs(winding + 0.5) < ON_SURFACE).mean()),
    )


def surface_winding(points: FloatArray, normals: FloatArray, areas: FloatArray, spacing: float) -> FloatArray:
    """(M,) winding number, mean of both sides, at WINDING_PLACES points spread over the surface."""
    extent = spacing * max(2.5, float(np.sqrt(len(points) / WINDING_GROUPS)))
    lattice = np.floor((points - points.min(axis=0)) / extent).astype(np.int64)
    # Groups do not mix the faces of a sheet: they are split by the direction their normals are nearest to
    longest = np.abs(normals).argmax(axis=1)
    facing = 2 * longest + (np.take_along_axis(normals, longest[:, None], axis=1)[:, 0] > 0)
    key = (((lattice[:, 0] << 20) + lattice[:, 1] << 20) + lattice[:, 2]) * 6 + facing
    _, group = np.unique(key, return_inverse=True)
    targets = points[even_rows(len(points), WINDING_PLACES)]
    influence = group_influence(points, normals * areas[:, None], areas, group, int(group.max()) + 1, extent, spacing, targets)
    return influence.sum(axis=1, dtype=np.float64)
