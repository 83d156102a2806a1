"""cluster after a short fit, and the fit that goes on from the patterns it has found."""

from __future__ import annotations

import dataclasses
import io
import logging
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from short_fits import change

from lpdif.config import ClusterConfig
from lpdif.errors import ModelError
from lpdif.form_names import FORMS
from lpdif.stages.cluster import cluster
from lpdif.stages.fit import FitReport, fit
from lpdif.storage.models import load_model, load_tensors
from lpdif.storage.tensor_files import SNAPSHOT
from lpdif.storage.workspace import Workspace


def test_clusters_have_a_table_and_a_gallery_and_the_fit_goes_on_from_them(
    straight: tuple[Path, FitReport], workspace: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = Workspace(workspace)
    shutil.copy(Workspace(straight[0]).snapshot, place.snapshot)
    report = cluster(workspace, ClusterConfig(patterns=4, sweep=(1, 2)), "cpu")
    assert sorted(row.pattern for row in report.rows) == [0, 1, 2, 3]
    assert sum(row.share for row in report.rows) == pytest.approx(1)
    assert [row.form for row in sorted(report.rows, key=lambda row: row.pattern)] == list(FORMS[:4])
    assert all(0 < row.flatness <= 1 and not row.density > 1 for row in report.rows if row.share)
    assert report.rows[0].share > 0
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
