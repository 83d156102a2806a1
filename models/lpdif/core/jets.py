"""Jets: the surface of a region as a cubic height over its tangent plane.

    h(x, y) = sum over i + j <= 3 of c_ij x^i y^j        signed distance ~ (z - h) / sqrt(1 + |grad h|^2)

A jet is fitted to points and normals. It is what CoFie's quadratic last layer stands for (NeurIPS 2024), but solved for, not learned: with
weights that the encoder chooses for each point (as in DeepFit, ECCV 2020) the linear part of every region's description is exact, and the
decoder is left with what a polynomial cannot say: edges, corners, sheets, noise.
Letters: R regions, P points, Q queries of a region, J = 10 coefficients. All in the region's canonical frame, in region sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

POWERS = ((0, 0), (1, 0), (0, 1), (2, 0), (1, 1), (0, 2), (3, 0), (2, 1), (1, 2), (0, 3))
COEFFICIENTS = len(POWERS)


class JetSettings(NamedTuple):
    """Bounds of the cubic height field; lengths are in region sizes."""

    radius: float = 1.5  # Coordinates are divided by this, so that monomials of points in the halo stay below about 1.
    largest: float = 4.0  # A larger coefficient comes from points that are no height field.
    steepest: float = 3.0  # Heights and slopes are held within this: a cubic means nothing far from its points.


JET = JetSettings()


def monomials(xy: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Monomials at (..., 2) positions and their derivatives by x and by y: three (..., J) tensors."""
    x, y = (xy / JET.radius).unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    xx, xy_, yy = x * x, x * y, y * y
    value = torch.stack([one, x, y, xx, xy_, yy, xx * x, xx * y, x * yy, yy * y], -1)
    by_x = torch.stack([zero, one, zero, 2 * x, y, zero, 3 * xx, 2 * xy_, yy, zero], -1) / JET.radius
    by_y = torch.stack([zero, zero, one, zero, x, 2 * y, zero, xx, 2 * xy_, 3 * yy], -1) / JET.radius
    return value, by_x, by_y


def fit_jets(points_RP3: Tensor, normals_RP3: Tensor, position_RP: Tensor, slope_RP: Tensor, ridge_J: Tensor) -> Tensor:
    """(R, J) coefficients that minimise

        sum_p position_p (h(x_p, y_p) - z_p)^2 + slope_p |n_z grad h + (n_x, n_y)|^2  +  sum_j ridge_j c_j^2

    with weights position, slope (R, P) >= 0, zero where a row holds no point, and ridge (J,) > 0. Regions without points get
    zeros.
    """
    value, by_x, by_y = monomials(points_RP3[..., :2])
    nx, ny, nz = normals_RP3.unbind(-1)
    rows = torch.cat([value, by_x * nz[..., None], by_y * nz[..., None]], 1)  # (R, 3P, J)
    wanted = torch.cat([points_RP3[..., 2], -nx, -ny], 1)
    weight = torch.cat([position_RP, slope_RP, slope_RP], 1)
    weighted = rows * weight[..., None]
    normal_RJJ = weighted.transpose(1, 2) @ rows + torch.diag(ridge_J)
    right_RJ1 = weighted.transpose(1, 2) @ wanted[..., None]
    factor, _ = torch.linalg.cholesky_ex(normal_RJJ)
    return torch.cholesky_solve(right_RJ1, factor)[..., 0].clamp(-JET.largest, JET.largest)


def jet_distance(jets_RJ: Tensor, points_RQ3: Tensor) -> Tensor:
    """(R, Q) first-order signed distance of points (R, Q, 3) to the jets (R, J).

    The result, and the heights and slopes of the jets, are held within +-JET.steepest.
    """
    x, y, z = points_RQ3.unbind(-1)
    x, y = x / JET.radius, y / JET.radius
    c = jets_RJ[..., None].unbind(-2)
    # h = c_0 + x (c_1 + a x + b y) + y (c_2 + d y): a few operations on long rows, where products of matrices would be tiny
    a, b, d = c[3] + c[6] * x + c[7] * y, c[4] + c[8] * y, c[5] + c[9] * y
    by = b * y
    height = c[0] + x * (c[1] + a * x + by) + y * (c[2] + d * y)
    slope_x = (c[1] + x * (2 * a + c[6] * x) + by) / JET.radius
    slope_y = (c[2] + x * (c[7] * x + c[4] + 2 * c[8] * y) + y * (2 * d + c[9] * y)) / JET.radius
    bound = JET.steepest
    height, slope_x, slope_y = (part.clamp(-bound, bound) for part in (height, slope_x, slope_y))
    distance = (z - height) * torch.rsqrt(1 + slope_x.square() + slope_y.square())
    return distance.clamp(-bound, bound)
