"""What has come of each scan of a batch, and the list of those that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lpdif.text import excerpt
from lpdif_cli.console import Console
from lpdif_cli.failures import Failure
from lpdif_cli.shards import Shard, file_of, files_of_shards

MOST_WARNINGS = 20  # The record keeps so many warnings of a scan,
LONGEST_WARNING = 1000  # and so many letters of each.

Job = tuple[Path, Path]  # a scan and its mesh


@dataclass
class Outcome:
    """The result for one scan. state: done, kept (made by an earlier run) or failed."""

    scan: Path
    output: Path
    state: str
    faces: int = 0
    seconds: float = 0.0
    facts: dict[str, float | int | str] = field(default_factory=dict)
    failure: Failure | None = None
    told: dict[str, Any] = field(default_factory=dict)  # what the record says of the mesh
    picture: str = ""  # address of a thumbnail, for a report

    def document(self) -> dict[str, object]:
        """The outcome as a document, for --json and failed.jsonl."""
        if self.failure is not None:
            error = {"message": self.failure.message, "hint": self.failure.hint, "exit_code": self.failure.code}
            return {"input": str(self.scan), "state": self.state, "error": error}
        made = {"faces": self.faces, "seconds": round(self.seconds, 3), "facts": self.facts} if self.state == "done" else {}
        return {"input": str(self.scan), "output": str(self.output), "state": self.state, **made}


def failure_line(outcome: Outcome) -> str:
    """What the warning of a scan that failed says; "" for the others."""
    return "" if outcome.failure is None else f"{outcome.scan} failed: {outcome.failure.message}"


def warn(outcome: Outcome, console: Console) -> None:
    """Warns about a scan that failed."""
    if outcome.failure is not None:
        console.warn(failure_line(outcome))


def told_of(faces: int, facts: Mapping[str, float | int | str], seconds: float, warnings: Sequence[str]) -> dict[str, Any]:
    """What the record keeps of a run that made a mesh; noise in spacings."""
    noise = float(facts["noise"]) / float(facts["spacing"]) if facts.get("spacing") else None
    counts = {"points": facts.get("points"), "faces": faces, "open_loops": facts.get("open_loops")}
    return {
        **counts,
        "noise": noise,
        "seconds": round(seconds, 3),
        "warnings": [excerpt(text, LONGEST_WARNING) for text in warnings[:MOST_WARNINGS]],
    }


class Failures:
    """The list of the scans that failed, failed.jsonl; that of a shard has a name of its own."""

    def __init__(self, folder: Path, shard: Shard | None) -> None:
        self.path = folder / file_of("failed", shard, ".jsonl")
        # A run over all scans knows of every failure; what its shards have left is out of date.
        self.outdated = files_of_shards(folder, "failed", ".jsonl") if shard is None else []

    def write(self, failed: Sequence[Outcome]) -> None:
        """Writes the list; removes it where no scan has failed."""
        from lpdif.storage.atomic_write import write_bytes

        for path in self.outdated:
            path.unlink(missing_ok=True)
        if failed:
            write_bytes(self.path, "".join(json.dumps(o.document()) + "\n" for o in failed).encode(), overwrite=True)
        else:
            self.path.unlink(missing_ok=True)
