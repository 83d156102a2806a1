"""Encoding: a region's code depends on that region alone, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapes import even_sphere_points, plain_patterns, random_decoder, wavy_regions

from lpdif.core.encode import POINT_COUNTS, REGIONS_TOGETHER, encode, encode_regions, view_of
from lpdif.core.field import RegionCodes
from lpdif.core.forms import Gate
from lpdif.core.model import Networks, make_networks
from lpdif.core.patterns import Patterns
from lpdif.core.regions import MOST_POINTS, Gathered, RegionLattice, Seen, region_lattices, region_support

PARTS = ("origin", "axes", "size", "code", "pattern", "support")


def networks_and_patterns() -> tuple[Networks, Patterns]:
    encoder = make_networks(6, 8, 0).encoder
    networks = Networks(encoder, random_decoder(2, encoder.code_size), Gate()).eval().requires_grad_(False)
    return networks, plain_patterns(torch.tensor([[-0.1], [0.1]]), encoder.code_size)


def gathered(counts: NDArray[np.int64], width: int, seed: int = 0) -> Gathered:
    """Regions of a wavy surface that see so many points each."""
    points, normals = wavy_regions(len(counts), width, seed)
    mask = np.arange(width) < counts[:, None]
    return Gathered((points.numpy() * mask[..., None]).astype(np.float32), (normals.numpy() * mask[..., None]).astype(np.float32), mask)


def rows_of(seen: Gathered, rows: NDArray[np.int64]) -> Gathered:
    return Gathered(*(part[rows] for part in seen))


@pytest.mark.parametrize("refine", [0, 2])
@pytest.mark.parametrize("regions", [1, 3, 11, 150])
def test_the_code_of_a_region_is_the_same_in_any_company(regions: int, refine: int) -> None:
    """All at once, in another order, padded to another width, and each alone: bit for bit."""
    rng = np.random.default_rng(regions)
    seen = gathered(rng.integers(0, 61, regions), 60)
    centers = rng.uniform(-1, 1, (regions, 3))
    given = networks_and_patterns()
    together = encode_regions(seen, centers, 0.3, *given, refine, 0.1)
    order = rng.permutation(regions)
    wider = Gathered(*(np.pad(part, [(0, 0), (0, 40), *[(0, 0)] * (part.ndim - 2)]) for part in rows_of(seen, order)))
    mixed = encode_regions(wider, centers[order], 0.3, *given, refine, 0.1)
    for part in PARTS:
        assert torch.equal(getattr(mixed, part), getattr(together, part)[torch.from_numpy(order)]), part
    for row in range(min(regions, 5)):
        alone = encode_regions(rows_of(seen, np.array([row])), centers[[row]], 0.3, *given, refine, 0.1)
        for part in PARTS:
            assert torch.equal(getattr(alone, part)[0], getattr(together, part)[row]), part


@pytest.mark.parametrize("count", [0, 1, *POINT_COUNTS[:-1], *(length + 1 for length in POINT_COUNTS[:-1]), MOST_POINTS])
def test_padding_adds_nothing(count: int) -> None:
    """The slow, obvious way: one region, as many rows as it has points."""
    networks, patterns = networks_and_patterns()
    seen = gathered(np.array([count]), MOST_POINTS)
    found = encode_regions(seen, np.zeros((1, 3)), 0.3, networks, patterns)
    points, normals, mask = (torch.from_numpy(part[:, : max(1, count)]) for part in seen)
    frames, code = networks.encode(Seen(points, normals, mask))
    torch.testing.assert_close(found.code, code, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.axes, frames.axes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.support, region_support(mask, frames.origin))


@pytest.mark.parametrize("threads", [1, 3])
def test_half_of_a_scan_gives_the_codes_of_the_whole(threads: int) -> None:
    """Regions whose points are all in the half: what pieces of a large scan, and machines of a cluster, stand on."""
    points, normals = even_sphere_points(3000)
    given = networks_and_patterns()
    half = np.flatnonzero(points[:, 0] < 0.4)
    spacing = 0.06

    def coded(rows: NDArray[np.int64]) -> tuple[RegionLattice, RegionCodes]:
        (lattice,) = region_lattices(points[rows], 0.15, np.zeros(len(rows), np.int64))
        view = view_of(spacing, 0.0, np.zeros(len(rows)))
        return lattice, encode(cKDTree(points[rows]), normals[rows], [(lattice, None)], *given, view, threads=threads)

    (whole_lattice, whole), (half_lattice, part) = coded(np.arange(len(points))), coded(half)
    _, in_whole, in_half = np.intersect1d(whole_lattice.keys, half_lattice.keys, return_indices=True)
    far = whole.center[in_whole, 0] < 0.4 - 1.5 * 1.2 * 0.15
    in_whole, in_half = in_whole[far], in_half[far]
    assert len(in_whole) > 2 * REGIONS_TOGETHER["cpu"]
    for name in PARTS:
        assert torch.equal(getattr(whole, name)[in_whole], getattr(part, name)[in_half]), name


def test_a_tree_of_all_points_is_what_regions_see_by_default() -> None:
    points, normals = even_sphere_points(500)
    given = networks_and_patterns()
    (lattice,) = region_lattices(points, 0.4, np.zeros(len(points), np.int64))
    view = view_of(0.15, 0.0, np.zeros(len(points)))
    whole = encode(cKDTree(points), normals, [(lattice, None)], *given, view)
    listed = encode(cKDTree(points), normals, [(lattice, np.arange(len(points)))], *given, view)
    assert torch.equal(whole.code, listed.code)
