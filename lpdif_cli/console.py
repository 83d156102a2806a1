"""What the user sees: the result on stdout, everything else on stderr; colour and moving bars on a terminal alone."""

from __future__ import annotations

import logging
import math
import os
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lpdif.errors import UsageError
from lpdif.storage.strict_json import dump
from lpdif.text import printable
from lpdif_cli.interrupts import Interrupts

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

log = logging.getLogger("lpdif")

BAR_AFTER = 1.0  # seconds of work before a bar is worth showing
LINE_AFTER = 10.0  # seconds of work before a plain progress line is; and between two of them where they are watched
LONGEST_PAUSE = 600.0  # elsewhere the pauses double up to this, so that hours leave no long log


@dataclass
class _Work:
    """A piece of work: when it began, what was done at its first report (all later ones are measured from there) and at its last,
    when a line was last written, and how long after it the next one is."""

    began: float
    before: int
    done: int
    told: float
    pause: float = LINE_AFTER


class Console:
    """One run's voice. Made once a process, told by the command what the user asked for, passed around."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, interrupts: Interrupts | None = None) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.started = time.monotonic()
        self.command = ""
        self.json = False
        self.quiet = False
        self.verbose = False
        self.interrupts = interrupts or Interrupts()
        self.interrupts.tell = self._ended
        self.stop_hint = "nothing half-written is left behind"  # what to do after Ctrl-C
        self.where: tuple[str, ...] = ()  # what suggested commands need to find the workspace and the settings of this run
        self._answered = False
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}
        self._work: dict[str, _Work] = {}

    def setup(self, command: str, *, as_json: bool, quiet: bool, verbose: bool) -> None:
        """Take the manners the user asked for."""
        if quiet and verbose:
            raise UsageError("--quiet and --verbose exclude each other", "choose one")
        self.command, self.json, self.quiet, self.verbose = command, as_json, quiet, verbose
        log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)

    @property
    def lively(self) -> bool:
        """True where colour and moving bars are welcome."""
        dumb = os.environ.get("TERM", "") in {"", "dumb"} and sys.platform != "win32"
        return self.err.isatty() and not dumb and not os.environ.get("NO_COLOR")

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    def result(self, document: Mapping[str, object], *lines: str | Path) -> None:
        """The result: `document` as JSON with --json, else `lines`. Once a run.

        Lines of text are for people. A path is for the next command: off a terminal it is written as it is, byte for byte, as `ls` does.
        """
        self.stop_bar()
        self._answered = True
        if self.json:
            head = {"command": self.command, "seconds": round(self.elapsed(), 3)}
            self.out.write(dump({**head, **document}, indent=2) + "\n")
        else:
            raw = not self.out.isatty()
            self.out.writelines((str(line) if raw and isinstance(line, Path) else printable(str(line))) + "\n" for line in lines)
        self.out.flush()

    def binary_result(self, data: bytes) -> None:
        """The result where it is a file's content."""
        self.stop_bar()
        self._answered = True
        rest = memoryview(data)
        while rest:  # where Python is told not to buffer (PYTHONUNBUFFERED), a write may take a part and say nothing of the rest
            rest = rest[self.out.buffer.write(rest) :]
        self.out.buffer.flush()

    def say(self, text: str) -> None:
        """A line for the user, unless -q."""
        if not self.quiet:
            self._line(text)

    def acknowledge(self, text: str) -> None:
        """An answer to a signal, which comes even with -q."""
        self._line(text)

    def next(self, *words: str) -> None:
        """The command that comes next."""
        self.say("next: " + command_line(*words))

    def warn(self, text: str) -> None:
        """A line the user should look at."""
        self._line(text, "warning: ", "yellow")

    def failure(self, message: str, hint: str, code: int) -> None:
        """The error form; with --json also a document on stdout, unless the result is already there."""
        self.stop_bar()
        self._line(message, "error: ", "bold red")
        if hint:
            self._line(hint, "  hint: ", "bold")
        if self.json and not self._answered:
            self.result({"error": {"message": one_line(message), "hint": one_line(hint), "exit_code": code}})

    def _ended(self, message: str) -> None:
        """A signal ends the process; what the main thread is at has no more to say."""
        self.quiet = True
        self.failure(message, self.stop_hint, self.interrupts.exit_code)

    def trace(self, error: BaseException) -> None:
        """The traceback, with -v."""
        if self.verbose:
            self.stop_bar()
            lines = "".join(traceback.format_exception(error)).splitlines()
            self.err.writelines(printable(line) + "\n" for line in lines)

    def progress(self, what: str, done: int, total: int) -> None:
        """The Progress that library calls report to: a bar with the time left on a terminal, a line with it now and then elsewhere."""
        now = time.monotonic()
        work = self._work.get(what)
        if work is None or done < work.done:  # the same work once more: the last one was given up
            work = self._work[what] = _Work(now, done, done, now)
        work.done = done
        if self.quiet:
            return
        if done >= total > 0:
            self._forget(what)
        elif self.lively:
            if now - work.began >= BAR_AFTER:
                self._move_bar(what, done, total)
        elif now - work.told >= work.pause:
            work.told = now
            if not (self.verbose or self.err.isatty()):
                work.pause = min(2 * work.pause, LONGEST_PAUSE)
            made = done - work.before
            left = f", {duration((now - work.began) * (total - done) / made)} left" if made and total else ""
            share = f" ({100 * done // total} %)" if total else ""
            self._line(f"{what}: {done:,} of {total:,}{share}{left}")

    def stop_bar(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
            self._tasks.clear()

    def _move_bar(self, what: str, done: int, total: int) -> None:
        if self._bar is None:
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("left"),
                console=RichConsole(file=self.err, highlight=False),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._bar.start()
        if what not in self._tasks:
            self._tasks[what] = self._bar.add_task(one_line(what), total=total, completed=done)  # speed counts from here
        self._bar.update(self._tasks[what], completed=done, total=total)

    def _forget(self, what: str) -> None:
        """A piece of work is done: its bar goes, and the last one takes the whole display with it."""
        del self._work[what]
        if self._bar is not None and what in self._tasks:
            self._bar.remove_task(self._tasks.pop(what))
            if not self._tasks:
                self.stop_bar()

    def _line(self, text: str, label: str = "", style: str = "") -> None:
        text = one_line(text)
        if not self.lively:
            self.err.write(label + text + "\n")
            self.err.flush()
            return
        from rich.console import Console as RichConsole
        from rich.text import Text

        console = self._bar.console if self._bar is not None else RichConsole(file=self.err, highlight=False)
        console.print(Text.assemble((label, style), text), soft_wrap=True)


class _ToConsole(logging.Handler):
    """Shows the log records of the library as lines."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.WARNING:
            self.console.warn(record.getMessage())
        else:
            self.console.say(record.getMessage())


@contextmanager
def listening(console: Console) -> Iterator[None]:
    """Within this block the library's log goes to `console`, and Python's warnings to its -v lines."""
    handler = _ToConsole(console)
    level, propagate = log.level, log.propagate
    noise = logging.getLogger("py.warnings")
    log.addHandler(handler)
    log.propagate = False
    log.setLevel(logging.INFO)
    forward = _Warnings(console)
    noise.addHandler(forward)
    noise_propagate, noise.propagate = noise.propagate, False
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        noise.removeHandler(forward)
        noise.propagate = noise_propagate
        log.removeHandler(handler)
        log.level, log.propagate = level, propagate
        console.stop_bar()


class _Warnings(logging.Handler):
    """Python warnings of the libraries below are for developers: shown with -v alone."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if self.console.verbose:
            self.console.say(record.getMessage())


def one_line(text: str) -> str:
    """`text` on one line and without control characters, which file names and messages may hold."""
    lines = text.splitlines()
    joined = text if len(lines) < 2 else " ".join(line.strip() for line in lines if line.strip())
    return printable(joined)


def command_line(*words: str) -> str:
    """A command as one would paste it."""
    return shlex.join(["lpdif", *words])


def duration(seconds: float) -> str:
    """A time span for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def figure(value: float, digits: int) -> str:
    """A number for people, - where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows of text as aligned lines; the columns `right` are flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    cells = [[c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]
