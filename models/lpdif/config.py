"""Settings of the stages: one frozen dataclass for each stage.

This module does not import torch, so that `--help` stays fast.
Lengths are in the scan's own unit; None stands for "auto": chosen from the scan, and logged.
Inside training, lengths are in units of the region size.
"""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field

from lpdif.errors import UsageError
from lpdif.text import excerpt

# Lowest and highest allowed values by key; other whole numbers must not be negative, other lengths must be positive.
LIMITS: dict[str, tuple[float, float]] = {
    "batch": (1, math.inf),
    "classes": (0, 255),
    "coarsest": (1e-9, 1),
    "faces": (4, math.inf),
    "finest": (1e-9, 1),
    "held_out": (0.001, 0.9),
    "kde_every": (1, math.inf),
    "kde_gamma": (0, math.inf),
    "learning_rate": (1e-12, math.inf),
    "max_memory": (1, 2**63 - 1),
    "noise": (0, 1),
    "patterns": (1, 4096),
    "points": (1, math.inf),
    "processes": (1, 256),
    "regions_per_shape": (1, math.inf),
    "samples": (1, math.inf),
    "seed": (0, 2**63 - 1),
    "snapshot_every": (1, math.inf),
    "sweep": (1, 4096),
    "texture": (64, 8192),
    "threads": (0, 4096),
}
# The words that a setting may have, by key; other texts are free.
CHOICES: dict[str, tuple[str, ...]] = {
    "keep": ("all", "largest"),
    "units": ("mm", "cm", "m", "in"),
}
FRESH = "fresh"  # networks that have learnt nothing
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

    start: str = FRESH  # or a model to go on from, by its file or as "bundled"; its sizes and patterns stand, and there is no shared stage
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
    """scan -> mesh.

    Raises UsageError for a value of another type, and for one that is not allowed.
    """

    resolution: float | None = None  # h, lattice step of the mesh
    region_size: float | None = None  # s of the finest level
    max_distance: float | None = None  # no surface farther than this from the points
    watertight: bool = False
    refine: int = 0  # steps of code refinement
    faces: int | None = None  # simplify to at most this many
    adaptive: float | None = None  # coarser triangles where the surface stays within this distance of the fine one
    sensor: tuple[float, float, float] | None = None  # scanner position: normals face it, and surface that faces away from it is cut off
    classes: tuple[int, ...] = ()  # of the points, as LAS numbers them, that the mesh is made of; none named: of all points
    keep: str = "all"  # or the largest connected component alone
    texture: int | None = None  # bake the colours of the scan into a texture of so many texels a side
    keep_outliers: bool = False
    max_memory: int | None = None  # bytes that may be taken: a scan that needs more is made in pieces, with the same result
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)


@dataclass(frozen=True)
class OutputConfig:
    """mesh -> file.

    Raises UsageError as ReconstructConfig does.
    """

    units: str | None = None  # what one unit of the scan is: mm, cm, m or in
    scale: float = 1.0  # coordinates in the file are those of the scan times this

    def __post_init__(self) -> None:
        check_types(self)


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
    output: OutputConfig = field(default_factory=OutputConfig)


def check_types(settings: ReconstructConfig | OutputConfig) -> None:
    """Checks every value, and makes numbers of numpy or torch plain ones.

    Raises UsageError that names the setting, the value and what is allowed.
    """
    for name, kind in typing.get_type_hints(type(settings)).items():
        value = plain(getattr(settings, name))
        kinds = typing.get_args(kind) if type(None) in typing.get_args(kind) else (kind,)
        if value is None and type(None) in kinds:
            continue
        if typing.get_origin(kinds[0]) is tuple:
            numbers: list[typing.Any] = [None]
            if hasattr(value, "__iter__") and not isinstance(value, str | bytes):
                numbers = [plain(number) for number in value]
            if typing.get_args(kinds[0])[-1] is Ellipsis:
                low, high = limits(name, True)
                good = all(is_number(number, int) and low <= number <= high for number in numbers)
                value, wanted = (tuple(numbers) if good else value), f"whole numbers from {low:g} to {high:g}"
            else:
                good = len(numbers) == len(typing.get_args(kinds[0])) and all(is_number(number, float) for number in numbers)
                value, wanted = (tuple(map(float, numbers)) if good else value), "three finite numbers"
        elif kinds[0] is str:
            good, wanted = value in CHOICES[name], " or ".join(map(repr, CHOICES[name]))
        elif kinds[0] is bool:
            good, wanted = isinstance(value, bool), "True or False"
        else:
            low, high = limits(name, kinds[0] is int)
            positive = kinds[0] is float and name not in LIMITS
            good = is_number(value, kinds[0]) and low <= value <= high and not (positive and value == 0)
            end = "on" if high in (math.inf, MOST_COUNT, 2**63 - 1) else f"to {high:g}"
            wanted = f"a {'whole ' if kinds[0] is int else ''}number {'above 0' if positive else f'from {low:g} {end}'}"
        if not good:
            none = ", or None" if type(None) in kinds else ""
            raise UsageError(f"{type(settings).__name__}: {name} = {excerpt(repr(value), 100)} is not allowed", f"give {wanted}{none}")
        object.__setattr__(settings, name, value)


def plain(value: typing.Any) -> typing.Any:
    """A value; a number of numpy or torch as one of Python."""
    return value.item() if getattr(value, "ndim", None) == 0 and hasattr(value, "item") else value


def is_number(value: object, kind: type) -> bool:
    """Whether a value is a finite number, and a whole one where `kind` is int."""
    return isinstance(value, int if kind is int else int | float) and not isinstance(value, bool) and math.isfinite(value)


def limits(name: str, whole: bool) -> tuple[float, float]:
    """Lowest and highest value of the setting of this name, both allowed.

    A length that has no limits here lies above 0. whole: the setting is a whole number.
    """
    low, high = LIMITS.get(name, (0, math.inf))
    return low, min(high, MOST_COUNT) if whole and name not in ("seed", "max_memory") else high


def fit_config(found: Mapping[str, object]) -> FitConfig:
    """The settings of a fit, from the values of a file.

    Raises ValueError that names the first value that is not allowed, such as "patterns = 0".
    """
    known = {setting.name: type(setting.default) for setting in dataclasses.fields(FitConfig) if setting.name != "resume"}
    for name, value in found.items():
        kind = known.get(name)
        if kind is str and isinstance(value, str):
            continue
        if kind is None or kind is str or isinstance(value, bool) or not isinstance(value, int if kind is int else int | float):
            raise ValueError(f"{name:.40} = {value!r:.40}")
        low, high = limits(name, kind is int)
        if not low <= value <= high:
            raise ValueError(f"{name} = {value!r:.40}")
    return FitConfig(**found)  # type: ignore[arg-type]  # just checked
