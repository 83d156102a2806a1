"""Records what the meshes in a folder were made from, in a small file beside them.

A later run keeps those that are up to date.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lpdif.config import OutputConfig, ReconstructConfig
from lpdif.io.fingerprints import content_of_bytes, known_content, size_of
from lpdif.storage.safe_open import MOST_TEXT_BYTES, read_regular
from lpdif.storage.strict_json import Each, Maybe, Shape, Text, Whole, check, dump, parse
from lpdif.text import excerpt

RECORD_NAME = "made.json"
RECORD_ROW: Shape = {
    "mesh": Text(),
    "model": Text(),
    "settings": Each(object),
    "scan": {"content": Text(), "bytes": Maybe(Whole()), "mtime_ns": Maybe(Whole(-(2**63)))},
}


@dataclass(frozen=True)
class Recipe:
    """What a mesh depends on besides its scan.

    That is the settings, as JSON has them, and the digest of the model file.
    """

    settings: dict[str, Any]
    model: str


def recipe(settings: ReconstructConfig, output: OutputConfig, model: Path) -> Recipe:
    """The recipe of a run.

    A model file that cannot be read has an empty digest: loading it gives the reason.
    """
    return Recipe(as_json(settings, output), known_content(model))


def as_json(settings: ReconstructConfig, output: OutputConfig) -> dict[str, Any]:
    """Settings as a record has them."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(settings) | asdict(output)))
    return found


def default_settings() -> dict[str, Any]:
    """The settings that a mesh is made by where none is given."""
    return as_json(ReconstructConfig(), OutputConfig())


def stamp(scan: Path) -> dict[str, object]:
    """By what a scan is recognised: its size, its time and its digest."""
    return {**size_and_time(scan), "content": known_content(scan) if size_of(scan) >= 0 else ""}


def size_and_time(scan: Path) -> dict[str, object]:
    """Size and time of a scan, which can be seen without reading it."""
    try:
        about = scan.stat()
    except OSError:  # reading it gives the reason
        return {}
    return {"bytes": about.st_size, "mtime_ns": about.st_mtime_ns}


class Record:
    """The meshes made in a folder, by their paths below it, each with its scan, its recipe and its digest.

    A mesh is recorded before it is written. Where the run is killed in between, the digest shows that the mesh is not the recorded one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / RECORD_NAME
        self.damaged = False
        self.rows: dict[str, dict[str, Any]] = {}
        try:
            about = parse(read_regular(self.path, MOST_TEXT_BYTES, folder))
            check(about, {"meshes": Each(object)})
            self.rows = about["meshes"]
        except FileNotFoundError:
            pass  # nothing was made here yet
        except (OSError, ValueError):
            self.damaged = True

    def add(self, target: Path, scan: dict[str, object], how: Recipe, data: bytes) -> None:
        """Adds a mesh, and writes the record. Raises as `write_bytes` does."""
        from lpdif.storage.atomic_write import write_bytes

        self.rows[self._name(target)] = {"mesh": content_of_bytes(data), "scan": scan, **asdict(how)}
        about = {"about": "what the meshes in this folder were made from", "meshes": self.rows}
        write_bytes(self.path, dump(about).encode(), overwrite=True)

    def difference(self, target: Path, scan: Path, how: Recipe) -> str:
        """How an existing mesh differs from the one that would be made; "" where it does not."""
        row = self.rows.get(self._name(target))
        if row is None:
            return "it is not known what it was made from"
        try:
            check(row, RECORD_ROW)
        except ValueError:
            return f"{self.path} does not say what it was made from"
        if row["mesh"] != known_content(target, self.folder):
            return "it is not the mesh that was made here"
        found = []
        if not self._same_scan(row["scan"], scan):
            found.append("from another file than is there now")
        if row["model"] != how.model:
            found.append("with another model")
        before = default_settings() | row["settings"]  # an earlier version may have lacked some, and did then what is the default
        if before != how.settings:
            found.append(f"with other settings ({excerpt(changes(before, how.settings), 1000)})")
        return f"it was made {' and '.join(found)}" if found else ""

    def _name(self, target: Path) -> str:
        return target.relative_to(self.folder).as_posix()

    @staticmethod
    def _same_scan(before: dict[str, object], scan: Path) -> bool:
        """Whether a scan is still the same. It is read only where its size or time has changed."""
        now = size_and_time(scan)
        if now and now == {name: before.get(name) for name in now}:
            return True
        return bool(before["content"]) and size_of(scan) == before.get("bytes") and known_content(scan) == before["content"]


def changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The settings that differ, for a message: "faces auto -> 1000"."""
    return ", ".join(
        f"{name} {word(before.get(name))} -> {word(now.get(name))}" for name in sorted(before | now) if before.get(name) != now.get(name)
    )


def word(value: object) -> str:
    """A setting as it would be typed."""
    return "auto" if value is None else json.dumps(value)
