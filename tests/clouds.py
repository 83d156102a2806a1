"""Clouds of points on surfaces known exactly: positions and outward unit normals, in spatial order."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from shapes import rotation, sphere_points

from lpdif.points.cloud import Cloud
from lpdif.points.neighbours import nearest, search_tree
from lpdif.points.spacing import local_spacing, typical_spacing

FloatArray = NDArray[np.float64]


class Samples(NamedTuple):
    """points (N, 3), unit normals (N, 3) out of the solid, and the area of the whole surface."""

    points: FloatArray
    normals: FloatArray
    area: float

    @property
    def spacing(self) -> float:
        """Square root of the area per point."""
        return float(np.sqrt(self.area / len(self.points)))


def ordered(points: FloatArray, normals: FloatArray, area: float) -> Samples:
    order = search_tree(points).indices
    return Samples(points[order], normals[order], area)


def joined(*parts: Samples) -> Samples:
    return ordered(np.concatenate([p.points for p in parts]), np.concatenate([p.normals for p in parts]), sum(p.area for p in parts))


def shifted(samples: Samples, shift: tuple[float, float, float]) -> Samples:
    return samples._replace(points=samples.points + np.array(shift))


def turned(samples: Samples, seed: int) -> Samples:
    turn = rotation(seed)
    return samples._replace(points=samples.points @ turn.T, normals=samples.normals @ turn.T)


def noisy(samples: Samples, sigma: float, seed: int = 1) -> Samples:
    """With normal noise of this standard deviation along every axis."""
    return samples._replace(points=samples.points + sigma * np.random.default_rng(seed).normal(size=samples.points.shape))


def sphere(count: int, radius: float = 1.0, seed: int = 0) -> Samples:
    return ordered(*sphere_points(count, radius, seed), 4 * np.pi * radius**2)


def hemisphere(count: int, seed: int = 0) -> Samples:
    """The upper half of the unit sphere, without a floor."""
    normals = sphere_points(count, seed=seed)[1]
    normals[:, 2] = np.abs(normals[:, 2])
    return ordered(normals.copy(), normals, 2 * np.pi)


def plane(count: int, seed: int = 0) -> Samples:
    """The square from -1 to 1 at height 0."""
    points = np.random.default_rng(seed).uniform(-1, 1, (count, 3)) * [1, 1, 0]
    return ordered(points, np.tile([0.0, 0.0, 1.0], (count, 1)), 4.0)


def torus(count: int, major: float = 1.0, minor: float = 0.4, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    small, large = rng.uniform(0, 2 * np.pi, (2, 4 * count))
    kept = rng.random(4 * count) < (major + minor * np.cos(small)) / (major + minor)
    small, large = small[kept][:count], large[kept][:count]
    normals = np.column_stack([np.cos(small) * np.cos(large), np.cos(small) * np.sin(large), np.sin(small)])
    ring = np.column_stack([np.cos(large), np.sin(large), np.zeros(len(large))])
    return ordered(major * ring + minor * normals, normals, 4 * np.pi**2 * major * minor)


def box(count: int, size: tuple[float, float, float] = (1.0, 1.0, 1.0), seed: int = 0) -> Samples:
    """The surface of a box around the origin."""
    rng = np.random.default_rng(seed)
    areas = np.repeat([size[1] * size[2], size[0] * size[2], size[0] * size[1]], 2)
    face = rng.choice(6, count, p=areas / areas.sum())
    points, normals, rows = rng.uniform(-0.5, 0.5, (count, 3)), np.zeros((count, 3)), np.arange(count)
    normals[rows, face // 2] = 1.0 - 2.0 * (face % 2)
    points[rows, face // 2] = normals[rows, face // 2] / 2
    return ordered(points * size, normals, float(areas.sum()))


def shell(count: int, inner: float = 0.6, seed: int = 0) -> Samples:
    """A ball of radius 1 with a hollow: the normals of the hollow point to its middle."""
    share = 1 / (1 + inner**2)
    hollow = sphere(count - int(share * count), inner, seed + 1)
    return joined(sphere(int(share * count), 1.0, seed), hollow._replace(normals=-hollow.normals))


def room_with_things(count: int = 3, points: int = 9000, door: bool = False) -> Samples:
    """A closed room of 4 by 3 by 2.5, its normals inward, and boxes on its floor, seen from within."""
    room = box(points, (4.0, 3.0, 2.5))
    open_door = door & (room.normals[:, 0] > 0.5) & (np.abs(room.points[:, 1]) < 0.4) & (room.points[:, 2] < 0.8)
    room = Samples(room.points[~open_door], -room.normals[~open_door], room.area)
    things = [shifted(box(900, (0.5, 0.5, 0.8), i), (1.2 * (i - 1), 1.0 * (-1) ** i, -0.85)) for i in range(count)]
    seen = [thing.normals[:, 2] > -0.5 for thing in things]
    return joined(room, *(Samples(t.points[s], t.normals[s], t.area) for t, s in zip(things, seen, strict=True)))


def two_balls(count: int, seed: int = 0) -> Samples:
    return joined(sphere(count // 2, 1.0, seed), shifted(sphere(count // 2, 1.0, seed + 1), (3.0, 0.5, 0.0)))


def town(seed: int = 0) -> Samples:
    """Ground of 20 by 20 with eight houses on it, none below them."""
    rng = np.random.default_rng(seed)
    ground = plane(16_000, seed)
    ground = ground._replace(points=ground.points * 10)
    open_ground, parts = np.ones(len(ground.points), bool), []
    for place in rng.permutation([(i, j) for i in range(3) for j in range(3)])[:8]:
        house = shifted(box(1200, (2.0, 2.0, 3.0), seed), (6.0 * place[0] - 6, 6.0 * place[1] - 6, 1.5))
        seen = house.points[:, 2] > 0.01
        parts.append(house._replace(points=house.points[seen], normals=house.normals[seen]))
        open_ground &= (np.abs(ground.points - house.points.mean(axis=0))[:, :2] > 1.0).any(axis=1)
    return joined(ground._replace(points=ground.points[open_ground], normals=ground.normals[open_ground]), *parts)


def panorama(rings: int = 64, steps: int = 240, walls: float = 6.0, roof: bool = False, seed: int = 0) -> FloatArray:
    """Points (N, 3) that a scanner at the origin measures all around it, at even steps of angle, with some noise.

    It stands in a street between two walls, or in a room with a roof, with three pillars on the ground.
    """
    rng = np.random.default_rng(seed)
    turn, rise = np.meshgrid(np.arange(steps) / steps * 2 * np.pi, np.radians(np.linspace(-80, 80 if roof else 30, rings)))
    ray = np.stack([np.cos(rise) * np.cos(turn), np.cos(rise) * np.sin(turn), np.sin(rise)], -1).reshape(-1, 3)
    ahead = np.abs(ray) + 1e-12
    hits = [walls / ahead[:, 1], np.where(ray[:, 2] < 0, 1.8 / ahead[:, 2], 2.0 / ahead[:, 2] if roof else np.inf)]
    hits += [4.0 / ahead[:, 0]] if roof else []
    for x, y in ((2.5, 1.0), (-2.0, -2.0), (0.5, 3.0)):
        across, along = ray[:, 0] * y - ray[:, 1] * x, ray[:, 0] * x + ray[:, 1] * y
        flat = (ray[:, :2] ** 2).sum(axis=1)
        under = flat * 0.3**2 - across**2
        hits.append(np.where((under > 0) & (along > 0), (along - np.sqrt(np.maximum(under, 0))) / flat, np.inf))
    distance = np.min(hits, axis=0)
    seen = distance < 30
    return np.asarray(ray[seen] * (distance[seen] + 0.005 * rng.normal(size=seen.sum()))[:, None])


def grid_of_angles(radius: Callable[[FloatArray, FloatArray], FloatArray], count: int = 30) -> FloatArray:
    """Points (N, 3) of a star-shaped body on even steps of latitude and longitude, at radius(latitude, longitude)."""
    latitude, longitude = np.meshgrid(((np.arange(count) + 0.5) / count - 0.5) * np.pi, np.arange(2 * count) / count * np.pi)
    ray = np.stack([np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1)
    return np.asarray((radius(latitude, longitude)[..., None] * ray).reshape(-1, 3))


def surroundings(samples: Samples, noise: float = 0.0) -> Cloud:
    """What preparation knows of a clean cloud before it looks for normals."""
    near = nearest(search_tree(samples.points), samples.points, 12)
    local = local_spacing(near.reach, near.indices.shape[1], noise)
    return Cloud(
        points=samples.points,
        origin=np.zeros(3),
        unit=1.0,
        kept=np.arange(len(local)),
        normals=np.zeros_like(samples.points),
        usable=np.zeros(len(local), np.bool_),
        near=near,
        spacing=typical_spacing(local, near.indices.shape[1]),
        local_spacing=local,
        noise=noise,
        local_noise=np.full(len(local), noise),
    )


def random_signs(count: int, seed: int = 0) -> FloatArray:
    return np.where(np.random.default_rng(seed).random(count) < 0.5, -1.0, 1.0)


def pairs_of(count: int, k: int = 6, seed: int = 0) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Random places with random axes, and nearest neighbours."""
    rng = np.random.default_rng(seed)
    points, axes = rng.normal(size=(2, count, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return points, axes, nearest(search_tree(points), points, k).indices


def degrees(one: FloatArray, other: FloatArray) -> FloatArray:
    """(N,) angles between rows of unit vectors."""
    return np.asarray(np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(one - other, axis=1) / 2, 0, 1))))


def axis_degrees(one: FloatArray, other: FloatArray) -> FloatArray:
    """(N,) angles between lines along rows of unit vectors."""
    angle = degrees(one, other)
    return np.minimum(angle, 180 - angle)
