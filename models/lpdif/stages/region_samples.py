"""Training samples of regions: surface points, and the true signed distance around them.

From the points training simulates what a scanner would see of a region.

Letters: R regions, P stored surface points of a region, S signed-distance samples of a region, s region size.
Everything returned is relative to the region's centre and in units of s; signed distance is negative inside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray
from lpdif.geometry import signed_distance, surface_points


class SamplingSettings(NamedTuple):
    """How training regions are cut out of shapes and scans. Lengths are in region sizes."""

    stored_radius: float = 1.75  # Surface points are stored this far from the centre: the encoder's halo, and a margin for noise.
    along_normal: float = 0.15  # Half of the samples lie off the surface along its normal, at most this far to either side.
    spread: tuple[float, float] = (0.01, 0.3)  # The others scatter around the surface with log-uniform standard deviations between these.
    cube: float = 0.65  # Samples lie in the cube of this half-width: what a region covers in the field, and a margin.
    fewest_points: int = 12  # A region with fewer surface points is left out.
    disk_rank: int = 4  # A point of a scan stands for a disk that reaches to this neighbour.
    disks: int = 12  # The distance is taken from the disks of so many nearest points.
    rival: float = 1.5  # Disks less than this many times as far as the nearest one must agree about the side.
    beside: float = 0.5  # A sample may lie beside the nearest disk by this share of its height above it.
    sign_probe: float = 0.02  # Offset along the normal at which a closed surface must change sign.


REGION_SAMPLING = SamplingSettings()


@dataclass(frozen=True)
class RegionSamples:
    """R regions of one shape.

    points   (R, P, 3) float32 surface points, centre-relative, in s; rows from `counts` on are zero
    normals  (R, P, 3) float32 unit outward
    counts   (R,) int64 stored points
    queries  (R, S, 3) float32 where the field is sampled
    sdf      (R, S) float32 signed distance there, in s
    sizes    (R,) float32 region size s as a share of the shape's longest side
    """

    points: NDArray[np.float32]
    normals: NDArray[np.float32]
    counts: IntArray
    queries: NDArray[np.float32]
    sdf: NDArray[np.float32]
    sizes: NDArray[np.float32]


def region_sizes(count: int, finest: float, coarsest: float, rng: np.random.Generator) -> FloatArray:
    """(count,) region sizes, log-uniform and stratified between finest and coarsest."""
    share = (np.arange(count) + rng.random(count)) / count
    return finest * (coarsest / finest) ** share


def rows_among(chosen: NDArray[np.bool_], count: int, rng: np.random.Generator) -> IntArray:
    """(R, count) random column numbers, of those chosen (R, P) in each row; any where none is."""
    order = np.argsort(np.where(chosen, rng.random(chosen.shape), 2.0), axis=1)
    return np.take_along_axis(order, rng.integers(0, np.maximum(chosen.sum(1), 1)[:, None], (len(chosen), count)), axis=1)


def in_cube(points: FloatArray, counts: IntArray) -> NDArray[np.bool_]:
    """(R, P) which of the stored points (R, P, 3), in s, lie in the cube that is sampled.

    counts (R,): so many points of each row are filled.
    """
    filled = np.arange(points.shape[1]) < counts[:, None]
    return np.asarray(filled & (np.abs(points).max(2) < REGION_SAMPLING.cube))


def scatter_queries(points: FloatArray, counts: IntArray, samples: int, spread: tuple[float, float], rng: np.random.Generator) -> FloatArray:
    """(R, S, 3) query positions in the cube that is sampled.

    Three quarters lie around stored surface points, the rest uniformly in the cube. points (R, P, 3) in s, of which counts (R,) are filled;
    `spread` bounds the log-uniform offset from the surface.
    """
    regions = len(points)
    near = samples * 3 // 4
    seed = rows_among(in_cube(points, counts), near, rng)
    offset = np.exp(rng.uniform(np.log(spread[0]), np.log(spread[1]), (regions, near, 1)))
    around = np.take_along_axis(points, seed[..., None], axis=1) + offset * rng.normal(size=(regions, near, 3))
    uniform = rng.uniform(-REGION_SAMPLING.cube, REGION_SAMPLING.cube, (regions, samples - near, 3))
    return np.concatenate([np.clip(around, -REGION_SAMPLING.cube, REGION_SAMPLING.cube), uniform], axis=1)


def gather_surface(
    centers: FloatArray, size: float, points: FloatArray, normals: FloatArray, stored: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Points, normals (R, P, 3) and counts (R,) of random surface points around each centre.

    Up to `stored` points are taken within REGION_SAMPLING.stored_radius. centers (R, 3), points, normals (N, 3), size: in one unit; the
    points returned are relative to the centre and in s.
    """
    tree = cKDTree(points)
    most = np.arange(1, min(2 * stored, len(points)) + 1)  # a list of ranks keeps its axis, even where it is one
    distance, index = tree.query(centers, k=most, distance_upper_bound=REGION_SAMPLING.stored_radius * size)
    found = np.isfinite(distance)
    order = np.argsort(np.where(found, rng.random(found.shape), 2.0), axis=1)[:, :stored]
    index = np.take_along_axis(index, order, axis=1)
    counts = np.minimum(found.sum(1), order.shape[1])
    filled = np.arange(index.shape[1]) < counts[:, None]
    index = np.where(filled, index, 0)
    local = np.where(filled[..., None], (points[index] - centers[:, None]) / size, 0.0)
    directions = np.where(filled[..., None], normals[index], 0.0)
    short = stored - index.shape[1]
    if short > 0:
        pad = ((0, 0), (0, short), (0, 0))
        local, directions = np.pad(local, pad), np.pad(directions, pad)
    return local, directions, counts.astype(np.int64)


