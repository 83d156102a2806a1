"""Opens files that others may have made: regular files alone, and up to a largest size.

They have to lie within the folder they belong to.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

# Opening does not wait for the other end of a pipe, and does not follow a link that has appeared since the path was checked.
SAFE_OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY", "O_NOCTTY"))
MOST_TEXT_BYTES = 1 << 26  # A manifest, a log or a record has at most so many bytes.
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FILE_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class RefusedFile(OSError):
    """Something that exists and is not opened; `strerror` says why, and `remedy` what to do."""

    def __init__(self, path: Path, why: str, remedy: str = "name a regular file") -> None:
        super().__init__(errno.EINVAL, why, str(path))
        self.remedy = remedy


class NotRegularFile(RefusedFile):
    """A folder, pipe, device or the like, where a file is needed."""

    def __init__(self, path: Path, about: os.stat_result) -> None:
        kind = next((name for is_it, name in _FILE_KINDS if is_it(about.st_mode)), "a device")
        super().__init__(path, f"{kind}, not a file")
        self.is_folder = stat.S_ISDIR(about.st_mode)


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """A file, opened for reading. Links are followed, but not out of the folder `within`.

    Raises RefusedFile for what is no regular file or lies outside, and OSError where the system refuses. Never waits.
    """
    try:
        check_regular(path, path.stat())  # first, since no path leads to an unnamed pipe: /dev/fd/63 cannot be resolved
        if within is None:
            handle = os.open(path, os.O_RDONLY | SAFE_OPEN_FLAGS & ~_NO_LINK)
        else:
            place = path.resolve(strict=True)
            if not place.is_relative_to(within.resolve()):
                raise RefusedFile(path, f"a link that leads out of {within}", "remove the link")
            handle = os.open(place, os.O_RDONLY | SAFE_OPEN_FLAGS)
    except RuntimeError:  # pathlib raises this for a loop of links before Python 3.13
        raise RefusedFile(path, "a link that leads to itself", "remove the link") from None
    except ValueError:
        raise RefusedFile(path, "no name that a file can have") from None
    try:
        check_regular(path, os.fstat(handle))
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_regular(path: Path, most: int, within: Path | None = None) -> bytes:
    """The content of a file of at most so many bytes.

    Raises as `open_regular` does, and RefusedFile for a larger file.
    """
    with open_regular(path, within) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(most + 1) if size <= most else b""
    if size > most or len(data) > most:
        raise RefusedFile(path, f"larger than the {most / 2**20:.3g} MiB that such a file may have")
    return data


def check_regular(path: Path, about: os.stat_result) -> None:
    """Raises NotRegularFile unless this is a regular file."""
    if not stat.S_ISREG(about.st_mode):
        raise NotRegularFile(path, about)


def file_identity(about: os.stat_result) -> tuple[int, int, int, int]:
    """A file's disk, number, size and time of change: they tell it from others, and from itself changed."""
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


def can_name_a_file(name: str) -> bool:
    """Whether the system takes this text for a name: it can be encoded, and holds no zero byte."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether links lead `path`, which lies below `folder`, out of it, or in circles."""
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # the last for a name that no file can have
        return True
