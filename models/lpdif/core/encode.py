"""Encode regions: the points around each -> its form -> a frame and a code for each of its sheets -> its pattern.

A region's code depends on that region alone, to the last bit: whatever else is encoded with it, in what order, by how many threads.
Floating-point sums depend on the shapes of the arrays they are taken over, so all shapes are fixed: a region's points are padded to the
next of a few lengths, and a fixed number of regions of one length are encoded together.

R regions, P points that the encoder sees of each, T sheets of all regions: a smooth region is one sheet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import pad

from lpdif.arrays import FloatArray, IntArray, chunks
from lpdif.core.field import RegionCodes
from lpdif.core.forms import FORM_V, Evidence, Sheets, evidence, may_bend, sheets_of
from lpdif.core.frames import Frames, canonical_frames
from lpdif.core.model import GateChoice, Networks, in_frames, sheet_points
from lpdif.core.multi_decoder import MultiDecoder
from lpdif.core.patterns import Patterns
from lpdif.core.refine import refine_codes
from lpdif.core.regions import HALO, MOST_POINTS, Gathered, RegionLattice, Seen, gather_points, region_support
from lpdif.core.sheets import SHEETS
from lpdif.device import single_threaded_pool, split_on_oom
from lpdif.lattice_keys import unpack_keys
from lpdif.types import Progress, silent

REGIONS_GATHERED = 8192  # regions whose points are gathered at once
POINT_COUNTS = (8, 12, 16, 20, 24, 32, 48, 64, 96, MOST_POINTS)  # numbers of points that a region is padded to
REGIONS_TOGETHER = {"cpu": 128, "cuda": 1024}  # regions encoded together, by the kind of device,
POINTS_TOGETHER = {"cpu": 3072, "cuda": 1 << 17}  # if they have no more points than this in all: beyond, a CPU's cache does not hold the layers
BLOCKS_TOGETHER = 4  # so many times as many are looked at together where arithmetic is region by region


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


class Visible(NamedTuple):
    """The points that regions may see: their search tree, and their unit normals (N, 3)."""

    tree: cKDTree
    normals: FloatArray


def encode(
    lattices: Sequence[tuple[RegionLattice, Visible]],
    networks: Networks,
    patterns: Patterns,
    view: View,
    refine: int = 0,
    threads: int = 1,
    progress: Progress = silent,
) -> RegionCodes:
    """Codes and patterns of the regions of all lattices, on the device of the networks.

    lattices: at least one region in all, each lattice with the points that its regions may see; view: what each region sees; refine: steps by
    which codes are fitted to the points once more; threads: chunks of regions encoded at a time.
    """
    jobs = [(lattice, seen, part) for lattice, seen in lattices for part in chunks(len(lattice.keys), REGIONS_GATHERED)]

    def work(job: tuple[RegionLattice, Visible, slice]) -> RegionCodes:
        lattice, (tree, normals), chunk = job
        unit = view.unit * lattice.size
        centers = np.asarray(unpack_keys(lattice.keys[chunk]) * lattice.size, dtype=np.float64)
        gathered = gather_points(tree, np.asarray(tree.data), normals, centers, unit, HALO, view.most)
        return encode_regions(gathered, centers, unit, networks, patterns, refine, view.noise / unit)

    found: list[RegionCodes] = []
    with single_threaded_pool(threads) as pool:
        for done, codes in enumerate(pool.map(work, jobs), 1):
            found.append(codes)
            progress("encode", done, len(jobs))
    return joined(found)


def joined(parts: list[RegionCodes]) -> RegionCodes:
    """The codes of all parts, one behind the other; the list is empty then, and no column is held twice but the one that is being joined."""
    before = np.cumsum([0, *(len(codes.code) for codes in parts[:-1])])
    first = torch.cat([codes.first + int(sheets) for codes, sheets in zip(parts, before, strict=True)])
    center = np.concatenate([codes.center for codes in parts])
    names = [setting.name for setting in dataclasses.fields(RegionCodes) if setting.name not in ("center", "first")]
    columns = {name: [getattr(codes, name) for codes in parts] for name in names}
    parts.clear()
    return RegionCodes(center=center, first=first, **{name: torch.cat(columns.pop(name)) for name in names})


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
    on = patterns.centroids.device
    choice = choose_arrangements(seen, networks, patterns)
    sheets = sheets_of(choice.arrangement)
    form_T = FORM_V[choice.arrangement][sheets.owner]
    found, rows = [], []
    for encode_some, chosen_T in ((networks.encode, form_T == 0), (networks.encode_sheets, form_T > 0)):
        if bool(chosen_T.any()):
            some = sheets._replace(owner=sheets.owner[chosen_T], column=sheets.column[chosen_T])
            work = partial(encode_block, encode_some, networks.decoder, patterns, refine, noise, form_T[chosen_T].to(on))
            smooth = encode_some == networks.encode
            visible = Gathered(*(part[some.owner.numpy()] for part in seen)) if smooth else seen_by_sheets(seen, choice.sees, some)
            found.append(in_blocks(visible, on, work))
            rows.append(torch.nonzero(chosen_T)[:, 0])
    back = torch.argsort(torch.cat(rows)).to(on)
    origin, axes, code, pattern = (torch.cat(part)[back] for part in zip(*found, strict=True))
    whole = torch.where((choice.arrangement == 0)[:, None].to(on), origin[sheets.first.to(on)], choice.origin.to(on))
    inside = seen.mask & (np.einsum("rpi,rpi->rp", seen.points, seen.points) < HALO**2)  # those from farther off lend no support
    support = region_support(torch.from_numpy(inside).to(on), whole)
    first, arrangement, radius = (part.to(on) for part in (sheets.first, choice.arrangement, choice.radius))
    sizes = torch.full((len(centers),), size, device=on)
    return RegionCodes(centers, origin, axes, sizes, code, pattern[first], support, arrangement, radius, first)


class ArrangedRegions(NamedTuple):
    """How R regions are put together, on the CPU.

    arrangement  (R,) of the sheets, a number in `forms.ARRANGEMENTS`
    radius       (R,) of the edges, in the encoder's unit
    sees         (R, P) which sheets see each point: bit m stands for sheet m of the five
    origin       (R, 3) of the frame of the whole region; 0 where it is smooth
    """

    arrangement: Tensor
    radius: Tensor
    sees: NDArray[np.uint8]
    origin: Tensor


def choose_arrangements(seen: Gathered, networks: Networks, patterns: Patterns) -> ArrangedRegions:
    """The arrangement of each region, by the gate; only regions whose normals differ are looked at."""
    regions, width = seen.mask.shape
    arrangement, radius = torch.zeros(regions, dtype=torch.int64), torch.ones(regions)
    sees, origin = np.zeros((regions, width), np.uint8), torch.zeros(regions, 3)
    may = may_bend(Seen(*(torch.from_numpy(part) for part in seen))) if patterns.forms > 1 else torch.zeros(regions, dtype=torch.bool)
    asked = may.nonzero()[:, 0]
    if len(asked):
        part = Gathered(*(array[asked.numpy()] for array in seen))
        found = in_blocks(part, patterns.centroids.device, partial(choose_block, networks, patterns.forms), BLOCKS_TOGETHER)
        arrangement[asked], radius[asked], origin[asked] = (array.cpu() for array in (found[0], found[1], found[3]))
        sees[asked.numpy()] = found[2].cpu().numpy()[:, :width]
    return ArrangedRegions(arrangement, radius, sees, origin)


def choose_block(networks: Networks, forms: int, seen: Seen, _rows: Tensor) -> tuple[Tensor, ...]:
    """Arrangement, radius, sheets of the points as bits, and origin of the frame of some regions."""
    frames = canonical_frames(*seen)
    found = evidence(in_frames(seen, frames))
    blocks = chunks(len(found.miss), REGIONS_TOGETHER[found.miss.device.type])  # products of matrices are of one shape
    chosen = [networks.choose(Evidence(*(part[block] for part in found)), forms) for block in blocks]
    choice = GateChoice(*(torch.cat(part) for part in zip(*chosen, strict=True)))
    bit = 1 << torch.arange(choice.sees.shape[2], device=choice.sees.device)
    bits = (choice.sees * bit).sum(2).to(torch.uint8)
    return choice.arrangement, choice.radius, pad(bits, (0, MOST_POINTS - bits.shape[1])), frames.origin


def seen_by_sheets(seen: Gathered, sees_RP: NDArray[np.uint8], sheets: Sheets) -> Gathered:
    """The points that each sheet sees, nearest to the centre of its region first; all of the region's where it is smooth."""
    bit = torch.from_numpy(sees_RP)[..., None] >> torch.arange(SHEETS, dtype=torch.uint8) & 1
    return Gathered(*(part.numpy() for part in sheet_points(Seen(*(torch.from_numpy(part) for part in seen)), bit.bool(), sheets)))


