"""Regions: a sparse lattice whose look-ups agree with plain searches."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import torch
from clouds import box
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapes import even_sphere_points, lattice_of, sphere_points

from lpdif.core.regions import (
    HALO,
    LEAST_POINTS,
    REGION,
    SUPPORT,
    between_points,
    covering_pairs,
    gather_points,
    nearest_in_order,
    region_lattices,
    region_support,
)
from lpdif.lattice_keys import HALF, pack_keys, unpack_keys

FloatArray = NDArray[np.float64]


def cloud(count: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3))


def test_keys_are_reversible_and_ordered() -> None:
    corners = np.random.default_rng(0).integers(-HALF, HALF, (1000, 3))
    corners[:4] = [[-HALF, -HALF, -HALF], [HALF - 1, HALF - 1, HALF - 1], [0, 0, 0], [-1, 0, -1]]
    keys = pack_keys(corners)
    np.testing.assert_array_equal(unpack_keys(keys), corners)
    order = np.argsort(keys)
    assert [tuple(c) for c in corners[order]] == sorted(map(tuple, corners))
    assert unpack_keys(pack_keys(corners.reshape(10, 100, 3))).shape == (10, 100, 3)


@pytest.mark.parametrize("points", [1, 2, 40])
@pytest.mark.parametrize("levels", [1, 3])
def test_lattices_agree_with_one_point_at_a_time(points: int, levels: int) -> None:
    place = cloud(points)
    level = np.random.default_rng(1).integers(0, levels, points)
    found = region_lattices(place, 0.17, level)
    expected = naive.region_corners(place, 0.17, level)
    assert [lattice.size for lattice in found] == pytest.approx(list(expected))
    first = 0
    for lattice, corners in zip(found, expected.values(), strict=True):
        assert [tuple(c) for c in lattice.corners.tolist()] == corners
        assert lattice.first == first
        first += len(lattice.keys)


@pytest.mark.parametrize("regions", [0, 1, 30])
def test_regions_are_found_by_their_corner(regions: int) -> None:
    corners = sorted({tuple(c) for c in np.random.default_rng(0).integers(-3, 4, (regions, 3)).tolist()})
    lattice = lattice_of(corners, 0.5, first=7)
    everywhere = np.stack(np.meshgrid(*[np.arange(-5, 6)] * 3, indexing="ij"), -1)
    found = lattice.find(everywhere)
    assert found.shape == (11, 11, 11)
    for corner, number in zip(everywhere.reshape(-1, 3).tolist(), found.ravel().tolist(), strict=True):
        assert number == (corners.index(tuple(corner)) + 7 if tuple(corner) in corners else -1)
    low, high = np.array([-2, -1, -4]), np.array([3, -1, 2])
    np.testing.assert_array_equal(lattice.window(low, high), found[3:9, 4:5, 1:8])


@pytest.mark.parametrize("points", [1, 2, 60])
@pytest.mark.parametrize("regions", [0, 1, 9])
@pytest.mark.parametrize("most", [1, 5, 100])
@pytest.mark.parametrize("halo", [0.01, 1.5])
def test_gathered_points_agree_with_brute_force(points: int, regions: int, most: int, halo: float) -> None:
    place, normals = sphere_points(points)
    centers = cloud(regions, 3)
    found = gather_points(cKDTree(place), place, normals, centers, 0.4, halo, most)
    expected = naive.gather_points(place, normals, centers, halo * 0.4, most)
    assert found.points.shape == (regions, max([1, *map(len, expected)]), 3)
    for r, numbers in enumerate(expected):
        count = len(numbers)
        assert found.mask[r].tolist() == [True] * count + [False] * (found.mask.shape[1] - count)
        np.testing.assert_allclose(found.points[r, :count], (place[numbers] - centers[r]) / 0.4, atol=1e-6)
        np.testing.assert_allclose(found.normals[r, :count], normals[numbers], atol=1e-6)
        assert not found.points[r, count:].any()
        assert not found.normals[r, count:].any()


@pytest.mark.parametrize("count", [1, 4, 30, 200])
@pytest.mark.parametrize("within", [1.5, 3.5])
def test_points_at_one_distance_come_in_their_order(count: int, within: float) -> None:
    """Whatever else a search tree holds: on a grid nearly all points have others at the same distance."""
    grid = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3).astype(float)
    points = grid[np.random.default_rng(0).permutation(len(grid))]
    centers = np.array([[0.0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0.5], [1, 1, 0.5]])
    near = np.linalg.norm(points, axis=1) < 6
    for kept in (np.full(len(points), True), near):
        number = np.flatnonzero(kept)
        distance, index = nearest_in_order(cKDTree(points[kept]), centers, count, within)
        assert distance.shape == index.shape == (4, count)
        for row, center in enumerate(centers):
            away = ((points - center) ** 2).sum(1)
            expected = [i for i in sorted(range(len(points)), key=lambda i: (away[i], i)) if away[i] < within**2][:count]
            there = np.isfinite(distance[row])
            assert number[index[row, there]].tolist() == expected
            np.testing.assert_allclose(distance[row, there] ** 2, away[expected])


@pytest.mark.parametrize("queries", [0, 1, 50])
@pytest.mark.parametrize("regions", [1, 12])
def test_pairs_agree_with_a_loop_over_queries_and_regions(queries: int, regions: int) -> None:
    corners = sorted({tuple(c) for c in np.random.default_rng(1).integers(-2, 3, (regions, 3)).tolist()})
    lattice = lattice_of(corners, 0.4, first=5)
    place = cloud(queries)
    place[::7] = np.round(place[::7] / 0.4) * 0.4  # some on corners
    expected = naive.covering_pairs(place, lattice)
    low, high = np.array([-4, -4, -4]), np.array([4, 4, 4])
    for found in (covering_pairs(place, lattice), covering_pairs(place, lattice, lattice.window(low, high), low)):
        pairs = dict(zip(zip(found.query.tolist(), found.region.tolist(), strict=True), found.weight.tolist(), strict=True))
        assert len(pairs) == len(found.query)
        for pair in pairs.keys() | expected.keys():
            assert pairs.get(pair, 0.0) == pytest.approx(expected.get(pair, 0.0), rel=1e-4, abs=1e-6)


def test_a_window_gives_the_very_same_pairs() -> None:
    lattice = region_lattices(cloud(40), 0.3, np.zeros(40, np.int64))[0]
    place = cloud(200, 5)
    low, high = np.floor(place.min(0) / 0.3).astype(np.int64), np.floor(place.max(0) / 0.3).astype(np.int64) + 1
    for one, other in zip(covering_pairs(place, lattice), covering_pairs(place, lattice, lattice.window(low, high), low), strict=True):
        np.testing.assert_array_equal(one, other)


def test_about_two_regions_cover_a_point_and_none_is_left_alone() -> None:
    """Inside a full lattice, where no region is missing."""
    corners = [tuple(c) for c in np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3), -1).reshape(-1, 3).tolist()]
    pairs = covering_pairs(cloud(4000), lattice_of(corners, 0.5))
    cover = np.bincount(pairs.query, minlength=4000)
    assert cover.min() >= 1
    assert cover.mean() == pytest.approx((2 * SUPPORT) ** 3, rel=0.05)
    assert np.bincount(pairs.query, pairs.weight).min() > 1e-2


def test_weights_are_one_at_the_centre_and_smooth_at_the_border() -> None:
    lattice = lattice_of([(0, 0, 0)], 1.0)
    along = np.linspace(0, 1, 2001)[:, None] * [1.0, 0, 0]
    weight = np.zeros(2001)
    pairs = covering_pairs(along, lattice)
    weight[pairs.query] = pairs.weight
    assert weight[0] == 1
    assert (np.diff(weight) <= 0).all()
    assert (weight[along[:, 0] >= SUPPORT] == 0).all()
    assert np.abs(np.diff(weight)).max() < 2.6 / 2000
    assert weight[int(SUPPORT * 2000) - 2] < 1e-4


def test_every_point_is_covered_by_its_own_regions() -> None:
    points = even_sphere_points(500)[0]
    for lattice in region_lattices(points, 0.11, np.zeros(500, np.int64)):
        assert set(covering_pairs(points, lattice).query.tolist()) == set(range(500))


@pytest.mark.parametrize("points", [0, 1, 30])
def test_places_between_points_lie_around_them_in_the_tangent_plane(points: int) -> None:
    place, normals = sphere_points(points)
    if points:
        normals[0] = [0.0, 0.0, 1.0]
    distance = np.linspace(0.1, 0.5, points)
    found = between_points(place, normals, distance)
    assert found.shape == (8 * points, 3)
    for n in range(points):
        offsets = found.reshape(8, points, 3)[:, n] - place[n]
        np.testing.assert_allclose(np.linalg.norm(offsets, axis=1), distance[n])
        np.testing.assert_allclose(offsets @ normals[n], 0, atol=1e-12)
        np.testing.assert_allclose(np.linalg.norm(offsets - np.roll(offsets, 1, 0), axis=1), 2 * distance[n] * np.sin(np.pi / 8))


@pytest.mark.parametrize("regions", [1, 2, 40])
@pytest.mark.parametrize("most", [1, 5, 30])
def test_support_agrees_with_one_region_at_a_time(regions: int, most: int) -> None:
    generator = torch.Generator().manual_seed(regions)
    mask = torch.arange(most) < torch.randint(0, most + 1, (regions, 1), generator=generator)
    origin = torch.randn((regions, 3), generator=generator)
    expected = [naive.region_support(int(m.sum()), o.tolist()) for m, o in zip(mask, origin, strict=True)]
    np.testing.assert_allclose(region_support(mask, origin).numpy(), expected, atol=1e-6)


def test_support_counts_points_all_around_in_full_and_points_to_one_side_hardly() -> None:
    full = torch.ones(1, REGION.full_support, dtype=torch.bool)
    assert float(region_support(full, torch.tensor([[0.5, 0.5, 0.5]]))) == 1
    assert float(region_support(full, torch.tensor([[1.0, 1.0, 0.0]]))) == pytest.approx(REGION.least_support)


def test_a_region_just_beyond_a_corner_knows_all_three_sides() -> None:
    """Within the halo it sees points of one or two; it would carry their edge on, where it alone decides."""
    solid = box(7680)
    unit = 1.4 * solid.spacing
    center = np.array([[0.5, 0.5, 0.5 + 1.3 * unit]])
    distance = np.linalg.norm(solid.points - center, axis=1)
    inside = distance < HALO * unit
    assert 0 < inside.sum() < LEAST_POINTS
    assert np.abs(solid.normals[inside]).max(axis=0).min() == 0
    found = gather_points(cKDTree(solid.points), solid.points, solid.normals, center, unit, HALO, 64)
    assert inside.sum() < found.mask.sum() <= LEAST_POINTS
    assert np.abs(found.normals[0]).max(axis=0).tolist() == [1, 1, 1]


def test_a_region_beside_a_thin_plate_sees_nothing_of_its_back() -> None:
    plate = box(7680, (1.0, 1.0, 0.05))
    unit = 1.4 * plate.spacing
    middle = np.abs(plate.points[:, :2]).max(axis=1) < 0.3
    points, normals = plate.points[middle], plate.normals[middle]
    found = gather_points(cKDTree(points), points, normals, np.array([[0.0, 0.0, 0.025 + 1.2 * unit]]), unit, HALO, 64)
    assert 0 < found.mask.sum() < LEAST_POINTS
    assert (found.normals[0, found.mask[0], 2] == 1).all()
