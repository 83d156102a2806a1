"""`reconstruct` and `expect` as the door gives them: a scan of which no mesh can come is refused before torch, which takes seconds to load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lpdif.config import ReconstructConfig
from lpdif.points.validity import check_scan
from lpdif.types import Progress, Scan, silent

if TYPE_CHECKING:
    from lpdif.core.model import Model
    from lpdif.stages.reconstruct import Reconstruction


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
    config = config or ReconstructConfig()
    check_scan(scan, config.keep_outliers, config.region_size is not None)
    from lpdif.stages import reconstruct as stage

    return stage.reconstruct(scan, model, config, device, threads, progress)


def expect(scan: Scan, config: ReconstructConfig | None = None, threads: int = 0) -> dict[str, float | int | str]:
    """What `reconstruct` would choose for a scan, and about how many faces it would make where the scan is, without making them.

    Raises InputError for what is wrong before the first region is encoded.
    """
    config = config or ReconstructConfig()
    check_scan(scan, config.keep_outliers, config.region_size is not None)
    from lpdif.stages import resolution

    return resolution.expect(scan, config, threads)
