"""Loads the snapshot of a fit, and refuses one that no fit has written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lpdif.core.optimizer import expected_state
from lpdif.core.patterns import forms_fit, read_patterns
from lpdif.errors import ModelError
from lpdif.form_names import FORMS
from lpdif.storage.models import CARD_ERRORS, check_tensors, load_tensors
from lpdif.storage.strict_json import check
from lpdif.storage.tensor_files import CARDS, SNAPSHOT, read_tensor_header


def load_snapshot(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The snapshot of a fit: the state of its optimizer (`Optimizer.tensors`), and its settings.

    Raises ModelError, with what was expected and what was found, where the state is not that of a fit with these settings.
    """
    hint = "the file is damaged or its training diverged; start anew: lpdif fit --overwrite"
    state, card = load_tensors(path, SNAPSHOT)
    none = torch.empty(0)
    try:
        check(card, CARDS[SNAPSHOT], "its card")
        config = dict(card["config"])
        count, dimensions, *_ = (*state.get("patterns.centroids", none).shape, 0, 0)
        expected = expected_state(config["features"], config["width"], len(state.get("bank", none)), count, dimensions)
    except CARD_ERRORS as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ModelError(f"{path}: expected the settings of a fit in its card, found {json.dumps(card):.80} ({why})", hint) from None
    check_tensors(path, state, expected, hint)
    for name, wanted in impossible_values(state, max(1, count)):
        raise ModelError(f"{path}: {name}: expected {wanted}", hint)
    return state, config


def samples_of_snapshot(path: Path) -> str:
    """The identity of the samples that a snapshot was made from; "" where it is older than these."""
    hint = "it is damaged; start anew: lpdif fit --overwrite"
    return str(read_tensor_header(path, hint, SNAPSHOT).card.get("samples", ""))


def impossible_values(state: dict[str, Tensor], patterns: int) -> Iterator[tuple[str, str]]:
    """The names of tensors whose numbers no fit can have, and what was expected of each."""
    if int(state["step"]) < 0:
        yield "step", "a number of steps"
    if bool(((state["pattern"] < 0) | (state["pattern"] >= patterns)).any()):
        yield "pattern", f"numbers of {patterns} patterns"
    if bool(((state["form"] < 0) | (state["form"] >= len(FORMS))).any()):
        yield "form", f"numbers of {len(FORMS)} forms"
    if bool((state["weight"] < 0).any()):
        yield "weight", "numbers from 0 on"
    if int(state["step"]) > 0 and not bool(state["seen"].any()):
        yield "seen", "a region that was seen in its steps"
    known = read_patterns(state)
    if known is not None and not forms_fit(known):
        yield "patterns.form", "smooth patterns, then one for each further form"
    if known is not None and not bool(known.whitening.apply(state["bank"]).square().sum(1).isfinite().all()):
        yield "patterns.projection", "one that keeps codes finite"
    for name, tensor in state.items():
        if name.startswith("adam.") and name.endswith((".step", ".exp_avg_sq")) and bool((tensor < 0).any()):
            yield name, "numbers from 0 on"
