"""Signs for axes: outward on solids, hollows and open surfaces, whatever signs the axes come with."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import naive_preparation as naive
import numpy as np
import pytest
from clouds import FloatArray, Samples, box, hemisphere, joined, noisy, plane, shell, shifted, sphere, surroundings, torus, turned, two_balls
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import rotation

from lpdif.points.neighbours import nearest, search_tree
from lpdif.points.orientation.blocks import NEIGHBOURS, SURE, Orientation, gather_blocks, orient
from lpdif.points.orientation.propagation import (
    SWEEPS,
    agreement,
    all_agreements,
    follow_neighbours,
    loose_pieces,
    mirror_reach,
    neighbour_consistency,
    pieces_of,
    separate_walls,
    spanning_signs,
    sparseness,
)

SOLIDS = {
    "sphere": sphere(1500),
    "torus": torus(2000),
    "balls": two_balls(2000),
    "shell": shell(2500),
    "box": box(2000),
    "sheet": box(3000, (1.0, 1.0, 0.12)),
}
OPEN = {"hemisphere": hemisphere(1500), "plane": plane(1500)}


def random_signs(count: int, seed: int = 0) -> FloatArray:
    return np.where(np.random.default_rng(seed).random(count) < 0.5, -1.0, 1.0)


def oriented(samples: Samples, signs: FloatArray, start: FloatArray | None = None, votes: FloatArray | None = None) -> Orientation:
    """Signs of the true normals times `signs`."""
    cloud = surroundings(samples)
    axes = samples.normals * signs[:, None]
    return orient(cloud.points, axes, cloud.areas, cloud.around, cloud.spacing, cloud.local_noise, start, votes)


def outward_share(samples: Samples, signs: FloatArray, **more: FloatArray) -> float:
    return float((oriented(samples, signs, **more).signs * signs > 0).mean())


def pairs_of(count: int, k: int = 6, seed: int = 0) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Random places with random axes, and nearest neighbours."""
    rng = np.random.default_rng(seed)
    points, axes = rng.normal(size=(2, count, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return points, axes, nearest(search_tree(points), points, k).indices


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


@pytest.mark.parametrize("count", [10, 120])
@pytest.mark.parametrize("spacing", [0.12, 0.8])
@pytest.mark.parametrize("coarsest", [1, 3])
def test_blocks_agree_with_growing_sets(count: int, spacing: float, coarsest: int) -> None:
    points, axes, indices = pairs_of(count, 6, seed=1)
    accordance = all_agreements(points, axes, indices, np.full(count, 0.1))
    extent = spacing * np.exp2(np.arange(count) % coarsest)
    block = gather_blocks(points, indices, accordance, extent)
    found = {frozenset(np.flatnonzero(block == b).tolist()) for b in np.unique(block)}
    assert found == naive.blocks(points, indices, accordance, extent, SURE)


@pytest.mark.parametrize("count", [1, 60])
@pytest.mark.parametrize("k", [1, 6])
def test_sparseness_agrees_with_one_point_at_a_time(count: int, k: int) -> None:
    rng = np.random.default_rng(count)
    areas, indices = np.exp(rng.normal(0, 3, count)), rng.integers(0, count, (count, k)).astype(np.int32)
    found = sparseness(areas, indices, 0.7)
    assert found.tolist() == naive.sparseness(areas, indices, 0.7)
    assert found.min() == 1 or count == 1


def test_blocks_of_a_thin_sheet_do_not_hold_both_faces() -> None:
    sheet = box(3000, (1.0, 1.0, 0.05))
    cloud = surroundings(sheet)
    agreements = all_agreements(cloud.points, sheet.normals, cloud.around, np.zeros(len(cloud.points)))
    straight = np.where(np.einsum("nki,ni->nk", sheet.normals[cloud.around], sheet.normals) > 0, agreements, -1).astype(np.float32)
    block = gather_blocks(cloud.points, cloud.around, straight, np.full(len(cloud.points), 2.5 * cloud.spacing))
    for b in np.unique(block):
        assert len(np.unique(np.sign(sheet.normals[block == b, 2]))) == 1


@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.parametrize("k", [1, 6])
def test_accord_agrees_with_a_loop(count: int, k: int) -> None:
    points, axes, indices = pairs_of(count, k, seed=3)
    agreements, signs = all_agreements(points, axes, indices, np.full(count, 0.2)), random_signs(count)
    found = neighbour_consistency(signs, indices, agreements)
    np.testing.assert_allclose(found, naive.accord(signs, indices, agreements.astype(float)), atol=1e-5)
    assert np.abs(found).max() <= 1 + 1e-5


@pytest.mark.parametrize("share", [0.2, 0.6, 0.9])
def test_unsettled_points_follow_their_neighbours(share: float) -> None:
    samples = torus(1500)
    cloud = surroundings(samples)
    wrong = random_signs(1500)
    settled = np.random.default_rng(4).random(1500) < share
    agreements = all_agreements(samples.points, samples.normals, cloud.around, cloud.reach)
    signs = np.where(settled, 1.0, wrong)
    follow_neighbours(signs, settled, cloud.around, agreements)
    assert (signs[settled] == 1).all()
    assert signs[~settled].mean() > 0.99


@pytest.mark.parametrize("count", [40, 400])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 1.0])
@pytest.mark.parametrize("exact", [False, True])
def test_following_neighbours_as_the_slow_twin_does(count: int, share: float, exact: bool) -> None:
    samples, rng = torus(count), np.random.default_rng(count)
    cloud = surroundings(samples)
    settled = rng.random(count) < share
    signs = random_signs(count)
    agreements = all_agreements(samples.points, samples.normals, cloud.around, cloud.reach)
    if not exact:  # some say nothing
        agreements = np.where(rng.random(agreements.shape) < 0.5, 0, np.round(agreements)).astype(np.float32)
    expected = naive.follow_neighbours(signs, settled, cloud.around, agreements, SWEEPS)
    follow_neighbours(signs, settled, cloud.around, agreements)
    assert signs.tolist() == expected


