"""Signs from neighbour to neighbour: agreement, spanning trees, majorities, components and walls agree with slow twins."""

from __future__ import annotations

import naive_preparation as naive
import numpy as np
import pytest
from clouds import box, pairs_of, random_signs, sphere, surroundings, torus
from shapes import rotation

from lpdif.points.orientation.propagation import (
    PROPAGATION,
    agreement,
    all_agreements,
    components_of,
    follow_neighbours,
    inconsistent_components,
    mirror_reach,
    neighbour_consistency,
    spanning_signs,
    sparseness,
    wall_separations,
)


def test_reach_grows_with_spacing_and_noise() -> None:
    assert mirror_reach(2.0, np.array([0.0, 0.5])) == pytest.approx([0.6, np.hypot(0.6, 1.5)])
    assert mirror_reach(0.0, np.array([0.5])) == pytest.approx([1.5])


@pytest.mark.parametrize("angle", [0.01, 1.0, np.pi / 2, 3.0, np.pi])
def test_axes_on_an_arc_agree_wholly(angle: float) -> None:
    """However sharply it turns: up to the two faces of a sheet."""
    start = np.array([1.0, 0.0, 0.0])
    end = np.array([np.cos(angle), np.sin(angle), 0.0])
    points = np.stack([start, end]) @ rotation(1).T
    assert agreement(points, points, np.array([0]), np.array([1]), np.full(2, 0.0))[0] == pytest.approx(1)
    assert agreement(points, points * [[1], [-1]], np.array([0]), np.array([1]), np.full(2, 0.0))[0] == pytest.approx(-1)
    straight = float(start @ end)
    assert agreement(points, points, np.array([0]), np.array([1]), np.full(2, 1e6))[0] == pytest.approx(straight, abs=1e-9)


@pytest.mark.parametrize("count", [2, 9, 80])
@pytest.mark.parametrize("k", [1, 6])
@pytest.mark.parametrize("reach", [0.0, 0.7])
def test_agreements_agree_with_one_pair_at_a_time(count: int, k: int, reach: float) -> None:
    points, axes, indices = pairs_of(count, k)
    each = reach * np.linspace(1, 2, count)
    found = all_agreements(points, axes, indices, each)
    assert found.dtype == np.float32
    for i, near in enumerate(indices):
        for place, j in enumerate(near):
            both = np.sqrt((each[i] ** 2 + each[j] ** 2) / 2)
            assert found[i, place] == pytest.approx(naive.agreement(points[i], points[j], axes[i], axes[j], both), abs=1e-6)
    one, other = np.arange(count)[:, None], indices
    np.testing.assert_allclose(agreement(points, axes, one, other, each), agreement(points, axes, other, one, each), atol=1e-12)
    assert np.abs(found).max() <= 1 + 1e-6


@pytest.mark.parametrize("count", [2, 15, 90])
@pytest.mark.parametrize("k", [1, 3, 6])
def test_spanning_signs_follow_the_strongest_pairs(count: int, k: int) -> None:
    points, axes, indices = pairs_of(count, k, seed=count)
    agreements = all_agreements(points, axes, indices, np.full(count, 0.3))
    pairs = [(i, int(j)) for i, near in enumerate(indices) for j in near]
    expected = naive.spanning_signs(count, pairs, agreements.ravel().tolist())
    assert spanning_signs(points, axes, indices, agreements, np.full(count, 0.3)).tolist() == expected


@pytest.mark.parametrize("count", [1, 60])
@pytest.mark.parametrize("k", [1, 6])
def test_sparseness_agrees_with_one_point_at_a_time(count: int, k: int) -> None:
    rng = np.random.default_rng(count)
    areas, indices = np.exp(rng.normal(0, 3, count)), rng.integers(0, count, (count, k)).astype(np.int32)
    found = sparseness(areas, indices, 0.7)
    assert found.tolist() == naive.sparseness(areas, indices, 0.7)
    assert found.min() == 1 or count == 1


