"""`lpdif preprocess`, `fit` and `cluster`: flags, plans, reports, and what is not replaced."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import write_points, write_snapshot
from conftest import SIGNAL_CODES, Cli, process_environment, process_words

import lpdif
from lpdif.errors import ModelError

FIT = """
import sys, time, lpdif
from types import SimpleNamespace
from pathlib import Path
class Workspace:
    def __init__(self, root, samples_of):
        self.root = self.samples_root = Path(root)
        self.model, self.snapshot = self.root / "model.safetensors", self.root / "snapshot.safetensors"
    def shards(self):
        return [1]
def fit(workspace, config, device, progress, stop, samples, processes):
    for step in range(1, 1000):
        time.sleep(0.01)
        progress("fit", step, 1000)
        stopped = stop()
        if step == 1:
            print("at work", file=sys.stderr, flush=True)
        if stopped:
            return SimpleNamespace(model=None, patterns=4, steps=step, made=step, validation={}, stopped=True, written=False)
vars(lpdif).update(fit=fit, use_threads=lambda count: None, Workspace=Workspace)
"""


@dataclass
class Report:
    """Any report of a stage."""

    kept: int = 2
    regions: int = 1234
    closed: int = 1
    reused: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    model: Path = Path("lpdif-workspace/model.safetensors")
    patterns: int = 4
    steps: int = 40
    made: int = 40
    validation: dict[str, float] = field(default_factory=lambda: {"mean": 0.0125, "p95": float("nan")})
    stopped: bool = False
    written: bool = True
    processes: int = 1
    rows: list[Any] = field(default_factory=list)
    gallery: Path = Path("lpdif-workspace/patterns.png")
    sweep: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class Row:
    """A line of cluster's table."""

    pattern: int
    share: float


@dataclass
class Stages:
    """Remembers what each stage was called with and gives `report`, or raises `trouble`."""

    report: Report = field(default_factory=Report)
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    trouble: Exception | None = None

    def stage(self, *arguments: Any, **more: Any) -> Report:
        self.calls.append((*arguments, more))
        if self.trouble is not None:
            raise self.trouble
        return self.report


@pytest.fixture(autouse=True)
def stages(monkeypatch: pytest.MonkeyPatch) -> Stages:
    stages = Stages()
    for name in ("preprocess", "fit", "cluster"):
        monkeypatch.setitem(vars(lpdif), name, stages.stage)
    monkeypatch.setitem(vars(lpdif), "use_threads", lambda count: None)
    return stages


def make_samples(workspace: str = "lpdif-workspace", sources: tuple[str, ...] = ("a.ply", "b.ply")) -> None:
    manifest = Path(workspace) / "samples/manifest.json"
    manifest.parent.mkdir(parents=True)
    kept = [{"shard": f"{source}.safetensors", "source": source, "regions": 10} for source in sources]
    manifest.write_text(json.dumps({"kept": kept, "left_out": []}))


# --- what suggested commands repeat


NAMED = ("--workspace", "my ws", "--config", "my.toml")
REPEATED = " --workspace 'my ws' --config my.toml"


def settled() -> None:
    """The workspace and the settings file of NAMED; the file names another workspace, as lpdif.toml may."""
    make_samples("my ws")
    Path("my.toml").write_text("workspace = 'other'\n")


def test_the_next_command_finds_the_same_place(cli: Cli, stages: Stages) -> None:
    settled()
    stages.report.rows = [Row(0, 1.0)]
    write_points(Path("a.ply"))
    write_snapshot(Path("my ws"), 30, grouped=2)
    for words, following in [
        (("preprocess", "a.ply", "--overwrite"), "fit --patterns 8"),
        (("cluster",), "fit --resume --patterns 2"),
        (("fit", "--overwrite"), "reconstruct SCAN -o MESH.ply"),
    ]:
        assert cli(*words, *NAMED).lines[-1] == f"next: lpdif {following}{REPEATED}"
    assert cli("fit", "--resume", "--patterns", "8", *NAMED).lines[0].endswith(f"anew: lpdif cluster --patterns 8 --overwrite{REPEATED}")
    assert cli("demo", "--config", "my.toml").lines[-1] == "next: lpdif reconstruct demo-scan.ply -o demo-mesh.ply --config my.toml"


