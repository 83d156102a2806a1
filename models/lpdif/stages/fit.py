"""fit: samples -> model, in one command that can be resumed.

Its parts are the shared stage, the clustering of the codes, and the pattern stage with density weights.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lpdif.config import FRESH, FitConfig
from lpdif.core.model import Model
from lpdif.core.optimizer import Optimizer, TrainingRegions
from lpdif.core.patterns import fit_patterns
from lpdif.core.processes import ALONE, OneProcess
from lpdif.device import resolve
from lpdif.errors import ModelError, UsageError
from lpdif.stages.fit_processes import device_of, fit_processes, invite, place_here
from lpdif.stages.fit_start import remembered, start
from lpdif.stages.fit_steps import fit_steps
from lpdif.stages.held_out import split_regions, validate
from lpdif.storage.atomic_write import check_output
from lpdif.storage.lock import workspace_lock
from lpdif.storage.models import load_model, model_tensors, save_model, save_tensors
from lpdif.storage.run_log import append_metrics, seconds_spent, start_metrics
from lpdif.storage.shards import load_samples
from lpdif.storage.tensor_files import SNAPSHOT
from lpdif.storage.workspace import Workspace
from lpdif.text import counted
from lpdif.types import Progress, silent

log = logging.getLogger("lpdif")


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
    processes   that have made the steps of this run
    """

    model: Path
    patterns: int
    steps: int
    made: int
    validation: dict[str, float]
    stopped: bool
    written: bool
    processes: int = 1


def fit(
    workspace: Path,
    config: FitConfig | None = None,
    device: str = "auto",
    progress: Progress = silent,
    stop: Callable[[], bool] = lambda: False,
    samples: Path | None = None,
    processes: int | None = 1,
) -> FitReport:
    """Train a model on the samples of a workspace, or of the workspace `samples`, and write it to the first.

    `stop` is asked after every step; where it says yes, a snapshot is written and the report says `stopped`. With config.resume
    the run goes on from the snapshot, bit for bit as if it had never stopped (on CPU, with the same threads). Codes that are
    grouped already, by an earlier run or by `cluster`, stay as they are: their number of patterns stands, whatever the config says.
    With several processes, each computes its part of the regions of every step; None: those that torchrun has started, of which this is the
    first. They share out this process's threads, or have a GPU each. The model depends on their number as on the seed.
    """
    place = Workspace(workspace, samples)
    place.shards()  # nothing is locked, or made, where there are no samples
    with workspace_lock(place.root, "fit"), fit_processes(processes, device) as group:
        on = resolve(device) if group.size == 1 else device_of(device, *place_here(processes))
        return learn(place, config or FitConfig(), on, progress, stop, group)


def learn(
    place: Workspace, config: FitConfig, device: torch.device, progress: Progress, stop: Callable[[], bool], group: OneProcess = ALONE
) -> FitReport:
    """The stage itself, with the workspace's lock held, by the first process of the group."""
    if config.shared_steps < 1 and config.start == FRESH:
        raise UsageError(f"shared_steps {config.shared_steps}: patterns are found in the codes of shared steps", "take one or more")
    for path in (place.model, place.snapshot, place.metrics):
        check_output(path, overwrite=True)
    identity = place.samples_identity()
    training, held_out = split_regions(load_samples(place)[0])
    optimizer, config = start(place, config, len(training.counts), device)
    first, steps = optimizer.step, config.shared_steps + config.pattern_steps
    of = ", ".join([counted(len(training.counts), "region"), f"{len(held_out.counts):,} held out", counted(steps, "step")])
    log.info("fit: %s, %s", of, counted(config.patterns, "pattern"))
    invite(group, place, config, identity, optimizer)
    fit_log = FitLog(place, config.resume)
    for made in fit_steps(optimizer, training, config, place, group):
        config = made.config
        row = fit_log.row(optimizer.step, made.loss) | made.found
        stopped = group.any_stops(stop())
        if optimizer.step % config.snapshot_every == 0 or optimizer.step == steps or stopped:
            row |= validate(optimizer.mean, optimizer.patterns, held_out, config.seed, optimizer.device)
            save_tensors(place.snapshot, SNAPSHOT, optimizer.tensors(), {"config": remembered(config), "samples": identity})
            fit_log.begin()
        fit_log.add(row)
        progress("fit", optimizer.step, steps)
        if stopped and optimizer.step < steps:
            validation = {k: row[k] for k in ("mean", "median", "p95")}
            made_now = optimizer.step - first
            return FitReport(
                place.model, config.patterns, optimizer.step, made_now, validation, stopped=True, written=False, processes=group.size
            )
    return finish(optimizer, place, config, held_out, steps - first, identity, group.size)


