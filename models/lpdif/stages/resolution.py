"""What reconstruct settles before the first region is encoded: sizes of regions and triangles, from the points or from the settings."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.config import ReconstructConfig
from lpdif.core.encode import encoder_unit
from lpdif.device import available_threads
from lpdif.errors import InputError, UsageError
from lpdif.lattice_keys import HALF
from lpdif.points.cloud import Cloud
from lpdif.points.prepare import prepare
from lpdif.points.validity import check_scan
from lpdif.stages.cost import Cost, cost, free_memory, tell
from lpdif.types import Scan

log = logging.getLogger("lpdif")

SPACINGS = 1.6  # unit of the encoder: spacings between points
NOISES = 3.0  # and standard deviations of their noise, added

TOO_SMALL = 0.6  # a --region-size below this share of what the points ask for leaves holes
STEP = 0.38  # lattice step of the mesh, in region sizes,
COARSEST = 0.8  # and at most, or it misses the surface: a coarser mesh is a simplified one
FACES_A_CELL = 2.6  # a lattice of step h cuts a surface of area A into about so many times A / h^2 faces
FACES = 4.6  # as long as there are no more than so many faces a point,
FEW_FACES = 100_000  # and this many, which even a small scan may have,
MANY_FACES = 2e7  # in all; what more take is a warning,
MOST_FACES = 2e8  # from so many on an error
FARTHEST = 32.0  # points that stand farther apart than this many typical spacings do not count in that
FEWEST = 4  # faces of a surface
HIGHEST = 6  # level of regions


class Choice(NamedTuple):
    """The points, the finest region size, the level of each point's regions (N,), the lattice step of the mesh, and the resolution asked for,
    which is larger where the mesh is to be simplified to it."""

    ready: Cloud
    size: float
    level: NDArray[np.int64]
    step: float
    resolution: float

    def faces(self, area: float) -> float:
        """About how many faces a surface of this area will have."""
        return FACES_A_CELL * area / self.resolution / self.resolution

    def cost(self, config: ReconstructConfig) -> Cost:
        """About what the mesh takes to be made, before it is simplified."""
        return cost(FACES_A_CELL * covered_area(self.ready) / self.step / self.step, len(self.ready.points), config.watertight)


def choose(scan: Scan, config: ReconstructConfig, threads: int) -> Choice:
    """All that is settled before the first region is encoded.

    Raises InputError for a scan, or settings, of which nothing good can come, UsageError for a resolution that leaves no face.
    """
    ready = prepare(scan, sensor=config.sensor, keep_outliers=config.keep_outliers, seed=config.seed, threads=threads)
    size, level = region_levels(ready, config)
    automatic = mesh_step(ready, size)
    resolution = config.resolution or automatic
    choice = Choice(ready, size, level, min(resolution, max(automatic, COARSEST * size)), resolution)
    log.info("region size %.4g (spacing %.3g, noise %.2g), mesh resolution %.3g", size, ready.spacing, ready.noise, resolution)
    check_numbering(scan, ready, size, choice.step)
    if config.resolution is not None:
        check_faces(scan, choice)
    tell(choice.cost(config), scan.name, MANY_FACES)
    return choice


def check_faces(scan: Scan, choice: Choice) -> None:
    """Raises InputError where the resolution asked for makes too many faces, UsageError where it leaves too few."""
    area = covered_area(choice.ready)
    if choice.faces(area) > MOST_FACES:
        enough = 1.05 * np.sqrt(FACES_A_CELL * area / MANY_FACES)
        raise InputError(
            f"{scan.name}: resolution {choice.resolution:.3g} would make some {choice.faces(area) / 1e6:,.0f} million faces",
            f"give a larger --resolution: {enough:.2g} makes less than {MANY_FACES / 1e6:.0f} million",
        )
    if choice.faces(area) < FEWEST:
        raise UsageError(
            f"{scan.name}: resolution {choice.resolution:.3g} is coarser than the whole surface, whose area is about {area:.3g}",
            f"give a smaller --resolution: below {np.sqrt(FACES_A_CELL * area / FEWEST):.2g}; or leave it out",
        )


def expect(scan: Scan, config: ReconstructConfig | None = None, threads: int = 0) -> dict[str, float | int | str]:
    """What `reconstruct` would choose for a scan, and about how many faces it would make where the scan is, without making them.

    With them go what that takes: cpu_seconds, on one core, and memory_bytes; and free_memory_bytes, those that are free now, where the system
    tells (Linux and Windows do).

    Raises InputError for what is wrong before the first region is encoded.
    """
    config = config or ReconstructConfig()
    check_scan(scan, config.keep_outliers, config.region_size is not None)
    choice = choose(scan, config, threads or available_threads())
    faces = choice.faces(covered_area(choice.ready))
    faces = min(faces, config.faces or faces)
    price, free = choice.cost(config), free_memory()
    return {
        **choice.ready.facts,
        "region_size": choice.size,
        "resolution": choice.resolution,
        "faces": rounded(faces),
        "cpu_seconds": rounded(price.seconds),
        "memory_bytes": rounded(price.memory),
        **({} if free is None else {"free_memory_bytes": rounded(free)}),
    }


def rounded(value: float) -> int:
    """An estimate, to two digits."""
    return int(float(f"{value:.2g}"))


def covered_area(ready: Cloud) -> float:
    """About the area of the surface, in which each point stands for its spacing squared; stray ones not for more than FARTHEST."""
    return float(np.square(np.minimum(ready.local_spacing, FARTHEST * ready.spacing)).sum())


def region_levels(ready: Cloud, config: ReconstructConfig) -> tuple[float, NDArray[np.int64]]:
    """The finest region size, and the level (N,) of each point: its regions are 2^level times as large.

    A region's unit is SPACINGS spacings, and NOISES standard deviations of the noise more, so that it averages the noise out. Where
    the scan is sparser than in its densest tenth, regions grow in factors of two.
    """
    need = (SPACINGS * ready.local_spacing + NOISES * ready.local_noise) / encoder_unit(ready.spacing, ready.noise)
    asked_for = float(np.quantile(need, 0.1) * 1.1)
    finest = config.region_size or asked_for
    if finest < TOO_SMALL * asked_for:
        log.warning("region size %.3g is far below the %.3g that the points ask for: the surface may have holes", finest, asked_for)
    level = np.floor(np.log2(np.maximum(need / finest, 1e-9)) + 0.35).clip(0, HIGHEST).astype(np.int64)
    return finest, level


def mesh_step(ready: Cloud, size: float) -> float:
    """Lattice step of the mesh: STEP region sizes, but so that it has no more than about FACES faces a point.

    Where a few points stand for most of the area, it is they that would make the mesh large, not the detail.
    """
    most = min(FACES * len(ready.points) + FEW_FACES, MANY_FACES)
    return max(size * STEP, float(np.sqrt(FACES_A_CELL * covered_area(ready) / most)))


def lattice_stride(level: NDArray[np.int64], steps: float) -> NDArray[np.int64]:
    """(N,) power of two: how many lattice steps apart the field of regions of each level (N,) is asked for; steps: h in finest region sizes.

    STEP regions apart, as everywhere; but what has been asked for by a finer --resolution is computed.
    """
    return np.asarray(2 ** np.floor(np.maximum(0, level - np.log2(max(1.0, steps / STEP)) + 1e-9)).astype(np.int64))


def check_numbering(scan: Scan, ready: Cloud, size: float, step: float) -> None:
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