@pytest.mark.parametrize("shape", list(SOLIDS))
@pytest.mark.parametrize("seed", [0, 1])
def test_scattered_signs_of_solids_turn_outward(shape: str, seed: int) -> None:
    samples = SOLIDS[shape]
    signs = random_signs(len(samples.points), seed)
    found = oriented(samples, signs)
    assert (found.signs * signs > 0).mean() > (0.999 if shape not in {"box", "sheet"} else 0.98)
    assert set(np.abs(found.signs).tolist()) == {1.0}
    assert np.median(found.accord) > 0.95
    sizes = np.bincount(found.part, minlength=len(found.winding))
    assert found.winding[sizes.argmax()] == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("shape", [sphere, torus, shell])
@pytest.mark.parametrize("count", [1000, 3000, 8000])
def test_winding_number_on_a_closed_part_does_not_hang_on_its_size(shape: Callable[[int], Samples], count: int) -> None:
    """Although most blocks of few points are too small to take part."""
    samples = shape(count)
    found = oriented(samples, random_signs(count))
    sizes = np.bincount(found.part, minlength=len(found.winding))
    np.testing.assert_allclose(found.winding[sizes > count // 5], 0.5, atol=0.07)


@pytest.mark.parametrize("shape", list(OPEN))
def test_scattered_signs_of_open_surfaces_become_consistent(shape: str) -> None:
    samples = OPEN[shape]
    signs = random_signs(len(samples.points))
    found = oriented(samples, signs)
    agreed = abs((found.signs * signs).mean())
    assert agreed > 0.99
    assert np.abs(found.winding).max() < 0.45


def test_a_bowl_bulges_outward() -> None:
    assert outward_share(OPEN["hemisphere"], random_signs(1500)) > 0.99


@pytest.mark.parametrize("shape", ["shell", "balls"])
def test_parts_are_told_apart(shape: str) -> None:
    samples = SOLIDS[shape]
    found = oriented(samples, random_signs(len(samples.points)))
    side = np.linalg.norm(samples.points, axis=1) < 0.8 if shape == "shell" else samples.points[:, 0] < 1.5
    assert not set(found.part[side]) & set(found.part[~side])
    for own in (found.part[side], found.part[~side]):
        assert np.bincount(own).max() > 0.98 * len(own)


def test_three_nested_spheres_turn_by_turns() -> None:
    hollow, core = shell(3000, 0.7), sphere(700, 0.4)
    samples = joined(hollow, core)
    assert outward_share(samples, random_signs(len(samples.points))) > 0.999


@pytest.mark.parametrize("noise", [0.2, 0.5])
def test_noise_does_not_turn_a_solid_inside_out(noise: float) -> None:
    clean = torus(3000)
    samples = noisy(clean, noise * clean.spacing)
    cloud = surroundings(samples, noise * clean.spacing)
    signs = random_signs(3000)
    found = orient(cloud.points, samples.normals * signs[:, None], cloud.areas, cloud.around, cloud.spacing, cloud.local_noise)
    assert (found.signs * signs > 0).mean() > 0.99


def test_a_start_that_is_right_stays_and_one_that_is_inside_out_turns() -> None:
    samples = SOLIDS["torus"]
    plus = np.ones(len(samples.points))
    assert (oriented(samples, plus, start=plus).signs > 0).all()
    assert (oriented(samples, -plus, start=plus).signs < 0).mean() > 0.999


@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_votes_decide_on_a_plane(way: float) -> None:
    samples, signs = OPEN["plane"], random_signs(1500, 3)
    found = oriented(samples, signs, votes=0.3 * way * signs)
    assert (found.signs * signs == way).mean() > 0.999


def test_votes_of_a_few_do_not_tear_a_solid() -> None:
    samples, signs = SOLIDS["sphere"], random_signs(1500, 3)
    votes = np.where(samples.points[:, 2] > 0.8, -0.2, 0.0) * signs
    assert outward_share(samples, signs, votes=votes) > 0.999


@pytest.mark.parametrize("shape", ["sphere", "torus", "shell"])
def test_order_of_the_points_does_not_matter(shape: str) -> None:
    samples = SOLIDS[shape]
    order = np.random.default_rng(2).permutation(len(samples.points))
    shuffled = samples._replace(points=samples.points[order], normals=samples.normals[order])
    assert outward_share(shuffled, random_signs(len(order))) > 0.999


@settings(derandomize=True, deadline=None, max_examples=6)
@given(seed=st.integers(0, 40), exponent=st.floats(-6, 6), shape=st.sampled_from(["torus", "shell"]))
def test_turning_and_scaling_change_nothing(seed: int, exponent: float, shape: str) -> None:
    samples = turned(SOLIDS[shape], seed)
    moved = samples._replace(points=samples.points * 10.0**exponent)
    assert outward_share(moved, random_signs(len(moved.points), seed)) > 0.999


def test_a_crumb_far_from_any_block_gets_signs_too() -> None:
    crumb = shifted(plane(3), (5.0, 0.0, 0.0))
    samples = joined(sphere(800), crumb._replace(points=crumb.points * [1, 1, 0]))
    found = oriented(samples, np.ones(803))
    assert found.part.shape == found.accord.shape == (803,)
    assert (found.signs[np.linalg.norm(samples.points, axis=1) < 1.1] > 0).all()
    assert set(np.abs(found.signs).tolist()) == {1.0}


@pytest.mark.parametrize("count", [11, 12, 40])
def test_few_points_on_a_sphere_turn_outward(count: int) -> None:
    samples = sphere(count)
    near = nearest(search_tree(samples.points), samples.points, NEIGHBOURS)
    areas = np.full(count, samples.spacing**2)
    signs = random_signs(count)
    found = orient(samples.points, samples.normals * signs[:, None], areas, near.indices, samples.spacing, np.zeros(len(samples.points)))
    assert (found.signs * signs).tolist() == [1.0] * count
    for a, b in itertools.pairwise(found.part.tolist()):
        assert a == b


@pytest.mark.parametrize("count", [2, 30, 200])
@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
def test_loose_pieces_agree_with_one_piece_at_a_time(count: int, share: float) -> None:
    rng = np.random.default_rng(count)
    k = min(4, count - 1)
    points = rng.normal(size=(count, 3))
    indices = np.argsort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)[:, 1 : k + 1].astype(np.int32)
    agreements = rng.uniform(-1, 1, (count, k)).astype(np.float32)
    signs, chosen = np.sign(rng.normal(size=count)), rng.random(count) < share
    found = loose_pieces(chosen, pieces_of(chosen, indices), signs, indices, agreements)
    assert set(np.flatnonzero(found).tolist()) == naive.loose_pieces(chosen, signs, indices, agreements)


@pytest.mark.parametrize("count", [2, 30])
@pytest.mark.parametrize("k", [1, 4])
def test_sunder_agrees_with_one_pair_at_a_time(count: int, k: int) -> None:
    rng = np.random.default_rng(count)
    points, normals = rng.normal(size=(count, 3)), rng.normal(size=(count, 3))
    rows, indices = rng.integers(0, count, 7), rng.integers(0, count, (7, k)).astype(np.int32)
    apart, facing_away = separate_walls(points, normals, rows, indices)
    for m, row in enumerate(rows):
        for j, near in enumerate(indices[m]):
            expected = naive.sunder(points[row], points[near], normals[row], normals[near])
            assert (apart[m, j], facing_away[m, j]) == (pytest.approx(expected[0], abs=1e-12), expected[1])


def test_walls_are_apart_and_flips_are_not() -> None:
    """Whatever the thickness of the wall; of a ball, flips next to each other as well."""
    sheet = box(3000, (1.0, 1.0, 0.02))
    cloud = surroundings(sheet)
    rows = np.flatnonzero(np.abs(sheet.normals[:, 2]) > 0.9)
    apart, facing_away = separate_walls(cloud.points, sheet.normals, rows, cloud.around[rows])
    np.testing.assert_allclose(apart[facing_away], -0.02, atol=1e-9)
    flipped = sphere(1000).normals * random_signs(1000)[:, None]
    ball = surroundings(sphere(1000))
    apart, facing_away = separate_walls(ball.points, flipped, np.arange(1000), ball.around)
    assert facing_away.mean() > 0.3
    assert np.abs(apart[facing_away]).max() < 1e-9
