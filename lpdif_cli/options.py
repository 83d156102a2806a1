"""The options that are alike everywhere. Their values come as text: settings.py reads them, and so words the errors once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Workspace = Annotated[str | None, typer.Option(metavar="DIR", help="Samples and models [./lpdif-workspace].")]
Device = Annotated[str | None, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:N [auto].")]
Seed = Annotated[str | None, typer.Option(metavar="N", help="Same seed, same result [0].")]
Threads = Annotated[str | None, typer.Option(metavar="N", help="CPU threads; 0: as many as there are [0].")]
Config = Annotated[Path | None, typer.Option(metavar="FILE.toml", help="Settings file [./lpdif.toml, if it is there].")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is already there.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from where an earlier run stopped.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, write nothing.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only warnings and errors on stderr.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Every detail on stderr, and tracebacks.")]
Patterns = Annotated[str | None, typer.Option(metavar="K", help="Number of patterns [8].")]
