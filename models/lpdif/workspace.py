"""The workspace: the folder in which the stages leave their results. No torch here, so that looking is quick."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from lpdif.errors import InputError

BUNDLED_MODEL = Path(__file__).parent / "weights" / "default.safetensors"  # ships with lpdif


class Shard(NamedTuple):
    """A sample file, the name of the scan it was made of, the number of regions in it; and where that scan lay, its content (see
    `lpdif.sources`) and size, which lists of samples did not say at first."""

    path: Path
    source: str
    regions: int
    place: str = ""
    content: str = ""
    bytes: int = -1


class Contents(NamedTuple):
    """What a manifest says: the sample files, in its order, and how many scans were left out."""

    kept: list[Shard]
    left_out: int


class Workspace:
    """Where the stages leave their results."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.samples = self.root / "samples"
        self.manifest = self.samples / "manifest.json"
        self.model = self.root / "model.safetensors"
        self.snapshot = self.root / "snapshot.safetensors"
        self.metrics = self.root / "metrics.jsonl"
        self.gallery = self.root / "patterns.png"

    def contents(self) -> Contents:
        """What the manifest says. Raises InputError where there is none, or it is something else."""
        if not self.manifest.exists():
            raise InputError(
                f"{self.root}: no samples here (there is no {self.manifest.relative_to(self.root)})",
                "make some: lpdif preprocess SCANS",
            )
        try:
            about = json.loads(self.manifest.read_text())
            return Contents([self._shard(row) for row in about["kept"]], len(about.get("left_out", ())))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            raise InputError(f"{self.manifest}: not a list of samples", "run `lpdif preprocess` again") from None

    def _shard(self, row: dict[str, Any]) -> Shard:
        """A row of the manifest."""
        return Shard(
            self.samples / row["shard"],
            str(row.get("source", "")),
            int(row.get("regions", 0)),
            str(row.get("path", "")),
            str(row.get("content", "")),
            int(row.get("bytes", -1)),
        )

    def shards(self) -> list[Path]:
        """The sample files that the manifest names, in its order. Raises InputError as `contents` does."""
        return [shard.path for shard in self.contents().kept]
