"""Slow, obvious twins of what forms are made of: one region, point, sheet or place at a time.

Letters as in `lpdif.core.forms` and `lpdif.core.sheets`: P points of a region, M sheets, X places.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import naive
import numpy as np
import torch
from numpy.typing import NDArray

from lpdif.core.field import LocalField
from lpdif.core.jets import COEFFICIENTS, JET
from lpdif.core.losses import LOSS
from lpdif.core.multi_decoder import SHEET_CORRECTION
from lpdif.core.sheets import SHEET

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Two = Callable[[float, float], float]

# The columns (whole region, two sheets, three sheets) of a, b and c; in this order of (form, columns).
ARRANGEMENTS = [
    ("smooth", [0]),
    ("convex edge", [1, 2]),
    ("concave edge", [1, 2]),
    ("convex corner", [3, 4, 5]),
    ("concave corner", [3, 4, 5]),
    ("convex saddle", [3, 4, 5]),
    ("convex saddle", [4, 3, 5]),
    ("convex saddle", [5, 3, 4]),
    ("concave saddle", [3, 4, 5]),
    ("concave saddle", [4, 3, 5]),
    ("concave saddle", [5, 3, 4]),
]


# --- sheets


def leading_axis(covariance: FloatArray) -> FloatArray:
    """The longest column of the 32nd power."""
    power = np.linalg.matrix_power(covariance / np.trace(covariance), 32)
    column = power[:, int(np.linalg.norm(power, axis=0).argmax())]
    return column / float(np.linalg.norm(column))


def plane(points: FloatArray, normals: FloatArray, weights: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Weighted mean position and unit mean normal."""
    center = sum((w * p for w, p in zip(weights, points, strict=True)), np.zeros(3)) / sum(weights)
    normal = sum((w * n for w, n in zip(weights, normals, strict=True)), np.zeros(3))
    return center, normal / np.linalg.norm(normal)


def plane_cost(point: FloatArray, normal: FloatArray, of: tuple[FloatArray, FloatArray]) -> float:
    height = float((point - of[0]) @ of[1])
    turn = float(np.sum((normal - of[1]) ** 2))
    return height**2 / SHEET.height**2 + turn / SHEET.turn**2


def shares(costs: Sequence[float]) -> list[float]:
    odds = [math.exp(-0.5 * (cost - min(costs))) for cost in costs]
    return [each / sum(odds) for each in odds]


def share_out(points: FloatArray, normals: FloatArray) -> BoolArray:
    """(P, 5) which points each of two and of three sheets of one region sees, all of whose points are real."""
    count = len(points)
    weight = [math.exp(-SHEET.locality * float(p @ p)) for p in points]
    weight = [w / sum(weight) for w in weight]
    mean = sum((w * n for w, n in zip(weight, normals, strict=True)), np.zeros(3))
    covariance = sum((w * np.outer(n - mean, n - mean) for w, n in zip(weight, normals, strict=True)), np.zeros((3, 3)))
    axis = leading_axis(covariance + 1e-9 * np.eye(3))

    def fitted(share: list[list[float]]) -> list[tuple[FloatArray, FloatArray]]:
        return [plane(points, normals, [w * row[m] for w, row in zip(weight, share, strict=True)]) for m in range(len(share[0]))]

    def shared(planes: list[tuple[FloatArray, FloatArray]]) -> tuple[list[list[float]], list[list[float]]]:
        costs = [[plane_cost(p, n, of) for of in planes] for p, n in zip(points, normals, strict=True)]
        return costs, [shares(row) for row in costs]

    two = [[1.0, 0.0] if (n - mean) @ axis > 0 else [0.0, 1.0] for n in normals]
    planes: list[tuple[FloatArray, FloatArray]] = []
    costs: list[list[float]] = []
    for _ in range(SHEET.steps):
        planes = fitted(two)
        costs, two = shared(planes)
    worst = max(range(count), key=lambda i: min(*costs[i], SHEET.farthest) * weight[i])
    planes = [*planes, (points[worst], normals[worst])]
    three: list[list[float]] = []
    for _ in range(SHEET.steps):
        three = shared(planes)[1]
        planes = fitted(three)
    sees = np.zeros((count, 5), dtype=bool)
    for first, share in ((0, two), (2, three)):
        for i, row in enumerate(share):
            for m, part in enumerate(row):
                sees[i, first + m] = part == max(row) or part > SHEET.shared
    for m in range(5):
        if sees[:, m].sum() < SHEET.fewest:
            sees[:, m] = True
    return sees


