"""A model: encoder, decoders and patterns, as `fit` makes it and `reconstruct` uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lpdif.core.encoder import Encoder
from lpdif.core.frames import Frames, canonical_frames
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.patterns import Patterns
from lpdif.core.regions import Seen


class Networks(nn.Module):
    """Encoder and decoders, which learn as one."""

    def __init__(self, encoder: Encoder, decoder: MultiDecoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, seen: Seen, half_turn_B: Tensor | None = None) -> tuple[Frames, Tensor]:
        """Frames and codes (B, C) of regions; half_turn_B as for `canonical_frames`."""
        frames = canonical_frames(seen.points, seen.normals, seen.mask, half_turn_B)
        return frames, self.encoder(frames.inward(seen.points) * seen.mask[..., None], frames.turned(seen.normals), seen.mask)

    def forward(self, seen: Seen, half_turn_B: Tensor, queries_BS3: Tensor, patterns: Patterns | None) -> tuple[Tensor, Tensor, Tensor]:
        """Signed distances (B, S) at centre-relative queries, codes (B, C) and pattern (B,) of each region."""
        frames, codes_BC = self.encode(seen, half_turn_B)
        pattern_B = codes_BC.new_zeros(len(codes_BC), dtype=torch.int64) if patterns is None else patterns.assign(codes_BC.detach())
        regions, samples = queries_BS3.shape[:2]
        owner_Q = torch.arange(regions, device=codes_BC.device).repeat_interleave(samples)
        sdf_Q = self.decoder(codes_BC, pattern_B, frames.inward(queries_BS3).flatten(0, 1), owner_Q)
        return sdf_Q.view(regions, samples), codes_BC, pattern_B


def make_networks(features: int, width: int, generator_seed: int) -> Networks:
    """Fresh networks with one shared decoder; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed)
        encoder = Encoder(features)
        return Networks(encoder, MultiDecoder(1, encoder.code_size, width))


@dataclass(frozen=True)
class Model:
    """What `fit` makes and `reconstruct` uses: networks, patterns, and where they come from (`card`)."""

    networks: Networks
    patterns: Patterns
    card: dict[str, Any]

    def to(self, device: torch.device) -> Model:
        """The same on another device. The networks move; they are not copied."""
        return Model(self.networks.to(device), self.patterns.to(device), self.card)
