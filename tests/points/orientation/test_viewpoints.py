"""Viewpoints from which a scan was likely seen are found."""

from __future__ import annotations

import naive_preparation as naive
import numpy as np
import pytest
from clouds import FloatArray, Samples, box, grid_of_angles, hemisphere, panorama, plane, shell, sphere, surroundings, torus, turned
from shapes import rotation

from lpdif.points.orientation.priors import PRIORS, STRAY_SHARE
from lpdif.points.orientation.viewpoints import (
    VIEWPOINTS,
    depth_jump_share,
    double_sheet_share,
    evenness,
    likely_viewpoints,
    overlap_share,
)

ORIGIN = np.zeros(3)


def sight_of(samples: Samples, eye: FloatArray) -> Samples:
    """What is seen from there."""
    seen = np.einsum("ni,ni->n", samples.normals, eye - samples.points) > 0.1
    return samples._replace(points=samples.points[seen], normals=samples.normals[seen])


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("shape", ["sphere", "ring"])
def test_a_range_image_was_seen_from_its_origin(turn: int, shape: str) -> None:
    eye = np.array([0.2, 0.1, 4.0])
    seen = turned(sight_of(sphere(3000) if shape == "sphere" else torus(3000), eye), turn)
    place = rotation(turn) @ eye
    found, view, _ = likely_viewpoints(seen.points, -place)[0]
    assert view == "origin"
    np.testing.assert_allclose(found, place)


def test_land_is_seen_from_above() -> None:
    land = plane(2000)
    hills = land._replace(points=land.points + np.sin(3 * land.points[:, :1]) * [0, 0, 0.2])
    ((found, view, _),) = likely_viewpoints(hills.points, np.array([1e3, 2e3, 0.0]))
    assert view == "above"
    assert found.tolist() == [0.0, 0.0, 1.0]


def test_land_under_its_origin_may_have_been_seen_from_there_or_from_above() -> None:
    assert [view.name for view in likely_viewpoints(plane(2000).points, np.array([0.1, 0.2, -3.0]))] == ["origin", "above"]


@pytest.mark.parametrize(("height", "expected"), [(0.0, ["origin", "above"]), (0.5, ["above", "origin"])])
def test_the_view_from_which_less_is_overlaid_comes_first(height: float, expected: list[str]) -> None:
    """A board with a hill, which from the frame's origin hides a part of the board that was seen."""
    x, y = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 80))
    board = np.stack([x, y, height * np.exp(-50 * (x**2 + y**2))], -1).reshape(-1, 3)
    assert [view.name for view in likely_viewpoints(board, np.array([4.0, 0.0, -3.0]))] == expected


def table_from(eye: FloatArray) -> FloatArray:
    """What a camera at `eye` sees of a table over a floor, in its own frame: z forward."""
    forward = -eye / np.linalg.norm(eye)
    across = np.cross(forward, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    axes = np.stack([across, np.cross(forward, across), forward])
    u, v = np.meshgrid(np.linspace(-0.577, 0.577, 120), np.linspace(-0.45, 0.45, 93))
    sight = np.column_stack([u.ravel(), v.ravel(), np.ones(u.size)]) @ axes
    sight = sight[sight[:, 2] < -0.15]
    on_table = eye - sight * (eye[2] / sight[:, 2])[:, None]
    on_floor = eye - sight * ((eye[2] + 0.6) / sight[:, 2])[:, None]
    hit = np.where((np.abs(on_table[:, :2]) < [1.0, 0.6]).all(axis=1)[:, None], on_table, on_floor)
    return np.asarray((hit - eye) @ axes.T)


@pytest.mark.parametrize("height", [1.2, 1.6, 2.5])
def test_a_depth_image_with_silhouettes_was_seen_from_its_origin(height: float) -> None:
    """From behind there are none, as the table stands before its shadow."""
    assert likely_viewpoints(table_from(np.array([0.0, -2.5, height])), np.zeros(3))[0].name == "origin"


def test_sheets_of_one_grid_are_overlaid() -> None:
    """All that is seen at a place is in one place there."""
    x, y, z = np.meshgrid(np.arange(30.0), np.arange(30.0), 20 * np.arange(20.0))
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    assert overlap_share(points[:, :2], points) == 1


@pytest.mark.parametrize("count", [30, 400])
@pytest.mark.parametrize("gap", [0.0, 0.3])
@pytest.mark.parametrize("beside", [False, True])
def test_overlaid_places_as_the_slow_twin_has_them(count: int, gap: float, beside: bool) -> None:
    """Two sheets, over each other or beside each other."""
    points = plane(count).points.copy()
    behind = points[:, 0] > 0 if beside else np.arange(count) % 3 == 0
    points[behind, 2] += 10 * gap
    v = VIEWPOINTS
    expected = naive.overlap_share(points[:, :2], points, v.neighbours, v.least_neighbours, v.far, v.mixed)
    assert overlap_share(points[:, :2], points) == pytest.approx(expected, abs=1e-12)
    if count == 400:
        assert (expected > 0.8) == (gap > 0 and not beside)


@pytest.mark.parametrize("count", [16, 400])
@pytest.mark.parametrize("gap", [0.0, 4.0, 30.0])
@pytest.mark.parametrize("slope", [0.0, 0.7])
@pytest.mark.parametrize("beside", [False, True])
def test_sheets_as_the_slow_twin_has_them(count: int, gap: float, slope: float, beside: bool) -> None:
    rng = np.random.default_rng(3)
    image = rng.random((count, 2))
    behind = image[:, 0] > 0.5 if beside else rng.random(count) < 0.5
    depth = slope * image[:, 0] + 0.001 * (rng.normal(size=count) + gap * behind)
    v = VIEWPOINTS
    expected = naive.double_sheet_share(image, depth, v.neighbours, v.least_neighbours, v.mixed, 4, v.sheet_gap)
    assert double_sheet_share(image, depth) == pytest.approx(expected, abs=1e-12)
    if count == 400 and gap != 4:
        assert (expected > 0.7) == (gap > 0 and not beside)
        assert expected > 0.7 or expected < 0.2


@pytest.mark.parametrize("thickness", [1.5, 2.0, 4.0])
@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (1.0, 2.0, -30.0)])
def test_a_thin_board_shows_two_sheets_and_a_floor_one(thickness: float, origin: tuple[float, float, float]) -> None:
    board = box(6000, (1.0, 0.7, thickness * np.sqrt(1.4 / 6000))).points
    assert [view.two_sheets for view in likely_viewpoints(board, np.array(origin))] == [True] * (1 if origin[2] == 0 else 2)
    rough = plane(3000).points + np.array([0.0, 0.0, 0.003]) * np.random.default_rng(0).normal(size=(3000, 1))
    views = likely_viewpoints(rough, np.array(origin))
    assert [view.name for view in views][-1] == "above"
    assert not any(view.two_sheets for view in views)


