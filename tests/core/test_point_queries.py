"""sdf and gradient for points in any form, on a sphere that is known and on a real field."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from shapes import random_field

from lpdif.core.point_queries import PointQueries
from lpdif.errors import UsageError

FloatArray = NDArray[np.float64]


class Sphere(PointQueries):
    """The exact distance to a sphere, known up to half a radius off it."""

    radius = 2.0
    finest = 1.0

    def distances(self, points: FloatArray) -> FloatArray:
        assert points.ndim == 2
        found = np.linalg.norm(points, axis=1) - self.radius
        return np.where(np.abs(found) < 1, found, np.nan)


SPHERE = Sphere()


def near(*shape: int, seed: int = 0) -> FloatArray:
    """Points (*shape, 3) near the sphere."""
    rng = np.random.default_rng(seed)
    way = rng.normal(size=(*shape, 3))
    return np.asarray(way / np.linalg.norm(way, axis=-1, keepdims=True) * rng.uniform(1.2, 2.8, (*shape, 1)))


def test_one_point_is_one_number() -> None:
    found = SPHERE.sdf([0, 0, 2.5])
    assert (np.shape(found), found) == ((), 0.5)
    assert isinstance(found, float)  # numpy's float64 is one
    np.testing.assert_allclose(SPHERE.gradient((0, 0, 2.5)), [0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("shape", [(0,), (1,), (7,), (2, 3), (2, 1, 4)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    place = near(*shape)
    assert SPHERE.sdf(place).shape == shape
    np.testing.assert_allclose(SPHERE.sdf(place), np.linalg.norm(place, axis=-1) - 2)
    np.testing.assert_allclose(SPHERE.gradient(place), place / np.linalg.norm(place, axis=-1, keepdims=True), atol=1e-4)
    np.testing.assert_array_equal(SPHERE.sdf(place.tolist()) if shape != (0,) else [], SPHERE.sdf(place))
    np.testing.assert_array_equal(SPHERE.sdf(torch.from_numpy(place)).numpy(), SPHERE.sdf(place))


@pytest.mark.parametrize(
    ("kind", "result"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.float16, torch.float16),
        (torch.int64, torch.float32),
        (torch.uint8, torch.float32),
    ],
)
def test_a_tensor_gives_a_tensor_of_its_type(kind: torch.dtype, result: torch.dtype) -> None:
    place = torch.tensor([[0, 0, 2], [0, 2, 0]], dtype=kind)
    assert (SPHERE.sdf(place).dtype, SPHERE.gradient(place).dtype) == (result, result)
    assert SPHERE.sdf(place).tolist() == [0, 0]
    assert SPHERE.sdf(place[0]).shape == ()


def test_not_known_is_nan() -> None:
    assert np.isnan(SPHERE.sdf([0, 0, 9.0]))
    assert np.isnan(SPHERE.gradient([[0, 0, 9.0]])).all()


def test_gradients_flow_to_the_points() -> None:
    place = torch.tensor(near(2, 5), requires_grad=True)
    assert torch.autograd.gradcheck(SPHERE.sdf, place, eps=1e-4, atol=1e-3)
    (SPHERE.sdf(place).square().sum() * 3).backward()  # type: ignore[no-untyped-call]
    assert place.grad is not None
    length = place.detach().norm(dim=-1, keepdim=True)
    torch.testing.assert_close(place.grad, 6 * (length - 2) * place.detach() / length, atol=1e-3, rtol=0)
    assert not SPHERE.gradient(place).requires_grad
    assert not SPHERE.sdf(place.detach()).requires_grad


def test_no_gradient_comes_out_of_nan() -> None:
    place = torch.tensor([[0, 0, 2.5], [0, 0, 9.0], [0, 0, 2.9999]], dtype=torch.float64, requires_grad=True)
    SPHERE.sdf(place).nan_to_num(0.0).sum().backward()  # type: ignore[no-untyped-call]
    assert place.grad is not None
    torch.testing.assert_close(place.grad[0], torch.tensor([0, 0, 1.0], dtype=torch.float64))
    assert place.grad[1].tolist() == [0, 0, 0]
    assert place.grad.isfinite().all()


def test_points_can_be_moved_to_the_surface() -> None:
    place = torch.tensor(near(50), dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.SGD([place], lr=0.25)
    for _ in range(20):
        optimizer.zero_grad()
        SPHERE.sdf(place).square().sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert (place.detach().norm(dim=1) - 2).abs().max() < 1e-3


BAD: list[tuple[Any, str]] = [
    (5.0, r"points have the shape \(\), expected \(3,\) or \(\.\.\., 3\)"),
    ([], r"the shape \(0,\)"),
    ([1, 2], r"the shape \(2,\)"),
    (np.zeros((3, 2)), r"the shape \(3, 2\)"),
    ([[1, 2, 3], [4, 5]], "points are no array"),
    ("abc", "points are no numbers, but <U3"),
    (None, "points are no numbers, but object"),
    ([True, False, True], "points are no numbers, but bool"),
    ([1j, 0, 0], "points are no numbers, but complex"),
    ([[0, 0, 0], [0, np.nan, 0]], "1 of 2 points hold NaN or infinity"),
    ([0, 0, np.inf], "1 of 1 points hold NaN or infinity"),
    (torch.zeros(4), r"the shape \(4,\)"),
    (torch.zeros(2, 3, dtype=torch.bool), r"points are no numbers, but torch.bool"),
    (torch.zeros(2, 3, dtype=torch.complex64), r"points are no numbers, but torch.complex64"),
    (torch.tensor([[0, 0, torch.nan]]), "1 of 1 points hold NaN or infinity"),
    (torch.zeros(2, 3).to_sparse(), "torch.sparse_coo"),
]


@pytest.mark.parametrize(("points", "message"), BAD)
def test_what_is_no_point_is_refused(points: Any, message: str) -> None:
    for ask in (SPHERE.sdf, SPHERE.gradient):
        with pytest.raises(UsageError, match=message) as caught:
            ask(points)
        assert caught.value.hint


def test_a_field_of_regions_has_the_slope_that_its_values_have() -> None:
    """Against differences over other steps."""
    field = random_field(np.random.default_rng(0).uniform(-1, 1, (12, 3)), 0.35, 3, 2)
    place = np.random.default_rng(1).uniform(-0.8, 0.8, (200, 3))
    slope = field.gradient(place)
    good = np.isfinite(slope).all(axis=1)
    assert good.mean() > 0.5
    step = 0.02 * field.finest
    other = np.stack([(field.distances(place + step * axis) - field.distances(place - step * axis)) / (2 * step) for axis in np.eye(3)], 1)
    assert np.nanmedian(np.abs(slope - other)[good]) < 0.01 * np.nanmedian(np.abs(other))
    both = torch.tensor(place, requires_grad=True)
    field.sdf(both).nan_to_num(0.0).sum().backward()  # type: ignore[no-untyped-call]
    assert both.grad is not None
    np.testing.assert_array_equal(both.grad.numpy()[good], slope[good])
