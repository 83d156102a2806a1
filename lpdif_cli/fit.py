"""`lpdif fit`: samples -> model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import typer

import lpdif
from lpdif.errors import UsageError
from lpdif.locking import check_free
from lpdif.words import counted
from lpdif_cli import options
from lpdif_cli.console import Console, command_line, duration, table
from lpdif_cli.settings import resolve, workspace_words


def fit(
    context: typer.Context,
    patterns: options.Patterns = None,
    workspace: options.Workspace = None,
    device: options.Device = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    config: options.Config = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif fit --patterns 8

    Learns a model from the samples of the workspace: encoder and one decoder on
    all regions, then their codes fall into patterns, then a decoder for each
    pattern, rare regions counting for more. --patterns 1 is the plain
    single-decoder baseline.

    Usage: lpdif fit [OPTIONS]

    Ctrl-C finishes the step and keeps a snapshot; --resume goes on from it and
    ends where the straight run would have ended. `lpdif reconstruct` uses the
    model from then on.
    """
    console: Console = context.obj
    console.setup("fit", as_json=json, quiet=quiet, verbose=verbose)
    flags = {"fit.patterns": patterns, "workspace": workspace, "device": device, "seed": seed, "threads": threads}
    chosen = resolve("fit", flags, config)
    place = lpdif.Workspace(chosen.config.workspace)
    check_start(place, overwrite, resume)
    scans = len(place.shards())
    plan = dataclasses.replace(chosen.config.fit, resume=resume)
    if dry_run:
        steps = f"{plan.shared_steps:,} + {plan.pattern_steps:,} steps"
        console.say(f"would fit {counted(plan.patterns, 'pattern')} to the samples of {counted(scans, 'scan')} in {steps}; nothing was done")
        console.result({"dry_run": True, "model": str(place.model), **dataclasses.asdict(plan)}, str(place.model))
        return
    lpdif.use_threads(chosen.config.threads)
    with console.interrupts.patient() as stop:
        report = lpdif.fit(place.root, plan, chosen.config.device, progress=console.progress, stop=said_aloud(stop, console))
    if report.stopped:
        console.say(f"kept a snapshot after {counted(report.steps, 'step')}")
        console.stop_hint = "go on with: " + command_line("fit", "--resume", *given(patterns, place.root, seed))
        raise KeyboardInterrupt
    console.interrupts.caught = None  # a wish to stop that came with the last step was granted
    console.say("held-out regions, error near the surface in region sizes:")
    for line in table([(name, f"{value:.4f}") for name, value in report.validation.items()], right=[1]):
        console.say("  " + line)
    console.say(f"wrote {report.model}: {counted(report.steps, 'step')} in {duration(console.elapsed())}")
    console.next("reconstruct", "SCAN", "-o", "MESH.ply", *workspace_words(place.root))
    console.result({"model": str(report.model), "steps": report.steps, "validation": report.validation}, str(report.model))


def check_start(place: lpdif.Workspace, overwrite: bool, resume: bool) -> None:
    """Raises UsageError where a new fit would replace an earlier one unasked, BusyError where that one is still at work."""
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude each other", "choose one")
    if overwrite or resume:
        return
    check_free(place.root)
    if place.model.exists():
        raise UsageError(f"{place.model}: already there", "pass --overwrite to fit anew")
    if place.snapshot.exists():
        raise UsageError(f"{place.snapshot}: an earlier fit was stopped here", "pass --resume to go on, or --overwrite to fit anew")


def said_aloud(stop: Callable[[], bool], console: Console) -> Callable[[], bool]:
    """`stop`, which also tells the user that the wish was heard."""
    told = False

    def asked() -> bool:
        nonlocal told
        if stop() and not told:
            told = True
            console.say("stopping after this step, with a snapshot; press Ctrl-C again to stop at once")
        return told

    return asked


def given(patterns: str | None, place: Path, seed: str | None) -> list[str]:
    """The flags of this run that its continuation needs too."""
    words = [*workspace_words(place)]
    words += ["--patterns", patterns] if patterns is not None else []
    return words + (["--seed", seed] if seed is not None else [])
