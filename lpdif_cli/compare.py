"""`lpdif compare`: meshes the same points by several models, and measures the meshes alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lpdif
from lpdif.errors import BatchError, ModelError, UsageError
from lpdif.storage.safe_open import leads_outside
from lpdif.storage.workspace import BUNDLED_MODEL
from lpdif.text import counted
from lpdif_cli import options
from lpdif_cli.console import Console
from lpdif_cli.devices import check_device
from lpdif_cli.failures import Failure, describe
from lpdif_cli.inputs import as_rows, expand
from lpdif_cli.settings import Settings, resolve
from lpdif_cli.wording import duration, figure, table

if TYPE_CHECKING:
    from lpdif.stages.compare import Errors

DEFAULT = "default"  # the model that ships with lpdif
TRUTH, SCAN = "mesh", "scan"  # what an input is measured as
HEADS = {
    TRUTH: ["mesh", "model", "cd", "ratio", "p95", "normals", "f-score", "faces", "time"],
    SCAN: ["scan", "model", "error", "ratio", "p95", "within 1", "faces", "time"],
}
MEANINGS = {
    TRUTH: "cd, p95: distance of mesh and truth, mean and 95th percentile, in thousandths of the longest side",
    SCAN: "error, p95: distance of held-out points to the mesh, mean and 95th percentile, in spacings of the points",
}


@dataclasses.dataclass
class Row:
    """What came of a model on an input."""

    name: str
    model: str
    kind: str
    faces: int = 0
    seconds: float = 0.0
    errors: Errors | None = None
    failure: Failure | None = None

    def document(self) -> dict[str, object]:
        """The row for --json."""
        about: dict[str, object] = {"input": self.name, "measured_as": self.kind, "model": self.model}
        if self.failure is not None:
            return {**about, "error": {"message": self.failure.message, "hint": self.failure.hint, "exit_code": self.failure.code}}
        assert self.errors is not None
        return {**about, "figures": self.errors._asdict(), "faces": self.faces, "seconds": round(self.seconds, 3)}


def compare(
    context: typer.Context,
    models: Annotated[list[str] | None, typer.Argument(metavar="MODEL", hidden=True)] = None,
    on: Annotated[list[str] | None, typer.Option("--on", metavar="PATH", help="Mesh, scan, folder or glob; may be repeated.")] = None,
    points: Annotated[str | None, typer.Option(metavar="N", help="Points sampled from each mesh [20000].")] = None,
    noise: Annotated[str | None, typer.Option(metavar="SHARE", help="Noise of these, in longest sides of the mesh [0].")] = None,
    held_out: Annotated[str | None, typer.Option(metavar="SHARE", help="Share of a scan's points that is held out [0.1].")] = None,
    device: options.Device = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    config: options.Config = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif compare default lpdif-workspace --on shapes/

    Compares models: each makes meshes of the same points. A MODEL is a model file,
    a workspace, or the word default for the one that ships with lpdif.

    Usage: lpdif compare MODEL MODEL... --on PATH [OPTIONS]

    What is a mesh is taken for the truth. Points with normals are sampled from it,
    and the meshes made of them are measured against it as by `lpdif evaluate`. Of a
    scan without faces some points are held out, and the table tells how far they
    are from the meshes of the others. All lengths are shares, so that shapes can be
    averaged; ratio is the error over that of the first model, below 1 is better.
    """
    console: Console = context.obj
    console.setup("compare", as_json=json, quiet=quiet, verbose=verbose)
    flags = {
        "compare.points": points,
        "compare.noise": noise,
        "compare.held_out": held_out,
        "device": device,
        "seed": seed,
        "threads": threads,
    }
    chosen = resolve("compare", flags, config)
    check_device(chosen.config.device)
    if not models or len(models) < 2:
        raise UsageError(f"{counted(len(models or []), 'model')} to compare, at least two are needed", f"name another one, such as: {DEFAULT}")
    if not on:
        raise UsageError("nothing to compare them on", "name meshes or scans: --on FOLDER")
    paths = {name: model_path(name) for name in models}
    if len(paths) < len(models):
        raise UsageError("the same model is named twice", "name each once")
    sources, skipped = expand(on)
    console.stop_hint = "nothing is written by this command"
    loaded = {name: lpdif.load_model(path) for name, path in paths.items()}
    rows: list[Row] = []
    for number, source in enumerate(sources, 1):
        console.say(f"{source.path} ({number} of {len(sources)})")
        found = rows_of(source.path, loaded, chosen, console, alone=len(sources) == 1)
        rows += found
        for message in dict.fromkeys(row.failure.message for row in found if row.failure is not None):
            console.warn(f"{source.path} failed: {message}")
    lines: list[str] = []
    summary: list[dict[str, object]] = []
    for kind in (TRUTH, SCAN):
        some = [row for row in rows if row.kind == kind]
        if any(row.errors is not None for row in some):
            console.say(MEANINGS[kind])
            mean = summary_rows(some, kind, list(loaded))
            summary += [row for row, _ in mean]
            lines += ["", *table([HEADS[kind], *cells_of(some, kind), *(cells for _, cells in mean)], right=range(2, len(HEADS[kind])))]
    failed = [row for row in rows if row.failure is not None]
    document: dict[str, Any] = {
        "models": {name: str(path) for name, path in paths.items()},
        "settings": dataclasses.asdict(chosen.config.compare),
        "rows": [row.document() for row in rows],
        "summary": summary,
        "skipped": as_rows(skipped),
    }
    console.result(document, *lines[1:])
    if failed:
        bad = len({row.name for row in failed})
        raise BatchError(f"{bad} of {counted(len(sources), 'input')} failed", "see the warnings above; means are over the others")


