"""Density weights against a double loop and against scikit-learn's estimator."""

from __future__ import annotations

import math

import naive
import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity
from torch import Tensor

from lpdif.core import kde
from lpdif.core.kde import KDE, clipped_mean_one, density_weights, effective_share, log_density, mean_density, median_distance


def codes(regions: int, dimensions: int, seed: int = 0) -> Tensor:
    """A dense heap and a thin tail."""
    rng = torch.Generator().manual_seed(seed)
    heap = torch.randn((regions, dimensions), generator=rng)
    return heap * torch.where(torch.arange(regions) % 7 == 0, 3.0, 0.7)[:, None]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("regions", [2, 3, 50])
@pytest.mark.parametrize("dimensions", [1, 2, 16])
@pytest.mark.parametrize("bandwidth", [0.4, 2.0])
def test_density_agrees_with_a_double_loop_and_with_scikit_learn(regions: int, dimensions: int, bandwidth: float) -> None:
    white = codes(regions, dimensions).double()
    found = log_density(white, white, torch.arange(regions), bandwidth).numpy()
    constant = -0.5 * dimensions * np.log(2 * np.pi * bandwidth**2)
    for i in range(regions):
        others = np.delete(white.numpy(), i, 0)
        oracle = KernelDensity(bandwidth=bandwidth, rtol=1e-8).fit(others).score_samples(white[i : i + 1].numpy())[0]
        assert found[i] == pytest.approx(oracle - constant, abs=1e-6)
    slow = naive.log_density(white.numpy(), bandwidth)
    there = np.isfinite(slow)  # it underflows where kernels are below 1e-300
    np.testing.assert_allclose(found[there], slow[there], atol=1e-9)


def test_far_apart_is_still_a_number() -> None:
    """In log space: a double loop underflows here."""
    white = torch.tensor([[0.0], [1.0], [60.0]])
    found = log_density(white, white, torch.arange(3), 1.0)
    assert found[2].item() == pytest.approx(-0.5 * 59**2 - np.log(2), rel=1e-4)


def test_rows_outside_the_reference_are_compared_with_all_of_it() -> None:
    white = codes(30, 3).double()
    reference = white[:10]
    itself = torch.where(torch.arange(30) < 10, torch.arange(30), -1)
    found = log_density(white, reference, itself, 0.8)
    for i in range(30):
        others = [j for j in range(10) if j != i]
        kernels = [np.exp(-0.5 * float((white[i] - white[j]).square().sum()) / 0.64) for j in others]
        assert found[i].item() == pytest.approx(np.log(np.mean(kernels)), abs=1e-9)


def test_no_rows_no_density() -> None:
    assert log_density(torch.zeros(0, 3), torch.zeros(5, 3), torch.zeros(0, dtype=torch.int64), 1.0).shape == (0,)


@pytest.mark.parametrize(("regions", "bandwidth"), [(2, 1.0), (7, 0.5), (40, 3.0)])
def test_the_mean_density_is_that_of_the_rows(regions: int, bandwidth: float) -> None:
    white = codes(regions, 4)
    assert mean_density(white, bandwidth) == pytest.approx(np.exp(naive.log_density(white.numpy().astype(float), bandwidth)).mean(), rel=1e-4)


def test_the_mean_density_of_codes_that_coincide_and_of_single_ones() -> None:
    assert mean_density(torch.ones(5, 3), 0.5) == mean_density(torch.ones(5, 3), 0.0) == 1
    assert mean_density(torch.tensor([[0.0], [0.0], [9.0]]), 0.0) == pytest.approx(1 / 3)
    assert math.isnan(mean_density(codes(1, 4), 1.0))
    assert math.isnan(mean_density(codes(0, 4), 1.0))


@pytest.mark.parametrize("regions", [2, 3, 4, 31])
def test_median_distance_agrees_with_all_pairs(regions: int) -> None:
    white = codes(regions, 4)
    assert median_distance(white) == pytest.approx(naive.median_distance(white.numpy().astype(float)), rel=1e-5)


