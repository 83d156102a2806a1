"""Encode regions: the points around each -> its frame -> its code -> its pattern.

A region's code depends on that region alone, to the last bit: whatever else is encoded with it, in what order, by how many threads.
Floating-point sums depend on the shapes of the arrays they are taken over, so all shapes are fixed: a region's points are padded to the
next of a few lengths, and a fixed number of regions of one length are encoded together.

R regions, P points that the encoder sees of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

from lpdif.arrays import FloatArray, IntArray, chunks
from lpdif.core.field import RegionCodes
from lpdif.core.model import Networks
from lpdif.core.patterns import Patterns
from lpdif.core.refine import refine_codes
from lpdif.core.regions import HALO, MOST_POINTS, Gathered, RegionLattice, Seen, gather_points, region_support
from lpdif.device import single_threaded_pool, split_on_oom
from lpdif.types import Progress, silent

REGIONS_GATHERED = 4096  # regions whose points are gathered at once
POINT_COUNTS = (8, 16, 24, 32, 48, 64, 96, MOST_POINTS)  # numbers of points that a region is padded to
REGIONS_TOGETHER = {"cpu": 64, "cuda": 1024}  # regions encoded together, by the kind of device


class ViewSettings(NamedTuple):
    """How much of a scan a region sees."""

    unit: float = 1.1  # The encoder's unit in region sizes: regions stand a little closer than they see.
    noisy_unit: float = 0.4  # What noise adds to that, at most.
    noisy: float = 0.5  # The noise, in spacings, from which all of that is added.
    quantile: float = 0.9  # The quantile of the local noise that decides how many points regions see.
    many_points: float = 0.15  # From this noise on, in spacings, they see all of MOST_POINTS, else half of it.


VIEW = ViewSettings()


class View(NamedTuple):
    """What the regions of a scan see of it.

    unit   the encoder's unit, in region sizes
    most   points of a region, at most
    noise  of the scan, in its own unit
    """

    unit: float
    most: int
    noise: float


def view_of(spacing: float, noise: float, local_noise: FloatArray) -> View:
    """What the regions of a scan are to see of it: more points where it is noisy.

    local_noise (N,): noise around each point; all lengths in the scan's unit.
    """
    noisy = float(np.quantile(local_noise, VIEW.quantile)) > VIEW.many_points * spacing
    return View(encoder_unit(spacing, noise), MOST_POINTS if noisy else MOST_POINTS // 2, noise)


def encoder_unit(spacing: float, noise: float) -> float:
    """The encoder's unit in region sizes."""
    return float(VIEW.unit + VIEW.noisy_unit * min(1.0, noise / (VIEW.noisy * spacing)))


def encode(
    tree: cKDTree,
    normals: FloatArray,
    lattices: Sequence[tuple[RegionLattice, IntArray | None]],
    networks: Networks,
    patterns: Patterns,
    view: View,
    refine: int = 0,
    threads: int = 1,
    progress: Progress = silent,
) -> RegionCodes:
    """Codes and patterns of the regions of all lattices, on the device of the networks.

    tree: of the points (N, 3), whose normals (N, 3) are given; lattices: each with the rows of the points that its regions see, or None for
    all; view: what each region sees; refine: steps by which codes are fitted to the points once more; threads: chunks of regions encoded
    at a time.
    """

    def searchable(rows: IntArray | None) -> tuple[cKDTree, FloatArray, FloatArray]:
        return whole if rows is None else (cKDTree(points[rows]), points[rows], normals[rows])

    points = np.asarray(tree.data)
    whole = tree, points, normals
    visible = [(lattice, searchable(rows)) for lattice, rows in lattices]
    jobs = [(lattice, seen, part) for lattice, seen in visible for part in chunks(len(lattice.keys), REGIONS_GATHERED)]

    def work(job: tuple[RegionLattice, tuple[cKDTree, FloatArray, FloatArray], slice]) -> RegionCodes:
        lattice, seen, chunk = job
        unit = view.unit * lattice.size
        centers = np.asarray(lattice.corners[chunk] * lattice.size, dtype=np.float64)
        gathered = gather_points(*seen, centers, unit, HALO, view.most)
        return encode_regions(gathered, centers, unit, networks, patterns, refine, view.noise / unit)

    found: list[RegionCodes] = []
    with single_threaded_pool(threads) as pool:
        for done, codes in enumerate(pool.map(work, jobs), 1):
            found.append(codes)
            progress("encode", done, len(jobs))
    center = np.concatenate([codes.center for codes in found])
    rest = {name: torch.cat([getattr(codes, name) for codes in found]) for name in ("origin", "axes", "size", "code", "pattern", "support")}
    return RegionCodes(center=center, **rest)


