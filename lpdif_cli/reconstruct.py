"""`lpdif reconstruct`: turns a scan into a mesh, or several scans into a folder of meshes (batch.py)."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

import lpdif
from lpdif.errors import UsageError
from lpdif.stages.cost import cost_in_words, gigabytes
from lpdif.storage.workspace import BUNDLED
from lpdif.text import counted, size
from lpdif_cli import options
from lpdif_cli.batch import reconstruct_many
from lpdif_cli.completion import among, meshes, models, scans
from lpdif_cli.console import Console
from lpdif_cli.dask_batch import over_cluster
from lpdif_cli.devices import check_device
from lpdif_cli.inputs import is_many, read_stdin
from lpdif_cli.jobs import one_by_one
from lpdif_cli.outputs import check_mesh_output, check_texture_output
from lpdif_cli.reports import ReportFile, report_file, write_scan_report
from lpdif_cli.settings import resolve, same_place
from lpdif_cli.shards import read_shard
from lpdif_cli.wording import duration
from lpdif_cli.work import Work

STREAM = "-"


def reconstruct(
    context: typer.Context,
    inputs: Annotated[list[str] | None, typer.Argument(metavar="INPUT", hidden=True, autocompletion=scans)] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="Mesh file, or folder [INPUT.mesh.ply].", rich_help_panel="Result", autocompletion=meshes
        ),
    ] = None,
    watertight: Annotated[bool, typer.Option("--watertight", help="Close every hole, as for printing.", rich_help_panel="Result")] = False,
    faces: Annotated[str | None, typer.Option(metavar="N", help="Simplify to at most N triangles.", rich_help_panel="Result")] = None,
    adaptive: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Fewer triangles where it stays this close.", rich_help_panel="Result")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="PARTS", help="all, or the largest part alone [all].", rich_help_panel="Result", autocompletion=among("all", "largest")
        ),
    ] = None,
    units: Annotated[
        str | None,
        typer.Option(
            metavar="UNIT", help="Unit of the scan: mm, cm, m or in.", rich_help_panel="Result", autocompletion=among("mm", "cm", "m", "in")
        ),
    ] = None,
    scale: Annotated[str | None, typer.Option(metavar="X", help="Write coordinates times X [1].", rich_help_panel="Result")] = None,
    texture: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Bake colours into SIZE x SIZE texels (OBJ, GLB).", rich_help_panel="Result")
    ] = None,
    resolution: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Size of the mesh's triangles [auto].", rich_help_panel="Sizes")
    ] = None,
    region_size: Annotated[str | None, typer.Option(metavar="LENGTH", help="Size of a local region [auto].", rich_help_panel="Sizes")] = None,
    max_distance: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="No surface farther from the points [auto].", rich_help_panel="Sizes")
    ] = None,
    refine: Annotated[
        str | None, typer.Option(metavar="N", help="Steps that fit the codes to this scan [0].", rich_help_panel="Scan and model")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Model file, or: bundled [the workspace's].", rich_help_panel="Scan and model", autocompletion=models
        ),
    ] = None,
    sensor: Annotated[
        tuple[str, str, str] | None,
        typer.Option(metavar="X Y Z", help="Where the scanner stood; what it cannot see goes.", rich_help_panel="Scan and model"),
    ] = None,
    trajectory: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where the scanner was over time: time x y z.", rich_help_panel="Scan and model")
    ] = None,
    classes: Annotated[
        str | None, typer.Option(metavar="N,N", help="Points of these classes alone, as in LAS [all].", rich_help_panel="Scan and model")
    ] = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Spread scans, or one in pieces, over Dask.", rich_help_panel="Several scans")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Make part I of N of several scans (job arrays).", rich_help_panel="Several scans")
    ] = None,
    workspace: options.Workspace = None,
    device: options.Device = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    max_memory: options.MaxMemory = None,
    config: options.Config = None,
    overwrite: options.Overwrite = False,
    dry_run: options.DryRun = False,
    report: options.Report = None,
    up: options.Up = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif reconstruct scan.ply -o mesh.ply

    Turns a scan (points with or without normals, or a broken mesh) into a mesh. No
    other option is needed: all others are chosen from the scan and printed, with
    the reason. A LENGTH is in the unit of the scan, or the word auto.

    Usage: lpdif reconstruct INPUT... [-o OUT] [OPTIONS]

    INPUT is PLY, OBJ, OFF, STL, PCD, XYZ, TXT, CSV, PTS, PTX, NPY, NPZ, VTK, VTP,
    GLB, glTF or 3MF, or points3D.txt or points3D.bin of COLMAP; LAS and LAZ with
    `pip install laspy lazrs`, E57 with `pip install pye57`. OUT is OBJ, PLY, STL,
    OFF, GLB or 3MF. `-` is stdin or stdout. Several INPUTs, or a folder, go to the
    folder OUT: a bad scan does not stop the others. A mesh that an earlier run has
    made there from the same scan, model and settings is kept. A mesh made from
    anything else is kept too, but counts as failed; --overwrite makes all again.
    Where Dask has workers on other machines, --cluster tcp://HOST:8786 (or the file
    of the scheduler) spreads the scans over them, or the pieces of one. In job
    arrays, --shard 3/8 makes the third of eight parts.
    """
    console: Console = context.obj
    console.setup("reconstruct", as_json=json, quiet=quiet, verbose=verbose)
    flags = {
        "reconstruct.resolution": resolution,
        "reconstruct.region_size": region_size,
        "reconstruct.max_distance": max_distance,
        "reconstruct.watertight": watertight or None,
        "reconstruct.refine": refine,
        "reconstruct.model": model,
        "reconstruct.sensor": sensor,
        "reconstruct.classes": classes,
        "reconstruct.faces": faces,
        "reconstruct.adaptive": adaptive,
        "reconstruct.keep": keep,
        "reconstruct.texture": texture,
        "reconstruct.max_memory": max_memory,
        "output.units": units,
        "output.scale": scale,
        "workspace": workspace,
        "device": device,
        "seed": seed,
        "threads": threads,
    }
    work = Work(resolve("reconstruct", flags, config), console)
    console.where = same_place(work.settings, config)
    page = report_file(report, overwrite, console, work.settings, "reconstruct", lambda: {"model": str(work.model_path or BUNDLED)}, up)
    if cluster is None:
        check_device(work.settings.config.device)
    part = None if shard is None else read_shard(shard)
    if trajectory is not None and work.settings.config.reconstruct.sensor is not None:
        raise UsageError("--sensor and --trajectory both say where the scanner was", "leave one out")
    if not inputs:  # checked last: an option that takes too many words may have taken the scan's name
        raise UsageError("missing argument 'INPUT'", "see `lpdif reconstruct --help`")
    if is_many(inputs):
        if trajectory is not None:
            raise UsageError("--trajectory is for one scan", "run lpdif once for each scan")
        ending = ".ply" if work.settings.config.reconstruct.texture is None else ".glb"  # PLY has no place for a texture
        alone = partial(one_by_one, work.mesh_of, work.encoded)
        outcomes_of = alone if cluster is None else partial(over_cluster, cluster, work.order)
        more = page, ending
        reconstruct_many(outcomes_of, work.recipe, work.price, inputs, output, console, *more, overwrite=overwrite, dry_run=dry_run, shard=part)
    elif part is not None:
        raise UsageError("--shard is for several scans", "name their folder, or leave it out")
    else:
        reconstruct_one(work, inputs[0], output, page, trajectory, cluster, overwrite=overwrite, dry_run=dry_run)


