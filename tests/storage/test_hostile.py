"""What a stranger hands over is refused with a reason, or passed over: never a hang, never a bug, nothing outside is read or written."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest
import torch
from cli_fakes import write_points
from conftest import Cli, Ran, run_here
from hostile_files import CANARY, ESCAPES, GALLERY, LOCK, METRICS, MODEL, RECORD, SHARD, WORKSPACE
from hostile_workspaces import Case, cases
from shapes import training_regions
from short_fits import run_jobs_here

from lpdif.config import OutputConfig, ReconstructConfig
from lpdif.stages import preprocess as stage
from lpdif.storage.models import save_tensors
from lpdif.storage.tensor_files import SAMPLES
from lpdif.storage.workspace import BUNDLED_MODEL, Workspace
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
        Record(Path("out")).add(
            Path("out/ball.ply"), stamp(Path("scans/ball.ply")), recipe(ReconstructConfig(), OutputConfig(), BUNDLED_MODEL), mesh, {}
        )
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
    monkeypatch.setattr(stage, "run_jobs", run_jobs_here)

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
        assert ran.code in case.allowed(words), told
        assert "Traceback" not in ran.err, told
        assert raw_controls(ran) == set(), told
        assert case.shown or CANARY not in ran.out + ran.err, told
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


def test_a_file_that_is_named_by_itself_may_be_a_link(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("link.safetensors").symlink_to(whole / "home" / MODEL)
    assert run_here("inspect", "link.safetensors", "--json").document["kind"] == "model"
    assert (
        run_here("reconstruct", whole / "home" / "scans" / "ball.ply", "-o", "mesh.ply", "--model", "link.safetensors", "--dry-run").code == 0
    )


def test_the_workspace_itself_may_be_a_link(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(shutil.copytree(whole / "home", tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("link").symlink_to(home / WORKSPACE)
    assert run_here("fit", "--overwrite", "--workspace", "link", "--config", home / "lpdif.toml").code == 0
    assert run_here("inspect", "link").code == 0


def test_a_backup_by_hard_links_stays_as_it_is(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(shutil.copytree(whole / "home", tmp_path / "home"))
    shutil.copytree(home / WORKSPACE, tmp_path / "backup", copy_function=os.link)
    (home / LOCK).unlink()
    before = contents(tmp_path / "backup")
    monkeypatch.chdir(home)
    for words in (("cluster", "--overwrite"), ("fit", "--resume")):
        ran = run_here(*words)
        assert ran.code == 0, ran.err
    assert contents(tmp_path / "backup") == before


@pytest.mark.parametrize(
    "words", [("preprocess", "pipe.ply"), ("reconstruct", "pipe.ply", "-o", "a.ply"), ("inspect", "pipe.ply"), ("inspect", "pipe.safetensors")]
)
def test_pipes_are_not_waited_for(words: tuple[str, ...], here: None, cli: Cli) -> None:
    for name in ("pipe.ply", "pipe.safetensors"):
        os.mkfifo(name)
    ring_in(LONGEST)
    ran = cli(*words)
    assert ran.code in (3, 4), ran.err
    assert "a pipe" in ran.err


def test_a_pipe_in_place_of_a_mesh_or_a_model_stops_no_batch(whole: Path, here: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Path(shutil.copytree(whole / "home", tmp_path / "home"))
    monkeypatch.chdir(home)
    Path("out/ball.ply").unlink()
    os.mkfifo("out/ball.ply")
    ring_in(LONGEST)
    assert run_here("reconstruct", "scans", "-o", "out", "--model", "bundled").code == 7
    os.mkfifo("model.safetensors")
    assert run_here("reconstruct", "scans", "-o", "other", "--model", "model.safetensors").code == 4


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "1" + "0" * 400, "9" * 5000, "0x10", "\x1b[31m", "1\u202e"])
@pytest.mark.parametrize(
    "name",
    [
        "THREADS",
        "SEED",
        "FIT_PATTERNS",
        "FIT_LEARNING_RATE",
        "RECONSTRUCT_RESOLUTION",
        "RECONSTRUCT_SENSOR",
        "CLUSTER_SWEEP",
        "RECONSTRUCT_WATERTIGHT",
    ],
)
def test_variables_that_are_no_settings(cli: Cli, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LPDIF_{name}", f"0 0 {value}" if name.endswith("SENSOR") else value)
    ran = cli("inspect", write_points(Path("scan.ply")))
    assert ran.code == 4, ran.err
    assert ran.lines[0].startswith(f"error: LPDIF_{name}: ")
    assert len(ran.err) < 500
    assert raw_controls(ran) == set()


# --- terminals


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self) -> bool:
        return True


def test_names_are_written_as_they_are_to_a_pipe_and_as_codes_to_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    for out, said in ((io.StringIO(), ESCAPES), (Terminal(), ascii(ESCAPES)[1:-1])):
        Console(out).result({}, Path(ESCAPES), f"a fact {ESCAPES}")
        assert out.getvalue() == f"{said}\na fact {ascii(ESCAPES)[1:-1]}\n"


def test_tracebacks_and_bars_are_fit_for_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(err=io.StringIO())
    console.setup("fit", as_json=False, quiet=False, verbose=True)
    console.trace(ValueError(ESCAPES))
    console.progress(ESCAPES, 1, 2)
    console.say(ESCAPES)
    console.warn(ESCAPES)
    console.failure(ESCAPES, ESCAPES, 3)
    said = console.err.getvalue()  # type: ignore[attr-defined]
    assert said.count("\\x1b[31m") == 5
    assert {letter for letter in said if not letter.isprintable()} == {"\n"}


def test_a_scan_of_escapes_is_told_of_in_codes(here: None, cli: Cli) -> None:
    folder = Path("scans") / ESCAPES
    write_points(folder / f"{ESCAPES}.ply")
    (folder / f"bad{ESCAPES}.ply").write_text("ply\n")
    for words in (("preprocess", "scans"), ("reconstruct", "scans", "-o", "out", "--dry-run"), ("inspect", folder / f"{ESCAPES}.ply")):
        ran = cli(*words)
        assert ran.code in (0, 3, 7)
        assert {letter for letter in ran.err if not letter.isprintable()} <= {"\n"}, words