def quadric_terms(x: float, y: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The six terms of the height at (x, y), and their slopes along x and along y."""
    return (
        np.array([1, x, y, x * x, x * y, y * y]),
        np.array([0, 1, 0, 2 * x, y, 0]),
        np.array([0, 0, 1, 0, x, 2 * y]),
    )


def fit_quadric(points: FloatArray, normals: FloatArray, axes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Origin (3,) and coefficients (6,), in these axes, of the points of one sheet, by an ordinary least-squares solver."""
    weight = [math.exp(-float(p @ p)) for p in points]
    weight = [w / sum(weight) for w in weight]
    origin = plane(points, normals, weight)[0]
    rows, wanted = [], []
    for point, normal, w in zip(points, normals, weight, strict=True):
        (x, y, z), (nx, ny, nz) = axes @ (point - origin), axes @ normal
        height, slope_x, slope_y = quadric_terms(x, y)
        rows.append(math.sqrt(w) * height)
        wanted.append(math.sqrt(w) * z)
        for slope, own in ((slope_x, nx), (slope_y, ny)):
            rows.append(math.sqrt(w * SHEET.normals) * nz * slope)
            wanted.append(-math.sqrt(w * SHEET.normals) * own)
    for j, r in enumerate([SHEET.ridge[0]] * 3 + [SHEET.ridge[1]] * 3):
        rows.append(math.sqrt(r) * np.eye(6)[j])
        wanted.append(0.0)
    found = np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]
    return origin, np.clip(found, -JET.largest, JET.largest)


def quadric_distance(origin: FloatArray, axes: FloatArray, coefficients: FloatArray, place: FloatArray) -> float:
    """First-order signed distance of one place."""

    def held(value: float) -> float:
        return max(-JET.steepest, min(JET.steepest, value))

    x, y, z = axes @ (place - origin)
    height, slope_x, slope_y = (held(float(terms @ coefficients)) for terms in quadric_terms(x, y))
    return held((z - height) / math.sqrt(1 + slope_x**2 + slope_y**2))


# --- forms


def rounded_maximum(radius: float) -> Two:
    def of(a: float, b: float) -> float:
        overlap = max(radius - abs(a - b), 0.0)
        return max(a, b) + (overlap**2 / (4 * radius) if radius else 0.0)

    return of


def put_together(form: str, sheets: Sequence[float], radius: float = 0.0) -> float:
    """The distance that a form makes of those to its sheets; its edges are rounded by the radius."""
    most = rounded_maximum(radius)

    def least(a: float, b: float) -> float:
        return -most(-a, -b)

    if form == "smooth":
        return sheets[0]
    if form == "convex edge":
        return most(*sheets)
    if form == "concave edge":
        return least(*sheets)
    a, b, c = sheets
    if form == "convex corner":
        return most(a, most(b, c))
    if form == "concave corner":
        return least(a, least(b, c))
    return most(a, least(b, c)) if form == "convex saddle" else least(a, most(b, c))


def combine(sheets: Sequence[float], arrangement: int, radius: float = 0.0) -> float:
    """The same, from the distances to a, b and c, of which those that the arrangement has not are not used."""
    form, columns = ARRANGEMENTS[arrangement]
    return put_together(form, sheets[: len(columns)], radius)


def sheets_of(arrangements: Sequence[int]) -> tuple[list[int], list[int], list[int]]:
    """Owner and column of every sheet, and the first sheet of every region."""
    owner, column, first = [], [], []
    for r, arrangement in enumerate(arrangements):
        first.append(len(owner))
        for each in ARRANGEMENTS[arrangement][1]:
            owner.append(r)
            column.append(each)
    return owner, column, first


def field_distance(field: LocalField) -> Callable[[FloatArray, int], float]:
    """What a region says of a point: each of its sheets by itself, then put together.

    A sheet whose jet is far from what the jets of all make together is not decoded: it cannot decide.
    """
    codes = field.codes

    def distance(point: FloatArray, r: int) -> float:
        size, jets, decoded = float(codes.size[r]), [], []
        form, columns = ARRANGEMENTS[int(codes.arrangement[r])]
        relative = (torch.from_numpy(point) - torch.from_numpy(codes.center[r])) / size
        for t in range(int(codes.first[r]), int(codes.first[r]) + len(columns)):
            inside = (codes.axes[t].double() @ (relative - codes.origin[t]))[None].float()
            jets.append(naive.jet_distance(codes.code[t, :COEFFICIENTS].double().numpy(), inside[0].double().numpy()))
            decoded.append(float(field.decoder(codes.code[t][None], codes.pattern[r][None], inside, torch.tensor([0]))))
        roughly = put_together(form, jets, float(codes.radius[r]))
        said = [new if abs(jet - roughly) < SHEET_CORRECTION else jet for jet, new in zip(jets, decoded, strict=True)]
        return size * put_together(form, said, float(codes.radius[r]))

    return distance


# --- losses


def region_loss(found: Sequence[float], true: Sequence[float]) -> float:
    total = 0.0
    for f, t in zip(found, true, strict=True):
        error = abs(max(-LOSS.held, min(LOSS.held, f)) - max(-LOSS.held, min(LOSS.held, t)))
        total += error / (LOSS.focus + abs(t))
    return total / len(true)
