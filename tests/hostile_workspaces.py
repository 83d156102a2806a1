"""Workspaces, models, records, logs and locks as a stranger might hand them over: each a whole folder with one thing in it spoilt."""

from __future__ import annotations

import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
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

FIT, RESUME, PLAN = ("fit", "--overwrite"), ("fit", "--resume"), ("fit", "--resume", "--dry-run")
CLUSTER, INSPECT = ("cluster", "--overwrite"), ("inspect", str(WORKSPACE))
PREPROCESS = ("preprocess", "scans", "--overwrite")
MESH = ("reconstruct", "scans/ball.ply", "-o", "mesh.ply")
BATCH = ("reconstruct", "scans", "-o", "out", "--model", "bundled")
# the commands that read or write each file
USERS: dict[Path, tuple[tuple[str, ...], ...]] = {
    MANIFEST: (FIT, CLUSTER, INSPECT),
    SHARD: (FIT, CLUSTER, ("inspect", str(SHARD))),
    MODEL: (MESH, INSPECT, ("inspect", str(MODEL)), (*MESH, "--model", str(MODEL))),
    SNAPSHOT: (RESUME, PLAN, CLUSTER, INSPECT, ("inspect", str(SNAPSHOT))),
    METRICS: (INSPECT, ("inspect", str(METRICS)), RESUME),
    GALLERY: (CLUSTER,),
    LOCK: (FIT, CLUSTER, PREPROCESS),
    RECORD: (BATCH,),
    SETTINGS: (INSPECT, MESH),
}
REFUSED = frozenset({3, 4, 5, 6})
# beside REFUSED: an output of which the name is taken is a usage error, what may be made anew or does not count is passed over, and what was
# made otherwise fails in a batch
ALSO: dict[tuple[Path, str], frozenset[int]] = {
    **{(path, command): frozenset({2}) for path in (SNAPSHOT, MODEL, GALLERY) for command in ("fit", "cluster")},
    **{(METRICS, command): frozenset({0, 2}) for command in ("fit", "cluster")},
    (LOCK, "fit"): frozenset({0}),
    (LOCK, "cluster"): frozenset({0}),
    (LOCK, "preprocess"): frozenset({0}),
    (RECORD, "reconstruct"): frozenset({0, 2, 7}),
}


@dataclass(frozen=True)
class Case:
    """What is done to a whole folder, the commands that meet it, whether they may also find that nothing is wrong with it, and whether it is
    so deep in a file that those which look at its head alone find that."""

    name: str
    spoil: Callable[[], None]
    commands: tuple[tuple[str, ...], ...]
    path: Path
    harmless: bool = False
    deep: bool = False
    shown: bool = False  # a hard link is the file itself: what is in it may be shown

    def allowed(self, words: tuple[str, ...]) -> frozenset[int]:
        """The exit codes with which a command may end."""
        more = {0, 2, 7} if self.harmless else {0} if self.deep and (words[0] == "inspect" or "--dry-run" in words) else set()
        return REFUSED | ALSO.get((self.path, words[0]), frozenset()) | more


def cases() -> Iterator[Case]:
    """All of them, in an order that depends on nothing."""
    yield from texts()
    yield from wrong_types()
    yield from shard_names()
    yield from replaced()
    yield from heads()
    yield from tensors()
    yield from escapes()
    yield from settings()
    yield from flipped()


def of(path: Path, name: str, spoil: Callable[[], object], harmless: bool = False, deep: bool = False) -> Case:
    return Case(f"{path.name}: {name}", lambda: void(spoil()), USERS[path], path, harmless, deep)


def void(_: object) -> None:
    """Nothing, of anything."""


def put(path: Path, data: bytes) -> Callable[[], object]:
    return lambda: path.write_bytes(data)


# --- JSON and TOML as texts


def texts() -> Iterator[Case]:
    """Contents that a parser may stumble over."""
    bad = {
        "empty": b"",
        "zeros": bytes(1000),
        "no text": b"\xff\xfe\xfa",
        "deep lists": b"[" * 200_000,
        "deep objects": b'{"kept":' * 100_000 + b"1" + b"}" * 100_000,
        "deeper than allowed": b'{"kept": ' + b"[" * 50 + b"]" * 50 + b"}",
        "a million lists": b"[" + b"[]," * 1_100_000 + b"1]",
        "a bare number": b"1e999",
        "digits": b'{"kept": ' + b"9" * 6000 + b"}",
        "twice": b'{"kept": [], "kept": [], "meshes": {}, "meshes": {}}',
        "no number": b'{"kept": [], "left_out": [NaN, Infinity], "seconds": NaN, "meshes": NaN}',
        "too large": b'{"kept": [], "left_out": [1e999], "seconds": 1e999, "meshes": 1e999}',
    }
    for path in (MANIFEST, METRICS, RECORD, LOCK):
        for name, data in bad.items():
            yield of(path, name, put(path, data), harmless=path == METRICS and name == "empty")
    for path in (MANIFEST, METRICS, RECORD, LOCK, MODEL, SNAPSHOT, SHARD, SETTINGS):
        yield of(path, "a terabyte", partial(sparse, path, HUGE))


