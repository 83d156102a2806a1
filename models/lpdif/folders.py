"""Scans in folders: the files with a known ending, but for the notes beside them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from lpdif.formats.sniff import HEAD, is_prose, kind_by_name
from lpdif.formats.source import Source
from lpdif.reading import READABLE

log = logging.getLogger("lpdif")

NOTES = "text without a row of numbers"  # why a file in a folder is skipped
MADE = "the mesh of the scan beside it"
HIDDEN = "hidden"
UNKNOWN = "a kind of file that lpdif does not read"
OF_SCAN = ".mesh"  # stands between the name of a scan and the ending of the mesh that is made of it beside it
OWN = "lpdif.toml"  # settings, of which nothing is said
NAMED = 3  # files of which the names are told


class Skipped(NamedTuple):
    """A file in a folder that is not taken for a scan, and why."""

    file: Path
    reason: str


def scans_below(folder: Path, leave_out: Sequence[Path] = ()) -> tuple[list[Path], list[Skipped]]:
    """The files below a folder that have a known ending, in order, and what else is there: notes, files of other kinds, hidden ones, and
    meshes that were made of scans beside them (a.mesh.ply beside a.xyz). Nothing is said of what is below those of
    the folders `leave_out` that are below this one, nor of settings and of hidden files of other kinds, which systems leave everywhere."""
    whole = folder.resolve()
    own = [place for place in (place.resolve() for place in leave_out) if not whole.is_relative_to(place)]
    scans: list[Path] = []
    skipped: list[Skipped] = []
    for file in sorted(folder.rglob("*")):
        if not file.is_file() or (own and any(file.resolve().is_relative_to(place) for place in own)):
            continue
        known = file.suffix.lower() in READABLE
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        reason = (HIDDEN if hidden else NOTES if is_notes(file) else "") if known else ("" if hidden or file.name == OWN else UNKNOWN)
        if reason:
            skipped.append(Skipped(file, reason))
        elif known:
            scans.append(file)
    names = {scan.with_suffix("") for scan in scans}
    made = {scan for scan in scans if scan.stem.endswith(OF_SCAN) and scan.parent / scan.stem.removesuffix(OF_SCAN) in names}
    return [scan for scan in scans if scan not in made], skipped + [Skipped(scan, MADE) for scan in scans if scan in made]


def is_notes(file: Path) -> bool:
    """Whether a file with an ending that tables of points have is a README, a list of files or the like."""
    if kind_by_name(file.name) != "text":
        return False
    try:
        with file.open("rb") as opened:
            return is_prose(Source(file.name, opened.read(HEAD)))
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
