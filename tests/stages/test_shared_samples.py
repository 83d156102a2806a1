"""Samples of one workspace, used by the fits of others: the same model, and no mix-up unnoticed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from conftest import Cli
from short_fits import SHORT, model_bytes, stop_at

from lpdif.config import ClusterConfig
from lpdif.errors import InputError, ModelError
from lpdif.stages.cluster import cluster, describe_patterns
from lpdif.stages.fit import FitReport, fit
from lpdif.stages.preprocess import PreprocessReport
from lpdif.storage.models import load_model, save_tensors
from lpdif.storage.snapshots import load_snapshot, samples_of_snapshot
from lpdif.storage.tensor_files import SNAPSHOT
from lpdif.storage.workspace import Workspace

RESUMED = dataclasses.replace(SHORT, resume=True)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def other(workspace: Path, tmp_path: Path) -> Path:
    """A workspace whose samples are as many, but are others: a shard of another name."""
    place = Workspace(shutil.copytree(workspace, tmp_path / "other"))
    about = json.loads(place.manifest.read_text())
    shard = place.samples / about["kept"][0]["shard"]
    about["kept"][0]["shard"] = "another-12345678.safetensors"
    shard.rename(place.samples / "another-12345678.safetensors")
    place.manifest.write_text(json.dumps(about))
    return place.root


def test_a_fit_from_samples_elsewhere_is_the_same_fit(
    prepared: tuple[Path, PreprocessReport], straight: tuple[Path, FitReport], tmp_path: Path
) -> None:
    before = content(prepared[0])
    report = fit(tmp_path / "mine", SHORT, "cpu", samples=prepared[0])
    assert report.written
    assert model_bytes(tmp_path / "mine") == model_bytes(straight[0])
    assert not (tmp_path / "mine" / "samples").exists()
    assert content(prepared[0]) == before  # not even a lock


def test_model_and_snapshot_tell_which_samples_they_were_made_from(straight: tuple[Path, FitReport]) -> None:
    place = Workspace(straight[0])
    assert load_model(place.model).card["samples"] == samples_of_snapshot(place.snapshot) == place.samples_identity()


def test_a_resumed_fit_needs_the_same_samples(workspace: Path, other: Path, straight: tuple[Path, FitReport], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    assert fit(mine, SHORT, "cpu", stop=stop_at(7), samples=workspace).stopped
    before = content(mine)
    with pytest.raises(ModelError, match=r"made from other samples than those in .*other") as caught:
        fit(mine, RESUMED, "cpu", samples=other)
    assert "--samples" in caught.value.hint
    with pytest.raises(InputError, match="no samples here") as missing:
        fit(mine, RESUMED, "cpu")
    assert "--samples" in missing.value.hint
    assert content(mine) == before
    fit(mine, RESUMED, "cpu", samples=workspace)
    assert model_bytes(mine) == model_bytes(straight[0])


def test_samples_that_were_changed_in_the_own_workspace_are_noticed(workspace: Path, other: Path) -> None:
    assert fit(workspace, SHORT, "cpu", stop=stop_at(7)).stopped
    shutil.rmtree(workspace / "samples")
    shutil.copytree(other / "samples", workspace / "samples")
    with pytest.raises(ModelError, match="made from other samples"):
        fit(workspace, RESUMED, "cpu")
    with pytest.raises(ModelError, match="made from other samples"):
        cluster(workspace, ClusterConfig(), "cpu")


def test_snapshots_of_earlier_versions_name_no_samples_and_are_resumed(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    assert fit(workspace, SHORT, "cpu", stop=stop_at(7)).stopped
    place = Workspace(workspace)
    state, config = load_snapshot(place.snapshot)
    save_tensors(place.snapshot, SNAPSHOT, state, {"config": config})
    assert samples_of_snapshot(place.snapshot) == ""
    fit(workspace, RESUMED, "cpu")
    assert model_bytes(workspace) == model_bytes(straight[0])


def test_codes_are_grouped_with_samples_elsewhere(workspace: Path, other: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    fit(mine, SHORT, "cpu", samples=workspace)
    with pytest.raises(ModelError, match="made from other samples"):
        cluster(mine, ClusterConfig(patterns=2), "cpu", samples=other)
    rows = cluster(mine, ClusterConfig(patterns=2), "cpu", samples=workspace).rows
    assert repr(describe_patterns(mine, "cpu", workspace)[0]) == repr(rows)  # an error that is not known is no number
    assert samples_of_snapshot(Workspace(mine).snapshot) == Workspace(workspace).samples_identity()
    assert fit(mine, dataclasses.replace(RESUMED, patterns=2), "cpu", samples=workspace).patterns == 2


def test_the_identity_is_that_of_scans_and_settings(workspace: Path, other: Path) -> None:
    place = Workspace(workspace)
    before = place.samples_identity()
    assert Workspace("elsewhere", workspace).samples_identity() == before
    assert Workspace(other).samples_identity() != before
    about = json.loads(place.manifest.read_text())
    about["kept"][0]["path"] = "/moved/elsewhere.ply"  # where the scan lies does not count
    place.manifest.write_text(json.dumps(about))
    assert place.samples_identity() == before
    about["kept"][0]["regions"] += 1
    place.manifest.write_text(json.dumps(about))
    assert place.samples_identity() != before


def test_the_commands_take_samples_of_another_workspace(cli: Cli, workspace: Path) -> None:
    settings = "".join(f"{name} = {json.dumps(value)}\n" for name, value in dataclasses.asdict(SHORT).items() if name != "resume")
    Path("lpdif.toml").write_text(f"[fit]\n{settings}")
    ran = cli("fit", "--samples", workspace, "--workspace", "mine", "--report", "page.html", "--device", "cpu")
    assert ran.code == 0
    assert f"{workspace}/samples" in Path("page.html").read_text()
    assert cli("fit", "--resume", "--workspace", "mine").code == 3
    ran = cli("cluster", "--samples", workspace, "--workspace", "mine", "--patterns", "2", "--device", "cpu")
    assert ran.code == 0
    assert ran.lines[-1] == f"next: lpdif fit --resume --patterns 2 --seed {SHORT.seed} --workspace mine --samples {workspace}"
    ran = cli("fit", "--samples", "none", "--workspace", "new")
    assert (ran.code, ran.lines[0]) == (3, "error: none: no samples here (there is no samples/manifest.json)")
    assert not Path("new").exists()
