"""What is computed on a GPU names its device everywhere. Checked without one.

Within these tests, tensors that are made without a device are on "meta", where they meet nothing; and the tables of the forms, which are on
the CPU, may be used with other tensors only once they have been moved.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from formed import formed_networks, formed_patterns
from shapes import random_field, training_regions
from solids import SOLIDS, as_seen, cut
from torch import Tensor

from lpdif.core import encode, field, forms, losses, model
from lpdif.core.encode import choose_block, encode_block
from lpdif.core.forms import ARRANGEMENTS
from lpdif.core.losses import gate_loss
from lpdif.core.optimizer import Optimizer, draw
from lpdif.core.regions import Seen

TABLES = ("FORM_V", "COUNT_V", "COLUMN_V3", "OUTER_V", "INNER_V", "PLACES")


class Table(Tensor):
    """A tensor on the CPU that must be moved before it is used with another."""

    @classmethod
    def __torch_function__(cls, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        given = [each for each in (*args, *(kwargs or {}).values()) if isinstance(each, Tensor)]
        assert all(isinstance(each, Table) for each in given), f"{func.__name__}: a table that was not moved to the device"
        found = super().__torch_function__(func, types, tuple(args), kwargs)
        return found.as_subclass(Tensor) if func is Tensor.to else found


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything that names no device is on another one."""
    for module in (encode, field, forms, losses, model):
        for name in TABLES:
            if hasattr(module, name):
                monkeypatch.setattr(module, name, getattr(module, name).as_subclass(Table))
    with torch.device("meta"):
        yield


@pytest.fixture(scope="module")
def seen() -> Seen:
    return as_seen([cut(name, 40, number) for number, name in enumerate(list(SOLIDS) * 2)])


@pytest.fixture(scope="module")
def queries(seen: Seen) -> Tensor:
    return torch.rand((len(seen.mask), 20, 3), generator=torch.Generator().manual_seed(0)) - 0.5


def test_the_check_finds_what_names_no_device(elsewhere: None) -> None:
    there = torch.zeros(3, device="cpu")
    with pytest.raises(RuntimeError, match="meta"):
        there + torch.arange(3)
    with pytest.raises(AssertionError, match="a table that was not moved"):
        there[0] + forms.OUTER_V
    assert type(forms.OUTER_V.to("cpu") + there[0]) is Tensor


def test_training(seen: Seen, queries: Tensor, request: pytest.FixtureRequest) -> None:
    """Both stages of the networks, and both losses."""
    networks, known = formed_networks(8).train().requires_grad_(True), formed_patterns(8)
    trial, turned = (torch.arange(len(seen.mask)) % every == 0 for every in (2, 3))
    request.getfixturevalue("elsewhere")
    for patterns in (None, known):
        answer = networks(seen, turned, queries, patterns, trial)
        answer.sdf.sum().backward()
    assert len(answer.bent) > 3
    loss = gate_loss(networks, known, seen, answer, queries, queries[..., 0])
    loss.backward()
    assert loss.isfinite()


def test_a_step_of_the_optimizer(request: pytest.FixtureRequest) -> None:
    data = training_regions()
    optimizer = Optimizer(formed_networks(8).requires_grad_(True), len(data.counts), torch.device("cpu"))
    optimizer.patterns = formed_patterns(8)
    drawn, weight = draw(data, 16, 0, 0), torch.ones(16)
    request.getfixturevalue("elsewhere")
    said = optimizer.learn_part(drawn, weight, 1.0)
    assert said.shape == (16, optimizer.bank.shape[1] + 3)
    assert said.isfinite().all()


@pytest.mark.parametrize("refine", [0, 2])
def test_encoding(seen: Seen, request: pytest.FixtureRequest, refine: int) -> None:
    networks, known = formed_networks(8), formed_patterns(8)
    rows, form = torch.arange(len(seen.mask)), torch.arange(len(seen.mask)) % 7
    request.getfixturevalue("elsewhere")
    with torch.no_grad():
        arrangement = choose_block(networks, known.forms, seen, rows)[0]
        for encode_some in (networks.encode, networks.encode_sheets):
            origin, *_, pattern = encode_block(encode_some, networks.decoder, known, refine, 0.01, form, seen, rows)
    assert int((arrangement > 0).sum()) > 3
    assert origin.isfinite().all()
    assert pattern.tolist() == (form + 1).where(form > 0, pattern).tolist()


@pytest.mark.parametrize("arrangements", [1, len(ARRANGEMENTS)])
def test_decoding(request: pytest.FixtureRequest, arrangements: int) -> None:
    place = np.random.default_rng(0).uniform(-1, 1, (40, 3))
    made = random_field(place, 0.35, 5, 2, arrangements=arrangements)
    region = np.arange(40) % len(made.codes.center)
    expected = made.decode(place, region)
    request.getfixturevalue("elsewhere")
    np.testing.assert_array_equal(made.decode(place, region), expected)
