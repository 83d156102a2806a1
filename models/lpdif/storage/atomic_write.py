"""Atomic writes: a file appears under its name whole, or not at all, and what was there before stays until then."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lpdif.errors import DISK_FULL, ResourceError, UsageError
from lpdif.shutdown import drop, keep, undisturbed
from lpdif.storage.lock import take_lock
from lpdif.storage.safe_open import CAREFUL, LONGEST_TEXT, RefusedFile, check_regular, read_regular

LARGER = "raise the limit (ulimit -f unlimited), or write less or elsewhere; what was there before is intact"
_CHANCE = r"[0-9a-f]{12}\.tmp"


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
        raise _refused(path, error) from None
    finally:
        drop(temporary)


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
def atomic_write(path: str | Path, overwrite: bool = False, size: int | None = None) -> Iterator[BinaryIO]:
    """A binary file to write to; it takes its name when the block ends, and vanishes if the block raises. size: bytes it will have, if known.

    Raises UsageError as check_output does, and ResourceError where the disk is full, or a file may not be so large.
    """
    path = Path(path)
    _check_name(path, overwrite)
    _remove_left_over(path)
    temporary, handle = _create(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "posix":
                _name(temporary, path, overwrite)  # while the lock is held; Windows names no file that is open
        if os.name != "posix":
            _name(temporary, path, overwrite)
        _sync_folder(path.parent)
    except OSError as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        _remove(temporary)
        if error.errno in DISK_FULL:
            raise _full(path, error, f"full after {written / 1e6:.1f} MB" if size is None else needed(size)) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) or _folder_gone(path):
            raise _refused(path, error) from None
        raise
    except BaseException:
        _remove(temporary)
        raise


def _name(temporary: Path, path: Path, overwrite: bool) -> None:
    """Gives a file its name, and the permissions of the one that it replaces."""
    if path.exists():  # it may have come while we worked
        _check_name(path, overwrite)
        temporary.chmod(stat.S_IMODE(path.stat().st_mode))
    with undisturbed():
        temporary.replace(path)
        drop(temporary)


def write_bytes(path: str | Path, data: bytes, overwrite: bool = False) -> None:
    """Writes a whole file at once. Raises as atomic_write does; a disk too full is found before anything is written."""
    path = Path(path)
    check_output(path, overwrite)
    if shutil.disk_usage(path.parent).free < len(data):
        raise _full(path, OSError(errno.ENOSPC, ""), needed(len(data)))
    with atomic_write(path, overwrite, len(data)) as file:
        file.write(data)


def append_text(path: str | Path, text: str) -> None:
    """Adds to the end of a file, which is made if missing. One that has another name too stays as it is under that: a copy takes its place.

    Raises ResourceError where the disk is full, with the file as it was, and UsageError for what is no regular file.
    """
    data, path = text.encode(), Path(path)
    _check_name(path, overwrite=True)
    if path.exists() and path.stat().st_nlink > 1:
        try:
            write_bytes(path, read_regular(path, LONGEST_TEXT) + data, overwrite=True)
        except RefusedFile as error:
            raise UsageError(f"{path}: {error.strerror}", "remove it") from None
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | CAREFUL, 0o666), "ab", buffering=0) as file:
        before = file.tell()
        written = 0
        try:
            while written < len(data):
                written += file.write(data[written:])
        except OSError as error:
            if written:
                file.truncate(before)
            if error.errno in DISK_FULL:
                raise _full(path, error, needed(len(data))) from None
            raise


def _create(path: Path) -> tuple[Path, int]:
    """A new empty file beside `path`, and its handle. Raises UsageError where there can be none, ResourceError where the disk is full.

    The handle holds a lock for as long as it is open, by which others see that somebody is at work on the file.
    """
    while True:
        temporary = path.with_name(f"{_left_over(path)}{secrets.token_hex(6)}.tmp")
        try:
            with undisturbed():
                # opened by hand: permissions then follow the umask, as those of any new file
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
                keep(temporary, functools.partial(_abandon, temporary, handle))
        except OSError as error:
            if error.errno in DISK_FULL:
                raise _full(path, error, "full after 0.0 MB") from None
            raise _refused(path, error) from None
        if _lock(handle) and (os.fstat(handle).st_nlink or os.name != "posix"):
            return temporary, handle
        drop(temporary)
        os.close(handle)  # taken for a left-over in the moment before it was locked, and removed


def _lock(handle: int) -> bool:
    """Shows others that the file is being written. False if one of them was faster."""
    try:
        return take_lock(handle)
    except OSError:  # a file system without locks, where nobody removes anything
        return True


def _left_over(path: Path) -> str:
    """How the names of temporary files for `path` begin; 12 letters of chance and .tmp follow."""
    return f".{path.name[:80]}."


def _remove_left_over(path: Path) -> None:
    """Removes what killed processes were writing for `path`. What a living one is writing is locked, and stays; so does everything on a
    file system without locks."""
    _remove_all(path.parent, re.compile(re.escape(_left_over(path)) + _CHANCE))


def remove_left_overs(folder: Path) -> None:
    """Removes what killed processes were writing into `folder`, whatever its name was to be."""
    _remove_all(folder, re.compile(r"\..*\." + _CHANCE))


def _remove_all(folder: Path, ours: re.Pattern[str]) -> None:
    with contextlib.suppress(OSError):  # a folder that may be written and not read
        for temporary in [file for file in folder.iterdir() if ours.fullmatch(file.name)]:
            with contextlib.suppress(OSError):  # it went meanwhile, is another user's, cannot be locked, or is open and this is Windows
                _remove_unless_locked(temporary)


def _remove_unless_locked(temporary: Path) -> None:
    check_regular(temporary, temporary.lstat())
    handle = os.open(temporary, os.O_RDWR | CAREFUL)
    try:
        free = take_lock(handle)
        if free and os.name == "posix":
            temporary.unlink()
    finally:
        os.close(handle)
    if free and os.name != "posix":
        temporary.unlink()


def _folder_gone(path: Path) -> bool:
    """Whether the folder of a file is there no more; the current one may be so from the start."""
    try:
        return not path.absolute().parent.is_dir()
    except FileNotFoundError:  # there is no current folder
        return True


def _refused(path: Path, error: OSError) -> UsageError:
    """The error where the system does not let a file be written."""
    if _folder_gone(path):
        which = "the current folder" if path.parent == Path() else str(path.parent)
        return UsageError(f"{path}: cannot be written: {which} has been removed", "choose a folder that is there")
    return UsageError(f"{path}: cannot be written: {error.strerror}", "choose another folder")


def needed(size: int) -> str:
    """How much room a file takes that is still to be written."""
    return f"{size / 1e6:.1f} MB are needed"


def size_limit() -> str:
    """What stands in the way of a file that is too large, as EFBIG says."""
    if os.name == "posix":
        import resource

        most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if most != resource.RLIM_INFINITY:
            return f"a file may not have more than {most / 1e6:.1f} MB here (ulimit -f)"
    return "the file system takes no file so large"


def _full(path: Path, error: OSError, what: str) -> ResourceError:
    """The error where there is no room for a file, or for one so large; `what`: how much is needed, or got."""
    if error.errno == errno.EFBIG:
        return ResourceError(f"{path}: {what}, but {size_limit()}", LARGER)
    free = shutil.disk_usage(path.parent).free
    return ResourceError(f"{path}: disk full: {what}, {free / 1e6:.1f} MB are free in {path.parent}", "free some space, or choose another disk")


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    drop(path)


def _abandon(path: Path, handle: int) -> None:
    """Removes a file that is being written by a process that ends now."""
    if os.name != "posix":  # where an open file cannot be removed
        with contextlib.suppress(OSError):  # it is closed, and waits for its name
            os.close(handle)
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
