"""`lpdif preprocess`: makes training samples of scans and meshes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lpdif
from lpdif.errors import BatchError, InputError, UsageError
from lpdif.io.fingerprints import dropped
from lpdif.storage.lock import check_not_locked
from lpdif.storage.workspace import Shard
from lpdif.text import counted
from lpdif_cli import completion, options
from lpdif_cli.console import Console
from lpdif_cli.inputs import as_rows, expand
from lpdif_cli.settings import resolve, same_place
from lpdif_cli.wording import duration


def preprocess(
    context: typer.Context,
    scans: Annotated[list[str], typer.Argument(metavar="SCANS", hidden=True, autocompletion=completion.scans)],
    workspace: options.Workspace = None,
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
    lpdif preprocess scans/

    Makes training samples of scans and meshes: closed meshes give exact signed
    distances; open meshes and points are used as scans. A file that cannot be used
    is left out with a message, and does not stop the others. Of files with the same
    content only one is used.

    Usage: lpdif preprocess SCANS... [OPTIONS]

    SCANS are files, folders or 'globs/*.ply'. Run it again after an interruption,
    or with more scans: samples that are up to date are kept.
    """
    console: Console = context.obj
    console.setup("preprocess", as_json=json, quiet=quiet, verbose=verbose)
    chosen = resolve("preprocess", {"workspace": workspace, "seed": seed, "threads": threads}, config)
    console.where = same_place(chosen, config)
    console.stop_hint = "run the same command again: samples that are done are kept"
    place = lpdif.Workspace(chosen.config.workspace)
    sources, others = expand(scans, leave_out=(place.root, place.samples))
    paths = [source.path for source in sources]
    if not overwrite:
        check_kept(place, paths, console)
    if dry_run:
        console.say(f"would read {counted(len(paths), 'file')} and write samples to {place.samples}; nothing was done")
        document = {"dry_run": True, "workspace": str(place.root), "scans": [str(p) for p in paths], "skipped": as_rows(others)}
        console.result(document, *paths)
        return
    report = lpdif.preprocess(paths, place.root, chosen.config.preprocess, threads=chosen.config.threads, progress=console.progress)
    as_scans = report.kept - report.closed
    console.say(f"{counted(report.kept, 'scan')}: {report.closed:,} closed, {as_scans:,} as {'a scan' if as_scans == 1 else 'scans'}")
    what = f"{counted(report.regions, 'region')} of {counted(report.kept, 'scan')}"
    already = f", {report.reused:,} of them from before" if report.reused else ""
    console.say(f"wrote {place.samples}: {what}{already} in {duration(console.elapsed())}")
    console.next("fit", "--patterns", str(chosen.config.fit.patterns), *console.where)
    left_out = [{"scan": scan, "reason": reason} for scan, reason in report.left_out]
    counts = {"kept": report.kept, "closed": report.closed, "as_scans": as_scans, "reused": report.reused, "regions": report.regions}
    skipped = as_rows(others) + [{"scan": scan, "reason": reason} for scan, reason in report.skipped]
    console.result({"workspace": str(place.root), **counts, "left_out": left_out, "skipped": skipped}, place.samples)
    if left_out:
        raise BatchError(f"{len(left_out)} of {counted(len(paths), 'file')} left out", "the reasons are above; the others are done")


def check_kept(place: lpdif.Workspace, paths: list[Path], console: Console) -> None:
    """Raises UsageError where samples of scans that are not among `paths` would be dropped.

    Raises BusyError where another run is at work. Where the manifest is damaged, it warns: the manifest is made anew.
    """
    check_not_locked(place.root)
    if not place.manifest.exists():
        return
    try:
        earlier = place.read_manifest().kept
    except InputError as error:
        console.warn(f"{error.message}; it is made anew, of these scans alone")
        return
    lost = dropped(earlier, paths)
    if lost:
        named = f"{name_of(lost[0])}, ..." if lost[1:] else name_of(lost[0])
        raise UsageError(
            f"{place.samples}: holds samples of {counted(len(lost), 'other scan')} ({named}), which would be dropped",
            "pass --overwrite to drop them, give those scans too, or take another folder with --workspace",
        )


def name_of(shard: Shard) -> str:
    """The path of the scan of a shard, relative to the current folder where it lies below that."""
    if not shard.place:
        return shard.source
    path, here = Path(shard.place), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
