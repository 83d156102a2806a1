"""Slow, obvious twins of what prepares a scan: one point, pair, place or block at a time.

Letters as in the modules they stand beside: N points, k neighbours, M places or blocks, T targets, P pairs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from lpdif.points.neighbours import SAMPLE_PLACES
from lpdif.points.orientation.priors import MAJORITY, PRIORS
from lpdif.points.orientation.propagation import PROPAGATION
from lpdif.points.outliers import OUTLIERS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


# --- cleaning ----------------------------------------------------------------------------------------------------------


def finite_rows(points: FloatArray) -> list[int]:
    return [i for i, p in enumerate(points.tolist()) if all(math.isfinite(c) for c in p)]


def distinct_rows(points: FloatArray) -> list[int]:
    """The first row of each point, sorted by position."""
    first: dict[tuple[float, ...], int] = {}
    for i, p in enumerate(points.tolist()):
        first.setdefault(tuple(p), i)
    return [first[p] for p in sorted(first)]


def plane_offset(near: FloatArray) -> tuple[float, float, float]:
    """Distance of the origin from the best plane through points (k, 3), from their middle in it, and the former's deviation."""
    middle, k = near.mean(axis=0), len(near)
    normal = np.linalg.svd(near - middle)[2][2]
    height = float(middle @ normal)
    variance = float((((near - middle) @ normal) ** 2).sum()) / max(k - 3, 1)
    return abs(height), float(np.linalg.norm(middle - height * normal)), math.sqrt(variance * (1 + 1 / k))


def nearest(tree_points: FloatArray, point: FloatArray, k: int) -> tuple[list[int], list[float]]:
    """The k nearest others of one point, and their distances."""
    distances = [float(np.linalg.norm(p - point)) for p in tree_points]
    order = sorted(range(len(distances)), key=lambda i: distances[i])[1 : k + 1]
    return order, [distances[i] for i in order]


# --- normals --------------------------------------------------------------------------------------------------------------------


def unit_normal(vector: Sequence[float]) -> tuple[list[float], bool]:
    largest = max(abs(c) for c in vector)
    if not all(math.isfinite(c) for c in vector) or largest == 0:
        return [0.0, 0.0, 0.0], False
    scaled = [c / largest for c in vector]
    return [c / math.hypot(*scaled) for c in scaled], True


