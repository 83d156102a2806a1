"""What each part of the method contributes: the same data and steps, one part changed at a time.

    lpdif preprocess MESHES --config models/recipes/ablation.toml
    python benchmarks/ablation.py -o FOLDER [--workspace lpdif-workspace] [--seeds 3] [--only NAME ...]

Whole shapes are held out. The error of a region is the mean over its samples within 0.15 region sizes of the surface, in region sizes;
it is measured on clean points and on points as in training (thinned, noisy, with holes). Rarity: held-out regions by the kernel density of
their codes among those of the training regions, in tenths, rarest first; one ruler (the shared stage of the first seed) for all variants.

A result is written as soon as it is there, and a second run goes on where the first one ended.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
from near_points import answer_near, make_near_networks
from torch import Tensor
from torch.nn.functional import normalize

from lpdif.config import FitConfig
from lpdif.core.augment import FEWEST_SEEN, STORED_NEAR, nearest_seen
from lpdif.core.encoder import Encoder
from lpdif.core.forms import Evidence, Gate, first_logits
from lpdif.core.frames import Frames
from lpdif.core.jets import COEFFICIENTS
from lpdif.core.kde import clipped_mean_one, effective_share, log_density, median_distance
from lpdif.core.model import Answer, Networks, all_smooth, make_networks
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.optimizer import Optimizer, TrainingRegions, learning_rate
from lpdif.core.patterns import Patterns, Whitening, fit_patterns, fit_whitening, random_patterns
from lpdif.core.regions import MOST_POINTS, Seen
from lpdif.device import repeatable, resolve
from lpdif.stages.held_out import Scanner, as_in_training, held_out_errors
from lpdif.storage.models import load_tensors
from lpdif.storage.tensor_files import SAMPLES
from lpdif.storage.workspace import Workspace
from lpdif_cli.settings import resolve as resolve_settings

RECIPE = Path(__file__).parent.parent / "models" / "recipes" / "ablation.toml"
HELD_OUT = 8  # every so many shapes, one is held out
DECILES = 10
LOOKED_AT = 8192  # held-out regions, at most
SHARP = 0.007  # radius of edges, in region sizes, where no gate predicts one
RULER = 4096  # training codes that the density is taken against


Shared = tuple[int, bool, bool, int, int, bool]


@dataclass(frozen=True)
class Variant:
    """One row of the table.

    patterns: decoders; gamma: exponent of the weights; weights: whether they go by density or by error; groups: how patterns are found, by
    "clusters" of codes or "forms" of regions; own: whether every pattern has a decoder of its own; gate: whether the form is "learned", that
    which explains the points best ("first"), or drawn at random ("random"); soft: whether the two nearest patterns answer together; wide:
    every decoder has the parameters of so many; frames, jets: whether regions are turned into their frames, and start from a fitted jet;
    common: how much of the decoders' mean gradient each of them takes besides its own; encoder: width of its layers; features: learned
    numbers of a code, times those of the recipe; near: whether the decoder sees the points near a query too.
    """

    name: str
    patterns: int = 1
    gamma: float = 0.0
    weights: str = "density"
    groups: str = "clusters"
    own: bool = True
    gate: str = "learned"
    soft: bool = False
    wide: int = 1
    frames: bool = True
    jets: bool = True
    common: float = 0.0
    encoder: int = 128
    features: int = 1
    near: bool = False

    @property
    def shared(self) -> Shared:
        """Variants with the same of this start from the same shared stage."""
        return self.wide, self.frames, self.jets, self.encoder, self.features, self.near


VARIANTS = [
    Variant("one decoder"),
    Variant("one decoder, KDE", gamma=0.5),
    Variant("8 patterns", 8, groups="forms"),
    Variant("8 patterns, KDE", 8, 0.5, groups="forms"),
    Variant("8 patterns, error weights", 8, 0.5, weights="error", groups="forms"),
    Variant("8 patterns, one decoder", 8, groups="forms", own=False),
    Variant("8 patterns, no gate", 8, groups="forms", gate="first"),
    Variant("8 random forms", 8, groups="forms", gate="random"),
    Variant("8 clusters", 8),
    Variant("8 clusters, KDE", 8, 0.5),
    Variant("8 clusters, KDE 2", 8, 2.0),
    Variant("8 clusters, KDE 4", 8, 4.0),
    Variant("one decoder of equal cost", wide=3),  # a query of the sheets goes through three decoders at the most
    Variant("one wide decoder", wide=8),
    Variant("8 random groups", 8, groups="random"),
    Variant("8 fixed clusters, KDE", 8, 0.5, groups="fixed"),
    Variant("8 unwhitened clusters, KDE", 8, 0.5, groups="unwhitened"),
    Variant("8 soft clusters", 8, soft=True),
    Variant("8 clusters, error weights", 8, 0.5, weights="error"),
    Variant("8 wide clusters", 8, wide=8),
    Variant("8 clusters, common", 8, common=1.0),
    Variant("8 clusters, KDE, common", 8, 0.5, common=1.0),
    *(Variant(f"{count} clusters, KDE", count, 0.5) for count in (2, 4, 16, 32)),
    Variant("one decoder, wide encoder", encoder=256),
    Variant("one decoder, 4 x features", features=4),
    Variant("one decoder, near points", near=True),
    Variant("one decoder, no jet", jets=False),
    Variant("one decoder, no jet, no frame", frames=False, jets=False),
    Variant("8 clusters, no jet, no frame", 8, frames=False, jets=False),
    Variant("8 clusters, KDE, no jet, no frame", 8, 0.5, frames=False, jets=False),
    Variant("8 random groups, no jet, no frame", 8, groups="random", frames=False, jets=False),
    Variant("one wide decoder, no jet, no frame", wide=8, frames=False, jets=False),
]


def wide_width(code_size: int, width: int, times: int) -> int:
    """The smallest width at which one decoder has at least as many parameters as `times` of this width."""
    wanted = times * parameters(MultiDecoder(1, code_size, width))
    while parameters(MultiDecoder(1, code_size, width)) < wanted:
        width += 1
    return width


def parameters(module: torch.nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in module.parameters())


def fixed_frames(points_RP3: Tensor, _normals: Tensor, _mask: Tensor, _half_turn: Tensor | None = None) -> Frames:
    """The stand-in for canonical frames: every region in the axes of its scan, at its centre."""
    return Frames(torch.zeros_like(points_RP3[:, 0]), torch.eye(3, device=points_RP3.device).expand(len(points_RP3), 3, 3))


def no_jets(points_RP3: Tensor, _normals: Tensor, position_RP: Tensor, slope_RP: Tensor, ridge_J: Tensor) -> Tensor:
    """The stand-in for fitted jets: the plane z = 0 of the frame. (The ridge is there so that its gradient is zero, not missing.)"""
    return points_RP3.new_zeros(len(points_RP3), len(ridge_J)) + 0 * (ridge_J.sum() + slope_RP.sum() + position_RP.sum())


def fit_projection(codes_RC: Tensor) -> Whitening:
    """The stand-in for a whitening: the same directions, but each keeps its share of the spread."""
    whitening = fit_whitening(codes_RC)
    spread_D = whitening.projection.norm(dim=0).reciprocal()
    return Whitening(whitening.mean, whitening.projection * (spread_D / spread_D.max()))


def answer_together(
    self: Networks, seen: Seen, half_turn_B: Tensor | None, queries_BS3: Tensor, patterns: Patterns | None, *_forms: Tensor | None
) -> Answer:
    """The stand-in for Networks.forward: the mean of the two nearest patterns' decoders, weighted by exp(-distance^2 / 2).

    All regions are smooth.
    """
    frames, codes_BC = self.encode(seen, half_turn_B)
    regions, samples = queries_BS3.shape[:2]
    local_Q3 = frames.inward(queries_BS3).flatten(0, 1)
    owner_Q = torch.arange(regions, device=codes_BC.device).repeat_interleave(samples)
    if patterns is None:
        pattern_B2, share_B2 = torch.zeros((regions, 1), dtype=torch.int64, device=codes_BC.device), codes_BC.new_ones(regions, 1)
    else:
        distance_BK = torch.cdist(patterns.whitening.apply(codes_BC.detach()), patterns.centroids)
        nearest = distance_BK.topk(2, largest=False)
        pattern_B2, share_B2 = nearest.indices, torch.softmax(-0.5 * nearest.values.square(), 1)
    answers = [self.decoder(codes_BC, pattern_B, local_Q3, owner_Q).view(regions, samples) for pattern_B in pattern_B2.T]
    return all_smooth((torch.stack(answers, 2) * share_B2[:, None]).sum(2), frames, codes_BC, pattern_B2[:, 0])


def explained_best(_gate: Gate, found: Evidence) -> tuple[Tensor, Tensor]:
    """The stand-in for the gate: the arrangement that explains the points best, with edges as sharp as a gate begins with."""
    return first_logits(found.miss), torch.full_like(found.miss[:, 0], SHARP)


def drawn_at_random(_gate: Gate, found: Evidence) -> tuple[Tensor, Tensor]:
    """The stand-in for the gate: any arrangement, by digits of the region's features that mean nothing."""
    digits = (found.features.double().sum(1, keepdim=True) * 1e3 * torch.arange(1, found.miss.shape[1] + 1, dtype=torch.float64)) % 1
    return digits.to(found.miss.dtype), torch.full_like(found.miss[:, 0], SHARP)


