"""Faults of real processes: kill -9 at any moment, Ctrl-C, limits of disk and memory, two runs at once, readers that go away."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch
from conftest import SIGNAL_CODES, Cli, Ran, alive
from forked import STEPS, Server, write_samples
from shapes import even_sphere_points, plain_patterns

import lpdif
from lpdif.core.model import Model, make_networks
from lpdif.storage.models import load_tensors, save_model
from lpdif.storage.run_log import read_metrics
from lpdif.storage.tensor_files import MODEL, SAMPLES, SNAPSHOT
from lpdif.storage.workspace import Workspace

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

MESH = ("reconstruct", "scan.ply", "-o", "mesh.ply", "--model", "model.safetensors", "--overwrite")
KINDS = {"model.safetensors": MODEL, "snapshot.safetensors": SNAPSHOT, "shard.safetensors": SAMPLES}


def write_ball(folder: Path, count: int) -> None:
    """A scan of a ball and an untrained model, whose fitted jets are surface enough."""
    lpdif.write_scan(folder / "scan.ply", lpdif.Scan(*even_sphere_points(count)))
    save_model(folder / "model.safetensors", Model(make_networks(6, 8, 0), plain_patterns(torch.zeros(1, 1), 16), {}))


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with settings and a workspace of samples. Not to be written to."""
    folder = tmp_path_factory.mktemp("samples")
    write_samples(folder)
    return folder


