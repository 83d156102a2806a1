"""Slow, obvious twins of the clever functions: plain loops, one region, query, face or pair at a time.

Letters as in the modules they stand beside: N points of a scan, R regions, P points of a region, Q queries, V vertices, F faces.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lpdif.core.field import FULL_COVER, LEAST_WEIGHT
from lpdif.core.frames import FRAME
from lpdif.core.jets import COEFFICIENTS, JET, POWERS
from lpdif.core.kde import KDE
from lpdif.core.multi_decoder import SHEET_CORRECTION, SHEET_SHARE, MultiDecoder
from lpdif.core.regions import REGION, SUPPORT, RegionLattice
from lpdif.points.neighbours import NEIGHBOURHOOD
from lpdif.points.orientation.priors import PRIORS
from lpdif.stages.region_samples import REGION_SAMPLING
from lpdif.surface.marching_cubes import marching_cubes

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


# --- frames, jets ---------------------------------------------------------------------------------------------------------------


def canonical_frame(points: FloatArray, normals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Origin (3,) and axes (3, 3) of one region that has the points (P, 3), P > 0, all of them real."""
    weights = [math.exp(-0.5 * float(p @ p) / FRAME.weight_width**2) + 1e-6 for p in points]
    total = sum(weights)
    origin = sum((w * p for w, p in zip(weights, points, strict=True)), np.zeros(3)) / total
    z = sum((w * n for w, n in zip(weights, normals, strict=True)), np.zeros(3)) / total
    if np.linalg.norm(z) < FRAME.opposed:
        z = normals[min(range(len(points)), key=lambda i: float(points[i] @ points[i]))]
    z = z / np.linalg.norm(z)
    flat = [n - (n @ z) * z for n in normals]  # the normals' parts in the tangent plane
    mean = sum((w * f for w, f in zip(weights, flat, strict=True)), np.zeros(3)) / total
    spread = np.zeros((3, 3))
    for w, f in zip(weights, flat, strict=True):
        spread += w / total * np.outer(f - mean, f - mean)
    x = np.linalg.eigh(spread)[1][:, 2]
    x = x - (x @ z) * z
    x = x / np.linalg.norm(x)
    third = sum(w * float((p - origin) @ x) ** 3 for w, p in zip(weights, points, strict=True))
    x = -x if third < 0 else x
    return origin, np.stack([x, np.cross(z, x), z])


def jet_height(jet: FloatArray, x: float, y: float) -> tuple[float, float, float]:
    """Height and its slopes along x and y."""
    u, v = x / JET.radius, y / JET.radius
    height = sum(c * u**i * v**j for c, (i, j) in zip(jet, POWERS, strict=True))
    slope_x = sum(c * i * u ** (i - 1) * v**j for c, (i, j) in zip(jet, POWERS, strict=True) if i) / JET.radius
    slope_y = sum(c * j * u**i * v ** (j - 1) for c, (i, j) in zip(jet, POWERS, strict=True) if j) / JET.radius
    return float(height), float(slope_x), float(slope_y)


def fit_jet(points: FloatArray, normals: FloatArray, position: FloatArray, slope: FloatArray, ridge: FloatArray) -> FloatArray:
    """(J,) jet of one region by an ordinary least-squares solver; one row for each wish."""
    rows, wanted = [], []
    for p, n, w, u in zip(points, normals, position, slope, strict=True):
        terms = [jet_height(unit, p[0], p[1]) for unit in np.eye(COEFFICIENTS)]
        rows.append([math.sqrt(w) * t[0] for t in terms])
        wanted.append(math.sqrt(w) * p[2])
        for axis in (0, 1):
            rows.append([math.sqrt(u) * n[2] * t[1 + axis] for t in terms])
            wanted.append(-math.sqrt(u) * n[axis])
    for j, r in enumerate(ridge):
        rows.append([math.sqrt(r) * (i == j) for i in range(COEFFICIENTS)])
        wanted.append(0.0)
    return np.clip(np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0], -JET.largest, JET.largest)


