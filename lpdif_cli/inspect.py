"""`lpdif inspect`: tells what a file or folder is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

import lpdif
from lpdif.errors import InputError
from lpdif.storage.run_log import read_metrics
from lpdif.storage.tensor_files import FileHeader
from lpdif.text import counted, excerpt, size
from lpdif_cli import options
from lpdif_cli.cards import FitState, names_of_patterns, read_card, read_fit_state, resume_words
from lpdif_cli.completion import scans
from lpdif_cli.console import Console
from lpdif_cli.inputs import read_stdin
from lpdif_cli.settings import given, resolve, workspace_words
from lpdif_cli.wording import command_line, table

LONGEST_FACT = 200  # letters

LABELS = {  # what the names in our own files mean
    "version": "version of its format",
    "arrays": "arrays in it",
    "samples": "made from samples",
    "processes": "processes that fitted it",
    "form_steps": "steps that forms were learned in",
    "sizes.features": "learned numbers of a code",
    "sizes.patterns": "patterns",
    "sizes.width": "width of a decoder",
    "validation.mean": "held-out error, in region sizes",
    "validation.median": "held-out error, median",
    "validation.p95": "held-out error, 95 % up to",
    "mean": "held-out error, in region sizes",
    "median": "held-out error, median",
    "p95": "held-out error, 95 % up to",
    "loss": "loss, running mean",
    "rows": "recorded steps",
    "step": "last recorded step",
    "seconds": "seconds until then",
    "effective_share": "share of each pattern's regions that counts",
    "changed_pattern": "share of regions that changed pattern",
    "code_size": "numbers of a code",
    "region_sizes": "region sizes",
}
SETTINGS_OF = {"config": "fit", "settings": "preprocess"}  # whose settings stand under these names

ShownFacts = dict[str, object]


def inspect(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="PATH", hidden=True, readable=False, autocompletion=scans)],
    threads: options.Threads = None,
    config: options.Config = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif inspect scan.ply

    Tells what a path is (a scan, a mesh, samples, a model, a field, a run or a
    workspace) and what it holds. `-` is a scan or mesh on stdin. The spacing of a scan (square root of the area per
    point) and its noise are the values that `lpdif reconstruct` uses with the same
    settings.

    Usage: lpdif inspect PATH [OPTIONS]
    """
    console: Console = context.obj
    console.setup("inspect", as_json=json, quiet=quiet, verbose=verbose)
    console.where = given("--config", config)
    facts, following = look(path, resolve("reconstruct", {"threads": threads}, config).config)
    console.result({"path": str(path), **facts}, *table([(label(name), show(value)) for name, value in facts.items()]))
    if following:
        console.next(*following, *given("--config", config))


def look(path: Path, chosen: lpdif.Config) -> tuple[ShownFacts, list[str]]:
    """What `path` is, and the words of the command to run with it next."""
    if path == Path("-") and not path.exists():
        return surface(read_stdin("inspect -"), "-", None, chosen)
    if path.is_dir():
        above = lpdif.Workspace(path.parent)
        own = above.samples.name == path.name and is_workspace(above)
        return folder(path.parent if own else path)
    root = workspace_of(path)
    if root is not None:
        return folder(root)
    if path.suffix == ".safetensors":
        return tensors(path)
    if path.name == "metrics.jsonl":
        return run(path), []
    return surface(lpdif.load_scan(path), str(path), path.stat().st_size, chosen)


def workspace_of(path: Path) -> Path | None:
    """The workspace of a file that is its manifest or its gallery of patterns.

    None for other files.
    """
    for root in (path.absolute().parent, path.absolute().parent.parent):
        place = lpdif.Workspace(root)
        if is_workspace(place) and path.is_file() and path.absolute() in (place.manifest, place.gallery):
            here = Path.cwd()
            return root.relative_to(here) if root.is_relative_to(here) else root
    return None


def is_workspace(place: lpdif.Workspace) -> bool:
    """Whether there are samples, a fit or a model in a folder."""
    return any(file.exists() for file in (place.manifest, place.snapshot, place.model))


