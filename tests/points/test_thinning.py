"""Copies a hair apart and lines denser along than across are thinned; every other scan is left as it is."""

from __future__ import annotations

import naive_preparation as naive
import numpy as np
import pytest
from clouds import FloatArray, Samples, box, hemisphere, noisy, plane, sphere, torus, two_balls

from lpdif.points.neighbours import nearest, search_tree
from lpdif.points.prepare import prepare
from lpdif.points.thinning import Thinned, independent_set, line_reach, neighbour_distances, thin_copies_and_lines
from lpdif.types import Scan

K = 12


def thinned(points: FloatArray) -> tuple[FloatArray, Thinned]:
    """Points in the order that they are looked at, and what is to be kept of them."""
    points = points[search_tree(points).indices]
    tree = search_tree(points)
    return points, thin_copies_and_lines(points, tree, nearest(tree, points, K))


def copies(samples: Samples, times: int, jitter: float) -> FloatArray:
    rng = np.random.default_rng(1)
    return np.asarray(np.repeat(samples.points, times, 0) + jitter * rng.normal(size=(times * len(samples.points), 3)))


def lines(count: int, ratio: int) -> FloatArray:
    """A wave that was scanned along lines, `ratio` times denser along them than across."""
    rng = np.random.default_rng(0)
    y = np.repeat(np.linspace(0, 1, count), count * ratio)
    x = rng.uniform(0, 1, len(y))
    return np.stack([x, y, 0.1 * np.sin(5 * x) * np.cos(4 * y)], axis=1)


@pytest.mark.parametrize("count", [1, 2, 13, 300])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.6, 1.0])
def test_what_is_kept_is_apart_and_stands_for_the_rest(count: int, share: float) -> None:
    rng = np.random.default_rng(count)
    k = min(K, count - 1)
    indices = np.argsort(rng.random((count, count)) + np.eye(count), axis=1)[:, :k].astype(np.int32)
    close = rng.random((count, k)) < share
    kept = independent_set(indices, close)
    naive.check_apart(indices, close, kept)
    assert kept.any()


@pytest.mark.parametrize("count", [40, 200])
@pytest.mark.parametrize("straight", [0.0, 0.01, 0.05, 1.0])
@pytest.mark.parametrize("bend", [0.0, 1.0])
def test_lines_as_the_slow_twin_sees_them(count: int, straight: float, bend: float) -> None:
    rng = np.random.default_rng(count)
    points = rng.normal(size=(count, 3)) * [1, straight, 0.1 * straight]
    points[:, 2] += bend * np.cos(2 * points[:, 0])
    tree = search_tree(points)
    near = nearest(tree, points, K)
    found = line_reach(points, tree, near)
    np.testing.assert_allclose(found, naive.line_reach(points, K))
    assert straight != 0 or bend or found.all()
    assert straight != 1 or not found.any()
    expected = np.linalg.norm(points[near.indices] - points[:, None], axis=2)
    np.testing.assert_allclose(neighbour_distances(points, near.indices), expected)


@pytest.mark.parametrize("made", [sphere, torus, box, plane, hemisphere, two_balls])
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_even_scans_are_left_as_they_are(made: object, noise: float) -> None:
    clean: Samples = made(1500)  # type: ignore[operator]
    found = thinned(noisy(clean, noise * clean.spacing).points)[1]
    assert found.kept.all()
    assert found[1:] == (0, 0)


@pytest.mark.parametrize("times", [2, 3, 10, 30])
@pytest.mark.parametrize("jitter", [1e-3, 1e-5, 1e-7])
def test_one_of_the_copies_is_left(times: int, jitter: float) -> None:
    clean = sphere(1500)
    points, found = thinned(copies(clean, times, jitter * clean.spacing))
    assert 0.9 * 1500 <= found.kept.sum() <= 1.1 * 1500
    assert found[1:] == (len(points) - found.kept.sum(), 0)
    left = points[found.kept]
    assert search_tree(left).query(clean.points)[0].max() < 0.3 * clean.spacing


@pytest.mark.parametrize("ratio", [10, 20, 50])
def test_lines_are_thinned_until_neighbours_lie_around(ratio: int) -> None:
    points, found = thinned(lines(30, ratio))
    assert found[1:] == (0, len(points) - found.kept.sum())
    left = points[found.kept]
    rows, per_line = np.unique(left[:, 1], return_counts=True)
    assert len(rows) == 30
    assert per_line.min() > 25
    assert per_line.max() < 30 * 6