@contextmanager
def parts_of(variant: Variant) -> Iterator[None]:
    """The method without the parts that the variant leaves out."""
    with ExitStack() as stack:
        stack.enter_context(patch("lpdif.core.model.Encoder", partial(Encoder, width=variant.encoder)))
        if not variant.frames:
            stack.enter_context(patch("lpdif.core.model.canonical_frames", fixed_frames))
        if variant.groups == "unwhitened":
            stack.enter_context(patch("lpdif.core.patterns.fit_whitening", fit_projection))
        if variant.gate != "learned":
            stack.enter_context(patch("lpdif.core.forms.Gate.forward", explained_best if variant.gate == "first" else drawn_at_random))
        if variant.soft:
            stack.enter_context(patch("lpdif.core.model.Networks.forward", answer_together))
        if variant.near:
            stack.enter_context(patch("lpdif.core.model.Networks.forward", answer_near))
        if not variant.jets:
            stack.enter_context(patch("lpdif.core.encoder.fit_jets", no_jets))
        yield


def load_regions(workspace: Workspace) -> tuple[TrainingRegions, TrainingRegions]:
    """(training, held out) by shape; of closed shapes alone, whose distances are exact."""
    loaded = [load_tensors(shard, SAMPLES) for shard in workspace.shards()]
    parts = [tensors for tensors, card in loaded if card["kind"] == "closed"]

    def whole(chosen: list[dict[str, Tensor]]) -> TrainingRegions:
        return TrainingRegions(*(torch.cat([part[name] for part in chosen]) for name in TrainingRegions._fields))

    held = [number % HELD_OUT == HELD_OUT - 1 for number in range(len(parts))]
    training, rest = (whole([p for p, h in zip(parts, held, strict=True) if h == wanted]) for wanted in (False, True))
    return training, rest.at(torch.linspace(0, len(rest.counts) - 1, min(LOOKED_AT, len(rest.counts))).long())