Block = Callable[[Seen, Tensor], tuple[Tensor, ...]]  # points of some rows, and the numbers of these -> what is made of each row


@torch.no_grad()
def in_blocks(seen: Gathered, device: torch.device, work: Block, blocks: int = 1) -> tuple[Tensor, ...]:
    """What `work` makes of each row, in blocks of one shape; a row is padded to the next of POINT_COUNTS points.

    blocks: so many of them at most are one call. Blocks of many points have fewer rows, unless several are one call.
    """
    count = np.searchsorted(POINT_COUNTS, seen.mask.sum(1))
    order = np.argsort(count, kind="stable")
    found: list[tuple[Tensor, ...]] = []
    for number in np.unique(count):
        alike = np.flatnonzero(count == number)
        most = 1 << int(np.log2(POINTS_TOGETHER[device.type] // POINT_COUNTS[number]))  # products of other sizes end in bits that go by the row
        rows = min(REGIONS_TOGETHER[device.type], most) if blocks == 1 else REGIONS_TOGETHER[device.type]
        for block in chunks(len(alike), rows * blocks):
            some = partial(work_on_block, seen, alike[block], POINT_COUNTS[number], rows, device, work)
            found += split_on_oom(some, slice(0, block.stop - block.start))
    back = torch.from_numpy(np.argsort(order)).to(device)
    return tuple(torch.cat(part)[back] for part in zip(*found, strict=True))


def work_on_block(
    seen: Gathered, regions: IntArray, points: int, rows: int, device: torch.device, work: Block, part: slice
) -> tuple[Tensor, ...]:
    """What `work` makes of a part of these regions, each padded to `points` points.

    If the part is all of the regions, it is padded to a multiple of `rows`.
    """
    some = regions[part]
    more = -len(some) % rows if len(some) == len(regions) else 0
    some_padded = np.r_[some, np.full(more, some[0])]
    block = Seen(*(array.to(device) for array in padded(seen, some_padded, points)))
    return tuple(array[: len(some)] for array in work(block, torch.from_numpy(some_padded).to(device)))


def encode_block(
    encode_some: Callable[[Seen], tuple[Frames, Tensor]],
    decoder: MultiDecoder,
    patterns: Patterns,
    refine: int,
    noise: float,
    form_T: Tensor,
    seen: Seen,
    rows: Tensor,
) -> tuple[Tensor, ...]:
    """Origin, axes, code and pattern of some parts, whose numbers are `rows`; form (T,): of all of them."""
    frames, code = encode_some(seen)
    pattern = patterns.assign(code, form_T[rows])
    if refine:
        code = refine_codes(decoder, code, pattern, frames.inward(seen.points), seen.mask, noise, refine)
    return frames.origin, frames.axes, code, pattern


def padded(seen: Gathered, regions: IntArray, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points and normals (R, length, 3) and mask (R, length) of these regions."""
    width = min(length, seen.mask.shape[1])

    def fill(array: np.ndarray) -> Tensor:
        filled = np.zeros((len(regions), length, *array.shape[2:]), array.dtype)
        filled[:, :width] = array[regions, :width]
        return torch.from_numpy(filled)

    return fill(seen.points), fill(seen.normals), fill(seen.mask)
