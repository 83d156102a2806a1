"""Regions across gaps: which points they see, how far they reach."""

from __future__ import annotations

import naive
import numpy as np
import pytest
from shapes import even_sphere_points

from lpdif.core.gap_regions import POINTS_ACROSS, furthest, gap_regions
from lpdif.core.regions import SUPPORT, covering_pairs
from lpdif.points.thinning import thin_to_lattice


@pytest.mark.parametrize("count", [0, 1, 7, 400])
@pytest.mark.parametrize("edge", [0.05, 0.4, 5.0])
def test_one_point_of_each_cube_is_left(count: int, edge: float) -> None:
    points = np.random.default_rng(count).uniform(-1, 1, (count, 3))
    assert thin_to_lattice(points, edge).tolist() == naive.thinned(points, edge)


@pytest.mark.parametrize("distance", [0.05, 0.3, 1.1])
@pytest.mark.parametrize("levels", [1, 3])
def test_regions_reach_everywhere_up_to_the_distance(distance: float, levels: int) -> None:
    points = even_sphere_points(900)[0]
    level = np.arange(900) % levels
    found = gap_regions(points, 0.05, level, distance, 17)
    sizes = [bridge.lattice.size for bridge in found]
    assert sizes == [0.1 * 2**k for k in range(len(found))]
    assert furthest(max([0.05, *sizes])) >= distance
    assert not sizes or furthest(sizes[-1] / 2) < distance  # no larger than need be
    assert [bridge.lattice.first for bridge in found] == [17 + sum(len(b.lattice.keys) for b in found[:k]) for k in range(len(found))]
    if found:
        rng = np.random.default_rng(0)
        rows = found[-1].rows
        shift = rng.normal(size=(len(rows), 3))
        asked = points[rows] + (0.999 * SUPPORT * sizes[-1] / np.linalg.norm(shift, axis=1, keepdims=True)) * shift
        assert len(np.unique(covering_pairs(asked, found[-1].lattice).query)) == len(asked)


def test_a_bridge_sees_a_few_points_of_its_size_and_those_of_finer_levels_alone() -> None:
    points = even_sphere_points(5000)[0]
    level = np.where(points[:, 2] > 0, 0, 2)
    one, two, three = gap_regions(points, 0.05, level, 0.6, 0)
    assert (level[one.rows] == 0).all()
    assert (level[two.rows] == 0).all()
    assert set(level[three.rows]) == {0, 2}
    for bridge in (one, two, three):
        cubes = np.floor(points[bridge.rows] / (bridge.lattice.size / POINTS_ACROSS))
        assert len(np.unique(cubes, axis=0)) == len(cubes)


def test_nothing_bridges_what_the_points_own_regions_reach() -> None:
    points = even_sphere_points(100)[0]
    assert gap_regions(points, 0.5, np.zeros(100, np.int64), furthest(0.5), 0) == []
    assert gap_regions(points, 0.5, np.zeros(100, np.int64), 0.0, 0) == []


@pytest.mark.parametrize("distance", [1e3, 1e300, np.inf])
def test_no_region_is_much_larger_than_the_scan(distance: float) -> None:
    points = even_sphere_points(100)[0]
    assert [bridge.lattice.size for bridge in gap_regions(points, 0.2, np.zeros(100, np.int64), distance, 0)] == [0.4, 0.8]
