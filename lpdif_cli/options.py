"""The options that several commands share.

Their values are text, which settings.py reads, so that errors have one wording.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lpdif.errors import UsageError
from lpdif_cli.completion import among

Y_UP = (".glb", ".gltf")  # in these formats y points up
UPS = ("x", "y", "z", "-x", "-y", "-z")
RUN, SHOWN = "Run", "What is shown"  # headings in the help

Workspace = Annotated[str | None, typer.Option(metavar="DIR", help="Samples and models [./lpdif-workspace].", rich_help_panel=RUN)]
Device = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N [auto].", rich_help_panel=RUN, autocompletion=among("auto", "cpu", "cuda")),
]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Same seed, same result [0].", rich_help_panel=RUN)]
Threads = Annotated[str | None, typer.Option(metavar="N", help="CPU threads; 0: one per core [0].", rich_help_panel=RUN)]
Processes = Annotated[str | None, typer.Option(metavar="N", help="Processes that share out each step; a GPU each [1].", rich_help_panel=RUN)]
MaxMemory = Annotated[str | None, typer.Option(metavar="SIZE", help="Most memory to take, as 4G [3/4 of what is free].", rich_help_panel=RUN)]
Config = Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings file [./lpdif.toml, if it exists].", rich_help_panel=RUN)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.", rich_help_panel=RUN)]
Resume = Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.", rich_help_panel=RUN)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check options and paths, write nothing.", rich_help_panel=RUN)]
Samples = Annotated[str | None, typer.Option(metavar="DIR", help="Workspace to take the samples from [its own].", rich_help_panel=RUN)]
Report = Annotated[str | None, typer.Option(metavar="FILE.html", help="Also write a page about the run.", rich_help_panel=RUN)]
Up = Annotated[
    str | None,
    typer.Option(metavar="AXIS", help="Axis that points up in pictures [z; GLB: y].", rich_help_panel=SHOWN, autocompletion=among(*UPS)),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.", rich_help_panel=SHOWN)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings and errors.", rich_help_panel=SHOWN)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show every detail, and tracebacks.", rich_help_panel=SHOWN)]
Patterns = Annotated[str | None, typer.Option(metavar="K", help="Number of patterns [8].")]
Start = Annotated[str | None, typer.Option(metavar="FILE", help="Model to go on from, or: bundled [fresh].")]


def up_axis(given: str | None, path: Path | None) -> str:
    """The axis that points up in pictures of a file; None for stdin. Raises UsageError where `given` is none."""
    if given is not None and given not in UPS:
        raise UsageError(f"--up {given}: no axis", f"it is one of {', '.join(UPS)}")
    return given or ("y" if path is not None and path.suffix.lower() in Y_UP else "z")
