"""`lpdif view`: writes a page that shows a mesh, and the scan that it was made from."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

import lpdif
from lpdif.errors import InputError, UsageError
from lpdif.text import counted, size
from lpdif_cli import completion, options
from lpdif_cli.console import Console
from lpdif_cli.records import made_with
from lpdif_cli.settings import resolve
from lpdif_cli.wording import command_line, duration

ENDINGS = (".html", ".htm")


def view(
    context: typer.Context,
    mesh: Annotated[Path, typer.Argument(metavar="MESH", hidden=True, readable=False, autocompletion=completion.scans)],
    scan: Annotated[Path | None, typer.Argument(metavar="SCAN", hidden=True, readable=False, autocompletion=completion.scans)] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="PAGE", help="HTML file to write [MESH.html].")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
    up: options.Up = None,
    threads: options.Threads = None,
    config: options.Config = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif view mesh.ply scan.ply -o page.html

    Writes one HTML file that shows a mesh in any browser, offline: its faces, its
    edges and the points of the scan; colours of the scan, confidence, pattern, and
    the distances of mesh and scan; a section, a ruler, and the facts of the mesh. A
    mesh of more than 200,000 faces is simplified for the page, and says so there.

    Usage: lpdif view MESH [SCAN] [-o PAGE] [OPTIONS]
    """
    from lpdif.storage.atomic_write import check_output, write_bytes

    console: Console = context.obj
    console.setup("view", as_json=json, quiet=quiet, verbose=verbose)
    chosen = resolve(None, {"threads": threads}, config).config
    target = output or mesh.with_suffix(ENDINGS[0])
    if target.suffix.lower() not in ENDINGS:
        raise UsageError(f"{target}: pages are written as HTML only", "let the name end in .html")
    options.up_axis(up, mesh)
    check_output(target, overwrite)
    if output is None:
        console.say(f"no -o given: the page goes to {target}")
    points = None if scan is None else lpdif.load_scan(scan)
    surface = surface_of(mesh, scan if points is not None and points.faces is not None else None)
    if dry_run:
        console.say(f"would write {target}; nothing was done")
        console.result({"dry_run": True, "output": str(target)}, target)
        return
    from lpdif.view.page import build_page

    page = build_page(
        surface,
        points,
        name=mesh.name,
        made_with=made_with(mesh),
        up=options.up_axis(up, mesh),
        threads=chosen.threads or os.cpu_count() or 1,
        progress=console.progress,
    )
    data = page.html.encode()
    write_bytes(target, data, overwrite=overwrite)
    drawn = counted(page.faces, "face") + (f" and {counted(page.points, 'point')}" if scan is not None else "")
    console.say(f"wrote {target}: {drawn}, {size(len(data))} in {duration(console.elapsed())}")
    if open_it:
        show(target, console)
    else:
        console.say(f"open {target} in a browser; it needs no network")
    document = {
        "mesh": str(mesh),
        "scan": None if scan is None else str(scan),
        "output": str(target),
        "bytes": len(data),
        "drawn_faces": page.faces,
        "drawn_points": page.points,
        "facts": page.facts._asdict(),
        "notes": [note.text for note in page.notes],
    }
    console.result(document, target)


def surface_of(path: Path, other: Path | None) -> lpdif.Mesh:
    """The mesh in a file, with its colours and values.

    other: the mesh that was given in the place of the scan. Raises InputError where the file has no faces.
    """
    scan = lpdif.load_scan(path)
    if scan.faces is None or len(scan.faces) == 0:
        again = f"make a mesh of them first: {command_line('reconstruct', str(path))}"
        hint = f"the mesh comes first: {command_line('view', str(other), str(path))}" if other else again
        raise InputError(f"{path}: points without faces", hint)
    return lpdif.Mesh(scan.points, scan.faces, None, scan.colors, scan.extras, scan.face_values, pattern_names=scan.pattern_names)


def show(page: Path, console: Console) -> None:
    """Opens a page in the browser of the user's choice."""
    import webbrowser

    if not webbrowser.open(page.resolve().as_uri()):
        console.warn(f"no browser was found; open {page} yourself")
