"""`lpdif demo`: writes a small scan that is made by code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import lpdif
from lpdif.errors import UsageError
from lpdif.text import size
from lpdif_cli import options
from lpdif_cli.console import Console
from lpdif_cli.settings import given, resolve
from lpdif_cli.wording import duration

DEFAULT = Path("demo-scan.ply")


def demo(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="OUT", show_default=False, help="PLY file to write [demo-scan.ply].")
    ] = DEFAULT,
    seed: options.Seed = None,
    config: options.Config = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif demo

    Writes a scan of a snail, made by code: 20,000 noisy points with normals and
    colours, 100 mm long. It has details that are hard to reconstruct: growth lines,
    thin stalks, the seam between the turns of the shell, a sharp edge at the sole.

    Usage: lpdif demo [-o OUT] [OPTIONS]
    """
    from lpdif.storage.atomic_write import check_output

    console: Console = context.obj
    console.setup("demo", as_json=json, quiet=quiet, verbose=verbose)
    chosen = resolve(None, {"seed": seed}, config)
    if output.suffix.lower() != ".ply":
        raise UsageError(f"{output}: scans are written as PLY only", "let the name end in .ply")
    check_output(output, overwrite)
    if dry_run:
        console.say(f"would write {output}; nothing was done")
        console.result({"dry_run": True, "output": str(output)}, output)
        return
    scan = lpdif.make_demo_scan(seed=chosen.seed)
    lpdif.write_scan(output, scan, overwrite=overwrite)
    written = output.stat().st_size
    console.say(f"wrote {output}: {len(scan.points):,} points, {size(written)} in {duration(console.elapsed())}")
    console.next("reconstruct", str(output), "-o", str(output.with_name("demo-mesh.ply")), *given("--config", config))
    console.result({"output": str(output), "points": len(scan.points), "bytes": written}, output)
