"""Encode regions: points around each -> frame -> code -> pattern, in chunks, the same on every device.

R regions, P points that the encoder sees of each.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray, chunks
from lpdif.config import ReconstructConfig
from lpdif.core.augment import Seen
from lpdif.core.field import LocalField, RegionCodes
from lpdif.core.model import Model, Networks
from lpdif.core.patterns import Patterns
from lpdif.core.refine import refine_codes
from lpdif.core.regions import HALO, MOST, Gathered, RegionLattice, gather_points, region_support
from lpdif.device import single_threaded_pool, split_on_oom
from lpdif.points.cloud import Cloud
from lpdif.types import Progress, silent

View = tuple[cKDTree, FloatArray, FloatArray]  # points that regions see: search tree, positions, normals

CHUNK = 4096  # regions gathered at once
BANDS = 4  # and encoded in so many parts


def encode(
    ready: Cloud,
    looking: Sequence[tuple[RegionLattice, IntArray | None]],
    tree: cKDTree,
    model: Model,
    config: ReconstructConfig,
    device: torch.device,
    threads: int,
    progress: Progress = silent,
) -> LocalField:
    """Codes and patterns of all regions, in chunks of CHUNK, `threads` at a time. looking: lattices, each with the rows of the points that
    its regions see, or None for all."""
    networks, patterns = model.networks.to(device), model.patterns.to(device)

    def view(rows: IntArray | None) -> View:
        if rows is None:
            return tree, ready.points, ready.normals
        return cKDTree(ready.points[rows]), ready.points[rows], ready.normals[rows]

    views = [(lattice, view(rows)) for lattice, rows in looking]
    jobs = [(lattice, view, part) for lattice, view in views for part in chunks(len(lattice.keys), CHUNK)]
    most = MOST if np.quantile(ready.local_noise, LOUD) > 0.3 * NOISY * ready.spacing else MOST // 2

    def work(job: tuple[RegionLattice, View, slice]) -> list[RegionCodes]:
        lattice, view, chunk = job
        unit = overlap(ready) * lattice.size

        def coded(part: slice) -> RegionCodes:
            centers = np.asarray(lattice.corners[part] * lattice.size, dtype=np.float64)
            seen = gather_points(*view, centers, unit, HALO, most)
            return encode_chunk(seen, centers, unit, networks, patterns, device, config.refine, ready.noise / unit)

        return split_on_oom(coded, chunk)

    found: list[RegionCodes] = []
    with single_threaded_pool(threads) as pool:
        for done, codes in enumerate(pool.map(work, jobs), 1):
            found += codes
            progress("encode", done, len(jobs))
    center = np.concatenate([codes.center for codes in found])
    rest = {name: torch.cat([getattr(codes, name) for codes in found]) for name in ("origin", "axes", "size", "code", "pattern", "support")}
    by_size = sorted((lattice for lattice, _ in views), key=lambda lattice: lattice.size)
    return LocalField(by_size, RegionCodes(center=center, **rest), networks.decoder, ready.origin)


def encode_chunk(
    seen: Gathered,
    centers: FloatArray,
    size: float,
    networks: Networks,
    patterns: Patterns,
    device: torch.device,
    refine: int = 0,
    noise: float = 0.0,
) -> RegionCodes:
    """Codes of regions of one size at `centers` (R, 3) from what was gathered around them, after `refine` steps on their points, whose noise
    is given in region sizes.

    Regions are encoded in bands of similar numbers of points, so that little of the work is padding.
    """
    count = seen.mask.sum(1)
    order = np.argsort(count, kind="stable")
    found: list[tuple[torch.Tensor, ...]] = []
    with torch.no_grad():
        for band in np.array_split(order, BANDS):
            longest = max(1, int(count[band].max(initial=0)))
            points, normals, mask = (torch.from_numpy(part[band, :longest]).to(device) for part in seen)
            frames, code = networks.encode(Seen(points, normals, mask))
            pattern = patterns.assign(code)
            if refine:
                code = refine_codes(networks.decoder, code, pattern, frames.inward(points), mask, noise, refine)
            found.append((frames.origin, frames.axes, code, pattern, region_support(mask, frames.origin)))
        back = torch.from_numpy(np.argsort(order)).to(device)
        origin, axes, code, pattern, support = (torch.cat(part)[back] for part in zip(*found, strict=True))
        return RegionCodes(centers, origin, axes, torch.full((len(centers),), size, device=device), code, pattern, support)


OVERLAP = 1.1  # the encoder's unit in region sizes: regions stand a little closer than they see,
NOISY_OVERLAP = 0.4  # and closer by this much more
NOISY = 0.5  # from this noise on, in spacings
LOUD = 0.9  # quantile of the noise that counts in how many points regions see


def overlap(ready: Cloud) -> float:
    """The encoder's unit in region sizes."""
    return float(OVERLAP + NOISY_OVERLAP * min(1.0, ready.noise / (NOISY * ready.spacing)))
