"""Ctrl-C and SIGTERM: both arrive as KeyboardInterrupt, so that every clean-up runs; which one it was decides the exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """Remembers the signal that ended the run."""

    def __init__(self) -> None:
        self.caught: int | None = None
        self._patient = False

    @property
    def exit_code(self) -> int:
        """128 and the signal's number; Ctrl-C (130) if it came some other way."""
        return 128 + (self.caught or signal.SIGINT)

    @property
    def name(self) -> str:
        """The signal's name."""
        return signal.Signals(self.caught or signal.SIGINT).name

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within this block SIGINT and SIGTERM raise KeyboardInterrupt."""
        before = {number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def patient(self) -> Iterator[Callable[[], bool]]:
        """Within this block the first signal is only noted: the block gets a function that says whether to stop at the next good
        moment. The second signal stops at once."""
        self._patient = True
        try:
            yield lambda: self.caught is not None
        finally:
            self._patient = False

    def check(self) -> None:
        """Raises KeyboardInterrupt if a signal came and its exception was swallowed, as happens to those that arrive while a
        library is being imported."""
        if self.caught is not None and not self._patient:
            raise KeyboardInterrupt

    def _note(self, number: int, _frame: FrameType | None) -> None:
        first = self.caught is None
        self.caught = number
        if not (self._patient and first):
            raise KeyboardInterrupt