def reconstruct_one(
    work: Work,
    given: str,
    output: str | None,
    page: ReportFile | None,
    trajectory: Path | None = None,
    cluster: str | None = None,
    *,
    overwrite: bool,
    dry_run: bool,
) -> None:
    """Reconstructs one scan, seen along a trajectory if there is one, into one mesh file, or to stdout; writes the report `page`, too.

    cluster: the address of one that makes the pieces of the scan.
    """
    console = work.console
    source = None if given == STREAM else Path(given)
    target = output_path(source, output)
    if source is not None and not source.exists():
        lpdif.load_scan(source)  # raises what is wrong with it, before anything is said of the output
    if target is None:
        check_stdout(console)
    else:
        check_mesh_output(target, overwrite, source)
    if work.settings.config.reconstruct.texture is not None:
        check_texture_output(target, overwrite)
    if page is not None:
        page.check(continues=False)
    # The scan is read before the model, so that a bad scan is reported at once.
    scan = work.stored(read_along(source, trajectory))
    work.laps.end("reading the scan")
    if output is None:
        console.say(f"no -o given: the mesh goes to {target}")
    if dry_run:
        expected = work.expected(scan)
        faces = counted(int(expected["faces"]), "face")
        takes = cost_in_words(float(expected["cpu_seconds"]), float(expected["memory_bytes"]))
        disk = float(expected["disk_bytes"])
        takes += f", {gigabytes(disk)} of disk for temporary files" if disk else ""
        pieces = "" if expected["pieces"] == 1 else f", in {counted(int(expected['pieces']), 'piece')}"
        made_of = f"{counted(len(scan.points), 'point')} ({scan.name})"
        console.say(f"would make a mesh of about {faces} from {made_of}: {takes}{pieces}; nothing was written")
        document = {"dry_run": True, "input": given, "output": str(target or STREAM), "points": len(scan.points), "expected": expected}
        console.result(document, target or STREAM)
        return
    made = work.mesh_of(scan, cluster)
    work.laps.add(made.laps)
    mesh = made.mesh
    if target is None:
        data = work.encoded(mesh, "ply")
        console.say(f"writing {counted(len(mesh.faces), 'face')}, {size(len(data))} to stdout after {duration(console.elapsed())}")
        console.binary_result(data)
        report_open_loops(made, console)
        if page is not None:
            write_scan_report(page, source, scan, made, "standard output", work.laps)
        return
    lpdif.write_mesh(target, mesh, overwrite=overwrite, **asdict(work.settings.config.output))
    written = target.stat().st_size
    counts = f"{counted(len(mesh.vertices), 'vertex', 'vertices')}, {counted(len(mesh.faces), 'face')}, {size(written)}"
    console.say(f"wrote {target}: {counts} in {duration(console.elapsed())}")
    report_open_loops(made, console)
    if page is not None:
        write_scan_report(page, source, scan, made, str(target), work.laps)
    from lpdif.io.registry import format_by_name

    if format_by_name(target.name):  # 3MF is written and not read
        console.next("inspect", str(target))
    document = {
        "input": given,
        "output": str(target),
        "model": str(work.model_path or BUNDLED),
        "points": len(scan.points),
        "vertices": len(mesh.vertices),
        "faces": len(mesh.faces),
        "bytes": written,
        "facts": made.facts,
    }
    console.result({**document, **({} if page is None else {"report": str(page.path)})}, target)


