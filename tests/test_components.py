"""Connected components, some links at a time."""

from __future__ import annotations

import numpy as np
import pytest

from lpdif.components import linked_components


def searched(count: int, links: list[tuple[int, int]]) -> list[int]:
    """The slow, obvious twin: from each lowest node to all that it leads to."""
    number = [-1] * count
    for start in range(count):
        if number[start] < 0:
            found, open_ = {start}, [start]
            while open_:
                here = open_.pop()
                fresh = {b if a == here else a for a, b in links if here in (a, b)} - found
                found |= fresh
                open_ += fresh
            own = max(number) + 1
            for node in found:
                number[node] = own
    return number


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("count", [40, 200])
def test_links_may_come_in_any_portions(size: int, count: int) -> None:
    links = np.random.default_rng(count).integers(0, count, (90, 2))
    parts = [links[start : start + size].T for start in range(0, 90, size)]
    found = linked_components(count, ((one, other) for one, other in parts))
    assert found.tolist() == searched(count, [(int(a), int(b)) for a, b in links])
    assert linked_components(3, []).tolist() == [0, 1, 2]


def test_a_long_chain_from_its_end() -> None:
    count = 5000
    chain = np.arange(count)[::-1]
    parts = [(chain[part : part + 10], chain[part + 1 : part + 11]) for part in range(0, count - 10, 10)]
    assert linked_components(count, parts).max() <= 9
