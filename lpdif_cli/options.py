"""The options that several commands share.

Their values are text, which settings.py reads, so that errors have one wording.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workspace = Annotated[str | None, typer.Option(metavar="DIR", help="Samples and models [./lpdif-workspace].")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N [auto].")]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Same seed, same result [0].")]
Threads = Annotated[str | None, typer.Option(metavar="N", help="CPU threads; 0: one per core [0].")]
Config = Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings file [./lpdif.toml, if it exists].")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing results.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue a run that was stopped.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check options and paths, write nothing.")]
Samples = Annotated[str | None, typer.Option(metavar="DIR", help="Workspace to take the samples from [its own].")]
Report = Annotated[str | None, typer.Option(metavar="FILE.html", help="Also write a page about the run.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings and errors.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show every detail, and tracebacks.")]
Patterns = Annotated[str | None, typer.Option(metavar="K", help="Number of patterns [8].")]
