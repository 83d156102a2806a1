"""From a scan to clean points with outward normals: what it finds is true, and does not hang on how the scan was written."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import FloatArray, Samples, degrees, noisy, plane, sphere, torus
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import rotation

from lpdif.errors import InputError
from lpdif.points.cloud import Cloud
from lpdif.points.measure import frame_of, spatial_order
from lpdif.points.prepare import prepare
from lpdif.points.validity import check_precision
from lpdif.types import Scan

RING = noisy(torus(1500), 0.01)


def scan_of(samples: Samples, with_normals: bool = False) -> Scan:
    return Scan(samples.points, samples.normals if with_normals else None)


def same(one: Cloud, other: Cloud) -> None:
    """Bit for bit, but for the rows they came from."""
    for name in ("points", "origin", "normals", "local_spacing"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.spacing, one.noise, one.facts) == (other.spacing, other.noise, other.facts)


def by_row(found: Cloud, values: FloatArray) -> FloatArray:
    """Values of the points in the order of the scan's rows."""
    return values[np.argsort(found.kept)]


@pytest.mark.parametrize("with_normals", [False, True])
def test_points_are_those_of_the_scan_and_normals_are_theirs(with_normals: bool) -> None:
    found = prepare(scan_of(RING, with_normals))
    np.testing.assert_allclose(found.points + found.origin, RING.points[found.kept], atol=1e-15)
    assert len(np.unique(found.kept)) == len(found.kept) > 1490
    np.testing.assert_allclose(np.linalg.norm(found.normals, axis=1), 1, atol=1e-12)
    angle = degrees(found.normals, RING.normals[found.kept])
    assert angle.max() < (1e-5 if with_normals else 60)
    assert np.median(angle) < 6
    assert found.facts["normals"] == ("given" if with_normals else "estimated")


def test_neighbours_are_not_kept() -> None:
    """They take 64 bytes a point, and nothing asks for them any more."""
    ready = prepare(scan_of(RING))
    assert (len(ready.near.indices), len(ready.near.reach), len(ready.near.mean)) == (0, 0, 0)
    assert ready.near.indices.base is None


def test_spacing_and_noise_are_true_and_noted() -> None:
    found = prepare(scan_of(RING))
    assert found.spacing == pytest.approx(RING.spacing, rel=0.05)
    assert found.noise == pytest.approx(0.01, rel=0.2)
    assert found.local_spacing.shape == (len(found.points),)
    assert np.median(found.local_spacing) == pytest.approx(RING.spacing, rel=0.07)
    assert (found.facts["spacing"], found.facts["noise"]) == (found.spacing, found.noise)
    assert 0 <= float(found.facts["ambiguous_share"]) < 0.05


def test_broken_and_double_rows_are_dropped_and_counted() -> None:
    points = np.concatenate([RING.points, RING.points[:40], RING.points[:3]])
    points[100:117, 1] = np.nan
    points[200, 0] = np.inf
    found = prepare(Scan(points), keep_outliers=True)
    assert (found.facts["dropped_not_finite"], found.facts["merged_duplicates"]) == (18, 43)
    left = sorted(set(range(1500)) - set(range(100, 117)) - {200})
    assert sorted(found.kept.tolist()) == left
    assert not {"dropped_not_finite", "merged_duplicates"} & set(prepare(scan_of(RING)).facts)


def test_strays_are_dropped_and_counted_unless_wanted() -> None:
    strays = np.random.default_rng(3).uniform(2, 4, (30, 3))
    scan = Scan(np.concatenate([RING.points, strays]))
    found, whole = prepare(scan), prepare(scan, keep_outliers=True)
    dropped = set(range(1530)) - set(found.kept.tolist())
    assert dropped >= set(range(1500, 1530))
    assert len(dropped) < 45
    assert found.facts["dropped_outliers"] == len(dropped)
    assert sorted(whole.kept.tolist()) == list(range(1530))
    assert "dropped_outliers" not in whole.facts
    assert (np.abs(found.points).max(axis=0) <= 1.5).all()  # around an origin of their own


