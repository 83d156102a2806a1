"""Forms: distances put together as the definitions say, and the form of a solid known from its points alone."""

from __future__ import annotations

import itertools

import naive_forms
import numpy as np
import pytest
import torch
from solids import BENT, SOLIDS, as_seen, cut, noisy
from torch import Tensor

from lpdif.core.forms import (
    ARRANGEMENTS,
    COLUMN_V3,
    COUNT_V,
    FORM_V,
    GATE,
    GEOMETRY,
    RESIDUALS,
    Evidence,
    Gate,
    combine,
    combine_all,
    evidence,
    first_logits,
    may_bend,
    rows_of,
    sheets_of,
    smooth_maximum,
)
from lpdif.core.regions import HALO, Seen
from lpdif.core.sheets import SHEETS, fit_quadrics
from lpdif.form_names import FORMS

FEW, MANY = 28, 92


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def random_arrangements(count: int, seed: int = 0) -> Tensor:
    return torch.randint(len(ARRANGEMENTS), (count,), generator=torch.Generator().manual_seed(seed))


# --- arrangements


def test_the_table_of_arrangements_is_the_written_one() -> None:
    """The order of arrangements, and of their columns, is part of files."""
    assert [(FORMS[each.form], list(each.sheets)) for each in ARRANGEMENTS] == naive_forms.ARRANGEMENTS
    assert COUNT_V.tolist() == [len(columns) for _, columns in naive_forms.ARRANGEMENTS]
    assert [FORMS[form] for form in FORM_V.tolist()] == [form for form, _ in naive_forms.ARRANGEMENTS]
    assert len(GATE.price) == len(ARRANGEMENTS)


