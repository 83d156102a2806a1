"""The CUDA benchmark: what it does without a GPU, and its table; a small real run on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, process_environment

sys.path.insert(0, str(ROOT / "benchmarks"))

import cuda_speed


def test_no_device_is_one_line_and_exit_code_5(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["cuda_speed.py", "-o", str(tmp_path / "found")])
    with pytest.raises(SystemExit) as ended:
        cuda_speed.main()
    assert ended.value.code == 5
    said = capsys.readouterr()
    assert said.out == ""
    assert [line.partition(":")[0].strip() for line in said.err.splitlines()] == ["error", "hint"]
    assert not (tmp_path / "found").exists()


def test_a_failed_test_is_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def ran(words: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        assert words[:3] == [sys.executable, "-m", "pytest"]
        assert words[words.index("-m", 3) + 1] == "cuda"
        return subprocess.CompletedProcess(words, 1, "E  off\n1 failed, 12 passed in 3 s\n", "")

    monkeypatch.setattr(subprocess, "run", ran)
    row = cuda_speed.tests_marked_cuda(float("inf"))
    assert (row["failed"], row["summary"]) == (True, "1 failed, 12 passed in 3 s")
    assert "E  off" in capsys.readouterr().err


def test_tests_that_take_too_long_have_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def ran(words: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(words, timeout)

    monkeypatch.setattr(subprocess, "run", ran)
    row = cuda_speed.tests_marked_cuda(0.0)
    assert (row["failed"], row["summary"]) == (True, "not done in time")


def test_the_first_steps_do_not_count() -> None:
    assert cuda_speed.steps_of([9.0] * cuda_speed.FIRST_STEPS + [1.0, 3.0, 2.0]) == {"seconds": 2.0, "steps": 3}
    assert cuda_speed.steps_of([9.0]) == {}


def test_nothing_begins_when_the_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_speed, "reconstruct", lambda *_: {})
    args = cuda_speed.arguments(["-o", "found", "--device", "cpu"])
    assert list(cuda_speed.parts(args, torch.device("cpu"), -1.0)) == []


@pytest.mark.slow
def test_a_small_run_on_the_cpu(tmp_path: Path) -> None:
    sizes = ["--sizes", "2000", "--steps", "16", "--regions", "60", "--threads", "1"]
    words = [sys.executable, str(ROOT / "benchmarks/cuda_speed.py"), "-o", str(tmp_path), "--device", "cpu", *sizes]
    ran = subprocess.run(words, env=process_environment(), capture_output=True, text=True, check=True)
    rows = json.loads((tmp_path / "cuda.json").read_text())["rows"]
    assert [row["what"] for row in rows] == ["reconstruct, 2,000 points", "fit, 16 steps of 256 regions"]
    assert list(rows[0]["stages"])[-1] == "trimming and finishing"
    assert sum(lap["seconds"] for lap in rows[0]["stages"].values()) <= rows[0]["seconds"]
    assert [stage["steps"] for stage in rows[1]["stages"].values()] == [3, 2]
    for row in rows:
        assert f"| {row['what']} |" in ran.stdout
