"""Blocks of points: each is of one sheet, and in one cube."""

from __future__ import annotations

import naive_preparation as naive
import numpy as np
import pytest
from clouds import box, pairs_of, surroundings

from lpdif.points.orientation.blocks import BLOCKS, gather_blocks
from lpdif.points.orientation.propagation import all_agreements


@pytest.mark.parametrize("count", [10, 120])
@pytest.mark.parametrize("spacing", [0.12, 0.8])
@pytest.mark.parametrize("coarsest", [1, 3])
def test_blocks_agree_with_growing_sets(count: int, spacing: float, coarsest: int) -> None:
    points, axes, indices = pairs_of(count, 6, seed=1)
    consistency = all_agreements(points, axes, indices, np.full(count, 0.1))
    extent = spacing * np.exp2(np.arange(count) % coarsest)
    block = gather_blocks(points, indices, consistency, extent)
    found = {frozenset(np.flatnonzero(block == b).tolist()) for b in np.unique(block)}
    assert found == naive.blocks(points, indices, consistency, extent, BLOCKS.consistency)


def test_blocks_of_a_thin_sheet_do_not_hold_both_faces() -> None:
    sheet = box(3000, (1.0, 1.0, 0.05))
    cloud = surroundings(sheet)
    agreements = all_agreements(cloud.points, sheet.normals, cloud.around, np.zeros(len(cloud.points)))
    straight = np.where(np.einsum("nki,ni->nk", sheet.normals[cloud.around], sheet.normals) > 0, agreements, -1).astype(np.float32)
    block = gather_blocks(cloud.points, cloud.around, straight, np.full(len(cloud.points), 2.5 * cloud.spacing))
    for b in np.unique(block):
        assert len(np.unique(np.sign(sheet.normals[block == b, 2]))) == 1
