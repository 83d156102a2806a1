"""Jets: cubic heights come back exactly, spheres to fourth order, and the batched solver agrees with an ordinary one."""

from __future__ import annotations

import naive
import numpy as np
import pytest
import torch
from shapes import wavy_regions
from torch import Tensor

from lpdif.core.jets import COEFFICIENTS, JET, POWERS, fit_jets, jet_distance, monomials

FAINT = torch.full((COEFFICIENTS,), 1e-13, dtype=torch.float64)


def height_field(jet: Tensor, xy: Tensor) -> tuple[Tensor, Tensor]:
    """Points of the jet over positions (P, 2), and their unit normals: (1, P, 3) each."""
    value, by_x, by_y = monomials(xy)
    normals = torch.stack([-(by_x @ jet), -(by_y @ jet), torch.ones(len(xy), dtype=xy.dtype)], -1)
    return torch.cat([xy, (value @ jet)[:, None]], 1)[None], torch.nn.functional.normalize(normals, dim=-1)[None]


def test_monomials_and_their_slopes() -> None:
    xy = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value, by_x, by_y = monomials(xy)
    for j, (a, b) in enumerate(POWERS):
        torch.testing.assert_close(value[:, j], (xy[:, 0] / JET.radius) ** a * (xy[:, 1] / JET.radius) ** b)
        gradient = torch.zeros_like(xy) if j == 0 else torch.autograd.grad(value[:, j].sum(), xy, retain_graph=True)[0]
        torch.testing.assert_close(torch.stack([by_x[:, j], by_y[:, j]], 1), gradient)


@pytest.mark.parametrize("regions", [0, 1, 3])
@pytest.mark.parametrize("points", [0, 1, 4, 30])
@pytest.mark.parametrize("ridge", [1e-4, 0.3])
def test_jets_agree_with_an_ordinary_solver(regions: int, points: int, ridge: float) -> None:
    place, normals = wavy_regions(max(1, regions), max(1, points), seed=points)
    place, normals = place[:regions, :points], normals[:regions, :points]
    rng = torch.Generator().manual_seed(points)
    position, slope = torch.rand((2, regions, points), dtype=torch.float64, generator=rng)
    position[:, ::3] = 0
    ridges = ridge * torch.arange(1, COEFFICIENTS + 1, dtype=torch.float64)
    found = fit_jets(place, normals, position, slope, ridges)
    assert found.shape == (regions, COEFFICIENTS)
    for r in range(regions):
        expected = naive.fit_jet(*(part[r].numpy() for part in (place, normals, position, slope)), ridges.numpy())
        np.testing.assert_allclose(found[r], expected, atol=1e-6)


@pytest.mark.parametrize("slope", [0.0, 0.3])
def test_cubics_come_back_exactly(slope: float) -> None:
    generator = torch.Generator().manual_seed(1)
    jet = 0.5 * torch.randn(COEFFICIENTS, dtype=torch.float64, generator=generator)
    points, normals = height_field(jet, 2 * torch.rand((25, 2), dtype=torch.float64, generator=generator) - 1)
    weight = torch.rand((1, 25), dtype=torch.float64, generator=generator) + 0.1
    found = fit_jets(points, normals, weight, slope * weight, FAINT)
    torch.testing.assert_close(found[0], jet, atol=1e-6, rtol=0)
    torch.testing.assert_close(jet_distance(found, points), torch.zeros(1, 25, dtype=torch.float64), atol=1e-7, rtol=0)


