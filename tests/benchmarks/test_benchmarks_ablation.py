"""The ablation's own parts: equal parameters, parts left out, errors and rarity of regions."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from shapes import wavy_regions

from lpdif.core.jets import fit_jets
from lpdif.core.model import make_networks
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.optimizer import Optimizer, TrainingRegions
from lpdif.core.patterns import fit_patterns
from lpdif.core.regions import Seen
from lpdif.stages.held_out import as_in_training, held_out_errors

sys.path.insert(0, str(ROOT / "benchmarks"))
import ablation
import near_points


@pytest.mark.parametrize("width", [8, 48])
@pytest.mark.parametrize("times", [2, 8])
def test_the_wide_decoder_has_the_parameters_of_many(width: int, times: int) -> None:
    wanted = ablation.parameters(MultiDecoder(times, 20, width))
    wide = ablation.wide_width(20, width, times)
    assert ablation.parameters(MultiDecoder(1, 20, wide)) >= wanted > ablation.parameters(MultiDecoder(1, 20, wide - 1))


def regions(count: int, bend: float = 0.3) -> TrainingRegions:
    """Wavy regions whose samples lie on their points, so that the true distance is 0."""
    points, normals = (part.float() for part in wavy_regions(count, 160))
    points = points * torch.tensor([1.0, 1.0, bend])
    return TrainingRegions(points, normals, torch.full((count,), 160), points[:, :8], torch.zeros(count, 8))


def test_errors_are_those_near_the_surface() -> None:
    """A fresh decoder says what the jet says: exactly right on a plane, and off by what the samples are moved."""
    networks = make_networks(4, 8, 0)
    flat = regions(5, 0.0)
    flat = flat._replace(normals=torch.tensor([0.0, 0.0, 1.0]).expand_as(flat.points))
    assert ablation.region_errors(networks, None, flat, ablation.clean, torch.device("cpu")) == pytest.approx(np.zeros(5), abs=1e-4)
    lifted = flat._replace(queries=flat.queries + torch.tensor([0.0, 0.0, 0.05]))
    assert ablation.region_errors(networks, None, lifted, ablation.clean, torch.device("cpu")) == pytest.approx(np.full(5, 0.05), abs=1e-3)
    far = lifted._replace(sdf=torch.full((5, 8), 0.3))
    assert np.isnan(ablation.region_errors(networks, None, far, ablation.clean, torch.device("cpu"))).all()


def test_what_is_left_out_is_left_out() -> None:
    data = regions(4)
    networks = make_networks(4, 8, 0)
    with_all = ablation.region_errors(networks, None, data, ablation.clean, torch.device("cpu"))
    with ablation.parts_of(ablation.Variant("", jets=False)):
        without = ablation.region_errors(networks, None, data, ablation.clean, torch.device("cpu"))
    assert (without > with_all).all()
    mask = torch.ones(4, 160, dtype=torch.bool)
    frames = ablation.fixed_frames(data.points, data.normals, mask)
    assert torch.equal(frames.inward(data.points), data.points)
    weights = torch.ones(4, 160)
    assert ablation.no_jets(data.points, data.normals, weights, weights, torch.ones(10)).abs().max() == 0
    assert fit_jets(data.points, data.normals, weights, weights, torch.full((10,), 1e-6)).abs().max() > 0


def test_rare_regions_come_first() -> None:
    """Among height fields, clouds without any surface are the rare ones."""
    common, rare = regions(190), regions(5)
    rare = rare._replace(points=torch.randn(5, 160, 3, generator=torch.Generator().manual_seed(0)))
    known, unknown = common.at(torch.arange(0, 190, 2)), common.at(torch.arange(1, 190, 2))
    data = TrainingRegions(*(torch.cat(pair) for pair in zip(unknown, rare, strict=True)))
    decile = ablation.rarity(make_networks(4, 8, 0), known, data)
    assert np.bincount(decile).tolist() == [10] * 10
    assert decile[95:].mean() < 1.5


def test_figures_by_decile() -> None:
    errors = np.array([*np.arange(20) / 100, np.nan])
    decile = np.array([*np.repeat(np.arange(10), 2), 9])
    found = ablation.figures(errors, decile)
    assert found["mean"] == pytest.approx(0.095)
    assert found["decile_mean"] == pytest.approx([0.005 + 0.02 * k for k in range(10)])


def test_soft_patterns_answer_as_one_where_their_decoders_agree() -> None:
    data = regions(6)
    with torch.no_grad():
        networks = make_networks(4, 8, 0)
        torch.nn.init.normal_(networks.decoder.out.weight)
        optimizer = Optimizer(networks, 6, torch.device("cpu"))
        optimizer.bank, optimizer.seen = torch.randn(6, 14, generator=torch.Generator().manual_seed(1)), torch.ones(6, dtype=torch.bool)
        alone = ablation.region_errors(networks, None, data, ablation.clean, optimizer.device)
    optimizer.learn(data, 6, 0.0, 0)  # so that there are moments to copy
    optimizer.branch(fit_patterns(optimizer.bank, 3, 0))
    with ablation.parts_of(ablation.Variant("", 3, soft=True)):
        together = ablation.region_errors(networks, optimizer.patterns, data, ablation.clean, optimizer.device)
        assert together == pytest.approx(alone, rel=1e-4)
        with torch.no_grad():
            networks.decoder.out.bias[0] += 1.0
        parted = ablation.region_errors(networks, optimizer.patterns, data, ablation.clean, optimizer.device)
    hard = ablation.region_errors(networks, optimizer.patterns, data, ablation.clean, optimizer.device)
    assert np.isclose(parted, hard, rtol=1e-4).sum() < 6  # where two patterns are near, both are heard


def test_unwhitened_directions_keep_their_spread() -> None:
    codes = torch.randn(400, 20, generator=torch.Generator().manual_seed(0)) * torch.linspace(0.1, 1, 20)
    spread = ablation.fit_projection(codes).apply(codes).std(0)
    assert spread[0] == pytest.approx(1.0, abs=0.01)
    assert 0.15 < spread[-1] < 0.6
    assert ablation.fit_whitening(codes).apply(codes).std(0) == pytest.approx(torch.ones(16), abs=0.01)


def test_weights_by_error_rise_with_the_error() -> None:
    data = regions(40)
    optimizer = Optimizer(make_networks(4, 8, 0), 40, torch.device("cpu"))
    data = data._replace(sdf=data.sdf + torch.linspace(0, 0.1, 40)[:, None])
    share = ablation.refresh_weights(ablation.Variant("", gamma=0.5, weights="error"), optimizer, data, 0)
    error = held_out_errors(optimizer.mean, None, data, as_in_training, 0, optimizer.device)[0]
    order = error.argsort()[: int(error.isfinite().sum())]
    assert (optimizer.weight[order].diff() >= 0).all()
    assert optimizer.weight.mean() == pytest.approx(1.0, abs=1e-4)
    assert 0.5 < share < 1


def test_a_wide_encoder_is_wide() -> None:
    with ablation.parts_of(ablation.Variant("", encoder=256)):
        assert make_networks(4, 8, 0).encoder.width == 256
    assert make_networks(4, 8, 0).encoder.width == 128


def naive_near_features(query: np.ndarray, points: np.ndarray, normals: np.ndarray) -> list[float]:
    """What near_features says of one query, from the points that are there."""
    order = np.argsort(np.linalg.norm(points - query, axis=1))[: near_points.NEAREST]
    close = [i for i in order if np.linalg.norm(points[i] - query) < near_points.LIMIT]
    if not close:
        return [near_points.LIMIT, np.sqrt(2 * np.pi * 1e-6)] + [0.0, 0.0] * len(near_points.WIDTHS)
    middle = points[close].mean(0)
    spread = max(float(np.mean([np.sum((points[i] - middle) ** 2) for i in close])), 1e-6)
    spacing = np.sqrt(2 * np.pi * spread / len(close))
    nearest = float(np.linalg.norm(points[close[0]] - query))
    found = [nearest, spacing]
    for width in near_points.WIDTHS:
        weights = [np.exp(-(np.sum((points[i] - query) ** 2) - nearest**2) / (2 * (width * spacing) ** 2)) for i in close]
        height = sum(w * normals[i] @ (query - points[i]) for w, i in zip(weights, close, strict=True)) / sum(weights)
        normal = sum(w * normals[i] for w, i in zip(weights, close, strict=True)) / sum(weights)
        found += [height, float(np.linalg.norm(normal))]
    return found


@pytest.mark.parametrize("regions", [1, 3])
@pytest.mark.parametrize("seen", [1, 5, 40])
@pytest.mark.parametrize("queries", [1, 7])
def test_near_features_are_those_of_each_query(regions: int, seen: int, queries: int) -> None:
    draw = torch.Generator().manual_seed(seen)
    points, asked = torch.randn(regions, seen, 3, generator=draw), 0.7 * torch.randn(regions, queries, 3, generator=draw)
    normals = torch.nn.functional.normalize(torch.randn(regions, seen, 3, generator=draw), dim=2)
    mask = torch.rand(regions, seen, generator=draw) < 0.8
    mask[0, 0] = False
    found = near_points.near_features(asked, Seen(points * mask[..., None], normals * mask[..., None], mask)).numpy()
    for r in range(regions):
        there = mask[r].numpy()
        for q in range(queries):
            expected = naive_near_features(asked[r, q].numpy(), points[r].numpy()[there], normals[r].numpy()[there])
            assert found[r, q] == pytest.approx(np.array(expected), abs=2e-3)


def test_near_points_take_part_and_nothing_else_changes() -> None:
    """A fresh decoder says what the jet says, with and without; what it learns reaches the weights of the features."""
    data = regions(4)
    variant = ablation.Variant("", near=True)
    with ablation.parts_of(variant):
        networks = near_points.make_near_networks(4, 8, 0)
        near = ablation.region_errors(networks, None, data, ablation.clean, torch.device("cpu"))
        optimizer = Optimizer(networks, 4, torch.device("cpu"))
        for _ in range(2):  # the last layer starts at zero: the first step changes it alone
            optimizer.learn(data, 4, 0.01, 0)
        gradient = networks.decoder.from_code.weight.grad  # not the weights themselves: these decay in any case
        assert gradient is not None
        assert gradient[:, -near_points.FEATURES :].any(2).all()
    assert near == pytest.approx(ablation.region_errors(make_networks(4, 8, 0), None, data, ablation.clean, torch.device("cpu")), abs=1e-6)
