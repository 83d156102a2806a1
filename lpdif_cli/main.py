"""`lpdif`: registers the commands, and turns errors into exit codes."""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer

from lpdif import __version__
from lpdif.errors import UsageError
from lpdif.shutdown import delay_shutdown
from lpdif_cli import cluster, compare, config, demo, doctor, evaluate, fit, inspect, preprocess, reconstruct, view
from lpdif_cli.console import Console, listening
from lpdif_cli.failures import completed, describe
from lpdif_cli.helptext import Command, Group
from lpdif_cli.interrupts import Interrupts
from lpdif_cli.settings import describe_keys

BROKEN_PIPE = 141  # The exit code that a shell reports for a program whose reader is gone.

app = typer.Typer(
    cls=Group,
    name="lpdif",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 bug, 2 usage, 3 bad input, 4 bad model or settings,\n"
    "5 disk, memory or device, 6 workspace busy, 7 some scans of a batch failed,\n"
    "130/143/129 stopped by SIGINT, SIGTERM or SIGHUP.",
)


@app.callback(invoke_without_command=True)
def lpdif(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """
    lpdif reconstruct scan.ply -o mesh.ply

    Turns 3D scans into meshes with local implicit functions, one decoder for each
    pattern of local shape (LP-DIF). No scan at hand? `lpdif demo` makes one.

    Usage: lpdif COMMAND [OPTIONS]      (lpdif COMMAND --help shows more)
    """
    if version:
        typer.echo(f"lpdif {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


class _Stopped(Exception):
    """KeyboardInterrupt, in a form that typer does not handle by itself."""


class _ReaderGone(Exception):
    """BrokenPipeError, likewise."""


def check_here() -> None:
    """Raises UsageError where the current folder has been removed.

    Relative paths lead nowhere then, and torch does not load.
    """
    try:
        Path.cwd()
    except FileNotFoundError:
        raise UsageError("the current folder has been removed", "go to one that is there, as in: cd ~") from None


def _add(name: str, function: Callable[..., None], summary: str, epilog: str | None = None) -> None:
    """Registers a command."""

    @functools.wraps(function)
    def command(*args: object, **kwargs: object) -> None:
        check_here()
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt as error:
            raise _Stopped from error
        except BrokenPipeError as error:
            raise _ReaderGone from error

    app.command(name, cls=Command, short_help=summary, epilog=epilog)(command)


_add("reconstruct", reconstruct.reconstruct, "Turn a scan into a mesh.", describe_keys("reconstruct") + "\n\n" + describe_keys("output"))
_add("preprocess", preprocess.preprocess, "Turn scans and meshes into training samples.", describe_keys("preprocess"))
_add("fit", fit.fit, "Learn a model from samples.", describe_keys("fit"))
_add("cluster", cluster.cluster, "Group the codes of a fit into patterns again.", describe_keys("cluster"))
_add("evaluate", evaluate.evaluate, "Measure a mesh against the true one.")
_add("compare", compare.compare, "Compare models on the same meshes or scans.", describe_keys("compare"))
_add("inspect", inspect.inspect, "Show what a file or workspace is.")
_add("view", view.view, "Show a mesh, and its scan, in a page of HTML.")
_add("doctor", doctor.doctor, "Check that lpdif can run here.")
_add("config", config.config, "Show every setting and where it comes from.")
_add("demo", demo.demo, "Make a small scan to try.")


def run(arguments: Sequence[str], console: Console | None = None) -> int:
    """Runs `lpdif` with these arguments and returns its exit code. Raises nothing that a user can cause."""
    console = console or Console()
    console.arguments = arguments
    console.json = "--json" in arguments  # usage errors come before the command has parsed it
    interrupts = console.interrupts
    with listening(console):
        try:
            code = app(args=list(arguments), prog_name="lpdif", obj=console, standalone_mode=False)
            console.out.flush()
            return int(code or 0)
        except SystemExit as ended:  # completion ends so
            return int(ended.code or 0)
        except (_ReaderGone, BrokenPipeError):
            return BROKEN_PIPE
        except (_Stopped, KeyboardInterrupt):
            console.failure(interrupts.message, console.stop_hint, interrupts.exit_code)
            return interrupts.exit_code
        except Exception as error:  # every error is described, none is hidden
            with delay_shutdown():  # where the process is ending, wait: its errors are not reported
                pass
            failure = describe(error, console.command)
            console.trace(error)
            console.failure(failure.message, completed(failure.hint, console.where), failure.code)
            return failure.code


def main(interrupts: Interrupts | None = None) -> None:
    """Runs the process. interrupts: where signals are handled already."""
    if interrupts is None:
        interrupts = Interrupts()
        interrupts.watch()
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123
    sys.stdout.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]  # file names are bytes: print them as they are
    console = Console(interrupts=interrupts)
    code = run(sys.argv[1:], console)
    try:
        sys.stdout.flush()
    except OSError:  # reported already; it must not fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    interrupts.over()
    gc.freeze()  # what is left ends with the process: no need to walk through it once more
    sys.exit(code)
