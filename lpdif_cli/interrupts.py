"""Ctrl-C, SIGTERM and SIGHUP end a run at once, whatever it is at, and which one it was decides the exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

from lpdif.shutdown import end_process, handle_signals

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP


def tell_bare(message: str) -> None:
    """How the end is told before there is a console."""
    if sys.stderr is not None:
        sys.stderr.write(f"error: {message}\n")
        sys.stderr.flush()


class Interrupts:
    """Remembers the signal that ended the run; `tell` says so."""

    def __init__(self) -> None:
        self.caught: int | None = None
        self.tell: Callable[[str], None] = tell_bare
        self._acknowledge: Callable[[], None] | None = None
        self._over = False
        self._lock = threading.Lock()  # of which signal comes first, and whether one comes before the end

    @property
    def exit_code(self) -> int:
        """128 and the signal's number; Ctrl-C (130) if it came some other way."""
        return 128 + (self.caught or signal.SIGINT)

    @property
    def message(self) -> str:
        """What ended the run, in words."""
        return f"stopped by {signal.Signals(self.caught or signal.SIGINT).name}"

    def watch(self) -> None:
        """From now on signals end the process; those that are ignored, as nohup has it, stay so. In the main thread, once a process."""
        handle_signals(NUMBERS, self._heard)

    def over(self) -> None:
        """The work is done and told: signals no longer change how this run ends."""
        with self._lock:
            self._over = True
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def first(self, acknowledge: Callable[[], None] | None) -> None:
        """What the first signal does from now on: it is acknowledged and noted in `caught`, to be heeded soon, and the second one ends the
        process; None: it ends the process."""
        with self._lock:
            self._acknowledge = acknowledge

    def _heard(self, number: int) -> None:
        """A signal has come. Not in the main thread."""
        with self._lock:
            if self._over:
                return
            if self.caught is None and self._acknowledge is not None:
                teller = threading.Thread(target=self._acknowledge, daemon=True)  # which may be stuck in its stream, and others are to be heard
                teller.start()
                teller.join(1.0)
                self.caught = number  # what is said of it comes after the answer
                return
            self.caught = number
            end_process(self.exit_code, lambda: self.tell(self.message))
