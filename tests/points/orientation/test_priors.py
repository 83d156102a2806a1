"""Priors for the side of a normal: viewpoints and level ground."""

from __future__ import annotations

import clouds
import naive_preparation as naive
import numpy as np
import pytest

from lpdif.points.orientation.priors import PRIORS, ground_prior, viewpoint_prior


@pytest.mark.parametrize("each", [False, True])
def test_priors_of_a_viewpoint_agree_with_one_sight_at_a_time(each: bool) -> None:
    rng = np.random.default_rng(0)
    points, axes = rng.normal(size=(2, 60, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    sensor = rng.normal(size=(60, 3) if each else 3)
    found = viewpoint_prior(points, axes, sensor)
    for i in range(60):
        sight = (sensor[i] if each else sensor) - points[i]
        cosine = float(axes[i] @ sight) / float(np.linalg.norm(sight))
        assert found[i] == pytest.approx(max(-1.0, min(1.0, cosine / PRIORS.grazing)))
    assert (np.abs(found) < 1).any()
    assert {-1.0, 1.0} <= set(found.tolist())


def test_a_point_at_the_sensor_has_no_prior() -> None:
    assert viewpoint_prior(np.ones((1, 3)), np.array([[0.0, 0.0, 1.0]]), np.ones(3)).tolist() == [0.0]


@pytest.mark.parametrize("count", [40, 3000])
@pytest.mark.parametrize("height", [0.0, 0.3, 0.9, 1.5])
@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_priors_of_ground_as_the_slow_twin_has_them(count: int, height: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (count, 3)) * [1, 1.4, height / 2]
    axes = rng.normal(size=(count, 3)) * [1, 1, spread * 3]
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    assert ground_prior(points, axes).tolist() == naive.ground_prior(points, axes)


def test_ground_is_what_lies_lowest() -> None:
    town = clouds.town()
    prior = ground_prior(town.points, -town.normals)
    level = (town.points[:, 2] == 0) & (town.normals[:, 2] == 1)
    assert (prior[level] == -1).all()
    assert (prior <= 0).all()  # roofs are seen from above too
    assert (prior[(town.normals[:, 2] == 0)] == 0).all()  # walls get no prior


def test_what_is_tall_or_full_of_gaps_has_no_ground() -> None:
    town = clouds.town()
    assert not ground_prior(town.points[:, [0, 2, 1]], town.normals[:, [0, 2, 1]]).any()
    few = (np.abs(town.points[:, 0] - town.points[:, 1]) < 3) | (np.abs(town.points[:, :2]).max(axis=1) > 9.8)
    assert not ground_prior(town.points[few], town.normals[few]).any()
