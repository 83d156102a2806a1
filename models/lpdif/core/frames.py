"""Canonical frames: each region is described in axes that its own points and normals define.

Letters: R regions, P points of a region. Lengths are in units of the region size; positions are relative to the region's centre.
A frame makes the description independent of how the scan is turned, so that equal shapes get equal codes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class FrameSettings(NamedTuple):
    """How a region's frame is found."""

    weight_width: float = 0.5  # Standard deviation of the points' weights around the centre, in region sizes.
    opposed: float = 0.3  # A mean normal shorter than this comes from sheets that face each other.


FRAME = FrameSettings()


class Frames(NamedTuple):
    """origin (R, 3) and axes (R, 3, 3), whose rows are the x, y and z axis, right-handed."""

    origin: Tensor
    axes: Tensor

    def inward(self, points_RQ3: Tensor) -> Tensor:
        """Centre-relative positions into the frame."""
        return (points_RQ3 - self.origin[:, None]) @ self.axes.transpose(1, 2)

    def turned(self, normals_RQ3: Tensor) -> Tensor:
        """Directions into the frame."""
        return normals_RQ3 @ self.axes.transpose(1, 2)


def canonical_frames(points_RP3: Tensor, normals_RP3: Tensor, mask_RP: Tensor, half_turn_R: Tensor | None = None) -> Frames:
    """Frames of R regions.

    Origin: weighted mean of the points. z: their weighted mean normal; where sheets oppose each other, the normal of the point
    nearest to the centre. x: main direction of normal change in the tangent plane; its sign, which the shape leaves open, is that
    of the third moment of the points along it, or, in training, turned where half_turn_R (R,) bool says so.
    A region without points gets the identity at its centre.
    """
    square_RP = points_RP3.square().sum(2)
    weight_RP = mask_RP * (torch.exp(-0.5 * square_RP / FRAME.weight_width**2) + 1e-6)
    weight_RP = weight_RP / weight_RP.sum(1, keepdim=True).clamp_min(1e-12)
    origin_R3 = (weight_RP[..., None] * points_RP3).sum(1)
    mean_R3 = (weight_RP[..., None] * normals_RP3).sum(1)
    nearest_R = square_RP.masked_fill(~mask_RP, torch.inf).argmin(1)
    nearest_R3 = normals_RP3.gather(1, nearest_R[:, None, None].expand(-1, 1, 3))[:, 0]
    z_R3 = torch.where(mean_R3.norm(dim=1, keepdim=True) < FRAME.opposed, nearest_R3, mean_R3)
    up_3 = z_R3.new_tensor([0.0, 0.0, 1.0])
    z_R3 = torch.where(z_R3.norm(dim=1, keepdim=True) > 1e-6, z_R3, up_3)
    z_R3 = z_R3 / z_R3.norm(dim=1, keepdim=True)
    first_R3, second_R3 = tangent_basis(z_R3)
    tangent_R23 = torch.stack([first_R3, second_R3], 1)
    bend_RP2 = normals_RP3 @ tangent_R23.transpose(1, 2)
    bend_RP2 = bend_RP2 - (weight_RP[..., None] * bend_RP2).sum(1, keepdim=True)
    spread_R22 = bend_RP2.transpose(1, 2) @ (weight_RP[..., None] * bend_RP2)
    angle_R1 = 0.5 * torch.atan2(2 * spread_R22[:, 0, 1], spread_R22[:, 0, 0] - spread_R22[:, 1, 1])[:, None]
    x_R3 = angle_R1.cos() * first_R3 + angle_R1.sin() * second_R3
    if half_turn_R is None:
        along_RP = ((points_RP3 - origin_R3[:, None]) * x_R3[:, None]).sum(2)
        half_turn_R = (weight_RP * along_RP**3).sum(1) < 0
    x_R3 = torch.where(half_turn_R[:, None], -x_R3, x_R3)
    return Frames(origin_R3, torch.stack([x_R3, torch.linalg.cross(z_R3, x_R3), z_R3], 1))


def tangent_basis(z_R3: Tensor) -> tuple[Tensor, Tensor]:
    """Two unit vectors (R, 3) orthogonal to each unit z (R, 3) and to each other.

    The formula has no branch (Duff et al., JCGT 2017).
    """
    x, y, z = z_R3.unbind(1)
    sign = torch.where(z < 0, -1.0, 1.0).to(z.dtype)
    a = -1.0 / (sign + z)
    b = x * y * a
    first = torch.stack([1 + sign * x * x * a, sign * b, -sign * x], 1)
    second = torch.stack([b, sign + y * y * a, -y], 1)
    return first, second
