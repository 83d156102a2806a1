"""`lpdif cluster`: groups the codes of a fit into patterns."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

import lpdif
from lpdif.errors import UsageError
from lpdif.storage.lock import check_not_locked
from lpdif.text import counted
from lpdif_cli import options
from lpdif_cli.cards import read_fit_state, resume_words
from lpdif_cli.console import Console
from lpdif_cli.devices import check_device
from lpdif_cli.settings import given, resolve, same_place
from lpdif_cli.wording import duration, figure, table


def cluster(
    context: typer.Context,
    patterns: options.Patterns = None,
    sweep: Annotated[str | None, typer.Option(metavar="K,K,...", help="Also score these numbers of patterns.")] = None,
    workspace: options.Workspace = None,
    samples: options.Samples = None,
    device: options.Device = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    config: options.Config = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif cluster --patterns 8 --sweep 2,4,8,16

    Groups the codes of a fit into patterns again, and draws a gallery of the most
    typical regions of each. The next `lpdif fit --resume` repeats the pattern stage
    with these patterns, also after a finished fit; until then its model stays.

    Patterns are the forms of regions (smooth, edges, corners); where more are asked
    for, smooth regions are grouped by their codes.

    The table lists for each pattern: its name, its share of the regions, its error
    near the surface in region sizes (- where it has no held-out region), its
    flatness (1 is a plane) and the density of its codes: the mean of
    exp(-d^2 / 2 b^2) over the distances d between two of them, which is 1 where all
    are equal; b is the median distance, averaged over the patterns. The score of a
    number of patterns is the silhouette score: 1 means that they are well separated.

    Usage: lpdif cluster [OPTIONS]
    """
    console: Console = context.obj
    console.setup("cluster", as_json=json, quiet=quiet, verbose=verbose)
    flags = {
        "cluster.patterns": patterns,
        "cluster.sweep": sweep,
        "workspace": workspace,
        "device": device,
        "seed": seed,
        "threads": threads,
    }
    chosen = resolve("cluster", flags, config)
    console.where = same_place(chosen, config)
    check_device(chosen.config.device)
    place = Path(chosen.config.workspace)
    gallery = lpdif.Workspace(place).gallery
    if not overwrite:
        check_not_locked(place)
        if gallery.exists():
            raise UsageError(f"{gallery}: already there", "pass --overwrite to group the codes anew")
    if dry_run:
        console.say(f"would group the codes of {place} into {counted(chosen.config.cluster.patterns, 'pattern')}; nothing was done")
        console.result({"dry_run": True, "workspace": str(place), **dataclasses.asdict(chosen.config.cluster)}, place)
        return
    lpdif.use_threads(chosen.config.threads)
    report = lpdif.cluster(
        place, chosen.config.cluster, chosen.config.device, progress=console.progress, samples=None if samples is None else Path(samples)
    )
    rows = [dataclasses.asdict(row) for row in report.rows]
    columns = [name for name in rows[0] if name != "form"]  # which the name says
    numbers = [i for i, name in enumerate(columns) if name != "name"]
    lines = table([columns, *([_short(row[name]) for name in columns] for row in rows)], right=numbers)
    if report.sweep:
        lines += ["", *table([("patterns", "score"), *((str(k), f"{score:.4f}") for k, score in report.sweep)], right=[0, 1])]
    console.say(f"wrote {report.gallery}: {counted(len(rows), 'pattern')} in {duration(console.elapsed())}")
    console.next(*resume_words(read_fit_state(lpdif.Workspace(place).snapshot, place), console.where), *given("--samples", samples))
    console.result({"patterns": rows, "sweep": report.sweep, "gallery": str(report.gallery)}, *lines)


def _short(value: object) -> str:
    """A value as a cell of the table."""
    return figure(value, 3) if isinstance(value, float) else str(value)
