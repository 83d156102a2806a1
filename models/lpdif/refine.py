"""Refinement: the codes of a scan's regions fitted to its points, decoders frozen.

    minimise over code_r   mean_p huber(f_r(p)) + huber(f_r(p + e n_p) - e)   +   PULL |code_r - code_r^0|^2

f_r is region r's decoder, e a random offset within +-OFFSET of the surface along the normal n_p: it carries the normals without a
second derivative. Every region is a problem of its own, so all are solved at once, and a weight on a region would
change nothing but its step: density weights have no part here. Letters: R regions, P points of a region, C code size. In the region's unit.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from lpdif.jets import COEFFICIENTS
from lpdif.multi_decoder import MultiDecoder

OFFSET = 0.15
LOCAL = 0.8  # standard deviation of the points' weights around the region's origin
PULL = 1e-3
RATE = 0.01
KNEE = 0.03  # residuals beyond this count linearly: stray points do not lead


def refine_codes(
    decoder: MultiDecoder, codes_RC: Tensor, pattern_R: Tensor, points_RP3: Tensor, normals_RP3: Tensor, mask_RP: Tensor, steps: int, seed: int
) -> Tensor:
    """(R, C) codes after `steps` steps of Adam from codes (R, C), for points and normals (R, P, 3) in the regions' frames."""
    regions, points = mask_RP.shape
    generator = torch.Generator().manual_seed(seed)
    owner_Q = torch.arange(regions, device=codes_RC.device).repeat_interleave(points)
    weight_RP = mask_RP * torch.exp(-0.5 * points_RP3.square().sum(2) / LOCAL**2)
    weight_RP = weight_RP / weight_RP.sum(1, keepdim=True).clamp_min(1e-9)
    with torch.enable_grad():
        change_RC = torch.zeros_like(codes_RC).requires_grad_()
        adam = torch.optim.Adam([change_RC], lr=RATE)
        for step in range(steps):
            offset_RP = OFFSET * (2 * torch.rand((regions, points), generator=generator) - 1).to(codes_RC.device) * (step % 2)
            at_RP3 = points_RP3 + offset_RP[..., None] * normals_RP3
            found_RP = decoder(codes_RC + change_RC, pattern_R, at_RP3.flatten(0, 1), owner_Q).view(regions, points)
            miss_RP = huber_loss(found_RP, offset_RP, reduction="none", delta=KNEE) / KNEE
            loss = (weight_RP * miss_RP).sum() + PULL * change_RC[:, COEFFICIENTS:].square().sum()
            adam.zero_grad()
            loss.backward(inputs=[change_RC])  # type: ignore[no-untyped-call]
            adam.step()
    return (codes_RC + change_RC).detach()