def test_a_scan_that_is_mostly_outliers_is_kept_whole(caplog: pytest.LogCaptureFixture) -> None:
    mist = np.random.default_rng(0).uniform(-30, 30, (200, 3))
    found = prepare(Scan(np.concatenate([sphere(300).points, mist]), name="mist.ply"))
    assert len(found.points) == 500
    assert "mist.ply: " in caplog.text
    assert "look like outliers: too many to be; all are kept" in caplog.text


@pytest.mark.parametrize(
    ("points", "words"),
    [
        (np.zeros((0, 3)), "0 distinct points"),
        (np.full((100, 3), np.nan), "none of its 100 points has a position: each has a coordinate that is NaN or infinite"),
        (np.ones((100, 3)), "1 distinct point"),
        (np.arange(100)[:, None] * [0.0, 1.0, 0.0], "lie on one line"),
        (np.arange(100)[:, None] * [1.0, 2.0, 3.0] / 7 + 1e6, "lie on one line"),
    ],
)
def test_scans_without_a_surface_are_refused(points: FloatArray, words: str) -> None:
    with pytest.raises(InputError, match=words):
        prepare(Scan(points, name="bad.ply"))


@pytest.mark.parametrize("with_normals", [False, True])
def test_order_of_the_rows_does_not_matter(with_normals: bool) -> None:
    order = np.random.default_rng(5).permutation(1500)
    shuffled = Scan(RING.points[order], RING.normals[order] if with_normals else None)
    one, other = prepare(scan_of(RING, with_normals)), prepare(shuffled)
    same(one, other)
    np.testing.assert_array_equal(order[other.kept], one.kept)


def test_threads_do_not_matter() -> None:
    one = prepare(scan_of(RING))
    for threads in (0, 2, 3):
        other = prepare(scan_of(RING), threads=threads)
        same(one, other)
        np.testing.assert_array_equal(other.kept, one.kept)


def test_a_round_shift_gives_the_very_same_points() -> None:
    coarse = Scan(np.round(RING.points * 2**20) / 2**20)
    one, other = prepare(coarse), prepare(Scan(coarse.points + np.array([4096.0, -512.0, 64.0])))
    np.testing.assert_array_equal(other.points, one.points)
    np.testing.assert_array_equal(other.normals, one.normals)
    np.testing.assert_array_equal(other.origin - one.origin, [4096, -512, 64])


@pytest.mark.parametrize("factor", [2.0**-30, 2.0**13])
def test_a_power_of_two_gives_the_very_same_points(factor: float) -> None:
    one, other = prepare(scan_of(RING)), prepare(Scan(RING.points * factor))
    np.testing.assert_array_equal(other.points, one.points * factor)
    np.testing.assert_array_equal(other.normals, one.normals)
    assert (other.spacing, other.noise) == (one.spacing * factor, one.noise * factor)


@pytest.mark.parametrize("shift", [1e6, -3.3e6])
def test_far_coordinates_lose_nothing(shift: float) -> None:
    near, far = prepare(scan_of(RING)), prepare(Scan(RING.points + shift))
    np.testing.assert_array_equal(np.sort(far.kept), np.sort(near.kept))
    assert np.abs(far.points).max() < 2
    assert far.spacing == pytest.approx(near.spacing, rel=1e-6)
    assert far.noise == pytest.approx(near.noise, rel=1e-4)
    assert degrees(by_row(far, far.normals), by_row(near, near.normals)).max() < 0.1


@settings(derandomize=True, deadline=None, max_examples=5)
@given(seed=st.integers(0, 40), exponent=st.floats(-5, 5), shift=st.floats(-1000, 1000), with_normals=st.booleans())
def test_everything_turns_and_grows_with_the_scan(seed: int, exponent: float, shift: float, with_normals: bool) -> None:
    turn, factor = rotation(seed), 10.0**exponent
    moved = Scan(factor * (RING.points @ turn.T + shift), RING.normals @ turn.T if with_normals else None)
    one, other = prepare(scan_of(RING, with_normals)), prepare(moved)
    np.testing.assert_array_equal(np.sort(other.kept), np.sort(one.kept))
    assert other.spacing == pytest.approx(factor * one.spacing, rel=1e-6)
    assert other.noise == pytest.approx(factor * one.noise, rel=0.1)  # measured at other places
    angle = degrees(by_row(other, other.normals), by_row(one, one.normals) @ turn.T)
    assert np.quantile(angle, 0.99) < 2
    assert angle.max() < 90


