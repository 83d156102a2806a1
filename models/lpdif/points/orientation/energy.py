"""The signs of blocks of points that minimise one energy of winding number, neighbours and prior.

M blocks of points, P pairs of neighbouring blocks, T targets. Flipping a block changes the sign of all its normals.
The energy of signs s (M,) is
    sum_t weight_t (w_t - 1/2)^2  -  coupling * sum_p consistency_p s_a s_b  -  sum_m prior_m s_m
where w = influence s is the winding number at the targets, which is 1/2 on the surface of a solid. The energy is first minimised
over real numbers (`relax`, a linear system that sees the whole scan at once) and then over signs (`descend`). Flipping single
blocks rarely lowers it: where a tree of the most trusted pairs took a wrong turn, everything behind that pair is wrong. Therefore
each move flips a whole branch (subtree) of such a tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import Float32Array, FloatArray, IntArray
from lpdif.points.orientation.winding import summed


class EnergySettings(NamedTuple):
    """The weight of the neighbours in the energy, and how long it is minimised."""

    # The agreement of one pair of neighbours weighs this much against the squared distance of one point's winding number from 1/2.
    coupling: float = 0.7
    # At most this many spanning forests are tried one after the other.
    most_forests: int = 4
    # A flip must lower the energy by more than this, in units of one point.
    least_gain: float = 1e-6


ENERGY = EnergySettings()


@dataclass(frozen=True)
class Energy:
    """The energy of M blocks: |fields s - goal|^2 - sum_p coupling_p s_a s_b - sum_m prior_m s_m.

    fields (T, M)          winding number that each block adds at each target, times the root of the target's weight
    goal (T,)              the winding number wanted there, 1/2, times the same root
    first, second (P,)     pairs of neighbouring blocks
    coupling (P,)          how strongly a pair pulls to equal signs (+) or to opposite signs (-)
    prior (M,)             how strongly the prior pulls each block to the sign +1
    """

    fields: Float32Array
    goal: Float32Array
    first: IntArray
    second: IntArray
    coupling: FloatArray
    prior: FloatArray

    @classmethod
    def from_influence(
        cls, influence: Float32Array, weight: FloatArray, first: IntArray, second: IntArray, consistency: FloatArray, prior: FloatArray
    ) -> Energy:
        """From the influence (T, M) of blocks on targets, each of which stands for weight (T,) points."""
        root = np.sqrt(weight).astype(np.float32)
        return cls(influence * root[:, None], np.asarray(root / 2, dtype=np.float32), first, second, ENERGY.coupling * consistency, prior)


@dataclass(frozen=True)
class Forest:
    """Trees over M blocks, numbered so that every branch is a range.

    The branch of block order[i] is order[i:end[i]].

    order (M,)   blocks, each before its descendants
    end (M,)     end of the branch that begins at each place in `order`
    parent (M,)  place in `order` of the parent of each place; a root is its own parent
    tree (M,)    number of the tree of each place
    """

    order: IntArray
    end: IntArray
    parent: IntArray
    tree: IntArray


def rooted(first: NDArray[np.integer], second: NDArray[np.integer], count: int) -> tuple[IntArray, IntArray]:
    """Roots a forest of `count` nodes, given by its edges, and returns (order, parent), both (count,).

    In `order` parents come before their children. The root of a tree is its lowest node, which is its own parent.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, connected_components

    ones = np.ones(len(first), dtype=np.int8)
    _, label = connected_components(csr_array((ones, (first, second)), shape=(count, count)), directed=False)
    roots = np.unique(label, return_index=True)[1]
    above = np.concatenate([first, np.full(len(roots), count)])
    below = np.concatenate([second, roots])
    whole = csr_array((np.ones(len(above), dtype=np.int8), (above, below)), shape=(count + 1, count + 1))
    order, parent = breadth_first_order(whole, count, directed=False)
    parent = parent[:count].astype(np.int64)
    return order[1:].astype(np.int64), np.where(parent == count, np.arange(count), parent)


