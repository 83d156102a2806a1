"""What tells one source file from another: where it lies, and what is in it. No torch here."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lpdif.storage.safe_open import open_regular
from lpdif.storage.workspace import Shard

SHORT = 32  # letters of a digest that are enough to tell contents apart


def content_of(path: Path, within: Path | None = None) -> str:
    """A short name for the bytes of a file. Raises OSError where it cannot be read, is no regular file, or not in the folder `within`."""
    return content_with(path, b"", within)[0]


def content_of_bytes(data: bytes) -> str:
    """What `content_of` gives of a file that holds them."""
    return hashlib.blake2b(data).hexdigest()[:SHORT]


def content_with(path: Path, more: bytes, within: Path | None = None) -> tuple[str, str]:
    """`content_of` a file, which has to lie in the folder `within`, and the digest of its bytes with `more` after them."""
    with open_regular(path, within) as file:
        digest = hashlib.file_digest(file, "blake2b")
    content = digest.hexdigest()[:SHORT]
    digest.update(more)
    return content, digest.hexdigest()


def distinct(files: Sequence[Path]) -> tuple[list[Path], list[tuple[Path, Path]]]:
    """The files without those that hold the same bytes as one before them, and the latter, each with the one it repeats.

    Only files of one size are compared. Empty files, and what cannot be read, stay: reading them gives the reason.
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
    """The shards made of a source that is none of `files`: neither lies there, nor is there one with its content. Of a shard whose
    source is known by its name alone, the name decides."""
    places = {os.path.realpath(file) for file in files}
    names = {file.name for file in files}
    missing = [shard for shard in earlier if (shard.place not in places if shard.place else shard.source not in names)]
    sizes = {shard.bytes for shard in missing if shard.content}
    contents = {known_content(file) for file in files if size_of(file) in sizes} if sizes else set()
    return [shard for shard in missing if not shard.content or shard.content not in contents]


def size_of(file: Path) -> int:
    """Bytes of a file; -1 where it is none, or cannot be looked at."""
    try:
        return file.stat().st_size if file.is_file() else -1
    except OSError:
        return -1


def known_content(file: Path, within: Path | None = None) -> str:
    """`content_of`, empty for a file that cannot be read: whoever reads it for its points will give the reason."""
    try:
        return content_of(file, within)
    except OSError:
        return ""