def jet_distance(jet: FloatArray, point: FloatArray) -> float:
    """First-order signed distance of one point."""
    height, slope_x, slope_y = (max(-JET.steepest, min(JET.steepest, v)) for v in jet_height(jet, point[0], point[1]))
    distance = (point[2] - height) / math.sqrt(1 + slope_x**2 + slope_y**2)
    return max(-JET.steepest, min(JET.steepest, distance))


# --- decoders, density ----------------------------------------------------------------------------------------------------------


def silu(x: FloatArray) -> FloatArray:
    return x / (1 + np.exp(-x))


def multi_decoder(decoder: MultiDecoder, codes: Tensor, pattern: Tensor, points: Tensor, region: Tensor) -> FloatArray:
    """(Q,) signed distances: one query after another through the MLP of its region's pattern."""

    def array(tensor: Tensor | None) -> FloatArray:
        assert tensor is not None
        return tensor.detach().cpu().double().numpy()

    found = []
    for point, r in zip(array(points), region.tolist(), strict=True):
        code, k = array(codes[r]), int(pattern[r])
        jet = jet_distance(code[:COEFFICIENTS], point)
        entry = code @ array(decoder.from_code.weight)[k]
        entry = entry + np.append(point, jet) @ array(decoder.from_point.weight)[k] + array(decoder.from_point.bias)[k, 0]
        x = silu(entry[: decoder.width])
        for number, layer in enumerate(decoder.hidden):
            x = x @ array(layer.weight)[k] + array(layer.bias)[k, 0]
            x = silu(x + entry[decoder.width :] if number == 1 else x)
        correction = float((x @ array(decoder.out.weight)[k] + array(decoder.out.bias)[k, 0])[0])
        bound = max(SHEET_CORRECTION, SHEET_SHARE * abs(float(jet)))
        found.append(jet + (correction if k < decoder.smooth else bound * math.tanh(correction / bound)))
    return np.array(found)


def log_density(white: FloatArray, bandwidth: float) -> FloatArray:
    """(R,) log of the mean kernel between each row and all others."""
    found = []
    for i, a in enumerate(white):
        kernels = [math.exp(-0.5 * float((a - b) @ (a - b)) / bandwidth**2) for j, b in enumerate(white) if j != i]
        found.append(math.log(sum(kernels) / len(kernels)) if kernels and sum(kernels) > 0 else -math.inf)
    return np.array(found)


