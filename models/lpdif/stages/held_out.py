"""Regions that a fit does not learn from, and its error on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from lpdif.core.augment import scanned
from lpdif.core.model import Networks
from lpdif.core.optimizer import TrainingRegions, step_generator
from lpdif.core.patterns import Patterns
from lpdif.core.regions import Seen
from lpdif.errors import InputError
from lpdif.text import counted


class HeldOutSettings(NamedTuple):
    """The regions on which a fit is validated."""

    every: int = 64  # One region of so many is kept for validation.
    near: float = 0.15  # The error near the surface is that within this many region sizes.
    most: int = 4096  # At most so many regions are used for validation.


HELD_OUT_REGIONS = HeldOutSettings()

Scanner = Callable[[TrainingRegions, torch.Generator], Seen]  # stored points of regions -> the points that the encoder sees


def split_regions(whole: TrainingRegions) -> tuple[TrainingRegions, TrainingRegions]:
    """(training, held out): every HELD_OUT_REGIONS.every-th region is held out."""
    number = torch.arange(len(whole.counts))
    held = number % HELD_OUT_REGIONS.every == HELD_OUT_REGIONS.every - 1
    if int((~held).sum()) < 64:
        raise InputError(f"only {counted(len(number), 'region')}: too few to learn from", "preprocess more scans")
    return whole.at(number[~held]), whole.at(number[held][: HELD_OUT_REGIONS.most])


def as_in_training(data: TrainingRegions, generator: torch.Generator) -> Seen:
    """Points with everything that training does to them."""
    return scanned(data.points.float(), data.normals.float(), data.counts, generator)


def held_out_errors(
    networks: Networks, patterns: Patterns | None, data: TrainingRegions, scanner: Scanner, seed: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """(R,) error of each region near the surface, in region sizes, its code (R, C) and its pattern (R,).

    NaN where a region has no sample near the surface. scanner: chooses the points that the encoder sees.
    """
    errors, codes, owners = [], [], []
    where = None if patterns is None else patterns.to(device)
    networks.eval()
    with torch.no_grad():
        for start in range(0, len(data.counts), 512):
            some = data.at(torch.arange(start, min(start + 512, len(data.counts))))
            generator = step_generator(seed + 2, start)
            seen = scanner(some, generator)
            half_turn = torch.rand(len(some.counts), generator=generator) < 0.5
            answer = networks(Seen(*(part.to(device) for part in seen)), half_turn.to(device), some.queries.to(device), where)
            near = (some.sdf.abs() < HELD_OUT_REGIONS.near) & (seen.mask.sum(1, keepdim=True) >= 4)
            off = (answer.sdf.cpu() - some.sdf).abs().where(near, torch.zeros(()))
            errors.append(off.sum(1) / near.sum(1))
            codes.append(answer.code.cpu())
            owners.append(answer.pattern.cpu())
    return torch.cat(errors), torch.cat(codes), torch.cat(owners)


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
