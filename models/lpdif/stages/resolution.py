"""What reconstruct decides first: sizes of regions and triangles, from the points or the settings.

Letters: N points.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lpdif.arrays import IntArray
from lpdif.config import ReconstructConfig
from lpdif.core.encode import encoder_unit
from lpdif.errors import InputError, UsageError
from lpdif.lattice_keys import HALF
from lpdif.memory import bytes_held
from lpdif.mesh.topology import TETRAHEDRON_FACES
from lpdif.points.cloud import Cloud
from lpdif.points.prepare import prepare
from lpdif.stages.cost import Cost, cost
from lpdif.types import Scan

log = logging.getLogger("lpdif")


class ResolutionSettings(NamedTuple):
    """How sizes of regions and triangles follow from the points."""

    spacings_per_unit: float = 1.76  # The encoder's unit of length is so many spacings of the points, and more for their noise.
    noises_per_unit: float = 3.3  # To average noise out, the unit is longer by so many of its standard deviations.
    dense_quantile: float = 0.1  # Every point asks for a region size; the finest one follows from this quantile of them.
    round_up: float = 0.21  # A size that lies up to this share of a level below the next level is rounded up to it, else down.
    min_region_share: float = 0.6  # A --region-size below this share of what the points ask for leaves holes.
    highest_level: int = 6  # Regions at sparse points are up to 2^6 times as large as the finest.
    step: float = 0.38  # Lattice step of the mesh, in region sizes.
    max_step: float = 0.55  # A lattice step is at most this share of a region, which covers 0.625 around it; a coarser mesh is simplified.
    faces_per_cell: float = 2.6  # A lattice of step h cuts a surface of area A into about so many times A / h^2 faces.
    faces_per_point: float = 4.6  # The automatic step leaves at most so many faces for each point, and extra_faces.
    extra_faces: int = 100_000  # Even a small scan may have so many faces.
    many_faces: float = 2e7  # The automatic step leaves no more, and a --resolution that makes more is warned of.
    too_many: float = 10.0  # A --resolution that makes more than this many times many_faces is an error.
    hint_margin: float = 1.05  # The larger --resolution that the error proposes is this much coarser than necessary, because it is rounded.
    max_spacings: float = 32.0  # A point stands for no more area than a square of so many typical spacings: it may be a stray one.


RESOLUTION = ResolutionSettings()


class Choice(NamedTuple):
    """The points, and the sizes that were chosen for them, in world units."""

    ready: Cloud
    size: float  # of the finest regions
    level: IntArray  # (N,) of each point; below 0 where it is denser than the finest regions ask for
    step: float  # of the lattice
    resolution: float  # side of the mesh's faces; larger than the step where the mesh is to be simplified
    area: float  # about that of the surface
    scan: int  # bytes of memory that the scan as it was read takes until the end

    @property
    def region_level(self) -> IntArray:
        """(N,) the regions of a point are 2^region_level times as large as the finest."""
        return np.maximum(self.level, 0)

    def faces(self, area: float) -> float:
        """About how many faces a surface of this area, in world units squared, will have."""
        return RESOLUTION.faces_per_cell * area / self.resolution / self.resolution

    @property
    def fine_faces(self) -> float:
        """About how many faces the mesh has before it is simplified."""
        return RESOLUTION.faces_per_cell * self.area / self.step / self.step


def choose(scan: Scan, config: ReconstructConfig, threads: int) -> Choice:
    """The prepared points of a scan and all sizes.

    Raises InputError for a scan or settings that can give no surface, or too large a mesh, UsageError for a resolution that leaves no face.
    """
    ready = prepare(scan, sensor=config.sensor, keep_outliers=config.keep_outliers, seed=config.seed, threads=threads)
    least = finest_step(ready)
    shown = min(least, config.resolution or np.inf)
    size, level = region_levels(ready, config, shown / RESOLUTION.max_step)
    automatic = max(size * RESOLUTION.step, least)
    area = covered_area(ready)
    ready = spaced_apart(ready, shown)
    resolution = config.resolution or automatic
    step = min(resolution, max(automatic, RESOLUTION.max_step * size))
    choice = Choice(ready, size, level, step, resolution, area, bytes_held(scan.arrays))
    log.info("region size %.4g (spacing %.3g, noise %.2g), mesh resolution %.3g", size, ready.spacing, ready.noise, resolution)
    check_numbering(scan, ready, size, choice.step)
    if config.resolution is not None:
        check_face_count(scan, choice)
    return choice


def cost_of_points(count: int, watertight: bool) -> Cost:
    """About what it takes at most to make the mesh of so many evenly spread points, at the automatic resolution.

    Noise makes the mesh coarser, and it cheaper.
    """
    size = RESOLUTION.spacings_per_unit / encoder_unit(1.0, 0.0)  # of a region, in spacings
    most = min(RESOLUTION.faces_per_point * count + RESOLUTION.extra_faces, RESOLUTION.many_faces)
    return cost(min(most, RESOLUTION.faces_per_cell * count / (RESOLUTION.step * size) ** 2), count, watertight)


def check_face_count(scan: Scan, choice: Choice) -> None:
    """Raises InputError if the given resolution makes too many faces, UsageError if it leaves too few."""
    area = choice.area
    if choice.faces(area) > RESOLUTION.too_many * RESOLUTION.many_faces:
        enough = RESOLUTION.hint_margin * np.sqrt(RESOLUTION.faces_per_cell * area / RESOLUTION.many_faces)
        raise InputError(
            f"{scan.name}: resolution {choice.resolution:.3g} would make some {choice.faces(area) / 1e6:,.0f} million faces",
            f"give a larger --resolution: {enough:.2g} makes less than {RESOLUTION.many_faces / 1e6:.0f} million",
        )
    if choice.faces(area) < TETRAHEDRON_FACES:
        raise UsageError(
            f"{scan.name}: resolution {choice.resolution:.3g} is coarser than the whole surface, whose area is about {area:.3g}",
            f"give a smaller --resolution: below {np.sqrt(RESOLUTION.faces_per_cell * area / TETRAHEDRON_FACES):.2g}; or leave it out",
        )


def covered_area(ready: Cloud) -> float:
    """About the area of the surface: the sum of the squared spacings of the points.

    Each spacing is limited, because the point may be a stray one.
    """
    return float(np.square(np.minimum(ready.local_spacing, RESOLUTION.max_spacings * ready.spacing)).sum())


def region_levels(ready: Cloud, config: ReconstructConfig, least: float) -> tuple[float, IntArray]:
    """The finest region size, and the level (N,) of each point: it asks for regions about 2^level times as large.

    The finest size suits the densest tenth of the scan, but it is at least `least`, in world units: the surface of smaller regions would slip
    through the lattice. Where points are sparser or noisier, regions grow in factors of two. Still denser points have a level below 0.
    """
    need = (RESOLUTION.spacings_per_unit * ready.local_spacing + RESOLUTION.noises_per_unit * ready.local_noise) / encoder_unit(
        ready.spacing, ready.noise
    )
    asked_for = float(np.quantile(need, RESOLUTION.dense_quantile))
    finest = config.region_size or max(asked_for, least)
    if finest < RESOLUTION.min_region_share * asked_for:
        log.warning("region size %.3g is far below the %.3g that the points ask for: the surface may have holes", finest, asked_for)
    above = np.log2(np.maximum(need / finest, 1e-9))  # levels above the finest
    level = np.floor(above + RESOLUTION.round_up).clip(max=RESOLUTION.highest_level).astype(np.int64)
    return finest, level


def finest_step(ready: Cloud) -> float:
    """The least lattice step of the mesh, in world units: it leaves no more faces than the number of points allows.

    Without a limit that goes by the number of points, a few sparse points that stand for most of the area would make the mesh large.
    """
    most = min(RESOLUTION.faces_per_point * len(ready.points) + RESOLUTION.extra_faces, RESOLUTION.many_faces)
    return float(np.sqrt(RESOLUTION.faces_per_cell * covered_area(ready) / most))


def spaced_apart(ready: Cloud, least: float) -> Cloud:
    """The same points, which count as at least so far apart, in world units: nothing finer is shown."""
    return replace(ready, spacing=max(ready.spacing, least), local_spacing=np.maximum(ready.local_spacing, least))


def lattice_stride(level: IntArray, steps: float) -> IntArray:
    """(N,) how many lattice steps apart the field is evaluated in regions of each level (N,).

    The result is a power of two. steps: the lattice step in finest region sizes. Evaluated are so many places a region as in the finest
    ones, and more where --resolution asks for more.
    """
    return np.asarray(2 ** np.floor(np.maximum(0, level - np.log2(max(1.0, steps / RESOLUTION.step)) + 1e-9)).astype(np.int64))


def check_numbering(scan: Scan, ready: Cloud, size: float, step: float) -> None:
    """Raises InputError where the scan spans more regions than a lattice can number.

    The cause is a wrong unit, or a stray point far away.
    """
    extent = float(np.ptp(ready.points, axis=0).max())
    small = {name: length for name, length in (("region size", size), ("resolution", step)) if extent / length > HALF}
    if small:
        lengths = " and the ".join(f"{name} {length:.3g}" for name, length in small.items())
        flags = " and ".join(f"--{name.replace(' ', '-')} {1.1 * extent / HALF:.2g}" for name in small)
        raise InputError(
            f"{scan.name}: extent {extent:.4g} is more than 2^20 times the {lengths}",
            f"check the units; or remove points far from all others; or give {flags} or more",
        )
