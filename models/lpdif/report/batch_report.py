"""The report of a batch: a table of all scans with a picture of each mesh, what failed and why, and totals."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from lpdif.report.page import Run, about_run, key_figures, number, page, safe, table, warning_box
from lpdif.text import counted

SKIPPED_NAMED = 20  # Of the files in a folder that were skipped for one reason, so many are named.


class BatchRow(NamedTuple):
    """A scan of a batch.

    state      done, kept (made by an earlier run), failed or waiting (still to be made)
    picture    address of a thumbnail; "" where there is none
    points, faces, open_loops, noise (in spacings), seconds: as recorded when the mesh was made; None where that is not known
    error      why it failed, and what to do
    """

    scan: str
    output: str
    state: str
    picture: str = ""
    points: int | None = None
    faces: int | None = None
    open_loops: int | None = None
    noise: float | None = None
    seconds: float | None = None
    warnings: Sequence[str] = ()
    error: str = ""


def batch_report(
    run: Run, folder: str, rows: Sequence[BatchRow], skipped: Sequence[tuple[str, str]] = (), warnings: Sequence[str] = ()
) -> bytes:
    """The page of a batch into `folder`. skipped: (file, reason) of those that are no scans; warnings: those that concern no single scan."""
    states = Counter(row.state for row in rows)
    waiting = states["waiting"]
    unfinished = [f"{counted(waiting, 'scan')} of {number(len(rows))} still to be made: the run goes on, or was stopped"] if waiting else []
    faces = [row.faces for row in rows if row.state != "failed" and row.faces is not None]
    seconds = sum(row.seconds or 0.0 for row in rows if row.state == "done")
    figures = [
        ("scan" if len(rows) == 1 else "scans", number(len(rows))),
        ("meshes made now", number(states["done"])),
        ("kept from earlier runs", number(states["kept"])),
        ("failed", number(states["failed"])),
        ("faces in all meshes", number(sum(faces))),
        ("time of this run", f"{run.seconds:.1f} s"),
    ]
    body = key_figures(figures) + warning_box([*unfinished, *warnings])
    body += warning_box([f"{row.scan}: {row.error}" for row in rows if row.state == "failed"], "failures")
    head = ["", "scan", "state", "points used", "faces", "open loops", "noise, in spacings", "time", "warnings"]
    total = [
        "",
        f"<b>{number(len(rows))} in all</b>",
        "",
        number(sum(row.points or 0 for row in rows)),
        number(sum(faces)),
        "",
        "",
        f"{seconds:.1f} s",
        "",
    ]
    body += f"<h2>Scans</h2>{table(head, [*map(_cells, rows), total], right=[3, 4, 5, 6, 7], kind='wide')}"
    body += f'<p class="pale">The meshes are in {safe(folder)}. The time in all is that of the meshes made now.</p>'
    if skipped:
        reasons: dict[str, list[str]] = {}
        for file, reason in skipped:
            reasons.setdefault(reason, []).append(file)
        lines = [(safe(reason), number(len(files)), safe(_named(files))) for reason, files in reasons.items()]
        body += f"<h2>Files that were skipped</h2>{table(('as', 'files', ''), lines, right=[1])}"
    return page(f"{folder}: {counted(len(rows), 'scan')} to {'a mesh' if len(rows) == 1 else 'meshes'}", run, body + about_run(run))


def _cells(row: BatchRow) -> list[str]:
    """The cells of a scan in the table."""
    bad = row.state == "failed"
    picture = f'<img class="thumb" src="{row.picture}" alt="" loading="lazy">' if row.picture else ""
    names = f'{safe(row.scan)}<br><span class="pale">{safe(row.output)}</span>'
    words = [f'<span class="warn">{safe(text)}</span>' for text in row.warnings] + (
        [f'<span class="bad">{safe(row.error)}</span>'] if bad else []
    )
    noise = "" if row.noise is None or not math.isfinite(row.noise) else f"{row.noise:.2f}"
    time = "" if row.seconds is None else f"{row.seconds:.1f} s"
    state = f'<span class="bad">{row.state}</span>' if bad else row.state
    return [picture, names, state, _count(row.points), _count(row.faces), _count(row.open_loops), noise, time, "<br>".join(words)]


def _count(value: int | None) -> str:
    return "" if value is None else number(value)


def _named(files: Sequence[str]) -> str:
    """The names of the first files, and how many more there are."""
    more = f" and {number(len(files) - SKIPPED_NAMED)} more" if len(files) > SKIPPED_NAMED else ""
    return ", ".join(files[:SKIPPED_NAMED]) + more
