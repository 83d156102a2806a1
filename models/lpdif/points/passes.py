"""Passes of a scanner that do not fit: sheets of one surface, each exact, a little off each other, become one sheet between them.

Two sheets that face the same way, with none between them that faces the other way, are one surface, scanned twice and badly registered: of two
real ones the one in front would hide the other. Their distance is an error, and noise of that size hides nothing else; but it is no noise to a
fit of a few points, which follows one sheet here and the other there. So the points are moved onto the surface that fits both.

N points, k neighbours of each, M rows of points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray, IntArray, chunks
from lpdif.points.neighbours import SAMPLE_PLACES, WIDE_NEIGHBOURHOOD, even_rows, query, search_tree
from lpdif.points.spacing import NEGLIGIBLE


class PassSettings(NamedTuple):
    """When points lie on two passes, and over which width these are averaged."""

    width: float = 1.5  # They are weighted by a Gaussian of this many spacings and noises, in quadrature.
    far: float = 2.0  # Points farther off than so many spacings, and twice so many noises, in quadrature, are another surface.
    pooled: int = 48  # Whether there are two passes is judged at so many places together.
    most_kurtosis: float = 1.9  # The median kurtosis of the heights there is 1 to 1.8 of two passes, and from 2.1 on of noise, whose own is 3.
    rounds: int = 2  # Points are moved this many times.


PASSES = PassSettings()


class Heights(NamedTuple):
    """Neighbours of M points, seen from these: height (M, k) along the normal, weight (M, k), and the terms (M, k, 6) of a quadric."""

    height: FloatArray
    weight: FloatArray
    terms: FloatArray

    def fitted(self) -> FloatArray:
        """(M, 6) coefficients of the quadrics."""
        weighted = np.swapaxes(self.terms * self.weight[..., None], 1, 2)
        matrix = weighted @ self.terms + 1e-6 * np.eye(self.terms.shape[2])
        return np.asarray(np.linalg.solve(matrix, weighted @ self.height[..., None])[..., 0])


def merge_passes(points: FloatArray, normals: FloatArray, spacing: FloatArray, noise: FloatArray, threads: int = 1) -> FloatArray:
    """Points (N, 3), those of two passes moved onto the surface between.

    normals (N, 3) unit and outward; spacing, noise (N,) around each point.
    """
    # passes that are nearer are averaged by any fit
    rows = np.flatnonzero(noise > NEGLIGIBLE * spacing)
    if len(rows) <= WIDE_NEIGHBOURHOOD:
        return points
    tree = search_tree(points)
    places = rows[even_rows(len(rows), SAMPLE_PLACES)]
    found = kurtosis(points, normals, spacing, noise, places, query(tree, points[places], WIDE_NEIGHBOURHOOD, threads)[1])
    near = query(search_tree(points[places]), points[places], min(PASSES.pooled, len(places)), threads)[1]
    double = np.median(found[near].reshape(len(places), -1), axis=1) < PASSES.most_kurtosis
    if not double.any():
        return points
    rows = rows[double[query(search_tree(points[places]), points[rows], threads=threads)[1]]]
    moved = points.copy()
    for part in chunks(len(rows), 8192):
        some = rows[part]
        indices = query(tree, points[some], WIDE_NEIGHBOURHOOD, threads)[1]
        place = points[some]
        for _ in range(PASSES.rounds):
            lift = heights(place, points, normals, spacing, noise, some, indices).fitted()[:, 0]
            most = farthest(spacing[some], noise[some])
            place = place + np.clip(lift, -most, most)[:, None] * normals[some]
        moved[some] = place
    return moved


def farthest(spacing: FloatArray, noise: FloatArray) -> FloatArray:
    """(M,) how far off a point may lie on the same surface."""
    return np.asarray(PASSES.far * np.hypot(spacing, 2 * noise))


def heights(
    place: FloatArray, points: FloatArray, normals: FloatArray, spacing: FloatArray, noise: FloatArray, rows: IntArray, indices: IntArray
) -> Heights:
    """How the neighbours (M, k) of points `rows` lie, seen from places (M, 3) near these.

    Those that face another way do not count.
    """
    axis = normals[rows]
    across = np.where(np.abs(axis[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]])
    first = np.cross(axis, across)
    first /= np.linalg.norm(first, axis=1)[:, None]
    width = PASSES.width * np.hypot(spacing[rows], noise[rows])
    frame = np.stack([axis, first, np.cross(axis, first)], axis=2)
    height, x, y = np.moveaxis((points[indices] - place[:, None]) @ frame, 2, 0)
    x, y = x / width[:, None], y / width[:, None]
    facing = np.einsum("mki,mi->mk", normals[indices], axis)
    weight = (
        np.square(np.maximum(facing, 0)) * np.exp(-0.5 * (x * x + y * y)) * (np.abs(height) < farthest(spacing[rows], noise[rows])[:, None])
    )
    return Heights(height, weight, np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=2))


def kurtosis(points: FloatArray, normals: FloatArray, spacing: FloatArray, noise: FloatArray, rows: IntArray, indices: IntArray) -> FloatArray:
    """(M,) fourth moment over squared second one of the heights of the neighbours (M, k) over their quadric: 3 of noise, 1 of two passes.

    It is infinite where a neighbour between the highest and the lowest faces the other way: there are two sides of a wall.
    """
    found = np.empty(len(rows))
    for part in chunks(len(rows), 8192):
        some = rows[part]
        seen = heights(points[some], points, normals, spacing, noise, some, indices[part])
        off = seen.height - np.einsum("mkt,mt->mk", seen.terms, seen.fitted())
        total = np.maximum(seen.weight.sum(axis=1), 1e-12)
        second, fourth = (np.einsum("mk,mk->m", seen.weight, off**power) / total for power in (2, 4))
        found[part] = np.where(wall_between(seen, normals, some, indices[part]), np.inf, fourth / np.maximum(second**2, 1e-300))
    return found


def wall_between(seen: Heights, normals: FloatArray, rows: IntArray, indices: IntArray) -> BoolArray:
    """(M,) whether a neighbour that faces the other way lies at a height between those of neighbours that count."""
    counts = seen.weight > 0.01
    low = np.where(counts, seen.height, np.inf).min(axis=1)
    high = np.where(counts, seen.height, -np.inf).max(axis=1)
    away = np.einsum("mki,mi->mk", normals[indices], normals[rows]) < 0
    return np.asarray((away & (seen.height > low[:, None]) & (seen.height < high[:, None])).any(axis=1))
