"""`lpdif fit`: learns a model from samples."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping

import typer

import lpdif
from lpdif.config import FRESH, FitConfig
from lpdif.errors import ModelError, UsageError
from lpdif.storage.lock import check_not_locked
from lpdif.text import counted
from lpdif_cli import options
from lpdif_cli.cards import FitState, read_fit_state
from lpdif_cli.console import Console
from lpdif_cli.devices import check_device
from lpdif_cli.reports import report_file, write_fit_report
from lpdif_cli.setting_values import read_value
from lpdif_cli.settings import given, resolve, same_place
from lpdif_cli.wording import command_line, duration, figure, table

STOPPING = "stopping after this step, with a snapshot; press Ctrl-C again to stop at once"


def fit(
    context: typer.Context,
    patterns: options.Patterns = None,
    start: options.Start = None,
    workspace: options.Workspace = None,
    samples: options.Samples = None,
    device: options.Device = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    processes: options.Processes = None,
    config: options.Config = None,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
    dry_run: options.DryRun = False,
    report: options.Report = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """
    lpdif fit --patterns 8

    Learns a model from the samples of the workspace: first an encoder and one
    decoder from all regions; then it groups their codes into patterns and learns a
    decoder for each, with larger weights for rare regions. --patterns 1 is the
    single-decoder baseline. --start goes on from a model that is there: its
    patterns learn from your samples, without a first stage.

    Usage: lpdif fit [OPTIONS]

    Ctrl-C finishes the step and keeps a snapshot; --resume goes on from it, with
    the same result as a run that was not stopped. After a finished fit --resume
    does nothing, unless `lpdif cluster` has grouped its codes again: then it
    repeats the pattern stage with the new patterns. `lpdif reconstruct` uses the
    model of the workspace.
    """
    console: Console = context.obj
    console.setup("fit", as_json=json, quiet=quiet, verbose=verbose)
    flags = {"fit.patterns": patterns, "fit.start": start, "workspace": workspace, "device": device, "seed": seed, "threads": threads}
    chosen = resolve("fit", flags, config)
    console.where = same_place(chosen, config)
    count = how_many(processes)
    if count is None and os.environ["RANK"] != "0":
        if not dry_run:
            help_first_process(console, chosen.config.device, chosen.config.threads)
        return
    check_device(chosen.config.device)
    place = lpdif.Workspace(chosen.config.workspace, samples)
    check_start(place, overwrite, resume)
    page = report_file(report, overwrite, console, chosen, "fit", lambda: {"samples": str(place.samples)})
    scans = len(place.shards())
    plan = dataclasses.replace(chosen.config.fit, resume=resume)
    if resume:
        plan = resumed(plan, read_fit_state(place.snapshot, place.root), chosen.origins)
    if page is not None:
        page.check(continues=resume)
    if resume and "fit.patterns" in chosen.origins:
        warn_about_patterns(place, plan.patterns, console)
    if dry_run:
        if resume:
            state = read_fit_state(place.snapshot, place.root)
            what = f"would go on with {counted(state.patterns, 'pattern')} after {state.step:,} of {counted(state.steps, 'step')}"
        else:
            if plan.start != FRESH:
                from lpdif.stages.fit_start import as_started, start_of

                plan = as_started(start_of(plan), plan)
            steps = f"{plan.shared_steps:,} + {plan.pattern_steps:,} steps"
            what = f"would fit {counted(plan.patterns, 'pattern')} to the samples of {counted(scans, 'scan')} in {steps}"
            what += f", going on from {plan.start}" if plan.start != FRESH else ""
        console.say(f"{what}; nothing was done")
        console.result({"dry_run": True, "model": str(place.model), **dataclasses.asdict(plan)}, place.model)
        return
    lpdif.use_threads(chosen.config.threads)
    same = [
        *given("--start", start),
        *given("--samples", samples),
        *given("--seed", seed),
        *given("--device", device),
        *given("--threads", threads),
        *given("--processes", processes),
        *given("--report", report),
    ]

    def go_on(grouped: str | int | None) -> str:
        return "go on with: " + command_line("fit", "--resume", *console.where, *given("--patterns", grouped), *same)

    def stop() -> bool:  # called after every step
        console.interrupts.first(lambda: console.acknowledge(STOPPING))
        return console.interrupts.caught is not None

    def progress(what: str, done: int, total: int) -> None:
        console.progress(what, done, total)
        if done == total:  # the last step is saved, so a signal may end the process
            console.stop_hint = go_on(patterns)
            console.interrupts.first(None)
            if console.interrupts.caught is not None:
                raise KeyboardInterrupt

    if resume:
        console.stop_hint = go_on(patterns)
    place_of_samples = place.samples_root
    done = lpdif.fit(place.root, plan, chosen.config.device, progress=progress, stop=stop, samples=place_of_samples, processes=count)
    if done.stopped:
        console.stop_hint = go_on(patterns and done.patterns)
        console.say(f"kept a snapshot after {counted(done.steps, 'step')}")
        if page is not None:
            write_fit_report(page, place, plan, done, chosen.config.device)
        raise KeyboardInterrupt
    console.say("held-out regions, error near the surface in region sizes:")
    for line in table([(name, figure(value, 4)) for name, value in done.validation.items()], right=[1]):
        console.say("  " + line)
    steps = counted(done.steps, "step")
    if done.written:
        now = f" ({done.made:,} of them now)" if done.made < done.steps else ""
        several = f" by {done.processes} processes" if done.processes > 1 else ""
        what = f"{counted(done.patterns, 'pattern')}, {steps}{now}{several}"
        console.say(f"wrote {done.model}: {what} in {duration(console.elapsed())}")
    else:
        console.say(f"nothing is left to do: all {steps} were done before; {done.model} stays as it is")
    if page is not None:
        write_fit_report(page, place, plan, done, chosen.config.device)
    console.next("reconstruct", "SCAN", "-o", "MESH.ply", *console.where)
    document = {"model": str(done.model), "patterns": done.patterns, "steps": done.steps, "steps_now": done.made, "processes": done.processes}
    document |= {"validation": done.validation, "written": done.written}
    console.result({**document, **({} if page is None else {"report": str(page.path)})}, done.model)


def how_many(processes: str | None) -> int | None:
    """The processes that the fit is to have; None: those that torchrun has started. Raises UsageError for both."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        count = read_value(processes or "1", int, "processes", "--processes", UsageError)
        assert isinstance(count, int)
        return count
    if processes is not None:
        raise UsageError("--processes under torchrun, which has started the processes", "give torchrun --nproc-per-node alone")
    return None if os.environ["WORLD_SIZE"] != "1" else 1


