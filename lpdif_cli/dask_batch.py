"""Spreads the scans of a batch over a Dask cluster: scan bytes go out, mesh bytes come back, and this process alone writes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import lpdif
from lpdif.errors import ResourceError
from lpdif.text import counted
from lpdif_cli import dask_worker
from lpdif_cli.dask_client import answers, at_work
from lpdif_cli.dask_worker import Answer, Order
from lpdif_cli.failures import describe
from lpdif_cli.jobs import Batch
from lpdif_cli.outcomes import Job, Outcome, told_of

if TYPE_CHECKING:
    from distributed import Client

log = logging.getLogger("lpdif")


def over_cluster(address: str, order_of: Callable[[], Order], batch: Batch, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Reconstructs scans on the workers of a cluster, and gives the outcome of each as it is done.

    address: of the scheduler, or the JSON file that it has written. Raises UsageError without Dask, ResourceError where there is no scheduler,
    where it goes away, and where its workers cannot work for this client; and errors that would stop every scan.
    """
    if not jobs:
        return
    with at_work(address, order_of, batch.console) as (client, place, order):
        yield from spread(client, place, order, batch, jobs)


class Sent(NamedTuple):
    """A scan that is at work, and by what it will be recognised."""

    scan: Path
    target: Path
    stamp: dict[str, object]


def spread(client: Client, address: str, order: Order, batch: Batch, jobs: Sequence[Job]) -> Iterator[Outcome]:
    """Sends scans, and writes the meshes that come back."""
    from lpdif.io.read import scan_content
    from lpdif.io.write import mesh_format

    failed: list[Outcome] = []  # before they were sent

    def requests() -> Iterator[tuple[Sent, tuple[Any, ...]]]:
        for scan, target in jobs:
            try:
                sent = Sent(scan, target, batch.check(scan, target))
                content = scan_content(scan)
            except Exception as error:
                batch.console.trace(error)
                failed.append(batch.failed(scan, target, describe(error, batch.console.command), 0.0))
                continue
            yield sent, (order, scan.name, content, mesh_format(target))

    finished = 0
    for sent, answered in answers(client, address, dask_worker.answer, requests()):
        outcomes = [*failed, written(sent, answered, batch)]
        failed.clear()
        finished += len(outcomes)
        yield from outcomes
        batch.console.progress("scans", finished, len(jobs))
    yield from failed


def written(sent: Sent, answered: Answer, batch: Batch) -> Outcome:
    """Writes the mesh of an answer, and reports what was logged on the way."""
    before = len(batch.console.told)
    for level, text in answered.messages:
        log.log(level, "%s: %s", sent.scan, text.removeprefix(f"{sent.scan.name}: "))
    if answered.error is not None:
        raise answered.error
    if answered.failure is not None:
        return batch.failed(sent.scan, sent.target, answered.failure, answered.seconds)
    told = told_of(answered.faces, answered.facts, answered.seconds, batch.warnings(before))
    picture = ""
    try:
        if batch.page is not None:
            mesh = lpdif.read_scan(answered.data, sent.target.name)
            picture = batch.page.picture(sent.scan, mesh.points, mesh.faces)
        batch.write(sent.target, sent.stamp, answered.data, told)
    except Exception as error:
        failure = describe(error, batch.console.command)
        if failure.code == ResourceError.exit_code:
            raise
        batch.console.trace(error)
        return batch.failed(sent.scan, sent.target, failure, answered.seconds)
    batch.console.say(f"{sent.scan} -> {sent.target} ({counted(answered.faces, 'face')}, on {answered.where})")
    return Outcome(sent.scan, sent.target, "done", answered.faces, answered.seconds, answered.facts, told=told, picture=picture)
