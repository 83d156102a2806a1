"""`lpdif evaluate`: measures a mesh against the true one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

import lpdif
from lpdif.errors import InputError
from lpdif_cli import completion, options
from lpdif_cli.console import Console
from lpdif_cli.settings import resolve
from lpdif_cli.wording import table

MEANINGS = {
    "cd": "mean of accuracy and completeness",
    "accuracy": "mean distance, mesh to truth",
    "completeness": "mean distance, truth to mesh",
    "p95": "95th percentile of both distances",
    "hausdorff": "largest distance found",
    "normal_consistency": "mean cosine of normals, 1 is perfect",
    "f_score": "harmonic mean of shares within 1/1000",
}
LENGTHS = {"cd", "accuracy", "completeness", "p95", "hausdorff"}


def evaluate(
    context: typer.Context,
    mesh: Annotated[Path, typer.Argument(metavar="MESH", hidden=True, readable=False, autocompletion=completion.scans)],
    truth: Annotated[Path, typer.Argument(metavar="TRUTH", hidden=True, readable=False, autocompletion=completion.scans)],
    seed: options.Seed = None,
    config: options.Config = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif evaluate mesh.ply truth.ply

    Measures a mesh against the true one: distances from 100,000 points of each
    surface to the nearest point of the other surface (not to samples of it).
    Lengths are in the unit of the files and in per mille of the truth's longest
    side. Normal consistency counts orientation: an inside-out mesh gets -1.

    Usage: lpdif evaluate MESH TRUTH [OPTIONS]
    """
    console: Console = context.obj
    console.setup("evaluate", as_json=json, quiet=quiet, verbose=verbose)
    chosen = resolve(None, {"seed": seed}, config)
    figures = lpdif.evaluate(_surface(mesh), _surface(truth), seed=chosen.seed)
    values = dataclasses.asdict(figures)
    rows = [("figure", "value", "per mille", "meaning")]
    for name, meaning in MEANINGS.items():
        share = f"{1000 * values[name] / figures.longest_side:.4f}" if name in LENGTHS else ""
        rows.append((name, f"{values[name]:.6g}", share, meaning))
    console.say(f"{mesh} against {truth}: {figures.samples:,} samples a side, longest side {figures.longest_side:g}")
    console.result({"mesh": str(mesh), "truth": str(truth), **values}, *table(rows, right=[1, 2]))


def _surface(path: Path) -> lpdif.Mesh:
    """The mesh in a file. Raises InputError where it has no faces."""
    scan = lpdif.load_scan(path)
    if scan.faces is None or len(scan.faces) == 0:
        raise InputError(f"{path}: points without faces", f"make a mesh of them first: lpdif reconstruct {path}")
    return lpdif.Mesh(scan.points, scan.faces)