def help_first_process(console: Console, device: str, threads: int) -> None:
    """Helps the first process of torchrun, which alone speaks. A signal that comes here stops all, after the step."""
    from lpdif.stages.fit_processes import assist_torchrun

    console.interrupts.first(lambda: None)
    lpdif.use_threads(threads)
    assist_torchrun(device, lambda: console.interrupts.caught is not None)
    if console.interrupts.caught is not None:
        raise SystemExit(console.interrupts.exit_code)


def check_start(place: lpdif.Workspace, overwrite: bool, resume: bool) -> None:
    """Raises UsageError where a fit would replace an earlier one without --overwrite.

    Also BusyError where another run is at work there, and ModelError where there is no snapshot to resume.
    """
    if overwrite and resume:
        raise UsageError("--overwrite and --resume exclude each other", "choose one")
    if resume and not place.snapshot.exists():
        raise ModelError(f"{place.snapshot}: nothing to resume", "start without --resume")
    if overwrite or resume:
        return
    check_not_locked(place.root)
    remedy = "pass --resume to go on, or --overwrite to fit anew" if place.snapshot.exists() else "pass --overwrite to fit anew"
    if place.model.exists():
        raise UsageError(f"{place.model}: already there", remedy)
    if place.snapshot.exists():
        raise UsageError(f"{place.snapshot}: an earlier fit was stopped here", remedy)


def resumed(plan: FitConfig, state: FitState, origins: Mapping[str, str]) -> FitConfig:
    """The settings with which a fit goes on.

    Those that were given, by a flag, a variable or a file; the others are the snapshot's.
    """
    given = {name for name in origins if name.startswith("fit.")} | ({"fit.seed"} if "seed" in origins else set())
    same = {f.name for f in dataclasses.fields(FitConfig)} - {"resume", "snapshot_every"}
    return dataclasses.replace(plan, **{name: getattr(state.settings, name) for name in same if f"fit.{name}" not in given})


def warn_about_patterns(place: lpdif.Workspace, wanted: int, console: Console) -> None:
    """Warns where the snapshot has another number of patterns than was asked for."""
    state = read_fit_state(place.snapshot, place.root)
    if state.grouped and state.patterns != wanted:
        anew = command_line("cluster", "--patterns", str(wanted), "--overwrite", *console.where)
        has = counted(state.patterns, "pattern")
        console.warn(f"{place.snapshot} has {has}, and the fit goes on with these; to try {wanted}, group its codes anew: {anew}")
