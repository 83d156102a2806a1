"""The KDE-weighted optimizer: it trains the encoder and the pattern decoders together.

Regions whose codes are rare count for more.

    step:   scan the regions -> frames -> codes -> patterns -> signed distances -> weighted loss -> Adam, running mean
    every M steps, per pattern: density of the current codes -> weights of the regions

Letters: N training regions, B regions of a step, S samples of a region, C code size, K patterns.
Every random draw of step t comes from a generator seeded with (seed, t), so that a resumed run repeats a straight one bit for
bit.
"""

from __future__ import annotations

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lpdif.core.augment import scanned
from lpdif.core.encoder import Encoder
from lpdif.core.forms import Gate
from lpdif.core.kde import density_weights, effective_share
from lpdif.core.losses import gate_loss, region_loss
from lpdif.core.model import Networks
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.patterns import Patterns, Whitening, fit_patterns, pattern_tensors, read_patterns
from lpdif.core.processes import ALONE, OneProcess, exchange_gradients
from lpdif.core.regions import Seen


class TrainingSettings(NamedTuple):
    """What a step of training does, whatever the configuration."""

    mean_decay: float = 0.999  # Decay of the running mean of all weights, which is what is kept in the end.
    samples: int = 32  # Samples of a region that are drawn for each step.
    trial: float = 0.4  # Share of regions that take the form that explains their points best, so that all decoders have regions to learn from.
    gate_every: int = 2  # Steps between two in which the gate learns.
    largest_gradient: float = 1.0  # Gradients are scaled down to this norm.
    warm_up: int = 300  # Steps in which the learning rate rises.
    last_rate: float = 0.01  # Share of the learning rate that is left at the end of the cosine.


TRAINING = TrainingSettings()


class TrainingRegions(NamedTuple):
    """The samples of N regions, as `lpdif.stages.region_samples` makes them.

    points, normals (N, T, 3) float16; counts (N,) int64; queries (N, S, 3), sdf (N, S) float32.
    """

    points: Tensor
    normals: Tensor
    counts: Tensor
    queries: Tensor
    sdf: Tensor

    def at(self, index_B: Tensor) -> TrainingRegions:
        """The chosen regions."""
        return TrainingRegions(*(part[index_B] for part in self))


class Batch(NamedTuple):
    """B regions of a step, as scanners see them.

    region (B,) their numbers; half_turn, trial, usable (B,) bool: turned frames, forms on trial, and enough points to learn from.
    """

    region: Tensor
    seen: Seen
    queries: Tensor
    sdf: Tensor
    half_turn: Tensor
    trial: Tensor
    usable: Tensor

    def at(self, part: slice) -> Batch:
        """Some of the regions."""
        seen = Seen(*(each[part] for each in self.seen))
        rest = (each[part] for each in (self.queries, self.sdf, self.half_turn, self.trial, self.usable))
        return Batch(self.region[part], seen, *rest)


def draw(data: TrainingRegions, batch: int, seed: int, step: int) -> Batch:
    """The batch of a step: it depends on seed and step alone."""
    generator = step_generator(seed, step)
    index_B = torch.randint(len(data.counts), (batch,), generator=generator)
    samples_S = torch.randperm(data.sdf.shape[1], generator=generator)[: TRAINING.samples]
    chosen = data.at(index_B)
    seen = scanned(chosen.points.float(), chosen.normals.float(), chosen.counts, generator)
    half_turn_B = torch.rand(batch, generator=generator) < 0.5
    trial_B = torch.rand(batch, generator=generator) < TRAINING.trial
    return Batch(index_B, seen, chosen.queries[:, samples_S], chosen.sdf[:, samples_S], half_turn_B, trial_B, seen.mask.sum(1) >= 4)


def copy_decoders(decoders: MultiDecoder, source_K: Tensor) -> None:
    """Decoder k becomes a copy of what was decoder source_K[k], in place."""
    for module in decoders.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach()[source_K.to(parameter.device)], parameter.requires_grad))


