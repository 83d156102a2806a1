"""reconstruct: scan -> mesh, in the eight steps of `reconstruct_scan`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray, IntArray
from lpdif.config import ReconstructConfig
from lpdif.core.encode import encode, view_of
from lpdif.core.field import LocalField, RegionCodes
from lpdif.core.gap_regions import furthest, gap_regions, seen_by_level
from lpdif.core.model import Model
from lpdif.core.regions import RegionLattice, between_points, region_lattices
from lpdif.device import available_threads, repeatable, resolve
from lpdif.errors import InputError
from lpdif.geometry import Surface
from lpdif.mesh.topology import count_boundary_loops
from lpdif.mesh.unwrap import check_texture
from lpdif.points.classes import of_classes
from lpdif.points.cloud import Cloud
from lpdif.points.coverage import Coverage
from lpdif.points.validity import check_scan
from lpdif.stages.finishing import bridge_distance, finish, remedy
from lpdif.stages.resolution import RESOLUTION, Choice, choose, lattice_stride
from lpdif.storage.models import load_model
from lpdif.surface.isosurface import extract
from lpdif.text import collected_warnings, counted
from lpdif.tools.laps import Lap, Laps
from lpdif.types import Mesh, Progress, Scan, silent

log = logging.getLogger("lpdif")


class PlacementSettings(NamedTuple):
    """Where regions sit, and where the surface is searched for, in spacings of the points."""

    beside: float = 1.1  # Regions sit at the points, and in eight directions this far beside them.
    band: float = 2.2  # The surface is searched for up to this far from the points.


PLACEMENT = PlacementSettings()


class UsedPoints(NamedTuple):
    """The N points that the mesh was made of, in world coordinates: (N, 3), with the spacing (N,) and the noise (N,) around each."""

    points: FloatArray
    spacing: FloatArray
    noise: FloatArray


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """The mesh, the field it is the zero surface of, what was chosen and found on the way, and what was warned of.

    used: the points it was made of; laps: what the parts of the work took
    """

    mesh: Mesh
    field: LocalField
    facts: dict[str, float | int | str]
    used: UsedPoints
    laps: list[Lap]
    warnings: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """What matters, on one line, and each warning on one of its own."""
        vertices, facts = self.mesh.vertices, self.facts
        size = " x ".join(f"{side:.3g}" for side in np.ptp(vertices, axis=0)) if len(vertices) else "nothing"
        loops = int(facts.get("open_loops", 0))
        rim = f"open along {counted(loops, 'loop')}" if loops else "closed"
        shape = f"{counted(len(self.mesh.faces), 'face')}, {size}, {rim}"
        sizes = "".join(f", {name.replace('_', ' ')} {facts[name]:.3g}" for name in ("region_size", "resolution") if name in facts)
        return "\n  warning: ".join([f"Reconstruction({shape}{sizes})", *self.warnings])


def reconstruct(
    scan: Scan,
    model: Model | None = None,
    config: ReconstructConfig | None = None,
    device: str = "auto",
    threads: int = 0,
    progress: Progress = silent,
) -> Reconstruction:
    """Mesh of a scan.

    model: None takes the one that ships with lpdif; threads: 0 takes one for each core, and the result does not depend on it. Raises
    InputError for a scan that has no surface to give.
    """
    config = config or ReconstructConfig()
    if not isinstance(model, Model | None):
        raise TypeError(f"a Model is needed, not a {type(model).__name__}: lpdif.load_model(file)")
    with repeatable(), collected_warnings() as warned:
        scan = of_classes(scan, config.classes)
        if config.classes:
            log.info("%s of the chosen classes", counted(len(scan.points), "point"))
        check_scan(scan, config.keep_outliers, config.region_size is not None)  # before the model: a bad scan is answered at once
        check_texture(scan, config.texture)
        made = reconstruct_scan(scan, model or load_model(), config, device, threads or available_threads(), progress)
    return replace(made, warnings=tuple(warned))


def reconstruct_scan(scan: Scan, model: Model, config: ReconstructConfig, device: str, threads: int, progress: Progress) -> Reconstruction:
    """The steps of the paper's figure, one line of code for each.

    points -> regions -> codes and patterns -> one field -> its zero surface -> mesh
    """
    laps = Laps()
    # 1. Clean, oriented points; their spacing and noise give the sizes of regions and triangles.
    choice = choose(scan, config, threads)
    laps.end("points and sizes")
    # 2. Where there is surface: as far around each point as the points beside it are.
    coverage = Coverage(cKDTree(choice.ready.points), choice.ready.normals, choice.ready.local_spacing, threads)
    # 3. Overlapping regions at the points, larger where these are sparse, and across gaps that are to be closed.
    lattices = regions_of(choice, coverage, config)
    laps.end("placing the regions")
    # 4. Each region's frame, its code by the encoder, and its pattern by the nearest cluster of codes.
    model = model.to(resolve(device))
    codes = encode_scan(choice.ready, coverage.tree, lattices, model, config, threads, progress)
    laps.end("codes and patterns")
    # 5. The field: every region's decoder, that of its pattern, blended with those of the regions around it.
    field = LocalField([lattice for lattice, _ in lattices], codes, model.networks.decoder, choice.ready.origin)
    # 6. The zero surface of the field, by marching cubes in a narrow band around the points.
    surface = zero_surface(field, choice, coverage, config, scan.name, progress)
    laps.end("zero surface")
    # 7. Trimmed to where there are points, holes filled, closed and simplified if asked; colours and values carried over.
    mesh = replace(finish(surface, choice, scan, field, coverage, config), pattern_names=model.patterns.names)
    # 8. What was chosen and found on the way.
    laps.end("trimming and finishing")
    used = UsedPoints(choice.ready.points + choice.ready.origin, choice.ready.local_spacing, choice.ready.local_noise)
    return Reconstruction(mesh, field, facts_of(choice, field, mesh), used, laps.done)


def regions_of(choice: Choice, coverage: Coverage, config: ReconstructConfig) -> list[tuple[RegionLattice, IntArray | None]]:
    """The regions of every size, each size with the rows of the points that its regions see, None for all."""
    ready, size, level = choice.ready, choice.size, choice.level
    lattices = lattices_around(ready, coverage, size, np.maximum(level, 0))
    seen = [seen_by_level(ready.points, level, round(np.log2(lattice.size / size)), lattice.size) for lattice in lattices]
    count = sum(len(lattice.keys) for lattice in lattices)
    across = gap_regions(ready.points, size, np.maximum(level, 0), bridge_distance(ready, config), count)
    return [*zip(lattices, seen, strict=True), *across]


def lattices_around(ready: Cloud, coverage: Coverage, size: float, level: IntArray) -> list[RegionLattice]:
    """Regions at the points and between them, of the level (N,) of each point.

    Where sparser points are within reach, there are also regions of their level.
    """
    wide = np.flatnonzero(coverage.spacing > ready.local_spacing)
    upper = level[wide] + np.round(np.log2(coverage.spacing[wide] / ready.local_spacing[wide])).astype(np.int64)
    rows = np.r_[np.arange(len(level)), wide]
    between = between_points(ready.points[rows], ready.normals[rows], PLACEMENT.beside * np.r_[ready.local_spacing, coverage.spacing[wide]])
    places = np.concatenate([ready.points[rows], between])
    levels = np.r_[level, np.minimum(upper, RESOLUTION.highest_level)]
    return region_lattices(places, size, np.tile(levels, len(places) // len(rows)))  # each point, and then the places around it


def encode_scan(
    ready: Cloud,
    tree: cKDTree,
    lattices: Sequence[tuple[RegionLattice, IntArray | None]],
    model: Model,
    config: ReconstructConfig,
    threads: int,
    progress: Progress,
) -> RegionCodes:
    """Codes and patterns of all regions of a scan."""
    view = view_of(ready.spacing, ready.noise, ready.local_noise)
    return encode(tree, ready.normals, lattices, model.networks, model.patterns, view, config.refine, threads, progress)


def zero_surface(field: LocalField, choice: Choice, coverage: Coverage, config: ReconstructConfig, name: str, progress: Progress) -> Surface:
    """The zero surface of the field around the points, and across gaps that are to be closed.

    Raises InputError if there is none.
    """
    ready, size = choice.ready, choice.size
    reach = PLACEMENT.band * coverage.spacing
    far = bridge_distance(ready, config)
    if far:  # but no region reaches farther from its points than this
        own = PLACEMENT.beside * ready.local_spacing + furthest(size) * 2.0 ** np.maximum(choice.level, 0)
        reach = np.minimum(far, np.maximum(own, furthest(field.lattices[-1].size)))
    surface = extract(
        ready.points,
        field.box_sdf,
        choice.step,
        reach,
        threads=coverage.threads,
        stride=lattice_stride(choice.level, choice.step / size),
        tick=lambda done, total: progress("extract", done, total),
    )
    if len(surface.faces) == 0:
        raise InputError(f"{name}: no surface found in its {len(ready.points)} points", remedy(config))
    return surface


def facts_of(choice: Choice, field: LocalField, mesh: Mesh) -> dict[str, float | int | str]:
    """What was chosen and found, for reports."""
    return {
        "points": len(choice.ready.points),
        "spacing": choice.ready.spacing,
        "noise": choice.ready.noise,
        "region_size": choice.size,
        "resolution": choice.resolution,
        "regions": len(field.codes.center),
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "open_loops": count_boundary_loops(Surface(mesh.vertices, mesh.faces)),
        **choice.ready.facts,
    }
