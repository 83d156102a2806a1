"""The optimizer: seeded to the bit, resumable to the bit, and its patterns and weights do what they say."""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from shapes import training_regions
from torch import Tensor

from lpdif.core.kde import KDE
from lpdif.core.model import Networks, make_networks
from lpdif.core.optimizer import TRAINING, Optimizer, copy_decoders, learning_rate, step_generator
from lpdif.core.patterns import fit_patterns, pattern_tensors, read_patterns

CPU = torch.device("cpu")
BATCH = 24
RATE = 2e-3


def fresh(seed: int = 0) -> Optimizer:
    return Optimizer(make_networks(6, 8, seed), len(training_regions().counts), CPU)


def run(optimizer: Optimizer, steps: int, rate: float = RATE, seed: int = 0) -> list[float]:
    return [optimizer.learn(training_regions(), BATCH, rate, seed) for _ in range(steps)]


@cache
def branched_state(patterns: int, forms: bool) -> dict[str, Tensor]:
    optimizer = fresh()
    run(optimizer, 12)
    optimizer.branch(fit_patterns(optimizer.bank[optimizer.seen], patterns, 0, form_R=optimizer.form[optimizer.seen] if forms else None))
    return state_of(optimizer)


def branched(patterns: int = 3, forms: bool = False) -> Optimizer:
    """An optimizer at the start of its pattern stage, whose patterns are groups of codes, or forms first of all."""
    optimizer = fresh()
    optimizer.restore({name: tensor.clone() for name, tensor in branched_state(patterns, forms).items()})
    return optimizer


def state_of(optimizer: Optimizer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in optimizer.tensors().items()}


def assert_same(one: Optimizer, other: Optimizer) -> None:
    a, b = one.tensors(), other.tensors()
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def answers(networks: Networks, optimizer: Optimizer) -> Tensor:
    """Signed distances of the first regions, as they were stored."""
    from lpdif.core.regions import Seen

    some = training_regions().at(torch.arange(12))
    mask = torch.arange(some.points.shape[1]) < some.counts[:, None]
    seen = Seen(some.points.float(), some.normals.float(), mask)
    with torch.no_grad():
        return networks(seen, torch.zeros(12, dtype=torch.bool), some.queries, optimizer.patterns)[0]


def test_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(step, 2000, 3e-3) for step in range(2000)]
    assert rates[0] == pytest.approx(3e-3 / TRAINING.warm_up, rel=0.01)
    assert max(rates) <= 3e-3
    assert rates.index(max(rates)) < 1.1 * TRAINING.warm_up
    assert all(a > b for a, b in zip(rates[TRAINING.warm_up + 50 :], rates[TRAINING.warm_up + 51 :], strict=False))
    assert learning_rate(2000, 2000, 3e-3) == pytest.approx(TRAINING.last_rate * 3e-3)
    assert math.isfinite(learning_rate(0, 0, 1.0))


def test_every_step_has_its_own_numbers() -> None:
    drawn = {(seed, step): torch.rand(1, generator=step_generator(seed, step)).item() for seed in range(5) for step in range(50)}
    assert len(set(drawn.values())) == len(drawn)
    assert torch.rand(1, generator=step_generator(2**62, 10**9)).item() == torch.rand(1, generator=step_generator(2**62, 10**9)).item()


def test_same_seed_same_networks() -> None:
    before = torch.get_rng_state()
    one, other = make_networks(6, 8, 5), make_networks(6, 8, 5)
    assert torch.equal(torch.get_rng_state(), before)  # the global generator is left alone
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.encoder.again.weight, make_networks(6, 8, 6).encoder.again.weight)


def test_same_seed_same_run() -> None:
    one, other, third = fresh(), fresh(), fresh()
    assert run(one, 4) == run(other, 4)
    assert_same(one, other)
    assert run(third, 4, seed=1) != run(fresh(), 4)


def test_learning_learns() -> None:
    """One batch, seen again and again, is learnt by heart."""
    optimizer = fresh()
    losses = []
    for _ in range(40):
        optimizer.step = 0
        losses += run(optimizer, 1, rate=1e-2)
    assert losses[-1] < 0.6 * losses[0]


