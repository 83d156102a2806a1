"""Atomic writes: a file gets its name when it is complete, or never.

An earlier file of that name stays until then.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from lpdif.errors import DISK_FULL, ResourceError, UsageError
from lpdif.shutdown import add_cleanup, delay_shutdown, remove_cleanup
from lpdif.storage.lock import take_lock
from lpdif.storage.safe_open import MOST_TEXT_BYTES, SAFE_OPEN_FLAGS, RefusedFile, check_regular, read_regular

FILE_SIZE_HINT = "raise the limit (ulimit -f unlimited), or write less or elsewhere; what was there before is intact"
_RANDOM_ENDING = r"[0-9a-f]{12}\.tmp"


def check_output(path: str | Path, overwrite: bool = False) -> None:
    """Raises UsageError where a file could not be written.

    So the user learns it before the work and not after it. An empty file is made beside it and removed at once, because permissions tell
    nothing to root and on read-only or virtual file systems. Raises ResourceError where the disk has no room even for that.
    """
    path = Path(path)
    _check_name(path, overwrite)
    temporary, handle = _create(path)
    os.close(handle)
    try:
        with contextlib.suppress(FileNotFoundError):  # unlocked now, so another process may have removed it as a leftover
            temporary.unlink()
    except OSError as error:
        raise _refused(path, error) from None
    finally:
        remove_cleanup(temporary)


def _check_name(path: Path, overwrite: bool) -> None:
    """Raises UsageError for what prevents writing and can be seen without writing anything."""
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
    """A binary file to write to, which gets its name when the block ends.

    It is removed where the block raises. size: the bytes it will have, if known. Raises UsageError as check_output does, and ResourceError
    where the disk is full or a file may not be so large.
    """
    path = Path(path)
    _check_name(path, overwrite)
    _remove_leftovers_of(path)
    temporary, handle = _create(path)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if os.name == "posix":
                _rename(temporary, path, overwrite)  # while the lock is held; Windows cannot rename an open file
        if os.name != "posix":
            _rename(temporary, path, overwrite)
        _sync_folder(path.parent)
    except OSError as error:
        written = temporary.stat().st_size if temporary.exists() else 0
        _remove(temporary)
        if error.errno in DISK_FULL:
            raise _full(path, error, f"full after {written / 1e6:.1f} MB" if size is None else space_needed(size)) from None
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) or _is_folder_gone(path):
            raise _refused(path, error) from None
        raise
    except BaseException:
        _remove(temporary)
        raise


def _rename(temporary: Path, path: Path, overwrite: bool) -> None:
    """Gives a temporary file its name, and the permissions of the file that it replaces."""
    if path.exists():  # maybe since the first check
        _check_name(path, overwrite)
        temporary.chmod(stat.S_IMODE(path.stat().st_mode))
    with delay_shutdown():
        temporary.replace(path)
        remove_cleanup(temporary)


def write_bytes(path: str | Path, data: bytes, overwrite: bool = False) -> None:
    """Writes a whole file at once.

    Raises as atomic_write does; where the disk has too little room, before anything is written.
    """
    write_parts(path, len(data), [data], overwrite)


def write_parts(path: str | Path, size: int, parts: Iterable[bytes], overwrite: bool = False) -> None:
    """Writes a file of so many bytes, which come in parts. Raises as write_bytes does."""
    path = Path(path)
    check_output(path, overwrite)
    if shutil.disk_usage(path.parent).free < size:
        raise _full(path, OSError(errno.ENOSPC, ""), space_needed(size))
    with atomic_write(path, overwrite, size) as file:
        for part in parts:
            file.write(part)


def append_text(path: str | Path, text: str) -> None:
    """Adds text to the end of a file, which is made if it is missing.

    A file with several names (hard links) is replaced by a copy, so that the others stay as they are. Raises ResourceError where the disk is
    full, and leaves the file as it was; UsageError for what is no regular file.
    """
    data, path = text.encode(), Path(path)
    _check_name(path, overwrite=True)
    if path.exists() and path.stat().st_nlink > 1:
        try:
            write_bytes(path, read_regular(path, MOST_TEXT_BYTES) + data, overwrite=True)
        except RefusedFile as error:
            raise UsageError(f"{path}: {error.strerror}", "remove it") from None
        return
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | SAFE_OPEN_FLAGS, 0o666), "ab", buffering=0) as file:
        before = file.tell()
        written = 0
        try:
            while written < len(data):
                written += file.write(data[written:])
        except OSError as error:
            if written:
                file.truncate(before)
            if error.errno in DISK_FULL:
                raise _full(path, error, space_needed(len(data))) from None
            raise


def _create(path: Path) -> tuple[Path, int]:
    """A new empty file beside `path`, and its handle.

    Raises UsageError where none can be made, ResourceError where the disk is full. The handle holds a lock as long as it is open: it shows
    other processes that the file is being written.
    """
    while True:
        temporary = path.with_name(f"{_leftover_prefix(path)}{secrets.token_hex(6)}.tmp")
        try:
            with delay_shutdown():
                # opened by hand: permissions then follow the umask, as those of any new file
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
                add_cleanup(temporary, functools.partial(_abandon, temporary, handle))
        except OSError as error:
            if error.errno in DISK_FULL:
                raise _full(path, error, "full after 0.0 MB") from None
            raise _refused(path, error) from None
        if _lock(handle) and (os.fstat(handle).st_nlink or os.name != "posix"):
            return temporary, handle
        remove_cleanup(temporary)
        os.close(handle)  # another process removed it as a leftover before it was locked


def _lock(handle: int) -> bool:
    """Locks a file, to show that it is being written. False where another process has locked it before."""
    try:
        return take_lock(handle)
    except OSError:  # a file system without locks, where no process removes leftovers
        return True


def _leftover_prefix(path: Path) -> str:
    """How the names of temporary files for `path` begin; 12 random letters and .tmp follow.

    They begin with 80 bytes of its name at most, because a file system limits the bytes of a name, not its letters.
    """
    return f".{path.name.encode(errors='ignore')[:80].decode(errors='ignore')}."


def _remove_leftovers_of(path: Path) -> None:
    """Removes the temporary files for `path` that killed processes have left.

    Files of living processes are locked and stay. On a file system without locks all stay.
    """
    _remove_matching(path.parent, re.compile(re.escape(_leftover_prefix(path)) + _RANDOM_ENDING))


def remove_leftovers(folder: Path) -> None:
    """Removes all temporary files that killed processes have left in `folder`."""
    _remove_matching(folder, re.compile(r"\..*\." + _RANDOM_ENDING))


def _remove_matching(folder: Path, ours: re.Pattern[str]) -> None:
    with contextlib.suppress(OSError):  # a folder that may not be listed
        for temporary in [file for file in folder.iterdir() if ours.fullmatch(file.name)]:
            with contextlib.suppress(OSError):  # it is gone, or another user's, or cannot be locked, or is open on Windows
                _remove_unless_locked(temporary)


def _remove_unless_locked(temporary: Path) -> None:
    check_regular(temporary, temporary.lstat())
    handle = os.open(temporary, os.O_RDWR | SAFE_OPEN_FLAGS)
    try:
        free = take_lock(handle)
        if free and os.name == "posix":
            temporary.unlink()
    finally:
        os.close(handle)
    if free and os.name != "posix":
        temporary.unlink()


def _is_folder_gone(path: Path) -> bool:
    """Whether the folder of a file has been removed, as the current folder may have been."""
    try:
        return not path.absolute().parent.is_dir()
    except FileNotFoundError:  # there is no current folder
        return True


def _refused(path: Path, error: OSError) -> UsageError:
    """The error of a file that the system does not let us write."""
    if _is_folder_gone(path):
        which = "the current folder" if path.parent == Path() else str(path.parent)
        return UsageError(f"{path}: cannot be written: {which} has been removed", "choose a folder that is there")
    return UsageError(f"{path}: cannot be written: {error.strerror}", "choose another folder")


def space_needed(size: int) -> str:
    """The room that a file needs, for a message."""
    return f"{size / 1e6:.1f} MB are needed"


def file_size_limit() -> str:
    """Why a file is too large (EFBIG), for a message: a limit of the process, or the file system."""
    if os.name == "posix":
        import resource

        most = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if most != resource.RLIM_INFINITY:
            return f"a file may not have more than {most / 1e6:.1f} MB here (ulimit -f)"
    return "the file system takes no file so large"


def _full(path: Path, error: OSError, what: str) -> ResourceError:
    """The error of a disk without room for a file, or of a file that is too large.

    what: the room it needs, or got.
    """
    if error.errno == errno.EFBIG:
        return ResourceError(f"{path}: {what}, but {file_size_limit()}", FILE_SIZE_HINT)
    free = shutil.disk_usage(path.parent).free
    return ResourceError(f"{path}: disk full: {what}, {free / 1e6:.1f} MB are free in {path.parent}", "free some space, or choose another disk")


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    remove_cleanup(path)


def _abandon(path: Path, handle: int) -> None:
    """Removes a temporary file when the process ends while it is being written."""
    if os.name != "posix":  # Windows cannot remove an open file
        with contextlib.suppress(OSError):  # it is closed already
            os.close(handle)
    path.unlink()


def _sync_folder(folder: Path) -> None:
    """Makes the new name survive a power failure, where a folder can be synced (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
