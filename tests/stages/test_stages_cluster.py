"""`lpdif cluster` after a short fit: a table that adds up, a gallery, scores, and a fit that goes on from what it found."""

from __future__ import annotations

import dataclasses
import errno
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from conftest import Cli, run_here, stand_ins
from PIL import Image
from shapes import training_regions
from torch import Tensor

from lpdif.core.model import make_networks
from lpdif.core.pattern_table import PatternRow
from lpdif.core.patterns import fit_patterns, fit_whitening
from lpdif.form_names import FORMS, pattern_names
from lpdif.stages.cluster import caption, forms_of
from lpdif.storage.models import load_model, load_tensors, save_tensors
from lpdif.storage.tensor_files import SAMPLES, SNAPSHOT
from lpdif.storage.workspace import Workspace
from lpdif.text import counted

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 12  # of the shared stage, and of the pattern stage
SETTINGS = f"""
device = "cpu"
[fit]
patterns = 3
shared_steps = {STEPS}
pattern_steps = {STEPS}
features = 6
width = 8
batch = 32
kde_every = 4
reassign_every = 0
snapshot_every = 100
"""
PLACE = Workspace("lpdif-workspace")
PIXELS, MARGIN, TYPICAL = 150, 190, 6


@pytest.fixture(scope="module")
def fitted(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and the workspace of a whole fit of three patterns. Not to be written to."""
    folder = tmp_path_factory.mktemp("fitted")
    (folder / "lpdif.toml").write_text(SETTINGS)
    place = Workspace(folder / PLACE.root)
    place.samples.mkdir(parents=True)
    data = training_regions(720)
    count = len(data.counts)
    save_tensors(place.samples / "shard.safetensors", SAMPLES, {**data._asdict(), "sizes": torch.full((count,), 0.1)}, {"regions": count})
    place.manifest.write_text(json.dumps({"kept": [{"shard": "shard.safetensors", "source": "a.ply", "regions": count}], "left_out": []}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert run_here("fit").code == 0
    return folder


@pytest.fixture(autouse=True)
def own_workspace(fitted: Path, tmp_path: Path, cli: Cli) -> None:
    """A copy of it, in the folder that `lpdif` runs in."""
    shutil.copytree(fitted, tmp_path, dirs_exist_ok=True)


def snapshot() -> tuple[dict[str, Tensor], dict[str, Any]]:
    return load_tensors(PLACE.snapshot, SNAPSHOT)


@pytest.fixture
def all_smooth(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate takes every region to be smooth: patterns beyond those of the forms are groups of all codes."""
    monkeypatch.setattr("lpdif.stages.cluster.forms_of", lambda _, data, *rest: torch.zeros(len(data.counts), dtype=torch.int64))


def change_codes(codes: Tensor) -> None:
    """Codes of all regions, as if the fit had found these."""
    state, card = snapshot()
    state["bank"], state["seen"] = codes, torch.ones(len(codes), dtype=torch.bool)
    save_tensors(PLACE.snapshot, SNAPSHOT, state, card)


def heaps(count: int, regions: int, spread: float) -> Tensor:
    """Codes that gather around so many corners of a simplex."""
    generator = torch.Generator().manual_seed(0)
    return torch.eye(16)[torch.arange(regions) % count] + spread * torch.randn((regions, 16), generator=generator)


# --- the table


@pytest.mark.parametrize("patterns", [1, 2, 5, 8, 16])
def test_the_table_adds_up(cli: Cli, patterns: int) -> None:
    """Shares are those of the regions that the fit has seen, and together the whole; a form may have none of them."""
    ran = cli("cluster", "--patterns", str(patterns), "--json")
    assert ran.code == 0
    rows = ran.document["patterns"]
    assert sorted(row["pattern"] for row in rows) == list(range(patterns))
    assert [row["share"] for row in rows] == sorted((row["share"] for row in rows), reverse=True)
    assert all(set(row) == {"pattern", "name", "form", "share", "error", "flatness", "density"} for row in rows)
    forms = min(patterns, len(FORMS))
    form = {row["pattern"]: row["form"] for row in rows}
    assert [row["name"] for row in sorted(rows, key=lambda row: row["pattern"])] == pattern_names(
        [FORMS.index(form[k]) for k in range(patterns)]
    )
    assert [form[k] for k in range(patterns)] == ["smooth"] * (patterns - forms) + list(FORMS[:forms])
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=1e-6)
    state, _ = snapshot()
    owners = state["pattern"][state["seen"]]
    counted = torch.bincount(owners, minlength=patterns) / len(owners)
    assert [row["share"] for row in rows] == pytest.approx([float(counted[row["pattern"]]) for row in rows], abs=1e-6)
    assert all(row["share"] > 0 for row in rows if row["form"] == "smooth")
    assert any(row["share"] > 0 for row in rows if row["form"] == "convex edge") == (patterns > 1)  # there is a box
    assert all((row["flatness"] is None) == (row["share"] == 0) for row in rows)
    assert all(0 < row["flatness"] <= 1 and (row["density"] is None or 0 <= row["density"] <= 1) for row in rows if row["share"])
    assert all(row["error"] is None or 0 < row["error"] < 1 for row in rows)
    assert any(row["error"] is not None for row in rows)
    assert len(state["patterns.centroids"]) == patterns
    assert ran.lines[-1] == f"next: lpdif fit --resume --patterns {patterns}"


