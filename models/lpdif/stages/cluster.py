"""cluster: the codes of a fit -> patterns, a table of them and a gallery of pictures.

The next `fit --resume` goes on from these patterns.
"""

from __future__ import annotations

import io
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lpdif.config import ClusterConfig, FitConfig, fit_config
from lpdif.core.augment import nearest_seen
from lpdif.core.forms import FORM_V, evidence, may_bend
from lpdif.core.frames import canonical_frames
from lpdif.core.model import Networks, in_frames, make_networks
from lpdif.core.optimizer import Optimizer, TrainingRegions
from lpdif.core.pattern_table import PatternRow, pattern_table
from lpdif.core.patterns import Patterns, fit_patterns
from lpdif.core.regions import MOST_POINTS, Seen
from lpdif.device import resolve
from lpdif.errors import InputError, ModelError
from lpdif.form_names import FORMS
from lpdif.stages.fit_start import check_same_samples
from lpdif.stages.held_out import as_in_training, held_out_errors, split_regions
from lpdif.stages.region_samples import REGION_SAMPLING
from lpdif.storage.atomic_write import check_output, write_bytes
from lpdif.storage.lock import workspace_lock
from lpdif.storage.models import save_tensors
from lpdif.storage.shards import load_samples
from lpdif.storage.snapshots import load_snapshot
from lpdif.storage.tensor_files import SNAPSHOT
from lpdif.storage.workspace import Workspace
from lpdif.surface.marching_cubes import marching_cubes
from lpdif.tools.rendering import draw_mesh, sheet, view_axes
from lpdif.types import Progress, silent

log = logging.getLogger("lpdif")


class GallerySettings(NamedTuple):
    """The score and the picture of patterns."""

    regions: int = 6  # Regions drawn of each pattern.
    scored: int = 4000  # Regions that the score is taken over.
    grid: int = 28  # Lattice points along each side of a drawn region.
    pixels: int = 150  # Width of the picture of a region.
    chunk: int = 512  # Regions whose form is looked at together.


GALLERY = GallerySettings()


@dataclass(frozen=True)
class ClusterReport:
    """The table, the gallery's file, and (K, silhouette score) of the sweep."""

    rows: list[PatternRow]
    gallery: Path
    sweep: list[tuple[int, float]]


def cluster(
    workspace: Path, config: ClusterConfig | None = None, device: str = "auto", progress: Progress = silent, samples: Path | None = None
) -> ClusterReport:
    """Group the codes of the workspace's fit again. samples: the workspace whose samples it was made from, if another.

    Raises ModelError where there is no fit, or its snapshot is damaged, InputError where it has seen too few regions.
    """
    config = config or ClusterConfig()
    place = Workspace(workspace, samples)
    if not place.snapshot.exists():
        raise ModelError(f"{place.root}: there is no fit here whose codes could be grouped", "run `lpdif fit` first")
    with workspace_lock(place.root, "cluster"):
        return regroup_codes(place, config, device, progress)


def describe_patterns(workspace: Path, device: str = "auto", samples: Path | None = None) -> tuple[list[PatternRow], bytes]:
    """The table and the gallery (a PNG picture) of the patterns of a fit as it stands, and nothing is changed.

    Codes that are not grouped yet are one pattern. Raises as `cluster` does.
    """
    place = Workspace(workspace, samples)
    if not place.snapshot.exists():
        raise ModelError(f"{place.root}: there is no fit here whose codes could be grouped", "run `lpdif fit` first")
    with workspace_lock(place.root, "report"):
        fitted = load_fit(place, device)
    codes = fitted.optimizer.bank[fitted.optimizer.seen]
    patterns = fitted.optimizer.patterns or fit_patterns(codes, 1, fitted.settings.seed)
    optimizer = fitted.optimizer
    errors, _, held = held_out_errors(optimizer.mean, patterns, fitted.held_out, as_in_training, fitted.settings.seed, optimizer.device)
    rows = pattern_table(patterns, codes, optimizer.pattern[optimizer.seen], errors, held)
    return rows, gallery(optimizer, patterns, fitted.training, rows)


