"""Atomic writes: a file appears under its name whole, or not at all, and what was there before stays until then."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lpdif.errors import DISK_FULL, ResourceError, UsageError


def check_output(path: str | Path, overwrite: bool = False) -> None:
    """Raises UsageError if a file could not be written there, so that it is said before the work and not after it.

    An empty file is made beside it and removed at once: neither root nor a read-only or virtual file system goes by permissions. Raises
    ResourceError where the disk has no room even for that.
    """
    path = Path(path)
    _check_name(path, overwrite)
    temporary, handle = _create(path)
    os.close(handle)
    try:
        temporary.unlink()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}", "choose another folder") from None


def _check_name(path: Path, overwrite: bool) -> None:
    """Raises UsageError for what can be seen to stand in the way, without writing anything."""
    try:
        linked = path.is_symlink()
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror}", "choose another name") from None
    if linked:
        raise UsageError(f"{path}: is a symbolic link, and is not written through", f"name the file itself: {path.readlink()}")
    if path.is_dir():
        raise UsageError(f"{path}: is a folder", "name a file in it")
    folder = path.parent
    if not folder.is_dir():
        raise UsageError(f"{path}: there is no folder {folder}", f"mkdir -p {folder}")
    if path.exists():
        if not stat.S_ISREG(path.stat().st_mode):
            raise UsageError(f"{path}: is a pipe or device, not a file", 'standard output is named "-"')
        if not overwrite:
            raise UsageError(f"{path}: exists already", "pass --overwrite to replace it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{path}: no permission to write in {folder}", "choose another folder")


@contextlib.contextmanager
def atomic_write(path: str | Path, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A binary file to write to; it takes its name when the block ends, and vanishes if the block raises.

    Raises UsageError as check_output does, and ResourceError where the disk is full.
    """
    path = Path(path)
    _check_name(path, overwrite)
    temporary, handle = _create(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if path.exists():  # it may have come while we worked
            _check_name(path, overwrite)
            temporary.chmod(stat.S_IMODE(path.stat().st_mode))
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        _remove(temporary)
        if error.errno in DISK_FULL:
            raise _full(path, written) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise UsageError(f"{path}: cannot be written: {error.strerror}", "choose another folder") from None
        raise
    except BaseException:
        _remove(temporary)
        raise


def write_bytes(path: str | Path, data: bytes, overwrite: bool = False) -> None:
    """Writes a whole file at once. Raises as atomic_write does; a disk too full is found before anything is written."""
    path = Path(path)
    check_output(path, overwrite)
    free = shutil.disk_usage(path.parent).free
    if free < len(data):
        raise _full(path, 0, needed=len(data))
    try:
        with atomic_write(path, overwrite) as file:
            file.write(data)
    except ResourceError:
        raise _full(path, 0, needed=len(data)) from None


def _create(path: Path) -> tuple[Path, int]:
    """A new empty file beside `path`, and its handle. Raises UsageError where there can be none, ResourceError where the disk is full."""
    temporary = path.with_name(f".{path.name[:80]}.{secrets.token_hex(6)}.tmp")
    try:
        # opened by hand: permissions then follow the umask, as those of any new file
        return temporary, os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise _full(path, 0) from None
        raise UsageError(f"{path}: cannot be written: {error.strerror}", "choose another folder") from None


def _full(path: Path, written: int, needed: int | None = None) -> ResourceError:
    free = shutil.disk_usage(path.parent).free
    needs = f"{needed / 1e6:.1f} MB are needed" if needed is not None else f"full after {written / 1e6:.1f} MB"
    return ResourceError(
        f"{path}: disk full: {needs}, {free / 1e6:.1f} MB are free in {path.parent}", "free some space, or choose another disk"
    )


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def _sync_folder(folder: Path) -> None:
    """Makes the new name outlast a power cut, where a folder can be synced (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
