"""What speaks for a side: given normals are judged rightly, sensors and views are found and counted."""

from __future__ import annotations

from dataclasses import astuple

import clouds
import naive_preparation as naive
import numpy as np
import pytest
from clouds import FloatArray, Samples, box, hemisphere, noisy, plane, shell, sphere, surroundings, torus, turned, two_balls
from shapes import rotation

from lpdif.points.orientation.given_normals import (
    ASKEW,
    CONFIDENT,
    FITTING,
    FLAT,
    STRAYS,
    VAGUE,
    VAGUER,
    Trust,
    stray_normals,
    surface_winding,
    trust_in,
)
from lpdif.points.orientation.viewpoints import (
    BEHIND,
    FAR,
    GRAZING,
    IMAGE_NEIGHBOURS,
    MIXED,
    SPLIT,
    SPLITS,
    ground_votes,
    likely_views,
    overlaid,
    sensor_votes,
    sheets,
)

ORIGIN = np.zeros(3)


def trust(samples: Samples, normals: FloatArray) -> Trust:
    cloud = surroundings(samples)
    return trust_in(samples.points, normals, cloud.areas, cloud.near.indices, cloud.spacing, cloud.reach)


def flips(count: int, share: float) -> FloatArray:
    return np.where(np.random.default_rng(1).random(count) < share, -1.0, 1.0)[:, None]


def sight_of(samples: Samples, eye: FloatArray) -> Samples:
    """What is seen from there."""
    seen = np.einsum("ni,ni->n", samples.normals, eye - samples.points) > 0.1
    return samples._replace(points=samples.points[seen], normals=samples.normals[seen])


@pytest.mark.parametrize("shape", ["sphere", "torus", "balls", "shell"])
def test_normals_of_solids_are_trusted_and_inward_ones_known(shape: str) -> None:
    samples = {"sphere": sphere, "torus": torus, "balls": two_balls, "shell": shell}[shape](3000)
    good, inward = trust(samples, samples.normals), trust(samples, -samples.normals)
    assert good.fit > 0.99
    assert good.at_odds < 0.02
    assert good.alone < 0.005
    assert (good.outward, good.inward) == (pytest.approx(1, abs=0.03), 0)
    assert (inward.outward, inward.inward) == (0, pytest.approx(1, abs=0.1))
    assert not good.flipped
    assert not inward.flipped


@pytest.mark.parametrize("count", [40, 300])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("shape", ["torus", "box", "noise"])
def test_stray_normals_as_the_slow_twin_has_them(count: int, share: float, shape: str) -> None:
    samples = {"torus": torus(count), "box": box(count), "noise": noisy(torus(count), 0.4 * torus(count).spacing)}[shape]
    rng = np.random.default_rng(count)
    normals = samples.normals.copy()
    normals[rng.random(count) < share] = [0.0, 0.6, 0.8]
    cloud = surroundings(samples)
    expected = naive.stray_normals(
        samples.points, normals, cloud.near.indices, cloud.reach, FLAT, CONFIDENT, ASKEW, FITTING, STRAYS, VAGUE, VAGUER
    )
    assert stray_normals(samples.points, normals, cloud.near.indices, cloud.reach).tolist() == expected
    assert any(expected) or count == 40 or share < 0.3 or shape != "box"


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_scattered_signs_are_noticed(share: float) -> None:
    samples = sphere(2000)
    found = trust(samples, samples.normals * flips(2000, share))
    assert found.flipped
    assert found.fit > 0.99
    assert found.at_odds == pytest.approx(2 * share * (1 - share), abs=0.06)


def test_one_half_turned_over_is_not_scattered() -> None:
    samples = sphere(3000)
    found = trust(samples, samples.normals * np.where(samples.points[:, 2] > 0, 1.0, -1.0)[:, None])
    assert not found.flipped
    assert found.inward < 0.8
    assert found.outward < 0.9


def test_normals_of_something_else_do_not_fit() -> None:
    samples = sphere(2000)
    found = trust(samples, sphere(2000, seed=9).normals[np.random.default_rng(0).permutation(2000)])
    assert found.fit == pytest.approx(0.5, abs=0.08)
    assert trust(samples, np.tile([0.0, 0.0, 1.0], (2000, 1))).fit < 0.6