@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (5.0, 1.0, 0.0), (300.0, 0.0, 0.0)])
def test_a_whole_solid_has_no_view(origin: tuple[float, float, float]) -> None:
    assert not likely_viewpoints(torus(3000).points, np.array(origin))
    assert not likely_viewpoints(shell(3000).points, np.array(origin))


def test_a_wall_that_stands_upright_has_no_view_from_above() -> None:
    wall = plane(2000).points[:, [0, 2, 1]]
    layered = np.concatenate([wall, wall + np.array([0.003, 1.0, 0.001])])
    assert not likely_viewpoints(layered, ORIGIN)


@pytest.mark.parametrize("eye", [(0.0, 0.0, 3.0), (0.3, 0.2, 0.1)])
@pytest.mark.parametrize("shape", ["sphere", "torus", "plane"])
def test_evenness_and_jumps_as_the_slow_twins_have_them(shape: str, eye: tuple[float, float, float]) -> None:
    samples = {"sphere": sphere, "torus": torus, "plane": plane}[shape](300)
    place, areas = np.array(eye), np.random.default_rng(0).uniform(0.5, 2, 300)
    expected = naive.evenness(samples.points, samples.normals, areas, place, PRIORS.grazing)
    assert evenness(samples.points, samples.normals, areas, place) == pytest.approx(expected)
    jumps = naive.depth_jump_share(samples.points, place, VIEWPOINTS.neighbours, VIEWPOINTS.least_neighbours, VIEWPOINTS.far)
    assert depth_jump_share(samples.points, place) == pytest.approx(jumps)
    assert (jumps > 0.02) == (shape == "sphere" and eye[2] == 3.0)


def evenness_from_origin(points: FloatArray) -> float:
    """With exact areas and estimated axes."""
    cloud = surroundings(Samples(points, np.zeros_like(points), 1.0))
    return evenness(points, cloud.estimated, cloud.areas, ORIGIN)


@pytest.mark.parametrize("roof", [False, True])
def test_a_scanner_spreads_points_evenly_in_its_image(roof: bool) -> None:
    seen = panorama(roof=roof)
    assert evenness_from_origin(seen) < 0.8 * VIEWPOINTS.evenness
    assert depth_jump_share(seen, ORIGIN) > STRAY_SHARE
    table = table_from(np.array([0.0, -2.5, 1.2]))
    assert evenness_from_origin(table) < VIEWPOINTS.evenness


@pytest.mark.parametrize("place", [(0.0, 0.0, 0.0), (0.2, 0.1, 0.3), (0.0, 0.0, -4.0)])
@pytest.mark.parametrize("shape", ["sphere", "hemisphere", "torus", "plane", "box"])
def test_points_spread_on_the_surface_are_less_even_in_an_image(shape: str, place: tuple[float, float, float]) -> None:
    samples = {"sphere": sphere, "torus": torus, "plane": plane, "hemisphere": hemisphere, "box": box}[shape](3000)
    assert evenness_from_origin(samples.points + np.array(place)) > 1.1 * VIEWPOINTS.evenness


def test_a_solid_on_a_grid_of_angles_is_even_from_within_but_has_no_silhouettes() -> None:
    body = grid_of_angles(lambda latitude, _: 1 + 0.7 * np.sin(latitude))
    assert evenness_from_origin(body) < VIEWPOINTS.evenness
    assert depth_jump_share(body, ORIGIN) == 0