def shared_stage(variant: Variant, training: TrainingRegions, fit: FitConfig, seed: int, device: torch.device) -> Optimizer:
    """Encoder and one decoder, after the shared steps."""
    features = fit.features * variant.features
    width = wide_width(COEFFICIENTS + features, fit.width, variant.wide)
    networks = (make_near_networks if variant.near else make_networks)(features, width, seed)
    optimizer = Optimizer(networks, len(training.counts), device)
    for _ in run_steps(optimizer, training, fit, seed, fit.shared_steps):
        pass
    return optimizer


def run_steps(optimizer: Optimizer, training: TrainingRegions, fit: FitConfig, seed: int, steps: int) -> Iterator[int]:
    """Learn for so many steps; yields after each how many have been done here."""
    for done in range(1, steps + 1):
        rate = learning_rate(optimizer.step, fit.shared_steps + fit.pattern_steps, fit.learning_rate)
        optimizer.learn(training, fit.batch, rate, seed)
        yield done


def pattern_stage(variant: Variant, optimizer: Optimizer, training: TrainingRegions, fit: FitConfig, seed: int) -> dict[str, float]:
    """The rest of the steps as the variant has it; returns the mean effective share and the share that changed pattern last."""
    codes = optimizer.bank[optimizer.seen]
    form = optimizer.form[optimizer.seen] if variant.groups == "forms" else None
    if variant.groups == "random":
        optimizer.branch(random_patterns(codes, variant.patterns, seed))
    else:
        optimizer.branch(fit_patterns(codes, variant.patterns, seed, form_R=form))
    if not variant.own:  # equal copies with equal gradients stay equal
        for parameter in optimizer.networks.decoder.parameters():
            parameter.register_hook(lambda gradient: gradient.sum(0, keepdim=True).expand_as(gradient))
    if variant.common:
        for parameter in optimizer.networks.decoder.parameters():
            parameter.register_hook(lambda gradient: gradient + variant.common * gradient.mean(0, keepdim=True))
    follow = variant.patterns > 1 and variant.groups not in ("random", "fixed")
    told = {"effective_share": 1.0, "changed": 0.0}
    for done in run_steps(optimizer, training, fit, seed, fit.pattern_steps):
        if follow and done % fit.reassign_every == 0 and done < fit.pattern_steps:
            told["changed"] = optimizer.refresh_patterns(seed)
        if variant.gamma and done % fit.kde_every == 0:
            told["effective_share"] = refresh_weights(variant, optimizer, training, seed)
    return told


