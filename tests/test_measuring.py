"""Spacing and noise by themselves are those that a reconstruction finds, to the bit."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import noisy, torus

from lpdif.errors import InputError
from lpdif.measuring import measure
from lpdif.preparation import prepare
from lpdif.scans import Scan

RING = noisy(torus(1500), 0.01)


def with_strays() -> Scan:
    """Outliers, rows that are there twice, and one that is nowhere."""
    strays = np.random.default_rng(0).uniform(-3, 3, (20, 3))
    nowhere = np.full((1, 3), np.nan)
    return Scan(np.concatenate([RING.points, RING.points[:30], strays, nowhere]) + np.array([4.5e6, 5e5, 100.0]))


@pytest.mark.parametrize(
    "scan",
    [
        Scan(RING.points),
        Scan(RING.points, RING.normals),
        Scan(RING.points, np.where(np.arange(1500)[:, None] == 7, 0.0, RING.normals)),
        with_strays(),
    ],
    ids=["bare", "normals", "a normal missing", "strays"],
)
def test_it_is_what_a_reconstruction_finds(scan: Scan) -> None:
    found = prepare(scan)
    alone = measure(scan)
    assert (alone.facts["spacing"], alone.facts["noise"], len(alone.points)) == (found.spacing, found.noise, len(found.points))


def test_a_scan_of_which_no_surface_comes_is_refused_alike() -> None:
    with pytest.raises(InputError, match="10 distinct points, at least 32 are needed"):
        measure(Scan(RING.points[:10], name="few"))
