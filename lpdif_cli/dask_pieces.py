"""Spreads the pieces of one scan over a Dask cluster: points and regions of a piece go out, its surface comes back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lpdif.errors import LpdifError
from lpdif_cli import dask_worker
from lpdif_cli.console import Console
from lpdif_cli.dask_client import answers, at_work, threads_of
from lpdif_cli.dask_worker import Order
from lpdif_cli.failures import Failure

if TYPE_CHECKING:
    from distributed import Client

    from lpdif.stages.piece_work import PieceSurface, PieceWork

log = logging.getLogger("lpdif")


class ClusterSpread:
    """The workers of a cluster, as those that make the pieces of a scan (`lpdif.stages.piece_work.Spread`)."""

    def __init__(self, client: Client, address: str, order: Order) -> None:
        self.client, self.address, self.order = client, address, order

    def at_once(self) -> int:
        """How many threads the workers have in all."""
        return threads_of(self.client, self.address)

    def surfaces(self, works: Iterable[PieceWork]) -> Iterator[tuple[int, PieceSurface]]:
        """The surfaces of pieces, each with its number, as they are done.

        Raises ResourceError where the scheduler goes away, or a piece ends its workers; and what stops the work on a piece.
        """
        requests: Iterator[tuple[int, tuple[Any, ...]]] = ((number, (self.order, work)) for number, work in enumerate(works))
        for number, answered in answers(self.client, self.address, dask_worker.piece, requests):
            for level, text in answered.messages:
                log.log(level, "%s", text)
            if answered.error is not None:
                raise answered.error
            if answered.failure is not None:
                raise error_of(answered.failure, answered.where)
            if answered.surface is None:
                raise AssertionError("a worker has made neither a piece nor an error")
            log.debug("a piece of %d tiles took %.1f s on %s", len(answered.surface.tiles), answered.seconds, answered.where)
            yield number, answered.surface


@contextmanager
def pieces_over(address: str, order_of: Callable[[], Order], console: Console) -> Iterator[ClusterSpread]:
    """The workers of a cluster, to make the pieces of a scan. address: of the scheduler, or the file that it has written.

    Raises UsageError without Dask, and ResourceError where there is no scheduler, or its workers cannot work for this client.
    """
    with at_work(address, order_of, console) as (client, place, order):
        yield ClusterSpread(client, place, order)


def error_of(failure: Failure, where: str) -> LpdifError:
    """The error that ends a scan because a piece of it has failed."""
    place = f" (on {where})" if where else ""
    kinds = {kind.exit_code: kind for kind in LpdifError.__subclasses__()}
    return kinds.get(failure.code, LpdifError)(f"a piece of the scan: {failure.message}{place}", failure.hint)