class LoadedFit(NamedTuple):
    """The state of a fit, the settings in its snapshot as they are and as they were checked, its regions and those held out."""

    optimizer: Optimizer
    found: dict[str, Any]
    settings: FitConfig
    training: TrainingRegions
    held_out: TrainingRegions


def load_fit(place: Workspace, device: str) -> LoadedFit:
    """The fit of a workspace.

    Raises ModelError where its snapshot is damaged or was made from other samples, InputError where it has seen too few regions.
    """
    state, found = load_snapshot(place.snapshot)
    settings = fitted_settings(place.snapshot, found)
    on = resolve(device)
    training, held_out = split_regions(load_samples(place)[0])
    check_same_samples(place, state, len(training.sdf))
    optimizer = Optimizer(make_networks(settings.features, settings.width, settings.seed), len(state["bank"]), on)
    optimizer.restore(state)
    if int(optimizer.seen.sum()) < 2:
        raise InputError(f"{place.snapshot}: it has not seen enough regions yet", "let `lpdif fit` run longer")
    return LoadedFit(optimizer, found, settings, training, held_out)


def regroup_codes(place: Workspace, config: ClusterConfig, device: str, progress: Progress) -> ClusterReport:
    """The stage itself, with the workspace's lock held."""
    for path in (place.gallery, place.snapshot):
        check_output(path, overwrite=True)
    optimizer, found, settings, training, held_out = load_fit(place, device)
    codes = optimizer.bank[optimizer.seen]
    wanted_forms = min(config.patterns, len(FORMS))
    if wanted_forms > (1 if optimizer.patterns is None else optimizer.patterns.forms):  # forms not looked at yet
        optimizer.form = forms_of(optimizer.mean, training, config.patterns, optimizer.device)
    optimizer.form = torch.where(optimizer.form < wanted_forms, optimizer.form, 0)  # without a pattern of its own, a form is smooth
    forms = optimizer.form[optimizer.seen]
    sweep = []
    for done, wanted in enumerate(config.sweep, 1):
        sweep.append((wanted, score(codes, fit_patterns(codes, wanted, config.seed), config.seed)))
        progress("sweep", done, len(config.sweep))
    patterns = fit_patterns(codes, config.patterns, config.seed, form_R=forms)
    if len(patterns.centroids) < config.patterns:
        log.warning("only %d of %d patterns have regions; the empty ones are dropped", len(patterns.centroids), config.patterns)
    optimizer.regroup(patterns)
    optimizer.step = min(optimizer.step, settings.shared_steps)
    errors, _, held = held_out_errors(optimizer.mean, patterns, held_out, as_in_training, settings.seed, optimizer.device)
    rows = pattern_table(patterns, codes, optimizer.pattern[optimizer.seen], errors, held)
    picture = gallery(optimizer, patterns, training, rows)
    write_bytes(place.gallery, picture, overwrite=True)
    kept = {**found, "patterns": len(patterns.centroids)}
    save_tensors(place.snapshot, SNAPSHOT, optimizer.tensors(), {"config": kept, "samples": place.samples_identity()})
    return ClusterReport(rows, place.gallery, sweep)


def fitted_settings(snapshot: Path, found: dict[str, Any]) -> FitConfig:
    """The settings `found` in a snapshot. Raises ModelError where a fit has no such settings."""
    try:
        return fit_config(found)
    except ValueError as error:
        raise ModelError(f"{snapshot}: expected the settings of a fit, found {error}", "use the lpdif that wrote it, or fit anew") from None


def score(codes: Tensor, patterns: Patterns, seed: int) -> float:
    """Silhouette score of the grouping of codes (R, C), taken over at most GALLERY.scored of them.

    1 means that the groups are well apart, 0 that there is no structure. One group scores 0.
    """
    from sklearn.metrics import silhouette_score

    chosen = torch.randperm(len(codes), generator=torch.Generator().manual_seed(seed))[: GALLERY.scored]
    labels = patterns.assign(codes[chosen]).numpy()
    if len(np.unique(labels)) < 2:
        return 0.0
    return float(silhouette_score(patterns.whitening.apply(codes[chosen]).numpy(), labels))


