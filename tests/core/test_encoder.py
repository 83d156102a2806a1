"""Encoder: sets of points in, codes out; order and empty rows do not matter."""

from __future__ import annotations

import copy

import pytest
import torch
from shapes import wavy_regions
from torch import Tensor

from lpdif.core.encoder import ENCODER, Encoder, pool
from lpdif.core.jets import COEFFICIENTS, fit_jets

CLOSE = {"atol": 2e-5, "rtol": 1e-5}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    """An encoder whose layers are all at work."""
    torch.manual_seed(0)
    network = Encoder(features=12, width=24)
    torch.nn.init.normal_(network.weigh.weight, 0, 0.2)
    return network.eval().requires_grad_(False)


def some(regions: int = 4, points: int = 20, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    place, normals = wavy_regions(regions, points, seed)
    counts = torch.arange(regions) * points // max(1, regions - 1)
    mask = torch.arange(points) < counts.flip(0)[:, None]
    return place.float() * mask[..., None], normals.float() * mask[..., None], mask


def test_a_code_is_a_jet_and_features(encoder: Encoder) -> None:
    points, normals, mask = some()
    codes = encoder(points, normals, mask)
    assert codes.shape == (4, COEFFICIENTS + 12)
    assert encoder.code_size == COEFFICIENTS + 12
    assert bool(codes.isfinite().all())


def test_a_fresh_encoder_weighs_by_distance_alone() -> None:
    points, normals, mask = some()
    codes = Encoder(4)(points, normals, mask)
    weight = torch.exp(-ENCODER.locality * points.square().sum(2)) * mask
    weight = weight / weight.sum(1, keepdim=True).clamp_min(1e-9)
    ridge = torch.exp(torch.tensor([-9.0] * 3 + [-7.0] * 3 + [-6.0] * 4))
    expected = fit_jets(points, normals, weight, weight * torch.tensor(ENCODER.normals_share).exp(), ridge)
    torch.testing.assert_close(codes[:, :COEFFICIENTS], expected, **CLOSE)


@pytest.mark.parametrize("seed", range(3))
def test_order_does_not_matter(encoder: Encoder, seed: int) -> None:
    points, normals, mask = some(seed=seed)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(
        encoder(points[:, order], normals[:, order], mask[:, order]), encoder(points, normals, mask), atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("more", [1, 30])
def test_empty_rows_do_not_matter(encoder: Encoder, more: int) -> None:
    points, normals, mask = some()
    pad = (0, 0, 0, more)
    longer = torch.nn.functional.pad(points, pad, value=0.8), torch.nn.functional.pad(normals, pad, value=-0.3)
    found = encoder(*longer, torch.nn.functional.pad(mask, (0, more)))
    torch.testing.assert_close(found, encoder(points, normals, mask), **CLOSE)


def test_what_stands_in_empty_rows_does_not_matter(encoder: Encoder) -> None:
    points, normals, mask = some()
    junk = torch.where(mask[..., None], points, 1.3), torch.where(mask[..., None], normals, -2.0)
    torch.testing.assert_close(encoder(*junk, mask), encoder(points, normals, mask), **CLOSE)


def test_regions_do_not_see_each_other(encoder: Encoder) -> None:
    points, normals, mask = some(6)
    together = encoder(points, normals, mask)
    for r in range(6):
        torch.testing.assert_close(encoder(points[r : r + 1], normals[r : r + 1], mask[r : r + 1])[0], together[r], **CLOSE)


def test_no_points_no_surface(encoder: Encoder) -> None:
    nothing = torch.zeros(2, 5, 3)
    codes = encoder(nothing, nothing, torch.zeros(2, 5, dtype=torch.bool))
    assert torch.equal(codes[:, :COEFFICIENTS], torch.zeros(2, COEFFICIENTS))
    assert bool(codes.isfinite().all())


@pytest.mark.parametrize("points", [1, 9])
def test_no_regions_no_codes(encoder: Encoder, points: int) -> None:
    nothing = torch.zeros(0, points, 3)
    assert encoder(nothing, nothing, torch.zeros(0, points, dtype=torch.bool)).shape == (0, encoder.code_size)


def test_everything_learns_and_nothing_overflows() -> None:
    torch.manual_seed(1)
    network = Encoder(features=6, width=16)
    torch.nn.init.normal_(network.weigh.weight, 0, 0.2)
    points, normals, mask = some()  # the last region is empty
    network(points, normals, mask).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_pool_is_maximum_and_mean_of_what_is_there() -> None:
    values = torch.tensor([[[1.0, 4.0], [3.0, 0.0], [9.0, 9.0]], [[5.0, 5.0], [5.0, 5.0], [5.0, 5.0]]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    found = pool(values, mask[..., None], mask.sum(1, keepdim=True).clamp_min(1))
    assert torch.equal(found, torch.tensor([[3.0, 4.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]]))


@pytest.mark.parametrize("regions", [0, 1, 3, 40])
def test_groups_in_training_change_rounding_alone(encoder: Encoder, regions: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes, and the gradients of all parameters; points need not come before the gaps."""
    monkeypatch.setattr("lpdif.core.encoder.ENCODER", ENCODER._replace(group=10))
    points, normals, mask = some(regions)
    mask = mask & (torch.rand(mask.shape, generator=torch.Generator().manual_seed(1)) < 0.8)
    here = copy.deepcopy(encoder).requires_grad_(True)
    weight = torch.randn(regions, here.code_size, generator=torch.Generator().manual_seed(2))

    def gradients(codes: Tensor) -> tuple[Tensor, ...]:
        return torch.autograd.grad((weight * codes).sum(), list(here.parameters()))

    whole, grouped = here.eval()(points, normals, mask), here.train()(points, normals, mask)
    torch.testing.assert_close(grouped, whole, **CLOSE)
    if regions > 0:
        assert bool(mask.sum(1).diff().ne(0).any()) == (regions > 1)
        for one, other in zip(gradients(grouped), gradients(whole), strict=True):
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_groups_hold_regions_of_like_number_of_points(encoder: Encoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.core.encoder.ENCODER", ENCODER._replace(group=10))
    points, normals, mask = some(40)
    network, shapes = copy.deepcopy(encoder).train(), []

    def note(points: Tensor, normals: Tensor, mask: Tensor) -> Tensor:
        shapes.append(tuple(mask.shape))
        return points.new_zeros(len(points), network.code_size)

    monkeypatch.setattr(network, "codes", note)
    network(points, normals, mask)
    assert [rows for rows, _ in shapes] == [10] * 4
    assert [width for _, width in shapes] == sorted(mask.sum(1).tolist())[9::10]


@pytest.mark.cuda
def test_cuda_agrees_with_cpu(encoder: Encoder) -> None:
    points, normals, mask = some(64, 50)
    on_cuda = Encoder(features=12, width=24).cuda().requires_grad_(False)
    on_cuda.load_state_dict(encoder.state_dict())
    found = on_cuda(points.cuda(), normals.cuda(), mask.cuda()).cpu()
    torch.testing.assert_close(found, encoder(points, normals, mask), atol=1e-4, rtol=1e-4)
