"""kill -9 at any moment of `lpdif preprocess` and `lpdif cluster`; for `reconstruct` and `fit` see test_faults_processes.py."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from forked import Server, write_samples
from short_fits import write_shapes

from lpdif.storage.models import load_tensors
from lpdif.storage.tensor_files import SAMPLES, SNAPSHOT
from lpdif.storage.workspace import Workspace

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

SAMPLING = "threads = 1\n[preprocess]\nregions_per_shape = 120\npoints = 48\nsamples = 16\n"
OFTEN = pytest.param(20, marks=pytest.mark.slow)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the lock."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def kill(server: Server, folder: Path, seconds: float, chance: random.Random, *words: str) -> None:
    """A run that lasts so long, killed at a moment."""
    run = server.start(folder, *words)
    time.sleep(chance.uniform(0, seconds))
    run.send(signal.SIGKILL)
    assert run.end() in (-signal.SIGKILL, 0)


@pytest.mark.parametrize("times", [1, OFTEN])  # a run takes seconds: its worker is a new process
def test_preprocess_killed_at_any_moment_leaves_whole_samples(server: Server, tmp_path: Path, times: int) -> None:
    """The list of samples is the old one or the new one, and every shard is whole; the next run makes what is missing."""
    (tmp_path / "scans").mkdir()
    write_shapes(tmp_path / "scans")
    (tmp_path / "lpdif.toml").write_text(SAMPLING)
    place = Workspace(tmp_path / "lpdif-workspace")
    server.run(tmp_path, "preprocess", "scans", "--seed", "1")
    old, older = contents(place.root), place.root.rename(tmp_path / "older")
    began = time.monotonic()
    server.run(tmp_path, "preprocess", "scans")
    expected, seconds = contents(place.root), time.monotonic() - began
    chance = random.Random(times)
    for number in range(times):
        shutil.rmtree(place.root)
        again = number % 2 == 0  # over the samples of an earlier run
        if again:
            shutil.copytree(older, place.root)
        kill(server, tmp_path, seconds, chance, "preprocess", "scans")
        listed = place.manifest.read_bytes() if place.manifest.exists() else None
        assert listed in (old["samples/manifest.json"] if again else None, expected["samples/manifest.json"])
        for shard in place.samples.glob("*.safetensors"):
            load_tensors(shard, SAMPLES)
        server.run(tmp_path, "preprocess", "scans")
        assert contents(place.root) == ({**old, **expected} if again else expected)  # and nothing half-written is left over


@pytest.mark.parametrize("times", [2, OFTEN])
def test_cluster_killed_at_any_moment_leaves_a_whole_fit(server: Server, tmp_path: Path, times: int) -> None:
    """Snapshot and gallery are the old ones or the new ones; the next run ends where the first would have."""
    write_samples(tmp_path)
    place = Workspace(tmp_path / "lpdif-workspace")
    words = ("cluster", "--patterns", "2", "--sweep", "2,3", "--overwrite")
    server.run(tmp_path, "fit")
    old, older = contents(place.root), place.root.rename(tmp_path / "older")
    shutil.copytree(older, place.root)
    began = time.monotonic()
    server.run(tmp_path, *words)
    expected, seconds = contents(place.root), time.monotonic() - began
    assert {name for name in expected if expected[name] != old.get(name)} == {"snapshot.safetensors", "patterns.png"}
    chance = random.Random(times)
    for _ in range(times):
        shutil.rmtree(place.root)
        shutil.copytree(older, place.root)
        kill(server, tmp_path, seconds, chance, *words)
        found = contents(place.root)
        for name in expected:
            assert found.get(name) in (old.get(name), expected[name])
        load_tensors(place.snapshot, SNAPSHOT)
        server.run(tmp_path, *words)
        assert contents(place.root) == expected
