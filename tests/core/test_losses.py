"""Losses against plain loops, and what learns from them: the gate from its own, decoders from the regions of their form."""

from __future__ import annotations

import math

import naive_forms
import numpy as np
import pytest
import torch
from formed import formed_networks, formed_patterns
from solids import SOLIDS, as_seen, cut
from torch import Tensor

from lpdif.core.forms import FORM_V, GATE, evidence, may_bend, sheets_of
from lpdif.core.losses import LOSS, arrangement_losses, gate_loss, region_loss, sheet_values
from lpdif.core.model import GateChoice, Networks, in_frames, sheet_points
from lpdif.core.patterns import Patterns
from lpdif.core.regions import Seen
from lpdif.form_names import FORMS

SAMPLES = 20


def samples(regions: int, count: int = SAMPLES) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.rand((regions, count, 3), generator=generator) - 1, torch.randn((regions, count), generator=generator)


def solids(regions: int = 12, points: int = 40) -> Seen:
    """With a little noise: on an exact plane, whose normals do not change, rounding alone says how its frame is turned."""
    names, rng = list(SOLIDS), np.random.default_rng(regions)
    cuts = [cut(names[k % len(names)], points, k) for k in range(regions)]
    turned = [each.normals + 0.05 * rng.normal(size=each.normals.shape) for each in cuts]
    return as_seen([each._replace(normals=n / np.linalg.norm(n, axis=1, keepdims=True)) for each, n in zip(cuts, turned, strict=True)])


@pytest.mark.parametrize("regions", [0, 1, 5])
@pytest.mark.parametrize("count", [1, 7])
def test_loss_agrees_with_a_plain_loop(regions: int, count: int) -> None:
    found, true = 2 * torch.randn((2, regions, count), generator=torch.Generator().manual_seed(0))
    loss = region_loss(found, true)
    assert loss.shape == (regions,)
    for r in range(regions):
        assert float(loss[r]) == pytest.approx(naive_forms.region_loss(found[r].tolist(), true[r].tolist()), rel=1e-5)


@pytest.mark.parametrize("forms", [1, 2, 5, len(FORMS)])
@pytest.mark.parametrize("regions", [0, 1, 3])
def test_losses_of_arrangements_agree_with_a_plain_loop(forms: int, regions: int) -> None:
    generator = torch.Generator().manual_seed(forms)
    smooth, true = torch.randn((2, regions, 4), generator=generator)
    values = torch.randn((len(FORMS), regions, 5, 4), generator=generator)[:forms]
    radius = 0.3 * torch.rand(regions, generator=generator) + 0.01
    found = arrangement_losses(smooth, values, radius, true, forms)
    assert found.shape == (regions, len(FORM_V))
    for r in range(regions):
        for v, (form, columns) in enumerate(naive_forms.ARRANGEMENTS):
            number = FORMS.index(form)
            if number >= forms:
                assert float(found[r, v]) == 0
                continue
            said = smooth[r].tolist()
            if number:
                sheets = [[float(values[number, r, column - 1, s]) for column in columns] for s in range(4)]
                said = [naive_forms.put_together(form, each, float(radius[r])) for each in sheets]
            assert float(found[r, v]) == pytest.approx(naive_forms.region_loss(said, true[r].tolist()), rel=1e-5)


@pytest.mark.parametrize("patterns", [2, 5, 7, 9])
def test_values_of_sheets_are_those_of_each_as_a_region_of_its_own(patterns: int) -> None:
    networks, known = formed_networks(patterns), formed_patterns(patterns)
    seen, (queries, _) = solids(4), samples(4, 3)
    with torch.no_grad():
        sees = evidence(in_frames(seen, networks.encode(seen)[0])).sees
        found = sheet_values(networks, known, seen, sees, queries)
    assert found.shape == (known.forms, 4, 5, 3)
    assert bool(found[0].isnan().all())
    for form in range(1, known.forms):
        decoder = torch.tensor([known.form.tolist().index(form)])
        used = {column - 1 for name, columns in naive_forms.ARRANGEMENTS for column in columns if name == FORMS[form]}
        for r in range(4):
            for m in range(5):
                if m not in used:
                    assert bool(found[form, r, m].isnan().all())
                    continue
                own = sees[r, :, m]
                points, normals = seen.points[r][own][None], seen.normals[r][own][None]
                with torch.no_grad():
                    frames, code = networks.encode_sheets(Seen(points, normals, torch.ones(1, int(own.sum()), dtype=torch.bool)))
                    alone = networks.ask(frames, code, decoder, queries[r][None])
                torch.testing.assert_close(found[form, r, m], alone[0], atol=1e-4, rtol=1e-3)


def loss_of_gate(networks: Networks, known: Patterns, seen: Seen, queries: Tensor, sdf: Tensor) -> Tensor:
    """That of regions as a step asks about them."""
    return gate_loss(networks, known, seen, networks(seen, None, queries, known), queries, sdf)