def sparse(path: Path, size: int, head: bytes = b"") -> None:
    """A file of this size that takes no room."""
    path.unlink(missing_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)


# --- shapes of JSON


ODD: tuple[object, ...] = (None, True, -7, 10**30, 1.5, "x", [], {}, ["x"], {"x": 1}, "\ud800", "\0")


def wrong_types() -> Iterator[Case]:
    """Another type at every key of what is kept as JSON."""
    for path in (MANIFEST, RECORD):
        for number, odd in enumerate(ODD):
            for place in ("", "kept", "meshes", "row", "shard", "regions", "source", "path", "settings", "scan", "mesh", "model"):
                if (path == MANIFEST) == (place in ("kept", "shard", "regions", "source", "path")) or place in ("", "row"):
                    text = isinstance(odd, str)
                    loose = text and place in ("source", "path")  # where any text is right
                    yield of(
                        path,
                        f"{place or 'all'} is odd {number}",
                        partial(replace_at, path, place, odd),
                        loose,
                        deep=place == "shard" or (place == "kept" and odd == []),
                    )
    for number, odd in enumerate(ODD):
        for path, name in (
            (SNAPSHOT, "config"),
            (SNAPSHOT, "features"),
            (SNAPSHOT, "patterns"),
            (SNAPSHOT, "seed"),
            (SNAPSHOT, "learning_rate"),
        ):
            yield of(
                path, f"card.{name} is odd {number}", partial(change_card, path, name, odd), odd in (1.5, -7) and name != "config", deep=True
            )
        for name in ("sizes", "width", "validation"):
            yield of(
                MODEL,
                f"card.{name} is odd {number}",
                partial(change_card, MODEL, name, odd),
                name == "validation" and odd in ({}, {"x": 1}),
                deep=True,
            )
        yield of(SHARD, f"card.regions is odd {number}", partial(change_card, SHARD, "regions", odd), deep=True)


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


# --- names of files


def shard_names() -> Iterator[Case]:
    """Shards that lie elsewhere."""
    names = ["/etc/passwd", "../../outside/shard.safetensors", "../shard.safetensors", "sub/../shard.safetensors", "", ".", ".."]
    names += ["x" * 5000, "a\0b", "\udcff", "\ud800", "//outside", "~/shard.safetensors", "manifest.json", ESCAPES, "./shard.safetensors/"]
    for name in names:
        yield of(MANIFEST, f"shard {ascii(name)[:40]}", partial(replace_at, MANIFEST, "shard", name), deep=True)
    yield of(MANIFEST, "a whole path", lambda: replace_at(MANIFEST, "shard", str(outside("shard.safetensors"))))


# --- other things in place of files


def outside(name: str = "") -> Path:
    """The folder next to the one with everything in it; nothing in it is to be opened."""
    return Path.cwd().parent / "outside" / name


def replaced() -> Iterator[Case]:
    """Links, pipes, sockets, devices and folders where a file is expected."""
    for path in (MANIFEST, SHARD, MODEL, SNAPSHOT, METRICS, GALLERY, LOCK, RECORD, SETTINGS):
        for name, make in OTHERS.items():
            if path == SETTINGS and "link" in name:  # the user's own file, which may be a link
                continue
            # what is not there, or is there once more under another name, is no fault of itself
            harmless = name in ("a dangling link", "a link to itself") or (name == "a hard link" and path != LOCK)
            case = of(path, name, partial(instead, path, make), harmless or (path == METRICS))
            # a file that is named by itself may be a link: it is the user's wish to see what is behind it
            followed = {words for words in case.commands if "out" in name and str(path) in words}
            yield replace(case, commands=tuple(words for words in case.commands if words not in followed), shown=name == "a hard link")
    yield Case("samples: a link out", link_samples, (FIT, PREPROCESS, INSPECT), MANIFEST)
    yield Case("workspace: a pipe", lambda: instead(WORKSPACE, lambda path, _: os.mkfifo(path)), (FIT, CLUSTER, PREPROCESS, INSPECT), MANIFEST)


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
if hasattr(os, "geteuid") and os.geteuid() == 0:
    OTHERS["a device"] = lambda path, _: os.mknod(path, 0o020666, os.makedev(1, 5))


