"""Training samples: points on the surface, distances that are true, and no region where inside and outside cannot be told."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapes import sphere_points, unit_shape

from lpdif.arrays import unit_rows
from lpdif.geometry import signed_distance, surface_points
from lpdif.stages.region_samples import (
    REGION_SAMPLING,
    closed_shape_regions,
    disk_distance,
    gather_surface,
    region_sizes,
    rows_among,
    scan_regions,
    scatter_queries,
)

FloatArray = NDArray[np.float64]
BALL = unit_shape(trimesh.creation.icosphere(subdivisions=5))
BOX = unit_shape(trimesh.creation.box((1.0, 0.6, 0.4)))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def sphere_center(points: FloatArray, normals: FloatArray, size: float) -> FloatArray:
    """Centre c of the region whose points, in s, lie on the sphere of radius 1/2 with these normals: s p + c = n / 2."""
    return np.asarray((0.5 * normals - size * points).mean(0))


def test_surface_points_lie_on_the_surface_evenly() -> None:
    vertices, faces = BOX
    points, normals = surface_points(vertices, faces, 20_000, rng())
    half = np.array([0.5, 0.3, 0.2])
    on_side = np.abs(np.abs(points) - half) < 1e-12
    assert on_side.any(1).all()
    assert (np.abs(points) <= half + 1e-12).all()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    np.testing.assert_allclose(np.abs((points * normals).sum(1)), np.abs(normals) @ half)  # outward, axis by axis
    assert ((points * normals).sum(1) > 0).all()
    areas = np.array([half[1] * half[2], half[0] * half[2], half[0] * half[1]])
    np.testing.assert_allclose(np.abs(normals).mean(0), areas / areas.sum(), atol=0.01)
    assert np.abs(points[:, :2].mean(0)).max() < 0.02


@pytest.mark.parametrize("count", [1, 2, 100])
def test_as_many_points_as_wanted(count: int) -> None:
    points, normals = surface_points(*BALL, count, rng())
    assert points.shape == normals.shape == (count, 3)


def test_zero_vectors_stay_zero() -> None:
    np.testing.assert_array_equal(unit_rows(np.array([[0.0, 0, 0], [0, -3, 0]])), [[0, 0, 0], [0, -1, 0]])


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_signed_distance_to_a_box_is_exact(count: int) -> None:
    queries = rng().uniform(-0.8, 0.8, (count, 3))
    over = np.abs(queries) - [0.5, 0.3, 0.2]
    expected = np.linalg.norm(np.maximum(over, 0), axis=1) + np.minimum(over.max(1), 0)
    np.testing.assert_allclose(signed_distance(queries, *BOX), expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 12])
def test_region_sizes_are_spread_between_their_bounds(count: int) -> None:
    sizes = region_sizes(count, 1 / 128, 1 / 8, rng())
    assert sizes.shape == (count,)
    assert (np.diff(sizes) > 0).all()
    edges = 1 / 128 * 16 ** (np.arange(count + 1) / count)
    assert ((edges[:-1] <= sizes) & (sizes <= edges[1:])).all()


@pytest.mark.parametrize("points", [1, 5, 300])
@pytest.mark.parametrize("regions", [1, 7])
@pytest.mark.parametrize("stored", [1, 4, 40])
def test_gathered_points_are_those_within_reach(points: int, regions: int, stored: int) -> None:
    surface, normals = sphere_points(points, 0.5)
    centers = surface[rng(1).integers(0, points, regions)] + 0.02
    size = 0.1
    local, directions, counts = gather_surface(centers, size, surface, normals, stored, rng())
    assert local.shape == directions.shape == (regions, stored, 3)
    for r, center in enumerate(centers):
        distance = np.linalg.norm(surface - center, axis=1)
        within = np.nonzero(distance < REGION_SAMPLING.stored_radius * size)[0]
        candidates = within[np.argsort(distance[within])][: 2 * stored]
        assert counts[r] == min(stored, len(candidates))
        world = local[r, : counts[r]] * size + center
        found = cKDTree(surface).query(world)[1]
        np.testing.assert_allclose(surface[found], world, atol=1e-12)
        np.testing.assert_allclose(normals[found], directions[r, : counts[r]])
        assert len(set(found)) == counts[r]
        assert set(found) <= set(candidates)
        assert not local[r, counts[r] :].any()
        assert not directions[r, counts[r] :].any()


@pytest.mark.parametrize("samples", [1, 4, 48])
@pytest.mark.parametrize("filled", [0, 1, 50])
def test_queries_stay_in_the_cube_and_gather_around_the_surface(samples: int, filled: int) -> None:
    points = rng().uniform(-0.5, 0.5, (6, 60, 3))
    points[:, filled:] = 0
    counts = np.full(6, filled)
    queries = scatter_queries(points, counts, samples, (1e-9, 1e-8), rng(1))
    assert queries.shape == (6, samples, 3)
    assert np.abs(queries).max() <= REGION_SAMPLING.cube
    if filled:
        near = queries[:, : samples * 3 // 4]
        for r in range(6):
            distance = np.linalg.norm(near[r][:, None] - points[r, None, :filled], axis=2).min(1, initial=np.inf)
            assert (distance < 1e-6).all()


@pytest.mark.parametrize("size", [0.05, 0.15])
def test_distances_on_a_ball_are_true(size: float) -> None:
    found = closed_shape_regions(*BALL, size, 20, 64, 24, rng())
    assert len(found.counts) == 20
    for r in range(20):
        points = found.points[r, : found.counts[r]].astype(np.float64)
        center = sphere_center(points, found.normals[r, : found.counts[r]], size)
        assert np.abs(np.linalg.norm(points * size + center, axis=1) - 0.5).max() < 2e-3  # the facets of the ball
        assert np.abs(points).max() <= REGION_SAMPLING.stored_radius
        outward = ((points * size + center) * found.normals[r, : found.counts[r]]).sum(1)
        assert (outward > 0.49).all()
        expected = (np.linalg.norm(found.queries[r] * size + center, axis=1) - 0.5) / size
        np.testing.assert_allclose(found.sdf[r], expected, atol=2e-3 / size)
    assert (found.sdf < 0).any()
    assert (found.sdf > 0).any()
    assert np.median(np.abs(found.sdf)) < 0.25
    np.testing.assert_array_equal(found.sizes, np.full(20, size, np.float32))


def test_types_and_padding() -> None:
    found = closed_shape_regions(*BOX, 0.1, 9, 50, 16, rng())
    assert {a.dtype for a in (found.points, found.normals, found.queries, found.sdf, found.sizes)} == {np.dtype(np.float32)}
    assert found.points.shape[1:] == found.normals.shape[1:] == (50, 3)
    assert found.queries.shape[1:] == (16, 3)
    empty = np.arange(50) >= found.counts[:, None]
    assert not found.points[empty].any()
    assert (found.counts >= REGION_SAMPLING.fewest_points).all()


def test_same_generator_same_samples() -> None:
    one, other = (closed_shape_regions(*BOX, 0.1, 6, 40, 8, rng(3)) for _ in range(2))
    for name in ("points", "normals", "counts", "queries", "sdf"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_walls_inside_a_solid_are_left_out() -> None:
    """A closed box around another one that faces the same way: the inner walls have the solid on both sides."""
    inner = trimesh.creation.box((0.5, 0.5, 0.5))
    outer = trimesh.creation.box((1.0, 1.0, 1.0))
    vertices, faces = unit_shape(trimesh.util.concatenate([outer, inner]))
    found = closed_shape_regions(vertices, faces, 0.06, 300, 40, 8, rng())
    share = inner.area / (inner.area + outer.area)
    assert len(found.counts) == pytest.approx(300 * (1 - share), rel=0.15)
    hollow = trimesh.util.concatenate([outer, trimesh.Trimesh(inner.vertices, inner.faces[:, ::-1], process=False)])
    assert len(closed_shape_regions(*unit_shape(hollow), 0.06, 300, 40, 8, rng()).counts) == 300


def test_a_mesh_inside_out_gives_nothing() -> None:
    vertices, faces = BALL
    assert len(closed_shape_regions(vertices, faces[:, ::-1], 0.1, 10, 40, 8, rng()).counts) == 0


@pytest.mark.parametrize("size", [0.1, 0.2])
def test_samples_of_a_scan_lie_off_held_out_points_along_their_normals(size: float) -> None:
    points, normals = sphere_points(8000, 0.5)
    found = scan_regions(points, normals, size, 30, 48, 12, rng())
    assert len(found.counts) > 20
    for r in range(len(found.counts)):
        seen = found.points[r, : found.counts[r]].astype(np.float64)
        center = sphere_center(seen, found.normals[r, : found.counts[r]], size)
        radius = np.linalg.norm(found.queries[r] * size + center, axis=1)
        half = len(radius) // 2
        np.testing.assert_allclose((radius[:half] - 0.5) / size, found.sdf[r, :half], atol=1e-4)
        np.testing.assert_allclose((radius - 0.5) / size, found.sdf[r], atol=0.02)  # the others from disks
        foot = (found.queries[r] * size + center) / radius[:, None] * 0.5
        to_seen = cKDTree(seen * size + center).query(foot[:half])[0]
        assert (to_seen > 1e-6).all()  # the loss does not see what the encoder sees
    assert np.abs(found.sdf[:, :half]).max() <= 0.15
    assert np.abs(found.sdf).max() > 0.3  # the free space around the surface is learned too


def test_samples_of_a_thin_sheet_stay_on_their_side() -> None:
    """Two faces 0.1 region sizes apart: a sample goes less than a quarter of the way to the other."""
    xy = rng().uniform(-0.5, 0.5, (20_000, 2))
    top = rng(1).random(20_000) < 0.5
    size, thick = 0.1, 0.01
    points = np.column_stack([xy, np.where(top, thick / 2, -thick / 2)])
    normals = np.column_stack([np.zeros((20_000, 2)), np.where(top, 1.0, -1.0)])
    found = scan_regions(points, normals, size, 20, 128, 64, rng())
    half = 32
    assert len(found.counts) > 10
    shares = []
    for r in range(len(found.counts)):
        seen, up = found.points[r, : found.counts[r]], found.normals[r, : found.counts[r], 2]
        highest = seen[up > 0, 2].mean()
        queries, sdf = found.queries[r, :half], found.sdf[r, :half]
        above = np.abs(queries[:, 2] - sdf - highest) < 1e-4  # samples of the upper face
        foot = queries - np.where(above, 1, -1)[:, None] * sdf[:, None] * [0, 0, 1]
        np.testing.assert_allclose(foot[~above, 2], highest - thick / size, atol=1e-4)
        for side in (1, -1):
            gap = cKDTree(seen[up == -side]).query(foot[above == (side > 0)])[0]
            shares.extend(np.abs(sdf[above == (side > 0)]) / gap)
    assert 0.2 < max(shares) < 0.25 + 1e-4


@pytest.mark.parametrize("count", [1, 3, 40, 400])
@pytest.mark.parametrize("queries", [1, 50])
def test_disks_are_as_the_slow_twin_has_them(count: int, queries: int) -> None:
    points, normals = rng(1).uniform(-1, 1, (count, 3)), unit_rows(rng(2).normal(size=(count, 3)))
    asked = rng(3).uniform(-1.5, 1.5, (queries, 3))
    distance, sure = disk_distance(asked, points, normals)
    wanted = [naive.disk_distance(query, points, normals) for query in asked]
    np.testing.assert_allclose(distance, [one for one, _ in wanted], atol=1e-12)
    assert sure.tolist() == [one for _, one in wanted]


def test_disks_of_a_plane_say_its_height_and_nothing_beside_it() -> None:
    points = np.column_stack([rng().uniform(-1, 1, (4000, 2)), np.zeros(4000)])
    asked = rng(1).uniform(-2, 2, (4000, 3)) * [1, 1, 0.2]
    distance, sure = disk_distance(asked, points, np.tile([0.0, 0.0, 1.0], (4000, 1)))
    within, beyond = np.abs(asked[:, :2]).max(1) < 0.9, np.abs(asked[:, :2]).max(1) > 1.4
    assert sure[within].mean() > 0.99
    np.testing.assert_allclose(distance[sure & within], asked[sure & within, 2], atol=0.02)
    assert not sure[beyond].any()


def test_disks_of_a_box_are_sure_of_the_right_side() -> None:
    points, normals = surface_points(*BOX, 20_000, rng())
    asked = rng(1).uniform(-0.6, 0.6, (5000, 3))
    distance, sure = disk_distance(asked, points, normals)
    true = signed_distance(asked, *BOX)
    assert sure.mean() > 0.6
    clear = sure & (np.abs(true) > 0.01)
    assert (np.sign(distance) == np.sign(true))[clear].mean() > 0.995
    assert np.abs(distance - true)[clear].mean() < 0.005


def test_too_few_points_give_no_region() -> None:
    points, normals = sphere_points(REGION_SAMPLING.fewest_points, 0.5)
    assert len(scan_regions(points, normals, 0.1, 5, 16, 8, rng()).counts) == 0


def test_half_of_the_samples_of_a_solid_lie_off_its_surface_along_the_normals() -> None:
    found = closed_shape_regions(*BALL, 0.1, 40, 48, 20, rng())
    near, around = np.abs(found.sdf[:, :10]), np.abs(found.sdf[:, 10:])
    assert near.max() < REGION_SAMPLING.along_normal + 0.01
    assert 0.4 * REGION_SAMPLING.along_normal < near.mean() < 0.6 * REGION_SAMPLING.along_normal  # even
    assert around.max() > 2 * REGION_SAMPLING.along_normal


@pytest.mark.parametrize("count", [1, 7])
def test_random_rows_are_of_those_chosen(count: int) -> None:
    chosen = rng().random((50, 9)) < 0.4
    rows = rows_among(chosen, count, rng(1))
    assert rows.shape == (50, count)
    some = chosen.any(1)
    assert np.take_along_axis(chosen, rows, 1)[some].all()
    assert ((rows >= 0) & (rows < 9)).all()
