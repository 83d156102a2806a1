"""fit on a few hundred regions of shapes made by code: repeatable and resumable to the bit."""

from __future__ import annotations

import dataclasses
import errno
import json
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from short_fits import SHORT, change, model_bytes, stop_at

from lpdif.config import FitConfig
from lpdif.core.model import make_networks
from lpdif.core.optimizer import Optimizer, TrainingRegions
from lpdif.core.regions import Seen
from lpdif.errors import InputError, ModelError, ResourceError, UsageError
from lpdif.stages.fit import FitReport, fit, state_of_patterns
from lpdif.stages.fit_steps import begin_patterns
from lpdif.stages.held_out import HELD_OUT_REGIONS, as_in_training, held_out_errors, split_regions
from lpdif.stages.preprocess import PreprocessReport
from lpdif.storage.models import load_model
from lpdif.storage.run_log import append_metrics, read_metrics
from lpdif.storage.shards import load_samples
from lpdif.storage.workspace import Workspace


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


def test_step_lines_say_how_the_patterns_fare(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In the pattern stage, as of the latest look: effective sample size and share of changed patterns, those of metrics.jsonl."""
    with caplog.at_level(logging.INFO, "lpdif"):
        fit(workspace, SHORT, "cpu")
    lines = {int(text.split()[1][:-1]): text for text in map(str, (r.getMessage() for r in caplog.records)) if text.startswith("step ")}
    assert list(lines) == [5, 10, 15, 18]
    assert all(lines[step].endswith(")") for step in (5, 10))
    rows = {row["step"]: row for row in read_metrics(Workspace(workspace).metrics)}
    for step, change_at in ((15, 13), (18, 17)):
        shares, changed = rows[step]["effective_share"], rows[change_at]["changed_pattern"]
        low, high = round(100 * min(shares)), round(100 * max(shares))
        size = f"{low} to {high}" if low != high else str(low)
        told = f", effective sample size {size} % of a pattern's regions, {100 * changed:.1f} % of regions changed pattern"
        assert lines[step].endswith(")" + told)
    assert state_of_patterns([0.5, 0.5], None) == ", effective sample size 50 % of a pattern's regions"
    assert state_of_patterns([], 0.25) == ", 25.0 % of regions changed pattern"
    assert state_of_patterns([], None) == ""


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


def test_a_new_fit_starts_a_new_log(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    """The log of the earlier run stays until the first snapshot replaces that run's: a run that ends before leaves all as it was."""
    shutil.copytree(straight[0], workspace, dirs_exist_ok=True)
    place = Workspace(workspace)

    def state() -> list[bytes]:
        return [path.read_bytes() for path in (place.model, place.snapshot, place.metrics)]

    class End(Exception):
        pass

    def end_at_4(_: str, done: int, total: int) -> None:
        if done == 4:
            raise End

    before = state()
    with pytest.raises(UsageError):
        fit(workspace, change(seed=1, shared_steps=0), "cpu")
    with pytest.raises(End):
        fit(workspace, change(seed=1), "cpu", progress=end_at_4)
    assert state() == before
    fit(workspace, change(seed=1, kde_every=2, snapshot_every=10), "cpu", stop=stop_at(14))
    assert [row["step"] for row in read_metrics(place.metrics)] == [10, 11, 13, 14]
    fit(workspace, change(seed=1, kde_every=2, snapshot_every=10, resume=True), "cpu")
    assert [row["step"] for row in read_metrics(place.metrics)] == [10, 11, 13, 14, 15, 17, 18]
    fit(workspace, change(snapshot_every=16), "cpu")
    assert [row["step"] for row in read_metrics(place.metrics)] == [12, 13, 15, 16, 17, 18]


def test_a_new_fit_leaves_no_gallery_of_an_earlier_one(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    gallery = Workspace(workspace).gallery
    gallery.write_bytes(b"patterns of an earlier fit")
    fit(workspace, change(shared_steps=4, pattern_steps=4), "cpu", stop=stop_at(2))
    assert not gallery.exists()


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
    """Of the smooth ones; forms keep theirs, with or without regions."""
    optimizer = Optimizer(make_networks(6, 8, 0), 40, torch.device("cpu"))
    optimizer.bank = torch.eye(16)[:3].repeat(14, 1)[:40]
    optimizer.seen[:] = True
    with caplog.at_level(logging.INFO, "lpdif"):
        assert begin_patterns(optimizer, change(patterns=14)) == 9
    assert optimizer.networks.decoder.patterns == 9
    [warning] = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert warning.getMessage() == "only 9 of 14 patterns have regions; the empty ones are dropped"
    assert "patterns: 9, with shares 35.0% 32.5% 32.5%" in caplog.text.replace("32.5% 35.0% 32.5%", "35.0% 32.5% 32.5%").replace(
        "32.5% 32.5% 35.0%", "35.0% 32.5% 32.5%"
    )


def test_held_out_regions_are_no_training_regions(prepared: tuple[Path, PreprocessReport]) -> None:
    whole = load_samples(Workspace(prepared[0]))[0]
    training, held_out = split_regions(whole)
    assert len(held_out.counts) == len(whole.counts) // HELD_OUT_REGIONS.every
    assert len(training.counts) + len(held_out.counts) == len(whole.counts)
    assert torch.equal(held_out.sdf, whole.sdf[HELD_OUT_REGIONS.every - 1 :: HELD_OUT_REGIONS.every])
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
    assert fewer.hint == "name the workspace of its samples by --samples, or start anew: lpdif fit --overwrite"
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
