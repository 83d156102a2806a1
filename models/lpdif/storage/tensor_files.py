"""The headers of safetensors files: kind, version, card and shapes.

They are checked against the size of the file. Does not load torch.
"""

from __future__ import annotations

import math
import os
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lpdif.errors import ModelError
from lpdif.storage.safe_open import RefusedFile, open_regular
from lpdif.storage.strict_json import Each, Maybe, Number, Shape, Text, Whole, check, parse
from lpdif.text import excerpt

MODEL, SNAPSHOT, SAMPLES, FIELD = "lpdif-model", "lpdif-snapshot", "lpdif-samples", "lpdif-field"
VERSION = {MODEL: 1, SNAPSHOT: 2, SAMPLES: 1, FIELD: 2}
MOST_BYTES = {MODEL: 1 << 30, SNAPSHOT: 1 << 33, SAMPLES: 1 << 31, FIELD: 1 << 36}  # A file has at most so many bytes.
LONGEST_TENSOR_HEADER = 1 << 20  # A header has at most so many bytes.
MOST_PATTERNS = 4096  # A model has at most so many decoders.
MOST_AXES = 8  # A tensor has at most so many axes.

ERRORS: Shape = Each((Number(), None))  # of validation: null where there was nothing to measure
SIZES: Shape = {name: Whole(1, 1 << 20) for name in ("features", "width")} | {"patterns": Whole(1, MOST_PATTERNS)}
CARDS: dict[str, Shape] = {
    MODEL: {"sizes": SIZES, "steps": Maybe(Whole()), "validation": Maybe(ERRORS), "samples": Maybe(Text(64)), "processes": Maybe(Whole(1))},
    SNAPSHOT: {"config": {"features": Whole(1, 1 << 20), "width": Whole(1, 1 << 20)}, "samples": Maybe(Text(64))},
    SAMPLES: {"regions": Maybe(Whole()), "kind": Maybe(Text(16)), "source": Maybe(Text())},
    FIELD: {
        "regions": Whole(),
        "sheets": Whole(),
        "region_sizes": [Number(0)],
        "patterns": Whole(1, MOST_PATTERNS),
        "smooth": Whole(1, MOST_PATTERNS),
        "code_size": Whole(1),
        "width": Whole(1),
    },
}
_BYTES = {"BOOL": 1, "U8": 1, "I8": 1, "F16": 2, "BF16": 2, "I16": 2, "U16": 2, "F32": 4, "I32": 4, "U32": 4, "F64": 8, "I64": 8, "U64": 8}
_TENSOR: Shape = {"dtype": Text(8), "shape": [Whole()], "data_offsets": [Whole()]}


class StoredTensor(NamedTuple):
    """A tensor in a file: its type as safetensors calls it, its shape, and the place of its bytes.

    The place is counted from the end of the header.
    """

    dtype: str
    shape: list[int]
    begin: int
    end: int


class FileHeader(NamedTuple):
    """The header of a file.

    step: the number of training steps in a snapshot; 0 for other files. forms: of its patterns, as stored (in whole files numbers in
    `form_names.FORMS`); none where it has no patterns.
    """

    kind: str
    version: str
    card: dict[str, Any]
    tensors: dict[str, StoredTensor]
    step: int
    forms: list[float]


def read_tensor_header(path: Path, hint: str, kind: str = "", within: Path | None = None) -> FileHeader:
    """The header of a file of this kind, or of any kind of lpdif.

    Raises ModelError, with this hint, where the file is damaged, something else, or outside of `within`; FileNotFoundError where there is none.
    """
    try:
        with open_regular(path, within) as file:
            size = os.fstat(file.fileno()).st_size
            header = _header(file, size)
            about = header.pop("__metadata__", {})
            check(about, Each(Text(LONGEST_TENSOR_HEADER)), "its metadata")
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
            step = _step(file, size, tensors)
            return FileHeader(found, version, card, tensors, step, _forms(file, size, tensors))
    except FileNotFoundError:
        raise
    except RefusedFile as error:
        raise ModelError(f"{path}: {error.strerror}", error.remedy) from None
    except OSError as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error.strerror})", hint) from None
    except ValueError as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})", hint) from None


def _header(file: BinaryIO, size: int) -> dict[str, Any]:
    """The JSON at the beginning of a file, behind eight bytes with its length."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8:
        raise ValueError(f"it has {size} bytes")
    if length > min(size - 8, LONGEST_TENSOR_HEADER):
        raise ValueError(f"its first 8 bytes announce a head of {length:,} bytes, in a file of {size:,}")
    header = parse(file.read(length))
    check(header, {}, "its head")
    return dict(header)


def _tensors(header: dict[str, Any]) -> dict[str, StoredTensor]:
    """The tensors of a header.

    Raises ValueError unless they lie one behind the other and have the sizes of their shapes.
    """
    check(header, Each(_TENSOR), "its head")
    found = {}
    for name, row in header.items():
        if len(row["data_offsets"]) != 2 or len(row["shape"]) > MOST_AXES:
            raise ValueError(f"{excerpt(name)} has {len(row['shape'])} axes and {len(row['data_offsets'])} bounds")
        found[name] = StoredTensor(row["dtype"], row["shape"], *row["data_offsets"])
    end = 0
    for name, tensor in sorted(found.items(), key=lambda item: (item[1].begin, item[1].end)):
        if tensor.dtype not in _BYTES:
            raise ValueError(f"{excerpt(name)} is of type {tensor.dtype}, which lpdif has not")
        need = math.prod(tensor.shape) * _BYTES[tensor.dtype]
        if (tensor.begin, tensor.end) != (end, end + need):
            raise ValueError(f"{excerpt(name)}: expected bytes {end:,} to {end + need:,}, found {tensor.begin:,} to {tensor.end:,}")
        end = tensor.end
    return found


def _step(file: BinaryIO, size: int, tensors: dict[str, StoredTensor]) -> int:
    """The value of the tensor "step"; 0 where there is none.

    Raises ValueError unless the tensors fill the rest of the file.
    """
    there, end = size - file.tell(), max((tensor.end for tensor in tensors.values()), default=0)
    if end != there:
        raise ValueError(f"its tensors take {end:,} bytes, it has {there:,} for them")
    step = tensors.get("step")
    if step is None or (step.dtype, step.shape) != ("I64", []):
        return 0
    file.seek(step.begin, os.SEEK_CUR)
    return int.from_bytes(file.read(8), "little", signed=True)


def _forms(file: BinaryIO, size: int, tensors: dict[str, StoredTensor]) -> list[float]:
    """The values of the tensor "patterns.form"; zeros, which is smooth, for patterns of before there were forms."""
    stored, centroids = tensors.get("patterns.form"), tensors.get("patterns.centroids")
    if stored is None:
        return [0.0] * min(MOST_PATTERNS, centroids.shape[0]) if centroids and centroids.shape else []
    if (stored.dtype, len(stored.shape)) != ("F32", 1) or stored.shape[0] > MOST_PATTERNS:
        return []
    file.seek(size - max(tensor.end for tensor in tensors.values()) + stored.begin)
    return list(struct.unpack(f"<{stored.shape[0]}f", file.read(stored.end - stored.begin)))
