"""The end of a process: no cleanup that fails or hangs prevents it, nor keeps the others from running."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import process_environment

ENDING = """
import sys, threading, time
from lpdif import shutdown
shutdown._LONGEST_CLEANUP = 0.5
def say(word):
    print(word, flush=True)
def fail():
    raise {error}
def hang():
    say("hangs")
    time.sleep(600)
def take_back():
    shutdown.remove_cleanup("third")
    say("taken back")
shutdown.add_cleanup("first", lambda: say("first"))
shutdown.add_cleanup("second", {second})
shutdown.add_cleanup("third", take_back)
threading.Thread(target=shutdown.end_process, args=(7, lambda: say("told")), daemon=True).start()
time.sleep(600)
"""


def said(error: str = "KeyError", second: str = "fail") -> list[str]:
    """What a process says at its end, which comes with its exit code."""
    script = ENDING.format(error=error, second=second)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=process_environment(), timeout=120, check=False)
    assert (ran.returncode, ran.stderr) == (7, "")
    return ran.stdout.split("\n")[:-1]


@pytest.mark.parametrize("error", ["KeyError", "OSError", "SystemExit(3)"])
def test_a_cleanup_that_fails_is_passed_over(error: str) -> None:
    assert said(error) == ["told", "taken back", "first"]


def test_a_cleanup_that_hangs_does_not_keep_the_process() -> None:
    assert said(second="hang") == ["told", "taken back", "hangs"]
