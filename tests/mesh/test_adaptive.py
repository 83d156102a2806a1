"""Few faces on what is flat, many on details, and never farther off than asked."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpdif.geometry import Surface
from lpdif.mesh.adaptive import farthest, fewest_faces
from lpdif.mesh.simplify import simplify
from lpdif.mesh.topology import is_closed_manifold


def fine(shape: trimesh.Trimesh, rounds: int, shift: float = 0.0) -> Surface:
    for _ in range(rounds):
        shape = shape.subdivide()
    return Surface(np.asarray(shape.vertices) + shift, np.asarray(shape.faces, np.int64))


def naive_farthest(surface: Surface, other: Surface) -> float:
    def away(one: Surface, two: Surface) -> float:
        return float(np.abs(trimesh.proximity.closest_point_naive(trimesh.Trimesh(*two, process=False), one.vertices)[1]).max())

    return max(away(surface, other), away(other, surface))


def test_distances_are_those_of_the_slow_twin() -> None:
    ball, coarse = fine(trimesh.creation.icosphere(1), 1), fine(trimesh.creation.icosphere(1), 0)
    assert farthest(ball, coarse) == pytest.approx(naive_farthest(ball, coarse), rel=1e-4)
    moved = Surface(coarse.vertices + np.array([0.5, 0, 0]), coarse.faces)
    assert farthest(coarse, moved) == pytest.approx(naive_farthest(coarse, moved), rel=1e-4)
    half = Surface(ball.vertices, ball.faces[ball.vertices[ball.faces].mean(1)[:, 2] > 0])
    assert farthest(ball, half) > 0.5  # what is missing counts


@pytest.mark.parametrize("shift", [0.0, 1e6])
@pytest.mark.parametrize("distance", [0.02, 0.002])
def test_a_ball_stays_within_the_distance_and_closed(distance: float, shift: float) -> None:
    ball = fine(trimesh.creation.icosphere(5), 0, shift)
    count = fewest_faces(ball, distance)
    found = simplify(ball, count)[0]
    assert is_closed_manifold(found.faces)
    assert farthest(ball, found) <= distance
    assert farthest(ball, simplify(ball, int(0.8 * count))[0]) > distance  # and has hardly more faces than it must
    assert count < len(ball.faces)


def test_flat_parts_take_few_faces_and_a_detail_keeps_its_own() -> None:
    box = fine(trimesh.creation.box((4.0, 4.0, 1.0)), 6)
    bump = 0.3 * np.exp(-8 * (np.square(box.vertices[:, :2]).sum(1))) * (box.vertices[:, 2] > 0.49)
    surface = Surface(box.vertices + np.outer(bump, [0, 0, 1]), box.faces)
    found = simplify(surface, fewest_faces(surface, 0.004))[0]
    assert len(found.faces) < 0.03 * len(surface.faces)
    middle = found.vertices[found.faces].mean(axis=1)
    assert (np.linalg.norm(middle[:, :2], axis=1) < 1).mean() > 0.7  # a fifth of the top, and next to nothing of the whole
    assert farthest(surface, found) <= 0.004


def test_no_distance_takes_no_face() -> None:
    ball = fine(trimesh.creation.icosphere(3), 0)
    assert fewest_faces(ball, 1e-9) == len(ball.faces)
