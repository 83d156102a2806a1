"""fit by several processes: the numbers of one process that goes through the same parts, and one end for all."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from conftest import SIGNAL_CODES, Cli, alive, process_environment, process_words, run_here
from short_fits import SHORT, change, model_bytes, stop_at
from torch import Tensor

from lpdif.core.processes import ALONE, OneProcess
from lpdif.errors import InputError, ModelError, ResourceError, UsageError
from lpdif.stages.fit import FitReport, fit, learn
from lpdif.stages.fit_processes import device_of
from lpdif.stages.process_group import described, rebuilt
from lpdif.storage.models import load_model
from lpdif.storage.snapshots import load_snapshot
from lpdif.storage.workspace import Workspace
from lpdif.types import silent

CPU = torch.device("cpu")
NEEDS_PS = pytest.mark.skipif(sys.platform != "linux", reason="children are found by the ps of Linux")
SETTINGS = {f"LPDIF_FIT_{name.upper()}": str(getattr(SHORT, name)) for name in vars(SHORT) if name not in ("resume", "seed", "start")}


def state(place: Path) -> dict[str, Tensor]:
    return load_snapshot(Workspace(place).snapshot)[0]


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def in_parts(place: Path, parts: int, stop: Callable[[], bool] = lambda: False, **settings: object) -> FitReport:
    """A fit by this process alone, which adds the gradients of so many parts."""
    return learn(Workspace(place), change(**settings), CPU, silent, stop, OneProcess(parts))


def beside(folder: Path, prepared: tuple[Path, object]) -> Workspace:
    """Another workspace for the same samples."""
    (folder / "alone").mkdir()
    return Workspace(folder / "alone", prepared[0])


@pytest.mark.parametrize(("regions", "parts"), [(24, 1), (24, 2), (25, 3), (2, 5)])
def test_parts_cover_a_batch(regions: int, parts: int) -> None:
    found = OneProcess(parts).parts(regions)
    assert [row for part in found for row in range(regions)[part]] == list(range(regions))
    assert all(part.start < part.stop for part in found)
    assert len(found) == min(regions, parts)


def test_one_part_is_a_fit_as_ever(workspace: Path, straight: tuple[Path, FitReport]) -> None:
    in_parts(workspace, 1)
    assert model_bytes(workspace) == model_bytes(straight[0])


def test_parts_differ_from_the_whole_by_rounding_alone(workspace: Path) -> None:
    """In the gradients of the first step. (Later ones are what Adam makes of the rounding, and the gate learns from each part alike.)"""
    in_parts(workspace, 3, stop_at(1))
    in_threes = state(workspace)
    fit(workspace, SHORT, "cpu", stop=stop_at(1))
    whole = state(workspace)
    names = ["bank", "seen", "form", *(name for name in whole if name.endswith(".exp_avg"))]
    assert any(not torch.equal(in_threes[name], whole[name]) for name in names)
    for name in names:
        torch.testing.assert_close(in_threes[name].float(), whole[name].float(), rtol=1e-3, atol=1e-6)


@pytest.mark.slow
def test_two_processes_equal_one_that_adds_the_same_parts(workspace: Path, tmp_path: Path, prepared: tuple[Path, object]) -> None:
    """Bit for bit; also stopped and resumed, and their model says how many they were."""
    alone = beside(tmp_path, prepared)
    learn(alone, SHORT, CPU, silent, lambda: False, OneProcess(2))
    assert fit(workspace, SHORT, "cpu", stop=stop_at(11), processes=2).stopped
    report = fit(workspace, change(resume=True), "cpu", processes=2)
    assert (report.processes, report.steps, report.made) == (2, 18, 7)
    assert_same(state(workspace), state(alone.root))
    assert load_model(report.model).card["processes"] == 2
    assert "processes" not in load_model(alone.model).card


@pytest.mark.slow
def test_a_fit_is_resumed_by_another_number_of_processes(workspace: Path, tmp_path: Path, prepared: tuple[Path, object]) -> None:
    alone = beside(tmp_path, prepared)
    learn(alone, SHORT, CPU, silent, stop_at(10), ALONE)
    learn(alone, change(resume=True), CPU, silent, lambda: False, OneProcess(3))
    assert fit(workspace, SHORT, "cpu", stop=stop_at(10)).stopped
    assert fit(workspace, change(resume=True), "cpu", processes=3).steps == 18
    assert_same(state(workspace), state(alone.root))


@NEEDS_PS
@pytest.mark.slow
def test_an_error_in_the_first_process_ends_all(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = children()
    monkeypatch.setattr("lpdif.stages.fit.save_tensors", full)
    with pytest.raises(OSError, match="No space left"):
        fit(workspace, SHORT, "cpu", processes=2)
    assert children() == before
    assert not torch.distributed.is_initialized()


def children() -> set[str]:
    found = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True, check=False).stdout
    return {line for line in found.splitlines() if "python" in line}


TWO = """
import sys
from lpdif.errors import InputError
from lpdif.stages.fit_processes import joined
from lpdif.stages.process_group import ProcessGroup
folder, rank = sys.argv[1], int(sys.argv[2])
with joined("cpu", folder, rank, 2):
    group = ProcessGroup()
    with group.together():
        assert group.tell(b"one" if rank == 0 else b"") == b"one"
        assert [group.any_stops(rank == 1), group.any_stops(False)] == [True, False]
        if rank == 1:
            ERROR
        group.any_stops(False)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "code", "last"),
    [
        ("raise InputError('bad.ply: empty', 'give another')", 3, "lpdif.errors.InputError: bad.ply: empty"),
        ("raise KeyError('k')", 1, "RuntimeError: in process 1: KeyError: 'k'"),
        ("group.meet(check=1)", 5, "lpdif.errors.ResourceError: the processes of the fit have come apart: numbers of processes 0 and 1 differ"),
        ("import os; os._exit(9)", 9, "lpdif.errors.ResourceError: another process of the fit has ended, or cannot be reached ("),
    ],
)
def test_an_error_in_a_helper_is_raised_in_the_first_process(tmp_path: Path, error: str, code: int, last: str) -> None:
    words = [sys.executable, "-c", TWO.replace("ERROR", error), str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": process_environment()}
    first, helper = (subprocess.Popen([*words, rank], **pipes) for rank in "01")  # type: ignore[call-overload]
    (out, err), (silent_out, silent_err) = first.communicate(timeout=100), helper.communicate(timeout=100)
    assert (first.returncode, helper.returncode) == (1, code)
    assert err.splitlines()[-1].removeprefix("[rank0]: ").startswith(last)
    assert (out, silent_out, silent_err) == ("", "", "")


def fit_words(place: Path, *more: str) -> list[str]:
    return ["fit", "--workspace", str(place), "--seed", str(SHORT.seed), "--device", "cpu", *more]


@pytest.mark.slow
def test_torchrun_gives_the_same_model(workspace: Path, tmp_path: Path, prepared: tuple[Path, object]) -> None:
    alone = beside(tmp_path, prepared)
    learn(alone, SHORT, CPU, silent, lambda: False, OneProcess(2))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lpdif_cli"]
    ran = subprocess.run([*launcher, *fit_words(workspace)], env=process_environment(SETTINGS), capture_output=True, text=True, check=True)
    assert ran.stdout == f"{Workspace(workspace).model}\n"
    assert ran.stderr.count("held-out regions") == 1
    assert "by 2 processes" in ran.stderr
    assert "processes that fitted it" in run_here("inspect", Workspace(workspace).model).out
    assert_same(state(workspace), state(alone.root))


@NEEDS_PS
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), SIGNAL_CODES)
def test_a_signal_stops_all_with_a_snapshot(workspace: Path, number: int, code: int) -> None:
    """As from a terminal, which sends it to all of them."""
    environment = process_environment({**SETTINGS, "LPDIF_FIT_SHARED_STEPS": "100000", "LPDIF_FIT_SNAPSHOT_EVERY": "3"})
    words = process_words(fit_words(workspace, "--processes", "2"))
    running = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    place = Workspace(workspace)
    while not place.snapshot.exists():
        assert running.poll() is None
        time.sleep(0.05)
    workers = [int(line) for line in subprocess.check_output(["ps", "-o", "pid=", "-g", str(running.pid)], text=True).split()]
    if number == signal.SIGTERM:
        running.send_signal(number)
    else:
        os.killpg(running.pid, number)
    err = running.communicate(timeout=60)[1]
    assert running.returncode == code
    assert "go on with: lpdif fit --resume" in err
    assert "--processes 2" in err
    assert err.count("error: ") == 1
    assert load_snapshot(place.snapshot)[0]["step"] > 0
    assert not any(alive(pid) for pid in workers)


