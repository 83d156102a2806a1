"""A fit that goes on from a model: its sizes and patterns stand, forms that it lacks come up, and it resumes like any other."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from short_fits import SHORT, change, stop_at

from lpdif.config import FitConfig
from lpdif.errors import ModelError
from lpdif.form_names import FORMS
from lpdif.stages.fit import fit
from lpdif.storage.models import load_model
from lpdif.storage.workspace import Workspace


@pytest.fixture
def start(straight: tuple[Path, object], tmp_path: Path) -> Path:
    """A model of three patterns, made by a short fit."""
    return Path(shutil.copy(Workspace(straight[0]).model, tmp_path / "start.safetensors"))


def going_on(start: Path, **settings: object) -> FitConfig:
    """Sizes that are not the model's are not asked for."""
    return dataclasses.replace(SHORT, start=str(start), features=99, width=7, pattern_steps=6, **settings)


def test_sizes_and_patterns_of_the_model_stand(workspace: Path, start: Path) -> None:
    before = load_model(start)
    report = fit(workspace, going_on(start), "cpu")
    after = load_model(report.model)
    assert (report.steps, report.patterns) == (6, len(before.patterns.form))
    assert after.card["sizes"] == before.card["sizes"]
    assert torch.equal(after.patterns.form, before.patterns.form)
    assert torch.equal(after.patterns.whitening.projection, before.patterns.whitening.projection)
    assert not torch.equal(after.networks.encoder.ridge, before.networks.encoder.ridge)
    assert after.card["config"]["start"] == start.name  # the folder is nobody's business


def test_no_step_changes_nothing(workspace: Path, start: Path) -> None:
    report = fit(workspace, dataclasses.replace(going_on(start), pattern_steps=0), "cpu")
    before, after = load_model(start), load_model(report.model)
    for name, tensor in before.networks.state_dict().items():
        assert torch.equal(tensor, after.networks.state_dict()[name]), name


@pytest.mark.parametrize("asked", [1, 3, 5, 30])
def test_forms_that_it_lacks_come_up_to_what_is_asked_for(workspace: Path, start: Path, asked: int) -> None:
    """Their decoders begin as copies of the first; a model is never made smaller."""
    had = load_model(start)
    report = fit(workspace, dataclasses.replace(going_on(start), patterns=asked, pattern_steps=0), "cpu")
    model = load_model(report.model)
    smooth = int((had.patterns.form == 0).sum())
    most = smooth + len(FORMS) - 1
    assert len(model.patterns.form) == max(len(had.patterns.form), min(asked, most))
    assert model.patterns.form.tolist() == [*[0] * smooth, *range(1, len(model.patterns.form) - smooth + 1)]
    for k in range(len(had.patterns.form), len(model.patterns.form)):
        assert torch.equal(model.networks.decoder.out.weight[k], model.networks.decoder.out.weight[0])


def test_it_resumes_without_the_model(workspace: Path, start: Path, tmp_path: Path) -> None:
    """To the byte as if it had not been stopped, though the file that it began at is gone."""
    fit(workspace, going_on(start), "cpu")
    straight = Workspace(workspace).model.read_bytes()
    fit(workspace, going_on(start), "cpu", stop=stop_at(3))
    start.unlink()
    report = fit(workspace, going_on(start, resume=True), "cpu")
    assert (report.steps, report.made) == (6, 3)
    assert report.model.read_bytes() == straight


def test_a_fit_from_nothing_does_not_resume_one_from_a_model(workspace: Path, start: Path) -> None:
    fit(workspace, going_on(start), "cpu", stop=stop_at(3))
    with pytest.raises(ModelError, match="its settings differ"):
        fit(workspace, change(resume=True), "cpu")


def test_a_model_that_is_not_there(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        fit(workspace, going_on(tmp_path / "none.safetensors"), "cpu")
    assert not Workspace(workspace).snapshot.exists()


def test_the_model_that_ships_is_named_bundled(workspace: Path) -> None:
    bundled = load_model()
    report = fit(workspace, dataclasses.replace(SHORT, start="bundled", pattern_steps=1, batch=8), "cpu")
    assert load_model(report.model).card["sizes"] == bundled.card["sizes"]
