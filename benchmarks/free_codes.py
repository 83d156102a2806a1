"""The ablation without an encoder, which is nearer to the paper: codes are free numbers, learned together with the decoder (an auto-decoder).

    lpdif preprocess MESHES --config models/recipes/ablation.toml
    python benchmarks/free_codes.py -o FOLDER [--workspace lpdif-workspace] [--seeds 3] [--only NAME ...] [--frames]

Shared stage: one decoder, and a code for every training region. The codes are clustered once. Pattern stage: every pattern has a decoder of
its own; codes go on learning. A held-out region is seen as points with normals: its code is fitted to them (distance 0 on a point, +-OFFSET
beside it) with the shared decoder, which gives its pattern, and then with that pattern's decoder. Neither jets nor, without --frames,
canonical frames. Errors and rarity as in benchmarks/ablation.py, results in its form: benchmarks/ablation_report.py shows them.

Letters: R regions, P points, S samples, C code size, K patterns.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ablation import HELD_OUT, clean, deciles, figures, fixed_frames, load_regions, parameters, result_path, wide_width
from torch import Tensor, nn

from lpdif.core.frames import canonical_frames
from lpdif.core.jets import COEFFICIENTS
from lpdif.core.kde import density_weights, effective_share
from lpdif.core.losses import region_loss
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.optimizer import TrainingRegions, copy_decoders, learning_rate, step_generator
from lpdif.core.patterns import Patterns, fit_patterns, random_patterns
from lpdif.device import repeatable, resolve
from lpdif.stages.held_out import HELD_OUT_REGIONS
from lpdif.storage.workspace import Workspace

FEATURES = 32  # numbers of a code
WIDTH = 48
STEPS = 3000  # of either stage
BATCH = 128
SEEN_IN_STEP = 24  # points of a region, and as many samples
RATE = 0.002
CODE_RATE = 0.01
PRIOR = 1e-4  # of the squared length of a code (DeepSDF)
OFFSET = 0.05  # region sizes along the normal
FITTING = 200  # steps that fit the code of a held-out region, with the shared decoder and again with its pattern's
WEIGHTS_EVERY = 500
LEARNED, ASKED = 8192, 2048  # regions at most


class Regions(NamedTuple):
    """In their frames: points, normals (R, P, 3), mask (R, P), queries (R, S, 3), sdf (R, S)."""

    points: Tensor
    normals: Tensor
    mask: Tensor
    queries: Tensor
    sdf: Tensor


@dataclass(frozen=True)
class Variant:
    """One row of the table, as in benchmarks/ablation.py. batch: regions of a step of the pattern stage, times BATCH."""

    name: str
    patterns: int = 1
    gamma: float = 0.0
    groups: str = "clusters"
    wide: int = 1
    batch: int = 1


VARIANTS = [
    Variant("one decoder"),
    Variant("one decoder, KDE", gamma=0.5),
    Variant("8 patterns", 8),
    Variant("8 patterns, KDE", 8, 0.5),
    Variant("8 patterns, KDE 2", 8, 2.0),
    Variant("8 random groups", 8, groups="random"),
    Variant("32 patterns", 32),
    Variant("one wide decoder", wide=8),
    Variant("one decoder, 8 x batch", batch=8),
    Variant("8 patterns, 8 x batch", 8, batch=8),
    Variant("8 random groups, 8 x batch", 8, groups="random", batch=8),
]


def seen_in_frames(data: TrainingRegions, frames: bool, most: int) -> Regions:
    """At most so many regions, evenly chosen, with their nearest points."""
    data = data.at(torch.linspace(0, len(data.counts) - 1, min(most, len(data.counts))).long())
    seen = clean(data, torch.Generator())
    found = (canonical_frames if frames else fixed_frames)(seen.points, seen.normals, seen.mask, None)
    return Regions(found.inward(seen.points), found.turned(seen.normals), seen.mask, found.inward(data.queries), data.sdf)


def on_points(regions: Regions, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Queries (R, count, 3) and distances (R, count): points drawn at random, moved along their normals by 0 or +-OFFSET."""
    shape = (len(regions.points), count)
    picked = (torch.rand(shape, generator=generator) * regions.mask.sum(1, keepdim=True)).long()[..., None].expand(-1, -1, 3)
    offset = (torch.randint(3, shape, generator=generator) - 1) * OFFSET
    return regions.points.gather(1, picked) + offset[..., None] * regions.normals.gather(1, picked), offset


