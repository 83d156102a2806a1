"""Canonical frames: they turn with the shape, and what has no direction of its own gets one that the docstring names."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import torch
from shapes import rotation, wavy_regions
from torch import Tensor

from lpdif.core.frames import FRAME, Frames, canonical_frames, tangent_basis

POLES = [[0, 0, 1], [0, 0, -1], [0, 0, -0.0], [1, 0, 0], [0, -1, 0], [1e-9, 0, -1]]


def whole(points: Tensor) -> Tensor:
    """The mask of regions all of whose rows are points."""
    return torch.ones(points.shape[:2], dtype=torch.bool)


def frames_of(points: Tensor, normals: Tensor) -> Frames:
    return canonical_frames(points, normals, whole(points))


@pytest.mark.parametrize("regions", [1, 3])
@pytest.mark.parametrize("points", [2, 5, 40])
@pytest.mark.parametrize("padding", [0, 3])
def test_frames_agree_with_one_region_at_a_time(regions: int, points: int, padding: int) -> None:
    place, normals = wavy_regions(regions, points, seed=points)
    pad = (0, 0, 0, padding)
    mask = torch.nn.functional.pad(whole(place), (0, padding))
    found = canonical_frames(torch.nn.functional.pad(place, pad), torch.nn.functional.pad(normals, pad), mask)
    for r in range(regions):
        origin, axes = naive.canonical_frame(place[r].numpy(), normals[r].numpy())
        np.testing.assert_allclose(found.origin[r], origin, atol=1e-12)
        np.testing.assert_allclose(found.axes[r], axes, atol=1e-7)


@pytest.mark.parametrize("seed", range(4))
def test_frames_turn_with_the_shape(seed: int) -> None:
    points, normals = wavy_regions(6, 30, seed)
    turn = torch.from_numpy(rotation(seed + 50))
    before, after = frames_of(points, normals), frames_of(points @ turn.T, normals @ turn.T)
    torch.testing.assert_close(after.origin, before.origin @ turn.T)
    torch.testing.assert_close(after.axes, before.axes @ turn.T, atol=1e-7, rtol=0)
    torch.testing.assert_close(after.inward(points @ turn.T), before.inward(points), atol=1e-7, rtol=0)
    torch.testing.assert_close(after.turned(normals @ turn.T), before.turned(normals), atol=1e-7, rtol=0)


def test_frames_do_not_depend_on_the_order_of_the_points() -> None:
    points, normals = wavy_regions(4, 20, 1)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0))
    before, after = frames_of(points, normals), frames_of(points[:, order], normals[:, order])
    torch.testing.assert_close(after.axes, before.axes)
    torch.testing.assert_close(after.origin, before.origin)


def test_half_turns_turn_about_the_normal() -> None:
    points, normals = wavy_regions(12, 20, 2)
    chosen = torch.arange(12) % 2 == 0
    one, other = (canonical_frames(points, normals, whole(points), half) for half in (chosen, ~chosen))
    torch.testing.assert_close(one.axes, other.axes * torch.tensor([-1.0, -1.0, 1.0])[:, None])
    by_rule = frames_of(points, normals)
    same = (by_rule.axes == one.axes).flatten(1).all(1)
    assert torch.equal(same | (by_rule.axes == other.axes).flatten(1).all(1), torch.ones(12, dtype=torch.bool))
    assert 0 < int(same.sum()) < 12


@pytest.mark.parametrize("points", [1, 2, 7, 64])
@pytest.mark.parametrize("kind", ["random", "plane", "opposed", "none"])
def test_axes_are_right_handed_rotations(points: int, kind: str) -> None:
    place, normals = wavy_regions(8, points, 3)
    mask = whole(place)
    if kind == "plane":
        normals = torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64).expand_as(normals)
    elif kind == "opposed":
        normals = normals[:, :1] * torch.where(torch.arange(points) % 2 == 0, 1.0, -1.0)[:, None]
    elif kind == "none":
        mask = ~mask
    axes = canonical_frames(place.float(), normals.float(), mask).axes
    torch.testing.assert_close(axes @ axes.transpose(1, 2), torch.eye(3).expand(8, 3, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(torch.linalg.det(axes), torch.ones(8), atol=1e-5, rtol=0)


def test_a_region_without_points_gets_the_identity_at_its_centre() -> None:
    points = torch.zeros(2, 4, 3)
    found = canonical_frames(points, points, torch.zeros(2, 4, dtype=torch.bool))
    assert torch.equal(found.origin, torch.zeros(2, 3))
    assert torch.equal(found.axes, torch.eye(3).expand(2, 3, 3))


def test_opposing_sheets_take_the_normal_of_the_nearest_point() -> None:
    """Two parallel sheets at unlike heights: their mean normal is short."""
    rng = np.random.default_rng(0)
    xy = torch.from_numpy(rng.uniform(-0.8, 0.8, (1, 40, 2)))
    height = torch.where(torch.arange(40) % 2 == 0, 0.05, -0.2).double()
    points = torch.cat([xy, height.expand(1, 40)[..., None]], 2)
    normals = torch.zeros_like(points)
    normals[..., 2] = height.sign()
    nearest = points.square().sum(2).argmin()
    found = frames_of(points, normals)
    torch.testing.assert_close(found.axes[0, 2], normals[0, nearest])
    flipped = frames_of(points, -normals)
    torch.testing.assert_close(flipped.axes[0, 2], -normals[0, nearest])


def test_the_mean_normal_rules_as_long_as_it_is_long_enough() -> None:
    tilt = np.arccos(FRAME.opposed + 0.05)
    points = torch.tensor([[[0.1, 0.0, 0.0], [-0.1, 0.0, 0.0]]], dtype=torch.float64)
    normals = torch.tensor([[[np.sin(tilt), 0.0, np.cos(tilt)], [-np.sin(tilt), 0.0, np.cos(tilt)]]])
    torch.testing.assert_close(frames_of(points, normals).axes[0, 2], torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(frames_of(points, normals).axes[0, 0].abs(), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64))


def test_what_is_masked_out_is_not_seen() -> None:
    points, normals = wavy_regions(3, 12, 4)
    mask = torch.arange(12) < torch.tensor([[12], [5], [1]])
    junk = torch.where(mask[..., None], points, 0.3), torch.where(mask[..., None], normals, -0.7)
    for a, b in zip(canonical_frames(points, normals, mask), canonical_frames(*junk, mask), strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tangent_bases_at_the_poles_and_between(dtype: torch.dtype) -> None:
    z = torch.nn.functional.normalize(torch.cat([torch.tensor(POLES), torch.randn(50, 3, generator=torch.Generator().manual_seed(0))]))
    z[2] = torch.tensor([0.0, 0.0, 1.0])
    first, second = tangent_basis(z.to(dtype))
    basis = torch.stack([first, second, z.to(dtype)], 1)
    torch.testing.assert_close(basis @ basis.transpose(1, 2), torch.eye(3, dtype=dtype).expand_as(basis), atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.linalg.det(basis), torch.ones(len(z), dtype=dtype), atol=1e-6, rtol=0)
