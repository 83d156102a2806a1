"""The demo scan is what it says."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from lpdif.tools.demo_scan import DEMO, make_demo_scan, snail


def test_points_lie_on_the_snail_but_for_the_noise() -> None:
    scan = make_demo_scan(5000)
    assert scan.points.shape == (5000, 3)
    assert np.abs(snail(scan.points)).mean() < 1.2 * DEMO.noise
    assert np.allclose(np.linalg.norm(scan.normals, axis=1), 1)
    assert scan.colors is not None
    assert scan.colors.shape == (5000, 3)
    assert len(np.unique(scan.colors, axis=0)) > 300


def test_normals_point_outward() -> None:
    scan = make_demo_scan(5000)
    assert scan.normals is not None
    assert (snail(scan.points + scan.normals) > snail(scan.points - scan.normals)).mean() > 0.99


def test_points_are_even() -> None:
    distance = cKDTree(make_demo_scan(5000).points).query(make_demo_scan(5000).points, k=9)[0][:, 8]
    low, high = np.percentile(distance, [5, 95])
    assert high / low < 2.5


def test_same_seed_same_scan() -> None:
    assert np.array_equal(make_demo_scan(500, 1).points, make_demo_scan(500, 1).points)
    assert not np.array_equal(make_demo_scan(500, 1).points, make_demo_scan(500, 2).points)
