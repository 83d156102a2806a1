"""Safetensors files by their heads: kinds, versions, cards and shapes, checked against the file's size before a tensor is read. No torch."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lpdif.errors import ModelError
from lpdif.storage.safe_open import open_regular
from lpdif.storage.strict_json import Each, Maybe, Number, Shape, Text, Whole, check, parse
from lpdif.text import excerpt

MODEL, SNAPSHOT, SAMPLES, FIELD = "lpdif-model", "lpdif-snapshot", "lpdif-samples", "lpdif-field"
VERSION = {MODEL: 1, SNAPSHOT: 1, SAMPLES: 1, FIELD: 1}
MOST_BYTES = {MODEL: 1 << 30, SNAPSHOT: 1 << 33, SAMPLES: 1 << 31, FIELD: 1 << 36}  # of a file
LONGEST_HEADER = 1 << 20
MOST_PATTERNS = 4096
MOST_AXES = 8  # of a tensor

ERRORS: Shape = Each((Number(), None))  # of validation: null where there was nothing to measure
SIZES: Shape = {name: Whole(1, 1 << 20) for name in ("features", "width")} | {"patterns": Whole(1, MOST_PATTERNS)}
CARDS: dict[str, Shape] = {
    MODEL: {"sizes": SIZES, "steps": Maybe(Whole()), "validation": Maybe(ERRORS)},
    SNAPSHOT: {"config": {"features": Whole(1, 1 << 20), "width": Whole(1, 1 << 20)}},
    SAMPLES: {"regions": Maybe(Whole()), "kind": Maybe(Text(16)), "source": Maybe(Text())},
    FIELD: {"regions": Whole(), "region_sizes": [Number(0)], "patterns": Whole(1, MOST_PATTERNS), "code_size": Whole(1), "width": Whole(1)},
}
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "F32": 4, "I32": 4, "U32": 4, "F64": 8, "I64": 8, "U64": 8}
_TENSOR: Shape = {"dtype": Text(8), "shape": [Whole()], "data_offsets": [Whole()]}


class Stored(NamedTuple):
    """A tensor in a file: its type in safetensors' words, its shape, and where its bytes lie after the head."""

    dtype: str
    shape: list[int]
    begin: int
    end: int


class Head(NamedTuple):
    """What a file says of itself; `step` is the number of that name, which snapshots have, or 0."""

    kind: str
    version: str
    card: dict[str, Any]
    tensors: dict[str, Stored]
    step: int


def read_head(path: Path, hint: str, kind: str = "", within: Path | None = None) -> Head:
    """The head of a file of this kind, or of any of lpdif's, which has to lie in the folder `within`.

    Raises ModelError, with this hint, where it is damaged or something else, and FileNotFoundError where there is none.
    """
    try:
        with open_regular(path, within) as file:
            size = os.fstat(file.fileno()).st_size
            header = _header(file, size)
            about = header.pop("__metadata__", {})
            check(about, Each(Text(LONGEST_HEADER)), "its metadata")
            found, version = about.get("kind", ""), about.get("version", "?")
            if found not in VERSION or (kind and found != kind):
                what = excerpt(found) or "a safetensors file of another program"
                raise ModelError(f"{path}: expected {kind or 'a file of lpdif'}, found {what}", hint)
            if kind and version != str(VERSION[kind]):
                what = f"expected version {VERSION[kind]} of {kind}, found {excerpt(version)}"
                raise ModelError(f"{path}: {what}", "use the lpdif that wrote it")
            if size > MOST_BYTES[found]:
                raise ValueError(f"{size / 1e9:,.1f} GB, more than the {MOST_BYTES[found] / 1e9:,.1f} that such a file may have")
            tensors = _tensors(header)
            card = parse(about.get("card", ""))
            check(card, {}, "its card")
            return Head(found, version, card, tensors, _step(file, size, tensors))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error.strerror})", hint) from None
    except ValueError as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})", hint) from None


def _header(file: BinaryIO, size: int) -> dict[str, Any]:
    """The JSON at the beginning, and its length in front of it."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8:
        raise ValueError(f"it has {size} bytes")
    if length > min(size - 8, LONGEST_HEADER):
        raise ValueError(f"its first 8 bytes announce a head of {length:,} bytes, in a file of {size:,}")
    header = parse(file.read(length))
    check(header, {}, "its head")
    return dict(header)


def _tensors(header: dict[str, Any]) -> dict[str, Stored]:
    """The tensors of a header, which lie one after the other."""
    check(header, Each(_TENSOR), "its head")
    found = {}
    for name, row in header.items():
        if len(row["data_offsets"]) != 2 or len(row["shape"]) > MOST_AXES:
            raise ValueError(f"{excerpt(name)} has {len(row['shape'])} axes and {len(row['data_offsets'])} bounds")
        found[name] = Stored(row["dtype"], row["shape"], *row["data_offsets"])
    end = 0
    for name, tensor in sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.dtype not in _BYTES:
            raise ValueError(f"{excerpt(name)} is of type {tensor.dtype}, which lpdif has not")
        need = math.prod(tensor.shape) * _BYTES[tensor.dtype]
        if (tensor.begin, tensor.end) != (end, end + need):
            raise ValueError(f"{excerpt(name)}: expected bytes {end:,} to {end + need:,}, found {tensor.begin:,} to {tensor.end:,}")
        end = tensor.end
    return found


def _step(file: BinaryIO, size: int, tensors: dict[str, Stored]) -> int:
    """The number "step", after a look at whether the tensors fill the rest of the file, at whose beginning it stands."""
    there, end = size - file.tell(), max((tensor.end for tensor in tensors.values()), default=0)
    if end != there:
        raise ValueError(f"its tensors take {end:,} bytes, it has {there:,} for them")
    step = tensors.get("step")
    if step is None or (step.dtype, step.shape) != ("I64", []):
        return 0
    file.seek(step.begin, os.SEEK_CUR)
    return int.from_bytes(file.read(8), "little", signed=True)
