"""reconstruct: scan -> mesh, in the eight steps of `reconstruct_scan`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.config import ReconstructConfig
from lpdif.core.encode import view_of
from lpdif.core.field import LocalField
from lpdif.core.model import Model
from lpdif.device import available_threads, repeatable, resolve
from lpdif.errors import InputError
from lpdif.geometry import Surface
from lpdif.memory import give_back, let_go
from lpdif.mesh.topology import count_boundary_loops
from lpdif.mesh.unwrap import check_texture
from lpdif.points.classes import of_classes
from lpdif.points.validity import check_scan
from lpdif.stages.budget import divided
from lpdif.stages.finishing import finish, remedy, trimmed
from lpdif.stages.piece_work import Spread, shared_out, surfaces_by
from lpdif.stages.pieces import Piece
from lpdif.stages.placement import placed
from lpdif.stages.resolution import Choice, choose
from lpdif.stages.scan_regions import ScanRegions
from lpdif.storage.models import load_model
from lpdif.surface.isosurface import TileSearch, TileSurface
from lpdif.text import collected_warnings, counted
from lpdif.tools.laps import Lap, Laps
from lpdif.types import Mesh, Progress, Scan, silent

log = logging.getLogger("lpdif")


class UsedPoints(NamedTuple):
    """The N points that the mesh was made of, in world coordinates: (N, 3), with the spacing (N,) and the noise (N,) around each."""

    points: FloatArray
    spacing: FloatArray
    noise: FloatArray


@dataclass(frozen=True, repr=False)
class Reconstruction:
    """The mesh, its regions, what was chosen and found on the way, and what was warned of.

    used: the points it was made of; laps: what the parts of the work took
    """

    mesh: Mesh
    regions: ScanRegions
    facts: dict[str, float | int | str]
    used: UsedPoints
    laps: list[Lap]
    warnings: tuple[str, ...] = ()

    @property
    def field(self) -> LocalField:
        """The field that the mesh is the zero surface of.

        Where the mesh was made in pieces, all regions are encoded once more when it is first asked for, and memory must hold their codes.
        """
        return self.regions.whole

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
    spread: Spread | None = None,
) -> Reconstruction:
    """Mesh of a scan.

    model: None takes the one that ships with lpdif; threads: 0 takes one for each core, and the result does not depend on it; spread: others
    that make the pieces of the scan, such as the workers of a cluster, to the same bytes. Raises InputError for a scan that has no surface to
    give.
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
        made = reconstruct_scan(scan, model or load_model(), config, device, threads or available_threads(), progress, spread)
    return replace(made, warnings=tuple(warned))


def reconstruct_scan(
    scan: Scan, model: Model, config: ReconstructConfig, device: str, threads: int, progress: Progress, spread: Spread | None
) -> Reconstruction:
    """The steps of the paper's figure, one line of code for each.

    points -> regions -> codes and patterns -> one field -> its zero surface -> mesh
    """
    laps = Laps()
    # 1. Clean, oriented points; their spacing and noise give the sizes of regions and triangles.
    choice = choose(scan, config, threads)
    let_go(scan.arrays)
    give_back()
    laps.end("points and sizes")
    # 2. Where there is surface. 3. Overlapping regions there, in one piece or, where memory is short, in several.
    places = placed(choice, config, threads)
    pieces = divided(choice, places, config, scan.name, threads) if spread is None else shared_out(places, spread)
    give_back()
    laps.end("placing the regions")
    model = model.to(resolve(device))
    view = view_of(choice.ready.spacing, choice.ready.noise, choice.ready.local_noise)
    regions = ScanRegions(places.lattices, places.visible, model, view, choice.ready.origin, config.refine, threads)
    # 4. to 6. The zero surface, piece by piece.
    if spread is None:
        parts = tile_surfaces(regions, places.search, pieces, progress, laps)
    else:
        parts = surfaces_by(spread, regions, places.search, pieces, progress)
        laps.end("codes, patterns and zero surface, by others")
    del pieces
    if not parts:
        raise InputError(f"{scan.name}: no surface found in its {len(choice.ready.points)} points", remedy(config))
    give_back()
    # 7. Trimmed to where there are points, holes filled, closed and simplified if asked; colours and values carried over.
    mesh = finish(
        trimmed(places.search.joined(parts), choice.ready, scan.name, places.coverage, config, choice.step),  # no name holds on to it
        choice,
        scan,
        regions.pattern_at,
        places.coverage,
        config,
    )
    mesh = replace(mesh, pattern_names=model.patterns.names)
    # 8. What was chosen and found on the way.
    laps.end("trimming and finishing")
    used = UsedPoints(choice.ready.points + choice.ready.origin, choice.ready.local_spacing, choice.ready.local_noise)
    return Reconstruction(mesh, regions, facts_of(choice, regions, mesh), used, laps.done)


def tile_surfaces(regions: ScanRegions, search: TileSearch, pieces: Sequence[Piece], progress: Progress, laps: Laps) -> dict[int, TileSurface]:
    """The zero surface of the field of all regions in each tile that has any, by their numbers; made piece by piece."""
    jobs, tiles = sum(regions.jobs(piece.regions) for piece in pieces), sum(len(piece.tiles) for piece in pieces)
    encoded, done, parts = 0, 0, {}
    for piece in pieces:
        # 4. Each region's frame, its code by the encoder, and its pattern by the nearest cluster of codes.
        # 5. The field: every region's decoder, that of its pattern, blended with those of the regions around it.
        field = regions.field(piece.regions, shifted(progress, encoded, jobs))
        encoded += regions.jobs(piece.regions)
        laps.end("codes and patterns")
        # 6. The zero surface of the field, by marching cubes in a narrow band around the points.
        for number, part in search.surfaces(field.box_sdf, piece.tiles, regions.threads):
            if len(part.faces):
                parts[number] = part
            done += 1
            progress("extract", done, tiles)
        del field  # before there is another one
        give_back()
        laps.end("zero surface")
    return parts


def shifted(progress: Progress, before: int, total: int) -> Progress:
    """Progress of a part of some work, told as that of the whole: so many units came before it, and there are so many in all."""
    return lambda what, done, _: progress(what, before + done, total)


def facts_of(choice: Choice, regions: ScanRegions, mesh: Mesh) -> dict[str, float | int | str]:
    """What was chosen and found, for reports."""
    return {
        "points": len(choice.ready.points),
        "spacing": choice.ready.spacing,
        "noise": choice.ready.noise,
        "region_size": choice.size,
        "resolution": choice.resolution,
        "regions": regions.count,
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "open_loops": count_boundary_loops(Surface(mesh.vertices, mesh.faces)),
        **choice.ready.facts,
    }
