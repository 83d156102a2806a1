"""Cleaning: rows that are no points go, outliers go, and thin or sparse parts of a surface stay."""

from __future__ import annotations

import naive_preparation as naive
import numpy as np
import pytest
from clouds import FloatArray, box, joined, noisy, plane, shifted, sphere, torus, turned
from numpy.typing import NDArray
from shapes import rotation

from lpdif.errors import InputError
from lpdif.points.neighbours import NEIGHBOURHOOD, nearest, search_tree
from lpdif.points.noise import local_noise, noise_sigma
from lpdif.points.outliers import OUTLIERS, inlier_rows, intrinsic_dimension, links, plane_offset, quadric_scatter
from lpdif.points.spacing import local_spacing
from lpdif.points.validity import check_extent, collinear, distinct_rows, far_rows, finite_rows, no_data_rows
from lpdif.types import MINIMUM_POINTS


def broken(count: int, share: float, seed: int = 0) -> FloatArray:
    """Points of which a share has a coordinate that is none."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(count, 3))
    for row in np.flatnonzero(rng.random(count) < share):
        points[row, rng.integers(3)] = rng.choice([np.nan, np.inf, -np.inf])
    return points


def inliers(points: FloatArray, threads: int = 1) -> NDArray[np.bool_]:
    tree = search_tree(points)
    near = nearest(tree, points, NEIGHBOURHOOD)
    noise = noise_sigma(points, tree)
    around = local_spacing(near.reach, near.indices.shape[1], noise)
    return inlier_rows(points, tree, near, local_noise(points, tree, None, noise, around), threads)


def with_strays(points: FloatArray, strays: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Both in spatial order, and which are strays."""
    whole = np.concatenate([points, strays])
    order = search_tree(whole).indices
    return whole[order], order >= len(points)


@pytest.mark.parametrize("count", [0, 1, 60])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_rows_without_a_position_go(count: int, share: float) -> None:
    points = broken(count, share)
    assert finite_rows(points).tolist() == naive.finite_rows(points)


@pytest.mark.parametrize("stand_in", [np.finfo(np.float32).max, -np.finfo(np.float32).max, 1e300, -1e31])
@pytest.mark.parametrize("count", [1, 20, 60])
def test_numbers_that_stand_for_none_go_with_those_that_are_none(stand_in: float, count: int) -> None:
    points = np.random.default_rng(0).normal(size=(102, 3)) * 1e9
    points[:count, count % 3] = stand_in
    points[count] = np.nan
    assert finite_rows(points).tolist() == list(range(count + 1, 102))
    points[count] = 0.0
    points[: 102 - 31, 0] = stand_in  # too few others: a scan in a unit of its own, which is refused by what it is
    assert len(finite_rows(points)) == 102


@pytest.mark.parametrize("count", [0, 1, 2, 15, 300])
@pytest.mark.parametrize("values", [1, 3, 50])
def test_distinct_points_agree_with_a_dictionary(count: int, values: int) -> None:
    points = np.random.default_rng(count).integers(-values, values, (count, 3)) / 7
    points[::2] *= -1.0  # so that there are negative zeros
    assert distinct_rows(points).tolist() == naive.distinct_rows(points)


def test_distinct_points_come_in_an_order_of_their_own() -> None:
    rng = np.random.default_rng(3)
    points = rng.integers(0, 4, (200, 3)).astype(float)
    found = points[distinct_rows(points)]
    for _ in range(5):
        shuffled = rng.permutation(points)
        np.testing.assert_array_equal(shuffled[distinct_rows(shuffled)], found)
    assert len(found) < 64 + 1
    assert (np.diff(found @ [16, 4, 1]) > 0).all()


def test_points_a_bit_apart_are_distinct() -> None:
    points = np.array([[1.0, 2.0, 3.0], [1.0, 2.0, np.nextafter(3.0, 4.0)], [1.0, 2.0, 3.0]])
    assert distinct_rows(points).tolist() == [0, 1]