class FitLog:
    """The rows of a run in metrics.jsonl, and its log lines.

    Rows of a new run wait for its first snapshot: until that replaces the earlier run's, the file is the earlier run's too.
    """

    def __init__(self, place: Workspace, resumed: bool) -> None:
        self.place = place
        self.waiting: list[dict[str, Any]] | None = None if resumed else []
        self.began = time.monotonic() - (seconds_spent(place.metrics) if resumed else 0.0)
        self.smooth: float | None = None
        self.changed: float | None = None  # the latest share of regions that went over to another pattern
        self.shares: list[float] = []  # the latest effective share of each pattern

    def row(self, step: int, loss: float) -> dict[str, Any]:
        """The row of a step: its number, the running mean of the loss, and the seconds so far."""
        self.smooth = loss if self.smooth is None else 0.99 * self.smooth + 0.01 * loss
        return {"step": step, "loss": round(self.smooth, 6), "seconds": round(time.monotonic() - self.began, 1)}

    def begin(self) -> None:
        """A snapshot is there: the file is this run's from now on, and no gallery of an earlier fit stays."""
        if self.waiting is not None:
            start_metrics(self.place.metrics, self.waiting)
            self.place.gallery.unlink(missing_ok=True)
            self.waiting = None

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row that says more than the loss, or every hundredth; log one with the error on held-out regions."""
        self.changed, self.shares = row.get("changed_pattern", self.changed), row.get("effective_share", self.shares)
        if "mean" in row:
            line = "step %d: loss %.4f, error near the surface %.4f (median %.4f, p95 %.4f)%s"
            log.info(line, row["step"], self.smooth, row["mean"], row["median"], row["p95"], state_of_patterns(self.shares, self.changed))
        if len(row) > 3 or row["step"] % 100 == 0:
            if self.waiting is None:
                append_metrics(self.place.metrics, row)
            else:
                self.waiting.append(row)


def state_of_patterns(shares: list[float], changed: float | None) -> str:
    """What the log line of a step adds in the pattern stage, by the latest values.

    shares: each pattern's effective sample size, as a share of its regions; changed: share of regions that changed pattern, if known.
    """
    words = ""
    if shares:
        low, high = f"{100 * min(shares):.0f}", f"{100 * max(shares):.0f}"
        words += f", effective sample size {low if low == high else f'{low} to {high}'} % of a pattern's regions"
    return words if changed is None else f"{words}, {100 * changed:.1f} % of regions changed pattern"


def finish(
    optimizer: Optimizer, place: Workspace, config: FitConfig, held_out: TrainingRegions, made: int, samples: str, processes: int
) -> FitReport:
    """Write the running mean as the model, unless this run `made` no step and the model is there. samples: their identity."""
    patterns = optimizer.patterns or fit_patterns(optimizer.bank[optimizer.seen], 1, config.seed)
    config = dataclasses.replace(config, patterns=len(patterns.centroids))
    named = remembered(config) | ({"start": Path(config.start).name} if config.start != FRESH else {})
    card = {"config": named, "steps": optimizer.step, "regions": len(optimizer.bank), "samples": samples}
    model = Model(optimizer.mean, patterns, card)
    there = None if made else same_model(place.model, model)
    if there is not None:
        validation = {name: float("nan") if error is None else error for name, error in there.card["validation"].items()}
    else:
        validation = validate(optimizer.mean, patterns, held_out, config.seed, optimizer.device)
        several = {"processes": processes} if processes > 1 else {}
        save_model(place.model, dataclasses.replace(model, card={**card, **several, "validation": validation}))
    return FitReport(place.model, config.patterns, optimizer.step, made, validation, stopped=False, written=there is None, processes=processes)


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
