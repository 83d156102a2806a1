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
from lpdif.core.forms import COLUMN_V3, FORM_V, Gate, Sheets, combine, evidence, may_bend
from lpdif.core.kde import density_weights, effective_share
from lpdif.core.model import Networks, in_frames, sheet_points
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.patterns import Patterns, Whitening, fit_patterns, pattern_tensors, read_patterns
from lpdif.core.regions import Seen


class TrainingSettings(NamedTuple):
    """What a step of training does, whatever the configuration."""

    focus: float = 0.1  # The loss of a sample at distance d from the surface counts 1 / (focus + |d|).
    held: float = 1.0  # Distances are compared within this many region sizes.
    mean_decay: float = 0.999  # Decay of the running mean of all weights, which is what is kept in the end.
    samples: int = 32  # Samples of a region that are drawn for each step.
    plain: float = 0.25  # Share of regions that are taken to be smooth whatever the gate says, so that smooth decoders know them all.
    trial: float = 0.25  # Share of regions that take the form that explains their points best, so that all decoders have regions to learn from.
    gate_every: int = 2  # Steps between two in which the gate learns.
    gate_regions: int = 64  # Regions, at most, that it learns from in such a step.
    gate_samples: int = 16  # Samples of a region that it learns from.
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


def copy_decoders(decoders: MultiDecoder, source_K: Tensor) -> None:
    """Decoder k becomes a copy of what was decoder source_K[k], in place."""
    for module in decoders.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(parameter.detach()[source_K.to(parameter.device)], parameter.requires_grad))


def region_loss(found_BS: Tensor, true_BS: Tensor) -> Tensor:
    """(B,) mean over samples of |found - true| / (TRAINING.focus + |true|).

    In the difference, distances are held within +-TRAINING.held region sizes.
    """
    error = (found_BS.clamp(-TRAINING.held, TRAINING.held) - true_BS.clamp(-TRAINING.held, TRAINING.held)).abs()
    return (error / (TRAINING.focus + true_BS.abs())).mean(1)


def gate_loss(networks: Networks, patterns: Patterns, seen: Seen, queries_BS3: Tensor, sdf_BS: Tensor) -> Tensor:
    """Mean loss of regions if their arrangement were drawn by the gate's odds, for the gate to learn from.

    Of the regions that may bend, the first TRAINING.gate_regions are tried in every arrangement. Only the gate gets a gradient.
    """
    with torch.no_grad():
        frames, codes_BC = networks.encode(seen)
        inside = in_frames(seen, frames)
        asked = torch.nonzero(may_bend(inside))[: TRAINING.gate_regions, 0]
        if len(asked) == 0:
            return sdf_BS.new_zeros(())
        found = evidence(Seen(*(part[asked] for part in inside)))
    logits_RV, radius_R = networks.gate(found)
    none_V = (FORM_V >= patterns.forms).to(logits_RV.device)
    odds_RV = torch.softmax(logits_RV.masked_fill(none_V, -torch.inf), 1)
    with torch.no_grad():
        smooth = networks.ask(frames, codes_BC, patterns.assign(codes_BC), queries_BS3)[asked]
        part = Seen(*(array[asked] for array in seen))
        values = sheet_values(networks, patterns, part, found.sees, queries_BS3[asked])
        losses_RV = arrangement_losses(smooth, values, radius_R.detach(), sdf_BS[asked], patterns.forms)
    return (odds_RV * losses_RV).sum(1).mean()


def sheet_values(networks: Networks, patterns: Patterns, seen: Seen, sees_RPM: Tensor, queries_RS3: Tensor) -> Tensor:
    """(F, R, 5, S) distances at the queries to each of the five sheets, by the decoders of the F forms; NaN for those not in the form."""
    regions, samples = queries_RS3.shape[:2]
    columns = sees_RPM.shape[2]
    on = queries_RS3.device
    owner_T = torch.arange(regions, device=on).repeat_interleave(columns)
    sheets = Sheets(owner_T, owner_T[::columns], torch.arange(1, columns + 1, device=on).repeat(regions))
    frames, codes_TC = networks.encode(sheet_points(seen, sees_RPM, sheets))
    inside_TS3 = frames.inward(queries_RS3[owner_T])
    values = queries_RS3.new_full((patterns.forms, regions, columns, samples), torch.nan)
    for form in range(1, patterns.forms):  # seven at most; the work inside is one batched product
        used = torch.unique(COLUMN_V3[FORM_V == form]).to(on)
        rows = torch.nonzero((sheets.column[:, None] == used).any(1))[:, 0]
        pattern = torch.full((len(rows),), int((patterns.form == form).nonzero()[0, 0]), dtype=torch.int64, device=on)
        owner_Q = torch.arange(len(rows), device=on).repeat_interleave(samples)
        found = networks.decoder(codes_TC[rows], pattern, inside_TS3[rows].flatten(0, 1), owner_Q)
        values[form].view(-1, samples)[rows] = found.view(-1, samples)
    return values


