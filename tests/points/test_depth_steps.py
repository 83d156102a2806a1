"""Steps of a depth camera are smoothed along the rays: floors seen at a grazing angle are floors, and edges of depth stay."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from clouds import box, torus
from numpy.typing import NDArray

from lpdif import Scan, reconstruct
from lpdif.points.depth_steps import depth_image, descend, halved, second_differences, steps_of, without_depth_steps
from lpdif.points.measure import measure

FloatArray = NDArray[np.float64]
STEP = 2.7e-3  # of the inverse depth, per metre: 2.7 mm at 1 m, 6.7 cm at 5 m
FOCAL = 525.0  # pixels
EYE = np.zeros(3)


def rays(width: int = 640) -> FloatArray:
    """(P, 3) rays of a camera of 640 x 480 pixels that looks along z, of so many columns in the middle."""
    across, down = np.meshgrid(np.arange(width) - (width - 1) / 2, np.arange(480) - 239.5)
    return np.stack([across.ravel() / FOCAL, down.ravel() / FOCAL, np.ones(across.size)], axis=1)


def stepped(inverse: FloatArray, step: float = STEP) -> FloatArray:
    return np.round(inverse / step) * step


def planes(*given: tuple[tuple[float, float, float], float], farthest: float = 7.0, width: int = 640) -> tuple[FloatArray, FloatArray]:
    """Points (N, 3) of the nearest of some planes n . p = distance, and the normal (N, 3) of each."""
    ray = rays(width)
    inverse = np.stack([ray @ np.asarray(normal) / distance for normal, distance in given], axis=1)
    first = inverse.argmax(axis=1)
    nearest = inverse.max(axis=1)
    seen = nearest > 1 / farthest
    normals = np.asarray([normal for normal, _ in given])
    normals = normals / np.linalg.norm(normals, axis=1)[:, None]
    return ray[seen] / nearest[seen, None], normals[first[seen]]


def measured(true: FloatArray, noise: float = 0.0) -> FloatArray:
    """What the camera measures of true points (N, 3): depths in whole steps, after noise of so many steps."""
    inverse = 1 / true[:, 2] + noise * STEP * np.random.default_rng(0).normal(size=len(true))
    return true / (true[:, 2] * stepped(inverse))[:, None]


def smooth(points: FloatArray, eye: FloatArray = EYE) -> FloatArray:
    found = without_depth_steps(points, eye)
    assert found is not None
    return found.points


FLOOR = (((0.0, 1.0, 0.0), 1.2),)
GRAZED_WALL = (((0.9, 0.0, 0.25), 1.6),)


@pytest.mark.parametrize(("noise", "better"), [(0.0, 4.0), (0.3, 3.0), (0.6, 1.7)])
@pytest.mark.parametrize("view", [FLOOR, GRAZED_WALL], ids=["floor", "wall"])
def test_a_plane_at_a_grazing_angle(view: tuple[tuple[tuple[float, float, float], float]], noise: float, better: float) -> None:
    """Without noise points were 3.4 and 4.1 mm off the plane; they are 0.4 and 0.8."""
    true, normals = planes(*view)
    got = measured(true, noise)
    before, after = (np.abs(np.einsum("ni,ni->n", points - true, normals)).mean() for points in (got, smooth(got)))
    assert before > 0.003
    assert after < before / better


def test_a_mesh_of_a_floor_in_steps_is_flat() -> None:
    """It was upright slats: its faces were 50 degrees off."""
    made = reconstruct(Scan(measured(planes(*FLOOR, width=80)[0])), threads=1).mesh
    corners = made.vertices[made.faces]
    cross = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(cross, axis=1)
    angle = np.degrees(np.arccos(np.clip(-cross[:, 1] / area, -1, 1)))
    assert np.average(angle, weights=area) < 1


def test_points_stay_on_their_rays_and_within_a_step() -> None:
    true, _ = planes(*FLOOR, ((0.0, 0.0, 1.0), 4.0))
    got = measured(true)
    now = smooth(got)
    np.testing.assert_allclose(now[:, :2] / now[:, 2:], got[:, :2] / got[:, 2:], atol=1e-12)
    assert np.abs(1 / now[:, 2] - 1 / got[:, 2]).max() < STEP


def test_an_edge_of_depth_stays() -> None:
    """A post two metres in front of a wall: no point is drawn into the gap."""
    ray = rays()
    post = np.abs(ray[:, 0]) < 0.1
    true = ray * np.where(post, 2.0, 4.0 + ray[:, 0])[:, None]
    now = smooth(measured(true))
    assert np.abs(now[post, 2] - 2).max() < STEP * 2**2
    assert np.abs(now[~post, 2] - true[~post, 2]).max() < STEP * 5**2


def test_a_step_of_the_shape_that_is_wider_than_the_sensors_stays() -> None:
    """A book of 2 cm, seven steps thick, on a desk a metre off."""
    ray = rays()
    book = (np.abs(ray[:, 0]) < 0.2) & (np.abs(ray[:, 1]) < 0.15)
    depth = (1 + 0.2 * ray[:, 1]) * np.where(book, 0.98, 1.0)
    now = smooth(measured(ray * depth[:, None]))
    assert np.abs(now[:, 2] - depth).max() < STEP * 1.1**2


def test_a_camera_elsewhere_that_looks_along_another_axis() -> None:
    true, _ = planes(*GRAZED_WALL, width=160)
    got, eye = measured(true), np.array([3.0, -1.0, 2.0])
    turned = got[:, [2, 0, 1]] * [-1, 1, 1] + eye
    now = smooth(turned, eye)
    np.testing.assert_allclose(now, smooth(got)[:, [2, 0, 1]] * [-1, 1, 1] + eye, atol=1e-9)


def test_what_is_no_image_in_steps_stays() -> None:
    """Exact depths, a solid around the eye, a solid on a lattice of places, and a box whose faces lie in whole numbers."""
    ahead = np.array([0.0, 0.0, 5.0])
    lattice = np.round(torus(20_000).points * 20) / 20
    for points in (planes(*FLOOR)[0], planes(*GRAZED_WALL)[0], torus(5000).points, lattice + ahead, box(5000, (1.0, 1.0, 1.0)).points + ahead):
        assert without_depth_steps(points, EYE) is None


def test_the_position_of_the_sensor_counts(caplog: pytest.LogCaptureFixture) -> None:
    got = measured(planes(*FLOOR, width=60)[0])
    with caplog.at_level(logging.INFO, "lpdif"):
        here = measure(Scan(got))
    assert "steps of" in caplog.text
    assert 0.005 < float(here.facts["depth_step"]) < 0.2
    place = np.array([10.0, 20.0, -5.0])
    moved = got + place
    for known in (Scan(moved, sensor=place), Scan(moved, sensor=np.tile(place, (len(moved), 1)))):
        assert "depth_step" in measure(known).facts
    assert "depth_step" in measure(Scan(moved), sensor=(10.0, 20.0, -5.0)).facts
    assert "depth_step" not in measure(Scan(moved)).facts
    paths = np.tile(place, (len(moved), 1))
    paths[0] += 1
    assert "depth_step" not in measure(Scan(moved, sensor=paths)).facts


def test_points_are_pixels() -> None:
    got = measured(planes(*FLOOR)[0])
    image = depth_image(got)
    assert image is not None
    assert len(np.unique(image.pixel)) == len(got)
    np.testing.assert_allclose(image.step, STEP, rtol=0.05)


def test_the_order_of_the_points_does_not_matter() -> None:
    """Also where points are not quite on their pixels, and some share one."""
    rng = np.random.default_rng(4)
    true, _ = planes(*FLOOR)
    got = measured(true)
    got[:, :2] += 0.2 / FOCAL * got[:, 2:] * rng.normal(size=(len(got), 2))
    mixed = rng.permutation(len(got))
    np.testing.assert_array_equal(smooth(got[mixed]), smooth(got)[mixed])


def test_steps_between_levels() -> None:
    """A level at which nothing was does not make the steps beside it wider."""
    levels = np.delete(np.arange(20.0), 7)
    np.testing.assert_array_equal(steps_of(levels), np.ones(19))
    np.testing.assert_array_equal(steps_of(np.array([5.0, 4.0, 2.0])), [1.0, 1.5, 2.0])


def energy(values: FloatArray, low: FloatArray, high: FloatArray, counts: tuple[FloatArray, FloatArray]) -> float:
    """The sum that `descend` makes small, pixel by pixel."""
    total = 0.0
    for i in range(values.shape[0]):
        for j in range(values.shape[1]):
            total += max(0, values[i, j] - high[i, j], low[i, j] - values[i, j]) ** 2
            if 0 < i < values.shape[0] - 1:
                total += counts[0][i - 1, j] * (values[i - 1, j] - 2 * values[i, j] + values[i + 1, j]) ** 2
            if 0 < j < values.shape[1] - 1:
                total += counts[1][i, j - 1] * (values[i, j - 1] - 2 * values[i, j] + values[i, j + 1]) ** 2
    return total


def test_the_tolerance_suits_the_noise() -> None:
    """Noise that is alike at neighbouring pixels, as of real cameras, on a frontal wall: half a step would leave 7 of 11 mm."""
    true, normals = planes(((0.05, 0.03, 1.0), 3.0))
    draw = np.random.default_rng(0).normal(size=(480, 640))
    for axis in (0, 1):
        draw = sum(np.roll(draw, k, axis) * np.exp(-0.5 * (k / 3) ** 2) for k in range(-9, 10))
    inverse = 1 / true[:, 2] + 0.5 * STEP * draw.ravel() / draw.std()
    got = true / (true[:, 2] * stepped(inverse))[:, None]
    before, after = (np.abs(np.einsum("ni,ni->n", points - true, normals)).mean() for points in (got, smooth(got)))
    assert before > 0.009
    assert after < before / 2


def test_the_descent_ends_at_the_least_energy() -> None:
    """No pixel moved by itself makes it smaller; on a small image, after many sweeps."""
    rng = np.random.default_rng(3)
    slope = np.add.outer(0.3 * np.arange(9), 0.2 * np.arange(7)) + 0.2 * rng.normal(size=(9, 7))
    values, step = np.round(slope), np.ones((9, 7))
    counts = second_differences(values, step, rng.uniform(size=(9, 7)) > 0.1)
    low, high = values - step / 2, values + step / 2
    found = values
    for _ in range(30):
        found = descend(found, low, high, counts)
    least = energy(found, low, high, counts)
    assert least < 0.5 * energy(descend(values, low, high, (0 * counts[0], 0 * counts[1])), low, high, counts)
    for i, j in np.ndindex(9, 7):
        for change in (-0.01, 0.01):
            other = found.copy()
            other[i, j] += change
            assert energy(other, low, high, counts) >= least - 1e-9


def test_halves_are_means_where_these_are_one_surface() -> None:
    values = np.array([[1.0, 2.0, 5.0], [1.0, 2.0, 9.0], [3.0, 3.0, 4.0]])
    there = np.array([[True, True, True], [True, True, True], [True, False, False]])
    mean, step, flat = halved(values, np.ones((3, 3)), there)
    np.testing.assert_array_equal(flat, [[True, False], [True, False]])
    np.testing.assert_array_equal(mean[flat], [1.5, 3.0])
    np.testing.assert_array_equal(step[flat], 1.0)


def test_second_differences_count_where_pixels_could_lie_on_a_line() -> None:
    values = np.array([[0.0, 1.0, 0.0, 2.0, 0.0]])
    there = np.array([[True, True, True, True, True]])
    np.testing.assert_array_equal(second_differences(values, np.ones((1, 5)), there)[1], [[1.0, 0.0, 0.0]])
    there[0, 1] = False
    np.testing.assert_array_equal(second_differences(values, np.ones((1, 5)), there)[1], [[0.0, 0.0, 0.0]])


def test_the_image_is_not_far_larger_than_its_points() -> None:
    """A pitch far below the width of the image, as of many pairs of points, would take any amount of memory."""
    got = measured(planes(*FLOOR, width=80)[0])
    assert depth_image(got) is not None
    assert depth_image(np.concatenate([got, got * [1 + 1e-7, 1 + 1e-7, 1]])) is None