@pytest.fixture(scope="module")
def straight(server: Server, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    """The model of a run from its start to its end, and the seconds it took."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    shutil.copytree(samples, folder)
    began = time.monotonic()
    server.run(folder, "fit")
    return Workspace(folder / "lpdif-workspace").model.read_bytes(), time.monotonic() - began


@pytest.fixture(scope="module")
def mesh(server: Server, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, float]:
    """The mesh of a ball of 400 points, and the seconds it took."""
    folder = tmp_path_factory.mktemp("mesh")
    write_ball(folder, 400)
    began = time.monotonic()
    server.run(folder, *MESH)
    return (folder / "mesh.ply").read_bytes(), time.monotonic() - began


@pytest.fixture
def place(samples: Path, tmp_path: Path) -> Workspace:
    """A workspace of one's own; its folder is tmp_path / "run"."""
    shutil.copytree(samples, tmp_path / "run")
    return Workspace(tmp_path / "run/lpdif-workspace")


def visible(folder: Path) -> set[str]:
    """Names in a folder, but for those that begin with a dot: the lock, and what a killed run was writing."""
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


# --- kill -9


def killed_reconstruct(server: Server, folder: Path, mesh: tuple[bytes, float], chance: random.Random) -> None:
    """Killed at a moment, the old mesh is there or the new one; the next run makes it."""
    expected, seconds = mesh
    old = chance.random() < 0.5
    if old:
        (folder / "mesh.ply").write_bytes(b"what was there before")
    else:
        (folder / "mesh.ply").unlink(missing_ok=True)
    run = server.start(folder, *MESH)
    time.sleep(chance.uniform(0, seconds))
    run.send(signal.SIGKILL)
    assert run.end() in (-signal.SIGKILL, 0)
    found = (folder / "mesh.ply").read_bytes() if (folder / "mesh.ply").exists() else None
    assert found in (b"what was there before" if old else None, expected)
    assert visible(folder) <= {"scan.ply", "model.safetensors", "mesh.ply"}
    server.run(folder, *MESH)
    assert (folder / "mesh.ply").read_bytes() == expected


def killed_fit(server: Server, folder: Path, straight: tuple[bytes, float], chance: random.Random) -> str:
    """Killed at a moment, every file is whole; the next run goes on and ends in the same bytes. Says when it met its end."""
    expected, seconds = straight
    place = Workspace(folder / "lpdif-workspace")
    run = server.start(folder, "fit")
    time.sleep(chance.uniform(0, seconds))
    run.send(signal.SIGKILL)
    assert run.end() in (-signal.SIGKILL, 0)
    assert visible(place.root) <= {"samples", "model.safetensors", "snapshot.safetensors", "metrics.jsonl"}
    for path in place.root.rglob("*.safetensors"):
        load_tensors(path, KINDS[path.name])
    if place.metrics.exists():
        assert all(row["step"] >= 1 for row in read_metrics(place.metrics))
    resumed = place.snapshot.exists()
    if place.model.exists():
        assert place.model.read_bytes() == expected
    server.run(folder, "fit", *["--resume"] * resumed)
    assert place.model.read_bytes() == expected
    return "resumed" if resumed else "anew"


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_reconstruct_killed_at_any_moment_leaves_no_half_mesh(server: Server, mesh: tuple[bytes, float], tmp_path: Path, times: int) -> None:
    write_ball(tmp_path, 400)
    chance = random.Random(times)
    for _ in range(times):
        killed_reconstruct(server, tmp_path, mesh, chance)


@pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_fit_killed_at_any_moment_goes_on_bit_for_bit(
    server: Server, samples: Path, straight: tuple[bytes, float], tmp_path: Path, times: int
) -> None:
    chance = random.Random(times)
    found = []
    for number in range(times):
        shutil.copytree(samples, tmp_path / str(number))
        found.append(killed_fit(server, tmp_path / str(number), straight, chance))
    assert times < 20 or found.count("resumed") >= 3


def children(pid: int) -> list[int]:
    """The processes whose parent this one is."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(child) for child, parent in (line.split() for line in listed.splitlines()) if int(parent) == pid]


def test_no_worker_outlives_a_preprocess_that_is_killed(server: Server, tmp_path: Path) -> None:
    """The worker has work for minutes, after a file that it leaves out at once."""
    write_ball(tmp_path, 20_000)
    (tmp_path / "bad.ply").write_text("ply\n")
    (tmp_path / "lpdif.toml").write_text("[preprocess]\nregions_per_shape = 1_000_000\n")
    run = server.start(tmp_path, "preprocess", "bad.ply", "scan.ply", "--threads", "1")
    run.said("bad.ply left out: ")
    started = children(run.pid)
    assert len(started) == 2  # the worker, and what Python has beside it
    assert all(map(alive, started)), run.lines
    run.send(signal.SIGKILL)
    assert run.end() == -signal.SIGKILL
    until = time.monotonic() + 30
    while any(map(alive, started)):
        assert time.monotonic() < until, "the worker is still there"
        time.sleep(0.05)


# --- Ctrl-C and SIGTERM


@pytest.mark.parametrize(("number", "code"), SIGNAL_CODES)
def test_reconstruct_stops_at_once_and_leaves_what_was_there(server: Server, tmp_path: Path, number: signal.Signals, code: int) -> None:
    write_ball(tmp_path, 20_000)
    (tmp_path / "mesh.ply").write_bytes(b"what was there before")
    run = server.start(tmp_path, *MESH)
    run.said("region size")
    run.send(number)
    assert run.end() == code
    assert run.lines[-2:] == [f"error: stopped by {number.name}", "  hint: nothing half-written is left behind"]
    assert run.out.read_bytes() == b""
    assert (tmp_path / "mesh.ply").read_bytes() == b"what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mesh.ply", "model.safetensors", "scan.ply"]


@pytest.mark.parametrize(("number", "code"), SIGNAL_CODES)
def test_fit_stops_with_a_snapshot_and_its_hint_goes_on_bit_for_bit(
    server: Server, place: Workspace, straight: tuple[bytes, float], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    run = server.start(tmp_path / "run", "fit", "--seed", "0")
    run.said("step 1:")
    run.send(number)
    assert run.end() == code
    assert run.lines[-2:] == [f"error: stopped by {number.name}", "  hint: go on with: lpdif fit --resume --seed 0"]
    [kept] = [line for line in run.lines if line.startswith("kept a snapshot after ")]
    assert 1 <= int(kept.split()[4]) < STEPS
    assert int(load_tensors(place.snapshot, SNAPSHOT)[0]["step"]) == int(kept.split()[4])
    assert not place.model.exists()
    server.run(tmp_path / "run", *run.lines[-1].partition("lpdif ")[2].split())
    assert place.model.read_bytes() == straight[0]


def test_a_second_signal_stops_fit_within_the_step(server: Server, place: Workspace, straight: tuple[bytes, float], tmp_path: Path) -> None:
    run = server.start(tmp_path / "run", "fit")
    run.said("step 1:")
    run.send(signal.SIGINT)
    run.send(signal.SIGTERM)
    assert run.end() in (130, 143)
    assert run.lines[-2].startswith("error: stopped by SIG")
    server.run(tmp_path / "run", "fit", "--resume")
    assert place.model.read_bytes() == straight[0]


# --- disk and memory


def test_a_mesh_larger_than_the_disk_leaves_the_old_one(server: Server, mesh: tuple[bytes, float], tmp_path: Path) -> None:
    write_ball(tmp_path, 400)
    (tmp_path / "mesh.ply").write_bytes(b"what was there before")
    run = server.start(tmp_path, *MESH, file_size=len(mesh[0]) // 2)
    assert run.end() == 5
    needed = f"{len(mesh[0]) / 1e6:.1f} MB are needed"
    assert run.lines[-2].startswith(f"error: mesh.ply: {needed}, but a file may not have more than ")
    assert run.lines[-1].startswith("  hint: raise the limit (ulimit -f unlimited)")
    assert (tmp_path / "mesh.ply").read_bytes() == b"what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mesh.ply", "model.safetensors", "scan.ply"]
    server.run(tmp_path, *MESH, file_size=len(mesh[0]))
    assert (tmp_path / "mesh.ply").read_bytes() == mesh[0]


def test_a_disk_too_small_for_a_snapshot_ends_fit_and_the_next_run_works(
    server: Server, place: Workspace, straight: tuple[bytes, float], tmp_path: Path
) -> None:
    run = server.start(tmp_path / "run", "fit", file_size=50_000)
    assert run.end() == 5
    assert re.search(r"snapshot\.safetensors: [\d.]+ MB are needed, but a file may not have more than ", run.lines[-2])
    assert {path.name for path in place.root.iterdir()} == {".lock", "samples"}
    server.run(tmp_path / "run", "fit")
    assert place.model.read_bytes() == straight[0]


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc here")
def test_memory_that_does_not_suffice_is_said_with_numbers(server: Server, tmp_path: Path) -> None:
    write_ball(tmp_path, 50_000)
    (tmp_path / "mesh.ply").write_bytes(b"what was there before")
    run = server.start(tmp_path, *MESH, "--threads", "1", memory=40 << 20)
    assert run.end() == 5
    assert run.lines[-2].startswith("error: out of memory: ")
    assert run.lines[-2].endswith(" MiB in use at most)")
    assert run.lines[-1].startswith("  hint: close other programs, or ask for less")
    assert (tmp_path / "mesh.ply").read_bytes() == b"what was there before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mesh.ply", "model.safetensors", "scan.ply"]


# --- two runs, and readers that go away


def assert_busy(ran: Ran, pid: int) -> None:
    """It was told that the fit of process `pid` is at work."""
    assert ran.code == 6
    assert ran.lines[-2:] == [
        f"error: lpdif-workspace: in use by process {pid} on {socket.gethostname()} (lpdif fit)",
        "  hint: wait for it to end, or pass another folder with --workspace",
    ]


def test_second_run_of_any_stage_is_told_who_has_the_workspace(
    server: Server, cli: Cli, place: Workspace, straight: tuple[bytes, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ball(tmp_path / "run", 400)
    run = server.start(tmp_path / "run", "fit")
    run.said("step 1:")
    run.send(signal.SIGSTOP)  # so that it is at work for as long as the others try
    monkeypatch.chdir(tmp_path / "run")
    place.gallery.write_bytes(b"what was there before")
    before = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file()}
    try:
        for words in (["fit"], ["fit", "--resume"], ["cluster"], ["preprocess", "scan.ply"]):
            for ran in (cli(*words), cli(*words, *["--overwrite"] * ("--resume" not in words))):
                assert_busy(ran, run.pid)
        assert {path: path.read_bytes() for path in before} == before
    finally:
        run.send(signal.SIGCONT)
    assert run.end() == 0
    assert place.model.read_bytes() == straight[0]


def test_a_reader_of_the_mesh_that_goes_away_is_no_error(server: Server, mesh: tuple[bytes, float], tmp_path: Path) -> None:
    """`lpdif reconstruct scan.ply -o - | head -c 3`: no error is told, and 141 is what the shell knows it by."""
    write_ball(tmp_path, 400)
    os.mkfifo(tmp_path / "pipe")
    words = (*MESH[:3], "-", *MESH[4:6])
    ours = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    run = server.start(tmp_path, *words, out=tmp_path / "pipe")
    run.said("region size")
    os.close(ours)
    assert run.end() == 141
    assert "rror" not in run.err.read_text()
    assert "Traceback" not in run.err.read_text()
    whole = server.run(tmp_path, *words)
    assert whole.out.read_bytes() == mesh[0]
