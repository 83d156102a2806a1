"""The winding number of points: 1 inside, 0 outside, 1/2 on the surface, however the sums are arranged."""

from __future__ import annotations

import naive_preparation as naive
import numpy as np
import pytest
from clouds import FloatArray, Samples, hemisphere, shell, sphere, torus

from lpdif.arrays import chunks
from lpdif.points.orientation import winding
from lpdif.points.orientation.winding import WINDING, block_influence, dipole_field, summed, summed_rows


def cubes(points: FloatArray, size: float) -> tuple[np.ndarray, int]:
    """Block number of each point, by the cells of a lattice, and their count."""
    block = np.unique(np.floor(points / size), axis=0, return_inverse=True)[1].ravel()
    return block, int(block.max()) + 1


def winding_at(samples: Samples, targets: FloatArray, size: float) -> FloatArray:
    areas = np.full(len(samples.points), samples.spacing**2)
    block, count = cubes(samples.points, size)
    spacing = np.full(len(areas), samples.spacing)
    dipoles = samples.normals * areas[:, None]
    influence = block_influence(samples.points, dipoles, areas, block, count, np.full(count, size), spacing, targets)
    assert influence.shape == (len(targets), count)
    return np.asarray(influence.sum(axis=1, dtype=np.float64))


@pytest.mark.parametrize("count", [1, 4, 30])
@pytest.mark.parametrize("values", [0, 1, 50])
def test_sums_agree_with_a_loop(count: int, values: int) -> None:
    rng = np.random.default_rng(values)
    numbers, rows = rng.integers(0, count, values), rng.normal(size=(values, 3))
    expected = np.zeros((count, 3))
    for number, row in zip(numbers, rows, strict=True):
        expected[number] += row
    np.testing.assert_allclose(summed_rows(numbers, rows, count), expected, atol=1e-12)
    np.testing.assert_allclose(summed(numbers, rows[:, 1], count), expected[:, 1], atol=1e-12)
    assert summed(numbers, rows[:, 1], count).shape == (count,)


@pytest.mark.parametrize("softening", [0.0, 0.3])
def test_fields_agree_with_one_dipole_at_a_time(softening: float) -> None:
    rng = np.random.default_rng(0)
    offsets, dipoles = rng.normal(size=(2, 4, 5, 3))
    found = dipole_field(offsets, dipoles, softening)
    for i in np.ndindex(4, 5):
        assert found[i] == pytest.approx(naive.dipole_field(offsets[i], dipoles[i], softening), rel=1e-12)


def test_a_dipole_is_the_solid_angle_of_its_disc() -> None:
    """Area 1e-4 at distance 3, seen square on and at 60 degrees, from behind (+) and from before (-)."""
    whole = 1e-4 / (4 * np.pi * 9)
    offset = np.array([0.0, 0.0, 3.0])
    normals = np.array([[0.0, 0.0, 1.0], [0.0, np.sqrt(0.75), 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
    np.testing.assert_allclose(dipole_field(offset, 1e-4 * normals, 0.0), [whole, whole / 2, 0, -whole], atol=1e-15)


@pytest.mark.parametrize("count", [1, 3, 12])
@pytest.mark.parametrize("points", [12, 80])
@pytest.mark.parametrize("targets", [1, 25])
@pytest.mark.parametrize("size", [0.0, 0.6, 10.0])
def test_influence_agrees_with_one_pair_at_a_time(count: int, points: int, targets: int, size: float) -> None:
    rng = np.random.default_rng(count + points)
    places, dipoles = rng.normal(size=(2, points, 3))
    areas = rng.uniform(0.5, 2, points)
    block = rng.permutation(np.arange(points) % count)
    seen = rng.normal(size=(targets, 3))
    sizes, spacing = size * np.exp2(np.arange(count) % 3), rng.choice([0.3, 0.6], points)
    found = block_influence(places, dipoles, areas, block, count, sizes, spacing, seen)
    expected = naive.block_influence(places, dipoles, areas, block, count, WINDING.near_field * sizes, WINDING.softening * spacing, seen)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_targets_may_be_the_points_themselves() -> None:
    samples = sphere(60)
    found = block_influence(samples.points, samples.normals, np.ones(60), np.arange(60), 60, np.full(60, 0.2), np.full(60, 0.1), samples.points)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(np.diagonal(found), 0.0)
    expected = naive.block_influence(
        samples.points, samples.normals, np.ones(60), np.arange(60), 60, np.full(60, 0.3), np.full(60, 0.05), samples.points
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_an_empty_block_has_no_influence() -> None:
    samples = sphere(40)
    block = np.where(np.arange(40) < 20, 0, 2)
    found = block_influence(
        samples.points, samples.normals, np.ones(40), block, 4, np.full(4, 0.5), np.full(40, 0.1), np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    )
    assert found[:, [1, 3]].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert (np.abs(found[:, [0, 2]]) > 1e-3).all()


@pytest.mark.parametrize("size", [0.15, 0.4])
@pytest.mark.parametrize("shift", [0.0, 1000.0])
def test_inside_is_one_and_outside_is_nought(size: float, shift: float) -> None:
    ring = torus(3000)
    ring = ring._replace(points=ring.points + shift)
    angle = np.linspace(0, 6, 7)
    inside = np.column_stack([np.cos(angle), np.sin(angle), 0.1 * np.sin(3 * angle)]) + shift
    outside = np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [2.0, 0.0, 0.0], [1.0, 0.0, 0.8], [50.0, 1.0, 2.0]]) + shift
    np.testing.assert_allclose(winding_at(ring, inside, size), 1, atol=0.15)
    np.testing.assert_allclose(winding_at(ring, outside, size), 0, atol=0.08)


@pytest.mark.parametrize("size", [0.15, 0.4])
def test_on_the_surface_it_is_one_half(size: float) -> None:
    ball = sphere(3000)
    on = winding_at(ball, ball.points[::10], size)
    assert on.mean() == pytest.approx(0.5, abs=0.03)
    assert on.std() < 0.15


def test_hollows_and_halves() -> None:
    hollow = shell(4000)
    seen = np.array([[0.0, 0.0, 0.0], [0.8, 0.0, 0.0], [0.0, -0.8, 0.0], [1.5, 0.0, 0.0]])
    np.testing.assert_allclose(winding_at(hollow, seen, 0.2), [0, 1, 1, 0], atol=0.1)
    bowl = hemisphere(3000)
    np.testing.assert_allclose(winding_at(bowl, np.zeros((1, 3)), 0.2), 0.5, atol=0.02)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    ball = sphere(500)
    whole = winding_at(ball, ball.points[:90], 0.3)
    sizes: list[int] = []

    def small(count: int, size: int) -> list[slice]:
        sizes.append(size)
        return list(chunks(count, 7))

    monkeypatch.setattr(winding, "chunks", small)
    np.testing.assert_array_equal(winding_at(ball, ball.points[:90], 0.3), whole)
    assert len(sizes) == 2


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_size_does_not_matter(factor: float) -> None:
    ball = sphere(800)
    large = Samples(ball.points * factor, ball.normals, ball.area * factor**2)
    seen = np.random.default_rng(0).normal(size=(40, 3))
    np.testing.assert_allclose(winding_at(large, seen * factor, 0.3 * factor), winding_at(ball, seen, 0.3), atol=1e-3)
