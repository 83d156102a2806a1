"""reconstruct: scan -> mesh. Points -> regions -> codes -> patterns -> field -> narrow band -> marching cubes -> trimmed mesh."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.artifacts import Model, load_model
from lpdif.augment import HALO, MOST, Seen
from lpdif.bridging import bridges, furthest, seen_at
from lpdif.closing import close
from lpdif.confidence import confidence
from lpdif.config import ReconstructConfig
from lpdif.cover import Cover
from lpdif.device import available_threads, halving, repeatable, resolve, single_threaded_pool
from lpdif.errors import InputError
from lpdif.field import LocalField, RegionCodes
from lpdif.holes import count_loops, fill_holes, without_pinches
from lpdif.isosurface import Surface, extract
from lpdif.meshes import Mesh
from lpdif.neighbours import query
from lpdif.optimizer import Networks
from lpdif.patterns import Patterns
from lpdif.preparation import Prepared
from lpdif.progress import Progress, silent
from lpdif.refine import refine_codes
from lpdif.regions import Gathered, RegionLattice, between_points, gather_points, region_lattices, region_support
from lpdif.rims import even_rim
from lpdif.scans import Scan
from lpdif.simplify import simplify
from lpdif.stages.choice import FEWEST, HIGHEST, LOUD, NOISY, Choice, choose, lattice_stride, overlap
from lpdif.trimming import face_areas, keep_faces, large_parts, opposing, trim, vertex_normals

log = logging.getLogger("lpdif")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
View = tuple[cKDTree, FloatArray, FloatArray]  # points that regions see: search tree, positions, normals

GAP = 1.1  # regions sit around the points and this many spacings beside them
REACH = 2.2  # the surface is sought this many spacings from the points
FAR = 1.6  # and kept within this many,
OFF = 0.6  # from so many on only where it looks the way of one of the points around
PAST = 0.15  # of which what is more than this many past the border of the points is cut off
HOLE = 40.0  # larger gaps between points, in squared spacings, stay open
BRIDGED = 24.0  # spacings from the points up to which a watertight mesh goes on as the surface does around a gap
CRUMB = 16.0  # parts that stand for fewer points are dropped
CHUNK = 4096  # regions gathered at once
BANDS = 4  # and encoded in so many parts


@dataclass(frozen=True)
class Reconstruction:
    """The mesh, the field it is the zero surface of, and what was chosen and found on the way."""

    mesh: Mesh
    field: LocalField
    facts: dict[str, float | int | str]


def reconstruct(
    scan: Scan,
    model: Model | None = None,
    config: ReconstructConfig | None = None,
    device: str = "auto",
    threads: int = 0,
    progress: Progress = silent,
) -> Reconstruction:
    """Mesh of a scan. model: None takes the one that ships with lpdif; threads: 0 takes one for each core; the result does not depend on it.

    Raises InputError for a scan that has no surface to give.
    """
    with repeatable():
        return reconstruct_scan(scan, model or load_model(), config or ReconstructConfig(), device, threads or available_threads(), progress)


def reconstruct_scan(scan: Scan, model: Model, config: ReconstructConfig, device: str, threads: int, progress: Progress) -> Reconstruction:
    """The stage itself: one line a step."""
    choice = choose(scan, config, threads)
    ready, size, level, step, _ = choice
    tree = cKDTree(ready.points)
    cover = Cover(tree, ready.normals, ready.local_spacing, threads)
    lattices = lattices_around(ready, cover, size, level)
    far = spanned(ready, config)
    spans = bridges(ready.points, size, level, far, sum(len(lattice.keys) for lattice in lattices))
    sights = [seen_at(ready.points, level, round(np.log2(lattice.size / size)), lattice.size) for lattice in lattices]
    looking = [*zip(lattices, sights, strict=True), *spans]
    field = encode(ready, looking, tree, model, config, resolve(device), threads, progress)
    reach = REACH * cover.spacing
    if far:  # but no region speaks farther from its points than this
        widest = max(lattice.size for lattice, _ in looking)
        own = GAP * ready.local_spacing + furthest(size) * 2.0**level
        reach = np.minimum(far, np.maximum(own, furthest(widest)))
    stride = lattice_stride(level, step / size)
    surface = extract(
        ready.points, field.box_sdf, step, reach, threads=threads, stride=stride, tick=lambda done, total: progress("extract", done, total)
    )
    if len(surface.faces) == 0:
        raise InputError(f"{scan.name}: no surface found in its {len(ready.points)} points", remedy(config))
    mesh = finish(surface, choice, scan, field, cover, config)
    facts: dict[str, float | int | str] = {
        "points": len(ready.points),
        "spacing": ready.spacing,
        "noise": ready.noise,
        "region_size": size,
        "resolution": choice.resolution,
        "regions": len(field.codes.center),
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "open_loops": count_loops(Surface(mesh.vertices, mesh.faces)),
    }
    return Reconstruction(mesh, field, facts | ready.facts)


def lattices_around(ready: Prepared, cover: Cover, size: float, level: IntArray) -> list[RegionLattice]:
    """Regions at the points and between them, of the level (N,) of each; where sparser points are within reach of their level too."""
    wide = np.flatnonzero(cover.spacing > ready.local_spacing)
    upper = level[wide] + np.round(np.log2(cover.spacing[wide] / ready.local_spacing[wide])).astype(np.int64)
    rows = np.r_[np.arange(len(level)), wide]
    between = between_points(ready.points[rows], ready.normals[rows], GAP * np.r_[ready.local_spacing, cover.spacing[wide]])
    places = np.concatenate([ready.points[rows], between])
    return region_lattices(places, size, np.tile(np.r_[level, np.minimum(upper, HIGHEST)], 9))


def encode(
    ready: Prepared,
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
    jobs = [(lattice, view, part) for lattice, view in views for part in slices(len(lattice.keys), CHUNK)]
    most = MOST if np.quantile(ready.local_noise, LOUD) > 0.3 * NOISY * ready.spacing else MOST // 2

    def work(job: tuple[RegionLattice, View, slice]) -> list[RegionCodes]:
        lattice, view, chunk = job
        unit = overlap(ready) * lattice.size

        def coded(part: slice) -> RegionCodes:
            centers = np.asarray(lattice.corners[part] * lattice.size, dtype=np.float64)
            seen = gather_points(*view, centers, unit, HALO, most)
            return encode_chunk(seen, centers, unit, networks, patterns, device, config.refine, ready.noise / unit)

        return halving(coded, chunk)

    found: list[RegionCodes] = []
    with single_threaded_pool(threads) as pool:
        for done, codes in enumerate(pool.map(work, jobs), 1):
            found += codes
            progress("encode", done, len(jobs))
    center = np.concatenate([codes.center for codes in found])
    rest = {name: torch.cat([getattr(codes, name) for codes in found]) for name in ("origin", "axes", "size", "code", "pattern", "support")}
    by_size = sorted((lattice for lattice, _ in views), key=lambda lattice: lattice.size)
    return LocalField(by_size, RegionCodes(center=center, **rest), networks.decoder, ready.origin)


def slices(count: int, chunk: int) -> Iterator[slice]:
    """range(count) cut into slices."""
    return (slice(start, min(start + chunk, count)) for start in range(0, count, chunk))


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


def spanned(ready: Prepared, config: ReconstructConfig) -> float:
    """How far from the points the surface is carried on across gaps, 0 for not at all."""
    return config.max_distance or (BRIDGED * ready.spacing if config.watertight else 0.0)


def remedy(config: ReconstructConfig) -> str:
    """What to do where no surface came out: the lengths that were given are the first to doubt."""
    given = [f"--{name.replace('_', '-')}" for name in ("resolution", "region_size") if getattr(config, name) is not None]
    return (
        f"leave out {' and '.join(given)}: lengths are then chosen from the scan" if given else "give a denser scan, or a larger --region-size"
    )


def without_crumbs(surface: Surface, spacing: FloatArray, of: IntArray | None = None) -> tuple[Surface, IntArray]:
    """The surface without the parts that stand for fewer than CRUMB points, by the spacing (V,) of the points around each vertex; and the
    old number of each vertex that is left. of (V,): if parts are pieces of something, of what; the largest piece of each stays."""
    stands_for = face_areas(surface) / np.square(spacing[surface.faces[:, 0]])
    return keep_faces(surface, large_parts(surface, stands_for, CRUMB, of))


def trimmed(surface: Surface, ready: Prepared, name: str, cover: Cover, config: ReconstructConfig, step: float) -> Surface:
    """The surface where there is data, and across gaps that it spans, without crumbs, up to an even rim.

    A maximum distance shorter than what is kept anyway decides alone.
    """
    tree, threads = cover.tree, cover.threads
    far = config.max_distance
    if far is not None:
        near = query(tree, surface.vertices, threads=threads)[0] <= far
        surface = keep_faces(surface, np.asarray(near[surface.faces].all(1)))[0]
        if len(surface.faces) == 0:
            raise InputError(f"{name}: no surface within the maximum distance of its points", "give a larger --max-distance")
    around = cover.around(surface.vertices)
    off = around.distance / around.spacing
    stands_for = np.where(off <= FAR, around.spacing, np.inf)  # what is farther stands for no point
    if far is not None and far < FAR * ready.spacing:
        return without_crumbs(surface, stands_for)[0]
    supported, doubtful = off <= FAR, np.flatnonzero((off > OFF) & (off <= FAR))
    supported[doubtful] = ~opposing(surface, doubtful, tree, ready.normals, threads)
    largest = np.maximum(HOLE * np.square(np.maximum(around.spacing, ready.spacing)), (2 * spanned(ready, config)) ** 2)
    kept = trim(surface, supported, largest)
    if not kept.any():
        raise InputError(f"{name}: no surface near its points", remedy(config))
    surface, used = keep_faces(surface, kept)
    largest, stands_for = largest[used], stands_for[used]
    surface, used = without_crumbs(surface, stands_for)
    cut = even_rim(surface, cover, PAST, largest[used])
    if len(cut.faces) == 0:
        raise InputError(f"{name}: its points are too few for a surface at resolution {step:.3g}", "give a smaller --resolution")
    whole = cut if config.watertight else without_pinches(cut)
    if whole is not surface:  # which leaves crumbs of what lay beyond the rim
        whole = without_crumbs(whole, cover.around(whole.vertices).spacing)[0]
    return whole if config.watertight else fill_holes(whole, cover, HOLE, ready.spacing)


def finish(surface: Surface, choice: Choice, scan: Scan, field: LocalField, cover: Cover, config: ReconstructConfig) -> Mesh:
    """Trim to the data, close and simplify if asked, carry attributes, go back to world coordinates."""
    ready, step = choice.ready, choice.step
    surface = trimmed(surface, ready, scan.name, cover, config, step)
    if config.watertight:
        surface = close(surface, ready.spacing, step, cover.threads)
        surface = without_crumbs(surface, cover.around(surface.vertices).spacing)[0]
    coarse = choice.faces(float(face_areas(surface).sum())) if choice.resolution > step else np.inf
    most = min(config.faces or np.inf, max(FEWEST, coarse))
    if most < len(surface.faces):
        surface, part = simplify(surface, int(most))
        surface = without_crumbs(surface, cover.around(surface.vertices).spacing, part)[0]  # what came off where a neck thinned to nothing
    around = cover.around(surface.vertices)
    normals = vertex_normals(surface)
    source = ready.kept[around.nearest]
    values: dict[str, NDArray[np.generic]] = {name: value[source] for name, value in scan.extras.items()}
    values["confidence"] = confidence(surface.vertices, normals, cover.tree, around.spacing, ready.local_noise[around.nearest], cover.threads)
    return Mesh(
        vertices=surface.vertices + ready.origin,
        faces=surface.faces,
        normals=normals,
        colors=None if scan.colors is None else scan.colors[source],
        vertex_values=values,
        face_values={"pattern": field.pattern_at(surface.vertices[surface.faces].mean(1)).astype(np.int32)},
    )
