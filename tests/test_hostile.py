"""What a stranger hands over is refused with a reason, or passed over: never a hang, never a bug, nothing outside is read or written."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
import torch
from cli_fakes import write_points
from conftest import Ran, run_here
from hostile_workspaces import CANARY, ESCAPES, FIT, GALLERY, LOCK, METRICS, RECORD, SHARD, WORKSPACE, Case, cases
from shapes import training_regions
from test_stages_preprocess import Here

from lpdif.artifacts import save_tensors
from lpdif.config import ReconstructConfig
from lpdif.locking import workspace_lock
from lpdif.sources import content_of_bytes
from lpdif.stages import preprocess as stage
from lpdif.tensor_files import SAMPLES
from lpdif.workspace import BUNDLED_MODEL, Workspace
from lpdif_cli.console import Console
from lpdif_cli.records import Record, recipe, stamp

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.skipif(sys.platform == "win32", reason="pipes, devices and sockets in folders"),
]

LONGEST = 30  # seconds of a command, on a busy machine
SETTINGS = """
device = "cpu"
threads = 1
[preprocess]
regions_per_shape = 12
points = 24
samples = 8
finest = 0.125
[fit]
patterns = 2
shared_steps = 3
pattern_steps = 3
features = 6
width = 8
batch = 16
kde_every = 2
reassign_every = 2
snapshot_every = 3
[cluster]
patterns = 2
"""


@pytest.fixture(scope="module")
def whole(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `home` with a workspace, a scan, a batch and settings, and next to it copies of all its files, which are nobody's business."""
    above = tmp_path_factory.mktemp("whole")
    home = above / "home"
    place = Workspace(home / WORKSPACE)
    place.samples.mkdir(parents=True)
    (home / "lpdif.toml").write_text(SETTINGS)
    save_tensors(home / SHARD, SAMPLES, samples(), {"regions": 160, "kind": "closed", "source": "shape.ply"})
    row = {"shard": SHARD.name, "source": "shape.ply", "regions": 160, "path": "/scans/shape.ply", "content": "0" * 32, "bytes": 100}
    place.manifest.write_text(json.dumps({"kept": [row], "left_out": []}))
    scan = write_points(home / "scans" / "ball.ply", 400)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for words in (("fit",), ("cluster",)):
            ran = run_here(*words)
            assert ran.code == 0, ran.err
        (home / "out").mkdir()
        mesh = b"ply, or nearly"
        Record(Path("out")).add(Path("out/ball.ply"), stamp(Path("scans/ball.ply")), recipe(ReconstructConfig(), BUNDLED_MODEL), mesh)
        (home / "out" / "ball.ply").write_bytes(mesh)
        assert run_here("reconstruct", "scans", "-o", "out", "--model", "bundled").code == 0
    assert scan.exists()
    outside = above / "outside"
    shutil.copytree(place.samples, outside / "samples")
    for path in [*place.root.rglob("*"), home / RECORD]:
        if path.is_file():
            shutil.copy(path, outside)
    (outside / METRICS.name).write_text(json.dumps({"step": 6, "seconds": 1, "word": CANARY}) + "\n")
    (outside / LOCK.name).write_text(json.dumps({"pid": 1, "host": CANARY, "command": CANARY}))
    (outside / GALLERY.name).write_text(CANARY)
    (outside / "secret.txt").write_text(CANARY)
    return above


def samples() -> dict[str, torch.Tensor]:
    return {**training_regions(160)._asdict(), "sizes": torch.full((160,), 0.1)}


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Preprocessing without processes, and a bell for what hangs."""
    monkeypatch.setattr(stage, "ProcessPoolExecutor", Here)

    def ring(_: int, frame: FrameType | None) -> NoReturn:
        raise AssertionError(f"{LONGEST} s and no end")

    before = signal.signal(signal.SIGALRM, ring)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, with the bytes in them."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def ring_in(seconds: float) -> None:
    signal.setitimer(signal.ITIMER_REAL, seconds)


def check(case: Case, whole: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of a case, each on a fresh copy."""
    for number, words in enumerate(case.commands):
        above = folder / str(number)
        shutil.copytree(whole, above)
        monkeypatch.chdir(above / "home")
        case.spoil()
        outside = contents(above / "outside")
        ring_in(LONGEST)
        ran = run_here(*words)
        ring_in(0)
        told = f"{case.name}: lpdif {' '.join(words)}: exit {ran.code}\n{ran.err}"
        assert ran.code in case.allowed(words[0]), told
        assert "Traceback" not in ran.err, told
        assert raw_controls(ran) == set(), told
        assert CANARY not in ran.out + ran.err, told
        assert len(ran.err) < 20_000, told
        assert contents(above / "outside") == outside, told
        shutil.rmtree(above)


def raw_controls(ran: Ran) -> set[str]:
    return {letter for letter in ran.out + ran.err if not letter.isprintable() and letter != "\n"}


ALL = list(cases())


def test_there_are_many_and_each_has_a_name() -> None:
    assert len(ALL) >= 100
    assert len({case.name for case in ALL}) == len(ALL)


@pytest.mark.parametrize("case", ALL[::23], ids=lambda case: case.name)
def test_some_hostile_workspaces(case: Case, whole: Path, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(case, whole, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("case", ALL, ids=lambda case: case.name)
def test_all_hostile_workspaces(case: Case, whole: Path, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(case, whole, tmp_path, monkeypatch)
