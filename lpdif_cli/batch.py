"""Reconstructs several scans into a folder of meshes.

A bad scan does not stop the others, and meshes that are up to date are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import lpdif
from lpdif.errors import BatchError, LpdifError, UsageError
from lpdif.text import counted
from lpdif_cli.console import Console
from lpdif_cli.failures import Failure, describe
from lpdif_cli.inputs import Source, as_rows, expand
from lpdif_cli.jobs import Batch
from lpdif_cli.outcomes import Failures, Job, Outcome, warn
from lpdif_cli.outputs import make_folder
from lpdif_cli.records import Recipe, Record
from lpdif_cli.reports import ReportFile, batch_page
from lpdif_cli.shards import Shard
from lpdif_cli.wording import command_line, duration, table

if TYPE_CHECKING:
    from lpdif.io.folders import Skipped

# the hint for a mesh that was made from something else
HINT_MADE_OTHERWISE = "remove it to have it made anew, or pass --overwrite, which makes all of them anew"


def reconstruct_many(
    outcomes_of: Callable[[Batch, Sequence[Job]], Iterable[Outcome]],
    recipe_of: Callable[[], Recipe],
    price_of: Callable[[lpdif.Scan], dict[str, float]],
    arguments: Sequence[str],
    output: str | None,
    console: Console,
    page: ReportFile | None = None,
    ending: str = ".ply",
    *,
    overwrite: bool,
    dry_run: bool,
    shard: Shard | None = None,
) -> None:
    """Reconstructs every scan that `arguments` mean into the folder `output`, or the part of them that a shard takes.

    outcomes_of: reconstructs scans, and gives the outcome of each as it is done. ending: of the format of the meshes. Writes failed.jsonl
    and made.json there; a shard has files of its own; and the report `page` if there is one. A mesh that exists is kept; where it was not
    made from the same scan by the same recipe, its scan counts as failed. Raises BatchError where a scan failed.
    """
    if "-" in arguments:
        raise UsageError("stdin is one scan, not one of several", "run lpdif once more for it")
    if output is None or output == "-":
        first, *others = arguments
        meant = f"the mesh comes after -o: {command_line('reconstruct', first, '-o', others[0])}" if len(others) == 1 else ""
        looks_so = meant and Path(first).is_file() and not Path(others[0]).exists()
        raise UsageError("several scans need a folder to go to", meant if looks_so else "pass -o FOLDER")
    from lpdif.io.folders import real
    from lpdif.io.write import MESH_FORMATS
    from lpdif.storage.atomic_write import check_output

    folder = Path(output)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file, but several scans go to a folder", "pass -o FOLDER")
    if any(real(Path(argument)) == real(folder) for argument in arguments):
        raise UsageError(f"{folder}: the folder of the scans; meshes go to another one", f"pass -o FOLDER, as in: -o {folder / 'meshes'}")
    sources, skipped = expand(arguments, leave_out=(folder,))
    if not folder.exists() and not output.endswith("/") and folder.suffix.lower().removeprefix(".") in MESH_FORMATS:
        hint = f"pass -o FOLDER, as in: -o {folder.with_suffix('')}"
        raise UsageError(f"{folder}: named like one mesh, but several scans go to a folder", hint)
    jobs = plan(sources, folder, ending)
    if page is not None and (page.path.parent.exists() or page.path.parent != folder):
        page.check(continues=True)
    if shard is not None:
        count, jobs = len(jobs), shard.part(jobs)
        console.say(f"shard {shard}: {len(jobs)} of {counted(count, 'scan')}")
    record, how = Record(folder, shard), recipe_of()
    for damaged in record.damaged:
        console.warn(f"{damaged}: not a list of meshes; what the meshes here were made from is not known")
    waiting = [(scan, target) for scan, target in jobs if overwrite or not target.exists()]
    there = [(scan, target) for scan, target in jobs if not overwrite and target.exists()]
    earlier = [check_existing(record, scan, target, how) for scan, target in there]
    failed = [outcome for outcome in earlier if outcome.failure is not None]
    if len(earlier) > len(failed):
        kept = len(earlier) - len(failed)
        console.say(f"{kept} of {counted(len(jobs), 'scan')} done already and kept; --overwrite does it all again")
    for outcome in failed:
        warn(outcome, console)
    if dry_run:
        tell_plan(waiting, failed, price_of, folder, len(jobs), skipped, console)
        return
    make_folder(folder)
    if page is not None:
        page.check(continues=True)
    failures = Failures(folder, shard)
    for path in (failures.path, record.path):
        check_output(path, overwrite=True)
    failures.write(failed)
    again = "run it again without --overwrite" if overwrite else "run the same command again"
    console.stop_hint = f"{again}: scans that are done are skipped"
    done = []
    for outcome in outcomes_of(Batch(record, how, console, page, overwrite), waiting):
        done.append(outcome)
        if outcome.failure is not None:
            failed.append(outcome)
            failures.write(failed)
        if page is not None:
            made = {outcome.output for outcome in done}
            left = [job for job in waiting if job[1] not in made]
            page.keep_up(partial(batch_page, page, folder, [*earlier, *done], skipped, left))
    order = {target: place for place, (_, target) in enumerate(waiting)}
    done.sort(key=lambda outcome: order[outcome.output])  # a cluster has them done in any order
    outcomes = [*earlier, *done]
    if page is not None:
        page.write(batch_page(page, folder, outcomes, skipped))
    finish(outcomes, folder, failures.path, console, skipped, page)


def tell_plan(
    waiting: Sequence[Job],
    failed: list[Outcome],
    price_of: Callable[[lpdif.Scan], dict[str, float]],
    folder: Path,
    count: int,
    skipped: Sequence[Skipped],
    console: Console,
) -> None:
    """Prints what a run would make of the scans that wait, and what it would take. Reads them, and computes nothing.

    Raises BatchError where some of the `count` scans would fail.
    """
    from lpdif.stages.cost import cost_in_words

    expected: list[dict[str, object]] = []
    seconds = memory = 0.0
    for scan, target in waiting:
        try:
            loaded = lpdif.load_scan(scan)
            price = price_of(loaded)
        except LpdifError as error:
            failed.append(Outcome(scan, target, "failed", failure=describe(error, console.command)))
            warn(failed[-1], console)
            continue
        seconds, memory = seconds + price["cpu_seconds"], max(memory, price["memory_bytes"])
        rounded = {name: int(float(f"{value:.2g}")) for name, value in price.items()}
        expected.append({"scan": str(scan), "output": str(target), "points": len(loaded.points), **rounded})
    takes = f": {cost_in_words(seconds, memory)}" if expected else ""
    console.say(f"would make {counted(len(expected), 'mesh', 'meshes')} in {folder}{takes}; nothing was written")
    document = {"dry_run": True, "scans": [row["scan"] for row in expected], "outputs": [row["output"] for row in expected]}
    total = {"cpu_seconds": int(seconds), "memory_bytes": int(memory)}
    rest = {"expected": expected, "total": total, "failed": [outcome.document() for outcome in failed], "skipped": as_rows(skipped)}
    console.result({**document, **rest}, *(Path(str(row["output"])) for row in expected))
    if failed:
        made_otherwise = any(outcome.failure is not None and outcome.failure.hint == HINT_MADE_OTHERWISE for outcome in failed)
        raise BatchError(f"{len(failed)} of {counted(count, 'scan')} would fail", HINT_MADE_OTHERWISE if made_otherwise else "see above")


def check_existing(record: Record, scan: Path, target: Path, how: Recipe) -> Outcome:
    """The outcome for a mesh that exists already."""
    why = record.difference(target, scan, how)
    if not why:
        return Outcome(scan, target, "kept", told=record.told(target))
    return Outcome(scan, target, "failed", failure=Failure(f"{target}: exists already, and {why}", HINT_MADE_OTHERWISE, UsageError.exit_code))


def plan(sources: Sequence[Source], folder: Path, ending: str) -> list[tuple[Path, Path]]:
    """The mesh file of each scan. ending: of its format.

    Where two scans would have the same, its name keeps the ending of the scan: a.ply, a.obj.ply. Raises UsageError where two scans have the
    same even so.
    """
    stems = [source.below.with_suffix("") for source in sources]
    jobs: dict[Path, Path] = {}
    for source, stem in zip(sources, stems, strict=True):
        name = source.below.name if stems.count(stem) > 1 else stem.name
        target = folder / source.below.parent / f"{name}{ending}"
        if target in jobs:
            raise UsageError(f"{jobs[target]} and {source.path} would both become {target}", "give their common folder instead")
        jobs[target] = source.path
    return [(scan, target) for target, scan in jobs.items()]


def finish(
    outcomes: Sequence[Outcome],
    folder: Path,
    reasons: Path,
    console: Console,
    skipped: Sequence[Skipped] = (),
    page: ReportFile | None = None,
) -> None:
    """Prints the table and the result, with the files that were skipped. reasons: the list of failures.

    Raises BatchError where a scan failed.
    """
    failed = [outcome for outcome in outcomes if outcome.failure is not None]
    for line in table([["scan", "state", "faces", "time"], *(row(outcome) for outcome in outcomes)], right=[2, 3]):
        console.say(line)
    written = [outcome for outcome in outcomes if outcome.state == "done"]
    kept = len(outcomes) - len(written) - len(failed)
    rest = "".join(f", {count} {word}" for count, word in ((kept, "kept"), (len(failed), "failed")) if count)
    console.say(f"wrote {counted(len(written), 'mesh', 'meshes')} to {folder} in {duration(console.elapsed())}{rest}")
    if written:
        console.next("inspect", str(written[0].output))
    document: dict[str, object] = {"folder": str(folder), "scans": [outcome.document() for outcome in outcomes], "skipped": as_rows(skipped)}
    document |= {} if page is None else {"report": str(page.path)}
    console.result(document, *(o.output for o in outcomes if o.failure is None))
    if failed:
        hint = f"the reasons are in {reasons}" + ("; the others are done" if len(failed) < len(outcomes) else "")
        if any(outcome.failure is not None and outcome.failure.hint == HINT_MADE_OTHERWISE for outcome in failed):
            hint += f"; a mesh made otherwise: {HINT_MADE_OTHERWISE}"
        raise BatchError(f"{len(failed)} of {counted(len(outcomes), 'scan')} failed", hint)


def row(outcome: Outcome) -> list[str]:
    """A row of the table."""
    faces = f"{outcome.faces:,}" if outcome.state == "done" else ""
    time = duration(outcome.seconds) if outcome.seconds else ""  # 0: it was not tried
    return [str(outcome.scan), outcome.state, faces, time]
