"""What is hidden from outside, and how far one gets from a place, as slow twins have it; rooms are told from solids."""

from __future__ import annotations

import math

import numpy as np
import pytest
from clouds import FloatArray, box, room_with_things, shell, sphere, torus

from lpdif.points.orientation.visibility import VISIBILITY, even_directions, free_paths, hidden_from_outside, scanned_from_within


def way(points: FloatArray, spacing: FloatArray, place: FloatArray, direction: FloatArray) -> float:
    """How far one gets from a place, one point after the other."""
    nearest = math.inf
    for point, width in zip(points, spacing, strict=True):
        along = float((point - place) @ direction)
        aside = math.dist(point, place + along * direction)
        if along > VISIBILITY.own_surface * width and aside < width:
            nearest = min(nearest, along)
    return nearest


def test_free_paths_as_the_slow_twin_has_them() -> None:
    rng = np.random.default_rng(0)
    points, places, directions = rng.normal(size=(300, 3)), rng.normal(size=(40, 3)), rng.normal(size=(40, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    spacing = rng.uniform(0.05, 0.3, 300)
    expected = [way(points, spacing, place, direction) for place, direction in zip(places, directions, strict=True)]
    found = free_paths(points, spacing, places, directions)
    np.testing.assert_allclose(found, expected)
    assert 0 < np.isfinite(found).sum() < 40


def test_directions_are_even() -> None:
    found = even_directions(60)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=0.02)
    angle = np.degrees(np.arccos(np.clip(found @ found.T - 2 * np.eye(60), -1, 1))).min(axis=1)
    assert angle.min() > 20


def test_a_ball_in_a_ball_is_hidden() -> None:
    samples = shell(3000)
    spacing = np.full(3000, samples.spacing)
    inner = np.linalg.norm(samples.points, axis=1) < 0.8
    hidden = hidden_from_outside(samples.points, spacing, samples.points[::10], samples.normals[::10])
    assert hidden[inner[::10]].mean() > 0.4  # of so many directions one may well pass between random points
    assert not hidden[~inner[::10]].any()


@pytest.mark.parametrize(
    ("shape", "turn"), [("sphere", 1.0), ("sphere", -1.0), ("torus", 1.0), ("torus", -1.0), ("box", -1.0), ("shell", -1.0)]
)
def test_solids_were_not_scanned_from_within(shape: str, turn: float) -> None:
    """Though a hollow one has hidden parts, these have more space on the side of the hollow."""
    samples = {"sphere": sphere, "torus": torus, "box": box, "shell": shell}[shape](4000)
    assert not scanned_from_within(samples.points, turn * samples.normals, np.full(4000, samples.spacing**2))


@pytest.mark.parametrize("count", [1, 3])
def test_rooms_were_scanned_from_within(count: int) -> None:
    room = room_with_things(count)
    areas = np.full(len(room.points), room.spacing**2)
    assert scanned_from_within(room.points, room.normals, areas)
    assert not scanned_from_within(room.points, -room.normals, areas)
