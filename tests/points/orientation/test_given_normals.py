"""Given normals are judged rightly: whether they fit the points, and whether their signs can be trusted."""

from __future__ import annotations

from dataclasses import astuple

import naive_preparation as naive
import numpy as np
import pytest
from clouds import FloatArray, Samples, box, hemisphere, noisy, plane, shell, sphere, surroundings, torus, two_balls

from lpdif.points.orientation.given_normals import GIVEN, NormalQuality, normal_quality, surface_winding, wrong_normals


def quality(samples: Samples, normals: FloatArray) -> NormalQuality:
    cloud = surroundings(samples)
    return normal_quality(samples.points, normals, cloud.areas, cloud.near.indices, cloud.spacing, cloud.reach)


def flips(count: int, share: float) -> FloatArray:
    return np.where(np.random.default_rng(1).random(count) < share, -1.0, 1.0)[:, None]


@pytest.mark.parametrize("shape", ["sphere", "torus", "balls", "shell"])
def test_normals_of_solids_are_trusted_and_inward_ones_known(shape: str) -> None:
    samples = {"sphere": sphere, "torus": torus, "balls": two_balls, "shell": shell}[shape](3000)
    good, inward = quality(samples, samples.normals), quality(samples, -samples.normals)
    assert good.fit > 0.99
    assert good.contradicting < 0.02
    assert good.alone < 0.005
    assert (good.outward, good.inward) == (pytest.approx(1, abs=0.03), 0)
    assert (inward.outward, inward.inward) == (0, pytest.approx(1, abs=0.1))
    assert not good.scattered
    assert not inward.scattered


@pytest.mark.parametrize("count", [40, 300])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("shape", ["torus", "box", "noise"])
def test_wrong_normals_as_the_slow_twin_has_them(count: int, share: float, shape: str) -> None:
    samples = {"torus": torus(count), "box": box(count), "noise": noisy(torus(count), 0.4 * torus(count).spacing)}[shape]
    rng = np.random.default_rng(count)
    normals = samples.normals.copy()
    normals[rng.random(count) < share] = [0.0, 0.6, 0.8]
    cloud = surroundings(samples)
    g = GIVEN
    limits = (g.flat, g.planar, g.far_off, g.fit, g.far_off_share, g.fit, g.far_off)
    expected = naive.wrong_normals(samples.points, normals, cloud.near.indices, cloud.reach, *limits)
    assert wrong_normals(samples.points, normals, cloud.near.indices, cloud.reach).tolist() == expected
    assert any(expected) or count == 40 or share < 0.3 or shape != "box"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_scattered_signs_are_noticed(share: float) -> None:
    samples = sphere(2000)
    found = quality(samples, samples.normals * flips(2000, share))
    assert found.scattered
    assert found.fit > 0.99
    assert found.contradicting == pytest.approx(2 * share * (1 - share), abs=0.06)


def test_one_half_turned_over_is_not_scattered() -> None:
    samples = sphere(3000)
    found = quality(samples, samples.normals * np.where(samples.points[:, 2] > 0, 1.0, -1.0)[:, None])
    assert not found.scattered
    assert found.inward < 0.8
    assert found.outward < 0.9


def test_normals_of_something_else_do_not_fit() -> None:
    samples = sphere(2000)
    found = quality(samples, sphere(2000, seed=9).normals[np.random.default_rng(0).permutation(2000)])
    assert found.fit == pytest.approx(0.5, abs=0.08)
    assert quality(samples, np.tile([0.0, 0.0, 1.0], (2000, 1))).fit < 0.6


def test_an_open_plane_is_neither_outward_nor_inward() -> None:
    samples = plane(1500)
    found = quality(samples, samples.normals)
    assert (found.outward, found.inward) == (0, 0)
    assert found.fit == pytest.approx(1)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_quality_does_not_depend_on_the_unit(factor: float) -> None:
    samples = noisy(torus(1500), 0.02)
    large = Samples(samples.points * factor, samples.normals, samples.area * factor**2)
    normals = samples.normals * flips(1500, 0.2)
    np.testing.assert_allclose(astuple(quality(large, normals)), astuple(quality(samples, normals)), atol=0.01)


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_winding_number_on_a_surface(way: float) -> None:
    for samples, expected in ((sphere(3000), 0.5), (torus(3000), 0.5), (plane(3000), 0.0), (hemisphere(3000), 0.31)):
        cloud = surroundings(samples)
        found = surface_winding(samples.points, way * samples.normals, cloud.areas, cloud.spacing)
        assert found.shape == (50,)
        assert found.mean() == pytest.approx(way * expected, abs=0.05)
