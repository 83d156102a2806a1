"""Signs of blocks: forests are the strongest there are, energies are counted right, and no flip of a branch is worth it at the end."""

from __future__ import annotations

import itertools

import naive_preparation as naive
import numpy as np
import pytest
from numpy.typing import NDArray

from lpdif.points.orientation.energy import Energy, Forest, descend, minimise, relax, rooted, spanning_forest

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def random_pairs(count: int, share: float, seed: int) -> IntArray:
    """(P, 2) some of the pairs of so many blocks, the first the lower."""
    pairs = list(itertools.combinations(range(count), 2))
    kept = np.random.default_rng(seed).random(len(pairs)) < share
    return np.array([p for p, k in zip(pairs, kept, strict=True) if k], dtype=np.int64).reshape(-1, 2)


def random_energy(count: int, targets: int, share: float, seed: int) -> Energy:
    rng = np.random.default_rng(seed)
    pairs = random_pairs(count, share, seed)
    influence = rng.normal(size=(targets, count)).astype(np.float32) / 3
    consistency, prior = rng.normal(size=len(pairs)), 0.3 * rng.normal(size=count)
    return Energy.from_influence(influence, rng.uniform(0.5, 2, targets), pairs[:, 0], pairs[:, 1], consistency, prior)


def value(energy: Energy, signs: FloatArray) -> float:
    pairs = list(zip(energy.first.tolist(), energy.second.tolist(), strict=True))
    return naive.energy(energy.fields.astype(float), energy.goal.astype(float), pairs, energy.coupling.tolist(), energy.prior, signs)


def branch(forest: Forest, place: int) -> IntArray:
    return forest.order[place : forest.end[place]]


@pytest.mark.parametrize("count", [1, 2, 9, 60])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.6])
def test_rooted_forests_have_parents_before_children(count: int, share: float) -> None:
    pairs = random_pairs(count, share, seed=count)
    edges = pairs[naive.strongest_forest([tuple(p) for p in pairs.tolist()], np.random.default_rng(0).random(len(pairs)).tolist(), count)]
    order, parent = rooted(edges[:, 0], edges[:, 1], count)
    assert sorted(order.tolist()) == list(range(count))
    position = np.argsort(order)
    child = parent != np.arange(count)
    assert (position[parent[child]] < position[child]).all()
    linked = {frozenset((int(a), int(b))) for a, b in zip(np.flatnonzero(child), parent[child], strict=True)}
    assert linked == {frozenset(e) for e in edges.tolist()}
    root = np.arange(count)
    for _ in range(count):
        root = parent[root]
    for r in np.unique(root):
        assert np.flatnonzero(root == r)[0] == r


@pytest.mark.parametrize("count", [1, 2, 9, 60])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.6])
def test_spanning_forests_are_the_strongest_and_their_branches_are_ranges(count: int, share: float) -> None:
    pairs = random_pairs(count, share, seed=count + 1)
    weight = np.random.default_rng(count).normal(size=len(pairs))
    forest = spanning_forest(pairs[:, 0], pairs[:, 1], weight, count)
    named = [(int(a), int(b)) for a, b in pairs]
    expected = {frozenset(named[p]) for p in naive.strongest_forest(named, weight.tolist(), count)}
    places = np.arange(count)
    child = forest.parent != places
    found = {frozenset(map(int, e)) for e in zip(forest.order[places[child]], forest.order[forest.parent[child]], strict=True)}
    assert found == expected
    assert sorted(forest.order.tolist()) == list(range(count))
    for place in range(count):
        below = {place}
        for other in range(place + 1, count):  # parents come first
            if forest.parent[other] in below and forest.parent[other] != other:
                below.add(other)
        assert below == set(range(place, forest.end[place]))
    roots = np.flatnonzero(~child)
    assert forest.tree[roots].tolist() == list(range(len(roots)))
    assert (forest.tree == forest.tree[forest.parent]).all()


