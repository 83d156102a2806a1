"""compare: every model gets the same points, and their meshes are measured as the definitions say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trimesh
from reconstructions import all_models, ball, ring, run
from shapes import as_mesh

from lpdif.config import CompareConfig
from lpdif.errors import InputError
from lpdif.mesh_queries import closest_points
from lpdif.stages.compare import Errors, measured, summaries, trial_of
from lpdif.tools.metrics import evaluate
from lpdif.types import Mesh, Scan

RING = as_mesh(trimesh.creation.torus(1.0, 0.4, 64, 64))
MESH = Scan(RING.vertices, faces=RING.faces, name="ring.ply")
CONFIG = CompareConfig(points=4000)


def test_points_of_a_mesh_lie_on_it_and_are_the_same_again() -> None:
    trial, again = trial_of(MESH, CONFIG), trial_of(MESH, CONFIG)
    assert len(trial.scan.points) == 4000
    distance = closest_points(trial.scan.points, RING.vertices, RING.faces)[0]
    assert distance.max() < 1e-9
    np.testing.assert_array_equal(trial.scan.points, again.scan.points)
    assert (trial_of(MESH, dataclasses.replace(CONFIG, seed=1)).scan.points != trial.scan.points).any()
    assert trial.truth is not None
    assert len(trial.truth.faces) == len(RING.faces)


def test_noise_is_a_share_of_the_longest_side() -> None:
    noisy = trial_of(MESH, dataclasses.replace(CONFIG, noise=0.01)).scan
    away = evaluate(Mesh(RING.vertices, RING.faces), RING, samples=10)
    assert away.longest_side == pytest.approx(2.8, rel=0.01)
    distance = closest_points(noisy.points, RING.vertices, RING.faces)[0]
    assert np.sqrt(np.square(distance).mean()) == pytest.approx(0.028, rel=0.1)


def test_held_out_points_are_the_share_asked_for_and_no_model_sees_them() -> None:
    scan = Scan(
        np.concatenate([ring(1000).points, ring(1000).points[:300], [[np.nan, 0, 0]]]),
        colors=np.arange(3 * 1301).reshape(-1, 3) % 256,
        extras={"row": np.arange(1301)},
        sensor=np.arange(3.0 * 1301).reshape(-1, 3),
        faces=np.empty((0, 3), np.int64),
    )
    trial = trial_of(scan, CONFIG)
    seen = {tuple(point) for point in trial.scan.points}
    assert len(trial.unseen) == 100
    assert len(seen) == len(trial.scan.points) == 900
    assert not seen & {tuple(point) for point in trial.unseen}
    for n in range(0, 900, 90):  # each point keeps what belongs to it
        row = trial.scan.extras["row"][n]
        np.testing.assert_array_equal(trial.scan.points[n], scan.points[row])
        assert trial.scan.colors is not None
        assert scan.colors is not None
        np.testing.assert_array_equal(trial.scan.colors[n], scan.colors[row])
        assert trial.scan.sensor is not None
        assert scan.sensor is not None
        np.testing.assert_array_equal(trial.scan.sensor[n], scan.sensor[row])


def test_held_out_points_do_not_depend_on_the_order_of_the_file() -> None:
    scan = ball()
    order = np.random.default_rng(1).permutation(len(scan.points))
    assert scan.normals is not None
    shuffled = Scan(scan.points[order], scan.normals[order])
    assert {tuple(p) for p in trial_of(scan, CONFIG).unseen} == {tuple(p) for p in trial_of(shuffled, CONFIG).unseen}


@pytest.mark.parametrize("count", [0, 1, 20, 35])
def test_too_few_points_are_refused(count: int) -> None:
    with pytest.raises(InputError, match="too few to hold some out"):
        trial_of(Scan(ball().points[:count]), CONFIG)


def test_a_mesh_without_area_is_refused() -> None:
    with pytest.raises(InputError, match="without area"):
        trial_of(Scan(np.zeros((9, 3)), faces=np.arange(9).reshape(3, 3)), CONFIG)


@pytest.mark.parametrize("scale", [1.0, 250.0])
def test_errors_against_a_mesh_are_those_of_evaluate_in_thousandths(scale: float) -> None:
    trial = trial_of(dataclasses.replace(MESH, points=scale * RING.vertices), CONFIG)
    made = run(trial.scan, all_models()["tiny"])
    errors = measured(made, trial, seed=5)
    assert trial.truth is not None
    figures = evaluate(made.mesh, trial.truth, seed=5)
    assert errors.error == pytest.approx(1000 * figures.cd / figures.longest_side)
    assert errors.p95 * errors.unit == pytest.approx(figures.p95)
    assert (errors.normal_consistency, errors.within) == (figures.normal_consistency, figures.f_score)
    assert errors.error < 5


@pytest.mark.parametrize("shift", [0.0, 4.5e6])
def test_errors_on_a_scan_are_distances_of_unseen_points_in_spacings(shift: float) -> None:
    scan = ball(3000)
    trial = trial_of(dataclasses.replace(scan, points=scan.points + shift), CONFIG)
    trial = trial._replace(unseen=np.concatenate([trial.unseen, [[9.0 + shift, 0, 0]]]))  # a stray one, which nobody could know
    made = run(trial.scan, all_models()["tiny"])
    errors = measured(made, trial, seed=0)
    spacing = float(made.facts["spacing"])
    away = closest_points(trial.unseen[:-1] - shift, made.mesh.vertices - shift, made.mesh.faces)[0] / spacing
    assert errors.error == pytest.approx(away.mean(), rel=1e-3)
    assert errors.p95 == pytest.approx(np.quantile(away, 0.95), rel=1e-2)
    assert errors.within == 1
    assert errors.unit == spacing
    assert np.isnan(errors.normal_consistency)


def test_means_and_ratios() -> None:
    rows = [
        [Errors(1.0, 3.0, 0.9, 0.5, 1.0), Errors(2.0, 3.0, 0.8, 0.7, 1.0)],
        [Errors(4.0, 3.0, 0.7, 0.5, 1.0), Errors(2.0, 3.0, 0.6, 0.9, 1.0)],
    ]
    first, second = summaries(rows)
    assert first == pytest.approx((2.5, 1.0, 0.8, 0.5))
    assert second == pytest.approx((2.0, 1.0, 0.7, 0.8))  # twice as far on one, half as far on the other
    assert np.isnan(summaries([[Errors(0.0, 0.0, 1.0, 1.0, 1.0)] * 2])[1].ratio)
