"""Signals at every time of a process's life: it ends at once, by the exit code of the signal, with nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_fakes import slow, write_points
from conftest import SIGNAL_CODES, alive, process_environment, process_words

import lpdif
from lpdif.storage.atomic_write import atomic_write, remove_leftovers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="sends signals")

SOON = 60.0  # seconds, on the busiest machine; without a signal nothing comes for many minutes

# Each waits for many minutes at another time of a run's life, and says so first.
AT_WORK = 'import sys, time\ndef at_work():\n    print("at work", file=sys.stderr, flush=True)\n'
IMPORTING = """
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            at_work()
            try:
                time.sleep(3600)
            except BaseException:  # as libraries do that swallow what comes while they are being imported
                time.sleep(3600)
sys.meta_path.insert(0, Slow())
"""
NATIVE = """
import hashlib, lpdif
def load_scan(path, times=False):
    at_work()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)  # one call of C, which lets other threads run
vars(lpdif).update(load_scan=load_scan)
"""
WRITING = """
import lpdif
from lpdif.storage.atomic_write import atomic_write
from lpdif.storage.lock import workspace_lock
from pathlib import Path
def load_scan(path, times=False):
    with workspace_lock(Path("workspace"), "fit"), atomic_write("mesh.ply") as file:
        file.write(b"half")
        file.flush()
        at_work()
        time.sleep(3600)
vars(lpdif).update(load_scan=load_scan)
"""
PARSING = """
import lpdif, lpdif.io.sandbox as child
from lpdif.io.source import Source
begin = child.subprocess.Popen
def begun(words, **more):
    process = begin([words[0], "-c", "import time; time.sleep(3600)"], **more)
    print(process.pid, file=sys.stderr, flush=True)
    return process
def load_scan(path, times=False):
    child.subprocess.Popen = begun
    child._receive = lambda stream: at_work() or stream.read()
    child.arrays_from_child(Source("stdin", b"data"), "las", 10)
vars(lpdif).update(load_scan=load_scan)
"""
LEAVING = """
import atexit, os
def leave():
    at_work()
    while not os.path.exists("leave"):
        time.sleep(0.01)
atexit.register(leave)
"""
FITTING = """
import lpdif
from lpdif.storage.workspace import Workspace
def fit(workspace, config, device, progress, stop, samples, processes):
    progress("fit", 1, {steps})
    stop()
    progress("fit", 2, {steps})
    at_work()
    time.sleep(3600)