def surface(scan: lpdif.Scan, name: str, size_in_bytes: int | None, chosen: lpdif.Config) -> tuple[ShownFacts, list[str]]:
    """The facts of a scan, or of a mesh where it has faces. name: how the command named it; size_in_bytes: of its file."""
    import numpy as np

    from lpdif.points.measure import measure

    finite = scan.points[np.isfinite(scan.points).all(axis=1)]
    facts: ShownFacts = {"kind": "scan" if scan.faces is None else "mesh", "points": len(scan.points)}
    if len(finite) < len(scan.points):
        facts["not finite"] = len(scan.points) - len(finite)
    if len(finite):
        low, high = finite.min(axis=0), finite.max(axis=0)
        facts |= {"lowest corner": low, "highest corner": high, "extent": high - low}
    facts |= {"normals": scan.normals is not None, "colors": scan.colors is not None}
    if size_in_bytes is not None:
        facts["bytes"] = size_in_bytes
    if scan.sensor is not None:
        facts["scanner"] = scan.sensor if scan.sensor.ndim == 1 else counted(len(scan.sensor), "position")
    if scan.extras:
        facts["further values"] = ", ".join(scan.extras)
    if scan.face_values:
        facts["values of faces"] = ", ".join(scan.face_values)
    if scan.faces is not None:
        return facts | shape(scan), ["evaluate", name, "TRUTH.ply"] if size_in_bytes is not None else []
    settings = chosen.reconstruct
    try:
        found = measure(scan, keep_outliers=settings.keep_outliers, seed=settings.seed, threads=chosen.threads or -1).facts
    except InputError as error:
        return facts | {"no mesh": error.message.removeprefix(f"{scan.name}: ")}, []
    return facts | {"spacing": found["spacing"], "noise": found["noise"]}, ["reconstruct", name, "-o", "MESH.ply"]


def shape(scan: lpdif.Scan) -> ShownFacts:
    """The facts of a mesh beside its points."""
    import numpy as np
    import trimesh

    finite = bool(np.isfinite(scan.points).all())
    mesh = trimesh.Trimesh(scan.points, scan.faces, process=False)
    facts: ShownFacts = {"faces": len(mesh.faces)}
    if not finite or not len(mesh.faces):
        return facts
    mesh.merge_vertices()
    closed = bool(mesh.is_watertight)
    facts |= {"parts": int(mesh.body_count), "closed": closed, "area": float(mesh.area)}
    if closed:
        facts["volume"] = float(mesh.volume)
    return facts


def tensors(path: Path, within: Path | None = None) -> tuple[ShownFacts, list[str]]:
    """The facts of a safetensors file of lpdif, from its header.

    within: the folder in which it has to lie.
    """
    head = read_card(path, within)
    kind = head.kind.removeprefix("lpdif-")
    facts: ShownFacts = {"kind": kind, "version": head.version, "arrays": len(head.tensors), "bytes": path.stat().st_size}
    if head.forms:
        facts["pattern names"] = names_of_patterns(path, head)
    if kind == "snapshot":
        state = read_fit_state(path, within)
        facts |= progress(state)
        words = [*workspace_words(path.parent), *samples_words(lpdif.Workspace(path.parent), head)]
        following = resume_words(state, words) if unfinished(state, path) else []
        return facts | added(flat(head.card), facts), following
    stated = flat({"shape" if kind == "samples" and name == "kind" else name: value for name, value in head.card.items()})
    return facts | added(stated, facts), ["reconstruct", "SCAN", "-o", "MESH.ply", "--model", str(path)] if kind == "model" else []


def samples_words(place: lpdif.Workspace, head: FileHeader) -> list[str]:
    """The option that names the samples of a snapshot, where they are not those of its own workspace. Only the user knows where they are."""
    made_from = head.card.get("samples")
    own = place.samples_identity() if place.manifest.exists() else None
    return [] if own is not None and made_from in (own, None) else ["--samples", "WORKSPACE"]


