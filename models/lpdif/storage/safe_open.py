"""Opens files that others may have made: regular files alone, and up to a largest size.

They have to lie within the folder they belong to.
"""

from __future__ import annotations

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

# do not wait for the other end of a pipe, and do not follow a link that has appeared since the path was checked
SAFE_OPEN_FLAGS = sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_BINARY", "O_NOCTTY"))
MOST_TEXT_BYTES = 1 << 26  # of a manifest, a log or a record
_FILE_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
)


class RefusedFile(OSError):
    """Something that exists and is not opened; `strerror` says why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(errno.EINVAL, why, str(path))


def open_regular(path: Path, within: Path | None = None) -> BufferedReader:
    """A file, opened for reading. Links are followed, but not out of the folder `within`.

    Raises RefusedFile for what is no regular file or lies outside, and OSError where the system refuses. Never waits.
    """
    try:
        place = path.resolve(strict=True)
        if within is not None and not place.is_relative_to(within.resolve()):
            raise RefusedFile(path, f"a link that leads out of {within}")
        check_regular(path, place.lstat())
        handle = os.open(place, os.O_RDONLY | SAFE_OPEN_FLAGS)
    except RuntimeError:  # pathlib raises this for a loop of links before Python 3.13
        raise RefusedFile(path, "a link that leads to itself") from None
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
    """Raises RefusedFile unless this is a regular file."""
    if not stat.S_ISREG(about.st_mode):
        kind = next((name for is_it, name in _FILE_KINDS if is_it(about.st_mode)), "a device")
        raise RefusedFile(path, f"{kind}, not a file")


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether links lead `path`, which lies below `folder`, out of it, or in circles."""
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):
        return True
