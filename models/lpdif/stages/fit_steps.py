"""The steps of a fit, as every one of its processes makes them.

What is random beyond a step, or could differ in its last bits, the first process finds for all: patterns, and the weights of regions.
"""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from safetensors.torch import load, save
from torch import Tensor

from lpdif.config import FitConfig
from lpdif.core.optimizer import Optimizer, TrainingRegions, learning_rate
from lpdif.core.patterns import fit_patterns, pattern_tensors, read_patterns
from lpdif.core.processes import ALONE, OneProcess
from lpdif.errors import ModelError
from lpdif.storage.workspace import Workspace
from lpdif.text import counted

log = logging.getLogger("lpdif")


class StepMade(NamedTuple):
    """The loss of a step, what `follow_codes` found after it, and the settings, with the number of patterns."""

    loss: float
    found: dict[str, Any]
    config: FitConfig


def fit_steps(
    optimizer: Optimizer, training: TrainingRegions, config: FitConfig, place: Workspace, group: OneProcess = ALONE
) -> Iterator[StepMade]:
    """Makes the steps that are left, one each time it is asked. Raises ModelError where the fit diverges; place: for its message."""
    steps = config.shared_steps + config.pattern_steps
    while optimizer.step < steps:
        if config.patterns > 1 and optimizer.step == config.shared_steps and optimizer.patterns is None:
            config = dataclasses.replace(config, patterns=begin_patterns(optimizer, config, group))
        rate = learning_rate(optimizer.step, steps, config.learning_rate)
        loss = optimizer.learn(training, config.batch, rate, config.seed, group)
        if not math.isfinite(loss):
            hint = "take a smaller learning_rate, and look at the samples; what an earlier snapshot holds stays"
            raise ModelError(f"{place.root}: the fit diverged: its loss after {counted(optimizer.step, 'step')} is {loss}", hint)
        yield StepMade(loss, follow_codes(optimizer, config, steps, group), config)


def follow_codes(optimizer: Optimizer, config: FitConfig, steps: int, group: OneProcess = ALONE) -> dict[str, Any]:
    """Assign regions to patterns again, and weigh them again, where a step is due for it; for the log, what that gave."""
    if optimizer.patterns is None:
        return {}
    since = optimizer.step - config.shared_steps
    assign = config.reassign_every and since % config.reassign_every == 0 and optimizer.step < steps  # a decoder must learn what it is given
    weigh = since % config.kde_every == 0
    found: dict[str, Any] = {}
    if assign and group.rank == 0:
        found["changed_pattern"] = round(optimizer.refresh_patterns(config.seed), 4)
    if weigh and group.rank == 0:
        found["effective_share"] = [round(share, 4) for share in optimizer.refresh_weights(config.kde_gamma, config.seed)]
    if (assign or weigh) and group.size > 1:
        state = of_the_first(group, pattern_tensors(optimizer.patterns) | {"pattern": optimizer.pattern, "weight": optimizer.weight})
        optimizer.patterns, optimizer.pattern, optimizer.weight = read_patterns(state), state["pattern"], state["weight"]
    return found


def begin_patterns(optimizer: Optimizer, config: FitConfig, group: OneProcess = ALONE) -> int:
    """Cluster the codes of the shared stage, give every pattern its decoder and return their number."""
    state = {}
    if group.rank == 0:
        codes, form = optimizer.bank[optimizer.seen], optimizer.form[optimizer.seen]
        state = pattern_tensors(fit_patterns(codes, config.patterns, config.seed, form_R=form))
    patterns = read_patterns(of_the_first(group, state))
    assert patterns is not None
    found = len(patterns.centroids)
    if found < config.patterns:
        log.warning("only %d of %d patterns have regions; the empty ones are dropped", found, config.patterns)
    optimizer.branch(patterns)
    shares = torch.bincount(optimizer.pattern[optimizer.seen], minlength=found).double() / int(optimizer.seen.sum())
    log.info("patterns: %d, with shares %s", found, " ".join(f"{share:.1%}" for share in shares.tolist()))
    return found


def of_the_first(group: OneProcess, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that the first process has."""
    if group.size == 1:
        return state
    return load(group.tell(save({name: tensor.contiguous() for name, tensor in state.items()}) if group.rank == 0 else b""))
