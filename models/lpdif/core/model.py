"""A model: encoder, gate, decoders and patterns, as `fit` makes it and `reconstruct` uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lpdif.core.encoder import Encoder
from lpdif.core.forms import FORM_V, Gate, Sheets, combine, evidence, first_logits, may_bend, rows_of, sheets_of
from lpdif.core.frames import Frames, canonical_frames
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.patterns import Patterns
from lpdif.core.regions import Seen
from lpdif.core.sheets import SHEETS


class Choice(NamedTuple):
    """How R regions are put together.

    arrangement  (R,) of the sheets, a number in `forms.ARRANGEMENTS`; 0 where the region is smooth
    radius       (R,) of its edges
    sees         (R, P, 5) which points each sheet sees; none where a region is smooth
    """

    arrangement: Tensor
    radius: Tensor
    sees: Tensor


class Answer(NamedTuple):
    """sdf (B, S) at the queries, code (B, C) of the whole region, pattern and form (B,)."""

    sdf: Tensor
    code: Tensor
    pattern: Tensor
    form: Tensor


class Networks(nn.Module):
    """Encoder, gate and decoders, which learn as one."""

    def __init__(self, encoder: Encoder, decoder: MultiDecoder, gate: Gate) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.gate = gate

    def encode(self, seen: Seen, half_turn_B: Tensor | None = None) -> tuple[Frames, Tensor]:
        """Frames and codes (B, C) of regions; half_turn_B as for `canonical_frames`."""
        frames = canonical_frames(seen.points, seen.normals, seen.mask, half_turn_B)
        return frames, self.encoder(*in_frames(seen, frames))

    def forward(
        self,
        seen: Seen,
        half_turn_B: Tensor | None,
        queries_BS3: Tensor,
        patterns: Patterns | None,
        plain_B: Tensor | None = None,
        trial_B: Tensor | None = None,
    ) -> Answer:
        """Signed distances at centre-relative queries (B, S, 3), by the pattern of each region.

        Whatever the gate says, regions that are plain (B,) bool are taken to be smooth, and those on trial (B,) bool to have the form that
        explains their points best.
        """
        frames = canonical_frames(seen.points, seen.normals, seen.mask, half_turn_B)
        inside = in_frames(seen, frames)
        codes_BC = self.encoder(*inside)
        form_B = codes_BC.new_zeros(len(codes_BC), dtype=torch.int64)
        if patterns is None:
            return Answer(self.ask(frames, codes_BC, form_B, queries_BS3), codes_BC, form_B, form_B)
        choice = self.choose(inside, patterns.forms, trial_B)
        form_B = FORM_V.to(codes_BC.device)[choice.arrangement]
        pattern_B = patterns.assign(codes_BC.detach(), form_B)
        arrangement_B = choice.arrangement if plain_B is None else choice.arrangement.masked_fill(plain_B, 0)
        sdf_BS = torch.empty_like(queries_BS3[..., 0])
        one, bent = (torch.nonzero(chosen)[:, 0] for chosen in (arrangement_B == 0, arrangement_B != 0))
        whole = Frames(frames.origin[one], frames.axes[one])
        smooth_BS = self.ask(whole, codes_BC[one], patterns.assign(codes_BC[one].detach()), queries_BS3[one])
        sdf_BS = sdf_BS.index_put((one,), smooth_BS)
        if len(bent):
            some = Choice(*(part[bent] for part in choice))
            sheets_BS = self.ask_sheets(Seen(*(part[bent] for part in seen)), some, pattern_B[bent], queries_BS3[bent])
            sdf_BS = sdf_BS.index_put((bent,), sheets_BS)
        return Answer(sdf_BS, codes_BC, pattern_B, form_B)

    def choose(self, inside: Seen, forms: int, trial_R: Tensor | None = None) -> Choice:
        """The arrangement of regions, seen in their frames, among the first `forms` forms; trial (R,) as for `forward`."""
        regions, points = inside.mask.shape
        arrangement = torch.zeros(regions, dtype=torch.int64, device=inside.mask.device)
        radius, sees = inside.points.new_ones(regions), inside.mask.new_zeros(regions, points, SHEETS)
        asked = torch.nonzero(may_bend(inside))[:, 0]
        if forms == 1 or len(asked) == 0:
            return Choice(arrangement, radius, sees)
        found = evidence(Seen(*(part[asked] for part in inside)))
        logits, round_ = self.gate(found)
        score = logits.detach() if trial_R is None else torch.where(trial_R[asked, None], first_logits(found.miss), logits.detach())
        chosen = score.masked_fill((forms <= FORM_V).to(score.device), -torch.inf).argmax(1)
        return Choice(arrangement.index_put((asked,), chosen), radius.index_put((asked,), round_), sees.index_put((asked,), found.sees))

    def ask(self, frames: Frames, codes_RC: Tensor, pattern_R: Tensor, queries_RS3: Tensor) -> Tensor:
        """(R, S) distances at centre-relative queries (R, S, 3), each region by its own code."""
        regions, samples = queries_RS3.shape[:2]
        owner_Q = torch.arange(regions, device=codes_RC.device).repeat_interleave(samples)
        found_Q: Tensor = self.decoder(codes_RC, pattern_R, frames.inward(queries_RS3).flatten(0, 1), owner_Q)
        return found_Q.view(regions, samples)

    def ask_sheets(self, seen: Seen, choice: Choice, pattern_R: Tensor, queries_RS3: Tensor) -> Tensor:
        """(R, S) distances of regions by their sheets, each of which is encoded and decoded as a region of its own."""
        sheets = sheets_of(choice.arrangement)
        frames, codes_TC = self.encode(sheet_points(seen, choice.sees, sheets))
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