# --- heads of safetensors


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


def heads() -> Iterator[Case]:
    """Headers that lie, of each kind of file."""

    def first(header: dict[str, Any]) -> dict[str, Any]:
        row: dict[str, Any] = next(value for name, value in header.items() if name != "__metadata__")
        return row

    changes: dict[str, Callable[[dict[str, Any]], object]] = {
        "an offset beyond the end": lambda header: first(header).update(data_offsets=[0, 2**62]),
        "an offset below zero": lambda header: first(header).update(data_offsets=[-8, 0]),
        "three offsets": lambda header: first(header).update(data_offsets=[0, 1, 2]),
        "a shape of 2^124": lambda header: first(header).update(shape=[2**62, 2**62]),
        "many axes": lambda header: first(header).update(shape=[2**62] * 20_000),
        "a shape below zero": lambda header: first(header).update(shape=[-1]),
        "a shape in words": lambda header: first(header).update(shape="large"),
        "a type that is none": lambda header: first(header).update(dtype="F31"),
        "a tensor in words": lambda header: header.update(more="x"),
        "endless and empty": lambda header: header.update(more={"dtype": "F32", "shape": [2**40, 0], "data_offsets": [0, 0]}),
        "no metadata": lambda header: header.pop("__metadata__"),
        "metadata in numbers": lambda header: header["__metadata__"].update(kind=3),
        "a kind that is none": lambda header: header["__metadata__"].update(kind=ESCAPES),
        "a version that is none": lambda header: header["__metadata__"].update(version="2" + ESCAPES),
        "a deep card": lambda header: header["__metadata__"].update(card="[" * 100_000),
        "a card with 1e999": lambda header: header["__metadata__"].update(card='{"sizes": 1e999, "config": 1e999, "regions": 1e999}'),
        "no card": lambda header: header["__metadata__"].pop("card"),
        "a list as card": lambda header: header["__metadata__"].update(card="[]"),
    }
    for path in (MODEL, SNAPSHOT, SHARD):
        for name, change in changes.items():
            deep = name in ("a version that is none", "endless and empty")  # inspect tells of any
            yield of(path, name, partial(change_header, path, change), deep=deep)
        for length in (0, 1, 2**20 + 1, 10**12, 2**63, 2**64 - 1):
            yield of(path, f"a head of {length} bytes", partial(announce, path, length))
        yield of(path, "a deep head", partial(join, path, b'{"a":' * 150_000, b""))
        yield of(path, "a name twice", partial(repeat_name, path))
        yield of(path, "cut off", partial(resize, path, -7))
        yield of(path, "more at the end", partial(resize, path, 4))


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


# --- numbers in tensors


def tensors() -> Iterator[Case]:
    """Tensors that are missing, of another shape or type, or hold numbers that cannot be."""
    spoilt: dict[Path, dict[str, tuple[float, ...]]] = {
        MODEL: {"decoder.out.bias": (float("nan"), float("inf")), "patterns.centroids": (float("nan"),)},
        SNAPSHOT: {
            "step": (-1, 2**62, -(2**63)),
            "pattern": (-1, 99, 2**62),
            "weight": (-1.0, float("nan")),
            "seen": (0,),
            "bank": (float("inf"), 3e38),
            "networks.decoder.out.bias": (float("nan"), 3e38),
            "adam.decoder.out.bias.step": (-1.0,),
            "adam.decoder.out.bias.exp_avg_sq": (-1.0,),
            "patterns.projection": (float("nan"), 3e38),
        },
        SHARD: {"counts": (-1, 10**6, 2**62), "sdf": (float("nan"), 3e38), "queries": (float("inf"),), "points": (float("nan"),)},
    }
    for path, names in spoilt.items():
        for name, values in names.items():
            for value in values:
                # numbers that a fit may have, however absurd
                loose = value in (3e38, 2**62) and name != "counts" and name != "pattern"
                yield of(path, f"{name} is {value:g}", partial(fill, path, name, value), loose, deep=True)
            yield of(path, f"no {name}", partial(change_tensors, path, partial(drop, name)), deep=True)
            yield of(path, f"{name} of one number", partial(change_tensors, path, partial(shrink, name)), deep=True)
    yield of(
        SHARD,
        "no regions",
        lambda: change_tensors(SHARD, lambda found: found.update({name: part[:0] for name, part in found.items()})),
        deep=True,
    )
    yield of(
        SHARD,
        "regions of no points",
        lambda: change_tensors(SHARD, lambda found: found.update({n: found[n][:, :0] for n in ("points", "normals")})),
        deep=True,
    )


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


