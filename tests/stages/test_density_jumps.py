"""Scans whose density jumps: the surface of dense parts does not slip through a lattice that is as coarse as few faces allow."""

from __future__ import annotations

import numpy as np
import pytest

from lpdif.config import ReconstructConfig
from lpdif.stages.reconstruct import reconstruct
from lpdif.types import Scan


def patched_plane(ratio: float, side: float, normals: bool = True) -> Scan:
    """A square of side 10, 50 points a unit of area, whose middle of this side has points `ratio` times as close."""
    rng = np.random.default_rng(1)
    wide = rng.uniform(-5, 5, (5000, 2))
    wide = wide[np.abs(wide).max(1) > side / 2]
    dense = rng.uniform(-side / 2, side / 2, (int(50 * (side * ratio) ** 2), 2))
    points = np.column_stack([np.concatenate([wide, dense]), np.zeros(len(wide) + len(dense))])
    return Scan(points, np.tile([0.0, 0.0, 1.0], (len(points), 1)) if normals else None)


@pytest.mark.parametrize(("ratio", "side"), [(12.0, 0.6), pytest.param(3.4, 6.0, marks=pytest.mark.slow)])
def test_a_dense_part_of_a_plane_is_no_hole(ratio: float, side: float) -> None:
    found = reconstruct(patched_plane(ratio, side), threads=1)
    assert found.facts["open_loops"] == 1
    assert np.abs(found.mesh.vertices[:, 2]).max() < 0.03 * 50**-0.5
    corners = found.mesh.vertices[found.mesh.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    assert area == pytest.approx(100, rel=0.05)


def test_a_small_thing_scanned_closely_stays_beside_a_large_one() -> None:
    rng = np.random.default_rng(0)
    directions = rng.normal(size=(11_500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    large, small = 10 * directions[:10_000], 0.3 * directions[10_000:] + [12, 0, 0]
    vertices = reconstruct(Scan(np.concatenate([large, small]), directions), threads=1).mesh.vertices
    of_small = vertices[vertices[:, 0] > 11]
    assert len(of_small) > 30
    assert np.abs(np.linalg.norm(of_small - [12, 0, 0], axis=1) - 0.3).max() < 0.03


def test_a_region_size_that_is_given_stands() -> None:
    found = reconstruct(patched_plane(1.0, 6.0), config=ReconstructConfig(region_size=0.11), threads=1)
    assert found.facts["region_size"] == 0.11