def tube_at_the_rim(columns: int, around: int) -> FloatArray:
    """A cylinder with a tube along its upper rim, each circle of the tube far denser than the circles are apart."""
    turn = 2 * np.pi * np.arange(columns) / columns
    theta, z = np.meshgrid(turn, np.linspace(0, 1.8, 10))
    body = np.stack([np.cos(theta), np.sin(theta), z], axis=2).reshape(-1, 3)
    theta, phi = np.meshgrid(turn, 2 * np.pi * np.arange(around) / around)
    radius = 1 + 0.09 * np.cos(phi)
    rim = np.stack([radius * np.cos(theta), radius * np.sin(theta), 2 + 0.09 * np.sin(phi)], axis=2).reshape(-1, 3)
    return np.concatenate([body, rim])


@pytest.mark.parametrize("around", [24, 40])
def test_lines_in_a_part_of_a_scan_are_thinned_there_alone(around: int) -> None:
    points, found = thinned(tube_at_the_rim(32, around))
    rim = points[:, 2] > 1.9
    assert found.kept[~rim].all()
    circles = np.unique(np.arctan2(points[rim & found.kept, 1], points[rim & found.kept, 0]).round(3), return_counts=True)[1]
    assert len(circles) == 32
    assert circles.min() >= 5
    assert circles.max() <= 12


def test_normals_of_a_rim_of_dense_circles_look_off_the_tube() -> None:
    found = prepare(Scan(tube_at_the_rim(32, 24)))
    place = found.points + found.origin
    rim = place[:, 2] > 1.95
    along = np.stack([-place[:, 1], place[:, 0], 0 * place[:, 2]], axis=1) / np.hypot(place[:, 0], place[:, 1])[:, None]
    assert np.abs(np.einsum("ni,ni->n", along, found.normals))[rim].max() < 0.5


def test_poles_of_a_globe_are_thinned_and_stay() -> None:
    theta, phi = np.meshgrid(np.arange(1, 40) * np.pi / 40, np.arange(77) * 2 * np.pi / 77)
    rings = np.stack([np.cos(theta), np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi)], axis=2).reshape(-1, 3)
    found = prepare(Scan(np.concatenate([rings, [[1.0, 0, 0], [-1.0, 0, 0], [0, 0, 0]]])))
    place = found.points + found.origin
    assert found.facts["dropped_outliers"] == 1
    assert np.abs(place[:, 0]).max() == 1
    np.testing.assert_allclose(np.linalg.norm(place, axis=1), 1)
    assert np.einsum("ni,ni->n", place, found.normals).min() > 0.98


def test_lines_that_noise_widens_are_thinned() -> None:
    rng = np.random.default_rng(0)
    points, found = thinned(lines(30, 50) + rng.normal(size=(30 * 1500, 3)) * [0, 0, 0.0003])
    left = points[found.kept]
    assert np.unique(left[:, 1], return_counts=True)[1].mean() < 30 * 3


def test_a_wire_beside_a_surface_is_left_as_it_is() -> None:
    t = np.linspace(0, 3, 300)
    wire = np.stack([0.5 + 0.3 * t, 0.5 + 0 * t, 0.6 + 0.1 * np.sin(t)], axis=1)
    found = thinned(np.concatenate([plane(1500).points, wire]))[1]
    assert found.kept.all()


def test_points_along_one_curve_are_left_as_they_are() -> None:
    t = np.sort(np.random.default_rng(0).uniform(0, 3, 2000))
    found = thinned(np.stack([np.cos(t), np.sin(t), 0.2 * t], axis=1))[1]
    assert found.kept.all()
    assert found[1:] == (0, 0)


def test_a_scan_of_lines_gets_right_normals_and_keeps_right_ones() -> None:
    theta = np.repeat((np.arange(16) + 0.5) * np.pi / 16, 1000)
    phi = np.tile(np.arange(1000) * 2 * np.pi / 1000, 16)
    rings = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=1)
    for normals in (None, rings):
        found = prepare(Scan(rings, normals))
        assert np.einsum("ni,ni->n", found.normals, found.points + found.origin).min() > 0.9
        assert found.facts["thinned_lines"] == 16_000 - len(found.points)
        assert ("estimated" in str(found.facts["normals"])) == (normals is None)


def test_copies_are_told() -> None:
    found = prepare(Scan(copies(sphere(800), 5, 1e-6)))
    assert found.facts["merged_copies"] == 4000 - len(found.points)
    assert "thinned_lines" not in found.facts