def step_generator(seed: int, step: int) -> torch.Generator:
    """The random numbers of one step."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step) * 2_654_435_761 % 2**63)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """Warm-up, then a cosine from peak to TRAINING.last_rate * peak."""
    warm = min(1.0, (step + 1) / TRAINING.warm_up)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))
    return peak * warm * (TRAINING.last_rate + (1 - TRAINING.last_rate) * cosine)


class Optimizer:
    """Everything that learning changes. `tensors` and `restore` are what a snapshot holds.

    bank (N, C): the latest code of each training region, filled as batches come by; seen (N,) bool; pattern, form, weight (N,).
    """

    def __init__(self, networks: Networks, regions: int, device: torch.device) -> None:
        self.networks = networks.to(device)
        self.mean = copy.deepcopy(self.networks).requires_grad_(False)
        self.adam = self._adam()
        self.step = 0
        self.patterns: Patterns | None = None
        self.bank = torch.zeros(regions, networks.encoder.code_size)
        self.seen = torch.zeros(regions, dtype=torch.bool)
        self.pattern = torch.zeros(regions, dtype=torch.int64)
        self.form = torch.zeros(regions, dtype=torch.int64)
        self.weight = torch.ones(regions)
        self.device = device

    def _adam(self) -> torch.optim.AdamW:
        return torch.optim.AdamW(self.networks.parameters(), lr=1e-3, weight_decay=1e-4)

    def learn(self, data: TrainingRegions, batch: int, rate: float, seed: int, among: OneProcess = ALONE) -> float:
        """One step on a random batch of regions, which these processes share out; returns its loss."""
        drawn = draw(data, batch, seed, self.step)
        weight_B = (self.weight[drawn.region] * drawn.usable).to(self.device) / drawn.usable.sum().clamp_min(1)
        self.networks.train()
        self.adam.zero_grad(set_to_none=True)
        said = [self.learn_part(drawn.at(part), weight_B[part], (part.stop - part.start) / batch) for part in among.parts(batch)]
        for parameter in self.networks.parameters():  # gate and encoder of sheets have their say only where regions may bend
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        said_BV = torch.cat(said) if said else torch.zeros(0, self.bank.shape[1] + 3)
        said_BV = exchange_gradients(self.networks, said_BV, among) if among.size > 1 else said_BV
        code_BC, (pattern_B, form_B, lost_B) = said_BV[:, :-3], said_BV[:, -3:].unbind(1)
        for setting in self.adam.param_groups:
            setting["lr"] = rate
        nn.utils.clip_grad_norm_(self.networks.parameters(), TRAINING.largest_gradient)
        self.adam.step()
        with torch.no_grad():
            decay = min(TRAINING.mean_decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.mean.parameters()), list(self.networks.parameters()), 1 - decay)
        taken = drawn.region[drawn.usable]
        self.bank[taken] = code_BC[drawn.usable]
        settled_B = drawn.usable & ~drawn.trial  # a form on trial is not the region's
        self.pattern[drawn.region[settled_B]] = pattern_B[settled_B].long()
        self.form[drawn.region[settled_B]] = form_B[settled_B].long()
        self.seen[taken] = True
        self.step += 1
        return lost_B.contiguous().sum().item()

    def learn_part(self, part: Batch, weight_B: Tensor, share: float) -> Tensor:
        """Adds the gradient of a part of a batch, which is this share of it. Returns (B, C + 3) code, pattern, form and loss of its regions."""
        on = self.device
        seen, queries_BS3, sdf_BS = Seen(*(each.to(on) for each in part.seen)), part.queries.to(on), part.sdf.to(on)
        patterns = self.patterns.to(on) if self.patterns else None
        answer = self.networks(seen, part.half_turn.to(on), queries_BS3, patterns, part.trial.to(on))
        smooth_B, sheets_R = region_loss(answer.smooth, sdf_BS), region_loss(answer.sheets, sdf_BS[answer.bent])
        objective = (weight_B * smooth_B).sum() + (weight_B[answer.bent] * sheets_R).sum()
        if patterns is not None and self.step % TRAINING.gate_every == 0:
            objective = objective + gate_loss(self.networks, patterns, seen, answer, queries_BS3, sdf_BS, share)
        objective.backward()  # type: ignore[no-untyped-call]
        lost_B = weight_B * smooth_B.index_put((answer.bent,), sheets_R)
        rest = [each[:, None].float() for each in (answer.pattern, answer.form, lost_B)]
        return torch.cat([answer.code, *rest], 1).detach().cpu()

    def branch(self, patterns: Patterns) -> None:
        """Begin the pattern stage: K copies of the shared decoder, each for its own regions, and a copy of the encoder for sheets."""
        for networks in (self.networks, self.mean):
            networks.sheet_encoder.load_state_dict(networks.encoder.state_dict())
        for whole, sheet in zip(self.networks.encoder.parameters(), self.networks.sheet_encoder.parameters(), strict=True):
            self.adam.state[sheet] = {k: v.clone() for k, v in self.adam.state[whole].items()}
        self.become(patterns, torch.zeros(len(patterns.centroids), dtype=torch.int64))

    def regroup(self, patterns: Patterns) -> None:
        """Go over to other patterns; each starts from the decoder that most of its regions had."""
        self.form = torch.where(self.form < patterns.forms, self.form, 0)
        owner = patterns.assign(self.bank[self.seen], self.form[self.seen])
        votes = torch.zeros(len(patterns.centroids), self.networks.decoder.patterns)
        votes.index_put_((owner, self.pattern[self.seen]), torch.ones(len(owner)), accumulate=True)
        self.become(patterns, votes.argmax(1))

    def become(self, patterns: Patterns, source_K: Tensor) -> None:
        """Go over to other patterns; decoder k starts from what was decoder source_K[k]."""
        moments = [dict(self.adam.state[p]) for p in self.networks.parameters()]
        self._copy_decoders(patterns, source_K)
        self.adam = self._adam()
        decoders = {id(parameter) for parameter in self.networks.decoder.parameters()}
        for parameter, moment in zip(self.networks.parameters(), moments, strict=True):
            of_decoder = id(parameter) in decoders
            self.adam.state[parameter] = {k: v[source_K.to(v.device)].clone() if of_decoder and k != "step" else v for k, v in moment.items()}
        self.patterns = patterns
        self.pattern = patterns.assign(self.bank, self.form)
        self.weight = torch.ones_like(self.weight)

    def _copy_decoders(self, patterns: Patterns, source_K: Tensor) -> None:
        for networks in (self.networks, self.mean):
            copy_decoders(networks.decoder, source_K)
            networks.decoder.smooth = patterns.smooth

    def refresh_patterns(self, seed: int) -> float:
        """Let the centroids follow the codes; returns the share of seen regions that changed pattern."""
        if self.patterns is None:
            return 0.0
        codes, form = self.bank[self.seen], self.form[self.seen]
        before = self.patterns.assign(codes, form)
        self.patterns = fit_patterns(codes, len(self.patterns.centroids), seed, self.patterns, form)
        self.pattern = self.patterns.assign(self.bank, self.form)
        return float((self.pattern[self.seen] != before).float().mean())

    def refresh_weights(self, gamma: float, seed: int) -> list[float]:
        """Compute the density weight of every region within its pattern, from the current codes.

        Returns the effective share of each pattern.
        """
        if self.patterns is None:
            return []
        generator = step_generator(seed + 1, self.step)
        self.weight = torch.ones_like(self.weight)
        shares = []
        for k in range(len(self.patterns.centroids)):  # K is small; the work inside is one batched product
            members = torch.nonzero(self.seen & (self.pattern == k))[:, 0]
            self.weight[members] = density_weights(self.patterns.whitening.apply(self.bank[members]), gamma, generator)
            shares.append(effective_share(self.weight[members]))
        return shares

    def tensors(self) -> dict[str, Tensor]:
        """The whole state, by name."""
        state = {f"networks.{k}": v for k, v in self.networks.state_dict().items()}
        state |= {f"mean.{k}": v for k, v in self.mean.state_dict().items()}
        for name, parameter in self.networks.named_parameters():
            state |= {f"adam.{name}.{k}": torch.as_tensor(v) for k, v in self.adam.state[parameter].items()}
        if self.patterns is not None:
            state |= pattern_tensors(self.patterns)
        state |= {
            "bank": self.bank,
            "seen": self.seen,
            "pattern": self.pattern,
            "form": self.form,
            "weight": self.weight,
            "step": torch.tensor(self.step),
        }
        return {k: v.detach().cpu().contiguous() for k, v in state.items()}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Become what `tensors` described."""
        patterns = read_patterns(state)
        if patterns is not None:
            self._copy_decoders(patterns, torch.zeros(len(patterns.centroids), dtype=torch.int64))
            self.patterns = patterns
        self.networks.load_state_dict({k.removeprefix("networks."): v for k, v in state.items() if k.startswith("networks.")})
        self.mean.load_state_dict({k.removeprefix("mean."): v for k, v in state.items() if k.startswith("mean.")})
        self.adam = self._adam()
        for name, parameter in self.networks.named_parameters():
            moments = {k: state[f"adam.{name}.{k}"] for k in ("step", "exp_avg", "exp_avg_sq") if f"adam.{name}.{k}" in state}
            if moments:
                self.adam.state[parameter] = {k: v if k == "step" else v.to(self.device) for k, v in moments.items()}
        self.bank, self.seen, self.pattern, self.form, self.weight = (state[k] for k in ("bank", "seen", "pattern", "form", "weight"))
        self.step = int(state["step"])


