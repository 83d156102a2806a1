"""`lpdif doctor`: checks that lpdif can run here."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import typer

import lpdif
from lpdif.errors import LpdifError, ModelError, ResourceError
from lpdif.text import counted, size
from lpdif_cli import options
from lpdif_cli.console import Console
from lpdif_cli.settings import given, resolve
from lpdif_cli.wording import table

# each package and the module in it
NEEDED = {
    "numpy": "numpy",
    "scipy": "scipy",
    "torch": "torch",
    "scikit-learn": "sklearn",
    "trimesh": "trimesh",
    "fast-simplification": "fast_simplification",
    "threadpoolctl": "threadpoolctl",
    "safetensors": "safetensors",
    "pillow": "PIL",
    "typer": "typer",
    "rich": "rich",
}
LITTLE_SPACE = 1e9  # A run is likely to fail with fewer free bytes on the disk.


@dataclass(frozen=True)
class Finding:
    """The result of one check. remedy: empty where all is well; needed: whether every run needs it."""

    what: str
    found: str
    remedy: str = ""
    needed: bool = True


def doctor(
    context: typer.Context,
    workspace: options.Workspace = None,
    device: options.Device = None,
    config: options.Config = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif doctor

    Checks everything that a run needs: versions, device, threads, memory, the
    bundled model, extra packages, and whether the workspace can be written. Each
    problem comes with its remedy, and makes exit code 5.

    Usage: lpdif doctor [OPTIONS]
    """
    console: Console = context.obj
    console.setup("doctor", as_json=json, quiet=quiet, verbose=verbose)
    flags = {"workspace": workspace, "device": device}
    try:
        chosen, settings = resolve(None, flags, config).config, []
    except ModelError as error:  # a flag that is wrong is a wrong use, a file or variable a finding
        chosen = lpdif.Config(workspace=workspace or lpdif.Config.workspace, device=device or lpdif.Config.device)
        settings = [Finding("settings", error.message, error.hint)]
    findings = [*settings, *check_all(Path(chosen.workspace), chosen.device)]
    rows = [(mark(f), f.what, f.found) for f in findings]
    bad = [f for f in findings if f.remedy and f.needed]
    console.result({"well": not bad, "findings": [asdict(f) for f in findings]}, *table(rows))
    for finding in findings:
        if finding.remedy:
            console.say(f"{finding.what}: {finding.remedy}")
    if bad:
        raise ResourceError(f"{counted(len(bad), 'problem')} in {len(findings)} checks: {', '.join(f.what for f in bad)}", bad[0].remedy)
    console.next("demo", *given("--config", config))


def mark(finding: Finding) -> str:
    """The first column of the table."""
    return "ok" if not finding.remedy else "BAD" if finding.needed else "-"


def check_all(workspace: Path, device: str) -> Iterator[Finding]:
    """The results of all checks."""
    from lpdif.io.registry import all_formats

    yield Finding("lpdif", f"{lpdif.__version__} in {Path(lpdif.__file__).parent}")
    supported = sys.version_info >= (3, 11)
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}", "" if supported else "use Python 3.11 or newer")
    for name, module in NEEDED.items():
        yield package(name, module)
    yield guarded("marching cubes", marching_cubes)
    yield guarded("mesh queries", mesh_queries)
    for known in all_formats():
        if known.packages:
            yield optional(known.name, known.packages, "for such files")
    yield optional("texture", ("xatlas",), "for --texture")
    yield optional("cluster", ("distributed",), "for --cluster")
    yield guarded("device", lambda: compute_device(device))
    yield threads()
    yield memory()
    yield guarded("bundled model", bundled_model)
    for what, folder in (("workspace", workspace), ("temporary files", Path(tempfile.gettempdir()))):
        yield writable(what, folder)


def guarded(what: str, check: Callable[[], str]) -> Finding:
    """The result of a check that may raise: an error is a problem, and its hint the remedy."""
    try:
        return Finding(what, check())
    except LpdifError as error:
        return Finding(what, error.message, error.hint or "see above")
    except ImportError as error:
        return Finding(what, f"cannot be checked: {error}", "reinstall the package named")


def package(name: str, module: str) -> Finding:
    """Whether a package that every run needs can be loaded."""
    try:
        importlib.import_module(module)
        return Finding(name, metadata.version(name))
    except (ImportError, OSError) as error:
        return Finding(name, f"cannot be loaded: {error}", f"pip install --force-reinstall {name}")


def marching_cubes() -> str:
    """The package that extracts surfaces, with its version.

    It is numpy where another package, "mcubes", has overwritten PyMCubes.
    """
    from lpdif.surface.marching_cubes import library

    return f"{library()} {metadata.version(library())}"


def mesh_queries() -> str:
    """The package that measures distances to meshes."""
    try:
        from lpdif.mesh_queries import library
    except ImportError as error:
        raise ResourceError(f"neither point-cloud-utils nor libigl can be loaded: {error}", "pip install --force-reinstall libigl") from None
    return f"{library()} {metadata.version(library())}"


def optional(extra: str, names: tuple[str, ...], purpose: str) -> Finding:
    """Whether the packages of an extra are installed."""
    try:
        return Finding(f"[{extra}]", ", ".join(f"{name} {metadata.version(name)}" for name in names), needed=False)
    except metadata.PackageNotFoundError as error:
        return Finding(f"[{extra}]", f"{error.name} is not installed", f"{purpose}: pip install {' '.join(names)}", needed=False)


def compute_device(name: str) -> str:
    """The device that a run would use."""
    import torch

    from lpdif.device import resolve as resolve_device

    device = resolve_device(name)
    if device.type == "cpu":
        return "cpu (no CUDA device)" if name == "auto" else "cpu"
    return f"{device}: {torch.cuda.get_device_name(device)}, {size(torch.cuda.get_device_properties(device).total_memory)}"


def threads() -> Finding:
    """The number of threads that a run would use."""
    from lpdif.device import available_threads

    limit = os.environ.get("OMP_NUM_THREADS")
    return Finding("threads", counted(available_threads(), "core") + (f", OMP_NUM_THREADS={limit}" if limit else ""))


def memory() -> Finding:
    """The memory of the machine."""
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return Finding("memory", "this system does not say")
    return Finding("memory", f"{size(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))} in all")


def bundled_model() -> str:
    """The model that ships with lpdif."""
    model = lpdif.load_model(None)
    return f"{counted(len(model.patterns.centroids), 'pattern')}, {model.card.get('steps', '?')} steps"


def writable(what: str, folder: Path) -> Finding:
    """Whether files can be written in a folder, and whether there is room.

    A folder that does not exist stands for the nearest one above it.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(what, f"{folder}: {error.strerror}", "pass a folder you can write to with --workspace, or set TMPDIR")
    remedy = "free some disk space" if free < LITTLE_SPACE else ""
    return Finding(what, f"{folder}: can be written, {size(free)} free", remedy)