def test_normals_alone_give_the_shape_up_to_its_height() -> None:
    jet = torch.linspace(-0.4, 0.5, COEFFICIENTS, dtype=torch.float64)
    points, normals = height_field(jet, 2 * torch.rand((30, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(2)) - 1)
    points = points + torch.tensor([0.0, 0.0, 5.0], dtype=torch.float64)
    weight = torch.ones((1, 30), dtype=torch.float64)
    found = fit_jets(points, normals, 0 * weight, weight, FAINT)
    torch.testing.assert_close(found[0, 1:], jet[1:], atol=1e-5, rtol=0)


def test_spheres_are_met_to_fourth_order() -> None:
    """Halving the neighbourhood divides the error by 2^4."""
    errors = []
    for reach in (0.2, 0.1, 0.05):
        xy = reach * (2 * torch.rand((200, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(3)) - 1)
        z = torch.sqrt(1 - xy.square().sum(1)) - 1
        points = torch.cat([xy, z[:, None]], 1)[None]
        normals = torch.cat([xy, 1 + z[:, None]], 1)[None]
        weight = torch.ones((1, 200), dtype=torch.float64)
        jet = fit_jets(points, normals, weight, weight, FAINT)
        errors.append(float(((monomials(xy)[0] @ jet[0]) - z).abs().max()))
    assert 14 < errors[0] / errors[1] < 20
    assert 14 < errors[1] / errors[2] < 20


def test_distance_to_a_tilted_plane_is_exact() -> None:
    normal = torch.nn.functional.normalize(torch.tensor([0.4, -0.3, 1.0], dtype=torch.float64), dim=0)
    jet = torch.zeros(1, COEFFICIENTS, dtype=torch.float64)
    jet[0, :3] = torch.stack([torch.tensor(0.2, dtype=torch.float64), -JET.radius * normal[0] / normal[2], -JET.radius * normal[1] / normal[2]])
    points = torch.randn((1, 50, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    expected = points @ normal - 0.2 * normal[2]
    torch.testing.assert_close(jet_distance(jet, points), expected.clamp(-JET.steepest, JET.steepest))


@pytest.mark.parametrize("regions", [1, 3])
@pytest.mark.parametrize("queries", [0, 1, 6])
def test_distances_agree_with_one_point_at_a_time(regions: int, queries: int) -> None:
    generator = torch.Generator().manual_seed(5)
    jets = torch.randn((regions, COEFFICIENTS), dtype=torch.float64, generator=generator)
    points = 2 * torch.randn((regions, queries, 3), dtype=torch.float64, generator=generator)
    found = jet_distance(jets, points)
    assert found.shape == (regions, queries)
    for r in range(regions):
        for q in range(queries):
            assert float(found[r, q]) == pytest.approx(naive.jet_distance(jets[r].numpy(), points[r, q].numpy()), abs=1e-12)


def test_no_points_no_jet() -> None:
    points, normals = wavy_regions(3, 6)
    nothing = torch.zeros(3, 6, dtype=torch.float64)
    assert torch.equal(fit_jets(points, normals, nothing, nothing, FAINT), torch.zeros(3, COEFFICIENTS, dtype=torch.float64))


def test_wild_points_stay_within_bounds() -> None:
    """A vertical wall is no height field: coefficients and distances are held."""
    generator = torch.Generator().manual_seed(6)
    points = torch.cat([torch.zeros(1, 20, 1), torch.rand((1, 20, 2), generator=generator)], 2) + 1e-3 * torch.rand(
        (1, 20, 3), generator=generator
    )
    normals = torch.tensor([1.0, 0.0, 0.0]).expand(1, 20, 3)
    weight = torch.ones(1, 20)
    jet = fit_jets(points, normals, weight, weight, torch.full((COEFFICIENTS,), 1e-4))
    assert bool(jet.isfinite().all())
    assert float(jet.abs().max()) <= JET.largest
    far = 10 * torch.randn((1, 500, 3), generator=generator)
    assert float(jet_distance(jet, far).abs().max()) <= JET.steepest


def test_single_precision_suffices() -> None:
    points, normals = wavy_regions(20, 40, 7)
    weight = torch.exp(-points.square().sum(2))
    ridge = torch.exp(torch.tensor([-9.0] * 3 + [-7.0] * 3 + [-6.0] * 4)).double()
    double = fit_jets(points, normals, weight, 0.1 * weight, ridge)
    single = fit_jets(points.float(), normals.float(), weight.float(), 0.1 * weight.float(), ridge.float())
    torch.testing.assert_close(single.double(), double, atol=2e-3, rtol=0)