def closed_shape_regions(
    vertices: FloatArray, faces: IntArray, size: float, regions: int, stored: int, samples: int, rng: np.random.Generator
) -> RegionSamples:
    """Regions of one size on a closed mesh, with exact signed distances.

    Half of the samples lie off the surface along its normal, where the mesh will be; the others lie all around it. vertices (V, 3) with
    longest side 1, faces (F, 3); size is s. Regions whose surface does not separate inside from outside (walls inside a solid, overlapping
    parts) are left out: there the winding number and the surface disagree.
    """
    corners = vertices[faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    dense = int(np.clip(1.3 * stored * area / (np.pi * (REGION_SAMPLING.stored_radius * size) ** 2), 4 * stored, 3_000_000))
    points, normals = surface_points(vertices, faces, dense, rng)
    seeds = points[rng.integers(0, dense, regions)]
    centers = seeds + size * rng.uniform(-0.6, 0.6, seeds.shape)
    local, directions, counts = gather_surface(centers, size, points, normals, stored, rng)
    along = samples // 2
    seed = rows_among(in_cube(local, counts), along, rng)[..., None]
    offset = rng.uniform(-REGION_SAMPLING.along_normal, REGION_SAMPLING.along_normal, (regions, along, 1))
    off = np.take_along_axis(local, seed, 1) + np.take_along_axis(directions, seed, 1) * offset
    queries = np.concatenate([off, scatter_queries(local, counts, samples - along, REGION_SAMPLING.spread, rng)], axis=1)
    probes = (
        local[:, :4, None] + directions[:, :4, None] * np.array([REGION_SAMPLING.sign_probe, -REGION_SAMPLING.sign_probe])[None, None, :, None]
    )
    world = np.concatenate([queries, probes.reshape(regions, 8, 3)], axis=1) * size + centers[:, None]
    sdf = signed_distance(world.reshape(-1, 3), vertices, faces).reshape(regions, -1) / size
    outside, inside = sdf[:, samples::2], sdf[:, samples + 1 :: 2]
    sound = (
        (counts >= REGION_SAMPLING.fewest_points)
        & ((outside > 0) & (inside < 0)).any(1)
        & ((outside > 0).mean(1) > 0.7)
        & ((inside < 0).mean(1) > 0.7)
    )
    return pack(local, directions, counts, queries, sdf[:, :samples], size, sound)


def scan_regions(
    points: FloatArray, normals: FloatArray, size: float, regions: int, stored: int, samples: int, rng: np.random.Generator
) -> RegionSamples:
    """Regions of one size on a scan for which no closed mesh is known.

    points, normals (N, 3), longest side 1. The encoder is to see one half of the points, the loss the other half. Half of the samples lie
    off a held-out point, along its normal, by less than a quarter of the way to the nearest part of the surface that faces elsewhere; their
    signed distance is that offset. The others lie anywhere around the surface and take theirs from the held-out points as disks, unless
    these leave it open: then they are of the first kind too.
    """
    half = rng.permutation(len(points))
    seen, held = half[: len(half) // 2], half[len(half) // 2 :]
    centers = points[rng.choice(held, regions)] + size * rng.uniform(-0.6, 0.6, (regions, 3))
    local, directions, counts = gather_surface(centers, size, points[seen], normals[seen], stored, rng)
    truth, facing, known = gather_surface(centers, size, points[held], normals[held], samples * 4, rng)
    inside = in_cube(truth, known)
    seed = rows_among(inside, samples, rng)
    at, along = np.take_along_axis(truth, seed[..., None], 1), np.take_along_axis(facing, seed[..., None], 1)
    # the free way along the normal: distance to the nearest surface point that faces another way
    other = np.einsum("rsc,rpc->rsp", along, directions) < 0.3
    gap = np.linalg.norm(at[:, :, None] - local[:, None], axis=3)
    filled = (np.arange(local.shape[1]) < counts[:, None])[:, None]
    free = np.where(other & filled, gap, 1.0).min(2)
    sdf = rng.uniform(-1, 1, free.shape) * np.minimum(0.25 * free, REGION_SAMPLING.along_normal)
    queries = at + along * sdf[..., None]
    around = scatter_queries(truth, known, samples - samples // 2, REGION_SAMPLING.spread, rng)
    distance, sure = disk_distance((around * size + centers[:, None]).reshape(-1, 3), points[held], normals[held])
    sure = sure.reshape(regions, -1)
    queries[:, samples // 2 :][sure] = around[sure]
    sdf[:, samples // 2 :][sure] = distance.reshape(regions, -1)[sure] / size
    sound = (counts >= REGION_SAMPLING.fewest_points) & (inside.sum(1) >= REGION_SAMPLING.fewest_points // 2)
    return pack(local, directions, counts, queries, sdf, size, sound)


def disk_distance(queries: FloatArray, points: FloatArray, normals: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """(Q,) signed distance of queries (Q, 3) to the nearest disk, and (Q,) whether it is sure.

    Each point (N, 3) stands for a disk across its normal (N, 3), so large that the disks cover the gaps between points. The distance is
    sure where the other disks about as near agree about the side, and the nearest disk lies before the query rather than beside it. Far
    from the points of an open surface, and around its rim, nothing is sure.
    """
    tree = cKDTree(points)
    rank = min(REGION_SAMPLING.disk_rank, len(points) - 1)
    radius = tree.query(points, k=[rank + 1])[0][:, 0]
    near = tree.query(queries, k=np.arange(1, min(REGION_SAMPLING.disks, len(points)) + 1))[1]
    offset = queries[:, None] - points[near]
    height = np.einsum("qkc,qkc->qk", offset, normals[near])
    beside = np.sqrt(np.maximum(np.einsum("qkc,qkc->qk", offset, offset) - height**2, 0))
    beyond = np.maximum(beside - radius[near], 0)
    distance = np.hypot(height, beyond)
    rivals = (distance < REGION_SAMPLING.rival * distance[:, :1]) & (height * height[:, :1] < 0)
    sure = ~rivals.any(1) & (beyond <= REGION_SAMPLING.beside * np.abs(height))[:, 0]
    return np.copysign(distance, height)[:, 0], sure


def pack(
    points: FloatArray,
    normals: FloatArray,
    counts: IntArray,
    queries: FloatArray,
    sdf: FloatArray,
    size: float,
    sound: NDArray[np.bool_],
) -> RegionSamples:
    """The regions that are sound (R,) as float32, all of one size, a share of the shape's longest side.

    points, normals (R, P, 3), queries (R, S, 3), sdf (R, S), all in s; counts (R,).
    """
    single = np.float32
    return RegionSamples(
        points[sound].astype(single),
        normals[sound].astype(single),
        counts[sound],
        queries[sound].astype(single),
        sdf[sound].astype(single),
        np.full(int(sound.sum()), size, single),
    )