def refresh_weights(variant: Variant, optimizer: Optimizer, training: TrainingRegions, seed: int) -> float:
    """New weights of the training regions as the variant has them; returns the effective share, the mean over patterns."""
    if variant.weights == "density":
        return float(np.mean(optimizer.refresh_weights(variant.gamma, seed)))
    error = held_out_errors(optimizer.mean, optimizer.patterns, training, as_in_training, seed, optimizer.device)[0]
    log_weight = variant.gamma * error.nan_to_num(float(error.nanmean())).clamp_min(1e-4).log()
    shares = []
    for k in range(optimizer.mean.decoder.patterns):
        members = torch.nonzero(optimizer.pattern == k)[:, 0]
        if len(members):
            optimizer.weight[members] = clipped_mean_one(log_weight[members])
            shares.append(effective_share(optimizer.weight[members]))
    return float(np.mean(shares))


def clean(data: TrainingRegions, _generator: torch.Generator) -> Seen:
    """The nearest points of each region as they are."""
    there = torch.arange(data.points.shape[1]) < data.counts[:, None]
    return nearest_seen(data.points.float(), data.normals.float(), there, MOST_POINTS)


def thinned(points: float, noise: float = 0.0, tilt: float = 0.0) -> Scanner:
    """A scanner that sees about so many points of a flat region, with this noise in region sizes, and normals off by `tilt`."""

    def scan(data: TrainingRegions, generator: torch.Generator) -> Seen:
        stored = data.points.shape[1]
        kept = torch.rand(data.points.shape[:2], generator=generator) < points / (STORED_NEAR * stored)
        there = kept & (torch.arange(stored) < data.counts[:, None])
        place = data.points.float() + noise * torch.randn(data.points.shape, generator=generator)
        normals = normalize(data.normals.float() + tilt * torch.randn(data.points.shape, generator=generator), dim=-1)
        return nearest_seen(place, normals, there, min(MOST_POINTS, stored, int(1.8 * points) + FEWEST_SEEN))

    return scan


LOOKS: dict[str, Scanner] = {
    "clean": clean,
    "as_in_training": as_in_training,
    "points_19": thinned(19),
    "points_28": thinned(28),
    "points_92": thinned(92),
    "noise_18": thinned(75, 0.18, 0.3),
}


def region_errors(networks: Networks, patterns: Patterns | None, data: TrainingRegions, scanner: Scanner, device: torch.device) -> np.ndarray:
    """(R,) error of each region near the surface, NaN where it has no sample there; the same draws for every variant and seed."""
    return held_out_errors(networks, patterns, data, scanner, 0, device)[0].numpy()


