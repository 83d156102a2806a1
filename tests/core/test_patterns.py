"""Patterns: codes that gather form one; numbers stay as codes move; what is empty does not come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from shapes import plain_patterns
from torch import Tensor

from lpdif.core.patterns import (
    PATTERN,
    Patterns,
    fit_patterns,
    fit_whitening,
    forms_fit,
    k_means,
    pattern_tensors,
    random_patterns,
    read_patterns,
)
from lpdif.form_names import FORMS

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


# --- forms


def forms_of(codes: int, seed: int = 0) -> Tensor:
    """Forms of regions, most of them smooth."""
    drawn = torch.randint(3 * len(FORMS), (codes,), generator=torch.Generator().manual_seed(seed))
    return torch.where(drawn < len(FORMS), drawn, 0)


def some_codes(count: int = 300) -> Tensor:
    return torch.randn((count, CODE), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("patterns", [1, 2, 5, 7, 8, 16])
def test_the_first_patterns_are_forms_and_smooth_ones_are_grouped_further(patterns: int) -> None:
    """Smooth patterns first, then each further form; groups as of the smooth codes alone."""
    codes, form = some_codes(), forms_of(300)
    found = fit_patterns(codes, patterns, 0, form_R=form)
    forms = min(patterns, len(FORMS))
    assert found.form.tolist() == [0] * (patterns - forms) + list(range(forms))
    assert found.forms == forms
    assert forms_fit(found)
    smooth = patterns - forms + 1
    alone = k_means(found.whitening.apply(codes)[form == 0], smooth, 0, None)
    assert torch.equal(found.centroids[:smooth], alone)
    for k in range(smooth, patterns):
        expected = found.whitening.apply(codes[form == found.form[k]]).double().mean(0).float()
        torch.testing.assert_close(found.centroids[k], expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("patterns", [1, 5, 8, 16])
def test_codes_go_to_the_nearest_centroid_of_their_form(patterns: int) -> None:
    codes = some_codes()
    found = fit_patterns(codes, patterns, 0, form_R=forms_of(300))
    form = torch.where(forms_of(300, 1) < found.forms, forms_of(300, 1), 0)
    owner = found.assign(codes, form)
    white = found.whitening.apply(codes)
    for r, k in enumerate(owner.tolist()):
        own = [j for j in range(patterns) if int(found.form[j]) == int(form[r])]
        assert k == min(own, key=lambda j: float((white[r] - found.centroids[j]).norm()))
    assert torch.equal(found.assign(codes), found.assign(codes, torch.zeros_like(form)))  # without forms, all are smooth
    assert bool((found.form[found.assign(codes)] == 0).all())


def test_a_form_without_regions_keeps_its_pattern() -> None:
    form = torch.zeros(300, dtype=torch.int64)
    form[:20] = 3
    found = fit_patterns(some_codes(), 9, 0, form_R=form)
    assert found.form.tolist() == [0, 0, 0, 1, 2, 3, 4, 5, 6]
    assert bool(found.centroids.isfinite().all())


@pytest.mark.parametrize("smooth", [0, 1, 2, 3])
def test_few_smooth_regions(smooth: int) -> None:
    """From none at all up to fewer than there are groups: those that are there stay, and every pattern can be asked."""
    codes, form = some_codes(40), torch.ones(40, dtype=torch.int64)
    form[:smooth] = 0
    found = fit_patterns(codes, 12, 0, form_R=form)
    assert found.form.tolist() == [0] * max(1, smooth) + [1, 2, 3, 4, 5, 6]
    assert sorted(set(found.assign(codes[form == 0]).tolist())) == list(range(smooth))
    many = fit_patterns(codes, 12, 0, form_R=torch.zeros(40, dtype=torch.int64))
    later = fit_patterns(codes, 12, 0, many, form)
    assert torch.equal(later.form, many.form)
    assert torch.equal(later.centroids[:6], many.centroids[:6])
    assert bool(later.centroids.isfinite().all())


@pytest.mark.parametrize("patterns", [1, 3, 8, 10])
def test_forms_stay_as_codes_move(patterns: int) -> None:
    codes, form = some_codes(), forms_of(300)
    first = fit_patterns(codes, patterns, 0, form_R=form)
    second = fit_patterns(codes + 0.3, patterns, 9, first, form)
    assert torch.equal(second.form, first.form)
    assert torch.equal(second.whitening.projection, first.whitening.projection)
    assert second.centroids.shape == first.centroids.shape
    assert not torch.equal(second.centroids, first.centroids)


def test_patterns_without_forms_stay_without_them() -> None:
    codes = some_codes()
    first = fit_patterns(codes, 5, 0)
    again = fit_patterns(codes + 0.3, 5, 0, first, torch.zeros(300, dtype=torch.int64))
    assert again.form.tolist() == first.form.tolist() == [0] * 5


@pytest.mark.parametrize(
    ("form", "fits"),
    [
        ([0], True),
        ([0, 0, 0], True),
        ([0, 1], True),
        ([0, 0, 1, 2, 3, 4, 5, 6], True),
        ([1], False),
        ([0, 2], False),
        ([1, 0], False),
        ([0, 1, 0], False),
        ([0, 1, 1], False),
        ([0, -1], False),
        ([0, 1, 2, 3, 4, 5, 6, 7], False),
        ([], False),
    ],
)
def test_forms_come_in_their_order(form: list[int], fits: bool) -> None:
    whitening = plain_patterns(torch.zeros(1, 2), CODE).whitening
    assert forms_fit(Patterns(whitening, torch.zeros(len(form), 2), torch.tensor(form, dtype=torch.int64))) == fits


def test_files_of_before_there_were_forms_have_smooth_patterns() -> None:
    found = fit_patterns(some_codes(), 8, 0, form_R=forms_of(300))
    state = pattern_tensors(found)
    again = read_patterns(state)
    assert again is not None
    assert torch.equal(again.form, found.form)
    del state["patterns.form"]
    old = read_patterns(state)
    assert old is not None
    assert old.form.tolist() == [0] * 8
    assert old.forms == 1


def test_random_patterns_are_blind_to_heaps() -> None:
    codes = heaps(40, corners(3), 0.01)
    found = random_patterns(codes, 6, 0)
    assert torch.equal(found.centroids, random_patterns(codes.flip(0), 6, 0).centroids)
    assert found.centroids.shape == (6, found.whitening.projection.shape[1])
    assert not torch.equal(found.centroids, random_patterns(codes, 6, 1).centroids)


def test_patterns_move_between_devices() -> None:
    found = fit_patterns(heaps(10, corners(3)), 3, 0)
    there = found.to(torch.device("meta"))
    assert {part.device.type for part in (*there.whitening, there.centroids, there.form)} == {"meta"}
