"""Sheets: the points of a region, shared out among the smooth surfaces that meet in it.

At an edge two sheets meet, at a corner three, a thin wall is two that face apart. Each sheet gets the plane and the quadric of its points:

    h(x, y) = c_0 + c_1 x + c_2 y + c_3 x^2 + c_4 x y + c_5 y^2        signed distance ~ (z - h) / sqrt(1 + |grad h|^2)

Points are shared out by a few steps of expectation maximisation on planes: a point belongs to a plane near it that faces as its normal
does. Two planes start from the two halves of the main axis along which the normals differ; the third from the point that both explain worst.

Letters: R regions, P points of a region, M sheets, X places of a region. Everything in the frame of the region, in region sizes.

A region has few points and few sheets, so matrices are too small to be worth a product of matrices. Regions are the last axis in memory
(suffixes end in R), and every operation is one on long rows of regions.
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
        places_3XR, bound = regions_last(places_RX3), JET.steepest
        axes_M33R = regions_last(self.axes, 1)
        origin_M3R = regions_last(self.origin, 1)
        c = regions_last(self.coefficients, 1)[:, :, None].unbind(1)
        x, y, z = (along(places_3XR, axes_M33R[:, i], origin_M3R) for i in range(3))
        square_x, square_y = c[3] * x, c[5] * y
        slope_x = (2 * square_x).add_(c[1]).addcmul_(c[4], y).clamp_(-bound, bound)
        slope_y = (2 * square_y).add_(c[2]).addcmul_(c[4], x).clamp_(-bound, bound)
        height = square_x.add_(c[1]).addcmul_(c[4], y).mul_(x).add_(c[0]).addcmul_(y, square_y.add_(c[2])).clamp_(-bound, bound)
        steep = slope_x.mul_(slope_x).addcmul_(slope_y, slope_y).add_(1).rsqrt_()
        return z.sub_(height).mul_(steep).clamp_(-bound, bound).permute(2, 1, 0)


def regions_last(array: Tensor, kept: int = 0) -> Tensor:
    """(..., R) the same array (R, ...) with regions as its last axis, in memory too.

    The order of the other axes is turned round, but for kept = 1.
    """
    axes = range(1, array.dim())
    return array.permute(*(axes if kept else reversed(axes)), 0).contiguous()


def along(points_3PR: Tensor, axis_M3R: Tensor, origin_M3R: Tensor | None = None) -> Tensor:
    """(M, P, R) coordinates of points (3, P, R) along axes (M, 3, R), from the origins (M, 3, R) of these, if any."""
    found = axis_M3R[:, 0, None] * points_3PR[0]
    if origin_M3R is not None:
        found -= (axis_M3R * origin_M3R).sum(1)[:, None]
    return found.addcmul_(axis_M3R[:, 1, None], points_3PR[1]).addcmul_(axis_M3R[:, 2, None], points_3PR[2])


def share_out(points_RP3: Tensor, normals_RP3: Tensor, mask_RP: Tensor) -> Tensor:
    """(R, P, 5) which points each of two sheets, and each of three, sees.

    points, normals (R, P, 3) with mask (R, P) of those that are there. A point may be seen by several sheets.
    """
    points_3PR, normals_3PR, mask_PR = (regions_last(part) for part in (points_RP3, normals_RP3, mask_RP))
    weight_PR = mask_PR * torch.exp(-SHEET.locality * points_3PR.square().sum(0))
    weight_PR = weight_PR / weight_PR.sum(0).clamp_min(1e-9)
    off_3PR = normals_3PR - (weight_PR * normals_3PR).sum(1, keepdim=True)
    covariance_33R = ((weight_PR * off_3PR)[:, None] * off_3PR).sum(2)
    axis_R3 = leading_axis(covariance_33R.permute(2, 0, 1).contiguous())
    first_PR = along(off_3PR, axis_R3.T[None])[0] > 0
    share = torch.stack([first_PR, ~first_PR]).to(points_RP3.dtype)
    for _ in range(SHEET.steps):
        center, normal = planes(points_3PR, normals_3PR, weight_PR * share)
        cost_MPR = plane_cost(points_3PR, normals_3PR, center, normal)
        share = torch.softmax(-0.5 * cost_MPR, 0)
    two = share
    worst = (cost_MPR.amin(0).clamp(max=SHEET.farthest) * weight_PR).T.argmax(1)[None, None].expand(3, 1, -1)
    center, normal = (torch.cat([part, every.gather(1, worst).view(1, 3, -1)]) for part, every in ((center, points_3PR), (normal, normals_3PR)))
    for _ in range(SHEET.steps):
        share = torch.softmax(-0.5 * plane_cost(points_3PR, normals_3PR, center, normal), 0)
        center, normal = planes(points_3PR, normals_3PR, weight_PR * share)
    own = [((part >= part.amax(0)) | (part > SHEET.shared)) & mask_PR for part in (two, share)]
    seen_MPR = torch.cat(own)
    few_M1R = seen_MPR.sum(1, keepdim=True, dtype=torch.int32) < SHEET.fewest
    return (seen_MPR | (few_M1R & mask_PR)).permute(2, 1, 0)


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


def planes(points_3PR: Tensor, normals_3PR: Tensor, weight_MPR: Tensor) -> tuple[Tensor, Tensor]:
    """Mean position and unit mean normal (M, 3, R) of each sheet, whose points count by weight (M, P, R)."""
    center = (weight_MPR[:, None] * points_3PR).sum(2) / weight_MPR.sum(1).clamp_min(1e-9)[:, None]
    normal = (weight_MPR[:, None] * normals_3PR).sum(2)
    return center, normal / normal.square().sum(1, keepdim=True).sqrt_().clamp_min_(1e-9)


def plane_cost(points_3PR: Tensor, normals_3PR: Tensor, center_M3R: Tensor, normal_M3R: Tensor) -> Tensor:
    """(M, P, R) how badly each plane explains each point: squares of its height and of the turn of its normal, in standard deviations."""
    height = along(points_3PR, normal_M3R, center_M3R)
    cosine = along(normals_3PR, normal_M3R)
    return height.square_().div_(SHEET.height**2).add_(cosine.mul_(-2).add_(2), alpha=SHEET.turn**-2)


def fit_quadrics(points_RP3: Tensor, normals_RP3: Tensor, seen_RPM: Tensor) -> Quadrics:
    """The quadric of each sheet through the points that it sees, seen (R, P, M) bool.

    The same least squares as `jets.fit_jets`, with fixed weights exp(-|p|^2), of degree two.
    """
    points_3PR, normals_3PR, seen_MPR = (regions_last(part) for part in (points_RP3, normals_RP3, seen_RPM))
    weight_MPR = seen_MPR * torch.exp(-points_3PR.square().sum(0))
    weight_MPR = weight_MPR / weight_MPR.sum(1, keepdim=True).clamp_min(1e-9)
    origin_M3R, z_M3R = planes(points_3PR, normals_3PR, weight_MPR)
    z_RM3 = z_M3R.permute(2, 0, 1)
    z_RM3 = torch.where(z_RM3.norm(dim=2, keepdim=True) > 0.5, z_RM3, z_RM3.new_tensor([0.0, 0.0, 1.0]))
    first, second = tangent_basis(z_RM3.flatten(0, 1))
    axes_RM33 = torch.stack([first.view(z_RM3.shape), second.view(z_RM3.shape), z_RM3], 2)
    axes_M33R = regions_last(axes_RM33, 1)
    x, y, z = (along(points_3PR, axes_M33R[:, i], origin_M3R) for i in range(3))  # (M, P, R)
    nx, ny, nz = (along(normals_3PR, axes_M33R[:, i]) for i in range(3))
    slope = SHEET.normals * weight_MPR * nz
    h, s = moments(weight_MPR, x, y, 4), moments(slope * nz, x, y, 2)  # of heights, of slopes
    none = torch.zeros_like(s[0, 0])
    lower = [  # of the symmetric matrix of the coefficients of 1, x, y, x^2, x y, y^2, row by row
        *(h[0, 0],),
        *(h[1, 0], h[2, 0] + s[0, 0]),
        *(h[0, 1], h[1, 1], h[0, 2] + s[0, 0]),
        *(h[2, 0], h[3, 0] + 2 * s[1, 0], h[2, 1], h[4, 0] + 4 * s[2, 0]),
        *(h[1, 1], h[2, 1] + s[0, 1], h[1, 2] + s[1, 0], h[3, 1] + 2 * s[1, 1], h[2, 2] + s[2, 0] + s[0, 2]),
        *(h[0, 2], h[1, 2], h[0, 3] + 2 * s[0, 1], h[2, 2], h[1, 3] + 2 * s[1, 1], h[0, 4] + 4 * s[0, 2]),
    ]
    matrix = [lower[i * (i + 1) // 2 + j] if j <= i else none for i in range(QUADRIC) for j in range(QUADRIC)]
    b, u, v = moments(weight_MPR * z, x, y, 2), moments(slope * nx, x, y, 1), moments(slope * ny, x, y, 1)
    right = [b[0, 0], b[1, 0] - u[0, 0], b[0, 1] - v[0, 0], b[2, 0] - 2 * u[1, 0], b[1, 1] - u[0, 1] - v[1, 0], b[0, 2] - 2 * v[0, 1]]
    ridge = torch.diag(nz.new_tensor([SHEET.ridge[0]] * 3 + [SHEET.ridge[1]] * 3))
    normal_RM66 = torch.stack(matrix).permute(2, 1, 0).reshape(*z_RM3.shape[:2], QUADRIC, QUADRIC) + ridge
    factor, _ = torch.linalg.cholesky_ex(normal_RM66)
    solved = torch.cholesky_solve(torch.stack(right).permute(2, 1, 0)[..., None], factor)[..., 0]
    return Quadrics(origin_M3R.permute(2, 0, 1), axes_RM33, solved.clamp(-JET.largest, JET.largest))


def moments(weight: Tensor, x: Tensor, y: Tensor, degree: int) -> dict[tuple[int, int], Tensor]:
    """(M, R) for each i + j <= degree, the sum over the points of weight x^i y^j; all (M, P, R)."""
    terms = {(0, 0): weight}
    for total in range(1, degree + 1):
        terms |= {(i, total - i): terms[i - 1, total - i] * x if i else terms[0, total - 1] * y for i in range(total + 1)}
    return {powers: term.sum(1) for powers, term in terms.items()}
