"""Reconstructs several scans into a folder of meshes.

A bad scan does not stop the others, and meshes that are up to date are kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import lpdif
from lpdif.errors import BatchError, LpdifError, ModelError, ResourceError, UsageError
from lpdif.text import counted
from lpdif_cli.console import Console
from lpdif_cli.failures import Failure, describe
from lpdif_cli.inputs import Source, as_rows, expand
from lpdif_cli.outputs import check_inside, check_mesh_output, make_folder
from lpdif_cli.records import RECORD_NAME, Recipe, Record, stamp
from lpdif_cli.wording import command_line, duration, table

if TYPE_CHECKING:
    from lpdif.io.folders import Skipped

FAILED = "failed.jsonl"
# the hint for a mesh that was made from something else
HINT_MADE_OTHERWISE = "remove it to have it made anew, or pass --overwrite, which makes all of them anew"


@dataclass
class Outcome:
    """The result for one scan. state: done, kept (made by an earlier run) or failed."""

    scan: Path
    output: Path
    state: str
    faces: int = 0
    seconds: float = 0.0
    facts: dict[str, float | int | str] = field(default_factory=dict)
    failure: Failure | None = None

    def document(self) -> dict[str, object]:
        """The outcome as a document, for --json and failed.jsonl."""
        if self.failure is not None:
            error = {"message": self.failure.message, "hint": self.failure.hint, "exit_code": self.failure.code}
            return {"input": str(self.scan), "state": self.state, "error": error}
        made = {"faces": self.faces, "seconds": round(self.seconds, 3), "facts": self.facts} if self.state == "done" else {}
        return {"input": str(self.scan), "output": str(self.output), "state": self.state, **made}


def reconstruct_many(
    mesh_of: Callable[[lpdif.Scan], lpdif.Reconstruction],
    encoded: Callable[[lpdif.Mesh, str], bytes],
    recipe_of: Callable[[], Recipe],
    price_of: Callable[[lpdif.Scan], dict[str, float]],
    arguments: Sequence[str],
    output: str | None,
    console: Console,
    *,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Reconstructs every scan that `arguments` mean into the folder `output`.

    Writes failed.jsonl and made.json there. A mesh that exists is kept; where it was not made from the same scan by the same recipe, its scan
    counts as failed. Raises BatchError where a scan failed.
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
    jobs = plan(sources, folder)
    record, how = Record(folder), recipe_of()
    if record.damaged:
        console.warn(f"{record.path}: not a list of meshes; what the meshes here were made from is not known")
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
    for name in (FAILED, RECORD_NAME):
        check_output(folder / name, overwrite=True)
    write_failed(folder, failed)
    again = "run it again without --overwrite" if overwrite else "run the same command again"
    console.stop_hint = f"{again}: scans that are done are skipped"
    done = []
    for number, (scan, target) in enumerate(waiting, 1):
        console.say(f"{scan} ({number} of {len(waiting)})")
        done.append(attempt(mesh_of, encoded, scan, target, record, how, console, overwrite))
        if done[-1].failure is not None:
            failed.append(done[-1])
            write_failed(folder, failed)
    finish([*earlier, *done], folder, console, skipped)


def tell_plan(
    waiting: Sequence[tuple[Path, Path]],
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
        return Outcome(scan, target, "kept")
    return Outcome(scan, target, "failed", failure=Failure(f"{target}: exists already, and {why}", HINT_MADE_OTHERWISE, UsageError.exit_code))


def warn(outcome: Outcome, console: Console) -> None:
    """Warns about a scan that failed."""
    if outcome.failure is not None:
        console.warn(f"{outcome.scan} failed: {outcome.failure.message}")


def write_failed(folder: Path, failed: Sequence[Outcome]) -> None:
    """Writes failed.jsonl; removes it where no scan has failed."""
    from lpdif.storage.atomic_write import write_bytes

    if failed:
        write_bytes(folder / FAILED, "".join(json.dumps(o.document()) + "\n" for o in failed).encode(), overwrite=True)
    else:
        (folder / FAILED).unlink(missing_ok=True)


def plan(sources: Sequence[Source], folder: Path) -> list[tuple[Path, Path]]:
    """The mesh file of each scan.

    Where two scans would have the same, its name keeps the ending of the scan: a.ply, a.obj.ply. Raises UsageError where two scans have the
    same even so.
    """
    stems = [source.below.with_suffix("") for source in sources]
    jobs: dict[Path, Path] = {}
    for source, stem in zip(sources, stems, strict=True):
        name = source.below.name if stems.count(stem) > 1 else stem.name
        target = folder / source.below.parent / f"{name}.ply"
        if target in jobs:
            raise UsageError(f"{jobs[target]} and {source.path} would both become {target}", "give their common folder instead")
        jobs[target] = source.path
    return [(scan, target) for target, scan in jobs.items()]


def attempt(
    mesh_of: Callable[[lpdif.Scan], lpdif.Reconstruction],
    encoded: Callable[[lpdif.Mesh, str], bytes],
    scan: Path,
    target: Path,
    record: Record,
    how: Recipe,
    console: Console,
    overwrite: bool,
) -> Outcome:
    """Reconstructs one scan of a batch, whose meshes lie below the folder of `record`.

    Any error with the scan, also a bug or a lack of memory, makes an outcome. Errors that would stop every scan (of the model or the disk)
    are raised.
    """
    from lpdif.io.write import mesh_format
    from lpdif.storage.atomic_write import write_bytes

    began = console.elapsed()
    writing = False
    try:
        check_inside(target, record.folder)
        make_folder(target.parent)
        check_mesh_output(target, overwrite, scan)
        source = stamp(scan)
        made = mesh_of(lpdif.load_scan(scan))
        data = encoded(made.mesh, mesh_format(target))
        writing = True
        record.add(target, source, how, data)
        write_bytes(target, data, overwrite=overwrite)
    except ModelError:
        raise
    except Exception as error:
        failure = describe(error, console.command)
        if writing and failure.code == ResourceError.exit_code:
            raise
        console.trace(error)
        outcome = Outcome(scan, target, "failed", seconds=console.elapsed() - began, failure=failure)
        warn(outcome, console)
        return outcome
    return Outcome(scan, target, "done", len(made.mesh.faces), console.elapsed() - began, made.facts)


def finish(outcomes: Sequence[Outcome], folder: Path, console: Console, skipped: Sequence[Skipped] = ()) -> None:
    """Prints the table and the result, with the files that were skipped.

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
    console.result(document, *(o.output for o in outcomes if o.failure is None))
    if failed:
        hint = f"the reasons are in {folder / FAILED}" + ("; the others are done" if len(failed) < len(outcomes) else "")
        if any(outcome.failure is not None and outcome.failure.hint == HINT_MADE_OTHERWISE for outcome in failed):
            hint += f"; a mesh made otherwise: {HINT_MADE_OTHERWISE}"
        raise BatchError(f"{len(failed)} of {counted(len(outcomes), 'scan')} failed", hint)


def row(outcome: Outcome) -> list[str]:
    """A row of the table."""
    faces = f"{outcome.faces:,}" if outcome.state == "done" else ""
    time = duration(outcome.seconds) if outcome.seconds else ""  # 0: it was not tried
    return [str(outcome.scan), outcome.state, faces, time]