def test_the_table_is_also_printed_in_columns(cli: Cli) -> None:
    lines = cli("cluster", "--patterns", "4", "--sweep", "2,3").out.splitlines()
    assert lines[0].split() == ["pattern", "name", "share", "error", "flatness", "density"]
    told = [re.fullmatch(r" *(\d) +([a-z]+(?: [a-z]+)?) +(\d\.\d+)(?: +(?:\d\.\d+|-)){3}", line) for line in lines[1:5]]
    assert sorted((row[1], row[2]) for row in told if row) == list(zip("0123", FORMS[:4], strict=True))
    assert sum(float(row[3]) for row in told if row) == pytest.approx(1, abs=0.002)
    assert lines[5] == ""
    assert lines[6].split() == ["patterns", "score"]
    assert [line.split()[0] for line in lines[7:]] == ["2", "3"]


@pytest.mark.usefixtures("all_smooth")
def test_flat_and_dense_patterns_are_told_from_bent_and_loose_ones(cli: Cli) -> None:
    """Two heaps of codes: one of planes, close together, one bent, far apart."""
    codes = torch.zeros(snapshot()[0]["bank"].shape)
    noise = torch.randn(len(codes), generator=torch.Generator().manual_seed(0))
    codes[::2, 3:6] = 2.0
    codes[::2, 8] = 0.1 * noise[::2]
    codes[1::2, 8] = 0.001 * noise[1::2]
    change_codes(codes)
    rows = cli("cluster", "--patterns", "8", "--json").document["patterns"]
    bent, flat = sorted((row for row in rows if row["form"] == "smooth"), key=lambda row: row["flatness"])
    assert bent["share"] == pytest.approx(0.5, abs=0.01)
    assert flat["share"] == pytest.approx(0.5, abs=0.01)
    assert flat["flatness"] == pytest.approx(1, abs=0.01)
    curvature = np.sqrt(3) * 2.0 * 2 / 1.5**2
    assert bent["flatness"] == pytest.approx(1 / (1 + curvature), abs=0.01)
    assert flat["density"] > 0.99
    assert bent["density"] < 0.8


def test_same_seed_same_bytes(cli: Cli) -> None:
    before = PLACE.snapshot.read_bytes()
    found = []
    for seed in ("0", "0", "5"):
        PLACE.snapshot.write_bytes(before)
        ran = cli("cluster", "--patterns", "12", "--overwrite", "--seed", seed)
        found.append((ran.out, PLACE.gallery.read_bytes(), PLACE.snapshot.read_bytes()))
    assert found[0] == found[1]
    assert found[0][2] != found[2][2]