def test_codes_are_banked_as_batches_come_by() -> None:
    optimizer = fresh()
    run(optimizer, 20)
    assert optimizer.step == 20
    assert 0.7 < float(optimizer.seen.float().mean()) < 1
    assert bool(optimizer.bank[optimizer.seen].any(1).all())
    assert not optimizer.bank[~optimizer.seen].any()


def test_the_running_mean_follows() -> None:
    optimizer = fresh()
    start = [p.clone() for p in optimizer.mean.parameters()]
    run(optimizer, 1)
    for mean, first, now in zip(optimizer.mean.parameters(), start, optimizer.networks.parameters(), strict=True):
        torch.testing.assert_close(mean, torch.lerp(first, now.detach(), 0.9))
        assert not mean.requires_grad


@pytest.mark.parametrize("patterns", [1, 2, 5])
def test_branched_decoders_start_as_the_shared_one(patterns: int) -> None:
    optimizer = fresh()
    run(optimizer, 15)
    before, mean = answers(optimizer.networks, optimizer), answers(optimizer.mean, optimizer)
    optimizer.branch(fit_patterns(optimizer.bank[optimizer.seen], patterns, 0))
    assert optimizer.networks.decoder.patterns == optimizer.mean.decoder.patterns == patterns
    torch.testing.assert_close(answers(optimizer.networks, optimizer), before, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(answers(optimizer.mean, optimizer), mean, atol=1e-6, rtol=1e-5)
    assert not any(p.requires_grad for p in optimizer.mean.parameters())
    run(optimizer, 2)
    if patterns > 1:
        assert len({tuple(weight.flatten().tolist()) for weight in optimizer.networks.decoder.out.weight}) > 1


def test_branching_keeps_the_moments_of_adam() -> None:
    optimizer = fresh()
    run(optimizer, 5)
    before = {name: dict(optimizer.adam.state[p]) for name, p in optimizer.networks.named_parameters()}
    optimizer.branch(fit_patterns(optimizer.bank[optimizer.seen], 3, 0))
    for name, parameter in optimizer.networks.named_parameters():
        now = optimizer.adam.state[parameter]
        assert now["exp_avg"].shape == parameter.shape
        for k in range(3 if name.startswith("decoder.") else 1):
            copy = now["exp_avg"][k] if name.startswith("decoder.") else now["exp_avg"]
            source = name.replace("sheet_encoder.", "encoder.")
            assert torch.equal(copy, before[source]["exp_avg"].reshape(copy.shape))
        assert now["step"] == 5


def test_decoders_are_chosen_by_number() -> None:
    optimizer = branched(3)
    run(optimizer, 2)
    before = {name: p.detach().clone() for name, p in optimizer.networks.decoder.named_parameters()}
    copy_decoders(optimizer.networks.decoder, torch.tensor([2, 2, 0, 1]))
    for name, parameter in optimizer.networks.decoder.named_parameters():
        assert torch.equal(parameter, before[name][[2, 2, 0, 1]])
        assert parameter.requires_grad


def test_regrouping_starts_from_the_decoder_most_regions_had() -> None:
    optimizer = branched(3)
    run(optimizer, 3)
    old = {name: p.detach().clone() for name, p in optimizer.networks.decoder.named_parameters()}
    had, codes = optimizer.pattern[optimizer.seen].clone(), optimizer.bank[optimizer.seen]
    patterns = fit_patterns(codes, 5, 1)
    owner = patterns.assign(codes)
    expected = [int(torch.bincount(had[owner == k], minlength=3).argmax()) for k in range(5)]
    optimizer.refresh_weights(1.0, 0)
    optimizer.regroup(patterns)
    for name, parameter in optimizer.networks.decoder.named_parameters():
        assert torch.equal(parameter, old[name][expected])
    assert torch.equal(optimizer.pattern, patterns.assign(optimizer.bank))
    assert torch.equal(optimizer.weight, torch.ones_like(optimizer.weight))
    run(optimizer, 1)


@pytest.mark.parametrize(("patterns", "forms"), [(0, False), (1, False), (3, False), (2, True), (5, True), (9, True)])
@pytest.mark.parametrize("before", [0, 4])
def test_a_resumed_run_repeats_a_straight_one(patterns: int, before: int, forms: bool) -> None:
    """Bit for bit, in both stages and over refreshes of patterns and weights."""

    def go_on(optimizer: Optimizer) -> list[float]:
        losses = run(optimizer, 2)
        optimizer.refresh_patterns(0)
        optimizer.refresh_weights(0.5, 0)
        return losses + run(optimizer, 3)

    straight = fresh() if patterns == 0 else branched(patterns, forms)
    run(straight, before)
    state = state_of(straight)
    resumed = fresh(seed=9)
    resumed.restore(state)
    assert_same(resumed, straight)
    assert go_on(resumed) == go_on(straight)
    assert_same(resumed, straight)


def test_patterns_survive_a_file() -> None:
    patterns = branched(3).patterns
    assert patterns is not None
    again = read_patterns(pattern_tensors(patterns))
    assert again is not None
    for one, other in zip(
        (*again.whitening, again.centroids, again.form), (*patterns.whitening, patterns.centroids, patterns.form), strict=True
    ):
        assert torch.equal(one, other)
    assert read_patterns({}) is None


def test_refreshed_patterns_report_the_share_that_changed() -> None:
    optimizer = branched(4)
    run(optimizer, 10, rate=2e-2)
    assert optimizer.patterns is not None
    codes = optimizer.bank[optimizer.seen]
    before = optimizer.patterns.assign(codes)
    share = optimizer.refresh_patterns(0)
    after = optimizer.patterns.assign(codes)
    assert share == pytest.approx(float((before != after).float().mean()))
    assert share > 0
    assert torch.equal(optimizer.pattern[optimizer.seen], after)
    assert optimizer.refresh_patterns(0) < share  # nothing moved since


def test_without_patterns_there_is_nothing_to_refresh() -> None:
    optimizer = fresh()
    run(optimizer, 1)
    assert optimizer.refresh_patterns(0) == 0
    assert optimizer.refresh_weights(0.5, 0) == []
    assert torch.equal(optimizer.weight, torch.ones_like(optimizer.weight))


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_weights_have_mean_one_within_each_pattern(gamma: float) -> None:
    optimizer = branched(3)
    shares = optimizer.refresh_weights(gamma, 0)
    assert len(shares) == 3
    for k, share in enumerate(shares):
        mine = optimizer.weight[optimizer.seen & (optimizer.pattern == k)]
        assert float(mine.mean()) == pytest.approx(1, abs=1e-4)
        assert 1 / KDE.clip * 0.999 <= float(mine.min()) <= float(mine.max()) <= KDE.clip * 1.001
        assert 1 / len(mine) <= share < 1
    assert torch.equal(optimizer.weight[~optimizer.seen], torch.ones(int((~optimizer.seen).sum())))


def test_gamma_zero_is_no_weighting() -> None:
    """Bit for bit the run in which no density was ever estimated."""
    weighted, plain, heavy = branched(3), branched(3), branched(3)
    assert weighted.refresh_weights(0.0, 0) == [1, 1, 1]
    heavy.refresh_weights(1.0, 0)
    assert run(weighted, 4) == run(plain, 4)
    assert_same(weighted, plain)
    assert run(heavy, 4) != run(branched(3), 4)


def test_a_weight_of_zero_is_a_region_unseen_by_the_loss() -> None:
    """Weights reach the gradient: with all of them zero, nothing but the decay of Adam moves."""
    optimizer = fresh()
    optimizer.weight = torch.zeros_like(optimizer.weight)
    before = optimizer.networks.decoder.out.weight.detach().clone()
    assert run(optimizer, 2) == [0.0, 0.0]
    assert torch.equal(optimizer.networks.decoder.out.weight, before)


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    """A few steps: the same random numbers, and losses that differ by rounding alone."""
    there = Optimizer(make_networks(6, 8, 0), len(training_regions().counts), torch.device("cuda"))
    assert run(there, 5) == pytest.approx(run(fresh(), 5), rel=1e-3)
    state = state_of(there)
    back = fresh()
    back.restore(state)
    assert back.step == 5
