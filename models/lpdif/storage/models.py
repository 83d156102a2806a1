"""Saves and loads models, in safetensors files with JSON in their headers (no pickle)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lpdif.core.encoder import Encoder
from lpdif.core.forms import Gate
from lpdif.core.model import Model, Networks
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.patterns import Patterns, forms_fit, pattern_tensors, read_patterns
from lpdif.errors import ModelError
from lpdif.storage.atomic_write import write_bytes
from lpdif.storage.safe_open import file_identity
from lpdif.storage.strict_json import check, dump
from lpdif.storage.tensor_files import CARDS, FIELD, MODEL, VERSION, read_tensor_header
from lpdif.storage.workspace import BUNDLED_MODEL, Workspace
from lpdif.text import counted

CARD_ERRORS = (KeyError, ValueError, TypeError, ArithmeticError, RuntimeError)  # what impossible sizes in a card lead to


def save_tensors(path: Path, kind: str, tensors: dict[str, Tensor], card: dict[str, Any], overwrite: bool = True) -> None:
    """Writes a safetensors file with its kind, version and card in the header.

    Atomic: a reader sees the old file or the new one.
    """
    about = {"kind": kind, "version": str(VERSION[kind]), "card": dump(card, sort_keys=True)}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_bytes(path, sort_header_keys(save(whole, about)), overwrite)


def sort_header_keys(data: bytes) -> bytes:
    """A safetensors file with the keys of its header sorted.

    The library writes those of the metadata in random order.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(data)[end:]])


def load_tensors(path: Path, kind: str, within: Path | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the card of a file of this kind.

    Raises ModelError where it is something else, or lies outside of `within`.
    """
    made = "a field with `lpdif.save_field`" if kind == FIELD else "a model with `lpdif fit`"
    hint = f"lpdif reads only its own safetensors files; make {made}"
    if path.is_dir():
        inside = Workspace(path).model
        raise ModelError(f"{path}: a folder, not a file", f"name the file in it: {inside}" if inside.is_file() else hint)
    try:
        before = file_identity(path.stat())
        head = read_tensor_header(path, hint, kind, within)
        place = path.resolve()
        with safe_open(place, "pt") as file:  # which opens the name again
            tensors = {name: file.get_tensor(name) for name in head.tensors}
        if file_identity(place.stat()) != before:
            raise ModelError(f"{path}: was replaced while it was read", "run lpdif again when nothing writes it")
        return tensors, head.card
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file", hint) from None
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})", hint) from None


def save_model(path: Path, model: Model) -> None:
    """Writes a model, with the tensors of its networks and patterns in float32.

    The sizes of the networks are in the card.
    """
    networks = model.networks
    sizes = {"features": networks.encoder.features, "width": networks.decoder.width, "patterns": networks.decoder.patterns}
    save_tensors(path, MODEL, model_tensors(model), {**model.card, "sizes": sizes})


def model_tensors(model: Model) -> dict[str, Tensor]:
    """All tensors of a model, by name."""
    return {k: v.float() for k, v in model.networks.state_dict().items()} | pattern_tensors(model.patterns)


def load_model(path: Path | None = None) -> Model:
    """The model in a file, or the one that ships with lpdif.

    Raises ModelError for a damaged file and for anything else.
    """
    path = path or BUNDLED_MODEL
    tensors, card = load_tensors(path, MODEL)
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32 or not bool(torch.isfinite(tensor).all()):
            raise ModelError(
                f"{path}: {name} holds values that are not finite single-precision numbers",
                "the file is damaged or its training diverged; fit again",
            )
    try:
        check(card, CARDS[MODEL], "its card")
        sizes = card["sizes"]
        with torch.device("meta"):  # shapes alone: the sizes in a damaged card must not be allocated
            encoder = Encoder(sizes["features"])
            networks = Networks(encoder, MultiDecoder(sizes["patterns"], encoder.code_size, sizes["width"]), Gate())
        if not any(name.startswith("gate.") for name in tensors):  # a model of before there were forms: all of its regions are smooth
            tensors |= {f"gate.{name}": tensor for name, tensor in Gate().state_dict().items()}
        if not any(name.startswith("sheet_encoder.") for name in tensors):  # of before sheets had an encoder of their own
            tensors |= {f"sheet_{name}": tensor.clone() for name, tensor in tensors.items() if name.startswith("encoder.")}
        networks.load_state_dict({k: v for k, v in tensors.items() if not k.startswith("patterns.")}, assign=True)
        patterns = read_patterns(tensors)
    except CARD_ERRORS as error:
        raise ModelError(f"{path}: its tensors do not fit its card ({str(error).splitlines()[0]})", "the file is damaged; fit again") from None
    if patterns is None or not patterns_fit(patterns, networks.decoder.patterns, encoder.code_size):
        decoders = counted(networks.decoder.patterns, "decoder")
        raise ModelError(f"{path}: patterns do not match its {decoders}", "the file is damaged; fit again")
    networks.decoder.smooth = patterns.smooth
    return Model(networks.eval().requires_grad_(False), patterns, card)


def patterns_fit(patterns: Patterns, count: int, code_size: int) -> bool:
    """Whether there are `count` patterns, at least one, of codes of that size."""
    dimensions = patterns.whitening.projection.shape[-1]
    parts = (*patterns.whitening, patterns.centroids, patterns.form)
    shapes = [(code_size,), (code_size, dimensions), (count, dimensions), (count,)]
    return count > 0 and [(*part.shape,) for part in parts] == shapes and forms_fit(patterns)


def check_tensors(path: Path, state: dict[str, Tensor], expected: dict[str, Tensor], hint: str) -> None:
    """Raises ModelError unless the state has just the expected names, shapes, types and finite numbers."""
    for name in sorted(expected | state):
        wanted, found = shape_and_type(expected.get(name)), shape_and_type(state.get(name))
        if wanted != found:
            raise ModelError(f"{path}: {name}: expected {wanted}, found {found}", hint)
        if not bool(torch.isfinite(state[name]).all()):
            raise ModelError(f"{path}: {name}: expected finite numbers, found {state[name][~state[name].isfinite()][0]}", hint)


def shape_and_type(tensor: Tensor | None) -> str:
    """The shape and type of a tensor, for a message."""
    return "no such tensor" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
