"""Outward normals of scans: estimated, kept, mended or turned, by shape, given normals and sensor; and logged."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from clouds import (
    FloatArray,
    Samples,
    box,
    degrees,
    grid_of_angles,
    hemisphere,
    joined,
    noisy,
    panorama,
    plane,
    room_with_things,
    shell,
    shifted,
    sphere,
    torus,
    town,
    two_balls,
)

from lpdif.points.cloud import Cloud
from lpdif.points.orientation.viewpoints import likely_viewpoints
from lpdif.points.prepare import prepare
from lpdif.types import Scan

SHAPES = {"sphere": sphere(1500), "torus": torus(2000), "balls": two_balls(2000), "shell": shell(2500)}


def outward_share(found: Cloud, samples: Samples) -> float:
    return float((np.einsum("ni,ni->n", found.normals, samples.normals[found.kept]) > 0).mean())


def flips(count: int, share: float = 0.5) -> FloatArray:
    return np.where(np.random.default_rng(1).random(count) < share, -1.0, 1.0)[:, None]


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_estimated_normals_point_outward(shape: str, noise: float) -> None:
    clean = SHAPES[shape]
    found = prepare(Scan(noisy(clean, noise * clean.spacing).points))
    assert found.facts["normals"] == "estimated"
    assert outward_share(found, clean) > (0.998 if noise == 0 else 0.98)
    assert np.median(degrees(found.normals, clean.normals[found.kept])) < (4 if noise == 0 else 12)
    assert float(found.facts["ambiguous_share"]) < 0.05


@pytest.mark.parametrize("shape", list(SHAPES))
def test_given_normals_of_solids_are_kept(shape: str) -> None:
    samples = SHAPES[shape]
    found = prepare(Scan(samples.points, samples.normals))
    np.testing.assert_allclose(found.normals, samples.normals[found.kept], atol=1e-12)
    assert found.facts["normals"] == "given"
    assert float(found.facts["ambiguous_share"]) < 0.01


@pytest.mark.parametrize("shape", list(SHAPES))
def test_inward_normals_of_solids_are_turned_over(shape: str) -> None:
    samples = SHAPES[shape]
    found = prepare(Scan(samples.points, -samples.normals))
    np.testing.assert_allclose(found.normals, samples.normals[found.kept], atol=1e-12)
    assert found.facts["normals"] == "given, turned over"


@pytest.mark.parametrize("shape", list(SHAPES))
@pytest.mark.parametrize("share", [0.1, 0.5])
def test_scattered_signs_are_mended_and_axes_kept(shape: str, share: float) -> None:
    samples = SHAPES[shape]
    found = prepare(Scan(samples.points, samples.normals * flips(len(samples.points), share)))
    assert found.facts["normals"] == "given, signs made anew"
    assert outward_share(found, samples) > 0.999
    right = np.einsum("ni,ni->n", found.normals, samples.normals[found.kept]) > 0
    np.testing.assert_allclose(found.normals[right], samples.normals[found.kept][right], atol=1e-12)


@pytest.mark.parametrize(("shape", "cut"), [("sphere", 0.1), ("sphere", 0.5), ("torus", 0.1), ("torus", 0.9)])
def test_the_side_that_is_turned_over_is_turned_back(shape: str, cut: float) -> None:
    samples = SHAPES[shape]
    side = np.where(samples.points[:, 0] > cut, -1.0, 1.0)[:, None]
    found = prepare(Scan(samples.points, samples.normals * side))
    assert found.facts["normals"] == "given, partly turned over"
    assert outward_share(found, samples) > 0.999


@pytest.mark.parametrize("count", [2000, 8000])
@pytest.mark.parametrize("way", [1.0, -1.0])
def test_either_half_that_is_turned_over_is_turned_back(count: int, way: float) -> None:
    """One of them is just more than half of its part."""
    samples = torus(count)
    half = np.where(samples.points[:, :1] > 0, way, -way)
    found = prepare(Scan(samples.points, samples.normals * half))
    assert found.facts["normals"] == "given, partly turned over"
    assert outward_share(found, samples) > 0.999


@pytest.mark.parametrize("size", [1e-200, 1e-3, 127.0, 1e200])
def test_length_of_given_normals_does_not_matter(size: float) -> None:
    samples = SHAPES["sphere"]
    lengths = size * np.random.default_rng(0).uniform(0.5, 2, (1500, 1))
    found = prepare(Scan(samples.points, samples.normals * lengths))
    np.testing.assert_allclose(found.normals, samples.normals[found.kept], atol=1e-12)


@pytest.mark.parametrize("bad", [0.0, np.nan, np.inf])
def test_missing_normals_are_filled_in(bad: float) -> None:
    samples = SHAPES["torus"]
    missing = np.random.default_rng(0).random(2000) < 0.3
    found = prepare(Scan(samples.points, np.where(missing[:, None], bad, samples.normals)))
    angle = degrees(found.normals, samples.normals[found.kept])
    own = ~missing[found.kept]
    np.testing.assert_allclose(angle[own], 0, atol=1e-5)
    assert angle[~own].max() < 30
    assert np.median(angle[~own]) < 6
    assert str(found.facts["normals"]).startswith("given")


def test_normals_that_most_points_lack_are_estimated() -> None:
    samples = SHAPES["sphere"]
    few = np.arange(1500)[:, None] % 3 == 0
    found = prepare(Scan(samples.points, np.where(few, samples.normals, 0.0)))
    assert found.facts["normals"] == "estimated"
    assert outward_share(found, samples) == 1


@pytest.mark.parametrize("wrong", ["random", "constant", "zero"])
def test_normals_of_something_else_are_replaced(wrong: str, caplog: pytest.LogCaptureFixture) -> None:
    samples = SHAPES["sphere"]
    normals = {
        "random": np.random.default_rng(0).normal(size=(1500, 3)),
        "constant": np.tile([0.0, 1.0, 0.0], (1500, 1)),
        "zero": np.zeros((1500, 3)),
    }[wrong]
    with caplog.at_level(logging.INFO, "lpdif"):
        found = prepare(Scan(samples.points, normals))
    assert found.facts["normals"] == "estimated"
    assert outward_share(found, samples) == 1
    assert ("none given; estimated" if wrong == "zero" else "they do not fit the points") in caplog.text


@pytest.mark.parametrize("height", [-5.0, 5.0])
@pytest.mark.parametrize("given", [None, -1.0, 1.0])
def test_sensor_decides_the_side_of_a_plane(height: float, given: float | None) -> None:
    samples = plane(1500)
    normals = None if given is None else given * samples.normals
    found = prepare(Scan(samples.points, normals), sensor=(0.3, 0.1, height))
    np.testing.assert_allclose(found.normals, [[0, 0, np.sign(height)]] * len(found.normals), atol=1e-9)


def test_sensor_of_the_file_counts_unless_another_is_given() -> None:
    samples = plane(1500)
    below = np.array([0.0, 0.0, -3.0])
    assert (prepare(Scan(samples.points, sensor=below)).normals[:, 2] < 0).all()
    assert (prepare(Scan(samples.points, sensor=below), sensor=(0.0, 0.0, 3.0)).normals[:, 2] > 0).all()


def test_each_point_has_its_own_sensor_whatever_the_order() -> None:
    """A floor seen from above and a ceiling from below, far from the origin."""
    floor, ceiling = plane(1000), shifted(plane(1000, 1), (0.0, 0.0, 1.0))
    points = np.concatenate([floor.points, ceiling.points]) + np.array([1000.0, 0.0, 500.0])
    order = np.random.default_rng(0).permutation(2000)
    sensors = np.array([1000.0, 0.0, 500.5]) + np.random.default_rng(1).uniform(-0.2, 0.2, (2000, 3))
    found = prepare(Scan(points[order], sensor=sensors[order]))
    upward = np.where(order[found.kept] < 1000, 1.0, -1.0)
    assert (found.normals[:, 2] * upward > 0).mean() > 0.99
    assert found.facts["sensor"] == "used"


@pytest.mark.parametrize("place", [(5.0, 0.0, 0.0), (0.0, -3.0, 1.0)])
@pytest.mark.parametrize("count", [300, 3000, 9000])
def test_a_sensor_that_cannot_have_seen_a_solid_is_not_used(
    place: tuple[float, float, float], count: int, caplog: pytest.LogCaptureFixture
) -> None:
    ball = sphere(count)
    found = prepare(Scan(ball.points), sensor=place)
    assert outward_share(found, ball) == 1
    assert "cannot be seen from the sensor's position; it is not used" in caplog.text
    assert "sensor" not in found.facts


@pytest.mark.parametrize("sensor", [(0.5, 0.2, -0.3), (-1.5, 1.0, 0.4)])
def test_a_room_is_seen_from_within_where_the_sensor_says_so(sensor: tuple[float, float, float]) -> None:
    room = box(4000, (4.0, 3.0, 2.0))
    assert outward_share(prepare(Scan(room.points)), room) > 0.99
    found = prepare(Scan(room.points), sensor=sensor)
    assert outward_share(found, room) < 0.01
    assert found.facts["sensor"] == "used"


@pytest.mark.parametrize("sensor", [(0.0, 0.0, 0.4), (-1.2, 0.3, 0.2)])
def test_a_room_with_furniture_is_seen_from_within(sensor: tuple[float, float, float]) -> None:
    """Of its things a part faces the sensor when all is taken as seen from outside."""
    room = box(9000, (4.0, 3.0, 2.5))
    room = room._replace(normals=-room.normals)
    things = [shifted(box(900, (0.5, 0.5, 0.8), i), (1.2 * (i - 1), 1.0 * (-1) ** i, -0.6)) for i in range(3)]
    whole = joined(room, *things)
    found = prepare(Scan(whole.points), sensor=sensor)
    assert found.facts["sensor"] == "used"
    walls = (np.abs(whole.points[found.kept]) > np.array([2.0, 1.5, 1.25]) - 1e-9).any(axis=1)
    assert (np.einsum("ni,ni->n", found.normals, whole.normals[found.kept]) > 0)[walls].mean() > 0.99


@pytest.mark.parametrize("door", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_right_normals_inside_a_room_with_things_are_kept(count: int, door: bool) -> None:
    room = room_with_things(count, door=door)
    found = prepare(Scan(room.points, room.normals))
    assert outward_share(found, room) > 0.999


def test_a_room_with_things_in_it_was_scanned_from_within(caplog: pytest.LogCaptureFixture) -> None:
    """Its things cannot be seen from outside; an empty room might as well be a box."""
    room = room_with_things()
    with caplog.at_level(logging.INFO, logger="lpdif"):
        assert outward_share(prepare(Scan(room.points)), room) > 0.97
    assert "taken as seen from within" in caplog.text
    empty = room_with_things(0)
    assert outward_share(prepare(Scan(empty.points)), empty) < 0.01


def test_outward_normals_of_a_room_with_things_are_kept() -> None:
    """As of a model of it, which is solid."""
    room = room_with_things()
    found = prepare(Scan(room.points, -room.normals))
    assert outward_share(found, room) < 0.01


def test_normals_of_a_plate_on_the_ground_are_left_alone() -> None:
    """Its bottom, which coincides with the ground, closes it: to the winding number the ground might as well face down."""
    ground, thing = plane(6000), box(6000, (1.0, 0.02, 0.5))
    scene = joined(ground, shifted(thing, (0.0, 0.0, 0.25)))
    found = prepare(Scan(scene.points, scene.normals))
    seen = scene.normals[found.kept, 2] > -0.5  # all but the bottom itself
    assert (np.einsum("ni,ni->n", found.normals, scene.normals[found.kept]) > 0)[seen].mean() > 0.99


def test_a_bowl_without_sensor_bulges_outward_and_with_one_faces_it() -> None:
    bowl = hemisphere(1500)
    assert outward_share(prepare(Scan(bowl.points)), bowl) > 0.98
    assert outward_share(prepare(Scan(bowl.points), sensor=(0.0, 0.0, -0.3)), bowl) < 0.02


@pytest.mark.parametrize("turn", [1.0, -1.0])
def test_land_without_normals_is_seen_from_above(turn: float, caplog: pytest.LogCaptureFixture) -> None:
    land = plane(1500)
    height = turn * np.cos(2 * land.points[:, :1]) * np.cos(2 * land.points[:, 1:2])
    hills = land.points + height * [0, 0, 0.2] + [5e5, 4e6, 100.0]
    with caplog.at_level(logging.INFO, "lpdif"):
        assert (prepare(Scan(hills)).normals[:, 2] > 0).all()
    assert "the upper side, as from above" in caplog.text


@pytest.mark.parametrize("height", [-60.0, -20.0, 5.0, 20.0, 40.0])
@pytest.mark.parametrize("origin", [(5e5, 4e6), (500.0, 4000.0)])
def test_steep_land_far_from_its_origin_is_seen_from_above(height: float, origin: tuple[float, float]) -> None:
    """From the origin it may well show one surface, but at grazing sight."""
    x, y = 100 * plane(3000).points[:, :2].T
    hills = np.column_stack([x + origin[0], y + origin[1], height * np.sin(3 * x / 100) + 100])
    assert (prepare(Scan(hills)).normals[:, 2] > 0).all()


def test_what_goes_on_smoothly_behind_the_silhouette_is_not_turned_over() -> None:
    """A ball without its lowest parts shows one surface from above, all but a ring that another view must have seen."""
    ball = shifted(sphere(4000), (5e2, 4e3, 0.0))
    seen = ball.normals[:, 2] > -0.25
    cup = Samples(ball.points[seen], ball.normals[seen], ball.area)
    assert [view.name for view in likely_viewpoints(cup.points, np.zeros(3))] == ["above"]
    assert outward_share(prepare(Scan(cup.points)), cup) > 0.99


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ground_with_houses_on_it_is_seen_from_above(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    scene = town(seed)
    with caplog.at_level(logging.INFO, logger="lpdif"):
        found = prepare(Scan(noisy(scene, 0.005).points + np.array([1e3, 2e3, 50.0])))
    assert outward_share(found, scene) > 0.97
    assert "the upper side of what looks like ground" in caplog.text


def test_a_flat_solid_has_no_ground() -> None:
    slab = box(4000, (4.0, 4.0, 0.5))
    assert outward_share(prepare(Scan(slab.points)), slab) > 0.99


def test_what_is_inconsistent_and_faces_away_from_above_is_turned_over() -> None:
    """Land and, over a gap in it, a bowl that is seen from within: by its shape alone it would face down."""
    land, half = plane(8000), hemisphere(600)
    bowl = 0.25 * half.points * [1.0, 1.0, -1.0] + [0.0, 0.0, 0.6]
    gap = np.linalg.norm(land.points[:, :2], axis=1) < 0.27
    points = np.concatenate([land.points[~gap], bowl]) + np.array([5e5, 4e6, 0.0])
    found = prepare(Scan(points))
    assert (found.normals[:, 2] > -0.05).mean() > 0.999


@pytest.mark.parametrize(("rings", "steps"), [(64, 240), (40, 500)])
@pytest.mark.parametrize("roof", [False, True])
def test_what_a_scanner_at_the_origin_saw_all_around_faces_it(rings: int, steps: int, roof: bool) -> None:
    """By its shape a street would face away from it, and a room would be a solid."""
    found = prepare(Scan(panorama(rings, steps, roof=roof)))
    facing = np.einsum("ni,ni->n", found.normals, -(found.points + found.origin)) > 0
    assert np.average(facing, weights=found.local_spacing**2) > 0.97


def test_a_solid_on_a_grid_of_angles_around_the_origin_faces_outward() -> None:
    found = prepare(Scan(grid_of_angles(lambda latitude, _: 1 + 0.7 * np.sin(latitude))))
    assert (np.einsum("ni,ni->n", found.normals, found.points + found.origin) > 0).mean() > 0.99


def test_a_range_image_without_normals_faces_its_origin() -> None:
    ball = shifted(sphere(3000), (0.0, 3.0, -0.5))
    seen = np.einsum("ni,ni->n", ball.normals, -ball.points) > 0.3
    half = Samples(ball.points[seen], ball.normals[seen], ball.area)
    assert outward_share(prepare(Scan(half.points)), half) > 0.99
    inside_out = Scan(half.points @ np.diag([1.0, 1.0, -1.0]))
    found = prepare(inside_out)
    assert (np.einsum("ni,ni->n", found.normals, found.points + found.origin) < 0).mean() > 0.99


@pytest.mark.parametrize("way", [1.0, -1.0])
def test_given_normals_of_an_open_plane_are_left_alone(way: float) -> None:
    samples = plane(1500)
    found = prepare(Scan(samples.points, way * samples.normals))
    np.testing.assert_array_equal(found.normals, way * samples.normals[found.kept])
    assert found.facts["normals"] == "given"


@pytest.mark.parametrize(("large", "small"), [(1500, 1000), (7000, 4500)])
def test_one_ball_of_two_that_is_inside_out_is_turned(large: int, small: int) -> None:
    samples = joined(sphere(large), shifted(sphere(small, 0.8, 1), (3.0, 0.0, 0.0)))
    wrong = np.where(samples.points[:, 0] > 1.5, -1.0, 1.0)[:, None]
    found = prepare(Scan(samples.points, samples.normals * wrong))
    assert outward_share(found, samples) > 0.999
    assert found.facts["normals"] == "given, partly turned over"


@pytest.mark.parametrize("share", [0.05, 0.15, 0.33, 0.45])
@pytest.mark.parametrize("kind", ["random", "constant", "region"])
@pytest.mark.parametrize("shape", ["torus", "box", "plate"])
def test_stray_normals_among_good_ones_are_made_anew(share: float, kind: str, shape: str) -> None:
    """As of a scan merged from several of which one had none worth the name."""
    samples = {"torus": torus(4000), "box": box(4000), "plate": box(4000, (1.0, 1.0, 0.1))}[shape]
    rng = np.random.default_rng(0)
    bad = rng.random(4000) < share
    if kind == "region":
        bad = samples.points[:, 0] < np.quantile(samples.points[:, 0], share)
    normals = samples.normals.copy()
    normals[bad] = rng.normal(size=(bad.sum(), 3)) if kind == "random" else [0.3, 0.5, 0.81]
    found = prepare(Scan(samples.points, normals))
    assert outward_share(found, samples) > 0.97
    assert np.mean(degrees(found.normals, samples.normals[found.kept]) < 45) > 0.95


@pytest.mark.parametrize("thing", ["bars", "short bars", "grains", "louvres"])
def test_sound_normals_of_thin_things_that_are_scanned_coarsely_are_kept(thing: str) -> None:
    """Planes through the neighbours say little there, and the normals are exact."""
    grid = [(x, y) for x in range(6) for y in range(6)]
    parts = {
        "bars": lambda: [shifted(box(500, (1.0, 0.1, 0.1), x), (0.0, 0.2 * x, 0.2 * y)) for x, y in grid],
        "short bars": lambda: [shifted(box(200, (1.0, 0.1, 0.1), x), (0.0, 0.2 * x, 0.2 * y)) for x, y in grid],
        "grains": lambda: [shifted(box(60, (0.1, 0.1, 0.1), x), (0.0, 0.2 * x, 0.2 * y)) for x, y in grid],
        "louvres": lambda: [shifted(box(160, (1.0, 0.3, 0.06), x), (0.0, 0.0, 0.16 * x)) for x in range(20)],
    }[thing]()
    samples = joined(*parts)
    found = prepare(Scan(samples.points, samples.normals))
    assert str(found.facts["normals"]).startswith("given")
    assert np.mean(degrees(found.normals, samples.normals[found.kept]) < 1) > 0.99


def test_normals_that_most_points_lack_and_the_others_have_wrong_are_estimated() -> None:
    samples, rng = torus(3000), np.random.default_rng(0)
    has = rng.random(3000) < 0.55
    found = prepare(Scan(samples.points, np.where(has[:, None], rng.normal(size=(3000, 3)), np.nan)))
    assert found.facts["normals"] == "estimated"
    assert outward_share(found, samples) > 0.999


@pytest.mark.parametrize("gap", [0.75, 1.0, 1.5, 2.0, 3.0, 6.0, 12.0])
@pytest.mark.parametrize("sheets", [2, 3, 5])
def test_sheets_that_face_the_same_way_are_left_alone(gap: float, sheets: int) -> None:
    """Flight strips with an offset, or floors: what faces the other could be its underside, but the normals are sound."""
    plain = [plane(2000, seed) for seed in range(sheets)]
    whole = joined(*(shifted(sheet, (0.0, 0.0, i * gap * sheet.spacing)) for i, sheet in enumerate(plain)))
    found = prepare(Scan(whole.points, whole.normals))
    assert outward_share(found, whole) == 1


@pytest.mark.parametrize("thickness", [1.7, 2.2, 3.0, 5.0])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_the_sides_of_a_thin_board_without_normals_face_apart(thickness: float, noise: float) -> None:
    """Though from above it shows what looks like one surface, and its underside lies lowest, like ground."""
    side = box(8000, (1.0, 0.6, 0.02)).spacing
    board = box(8000, (1.0, 0.6, thickness * side))
    found = prepare(Scan(noisy(board, noise * side).points))
    assert outward_share(found, board) > 0.97


@pytest.mark.parametrize("thickness", [2.0, 4.0, 10.0])
@pytest.mark.parametrize("half", [False, True])
def test_the_underside_of_a_plate_that_faces_up_is_turned_back(thickness: float, half: bool) -> None:
    """As of normals that were all turned to one direction: what joins it along its rim tells."""
    plate = box(6000, (1.0, 1.0, thickness * np.sqrt(2 / 6000)))
    up = (plate.normals[:, 2] < -0.5) & (plate.points[:, 0] > (0.0 if half else -np.inf))
    found = prepare(Scan(plate.points, np.where(up[:, None], -plate.normals, plate.normals)))
    assert outward_share(found, plate) > 0.99


@pytest.mark.parametrize(("thickness", "noise"), [(t, n) for t in (0.2, 0.5, 1.0, 2.0) for n in (0.0, 0.3, 0.6) if n <= t])
@pytest.mark.parametrize("shape", ["slab", "bowl"])
def test_right_normals_of_thin_walls_are_kept(shape: str, thickness: float, noise: float) -> None:
    """Though neighbours on the other side of a wall, next to a point and facing away, contradict it: what they lie behind is no mistake."""
    if shape == "slab":
        side = box(6000, (1.0, 0.7, 0.02))
        clean = box(6000, (1.0, 0.7, thickness * side.spacing))
    else:
        side = hemisphere(3000)
        inner = side._replace(points=side.points * (1 - thickness * side.spacing), normals=-side.normals)
        clean = joined(side, inner)
    samples = noisy(clean, noise * side.spacing)
    rng = np.random.default_rng(2)
    given = clean.normals + 0.1 * min(1.0, noise) * rng.normal(size=clean.normals.shape)
    found = prepare(Scan(samples.points, given / np.linalg.norm(given, axis=1, keepdims=True)))
    assert outward_share(found, clean) > 0.98