@pytest.mark.parametrize("patterns", ["1", "2", "8"])
def test_grouping_twice_is_grouping_once(cli: Cli, patterns: str) -> None:
    """Also where the fit knows forms that are left out: their regions are smooth from the first time on."""
    state, card = snapshot()
    state["form"][state["pattern"] == 0] = 2
    save_tensors(PLACE.snapshot, SNAPSHOT, state, card)
    found = []
    for _ in range(2):
        assert cli("cluster", "--patterns", patterns, "--overwrite").code == 0
        found.append((PLACE.snapshot.read_bytes(), PLACE.gallery.read_bytes()))
    assert found[0] == found[1]


def test_the_gallery_does_not_depend_on_what_is_installed(cli: Cli) -> None:
    assert cli("cluster", "--patterns", "3").code == 0
    before = PLACE.gallery.read_bytes()
    with stand_ins():
        assert cli("cluster", "--patterns", "3", "--overwrite").code == 0
    assert PLACE.gallery.read_bytes() == before


@pytest.mark.usefixtures("all_smooth")
def test_smooth_patterns_without_regions_are_dropped_aloud(cli: Cli) -> None:
    """Forms keep their patterns, with or without regions: the fit goes on to look for them."""
    change_codes(heaps(3, len(snapshot()[0]["bank"]), 0.0))
    ran = cli("cluster", "--patterns", "14", "--json")
    assert "warning: only 9 of 14 patterns have regions; the empty ones are dropped" in ran.lines
    assert [row["share"] for row in ran.document["patterns"]] == pytest.approx([1 / 3] * 3 + [0.0] * 6, abs=0.01)
    assert [row["form"] for row in ran.document["patterns"]] == ["smooth"] * 3 + list(FORMS[1:])
    assert ran.lines[-1].endswith("--patterns 9")
    assert snapshot()[1]["config"]["patterns"] == 9