def weighted_plane(near: FloatArray, weights: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Axis and centre of the plane through points (k, 3)."""
    middle = sum((w * p for w, p in zip(weights, near, strict=True)), np.zeros(3)) / sum(weights)
    spread = sum((w * np.outer(p - middle, p - middle) for w, p in zip(weights, near, strict=True)), np.zeros((3, 3)))
    return np.linalg.eigh(spread)[1][:, 0], middle


def fit_axes(
    points: FloatArray,
    indices: IntArray,
    local: FloatArray,
    noise: FloatArray,
    widths: list[float],
    start: tuple[FloatArray, FloatArray] | None,
) -> tuple[FloatArray, FloatArray]:
    """Axes (N, 3) and centres (N, 3) by repeated plane fits, with the numbers of lpdif.points.normals written out."""
    axes, centres = np.zeros_like(points), np.zeros_like(points)
    for i, p in enumerate(points):
        near = points[indices[i]] - p
        axes[i], centres[i] = weighted_plane(near, [math.exp(-0.5 * float(d @ d) / widths[i] ** 2) for d in near])
    tolerance = [4.0 * math.hypot(e, 0.05 * s) for e, s in zip(noise, local, strict=True)]
    axes, centres = along_one_sheet(points, indices, axes, local, tolerance, widths), np.zeros_like(points)
    if start is not None:
        axes, centres = start[0].copy(), start[1].copy()
    for least in (0.5, 0.2, 0.0) if start is None else (0.0,):
        last = axes.copy()
        for i, p in enumerate(points):
            near = points[indices[i]] - p
            allowed = max(4.0 * math.hypot(noise[i], 0.05 * local[i]), least * widths[i])
            bend = math.hypot(0.28, 0.7 * noise[i] / local[i])
            weights = []
            for j, d in zip(indices[i], near, strict=True):
                off = float((d - centres[i]) @ last[i]) / allowed
                turn = (1 - abs(float(last[j] @ last[i]))) / bend**2
                weights.append(math.exp(-0.5 * float(d @ d) / widths[i] ** 2 - 0.5 * off**2 - turn) + 1e-9)
            axes[i], centres[i] = weighted_plane(near, weights)
    return (axes if start is not None else on_flat_faces(points, indices, axes, local, noise, widths)), centres


def neighbours(
    points: FloatArray, indices: IntArray, i: int, width: float, tolerance: float
) -> tuple[FloatArray, list[float], Callable[[FloatArray], float]]:
    """Offsets of the neighbours of point i, their weights, and the weight of those near the plane of an axis."""
    near = points[indices[i]] - points[i]
    weights = [math.exp(-0.5 * float(d @ d) / width**2) for d in near]

    def support(axis: FloatArray) -> float:
        return sum(w * math.exp(-0.5 * (float(d @ axis) / tolerance) ** 2) for w, d in zip(weights, near, strict=True))

    return near, weights, support


def on_flat_faces(
    points: FloatArray, indices: IntArray, axes: FloatArray, local: FloatArray, noise: FloatArray, widths: Sequence[float]
) -> FloatArray:
    """The axes (N, 3), those of points with few neighbours very near their plane taken over as along one sheet, if these differ."""
    result = axes.copy()
    fine = [math.hypot(0.025 * s, 4.0 * e) for s, e in zip(local, noise, strict=True)]
    left = [i for i in range(len(points)) if fine[i] < 0.05 * local[i]]
    for turn in range(3):
        last = result.copy()
        doubtful = []
        for i in left:
            near, weights, support = neighbours(points, indices, i, widths[i], fine[i])
            own = support(last[i])
            if own >= 0.8 * sum(weights):
                continue
            doubtful.append(i)
            others = [last[j] for j in indices[i][:9]] if turn else [weighted_plane(near[:9], [1.0] * len(near[:9]))[0]]
            best = max(others, key=support)
            differs = abs(float(best @ last[i])) < 1 - 0.28**2 / 2
            if differs and support(best) > max(own, sum(weights) / 4):
                result[i] = best
        left = doubtful
    return result


def along_one_sheet(
    points: FloatArray, indices: IntArray, axes: FloatArray, local: FloatArray, tolerance: Sequence[float], widths: Sequence[float]
) -> FloatArray:
    """The axes (N, 3), those of points with few neighbours near their plane taken over from the nine nearest, and then twice from theirs."""
    result = axes.copy()
    left = list(range(len(points)))
    for turn in range(3):
        last = result.copy()
        doubtful = []
        for i in left:
            near, weights, support = neighbours(points, indices, i, widths[i], tolerance[i])
            own = support(last[i])
            if own >= 0.8 * sum(weights):
                continue
            doubtful.append(i)
            others = [last[j] for j in indices[i][:9]] if turn else [weighted_plane(near[:9], [1.0] * len(near[:9]))[0]]
            best = max(others, key=support)
            heights = sorted(abs(float(d @ best)) for d in near)
            gaps = [b - a for a, b in itertools.pairwise(heights)][3:-2]
            if gaps and max(gaps) > 0.8 * local[i] and support(best) > max(own, sum(weights) / 4):
                result[i] = best
        left = doubtful
    return result


def estimate_axes(
    points: FloatArray, indices: IntArray, local: FloatArray, noise: FloatArray, loud: float, scales: Sequence[int]
) -> FloatArray:
    """(N, 3) axes, of each point that of the largest scale that agrees with all smaller ones and follows on one that did."""
    ratios = sorted(min(loud / s, 1) for s in local)
    typical = 18 + 92 * (ratios[len(ratios) // 2] + ratios[(len(ratios) - 1) // 2]) / 2
    found: list[FloatArray] = []
    start = None
    for k in scales:
        share = 1.0 if len(scales) == 1 else k / typical
        widths = [0.5 * s * math.sqrt(share * (18 + 92 * min(e / s, 1)) / math.pi) for s, e in zip(local, noise, strict=True)]
        start = fit_axes(points, indices[:, :k], local, noise, widths, start)
        found.append(start[0])
    result = found[0].copy()
    for i in range(len(points)):
        for large in range(1, len(scales)):
            agree = True
            for small in range(large):
                differences = []
                for j in [i, *indices[i][:12]]:
                    variance = 2 * (5.5 * noise[j] / (local[j] * scales[small])) ** 2
                    differences.append(2 * (1 - abs(float(found[large][j] @ found[small][j]))) / max(variance, 1e-12))
                agree &= sum(differences) / len(differences) < 1
            if not agree:
                break
            result[i] = found[large][i]
    return result


# --- orientation ----------------------------------------------------------------------------------------------------------------


def agreement(p: FloatArray, q: FloatArray, m: FloatArray, n: FloatArray, reach: float) -> float:
    d = q - p
    return float(m @ n) - 2 * float(m @ d) * float(n @ d) / (float(d @ d) + reach**2)


class Groups:
    """Sets of numbers that grow together."""

    def __init__(self, count: int) -> None:
        self.of = list(range(count))

    def join(self, a: int, b: int) -> bool:
        """Whether they were apart."""
        old, new = self.of[b], self.of[a]
        self.of = [new if g == old else g for g in self.of]
        return old != new


def strongest_forest(pairs: Sequence[tuple[int, int]], weights: Sequence[float], count: int) -> list[int]:
    """Numbers of the pairs of the spanning forest of the greatest weight."""
    groups = Groups(count)
    return [p for p in sorted(range(len(pairs)), key=lambda p: -weights[p]) if groups.join(*pairs[p])]


def spanning_signs(count: int, pairs: Sequence[tuple[int, int]], agreements: Sequence[float]) -> list[float]:
    """Signs along the forest of the strongest agreements; the lowest of each tree is +1."""
    beside: dict[int, list[tuple[int, float]]] = {i: [] for i in range(count)}
    for number in strongest_forest(pairs, [abs(a) for a in agreements], count):
        (a, b), sign = pairs[number], -1.0 if agreements[number] < 0 else 1.0
        beside[a].append((b, sign))
        beside[b].append((a, sign))
    signs: dict[int, float] = {}
    for root in range(count):
        waiting = [] if root in signs else [(root, 1.0)]
        while waiting:
            node, sign = waiting.pop()
            signs[node] = sign
            waiting.extend((other, sign * s) for other, s in beside[node] if other not in signs)
    return [signs[i] for i in range(count)]


def blocks(points: FloatArray, indices: IntArray, consistency: NDArray[np.float32], extent: FloatArray, least: float) -> set[frozenset[int]]:
    """What hangs together within the cubes of a lattice, each point in that of its own extent."""
    low = points.min(axis=0)
    cubes = [(e, *(math.floor(c / e) for c in p - low)) for p, e in zip(points, extent.tolist(), strict=True)]
    groups = Groups(len(points))
    for i, near in enumerate(indices.tolist()):
        for j, a in zip(near, consistency[i], strict=True):
            if a >= least and cubes[i] == cubes[j]:
                groups.join(i, j)
    return {frozenset(i for i in range(len(points)) if groups.of[i] == g) for g in set(groups.of)}


def wall_separation(p: FloatArray, q: FloatArray, m: FloatArray, n: FloatArray) -> tuple[float, bool]:
    """Mean of how far q lies in front of p and p in front of q, and whether their normals m, n face opposite ways."""
    return (float(m @ (q - p)) + float(n @ (p - q))) / 2, float(m @ n) < 0


def sparseness(areas: FloatArray, indices: IntArray, spacing: float) -> list[float]:
    """The power of two nearest to how many spacings the neighbours of a point are apart, on the geometric mean; 1 where it is less."""
    found = []
    for near in indices:
        apart = math.prod(float(areas[j]) for j in near) ** (1 / (2 * len(near)))
        found.append(max(1.0, 2.0 ** round(math.log2(apart / spacing))))
    return found


def neighbour_consistency(signs: FloatArray, indices: IntArray, agreements: FloatArray) -> list[float]:
    found = []
    for i, near in enumerate(indices.tolist()):
        pull = sum(signs[i] * signs[j] * a for j, a in zip(near, agreements[i], strict=True))
        found.append(pull / max(sum(abs(a) for a in agreements[i]), 1e-6))
    return found


# --- winding number, energy ---------------------------------------------------------------------------------------------------


def dipole_field(offset: FloatArray, dipole: FloatArray, softening: float) -> float:
    return float(offset @ dipole) / (4 * math.pi * (float(offset @ offset) + softening**2) ** 1.5)


def block_influence(
    points: FloatArray,
    dipoles: FloatArray,
    areas: FloatArray,
    block: IntArray,
    count: int,
    near: FloatArray,
    softening: FloatArray,
    targets: FloatArray,
) -> FloatArray:
    """(T, M): blocks whose centres are within their `near` (M,) count point by point, the others as one dipole, each with the largest
    softening (N,) of its points."""
    found = np.zeros((len(targets), count))
    for m in range(count):
        rows = [i for i, b in enumerate(block) if b == m]
        total = sum(areas[i] for i in rows)
        centre = sum((areas[i] * points[i] for i in rows), np.zeros(3)) / max(total, 1e-300)
        for t, target in enumerate(targets):
            if np.linalg.norm(target - centre) <= near[m]:
                found[t, m] = sum(dipole_field(points[i] - target, dipoles[i], softening[i]) for i in rows)
            else:
                widest = max((softening[i] for i in rows), default=0.0)
                found[t, m] = dipole_field(centre - target, sum((dipoles[i] for i in rows), np.zeros(3)), widest)
    return found


def energy(
    fields: FloatArray, goal: FloatArray, pairs: Sequence[tuple[int, int]], couplings: Sequence[float], prior: FloatArray, signs: FloatArray
) -> float:
    """The energy of lpdif.points.orientation.energy, term by term."""
    value = sum((float(row @ signs) - g) ** 2 for row, g in zip(fields, goal, strict=True))
    value -= sum(coupling * signs[a] * signs[b] for (a, b), coupling in zip(pairs, couplings, strict=True))
    return value - float(prior @ signs)


def inconsistent_components(chosen: BoolArray, signs: FloatArray, indices: IntArray, agreements: FloatArray) -> set[int]:
    """The chosen points of components that, summed over pairs of one of theirs and one of the others, disagree with these, or have none."""
    beside: dict[int, set[int]] = {int(p): set() for p in np.flatnonzero(chosen)}
    for p, row in enumerate(indices.tolist()):
        for q in row:
            if chosen[p] and chosen[q]:
                beside[p].add(q)
                beside[q].add(p)
    loose: set[int] = set()
    left = set(beside)
    while left:
        piece, waiting = set(), [min(left)]
        while waiting:
            p = waiting.pop()
            if p not in piece:
                piece.add(p)
                waiting.extend(beside[p])
        left -= piece
        border = [(p, k) for p in piece for k, q in enumerate(indices[p].tolist()) if not chosen[q]]
        if not border or sum(float(agreements[p, k] * signs[p] * signs[indices[p, k]]) for p, k in border) < 0:
            loose |= piece
    return loose


def ground_prior(points: FloatArray, axes: FloatArray) -> list[float]:
    """Prior for the upper side of ground: the lowest points of the columns, where they are level."""
    low, high = points.min(axis=0), points.max(axis=0)
    width, depth, height = high - low
    if height == 0 or height > PRIORS.ground_height * min(width, depth):
        return [0.0] * len(points)
    side = math.sqrt(width * depth / SAMPLE_PLACES)
    columns: dict[tuple[int, int], list[int]] = {}
    for i, p in enumerate(points):
        columns.setdefault((int((p[0] - low[0]) // side), int((p[1] - low[1]) // side)), []).append(i)
    prior, covered = [0.0] * len(points), 0
    for rows in columns.values():
        bottom = min(points[i][2] for i in rows)
        ground = [i for i in rows if points[i][2] - bottom < side / 2 and abs(axes[i][2]) > PROPAGATION.parallel]
        covered += bool(ground)
        for i in ground:
            prior[i] = math.copysign(1.0, axes[i][2])
    full = (max(i for i, _ in columns) + 1) * (max(j for _, j in columns) + 1)
    return prior if covered >= MAJORITY * full else [0.0] * len(points)


def line_reach(points: FloatArray, k: int) -> list[float]:
    """Distance of the farthest of k neighbours, or of 2 k, where a point and most of its neighbours lie on a line; else 0."""
    order = [sorted((float(np.linalg.norm(q - p)), j) for j, q in enumerate(points) if j != i) for i, p in enumerate(points)]
    near = [[j for _, j in row[:k]] for row in order]
    variance = [np.linalg.eigvalsh(np.cov(points[[i, *some]].T)) for i, some in enumerate(near)]
    share = [v[1] / v[2] for v in variance]
    growth = [min(math.log(row[k - 1][0] / row[2][0]), 1.5) for row in order]
    tangent = [np.linalg.eigh(np.cov(points[[i, *some[:4]]].T))[1][:, 2] for i, some in enumerate(near)]
    reach = [0.0] * len(points)
    for i, some in enumerate(near):
        fits = []
        for j in some:
            way = (points[j] - points[i]) / np.linalg.norm(points[j] - points[i])
            fits.append(float(tangent[i] @ (tangent[j] - 2 * (tangent[j] @ way) * way)) ** 2)
        bent = np.mean([growth[j] for j in [i, *some]]) > 1.0 and np.mean(fits) > 0.85
        wide = order[i][: 2 * k]
        if bent or share[i] < 0.02:
            reach[i] = order[i][k - 1][0]
        elif share[i] < 0.15 and np.mean([share[j] < 0.15 for j in some]) > 0.5:
            variance = np.linalg.eigvalsh(np.cov(points[[i, *(j for _, j in wide)]].T))
            reach[i] = wide[-1][0] if variance[1] / variance[2] < 0.5 * share[i] else 0.0
    return [reach[i] if np.mean([reach[j] > 0 for j in some]) > 0.5 else 0.0 for i, some in enumerate(near)]


def check_apart(indices: IntArray, close: BoolArray, kept: BoolArray) -> None:
    """No two that are kept are close; each of the others is close to one that is."""
    pairs = {(i, int(indices[i, c])) for i in range(len(indices)) for c in range(indices.shape[1]) if close[i, c]}
    pairs |= {(j, i) for i, j in pairs}
    for i, j in pairs:
        assert not (kept[i] and kept[j])
    for i in range(len(kept)):
        assert kept[i] or any(kept[j] for one, j in pairs if one == i)


def links(points: FloatArray, indices: IntArray, mean: FloatArray, noise: FloatArray) -> list[BoolArray]:
    """Point by point: which neighbours are close, have the point in their plane, and lie in its plane."""
    axes = np.empty_like(points)
    for i, row in enumerate(indices):
        best = -1
        for some in (row, row[: len(row) // 2]):
            axis = np.linalg.svd(np.vstack([points[i], points[some]]) - np.vstack([points[i], points[some]]).mean(axis=0))[2][2]
            there = sum(abs((points[j] - points[i]) @ axis) <= allowed_height(points[j] - points[i], noise[i]) for j in row)
            if there > best:
                axes[i], best = axis, there
    found = [np.zeros(indices.shape, np.bool_) for _ in range(3)]
    for i, row in enumerate(indices):
        for n, j in enumerate(row):
            way = points[j] - points[i]
            found[0][i, n] = np.linalg.norm(way) <= OUTLIERS.largest_gap * mean[j]
            found[1][i, n] = abs(way @ axes[j]) <= allowed_height(way, noise[j])
            found[2][i, n] = abs(way @ axes[i]) <= allowed_height(way, noise[i])
    return found


def allowed_height(way: FloatArray, noise: float) -> float:
    return float(np.hypot(OUTLIERS.largest_sine * np.linalg.norm(way), OUTLIERS.noises * noise))


def dimension(points: FloatArray, mean: FloatArray, row: int, crowds: int, crowd: int, near: int, alike: float) -> float:
    """Over the mean, of a point and its nearest, of the logarithm of the distance of the `crowd`-th over that of the `near`-th neighbour."""
    crowd = min(crowd, len(points) - 1)
    near = min(near, crowd)
    growths = []
    for i in [row, *nearest(points, points[row], crowds)[0]]:
        if mean[i] > alike * mean[row]:
            distances = sorted(math.dist(points[i], other) for other in points)
            growths.append(math.log(distances[crowd] / distances[near]))
    if len(growths) < crowd:
        return math.inf
    return math.log(crowd / near) / (sum(growths) / len(growths))


def overlap_share(image: FloatArray, points: FloatArray, k: int, least: int, far: float, mixed: float) -> float:
    """Share of points of whose k nearest in the image some lie far in space, and on no side of their own."""
    typical = []
    for point in points:
        typical.append(sorted(math.dist(point, other) for other in points)[4])
    count = 0
    for i, place in enumerate(image):
        limit = far * max(typical[i], float(np.median(typical)))
        order = sorted(range(len(points)), key=lambda j: math.dist(image[j], place))[: k + 1]
        behind = [image[j] - place for j in order if math.dist(points[j], points[i]) > limit]
        beside = [image[j] - place for j in order if math.dist(points[j], points[i]) <= limit]
        if len(behind) >= least:
            middle = np.mean(beside, axis=0) if beside else np.zeros(2)
            count += math.dist(np.mean(behind, axis=0), middle) <= mixed * math.dist(image[order[-1]], place)
    return count / len(points)


def depth_jump_share(points: FloatArray, eye: FloatArray, k: int, least: int, far: float) -> float:
    """Share of points of whose k nearest on the sphere of directions around the eye some lie far in space."""
    sight = [(point - eye) / math.dist(point, eye) for point in points]
    typical = [sorted(math.dist(point, other) for other in points)[4] for point in points]
    count = 0
    for i, place in enumerate(sight):
        order = sorted(range(len(points)), key=lambda j: math.dist(sight[j], place))[: k + 1]
        limit = far * max(typical[i], float(np.median(typical)))
        count += sum(math.dist(points[j], points[i]) > limit for j in order) >= least
    return count / len(points)


def evenness(points: FloatArray, axes: FloatArray, areas: FloatArray, eye: FloatArray, grazing: float) -> float:
    """Spread of the logarithms of solid angles over that of areas; points seen at a grazing angle are left out."""
    on_surface, in_image = [], []
    for point, axis, area in zip(points, axes, areas, strict=True):
        distance = math.dist(point, eye)
        cosine = abs(float(axis @ (eye - point))) / distance
        if cosine > grazing:
            on_surface.append(math.log(area))
            in_image.append(math.log(area * cosine / distance**2))
    if len(on_surface) < len(points) / 2:
        return math.inf
    spread = [float(np.quantile(values, 0.84) - np.quantile(values, 0.16)) for values in (on_surface, in_image)]
    return spread[1] / spread[0]


def double_sheet_share(image: FloatArray, depth: FloatArray, k: int, least: int, mixed: float, splits: int, split: float) -> float:
    """Share of places whose k nearest in the image lie on two planes of one slope, apart against their scatter, and in no order."""
    count = 0
    for place, here in zip(image, depth, strict=True):
        order = sorted(range(len(image)), key=lambda j: math.dist(image[j], place))[:k]
        offset, depths = image[order] - place, depth[order] - here
        plane = np.column_stack([np.ones(len(order)), offset])
        slope, apart = np.linalg.lstsq(plane, depths, rcond=None)[0], 0.0
        for _ in range(splits):
            farther = depths - plane @ slope > apart / 2
            terms = np.column_stack([plane, farther])
            found = np.linalg.lstsq(terms, depths, rcond=None)[0]
            slope, apart = found[:3], float(found[3])
        left = depths - terms @ found
        number = int(farther.sum())
        if min(number, len(order) - number) < least or apart <= split * math.sqrt(float((left**2).sum()) / max(1, len(order) - 4)):
            continue
        count += math.dist(offset[farther].mean(axis=0), offset[~farther].mean(axis=0)) <= mixed * np.linalg.norm(offset, axis=1).max()
    return count / len(image)


def wrong_normals(
    points: FloatArray,
    normals: FloatArray,
    indices: IntArray,
    reach: FloatArray,
    flat: float,
    planar: float,
    far_off: float,
    fitting: float,
    far_share: float,
    agreeing: float,
    without_plane: float,
) -> list[bool]:
    """Of each normal, whether it is far from the axis of the plane of the neighbours, or, without one, unclear; none if too few are."""
    far, unfit, sure, unclear = [], [], [], []
    for i, p in enumerate(points):
        near = points[indices[i]]
        values, axes = np.linalg.eigh(np.cov(near.T, bias=True))
        sure.append(bool(values[0] < planar * values[1]))
        sizes = [abs(agreement(p, points[j], normals[i], normals[j], math.sqrt((reach[i] ** 2 + reach[j] ** 2) / 2))) for j in indices[i]]
        clear = sum(sizes) / len(sizes)
        cosine = abs(float(axes[:, 0] @ normals[i]))
        far.append(bool(values[0] < flat * values[1]) and cosine < far_off and clear < agreeing)
        unfit.append(cosine < fitting and clear < agreeing)
        unclear.append(clear < without_plane)
    if sum(far) <= far_share * len(points):
        return [False] * len(points)
    return [a if s else u for a, s, u in zip(unfit, sure, unclear, strict=True)]


def follow_neighbours(signs: FloatArray, decided: BoolArray, indices: IntArray, agreements: FloatArray, sweeps: int) -> list[float]:
    """Signs after the majority of neighbours that are known: ring by ring from the decided points inward, then a few times of all others."""
    found, known = signs.tolist(), decided.tolist()

    def majority(rows: list[int]) -> dict[int, float]:
        pulls = {p: sum(float(a) * found[q] for a, q in zip(agreements[p], indices[p].tolist(), strict=True) if known[q]) for p in rows}
        return {p: math.copysign(1.0, pull) for p, pull in pulls.items() if pull != 0}

    others = np.flatnonzero(~decided).tolist()
    fresh = set(np.flatnonzero(decided).tolist())
    while fresh:
        new = majority([p for p in others if not known[p] and fresh & set(indices[p].tolist())])
        fresh = set(new)
        for p, sign in new.items():
            found[p], known[p] = sign, True
    for _ in range(sweeps):
        for p, sign in majority(others).items():
            found[p], known[p] = sign, True
    return found
