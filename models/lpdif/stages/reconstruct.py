"""reconstruct: scan -> mesh. Points -> regions -> codes -> patterns -> field -> narrow band -> marching cubes -> trimmed mesh."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
from lpdif.holes import fill_holes, without_pinches
from lpdif.isosurface import Surface, extract
from lpdif.meshes import Mesh
from lpdif.optimizer import Networks
from lpdif.patterns import Patterns
from lpdif.preparation import Prepared, prepare
from lpdif.progress import Progress, silent
from lpdif.refine import refine_codes
from lpdif.regions import HALF, Gathered, RegionLattice, between_points, gather_points, region_lattices, region_support
from lpdif.rims import even_rim
from lpdif.scans import Scan
from lpdif.simplify import simplify
from lpdif.trimming import face_areas, keep_faces, large_parts, opposing, trim, vertex_normals

log = logging.getLogger("lpdif")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
View = tuple[cKDTree, FloatArray, FloatArray]  # points that regions see: search tree, positions, normals

SPACINGS = 1.6  # unit of the encoder: spacings between points
NOISES = 3.0  # and standard deviations of their noise, added
OVERLAP = 1.1  # the encoder's unit in region sizes: regions stand a little closer than they see,
NOISY_OVERLAP = 0.4  # and closer by this much more
NOISY = 0.5  # from this noise on, in spacings
LOUD = 0.9  # quantile of the noise that counts in how many points regions see
TOO_SMALL = 0.6  # a --region-size below this share of what the points ask for leaves holes
STEP = 0.38  # lattice step of the mesh, in region sizes, as long as there are no more than
FACES_A_CELL = 2.6  # a lattice of step h cuts a surface of area A into about so many times A / h^2 faces
FACES = 4.6  # faces a point,
FEW_FACES = 100_000  # and this many, which even a small scan may have,
MANY_FACES = 2e7  # in all; where --resolution asks for more there is a warning,
MOST_FACES = 2e8  # from so many on an error
FARTHEST = 32.0  # points that stand farther apart than this many typical spacings do not count in that
HIGHEST = 6  # level of regions
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
    ready, size, level, step = choose(scan, config, threads)
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
    mesh = finish(surface, ready, scan, field, cover, config, step)
    facts: dict[str, float | int | str] = {
        "points": len(ready.points),
        "spacing": ready.spacing,
        "noise": ready.noise,
        "region_size": size,
        "resolution": step,
        "regions": len(field.codes.center),
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
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


class Choice(NamedTuple):
    """The points, the finest region size, the level of each point's regions (N,), and the lattice step of the mesh."""

    ready: Prepared
    size: float
    level: NDArray[np.int64]
    step: float

    @property
    def faces(self) -> float:
        """About how many faces the mesh will have."""
        return FACES_A_CELL * covered_area(self.ready) / self.step**2


def choose(scan: Scan, config: ReconstructConfig, threads: int) -> Choice:
    """All that is settled before the first region is encoded. Raises InputError for a scan, or settings, of which nothing good can come."""
    ready = prepare(scan, sensor=config.sensor, keep_outliers=config.keep_outliers, seed=config.seed, threads=threads)
    size, level = region_levels(ready, config)
    choice = Choice(ready, size, level, config.resolution or mesh_step(ready, size))
    log.info("region size %.4g (spacing %.3g, noise %.2g), mesh resolution %.3g", size, ready.spacing, ready.noise, choice.step)
    check_numbering(scan, ready, size, choice.step)
    if config.resolution is None or choice.faces <= MANY_FACES:
        return choice
    if choice.faces > MOST_FACES:
        enough = 1.05 * np.sqrt(FACES_A_CELL * covered_area(ready) / MANY_FACES)
        raise InputError(
            f"{scan.name}: resolution {choice.step:.3g} would make some {choice.faces / 1e6:,.0f} million faces",
            f"give a larger --resolution: {enough:.2g} makes less than {MANY_FACES / 1e6:.0f} million",
        )
    log.warning("resolution %.3g makes some %.0f million faces: that takes long", choice.step, choice.faces / 1e6)
    return choice


def expect(scan: Scan, config: ReconstructConfig | None = None, threads: int = 0) -> dict[str, float | int | str]:
    """What `reconstruct` would choose for a scan, and about how many faces it would make where the scan is, without making them.

    Raises InputError for what is wrong before the first region is encoded.
    """
    config = config or ReconstructConfig()
    choice = choose(scan, config, threads or available_threads())
    faces = min(choice.faces, config.faces or choice.faces)
    return {**choice.ready.facts, "region_size": choice.size, "resolution": choice.step, "faces": int(float(f"{faces:.2g}"))}


def covered_area(ready: Prepared) -> float:
    """About the area of the surface, in which each point stands for its spacing squared; stray ones not for more than FARTHEST."""
    return float(np.square(np.minimum(ready.local_spacing, FARTHEST * ready.spacing)).sum())


