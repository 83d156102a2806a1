"""Signals at random moments: does every command end as it should, at any time of its life?

    python benchmarks/interrupts.py [--count 200] [--seed 0]

Runs reconstruct, a batch, preprocess and fit on scans of 150,000 points made by code, and sends each SIGINT, SIGTERM or SIGHUP, once or
twice, to the process alone or to all of its group (as a terminal does), at a moment from the first imports to the last line, drawn evenly in
the logarithm of the time since the start. Right is a run that tells on stderr within ACKNOWLEDGED seconds that it stops, has ended
within ENDED, by the exit code of the signal, and leaves nothing: no traceback, no process, no lock, no temporary file, no file that is not
whole. A run that had done its work when the signal came ends with 0 ("done"). Before Python runs the first line of lpdif, the signal is
Python's: such runs are counted apart ("boot"), and right where they leave nothing. Needs Linux.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import lpdif
from lpdif.errors import LpdifError
from lpdif.storage.lock import check_not_locked
from lpdif.storage.models import load_tensors
from lpdif.storage.tensor_files import MODEL, SNAPSHOT

POINTS = 150_000
START = 0.02  # seconds after its start that the earliest signals come
BETWEEN = 1.0  # seconds within which a second signal follows
ACKNOWLEDGED, ENDED, GONE = 1.0, 4.0, 1.0  # seconds: until a signal is answered, until the run has ended, and all it has started
LOST, HANGS = 10.0, 60.0  # seconds after which a run is killed whose signal came before lpdif began, or later
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
ANSWERS = (b"stopped by SIG", b"stopping after this step")
SETTINGS = """
device = "cpu"
[preprocess]
regions_per_shape = 600
[fit]
patterns = 3
shared_steps = 150
pattern_steps = 150
features = 6
width = 8
batch = 16
snapshot_every = 50
"""
COMMANDS = {
    "reconstruct": ["reconstruct", "scans/a.ply", "-o", "made/a.ply"],
    "batch": ["reconstruct", "scans", "-o", "made"],
    "preprocess": ["preprocess", "scans", "--threads", "2"],
    "fit": ["fit"],
}
NOISE = {"made.json", "failed.jsonl", "metrics.jsonl", "manifest.json"}  # that differ from run to run, or grow: to be read, not compared


@dataclass
class Ran:
    """What became of a run; times in seconds after the (last) signal, NaN where nothing was said."""

    command: str
    numbers: list[signal.Signals]
    group: bool
    moment: float
    boot: bool
    code: int
    acknowledged: float
    ended: float
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        names = " + ".join(number.name for number in self.numbers)
        return f"{self.command}, {names} to the {'group' if self.group else 'process'} after {self.moment:.2f} s: exit code {self.code}"


class Process:
    """A command at work in a folder, in a group of its own, and when each part of its stderr came."""

    def __init__(self, folder: Path, words: list[str]) -> None:
        environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
        command = [sys.executable, "-m", "lpdif_cli", *words]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=begin,
        )
        self.said: list[tuple[float, bytes]] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        while part := os.read(self.process.stderr.fileno(), 1 << 16):
            self.said.append((time.monotonic(), part))

    @property
    def text(self) -> bytes:
        return b"".join(part for _, part in self.said)

    def listens(self) -> bool:
        """Whether the process catches SIGHUP, as the first lines of lpdif see to."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        [caught] = [line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")]
        return bool(int(caught, 16) >> (signal.SIGHUP - 1) & 1)

    def send(self, number: signal.Signals, group: bool) -> None:
        if self.process.poll() is None:
            (os.killpg if group else os.kill)(self.process.pid, number)

    def answered(self, since: float) -> float:
        """Seconds from then to the first answer to a signal; NaN if there is none."""
        return next((when - since for when, part in self.said if any(words in part for words in ANSWERS)), math.nan)

    def left(self) -> list[str]:
        """The processes of the group that are still there after GONE seconds, which are killed."""
        until = time.monotonic() + GONE
        while (there := members(self.process.pid)) and time.monotonic() < until:
            time.sleep(0.02)
        if there:
            os.killpg(self.process.pid, signal.SIGKILL)
        return there


def members(group: int) -> list[str]:
    """The command lines of the processes of a group, but for those that have ended and wait for init to notice."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, its = (place / "stat").read_text().rpartition(")")[2].split()[:3]
            if int(its) == group and state != "Z":
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def begin() -> None:
    """In the process to be: signals that this one may ignore, as in the background, are heard again, and a crash leaves a core."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below, by its path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def left_behind(folder: Path, whole: dict[str, bytes], before: dict[str, bytes]) -> list[str]:
    """What is wrong with the files there, against those of a run to its end and those before the run."""
    found, faults = contents(folder), []
    for name, data in found.items():
        base = Path(name).name
        if base == ".lock":
            if data:
                faults.append(f"{name} names a holder")
        elif base in ("model.safetensors", "snapshot.safetensors"):
            try:
                load_tensors(folder / name, MODEL if base == "model.safetensors" else SNAPSHOT)
            except LpdifError as error:
                faults.append(str(error))
        elif base in NOISE:
            for line in [data.decode()] if base in ("made.json", "manifest.json") else data.decode().splitlines():
                try:
                    json.loads(line)
                except ValueError:
                    faults.append(f"{name} is not whole")
        elif data not in (whole.get(name), before.get(name)):
            faults.append(f"{name} is {'not whole' if name in whole else 'left behind'}")
    faults += [f"{name} is gone" for name in before if name not in found]
    try:
        check_not_locked(folder / "lpdif-workspace")
    except LpdifError as error:
        faults.append(str(error))
    return faults


