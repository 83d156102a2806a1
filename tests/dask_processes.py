"""A Dask cluster of this machine: a scheduler and workers, each a process of its own with a nanny."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from conftest import process_environment

# What workers run before their first task, unless they work as they do for users. A scan's name says what happens to it.
STAND_IN = """
import os, signal, time
from pathlib import Path
import lpdif
from cli_fakes import Made
from lpdif.errors import InputError, ModelError
def reconstruct(scan, model, config, device, threads):
    Path({folder!r}, f"{{scan.name}}-{{time.time_ns()}}-{{os.getpid()}}-{{os.getppid()}}").touch()
    if "poison" in scan.name:
        os.kill(os.getpid(), signal.SIGKILL)
    if "once" in scan.name and len(list(Path({folder!r}).glob(f"{{scan.name}}-*"))) == 1:
        time.sleep(600)
    if "slow" in scan.name:
        time.sleep(1)
    if "bad" in scan.name:
        raise InputError(f"{{scan.name}}: no surface found", "give a denser scan")
    if "bug" in scan.name:
        raise ZeroDivisionError("of the test")
    return Made()
vars(lpdif).update(reconstruct=reconstruct, load_model=lambda path=None: path and path.read_bytes())
{more}
"""
# What workers run first that make the pieces of a scan as they do for users, but for what `more` says.
PIECES = """
import os, signal, time
from pathlib import Path
from lpdif.stages import piece_work
make = vars(piece_work).setdefault("made_as_ever", piece_work.surface_of)  # a worker may run this twice
def surface_of(work, model, threads):
    Path({folder!r}, f"piece-{{time.time_ns()}}-{{os.getpid()}}-{{os.getppid()}}").touch()
    first = len(list(Path({folder!r}).iterdir())) == 1
    {more}
    return make(work, model, threads)
piece_work.surface_of = surface_of
"""
PAUSE = 0.05


def wait_for(true: Callable[[], object], seconds: float = 60) -> None:
    """Waits until something is so."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(PAUSE)


def tasks_left(dask_scheduler: Any) -> int:
    """How many tasks a scheduler knows of; it runs there."""
    return len(dask_scheduler.tasks)


class DaskProcesses:
    """A scheduler, and workers of one thread each."""

    def __init__(self, folder: Path, stand_in: str = STAND_IN) -> None:
        self.folder, self.stand_in = folder, stand_in
        self.file, self.begun = folder / "scheduler.json", folder / "begun"
        self.begun.mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.logs: list[IO[bytes]] = []
        self.start_scheduler()

    def start_scheduler(self) -> None:
        """Starts a scheduler, as docs/cluster.md has it."""
        settings = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "2"}
        self.file.unlink(missing_ok=True)
        words = ["dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(self.file)]
        self.scheduler = self.start(words, settings)
        wait_for(lambda: self.file.exists() and self.file.read_text().endswith("}"))

    @property
    def address(self) -> str:
        return str(json.loads(self.file.read_text())["address"])

    def start_worker(self, more: str = "") -> subprocess.Popen[bytes]:
        """Starts a worker below a nanny, which is returned. more: further lines of what it runs first."""
        name = f"worker{len(self.processes)}"
        words = ["dask_worker", "--scheduler-file", str(self.file), "--name", name, "--nworkers", "1", "--nthreads", "1"]
        words += ["--no-dashboard", "--local-directory", str(self.folder / name)]
        if self.stand_in:
            preload = self.folder / f"{name}.py"
            preload.write_text(self.stand_in.format(folder=str(self.begun), more=more))
            words += ["--preload", str(preload)]
        return self.start(words, {})

    def start(self, words: list[str], settings: dict[str, str]) -> subprocess.Popen[bytes]:
        module, *rest = words
        environment = process_environment(settings)
        environment["PYTHONPATH"] += os.pathsep + str(Path(__file__).parent)
        log = (self.folder / f"{module}{len(self.logs)}.log").open("wb")
        self.logs.append(log)
        command = [sys.executable, "-m", f"distributed.cli.{module}", *rest]
        self.processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder))
        return self.processes[-1]

    def tries(self, scan: str) -> list[tuple[int, int]]:
        """(worker process, its nanny) of each time that the stand-in began a scan."""
        names = [path.name.rsplit("-", 3) for path in sorted(self.begun.iterdir())]
        return [(int(worker), int(nanny)) for name, _, worker, nanny in names if name == scan]

    def stop(self) -> None:
        """Ends all processes."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for worker in {worker for name in self.begun.iterdir() for worker in [int(name.name.rsplit("-", 3)[2])]}:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)  # of a nanny that was killed
        for log in self.logs:
            log.close()


@contextmanager
def dask_processes(folder: Path, workers: int = 2, stand_in: str = STAND_IN, more: str = "") -> Iterator[DaskProcesses]:
    """A cluster for the time of this block. stand_in: what its workers run first, with `more` in it."""
    cluster = DaskProcesses(folder, stand_in)
    try:
        for _ in range(workers):
            cluster.start_worker(more)
        yield cluster
    finally:
        cluster.stop()
