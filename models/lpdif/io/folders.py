"""Scans in folders: the files with a known ending, but for the notes beside them."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lpdif.io.detect import is_prose
from lpdif.io.registry import TABLE, all_endings, format_by_name
from lpdif.io.source import HEAD_BYTES, Source

log = logging.getLogger("lpdif")

NOTES = "text without a row of numbers"  # why a file in a folder is skipped
MADE = "the mesh of the scan beside it"
HIDDEN = "hidden"
UNKNOWN = "a kind of file that lpdif does not read"
NO_FILE = "a pipe, socket or device"  # none of these is ever opened: a pipe would be waited for
DANGLING = "a link that leads to no file"
LINKED_FOLDER = "a link to a folder, which is not followed"
LOCKED_FOLDER = "a folder that may not be read"
OF_SCAN = ".mesh"  # stands between the name of a scan and the ending of the mesh that is made of it beside it
OWN = "lpdif.toml"  # settings, of which nothing is said
NAMED = 3  # files of which the names are told


class Skipped(NamedTuple):
    """A file in a folder that is not taken for a scan, and why."""

    file: Path
    reason: str


def scans_below(folder: Path, leave_out: Sequence[Path] = ()) -> tuple[list[Path], list[Skipped]]:
    """The files below a folder that have a known ending, in order, and what else is there: notes, files of other kinds, hidden ones, what is
    no file, and meshes that were made of scans beside them (a.mesh.ply beside a.xyz). Nothing is said of what is below those of
    the folders `leave_out` that are below this one, nor of settings and of hidden files of other kinds, which systems leave everywhere."""
    whole = real(folder)
    own = [place for place in map(real, leave_out) if not whole.is_relative_to(place)]
    scans: list[Path] = []
    skipped: list[Skipped] = []
    for file in sorted(folder.rglob("*")):
        if own and any(real(file).is_relative_to(place) for place in own):
            continue
        known = file.suffix.lower() in all_endings()
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            reason = HIDDEN if known and not file.is_dir() else ""
        else:
            reason = no_scan(file)
        if reason:
            skipped.append(Skipped(file, reason))
        elif known and file.is_file():
            scans.append(file)
    names = {scan.with_suffix("") for scan in scans}
    made = {scan for scan in scans if scan.stem.endswith(OF_SCAN) and scan.parent / scan.stem.removesuffix(OF_SCAN) in names}
    return [scan for scan in scans if scan not in made], skipped + [Skipped(scan, MADE) for scan in scans if scan in made]


def no_scan(file: Path) -> str:
    """Why what is found in a folder is no scan; "" for what may be one, for folders that are looked into, and for settings."""
    try:
        mode = file.stat().st_mode
    except OSError as error:
        return DANGLING if file.is_symlink() else str(error.strerror)
    if stat.S_ISDIR(mode):
        return LINKED_FOLDER if file.is_symlink() else "" if may_be_read(file) else LOCKED_FOLDER
    if not stat.S_ISREG(mode):
        return NO_FILE
    if file.suffix.lower() in all_endings():
        return NOTES if is_notes(file) else ""
    return "" if file.name == OWN else UNKNOWN


def may_be_read(folder: Path) -> bool:
    """Whether what is in a folder can be seen."""
    return os.access(folder, os.R_OK | os.X_OK)


def real(path: Path) -> Path:
    """Where a path leads, links followed; of links that go in circles some place among them (`Path.resolve` raises RuntimeError of them)."""
    return Path(os.path.realpath(path))


def is_notes(file: Path) -> bool:
    """Whether a file with an ending that tables of points have is a README, a list of files or the like."""
    named = format_by_name(file.name)
    if named is None or named.name != TABLE:
        return False
    try:
        with file.open("rb") as opened:
            return is_prose(Source(file.name, opened.read(HEAD_BYTES)))
    except OSError:  # reading the whole gives the reason
        return False


def tell_skipped(skipped: Iterable[Skipped]) -> None:
    """Say which files are skipped, in one line for each reason."""
    files: dict[str, list[Path]] = {}
    for file, reason in skipped:
        files.setdefault(reason, []).append(file)
    for reason, of_it in files.items():
        log.info("skipped, as %s: %s", reason, some_of(of_it))


def some_of(files: Sequence[Path]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(map(str, files[:NAMED])) + more