def test_an_open_plane_is_neither_outward_nor_inward() -> None:
    samples = plane(1500)
    found = trust(samples, samples.normals)
    assert (found.outward, found.inward) == (0, 0)
    assert found.fit == pytest.approx(1)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_trust_does_not_depend_on_the_unit(factor: float) -> None:
    samples = noisy(torus(1500), 0.02)
    large = Samples(samples.points * factor, samples.normals, samples.area * factor**2)
    normals = samples.normals * flips(1500, 0.2)
    np.testing.assert_allclose(astuple(trust(large, normals)), astuple(trust(samples, normals)), atol=0.01)


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_winding_number_on_a_surface(way: float) -> None:
    for samples, expected in ((sphere(3000), 0.5), (torus(3000), 0.5), (plane(3000), 0.0), (hemisphere(3000), 0.31)):
        cloud = surroundings(samples)
        found = surface_winding(samples.points, way * samples.normals, cloud.areas, cloud.spacing)
        assert found.shape == (50,)
        assert found.mean() == pytest.approx(way * expected, abs=0.05)


@pytest.mark.parametrize("each", [False, True])
def test_sensor_votes_agree_with_one_sight_at_a_time(each: bool) -> None:
    rng = np.random.default_rng(0)
    points, axes = rng.normal(size=(2, 60, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    sensor = rng.normal(size=(60, 3) if each else 3)
    found = sensor_votes(points, axes, sensor)
    for i in range(60):
        sight = (sensor[i] if each else sensor) - points[i]
        cosine = float(axes[i] @ sight) / float(np.linalg.norm(sight))
        assert found[i] == pytest.approx(max(-1.0, min(1.0, cosine / GRAZING)))
    assert (np.abs(found) < 1).any()
    assert {-1.0, 1.0} <= set(found.tolist())


def test_a_point_at_the_sensor_has_no_vote() -> None:
    assert sensor_votes(np.ones((1, 3)), np.array([[0.0, 0.0, 1.0]]), np.ones(3)).tolist() == [0.0]


@pytest.mark.parametrize("turn", [0, 1, 2])
@pytest.mark.parametrize("shape", ["sphere", "ring"])
def test_a_range_image_was_seen_from_its_origin(turn: int, shape: str) -> None:
    eye = np.array([0.2, 0.1, 4.0])
    seen = turned(sight_of(sphere(3000) if shape == "sphere" else torus(3000), eye), turn)
    place = rotation(turn) @ eye
    found, view, _ = likely_views(seen.points, -place)[0]
    assert view == "origin"
    np.testing.assert_allclose(found, place)


def test_land_is_seen_from_above() -> None:
    land = plane(2000)
    hills = land._replace(points=land.points + np.sin(3 * land.points[:, :1]) * [0, 0, 0.2])
    ((found, view, _),) = likely_views(hills.points, np.array([1e3, 2e3, 0.0]))
    assert view == "above"
    assert found.tolist() == [0.0, 0.0, 1.0]


def test_land_under_its_origin_may_have_been_seen_from_there_or_from_above() -> None:
    assert [view.name for view in likely_views(plane(2000).points, np.array([0.1, 0.2, -3.0]))] == ["origin", "above"]


@pytest.mark.parametrize(("height", "expected"), [(0.0, ["origin", "above"]), (0.5, ["above", "origin"])])
def test_the_view_from_which_less_is_overlaid_comes_first(height: float, expected: list[str]) -> None:
    """A board with a hill, which from the frame's origin hides a part of the board that was seen."""
    x, y = np.meshgrid(np.linspace(-1, 1, 80), np.linspace(-1, 1, 80))
    board = np.stack([x, y, height * np.exp(-50 * (x**2 + y**2))], -1).reshape(-1, 3)
    assert [view.name for view in likely_views(board, np.array([4.0, 0.0, -3.0]))] == expected


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
    assert likely_views(table_from(np.array([0.0, -2.5, height])), np.zeros(3))[0].name == "origin"


def test_sheets_of_one_grid_are_overlaid() -> None:
    """All that is seen at a place is in one place there."""
    x, y, z = np.meshgrid(np.arange(30.0), np.arange(30.0), 20 * np.arange(20.0))
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    assert overlaid(points[:, :2], points) == 1


@pytest.mark.parametrize("count", [30, 400])
@pytest.mark.parametrize("gap", [0.0, 0.3])
@pytest.mark.parametrize("beside", [False, True])
def test_overlaid_places_as_the_slow_twin_has_them(count: int, gap: float, beside: bool) -> None:
    """Two sheets, over each other or beside each other."""
    points = plane(count).points.copy()
    behind = points[:, 0] > 0 if beside else np.arange(count) % 3 == 0
    points[behind, 2] += 10 * gap
    expected = naive.overlaid(points[:, :2], points, IMAGE_NEIGHBOURS, BEHIND, FAR, MIXED)
    assert overlaid(points[:, :2], points) == pytest.approx(expected, abs=1e-12)
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
    expected = naive.sheets(image, depth, IMAGE_NEIGHBOURS, BEHIND, MIXED, SPLITS, SPLIT)
    assert sheets(image, depth) == pytest.approx(expected, abs=1e-12)
    if count == 400 and gap != 4:
        assert (expected > 0.7) == (gap > 0 and not beside)
        assert expected > 0.7 or expected < 0.2


@pytest.mark.parametrize("thickness", [1.5, 2.0, 4.0])
@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (1.0, 2.0, -30.0)])
def test_a_thin_board_shows_two_sheets_and_a_floor_one(thickness: float, origin: tuple[float, float, float]) -> None:
    board = box(6000, (1.0, 0.7, thickness * np.sqrt(1.4 / 6000))).points
    assert [view.two_sheets for view in likely_views(board, np.array(origin))] == [True] * (1 if origin[2] == 0 else 2)
    rough = plane(3000).points + np.array([0.0, 0.0, 0.003]) * np.random.default_rng(0).normal(size=(3000, 1))
    views = likely_views(rough, np.array(origin))
    assert [view.name for view in views][-1] == "above"
    assert not any(view.two_sheets for view in views)