def expected_state(features: int, width: int, regions: int, patterns: int, dimensions: int) -> dict[str, Tensor]:
    """The names, shapes and types of what `Optimizer.tensors` gives after a step.

    The tensors are on the device "meta", which takes no memory. patterns: K, 0 in the shared stage; dimensions: of the whitened codes.
    """
    with torch.device("meta"):
        encoder = Encoder(features)
        networks = Networks(encoder, MultiDecoder(max(1, patterns), encoder.code_size, width), Gate())
        weights = networks.state_dict()
        state = {f"{part}.{k}": v for part in ("networks", "mean") for k, v in weights.items()}
        state |= {f"adam.{k}.{moment}": v for moment in ("exp_avg", "exp_avg_sq") for k, v in weights.items()}
        state |= {f"adam.{k}.step": torch.empty(()) for k in weights}
        if patterns:
            whitening = Whitening(torch.empty(encoder.code_size), torch.empty(encoder.code_size, dimensions))
            state |= pattern_tensors(Patterns(whitening, torch.empty(patterns, dimensions), torch.empty(patterns, dtype=torch.int64)))
        return state | {
            "bank": torch.empty(regions, encoder.code_size),
            "seen": torch.empty(regions, dtype=torch.bool),
            "pattern": torch.empty(regions, dtype=torch.int64),
            "form": torch.empty(regions, dtype=torch.int64),
            "weight": torch.empty(regions),
            "step": torch.empty((), dtype=torch.int64),
        }
