"""fit: samples -> model, in one command that can be resumed.

Its parts are the shared stage, the clustering of the codes, and the pattern stage with density weights.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lpdif.config import FitConfig
from lpdif.core.augment import scanned
from lpdif.core.model import Model, Networks, make_networks
from lpdif.core.optimizer import Optimizer, TrainingRegions, learning_rate, step_generator
from lpdif.core.patterns import Patterns, fit_patterns
from lpdif.core.regions import Seen
from lpdif.device import resolve
from lpdif.errors import InputError, ModelError, UsageError
from lpdif.storage.atomic_write import check_output
from lpdif.storage.lock import workspace_lock
from lpdif.storage.models import load_model, model_tensors, save_model, save_tensors
from lpdif.storage.run_log import append_metrics, seconds_spent, start_metrics
from lpdif.storage.shards import load_samples
from lpdif.storage.snapshots import load_snapshot
from lpdif.storage.tensor_files import SNAPSHOT
from lpdif.storage.workspace import Workspace
from lpdif.text import counted
from lpdif.types import Progress, silent

log = logging.getLogger("lpdif")


class HeldOutSettings(NamedTuple):
    """The regions on which a fit is validated."""

    every: int = 64  # One region of so many is kept for validation.
    near: float = 0.15  # The error near the surface is that within this many region sizes.
    most: int = 4096  # At most so many regions are used for validation.


HELD_OUT_REGIONS = HeldOutSettings()

START_AGAIN = "start anew: lpdif fit --overwrite"

Scanner = Callable[[TrainingRegions, torch.Generator], Seen]  # stored points of regions -> the points that the encoder sees


@dataclass(frozen=True)
class FitReport:
    """What a run has come to.

    model       its file
    patterns    decoders of the model
    steps       done so far, by this run and those before it
    made        steps of this run
    validation  errors near the surface, in region sizes
    stopped     asked to stop early: there is a snapshot, no model
    written     the model is new; False too where an earlier run has made every step and its model is still there
    """

    model: Path
    patterns: int
    steps: int
    made: int
    validation: dict[str, float]
    stopped: bool
    written: bool


def fit(
    workspace: Path,
    config: FitConfig | None = None,
    device: str = "auto",
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
) -> FitReport:
    """Train a model on the samples of a workspace and write it there.

    `stop` is asked after every step; where it says yes, a snapshot is written and the report says `stopped`. With config.resume
    the run goes on from the snapshot, bit for bit as if it had never stopped (on CPU, with the same threads). Codes that are
    grouped already, by an earlier run or by `cluster`, stay as they are: their number of patterns stands, whatever the config says.
    """
    place = Workspace(workspace)
    place.shards()  # nothing is locked, or made, where there are no samples
    with workspace_lock(place.root, "fit"):
        return learn(place, config or FitConfig(), resolve(device), progress, stop)


def learn(place: Workspace, config: FitConfig, device: torch.device, progress: Progress, stop: Callable[[], bool]) -> FitReport:
    """The stage itself, with the workspace's lock held."""
    if config.shared_steps < 1:
        raise UsageError(f"shared_steps {config.shared_steps}: patterns are found in the codes of shared steps", "take one or more")
    for path in (place.model, place.snapshot, place.metrics):
        check_output(path, overwrite=True)
    training, held_out = split_regions(load_samples(place)[0])
    networks = make_networks(config.features, config.width, config.seed)
    optimizer = Optimizer(networks, len(training.counts), device)
    spent = 0.0  # seconds, by earlier runs
    if config.resume:
        config = resume(optimizer, place, config)
        spent = seconds_spent(place.metrics)
    first, steps = optimizer.step, config.shared_steps + config.pattern_steps
    of = ", ".join([counted(len(training.counts), "region"), f"{len(held_out.counts):,} held out", counted(steps, "step")])
    log.info("fit: %s, %s", of, counted(config.patterns, "pattern"))
    # rows of a new run wait for its first snapshot: until that replaces the earlier run's, the log is the earlier run's too
    waiting: list[dict[str, Any]] | None = None if config.resume else []
    started, smooth = time.monotonic(), None
    changed: float | None = None  # the latest share of regions that went over to another pattern
    shares: list[float] = []  # the latest effective share of each pattern
    while optimizer.step < steps:
        if config.patterns > 1 and optimizer.step == config.shared_steps and optimizer.patterns is None:
            config = dataclasses.replace(config, patterns=begin_patterns(optimizer, config))
        loss = optimizer.learn(training, config.batch, learning_rate(optimizer.step, steps, config.learning_rate), config.seed)
        if not math.isfinite(loss):
            hint = "take a smaller learning_rate, and look at the samples; what an earlier snapshot holds stays"
            raise ModelError(f"{place.root}: the fit diverged: its loss after {counted(optimizer.step, 'step')} is {loss}", hint)
        smooth = loss if smooth is None else 0.99 * smooth + 0.01 * loss
        step = optimizer.step
        row: dict[str, Any] = {"step": step, "loss": round(smooth, 6), "seconds": round(spent + time.monotonic() - started, 1)}
        if optimizer.patterns is not None:
            since = step - config.shared_steps
            if config.reassign_every and since % config.reassign_every == 0 and step < steps:  # a decoder must learn what it is given
                row["changed_pattern"] = changed = round(optimizer.refresh_patterns(config.seed), 4)
            if since % config.kde_every == 0:
                row["effective_share"] = shares = [round(share, 4) for share in optimizer.refresh_weights(config.kde_gamma, config.seed)]
        stopped = stop()
        if step % config.snapshot_every == 0 or step == steps or stopped:
            row |= validate(optimizer.mean, optimizer.patterns, held_out, config.seed, optimizer.device)
            save_tensors(place.snapshot, SNAPSHOT, optimizer.tensors(), {"config": remembered(config)})
            if waiting is not None:
                start_metrics(place.metrics, waiting)
                place.gallery.unlink(missing_ok=True)  # it shows patterns of the earlier fit
                waiting = None
            log.info(
                "step %d: loss %.4f, error near the surface %.4f (median %.4f, p95 %.4f)%s",
                step,
                smooth,
                row["mean"],
                row["median"],
                row["p95"],
                state_of_patterns(shares, changed),
            )
        if len(row) > 3 or step % 100 == 0:
            if waiting is None:
                append_metrics(place.metrics, row)
            else:
                waiting.append(row)
        progress("fit", step, steps)
        if stopped and step < steps:
            validation = {k: row[k] for k in ("mean", "median", "p95")}
            return FitReport(place.model, config.patterns, step, step - first, validation, stopped=True, written=False)
    return finish(optimizer, place, config, held_out, steps - first)


