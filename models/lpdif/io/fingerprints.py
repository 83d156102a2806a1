"""How source files are told apart: by where they lie, and by a digest of their content.

Does not load torch.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lpdif.storage.safe_open import open_regular
from lpdif.storage.workspace import Shard

DIGEST_LETTERS = 32  # So many letters of a digest (128 bits) are enough to tell contents apart.


def content_of(path: Path, within: Path | None = None) -> str:
    """A digest of the bytes of a file.

    Raises OSError where it cannot be read, is no regular file, or lies outside of `within`.
    """
    return content_with(path, b"", within)[0]


def content_of_bytes(data: bytes) -> str:
    """The digest that `content_of` gives of a file with these bytes."""
    return hashlib.blake2b(data).hexdigest()[:DIGEST_LETTERS]


def content_with(path: Path, more: bytes, within: Path | None = None) -> tuple[str, str]:
    """The digest of a file as of `content_of`, and the full digest of its bytes with `more` behind them.

    Raises as `content_of` does.
    """
    with open_regular(path, within) as file:
        digest = hashlib.file_digest(file, "blake2b")
    content = digest.hexdigest()[:DIGEST_LETTERS]
    digest.update(more)
    return content, digest.hexdigest()


def distinct_files(files: Sequence[Path]) -> tuple[list[Path], list[tuple[Path, Path]]]:
    """The files without duplicates, and the duplicates, each with the earlier file that it repeats.

    Only files of the same size are compared. Empty files and files that cannot be read are kept: reading them gives the reason.
    """
    sizes = [size_of(file) for file in files]
    alike = Counter(sizes)
    first: dict[str, Path] = {}
    kept: list[Path] = []
    repeated: list[tuple[Path, Path]] = []
    for file, size in zip(files, sizes, strict=True):
        content = known_content(file) if size > 0 and alike[size] > 1 else ""
        if content and first.setdefault(content, file) is not file:
            repeated.append((file, first[content]))
        else:
            kept.append(file)
    return kept, repeated


def dropped(earlier: Sequence[Shard], files: Sequence[Path]) -> list[Shard]:
    """The shards whose source is none of `files`: none of these lies where it lay, or has its content.

    Where only the name of a source is known, as in early lists of samples, the name decides.
    """
    places = {os.path.realpath(file) for file in files}
    names = {file.name for file in files}
    missing = [shard for shard in earlier if (shard.place not in places if shard.place else shard.source not in names)]
    sizes = {shard.bytes for shard in missing if shard.content}
    contents = {known_content(file) for file in files if size_of(file) in sizes} if sizes else set()
    return [shard for shard in missing if not shard.content or shard.content not in contents]


def size_of(file: Path) -> int:
    """The size of a file in bytes; -1 where it is no file, or the system does not tell."""
    try:
        return file.stat().st_size if file.is_file() else -1
    except OSError:
        return -1


def known_content(file: Path, within: Path | None = None) -> str:
    """The digest of `content_of`; "" for a file that cannot be read.

    Reading the points of such a file gives the reason.
    """
    try:
        return content_of(file, within)
    except OSError:
        return ""