Workspace.shards = lambda self: [1]
vars(lpdif).update(fit=fit, use_threads=lambda count: None)
"""
SCAN = ("reconstruct", "scan.ply", "-o", "mesh.ply")


@contextlib.contextmanager
def started(folder: Path, words: tuple[str, ...], prelude: str) -> Iterator[subprocess.Popen[str]]:
    """A run in a session of its own that has come to say that it is at work; what it said before is in its `before`.

    It is killed after some minutes, so that no test waits for an hour.
    """
    environment = process_environment({"TMPDIR": str(folder)})
    command = process_words(words, AT_WORK + prelude)
    piped = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE}
    process = subprocess.Popen(command, **piped, text=True, cwd=folder, env=environment, start_new_session=True)
    limit = threading.Timer(5 * SOON, process.kill)
    limit.start()
    try:
        assert process.stderr is not None
        before = []
        while (line := process.stderr.readline()) not in ("at work\n", ""):
            before.append(line)
        assert line, before
        process.before = before  # type: ignore[attr-defined]
        yield process
    finally:
        limit.cancel()
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> list[str]:
    """The lines that it says till its end, which comes soon."""
    return process.communicate(timeout=SOON)[1].splitlines()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_points(tmp_path / "scan.ply")
    return tmp_path


@pytest.mark.parametrize(("number", "code"), SIGNAL_CODES)
@pytest.mark.parametrize("prelude", [IMPORTING, NATIVE])
def test_it_ends_amid_imports_and_native_calls(folder: Path, prelude: str, number: signal.Signals, code: int) -> None:
    with started(folder, SCAN, prelude) as process:
        process.send_signal(number)
        lines = ended(process)
    assert (process.returncode, lines[0]) == (code, f"error: stopped by {number.name}")
    assert len(lines) <= 2
    assert [path.name for path in folder.iterdir()] == ["scan.ply"]


@pytest.mark.parametrize("number", [number for number, _ in SIGNAL_CODES])
def test_before_it_listens_the_system_ends_it_without_a_word(folder: Path, number: signal.Signals) -> None:
    with started(folder, SCAN, IMPORTING.replace("typer", "lpdif_cli.interrupts")) as process:
        process.send_signal(number)
        assert ended(process) == []
    assert process.returncode == -number  # which a shell calls 128 + number


def test_what_is_half_written_goes_and_the_lock_names_nobody(folder: Path) -> None:
    with started(folder, SCAN, WRITING) as process:
        assert len([path for path in folder.iterdir() if path.suffix == ".tmp"]) == 1
        process.send_signal(signal.SIGTERM)
        lines = ended(process)
    assert (process.returncode, lines) == (143, ["error: stopped by SIGTERM", "  hint: nothing half-written is left behind"])
    assert sorted(path.name for path in folder.iterdir()) == ["scan.ply", "workspace"]
    assert (folder / "workspace/.lock").read_bytes() == b""


def test_a_parser_ends_with_it(folder: Path) -> None:
    with started(folder, SCAN, PARSING) as process:
        parser = int(process.before[-1])  # type: ignore[attr-defined]
        assert alive(parser)
        process.send_signal(signal.SIGINT)
        lines = ended(process)
    assert (process.returncode, lines[0]) == (130, "error: stopped by SIGINT")
    assert [path.name for path in folder.iterdir()] == ["scan.ply"]
    until = time.monotonic() + SOON
    while alive(parser):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_run_that_is_done_is_done(folder: Path) -> None:
    with started(folder, ("demo", "-o", "demo.ply"), LEAVING) as process:
        for number, _ in SIGNAL_CODES:
            process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        (folder / "leave").touch()
        assert ended(process) == []
    assert process.returncode == 0


@pytest.mark.parametrize("number", [number for number, _ in SIGNAL_CODES if number != signal.SIGTERM])
def test_what_is_ignored_from_the_start_stays_ignored(folder: Path, number: signal.Signals) -> None:
    ignored = f"import signal\nsignal.signal({int(number)}, signal.SIG_IGN)\n"
    with started(folder, SCAN, ignored + slow(60)) as process:
        process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == "error: stopped by SIGTERM"
    assert process.returncode == 143


def test_fit_answers_within_its_step_and_ends_in_it_when_told_twice(folder: Path) -> None:
    with started(folder, ("fit", "-q"), FITTING.format(steps=9)) as process:
        process.send_signal(signal.SIGHUP)
        assert process.stderr is not None
        assert process.stderr.readline() == "stopping after this step, with a snapshot; press Ctrl-C again to stop at once\n"
        process.send_signal(signal.SIGINT)
        lines = ended(process)
    assert (process.returncode, lines[0]) == (130, "error: stopped by SIGINT")


def test_fit_does_not_wait_for_what_comes_after_its_last_step(folder: Path) -> None:
    with started(folder, ("fit", "--seed", "3"), FITTING.format(steps=2)) as process:
        process.send_signal(signal.SIGTERM)
        lines = ended(process)
    assert (process.returncode, lines) == (143, ["error: stopped by SIGTERM", "  hint: go on with: lpdif fit --resume --seed 3"])


def group_size(leader: int) -> int:
    """How many processes there are in a group."""
    return subprocess.run(["ps", "-A", "-o", "pgid="], capture_output=True, text=True, check=True).stdout.split().count(str(leader))


@pytest.mark.parametrize(("number", "code"), [SIGNAL_CODES[0], *(pytest.param(*pair, marks=pytest.mark.slow) for pair in SIGNAL_CODES[1:])])
@pytest.mark.parametrize("everyone", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_preprocess_ends_with_its_workers(folder: Path, number: signal.Signals, code: int, everyone: bool) -> None:
    """The workers have hours of work. Signals of a terminal go to all processes, some of which have hardly begun."""
    for seed, name in enumerate(("a.ply", "b.ply", "c.ply")):
        lpdif.write_scan(folder / name, lpdif.make_demo_scan(3000, seed))
    command = process_words(["preprocess", "a.ply", "b.ply", "c.ply", "--threads", "3"])
    environment = process_environment({"LPDIF_PREPROCESS_REGIONS_PER_SHAPE": "10000000"})
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment, start_new_session=True)
    until = time.monotonic() + 120
    while group_size(process.pid) < 4:
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    (os.killpg if everyone else os.kill)(process.pid, number)
    lines = ended(process)
    assert process.returncode == code
    assert lines[-2:] == [f"error: stopped by {number.name}", "  hint: run the same command again: samples that are done are kept"]
    assert not [line for line in lines if "Traceback" in line or "Error" in line], "\n".join(lines)
    until = time.monotonic() + SOON
    while group_size(process.pid):  # Python's tracker of resources ends after the process that it was started for
        assert time.monotonic() < until
        time.sleep(0.05)
    assert not list((folder / "lpdif-workspace/samples").glob(".*"))
    assert (folder / "lpdif-workspace/.lock").read_bytes() == b""


def test_left_overs_of_killed_writers_go_and_others_stay(tmp_path: Path) -> None:
    for name in (".hidden", "a.tmp", ".a.0123456789ab.tmp", ".b.safetensors.ba9876543210.tmp", ".a.0123.tmp"):
        (tmp_path / name).touch()
    with atomic_write(tmp_path / "at work") as file:
        file.write(b"whole")
        remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.0123.tmp", ".hidden", "a.tmp", "at work"]
