"""The scans of a batch, each with its mesh: what becomes of them, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lpdif
from lpdif.errors import ModelError, ResourceError
from lpdif_cli.console import Console
from lpdif_cli.failures import Failure, describe
from lpdif_cli.outcomes import Job, Outcome, told_of, warn
from lpdif_cli.outputs import check_inside, check_mesh_output, make_folder
from lpdif_cli.records import Recipe, Record, stamp
from lpdif_cli.reports import ReportFile


@dataclass(frozen=True)
class Batch:
    """Where the meshes of a run go, and how they are made. page: its report, if there is one, which wants pictures."""

    record: Record
    how: Recipe
    console: Console
    page: ReportFile | None
    overwrite: bool

    def check(self, scan: Path, target: Path) -> dict[str, object]:
        """Checks that a mesh can be written, makes its folder, and returns by what its scan is recognised."""
        check_inside(target, self.record.folder)
        make_folder(target.parent)
        check_mesh_output(target, self.overwrite, scan)
        return stamp(scan)

    def write(self, target: Path, scan: dict[str, object], data: bytes, told: dict[str, Any]) -> None:
        """Writes the bytes of a mesh, and in the record what it was made from and what was told of it."""
        from lpdif.storage.atomic_write import write_bytes

        self.record.add(target, scan, self.how, data, told)
        write_bytes(target, data, overwrite=self.overwrite)

    def failed(self, scan: Path, target: Path, failure: Failure, seconds: float) -> Outcome:
        """The outcome for a scan that failed, with a warning."""
        outcome = Outcome(scan, target, "failed", seconds=seconds, failure=failure)
        warn(outcome, self.console)
        return outcome

    def warnings(self, before: int) -> list[str]:
        """What was warned of since the console had told so many messages."""
        return [message.text for message in self.console.told[before:] if message.warning]


def one_by_one(
    mesh_of: Callable[[lpdif.Scan], lpdif.Reconstruction],
    encoded: Callable[[lpdif.Mesh, str], bytes],
    batch: Batch,
    jobs: Sequence[Job],
) -> Iterator[Outcome]:
    """Reconstructs the scans in this process, one after the other. encoded: the bytes of a mesh in a format."""
    for number, (scan, target) in enumerate(jobs, 1):
        batch.console.say(f"{scan} ({number} of {len(jobs)})")
        yield attempt(mesh_of, encoded, scan, target, batch)


def attempt(
    mesh_of: Callable[[lpdif.Scan], lpdif.Reconstruction],
    encoded: Callable[[lpdif.Mesh, str], bytes],
    scan: Path,
    target: Path,
    batch: Batch,
) -> Outcome:
    """Reconstructs one scan of a batch.

    Any error with the scan, also a bug or a lack of memory, makes an outcome. Errors that would stop every scan (of the model or the disk)
    are raised.
    """
    from lpdif.io.write import mesh_format

    console = batch.console
    began, before = console.elapsed(), len(console.told)
    writing = False
    try:
        source = batch.check(scan, target)
        made = mesh_of(lpdif.load_scan(scan))
        data = encoded(made.mesh, mesh_format(target))
        picture = "" if batch.page is None else batch.page.picture(scan, made.mesh.vertices, made.mesh.faces)
        writing = True
        told = told_of(len(made.mesh.faces), made.facts, console.elapsed() - began, batch.warnings(before))
        batch.write(target, source, data, told)
    except ModelError:
        raise
    except Exception as error:
        failure = describe(error, console.command)
        if writing and failure.code == ResourceError.exit_code:
            raise
        console.trace(error)
        return batch.failed(scan, target, failure, console.elapsed() - began)
    return Outcome(scan, target, "done", len(made.mesh.faces), console.elapsed() - began, made.facts, told=told, picture=picture)