def median_distance(white: FloatArray) -> float:
    """The lower median of the distances between different rows."""
    distances = sorted(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(white, 2))
    return distances[(len(distances) - 1) // 2]


def density_weights(white: FloatArray, gamma: float) -> FloatArray:
    """(R,) weights: density^-gamma times the factor that brings their clipped mean to 1, found by ever finer trials."""
    raw = np.exp(-gamma * log_density(white, median_distance(white)))
    factor = 1 / raw.max() / KDE.clip
    for growth in (2.0, 1.1, 1.01, 1.001, 1.0001, 1.00001, 1.000001):
        while np.clip(raw * factor * growth, 1 / KDE.clip, KDE.clip).mean() <= 1:
            factor *= growth
    return np.clip(raw * factor, 1 / KDE.clip, KDE.clip)


# --- regions, field -------------------------------------------------------------------------------------------------------------


def region_corners(points: FloatArray, finest: float, level: IntArray) -> dict[float, list[tuple[int, ...]]]:
    """Region size -> its corners, sorted: those of the cubes that hold a point of that level."""
    found: dict[float, set[tuple[int, ...]]] = defaultdict(set)
    for point, own in zip(points, level.tolist(), strict=True):
        size = finest * 2.0**own
        for shift in itertools.product((0, 1), repeat=3):
            found[size].add(tuple(math.floor(c / size) + s for c, s in zip(point, shift, strict=True)))
    return {size: sorted(found[size]) for size in sorted(found)}


def gather_points(points: FloatArray, normals: FloatArray, centers: FloatArray, reach: float, most: int) -> list[list[int]]:
    """For each centre the numbers of the up to `most` points nearer than `reach`, nearest first; of few, then those of another side."""
    found = []
    for center in centers:
        distance = {i: float(np.linalg.norm(p - center)) for i, p in enumerate(points)}
        order = sorted((i for i in distance if distance[i] < 2 * reach), key=lambda i: distance[i])[:most]
        near = [i for i in order if distance[i] < reach]
        if 0 < len(near) < 16:
            mean = normals[near].sum(axis=0)
            cosine = {i: float(normals[i] @ mean / max(float(np.linalg.norm(mean)), 1e-12)) for i in order}
            near += [i for i in order if i not in near and -0.1 < cosine[i] < 0.7][: 16 - len(near)]
        found.append(near)
    return found


def covering_weight(point: FloatArray, corner: Sequence[int], size: float) -> float:
    """What the region at a corner weighs at a point."""
    weight = 1.0
    for x, c in zip(point, corner, strict=True):
        t = abs(x - c * size) / (SUPPORT * size)
        weight *= (1 - t * t) ** 2 if t < 1 else 0.0
    return weight


def covering_pairs(points: FloatArray, lattice: RegionLattice) -> dict[tuple[int, int], float]:
    """(query, region) -> weight, over all queries and all regions."""
    found = {}
    for q, point in enumerate(points):
        for r, corner in enumerate(lattice.corners):
            weight = covering_weight(point, corner.tolist(), lattice.size)
            if weight > 0:
                found[q, lattice.first + r] = weight
    return found


def region_support(count: int, origin: Sequence[float]) -> float:
    """How well a region is backed by that many points with that mean."""
    distance = math.sqrt(sum(x * x for x in origin))
    near, far = REGION.off_centre
    fade = 1.0 if distance <= near else 0.0 if distance >= far else (far - distance) / (far - near)
    return max(REGION.least_support, min(1.0, count / REGION.full_support) ** 3 * fade)


def blend(points: FloatArray, lattices: list[RegionLattice], support: FloatArray, distance: Callable[[FloatArray, int], float]) -> FloatArray:
    """(Q,) weighted mean of what each region says, distance(point, region), NaN where none reaches; finest lattice first."""
    found = []
    for point in points:
        above, below = 0.0, 0.0
        for lattice in lattices:
            faded = max(0.0, 1 - below / FULL_COVER)
            for r, corner in enumerate(lattice.corners, lattice.first):
                weight = covering_weight(point, corner.tolist(), lattice.size) * float(support[r]) * faded
                if weight > 0:
                    above += weight * distance(point, r)
                    below += weight
        found.append(above / below if below > LEAST_WEIGHT else math.nan)
    return np.array(found)


# --- meshes ---------------------------------------------------------------------------------------------------------------------


def dense_surface(
    field: Callable[[FloatArray], NDArray[np.float32]], low: IntArray, high: IntArray, step: float
) -> tuple[FloatArray, IntArray]:
    """Marching cubes over the whole lattice box from low to high: vertices (V, 3) and outward faces (F, 3)."""
    axes = [np.arange(a, b + 1) for a, b in zip(low, high, strict=True)]
    lattice = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    values = field(lattice.reshape(-1, 3) * step).reshape(lattice.shape[:3])
    vertices, faces = marching_cubes(np.where(np.isfinite(values), values, 1.0).astype(np.float64))
    kept = []
    for face in faces:
        i, j, k = np.floor(vertices[face].mean(0)).astype(int)
        corners = {tuple(np.round(vertices[v], 9)) for v in face}  # fewer than three where lattice points are on the surface
        if len(corners) == 3 and np.isfinite(values[i : i + 2, j : j + 2, k : k + 2]).all():
            kept.append(face)
    return (vertices + low) * step, np.array(kept, dtype=np.int64).reshape(-1, 3)


def edge_faces(faces: IntArray) -> dict[tuple[int, int], list[int]]:
    """Edge -> faces that have it."""
    found: dict[tuple[int, int], list[int]] = defaultdict(list)
    for f, face in enumerate(faces.tolist()):
        for a, b in ((0, 1), (1, 2), (2, 0)):
            found[min(face[a], face[b]), max(face[a], face[b])].append(f)
    return found


def face_components(faces: IntArray, chosen: BoolArray) -> list[set[int]]:
    """The chosen faces, flooded over shared edges."""
    beside: dict[int, set[int]] = defaultdict(set)
    for sharing in edge_faces(faces).values():
        for a, b in itertools.permutations([f for f in sharing if chosen[f]], 2):
            beside[a].add(b)
    left, parts = {f for f in range(len(faces)) if chosen[f]}, []
    while left:
        part, waiting = set(), [min(left)]
        while waiting:
            f = waiting.pop()
            if f not in part:
                part.add(f)
                waiting.extend(beside[f])
        parts.append(part)
        left -= part
    return parts


def face_area(vertices: FloatArray, face: Sequence[int]) -> float:
    a, b, c = (vertices[v] for v in face)
    return 0.5 * float(np.linalg.norm(np.cross(b - a, c - a)))


def trim(vertices: FloatArray, faces: IntArray, supported: BoolArray, largest_hole: float) -> set[int]:
    """The faces to keep: those with all vertices supported, and parts of the others that are small and reach no border."""
    kept = {f for f, face in enumerate(faces.tolist()) if all(supported[v] for v in face)}
    lost = np.array([f not in kept for f in range(len(faces))], dtype=bool)
    border = {sharing[0] for sharing in edge_faces(faces).values() if len(sharing) == 1}
    for part in face_components(faces, lost):
        if not part & border and sum(face_area(vertices, faces[f]) for f in part) <= largest_hole:
            kept |= part
    return kept


def faces_away(vertices: FloatArray, faces: IntArray, vertex: int, points: FloatArray, normals: FloatArray) -> bool:
    """Whether the surface at a vertex faces the way of none of the nearest points."""
    total = np.zeros(3)
    for face in faces.tolist():
        if vertex in face:
            a, b, c = (vertices[v] for v in face)
            total += np.cross(b - a, c - a)
    facing = total / max(float(np.linalg.norm(total)), 1e-300)
    nearest = sorted(range(len(points)), key=lambda p: float(np.linalg.norm(points[p] - vertices[vertex])))[:NEIGHBOURHOOD]
    return all(float(normals[p] @ facing) < PRIORS.grazing for p in nearest)


# --- readers --------------------------------------------------------------------------------------------------------------------
def text_rows(data: bytes, keyword: bytes, comment: bytes) -> tuple[list[list[float]], list[int]]:
    """Rows of numbers in text, and the line, from 0, of each."""
    rows, lines = [], []
    for number, line in enumerate(data.split(b"\n")):
        words = (line.split(comment)[0] if comment else line).split()
        if keyword:
            if not words or words[0] != keyword:
                continue
            words = words[1:]
        if words:
            rows.append([float(word) for word in words])
            lines.append(number)
    return rows, lines


def first_and_third_parts(line: bytes) -> tuple[list[int], list[int]]:
    """The corners "a/b/c" of an OBJ face: all a, and all c."""
    corners = [word.split(b"/") for word in line.split()]
    return [int(corner[0]) for corner in corners], [int(corner[2]) for corner in corners if len(corner) > 2 and corner[2]]


def strip_triangles(strip: Sequence[int]) -> list[list[int]]:
    """Triangles of strips that are parted by -1, those that use a point twice left out."""
    out = []
    begin = 0
    for place, corner in enumerate(strip):
        if corner < 0:
            begin = place + 1
        elif place - begin >= 2:
            a, b, c = strip[place - 2 : place + 1]
            triangle = [a, b, c] if (place - begin) % 2 == 0 else [b, a, c]
            if len(set(triangle)) == 3:
                out.append(triangle)
    return out


def weld(parts: list[tuple[FloatArray, IntArray]]) -> tuple[list[tuple[float, ...]], list[tuple[int, ...]]]:
    """Vertices and faces of all parts; vertices on the same lattice edge (or point) become the first of them."""
    numbers: dict[tuple[float, ...], int] = {}
    vertices, faces = [], []
    for points, triangles in parts:
        mine = []
        for point in points.tolist():
            edge = tuple(c if c == math.floor(c) else math.floor(c) + 0.5 for c in point)
            if edge not in numbers:
                numbers[edge] = len(vertices)
                vertices.append(tuple(point))
            mine.append(numbers[edge])
        faces += [tuple(mine[v] for v in face) for face in triangles.tolist()]
    return vertices, [face for face in faces if len(set(face)) == 3]


def near_box(points: FloatArray, low: FloatArray, high: FloatArray, reach: float) -> list[int]:
    """The points that stick out of a box by at most `reach` along every axis."""
    return [i for i, p in enumerate(points) if all(a - reach <= x <= b + reach for x, a, b in zip(p, low, high, strict=True))]


def confidence_of_vertex(place: np.ndarray, normal: np.ndarray, points: np.ndarray, spacing: float, noise: float) -> float:
    """lpdif.mesh.confidence for one vertex, from its written definition."""
    count = min(6, len(points))
    nearest = sorted(points, key=lambda p: float(np.linalg.norm(p - place)))[:count]
    distances = [float(np.linalg.norm(p - place)) for p in nearest]
    support = min(1.0, spacing * math.sqrt(count / math.pi) / distances[-1])
    closeness = math.exp(-(distances[0] ** 2) / (2 * (spacing**2 + noise**2)))
    residual = sum(abs(float((p - place) @ normal)) for p in nearest) / count
    return support * closeness * math.exp(-0.5 * (residual / (0.25 * spacing + noise)) ** 2)


def disk_distance(query: FloatArray, points: FloatArray, normals: FloatArray) -> tuple[float, bool]:
    """Signed distance of one query to the points as disks, and whether it is sure."""
    near = sorted(range(len(points)), key=lambda i: float(np.linalg.norm(query - points[i])))[: REGION_SAMPLING.disks]
    found = []
    for i in near:
        others = sorted(float(np.linalg.norm(points[i] - other)) for other in points)
        radius = others[min(REGION_SAMPLING.disk_rank, len(others) - 1)]
        height = float((query - points[i]) @ normals[i])
        beside = math.sqrt(max(float((query - points[i]) @ (query - points[i])) - height**2, 0.0))
        beyond = max(beside - radius, 0.0)
        found.append((math.hypot(height, beyond), height, beyond))
    distance, height, beyond = found[0]
    sure = beyond <= REGION_SAMPLING.beside * abs(height) and not any(
        d < REGION_SAMPLING.rival * distance and h * height < 0 for d, h, _ in found
    )
    return math.copysign(distance, height), sure


def thinned(points: np.ndarray, edge: float) -> list[int]:
    """Rows of the first point in each cube of this edge."""
    seen: dict[tuple[int, ...], int] = {}
    for row, point in enumerate(points):
        seen.setdefault(tuple(int(c // edge) for c in point), row)
    return sorted(seen.values())


def refined_vertex(vertex: np.ndarray, values: np.ndarray, here: float) -> np.ndarray:
    """A vertex on a lattice edge after one Newton step on the parabola through the field at both ends and at the vertex."""
    low = np.floor(vertex).astype(int)
    axis = int((vertex - low).argmax())
    t = float(vertex[axis] - low[axis])
    first = float(values[tuple(low)])
    last = float(values[tuple(low + np.eye(3, dtype=int)[axis])])
    if t == 0:
        return vertex
    better = t
    if not np.isnan(here):
        # f(s) = first + b s + c s^2 through (t, here) and (1, last)
        c = ((here - first) / t - (last - first)) / (t - 1)
        b = last - first - c
        slope = b + 2 * c * t
        if slope * (last - first) > 0.2 * (last - first) ** 2:
            better = t - here / slope
            better = min(max(better, 0.0), t) if here * first < 0 else min(max(better, t), 1.0)
    better = min(max(better, 0.005), 0.995)
    moved = vertex.astype(float).copy()
    moved[axis] = low[axis] + better
    return moved
