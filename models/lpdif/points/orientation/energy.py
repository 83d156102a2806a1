"""The signs of blocks of points for which winding number, neighbours and votes agree best.

M blocks of points, P pairs of neighbouring blocks, T targets. Turning a block over changes the sign of all its normals.
The energy of signs s (M,) is
    sum_t weight_t (w_t - 1/2)^2  -  PAIR_WEIGHT * sum_p strength_p s_a s_b  -  sum_m leaning_m s_m
with w = influence s, the winding number at the targets. It is first minimised over real numbers (`relax`: a linear
system, which sees the whole scan at once) and then over signs (`descend`). Single blocks rarely lower it: where a tree
of the most trusted pairs took a wrong turn, all that hangs behind is wrong. So the moves are the branches of that tree.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import Float32Array, FloatArray, IntArray
from lpdif.points.orientation.winding import summed

PAIR_WEIGHT = 0.7  # of one neighbour pair's agreement, against one point's squared distance from winding number 1/2
TURNS = 20  # at most; each lowers the energy, most scans need fewer than five
FORESTS = 4  # at most
RELAX_STEPS = 40
RELAX_GOAL = 1e-2  # of the first residual: only signs are wanted
LEAST_GAIN = 1e-6  # of one point: below it a turn is not worth being made


@dataclass(frozen=True)
class Energy:
    """The energy of M blocks: |fields s - goal|^2 - sum_p bond_p s_a s_b - sum_m leaning_m s_m.

    fields (T, M) winding number that each block adds at each target, and goal (T,), which is 1/2, both times the root of the
    target's weight; first, second, bond (P,) pairs of blocks and how strongly they pull to the same (+) or to opposite sides
    (-); leaning (M,) sum of the votes for +1 in each block.
    """

    fields: Float32Array
    goal: Float32Array
    first: IntArray
    second: IntArray
    bond: FloatArray
    leaning: FloatArray

    @classmethod
    def weighed(
        cls, influence: Float32Array, weight: FloatArray, first: IntArray, second: IntArray, strength: FloatArray, leaning: FloatArray
    ) -> Energy:
        """From the influence (T, M) of blocks on targets, each of which stands for weight (T,) points."""
        root = np.sqrt(weight).astype(np.float32)
        return cls(influence * root[:, None], np.asarray(root / 2, dtype=np.float32), first, second, PAIR_WEIGHT * strength, leaning)


@dataclass(frozen=True)
class Forest:
    """Trees over M blocks, numbered so that every branch is a range: the branch of block order[i] is order[i:end[i]].

    order (M,) blocks, each before its descendants    end (M,)    parent (M,) as places in `order`, a root its own
    tree (M,) number of the tree of each place
    """

    order: IntArray
    end: IntArray
    parent: IntArray
    tree: IntArray


def rooted(first: NDArray[np.integer], second: NDArray[np.integer], count: int) -> tuple[IntArray, IntArray]:
    """Roots a forest of `count` nodes, given by its edges: (order, parent), both (count,).

    order has parents before their children; the root of a tree is its lowest node and its own parent.
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
    """The spanning forest of the pairs (first, second) of the greatest weight (P,), over `count` blocks."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    graph = csr_array((1 + weight.max(initial=0.0) - weight, (first, second)), shape=(count, count))
    edges = minimum_spanning_tree(graph).tocoo()
    by_level, parent = rooted(edges.row, edges.col, count)
    # Two passes over at most a few thousand blocks: sizes from the leaves up, then places from the roots down
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


def settle(energy: Energy) -> FloatArray:
    """(M,) signs, +1 or -1, that no turn of a branch improves.

    The first forest follows the strongest pairs, whatever they say. The next ones follow the pairs that agree with the
    signs so far, so that their branches end where the signs are at odds.
    """
    count = len(energy.leaning)
    signs = relax(energy)
    forest = spanning_forest(energy.first, energy.second, np.abs(energy.bond), count)
    for _ in range(FORESTS):
        turned = descend(energy, forest, signs)
        if (turned == signs).all():
            break
        signs = turned
        forest = spanning_forest(energy.first, energy.second, energy.bond * signs[energy.first] * signs[energy.second], count)
    return signs


def relax(energy: Energy) -> FloatArray:
    """(M,) signs of the real numbers x that minimise, by conjugate gradients, the energy in its convex form:
    |fields x - goal|^2 + sum_p |bond_p| / 2 (x_a - sign_p x_b)^2 - sum_m leaning_m x_m."""
    count, first, second, bond, fields = len(energy.leaning), energy.first, energy.second, energy.bond, energy.fields
    stiffness = summed(first, np.abs(bond), count) + summed(second, np.abs(bond), count) + 1e-6

    def image_of(x: FloatArray) -> FloatArray:
        field = np.einsum("tm,m->t", fields, x.astype(np.float32))
        pulled = summed(first, bond * x[second], count) + summed(second, bond * x[first], count)
        image: FloatArray = 2 * np.einsum("tm,t->m", fields, field).astype(np.float64) + stiffness * x - pulled
        return image

    residual = 2 * np.einsum("tm,t->m", fields, energy.goal).astype(np.float64) + energy.leaning
    scale = 1 / (stiffness + 2 * np.einsum("tm,tm->m", fields, fields).astype(np.float64))
    x = np.zeros(count)
    direction = scaled = scale * residual
    power = first_power = float((residual * scaled).sum())
    for _ in range(RELAX_STEPS):
        if power <= RELAX_GOAL**2 * first_power:
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
    """(M,) signs that no turn of a branch of `forest` improves, reached from the signs `start` (M,)."""
    count = len(forest.order)
    place = np.empty(count, dtype=np.int64)
    place[forest.order] = np.arange(count)
    a, b, bond = place[energy.first], place[energy.second], energy.bond
    meeting = _lowest_common(forest, a, b)
    joined = meeting >= 0
    begin, end = np.arange(count), forest.end
    fields = np.ascontiguousarray(energy.fields[:, forest.order].T)
    leaning, signs = energy.leaning[forest.order], start[forest.order]

    def branch_sums(values: NDArray[Any]) -> FloatArray:
        running = np.concatenate([[0.0], np.cumsum(values)])
        return np.asarray(running[end] - running[begin])

    def value_and_changes() -> tuple[float, FloatArray]:
        field = np.zeros((count + 1, fields.shape[1]), dtype=np.float32)
        np.cumsum(fields * signs.astype(np.float32)[:, None], axis=0, out=field[1:])
        gap = field[-1] - energy.goal
        of_branch = field[end] - field[begin]
        change = 4 * np.asarray(np.einsum("mt,mt->m", of_branch, of_branch) - np.einsum("mt,t->m", of_branch, gap), dtype=np.float64)
        pull = bond * signs[a] * signs[b]
        touching = branch_sums(np.bincount(a, pull, minlength=count) + np.bincount(b, pull, minlength=count))
        crossing = touching - 2 * branch_sums(np.bincount(meeting[joined], pull[joined], minlength=count))
        change += 2 * crossing + 2 * branch_sums(leaning * signs)
        return float((gap * gap).sum()) - float(pull.sum()) - float((leaning * signs).sum()), change

    value, change = value_and_changes()
    for _ in range(TURNS):
        turns = _disjoint(np.flatnonzero(change < -LEAST_GAIN), change, end)
        if not len(turns):
            break
        hoped = value + change[turns[0]]
        before = signs.copy()
        for many in (turns, turns[:1]):  # all at once, unless they stand in each other's way
            signs[:] = before
            for branch in many:
                signs[branch : end[branch]] *= -1
            value, change = value_and_changes()
            if value <= hoped or len(turns) == 1:
                break
    result = np.empty(count)
    result[forest.order] = signs
    return result


def _disjoint(branches: IntArray, change: FloatArray, end: IntArray) -> IntArray:
    """Of some branches those that share no block with a better one, the best first."""
    chosen: list[int] = []
    free = np.ones(len(end), dtype=np.bool_)
    for branch in branches[np.argsort(change[branches], kind="stable")]:
        if free[branch : end[branch]].all():
            free[branch : end[branch]] = False
            chosen.append(int(branch))
    return np.array(chosen, dtype=np.int64)


def _lowest_common(forest: Forest, a: IntArray, b: IntArray) -> IntArray:
    """(P,) place of the lowest branch that holds both of two places, or -1 where they are in different trees."""
    meeting = a.copy()
    open_pairs = np.flatnonzero(forest.tree[a] == forest.tree[b])
    while len(open_pairs):
        at = meeting[open_pairs]
        apart = (b[open_pairs] < at) | (b[open_pairs] >= forest.end[at])
        open_pairs = open_pairs[apart]
        meeting[open_pairs] = forest.parent[meeting[open_pairs]]
    meeting[forest.tree[a] != forest.tree[b]] = -1
    return meeting