def test_without_a_smooth_region_one_smooth_pattern_stays(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.stages.cluster.forms_of", lambda _, data, *rest: torch.ones(len(data.counts), dtype=torch.int64))
    rows = {row["pattern"]: row for row in cli("cluster", "--patterns", "9", "--json").document["patterns"]}
    assert [rows[k]["form"] for k in range(len(rows))] == list(FORMS)
    assert [rows[k]["share"] for k in range(len(rows))] == [0, 1, 0, 0, 0, 0, 0]
    assert cli("fit", "--resume").code == 0


def test_forms_that_the_fit_did_not_know_are_looked_at(cli: Cli) -> None:
    """A fit of three patterns knows two edges; with more of them, corners are looked for in the clean points of the regions."""
    before = snapshot()[0]
    assert int(before["form"].max()) < 3
    assert cli("cluster", "--patterns", "8").code == 0
    after = snapshot()[0]
    assert int(after["form"].max()) >= 3
    assert torch.equal(after["form"], after["patterns.form"][after["pattern"]].to(torch.int64))
    assert cli("cluster", "--patterns", "2", "--overwrite").code == 0
    assert torch.equal(snapshot()[0]["form"], torch.where(after["form"] < 2, after["form"], 0))


def test_the_forms_of_a_box_are_those_of_its_points() -> None:
    """By a gate as it begins: edges, corners, and smooth regions where one face alone is seen."""
    data = training_regions(720)
    form = forms_of(make_networks(6, 8, 0), data, len(FORMS), torch.device("cpu"))
    box = form[360:]
    assert min(int((box == each).sum()) for each in (0, 1, 3)) > 10
    normals = data.normals[360:].float()
    there = torch.arange(normals.shape[1]) < data.counts[360:, None]
    flat = (normals * there[..., None]).sum(1).norm(dim=1) > 0.999 * data.counts[360:]
    assert bool((box[flat] == 0).all())
    assert int(flat.sum()) > 20
    assert int(forms_of(make_networks(6, 8, 0), data, 2, torch.device("cpu")).max()) == 1
    assert not forms_of(make_networks(6, 8, 0), data, 1, torch.device("cpu")).any()


# --- the gallery


@pytest.mark.parametrize("patterns", [1, 4, 8])
def test_the_gallery_is_a_png_with_a_row_for_each_pattern(cli: Cli, patterns: int) -> None:
    ran = cli("cluster", "--patterns", str(patterns), "--json")
    assert Path(ran.document["gallery"]) == PLACE.gallery
    data = PLACE.gallery.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    assert picture.size == (MARGIN + TYPICAL * PIXELS, patterns * PIXELS)
    pixels = np.asarray(picture.convert("L"))
    seen = int(snapshot()[0]["seen"].sum())
    for number, told in enumerate(ran.document["patterns"]):
        row = pixels[number * PIXELS : (number + 1) * PIXELS]
        assert (row[:, :MARGIN] < 100).sum() > 100  # words
        for place in range(TYPICAL):
            region = row[:, MARGIN + place * PIXELS : MARGIN + (place + 1) * PIXELS]
            surface = (region < 250).mean()
            assert surface > 0.05 if place < round(told["share"] * seen) else surface == 0
    assert any(line.startswith(f"wrote {PLACE.gallery}: {counted(patterns, 'pattern')} in ") for line in ran.lines)


def test_the_gallery_has_no_nan() -> None:
    row = PatternRow(3, "convex corner", "convex corner", 0.25, 0.0125, 0.5, 1.0)
    assert caption(row) == "convex corner\n25.0% of regions\nerror 0.0125\nflatness 0.50\ndensity 1.00"
    assert "\nflatness -\n" in caption(dataclasses.replace(row, flatness=float("nan")))
    assert caption(dataclasses.replace(row, density=float("nan"))).endswith("density -")
    assert "error -\n" in caption(dataclasses.replace(row, error=float("nan")))


def test_a_gallery_is_not_replaced_unasked(cli: Cli) -> None:
    assert cli("cluster", "--patterns", "2").code == 0
    before = PLACE.gallery.read_bytes(), PLACE.snapshot.read_bytes()
    ran = cli("cluster", "--patterns", "3")
    assert (ran.code, ran.lines[1]) == (2, "  hint: pass --overwrite to group the codes anew")
    assert (PLACE.gallery.read_bytes(), PLACE.snapshot.read_bytes()) == before
    assert cli("cluster", "--patterns", "3", "--overwrite").code == 0
    assert Image.open(io.BytesIO(PLACE.gallery.read_bytes())).height == 3 * PIXELS


# --- the sweep


def test_the_sweep_scores_every_number_and_knows_the_heaps(cli: Cli) -> None:
    change_codes(heaps(3, len(snapshot()[0]["bank"]), 1e-4))
    ran = cli("cluster", "--patterns", "2", "--sweep", "1,2,3,4,6", "--json")
    scores = dict(ran.document["sweep"])
    assert list(scores) == [1, 2, 3, 4, 6]
    assert scores[1] == 0
    assert all(-1 <= score <= 1 for score in scores.values())
    assert max(scores, key=lambda k: scores[k]) == 3
    assert len(ran.document["patterns"]) == 2  # what is taken is what was asked for


def test_scores_are_silhouettes_of_the_whitened_codes(cli: Cli) -> None:
    """Mean over the regions of (b - a) / max(a, b): a to the others of the pattern, b to the regions of the other pattern."""
    state, _ = snapshot()
    codes = state["bank"][state["seen"]]
    [[_, score]] = cli("cluster", "--patterns", "2", "--sweep", "2", "--json").document["sweep"]
    group = fit_patterns(codes, 2, 0).assign(codes)  # whatever their forms
    apart = torch.cdist(*(fit_whitening(codes).apply(codes).double(),) * 2)
    same = group[:, None] == group
    inner = (apart * same).sum(1) / (same.sum(1) - 1)
    outer = (apart * ~same).sum(1) / (~same).sum(1)
    assert score == pytest.approx(float(((outer - inner) / torch.maximum(inner, outer)).mean()), abs=1e-4)


def test_without_a_sweep_there_are_no_scores(cli: Cli) -> None:
    ran = cli("cluster", "--patterns", "2")
    assert "score" not in ran.out
    assert cli("cluster", "--patterns", "2", "--overwrite", "--json").document["sweep"] == []


# --- and the fit goes on


@pytest.mark.parametrize("patterns", [1, 5, 8])
def test_fit_goes_on_with_the_new_patterns(cli: Cli, patterns: int) -> None:
    """The command that cluster names next is the one that works: the pattern stage anew, from these patterns."""
    before, samples = load_model(PLACE.model), (PLACE.samples / "shard.safetensors").read_bytes()
    ran = cli("cluster", "--patterns", str(patterns))
    state, card = snapshot()
    assert (int(state["step"]), card["config"]["patterns"]) == (STEPS, patterns)
    assert len(load_model(PLACE.model).patterns.centroids) == len(before.patterns.centroids) == 3  # not touched yet
    ran = cli(*ran.lines[-1].removeprefix("next: lpdif ").split())
    assert ran.code == 0
    assert f"resumed at step {STEPS}" in ran.lines
    model = load_model(PLACE.model)
    assert model.networks.decoder.patterns == patterns
    assert torch.equal(model.patterns.centroids, state["patterns.centroids"])
    assert torch.equal(model.patterns.form.float(), state["patterns.form"])
    assert torch.equal(model.patterns.whitening.projection, state["patterns.projection"])
    assert model.card["steps"] == 2 * STEPS
    assert any(not torch.equal(state[f"mean.{name}"], value) for name, value in model.networks.state_dict().items())
    assert (PLACE.samples / "shard.safetensors").read_bytes() == samples


def test_codes_of_an_unfinished_shared_stage_can_be_grouped_too(cli: Cli) -> None:
    Path("lpdif.toml").write_text(SETTINGS.replace("snapshot_every = 100", "snapshot_every = 4"))

    class Stop(Exception):
        pass

    def stop(path: Path, row: dict[str, Any]) -> None:
        if row["step"] == 4:
            raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lpdif.stages.fit.append_metrics", stop)
        assert cli("fit", "--overwrite").code == 1
    assert cli("cluster", "--patterns", "2", "--overwrite").code == 0
    assert int(snapshot()[0]["step"]) == 4
    ran = cli("fit", "--resume")
    assert ran.code == 0
    assert "resumed at step 4" in ran.lines
    assert load_model(PLACE.model).networks.decoder.patterns == 2


def test_a_full_disk_leaves_the_fit_as_it_was(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {path: path.read_bytes() for path in PLACE.root.rglob("*") if path.is_file()}

    def full(_: int) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        ran = cli("cluster", "--patterns", "4")
    assert ran.code == 5
    assert "patterns.png: disk full: " in ran.lines[-2]
    assert {path: path.read_bytes() for path in PLACE.root.rglob("*") if path.is_file()} == before
    assert cli("cluster", "--patterns", "4").code == 0


@pytest.mark.parametrize(
    ("tensors", "config", "said"),
    [
        ({"bank": torch.zeros(3, 17)}, {}, "bank: expected float32 [3, 16], found float32 [3, 17]"),
        ({"seen": torch.zeros(5, dtype=torch.bool)}, {}, "seen: expected bool [709], found bool [5]"),
        ({"pattern": torch.zeros(709)}, {}, "pattern: expected int64 [709], found float32 [709]"),
        ({"patterns.centroids": torch.zeros(3)}, {}, "patterns.centroids: expected float32 [3, 0], found float32 [3]"),
        ({"mean.decoder.out.bias": torch.full((3, 1, 1), torch.nan)}, {}, "mean.decoder.out.bias: expected finite numbers, found nan"),
        ({"form": torch.zeros(709)}, {}, "form: expected int64 [709], found float32 [709]"),
        ({"form": torch.full((709,), 7)}, {}, "form: expected numbers of 7 forms"),
        ({"form": torch.full((709,), -1)}, {}, "form: expected numbers of 7 forms"),
        ({"patterns.form": torch.tensor([0.0, 2, 1])}, {}, "patterns.form: expected smooth patterns, then one for each further form"),
        ({"patterns.form": torch.tensor([1.0, 1, 1])}, {}, "patterns.form: expected smooth patterns, then one for each further form"),
        ({"patterns.form": torch.tensor([0.0, 1])}, {}, "patterns.form: expected float32 [3], found float32 [2]"),
        ({"mean.gate.sharpness": torch.tensor(torch.inf)}, {}, "mean.gate.sharpness: expected finite numbers, found inf"),
        ({"adam.gate.sharpness.exp_avg_sq": torch.tensor(-1.0)}, {}, "adam.gate.sharpness.exp_avg_sq: expected numbers from 0 on"),
        ({"more": torch.zeros(2)}, {}, "more: expected no such tensor, found float32 [2]"),
        ({}, {"width": 9}, "expected float32 ["),
        ({}, {"width": 10**12}, "expected the settings of a fit in its card, found {"),
        ({}, {"width": "wide"}, "expected the settings of a fit in its card, found "),
        ({}, {"features": None}, "expected the settings of a fit in its card, found "),
    ],
)
def test_a_snapshot_that_does_not_fit_is_told_with_what_was_expected(
    cli: Cli, tensors: dict[str, Tensor], config: dict[str, Any], said: str
) -> None:
    state, card = snapshot()
    save_tensors(PLACE.snapshot, SNAPSHOT, state | tensors, {"config": card["config"] | config})
    before = {path: path.read_bytes() for path in PLACE.root.rglob("*") if path.is_file()}
    for words in (["cluster"], ["fit", "--resume"]):
        ran = cli(*words)
        assert ran.code == 4
        assert ran.lines[-2].startswith(f"error: {PLACE.snapshot}: ")
        assert said in ran.lines[-2]
        assert ran.lines[-1].endswith("start anew: lpdif fit --overwrite")
    assert {path: path.read_bytes() for path in before} == before


def test_a_snapshot_of_next_to_nothing_is_refused_too(cli: Cli) -> None:
    save_tensors(PLACE.snapshot, SNAPSHOT, {"bank": torch.zeros(3, 16)}, {"config": {}})
    for words in (["cluster"], ["fit", "--resume"]):
        ran = cli(*words)
        assert ran.code == 4
        assert ran.lines[-2].startswith(f'error: {PLACE.snapshot}: expected the settings of a fit in its card, found {{"config": {{}}}} (')


def test_samples_that_changed_since_the_fit_are_told_before_anything_is_grouped(cli: Cli) -> None:
    state, card = snapshot()
    known = len(state["bank"])
    per_region = {key: value[: known - 2] for key, value in state.items() if value.ndim and len(value) == known}
    save_tensors(PLACE.snapshot, SNAPSHOT, state | per_region, {"config": card["config"]})
    before = PLACE.snapshot.read_bytes()
    for words in (["cluster"], ["fit", "--resume"]):
        ran = cli(*words)
        assert ran.code == 4
        assert f"made from {known - 2:,} regions, the samples hold {known:,}" in ran.lines[-2]
    assert PLACE.snapshot.read_bytes() == before


def test_settings_that_no_fit_has_are_named(cli: Cli) -> None:
    state, card = snapshot()
    for odd, said in (({"speed": 3}, "speed = 3"), ({"shared_steps": "all"}, "shared_steps = 'all'")):
        save_tensors(PLACE.snapshot, SNAPSHOT, state, {"config": card["config"] | odd})
        ran = cli("cluster")
        assert (ran.code, ran.lines[-2]) == (4, f"error: {PLACE.snapshot}: expected the settings of a fit, found {said}")


def test_a_gallery_that_is_a_link_is_refused_before_the_work(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    PLACE.gallery.symlink_to("elsewhere.png")
    monkeypatch.setattr("lpdif.stages.cluster.fit_patterns", None)
    ran = cli("cluster")
    assert (ran.code, ran.lines[-2]) == (2, f"error: {PLACE.gallery}: is a symbolic link, and is not written through")


def test_no_fit_no_patterns(cli: Cli) -> None:
    PLACE.snapshot.unlink()
    ran = cli("cluster")
    assert (ran.code, ran.lines[-1]) == (4, "  hint: run `lpdif fit` first")
    assert not PLACE.gallery.exists()
