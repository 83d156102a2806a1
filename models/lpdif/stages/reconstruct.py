"""reconstruct: scan -> mesh. Points -> regions -> codes -> patterns -> field -> narrow band -> marching cubes -> trimmed mesh."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import IntArray
from lpdif.config import ReconstructConfig
from lpdif.core.encode import encode
from lpdif.core.field import LocalField
from lpdif.core.gap_regions import furthest, gap_regions, seen_by_level
from lpdif.core.model import Model
from lpdif.core.regions import RegionLattice, between_points, region_lattices
from lpdif.device import available_threads, repeatable, resolve
from lpdif.errors import InputError
from lpdif.geometry import Surface
from lpdif.mesh.topology import count_boundary_loops
from lpdif.points.coverage import Coverage
from lpdif.points.prepare import Prepared
from lpdif.stages.finishing import bridge_distance, finish, remedy
from lpdif.stages.resolution import RESOLUTION, choose, lattice_stride
from lpdif.storage.models import load_model
from lpdif.surface.isosurface import extract
from lpdif.types import Mesh, Progress, Scan, silent

GAP = 1.1  # regions sit around the points and this many spacings beside them
REACH = 2.2  # the surface is sought this many spacings from the points


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
    cover = Coverage(tree, ready.normals, ready.local_spacing, threads)
    lattices = lattices_around(ready, cover, size, level)
    far = bridge_distance(ready, config)
    spans = gap_regions(ready.points, size, level, far, sum(len(lattice.keys) for lattice in lattices))
    sights = [seen_by_level(ready.points, level, round(np.log2(lattice.size / size)), lattice.size) for lattice in lattices]
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
        "open_loops": count_boundary_loops(Surface(mesh.vertices, mesh.faces)),
    }
    return Reconstruction(mesh, field, facts | ready.facts)


def lattices_around(ready: Prepared, cover: Coverage, size: float, level: IntArray) -> list[RegionLattice]:
    """Regions at the points and between them, of the level (N,) of each; where sparser points are within reach of their level too."""
    wide = np.flatnonzero(cover.spacing > ready.local_spacing)
    upper = level[wide] + np.round(np.log2(cover.spacing[wide] / ready.local_spacing[wide])).astype(np.int64)
    rows = np.r_[np.arange(len(level)), wide]
    between = between_points(ready.points[rows], ready.normals[rows], GAP * np.r_[ready.local_spacing, cover.spacing[wide]])
    places = np.concatenate([ready.points[rows], between])
    return region_lattices(places, size, np.tile(np.r_[level, np.minimum(upper, RESOLUTION.highest_level)], 9))
