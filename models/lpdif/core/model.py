"""A model: encoder, gate, decoders and patterns, as `fit` makes it and `reconstruct` uses it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lpdif.core.encoder import Encoder
from lpdif.core.forms import FORM_V, Evidence, Gate, Sheets, combine, evidence, first_logits, may_bend, rows_of, sheets_of
from lpdif.core.frames import Frames, canonical_frames
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.patterns import Patterns
from lpdif.core.regions import Seen


class GateChoice(NamedTuple):
    """How R regions are put together.

    arrangement  (R,) of the sheets, a number in `forms.ARRANGEMENTS`; 0 where the region is smooth
    radius       (R,) of its edges
    sees         (R, P, 5) which points each sheet sees; none where a region is smooth
    """

    arrangement: Tensor
    radius: Tensor
    sees: Tensor


class Answer(NamedTuple):
    """What networks say of B regions, R of which are other than smooth.

    smooth   (B, S) signed distances at the queries if every region is taken to be smooth
    sheets   (R, S) those of the regions `bent` (R,), by their sheets
    frames   of the whole regions; code (B, C), pattern and form (B,)
    asked    (A,) the regions that the gate was asked about, and what it saw of them
    """

    smooth: Tensor
    sheets: Tensor
    bent: Tensor
    frames: Frames
    code: Tensor
    pattern: Tensor
    form: Tensor
    asked: Tensor
    found: Evidence | None

    @property
    def sdf(self) -> Tensor:
        """(B, S) signed distances at the queries, each region by its form."""
        return self.smooth.index_put((self.bent,), self.sheets)


def all_smooth(smooth_BS: Tensor, frames: Frames, code_BC: Tensor, pattern_B: Tensor) -> Answer:
    """The answer of networks that have not looked for other forms."""
    nobody = pattern_B[:0]
    return Answer(smooth_BS, smooth_BS[:0], nobody, frames, code_BC, pattern_B, torch.zeros_like(pattern_B), nobody, None)


class Networks(nn.Module):
    """Encoders, gate and decoders, which learn side by side.

    Whole regions have an encoder, and the sheets of those that are not smooth have one of their own: what is seen of a sheet ends at an edge.
    """

    def __init__(self, encoder: Encoder, decoder: MultiDecoder, gate: Gate) -> None:
        super().__init__()
        self.encoder = encoder
        self.sheet_encoder = copy.deepcopy(encoder)
        self.decoder = decoder
        self.gate = gate

    def encode(self, seen: Seen, half_turn_B: Tensor | None = None) -> tuple[Frames, Tensor]:
        """Frames and codes (B, C) of regions; half_turn_B as for `canonical_frames`."""
        frames = canonical_frames(seen.points, seen.normals, seen.mask, half_turn_B)
        return frames, self.encoder(*in_frames(seen, frames))

    def encode_sheets(self, seen: Seen) -> tuple[Frames, Tensor]:
        """Frames and codes (T, C) of sheets, from the points that each of them sees."""
        frames = canonical_frames(seen.points, seen.normals, seen.mask)
        return frames, self.sheet_encoder(*in_frames(seen, frames))

    def forward(
        self, seen: Seen, half_turn_B: Tensor | None, queries_BS3: Tensor, patterns: Patterns | None, trial_B: Tensor | None = None
    ) -> Answer:
        """Signed distances at centre-relative queries (B, S, 3).

        Whatever the gate says, regions on trial (B,) bool have the form that explains their points best.
        """
        frames = canonical_frames(seen.points, seen.normals, seen.mask, half_turn_B)
        inside = in_frames(seen, frames)
        codes_BC = self.encoder(*inside)
        none_B = torch.zeros(len(codes_BC), dtype=torch.int64, device=codes_BC.device)
        smooth_B = none_B if patterns is None else patterns.assign(codes_BC.detach())
        smooth_BS = self.ask(frames, codes_BC, smooth_B, queries_BS3)
        asked_A = torch.nonzero(may_bend(inside))[:, 0]
        if patterns is None or patterns.forms == 1 or len(asked_A) == 0:
            return all_smooth(smooth_BS, frames, codes_BC, smooth_B)
        found = evidence(Seen(*(part[asked_A] for part in inside)))
        choice = self.choose(found, patterns.forms, None if trial_B is None else trial_B[asked_A])
        form_B = none_B.index_put((asked_A,), FORM_V.to(none_B.device)[choice.arrangement])
        pattern_B = patterns.assign(codes_BC.detach(), form_B)
        some = torch.nonzero(choice.arrangement)[:, 0]
        bent_R = asked_A[some]
        if len(some) == 0:
            return Answer(smooth_BS, smooth_BS[:0], bent_R, frames, codes_BC, pattern_B, form_B, asked_A, found)
        whole = Seen(*(part[bent_R] for part in seen))
        sheets_RS = self.ask_sheets(whole, GateChoice(*(part[some] for part in choice)), pattern_B[bent_R], queries_BS3[bent_R])
        return Answer(smooth_BS, sheets_RS, bent_R, frames, codes_BC, pattern_B, form_B, asked_A, found)

    def choose(self, found: Evidence, forms: int, trial_R: Tensor | None = None) -> GateChoice:
        """The arrangement of regions that may bend among the first `forms` forms; trial (R,) as for `forward`."""
        logits, radius = self.gate(found)
        score = logits.detach() if trial_R is None else torch.where(trial_R[:, None], first_logits(found.miss), logits.detach())
        return GateChoice(score.masked_fill((forms <= FORM_V).to(score.device), -torch.inf).argmax(1), radius, found.sees)

    def ask(self, frames: Frames, codes_RC: Tensor, pattern_R: Tensor, queries_RS3: Tensor) -> Tensor:
        """(R, S) distances at centre-relative queries (R, S, 3), each region by its own code."""
        regions, samples = queries_RS3.shape[:2]
        owner_Q = torch.arange(regions, device=codes_RC.device).repeat_interleave(samples)
        found_Q: Tensor = self.decoder(codes_RC, pattern_R, frames.inward(queries_RS3).flatten(0, 1), owner_Q)
        return found_Q.view(regions, samples)

    def ask_sheets(self, seen: Seen, choice: GateChoice, pattern_R: Tensor, queries_RS3: Tensor) -> Tensor:
        """(R, S) distances of regions by their sheets, each of which is encoded and decoded as a region of its own."""
        sheets = sheets_of(choice.arrangement)
        frames, codes_TC = self.encode_sheets(sheet_points(seen, choice.sees, sheets))
        values_TS = self.ask(frames, codes_TC, pattern_R[sheets.owner], queries_RS3[sheets.owner])
        values_RS3 = values_TS[rows_of(sheets.first, choice.arrangement)].transpose(1, 2)
        samples = queries_RS3.shape[1]
        return combine(values_RS3.flatten(0, 1), choice.arrangement.repeat_interleave(samples), choice.radius.repeat_interleave(samples)).view(
            -1, samples
        )


def in_frames(seen: Seen, frames: Frames) -> Seen:
    """The same points, in the frames of their regions."""
    there = seen.mask[..., None]
    return Seen(frames.inward(seen.points) * there, frames.turned(seen.normals) * there, seen.mask)


def sheet_points(seen: Seen, sees_RPM: Tensor, sheets: Sheets) -> Seen:
    """The points that each sheet sees, nearest to the region's centre first; the whole region's for column 0."""
    mask_TP = torch.where((sheets.column == 0)[:, None], seen.mask[sheets.owner], column_of(sees_RPM[sheets.owner], sheets.column))
    order_TP = torch.argsort((~mask_TP).to(torch.int8), dim=1, stable=True)[:, : max(1, int(mask_TP.sum(1).max()))]
    mask_TP = mask_TP.gather(1, order_TP)
    points, normals = (part[sheets.owner[:, None], order_TP] * mask_TP[..., None] for part in (seen.points, seen.normals))
    return Seen(points, normals, mask_TP)


def column_of(sees_TPM: Tensor, column_T: Tensor) -> Tensor:
    """(T, P) the points that the sheet of this column sees."""
    at = (column_T - 1).clamp_min(0)[:, None, None].expand(-1, sees_TPM.shape[1], 1)
    return sees_TPM.gather(2, at)[..., 0]


def make_networks(features: int, width: int, generator_seed: int) -> Networks:
    """Fresh networks with one shared decoder; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed)
        encoder = Encoder(features)
        decoder = MultiDecoder(1, encoder.code_size, width)
        return Networks(encoder, decoder, Gate())


@dataclass(frozen=True)
class Model:
    """What `fit` makes and `reconstruct` uses: networks, patterns, and where they come from (`card`)."""

    networks: Networks
    patterns: Patterns
    card: dict[str, Any]

    def to(self, device: torch.device) -> Model:
        """The same on another device. The networks move; they are not copied."""
        return Model(self.networks.to(device), self.patterns.to(device), self.card)
