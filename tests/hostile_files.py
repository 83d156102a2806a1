"""What a stranger can do to the files of a workspace. All paths are below the current folder; what is outside lies next to that."""

from __future__ import annotations

import json
import os
import random
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

CANARY = "the-canary-sings"  # stands in every file outside; nothing may say it
ESCAPES = "\x1b[31m\x1b]0;title\x07\r\x9b2J\u202egnp.\u2066\x7f"
HUGE = 1 << 40  # bytes of a sparse file
WORKSPACE = Path("lpdif-workspace")
MANIFEST = WORKSPACE / "samples" / "manifest.json"
SHARD = WORKSPACE / "samples" / "shard.safetensors"
MODEL = WORKSPACE / "model.safetensors"
SNAPSHOT = WORKSPACE / "snapshot.safetensors"
METRICS = WORKSPACE / "metrics.jsonl"
GALLERY = WORKSPACE / "patterns.png"
LOCK = WORKSPACE / ".lock"
RECORD = Path("out") / "made.json"
SETTINGS = Path("lpdif.toml")


def sparse(path: Path, size: int, head: bytes = b"") -> None:
    """A file of this size that takes no room."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


def replace_at(path: Path, place: str, odd: object) -> None:
    """The document with something odd in one place."""
    document = json.loads(path.read_text())
    if place in ("kept", "meshes"):
        document[place] = odd
    elif place == "":
        document = odd
    else:
        rows = document["kept" if path == MANIFEST else "meshes"]
        key: Any = 0 if path == MANIFEST else "ball.ply"
        if place == "row":
            rows[key] = odd
        else:
            rows[key][place] = odd
    path.write_text(json.dumps(document))


def change_card(path: Path, name: str, odd: object) -> None:
    """The card of a file with something odd in it, wherever in it the name stands."""

    def change(card: Any) -> Any:
        if isinstance(card, dict):
            return {key: odd if key == name else change(value) for key, value in card.items()}
        return card

    def spoil(header: dict[str, Any]) -> None:
        card = (
            {"validation": {}} | json.loads(header["__metadata__"]["card"])
            if name == "validation"
            else json.loads(header["__metadata__"]["card"])
        )
        header["__metadata__"]["card"] = json.dumps(change(card))

    change_header(path, spoil)


def outside(name: str = "") -> Path:
    """The folder next to the one with everything in it; nothing in it is to be opened."""
    return Path.cwd().parent / "outside" / name


def instead(path: Path, make: Callable[[Path, Path], None]) -> None:
    """Puts something in the place of a file; a copy of the file lies outside."""
    other = outside(path.name)
    if path.is_dir():
        path.rename(path.with_name("moved"))
    else:
        path.unlink(missing_ok=True)
    make(path, other)


def bind(path: Path, _: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's name is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(path.name)
    finally:
        os.chdir(here)


def link_samples() -> None:
    (WORKSPACE / "samples").rename("moved")
    (WORKSPACE / "samples").symlink_to(outside("samples"))


def make_device(path: Path, _: Path | None = None) -> None:
    """What /dev/zero is."""
    os.mknod(path, 0o020666, os.makedev(1, 5))


def devices_can_be_made() -> bool:
    try:
        with tempfile.TemporaryDirectory() as folder:
            make_device(Path(folder) / "zero")
    except (OSError, AttributeError):  # only some may, and not everywhere
        return False
    return True


OTHERS: dict[str, Callable[[Path, Path], None]] = {
    "a link out": lambda path, other: path.symlink_to(other),
    "a link up and out": lambda path, other: path.symlink_to(os.path.relpath(other, path.parent)),
    "a dangling link": lambda path, _: path.symlink_to(outside("nothing")),
    "a link to itself": lambda path, _: path.symlink_to(path.name),
    "a link to a device": lambda path, _: path.symlink_to("/dev/zero"),
    "a hard link": lambda path, other: path.hardlink_to(other),
    "a pipe": lambda path, _: os.mkfifo(path),
    "a socket": bind,
    "a folder": lambda path, _: path.mkdir(),
}


if devices_can_be_made():
    OTHERS["a device"] = make_device


def split(path: Path) -> tuple[dict[str, Any], bytes]:
    """Header and tensors of a file."""
    data = path.read_bytes()
    end = 8 + int.from_bytes(data[:8], "little")
    return json.loads(data[8:end]), data[end:]


def join(path: Path, header: bytes, rest: bytes) -> None:
    path.write_bytes(len(header).to_bytes(8, "little") + header + rest)


def change_header(path: Path, spoil: Callable[[dict[str, Any]], object]) -> None:
    header, rest = split(path)
    spoil(header)
    join(path, json.dumps(header).encode(), rest)


def announce(path: Path, length: int) -> None:
    """The file with another length of its head before it."""
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])


def resize(path: Path, more: int) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size + more)


def repeat_name(path: Path) -> None:
    """A header in which one name stands twice."""
    header, rest = split(path)
    name = next(key for key in header if key != "__metadata__")
    join(path, f'{{"{name}": {json.dumps(header[name])}, {json.dumps(header)[1:]}'.encode(), rest)


def change_tensors(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """The file with other tensors and the same card."""
    from safetensors.torch import load_file, save_file

    found = {name: tensor.clone() for name, tensor in load_file(path).items()}
    about = split(path)[0]["__metadata__"]
    change(found)
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, path, about)


def drop(name: str, found: dict[str, Any]) -> None:
    del found[name]


def shrink(name: str, found: dict[str, Any]) -> None:
    found[name] = found[name].flatten()[:1][None, None]


def add_escapes(found: dict[str, Any]) -> None:
    found[ESCAPES] = next(iter(found.values())).clone()


def fill(path: Path, name: str, value: float) -> None:
    change_tensors(path, lambda found: found[name].fill_(value))


def extend_card(header: dict[str, Any]) -> None:
    card = json.loads(header["__metadata__"]["card"])
    header["__metadata__"]["card"] = json.dumps(card | {ESCAPES: [ESCAPES, {ESCAPES: ESCAPES}], "kind": ESCAPES, "long": "x" * 100_000})


def flip(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(min(len(data), 4000)) if data else 0
        data[at : at + 1] = chance.choice([b"", b"9", b"[", b'"', b"\x1b", b"\xff", b"-", b"e99", bytes([chance.randrange(256)])])
    path.write_bytes(data)