def answers(decoder: MultiDecoder, codes_RC: Tensor, pattern_R: Tensor, queries_RS3: Tensor) -> Tensor:
    """(R, S) signed distances. The jet of every code is zero: what is learned is the residual over the plane z = 0 of the axes."""
    regions, samples = queries_RS3.shape[:2]
    whole = torch.cat([codes_RC.new_zeros(regions, COEFFICIENTS), codes_RC], 1)
    owner = torch.arange(regions, device=codes_RC.device).repeat_interleave(samples)
    return decoder(whole, pattern_R, queries_RS3.flatten(0, 1), owner).view(regions, samples)


class AutoDecoder:
    """Decoders and the codes of the training regions, learning together."""

    def __init__(self, regions: int, width: int, seed: int, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.decoder = MultiDecoder(1, COEFFICIENTS + FEATURES, width).to(device)
            self.codes = nn.Embedding(regions, FEATURES, sparse=True).to(device)
            nn.init.normal_(self.codes.weight, std=0.01)
        self.pattern = torch.zeros(regions, dtype=torch.int64, device=device)
        self.weight = torch.ones(regions, device=device)
        self.step = 0

    def learn(self, data: Regions, steps: int, whole: int, seed: int, variant: Variant | None = None) -> float:
        """So many steps of a schedule of `whole`; returns the mean effective share of the weights."""
        adam = torch.optim.AdamW(self.decoder.parameters(), lr=RATE, weight_decay=1e-4)
        sparse = torch.optim.SparseAdam(self.codes.parameters(), lr=CODE_RATE)
        device, share = self.weight.device, 1.0
        for done in range(steps):
            if variant is not None and variant.gamma and done % WEIGHTS_EVERY == 0:
                share = self.weigh(variant, seed)
            generator = step_generator(seed, self.step)
            index = torch.randint(len(data.sdf), (BATCH * (variant.batch if variant else 1),), generator=generator)
            chosen = Regions(*(part[index] for part in data))
            queries, sdf = on_points(chosen, SEEN_IN_STEP, generator)
            samples = torch.randperm(data.sdf.shape[1], generator=generator)[:SEEN_IN_STEP]
            queries = torch.cat([queries, chosen.queries[:, samples]], 1).to(device)
            sdf = torch.cat([sdf, chosen.sdf[:, samples]], 1).to(device)
            rate = learning_rate(self.step, whole, 1.0)
            for optimizer, peak in ((adam, RATE), (sparse, CODE_RATE)):
                optimizer.param_groups[0]["lr"] = rate * peak
                optimizer.zero_grad(set_to_none=True)
            codes = self.codes(index.to(device))
            found = answers(self.decoder, codes, self.pattern[index], queries)
            # the prior must not fade with the batch: each code has its own optimum
            loss = (self.weight[index] * (region_loss(found, sdf) + PRIOR * codes.square().sum(1))).mean()
            loss.backward()  # type: ignore[no-untyped-call]
            adam.step()
            sparse.step()
            self.step += 1
        return share

    def weigh(self, variant: Variant, seed: int) -> float:
        """Density weights within each pattern, from the current codes."""
        shares = []
        for k in range(self.decoder.patterns):
            members = torch.nonzero(self.pattern == k)[:, 0]
            codes = self.codes.weight.detach()[members].cpu()
            if len(members) > 2:
                white = fit_patterns(codes, 1, seed).whitening.apply(codes)
                self.weight[members] = density_weights(white, variant.gamma, step_generator(seed + 1, self.step)).to(self.weight.device)
                shares.append(effective_share(self.weight[members]))
        return float(np.mean(shares))


def fitted(decoder: MultiDecoder, start_RC: Tensor, pattern_R: Tensor, data: Regions, seed: int) -> Tensor:
    """(R, C) codes of regions of which the points alone are seen, all at once; the decoder stays as it is."""
    codes = start_RC.clone().requires_grad_(True)
    adam = torch.optim.Adam([codes], lr=CODE_RATE)
    for step in range(FITTING):
        queries, sdf = on_points(data, SEEN_IN_STEP, step_generator(seed + 3, step))
        adam.param_groups[0]["lr"] = CODE_RATE * (1 - step / FITTING) + 1e-4
        found = answers(decoder, codes, pattern_R, queries.to(codes.device))
        loss = (region_loss(found, sdf.to(codes.device)) + PRIOR * codes.square().sum(1)).sum()
        (codes.grad,) = torch.autograd.grad(loss, codes)
        adam.step()
    return codes.detach()


def errors(decoder: MultiDecoder, codes_RC: Tensor, pattern_R: Tensor, data: Regions) -> np.ndarray:
    """(R,) mean over the samples near the surface of the error, NaN where there is none."""
    with torch.no_grad():
        found = answers(decoder, codes_RC, pattern_R, data.queries.to(codes_RC.device)).cpu()
    near = (data.sdf.abs() < HELD_OUT_REGIONS.near) & (data.mask.sum(1, keepdim=True) >= 4)
    return ((found - data.sdf).abs().where(near, torch.zeros(())).sum(1) / near.sum(1)).numpy()


def rarity(known_RC: Tensor, asked_RC: Tensor) -> np.ndarray:
    """(R,) decile of each asked code by its density among the known ones; 0 is the rarest tenth."""
    whitening = fit_patterns(known_RC, 1, 0).whitening
    reference = whitening.apply(known_RC[:: max(1, len(known_RC) // 4096)])
    return deciles(whitening.apply(asked_RC), reference)


def run_seed(seed: int, chosen: list[Variant], training: Regions, held_out: Regions, device: torch.device, folder: Path) -> None:
    """All variants of one seed that have no result yet."""
    ready: dict[int, tuple[AutoDecoder, Tensor]] = {}
    alone = torch.zeros(len(held_out.sdf), dtype=torch.int64, device=device)
    ruler = folder / "rarity.npy"
    for variant in chosen:
        result = result_path(folder, variant.name, seed)
        if result.exists():
            continue
        started = time.monotonic()
        if variant.wide not in ready:
            width = WIDTH if variant.wide == 1 else wide_width(COEFFICIENTS + FEATURES, WIDTH, variant.wide)
            shared = AutoDecoder(len(training.sdf), width, seed, device)
            shared.learn(training, STEPS, 2 * STEPS, seed)
            codes = fitted(shared.decoder, torch.zeros(len(held_out.sdf), FEATURES, device=device), alone, held_out, seed)
            ready[variant.wide] = shared, codes
        learner, codes = ready[variant.wide]
        if not ruler.exists():
            if variant.wide != 1:
                raise SystemExit("the ruler of rarity is missing: run a variant of the plain width first")
            np.save(ruler, rarity(learner.codes.weight.detach().cpu(), codes.cpu()))
        learner = copy.deepcopy(learner)
        pattern = branch(learner, variant, codes, seed)
        share = learner.learn(training, STEPS, 2 * STEPS, seed, variant)
        found = errors(learner.decoder, fitted(learner.decoder, codes, pattern, held_out, seed), pattern, held_out)
        known = errors(learner.decoder, learner.codes.weight.detach(), learner.pattern, training)
        row = {"variant": variant.name, "seed": seed, "parameters": parameters(learner.decoder), "effective_share": share}
        row |= {"clean": figures(found, np.load(ruler)), "training_mean": float(np.nanmean(known))}
        row["seconds"] = round(time.monotonic() - started, 1)
        result.write_text(json.dumps(row, indent=1) + "\n", encoding="utf-8")
        print(f"{variant.name}, seed {seed}: held out {row['clean']['mean']:.5f}, training {row['training_mean']:.5f}", flush=True)


def branch(learner: AutoDecoder, variant: Variant, held_out_RC: Tensor, seed: int) -> Tensor:
    """Give every pattern its copy of the decoder and every training region its pattern; returns the pattern of each held-out region."""
    codes, device = learner.codes.weight.detach().cpu(), held_out_RC.device
    patterns: Patterns = (random_patterns if variant.groups == "random" else fit_patterns)(codes, variant.patterns, seed)
    copy_decoders(learner.decoder, torch.zeros(len(patterns.centroids), dtype=torch.int64))
    learner.pattern = patterns.assign(codes).to(device)
    return patterns.assign(held_out_RC.cpu()).to(device)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--workspace", type=Path, default=Path("lpdif-workspace"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--frames", action="store_true", help="regions in canonical frames")
    parser.add_argument("--only", nargs="*", choices=[variant.name for variant in VARIANTS])
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    training, held_out = load_regions(Workspace(args.workspace))
    sides = seen_in_frames(training, args.frames, LEARNED), seen_in_frames(held_out, args.frames, ASKED)
    print(f"{len(sides[0].sdf)} regions to learn from, {len(sides[1].sdf)} of every {HELD_OUT}th shape held out")
    with repeatable():
        for seed in range(args.seeds):
            chosen = [variant for variant in VARIANTS if not args.only or variant.name in args.only]
            run_seed(seed, chosen, *sides, resolve(args.device), args.output)


if __name__ == "__main__":
    main()