@pytest.mark.parametrize("count", [0, 1, MINIMUM_POINTS - 1])
def test_too_few_points_are_refused_with_their_number(count: int) -> None:
    with pytest.raises(InputError, match=rf"^some\.ply: {count} distinct points?, at least {MINIMUM_POINTS}") as caught:
        check_extent(np.random.default_rng(0).normal(size=(count, 3)), "some.ply")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("factor", "shift", "words"),
    [
        (1e31, 0.0, "beyond any unit of length"),
        (1.0, 1e31, "beyond any unit of length"),
        (1e-31, 0.0, "below any unit of length"),
        (1e-310, 0.0, "below any unit of length"),
        (1e-3, 1e10, "cannot be told apart"),
        (1e-10, 1e3, "cannot be told apart"),
    ],
)
def test_points_without_a_scale_are_refused(factor: float, shift: float, words: str) -> None:
    with pytest.raises(InputError, match=words):
        check_extent(sphere(100).points * factor + shift, "scan")


def test_points_near_the_largest_number_are_refused_without_a_warning() -> None:
    points = np.random.default_rng(0).choice([-1.7e308, -1e308, 1e308, 1.7e308], (100, 3))
    assert not len(far_rows(points))
    assert collinear(points)  # for all that can be told
    with pytest.raises(InputError, match="beyond any unit of length"):
        check_extent(points, "scan")


