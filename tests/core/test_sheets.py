"""Sheets: points of solids that planes bound go to the planes they lie on, and a quadric says exactly where its surface is."""

from __future__ import annotations

import itertools

import naive_forms
import numpy as np
import pytest
import torch
from shapes import even_sphere_points, wavy_regions
from solids import BENT, SOLIDS, as_seen, cut, noisy

from lpdif.core.jets import JET
from lpdif.core.sheets import SHEET, SHEETS, SPLIT, Quadrics, fit_quadrics, leading_axis, plane_cost, planes, regions_last, share_out

SHAPES = [(name, points) for name in SOLIDS for points in (19, 40, 92)]


def wavy(regions: int, points: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    place, normals = wavy_regions(regions, points, 3)
    return place, normals, torch.ones(regions, points, dtype=torch.bool)


def swapped(sees: np.ndarray) -> np.ndarray:
    """The same sheets, had the axis along which they were told apart pointed the other way."""
    return sees[:, [1, 0, 3, 2, 4]]


@pytest.mark.parametrize("name", BENT)
@pytest.mark.parametrize("points", [19, 50])
def test_sharing_out_agrees_with_the_naive_twin(name: str, points: int) -> None:
    cuts = noisy([cut(name, points, seed) for seed in range(2)])
    found = share_out(*as_seen(cuts, torch.float64)).numpy()
    for region, sees in zip(cuts, found, strict=True):
        expected = naive_forms.share_out(region.points, region.normals)
        assert np.array_equal(sees, expected) or np.array_equal(sees, swapped(expected))


@pytest.mark.parametrize("points", [4, 30])
def test_bent_regions_are_shared_out_as_by_the_naive_twin(points: int) -> None:
    given = wavy(6, points)
    found = share_out(*given).numpy()
    for place, normals, sees in zip(given[0].numpy(), given[1].numpy(), found, strict=True):
        expected = naive_forms.share_out(place, normals)
        assert np.array_equal(sees, expected) or np.array_equal(sees, swapped(expected))


@pytest.mark.parametrize(("name", "points", "share"), [(name, 92, 1.0) for name in BENT] + [(name, 19, 0.4) for name in BENT])
def test_each_point_goes_to_the_plane_it_lies_on(name: str, points: int, share: float) -> None:
    """And to no other: in all regions of many points, in a good part of those of few, where a third plane is hard to see."""
    cuts = [cut(name, points, seed) for seed in range(20)]
    sees = share_out(*as_seen(cuts)).numpy()
    sheets = len(cuts[0].planes[0])
    right = []
    for region, own in zip(cuts, sees[..., SPLIT[sheets - 2]], strict=True):
        wanted = region.sheet[:, None] == np.array(list(itertools.permutations(range(sheets))))[:, None]
        right.append(any(np.array_equal(own, each) for each in wanted))
    assert np.mean(right) >= share


def test_padding_and_company_change_nothing() -> None:
    cuts = noisy([cut(name, points, 0) for name, points in SHAPES])
    together = share_out(*as_seen(cuts, torch.float64))
    for row, region in enumerate(cuts[::4]):
        alone = share_out(*as_seen([region], torch.float64))[0]
        assert torch.equal(together[4 * row, : len(region.points)], alone)
        assert not together[4 * row, len(region.points) :].any()


@pytest.mark.parametrize("points", [0, 1, 2])
def test_a_sheet_of_too_few_points_sees_all(points: int) -> None:
    place, normals, mask = wavy(3, 5)
    mask = mask & (torch.arange(5) < points)
    place, normals = (part * mask[..., None] for part in (place, normals))
    assert torch.equal(share_out(place, normals, mask), mask[..., None].expand(-1, -1, SHEETS))


@pytest.mark.parametrize("seed", range(5))
def test_the_leading_axis_is_that_of_the_largest_eigenvalue(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn((9, 3, 3), generator=generator, dtype=torch.float64))[0]
    sizes = 10.0 ** torch.linspace(-6, 2, 9, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.6, 0.1], dtype=torch.float64)
    axis = leading_axis(turn @ torch.diag_embed(sizes) @ turn.transpose(1, 2))
    along = (axis * turn[:, :, 0]).sum(1).abs()
    assert float(along.min()) > 0.999
    torch.testing.assert_close(axis.norm(dim=1), torch.ones(9, dtype=torch.float64))


def test_no_change_of_normals_has_any_axis_of_length_one() -> None:
    torch.testing.assert_close(leading_axis(torch.zeros(2, 3, 3)).norm(dim=1), torch.ones(2))


