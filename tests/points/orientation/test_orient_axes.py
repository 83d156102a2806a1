"""Signs for axes: outward on solids, hollows and open surfaces, whatever signs the axes come with."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from clouds import (
    FloatArray,
    Samples,
    box,
    hemisphere,
    joined,
    noisy,
    plane,
    random_signs,
    shell,
    shifted,
    sphere,
    surroundings,
    torus,
    turned,
    two_balls,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from lpdif.points.neighbours import NEIGHBOURHOOD, nearest, search_tree
from lpdif.points.orientation.orient_axes import Orientation, orient_axes

SOLIDS = {
    "sphere": sphere(1500),
    "torus": torus(2000),
    "balls": two_balls(2000),
    "shell": shell(2500),
    "box": box(2000),
    "sheet": box(3000, (1.0, 1.0, 0.12)),
}
OPEN = {"hemisphere": hemisphere(1500), "plane": plane(1500)}


def oriented(samples: Samples, signs: FloatArray, start: FloatArray | None = None, prior: FloatArray | None = None) -> Orientation:
    """Signs of the true normals times `signs`."""
    cloud = surroundings(samples)
    axes = samples.normals * signs[:, None]
    return orient_axes(cloud.points, axes, cloud.areas, cloud.around, cloud.spacing, cloud.local_noise, start, prior)


def outward_share(samples: Samples, signs: FloatArray, **more: FloatArray) -> float:
    return float((oriented(samples, signs, **more).signs * signs > 0).mean())


@pytest.mark.parametrize("shape", list(SOLIDS))
@pytest.mark.parametrize("seed", [0, 1])
def test_scattered_signs_of_solids_turn_outward(shape: str, seed: int) -> None:
    samples = SOLIDS[shape]
    signs = random_signs(len(samples.points), seed)
    found = oriented(samples, signs)
    assert (found.signs * signs > 0).mean() > (0.999 if shape not in {"box", "sheet"} else 0.98)
    assert set(np.abs(found.signs).tolist()) == {1.0}
    assert np.median(found.consistency) > 0.95
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
def test_parts_are_distinguished(shape: str) -> None:
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
    found = orient_axes(cloud.points, samples.normals * signs[:, None], cloud.areas, cloud.around, cloud.spacing, cloud.local_noise)
    assert (found.signs * signs > 0).mean() > 0.99


def test_a_start_that_is_right_stays_and_one_that_is_inside_out_turns() -> None:
    samples = SOLIDS["torus"]
    plus = np.ones(len(samples.points))
    assert (oriented(samples, plus, start=plus).signs > 0).all()
    assert (oriented(samples, -plus, start=plus).signs < 0).mean() > 0.999


@pytest.mark.parametrize("way", [-1.0, 1.0])
def test_the_prior_decides_on_a_plane(way: float) -> None:
    samples, signs = OPEN["plane"], random_signs(1500, 3)
    found = oriented(samples, signs, prior=0.3 * way * signs)
    assert (found.signs * signs == way).mean() > 0.999


def test_a_prior_of_a_few_points_does_not_make_a_solid_inconsistent() -> None:
    samples, signs = SOLIDS["sphere"], random_signs(1500, 3)
    prior = np.where(samples.points[:, 2] > 0.8, -0.2, 0.0) * signs
    assert outward_share(samples, signs, prior=prior) > 0.999


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


def test_a_few_points_far_from_any_block_get_signs_too() -> None:
    few = shifted(plane(3), (5.0, 0.0, 0.0))
    samples = joined(sphere(800), few._replace(points=few.points * [1, 1, 0]))
    found = oriented(samples, np.ones(803))
    assert found.part.shape == found.consistency.shape == (803,)
    assert (found.signs[np.linalg.norm(samples.points, axis=1) < 1.1] > 0).all()
    assert set(np.abs(found.signs).tolist()) == {1.0}


@pytest.mark.parametrize("count", [11, 12, 40])
def test_few_points_on_a_sphere_turn_outward(count: int) -> None:
    samples = sphere(count)
    near = nearest(search_tree(samples.points), samples.points, NEIGHBOURHOOD)
    areas = np.full(count, samples.spacing**2)
    signs = random_signs(count)
    found = orient_axes(samples.points, samples.normals * signs[:, None], areas, near.indices, samples.spacing, np.zeros(len(samples.points)))
    assert (found.signs * signs).tolist() == [1.0] * count
    for a, b in itertools.pairwise(found.part.tolist()):
        assert a == b
