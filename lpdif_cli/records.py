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
from lpdif.storage.strict_json import Each, Maybe, Number, Shape, Text, Whole, check, dump, parse
from lpdif.storage.workspace import BUNDLED_MODEL
from lpdif.text import excerpt
from lpdif_cli.shards import Shard, file_of, files_of_shards

RECORD_NAME = "made.json"
TOLD: Shape = {  # what a run has told of a mesh, for the reports of later runs
    "points": Maybe((Whole(), None)),
    "faces": Maybe((Whole(), None)),
    "open_loops": Maybe((Whole(), None)),
    "noise": Maybe((Number(0), None)),
    "seconds": Maybe((Number(0), None)),
    "warnings": Maybe([Text()]),
}
RECORD_ROW: Shape = {
    "mesh": Text(),
    "model": Text(),
    "settings": Each(object),
    "told": Maybe(TOLD),
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
    del found["max_memory"]  # no mesh depends on it
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
    Each shard of a batch writes a file of its own, so that none writes over another's; all of them are read.
    """

    def __init__(self, folder: Path, shard: Shard | None = None) -> None:
        self.folder = folder
        self.path = folder / file_of("made", shard, ".json")
        self.damaged: list[Path] = []
        self.rows = self._read(self.path)
        others = {folder / RECORD_NAME, *files_of_shards(folder, "made", ".json")} - {self.path}
        self.others = {path: self._read(path) for path in sorted(others)}

    def _read(self, path: Path) -> dict[str, dict[str, Any]]:
        """The rows of one file."""
        try:
            about = parse(read_regular(path, MOST_TEXT_BYTES, self.folder))
            check(about, {"meshes": Each(object)})
            rows: dict[str, dict[str, Any]] = about["meshes"]
            return rows
        except FileNotFoundError:
            return {}  # nothing was made here yet
        except (OSError, ValueError):
            self.damaged.append(path)
            return {}

    def add(self, target: Path, scan: dict[str, object], how: Recipe, data: bytes, told: dict[str, Any]) -> None:
        """Adds a mesh with what was told of it (TOLD), and writes the record. Raises as `write_bytes` does."""
        from lpdif.storage.atomic_write import write_bytes

        self.rows[self._name(target)] = {"mesh": content_of_bytes(data), "scan": scan, **asdict(how), "told": told}
        about = {"about": "what the meshes in this folder were made from", "meshes": self.rows}
        write_bytes(self.path, dump(about).encode(), overwrite=True)

    def told(self, target: Path) -> dict[str, Any]:
        """What was told of a mesh that `difference` knows as made here; nothing where the record is older than that."""
        row = self.row(target)
        return {} if row is None else dict(row.get("told", {}))

    def row(self, target: Path) -> dict[str, Any] | None:
        """What is said, in the form of RECORD_ROW, of the mesh that is there now; None where nothing is."""
        mesh = known_content(target, self.folder)
        for row in self._written(target).values():
            try:
                check(row, RECORD_ROW)
            except ValueError:
                continue
            if row["mesh"] == mesh:
                return row
        return None

    def difference(self, target: Path, scan: Path, how: Recipe) -> str:
        """How an existing mesh differs from the one that would be made; "" where it does not."""
        found = self._written(target)
        if not found:
            return "it is not known what it was made from"
        for path, written in found.items():
            try:
                check(written, RECORD_ROW)
            except ValueError:
                return f"{path} does not say what it was made from"
        row = self.row(target)
        if row is None:
            return "it is not the mesh that was made here"
        why = []
        if not self._same_scan(row["scan"], scan):
            why.append("from another file than is there now")
        if row["model"] != how.model:
            why.append("with another model")
        before = default_settings() | row["settings"]  # an earlier version may have lacked some, and did then what is the default
        if before != how.settings:
            why.append(f"with other settings ({excerpt(changes(before, how.settings), 1000)})")
        return f"it was made {' and '.join(why)}" if why else ""

    def _written(self, target: Path) -> dict[Path, dict[str, Any]]:
        """What the files say of a mesh, this run's own first."""
        name = self._name(target)
        return {path: rows[name] for path, rows in {self.path: self.rows, **self.others}.items() if name in rows}

    def _name(self, target: Path) -> str:
        return target.relative_to(self.folder).as_posix()

    @staticmethod
    def _same_scan(before: dict[str, object], scan: Path) -> bool:
        """Whether a scan is still the same. It is read only where its size or time has changed."""
        now = size_and_time(scan)
        if now and now == {name: before.get(name) for name in now}:
            return True
        return bool(before["content"]) and size_of(scan) == before.get("bytes") and known_content(scan) == before["content"]


def made_with(mesh: Path) -> list[tuple[str, str]]:
    """The model and the settings that a mesh was made with, as names and words.

    From the records in its folder. Empty where there is none, or where the mesh is not the recorded one any more.
    """
    row = Record(mesh.parent).row(mesh)
    if row is None:
        return []
    usual = default_settings()
    chosen = [(name.replace("_", " "), word(value)) for name, value in row["settings"].items() if value != usual.get(name)]
    model = "the one that ships with lpdif" if row["model"] == known_content(BUNDLED_MODEL) else f"another ({excerpt(row['model'], 12)})"
    return [("model", model), *(chosen or [("settings", "all automatic")])]


def changes(before: dict[str, Any], now: dict[str, Any]) -> str:
    """The settings that differ, for a message: "faces auto -> 1000"."""
    return ", ".join(
        f"{name} {word(before.get(name))} -> {word(now.get(name))}" for name in sorted(before | now) if before.get(name) != now.get(name)
    )


def word(value: object) -> str:
    """A setting as it would be typed."""
    return "auto" if value is None else json.dumps(value)
