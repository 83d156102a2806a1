"""Reads scans: any file becomes a Scan, or one clear error.

The content of a file decides its format, not its name: see `lpdif.io.registry`. Our own readers compare every count in a header with the
size of the file before they allocate memory; parsers of other packages run in a child process with limits.
"""

from __future__ import annotations

import difflib
import logging
import os
from dataclasses import replace
from pathlib import Path

from lpdif.errors import InputError, ResourceError
from lpdif.io.detect import format_of
from lpdif.io.registry import all_endings, format_by_name
from lpdif.io.source import CHOOSE_ANOTHER, Source, as_text, has_mark
from lpdif.storage.safe_open import NotRegularFile, file_identity, open_regular
from lpdif.text import counted
from lpdif.types import MINIMUM_POINTS, Scan

log = logging.getLogger("lpdif")


def load_scan(path: str | Path, times: bool = False) -> Scan:
    """Reads a scan or mesh from a file.

    Points are in float64, with normals, colours, values, faces and sensor positions where the file has them. times: also with those of the
    points of LAS files, as the value gps_time. Raises InputError for a file that is missing, unreadable, damaged, empty or no scan, and
    ResourceError where there is too little memory.
    """
    return _read(replace(source_of(path), times=times))


def source_of(path: str | Path) -> Source:
    """A file and its bytes. Raises as load_scan does where there is no such file."""
    path = Path(path)
    name = path.name or str(path)
    data, identity = _content_of(path, name)
    return Source(name, data, path, identity)


def scan_content(path: str | Path) -> bytes:
    """The bytes of a scan's file, for `read_scan` in another process. Raises as load_scan does where there is no such file."""
    path = Path(path)
    return _content_of(path, path.name or str(path))[0]


def read_scan(data: bytes, name: str, times: bool = False) -> Scan:
    """Reads a scan from bytes, as those of standard input. name: of the file, for messages; times: as in load_scan.

    Raises as load_scan does.
    """
    return _read(Source(name, data, times=times))


def _read(source: Source) -> Scan:
    """Reads a file whose content is known."""
    if not source.data:
        raise source.error(f"is empty (0 bytes), at least {MINIMUM_POINTS} points are needed", CHOOSE_ANOTHER)
    if not source.data[:4096].strip(b"\0") and source.data.count(0) == len(source.data):
        raise source.error(f"holds {counted(len(source.data), 'zero byte')} and nothing else", "copy or download it again")
    if has_mark(source.data):
        source = Source(source.name, as_text(source).data, times=source.times)
    try:
        found, named = format_of(source), format_by_name(source.name)
        if named is not None and named.name != found.name:
            log.warning("%s: its content is %s, and is read as that", source.name, found.title)
        return found.read(source)
    except MemoryError:
        raise ResourceError(
            f"{source.name}: not enough memory to read {len(source.data) / 2**20:.0f} MB",
            "close other programs, or thin the scan",
        ) from None


def _content_of(path: Path, name: str) -> tuple[bytes, tuple[int, int, int, int]]:
    """The content of a regular file, and its identity.

    Raises InputError for a folder, pipe or device, and never waits for one.
    """
    try:
        opened = open_regular(path)
    except FileNotFoundError:
        raise _missing_file(path, name) from None
    except NotADirectoryError:
        raise InputError(f"{path}: no such file: {path.parent} is no folder", "check the path") from None
    except PermissionError:
        raise InputError(f"{name}: no permission to read it", f"chmod u+r {path}") from None
    except NotRegularFile as error:
        if error.is_folder:
            raise InputError(f"{path}: a folder", "name a file in it") from None
        raise InputError(f"{path}: a pipe or device, not a file", 'standard input is named "-"') from None
    except OSError as error:
        raise InputError(f"{name}: cannot be opened: {error.strerror}", "check the path") from None
    with opened as file:
        status = os.fstat(file.fileno())
        try:
            return file.read(), file_identity(status)
        except MemoryError:
            raise ResourceError(f"{name}: {status.st_size / 2**30:.1f} GB do not fit into memory", "thin the scan first") from None
        except OSError as error:
            raise InputError(f"{name}: cannot be read: {error.strerror}", "copy it to another disk") from None


def _alike(one: str, other: str) -> bool:
    """Whether two file names are alike without their endings."""
    return difflib.SequenceMatcher(None, Path(one).stem, Path(other).stem).ratio() >= 0.6


def _missing_file(path: Path, name: str) -> InputError:
    """The error of a file that does not exist, with the names in its folder that are most like its name."""
    if path.is_symlink():
        return InputError(f"{name}: a link to {path.readlink()}, which does not exist", "restore what it links to")
    folder = path.parent
    if not folder.is_dir():
        return InputError(f"{path}: no such file: there is no folder {folder}", "check the path")
    try:
        names = [entry.name for entry in folder.iterdir()][:10_000]
    except OSError:
        names = []
    lowered = {entry.lower(): entry for entry in sorted(names, reverse=True)}
    close = [lowered[match] for match in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.7) if _alike(match, name.lower())]
    same_stem = [entry for entry in sorted(names) if Path(entry).stem == path.stem and entry.lower().endswith(all_endings())]
    close += [entry for entry in same_stem if entry not in close]
    return InputError(f"{path}: no such file", f"did you mean {' or '.join(close[:3])}?" if close else "check the path")
