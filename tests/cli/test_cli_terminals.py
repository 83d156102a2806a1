"""The command line on terminals and off them: colour, progress, signals, pipes."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from pathlib import Path

import pytest
from cli_fakes import slow, write_points
from conftest import SIGNAL_CODES, process_environment, process_words, run_apart

from lpdif_cli.console import Console

pty = pytest.importorskip("pty", reason="no such terminals there", exc_type=ImportError)  # Windows has the module, but not what it needs

# --- terminals


def on_terminal(words: list[str], environment: dict[str, str], folder: Path) -> str:
    """stderr of a process whose stderr is a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(words, stderr=theirs, stdout=subprocess.DEVNULL, env=environment, cwd=folder)
    os.close(theirs)
    said = b""
    while True:
        if not select.select([ours], [], [], 30)[0]:
            process.kill()
            raise AssertionError("nothing came for 30 s")
        try:
            part = os.read(ours, 4096)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        said += part
    os.close(ours)
    assert process.wait(30) == 0
    return said.decode()


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({"TERM": "xterm-256color"}, True), ({"TERM": "xterm", "NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)],
)
def test_colour_and_bar_only_where_welcome(tmp_path: Path, environment: dict[str, str], coloured: bool) -> None:
    write_points(tmp_path / "scan.ply")
    words = process_words(["reconstruct", "scan.ply", "-o", "mesh.ply"], slow(0.008 if coloured else 0))
    said = on_terminal(words, process_environment({**environment, "COLUMNS": "80"}), tmp_path)
    assert ("\x1b" in said) == coloured
    assert ("fields" in said) == coloured
    assert "wrote mesh.ply" in said


def test_no_ansi_off_a_terminal_whatever_the_environment_says(tmp_path: Path) -> None:
    write_points(tmp_path / "scan.ply")
    loud = {"TERM": "xterm-256color", "FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "GITHUB_ACTIONS": "true"}
    ran = run_apart(["reconstruct", "scan.ply", "-o", "mesh.ply"], prelude=slow(0), environment=loud, cwd=tmp_path)
    assert ran.returncode == 0
    assert "\x1b" not in ran.stdout + ran.stderr


def told(flag: str, first: int, last: int, total: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines of a run whose units take half a second each, off a terminal."""
    clock = [0.0]
    monkeypatch.setattr("lpdif_cli.console.time.monotonic", lambda: clock[0])
    console = Console()
    console.setup("fit", as_json=False, quiet=flag == "-q", verbose=flag == "-v")
    for done in range(first, last + 1):
        clock[0] += 0.5
        console.progress("fit", done, total)
    return capsys.readouterr().err.splitlines()


def test_plain_progress_lines_now_and_then(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [f"fit: {done} of 100 ({done} %), {left} left" for done, left in [(21, "39.5 s"), (41, "29.5 s"), (61, "19.5 s"), (81, "9.5 s")]]
    assert told("-v", 1, 100, 100, capsys, monkeypatch) == lines
    assert told("", 1, 100, 100, capsys, monkeypatch) == [lines[0], lines[2]]  # after 10 s, 20 s more, 40 s more, ...
    assert told("-q", 1, 100, 100, capsys, monkeypatch) == []
    assert len(told("", 1, 40_000, 40_000, capsys, monkeypatch)) == 6 + 32  # 5.5 hours


def test_what_an_earlier_run_has_done_is_not_taken_for_speed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = told("", 5001, 5021, 10_021, capsys, monkeypatch)
    assert line == "fit: 5,021 of 10,021 (50 %), 41 min 40 s left"


def test_work_that_was_given_up_does_not_slow_the_next(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("lpdif_cli.console.time.monotonic", lambda: clock[0])
    console = Console()
    console.setup("reconstruct", as_json=False, quiet=False, verbose=True)
    for time, done in [(0, 1), (9, 2), (1000, 1), (1010, 6)]:
        clock[0] = time
        console.progress("encode", done, 11)
    assert capsys.readouterr().err == "encode: 6 of 11 (54 %), 10.0 s left\n"


def test_the_bar_of_a_resumed_run_counts_its_own_steps_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from io import StringIO

    monkeypatch.setattr(Console, "lively", True)
    monkeypatch.setattr("lpdif_cli.console.BAR_AFTER", 0.0)
    console = Console(err=StringIO())
    console.progress("fit", 5001, 10_000)
    console.progress("fit", 5002, 10_000)
    assert console._bar is not None
    [task] = console._bar.tasks
    assert (task.completed, sum(sample.completed for sample in task._progress)) == (5002, 1)
    console.stop_bar()


# --- signals and pipes


@pytest.mark.parametrize(("number", "code"), SIGNAL_CODES)
def test_signals_end_a_run_cleanly(tmp_path: Path, number: signal.Signals, code: int) -> None:
    write_points(tmp_path / "scan.ply")
    process = subprocess.Popen(
        process_words(["reconstruct", "scan.ply", "-o", "mesh.ply"], slow(0.1)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=process_environment(),
        cwd=tmp_path,
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "at work\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert out == ""
    assert err.splitlines()[-2:] == [f"error: stopped by {number.name}", "  hint: nothing half-written is left behind"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["scan.ply"]


def test_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    process = subprocess.run(
        process_words(["demo", "--dry-run"]),
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        env=process_environment(),
        cwd=tmp_path,
    )
    os.close(theirs)
    assert process.returncode == 141
    assert "rror" not in process.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_full_disk_behind_stdout_is_told(tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            process_words(["demo", "--dry-run"]),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=process_environment(),
            cwd=tmp_path,
        )
    assert process.returncode == 5
    assert "error: No space left on device" in process.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_mesh_that_stdout_takes_in_part_alone_is_an_error(tmp_path: Path, unbuffered: str) -> None:
    """Of a file system, or under a limit, that takes no more."""
    limited = "import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))\n"
    large = "import lpdif\nlpdif.encode_mesh = lambda mesh, kind, **how: bytes(100_000)\n"
    write_points(tmp_path / "scan.ply")
    with (tmp_path / "mesh.ply").open("wb") as out:
        ran = subprocess.run(
            process_words(["reconstruct", "scan.ply", "-o", "-"], slow(0) + large + limited),
            stdout=out,
            stderr=subprocess.PIPE,
            text=True,
            env=process_environment({"PYTHONUNBUFFERED": unbuffered}),
            cwd=tmp_path,
            check=False,
        )
    assert ran.returncode == 5
    assert "error: a file may not have more than 0.0 MB here (ulimit -f)" in ran.stderr
