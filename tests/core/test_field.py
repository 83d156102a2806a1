"""The local field against a loop over queries and regions, and its independence of how it is asked."""

from __future__ import annotations

import naive
import naive_forms
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from shapes import random_field

from lpdif.core import field as module
from lpdif.core.field import LocalField, RegionCodes
from lpdif.core.forms import ARRANGEMENTS
from lpdif.core.regions import covering_pairs

FloatArray = NDArray[np.float64]


def cloud(count: int, seed: int = 0, reach: float = 1.0) -> FloatArray:
    return np.random.default_rng(seed).uniform(-reach, reach, (count, 3))


def on_device(field: LocalField, device: str) -> LocalField:
    rest = {name: value.to(device) for name, value in vars(field.codes).items() if name != "center"}
    codes = RegionCodes(field.codes.center, **rest)
    return LocalField(field.lattices, codes, field.decoder.to(device), field.origin)


@pytest.mark.parametrize(("patterns", "arrangements"), [(1, 1), (2, len(ARRANGEMENTS)), (5, len(ARRANGEMENTS))])
@pytest.mark.parametrize("levels", [1, 2])
@pytest.mark.parametrize("queries", [0, 1, 25])
def test_blending_agrees_with_the_naive_twin(patterns: int, levels: int, queries: int, arrangements: int) -> None:
    """Each query, region and sheet by itself."""
    field = random_field(cloud(12), 0.35, patterns, levels, arrangements=arrangements)
    assert (len(set(field.codes.arrangement.tolist())) > 8) == (arrangements > 1)
    place = cloud(queries, 1, 1.4)
    expected = naive.blend(place, field.lattices, field.codes.support.numpy(), naive_forms.field_distance(field))
    np.testing.assert_allclose(field.local_sdf(place), expected, atol=2e-5)
    np.testing.assert_allclose(field.sdf(place), expected, atol=2e-5)
    np.testing.assert_allclose(field.box_sdf(place), expected, atol=2e-5)


@pytest.mark.parametrize("arrangements", [1, 2, len(ARRANGEMENTS)])
def test_a_value_does_not_depend_on_the_queries_beside_it(arrangements: int) -> None:
    """Bit for bit: tiles that share a lattice plane must agree on it."""
    field = random_field(cloud(60), 0.3, patterns=3, levels=2, arrangements=arrangements)
    place = cloud(3000, 1, 0.9)
    whole = field.local_sdf(place)
    assert np.isfinite(whole).mean() > 0.9
    rng = np.random.default_rng(2)
    for count in (1, 2, 3, 40, 255, 1000):
        some = rng.permutation(3000)[:count]
        np.testing.assert_array_equal(field.local_sdf(place[some]), whole[some])
        np.testing.assert_array_equal(field.box_sdf(place[some]), whole[some])
        np.testing.assert_array_equal(field.sdf(place[some]), whole[some].astype(np.float64))


def test_parts_of_a_call_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    field = random_field(cloud(40), 0.3, patterns=2)
    place = cloud(1000, 1)
    whole = field.sdf(place)
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", 301)
    np.testing.assert_allclose(field.sdf(place), whole, rtol=1e-6)


def test_nan_where_no_region_reaches() -> None:
    field = random_field(np.array([[0.05, 0.05, 0.05]]), 0.1)
    found = field.sdf(np.array([[0.05, 0.05, 0.05], [5.0, 0.0, 0.0], [0.0, -0.7, 0.0]]))
    np.testing.assert_array_equal(np.isfinite(found), [True, False, False])


@pytest.mark.parametrize("far", [1e3, 1e9, 1e300, np.inf, -np.inf, np.nan])
def test_far_and_broken_queries_are_silent(far: float) -> None:
    field = random_field(cloud(10), 0.3)
    place = np.zeros((3, 3))
    place[np.arange(3), np.arange(3)] = far
    assert np.isnan(field.distances(place)).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_there_is_one_world_and_no_copies_of_it(axis: int) -> None:
    """Lattice coordinates have 21 bits: beyond them a query must not meet a region of another place."""
    field = random_field(cloud(30), 0.25)
    place = cloud(500, 1, 0.9)
    assert np.isfinite(field.sdf(place)).any()
    for turns in (1, -1, 2):
        shifted = place + turns * 2**21 * 0.25 * np.eye(3)[axis]
        assert np.isnan(field.sdf(shifted)).all()


def test_far_from_the_origin_nothing_is_lost() -> None:
    field = random_field(cloud(30), 0.25)
    place = np.round(cloud(200, 1, 0.9), 6)
    origin = np.array([2.0**22, -(2.0**23), 100.0])
    there = LocalField(field.lattices, field.codes, field.decoder, origin)
    np.testing.assert_allclose(there.sdf(place + origin), field.sdf(place), atol=1e-6)


def test_regions_with_more_support_have_more_say() -> None:
    field = random_field(np.array([[0.05, 0.05, 0.05]]), 0.1)
    place = np.array([[0.049, 0.05, 0.051]])
    lattice = field.lattices[0]
    loud = covering_pairs(place, lattice).region[0]
    support = torch.full_like(field.codes.support, 1e-6)
    support[loud] = 1.0
    codes = RegionCodes(**{**vars(field.codes), "support": support})
    alone = LocalField([lattice], codes, field.decoder, field.origin)
    assert alone.sdf(place)[0] == pytest.approx(float(alone.decode(place, np.array([loud]))[0]), rel=1e-3)


def test_larger_regions_are_silent_where_smaller_ones_cover() -> None:
    """In the middle of a full lattice of fully supported regions, the next level has no say."""
    full = np.stack(np.meshgrid(*[np.linspace(-1, 1, 30)] * 3), -1).reshape(-1, 3)
    field = random_field(full, 0.3, levels=2)
    codes = RegionCodes(**{**vars(field.codes), "support": torch.ones_like(field.codes.support)})
    place = cloud(300, 2, 0.8)
    both = LocalField(field.lattices, codes, field.decoder, field.origin)
    finest = LocalField(field.lattices[:1], codes, field.decoder, field.origin)
    np.testing.assert_array_equal(both.sdf(place), finest.sdf(place))


@pytest.mark.parametrize("queries", [0, 1, 100])
def test_patterns_are_those_of_the_nearest_region(queries: int) -> None:
    field = random_field(cloud(8), 0.4, patterns=4, levels=2)
    place = cloud(queries, 3, 1.3)
    found = field.pattern_at(place)
    for point, pattern in zip(place, found.tolist(), strict=True):
        expected = -1
        for lattice in field.lattices:
            away = np.abs(lattice.corners * lattice.size - point).max(1)
            if away.min() <= 0.5 * lattice.size:
                expected = int(field.codes.pattern[lattice.first + int(away.argmin())])
                break
        assert pattern == expected


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    field = random_field(cloud(200), 0.25, patterns=5, levels=2)
    place = cloud(20_000, 1)
    expected = field.sdf(place)
    found = on_device(field, "cuda").sdf(place)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, atol=1e-4)
