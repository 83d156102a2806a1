"""What a field is asked: signed distance and gradient at points of any shape, from numpy or torch.

Letters: Q queries.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from lpdif.arrays import FloatArray
from lpdif.errors import UsageError


class QuerySettings(NamedTuple):
    """How the gradient is taken."""

    step: float = 0.01  # Half the distance of the two values of a difference, in finest region sizes: single precision and curvature err alike.


QUERY = QuerySettings()


class PointQueries(ABC):
    """Signed distances and gradients at points in the forms that users have them.

    Points are one point (3,), a list of them, or an array or tensor (..., 3) of numbers. Arrays and lists give float64. A tensor gives a tensor
    on its device; of its type where that is a floating-point one, else of torch's default type. It is computed on the field's device.
    """

    @property
    @abstractmethod
    def finest(self) -> float:
        """The size of the finest regions, in the unit of the points."""

    @abstractmethod
    def distances(self, points: FloatArray) -> FloatArray:
        """(Q,) signed distance at positions (Q, 3); NaN where it is not known."""

    @overload
    def sdf(self, points: Tensor) -> Tensor: ...
    @overload
    def sdf(self, points: ArrayLike) -> FloatArray: ...
    def sdf(self, points: Any) -> Any:
        """Signed distance (...) at points (..., 3), negative inside, in their unit; one number for one point.

        NaN where no region reaches: from about a region's size off the surface on. Gradients flow through it to a tensor of points (once, not
        twice); where the distance is NaN they are 0. Raises UsageError for another shape or type, and for NaN and infinity among points.
        """
        if isinstance(points, Tensor):
            return _Distance.apply(floating(checked_tensor(points)), self)  # type: ignore[no-untyped-call]
        rows = checked_array(points)
        return self.distances(rows.reshape(-1, 3)).reshape(rows.shape[:-1])[()]

    @overload
    def gradient(self, points: Tensor) -> Tensor: ...
    @overload
    def gradient(self, points: ArrayLike) -> FloatArray: ...
    def gradient(self, points: Any) -> Any:
        """Gradient (..., 3) of the signed distance at points (..., 3): at the surface, about its outward unit normal.

        By central differences over 0.01 finest region sizes to both sides. NaN where the distance is not known so far around. Raises as `sdf`
        does. A gradient of a tensor is a constant for torch.
        """
        if isinstance(points, Tensor):
            good = floating(checked_tensor(points)).detach()
            return torch.from_numpy(self.gradient(good.double().cpu().numpy())).to(good)
        rows = checked_array(points)
        return self._differences(rows.reshape(-1, 3)).reshape(rows.shape)

    def _differences(self, points: FloatArray) -> FloatArray:
        """(Q, 3) the central differences at positions (Q, 3)."""
        step = QUERY.step * self.finest
        sides = points[:, None, None] + step * np.array([np.eye(3), -np.eye(3)])
        ahead, behind = self.distances(sides.reshape(-1, 3)).reshape(-1, 2, 3).transpose(1, 0, 2)
        return np.asarray((ahead - behind) / (2 * step))


class _Distance(torch.autograd.Function):
    """The signed distance as a function of torch, whose derivative is the gradient of the field."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, field: PointQueries) -> Tensor:
        """(...) distances at points (..., 3) of a floating-point type."""
        rows = points.detach().double().cpu().numpy()
        found = torch.from_numpy(field.distances(rows.reshape(-1, 3)).reshape(rows.shape[:-1])).to(points)
        ctx.save_for_backward(points, found)
        ctx.field = field
        return found

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, passed: Tensor) -> tuple[Tensor, None]:
        """The gradient with respect to the points; the field itself has none."""
        points, found = ctx.saved_tensors
        slope = ctx.field.gradient(points).nan_to_num(0.0)
        return torch.where(found.isnan(), 0.0, passed)[..., None] * slope, None


def checked_array(points: Any) -> FloatArray:
    """Points as an array (..., 3). Raises UsageError where they are none."""
    try:
        rows = np.asarray(points)
    except (ValueError, TypeError) as error:  # rows of different lengths
        raise UsageError(f"points are no array: {error}", "give numbers of the shape (3,) or (..., 3)") from None
    if rows.dtype.kind not in "iuf":
        raise UsageError(f"points are no numbers, but {rows.dtype}", "give numbers of the shape (3,) or (..., 3)")
    check_shape(rows.shape)
    rows = rows.astype(np.float64, copy=False)
    check_finite(int(np.count_nonzero(~np.isfinite(rows).all(axis=-1))), rows.size // 3)
    return rows


def checked_tensor(points: Tensor) -> Tensor:
    """A tensor (..., 3) of finite numbers. Raises UsageError for another one."""
    if points.dtype == torch.bool or points.is_complex() or points.layout != torch.strided:
        raise UsageError(f"points are no numbers, but {points.dtype}, {points.layout}", "give a dense tensor of numbers, (3,) or (..., 3)")
    check_shape(tuple(points.shape))
    check_finite(int((~points.isfinite().all(dim=-1)).sum()), points.numel() // 3)
    return points


def check_shape(shape: tuple[int, ...]) -> None:
    """Raises UsageError unless the last of the lengths is 3."""
    if shape[-1:] != (3,):
        raise UsageError(f"points have the shape {shape}, expected (3,) or (..., 3)", "one row a point, with x, y and z")


def check_finite(bad: int, count: int) -> None:
    """Raises UsageError where so many of the points are not finite."""
    if bad:
        raise UsageError(f"{bad:,} of {count:,} points hold NaN or infinity", "leave them out: points[isfinite(points).all(-1)]")


def floating(points: Tensor) -> Tensor:
    """The tensor; of torch's default type where it holds whole numbers."""
    return points if points.is_floating_point() else points.to(torch.get_default_dtype())