def test_a_workspace_is_named_again_where_the_settings_file_names_another(cli: Cli, stages: Stages) -> None:
    make_samples()
    Path("lpdif.toml").write_text("workspace = 'other'\n")
    words = ("fit", "--overwrite", "--workspace", "lpdif-workspace")
    assert cli(*words).lines[-1] == "next: lpdif reconstruct SCAN -o MESH.ply --workspace lpdif-workspace"
    make_samples("other")
    assert cli("fit", "--overwrite").lines[-1] == "next: lpdif reconstruct SCAN -o MESH.ply --workspace other"


def test_commands_in_the_hints_of_errors_find_the_same_place(cli: Cli, stages: Stages) -> None:
    write_points(Path("a.ply"))
    Path("my.toml").touch()
    assert cli("fit", *NAMED).lines[-1] == f"  hint: make some: lpdif preprocess SCANS{REPEATED}"
    ran = cli("reconstruct", "a.ply", "-o", "b.ply", *NAMED)
    assert ran.lines[-1] == f"  hint: fit one: lpdif fit{REPEATED}; or pass --model bundled"
    make_samples("my ws")
    stages.trouble = ModelError("damaged", "it is damaged; start anew: lpdif fit --overwrite")
    assert cli("fit", *NAMED, "--json").document["error"]["hint"] == f"it is damaged; start anew: lpdif fit --overwrite{REPEATED}"
    assert cli("fit", "--oops", *NAMED).lines[-1] == "  hint: see `lpdif fit --help`"


# --- preprocess


def test_preprocess_reads_a_folder_and_names_the_next_command(cli: Cli, stages: Stages) -> None:
    for name in ("a.ply", "b.obj"):
        write_points(Path("scans") / name)
    ran = cli("preprocess", "scans", "--seed", "4", "--threads", "2", "--workspace", "ws")
    assert (ran.code, ran.out) == (0, "ws/samples\n")
    paths, workspace, config, more = stages.calls[0]
    assert paths == [Path("scans/a.ply"), Path("scans/b.obj")]
    assert (workspace, config.seed, more["threads"]) == (Path("ws"), 4, 2)
    assert ran.lines[-3] == "2 scans: 1 closed, 1 as a scan"
    assert ran.lines[-2].startswith("wrote ws/samples: 1,234 regions of 2 scans in ")
    assert ran.lines[-1] == "next: lpdif fit --patterns 8 --workspace ws"


def test_preprocess_with_files_left_out_exits_7(cli: Cli, stages: Stages) -> None:
    write_points(Path("a.ply"))
    stages.report.left_out = [("bad.ply", "no points")]
    ran = cli("preprocess", "a.ply", "bad.ply", "--json")
    assert ran.code == 7
    assert ran.document["left_out"] == [{"scan": "bad.ply", "reason": "no points"}]
    assert ran.lines[-2] == "error: 1 of 2 files left out"


def test_preprocess_keeps_samples_of_other_scans(cli: Cli, stages: Stages) -> None:
    make_samples()
    write_points(Path("a.ply"))
    ran = cli("preprocess", "a.ply")
    assert ran.code == 2
    assert "holds samples of 1 other scan (b.ply)," in ran.lines[0]
    write_points(Path("b.ply"))
    assert cli("preprocess", "a.ply", "b.ply").code == 0
    assert cli("preprocess", "a.ply", "--overwrite").code == 0


def test_preprocess_skips_notes_in_a_folder(cli: Cli, stages: Stages) -> None:
    write_points(Path("scans/a.ply"))
    write_points(Path("scans/b.txt"))
    Path("scans/README.txt").write_text("My scans\n")
    ran = cli("preprocess", "scans")
    assert (ran.code, ran.lines[0]) == (0, "skipped, as text without a row of numbers: scans/README.txt")
    assert stages.calls[0][0] == [Path("scans/a.ply"), Path("scans/b.txt")]
    row = {"scan": "scans/README.txt", "reason": "text without a row of numbers"}
    assert [cli("preprocess", "scans", "--json", *more).document["skipped"] for more in ([], ["--dry-run"])] == [[row], [row]]
    assert cli("preprocess", "scans", "scans/README.txt", "--json", "--dry-run").document["skipped"] == []
    stages.calls[1:] = []
    cli("preprocess", "scans/README.txt")
    assert stages.calls[1][0] == [Path("scans/README.txt")]


def test_preprocess_dry_run(cli: Cli, stages: Stages) -> None:
    write_points(Path("scans/a.ply"))
    ran = cli("preprocess", "scans", "--dry-run")
    assert (ran.code, ran.out, stages.calls) == (0, "scans/a.ply\n", [])


