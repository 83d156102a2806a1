"""preprocess, fit and cluster on a few hundred regions of shapes made by code: repeatable and resumable to the bit."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from shapes import as_mesh, sphere_points

import lpdif
from lpdif.artifacts import SAMPLES, SNAPSHOT, Workspace, append_metrics, load_model, load_samples, load_tensors, read_metrics
from lpdif.augment import Seen
from lpdif.config import ClusterConfig, FitConfig, PreprocessConfig
from lpdif.errors import InputError, ModelError, ResourceError, UsageError
from lpdif.optimizer import Optimizer, TrainingRegions, make_networks
from lpdif.stages.cluster import cluster
from lpdif.stages.fit import HELD_OUT, FitReport, as_in_training, begin_patterns, fit, held_out_errors, split_regions
from lpdif.stages.preprocess import PreprocessReport, preprocess, scan_files

SAMPLING = PreprocessConfig(regions_per_shape=120, points=48, samples=16, finest=1 / 32)
SHORT = FitConfig(patterns=3, shared_steps=9, pattern_steps=9, features=6, width=8, batch=24, kde_every=3, reassign_every=4, snapshot_every=5)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two closed shapes and a scan without faces."""
    folder = tmp_path_factory.mktemp("scans")
    lpdif.write_mesh(folder / "ring.ply", as_mesh(trimesh.creation.torus(1.0, 0.4)))
    lpdif.write_mesh(folder / "box.obj", as_mesh(trimesh.creation.box((1.0, 0.7, 0.5))))
    points, normals = sphere_points(4000)
    lpdif.write_scan(folder / "ball.ply", lpdif.Scan(points, normals))
    return folder


@pytest.fixture(scope="module")
def prepared(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreprocessReport]:
    """A workspace with samples. Not to be written to."""
    place = tmp_path_factory.mktemp("prepared")
    return place, preprocess([scans], place, SAMPLING, threads=1)


@pytest.fixture
def workspace(prepared: tuple[Path, PreprocessReport], tmp_path: Path) -> Path:
    """A workspace of one's own, with the samples."""
    place = tmp_path / "workspace"
    shutil.copytree(prepared[0], place)
    return place


@pytest.fixture(scope="module")
def straight(prepared: tuple[Path, PreprocessReport], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitReport]:
    """A run from its start to its end. Not to be written to."""
    place = tmp_path_factory.mktemp("straight") / "workspace"
    shutil.copytree(prepared[0], place)
    return place, fit(place, SHORT, "cpu")


def stop_at(*steps: int) -> Callable[[], bool]:
    """Says yes after these steps, counted from the start of the run."""
    count = iter(range(1, 10_000))
    return lambda: next(count) in steps


def model_bytes(place: Path) -> bytes:
    return Workspace(place).model.read_bytes()


def change(config: FitConfig = SHORT, **settings: Any) -> FitConfig:
    return dataclasses.replace(config, **settings)


# --- preprocess -----------------------------------------------------------------------------------------------------------------


def test_every_file_becomes_a_shard(prepared: tuple[Path, PreprocessReport]) -> None:
    place, report = Workspace(prepared[0]), prepared[1]
    assert report.kept == 3
    assert report.left_out == []
    kinds = {row["source"]: row["kind"] for row in json.loads(place.manifest.read_text())["kept"]}
    assert kinds == {"ball.ply": "scan", "box.obj": "closed", "ring.ply": "closed"}
    data, sizes = load_samples(place)
    assert len(data.counts) == len(sizes) == report.regions
    assert 250 < report.regions <= 360
    assert data.points.dtype == data.normals.dtype == torch.float16
    assert float(sizes.min()) >= SAMPLING.finest
    assert float(sizes.max()) <= SAMPLING.coarsest
    assert sorted(p.name for p in place.samples.iterdir()) == sorted(["manifest.json", *(p.name for p in place.shards())])
    for shard in place.shards():
        assert load_tensors(shard, SAMPLES)[1]["settings"] == dataclasses.asdict(SAMPLING)


@pytest.mark.slow
def test_preprocessing_again_redoes_only_what_is_missing(
    scans: Path, workspace: Path, prepared: tuple[Path, PreprocessReport], tmp_path: Path
) -> None:
    place = Workspace(workspace)
    before = {p: p.read_bytes() for p in place.shards()}
    times = {p: p.stat().st_mtime_ns for p in before}
    damaged, missing, kept = before
    damaged.write_bytes(before[damaged][:100])
    missing.unlink()
    (tmp_path / "broken.ply").write_bytes(b"no scan")
    calls: list[tuple[str, int, int]] = []
    report = preprocess([scans, tmp_path / "broken.ply"], workspace, SAMPLING, threads=2, progress=lambda *c: calls.append(c))
    assert (report.kept, report.regions) == (prepared[1].kept, prepared[1].regions)
    assert {p: p.read_bytes() for p in before} == before  # the same seed, the same bytes
    assert kept.stat().st_mtime_ns == times[kept]
    [(name, reason)] = report.left_out
    assert name.endswith("broken.ply")
    assert reason
    assert calls == [("preprocess", n, 4) for n in (1, 2, 3, 4)]