@NEEDS_PS
@pytest.mark.slow
def test_a_helper_that_is_killed_ends_the_fit(workspace: Path) -> None:
    environment = process_environment({**SETTINGS, "LPDIF_FIT_SHARED_STEPS": "100000", "LPDIF_FIT_SNAPSHOT_EVERY": "3"})
    words = process_words(fit_words(workspace, "--processes", "2"))
    place = Workspace(workspace)
    running = subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, text=True)
    while not place.snapshot.exists():
        assert running.poll() is None
        time.sleep(0.05)
    lines = subprocess.check_output(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(running.pid)], text=True).splitlines()
    [helper] = [int(line.split()[0]) for line in lines if "spawn_main" in line]
    os.kill(helper, signal.SIGKILL)
    err = running.communicate(timeout=60)[1]
    assert running.returncode == 5
    assert "error: another process of the fit has ended, or cannot be reached" in err
    assert load_snapshot(place.snapshot)[0]["step"] > 0


@pytest.mark.slow
def test_a_process_may_have_no_part(workspace: Path, tmp_path: Path, prepared: tuple[Path, object]) -> None:
    """A step of one region, by two processes."""
    alone = beside(tmp_path, prepared)
    learn(alone, change(batch=1), CPU, silent, stop_at(3), OneProcess(2))
    fit(workspace, change(batch=1), "cpu", stop=stop_at(3), processes=2)
    assert_same(state(workspace), state(alone.root))


