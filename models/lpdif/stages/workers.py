"""Processes at work: what they say is kept and handed back with what they find, so that the process that waits for them can tell it."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, ParamSpec, TypeVar

from lpdif.errors import LpdifError

log = logging.getLogger("lpdif")

Found = TypeVar("Found")
Given = ParamSpec("Given")


@dataclass(frozen=True)
class Heard(Generic[Found]):
    """What a piece of work has found, or the error of lpdif that ended it, and (level, text) of all it said meanwhile."""

    found: Found | None
    error: LpdifError | None
    said: list[tuple[int, str]]


def heard(work: Callable[Given, Found], level: int, /, *arguments: Given.args, **more: Given.kwargs) -> Heard[Found]:
    """What `work` gives of its arguments, and what it says from `level` on. Errors that are none of lpdif's are raised."""
    with kept_words(level) as said:
        try:
            return Heard(work(*arguments, **more), None, said)
        except LpdifError as error:
            return Heard(None, error, said)


@contextmanager
def kept_words(level: int) -> Iterator[list[tuple[int, str]]]:
    """Within this block what is logged goes to this list, and nowhere else. Python's warnings are for developers: a detail."""
    said: list[tuple[int, str]] = []
    noise = logging.getLogger("py.warnings")
    before = [(logger, logger.handlers, logger.propagate, logger.level) for logger in (log, noise)]
    for logger in (log, noise):
        logger.handlers, logger.propagate = [_Keeper(said, logger is noise)], False
    log.setLevel(level)
    try:
        yield said
    finally:
        for logger, handlers, propagate, threshold in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(threshold)


class _Keeper(logging.Handler):
    """Writes (level, text) into a list."""

    def __init__(self, said: list[tuple[int, str]], details: bool) -> None:
        super().__init__()
        self.said = said
        self.details = details

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((logging.DEBUG if self.details else record.levelno, record.getMessage()))


def begin_work() -> None:
    """A worker process leaves the other cores to its siblings, and Ctrl-C to its parent, which lets it finish its file. It ends
    when its parent does, however that ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.captureWarnings(True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def end_with_parent() -> None:
    """Waits for the end of the process that started this one, and ends this one with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # whatever the other threads do: nobody waits for it


@contextmanager
def safe_path() -> Iterator[None]:
    """Within this block Python starts processes that import nothing of the current folder; by itself it puts that before all else."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