def arrangement_losses(smooth_RS: Tensor, values_FRMS: Tensor, radius_R: Tensor, sdf_RS: Tensor, forms: int) -> Tensor:
    """(R, V) loss of every arrangement; 0 for those whose form is not among the first `forms`."""
    regions, samples = sdf_RS.shape
    losses = [region_loss(smooth_RS, sdf_RS)]
    for number in range(1, len(FORM_V)):
        form = int(FORM_V[number])
        if form >= forms:
            losses.append(torch.zeros_like(losses[0]))
            continue
        sheets_QM = values_FRMS[form][:, COLUMN_V3[number] - 1].transpose(1, 2).reshape(-1, 3)
        arrangement_Q = torch.full((regions * samples,), number, dtype=torch.int64, device=sdf_RS.device)
        found = combine(sheets_QM, arrangement_Q, radius_R.repeat_interleave(samples)).view(regions, samples)
        losses.append(region_loss(found, sdf_RS))
    return torch.stack(losses, 1)


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

    def learn(self, data: TrainingRegions, batch: int, rate: float, seed: int) -> float:
        """One step on a random batch of regions; returns its loss."""
        generator = step_generator(seed, self.step)
        index_B = torch.randint(len(data.counts), (batch,), generator=generator)
        samples_S = torch.randperm(data.sdf.shape[1], generator=generator)[: TRAINING.samples]
        chosen = data.at(index_B)
        chosen = chosen._replace(queries=chosen.queries[:, samples_S], sdf=chosen.sdf[:, samples_S])
        seen = scanned(chosen.points.float(), chosen.normals.float(), chosen.counts, generator)
        half_turn_B = torch.rand(batch, generator=generator) < 0.5
        on = self.device
        self.networks.train()
        drawn_B = torch.rand(batch, generator=generator)
        plain_B, trial_B = drawn_B < TRAINING.plain, drawn_B > 1 - TRAINING.trial
        seen_there, queries_BS3, sdf_BS = Seen(*(part.to(on) for part in seen)), chosen.queries.to(on), chosen.sdf.to(on)
        patterns = self.patterns.to(on) if self.patterns else None
        answer = self.networks(seen_there, half_turn_B.to(on), queries_BS3, patterns, plain_B.to(on), trial_B.to(on))
        usable_B = seen.mask.sum(1) >= 4
        weight_B = (self.weight[index_B] * usable_B).to(on)
        loss = (weight_B * region_loss(answer.sdf, sdf_BS)).sum() / usable_B.sum().clamp_min(1)
        objective = loss
        if patterns is not None and patterns.forms > 1 and self.step % TRAINING.gate_every == 0:
            few = slice(TRAINING.gate_samples)
            objective = loss + gate_loss(self.networks, patterns, seen_there, queries_BS3[:, few], sdf_BS[:, few])
        for setting in self.adam.param_groups:
            setting["lr"] = rate
        self.adam.zero_grad(set_to_none=True)
        objective.backward()
        for parameter in self.networks.gate.parameters():  # which has its say only where regions may bend
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        nn.utils.clip_grad_norm_(self.networks.parameters(), TRAINING.largest_gradient)
        self.adam.step()
        with torch.no_grad():
            decay = min(TRAINING.mean_decay, (1 + self.step) / (10 + self.step))
            torch._foreach_lerp_(list(self.mean.parameters()), list(self.networks.parameters()), 1 - decay)
        taken = index_B[usable_B]
        self.bank[taken] = answer.code.detach().cpu()[usable_B]
        settled_B = usable_B & ~trial_B  # a form on trial is not the region's
        self.pattern[index_B[settled_B]] = answer.pattern.cpu()[settled_B]
        self.form[index_B[settled_B]] = answer.form.cpu()[settled_B]
        self.seen[taken] = True
        self.step += 1
        return loss.item()

    def branch(self, patterns: Patterns) -> None:
        """Begin the pattern stage: K copies of the shared decoder, each for its own regions."""
        self._become(patterns, torch.zeros(len(patterns.centroids), dtype=torch.int64))

    def regroup(self, patterns: Patterns) -> None:
        """Go over to other patterns; each starts from the decoder that most of its regions had."""
        form = torch.where(self.form < patterns.forms, self.form, 0)
        owner = patterns.assign(self.bank[self.seen], form[self.seen])
        votes = torch.zeros(len(patterns.centroids), self.networks.decoder.patterns)
        votes.index_put_((owner, self.pattern[self.seen]), torch.ones(len(owner)), accumulate=True)
        self._become(patterns, votes.argmax(1))

    def _become(self, patterns: Patterns, source_K: Tensor) -> None:
        moments = [dict(self.adam.state[p]) for p in self.networks.parameters()]
        copy_decoders(self.networks.decoder, source_K)
        copy_decoders(self.mean.decoder, source_K)
        self.adam = self._adam()
        decoders = {id(parameter) for parameter in self.networks.decoder.parameters()}
        for parameter, moment in zip(self.networks.parameters(), moments, strict=True):
            of_decoder = id(parameter) in decoders
            self.adam.state[parameter] = {k: v[source_K.to(v.device)].clone() if of_decoder and k != "step" else v for k, v in moment.items()}
        self.patterns = patterns
        self.form = torch.where(self.form < patterns.forms, self.form, 0)
        self.pattern = patterns.assign(self.bank, self.form)
        self.weight = torch.ones_like(self.weight)

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
            copies = torch.zeros(len(patterns.centroids), dtype=torch.int64)
            copy_decoders(self.networks.decoder, copies)
            copy_decoders(self.mean.decoder, copies)
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
