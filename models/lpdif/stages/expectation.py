"""What `reconstruct` would choose for a scan, and what it would take."""

from __future__ import annotations

from lpdif.config import ReconstructConfig
from lpdif.device import available_threads
from lpdif.points.classes import of_classes
from lpdif.points.validity import check_scan
from lpdif.stages.budget import divided, price_of
from lpdif.stages.cost import free_memory
from lpdif.stages.placement import placed
from lpdif.stages.resolution import choose
from lpdif.types import Scan


def expect(scan: Scan, config: ReconstructConfig | None = None, threads: int = 0) -> dict[str, float | int | str]:
    """What `reconstruct` would choose for a scan, and about how many faces it would make.

    Among the values are what the mesh would take, cpu_seconds on one core and memory_bytes, in how many pieces; disk_bytes, which a scan that
    is kept on disk takes in the folder for temporary files; and, on Linux and Windows, the free_memory_bytes there are now.

    Raises InputError for what is wrong before the first region is encoded, and ResourceError where max_memory is too little.
    """
    config = config or ReconstructConfig()
    threads = threads or available_threads()
    scan = of_classes(scan, config.classes)
    check_scan(scan, config.keep_outliers, config.region_size is not None)
    choice = choose(scan, config, threads)
    faces = choice.faces(choice.area)
    faces = min(faces, config.faces or faces)
    free = free_memory()
    places = placed(choice, config, threads)
    pieces = divided(choice, places, config, scan.name, threads)
    price = price_of(choice, places, pieces, config, threads)
    return {
        **choice.ready.facts,
        "region_size": choice.size,
        "resolution": choice.resolution,
        "faces": rounded(faces),
        "pieces": len(pieces),
        "cpu_seconds": rounded(price.seconds),
        "memory_bytes": rounded(price.memory),
        "disk_bytes": rounded(sum(array.nbytes for array in scan.arrays) - choice.scan),
        **({} if free is None else {"free_memory_bytes": rounded(free)}),
    }


def rounded(value: float) -> int:
    """An estimate to two significant digits."""
    return int(float(f"{value:.2g}"))
