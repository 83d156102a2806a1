"""Slow, obvious twins of what measures a scan's spacing and noise: one place at a time.

Letters as in the modules they stand beside: N points, k neighbours, M places.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from naive_preparation import nearest
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def lifted_spacing(reach: float, k: int, noise: float) -> float:
    """Local spacing from one reach: the mean over the heights between two points, by a sum over fine steps."""
    spread = math.sqrt(2) * noise
    heights = (np.arange(40_000) + 0.5) / 40_000 * 8 * spread
    density = np.exp(-0.5 * (heights / spread) ** 2)
    squared = float((density * np.maximum(reach**2 - heights**2, 0)).sum() / density.sum())
    return math.sqrt(math.pi * squared / k)


def quadric_residuals(near: FloatArray, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Heights (k,) of the points of one place over their quadric, up to one common sign; and the axis (3,), up to sign."""
    total = weights.sum()
    middle = sum((w * p for w, p in zip(weights, near, strict=True)), np.zeros(3)) / total
    spread = sum((w * np.outer(p - middle, p - middle) for w, p in zip(weights, near, strict=True)), np.zeros((3, 3)))
    height, x, y = np.linalg.eigh(spread)[1].T
    rows = [[1.0, p @ x, p @ y, (p @ x) ** 2, (p @ x) * (p @ y), (p @ y) ** 2] for p in near - middle]
    heights = (near - middle) @ height
    root = np.sqrt(weights)
    terms = np.concatenate([np.array(rows) * root[:, None], math.sqrt(1e-9) * np.eye(6)])
    wanted = np.concatenate([heights * root, np.zeros(6)])
    return heights - np.array(rows) @ np.linalg.lstsq(terms, wanted, rcond=None)[0], height


def coordinate_step(values: Sequence[float], crowd: int) -> float:
    """Median, over the values, of the gap above each; that below for the largest."""
    levels = sorted(set(values))
    if not 2 < len(levels) < len(values) / crowd:
        return 0.0
    place = {level: i for i, level in enumerate(levels)}
    gaps = [b - a for a, b in itertools.pairwise(levels)]
    return float(np.median([gaps[min(place[v], len(gaps) - 1)] for v in values]))


def residual_scatter(points: FloatArray, row: int, normals: FloatArray | None, k: int, kurtosis: float) -> tuple[float, int, float]:
    """Standard deviation about the quadric through the k nearest of one point and itself, the degrees of freedom left, and the radius."""
    others, distances = nearest(points, points[row], k)
    members = [row, *others]
    chosen = [True] + [normals is None or float(normals[i] @ normals[row]) >= 0 for i in others]
    near = (points[members] - points[row]) / distances[-1]

    def residuals() -> list[float]:
        return [float(height) for height in quadric_residuals(near, np.array(chosen, dtype=np.float64))[0]]

    def mean(power: int) -> float:
        return sum(height**power for height, c in zip(heights, chosen, strict=True) if c) / sum(chosen)

    heights = residuals()
    one_sheet_twice = normals is not None and all(chosen)
    if not one_sheet_twice and mean(2) > 1e-6 and mean(4) < kurtosis * mean(2) ** 2:
        chosen = [c and height * heights[0] > 0 for c, height in zip(chosen, heights, strict=True)]
        heights = residuals()
    freedom = sum(chosen) - 6
    squares = sum(height**2 for height, c in zip(heights, chosen, strict=True) if c)
    return distances[-1] * math.sqrt(squares / max(freedom, 1)), freedom, distances[-1]


def pooled(places: FloatArray, residual: Sequence[float], freedom: Sequence[float], most: int, share: float, quantile: float) -> list[float]:
    """Around each place the `share` quantile of what the `most` nearest sure ones tell; `quantile`: the same of a standard normal."""
    sure = [i for i, free in enumerate(freedom) if free >= 3]
    found = []
    for place in places:
        near = sorted(sure, key=lambda i: float(np.linalg.norm(places[i] - place)))[:most]
        told = []
        for i in near:
            spread = 2 / (9 * freedom[i])
            told.append(residual[i] / (1 - spread + quantile * math.sqrt(spread)) ** 1.5)
        found.append(float(np.quantile(told, share)) if len(sure) >= most else math.nan)
    return found