@pytest.mark.parametrize("count", [1, 2, 7, 40])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.7])
@pytest.mark.parametrize("targets", [1, 30])
def test_no_branch_is_left_that_lowers_the_energy(count: int, share: float, targets: int) -> None:
    energy = random_energy(count, targets, share, seed=targets)
    forest = spanning_forest(energy.first, energy.second, np.abs(energy.coupling), count)
    start = np.where(np.random.default_rng(2).random(count) < 0.5, -1.0, 1.0)
    signs = descend(energy, forest, start)
    assert set(np.abs(signs).tolist()) == {1.0}
    lowest = value(energy, signs)
    assert lowest <= value(energy, start) + 1e-4
    for place in range(count):
        other = signs.copy()
        other[branch(forest, place)] *= -1
        assert value(energy, other) >= lowest - 1e-4 * max(1, abs(lowest))


@pytest.mark.parametrize("seed", range(6))
def test_a_start_that_one_branch_spoils_is_mended(seed: int) -> None:
    """All agree to point one way, and the prior says which; a flipped branch is flipped back in one step."""
    rng = np.random.default_rng(seed)
    pairs = random_pairs(30, 0.2, seed)
    good = np.where(rng.random(30) < 0.5, -1.0, 1.0)
    coupling = rng.uniform(0.5, 2, len(pairs)) * good[pairs[:, 0]] * good[pairs[:, 1]]
    nothing = np.zeros((1, 30), dtype=np.float32)
    energy = Energy(nothing, np.zeros(1, dtype=np.float32), pairs[:, 0], pairs[:, 1], coupling, 0.2 * good)
    forest = spanning_forest(pairs[:, 0], pairs[:, 1], np.abs(coupling), 30)
    start = good.copy()
    start[branch(forest, int(rng.integers(1, 30)))] *= -1
    np.testing.assert_array_equal(descend(energy, forest, start), good)
    np.testing.assert_array_equal(minimise(energy), good)


@pytest.mark.parametrize("count", [2, 6, 9])
@pytest.mark.parametrize("seed", range(4))
def test_signs_of_least_energy_on_a_tree_are_the_best_of_all(count: int, seed: int) -> None:
    """On a tree without loops every cut between two signs is the edge above a branch."""
    rng = np.random.default_rng(seed)
    first = np.array([int(rng.integers(0, i)) for i in range(1, count)])
    coupling = rng.normal(size=count - 1)
    prior = np.zeros(count)
    prior[0] = 0.5
    energy = Energy(np.zeros((1, count), np.float32), np.zeros(1, np.float32), first, np.arange(1, count), coupling, prior)
    best = min(value(energy, np.array(s)) for s in itertools.product((-1.0, 1.0), repeat=count))
    assert value(energy, minimise(energy)) == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_signs_of_least_energy_are_among_the_best(seed: int) -> None:
    energy = random_energy(9, 40, 0.5, seed)
    values = np.array([value(energy, np.array(s)) for s in itertools.product((-1.0, 1.0), repeat=9)])
    assert np.mean(values < value(energy, minimise(energy)) - 1e-4) < 0.02


@pytest.mark.parametrize("seed", range(5))
def test_relaxed_signs_are_those_of_the_linear_system(seed: int) -> None:
    energy = random_energy(12, 30, 0.4, seed)
    fields, count = energy.fields.astype(float), 12
    matrix, wanted = 2 * fields.T @ fields + 1e-6 * np.eye(count), 2 * fields.T @ energy.goal + energy.prior
    for a, b, coupling in zip(energy.first, energy.second, energy.coupling, strict=True):
        matrix[a, a] += abs(coupling)
        matrix[b, b] += abs(coupling)
        matrix[a, b] -= coupling
        matrix[b, a] -= coupling
    exact = np.linalg.solve(matrix, wanted)
    clear = np.abs(exact) > 0.1 * np.abs(exact).max()
    assert clear.sum() >= 4
    np.testing.assert_array_equal(relax(energy)[clear], np.sign(exact)[clear])


def test_nothing_that_pulls_leaves_plus() -> None:
    nothing = np.zeros((3, 5), dtype=np.float32)
    energy = Energy.from_influence(nothing, np.ones(3), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros(5))
    assert minimise(energy).tolist() == [1.0] * 5


def test_the_prior_decides_where_nothing_else_does() -> None:
    prior = np.array([0.5, -0.5, 0.1, -3.0])
    nothing = np.zeros((1, 4), dtype=np.float32)
    energy = Energy.from_influence(nothing, np.ones(1), np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), prior)
    assert minimise(energy).tolist() == [1.0, -1.0, 1.0, -1.0]