def interrupted(command: str, folder: Path, life: float, chance: random.Random, whole: dict[str, bytes]) -> Ran:
    """A run that gets its signals, and what is wrong with how it ends."""
    before = contents(folder)
    numbers = [chance.choice(SIGNALS) for _ in range(chance.choice((1, 2)))]
    moment, pause, group = math.exp(chance.uniform(math.log(START), math.log(life))), chance.uniform(0, BETWEEN), chance.random() < 0.5
    run = Process(folder, COMMANDS[command])
    time.sleep(max(0.0, run.began + moment - time.monotonic()))
    boot = run.process.poll() is None and not run.listens()
    first = time.monotonic()
    run.send(numbers[0], group)
    last = first
    if len(numbers) == 2:
        try:
            run.process.wait(pause)
        except subprocess.TimeoutExpired:
            last = time.monotonic()
            run.send(numbers[1], group)
    faults = []
    try:
        code = run.process.wait(LOST if boot else HANGS)
    except subprocess.TimeoutExpired:
        faults.append("lost before lpdif began" if boot else "hangs: " + run.text.decode(errors="replace")[-500:])
        run.process.kill()
        code = run.process.wait()
    ended = time.monotonic() - last
    faults += [f"outlived by {line}" for line in run.left()]
    run.reader.join()
    ran = Ran(command, numbers, group, moment, boot, code, run.answered(first), ended, faults)
    faults += left_behind(folder, whole, before)
    if not boot:
        complete = code == 0 and all(name in contents(folder) for name in whole)
        if not complete and code not in {128 + number for number in numbers}:
            faults.append(f"exit code {code}")
        if not complete and not ran.acknowledged <= ACKNOWLEDGED:
            faults.append(f"answers after {ran.acknowledged:.1f} s")
        if ended > ENDED:
            faults.append(f"ends after {ended:.1f} s")
        if b"Traceback" in run.text or b"Warning" in run.text or b"Exception ignored" in run.text:
            faults.append("traceback: " + run.text.decode(errors="replace")[-1500:])
    elif not faults and code not in {0, 1, *(128 + number for number in numbers), *(-number for number in numbers)}:
        faults.append(f"exit code {code}")
    return ran


def set_up(folder: Path) -> tuple[dict[str, float], dict[str, dict[str, bytes]], dict[str, Path]]:
    """For each command: how long it lives, the files it makes in the end, and the folder it begins with."""
    base = folder / "base"
    (base / "scans").mkdir(parents=True)
    for name in ("tmp", "made"):
        (base / name).mkdir()
    (base / "lpdif.toml").write_text(SETTINGS)
    scan = lpdif.make_demo_scan(POINTS)
    lpdif.write_scan(base / "scans/a.ply", lpdif.Scan(scan.points.astype(np.float32).astype(np.float64), scan.normals))
    lpdif.write_scan(base / "scans/b.ply", lpdif.Scan(lpdif.make_demo_scan(POINTS, 1).points))
    lives, whole, begins = {}, {}, dict.fromkeys(COMMANDS, base)
    for command, words in COMMANDS.items():
        place = Path(shutil.copytree(begins[command], folder / command))
        run = Process(place, words)
        if run.process.wait() != 0:
            sys.exit(f"error: {command}: {run.text.decode()}")
        lives[command], whole[command] = time.monotonic() - run.began, contents(place)
        print(f"{command}: {lives[command]:.1f} s to its end", flush=True)
        if command == "preprocess":
            begins["fit"] = place
    return lives, whole, begins


def spread(values: list[float]) -> str:
    """Median, 95 % and largest, s."""
    known = [value for value in values if math.isfinite(value)]
    return " / ".join(f"{value:.2f}" for value in np.quantile(known, [0.5, 0.95, 1])) if known else "-"


def row(name: str, runs: list[Ran]) -> str:
    heard = [ran for ran in runs if not ran.boot]
    counts = f"{len(runs):>5}{len(runs) - len(heard):>6}{sum(ran.code == 0 for ran in runs):>6}{sum(bool(ran.faults) for ran in runs):>8}"
    return f"{name:22}{counts}   {spread([ran.acknowledged for ran in heard]):20} {spread([ran.ended for ran in heard]):20}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    chance = random.Random(args.seed)
    done: list[Ran] = []
    with tempfile.TemporaryDirectory() as name:
        lives, whole, begins = set_up(Path(name))
        for number in range(args.count):
            command = list(COMMANDS)[number % len(COMMANDS)]
            place = Path(shutil.copytree(begins[command], Path(name, "run")))
            done.append(interrupted(command, place, lives[command], chance, whole[command]))
            shutil.rmtree(place)
            if done[-1].faults:
                print(f"{done[-1]}: {'; '.join(done[-1].faults)}", flush=True)
    print(f"\n{'':22}{'runs':>5}{'boot':>6}{'done':>6}{'faults':>8}   {'answered, s':20} {'ended, s':20}   (median / 95 % / largest)")
    kinds: dict[str, Callable[[Ran], bool]] = {command: lambda ran, c=command: ran.command == c for command in COMMANDS}  # type: ignore[misc]
    kinds |= {number.name: lambda ran, n=number: ran.numbers[0] == n for number in SIGNALS}  # type: ignore[misc]
    kinds |= {"once": lambda ran: len(ran.numbers) == 1, "twice": lambda ran: len(ran.numbers) == 2, "all": lambda _: True}
    for kind, fits in kinds.items():
        print(row(kind, [ran for ran in done if fits(ran)]))
    sys.exit(any(ran.faults for ran in done))


if __name__ == "__main__":
    main()