@pytest.mark.parametrize("places", [0, 1, 400])
def test_combining_agrees_with_the_definitions(places: int) -> None:
    sheets, arrangement = random(places, 3), random_arrangements(places)
    radius = 0.5 * random(places, seed=1).abs() + 1e-3
    found = combine(sheets, arrangement, radius)
    expected = [naive_forms.combine(*each) for each in zip(sheets.tolist(), arrangement.tolist(), radius.tolist(), strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_columns_beyond_the_sheets_of_an_arrangement_are_not_used() -> None:
    arrangement = torch.arange(len(ARRANGEMENTS))
    sheets, radius = random(len(arrangement), 3), torch.full((len(arrangement),), 0.1, dtype=torch.float64)
    spoilt = torch.where(torch.arange(3) < COUNT_V[:, None], sheets, torch.tensor(1e6, dtype=torch.float64))
    assert torch.equal(combine(spoilt, arrangement, radius), combine(sheets, arrangement, radius))


@pytest.mark.parametrize(("regions", "places"), [(0, 3), (1, 1), (5, 20)])
def test_all_arrangements_at_once_agree_with_the_definitions(regions: int, places: int) -> None:
    columns = random(regions, places, 6)
    found = combine_all(columns.permute(2, 1, 0)).permute(2, 1, 0)
    assert found.shape == (regions, places, len(ARRANGEMENTS))
    for r, x, v in itertools.product(range(regions), range(places), range(len(ARRANGEMENTS))):
        of = [float(columns[r, x, column]) for column in naive_forms.ARRANGEMENTS[v][1]]
        assert float(found[r, x, v]) == naive_forms.combine(of, v)


def test_a_smooth_maximum_is_the_maximum_away_from_the_edge() -> None:
    a, b = random(200), random(200, seed=1)
    radius = torch.full_like(a, 0.3)
    found, sharp = smooth_maximum(a, b, radius), torch.maximum(a, b)
    far = (a - b).abs() >= radius
    assert torch.equal(found[far], sharp[far])
    assert bool((found[~far] > sharp[~far]).all())
    assert float((found - sharp).max()) <= 0.3 / 4
    torch.testing.assert_close(smooth_maximum(a, a, radius), a + 0.3 / 4)


@pytest.mark.parametrize("regions", [0, 1, 2, 60])
def test_sheets_follow_one_another(regions: int) -> None:
    arrangement = random_arrangements(regions)
    found = sheets_of(arrangement)
    owner, column, first = naive_forms.sheets_of(arrangement.tolist())
    assert (found.owner.tolist(), found.column.tolist(), found.first.tolist()) == (owner, column, first)
    rows = rows_of(found.first, arrangement)
    assert rows.shape == (regions, 3)
    for r, (start, v) in enumerate(zip(first, arrangement.tolist(), strict=True)):
        count = len(naive_forms.ARRANGEMENTS[v][1])
        assert rows[r].tolist() == [start + min(place, count - 1) for place in range(3)]
        assert [column[row] for row in rows[r]] == COLUMN_V3[v].tolist()


# --- the form of a region


def chosen(seen: Seen) -> Tensor:
    """(R,) the arrangement that explains the points of each region best."""
    return torch.where(may_bend(seen), first_logits(evidence(seen).miss).argmax(1), 0)


@pytest.mark.parametrize(("points", "share"), [(19, 0.5), (FEW, 0.7), (48, 0.95), (MANY, 1.0)])
@pytest.mark.parametrize("name", list(SOLIDS))
def test_a_solid_is_known_by_its_points(name: str, points: int, share: float) -> None:
    """Always where there are many of them; corners and saddles of few points may hide a sheet."""
    found = FORM_V[chosen(as_seen([cut(name, points, seed) for seed in range(20)]))].tolist()
    assert np.mean([form in SOLIDS[name].forms for form in found]) >= share
    if len(SOLIDS[name].normals) < 3 and points > 19:
        assert set(found) <= set(SOLIDS[name].forms)


@pytest.mark.parametrize("name", BENT)
def test_the_distance_is_exact_where_sheets_are_planes(name: str) -> None:
    """By the arrangement chosen, at places on either side of the solid, those of a saddle told apart by their part in it."""
    cuts = [cut(name, MANY, seed) for seed in range(10)]
    seen = as_seen(cuts)
    arrangement, found = chosen(seen), evidence(seen)
    quadrics = fit_quadrics(seen.points, seen.normals, torch.cat([seen.mask[..., None], found.sees], 2))
    places = np.random.default_rng(0).uniform(-1, 1, (60, 3))
    columns = quadrics.distance(torch.from_numpy(places).float().expand(10, -1, -1))
    for r, region in enumerate(cuts):
        of = columns[r][:, COLUMN_V3[arrangement[r]]]
        said = combine(of, arrangement[r].expand(60), torch.full((60,), 1e-9))
        np.testing.assert_allclose(said, region.distance(places), atol=1e-5)


def caps(regions: int, points: int, radius: float) -> Seen:
    """Regions of balls, around a point of the surface."""
    rng = np.random.default_rng(points)
    z, angle = rng.uniform(1 - 0.5 * (HALO / radius) ** 2, 1, (regions, points)), rng.uniform(0, 2 * np.pi, (regions, points))
    normals = torch.from_numpy(np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], 2)).float()
    return Seen(radius * (normals - torch.tensor([0.0, 0, 1])), normals, torch.ones(regions, points, dtype=torch.bool))


@pytest.mark.parametrize("points", [19, FEW, MANY])
@pytest.mark.parametrize("radius", [2.0, 3.0, 8.0])
def test_a_ball_is_smooth(points: int, radius: float) -> None:
    """For sure where it bends little, by choice where it bends much: its quadric explains it."""
    seen = caps(20, points, radius)
    assert radius == 3 or bool(may_bend(seen).any()) == (radius < 3)  # at 3 it depends on the points
    assert float((chosen(seen) == 0).float().mean()) >= (0.9 if radius < 3 else 1.0)


