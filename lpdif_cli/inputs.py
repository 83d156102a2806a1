"""Which scans a command line means: files, folders, globs, and `-` for stdin."""

from __future__ import annotations

import glob
import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lpdif.errors import InputError

log = logging.getLogger("lpdif")

NAMED = 3  # files of which the names are told


@dataclass(frozen=True)
class Source:
    """A scan to read, and where it stood below the folder that was named (its bare name if it was named itself)."""

    path: Path
    below: Path


def is_many(arguments: Sequence[str]) -> bool:
    """True if the arguments can mean more than one scan, however many it turns out to be."""
    return len(arguments) > 1 or Path(arguments[0]).is_dir() or _is_glob(arguments[0])


def expand(arguments: Sequence[str], leave_out: Path | None = None) -> list[Source]:
    """The scans that `arguments` mean, each once: files as they are (missing ones too: reading them gives the reason), folders
    with all files of a readable ending below them but for those below `leave_out` and for notes, globs.

    Raises InputError where a folder holds no scan or a glob matches none.
    """
    found: dict[Path, Source] = {}
    notes: list[str] = []
    for argument in arguments:
        names = sorted(glob.glob(argument, recursive=True)) if _is_glob(argument) else [argument]  # noqa: PTH207 (Path takes no absolute ones)
        matches = [Path(name) for name in names]
        sources = [source for match in matches for source in _scans(match, leave_out, notes)]
        if not sources:
            what = "no file matches" if _is_glob(argument) else "no scan in this folder"
            raise InputError(f"{argument}: {what}", f"lpdif reads {', '.join(sorted(readable()))}")
        for source in sources:
            found.setdefault(source.path.resolve(), source)
    if notes:
        more = f" and {len(notes) - NAMED} more" if len(notes) > NAMED else ""
        log.info("skipped, as text without a row of numbers: %s%s", ", ".join(notes[:NAMED]), more)
    return list(found.values())


def _scans(path: Path, leave_out: Path | None, notes: list[str]) -> Iterator[Source]:
    """The scans that one path means; text beside them is added to `notes` instead."""
    if not path.is_dir():
        yield Source(path, Path(path.name))
        return
    endings = readable()
    for file in sorted(path.rglob("*")):
        outside = leave_out is None or not file.resolve().is_relative_to(leave_out.resolve())
        if file.suffix.lower() in endings and file.is_file() and outside:
            if _is_prose(file):
                notes.append(str(file))
            else:
                yield Source(file, file.relative_to(path))


def _is_prose(file: Path) -> bool:
    """Whether a file with an ending that tables of points have is a README, a list of files or the like."""
    from lpdif.formats.sniff import HEAD, is_prose
    from lpdif.formats.source import Source as Content

    try:
        with file.open("rb") as opened:
            return is_prose(Content(file.name, opened.read(HEAD)))
    except OSError:  # reading the whole gives the reason
        return False


def _is_glob(argument: str) -> bool:
    """True for a pattern that is not also the name of a file."""
    return glob.has_magic(argument) and not Path(argument).exists()


def readable() -> Collection[str]:
    """The file endings that can be read."""
    from lpdif.reading import READABLE

    return READABLE
