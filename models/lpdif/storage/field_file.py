"""Saves and loads the field of a reconstruction, as one safetensors file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lpdif.core.field import LocalField, RegionCodes
from lpdif.core.forms import ARRANGEMENTS, COUNT_V
from lpdif.core.jets import COEFFICIENTS
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.regions import RegionLattice
from lpdif.device import resolve
from lpdif.errors import ModelError
from lpdif.storage.models import CARD_ERRORS, check_tensors, load_tensors, save_tensors
from lpdif.storage.strict_json import check
from lpdif.storage.tensor_files import CARDS, FIELD

CODE_KEYS = ("origin", "axes", "size", "code", "pattern", "support", "arrangement", "radius", "first")  # of `RegionCodes`, beside its centres


def save_field(path: str | Path, field: LocalField, overwrite: bool = False) -> None:
    """Writes a field as one complete file: its regions, their codes, and the decoders.

    The file is written whole or not at all. Raises UsageError for an output that exists already, is a link or cannot be written; ResourceError
    where the disk is full.
    """
    tensors = field_tensors(field.lattices, field.codes, field.decoder, torch.tensor(field.origin))
    card = {
        "regions": len(field.codes.center),
        "sheets": len(field.codes.code),
        "region_sizes": [lattice.size for lattice in field.lattices],
        "patterns": field.decoder.patterns,
        "smooth": field.decoder.smooth,
        "code_size": field.codes.code.shape[1],
        "width": field.decoder.width,
    }
    save_tensors(Path(path), FIELD, tensors, card, overwrite)


def field_tensors(lattices: list[RegionLattice], codes: RegionCodes, decoder: MultiDecoder, origin: Tensor) -> dict[str, Tensor]:
    """All tensors of a field, by name. Its regions (R,) lie in L lattices, one lattice after the other."""
    return {
        "origin": origin,
        "lattices.size": torch.tensor([lattice.size for lattice in lattices], dtype=torch.float64),
        "lattices.first": torch.tensor([lattice.first for lattice in lattices], dtype=torch.int64),
        "lattices.count": torch.tensor([len(lattice.keys) for lattice in lattices], dtype=torch.int64),
        "lattices.keys": torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *(lattice.keys for lattice in lattices)])),
        "codes.center": torch.from_numpy(codes.center),
        **{f"codes.{name}": getattr(codes, name) for name in CODE_KEYS},
        **{f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()},
    }


def load_field(path: str | Path, device: str = "auto") -> LocalField:
    """The field that `save_field` has written.

    On the same machine and device its `sdf` is the same, bit for bit. Raises ModelError, with what was expected and what was found, for a
    damaged file and for anything else.
    """
    path, on = Path(path), resolve(device)
    hint = "the file is damaged; save the field again"
    state, card = load_tensors(path, FIELD)
    try:
        check(card, CARDS[FIELD], "its card")
        if card["smooth"] > card["patterns"]:
            raise ValueError(f"{card['smooth']} of {card['patterns']} patterns are smooth")
        with torch.device("meta"):  # shapes alone: what a damaged card says is never allocated
            decoder = MultiDecoder(card["patterns"], card["code_size"], card["width"], card["smooth"])
            keys = len(state.get("lattices.keys", torch.empty(0)))
            expected = expected_field(decoder, card["code_size"], card["regions"], card["sheets"], len(card["region_sizes"]), keys)
    except CARD_ERRORS as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(f"{path}: expected the sizes of a field in its card, found {json.dumps(card):.80} ({why})", hint) from None
    check_tensors(path, state, expected, hint)
    for name, wanted in impossible_field_values(state, card["region_sizes"], decoder.patterns):
        raise ModelError(f"{path}: {name}: expected {wanted}", hint)
    decoder.load_state_dict({name: state[f"decoder.{name}"] for name in decoder.state_dict()}, assign=True)
    codes = RegionCodes(state["codes.center"].numpy(), **{name: state[f"codes.{name}"].to(on) for name in CODE_KEYS})
    return LocalField(field_lattices(state), codes, decoder.to(on).eval().requires_grad_(False), state["origin"].numpy())


def expected_field(decoder: MultiDecoder, code_size: int, regions: int, sheets: int, lattices: int, keys: int) -> dict[str, Tensor]:
    """Tensors without data, with the names, shapes and types of `field_tensors`."""
    double, whole = torch.float64, torch.int64
    return {
        "origin": torch.empty(3, dtype=double),
        "lattices.size": torch.empty(lattices, dtype=double),
        "lattices.first": torch.empty(lattices, dtype=whole),
        "lattices.count": torch.empty(lattices, dtype=whole),
        "lattices.keys": torch.empty(keys, dtype=whole),
        "codes.center": torch.empty(regions, 3, dtype=double),
        "codes.origin": torch.empty(sheets, 3),
        "codes.axes": torch.empty(sheets, 3, 3),
        "codes.size": torch.empty(regions),
        "codes.code": torch.empty(sheets, code_size),
        "codes.pattern": torch.empty(regions, dtype=whole),
        "codes.support": torch.empty(regions),
        "codes.arrangement": torch.empty(regions, dtype=whole),
        "codes.radius": torch.empty(regions),
        "codes.first": torch.empty(regions, dtype=whole),
        **{f"decoder.{name}": tensor for name, tensor in decoder.state_dict().items()},
    }


def field_lattices(state: dict[str, Tensor]) -> list[RegionLattice]:
    """The lattices of a field, from its tensors."""
    found = []
    end = 0
    for size, first, count in zip(*(state[f"lattices.{name}"].tolist() for name in ("size", "first", "count")), strict=True):
        keys = state["lattices.keys"][end : end + count].numpy()
        found.append(RegionLattice(size, keys, first))
        end += count
    return found


def impossible_field_values(state: dict[str, Tensor], region_sizes: list[float], patterns: int) -> Iterator[tuple[str, str]]:
    """The names of tensors whose numbers no field can have, and what was expected of each.

    Each check relies on those before it.
    """
    size, first, count, keys = (state[f"lattices.{name}"] for name in ("size", "first", "count", "keys"))
    regions = len(state["codes.center"])
    if bool((size <= 0).any()) or not region_sizes == size.tolist() == sorted(size.tolist()):
        yield "lattices.size", f"the sizes of the card, the smallest first: {region_sizes}"
    if bool(((count < 0) | (count > regions)).any()) or int(count.sum()) != len(keys):
        yield "lattices.count", f"numbers of regions, {len(keys)} together"
    if bool(((first < 0) | (first > regions - count)).any()):
        yield "lattices.first", f"numbers among those of {regions} regions"
    if bool((keys < 0).any()) or any((np.diff(lattice.keys) <= 0).any() for lattice in field_lattices(state)):
        yield "lattices.keys", "sorted keys for each lattice"
    if bool((state["codes.size"] <= 0).any()):
        yield "codes.size", "positive numbers"
    if state["codes.code"].shape[1] < COEFFICIENTS:
        yield "codes.code", f"codes of at least {COEFFICIENTS} numbers"
    if bool(((state["codes.pattern"] < 0) | (state["codes.pattern"] >= patterns)).any()):
        yield "codes.pattern", f"numbers of {patterns} patterns"
    arrangement = state["codes.arrangement"]
    if bool(((arrangement < 0) | (arrangement >= len(ARRANGEMENTS))).any()):
        yield "codes.arrangement", f"numbers of {len(ARRANGEMENTS)} arrangements"
    else:
        count = COUNT_V[arrangement]
        if int(count.sum()) != len(state["codes.code"]) or not torch.equal(state["codes.first"], count.cumsum(0) - count):
            yield "codes.first", "the first sheet of each region, one region behind the other"
    if bool((state["codes.radius"] <= 0).any()):
        yield "codes.radius", "positive numbers"
    if bool(((state["codes.support"] < 0) | (state["codes.support"] > 1)).any()):
        yield "codes.support", "numbers from 0 to 1"
