"""All output: the result on stdout, everything else on stderr.

Colour and progress bars are for terminals alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from lpdif import __version__
from lpdif.errors import UsageError
from lpdif.report.page import Message
from lpdif.storage.strict_json import dump
from lpdif.text import printable
from lpdif_cli.interrupts import Interrupts
from lpdif_cli.wording import command_line, duration, one_line

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

log = logging.getLogger("lpdif")

BAR_AFTER = 1.0  # A progress bar is shown after so many seconds of work.
LINE_AFTER = 10.0  # A progress line is written after so many seconds of work, and on a terminal after as many again.
LONGEST_PAUSE = 600.0  # Elsewhere the pause doubles after each line, up to so many seconds, so that the log stays short.


SCHEMA_VERSION = 1  # of the documents of --json: it grows where a key goes or changes its meaning, not where one is added


def versions() -> dict[str, str]:
    """The versions that a result may depend on, without loading their packages."""
    found = {"lpdif": __version__, "python": platform.python_version()}
    for name in ("torch", "numpy"):
        with contextlib.suppress(metadata.PackageNotFoundError):  # it was installed in another way
            found[name] = metadata.version(name)
    return found


@dataclass
class _Work:
    """Work whose progress is shown.

    began: when, in seconds; before, done: the units done at its first and at its last report; told: when the last line was written;
    pause: seconds from there to the next line.
    """

    began: float
    before: int
    done: int
    told: float
    pause: float = LINE_AFTER


class Console:
    """Everything that one run prints. Made once a process; the command sets it up with the user's options."""

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, interrupts: Interrupts | None = None) -> None:
        self.out = out or sys.stdout
        self.err = err or sys.stderr
        self.started = time.monotonic()
        self.command = ""
        self.arguments: Sequence[str] = ()  # as they were typed
        self.told: list[Message] = []  # what was said and warned of, for reports and --json
        self.json = False
        self.quiet = False
        self.verbose = False
        self.interrupts = interrupts or Interrupts()
        self.interrupts.tell = self._ended
        self.stop_hint = "nothing half-written is left behind"  # the hint after Ctrl-C
        self.where: tuple[str, ...] = ()  # options that suggested commands need for the same workspace and settings
        self.hints = self.err.isatty()  # whether to say what to run next
        self._answered = False
        self._bar: Bar | None = None
        self._tasks: dict[str, TaskID] = {}
        self._work: dict[str, _Work] = {}

    def setup(self, command: str, *, as_json: bool, quiet: bool, verbose: bool) -> None:
        """Sets the options of output that the user gave."""
        if quiet and verbose:
            raise UsageError("--quiet and --verbose exclude each other", "choose one")
        self.command, self.json, self.quiet, self.verbose = command, as_json, quiet, verbose
        log.setLevel(logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO)

    @property
    def lively(self) -> bool:
        """Whether stderr is a terminal that may show colour and progress bars."""
        dumb = os.environ.get("TERM", "") in {"", "dumb"} and sys.platform != "win32"
        return self.err.isatty() and not dumb and not os.environ.get("NO_COLOR")

    def elapsed(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self.started

    def result(self, document: Mapping[str, object], *lines: str | Path) -> None:
        """Prints the result: `document` as JSON with --json, else `lines`. Once a run.

        Control characters in lines are replaced. A path stays as it is, byte for byte, unless stdout is a terminal, as with `ls`.
        """
        self.stop_bar()
        self._answered = True
        if self.json:
            head = {"schema_version": SCHEMA_VERSION, "command": self.command, "seconds": round(self.elapsed(), 3)}
            tail = {"warnings": [one_line(message.text) for message in self.told if message.warning], "versions": versions()}
            self.out.write(dump({**head, **document, **tail}, indent=2) + "\n")
        else:
            raw = not self.out.isatty()
            self.out.writelines((str(line) if raw and isinstance(line, Path) else printable(str(line))) + "\n" for line in lines)
        self.out.flush()

    def binary_result(self, data: bytes) -> None:
        """Writes a result that is the content of a file."""
        self.stop_bar()
        self._answered = True
        rest = memoryview(data)
        while rest:  # without buffering (PYTHONUNBUFFERED) a write may take only a part
            rest = rest[self.out.buffer.write(rest) :]
        self.out.buffer.flush()

    def say(self, text: str) -> None:
        """Writes a line for the user, unless -q."""
        self.told.append(Message(text))
        if not self.quiet:
            self._line(text)

    def acknowledge(self, text: str) -> None:
        """Writes the answer to a signal, even with -q."""
        self._line(text)

    def next(self, *words: str) -> None:
        """Writes the command to run next, for a person at a terminal."""
        if self.hints and not self.quiet:
            self._line("next: " + command_line(*words))

    def warn(self, text: str) -> None:
        """Writes a warning."""
        self.told.append(Message(text, warning=True))
        self._line(text, "warning: ", "yellow")

    def failure(self, message: str, hint: str, code: int) -> None:
        """Writes an error with its hint.

        With --json also writes it as a document on stdout, unless the result has been printed.
        """
        self.stop_bar()
        self._line(message, "error: ", "bold red")
        if hint:
            self._line(hint, "  hint: ", "bold")
        if self.json and not self._answered:
            self.result({"error": {"message": one_line(message), "hint": one_line(hint), "exit_code": code}})

    def _ended(self, message: str) -> None:
        """Reports the signal that ends the process, and silences the main thread."""
        self.quiet = True
        self.failure(message, self.stop_hint, self.interrupts.exit_code)

    def trace(self, error: BaseException) -> None:
        """Writes the traceback, with -v."""
        if self.verbose:
            self.stop_bar()
            lines = "".join(traceback.format_exception(error)).splitlines()
            self.err.writelines(printable(line) + "\n" for line in lines)

    def progress(self, what: str, done: int, total: int) -> None:
        """Shows the progress that library calls report, with the time left.

        On a terminal it is a bar, elsewhere lines now and then.
        """
        now = time.monotonic()
        work = self._work.get(what)
        if work is None or done < work.done:  # the same work has begun again
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
        """Removes the progress bar."""
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
        """Removes the bar of work that is done, and the whole display with the last bar."""
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
    """Writes the log messages of the library as lines."""

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
    """Sends the library's log to `console` within this block, and Python's warnings too, with -v."""
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
    """Writes Python's warnings, which are for developers, with -v alone."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        if self.console.verbose:
            self.console.say(record.getMessage())
