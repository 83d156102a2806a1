"""The workspace: the folder that holds the results of the stages. Does not load torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from lpdif.errors import InputError
from lpdif.storage.safe_open import MOST_TEXT_BYTES, can_name_a_file, leads_outside, read_regular
from lpdif.storage.strict_json import Maybe, Shape, Text, Whole, check, parse
from lpdif.text import excerpt

BUNDLED = "bundled"  # what names the model that ships with lpdif, whatever a workspace holds
BUNDLED_MODEL = Path(__file__).parent.parent / "weights" / "default.safetensors"  # ships with lpdif
MANIFEST_SHAPE: Shape = {
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
    """A file of samples.

    source, place, content, bytes: the name of the scan it was made of, its path, the digest of its content (see `lpdif.io.fingerprints`) and
    its size; the first manifests held no path, digest and size. regions: how many the file holds.
    """

    path: Path
    source: str
    regions: int
    place: str = ""
    content: str = ""
    bytes: int = -1


class Manifest(NamedTuple):
    """The list of samples: their files, and the number of scans that were left out."""

    kept: list[Shard]
    left_out: int


class Workspace:
    """The paths of the results in a workspace.

    samples_of: another workspace whose samples are used.
    """

    def __init__(self, root: Path | str, samples_of: Path | str | None = None) -> None:
        self.root = Path(root)
        self.samples_root = self.root if samples_of is None else Path(samples_of)
        self.samples = self.samples_root / "samples"
        self.manifest = self.samples / "manifest.json"
        self.model = self.root / "model.safetensors"
        self.snapshot = self.root / "snapshot.safetensors"
        self.metrics = self.root / "metrics.jsonl"
        self.gallery = self.root / "patterns.png"

    def read_manifest(self) -> Manifest:
        """The manifest. Raises InputError where it is missing or damaged."""
        if not self.manifest.exists():
            hint = "make some: lpdif preprocess SCANS"
            if self.samples_root != self.root:
                hint = "--samples names the workspace of another run of lpdif"
            elif self.snapshot.exists():
                hint = "its fit was made from samples elsewhere: name their workspace by --samples"
            raise InputError(f"{self.samples_root}: no samples here (there is no {self.manifest.relative_to(self.samples_root)})", hint)
        try:
            about = parse(read_regular(self.manifest, MOST_TEXT_BYTES, self.samples_root))
            check(about, MANIFEST_SHAPE)
            return Manifest([self._shard(row) for row in about["kept"]], len(about.get("left_out", ())))
        except OSError as error:
            why = str(error.strerror)
        except ValueError as error:
            why = str(error)
        raise InputError(f"{self.manifest}: not a list of samples ({why})", "run `lpdif preprocess` again")

    def _shard(self, row: dict[str, Any]) -> Shard:
        """The shard of a row in the manifest.

        Raises ValueError where its file would not lie beside the manifest.
        """
        name = row["shard"]
        if name in ("", "..") or Path(name).name != name or not can_name_a_file(name):
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
        """Raises InputError where a link puts the folder of samples outside of the workspace.

        Nothing is written there.
        """
        if leads_outside(self.samples, self.samples_root):
            raise InputError(
                f"{self.samples}: a link that leads out of {self.samples_root}", "remove it; --workspace names the folder to work in"
            )

    def shards(self) -> list[Path]:
        """The files of samples, in the order of the manifest. Raises InputError as `read_manifest` does."""
        return [shard.path for shard in self.read_manifest().kept]

    def samples_identity(self) -> str:
        """A digest by which samples are known again: the names of the files in their list, and the regions of each.

        The names hold digests of the scans and the settings they were made by. Raises InputError as `read_manifest` does.
        """
        rows = "".join(f"{shard.path.name}\n{shard.regions}\n" for shard in self.read_manifest().kept)
        return hashlib.blake2b(rows.encode(errors="surrogateescape"), digest_size=16).hexdigest()
