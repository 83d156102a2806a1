"""`lpdif config show`: every setting, its value, and where that comes from."""

from __future__ import annotations

import dataclasses
from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from lpdif.errors import UsageError
from lpdif_cli import options
from lpdif_cli.console import Console
from lpdif_cli.settings import all_keys, resolve, show_value
from lpdif_cli.settings_about import ABOUT
from lpdif_cli.wording import table


def config(
    context: typer.Context,
    action: Annotated[str, typer.Argument(metavar="ACTION", hidden=True)],
    workspace: options.Workspace = None,
    device: options.Device = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    config: options.Config = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif config show

    Shows every setting as a command in this folder would have it: what it means,
    and where its value comes from: a flag, an LPDIF_* variable, a settings file, or
    the default. A flag counts before a variable, that before the file, and that
    before the default. Lines can be pasted into lpdif.toml, below the [table] they
    stand in.

    Usage: lpdif config show [OPTIONS]
    """
    console: Console = context.obj
    console.setup("config", as_json=json, quiet=quiet, verbose=verbose)
    if action != "show":
        raise UsageError(f"config cannot {action!r}", "write: lpdif config show")
    chosen = resolve(None, {"workspace": workspace, "device": device, "seed": seed, "threads": threads}, config)
    values = dataclasses.asdict(chosen.config)
    found: dict[str, dict[str, object]] = {}
    stages = list(values)
    for key in sorted(all_keys(), key=lambda key: stages.index(key.partition(".")[0]) if "." in key else -1):
        stage, _, name = key.rpartition(".")
        value = chosen.model if key == "reconstruct.model" else chosen.seed if key == "seed" else (values[stage] if stage else values)[name]
        weaker = "seed" if name == "seed" and "seed" in chosen.origins else ""  # it counts for every stage without one of its own
        source = chosen.origins.get(key) or chosen.origins.get(weaker) or "default"
        found[key] = {"value": value, "source": source, "about": ABOUT[key]}
    lines: list[str] = []
    rows = [(written(key.rpartition(".")[2], entry["value"]), f"# {entry['source']}") for key, entry in found.items()]
    before = ""
    for key, line in zip(found, table(rows), strict=True):
        stage = key.rpartition(".")[0]
        if stage != before:
            lines += ["", f"[{stage}]"]
        before = stage
        lines += [f"# {ABOUT[key]}", line]
    console.result({"settings": found, "file": str(config or Path("lpdif.toml"))}, *lines)


def written(name: str, value: object) -> str:
    """A setting as it stands in a settings file; a model that is not chosen as a comment, because there is no word for it."""
    if name == "model" and value is None:
        return "# model is that of the workspace, or bundled"
    return f"{name} = {dumps('auto' if value is None else value) if value is None or isinstance(value, str) else show_value(value)}"