def added(stated: ShownFacts, known: ShownFacts) -> ShownFacts:
    """The facts stated in a card, without those that are known already."""
    return {name: value for name, value in stated.items() if name not in known}


def progress(state: FitState) -> ShownFacts:
    """The facts of how far a fit has come."""
    return {"steps done": state.step, "steps in all": state.steps, "patterns": state.patterns if state.grouped else "none yet"}


def unfinished(state: FitState, snapshot: Path) -> bool:
    """Whether `lpdif fit --resume` has something to do."""
    return state.step < state.steps or not lpdif.Workspace(snapshot.parent).model.exists()


def run(path: Path, within: Path | None = None) -> ShownFacts:
    """The facts of the log of a fit. within: the folder in which it has to lie."""
    hint = "it has one JSON object a line"
    try:
        rows = read_metrics(path, within)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file", "check the path") from None
    except OSError as error:
        raise InputError(f"{path}: not the log of a fit ({error.strerror})", hint) from None
    except ValueError as error:
        raise InputError(f"{path}: not the log of a fit ({error})", hint) from None
    if not rows:
        raise InputError(f"{path}: not the log of a fit (it is empty)", hint)
    return {"kind": "run", "rows": len(rows), **added(flat(rows[-1]), {"kind": "", "rows": 0})}


def folder(path: Path) -> tuple[ShownFacts, list[str]]:
    """The facts of a workspace."""
    place = lpdif.Workspace(path)
    words = workspace_words(path)
    facts: ShownFacts = {"kind": "workspace"}
    if place.manifest.exists():
        kept, left_out = place.read_manifest()
        facts |= {"scans": len(kept), "regions": sum(shard.regions for shard in kept), "left out": left_out}
    if place.metrics.exists():
        facts |= {f"run {name}": value for name, value in run(place.metrics, path).items() if name != "kind"}
    following = ["reconstruct", "SCAN", "-o", "MESH.ply", *words] if place.model.exists() else ["fit", *words]
    if place.snapshot.exists():
        state = read_fit_state(place.snapshot, path)
        facts |= {"snapshot": size(place.snapshot.stat().st_size)}
        facts |= {f"snapshot {name}": value for name, value in progress(state).items()}
        resume = resume_words(state, [*words, *samples_words(place, read_card(place.snapshot, path))])
        following = resume if unfinished(state, place.snapshot) else following
    if place.model.exists():
        if place.snapshot.exists() and state.step < state.steps:
            facts["model"] = "of an earlier fit than the snapshot, which is not finished"
        facts |= {f"model {name}": value for name, value in tensors(place.model, path)[0].items() if name != "kind"}
    if len(facts) == 1:
        hint = f"make one of the scans in it: {command_line('preprocess', str(path))}"
        raise InputError(f"{path}: a folder, but no workspace", hint)
    return facts, following


def label(name: str) -> str:
    """The name of a fact, in words."""
    for above in ("run ", "snapshot ", "model "):
        if name.startswith(above):
            return above + label(name.removeprefix(above))
    stage, _, setting = name.partition(".")
    if stage in SETTINGS_OF:
        return f"{SETTINGS_OF[stage]}.{setting}"  # as `lpdif config show` explains it
    return LABELS.get(name) or name.replace("_", " ")


def flat(values: Mapping[str, Any], above: str = "") -> ShownFacts:
    """Nested values as one mapping with dotted names."""
    facts: ShownFacts = {}
    for name, value in values.items():
        facts |= flat(value, f"{above}{name}.") if isinstance(value, Mapping) else {above + name: value}
    return facts


def show(value: object) -> str:
    """A fact as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        between = ", " if all(isinstance(one, str) for one in value) else " "
        return excerpt(between.join(map(show, value[:LONGEST_FACT])), LONGEST_FACT)
    if hasattr(value, "tolist"):
        return " ".join(f"{number:.10g}" for number in value.tolist())
    return "-" if value is None else excerpt(str(value), LONGEST_FACT)
