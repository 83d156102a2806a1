"""One run at a time in a workspace, by a lock.

The operating system releases it when its process ends, however it ends.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lpdif.errors import BusyError, ResourceError
from lpdif.shutdown import add_cleanup, remove_cleanup
from lpdif.storage.safe_open import SAFE_OPEN_FLAGS, RefusedFile, check_regular
from lpdif.storage.strict_json import Maybe, Shape, Text, Whole, check, parse

log = logging.getLogger("lpdif")

LOCK_NAME = ".lock"
_HELD_LOCKS: set[int] = set()  # the descriptors of the locks that this process holds
_SECOND_TRY = 0.05  # seconds after which a lock that is held is tried again
_LONGEST_LOCK_TEXT = 4096  # bytes of the lock file that are read
_HOLDER: Shape = {"pid": Maybe(Whole()), "host": Maybe(Text(256)), "command": Maybe(Text(32))}
_LOCK_BYTE = 1 << 30  # Windows locks bytes: this one is far behind the text, which other runs must be able to read


if sys.platform == "win32":
    import msvcrt

    def take_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed. False if another one has the lock."""
        os.lseek(descriptor, _LOCK_BYTE, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def take_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed.

        False if another one has the lock; raises OSError where files cannot be locked.
        """
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return False
            raise
        return True

    def _close_in_child() -> None:
        # A forked child shares the lock: left open there, it would outlive a parent that is killed.
        for descriptor in _HELD_LOCKS:
            os.close(descriptor)
        _HELD_LOCKS.clear()

    _at_fork: list[object] = []


@contextmanager
def workspace_lock(workspace: Path, command: str) -> Iterator[None]:
    """Holds the lock of `workspace`, which is made if missing, for `command` while the block runs.

    Raises BusyError, naming process, host and command, if another run holds it, and ResourceError if the folder cannot be
    written. The lock is an flock on `<workspace>/.lock`. It ends with its process, so that after kill -9 nothing blocks the next run: only
    the text in the file stays, and is replaced. Anything else of that name is left as it is.
    """
    path = workspace / LOCK_NAME
    try:
        workspace.mkdir(parents=True, exist_ok=True)
        descriptor = _open(path, os.O_CREAT)
    except OSError as error:
        raise _unwritable(workspace, error) from error
    try:
        try:
            _take_or_raise(descriptor, workspace)
            _close_in_children(descriptor)
            left = _read(descriptor)
            if left:
                log.info("taking over the workspace from process %s, which ended without letting go", left.get("pid", "?"))
            _check_one_name(descriptor, path)  # it may have got a second name since
            _write(descriptor, {"pid": os.getpid(), "host": socket.gethostname(), "command": command, "since": time.time()})
        except OSError as error:
            raise _unwritable(workspace, error) from error
        add_cleanup(path, lambda: _write(descriptor, {}))
        try:
            yield
        finally:
            # The file stays: were it removed, a third run could lock a new file while a second one waits for this one.
            _write(descriptor, {})
            remove_cleanup(path)
    finally:
        _HELD_LOCKS.discard(descriptor)
        os.close(descriptor)


def _open(path: Path, create: int = 0) -> int:
    """Opens the lock file.

    Raises RefusedFile for something else of that name, and OSError where there can be none.
    """
    with suppress(FileNotFoundError):
        check_regular(path, path.lstat())
    descriptor = os.open(path, os.O_RDWR | create | SAFE_OPEN_FLAGS, 0o644)
    try:
        _check_one_name(descriptor, path)
    except RefusedFile:
        os.close(descriptor)
        raise
    return descriptor


def _check_one_name(descriptor: int, path: Path) -> None:
    """Raises RefusedFile unless the open file is a regular one without another name (hard link).

    Such a file may belong to somebody else.
    """
    about = os.fstat(descriptor)
    check_regular(path, about)
    if about.st_nlink > 1:
        raise RefusedFile(path, f"a file with {about.st_nlink} names")


def _unwritable(workspace: Path, error: OSError) -> ResourceError:
    """The error of a workspace whose lock cannot be written; with the free room, where the disk is full."""
    room = f", {shutil.disk_usage(workspace).free / 1e6:.1f} MB are free" if error.errno == errno.ENOSPC and workspace.exists() else ""
    if isinstance(error, RefusedFile):
        return ResourceError(f"{workspace}: cannot hold the workspace ({error.filename} is {error.strerror})", f"remove {error.filename}")
    if error.errno in (errno.ENOLCK, errno.ENOTSUP):
        return ResourceError(f"{workspace}: cannot hold the workspace ({error.strerror})", "pass a folder on a local disk with --workspace")
    return ResourceError(f"{workspace}: cannot hold the workspace ({error.strerror}{room})", "pass a folder you can write to with --workspace")


def check_not_locked(workspace: Path) -> None:
    """Raises BusyError, naming process, host and command, where a run holds `workspace` now.

    Makes no file, and takes the lock for a moment only.
    """
    with suppress(OSError):  # there is no lock to hold; `workspace_lock` reports what is wrong with it
        descriptor = _open(workspace / LOCK_NAME)
        try:
            _take_or_raise(descriptor, workspace)
        finally:
            os.close(descriptor)


def _take_or_raise(descriptor: int, workspace: Path) -> None:
    """Takes the lock.

    Raises BusyError, with the name of its holder, where another process has it, and OSError as `take_lock` does.
    Tries twice, because `check_not_locked` of another process has it for a moment.
    """
    if not take_lock(descriptor):
        time.sleep(_SECOND_TRY)
        if take_lock(descriptor):
            return
        raise BusyError(f"{workspace}: in use by {_holder(descriptor)}", "wait for it to end, or pass another folder with --workspace")


def _close_in_children(descriptor: int) -> None:
    """Makes forked children close `descriptor`."""
    _HELD_LOCKS.add(descriptor)
    if sys.platform != "win32" and not _at_fork:
        os.register_at_fork(after_in_child=_close_in_child)
        _at_fork.append(_close_in_child)


def _holder(descriptor: int) -> str:
    """Who holds the lock, for a message."""
    about = _read(descriptor)
    if not about:
        return "another run"
    return f"process {about.get('pid', '?')} on {about.get('host', '?')} (lpdif {about.get('command', '?')})"


def _read(descriptor: int) -> dict[str, object]:
    """What the lock file says about its holder; empty where it says nothing."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        about = parse(os.read(descriptor, _LONGEST_LOCK_TEXT) or b"{}")
        check(about, _HOLDER)
    except ValueError:  # its holder has not written its name yet, or ended before that; or another program wrote the file
        return {}
    return dict(about)


def _write(descriptor: int, about: dict[str, object]) -> None:
    """Replaces the text of the lock file."""
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    if about:
        os.write(descriptor, json.dumps(about).encode())
