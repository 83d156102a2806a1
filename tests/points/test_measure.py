"""Spacing and noise by themselves are those that a reconstruction finds, to the bit."""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import pytest
from clouds import noisy, torus
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.points import validity
from lpdif.points.measure import measure
from lpdif.points.prepare import prepare
from lpdif.types import Scan

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
    for name in ("points", "origin", "kept", "local_spacing", "local_noise"):
        np.testing.assert_array_equal(getattr(alone.in_scan_unit(), name), getattr(found, name))
    np.testing.assert_array_equal((alone.points + alone.origin) * alone.unit, found.points + found.origin)


def test_a_scan_of_which_no_surface_comes_is_refused_alike() -> None:
    with pytest.raises(InputError, match="10 distinct points, at least 32 are needed"):
        measure(Scan(RING.points[:10], name="few"))


@pytest.mark.parametrize("points", [np.full((50_000, 3), np.nan), np.ones((50_000, 3)), np.arange(50_000.0)[:, None] * [1, 2, 3]])
def test_degenerate_points_are_refused_before_they_are_sorted(points: NDArray[np.float64], monkeypatch: pytest.MonkeyPatch) -> None:
    def sort(_: object) -> NoReturn:
        raise AssertionError("sorted")

    monkeypatch.setattr(validity, "distinct_rows", sort)
    with pytest.raises(InputError, match=r"none of its 50,000 points|1 distinct|all 50,000 points lie on one line"):
        measure(Scan(points, name="scan"))


def test_an_even_sample_on_a_line_says_nothing_of_the_whole() -> None:
    """Every fifth point on a line, the others not: as many as the quick look takes."""
    points = np.random.default_rng(0).uniform(size=(5 * validity.VALIDITY.sample, 3)) * [1, 1, 0]
    points[::5] = np.linspace(0, 1, validity.VALIDITY.sample)[:, None] * [1, 0, 0]
    assert len(measure(Scan(points)).points) > validity.VALIDITY.sample
