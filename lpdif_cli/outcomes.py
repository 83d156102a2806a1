"""What has come of each scan of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lpdif
from lpdif.text import excerpt
from lpdif_cli.failures import Failure

MOST_WARNINGS = 20  # The record keeps so many warnings of a scan,
LONGEST_WARNING = 1000  # and so many letters of each.


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


def told_of(made: lpdif.Reconstruction, seconds: float, warnings: Sequence[str]) -> dict[str, Any]:
    """What the record keeps of a run that made a mesh; noise in spacings."""
    facts = made.facts
    noise = float(facts["noise"]) / float(facts["spacing"]) if facts.get("spacing") else None
    counts = {"points": facts.get("points"), "faces": len(made.mesh.faces), "open_loops": facts.get("open_loops")}
    return {
        **counts,
        "noise": noise,
        "seconds": round(seconds, 3),
        "warnings": [excerpt(text, LONGEST_WARNING) for text in warnings[:MOST_WARNINGS]],
    }