def test_files_are_found_once_and_in_order(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    for name in ("more/z.ply", "more/a.stl", "notes.md", "b.PLY"):
        (tmp_path / name).touch()
    found = list(scan_files([tmp_path, tmp_path / "b.PLY", tmp_path / "notes.md"]))
    assert [p.name for p in found] == ["b.PLY", "a.stl", "z.ply", "notes.md"]


def test_nothing_to_preprocess(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scan found"):
        preprocess([tmp_path], tmp_path / "workspace")


# --- fit ------------------------------------------------------------------------------------------------------------------------


def test_a_fit_leaves_a_model_and_its_story(straight: tuple[Path, FitReport]) -> None:
    place, report = Workspace(straight[0]), straight[1]
    assert report.model == place.model
    assert (report.steps, report.stopped) == (18, False)
    assert report.validation.keys() == {"mean", "median", "p95"}
    assert all(0 < v < 1 for v in report.validation.values())
    model = load_model(place.model)
    assert model.networks.decoder.patterns == len(model.patterns.centroids) == 3
    assert model.card["validation"] == report.validation
    assert model.card["steps"] == 18
    assert model.card["config"]["kde_gamma"] == SHORT.kde_gamma
    rows = {row["step"]: row for row in read_metrics(place.metrics)}
    assert [step for step, row in rows.items() if "changed_pattern" in row] == [13, 17]
    assert [step for step, row in rows.items() if "effective_share" in row] == [12, 15, 18]
    assert [step for step, row in rows.items() if "mean" in row] == [5, 10, 15, 18]
    assert all(0 <= rows[step]["changed_pattern"] <= 1 for step in (13, 17))
    assert all(0 < share <= 1 for share in rows[12]["effective_share"])


@pytest.mark.parametrize("stops", [[4], [9], [10, 12], [12, 13, 17]])
def test_a_resumed_fit_equals_the_straight_one(workspace: Path, straight: tuple[Path, FitReport], stops: list[int]) -> None:
    """Stopped in the shared stage, between the stages, and around refreshes of patterns and weights: to the byte."""
    done = 0
    for stop in stops:
        report = fit(workspace, change(resume=done > 0), "cpu", stop=stop_at(stop - done))
        assert (report.steps, report.stopped) == (stop, True)
        assert not Workspace(workspace).model.exists()
        done = stop
    report = fit(workspace, change(resume=True), "cpu")
    assert model_bytes(workspace) == model_bytes(straight[0])
    assert Workspace(workspace).snapshot.read_bytes() == Workspace(straight[0]).snapshot.read_bytes()
    assert report.validation == straight[1].validation


def test_a_wish_to_stop_at_the_last_step_is_no_stop(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    assert not fit(workspace, SHORT, "cpu", stop=stop_at(18)).stopped
    assert model_bytes(workspace) == model_bytes(straight[0])


def test_a_finished_fit_leaves_its_model_alone(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    shutil.copytree(straight[0], workspace, dirs_exist_ok=True)
    place = Workspace(workspace)

    def state() -> list[tuple[bytes, int, int]]:
        files = place.model, place.snapshot, place.metrics
        return [(path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_ino) for path in files]

    before = state()
    report = fit(workspace, change(resume=True), "cpu")
    assert report == dataclasses.replace(straight[1], model=place.model, made=0, written=False)
    assert state() == before


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"half a mod")])
def test_a_finished_fit_without_its_model_writes_it(
    workspace: Path, straight: tuple[Path, FitReport], damage: Callable[[Path], object]
) -> None:
    shutil.copytree(straight[0], workspace, dirs_exist_ok=True)
    damage(Workspace(workspace).model)
    report = fit(workspace, change(resume=True), "cpu")
    assert (report.made, report.written, report.validation) == (0, True, straight[1].validation)
    assert model_bytes(workspace) == model_bytes(straight[0])


def test_seconds_of_a_resumed_fit_go_on(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    place = Workspace(workspace)
    assert fit(workspace, SHORT, "cpu", stop=stop_at(10)).made == 10
    assert all(0 <= row["seconds"] < 900 for row in read_metrics(place.metrics))
    append_metrics(place.metrics, {"step": 10, "seconds": 1000.0})
    assert fit(workspace, change(resume=True), "cpu", stop=stop_at(5)).made == 5
    assert [row["seconds"] >= 1000 for row in read_metrics(place.metrics) if row["step"] > 10] == [True] * 3
    place.metrics.write_text("oops\n")
    report = fit(workspace, change(resume=True), "cpu")
    assert (report.steps, report.made, report.stopped, report.written) == (18, 3, False, True)
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING] == [
        f"{place.metrics}: not the log of a fit; the seconds of this run are counted from 0"
    ]


def test_snapshots_do_not_change_the_outcome(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    calls: list[tuple[str, int, int]] = []
    before = torch.get_rng_state()
    fit(workspace, change(snapshot_every=10_000), "cpu", progress=lambda *c: calls.append(c))
    assert model_bytes(workspace) == model_bytes(straight[0])
    assert calls == [("fit", n, 18) for n in range(1, 19)]
    assert torch.equal(torch.get_rng_state(), before)


def test_gamma_zero_is_the_unweighted_run(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    """Bit for bit the run that never estimates a density."""
    found = []
    for settings in ({"kde_gamma": 0.0}, {"kde_every": 10_000}):
        fit(workspace, change(**settings), "cpu")
        found.append(load_model(Workspace(workspace).model).networks.state_dict())
    for name, tensor in found[0].items():
        assert torch.equal(tensor, found[1][name]), name
    weighted = load_model(Workspace(straight[0]).model).networks.state_dict()
    assert any(not torch.equal(tensor, weighted[name]) for name, tensor in found[0].items())


def test_one_pattern_is_one_decoder(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "lpdif")
    report = fit(workspace, change(patterns=1, pattern_steps=3), "cpu")
    model = load_model(report.model)
    assert model.networks.decoder.patterns == len(model.patterns.centroids) == 1
    assert "patterns: " not in caplog.text


def test_another_seed_is_another_model(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    fit(workspace, change(seed=2**40, shared_steps=2, pattern_steps=1), "cpu")
    other = load_model(Workspace(workspace).model)
    assert not torch.equal(other.networks.encoder.ridge, load_model(Workspace(straight[0]).model).networks.encoder.ridge)


def test_empty_patterns_are_dropped_aloud(caplog: pytest.LogCaptureFixture) -> None:
    optimizer = Optimizer(make_networks(6, 8, 0), 40, torch.device("cpu"))
    optimizer.bank = torch.eye(16)[:3].repeat(14, 1)[:40]
    optimizer.seen[:] = True
    with caplog.at_level(logging.INFO, "lpdif"):
        assert begin_patterns(optimizer, change(patterns=8)) == 3
    assert optimizer.networks.decoder.patterns == 3
    [warning] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.getMessage() == "only 3 of 8 patterns have regions; the empty ones are dropped"
    assert "patterns: 3, with shares 35.0% 32.5% 32.5%" in caplog.text.replace("32.5% 35.0% 32.5%", "35.0% 32.5% 32.5%").replace(
        "32.5% 32.5% 35.0%", "35.0% 32.5% 32.5%"
    )


def test_held_out_regions_are_no_training_regions(prepared: tuple[Path, PreprocessReport]) -> None:
    whole = load_samples(Workspace(prepared[0]))[0]
    training, held_out = split_regions(whole)
    assert len(held_out.counts) == len(whole.counts) // HELD_OUT
    assert len(training.counts) + len(held_out.counts) == len(whole.counts)
    assert torch.equal(held_out.sdf, whole.sdf[HELD_OUT - 1 :: HELD_OUT])
    with pytest.raises(InputError, match="only 60 regions: too few"):
        split_regions(whole.at(torch.arange(60)))


def test_errors_are_those_of_what_is_seen(prepared: tuple[Path, PreprocessReport]) -> None:
    """Regions of which nothing is seen have no error; those of which all is seen a smaller one than those seen as in training."""
    data = split_regions(load_samples(Workspace(prepared[0]))[0])[0]
    networks = make_networks(6, 8, 0)

    def nothing(some: TrainingRegions, generator: torch.Generator) -> Seen:
        seen = as_in_training(some, generator)
        return seen._replace(mask=torch.zeros_like(seen.mask))

    def everything(some: TrainingRegions, generator: torch.Generator) -> Seen:
        return Seen(some.points.float(), some.normals.float(), torch.arange(some.points.shape[1]) < some.counts[:, None])

    errors = {look: held_out_errors(networks, None, data, look, 0, torch.device("cpu"))[0] for look in (nothing, everything, as_in_training)}
    assert errors[nothing].isnan().all()
    assert errors[everything].nanmedian() < errors[as_in_training].nanmedian()


def refused(workspace: Path, config: FitConfig) -> ModelError:
    with pytest.raises(ModelError) as caught:
        fit(workspace, config, "cpu")
    assert caught.value.exit_code == 4
    assert caught.value.hint
    return caught.value


def test_what_cannot_be_resumed(workspace: Path) -> None:
    assert "nothing to resume" in refused(workspace, change(resume=True)).message
    fit(workspace, SHORT, "cpu", stop=stop_at(2))
    before = Workspace(workspace).snapshot.read_bytes()
    other = refused(workspace, change(resume=True, width=9))
    assert "width 8 -> 9" in other.message
    assert other.hint == "resume with the same settings, or start anew: lpdif fit --overwrite"
    assert "patterns 3 -> 4" in refused(workspace, change(resume=True, patterns=4)).message
    place = Workspace(workspace)
    rows = json.loads(place.manifest.read_text())
    place.manifest.write_text(json.dumps({**rows, "kept": rows["kept"][1:]}))
    fewer = refused(workspace, change(resume=True))
    assert "the samples hold" in fewer.message
    assert fewer.hint == "start anew: lpdif fit --overwrite"
    assert Workspace(workspace).snapshot.read_bytes() == before


def test_patterns_need_a_shared_stage(workspace: Path) -> None:
    with pytest.raises(UsageError, match="shared_steps 0"):
        fit(workspace, change(shared_steps=0), "cpu")


def test_no_samples_no_fit(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no samples here"):
        fit(tmp_path, SHORT, "cpu")


def test_a_failed_snapshot_leaves_the_last_one(workspace: Path, straight: tuple[Path, FitReport], monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full at the second snapshot: the first is whole, and the run goes on from it."""
    fit(workspace, SHORT, "cpu", stop=stop_at(5))
    place = Workspace(workspace)
    before = place.snapshot.read_bytes()

    def full(_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(ResourceError):
            fit(workspace, change(resume=True), "cpu")
    assert place.snapshot.read_bytes() == before
    assert {p.name for p in place.root.iterdir()} == {".lock", "samples", "snapshot.safetensors", "metrics.jsonl"}
    fit(workspace, change(resume=True), "cpu")
    assert model_bytes(workspace) == model_bytes(straight[0])


def test_threads_give_the_same_kind_of_run(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    """Products are cut up by threads, so sums may differ in their last bits, and by no more."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        report = fit(workspace, SHORT, "cpu")
    finally:
        torch.set_num_threads(before)
    assert report.validation["mean"] == pytest.approx(straight[1].validation["mean"], rel=0.01)


# --- cluster --------------------------------------------------------------------------------------------------------------------


def test_clusters_have_a_table_and_a_gallery_and_the_fit_goes_on_from_them(
    straight: tuple[Path, FitReport], workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Workspace(workspace)
    shutil.copy(Workspace(straight[0]).snapshot, place.snapshot)
    report = cluster(workspace, ClusterConfig(patterns=4, sweep=(1, 2)), "cpu")
    assert sorted(row.pattern for row in report.rows) == [0, 1, 2, 3]
    assert sum(row.share for row in report.rows) == pytest.approx(1)
    assert all(row.share > 0 and row.spread >= 0 and 0 < row.flatness <= 1 for row in report.rows)
    assert all(np.isnan(row.error) or row.error > 0 for row in report.rows)
    assert [k for k, _ in report.sweep] == [1, 2]
    assert report.sweep[0][1] == 0
    assert -1 <= report.sweep[1][1] <= 1
    assert report.gallery == place.gallery
    picture = Image.open(io.BytesIO(place.gallery.read_bytes()))
    assert picture.format == "PNG"
    assert picture.height == 4 * 150
    state, card = load_tensors(place.snapshot, SNAPSHOT)
    assert card["config"]["patterns"] == len(state["patterns.centroids"]) == 4
    with caplog.at_level(logging.INFO, "lpdif"):
        report = fit(workspace, change(resume=True), "cpu")  # the settings still say 3
    assert (report.patterns, report.steps, report.made, report.written) == (4, 18, 9, True)
    assert next(r.getMessage() for r in caplog.records if r.getMessage().startswith("fit: ")).endswith("18 steps, 4 patterns")
    model = load_model(report.model)
    assert model.networks.decoder.patterns == model.card["config"]["patterns"] == 4
    assert load_tensors(place.snapshot, SNAPSHOT)[1]["config"]["patterns"] == 4
    assert not fit(workspace, change(resume=True), "cpu").written


def test_new_patterns_count_where_no_step_is_left_for_them(workspace: Path) -> None:
    config = change(patterns=1, pattern_steps=0)
    fit(workspace, config, "cpu")
    cluster(workspace, ClusterConfig(patterns=2), "cpu")
    report = fit(workspace, dataclasses.replace(config, resume=True), "cpu")
    assert (report.patterns, report.made, report.written) == (2, 0, True)
    assert load_model(report.model).networks.decoder.patterns == 2


def test_no_fit_no_clusters(workspace: Path) -> None:
    with pytest.raises(ModelError, match="there is no fit here"):
        cluster(workspace, ClusterConfig(), "cpu")