@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (5.0, 1.0, 0.0), (300.0, 0.0, 0.0)])
def test_a_whole_solid_has_no_view(origin: tuple[float, float, float]) -> None:
    assert not likely_views(torus(3000).points, np.array(origin))
    assert not likely_views(shell(3000).points, np.array(origin))


def test_a_wall_that_stands_upright_has_no_view_from_above() -> None:
    wall = plane(2000).points[:, [0, 2, 1]]
    layered = np.concatenate([wall, wall + np.array([0.003, 1.0, 0.001])])
    assert not likely_views(layered, ORIGIN)


@pytest.mark.parametrize("count", [40, 3000])
@pytest.mark.parametrize("height", [0.0, 0.3, 0.9, 1.5])
@pytest.mark.parametrize("spread", [0.3, 2.0])
def test_ground_votes_as_the_slow_twin_has_them(count: int, height: float, spread: float) -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (count, 3)) * [1, 1.4, height / 2]
    axes = rng.normal(size=(count, 3)) * [1, 1, spread * 3]
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    assert ground_votes(points, axes).tolist() == naive.ground_votes(points, axes)


def test_ground_is_what_lies_lowest() -> None:
    town = clouds.town()
    votes = ground_votes(town.points, -town.normals)
    level = (town.points[:, 2] == 0) & (town.normals[:, 2] == 1)
    assert (votes[level] == -1).all()
    assert (votes <= 0).all()  # roofs are seen from above too
    assert (votes[(town.normals[:, 2] == 0)] == 0).all()  # walls say nothing


def test_what_is_tall_or_full_of_gaps_has_no_ground() -> None:
    town = clouds.town()
    assert not ground_votes(town.points[:, [0, 2, 1]], town.normals[:, [0, 2, 1]]).any()
    few = (np.abs(town.points[:, 0] - town.points[:, 1]) < 3) | (np.abs(town.points[:, :2]).max(axis=1) > 9.8)
    assert not ground_votes(town.points[few], town.normals[few]).any()
