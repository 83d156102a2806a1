"""How many pieces a scan is made in, by the memory that there is."""

from __future__ import annotations

import logging

import numpy as np

from lpdif.config import ReconstructConfig
from lpdif.errors import ResourceError
from lpdif.stages.cost import MEMORY, Cost, Work, free_memory, report_cost
from lpdif.stages.pieces import Piece, pieces_of
from lpdif.stages.placement import Places
from lpdif.stages.resolution import RESOLUTION, Choice
from lpdif.text import counted, size

log = logging.getLogger("lpdif")


def divided(choice: Choice, places: Places, config: ReconstructConfig, name: str, threads: int) -> list[Piece]:
    """The pieces of a scan, as large as memory allows; what a large mesh will cost is logged.

    Without max_memory, the process may take a share of what is free now. Raises ResourceError where max_memory is too little for any pieces.
    """
    work = work_of(choice, places, config, threads)
    free = free_memory()
    limit = config.max_memory or (np.inf if free is None else work.held + MEMORY.free_share * free)
    pieces = cut(places, work.room(limit))
    price = price_of(choice, places, pieces, config, threads)
    if config.max_memory is not None and price.memory > config.max_memory:
        least = price_of(choice, places, cut(places, 1), config, threads).memory
        raise ResourceError(
            f"{name}: takes at least {size(least)} of memory, and --max-memory is {size(config.max_memory)}",
            f"give --max-memory {10 * np.ceil(least / 1e7):.0f}M, or a larger --resolution",
        )
    report_cost(price, name, RESOLUTION.many_faces)
    if len(pieces) > 1:
        log.info("%s of %s, made one after the other", counted(len(pieces), "piece"), counted(places.regions, "region"))
    return pieces


def cut(places: Places, most: float) -> list[Piece]:
    """The pieces with at most so many regions each, or of one tile."""
    return pieces_of(places.lattices, places.search.tiles, places.search.step * places.search.tile, most)


def work_of(choice: Choice, places: Places, config: ReconstructConfig, threads: int) -> Work:
    """What is to be done for a mesh."""
    seen = sum(visible.tree.n for visible in places.visible if visible.tree is not places.coverage.tree)
    estimated = choice.ready.facts["normals"] == "estimated"
    return Work(len(choice.ready.points), places.regions, choice.fine_faces, config.watertight, threads, choice.scan, seen, estimated)


def price_of(choice: Choice, places: Places, pieces: list[Piece], config: ReconstructConfig, threads: int) -> Cost:
    """About what it takes to make the mesh in these pieces, before it is simplified."""
    return work_of(choice, places, config, threads).cost(max(len(piece.regions) for piece in pieces))
