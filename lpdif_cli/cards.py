"""What a file of lpdif says of itself: its kind, its card and the shapes in it. No torch and no big tensor is loaded for that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lpdif.config import FitConfig
from lpdif.errors import InputError, ModelError


@dataclass(frozen=True)
class Card:
    """kind: model, snapshot, samples or field; shapes: of its tensors; words: its card; step: how far the fit of a snapshot has come."""

    kind: str
    version: str
    shapes: dict[str, list[int]]
    words: dict[str, Any]
    step: int


@dataclass(frozen=True)
class Stand:
    """How far the fit of a snapshot has come: steps done and in all, number of patterns, whether its codes are in them yet, its seed."""

    step: int
    steps: int
    patterns: int
    grouped: bool
    seed: int


def read_card(path: Path) -> Card:
    """The card of a safetensors file. Raises ModelError where it is damaged, or of another program."""
    from safetensors import SafetensorError, safe_open

    if path.exists() and not path.is_file():
        raise InputError(f"{path}: a pipe or device, not a file", "save it to a file")  # which would be waited for
    try:
        with safe_open(path, "numpy") as file:
            about = file.metadata() or {}
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (no dict)
            step = int(file.get_tensor("step")) if shapes.get("step") == [] else 0
        words = dict(json.loads(about.get("card", "{}")))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: not a readable safetensors file ({error})", "it is damaged, or something else") from error
    if not about.get("kind", "").startswith("lpdif-"):
        raise ModelError(f"{path}: a safetensors file of another program", "make a model with `lpdif fit`")
    return Card(about["kind"].removeprefix("lpdif-"), about.get("version", "?"), shapes, words, step)


def read_stand(snapshot: Path) -> Stand:
    """How far the fit of this snapshot has come. Raises ModelError where there is none, or it is damaged."""
    if not snapshot.exists():
        raise ModelError(f"{snapshot}: nothing to resume", "start without --resume")
    card = read_card(snapshot)
    hint = "it is damaged; start anew: lpdif fit --overwrite"
    if card.kind != "snapshot":
        raise ModelError(f"{snapshot}: expected lpdif-snapshot, found lpdif-{card.kind}", hint)
    try:
        settings = FitConfig(**card.words["config"])
        grouped = card.shapes.get("patterns.centroids")
        steps = int(settings.shared_steps) + int(settings.pattern_steps)
        return Stand(card.step, steps, int(grouped[0] if grouped else settings.patterns), grouped is not None, int(settings.seed))
    except (KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{snapshot}: not the snapshot of a fit ({error!r})", hint) from None


def resume_words(stand: Stand, where: Sequence[str]) -> list[str]:
    """The command that goes on with a fit; `where` says where that is."""
    seed = ["--seed", str(stand.seed)] if stand.seed != FitConfig.seed else []
    return ["fit", "--resume", "--patterns", str(stand.patterns), *seed, *where]
