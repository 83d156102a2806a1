"""The workspace: the folder in which the stages leave their results. No torch here, so that looking is quick."""

from __future__ import annotations

import json
from pathlib import Path

from lpdif.errors import InputError


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

    def shards(self) -> list[Path]:
        """The sample files that the manifest names, in its order."""
        if not self.manifest.exists():
            raise InputError(
                f"{self.root}: no samples here (there is no {self.manifest.relative_to(self.root)})",
                "make some: lpdif preprocess SCANS",
            )
        try:
            return [self.samples / row["shard"] for row in json.loads(self.manifest.read_text())["kept"]]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self.manifest}: not a list of samples", "run `lpdif preprocess` again") from None
