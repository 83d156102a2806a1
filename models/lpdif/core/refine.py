"""Refinement: the jets of a scan's regions are moved until the surface meets the points.

The decoders stay as they are.

A Gauss-Newton step on the jet coefficients c_r of every region r, all regions at once:

    minimise over d_r   sum_p w_p (f_r(p) + J_p d_r)^2 + (sigma / REFINE.trust)^2 |d_r|^2,      c_r <- c_r + d_r

f_r is region r's decoder at the code as it stands, w_p the weight of point p (near the centre more; IRLS weights of the Huber loss, so stray
points do not lead) with sum 1, sigma the noise of the points. J_p = -m(p) / sqrt(1 + |grad h|^2), m the monomials: the derivative of the
jet's distance; that of the learned correction is small beside it and left out. The prior holds the more, the noisier the points are.
Letters: R regions, P points of a region, C code size, J jet coefficients. Lengths in the region's unit.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lpdif.core.jets import COEFFICIENTS, JET, monomials
from lpdif.core.multi_decoder import MultiDecoder


class RefineSettings(NamedTuple):
    """Weights of the Gauss-Newton step; lengths are in the region's unit."""

    width: float = 0.6  # Standard deviation of the points' weights around the region's origin.
    knee: float = 0.03  # Residuals beyond this count linearly, not squared (Huber).
    trust: float = 0.01  # How far off the encoder's jet typically is.
    least_noise: float = 0.002  # No scan is taken to be less noisy than this.


REFINE = RefineSettings()


@torch.no_grad()
def refine_codes(
    decoder: MultiDecoder, codes_RC: Tensor, pattern_R: Tensor, points_RP3: Tensor, mask_RP: Tensor, noise: float, steps: int
) -> Tensor:
    """(R, C) refined codes, after `steps` steps from codes (R, C).

    points (R, P, 3): in the frames of the regions; mask (R, P): which of them are there; noise: standard deviation of the points, in region
    units.
    """
    regions, points = mask_RP.shape
    owner_Q = torch.arange(regions, device=codes_RC.device).repeat_interleave(points)
    local_RP = mask_RP * torch.exp(-0.5 * points_RP3.square().sum(2) / REFINE.width**2)
    local_RP = local_RP / local_RP.sum(1, keepdim=True).clamp_min(1e-9)
    value_RPJ, by_x_RPJ, by_y_RPJ = monomials(points_RP3[..., :2])
    prior_JJ = (max(noise, REFINE.least_noise) / REFINE.trust) ** 2 * torch.eye(COEFFICIENTS, device=codes_RC.device)
    jets_RJ, learned = codes_RC[:, :COEFFICIENTS], codes_RC[:, COEFFICIENTS:]
    for _ in range(steps):
        code_RC = torch.cat([jets_RJ, learned], 1)
        miss_RP = decoder(code_RC, pattern_R, points_RP3.flatten(0, 1), owner_Q).view(regions, points)
        slope_x, slope_y = ((part @ jets_RJ[..., None])[..., 0].clamp(-JET.steepest, JET.steepest) for part in (by_x_RPJ, by_y_RPJ))
        rows_RPJ = value_RPJ * torch.rsqrt(1 + slope_x.square() + slope_y.square())[..., None]
        weight_RP = local_RP / (miss_RP.abs() / REFINE.knee).clamp_min(1)
        weighted_RJP = (rows_RPJ * weight_RP[..., None]).transpose(1, 2)
        factor_RJJ, _ = torch.linalg.cholesky_ex(weighted_RJP @ rows_RPJ + prior_JJ)
        jets_RJ = (jets_RJ + torch.cholesky_solve(weighted_RJP @ miss_RP[..., None], factor_RJJ)[..., 0]).clamp(-JET.largest, JET.largest)
    return torch.cat([jets_RJ, learned], 1)