def rarity(networks: Networks, training: TrainingRegions, held_out: TrainingRegions) -> np.ndarray:
    """(R,) decile of each held-out region by the density of its code among the training codes; 0 is the rarest tenth."""

    def codes_of(data: TrainingRegions) -> Tensor:
        found = []
        with torch.inference_mode():
            for start in range(0, len(data.counts), 512):
                seen = clean(data.at(torch.arange(start, min(start + 512, len(data.counts)))), torch.Generator())
                found.append(networks.encode(seen)[1])
        return torch.cat(found)

    networks = copy.deepcopy(networks).cpu().eval()
    some = torch.randperm(len(training.counts), generator=torch.Generator().manual_seed(0))[:RULER]
    known = codes_of(training.at(some))
    whitening = fit_whitening(known)
    return deciles(whitening.apply(codes_of(held_out)), whitening.apply(known))


def deciles(asked_RD: Tensor, reference_BD: Tensor) -> np.ndarray:
    """(R,) decile of each whitened code by its density among the reference; 0 is the rarest tenth."""
    density = log_density(asked_RD, reference_BD, torch.full((len(asked_RD),), -1), median_distance(reference_BD)).numpy()
    return np.argsort(np.argsort(density)) * DECILES // len(density)


def result_path(folder: Path, variant: str, seed: int) -> Path:
    """Where the result of a variant goes."""
    return folder / f"{variant.replace(', ', '-').replace(' ', '_')}.{seed}.json"


def figures(errors: np.ndarray, decile: np.ndarray) -> dict[str, float | list[float]]:
    """Mean, median, p95; mean and p95 by decile of rarity."""
    known = np.isfinite(errors)

    def by_decile(reduce: Callable[[np.ndarray], np.floating]) -> list[float]:
        return [float(reduce(errors[known & (decile == k)])) for k in range(DECILES)]

    return {
        "mean": float(errors[known].mean()),
        "median": float(np.median(errors[known])),
        "p95": float(np.quantile(errors[known], 0.95)),
        "decile_mean": by_decile(np.mean),
        "decile_p95": by_decile(lambda part: np.quantile(part, 0.95)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, default=Path("lpdif-workspace"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=[variant.name for variant in VARIANTS])
    parser.add_argument("--config", type=Path, default=RECIPE)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    fit = resolve_settings("fit", {}, args.config, {}).config.fit
    device = resolve(args.device)
    training, held_out = load_regions(Workspace(args.workspace))
    print(f"{len(training.counts)} regions to learn from, {len(held_out.counts)} held out")
    chosen = [variant for variant in VARIANTS if not args.only or variant.name in args.only]
    with repeatable():
        for seed in range(args.seeds):
            run_seed(seed, chosen, training, held_out, fit, device, args.output)


def run_seed(
    seed: int, chosen: list[Variant], training: TrainingRegions, held_out: TrainingRegions, fit: FitConfig, device: torch.device, folder: Path
) -> None:
    """All variants of one seed that have no result yet."""
    ready: dict[Shared, Optimizer] = {}
    ruler = folder / "rarity.npy"
    for variant in sorted(chosen, key=lambda v: v.shared != Variant("").shared):
        result = result_path(folder, variant.name, seed)
        if result.exists():
            continue
        started = time.monotonic()
        with parts_of(variant):
            if variant.shared not in ready:
                ready[variant.shared] = shared_stage(variant, training, fit, seed, device)
            if not ruler.exists():
                if variant.shared != Variant("").shared:
                    raise SystemExit("the ruler of rarity is missing: run a variant with frames, jets and the plain width first")
                np.save(ruler, rarity(ready[variant.shared].mean, training, held_out))
            optimizer = copy.deepcopy(ready[variant.shared])
            told = pattern_stage(variant, optimizer, training, fit, seed)
            row = {"variant": variant.name, "seed": seed, "parameters": parameters(optimizer.networks.decoder), **told}
            for name, look in LOOKS.items():
                row[name] = figures(region_errors(optimizer.mean, optimizer.patterns, held_out, look, device), np.load(ruler))
        row["seconds"] = round(time.monotonic() - started, 1)
        result.write_text(json.dumps(row, indent=1) + "\n")
        means = ", ".join(f"{look} {row[look]['mean']:.5f}" for look in LOOKS)
        print(f"{variant.name}, seed {seed}: {means} ({row['seconds']} s)", flush=True)


if __name__ == "__main__":
    main()