def region_levels(ready: Prepared, config: ReconstructConfig) -> tuple[float, NDArray[np.int64]]:
    """The finest region size, and the level (N,) of each point: its regions are 2^level times as large.

    A region's unit is SPACINGS spacings, and NOISES standard deviations of the noise more, so that it averages the noise out. Where
    the scan is sparser than in its densest tenth, regions grow in factors of two.
    """
    need = (SPACINGS * ready.local_spacing + NOISES * ready.local_noise) / overlap(ready)
    asked_for = float(np.quantile(need, 0.1) * 1.1)
    finest = config.region_size or asked_for
    if finest < TOO_SMALL * asked_for:
        log.warning("region size %.3g is far below the %.3g that the points ask for: the surface will have holes", finest, asked_for)
    level = np.floor(np.log2(np.maximum(need / finest, 1e-9)) + 0.35).clip(0, HIGHEST).astype(np.int64)
    return finest, level


def mesh_step(ready: Prepared, size: float) -> float:
    """Lattice step of the mesh: STEP region sizes, but so that it has no more than about FACES faces a point.

    Where a few points stand for most of the area, it is they that would make the mesh large, not the detail.
    """
    most = min(FACES * len(ready.points) + FEW_FACES, MANY_FACES)
    return max(size * STEP, float(np.sqrt(FACES_A_CELL * covered_area(ready) / most)))


def spanned(ready: Prepared, config: ReconstructConfig) -> float:
    """How far from the points the surface is carried on across gaps, 0 for not at all."""
    return config.max_distance or (BRIDGED * ready.spacing if config.watertight else 0.0)


def lattice_stride(level: NDArray[np.int64], steps: float) -> NDArray[np.int64]:
    """(N,) power of two: how many lattice steps apart the field of regions of each level (N,) is asked for; steps: h in finest region sizes.

    STEP regions apart, as everywhere; but what has been asked for by a finer --resolution is computed.
    """
    return np.asarray(2 ** np.floor(np.maximum(0, level - np.log2(max(1.0, steps / STEP)) + 1e-9)).astype(np.int64))


def overlap(ready: Prepared) -> float:
    """The encoder's unit in region sizes."""
    return float(OVERLAP + NOISY_OVERLAP * min(1.0, ready.noise / (NOISY * ready.spacing)))


def check_numbering(scan: Scan, ready: Prepared, size: float, step: float) -> None:
    """Raises InputError where the scan spans more regions than a lattice can number: a unit mistake, or one far stray point."""
    extent = float(np.ptp(ready.points, axis=0).max())
    small = {name: length for name, length in (("region size", size), ("resolution", step)) if extent / length > HALF}
    if small:
        said = " and the ".join(f"{name} {length:.3g}" for name, length in small.items())
        flags = " and ".join(f"--{name.replace(' ', '-')} {1.1 * extent / HALF:.2g}" for name in small)
        raise InputError(
            f"{scan.name}: extent {extent:.4g} is more than 2^20 times the {said}",
            f"check the units; or remove points far from all others; or give {flags} or more",
        )


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


def remedy(config: ReconstructConfig) -> str:
    """What to do where no surface came out: the lengths that were given are the first to doubt."""
    given = [f"--{name.replace('_', '-')}" for name in ("resolution", "region_size") if getattr(config, name) is not None]
    return (
        f"leave out {' and '.join(given)}: lengths are then chosen from the scan" if given else "give a denser scan, or a larger --region-size"
    )


def without_crumbs(surface: Surface, spacing: FloatArray) -> tuple[Surface, IntArray]:
    """The surface without the parts that stand for fewer than CRUMB points, by the spacing (V,) of the points around each vertex; and the
    old number of each vertex that is left."""
    stands_for = face_areas(surface) / np.square(spacing[surface.faces[:, 0]])
    return keep_faces(surface, large_parts(surface, stands_for, CRUMB))


def trimmed(surface: Surface, ready: Prepared, name: str, cover: Cover, config: ReconstructConfig, step: float) -> Surface:
    """The surface where there is data, and across gaps that it spans, without crumbs, up to an even rim.

    A maximum distance shorter than what is kept anyway decides alone.
    """
    tree, threads = cover.tree, cover.threads
    far = config.max_distance
    if far is not None:
        surface = keep_faces(surface, (tree.query(surface.vertices, workers=threads)[0] <= far)[surface.faces].all(1))[0]
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


def finish(surface: Surface, ready: Prepared, scan: Scan, field: LocalField, cover: Cover, config: ReconstructConfig, step: float) -> Mesh:
    """Trim to the data, close and simplify if asked, carry attributes, go back to world coordinates."""
    surface = trimmed(surface, ready, scan.name, cover, config, step)
    if config.watertight:
        surface = close(surface, ready.spacing, step, cover.threads)
        surface = without_crumbs(surface, cover.around(surface.vertices).spacing)[0]
    if config.faces is not None:
        surface = simplify(surface, config.faces)
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