# --- fit


def test_fit_passes_its_settings_and_reports(cli: Cli, stages: Stages) -> None:
    make_samples()
    ran = cli("fit", "--patterns", "4", "--device", "cpu")
    assert (ran.code, ran.out) == (0, "lpdif-workspace/model.safetensors\n")
    workspace, config, device, _ = stages.calls[0]
    assert (workspace, config.patterns, config.resume, device) == (Path("lpdif-workspace"), 4, False, "cpu")
    assert ran.lines[:3] == ["held-out regions, error near the surface in region sizes:", "  mean  0.0125", "  p95        -"]
    assert ran.lines[3].startswith("wrote lpdif-workspace/model.safetensors: 4 patterns, 40 steps in ")
    assert ran.lines[-1] == "next: lpdif reconstruct SCAN -o MESH.ply"


def test_fit_without_samples_says_how_to_make_them(cli: Cli) -> None:
    ran = cli("fit")
    assert ran.code == 3
    assert "lpdif preprocess" in ran.lines[1]


@pytest.mark.parametrize("name", ["model.safetensors", "snapshot.safetensors"])
def test_fit_replaces_nothing_unasked(cli: Cli, stages: Stages, name: str) -> None:
    make_samples()
    if name.startswith("snapshot"):
        write_snapshot(Path("lpdif-workspace"), 7)
    else:
        Path("lpdif-workspace", name).write_bytes(b"")
    ran = cli("fit")
    assert ran.code == 2
    assert ("--resume" in ran.lines[1]) == name.startswith("snapshot")
    assert stages.calls == []
    assert cli("fit", "--overwrite").code == 0
    assert cli("fit", "--resume").code == (0 if name.startswith("snapshot") else 4)
    assert [call[1].resume for call in stages.calls] == [False, True][: len(stages.calls)]
    assert cli("fit", "--overwrite", "--resume").lines[0] == "error: --overwrite and --resume exclude each other"


def test_fit_dry_run(cli: Cli, stages: Stages) -> None:
    make_samples()
    ran = cli("fit", "--dry-run", "--json")
    assert ran.document["patterns"] == 8
    assert stages.calls == []


def test_a_resumed_fit_takes_what_was_not_given_from_its_snapshot(cli: Cli, stages: Stages) -> None:
    """In the shared stage too: `fit --patterns 3`, Ctrl-C, `fit --resume`."""
    make_samples()
    write_snapshot(Path("lpdif-workspace"), 7, asked=3, seed=5)
    assert cli("fit", "--resume").code == 0
    assert cli("fit", "--resume", "--patterns", "4", "--seed", "6").code == 0
    assert [(call[1].patterns, call[1].seed) for call in stages.calls] == [(3, 5), (4, 6)]


def test_there_must_be_a_fit_to_resume(cli: Cli, stages: Stages) -> None:
    make_samples()
    for words in (("fit", "--resume"), ("fit", "--resume", "--dry-run")):
        ran = cli(*words)
        assert (ran.code, ran.lines[0]) == (4, "error: lpdif-workspace/snapshot.safetensors: nothing to resume")
    assert stages.calls == []


def test_resuming_with_another_number_of_patterns_is_told(cli: Cli, stages: Stages) -> None:
    """Those of the codes stand, however the other number was asked for; the default of 8 was not asked for."""
    make_samples()
    write_snapshot(Path("lpdif-workspace"), 30, asked=8, grouped=16)
    told = (
        "warning: lpdif-workspace/snapshot.safetensors has 16 patterns, and the fit goes on with these; "
        "to try 8, group its codes anew: lpdif cluster --patterns 8 --overwrite"
    )
    assert cli("fit", "--resume", "--patterns", "8").lines[0] == told
    assert "warning" not in cli("fit", "--resume", "--patterns", "16").err
    assert "warning" not in cli("fit", "--resume").err
    Path("lpdif.toml").write_text("[fit]\npatterns = 8\n")
    assert cli("fit", "--resume", "-q").lines == [told]
    assert cli("fit", "--resume", "--dry-run").lines[1] == "would go on with 16 patterns after 30 of 60 steps; nothing was done"
    assert len(stages.calls) == 4
    write_snapshot(Path("lpdif-workspace"), 10, asked=4)  # not grouped yet: the fit itself compares its settings
    assert "warning" not in cli("fit", "--resume").err