def state_of_patterns(shares: list[float], changed: float | None) -> str:
    """What the log line of a step adds in the pattern stage, by the latest values.

    shares: each pattern's effective sample size, as a share of its regions; changed: share of regions that changed pattern, if known.
    """
    words = ""
    if shares:
        low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
        words += f", effective sample size {low if low == high else f'{low} to {high}'} % of a pattern's regions"
    return words if changed is None else f"{words}, {100 * changed:.1f} % of regions changed pattern"


def split_regions(whole: TrainingRegions) -> tuple[TrainingRegions, TrainingRegions]:
    """(training, held out): every HELD_OUT_REGIONS.every-th region is held out."""
    number = torch.arange(len(whole.counts))
    held = number % HELD_OUT_REGIONS.every == HELD_OUT_REGIONS.every - 1
    if int((~held).sum()) < 64:
        raise InputError(f"only {counted(len(number), 'region')}: too few to learn from", "preprocess more scans")
    return whole.at(number[~held]), whole.at(number[held][: HELD_OUT_REGIONS.most])


def remembered(config: FitConfig) -> dict[str, Any]:
    """The settings a resumed run must share."""
    return {k: v for k, v in dataclasses.asdict(config).items() if k not in ("resume", "snapshot_every")}


def resume(optimizer: Optimizer, place: Workspace, config: FitConfig) -> FitConfig:
    """Restore the snapshot of the workspace; returns the settings with its number of patterns.

    Raises ModelError where there is none, it is damaged or its settings differ.
    """
    if not place.snapshot.exists():
        raise ModelError(f"{place.snapshot}: nothing to resume", "start without --resume")
    state, earlier = load_snapshot(place.snapshot)
    wanted = remembered(config)
    if "patterns.centroids" in state:  # grouped already, by the fit or by `lpdif cluster`: their number stands
        del wanted["patterns"]
        config = dataclasses.replace(config, patterns=len(state["patterns.centroids"]))
    different = [f"{k} {earlier.get(k)} -> {v}" for k, v in wanted.items() if earlier.get(k) != v]
    if different:
        hint = f"resume with the same settings, or {START_AGAIN}"
        raise ModelError(f"{place.snapshot}: its settings differ ({', '.join(different)})", hint)
    check_same_regions(place.snapshot, state, len(optimizer.bank))
    optimizer.restore(state)
    steps = config.shared_steps + config.pattern_steps
    if optimizer.step > steps:
        raise ModelError(f"{place.snapshot}: step: expected at most {counted(steps, 'step')}, found {optimizer.step:,}", START_AGAIN)
    log.info("resumed at step %d", optimizer.step)
    return config