@pytest.mark.parametrize("name", list(SOLIDS))
def test_regions_bend_where_normals_differ_and_there_are_enough_of_them(name: str) -> None:
    seen = as_seen([cut(name, points, seed) for points in (1, 5, 6, 40) for seed in range(5)])
    for points, normals, mask, bent in zip(*seen, may_bend(seen).tolist(), strict=True):
        assert len(points) == len(mask)
        there = normals[mask].numpy()
        assert bent == (len(there) >= GATE.fewest and float(np.linalg.norm(there.mean(0))) <= GATE.smooth)
    assert bool(may_bend(seen)[-5:].all()) == (name in BENT)


def test_evidence_is_that_of_each_region_alone() -> None:
    cuts = noisy([cut(name, points, 1) for name in SOLIDS for points in (1, 7, 30, 100)])
    together = evidence(as_seen(cuts))
    assert together.features.shape == (len(cuts), RESIDUALS + GEOMETRY)
    for row, region in enumerate(cuts):
        if row % 3 == 0:
            alone = evidence(as_seen([region]))
            torch.testing.assert_close(together.miss[row], alone.miss[0], atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(together.features[row], alone.features[0], atol=1e-2, rtol=1e-3)


def test_evidence_of_nothing_is_finite() -> None:
    found = evidence(Seen(torch.zeros(2, 4, 3), torch.zeros(2, 4, 3), torch.zeros(2, 4, dtype=torch.bool)))
    assert bool(found.miss.isfinite().all())
    assert bool(found.features.isfinite().all())
    assert found.sees.shape == (2, 4, SHEETS)


# --- the gate


def evidence_of(regions: int) -> Evidence:
    return evidence(as_seen([cut(BENT[k % len(BENT)], 40, k) for k in range(regions)]))


def test_a_fresh_gate_says_what_explains_the_points_best() -> None:
    found = evidence_of(20)
    with torch.no_grad():
        logits, radius = Gate()(found)
    assert torch.equal(logits.argmax(1), first_logits(found.miss).argmax(1))
    torch.testing.assert_close(radius, torch.full((20,), float(np.log1p(np.exp(GATE.radius)))))


def test_what_a_form_costs_it_must_gain() -> None:
    """Of forms that explain alike the one of fewer sheets is taken."""
    logits = first_logits(torch.zeros(1, len(ARRANGEMENTS)))[0]
    assert int(logits.argmax()) == 0
    assert bool((logits[COUNT_V == 2] > logits[COUNT_V == 3].max()).all())


def test_the_gate_learns_to_choose_and_to_round() -> None:
    """All of its parts get a gradient, and a few steps make it choose what it is told."""
    torch.manual_seed(0)
    found, gate = evidence_of(30), Gate()
    told = torch.randint(len(ARRANGEMENTS), (30,), generator=torch.Generator().manual_seed(0))
    adam = torch.optim.Adam(gate.parameters(), 0.003)
    for _ in range(500):
        logits, radius = gate(found)
        adam.zero_grad()
        (torch.nn.functional.cross_entropy(logits, told) + 10 * (radius - 0.2).square().mean()).backward()
        assert all(p.grad is not None for p in gate.parameters())
        adam.step()
    with torch.no_grad():
        logits, radius = gate(found)
    assert float((logits.argmax(1) == told).float().mean()) > 0.9
    assert float((radius - 0.2).abs().mean()) < 0.05


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    seen = as_seen([cut(name, points, seed) for name in SOLIDS for points in (FEW, MANY) for seed in range(4)])
    there = evidence(Seen(*(part.cuda() for part in seen)))
    here = evidence(seen)
    same = (there.sees.cpu() == here.sees).flatten(1).all(1)
    assert float(same.float().mean()) > 0.9
    torch.testing.assert_close(there.miss.cpu()[same], here.miss[same], atol=1e-4, rtol=1e-3)
    arrangement = random_arrangements(400)
    sheets, radius = random(400, 3), 0.1 + random(400).abs()
    torch.testing.assert_close(combine(sheets.cuda(), arrangement.cuda(), radius.cuda()).cpu(), combine(sheets, arrangement, radius))
