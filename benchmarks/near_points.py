"""A decoder that sees the points near a query beside the code: what ablation.py puts in place of the plain one.

Letters: R regions, P points that are seen, S queries of a region, K nearest points of a query, F features. All in region sizes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lpdif.core.forms import Gate
from lpdif.core.model import Answer, Networks, all_smooth, make_networks
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.patterns import Patterns
from lpdif.core.regions import Seen

NEAREST = 16  # K
WIDTHS = (0.5, 1.0, 2.0)  # spacings over which planes are averaged
LIMIT = 1.5  # farther points do not count
FEATURES = 2 + 2 * len(WIDTHS)


def near_features(queries_RS3: Tensor, seen: Seen) -> Tensor:
    """(R, S, F) what the K nearest points of each query say of it, the same however the region is turned.

    The distance of the nearest, the spacing among them, and for each width the mean height over their planes (implicit moving least
    squares, Kolluri 2005) and the length of their mean normal, short between sheets that face each other. Without a point within LIMIT:
    LIMIT, hardly any spacing, and zeros.
    """
    square_RSP = torch.cdist(queries_RS3, seen.points).square().masked_fill(~seen.mask[:, None], math.inf)
    square, index = square_RSP.topk(min(NEAREST, square_RSP.shape[2]), dim=2, largest=False)
    region = torch.arange(len(index), device=index.device)[:, None, None]
    offset, normals = queries_RS3[:, :, None] - seen.points[region, index], seen.normals[region, index]
    there = square < LIMIT**2
    count = there.sum(2).clamp_min(1)
    kept = offset * there[..., None]
    mean = kept.sum(2) / count[..., None]
    spread = (kept.square().sum((2, 3)) / count - mean.square().sum(2)).clamp_min(1e-6)
    spacing = torch.sqrt(2 * math.pi * spread / count)  # count points on a disk of area count * spacing^2
    height = (offset * normals).sum(3)
    beyond = torch.where(there, square - square[..., :1], math.inf)
    found = [square[..., 0].clamp(1e-8, LIMIT**2).sqrt(), spacing]
    for width in WIDTHS:
        weight = torch.exp(-beyond / (2 * (width * spacing[..., None]) ** 2))
        weight = weight / weight.sum(2, keepdim=True).clamp_min(1e-9)
        found += [(weight * height).sum(2), (weight[..., None] * normals).sum(2).norm(dim=2)]
    return torch.stack(found, 2)


def make_near_networks(features: int, width: int, generator_seed: int) -> Networks:
    """The stand-in for make_networks: a decoder whose code is followed by the features of a query."""
    encoder = make_networks(features, width, generator_seed).encoder
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator_seed)
        return Networks(encoder, MultiDecoder(1, encoder.code_size + FEATURES, width), Gate())


def answer_near(
    self: Networks, seen: Seen, half_turn_B: Tensor | None, queries_BS3: Tensor, patterns: Patterns | None, *_forms: Tensor | None
) -> Answer:
    """The stand-in for Networks.forward: every query has a code of its own, that of its region and its features; all regions are smooth."""
    frames, codes_BC = self.encode(seen, half_turn_B)
    pattern_B = codes_BC.new_zeros(len(codes_BC), dtype=torch.int64) if patterns is None else patterns.assign(codes_BC.detach())
    regions, samples = queries_BS3.shape[:2]
    owner_Q = torch.arange(regions, device=codes_BC.device).repeat_interleave(samples)
    codes_QD = torch.cat([codes_BC[owner_Q], near_features(queries_BS3, seen).flatten(0, 1)], 1)
    local_Q3 = frames.inward(queries_BS3).flatten(0, 1)
    sdf_Q = self.decoder(codes_QD, pattern_B[owner_Q], local_Q3, torch.arange(len(local_Q3), device=codes_BC.device))
    return all_smooth(sdf_Q.view(regions, samples), frames, codes_BC, pattern_B)