def model_path(name: str) -> Path:
    """The file of a model that was named: a file, that of a workspace, or the one that ships with lpdif.

    Raises ModelError where there is none, or the name is that of a scan or mesh.
    """
    from lpdif.io.registry import format_by_name

    if name == DEFAULT:
        return BUNDLED_MODEL
    path = Path(name)
    if path.is_dir():
        fitted = lpdif.Workspace(path).model
        if not fitted.exists():
            raise ModelError(f"{fitted}: no model in this workspace", f"fit one: lpdif fit --workspace {path}")
        if leads_outside(fitted, path):
            raise ModelError(f"{fitted}: a link that leads out of the workspace", "name the model itself")
        return fitted
    known = format_by_name(path.name)
    if known is not None:
        raise ModelError(
            f"{path}: its name stands for {known.title}, not for a model",
            f"inputs come after --on, each with its own: --on {path}; a glob in quotes",
        )
    return path


def rows_of(path: Path, models: dict[str, lpdif.Model], chosen: Settings, console: Console, alone: bool) -> list[Row]:
    """The rows of an input, one a model.

    alone: it is the only one, and what is wrong with it is raised.
    """
    from lpdif.points.classes import of_classes
    from lpdif.stages.compare import measured, trial_of

    rows: list[Row] = []
    try:
        given = of_classes(lpdif.load_scan(path), chosen.config.reconstruct.classes)
        kind = SCAN if given.faces is None or not len(given.faces) else TRUTH
        trial = trial_of(given, chosen.config.compare)
    except Exception as error:
        if alone:
            raise
        console.trace(error)
        return [Row(str(path), name, SCAN, failure=describe(error, console.command)) for name in models]
    for name, model in models.items():
        console.say(f"model: {name}")
        try:
            made = lpdif.reconstruct(
                trial.scan,
                model,
                dataclasses.replace(chosen.config.reconstruct, classes=()),
                device=chosen.config.device,
                threads=chosen.config.threads,
                progress=console.progress,
            )
            row = Row(str(path), name, kind, len(made.mesh.faces), sum(lap.seconds for lap in made.laps))
            row.errors = measured(made, trial, chosen.seed)
        except Exception as error:
            if alone:
                raise
            console.trace(error)
            row = Row(str(path), name, kind, failure=describe(error, console.command))
        rows.append(row)
    return rows


def cells_of(rows: Sequence[Row], kind: str) -> list[list[str]]:
    """The rows of the table of inputs of one kind."""
    first: dict[str, Errors] = {}
    lines = []
    for row in rows:
        if row.errors is None:
            lines.append([row.name, row.model, "failed", *[""] * (len(HEADS[kind]) - 3)])
            continue
        errors = row.errors
        against = first.setdefault(row.name, errors)
        ratio = figure(errors.error / against.error if against.error else float("nan"), 3)
        normals = [figure(errors.normal_consistency, 4)] if kind == TRUTH else []
        numbers = [figure(errors.error, 4), ratio, figure(errors.p95, 3), *normals, figure(errors.within, 3)]
        lines.append([row.name, row.model, *numbers, f"{row.faces:,}", duration(row.seconds)])
    return lines


def summary_rows(rows: Sequence[Row], kind: str, models: Sequence[str]) -> list[tuple[dict[str, object], list[str]]]:
    """Means over the inputs that all models have meshed, one a model: as a document, and as a row of the table."""
    from lpdif.stages.compare import summaries

    names = list(dict.fromkeys(row.name for row in rows))
    whole = [[row.errors for row in rows if row.name == name and row.errors is not None] for name in names]
    complete = [errors for errors in whole if len(errors) == len(models)]
    if not complete:
        return []
    found = []
    for model, mean in zip(models, summaries(complete), strict=True):
        about = f"mean of {len(complete)}"
        normals = [figure(mean.normal_consistency, 4)] if kind == TRUTH else []
        cells = [about, model, figure(mean.error, 4), figure(mean.ratio, 3), "", *normals, figure(mean.within, 3), "", ""]
        found.append(({"measured_as": kind, "model": model, "inputs": len(complete), **mean._asdict()}, cells))
    return found
