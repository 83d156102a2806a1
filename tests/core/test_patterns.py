"""Patterns: codes that gather form one; numbers stay as codes move; what is empty does not come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shapes import plain_patterns
from torch import Tensor

from lpdif.core.patterns import PATTERN, fit_patterns, fit_whitening, random_patterns

CODE = 20


def heaps(each: int, centers: Tensor, spread: float = 0.05, seed: int = 0) -> Tensor:
    """`each` codes around each of the centers (K, C), off them in the directions that the centers span: whitening makes any other
    direction as wide as these."""
    noise = torch.randn((len(centers) * each, len(centers)), generator=torch.Generator().manual_seed(seed))
    return centers.repeat_interleave(each, 0) + spread * noise @ centers


def corners(count: int) -> Tensor:
    return torch.eye(CODE)[:count] * 2


def same_partition(a: Tensor, b: Tensor) -> bool:
    return len({(i, j) for i, j in zip(a.tolist(), b.tolist(), strict=True)}) == len(set(a.tolist())) == len(set(b.tolist()))


@pytest.mark.parametrize("codes", [2, 5, 500])
def test_whitened_codes_have_covariance_one(codes: int) -> None:
    mixed = torch.randn((codes, CODE), generator=torch.Generator().manual_seed(0)) * torch.linspace(0.01, 1, CODE)
    white = fit_whitening(mixed).apply(mixed).double()
    assert white.shape[1] == min(PATTERN.dimensions, codes - 1)
    torch.testing.assert_close(white.T.cov().reshape(white.shape[1], -1), torch.eye(white.shape[1]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(white.mean(0), torch.zeros(white.shape[1]).double(), atol=1e-4, rtol=0)


def test_directions_without_spread_are_left_out() -> None:
    codes = torch.zeros(100, CODE)
    codes[:, 3] = torch.randn(100, generator=torch.Generator().manual_seed(0))
    codes[:, 7] = torch.randn(100, generator=torch.Generator().manual_seed(1))
    codes[:, 9] = 1.5
    whitening = fit_whitening(codes)
    assert whitening.projection.shape == (CODE, 2)
    torch.testing.assert_close(whitening.projection.abs().sum(1).nonzero()[:, 0], torch.tensor([3, 7]))


def test_wild_entries_are_held() -> None:
    codes = torch.randn((200, CODE), generator=torch.Generator().manual_seed(0))
    wild = codes.clone()
    wild[0, 0] = 1e6
    held = codes.clone()
    held[0, 0] = PATTERN.tail
    assert torch.equal(fit_whitening(wild).projection, fit_whitening(held).projection)
    assert torch.equal(fit_whitening(wild).apply(wild), fit_whitening(held).apply(held))


@pytest.mark.parametrize("patterns", [1, 2, 5])
@pytest.mark.parametrize("codes", [0, 1, 50])
def test_codes_go_to_the_nearest_centroid(patterns: int, codes: int) -> None:
    generator = torch.Generator().manual_seed(patterns)
    found = plain_patterns(torch.randn((patterns, 3), generator=generator), CODE)
    given = torch.randn((codes, CODE), generator=generator)
    owner = found.assign(given)
    assert owner.dtype == torch.int64
    for code, k in zip(given, owner.tolist(), strict=True):
        assert k == int(np.argmin([float((code[:3] - c).norm()) for c in found.centroids]))


def test_ties_go_to_the_lower_number() -> None:
    found = plain_patterns(torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), 2)
    assert found.assign(torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0]])).tolist() == [0, 0, 2]


@pytest.mark.parametrize("patterns", [1, 2, 5])
@pytest.mark.parametrize("seed", [0, 7, 2**62])
def test_heaps_are_found(patterns: int, seed: int) -> None:
    codes = heaps(30, corners(patterns))
    found = fit_patterns(codes, patterns, seed)
    assert len(found.centroids) == patterns
    assert same_partition(found.assign(codes), torch.arange(patterns).repeat_interleave(30))


def test_same_seed_same_patterns() -> None:
    codes = torch.randn((300, CODE), generator=torch.Generator().manual_seed(0))
    for one, other in zip(fit_patterns(codes, 6, 3)[0], fit_patterns(codes.clone(), 6, 3)[0], strict=True):
        assert torch.equal(one, other)
    assert torch.equal(fit_patterns(codes, 6, 3).centroids, fit_patterns(codes.clone(), 6, 3).centroids)


@pytest.mark.parametrize("distinct", [1, 2, 3])
def test_no_more_patterns_than_distinct_codes(distinct: int) -> None:
    codes = corners(distinct).repeat(10, 1)
    found = fit_patterns(codes, 8, 0)
    assert len(found.centroids) == distinct
    assert sorted(set(found.assign(codes).tolist())) == list(range(distinct))


def test_a_single_code_is_a_pattern() -> None:
    codes = torch.randn((1, CODE), generator=torch.Generator().manual_seed(0))
    found = fit_patterns(codes, 4, 0)
    assert len(found.centroids) == 1
    assert bool(found.whitening.projection.isfinite().all())
    assert found.assign(codes).tolist() == [0]


def test_numbers_stay_as_codes_move() -> None:
    codes = heaps(40, corners(5))
    first = fit_patterns(codes, 5, 0)
    owner = first.assign(codes)
    moved = codes + 0.3 * torch.randn(CODE, generator=torch.Generator().manual_seed(1))
    second = fit_patterns(moved, 5, 99, first)
    assert torch.equal(second.assign(moved), owner)
    assert torch.equal(second.whitening.projection, first.whitening.projection)
    assert not torch.equal(second.centroids, first.centroids)


def test_random_patterns_are_blind_to_heaps() -> None:
    codes = heaps(40, corners(3), 0.01)
    found = random_patterns(codes, 6, 0)
    assert torch.equal(found.centroids, random_patterns(codes.flip(0), 6, 0).centroids)
    assert found.centroids.shape == (6, found.whitening.projection.shape[1])
    assert not torch.equal(found.centroids, random_patterns(codes, 6, 1).centroids)


def test_patterns_move_between_devices() -> None:
    found = fit_patterns(heaps(10, corners(3)), 3, 0)
    there = found.to(torch.device("meta"))
    assert {part.device.type for part in (*there.whitening, there.centroids)} == {"meta"}
