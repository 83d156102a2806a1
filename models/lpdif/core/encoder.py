"""Encoder: the points of a region -> its code.

Letters: R regions, P points of a region, W width, C code size, J jet coefficients. Everything in the region's canonical frame, in
region sizes. The code of a region is (jet, features): J coefficients of the fitted surface, then the learned part.
A PointNet with one global-context stage: point features, their maximum and mean, point features again in the light of these.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from lpdif.core.jets import COEFFICIENTS, fit_jets


class EncoderSettings(NamedTuple):
    """Where the fit of the jets starts from, before the network has its say; and how regions are grouped."""

    locality: float = 1.0  # Weights of points start as exp(-locality |p|^2).
    normals_share: float = -2.0  # Log of the first weight of a normal against that of a position.
    group: int = 64  # In training on the CPU so many regions, of like numbers of points, are encoded at once: with all, half is padding.


ENCODER = EncoderSettings()


class Encoder(nn.Module):
    """Permutation-invariant network from points with normals to codes."""

    def __init__(self, features: int = 64, width: int = 128) -> None:
        super().__init__()
        self.features = features
        self.width = width
        self.point = nn.Sequential(nn.Linear(7, 64), nn.ReLU(), nn.Linear(64, width), nn.ReLU())
        self.context = nn.Sequential(nn.Linear(2 * width + 1, width), nn.ReLU(), nn.Linear(width, width))
        self.again = nn.Linear(width, width)
        self.weigh = nn.Linear(width, 2)
        self.ridge = nn.Parameter(torch.tensor([-9.0] * 3 + [-7.0] * 3 + [-6.0] * 4))  # log; one for each coefficient
        self.code = nn.Sequential(nn.Linear(3 * width + COEFFICIENTS, width), nn.ReLU(), nn.Linear(width, features))
        nn.init.zeros_(self.weigh.weight)
        nn.init.zeros_(self.weigh.bias)

    @property
    def code_size(self) -> int:
        """C: jet coefficients and learned features."""
        return COEFFICIENTS + self.features

    def forward(self, points_RP3: Tensor, normals_RP3: Tensor, mask_RP: Tensor) -> Tensor:
        """(R, C) codes of regions with points and normals (R, P, 3), of which mask (R, P) bool are there.

        In training, last bits of a code depend on the regions it is made with.
        """
        if not self.training or points_RP3.device.type != "cpu":
            return self.codes(points_RP3, normals_RP3, mask_RP)
        order_R = torch.argsort(mask_RP.sum(1), stable=True)
        found = []
        for some in torch.split(order_R, ENCODER.group):
            there = torch.nonzero(mask_RP[some].any(0))
            width = int(there[-1]) + 1 if len(there) else 1
            found.append(self.codes(points_RP3[some, :width], normals_RP3[some, :width], mask_RP[some, :width]))
        return torch.cat(found)[torch.argsort(order_R)]

    def codes(self, points_RP3: Tensor, normals_RP3: Tensor, mask_RP: Tensor) -> Tensor:
        """(R, C) codes, as `forward`, of all regions at once."""
        square_RP1 = points_RP3.square().sum(2, keepdim=True)
        seen_RP1 = mask_RP[..., None]
        count_R1 = mask_RP.sum(1, keepdim=True).clamp_min(1)
        first_RPW = self.point(torch.cat([points_RP3, normals_RP3, square_RP1], 2))
        pooled = pool(first_RPW, seen_RP1, count_R1)
        context_RW = self.context(torch.cat([pooled, count_R1.log() / 4], 1))
        second_RPW = torch.relu(self.again(first_RPW) + context_RW[:, None])
        logit_RP2 = self.weigh(second_RPW).clamp(-6, 6)
        position_RP = torch.exp(logit_RP2[..., 0] - ENCODER.locality * square_RP1[..., 0]) * mask_RP
        slope_RP = torch.exp(logit_RP2[..., 1] + logit_RP2[..., 0] + ENCODER.normals_share - ENCODER.locality * square_RP1[..., 0]) * mask_RP
        total_R1 = position_RP.sum(1, keepdim=True).clamp_min(1e-9)
        jets_RJ = fit_jets(points_RP3, normals_RP3, position_RP / total_R1, slope_RP / total_R1, self.ridge.exp())
        learned = self.code(torch.cat([pool(second_RPW, seen_RP1, count_R1), context_RW, jets_RJ.clamp(-3, 3)], 1))
        return torch.cat([jets_RJ, learned], 1)


def pool(values_RPW: Tensor, seen_RP1: Tensor, count_R1: Tensor) -> Tensor:
    """(R, 2W) maximum and mean over the points that are there.

    Values are >= 0, so absent points count as 0 in the maximum.
    """
    kept = values_RPW * seen_RP1
    return torch.cat([kept.amax(1), kept.sum(1) / count_R1], 1)
