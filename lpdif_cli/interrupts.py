"""Ctrl-C, SIGTERM and SIGHUP end a run at once, whatever it does; the signal decides the exit code."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable

from lpdif.shutdown import end_process, handle_signals

NUMBERS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]  # Windows has no SIGHUP


def tell_bare(message: str) -> None:
    """Writes an error where there is no console yet."""
    if sys.stderr is not None:
        sys.stderr.write(f"error: {message}\n")
        sys.stderr.flush()


class Interrupts:
    """Handles signals. caught: the signal that came; tell: writes the message when the process ends."""

    def __init__(self) -> None:
        self.caught: int | None = None
        self.tell: Callable[[str], None] = tell_bare
        self._acknowledge: Callable[[], None] | None = None
        self._over = False
        self._lock = threading.Lock()  # for two signals at once, and a signal at the end of the run

    @property
    def exit_code(self) -> int:
        """128 plus the number of the signal; 130, as for Ctrl-C, where none was caught."""
        return 128 + (self.caught or signal.SIGINT)

    @property
    def message(self) -> str:
        """The message that the run was stopped."""
        return f"stopped by {signal.Signals(self.caught or signal.SIGINT).name}"

    def watch(self) -> None:
        """From now on signals end the process, except those that are ignored, as under nohup.

        Call it in the main thread, once a process.
        """
        handle_signals(NUMBERS, self._heard)

    def over(self) -> None:
        """From now on signals are ignored: the work is done, and the result is printed."""
        with self._lock:
            self._over = True
        for number in NUMBERS:
            signal.signal(number, signal.SIG_IGN)

    def first(self, acknowledge: Callable[[], None] | None) -> None:
        """Sets what the first signal does from now on.

        With `acknowledge` it is stored in `caught`, `acknowledge` is called, and only a second signal ends the process. With None the first
        one ends it.
        """
        with self._lock:
            self._acknowledge = acknowledge

    def _heard(self, number: int) -> None:
        """Handles a signal. Does not run in the main thread."""
        with self._lock:
            if self._over:
                return
            if self.caught is None and self._acknowledge is not None:
                teller = threading.Thread(target=self._acknowledge, daemon=True)  # it may block in its stream, and other signals may come
                teller.start()
                teller.join(1.0)
                self.caught = number  # set after the answer, so that messages about it come later
                return
            self.caught = number
            end_process(self.exit_code, lambda: self.tell(self.message))
