"""Finds the scans in folders: files whose names have a known ending, without notes and the like."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lpdif.io.detect import is_prose
from lpdif.io.registry import TABLE, format_by_name
from lpdif.io.source import HEAD_BYTES, Source
from lpdif.storage.safe_open import open_regular

log = logging.getLogger("lpdif")

# why a file in a folder is skipped
IS_NOTES = "text without a row of numbers"
IS_MESH_OF_SCAN = "the mesh of the scan beside it"
IS_HIDDEN = "hidden"
IS_UNKNOWN = "a kind of file that lpdif does not read"
IS_NO_FILE = "a pipe, socket or device"  # None of these is ever opened: a pipe would make lpdif wait for its other end.
IS_DANGLING = "a link that leads to no file"
IS_LINKED_FOLDER = "a link to a folder, which is not followed"
IS_LOCKED_FOLDER = "a folder that may not be read"

MESH_ENDING = ".mesh"  # The mesh of a.xyz beside it is a.mesh.ply.
SETTINGS_FILE = "lpdif.toml"  # It is skipped without a message.
FILES_LISTED = 3  # A message gives the names of so many files, and the number of the others.


class Skipped(NamedTuple):
    """A file in a folder that is skipped, and why."""

    file: Path
    reason: str


def scans_below(folder: Path, leave_out: Sequence[Path] = ()) -> tuple[list[Path], list[Skipped]]:
    """The scans below a folder, in order, and the files that are skipped.

    A scan is a file whose name has a known ending. Skipped are notes, files of other kinds, hidden scans, what is no file, and meshes made
    of scans beside them (a.mesh.ply beside a.xyz). Neither scans nor skipped are settings files, other hidden files, which systems leave
    everywhere, and what is below those of the folders `leave_out` that are below this one.
    """
    whole = real(folder)
    own = [place for place in map(real, leave_out) if not whole.is_relative_to(place)]
    scans: list[Path] = []
    skipped: list[Skipped] = []
    for file in sorted(folder.rglob("*")):
        if own and any(real(file).is_relative_to(place) for place in own):
            continue
        known = format_by_name(file.name) is not None
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            reason = IS_HIDDEN if known and not file.is_dir() else ""
        else:
            reason = why_no_scan(file)
        if reason:
            skipped.append(Skipped(file, reason))
        elif known and file.is_file():
            scans.append(file)
    names = {scan.with_suffix("") for scan in scans}
    made = {scan for scan in scans if scan.stem.endswith(MESH_ENDING) and scan.parent / scan.stem.removesuffix(MESH_ENDING) in names}
    return [scan for scan in scans if scan not in made], skipped + [Skipped(scan, IS_MESH_OF_SCAN) for scan in scans if scan in made]


def why_no_scan(file: Path) -> str:
    """Why something in a folder is no scan.

    "" for what may be one, for folders that are searched, and for settings files.
    """
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return IS_DANGLING if file.is_symlink() else str(error.strerror)
    if stat.S_ISDIR(mode):
        return IS_LINKED_FOLDER if file.is_symlink() else "" if may_be_read(file) else IS_LOCKED_FOLDER
    if not stat.S_ISREG(mode):
        return IS_NO_FILE
    if format_by_name(file.name) is not None:
        return IS_NOTES if is_notes(file) else ""
    return "" if file.name == SETTINGS_FILE else IS_UNKNOWN


def may_be_read(folder: Path) -> bool:
    """Whether this user may list and enter a folder."""
    return os.access(folder, os.R_OK | os.X_OK)


def real(path: Path) -> Path:
    """Where a path leads when links are followed.

    Links that go in circles lead to one of them; `Path.resolve` raises RuntimeError there.
    """
    return Path(os.path.realpath(path))


def is_notes(file: Path) -> bool:
    """Whether a file that is named like a table of points is a README, a list of files or the like."""
    named = format_by_name(file.name)
    if named is None or named.name != TABLE:
        return False
    try:
        with open_regular(file) as opened:
            return is_prose(Source(file.name, opened.read(HEAD_BYTES)))
    except OSError:  # reading the scan gives the reason
        return False


def tell_skipped(skipped: Iterable[Skipped]) -> None:
    """Logs which files are skipped, one line for each reason."""
    files: dict[str, list[Path]] = {}
    for file, reason in skipped:
        files.setdefault(reason, []).append(file)
    for reason, named in files.items():
        log.info("skipped, as %s: %s", reason, first_names(named))


def first_names(files: Sequence[Path]) -> str:
    """The names of the first files, and how many more there are."""
    more = f" and {len(files) - FILES_LISTED} more" if len(files) > FILES_LISTED else ""
    return ", ".join(map(str, files[:FILES_LISTED])) + more