def spanning_forest(first: IntArray, second: IntArray, weight: FloatArray, count: int) -> Forest:
    """The spanning forest of greatest weight over `count` blocks with pairs of weight (P,)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    graph = csr_array((1 + weight.max(initial=0.0) - weight, (first, second)), shape=(count, count))
    edges = minimum_spanning_tree(graph).tocoo()
    by_level, parent = rooted(edges.row, edges.col, count)
    # Two passes over at most a few thousand blocks: sizes of branches from the leaves up, then places from the roots down
    size = np.ones(count, dtype=np.int64)
    for node in by_level[::-1]:
        if parent[node] != node:
            size[parent[node]] += size[node]
    place, free, tree = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    top, trees = 0, 0
    for node in by_level:
        above = parent[node]
        if above == node:
            place[node], tree[node] = top, trees
            top, trees = top + size[node], trees + 1
        else:
            place[node], tree[node] = free[above], tree[above]
            free[above] += size[node]
        free[node] = place[node] + 1
    order = np.argsort(place)
    return Forest(order, np.arange(count) + size[order], place[parent[order]], tree[order])


def minimise(energy: Energy) -> FloatArray:
    """(M,) signs, +1 or -1, of low energy, which no flip of a branch lowers.

    The first forest follows the strongest pairs, whatever their sign. The next ones follow the pairs that are consistent with the
    signs so far, so that their branches end where the signs are inconsistent.
    """
    count = len(energy.prior)
    signs = relax(energy)
    forest = spanning_forest(energy.first, energy.second, np.abs(energy.coupling), count)
    for _ in range(ENERGY.most_forests):
        lower = descend(energy, forest, signs)
        if (lower == signs).all():
            break
        signs = lower
        forest = spanning_forest(energy.first, energy.second, energy.coupling * signs[energy.first] * signs[energy.second], count)
    return signs


def relax(energy: Energy, most_steps: int = 40, tolerance: float = 1e-2) -> FloatArray:
    """(M,) signs of the real numbers x that minimise the convex relaxation of the energy.

    It is |fields x - goal|^2 + sum_p |coupling_p| / 2 (x_a - sign_p x_b)^2 - sum_m prior_m x_m, minimised by conjugate gradients.
    Their steps end when the preconditioned residual is below `tolerance` times the first one, because only the signs are used.
    """
    count, first, second, coupling, fields = len(energy.prior), energy.first, energy.second, energy.coupling, energy.fields
    stiffness = summed(first, np.abs(coupling), count) + summed(second, np.abs(coupling), count) + 1e-6

    def image_of(x: FloatArray) -> FloatArray:
        field = np.einsum("tm,m->t", fields, x.astype(np.float32))
        pulled = summed(first, coupling * x[second], count) + summed(second, coupling * x[first], count)
        image: FloatArray = 2 * np.einsum("tm,t->m", fields, field).astype(np.float64) + stiffness * x - pulled
        return image

    residual = 2 * np.einsum("tm,t->m", fields, energy.goal).astype(np.float64) + energy.prior
    scale = 1 / (stiffness + 2 * np.einsum("tm,tm->m", fields, fields).astype(np.float64))
    x = np.zeros(count)
    direction = scaled = scale * residual
    power = first_power = float((residual * scaled).sum())
    for _ in range(most_steps):
        if power <= tolerance**2 * first_power:
            break
        image = image_of(direction)
        length = power / float((direction * image).sum())
        x = x + length * direction
        residual = residual - length * image
        scaled = scale * residual
        before, power = power, float((residual * scaled).sum())
        direction = scaled + power / before * direction
    return np.where(x < 0, -1.0, 1.0)


def descend(energy: Energy, forest: Forest, start: FloatArray) -> FloatArray:
    """(M,) signs that no flip of a branch of `forest` improves, reached from the signs `start` (M,)."""
    count = len(forest.order)
    place = np.empty(count, dtype=np.int64)
    place[forest.order] = np.arange(count)
    a, b, coupling = place[energy.first], place[energy.second], energy.coupling
    ancestor = _lowest_common_ancestors(forest, a, b)
    joined = ancestor >= 0
    begin, end = np.arange(count), forest.end
    fields = np.ascontiguousarray(energy.fields[:, forest.order].T)
    prior, signs = energy.prior[forest.order], start[forest.order]

    def branch_sums(values: NDArray[Any]) -> FloatArray:
        running = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray(running[end] - running[begin])

    def value_and_changes() -> tuple[float, FloatArray]:
        """The energy, and (M,) by how much a flip of each branch would change it."""
        field = np.zeros((count + 1, fields.shape[1]), dtype=np.float32)
        np.cumsum(fields * signs.astype(np.float32)[:, None], axis=0, out=field[1:])
        error = field[-1] - energy.goal
        of_branch = field[end] - field[begin]
        change = 4 * np.asarray(np.einsum("mt,mt->m", of_branch, of_branch) - np.einsum("mt,t->m", of_branch, error), dtype=np.float64)
        pull = coupling * signs[a] * signs[b]
        touching = branch_sums(np.bincount(a, pull, minlength=count) + np.bincount(b, pull, minlength=count))
        crossing = touching - 2 * branch_sums(np.bincount(ancestor[joined], pull[joined], minlength=count))
        change += 2 * crossing + 2 * branch_sums(prior * signs)
        return float((error * error).sum()) - float(pull.sum()) - float((prior * signs).sum()), change

    value, change = value_and_changes()
    while len(branches := _disjoint(np.flatnonzero(change < -ENERGY.least_gain), change, end)):
        best_alone = value + change[branches[0]]
        before, so_far = signs.copy(), value
        for flipped in (branches, branches[:1]):  # all at once, or only the best where together they gain less than it alone
            signs[:] = before
            for branch in flipped:
                signs[branch : end[branch]] *= -1
            value, change = value_and_changes()
            if value <= best_alone or len(branches) == 1:
                break
        if value >= so_far:  # what the flip seemed to gain was rounding
            signs[:] = before
            break
    result = np.empty(count)
    result[forest.order] = signs
    return result


def _disjoint(branches: IntArray, change: FloatArray, end: IntArray) -> IntArray:
    """Of some branches, those that share no block with one of greater gain; the best first."""
    chosen: list[int] = []
    free = np.ones(len(end), dtype=np.bool_)
    for branch in branches[np.argsort(change[branches], kind="stable")]:
        if free[branch : end[branch]].all():
            free[branch : end[branch]] = False
            chosen.append(int(branch))
    return np.array(chosen, dtype=np.int64)


def _lowest_common_ancestors(forest: Forest, a: IntArray, b: IntArray) -> IntArray:
    """(P,) place of the lowest common ancestor of two places, or -1 where they are in different trees."""
    ancestor = a.copy()
    open_pairs = np.flatnonzero(forest.tree[a] == forest.tree[b])
    while len(open_pairs):
        at = ancestor[open_pairs]
        outside = (b[open_pairs] < at) | (b[open_pairs] >= forest.end[at])
        open_pairs = open_pairs[outside]
        ancestor[open_pairs] = forest.parent[ancestor[open_pairs]]
    ancestor[forest.tree[a] != forest.tree[b]] = -1
    return ancestor