@pytest.mark.parametrize("regions", [0, 1])
def test_fewer_than_two_have_no_distance(regions: int) -> None:
    assert median_distance(codes(regions, 4)) == 0


@pytest.mark.parametrize("regions", [3, 12, 60])
@pytest.mark.parametrize("dimensions", [1, 5])
@pytest.mark.parametrize("gamma", [0.3, 1.0, 3.0])
def test_weights_agree_with_the_naive_twin(regions: int, dimensions: int, gamma: float) -> None:
    white = codes(regions, dimensions)
    found = density_weights(white, gamma, generator())
    np.testing.assert_allclose(found, naive.density_weights(white.numpy().astype(float), gamma), rtol=2e-4)


@pytest.mark.parametrize("regions", [3, 100, 3000])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 20.0])
def test_weights_have_mean_one_within_bounds(regions: int, gamma: float) -> None:
    weight = density_weights(codes(regions, 6), gamma, generator())
    assert float(weight.double().mean()) == pytest.approx(1, abs=1e-4)
    assert float(weight.min()) >= 1 / KDE.clip * (1 - 1e-5)
    assert float(weight.max()) <= KDE.clip * (1 + 1e-5)


def test_rare_codes_weigh_more() -> None:
    heap = 0.5 * torch.randn((50, 3), generator=generator())
    white = torch.cat([heap, torch.tensor([[2.0, 0.0, 0.0], [3.0, 0.0, 0.0]])])
    weight = density_weights(white, 0.5, generator())
    assert float(weight[51]) > float(weight[50]) > float(weight[:50].max())
    stronger = density_weights(white, 1.0, generator())
    assert effective_share(stronger) < effective_share(weight) < 1


@pytest.mark.parametrize(("regions", "gamma"), [(0, 0.5), (1, 0.5), (2, 0.5), (100, 0.0)])
def test_nothing_to_weigh(regions: int, gamma: float) -> None:
    assert torch.equal(density_weights(codes(regions, 3), gamma, generator()), torch.ones(regions))


def test_codes_that_coincide_weigh_alike() -> None:
    assert torch.equal(density_weights(torch.ones(10, 4), 1.0, generator()), torch.ones(10))
    mostly = torch.cat([torch.zeros(9, 2), torch.ones(1, 2)])  # median distance 0
    assert torch.equal(density_weights(mostly, 1.0, generator()), torch.ones(10))


def test_many_regions_are_taken_against_some(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reference as large as the whole, the draw does not matter; with a part of it, the weights are close."""
    white = codes(400, 4)
    exact = density_weights(white, 0.5, generator(1))
    torch.testing.assert_close(density_weights(white, 0.5, generator(2)), exact, rtol=1e-4, atol=1e-5)
    monkeypatch.setattr(kde, "KDE", kde.KDE._replace(reference=150))
    some = density_weights(white, 0.5, generator(3))
    assert float((some / exact).log().abs().mean()) < 0.1
    assert torch.equal(density_weights(white, 0.5, generator(3)), some)


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    white = codes(100, 4).double()
    whole = log_density(white, white, torch.arange(100), 1.0)
    monkeypatch.setattr(kde, "KDE", kde.KDE._replace(rows=7))
    torch.testing.assert_close(log_density(white, white, torch.arange(100), 1.0), whole)


@pytest.mark.parametrize("spread", [0.0, 1e-3, 2.0, 50.0])
def test_clipping_and_mean_hold_together(spread: float) -> None:
    log_weight = spread * torch.linspace(-1, 1, 21)
    weight = clipped_mean_one(log_weight)
    assert float(weight.mean()) == pytest.approx(1, abs=1e-5)
    assert bool((weight.diff() >= 0).all())
    assert torch.allclose(clipped_mean_one(log_weight + 17), weight, rtol=1e-4)


def test_effective_share() -> None:
    assert effective_share(torch.ones(8)) == 1
    assert effective_share(torch.tensor([1.0, 0.0, 0.0, 0.0])) == 0.25
    assert effective_share(torch.zeros(0)) == 1