@pytest.mark.parametrize("given", ["0", "257", "two"])
def test_a_wrong_number_of_processes_is_refused(cli: Cli, given: str) -> None:
    ran = cli("fit", "--processes", given)
    assert ran.code == 2
    assert ran.lines[0].startswith("error: --processes: ")


def test_torchrun_decides_how_many(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("TORCHELASTIC_RUN_ID", "r"), ("RANK", "0"), ("WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    ran = cli("fit", "--processes", "2")
    assert (ran.code, ran.lines[0]) == (2, "error: --processes under torchrun, which has started the processes")


@pytest.mark.parametrize(
    "error",
    [
        InputError("no", "hint"),
        ModelError("bad"),
        MemoryError("much"),
        OSError(errno.ENOSPC, "full", "file"),
        KeyboardInterrupt(),
        KeyError("k"),
    ],
)
def test_errors_pass_between_processes(error: BaseException) -> None:
    again = rebuilt(json.loads(json.dumps(described(error))), 1)
    if isinstance(error, KeyError):
        assert str(again) == "in process 1: KeyError: 'k'"
        return
    assert type(again) is type(error)
    if isinstance(error, OSError):
        assert (again.errno, again.strerror, again.filename) == (error.errno, error.strerror, error.filename)  # type: ignore[attr-defined]
    elif isinstance(error, MemoryError):
        assert str(again) == "much (in process 1)"
    else:
        assert vars(again) == vars(error)


def test_each_process_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert device_of("cpu", 1, 2) == CPU
    with pytest.raises(UsageError, match="device 'cuda:0' is one GPU"):
        device_of("cuda:0", 0, 2)
    chosen: list[int] = []
    monkeypatch.setattr("lpdif.stages.fit_processes.resolve", lambda _: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    assert device_of("auto", 1, 2) == torch.device("cuda", 1)
    assert chosen == [1]
    with pytest.raises(ResourceError, match=r"3 processes on a machine with 2 CUDA"):
        device_of("cuda", 0, 3)