# --- terminals


def escapes() -> Iterator[Case]:
    """Escape sequences and marks of direction in everything that might be shown."""
    for place in ("source", "path"):
        yield of(MANIFEST, f"escapes in {place}", partial(replace_at, MANIFEST, place, ESCAPES), harmless=True)
    yield Case(
        "manifest.json: escapes in the name of a lost scan", lambda: replace_at(MANIFEST, "source", ESCAPES), (PREPROCESS[:2],), MANIFEST, True
    )
    yield of(METRICS, "escapes in a row", put(METRICS, json.dumps({ESCAPES: ESCAPES, "seconds": 1}).encode()), harmless=True)
    yield of(METRICS, "a row of escapes", put(METRICS, json.dumps({"seconds": ESCAPES}).encode()))
    yield of(LOCK, "escapes", put(LOCK, json.dumps({"pid": 1, "host": ESCAPES, "command": ESCAPES}).encode()))
    for path, name in ((MODEL, "validation"), (SNAPSHOT, "config"), (SHARD, "source")):
        yield of(path, f"escapes in {name} of the card", partial(change_card, path, name, {ESCAPES: ESCAPES}), harmless=True, deep=True)
        yield of(path, "a tensor of escapes", partial(change_tensors, path, add_escapes), harmless=path == SHARD, deep=True)
    yield of(MODEL, "a card of escapes", lambda: change_header(MODEL, extend_card), harmless=True)
    yield of(RECORD, "escapes in the settings", lambda: replace_at(RECORD, "settings", {ESCAPES: ESCAPES}))
    yield of(SETTINGS, "escapes", put(SETTINGS, f'"{ESCAPES.encode("unicode_escape").decode()}" = 1'.replace("\\x", "\\u00").encode()))


def extend_card(header: dict[str, Any]) -> None:
    card = json.loads(header["__metadata__"]["card"])
    header["__metadata__"]["card"] = json.dumps(card | {ESCAPES: [ESCAPES, {ESCAPES: ESCAPES}], "kind": ESCAPES, "long": "x" * 100_000})


# --- settings


def settings() -> Iterator[Case]:
    """Files of settings that are none."""
    bad = {
        "deep": b"a = " + b"[" * 16_000,
        "deep enough": b"[fit]\npatterns = " + b"[" * 60 + b"]" * 60,
        "dotted": b"fit.patterns" + b".a" * 8_000 + b" = 1",
        "digits": b"threads = " + b"9" * 5000,
        "hexadecimal digits": b"threads = 0x" + b"f" * 16_000,
        "400 digits": b"threads = 1" + b"0" * 400,
        "400 digits of a length": b"[reconstruct]\nresolution = 1" + b"0" * 400,
        "400 digits of a place": b"[reconstruct]\nsensor = [0, 0, 1" + b"0" * 400 + b"]",
        "infinity": b"[reconstruct]\nresolution = inf",
        "1e999": b"[reconstruct]\nregion_size = 1e999",
        "nan": b"[fit]\nlearning_rate = nan",
        "no text": b"\xff\xfe",
        "a zero in a name": b'workspace = "a\\u0000b"',
        "long": b"# " + b"x" * (1 << 17),
    }
    for name, data in bad.items():
        yield of(SETTINGS, name, put(SETTINGS, data))


# --- chance


def flipped(count: int = 60, seed: int = 7) -> Iterator[Case]:
    """Bytes changed at random, in headers and texts."""
    chance = random.Random(seed)
    for number in range(count):
        path = chance.choice([MANIFEST, SHARD, MODEL, SNAPSHOT, METRICS, RECORD, LOCK])
        state = chance.getrandbits(64)
        yield of(path, f"flipped {number}", partial(flip, path, state), harmless=True)


def flip(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(min(len(data), 4000)) if data else 0
        data[at : at + 1] = chance.choice([b"", b"9", b"[", b'"', b"\x1b", b"\xff", b"-", b"e99", bytes([chance.randrange(256)])])
    path.write_bytes(data)