def forms_of(networks: Networks, data: TrainingRegions, patterns: int, device: torch.device) -> Tensor:
    """(N,) the form of each region by the gate, among those that so many patterns have; on clean points."""
    form = torch.zeros(len(data.counts), dtype=torch.int64)
    for start in range(0, len(data.counts), GALLERY.chunk):
        seen = clean_points(data.at(torch.arange(start, min(start + GALLERY.chunk, len(data.counts)))))
        there = Seen(*(part.to(device) for part in seen))
        inside = in_frames(there, canonical_frames(*there))
        asked = torch.nonzero(may_bend(inside))[:, 0]
        if patterns > 1 and len(asked):
            with torch.no_grad():
                choice = networks.choose(evidence(Seen(*(part[asked] for part in inside))), min(patterns, len(FORMS)))
            form[start + asked.cpu()] = FORM_V[choice.arrangement.cpu()]
    return form


def clean_points(data: TrainingRegions) -> Seen:
    """The nearest points of regions, as they are."""
    there = torch.arange(data.points.shape[1]) < data.counts[:, None]
    return nearest_seen(data.points.float(), data.normals.float(), there, min(MOST_POINTS, data.points.shape[1]))


def gallery(optimizer: Optimizer, patterns: Patterns, training: TrainingRegions, rows: list[PatternRow]) -> bytes:
    """A PNG picture with a row for each pattern: its caption and its most typical regions among those trained on.

    Each region is drawn by its pattern, from its clean points.
    """
    white = patterns.whitening.apply(optimizer.bank)
    lines = []
    for row in rows:
        members = torch.nonzero(optimizer.seen & (optimizer.pattern == row.pattern))[:, 0]
        away = (white[members] - patterns.centroids[row.pattern]).norm(dim=1)
        typical = training.at(members[away.argsort()[: GALLERY.regions]])
        lines.append((caption(row), draw_regions(optimizer.mean, patterns.to(optimizer.device), typical, optimizer.device)))
    file = io.BytesIO()
    sheet(lines).save(file, "PNG")
    return file.getvalue()


def caption(row: PatternRow) -> str:
    """What the gallery says of a pattern."""
    error, flatness, density = (
        f"{value:.{digits}f}" if math.isfinite(value) else "-" for value, digits in ((row.error, 4), (row.flatness, 2), (row.density, 2))
    )
    lines = [row.name, f"{row.share:.1%} of regions", f"error {error}"]
    return "\n".join([*lines, f"flatness {flatness}", f"density {density}"])


def draw_regions(networks: Networks, patterns: Patterns, data: TrainingRegions, device: torch.device) -> list[NDArray[np.uint8]]:
    """Pictures of the surfaces of regions within the cube that was sampled, in their frames."""
    if len(data.counts) == 0:
        return []
    axis = torch.linspace(-REGION_SAMPLING.cube, REGION_SAMPLING.cube, GALLERY.grid)
    grid = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    seen = Seen(*(part.to(device) for part in clean_points(data)))
    with torch.no_grad():
        frames = canonical_frames(*seen)
        places = grid.to(device) @ frames.axes + frames.origin[:, None]
        sdf = networks(seen, None, places, patterns).sdf.cpu().view(-1, GALLERY.grid, GALLERY.grid, GALLERY.grid)
    return [draw_surface(each.double().numpy()) for each in sdf]


def draw_surface(sdf: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A picture of the surface where a grid of distances over the cube that was sampled is zero."""
    vertices, faces = marching_cubes(sdf)
    if len(faces) == 0:
        return np.full((GALLERY.pixels, GALLERY.pixels, 3), 255, np.uint8)
    place = vertices * (2 * REGION_SAMPLING.cube / (GALLERY.grid - 1)) - REGION_SAMPLING.cube
    return draw_mesh(place, faces, view_axes(35, 35), np.zeros(3), 1.0, GALLERY.pixels)