def expected_loss(networks: Networks, patterns: int, seen: Seen, queries: Tensor, sdf: Tensor) -> float:
    """The mean loss under the gate's odds, region by region and arrangement by arrangement, each by the model itself."""
    known, total, count = formed_patterns(patterns), 0.0, 0
    frames, codes = networks.encode(seen)
    inside = in_frames(seen, frames)
    for r in range(len(seen.mask)):
        one = Seen(*(part[[r]] for part in seen))
        framed = Seen(*(part[[r]] for part in inside))
        if not bool(may_bend(framed)):
            continue
        found = evidence(framed)
        logits, radius = networks.gate(found)
        odds = [math.exp(float(x - logits.max())) if form < known.forms else 0.0 for x, form in zip(logits[0], FORM_V.tolist(), strict=True)]
        asked, true = queries[[r], : LOSS.gate_samples], sdf[r, : LOSS.gate_samples].tolist()
        for v, odd in enumerate(odds):
            if odd == 0:
                continue
            if v == 0:
                said = networks.ask(type(frames)(*(part[[r]] for part in frames)), codes[[r]], known.assign(codes[[r]]), asked)
            else:
                choice = GateChoice(torch.tensor([v]), radius, found.sees)
                pattern = torch.tensor([known.form.tolist().index(int(FORM_V[v]))])
                said = networks.ask_sheets(one, choice, pattern, asked)
            total += odd / sum(odds) * naive_forms.region_loss(said[0].tolist(), true)
        count += 1
    return total / count


@pytest.mark.parametrize("patterns", [2, 8])
def test_the_gate_s_loss_is_the_mean_under_its_odds(patterns: int) -> None:
    networks = formed_networks(patterns)
    with torch.no_grad():
        networks.gate.sharpness.fill_(3.0)  # so that several arrangements have a say
        seen, (queries, sdf) = solids(), samples(12)
        found = float(loss_of_gate(networks, formed_patterns(patterns), seen, queries, sdf))
        assert found == pytest.approx(expected_loss(networks, patterns, seen, queries, sdf), rel=1e-3)


def test_only_the_gate_learns_from_its_loss() -> None:
    networks = formed_networks(8).requires_grad_(True)
    loss_of_gate(networks, formed_patterns(8), solids(), *samples(12)).backward()  # type: ignore[no-untyped-call]
    learnt = {name for name, parameter in networks.named_parameters() if parameter.grad is not None and bool(parameter.grad.any())}
    assert {"gate.choose.weight", "gate.choose.bias", "gate.sharpness"} <= learnt
    assert not [name for name in learnt if not name.startswith("gate.")]
    assert not [name for name in learnt if name.startswith("gate.round")]  # rounding is learnt from the distances of the step


def test_the_gate_learns_from_its_loss_to_choose_what_costs_least() -> None:
    """Told distances of the smooth answer, it takes regions to be smooth; forms that have no pattern are never chosen."""
    networks, known = formed_networks(3), formed_patterns(3)
    seen, (queries, _) = solids(12), samples(12, LOSS.gate_samples)
    with torch.no_grad():
        frames, codes = networks.encode(seen)
        smooth = networks.ask(frames, codes, known.assign(codes), queries)
        inside = in_frames(seen, frames)
        bending = may_bend(inside)
        found = evidence(Seen(*(part[bending] for part in inside)))
        before = networks.choose(found, 3).arrangement
    adam = torch.optim.Adam(networks.gate.requires_grad_(True).parameters(), 0.05)
    for _ in range(25):
        adam.zero_grad()
        loss_of_gate(networks, known, seen, queries, smooth).backward()  # type: ignore[no-untyped-call]
        adam.step()
    with torch.no_grad():
        after = networks.choose(found, 3).arrangement
    assert float((before != 0).float().mean()) > 0.5
    assert not after.any()
    assert int(FORM_V[before].max()) < 3


def test_regions_that_cannot_bend_cost_the_gate_nothing() -> None:
    plane = as_seen([cut("plane", 40, seed) for seed in range(3)])
    loss = loss_of_gate(formed_networks(8), formed_patterns(8), plane, *samples(3))
    assert (float(loss), loss.shape) == (0.0, ())


def test_the_gate_looks_at_so_many_regions_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.core.losses.LOSS", LOSS._replace(gate_regions=2))
    networks, known, (queries, sdf) = formed_networks(8), formed_patterns(8), samples(4)
    edges = as_seen([cut("edge of a cube", 40, seed) for seed in range(4)])
    some = Seen(*(part[:2] for part in edges))
    with torch.no_grad():
        assert float(loss_of_gate(networks, known, edges, queries, sdf)) == pytest.approx(
            float(loss_of_gate(networks, known, some, queries[:2], sdf[:2])), rel=1e-4
        )


def test_points_of_sheets_are_those_they_see_nearest_first() -> None:
    seen = solids(11)
    arrangement = torch.arange(11)
    found = evidence(seen)
    sheets = sheets_of(arrangement)
    parts = sheet_points(seen, found.sees, sheets)
    for t, (r, column) in enumerate(zip(sheets.owner.tolist(), sheets.column.tolist(), strict=True)):
        own = seen.mask[r] if column == 0 else found.sees[r, :, column - 1]
        np.testing.assert_array_equal(parts.points[t][parts.mask[t]], seen.points[r][own])
        np.testing.assert_array_equal(parts.normals[t][parts.mask[t]], seen.normals[r][own])
        assert not parts.points[t][~parts.mask[t]].any()
    assert int(parts.mask.sum(1).max()) == parts.mask.shape[1]
    assert GATE.points >= 40
