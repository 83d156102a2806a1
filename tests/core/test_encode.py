"""Encoding: the code of a region, and its form, depend on that region alone, to the last bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from formed import formed_networks, formed_patterns
from naive_forms import ARRANGEMENTS
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from shapes import even_sphere_points, wavy_regions
from solids import BENT, SOLIDS, as_seen, cut
from torch import Tensor

from lpdif.core.encode import (
    POINT_COUNTS,
    REGIONS_TOGETHER,
    Visible,
    choose_arrangements,
    encode,
    encode_regions,
    joined,
    seen_by_sheets,
    view_of,
)
from lpdif.core.field import RegionCodes
from lpdif.core.forms import COUNT_V, combine, evidence, may_bend, rows_of, sheets_of
from lpdif.core.model import Networks, in_frames
from lpdif.core.patterns import Patterns
from lpdif.core.regions import MOST_POINTS, Gathered, RegionLattice, Seen, region_lattices, region_support

FloatArray = NDArray[np.float64]
OF_SHEETS, OF_REGIONS = ("origin", "axes", "code"), ("size", "pattern", "support", "arrangement", "radius")


def networks_and_patterns(patterns: int) -> tuple[Networks, Patterns]:
    return formed_networks(patterns), formed_patterns(patterns)


def gathered(counts: NDArray[np.int64], width: int, solids: bool, seed: int = 0) -> Gathered:
    """Regions of a wavy surface, or every second one of a solid, that see so many points each."""
    points, normals = (part.numpy().copy() for part in wavy_regions(len(counts), width, seed))
    if solids:
        for r in range(0, len(counts), 2):
            region = cut(BENT[(r // 2) % len(BENT)], width, seed + r)
            rng = np.random.default_rng(r)  # the nearest points see one plane alone: any of them are seen
            order = rng.permutation(width)
            points[r], normals[r] = region.points[order], region.normals[order]
    mask = np.arange(width) < counts[:, None]
    return Gathered((points * mask[..., None]).astype(np.float32), (normals * mask[..., None]).astype(np.float32), mask)


def rows(seen: Gathered, some: NDArray[np.int64]) -> Gathered:
    return Gathered(*(part[some] for part in seen))


def region(codes: RegionCodes, r: int) -> list[Tensor]:
    """All that is known of one region and its sheets."""
    first = int(codes.first[r])
    sheets = slice(first, first + int(COUNT_V[codes.arrangement[r]]))
    return [getattr(codes, name)[sheets] for name in OF_SHEETS] + [getattr(codes, name)[r] for name in OF_REGIONS]


def same(one: list[Tensor], other: list[Tensor]) -> None:
    for name, a, b in zip(OF_SHEETS + OF_REGIONS, one, other, strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize("refine", [0, 2])
@pytest.mark.parametrize("regions", [1, 3, 11, 150])
@pytest.mark.parametrize("patterns", [1, 2, 8])
def test_the_code_of_a_region_is_the_same_in_any_company(regions: int, refine: int, patterns: int) -> None:
    """All at once, in another order, padded to another width, and each alone: bit for bit."""
    rng = np.random.default_rng(regions)
    seen = gathered(rng.integers(0, 61, regions), 60, solids=True)
    centers = rng.uniform(-1, 1, (regions, 3))
    given = networks_and_patterns(patterns)
    together = encode_regions(seen, centers, 0.3, *given, refine, 0.1)
    if regions == 150:
        arrangements = set(together.arrangement.tolist())
        assert len(arrangements) > {1: 0, 2: 1, 8: 7}[patterns]
    order = rng.permutation(regions)
    wider = Gathered(*(np.pad(part, [(0, 0), (0, 40), *[(0, 0)] * (part.ndim - 2)]) for part in rows(seen, order)))
    mixed = encode_regions(wider, centers[order], 0.3, *given, refine, 0.1)
    for r, before in enumerate(order):
        same(region(mixed, r), region(together, int(before)))
    for r in range(min(regions, 5)):
        same(region(encode_regions(rows(seen, np.array([r])), centers[[r]], 0.3, *given, refine, 0.1), 0), region(together, r))


@pytest.mark.parametrize("points", POINT_COUNTS)
def test_no_number_of_points_makes_a_code_depend_on_its_company(points: int) -> None:
    """Blocks of each of them, with the region in every place of a block."""
    seen = gathered(np.full(140, points), points, solids=False)
    given = networks_and_patterns(2)
    together = encode_regions(seen, np.zeros((140, 3)), 0.3, *given)
    for shift in (1, 5, 8, 13, 70):
        order = np.roll(np.arange(140), shift)
        moved = encode_regions(rows(seen, order), np.zeros((140, 3)), 0.3, *given)
        for r, before in enumerate(order):
            same(region(moved, r), region(together, int(before)))


def test_the_arrangement_is_the_same_whether_few_or_many_blocks_are_looked_at() -> None:
    seen = gathered(np.full(700, 24), 24, solids=True)
    given = networks_and_patterns(8)
    whole = choose_arrangements(seen, *given)
    assert len(set(whole.arrangement.tolist())) > 7
    for some in np.array_split(np.random.default_rng(0).permutation(700), 5):
        part = choose_arrangements(rows(seen, some), *given)
        for one, other in zip(part, whole, strict=True):
            np.testing.assert_array_equal(one, other[some])


@pytest.mark.parametrize("count", [0, 1, *POINT_COUNTS[:-1], *(length + 1 for length in POINT_COUNTS[:-1]), MOST_POINTS])
def test_padding_adds_nothing(count: int) -> None:
    """The slow, obvious way: one region, as many rows as it has points."""
    networks, patterns = networks_and_patterns(2)
    seen = gathered(np.array([count]), MOST_POINTS, solids=False)
    found = encode_regions(seen, np.zeros((1, 3)), 0.3, networks, patterns)
    points, normals, mask = (torch.from_numpy(part[:, : max(1, count)]) for part in seen)
    frames, code = networks.encode(Seen(points, normals, mask))
    assert not found.arrangement.any()
    torch.testing.assert_close(found.code, code, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(found.axes, frames.axes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.support, region_support(mask, frames.origin))


@pytest.mark.parametrize("name", list(SOLIDS))
def test_regions_answer_as_the_networks_do_in_training(name: str) -> None:
    """Sheets by sheet as they are encoded for a field, and all at once as `Networks.forward` asks them."""
    networks, patterns = networks_and_patterns(8)
    rng = np.random.default_rng(0)
    cuts = [cut(name, 40, seed) for seed in range(6)]
    turned = [each.normals + 0.03 * rng.normal(size=(40, 3)) for each in cuts]  # a flat sheet has no turn of its own
    cuts = [each._replace(normals=n / np.linalg.norm(n, axis=1, keepdims=True)) for each, n in zip(cuts, turned, strict=True)]
    seen = as_seen(cuts)
    codes = encode_regions(Gathered(*(part.numpy() for part in seen)), np.zeros((6, 3)), 1.0, networks, patterns)
    places = torch.from_numpy(rng.uniform(-0.6, 0.6, (6, 10, 3))).float()
    with torch.no_grad():
        answer = networks(seen, None, places, patterns)
        inside = torch.einsum("tij,tsj->tsi", codes.axes, places[sheets_of(codes.arrangement).owner] - codes.origin[:, None])
        owner = torch.arange(len(codes.code)).repeat_interleave(10)
        values = networks.decoder(codes.code, codes.sheet_pattern, inside.flatten(0, 1), owner).view(-1, 10)
        sheets = values[rows_of(codes.first, codes.arrangement)].transpose(1, 2).flatten(0, 1)
        found = combine(sheets, codes.arrangement.repeat_interleave(10), codes.radius.repeat_interleave(10)).view(6, 10)
    assert torch.equal(answer.pattern, codes.pattern)
    assert bool((codes.arrangement != 0).any()) == (name in BENT)
    torch.testing.assert_close(found, answer.sdf, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("patterns", [1, 2, 8])
def test_arrangements_are_those_of_the_gate(patterns: int) -> None:
    networks, known = networks_and_patterns(patterns)
    seen = gathered(np.arange(40) + 5, 50, solids=True)
    found = choose_arrangements(seen, networks, known)
    whole = Seen(*(torch.from_numpy(part) for part in seen))
    frames = networks.encode(whole)[0]
    expected = networks.choose(evidence(in_frames(whole, frames)), known.forms)
    asked = may_bend(whole) if patterns > 1 else torch.zeros(40, dtype=torch.bool)
    assert not found.arrangement[~asked].any()
    alike = torch.nonzero(asked & (found.arrangement == expected.arrangement))[:, 0]
    assert len(alike) >= 0.9 * int(asked.sum())  # rounding may decide between two
    torch.testing.assert_close(found.radius[alike], expected.radius[alike])
    bits = (found.sees[:, :, None] >> np.arange(5)) & 1
    agree = (torch.from_numpy(bits.astype(bool)) == expected.sees).flatten(1).all(1)[alike]
    assert int(agree.sum()) >= 0.9 * len(alike)


@pytest.mark.parametrize("regions", [1, 2, 11])
def test_sheets_see_their_points_nearest_first(regions: int) -> None:
    seen = gathered(np.arange(regions) + 1, 20, solids=False)
    arrangement = torch.arange(regions) % len(ARRANGEMENTS)
    bits = np.random.default_rng(0).integers(0, 32, (regions, 20)).astype(np.uint8) * seen.mask
    sheets = sheets_of(arrangement)
    found = seen_by_sheets(seen, bits, sheets)
    assert len(found.mask) == len(sheets.owner)
    for t, (r, column) in enumerate(zip(sheets.owner.tolist(), sheets.column.tolist(), strict=True)):
        own = [p for p in range(20) if seen.mask[r, p] and (column == 0 or bits[r, p] >> (column - 1) & 1)]
        assert found.mask[t].tolist() == [p < len(own) for p in range(found.mask.shape[1])]
        np.testing.assert_array_equal(found.points[t, : len(own)], seen.points[r, own])
        np.testing.assert_array_equal(found.normals[t, : len(own)], seen.normals[r, own])
        assert not found.points[t, len(own) :].any()


def cube_points(count: int, seed: int = 0) -> tuple[FloatArray, FloatArray]:
    """Points on a cube of side 1.6 around the origin, and their normals."""
    rng = np.random.default_rng(seed)
    place, face = rng.uniform(-0.8, 0.8, (count, 3)), rng.integers(0, 6, count)
    normals = (np.eye(3)[face % 3]) * np.where(face < 3, 1.0, -1.0)[:, None]
    return np.where(normals != 0, 0.8 * normals, place), normals


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("patterns", "scan"), [(2, even_sphere_points), (8, cube_points)])
def test_half_of_a_scan_gives_the_codes_of_the_whole(threads: int, patterns: int, scan: Callable[[int], tuple[FloatArray, FloatArray]]) -> None:
    """Regions whose points are all in the half: what pieces of a large scan, and machines of a cluster, stand on."""
    points, normals = scan(3000)
    given = networks_and_patterns(patterns)
    half = np.flatnonzero(points[:, 0] < 0.4)
    spacing = 0.06

    def coded(some: NDArray[np.int64]) -> tuple[RegionLattice, RegionCodes]:
        (lattice,) = region_lattices(points[some], 0.15, np.zeros(len(some), np.int64))
        view = view_of(spacing, 0.0, np.zeros(len(some)))
        return lattice, encode([(lattice, Visible(cKDTree(points[some]), normals[some]))], *given, view, threads=threads)

    (whole_lattice, whole), (half_lattice, part) = coded(np.arange(len(points))), coded(half)
    _, in_whole, in_half = np.intersect1d(whole_lattice.keys, half_lattice.keys, return_indices=True)
    far = whole.center[in_whole, 0] < 0.4 - 1.5 * 1.2 * 0.15
    in_whole, in_half = in_whole[far], in_half[far]
    assert len(in_whole) > 2 * REGIONS_TOGETHER["cpu"]
    assert (len(set(whole.arrangement[in_whole].tolist())) > 2) == (patterns == 8)
    for one, other in zip(in_whole.tolist(), in_half.tolist(), strict=True):
        same(region(whole, one), region(part, other))


def test_parts_are_joined_sheets_and_all() -> None:
    seen = gathered(np.full(40, 50), 50, solids=True)
    centers, given = np.random.default_rng(0).uniform(-1, 1, (40, 3)), networks_and_patterns(8)
    whole = encode_regions(seen, centers, 0.3, *given)
    cuts = [np.arange(0, 13), np.arange(13, 13), np.arange(13, 40)]
    parts = joined([encode_regions(rows(seen, some), centers[some], 0.3, *given) for some in cuts if len(some)])
    np.testing.assert_array_equal(parts.center, centers)
    assert torch.equal(parts.first, whole.first)
    assert len(whole.code) > 50
    for r in range(40):
        same(region(parts, r), region(whole, r))


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    """But for regions between two arrangements, where rounding decides."""
    seen = gathered(np.random.default_rng(0).integers(10, 61, 300), 60, solids=True)
    networks, patterns = networks_and_patterns(8)
    here = encode_regions(seen, np.zeros((300, 3)), 0.3, networks, patterns)
    there = encode_regions(seen, np.zeros((300, 3)), 0.3, networks.cuda(), patterns.to(torch.device("cuda")))
    alike = torch.nonzero(here.arrangement == there.arrangement.cpu())[:, 0]
    assert len(alike) > 280
    assert int((here.arrangement != 0).sum()) > 50
    torch.testing.assert_close(there.radius.cpu()[alike], here.radius[alike], rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(there.support.cpu()[alike], here.support[alike], rtol=1e-3, atol=1e-5)
