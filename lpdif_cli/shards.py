"""A batch in N shards, as the tasks of a job array: each reconstructs its own part of the scans.

No shard writes what another one writes, so they need not know of each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from lpdif.errors import UsageError

Item = TypeVar("Item")

SHARD_HINT = "write I/N, as in: --shard 1/8 to --shard 8/8"
_NAME = re.compile(r"-\d+-of-\d+")  # what the name of a shard's file has more than that of a whole batch


class Shard(NamedTuple):
    """Part `number`, from 1, of `total`."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def part(self, items: Sequence[Item]) -> list[Item]:
        """Every total-th item, so that large scans that lie together go to different shards."""
        return list(items[self.number - 1 :: self.total])


def read_shard(text: str) -> Shard:
    """The shard that I/N stands for. Raises UsageError for anything else."""
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if found is None:
        raise UsageError(f"--shard: '{text}' is no shard", SHARD_HINT)
    shard = Shard(int(found[1]), int(found[2]))
    if not 1 <= shard.number <= shard.total:
        raise UsageError(f"--shard: there is no shard {shard.number} of {shard.total}", SHARD_HINT)
    return shard


def file_of(stem: str, shard: Shard | None, ending: str) -> str:
    """The name of a file that a batch writes: made.json, or made-3-of-8.json for a shard."""
    return f"{stem}{ending}" if shard is None else f"{stem}-{shard.number}-of-{shard.total}{ending}"


def files_of_shards(folder: Path, stem: str, ending: str) -> list[Path]:
    """The files of this kind that shards have written to a folder."""
    return [path for path in sorted(folder.glob(f"{stem}-*{ending}")) if _NAME.fullmatch(path.name[len(stem) : -len(ending)])]
