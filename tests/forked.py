"""Real runs of `lpdif` at the price of a fork: one process has imported everything, what comes late included, and each run is its child."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from conftest import process_environment

STEPS = 10
SETTINGS = f"""
device = "cpu"
threads = 1
[fit]
patterns = 3
shared_steps = {STEPS // 2}
pattern_steps = {STEPS // 2}
features = 6
width = 8
batch = 16
kde_every = 2
reassign_every = 3
snapshot_every = 1
"""
SERVER = """
import gc, json, os, resource, sys
import sklearn.cluster
import torch._dynamo
import lpdif.stages.cluster, lpdif.stages.fit, lpdif.stages.preprocess, lpdif.stages.reconstruct
from lpdif_cli.main import main
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if "wait" in asked:
        print(os.waitstatus_to_exitcode(os.waitpid(asked["wait"], 0)[1]), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    os.chdir(asked["folder"])
    for stream, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(asked[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), stream)
    if asked["file_size"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (asked["file_size"],) * 2)
    if asked["memory"] is not None:
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + asked["memory"],) * 2)
    sys.argv = ["lpdif", *asked["words"]]
    try:
        main()
    except SystemExit as end:
        os._exit(end.code)  # what is left to do, taking the interpreter apart, takes longer than the run
os._exit(0)
"""


def write_samples(folder: Path) -> None:
    """Settings of a fit of STEPS steps, and a workspace with samples for it."""
    import torch
    from shapes import training_regions

    from lpdif.storage.models import save_tensors
    from lpdif.storage.tensor_files import SAMPLES
    from lpdif.storage.workspace import Workspace

    (folder / "lpdif.toml").write_text(SETTINGS)
    place = Workspace(folder / "lpdif-workspace")
    place.samples.mkdir(parents=True)
    data = training_regions(160)
    save_tensors(place.samples / "shard.safetensors", SAMPLES, {**data._asdict(), "sizes": torch.full((160,), 0.1)}, {"regions": 160})
    place.manifest.write_text(json.dumps({"kept": [{"shard": "shard.safetensors", "source": "shape.ply", "regions": 160}], "left_out": []}))


@dataclass
class Run:
    """A run under way."""

    server: Server
    pid: int
    err: Path
    out: Path

    def said(self, words: str) -> None:
        """Waits until stderr holds these words."""
        until = time.monotonic() + 60
        while words not in self.err.read_text():
            assert time.monotonic() < until, f"{words!r} never came: {self.err.read_text()}"
            time.sleep(0.005)

    def send(self, number: signal.Signals) -> None:
        """A signal. The run stays a zombie until `end`, so its number is nobody else's."""
        os.kill(self.pid, number)

    def end(self) -> int:
        """Waits for its end and gives the exit code, or minus the signal that killed it."""
        return int(self.server.ask({"wait": self.pid}))

    @property
    def lines(self) -> list[str]:
        return self.err.read_text().splitlines()


class Server:
    """The process that forks. Streams of the runs go to files in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=process_environment()
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def ask(self, what: dict[str, object]) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def start(self, folder: Path, *words: str | Path, out: Path | None = None, file_size: int | None = None, memory: int | None = None) -> Run:
        """`lpdif` with these words in this folder; at most so many bytes a file, and of memory beyond what is there at the start."""
        self.count += 1
        err, out = self.folder / f"{self.count}.err", out or self.folder / f"{self.count}.out"
        err.touch()
        limits = {"file_size": file_size, "memory": memory}
        pid = self.ask({"folder": str(folder), "words": [str(w) for w in words], "out": str(out), "err": str(err), **limits})
        return Run(self, int(pid), err, out)

    def run(self, folder: Path, *words: str | Path, file_size: int | None = None, memory: int | None = None) -> Run:
        """The same from start to end; it must succeed unless a limit is set."""
        run = self.start(folder, *words, file_size=file_size, memory=memory)
        code = run.end()
        assert code == 0, run.lines
        return run

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()
