"""Figures of the quality table: errors at sharp edges and in thin parts, means over meshes, and the table itself."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.arrays import unit_rows
from lpdif.geometry import surface_points
from lpdif.mesh.topology import half_edges, opposite_half_edges
from lpdif.mesh_queries import closest_points, ray_hits
from lpdif.types import Mesh

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Row = dict[str, Any]

SAMPLES = 100_000  # of the true mesh, for the errors in its parts
FEWEST = 200  # samples that a part must have to be spoken of
SHARP = 40.0  # degrees between the normals at a sharp edge
BESIDE = 0.01  # samples so near to such an edge belong to it, as a share of the longest side
THIN = 0.02  # parts not thicker than this are thin, likewise
LEAST = 1e-9  # a figure of a perfect mesh is taken as this, so that ratios stay finite


def sharp_edges(mesh: Mesh, degrees: float = SHARP) -> FloatArray:
    """(n, 2, 3) ends of the edges at which the normals of the two faces differ by more than this."""
    a, b, c = mesh.vertices[mesh.faces].transpose(1, 0, 2)
    normals = unit_rows(np.cross(b - a, c - a))
    first, second = opposite_half_edges(mesh.faces)
    cosine = np.einsum("ij,ij->i", normals[first % len(mesh.faces)], normals[second % len(mesh.faces)])
    start, end = half_edges(mesh.faces)
    sharp = first[cosine < math.cos(math.radians(degrees))]
    return np.stack([mesh.vertices[start[sharp]], mesh.vertices[end[sharp]]], axis=1)


def along(edges: FloatArray, step: float) -> FloatArray:
    """(m, 3) places on the edges (n, 2, 3), both ends among them, at most `step` apart."""
    length = np.linalg.norm(edges[:, 1] - edges[:, 0], axis=1)
    count = np.ceil(length / step).astype(np.int64) + 1
    edge = np.repeat(np.arange(len(edges)), count)
    number = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count, count)
    share = number / np.maximum(count[edge] - 1, 1)
    return np.asarray(edges[edge, 0] + share[:, None] * (edges[edge, 1] - edges[edge, 0]))


def near_edges(points: FloatArray, edges: FloatArray, within: float) -> BoolArray:
    """(Q,) whether a point lies within this distance of an edge."""
    if len(edges) == 0:
        return np.zeros(len(points), bool)
    step = within / 5  # the distance to the nearest place is then at most half a per cent larger than that to the edge
    return np.isfinite(cKDTree(along(edges, step)).query(points, distance_upper_bound=within)[0])


def in_thin_parts(points: FloatArray, normals: FloatArray, mesh: Mesh, thickness: float) -> BoolArray:
    """(Q,) whether a ray from a surface point into the solid leaves it again before it has gone `thickness`."""
    lift = 1e-3 * thickness
    travelled = ray_hits(points - lift * normals, -normals, mesh.vertices, mesh.faces)[0]
    return travelled + lift < thickness


class Parts(NamedTuple):
    """Samples (n, 3) of the true mesh, and which of them lie at sharp edges and in thin parts (n,)."""

    points: FloatArray
    edge: BoolArray
    thin: BoolArray


def parts_of(truth: Mesh, samples: int = SAMPLES, seed: int = 0) -> Parts:
    """Samples of a mesh whose longest side is 1."""
    points, normals = surface_points(truth.vertices, truth.faces, samples, np.random.default_rng(seed))
    edge = near_edges(points, sharp_edges(truth), BESIDE)
    return Parts(points, edge, in_thin_parts(points, normals, truth, THIN))


def errors_in_parts(mesh: Mesh, parts: Parts) -> dict[str, float]:
    """Mean distance from the true surface to the mesh, at its sharp edges ("edge") and in its thin parts ("thin"), where it has any."""
    found = {}
    for name, chosen in (("edge", parts.edge), ("thin", parts.thin)):
        if chosen.sum() >= FEWEST:
            distance = closest_points(parts.points[chosen], mesh.vertices, mesh.faces)[0]
            found[name] = float(distance.mean())
    return found


def geometric_mean(values: Iterable[float]) -> float | None:
    """None without values."""
    logs = [math.log(value) for value in values]
    return math.exp(sum(logs) / len(logs)) if logs else None


def ratio(ours: float, other: float) -> float:
    """Of two errors; those of perfect meshes count as LEAST."""
    return max(ours, LEAST) / max(other, LEAST)


def best_peer(row: Row) -> Row | None:
    """The figures of the peer with the smallest Chamfer distance; None where none gave a mesh."""
    made = [figures for figures in row.get("peers", {}).values() if "cd" in figures]
    return min(made, key=lambda figures: figures["cd"], default=None)


FIGURES = ("cd", "roughness", "edge", "thin", "seconds")


def compared(row: Row) -> dict[str, float]:
    """Ratio, ours over the best peer's, of each figure that both have."""
    peer = best_peer(row)
    if peer is None or "cd" not in row["ours"]:
        return {}
    return {name: ratio(row["ours"][name], peer[name]) for name in FIGURES if name in row["ours"] and name in peer}


