"""Finds the scans that the arguments of a command mean: files, folders, globs, and `-` for stdin."""

from __future__ import annotations

import glob
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lpdif
from lpdif.errors import InputError, UsageError

if TYPE_CHECKING:
    from lpdif.io.folders import Skipped


@dataclass(frozen=True)
class Source:
    """A scan to read, and its path below the folder that was named.

    That is its bare name where the scan itself was named.
    """

    path: Path
    below: Path


def is_many(arguments: Sequence[str]) -> bool:
    """Whether the arguments can mean more than one scan."""
    return len(arguments) > 1 or Path(arguments[0]).is_dir() or _is_glob(arguments[0])


def expand(arguments: Sequence[str], leave_out: Sequence[Path] = ()) -> tuple[list[Source], list[Skipped]]:
    """The scans that `arguments` mean, each once, and the files in folders that are skipped.

    A file means itself, also where it is missing: reading it gives the reason. A folder means all scans below it, except those below the
    folders `leave_out`. Raises InputError where a folder holds no scan or no file matches a glob.
    """
    from lpdif.io.folders import may_be_read, real, scans_below, tell_skipped
    from lpdif.io.registry import all_endings

    found: dict[Path, Source] = {}
    skipped: dict[Path, Skipped] = {}
    for argument in arguments:
        names = sorted(glob.glob(argument, recursive=True)) if _is_glob(argument) else [argument]  # noqa: PTH207 (Path takes no absolute ones)
        sources: list[Source] = []
        for match in map(Path, names):
            if match.is_dir():
                if not may_be_read(match):
                    raise InputError(f"{match}: no permission to read this folder", f"chmod u+rx {match}")
                scans, others = scans_below(match, leave_out)
                sources += [Source(scan, scan.relative_to(match)) for scan in scans]
                skipped |= {real(other.file): other for other in others}
            else:
                sources.append(Source(match, Path(match.name)))
        if not sources:
            tell_skipped(skipped.values())
            what = "no file matches" if _is_glob(argument) else "no scan in this folder"
            raise InputError(f"{argument}: {what}", f"lpdif reads {', '.join(sorted(all_endings()))}")
        for source in sources:
            found.setdefault(real(source.path), source)
    left = [other for place, other in skipped.items() if place not in found]  # a file that is named by itself too is read
    tell_skipped(left)
    return list(found.values()), left


def as_rows(skipped: Sequence[Skipped]) -> list[dict[str, str]]:
    """The skipped files, for --json."""
    return [{"scan": str(file), "reason": reason} for file, reason in skipped]


def read_stdin(command: str, times: bool = False) -> lpdif.Scan:
    """The scan on stdin. Raises UsageError where stdin is a terminal.

    command: how lpdif is called with one, for the hint; times: as in `load_scan`.
    """
    if sys.stdin.isatty():
        raise UsageError("no scan is piped into stdin", f"pipe one in: cat scan.ply | lpdif {command}")
    return lpdif.read_scan(sys.stdin.buffer.read(), "stdin", times)


def _is_glob(argument: str) -> bool:
    """Whether an argument is a glob, and not the name of a file."""
    return glob.has_magic(argument) and not Path(argument).exists()
