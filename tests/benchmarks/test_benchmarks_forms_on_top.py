"""Decoders of forms that learn on top of a model leave its smooth regions as they are."""

from __future__ import annotations

import sys

import pytest
import torch
from conftest import ROOT
from shapes import plain_patterns, wavy_regions

from lpdif.core.model import Model, make_networks
from lpdif.core.optimizer import TrainingRegions, copy_decoders

sys.path.insert(0, str(ROOT / "benchmarks"))
import forms_on_top


def bent_regions(count: int) -> TrainingRegions:
    """Wavy regions, steep enough to be no smooth ones."""
    points, normals = (part.float() for part in wavy_regions(count, 200))
    steep = torch.nn.functional.normalize(normals * torch.tensor([4.0, 4.0, 1.0]), dim=2)
    return TrainingRegions(points, steep, torch.full((count,), 200), points[:, :40] + 0.02, torch.full((count, 40), 0.02))


def plain_model() -> Model:
    networks = make_networks(4, 8, 0)
    copy_decoders(networks.decoder, torch.tensor([0, 0]))
    return Model(networks.eval().requires_grad_(False), plain_patterns(torch.tensor([[-0.1], [0.1]]), networks.encoder.code_size), {})


def test_only_forms_and_gate_learn() -> None:
    before = {name: value.clone() for name, value in forms_on_top.with_forms(plain_model()).networks.state_dict().items()}
    model = forms_on_top.learn(forms_on_top.with_forms(plain_model()), bent_regions(30), 4)
    after = model.networks.state_dict()
    assert model.patterns.form.tolist() == [0, 0, 1, 2, 3, 4, 5, 6]
    for name, value in after.items():
        if name.startswith("decoder."):
            assert torch.equal(value[:2], before[name][:2]), name
        elif name.startswith("encoder."):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(after["decoder.out.weight"][2:], before["decoder.out.weight"][2:])
    assert not torch.equal(after["gate.choose.weight"], before["gate.choose.weight"])


def test_a_model_with_forms_gets_no_more() -> None:
    with pytest.raises(SystemExit, match="has forms already"):
        forms_on_top.with_forms(forms_on_top.with_forms(plain_model()))


def test_the_rate_rises_and_falls() -> None:
    assert forms_on_top.rate(0, 1000) == pytest.approx(0.01, rel=1e-3)
    assert forms_on_top.rate(1000, 1000) == pytest.approx(forms_on_top.LAST_RATE)
    assert max(forms_on_top.rate(step, 1000) for step in range(1000)) < 1
