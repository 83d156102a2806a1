"""The workspace: the folder in which the stages leave their results. No torch here, so that looking is quick."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from lpdif.errors import InputError
from lpdif.storage.safe_open import LONGEST_TEXT, leads_out, read_regular
from lpdif.storage.strict_json import Maybe, Shape, Text, Whole, check, parse
from lpdif.text import excerpt

BUNDLED_MODEL = Path(__file__).parent.parent / "weights" / "default.safetensors"  # ships with lpdif
MANIFEST: Shape = {
    "kept": [
        {
            "shard": Text(),
            "source": Maybe(Text()),
            "regions": Maybe(Whole()),
            "path": Maybe(Text()),
            "content": Maybe(Text()),
            "bytes": Maybe(Whole(-1)),
        }
    ],
    "left_out": Maybe([object]),
}


class Shard(NamedTuple):
    """A sample file, the name of the scan it was made of, the number of regions in it; and where that scan lay, its content (see
    `lpdif.io.fingerprints`) and size, which lists of samples did not say at first."""

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
            about = parse(read_regular(self.manifest, LONGEST_TEXT, self.root))
            check(about, MANIFEST)
            return Contents([self._shard(row) for row in about["kept"]], len(about.get("left_out", ())))
        except OSError as error:
            why = str(error.strerror)
        except ValueError as error:
            why = str(error)
        raise InputError(f"{self.manifest}: not a list of samples ({why})", "run `lpdif preprocess` again")

    def _shard(self, row: dict[str, Any]) -> Shard:
        """A row of the manifest. Raises ValueError where its file would lie elsewhere than beside it."""
        name = row["shard"]
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"the shard {excerpt(name)!r} is not the name of a file beside it")
        return Shard(
            self.samples / name,
            row.get("source", ""),
            row.get("regions", 0),
            row.get("path", ""),
            row.get("content", ""),
            row.get("bytes", -1),
        )

    def check_samples(self) -> None:
        """Raises InputError where the folder of the samples lies outside of the workspace, so that nothing is written there."""
        if leads_out(self.samples, self.root):
            raise InputError(f"{self.samples}: a link that leads out of {self.root}", "remove it; --workspace names the folder to work in")

    def shards(self) -> list[Path]:
        """The sample files that the manifest names, in its order. Raises InputError as `contents` does."""
        return [shard.path for shard in self.contents().kept]