def test_planes_are_weighted_means_and_costs_are_squares() -> None:
    place, normals, _ = wavy(3, 20)
    weight = torch.rand((3, 20, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    last = [regions_last(part) for part in (place, normals, weight)]
    center, normal = planes(*last)
    cost = plane_cost(*last[:2], center, normal).permute(2, 1, 0)
    center, normal = center.permute(2, 0, 1), normal.permute(2, 0, 1)
    for r, m in itertools.product(range(3), range(2)):
        expected = naive_forms.plane(place[r].numpy(), normals[r].numpy(), weight[r, :, m].tolist())
        np.testing.assert_allclose(center[r, m], expected[0], atol=1e-12)
        np.testing.assert_allclose(normal[r, m], expected[1], atol=1e-12)
        for p in range(20):
            assert float(cost[r, p, m]) == pytest.approx(naive_forms.plane_cost(place[r, p].numpy(), normals[r, p].numpy(), expected), rel=1e-9)


# --- quadrics


@pytest.mark.parametrize("points", [1, 2, 5, 40])
def test_quadrics_agree_with_an_ordinary_solver(points: int) -> None:
    place, normals, mask = wavy(4, points)
    seen = torch.rand((4, points, 3), generator=torch.Generator().manual_seed(points)) < 0.7
    seen[:, 0] = True
    found = fit_quadrics(place, normals, seen & mask[..., None])
    asked = torch.randn((4, 7, 3), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    distance = found.distance(asked)
    for r, m in itertools.product(range(4), range(3)):
        chosen = seen[r, :, m].numpy()
        axes = found.axes[r, m].numpy()
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
        origin, coefficients = naive_forms.fit_quadric(place[r].numpy()[chosen], normals[r].numpy()[chosen], axes)
        np.testing.assert_allclose(found.origin[r, m], origin, atol=1e-9)
        np.testing.assert_allclose(found.coefficients[r, m], coefficients, atol=1e-6)
        for x in range(7):
            expected = naive_forms.quadric_distance(origin, axes, coefficients, asked[r, x].numpy())
            assert float(distance[r, x, m]) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", list(SOLIDS))
@pytest.mark.parametrize("points", [19, 92])
def test_the_quadric_of_a_plane_is_that_plane(name: str, points: int) -> None:
    """Sheet by sheet, wherever it is asked."""
    cuts = [cut(name, points, seed) for seed in range(5)]
    sheets = len(cuts[0].planes[0])
    own = torch.from_numpy(np.stack([each.sheet[:, None] == np.arange(sheets) for each in cuts]))
    seen = as_seen(cuts, torch.float64)
    found = fit_quadrics(seen.points, seen.normals, own)
    places = np.random.default_rng(0).uniform(-1, 1, (30, 3))
    distance = found.distance(torch.from_numpy(places).expand(5, -1, -1)).numpy()
    for r, region in enumerate(cuts):
        for m in np.unique(region.sheet):
            np.testing.assert_allclose(distance[r, :, m], region.to_sheets(places)[:, m], atol=1e-9)
    assert float(found.coefficients.abs().max()) < 1e-9


def test_the_quadric_of_a_ball_bends_as_it_does() -> None:
    points, normals = even_sphere_points(4000, 3.0)
    near = np.linalg.norm(points - [0, 0, 3.0], axis=1) < 1.2
    place = torch.from_numpy(points[near] - [0, 0, 3.0])[None]
    found = fit_quadrics(place, torch.from_numpy(normals[near])[None], torch.ones(1, int(near.sum()), 1, dtype=torch.bool))
    c = found.coefficients[0, 0]
    assert float(c[3] + c[5]) == pytest.approx(-1 / 3, rel=0.15)  # z = -(x^2 + y^2) / 2 r
    asked = torch.tensor([[[0.0, 0, 0], [0.3, 0, 0.2], [0, -0.4, -0.2]]], dtype=torch.float64)
    true = (asked[0] + torch.tensor([0, 0, 3.0])).norm(dim=1) - 3
    torch.testing.assert_close(found.distance(asked)[0, :, 0], true, atol=0.012, rtol=0)


def test_a_sheet_without_points_lies_flat_at_the_centre() -> None:
    found = fit_quadrics(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3), torch.zeros(2, 4, 1, dtype=torch.bool))
    asked = torch.randn((2, 9, 3), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.distance(asked)[..., 0], asked[..., 2].clamp(-JET.steepest, JET.steepest))


def test_wild_quadrics_are_held() -> None:
    wild = Quadrics(torch.zeros(1, 1, 3), torch.eye(3)[None, None], torch.full((1, 1, 6), JET.largest))
    asked = 1e6 * torch.randn((1, 50, 3), generator=torch.Generator().manual_seed(0))
    assert float(wild.distance(asked).abs().max()) <= JET.steepest
    assert SHEET.ridge[0] > 0


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    seen = as_seen([cut(name, points, seed) for name, points in SHAPES for seed in range(4)])
    there = [part.cuda() for part in seen]
    expected, found = share_out(*seen), share_out(*there).cpu()
    assert float((expected == found).all(2).all(1).float().mean()) > 0.95  # near a tie a point may go to either
    asked = torch.randn((len(seen.mask), 20, 3), generator=torch.Generator().manual_seed(0))
    one = fit_quadrics(seen.points, seen.normals, expected).distance(asked)
    other = fit_quadrics(there[0], there[1], expected.cuda()).distance(asked.cuda()).cpu()
    torch.testing.assert_close(other, one, atol=1e-4, rtol=1e-4)