@pytest.mark.parametrize("low", [0.0, -7.0, 1e6])
@pytest.mark.parametrize("extent", [1e-3, 1.0, 1000.0])
def test_the_frame_is_centred_and_short(low: float, extent: float) -> None:
    world = low + extent * np.random.default_rng(0).random((50, 3))
    origin, unit = frame_of(world)
    assert np.log2(unit) == round(np.log2(unit))
    assert 1 <= unit / np.ptp(world, axis=0).max() < 2
    np.testing.assert_allclose(origin, (world.min(axis=0) + world.max(axis=0)) / 2, atol=unit * 2.0**-20)
    np.testing.assert_array_equal(origin / unit * 2**20, np.round(origin / unit * 2**20))


def test_spatial_order_keeps_rows_with_points_and_neighbours_near() -> None:
    points = np.random.default_rng(0).random((2000, 3))
    rows, in_order = spatial_order(np.arange(2000) + 7, points)
    np.testing.assert_array_equal(in_order, points[rows - 7])
    steps = np.linalg.norm(np.diff(in_order, axis=0), axis=1)
    assert np.median(steps) < 0.35 * np.median(np.linalg.norm(np.diff(points, axis=0), axis=1))


@pytest.mark.parametrize(("shift", "single", "warns"), [(0.0, True, False), (1e6, True, True), (1e6, False, False), (100.0, True, False)])
def test_coarse_single_precision_is_warned_of(shift: float, single: bool, warns: bool, caplog: pytest.LogCaptureFixture) -> None:
    world = RING.points + shift
    check_precision(world.astype(np.float32).astype(np.float64) if single else world, RING.spacing)
    assert ("single precision" in caplog.text) == warns


def test_steps_of_single_precision_far_away_still_give_a_surface() -> None:
    ring = torus(1500)
    world = ((ring.points * 10 + 1e6).astype(np.float32)).astype(np.float64)
    found = prepare(Scan(world))
    assert found.noise == pytest.approx(0.0625 / np.sqrt(12), rel=0.4)
    assert np.median(degrees(found.normals, ring.normals[found.kept])) < 8


def test_density_that_changes_is_followed_and_bounded_below() -> None:
    dense = plane(6000)
    kept = (dense.points[:, 0] < 0) | (np.random.default_rng(0).random(6000) < 0.1)
    knot = np.random.default_rng(1).normal(size=(400, 3)) * [1e-5, 1e-5, 0]
    found = prepare(Scan(np.concatenate([dense.points[kept], knot])), keep_outliers=True)
    side = (found.points + found.origin)[:, 0]
    thin, thick = np.median(found.local_spacing[side > 0.2]), np.median(found.local_spacing[side < -0.2])
    assert thin / thick == pytest.approx(np.sqrt(10), rel=0.15)
    assert found.local_spacing.min() == pytest.approx(0.05 * found.spacing)


@pytest.mark.slow
def test_a_large_cloud_is_what_a_small_one_is() -> None:
    """So large that it is handled in chunks, and that some points stand for all."""
    clean = torus(140_000)
    found = prepare(scan_of(noisy(clean, 0.2 * clean.spacing)))
    assert len(found.points) > 139_900
    assert found.spacing == pytest.approx(clean.spacing, rel=0.02)
    assert found.noise == pytest.approx(0.2 * clean.spacing, rel=0.05)
    assert (np.einsum("ni,ni->n", found.normals, clean.normals[found.kept]) > 0).all()


@pytest.mark.parametrize("share", [0.1, 0.35])
def test_normals_that_lack_in_one_part_are_filled_in(share: float) -> None:
    """As of a scan with normals that was merged with one without."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(8000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    normals = np.where(points[:, :1] > 1 - 2 * share, 0.0, points)
    found = prepare(Scan(points, normals, name="merged"))
    assert (np.einsum("ij,ij->i", found.normals, points[found.kept]) > 0.9).all()