def summary(rows: Sequence[Row]) -> Row:
    """Of the rows of one setting: geometric means of our figures and of the ratios, wins on cd, failures, the largest peak memory."""
    made = [row["ours"] for row in rows if "cd" in row["ours"]]
    ratios = [compared(row) for row in rows]
    met = [row for row in rows if best_peer(row) is not None]
    return {
        "meshes": len(rows),
        "failed": len(rows) - len(made),
        "figures": {name: geometric_mean(max(f[name], LEAST) for f in made if name in f) for name in FIGURES},
        "ratios": {name: geometric_mean(r[name] for r in ratios if name in r) for name in FIGURES},
        "wins": sum(r.get("cd", math.inf) < 1 for r in ratios),
        "met": len(met),
        "peak_mib": max((f["peak_mib"] for f in made), default=None),
    }


def by_setting(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each setting, in the order in which settings first come."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["setting"], []).append(row)
    return found


def cell(value: float | None, form: str, scale: float = 1.0) -> str:
    """A number in a table; a dash where there is none."""
    return "–" if value is None else format(value * scale, form)


def table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ["---"] + ["---:"] * (len(header) - 1), *lines])


def report(rows: Sequence[Row]) -> str:
    """quality.md: the ratios where there are peers, and our own figures."""
    groups = {**by_setting(rows), "all": list(rows)}
    found = {name: summary(group) for name, group in groups.items()}
    count = len({row["mesh"] for row in rows})
    text = [
        "# Quality",
        f"{count} closed mesh{'' if count == 1 else 'es'}, longest side 1. `edge`: mean distance from the true surface to the mesh within "
        f"{BESIDE:.0%} of an edge sharper than {SHARP:.0f}°; `thin`: the same where the solid is thinner than {THIN:.0%}.",
    ]
    if any(s["met"] for s in found.values()):
        header = ["setting", "cd", "1 - nc", "edge", "thin", "time", "won on cd", "failed"]
        lines = [
            [name, *(cell(s["ratios"][f], ".2f") for f in FIGURES), f"{s['wins']}/{s['met']}", str(s["failed"])] for name, s in found.items()
        ]
        text += [
            "Ours over the best peer's (Screened Poisson, the depth with the smaller cd), geometric mean; below 1 is better.",
            table(header, lines),
        ]
    header = ["setting", "cd", "1 - nc", "edge", "thin", "seconds", "peak MiB", "failed"]
    scales = {"cd": 1e3, "edge": 1e3, "thin": 1e3}
    lines = []
    for name, s in found.items():
        figures = [cell(s["figures"][f], ".4f" if f == "roughness" else ".3f" if f in scales else ".1f", scales.get(f, 1.0)) for f in FIGURES]
        lines.append([name, *figures, cell(s["peak_mib"], ".0f"), str(s["failed"])])
    text += ["Our own figures, geometric mean (memory: largest); lengths in thousandths of the longest side.", table(header, lines)]
    return "\n\n".join(text) + "\n"
