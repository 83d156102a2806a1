"""Loads the samples that `preprocess` makes: a file, called shard, for each scan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lpdif.core.optimizer import TrainingRegions
from lpdif.errors import InputError, ModelError
from lpdif.storage.models import check_tensors, load_tensors
from lpdif.storage.safe_open import leads_outside
from lpdif.storage.strict_json import check
from lpdif.storage.tensor_files import CARDS, SAMPLES
from lpdif.storage.workspace import Workspace
from lpdif.text import counted

SAMPLE_KEYS = ("points", "normals", "counts", "queries", "sdf", "sizes")


def load_samples(workspace: Workspace) -> tuple[TrainingRegions, Tensor]:
    """All regions of a workspace and their sizes (N,).

    Raises InputError where a shard is damaged or lies outside, or there is none.
    """
    parts: list[dict[str, Tensor]] = []
    for shard in workspace.shards():
        if leads_outside(shard, workspace.samples_root):
            raise InputError(f"{shard}: a link that leads out of {workspace.samples_root}", "remove the link, and run `lpdif preprocess` again")
        try:
            parts.append(load_shard(shard, workspace.samples_root, parts[0] if parts else None)[0])
        except ModelError as error:
            raise InputError(error.message, "run `lpdif preprocess` again; it redoes what is missing") from None
    if not parts:
        raise InputError(f"{workspace.samples_root}: its samples hold no region", "preprocess other scans")
    whole = {key: torch.cat([part[key] for part in parts]) for key in SAMPLE_KEYS}
    return TrainingRegions(*(whole[key] for key in TrainingRegions._fields)), whole["sizes"]


def load_shard(path: Path, within: Path, like: dict[str, Tensor] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The samples in a file, and its card.

    like: other samples, whose regions have as many points and distances. Raises ModelError where the file is damaged, has other sizes, or
    lies outside of `within`.
    """
    found, card = load_tensors(path, SAMPLES, within)
    none = torch.empty(0, 0)
    regions = found.get("counts", none).numel()
    points, samples = (max(1, *(like or found).get(key, none).shape[1:2]) for key in ("points", "sdf"))
    hint = "the file is damaged; preprocess its scan again"
    check_tensors(path, found, expected_samples(regions, points, samples), hint)
    if bool(((found["counts"] < 0) | (found["counts"] > points)).any()):
        raise ModelError(f"{path}: counts: expected numbers of at most {points} points", hint)
    try:
        check(card, CARDS[SAMPLES], "its card")
    except ValueError as error:
        raise ModelError(f"{path}: {error}", hint) from None
    if card.get("regions", regions) != regions:
        raise ModelError(f"{path}: its card says {counted(card['regions'], 'region')}, it holds {regions:,}", hint)
    return found, card


def expected_samples(regions: int, points: int, samples: int) -> dict[str, Tensor]:
    """Tensors without data, with the names, shapes and types of those in a shard."""
    with torch.device("meta"):
        return {
            "points": torch.empty(regions, points, 3).half(),
            "normals": torch.empty(regions, points, 3).half(),
            "counts": torch.empty(regions, dtype=torch.int64),
            "queries": torch.empty(regions, samples, 3),
            "sdf": torch.empty(regions, samples),
            "sizes": torch.empty(regions),
        }