def read_along(source: Path | None, trajectory: Path | None) -> lpdif.Scan:
    """The scan in a file, or on stdin, with the place of the scanner for each point where there is a trajectory."""
    timed = trajectory is not None
    scan = lpdif.load_scan(source, timed) if source is not None else read_stdin("reconstruct - -o mesh.ply", timed)
    if trajectory is None:
        return scan
    from lpdif.io.trajectory import load_trajectory, seen_along

    return seen_along(scan, load_trajectory(trajectory))


def report_open_loops(made: lpdif.Reconstruction, console: Console) -> None:
    """Reports that the mesh is not closed, where it is not."""
    loops = int(made.facts["open_loops"])
    if loops:
        console.say(f"open along {counted(loops, 'loop')}, where the points end or leave a gap (--watertight closes it)")


def output_path(source: Path | None, output: str | None) -> Path | None:
    """The file of the mesh; None for stdout.

    Without -o it is beside the scan; in a folder it has the name of the scan.
    """
    if output == STREAM:
        return None
    if output is not None:
        path = Path(output)
        folder = path.is_dir() or output.endswith("/")
        return path / f"{source.stem if source else 'mesh'}.ply" if folder else path
    if source is None:
        raise UsageError("a scan from stdin needs -o", "say where the mesh goes: -o mesh.ply, or -o - for stdout")
    from lpdif.io.folders import MESH_ENDING

    return source.with_name(f"{source.stem}{MESH_ENDING}.ply")


def check_stdout(console: Console) -> None:
    """Raises UsageError where a mesh cannot go to stdout."""
    if console.json:
        raise UsageError("--json and -o - both want stdout", "write the mesh to a file")
    if console.out.isatty():
        raise UsageError("a mesh is not for a terminal", "send it on: lpdif reconstruct scan.ply -o - > mesh.ply")
