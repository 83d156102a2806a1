"""Sheets: the points of a region, shared out among the smooth surfaces that meet in it.

At an edge two sheets meet, at a corner three, a thin wall is two that face apart. Each sheet gets the plane and the quadric of its points:

    h(x, y) = c_0 + c_1 x + c_2 y + c_3 x^2 + c_4 x y + c_5 y^2        signed distance ~ (z - h) / sqrt(1 + |grad h|^2)

Points are shared out by a few steps of expectation maximisation on planes: a point belongs to a plane near it that faces as its normal
does. Two planes start from the two halves of the main axis along which the normals differ; the third from the point that both explain worst.

Letters: R regions, P points of a region, M sheets, X places of a region. Everything in the frame of the region, in region sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from lpdif.core.frames import tangent_basis
from lpdif.core.jets import JET

SPLIT = (slice(0, 2), slice(2, 5))  # the columns of two sheets, then of three
SHEETS = 5
QUADRIC = 6  # coefficients


class SheetSettings(NamedTuple):
    """How points are shared out. Lengths are in region sizes."""

    height: float = 0.15  # Standard deviation of the height of a point over the plane of its sheet.
    turn: float = 0.35  # Standard deviation of its normal from that of the plane.
    locality: float = 0.7  # Points count exp(-locality |p|^2): those near the centre decide.
    steps: int = 4  # Steps of expectation maximisation for two planes, and again for three.
    farthest: float = 30.0  # No point counts as worse explained than this when the third plane starts.
    shared: float = 0.25  # A sheet sees the points that are its own by at least this share.
    fewest: int = 3  # A sheet of fewer points sees all of the region.
    normals: float = 0.135  # Weight of a normal against that of a position, when quadrics are fitted.
    ridge: tuple[float, float] = (1.2e-4, 6.7e-3)  # Ridge of the coefficients of the plane, and of the squares.


SHEET = SheetSettings()


class Quadrics(NamedTuple):
    """Origin (R, M, 3), axes (R, M, 3, 3) whose last row is the normal, and coefficients (R, M, 6) of the sheets."""

    origin: Tensor
    axes: Tensor
    coefficients: Tensor

    def distance(self, places_RX3: Tensor) -> Tensor:
        """(R, X, M) first-order signed distance of places (R, X, 3) to each sheet, held within +-JET.steepest."""
        local = self.axes @ (places_RX3[:, None] - self.origin[:, :, None]).transpose(2, 3)  # (R, M, 3, X)
        x, y, z = local.unbind(2)
        c = self.coefficients[..., None].unbind(2)
        height = c[0] + x * (c[1] + c[3] * x + c[4] * y) + y * (c[2] + c[5] * y)
        slope_x, slope_y = c[1] + 2 * c[3] * x + c[4] * y, c[2] + c[4] * x + 2 * c[5] * y
        bound = JET.steepest
        height, slope_x, slope_y = (part.clamp(-bound, bound) for part in (height, slope_x, slope_y))
        distance = (z - height) * torch.rsqrt(1 + slope_x.square() + slope_y.square())
        return distance.clamp(-bound, bound).transpose(1, 2)


def share_out(points_RP3: Tensor, normals_RP3: Tensor, mask_RP: Tensor) -> Tensor:
    """(R, P, 5) which points each of two sheets, and each of three, sees.

    points, normals (R, P, 3) with mask (R, P) of those that are there. A point may be seen by several sheets.
    """
    weight_RP = mask_RP * torch.exp(-SHEET.locality * points_RP3.square().sum(2))
    weight_RP = weight_RP / weight_RP.sum(1, keepdim=True).clamp_min(1e-9)
    off_RP3 = normals_RP3 - (weight_RP[..., None] * normals_RP3).sum(1, keepdim=True)
    axis_R3 = leading_axis(off_RP3.transpose(1, 2) @ (weight_RP[..., None] * off_RP3))
    along_RP1 = off_RP3 @ axis_R3[..., None]
    share = torch.cat([along_RP1 > 0, along_RP1 <= 0], 2).to(points_RP3.dtype)
    for _ in range(SHEET.steps):
        center, normal = planes(points_RP3, normals_RP3, weight_RP[..., None] * share)
        cost_RPM = plane_cost(points_RP3, normals_RP3, center, normal)
        share = torch.softmax(-0.5 * cost_RPM, 2)
    two = share
    worst = (cost_RPM.amin(2).clamp(max=SHEET.farthest) * weight_RP).argmax(1)[:, None, None].expand(-1, 1, 3)
    center, normal = torch.cat([center, points_RP3.gather(1, worst)], 1), torch.cat([normal, normals_RP3.gather(1, worst)], 1)
    for _ in range(SHEET.steps):
        share = torch.softmax(-0.5 * plane_cost(points_RP3, normals_RP3, center, normal), 2)
        center, normal = planes(points_RP3, normals_RP3, weight_RP[..., None] * share)
    own = [((part >= part.amax(2, keepdim=True)) | (part > SHEET.shared)) & mask_RP[..., None] for part in (two, share)]
    seen_RPM = torch.cat(own, 2)
    return torch.where(seen_RPM.sum(1, keepdim=True) < SHEET.fewest, mask_RP[..., None], seen_RPM)


def leading_axis(covariance_R33: Tensor) -> Tensor:
    """(R, 3) unit eigenvector of the largest eigenvalue of each matrix (R, 3, 3), symmetric and not negative.

    By squaring: the 32nd power is nearly of rank one. Any unit vector where the matrix is zero.
    """
    power = covariance_R33 + 1e-9 * torch.eye(3, dtype=covariance_R33.dtype, device=covariance_R33.device)
    for _ in range(5):
        power = power / power.diagonal(dim1=1, dim2=2).sum(1)[:, None, None].clamp_min(1e-20)
        power = power @ power
    longest = power.norm(dim=1).argmax(1)
    axis = power.gather(2, longest[:, None, None].expand(-1, 3, 1))[..., 0]
    unit: Tensor = axis / axis.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return unit


def planes(points_RP3: Tensor, normals_RP3: Tensor, weight_RPM: Tensor) -> tuple[Tensor, Tensor]:
    """Mean position and unit mean normal (R, M, 3) of each sheet, whose points count by weight (R, P, M)."""
    total_RM1 = weight_RPM.sum(1).clamp_min(1e-9)[..., None]
    center = weight_RPM.transpose(1, 2) @ points_RP3 / total_RM1
    normal = weight_RPM.transpose(1, 2) @ normals_RP3
    return center, normal / normal.norm(dim=2, keepdim=True).clamp_min(1e-9)


def plane_cost(points_RP3: Tensor, normals_RP3: Tensor, center_RM3: Tensor, normal_RM3: Tensor) -> Tensor:
    """(R, P, M) how badly each plane explains each point: squares of its height and of the turn of its normal, in standard deviations."""
    height = points_RP3 @ normal_RM3.transpose(1, 2) - (center_RM3 * normal_RM3).sum(2)[:, None]
    turn = 2 - 2 * (normals_RP3 @ normal_RM3.transpose(1, 2))
    return height.square() / SHEET.height**2 + turn / SHEET.turn**2


def fit_quadrics(points_RP3: Tensor, normals_RP3: Tensor, seen_RPM: Tensor) -> Quadrics:
    """The quadric of each sheet through the points that it sees, seen (R, P, M) bool.

    The same least squares as `jets.fit_jets`, with fixed weights exp(-|p|^2), of degree two.
    """
    weight_RPM = seen_RPM * torch.exp(-points_RP3.square().sum(2))[..., None]
    weight_RPM = weight_RPM / weight_RPM.sum(1, keepdim=True).clamp_min(1e-9)
    origin_RM3, z_RM3 = planes(points_RP3, normals_RP3, weight_RPM)
    up = z_RM3.new_tensor([0.0, 0.0, 1.0])
    z_RM3 = torch.where(z_RM3.norm(dim=2, keepdim=True) > 0.5, z_RM3, up)
    first, second = tangent_basis(z_RM3.flatten(0, 1))
    axes_RM33 = torch.stack([first.view(z_RM3.shape), second.view(z_RM3.shape), z_RM3], 2)
    x, y, z = (axes_RM33 @ (points_RP3[:, None] - origin_RM3[:, :, None]).transpose(2, 3)).unbind(2)  # (R, M, P)
    nx, ny, nz = (axes_RM33 @ normals_RP3[:, None].transpose(2, 3)).unbind(2)
    none = torch.zeros_like(x)
    rows = torch.stack(  # (R, M, 6, 3P): heights, then slopes along x and along y
        [
            torch.cat([torch.ones_like(x), none, none], 2),
            torch.cat([x, nz, none], 2),
            torch.cat([y, none, nz], 2),
            torch.cat([x * x, 2 * x * nz, none], 2),
            torch.cat([x * y, y * nz, x * nz], 2),
            torch.cat([y * y, none, 2 * y * nz], 2),
        ],
        2,
    )
    wanted = torch.cat([z, -nx, -ny], 2)
    position = weight_RPM.transpose(1, 2)
    weighted = rows * torch.cat([position, SHEET.normals * position, SHEET.normals * position], 2)[:, :, None]
    ridge = torch.diag(rows.new_tensor([SHEET.ridge[0]] * 3 + [SHEET.ridge[1]] * 3))
    factor, _ = torch.linalg.cholesky_ex(weighted @ rows.transpose(2, 3) + ridge)
    solved = torch.cholesky_solve(weighted @ wanted[..., None], factor)[..., 0]
    return Quadrics(origin_RM3, axes_RM33, solved.clamp(-JET.largest, JET.largest))