def check_same_regions(snapshot: Path, state: Mapping[str, Tensor], regions: int) -> None:
    """Raises ModelError where a snapshot was not made from this number of training regions."""
    if len(state["bank"]) != regions:
        raise ModelError(f"{snapshot}: made from {counted(len(state['bank']), 'region')}, the samples hold {regions:,}", START_AGAIN)


def begin_patterns(optimizer: Optimizer, config: FitConfig) -> int:
    """Cluster the codes of the shared stage, give every pattern its decoder and return their number."""
    patterns = fit_patterns(optimizer.bank[optimizer.seen], config.patterns, config.seed)
    found = len(patterns.centroids)
    if found < config.patterns:
        log.warning("only %d of %d patterns have regions; the empty ones are dropped", found, config.patterns)
    optimizer.branch(patterns)
    shares = torch.bincount(optimizer.pattern[optimizer.seen], minlength=found).double() / int(optimizer.seen.sum())
    log.info("patterns: %d, with shares %s", found, " ".join(f"{share:.1%}" for share in shares.tolist()))
    return found


def as_in_training(data: TrainingRegions, generator: torch.Generator) -> Seen:
    """Points with everything that training does to them."""
    return scanned(data.points.float(), data.normals.float(), data.counts, generator)


def held_out_errors(
    networks: Networks, patterns: Patterns | None, data: TrainingRegions, scanner: Scanner, seed: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """(R,) error of each region near the surface, in region sizes, and its code (R, C).

    NaN where a region has no sample near the surface. scanner: chooses the points that the encoder sees.
    """
    errors, codes = [], []
    where = None if patterns is None else patterns.to(device)
    networks.eval()
    with torch.no_grad():
        for start in range(0, len(data.counts), 512):
            some = data.at(torch.arange(start, min(start + 512, len(data.counts))))
            generator = step_generator(seed + 2, start)
            seen = scanner(some, generator)
            half_turn = torch.rand(len(some.counts), generator=generator) < 0.5
            found, code, _ = networks(Seen(*(part.to(device) for part in seen)), half_turn.to(device), some.queries.to(device), where)
            near = (some.sdf.abs() < HELD_OUT_REGIONS.near) & (seen.mask.sum(1, keepdim=True) >= 4)
            off = (found.cpu() - some.sdf).abs().where(near, torch.zeros(()))
            errors.append(off.sum(1) / near.sum(1))
            codes.append(code.cpu())
    return torch.cat(errors), torch.cat(codes)


def validate(networks: Networks, patterns: Patterns | None, data: TrainingRegions, seed: int, device: torch.device) -> dict[str, float]:
    """Mean, median and p95 of `held_out_errors`; the encoder sees points with the noise of training."""
    errors = held_out_errors(networks, patterns, data, as_in_training, seed, device)[0]
    errors = errors[errors.isfinite()]
    if len(errors) == 0:
        return {"mean": float("nan"), "median": float("nan"), "p95": float("nan")}
    return {
        "mean": round(float(errors.mean()), 5),
        "median": round(float(errors.median()), 5),
        "p95": round(float(errors.quantile(0.95)), 5),
    }


def finish(optimizer: Optimizer, place: Workspace, config: FitConfig, held_out: TrainingRegions, made: int) -> FitReport:
    """Write the running mean as the model, unless this run `made` no step and the model is there."""
    patterns = optimizer.patterns or fit_patterns(optimizer.bank[optimizer.seen], 1, config.seed)
    config = dataclasses.replace(config, patterns=len(patterns.centroids))
    card = {"config": remembered(config), "steps": optimizer.step, "regions": len(optimizer.bank)}
    model = Model(optimizer.mean, patterns, card)
    there = None if made else same_model(place.model, model)
    if there is not None:
        validation = {name: float("nan") if error is None else error for name, error in there.card["validation"].items()}
    else:
        validation = validate(optimizer.mean, patterns, held_out, config.seed, optimizer.device)
        save_model(place.model, dataclasses.replace(model, card={**card, "validation": validation}))
    return FitReport(place.model, config.patterns, optimizer.step, made, validation, stopped=False, written=there is None)


def same_model(path: Path, model: Model) -> Model | None:
    """The model in a file, with its validation, if it is `model` in all else."""
    if not path.exists():
        return None
    try:
        there = load_model(path)
    except ModelError as error:
        log.warning("%s; it is written anew", error.message)
        return None
    ours, theirs = model_tensors(model), model_tensors(there)
    same = ours.keys() == theirs.keys() and all(torch.equal(ours[name].cpu(), theirs[name]) for name in ours)
    return there if same and "validation" in there.card and model.card.items() <= there.card.items() else None