@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.parametrize("k", [1, 6])
def test_consistency_agrees_with_a_loop(count: int, k: int) -> None:
    points, axes, indices = pairs_of(count, k, seed=3)
    agreements, signs = all_agreements(points, axes, indices, np.full(count, 0.2)), random_signs(count)
    found = neighbour_consistency(signs, indices, agreements)
    np.testing.assert_allclose(found, naive.neighbour_consistency(signs, indices, agreements.astype(float)), atol=1e-5)
    assert np.abs(found).max() <= 1 + 1e-5


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_undecided_points_follow_their_neighbours(share: float) -> None:
    samples = torus(1500)
    cloud = surroundings(samples)
    wrong = random_signs(1500)
    decided = np.random.default_rng(4).random(1500) < share
    agreements = all_agreements(samples.points, samples.normals, cloud.around, cloud.reach)
    signs = np.where(decided, 1.0, wrong)
    follow_neighbours(signs, decided, cloud.around, agreements)
    assert (signs[decided] == 1).all()
    assert signs[~decided].mean() > 0.99


@pytest.mark.parametrize("count", [40, 400])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("exact", [False, True])
def test_following_neighbours_as_the_slow_twin_does(count: int, share: float, exact: bool) -> None:
    samples, rng = torus(count), np.random.default_rng(count)
    cloud = surroundings(samples)
    decided = rng.random(count) < share
    signs = random_signs(count)
    agreements = all_agreements(samples.points, samples.normals, cloud.around, cloud.reach)
    if not exact:  # some pairs have no agreement
        agreements = np.where(rng.random(agreements.shape) < 0.5, 0, np.round(agreements)).astype(np.float32)
    expected = naive.follow_neighbours(signs, decided, cloud.around, agreements, PROPAGATION.sweeps)
    follow_neighbours(signs, decided, cloud.around, agreements)
    assert signs.tolist() == expected


@pytest.mark.parametrize("count", [2, 30, 200])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
def test_inconsistent_components_agree_with_one_component_at_a_time(count: int, share: float) -> None:
    rng = np.random.default_rng(count)
    k = min(4, count - 1)
    points = rng.normal(size=(count, 3))
    indices = np.argsort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 1 : k + 1].astype(np.int32)
    agreements = rng.uniform(-1, 1, (count, k)).astype(np.float32)
    signs, chosen = np.sign(rng.normal(size=count)), rng.random(count) < share
    found = inconsistent_components(chosen, components_of(chosen, indices), signs, indices, agreements)
    assert set(np.flatnonzero(found).tolist()) == naive.inconsistent_components(chosen, signs, indices, agreements)


@pytest.mark.parametrize("count", [2, 30])
@pytest.mark.parametrize("k", [1, 4])
def test_wall_separations_agree_with_one_pair_at_a_time(count: int, k: int) -> None:
    rng = np.random.default_rng(count)
    points, normals = rng.normal(size=(count, 3)), rng.normal(size=(count, 3))
    rows, indices = rng.integers(0, count, 7), rng.integers(0, count, (7, k)).astype(np.int32)
    apart, facing_away = wall_separations(points, normals, rows, indices)
    for m, row in enumerate(rows):
        for j, near in enumerate(indices[m]):
            expected = naive.wall_separation(points[row], points[near], normals[row], normals[near])
            assert (apart[m, j], facing_away[m, j]) == (pytest.approx(expected[0], abs=1e-12), expected[1])


def test_walls_are_apart_and_flips_are_not() -> None:
    """Whatever the thickness of the wall; of a ball, flips next to each other as well."""
    sheet = box(3000, (1.0, 1.0, 0.02))
    cloud = surroundings(sheet)
    rows = np.flatnonzero(np.abs(sheet.normals[:, 2]) > 0.9)
    apart, facing_away = wall_separations(cloud.points, sheet.normals, rows, cloud.around[rows])
    np.testing.assert_allclose(apart[facing_away], -0.02, atol=1e-9)
    flipped = sphere(1000).normals * random_signs(1000)[:, None]
    ball = surroundings(sphere(1000))
    apart, facing_away = wall_separations(ball.points, flipped, np.arange(1000), ball.around)
    assert facing_away.mean() > 0.3
    assert np.abs(apart[facing_away]).max() < 1e-9
