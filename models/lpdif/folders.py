"""Scans in folders: the files with a known ending, but for the notes beside them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from lpdif.formats.sniff import HEAD, is_prose, kind_by_name
from lpdif.formats.source import Source
from lpdif.reading import READABLE

log = logging.getLogger("lpdif")

NOTES = "text without a row of numbers"  # why a file in a folder is skipped
OF_SCAN = ".mesh"  # stands between the name of a scan and the ending of the mesh that is made of it beside it
NAMED = 3  # files of which the names are told


def scans_below(folder: Path, leave_out: Path | None = None) -> tuple[list[Path], list[Path]]:
    """(scans, notes): the files below a folder that have a known ending, each list in order, without those below `leave_out`, and without
    meshes that were made of scans beside them (a.mesh.ply beside a.xyz)."""
    scans: list[Path] = []
    notes: list[Path] = []
    for file in sorted(folder.rglob("*")):
        outside = leave_out is None or not file.resolve().is_relative_to(leave_out.resolve())
        if file.suffix.lower() in READABLE and file.is_file() and outside:
            (notes if is_notes(file) else scans).append(file)
    names = {scan.with_suffix("") for scan in scans}
    made = [scan for scan in scans if scan.stem.endswith(OF_SCAN) and scan.parent / scan.stem.removesuffix(OF_SCAN) in names]
    if made:
        log.info("skipped, as the mesh of the scan beside it: %s", some_of(made))
    return [scan for scan in scans if scan not in set(made)], notes


def is_notes(file: Path) -> bool:
    """Whether a file with an ending that tables of points have is a README, a list of files or the like."""
    if kind_by_name(file.name) != "text":
        return False
    try:
        with file.open("rb") as opened:
            return is_prose(Source(file.name, opened.read(HEAD)))
    except OSError:  # reading the whole gives the reason
        return False


def tell_skipped(notes: Sequence[Path]) -> None:
    """Say which notes are skipped, in one line, if there are any."""
    if notes:
        log.info("skipped, as %s: %s", NOTES, some_of(notes))


def some_of(files: Sequence[Path]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(files) - NAMED} more" if len(files) > NAMED else ""
    return ", ".join(map(str, files[:NAMED])) + more
