"""Workspaces, models, records, logs and locks as a stranger might hand them over: each a whole folder with one thing in it spoilt."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hostile_files import (
    ESCAPES,
    GALLERY,
    HUGE,
    LOCK,
    MANIFEST,
    METRICS,
    MODEL,
    OTHERS,
    RECORD,
    SETTINGS,
    SHARD,
    SNAPSHOT,
    WORKSPACE,
    add_escapes,
    announce,
    change_card,
    change_header,
    change_tensors,
    drop,
    extend_card,
    fill,
    flip,
    instead,
    join,
    link_samples,
    outside,
    repeat_name,
    replace_at,
    resize,
    shrink,
    sparse,
)

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


# --- names of files


def shard_names() -> Iterator[Case]:
    """Shards that lie elsewhere."""
    names = ["/etc/passwd", "../../outside/shard.safetensors", "../shard.safetensors", "sub/../shard.safetensors", "", ".", ".."]
    names += ["x" * 5000, "a\0b", "\udcff", "\ud800", "//outside", "~/shard.safetensors", "manifest.json", ESCAPES, "./shard.safetensors/"]
    for name in names:
        yield of(MANIFEST, f"shard {ascii(name)[:40]}", partial(replace_at, MANIFEST, "shard", name), deep=True)
    yield of(MANIFEST, "a whole path", lambda: replace_at(MANIFEST, "shard", str(outside("shard.safetensors"))))


# --- other things in place of files


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


# --- heads of safetensors


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