def test_a_finished_fit_says_that_nothing_is_left_to_do(cli: Cli, stages: Stages) -> None:
    make_samples()
    write_snapshot(Path("lpdif-workspace"), 60, grouped=4)
    stages.report = Report(made=0, written=False)
    ran = cli("fit", "--resume")
    assert (ran.code, ran.out) == (0, "lpdif-workspace/model.safetensors\n")
    assert ran.lines[-2] == "nothing is left to do: all 40 steps were done before; lpdif-workspace/model.safetensors stays as it is"
    document = cli("fit", "--resume", "--json").document
    assert (document["steps"], document["steps_now"], document["patterns"], document["written"]) == (40, 0, 4, False)
    stages.report = Report(made=1)
    assert any("safetensors: 4 patterns, 40 steps (1 of them now) in " in line for line in cli("fit", "--resume").lines)


@pytest.mark.parametrize("words", [("reconstruct", "no-such-scan.ply"), ("fit",), ("cluster",), ("fit", "--resume")])
def test_a_device_that_is_not_there_is_told_first(cli: Cli, stages: Stages, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Before samples, scans and models are looked for, and in a dry run as well."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for more in (("--device", "cuda"), ("--device", "cuda:1", "--dry-run")):
        ran = cli(*words, *more)
        assert (ran.code, ran.lines[0].split(":")[0]) == (5, "error")
        why = ("this torch is built without CUDA", "torch finds no CUDA device")  # by how it was built
        assert ran.lines[0].startswith(tuple(f"error: device '{more[1]}': {reason} (torch " for reason in why))
    Path("lpdif.toml").write_text("device = 'cuda'\n")
    assert cli(*words).code == 5
    assert stages.calls == []


def test_looking_for_the_device_leaves_its_name_to_the_run(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda index: "a device")
    make_samples()
    ran = cli("fit", "--device", "cuda", "--dry-run")
    assert ran.code == 0
    assert "a device" not in ran.err


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
@pytest.mark.parametrize(("number", "code"), SIGNAL_CODES)
def test_fit_stops_after_the_step_and_prints_how_to_go_on(tmp_path: Path, number: signal.Signals, code: int) -> None:
    (tmp_path / "my.toml").touch()
    named = ["--workspace", "my ws", "--config", "my.toml"]
    words = process_words(["fit", *named, "--patterns", "4", "--device", "cpu", "--threads", "1"], FIT)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=process_environment(), cwd=tmp_path)
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "at work\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    lines = err.splitlines()
    assert lines[0] == "stopping after this step, with a snapshot; press Ctrl-C again to stop at once"
    assert lines[1].startswith("kept a snapshot after ")
    assert lines[2:] == [
        f"error: stopped by {number.name}",
        "  hint: go on with: lpdif fit --resume --workspace 'my ws' --config my.toml --patterns 4 --device cpu --threads 1",
    ]


# --- cluster


def test_cluster_prints_its_table(cli: Cli, stages: Stages) -> None:
    stages.report = Report(rows=[Row(0, 0.75), Row(1, float("nan"))], sweep=[(2, 0.5), (4, 0.625)])
    write_snapshot(Path("lpdif-workspace"), 30, grouped=2, seed=5)
    ran = cli("cluster", "--patterns", "2", "--sweep", "2,4")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "pattern  share",
        "      0  0.750",
        "      1      -",
        "",
        "patterns   score",
        "       2  0.5000",
        "       4  0.6250",
    ]
    assert stages.calls[0][1].sweep == (2, 4)
    assert ran.lines[0].startswith("wrote lpdif-workspace/patterns.png: 2 patterns in")
    assert ran.lines[1] == "next: lpdif fit --resume --patterns 2 --seed 5"
    assert cli("cluster", "--json").document["patterns"][1]["share"] is None


def test_cluster_replaces_no_gallery_unasked(cli: Cli, stages: Stages) -> None:
    stages.report = Report(rows=[Row(0, 1.0)])
    write_snapshot(Path("lpdif-workspace"), 30, grouped=1)
    Path("lpdif-workspace/patterns.png").write_bytes(b"")
    assert cli("cluster").code == 2
    assert cli("cluster", "--overwrite").code == 0
    assert cli("cluster", "--overwrite", "--dry-run").code == 0
    assert len(stages.calls) == 1
