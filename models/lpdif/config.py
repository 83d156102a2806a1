"""Settings of the stages: one frozen dataclass for each stage.

This module does not import torch, so that `--help` stays fast.
Lengths are in the scan's own unit; None stands for "auto": chosen from the scan, and logged.
Inside training, lengths are in units of the region size.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

# Lowest and highest allowed values by key; other whole numbers must not be negative, other lengths must be positive.
LIMITS: dict[str, tuple[float, float]] = {
    "batch": (1, math.inf),
    "coarsest": (1e-9, 1),
    "faces": (4, math.inf),
    "finest": (1e-9, 1),
    "held_out": (0.001, 0.9),
    "kde_every": (1, math.inf),
    "kde_gamma": (0, math.inf),
    "learning_rate": (1e-12, math.inf),
    "noise": (0, 1),
    "patterns": (1, 4096),
    "points": (1, math.inf),
    "regions_per_shape": (1, math.inf),
    "samples": (1, math.inf),
    "seed": (0, 2**63 - 1),
    "snapshot_every": (1, math.inf),
    "sweep": (1, 4096),
    "threads": (0, 4096),
}
MOST_COUNT = 2**40  # no whole number without a limit of its own is larger


@dataclass(frozen=True)
class PreprocessConfig:
    """scans -> samples: what is stored of each region."""

    regions_per_shape: int = 1920  # region draws of one shape, over all its scales
    points: int = 256  # clean surface points stored of a region, more than any encoder input so that training can thin them
    samples: int = 48  # signed-distance samples of a region
    coarsest: float = 1 / 8  # largest region size, as a share of the shape's longest side
    finest: float = 1 / 128  # smallest region size, likewise
    seed: int = 0


@dataclass(frozen=True)
class FitConfig:
    """samples -> model."""

    patterns: int = 8  # K, the number of pattern decoders; 1 is the plain single-decoder baseline
    shared_steps: int = 20_000  # steps of the shared stage (encoder and one decoder)
    pattern_steps: int = 20_000  # steps of the pattern stage (encoder and K decoders)
    features: int = 64  # learned part of a code, beside the jet's coefficients
    width: int = 96  # hidden width of a decoder
    batch: int = 256  # regions a step
    learning_rate: float = 2e-3
    kde_gamma: float = 0.5  # exponent of the density weights; 0 is exactly "no weighting"
    kde_every: int = 500  # steps between two density estimates
    reassign_every: int = 1000  # steps between two assignments of regions to patterns; 0 keeps the first
    snapshot_every: int = 1000
    seed: int = 0
    resume: bool = False


@dataclass(frozen=True)
class ClusterConfig:
    """codes -> patterns."""

    patterns: int = 8
    sweep: tuple[int, ...] = ()  # further K to score
    seed: int = 0


@dataclass(frozen=True)
class ReconstructConfig:
    """scan -> mesh."""

    resolution: float | None = None  # h, lattice step of the mesh
    region_size: float | None = None  # s of the finest level
    max_distance: float | None = None  # no surface farther than this from the points
    watertight: bool = False
    refine: int = 0  # steps of code refinement
    faces: int | None = None  # simplify to at most this many
    sensor: tuple[float, float, float] | None = None  # scanner position, for orienting normals
    keep_outliers: bool = False
    seed: int = 0


@dataclass(frozen=True)
class CompareConfig:
    """models, and meshes or scans -> how far each model's meshes are off."""

    points: int = 20_000  # sampled from each true mesh
    noise: float = 0.0  # standard deviation that each of their coordinates gets, as a share of the mesh's longest side
    held_out: float = 0.1  # share of a scan's points that no model sees
    seed: int = 0


@dataclass(frozen=True)
class Config:
    """All settings; the shape of an `lpdif.toml`: one table a stage, beside the keys common to all."""

    workspace: str = "lpdif-workspace"
    device: str = "auto"
    threads: int = 0  # 0: as many as the machine has
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    cluster: ClusterConfig = field(default_factory=ClusterConfig)
    reconstruct: ReconstructConfig = field(default_factory=ReconstructConfig)
    compare: CompareConfig = field(default_factory=CompareConfig)


def limits(name: str, whole: bool) -> tuple[float, float]:
    """Lowest and highest value of the setting of this name, both allowed.

    A length that has no limits here lies above 0. whole: the setting is a whole number.
    """
    low, high = LIMITS.get(name, (0, math.inf))
    return low, min(high, MOST_COUNT) if whole and name != "seed" else high


def fit_config(found: Mapping[str, object]) -> FitConfig:
    """The settings of a fit, from the values of a file.

    Raises ValueError that names the first value that is not allowed, such as "patterns = 0".
    """
    known = {setting.name: type(setting.default) for setting in dataclasses.fields(FitConfig) if setting.name != "resume"}
    for name, value in found.items():
        kind = known.get(name)
        if kind is None or isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
            raise ValueError(f"{name:.40} = {value!r:.40}")
        low, high = limits(name, kind is int)
        if not low <= value <= high:
            raise ValueError(f"{name} = {value!r:.40}")
    return FitConfig(**found)  # type: ignore[arg-type]  # just checked
