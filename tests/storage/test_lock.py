"""One run a workspace, whatever happens to the run before."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import process_environment

from lpdif.errors import BusyError, ResourceError
from lpdif.storage.lock import LOCK_NAME, check_not_locked, workspace_lock

HOLD = """
import sys, time
from pathlib import Path
from lpdif.storage.lock import workspace_lock
with workspace_lock(Path(sys.argv[1]), "fit"):
    print("held", flush=True)
    time.sleep(60)
"""
FORK = """
import os, sys, time
from pathlib import Path
from lpdif.storage.lock import workspace_lock
with workspace_lock(Path(sys.argv[1]), "preprocess"):
    if os.fork() == 0:
        print("child", os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


def start(script: str, workspace: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", script, str(workspace)], stdout=subprocess.PIPE, text=True, env=process_environment())


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_second_run_is_told_who_has_it(tmp_path: Path) -> None:
    with start(HOLD, tmp_path) as process:
        assert first_line(process) == "held"
        with pytest.raises(BusyError) as caught, workspace_lock(tmp_path, "cluster"):
            pass
        process.kill()
    assert caught.value.message == f"{tmp_path}: in use by process {process.pid} on {socket.gethostname()} (lpdif fit)"
    assert caught.value.exit_code == 6


def test_killed_run_leaves_nothing_that_blocks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start(HOLD, tmp_path) as process:
        assert first_line(process) == "held"
        process.send_signal(signal.SIGKILL)
        process.wait()
    with caplog.at_level(logging.INFO, "lpdif"), workspace_lock(tmp_path, "fit"):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    assert caplog.messages == [f"taking over the workspace from process {process.pid}, which ended without letting go"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_children_of_a_killed_run_do_not_keep_it(tmp_path: Path) -> None:
    with start(FORK, tmp_path) as process:
        child = int(first_line(process).split()[1])
        process.kill()
        process.wait()
        try:
            with workspace_lock(tmp_path, "fit"):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_it_is_free_afterwards_even_after_an_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValueError, match="x"), workspace_lock(tmp_path, "fit"):
        raise ValueError("x")
    with caplog.at_level(logging.INFO, "lpdif"), workspace_lock(tmp_path, "fit"):
        pass
    assert caplog.messages == []


def test_one_process_does_not_get_it_twice(tmp_path: Path) -> None:
    with workspace_lock(tmp_path, "fit"), pytest.raises(BusyError), workspace_lock(tmp_path, "fit"):
        pass


def test_text_of_a_dying_run_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text('{"pid": 1')
    with workspace_lock(tmp_path, "fit"):
        pass


def test_workspace_is_made(tmp_path: Path) -> None:
    with workspace_lock(tmp_path / "new" / "workspace", "fit"):
        assert (tmp_path / "new" / "workspace").is_dir()


def test_workspace_that_cannot_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError, match="cannot hold the workspace"), workspace_lock(tmp_path / "file", "fit"):
        pass
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / LOCK_NAME).symlink_to(tmp_path / "file")
    with pytest.raises(ResourceError, match="cannot hold the workspace"), workspace_lock(tmp_path / "link", "fit"):
        pass


def test_a_disk_without_room_for_the_lock_is_told_with_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    place = tmp_path / "workspace"
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(ResourceError) as caught, workspace_lock(place, "fit"):
            pass
    said = rf"{re.escape(str(place))}: cannot hold the workspace \(No space left on device, [\d.]+ MB are free\)"
    assert re.fullmatch(said, caught.value.message)
    with workspace_lock(place, "fit"):
        pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes in folders")
@pytest.mark.parametrize("kind", ["hard link", "link", "dangling link", "pipe", "folder"])
def test_what_is_no_lock_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    other, path = tmp_path / "other", tmp_path / "workspace" / LOCK_NAME
    path.parent.mkdir()
    other.write_text("worth keeping")
    if kind == "hard link":
        path.hardlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(other if kind == "link" else tmp_path / "nothing")
    with pytest.raises(ResourceError, match=r"cannot hold the workspace \(.*\.lock is ") as caught, workspace_lock(path.parent, "fit"):
        pass
    assert caught.value.hint == f"remove {path}"
    check_not_locked(path.parent)  # which nobody holds
    assert sorted(file.name for file in tmp_path.rglob("*")) == [".lock", "other", "workspace"]
    assert other.read_text() == "worth keeping"


def test_a_lock_that_gets_another_name_while_it_is_waited_for_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(descriptor: int) -> bool:
        (tmp_path / "other").hardlink_to(tmp_path / LOCK_NAME)
        return True

    (tmp_path / LOCK_NAME).write_text("{}")
    monkeypatch.setattr("lpdif.storage.lock.take_lock", late)
    with pytest.raises(ResourceError, match="2 names"), workspace_lock(tmp_path, "fit"):
        pass
    assert (tmp_path / "other").read_text() == "{}"


@pytest.mark.parametrize("text", ["[" * 4000, '{"pid": 1e999}', '{"pid": [], "host": 3}', "\xff", '{"pid": "\x1b"}'])
def test_a_holder_that_says_nonsense_is_another_run(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    with workspace_lock(tmp_path, "fit"):
        (tmp_path / LOCK_NAME).write_text(text, encoding="latin-1")
        with pytest.raises(BusyError) as caught, workspace_lock(tmp_path, "cluster"):
            pass
    assert caught.value.message == f"{tmp_path}: in use by another run"


def test_a_lock_that_is_only_looked_at_is_not_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [False, True]
    monkeypatch.setattr("lpdif.storage.lock.take_lock", lambda _: answers.pop(0))
    with workspace_lock(tmp_path, "fit"):
        assert answers == []


def test_a_file_system_without_locks_is_told_with_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("lpdif.storage.lock.take_lock", refuse)
    with pytest.raises(ResourceError) as caught, workspace_lock(tmp_path, "fit"):
        pass
    assert caught.value.message == f"{tmp_path}: cannot hold the workspace ({os.strerror(errno.ENOLCK)})"
    assert caught.value.hint == "pass a folder on a local disk with --workspace"
    check_not_locked(tmp_path)  # which nobody holds
