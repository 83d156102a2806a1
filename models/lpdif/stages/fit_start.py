"""Where a fit starts: at fresh networks, at a model that is there, or where an earlier run was stopped."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lpdif.config import FRESH, FitConfig
from lpdif.core.model import Model, make_networks
from lpdif.core.optimizer import Optimizer
from lpdif.core.patterns import Patterns
from lpdif.errors import ModelError
from lpdif.form_names import FORMS
from lpdif.storage.models import load_model
from lpdif.storage.snapshots import load_snapshot, samples_of_snapshot
from lpdif.storage.workspace import BUNDLED, Workspace
from lpdif.text import counted

log = logging.getLogger("lpdif")

START_AGAIN = "start anew: lpdif fit --overwrite"


def start(place: Workspace, config: FitConfig, regions: int, device: torch.device) -> tuple[Optimizer, FitConfig]:
    """The optimizer of so many training regions at its first step, or where it was stopped, and the settings that hold for it."""
    if config.resume:
        return resume(place, config, regions, device)
    if config.start != FRESH:
        return go_on_from(start_of(config), config, regions, device)
    return Optimizer(make_networks(config.features, config.width, config.seed), regions, device), config


def start_of(config: FitConfig) -> Model:
    """The model that a fit goes on from."""
    return load_model(None if config.start == BUNDLED else Path(config.start))


def as_started(start: Model, config: FitConfig) -> FitConfig:
    """The settings of a fit that goes on from a model: its sizes stand, and its patterns; forms that it lacks come up to config.patterns."""
    had, lacking = len(start.patterns.form), len(FORMS) - start.patterns.forms
    count = had + max(0, min(lacking, config.patterns - had))
    features, width = start.networks.encoder.features, start.networks.decoder.width
    return dataclasses.replace(config, features=features, width=width, patterns=count, shared_steps=0)


def go_on_from(start: Model, config: FitConfig, regions: int, device: torch.device) -> tuple[Optimizer, FitConfig]:
    """An optimizer at the first step of the pattern stage of a model, and its settings.

    Decoders of further forms begin as copies of the first.
    """
    config = as_started(start, config)
    optimizer = Optimizer(start.networks.requires_grad_(True), regions, device)
    known, added = start.patterns, config.patterns - len(start.patterns.form)
    centroids = torch.cat([known.centroids, known.centroids.new_zeros(added, known.centroids.shape[1])])
    form = torch.cat([known.form, known.forms + torch.arange(added)])
    source = torch.cat([torch.arange(len(known.form)), torch.zeros(added, dtype=torch.int64)])
    optimizer.become(Patterns(known.whitening, centroids, form), source)
    log.info("goes on from %s, with %s", config.start, counted(config.patterns, "pattern"))
    return optimizer, config


def remembered(config: FitConfig) -> dict[str, Any]:
    """The settings a resumed run must share."""
    settings = dataclasses.asdict(config)
    return {k: v for k, v in settings.items() if k not in ("resume", "snapshot_every") and (k, v) != ("start", FRESH)}


def resume(place: Workspace, config: FitConfig, regions: int, device: torch.device) -> tuple[Optimizer, FitConfig]:
    """The optimizer of the workspace's snapshot, and the settings with its number of patterns.

    Raises ModelError where there is none, it is damaged or its settings differ.
    """
    if not place.snapshot.exists():
        raise ModelError(f"{place.snapshot}: nothing to resume", "start without --resume")
    state, earlier = load_snapshot(place.snapshot)
    if config.start != FRESH:  # these were the model's
        config = dataclasses.replace(config, **{k: earlier.get(k, getattr(config, k)) for k in ("features", "width", "shared_steps")})
    wanted = remembered(config)
    if "patterns.centroids" in state:  # grouped already, by the fit or by `lpdif cluster`: their number stands
        del wanted["patterns"]
        config = dataclasses.replace(config, patterns=len(state["patterns.centroids"]))
    different = [f"{k} {earlier.get(k)} -> {v}" for k, v in wanted.items() if earlier.get(k) != v]
    if different:
        hint = f"resume with the same settings, or {START_AGAIN}"
        raise ModelError(f"{place.snapshot}: its settings differ ({', '.join(different)})", hint)
    check_same_samples(place, state, regions)
    optimizer = Optimizer(make_networks(config.features, config.width, config.seed), regions, device)
    optimizer.restore(state)
    steps = config.shared_steps + config.pattern_steps
    if optimizer.step > steps:
        raise ModelError(f"{place.snapshot}: step: expected at most {counted(steps, 'step')}, found {optimizer.step:,}", START_AGAIN)
    log.info("resumed at step %d", optimizer.step)
    return optimizer, config


def check_same_samples(place: Workspace, state: Mapping[str, Tensor], regions: int) -> None:
    """Raises ModelError where a snapshot was not made from this number of training regions, or from other samples."""
    snapshot = place.snapshot
    hint = f"name the workspace of its samples by --samples, or {START_AGAIN}"
    if len(state["bank"]) != regions:
        raise ModelError(f"{snapshot}: made from {counted(len(state['bank']), 'region')}, the samples hold {regions:,}", hint)
    made_from = samples_of_snapshot(snapshot)
    if made_from and made_from != place.samples_identity():
        raise ModelError(f"{snapshot}: made from other samples than those in {place.samples}", hint)