def encode_regions(
    seen: Gathered,
    centers: FloatArray,
    size: float,
    networks: Networks,
    patterns: Patterns,
    refine: int = 0,
    noise: float = 0.0,
) -> RegionCodes:
    """Codes of regions of one size at `centers` (R, 3), from the points that were gathered around them.

    refine: steps by which codes are fitted to the points once more; noise: that of the points, in region sizes. Where the memory of a GPU
    does not suffice for a block of regions, it is encoded in halves; only then may last bits differ.
    """
    rows = REGIONS_TOGETHER[patterns.centroids.device.type]
    count_R = np.searchsorted(POINT_COUNTS, seen.mask.sum(1))
    order = np.argsort(count_R, kind="stable")
    found: list[tuple[Tensor, ...]] = []
    for number in np.unique(count_R):
        alike = np.flatnonzero(count_R == number)
        for block in chunks(len(alike), rows):
            encoded = partial(encode_block, seen, alike[block], POINT_COUNTS[number], rows, networks, patterns, refine, noise)
            found += split_on_oom(encoded, slice(0, block.stop - block.start))
    back = torch.from_numpy(np.argsort(order)).to(patterns.centroids.device)
    origin, axes, code, pattern, support = (torch.cat(part)[back] for part in zip(*found, strict=True))
    return RegionCodes(centers, origin, axes, torch.full((len(centers),), size, device=code.device), code, pattern, support)


@torch.no_grad()
def encode_block(
    seen: Gathered,
    regions: IntArray,
    points: int,
    rows: int,
    networks: Networks,
    patterns: Patterns,
    refine: int,
    noise: float,
    part: slice,
) -> tuple[Tensor, ...]:
    """Origin, axes, code, pattern and support of a part of these regions.

    Each region is padded to `points` points. If the part is all of the regions, it is padded to `rows` rows.
    """
    some = regions[part]
    block = padded(seen, some, rows if len(some) == len(regions) else len(some), points)
    points_RP3, normals_RP3, mask_RP = (array.to(patterns.centroids.device) for array in block)
    frames, code = networks.encode(Seen(points_RP3, normals_RP3, mask_RP))
    pattern = patterns.assign(code)
    if refine:
        code = refine_codes(networks.decoder, code, pattern, frames.inward(points_RP3), mask_RP, noise, refine)
    support = region_support(mask_RP, frames.origin)
    return tuple(array[: len(some)] for array in (frames.origin, frames.axes, code, pattern, support))


def padded(seen: Gathered, regions: IntArray, rows: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points and normals (rows, length, 3) and mask (rows, length) of these regions.

    Rows beyond the number of regions repeat the first region.
    """
    regions = np.r_[regions, np.full(rows - len(regions), regions[0])]
    width = min(length, seen.mask.shape[1])

    def pad(array: np.ndarray) -> Tensor:
        filled = np.zeros((rows, length, *array.shape[2:]), array.dtype)
        filled[:, :width] = array[regions, :width]
        return torch.from_numpy(filled)

    return pad(seen.points), pad(seen.normals), pad(seen.mask)