@pytest.mark.parametrize("factor", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("count", [0, 1, 11, 12, 40])
def test_points_far_out_are_found_whatever_the_unit(count: int, factor: float) -> None:
    ball = sphere(500).points
    far = 2e4 * (1 + np.arange(count))[:, None] * np.array([1.0, -1.0, 0.5])
    found = far_rows(factor * np.concatenate([far, ball]))
    assert found.tolist() == (list(range(count)) if count < NEIGHBOURHOOD else [])


@pytest.mark.parametrize(("factor", "shift"), [(1.0, 0.0), (1e28, 0.0), (1e-30, 0.0), (1.0, 1e8), (1e-3, 1e6)])
@pytest.mark.parametrize("flat", [False, True])
def test_points_with_a_scale_pass(factor: float, shift: float, flat: bool) -> None:
    points = plane(MINIMUM_POINTS).points if flat else sphere(MINIMUM_POINTS).points
    check_extent(points * factor + shift, "scan")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_line_along_an_axis_is_refused(axis: int) -> None:
    points = np.zeros((50, 3))
    points[:, axis] = np.linspace(3, 5, 50)
    with pytest.raises(InputError, match="all 50 points lie on one line"):
        check_extent(points, "scan")


@pytest.mark.parametrize("direction", [(1.0, 2.0, 3.0), (0.3, -0.7, 0.1), (1.0, 1e-3, 1e-9)])
@pytest.mark.parametrize("shift", [0.0, 1.0, 1e6, -3e9])
@pytest.mark.parametrize("count", [50, 3000])
def test_a_line_in_any_direction_is_refused_however_far(direction: tuple[float, float, float], shift: float, count: int) -> None:
    points = np.outer(np.linspace(0, 1, count), direction) + shift
    with pytest.raises(InputError, match=f"all {count:,} points lie on one line"):
        check_extent(points, "scan")


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_line_of_single_precision_is_refused(shift: float) -> None:
    points = np.outer(np.linspace(0, 1, 50), [1.0, 2.0, 3.0]) + shift
    with pytest.raises(InputError, match="lie on one line"):
        check_extent(points.astype(np.float32).astype(np.float64), "scan")


@pytest.mark.parametrize(("width", "shift"), [(1e-6, 0.0), (1e-6, 100.0), (1e-4, 1e6)])
def test_a_ribbon_is_no_line(width: float, shift: float) -> None:
    rng = np.random.default_rng(0)
    ribbon = np.column_stack([np.linspace(0, 1, 50), width * rng.normal(size=50), np.zeros(50)])
    check_extent(ribbon @ rotation(0).T + shift, "scan")


@pytest.mark.parametrize("places", [1, 2, 40])
@pytest.mark.parametrize("k", [3, 4, 12])
def test_offset_from_the_plane_agrees_with_a_singular_value_decomposition(places: int, k: int) -> None:
    rng = np.random.default_rng(k)
    near = rng.normal(size=(places, k, 3)) * [1.0, 0.6, 0.2] + rng.normal(size=(places, 1, 3))
    found = plane_offset(near)
    for m in range(places):
        np.testing.assert_allclose([values[m] for values in found], naive.plane_offset(near[m]), rtol=0, atol=1e-7)


@pytest.mark.parametrize("shape", ["sphere", "torus", "plane", "box", "sheet", "balls"])
@pytest.mark.parametrize("noise", [0.0, 0.2, 0.6])
def test_a_surface_alone_keeps_its_points(shape: str, noise: float) -> None:
    clean = {
        "sphere": sphere(1500),
        "torus": torus(1500),
        "plane": plane(1500),
        "box": box(1500),
        "sheet": box(2500, (1.0, 1.0, 0.04)),
        "balls": joined(sphere(1000), shifted(sphere(300, 0.3), (2.0, 0.0, 0.0))),
    }[shape]
    assert inliers(noisy(clean, noise * clean.spacing).points).mean() > (0.998 if noise == 0 else 0.99)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_strays_around_a_sphere_go(seed: int) -> None:
    clean = noisy(sphere(1500, seed=seed), 0.1 * sphere(1500).spacing)
    drawn = np.random.default_rng(seed).uniform(-2, 2, (400, 3))
    away = np.abs(np.linalg.norm(drawn, axis=1) - 1)
    strays = drawn[away > 4 * clean.spacing][:80]
    points, stray = with_strays(clean.points, strays)
    kept = inliers(points)
    assert stray.sum() == 80
    assert kept[stray].mean() < 0.05
    assert kept[~stray].mean() > 0.99


@pytest.mark.parametrize("lift", [1.0, 2.0, 3.0])
def test_points_that_hover_over_a_surface_go(lift: float) -> None:
    clean = noisy(plane(1500), 0.05 * plane(1500).spacing)
    rows = np.arange(50, 1500, 100)
    points, stray = with_strays(clean.points, clean.points[rows] + [0.0, 0.0, lift * clean.spacing])
    kept = inliers(points)
    assert not kept[stray].any()
    assert kept[~stray].mean() > 0.99


def test_outliers_that_hide_behind_others_go() -> None:
    """The upper of two makes the surface under the lower look rough, until it has gone itself."""
    clean = noisy(plane(1500), 0.05 * plane(1500).spacing)
    rows = np.arange(50, 1500, 100)
    towers = [clean.points[rows] + [0.0, 0.0, lift * clean.spacing] for lift in (1.5, 3.3)]
    points, stray = with_strays(clean.points, np.concatenate(towers))
    kept = inliers(points)
    assert not kept[stray].any()
    assert kept[~stray].mean() > 0.99


def test_a_mist_of_outliers_goes_and_the_surface_in_it_stays() -> None:
    clean = torus(3000)
    drawn = np.random.default_rng(5).uniform(-3, 3, (300, 3))
    strays = drawn[search_tree(clean.points).query(drawn)[0] > 5 * clean.spacing]
    points, stray = with_strays(clean.points, strays)
    kept = inliers(points)
    assert stray.sum() > 200
    assert kept[stray].mean() < 0.1
    assert kept[~stray].mean() > 0.99


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_a_mist_of_many_strays_goes(share: float) -> None:
    clean = sphere(6000)
    drawn = np.random.default_rng(5).uniform(-1.2, 1.2, (round(6000 * share / (1 - share)), 3))
    strays = drawn[search_tree(clean.points).query(drawn)[0] > 2 * clean.spacing]
    points, stray = with_strays(clean.points, strays)
    kept = inliers(points)
    assert kept[stray].mean() < 0.15
    assert kept[~stray].mean() > 0.999


@pytest.mark.parametrize("denser", [3, 5, 8, 20])
@pytest.mark.parametrize("shape", ["plate", "noise", "ring", "comb"])
def test_a_sparse_thing_beside_a_dense_one_stays(denser: int, shape: str) -> None:
    """Bars, plates and noisy faces look like a mist to each point, but do not fill space."""
    thing = {
        "plate": box(1500, (1.0, 1.0, 0.05)),
        "noise": noisy(box(1500), 0.5 * box(1500).spacing),
        "ring": torus(1500, 1.0, 0.1),
        "comb": joined(*(shifted(box(400, (0.3, 0.3, 1.6)), (x, y, 0.0)) for x in (0.0, 1.0) for y in (0.0, 1.0))),
    }[shape]
    radius = np.sqrt(8000 / (4 * np.pi)) * thing.spacing / denser
    ball = sphere(8000).points * radius + [thing.points[:, 0].max() + radius + 5 * thing.spacing, 0.0, 0.0]
    points, sparse = with_strays(ball, thing.points)
    kept = inliers(points)
    assert kept[sparse].mean() > 0.98
    assert kept[~sparse].mean() > 0.999


@pytest.mark.parametrize("count", [20, 60, 400])
@pytest.mark.parametrize("shape", ["ball", "torus", "both"])
def test_dimension_as_the_slow_twin_has_it(count: int, shape: str) -> None:
    rng = np.random.default_rng(count)
    filled, surface = rng.normal(size=(count, 3)), torus(count).points
    points = {"ball": filled, "torus": surface, "both": np.concatenate([4 * filled, surface])}[shape]
    tree = search_tree(points)
    mean = nearest(tree, points, NEIGHBOURHOOD).mean
    rows = rng.permutation(len(points))[:10]
    crowd = OUTLIERS.crowd
    expected = [naive.dimension(points, mean, int(row), 2 * crowd, crowd, NEIGHBOURHOOD, OUTLIERS.alike) for row in rows]
    found = intrinsic_dimension(tree, mean, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    if count == 400 and shape != "both":
        assert (found > 2.55).all() if shape == "ball" else (np.abs(found - 2) < 0.4).all()


@pytest.mark.parametrize(("size", "stays"), [(3, False), (10, False), (40, True)])
def test_a_small_knot_far_away_goes_and_a_large_one_stays(size: int, stays: bool) -> None:
    clean = sphere(1500)
    knot = plane(size).points * 0.5 * clean.spacing * np.sqrt(size) + [3.0, 0.0, 0.0]
    points, stray = with_strays(clean.points, knot)
    kept = inliers(points)
    assert kept[stray].tolist() == [stays] * size
    assert kept[~stray].all()


@pytest.mark.parametrize("mist", [0, 600])
def test_few_points_on_a_quadric_stay_but_not_in_a_mist_as_sparse(mist: int) -> None:
    """Of many small clouds of strays, one lies on a quadric by chance."""
    clean, rng = sphere(6000), np.random.default_rng(1)
    bowl = 0.6 * plane(16, seed=2).points
    bowl[:, 2] += 2.2 + 0.5 * np.square(bowl[:, :2]).sum(axis=1)
    drawn = rng.uniform(-2.5, 2.5, (20 * mist + 1, 3))
    far = (np.linalg.norm(drawn, axis=1) > 1.3) & (search_tree(bowl).query(drawn)[0] > 1.1)
    strays = drawn[far][:mist]
    points, stray = with_strays(clean.points, np.concatenate([bowl, strays]))
    kept = inliers(points)
    assert stray.sum() == 16 + mist
    assert kept[~stray].all()
    assert kept[stray].sum() == (0 if mist else 16)


def test_a_thin_rod_on_a_ball_stays() -> None:
    """One spacing thick: a line of points, as an aerial is."""
    ball, rng = sphere(2000), np.random.default_rng(0)
    angle, height = rng.uniform(0, 2 * np.pi, 150), rng.uniform(1.0, 2.5, 150)
    thickness = 0.3 * ball.spacing
    rod = np.column_stack([thickness * np.cos(angle), thickness * np.sin(angle), height])
    points, of_rod = with_strays(ball.points, rod)
    kept = inliers(points)
    assert kept[of_rod].mean() > 0.95
    assert kept[~of_rod].mean() > 0.99


def test_a_thin_sheet_beside_a_ball_stays() -> None:
    sheet = shifted(turned(plane(1000), 3), (3.0, 0.0, 0.0))
    points, of_sheet = with_strays(sphere(2000).points, sheet.points)
    kept = inliers(points)
    assert kept[of_sheet].mean() > 0.99
    assert kept[~of_sheet].mean() > 0.99


@pytest.mark.parametrize("ratio", [3.0, 10.0])
def test_a_sparse_side_is_no_outlier(ratio: float) -> None:
    dense = sphere(4000)
    side = dense.points[:, 2] > 0
    points = dense.points[side | (np.random.default_rng(0).random(4000) < 1 / ratio)]
    kept = inliers(points)
    assert kept[points[:, 2] < -0.2].mean() > 0.97
    assert kept.mean() > 0.99


def test_links_as_the_slow_twin_has_them() -> None:
    rng = np.random.default_rng(0)
    points, _ = with_strays(noisy(torus(300), 0.02).points, rng.uniform(-1.5, 1.5, (30, 3)))
    near = nearest(search_tree(points), points, NEIGHBOURHOOD)
    noise = rng.uniform(0.0, 0.03, len(points))
    expected = naive.links(points, near.indices, near.mean, noise)
    assert 0.3 < expected[2].mean() < 0.95
    for found, wanted in zip(links(points, near, noise), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("count", [20, 25, 30, 40])
@pytest.mark.parametrize("seed", [0, 1])
def test_clumps_of_strays_go(count: int, seed: int) -> None:
    """Small clouds, about as dense as the surface, from nearly on it to far away."""
    rng = np.random.default_rng(seed)
    clean = noisy(sphere(6000), 0.1 * sphere(6000).spacing)
    away = rng.normal(size=(20, 1, 3))
    away *= (1 + clean.spacing * rng.uniform(4, 15, (20, 1, 1))) / np.linalg.norm(away, axis=2, keepdims=True)
    clumps = (away + rng.normal(0, 1.4 * clean.spacing, (20, count, 3))).reshape(-1, 3)
    points, stray = with_strays(clean.points, clumps)
    kept = inliers(points)
    assert kept[stray].mean() < 0.45  # so few points may be a small box, and two clumps a larger one; before, nine in ten stayed
    assert kept[~stray].mean() > 0.999


@pytest.mark.parametrize(("shape", "share"), [("box", 0.9), ("sphere", 0.99), ("torus", 0.99)])
def test_small_parts_of_a_scan_of_a_hundred_stay(shape: str, share: float) -> None:
    rng = np.random.default_rng(0)
    made = {"box": box, "sphere": sphere, "torus": torus}[shape]
    parts = [made(int(rng.integers(24, 60)), seed=seed) for seed in range(100)]
    whole = np.concatenate([turned(part, seed).points / part.spacing + rng.uniform(-100, 100, 3) for seed, part in enumerate(parts)])
    assert inliers(whole[search_tree(whole).indices]).mean() > share


@pytest.mark.parametrize("jump", [8.0, 12.0])
def test_flying_pixels_between_a_thing_and_the_wall_behind_it_go(jump: float) -> None:
    """Half of the pixels along a silhouette lie anywhere on the ray between the two surfaces, as of a depth camera."""
    rng = np.random.default_rng(0)
    x, y = (np.stack(np.meshgrid(np.arange(60), np.arange(60)), -1).reshape(-1, 2) + rng.uniform(0.2, 0.8, (3600, 2))).T
    radius = np.hypot(x - 30, y - 30)
    depth = np.where(radius < 15, 0.0, jump)
    flying = (np.abs(radius - 15) < 0.7) & (rng.random(3600) < 0.5)
    depth = depth + rng.normal(0, 0.05, 3600) + flying * rng.uniform(-jump, jump, 3600) * np.where(radius < 15, -1, 1)
    depth = np.clip(depth, -0.2, jump + 0.2)
    between = flying & (depth > 2.0) & (depth < jump - 2.0)
    points, stray = with_strays(np.c_[x, y, depth][~between], np.c_[x, y, depth][between])
    kept = inliers(points)
    assert kept[stray].mean() < 0.3
    assert kept[~stray].mean() > 0.985


def test_a_point_in_the_middle_of_a_ball_of_rings_goes() -> None:
    """Its neighbours are a whole ring, through whose middle their best plane runs."""
    polar = np.linspace(0, np.pi, 32)
    rings = [sphere_ring(angle, 100) for angle in polar[1:-1]]
    points, stray = with_strays(np.concatenate(rings), np.zeros((1, 3)))
    kept = inliers(points)
    assert not kept[stray].any()
    assert kept[~stray].mean() > 0.999


def sphere_ring(polar: float, count: int) -> FloatArray:
    around = 2 * np.pi * np.arange(count) / count
    return np.column_stack([np.full(count, np.cos(polar)), np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around)])


def test_dense_details_do_not_take_the_points_beside_them_along() -> None:
    """A head with two eyes that were scanned six times as closely: the points between them have only the eyes' for neighbours."""
    rng = np.random.default_rng(0)
    ball = sphere(220)
    eyes = []
    for side in (-0.35, 0.35):
        middle = np.array([side, -0.9, 0.25]) / np.linalg.norm([side, -0.9, 0.25])
        tangent = np.linalg.svd(middle[None])[2][1:]
        radius = 0.1 * np.sqrt(rng.random((60, 1)))
        angle = rng.uniform(0, 2 * np.pi, (60, 1))
        eye = middle + radius * (np.cos(angle) * tangent[0] + np.sin(angle) * tangent[1])
        eyes.append(eye / np.linalg.norm(eye, axis=1, keepdims=True))
    points, _ = with_strays(ball.points, np.concatenate(eyes))
    assert inliers(points).all()


@pytest.mark.parametrize("count", [16, 25, 40, 90])
def test_quadrics_fit_parts_and_no_clouds(count: int) -> None:
    rng = np.random.default_rng(count)
    for seed in range(5):
        assert quadric_scatter(plane(count, seed).points) < 1e-5
        assert quadric_scatter(turned(sphere(count, seed=seed), seed).points * 7.0 + 3.0) < 1e-5
        assert quadric_scatter(torus(count, seed=seed).points) < 0.14
        if count > 20:
            assert quadric_scatter(rng.normal(size=(count, 3))) > 0.12
    assert np.median([quadric_scatter(rng.normal(size=(count, 3))) for _ in range(30)]) > (0.1 if count == 16 else 0.17)


def test_outliers_do_not_depend_on_threads_or_unit() -> None:
    clean = noisy(sphere(1000), 0.02)
    points, _ = with_strays(clean.points, np.random.default_rng(1).uniform(-2, 2, (60, 3)))
    kept = inliers(points)
    assert 900 < kept.sum() < 1060
    np.testing.assert_array_equal(inliers(points, threads=2), kept)
    np.testing.assert_array_equal(inliers(points * 2.0**-20), kept)
    np.testing.assert_array_equal(inliers(points * 2.0**20), kept)


@pytest.mark.parametrize("count", [5, 12, 13, 32])
def test_next_to_no_points_have_no_outliers(count: int) -> None:
    points = plane(count).points
    assert inliers(points).all()


def test_several_marks_for_no_data_are_found() -> None:
    points = np.random.default_rng(0).normal(size=(300, 3))
    points[:20, 2], points[20:30, 2], points[30:40, 0] = -9999, -32768, 9999
    np.testing.assert_array_equal(no_data_rows(points), np.arange(40))
