"""Processes at work: what they say is kept and handed back with what they find, so that the process that waits for them can tell it; and
however that ends, they end too."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar

from lpdif.errors import LpdifError
from lpdif.shutdown import add_cleanup, delay_shutdown, end_process, handle_signals, remove_cleanup

log = logging.getLogger("lpdif")

Found = TypeVar("Found")
Given = ParamSpec("Given")

_ASIDE = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}  # a terminal sends them to the workers too
_SOON = 0.5  # seconds that a worker has to undo what it has begun


@dataclass(frozen=True)
class Captured(Generic[Found]):
    """What a piece of work has found, or the error of lpdif that ended it, and (level, text) of all it said meanwhile."""

    found: Found | None
    error: LpdifError | None
    said: list[tuple[int, str]]


def captured(work: Callable[Given, Found], level: int, /, *arguments: Given.args, **more: Given.kwargs) -> Captured[Found]:
    """What `work` gives of its arguments, and what it says from `level` on. Errors that are none of lpdif's are raised."""
    with captured_log(level) as said:
        try:
            return Captured(work(*arguments, **more), None, said)
        except LpdifError as error:
            return Captured(None, error, said)


@contextmanager
def captured_log(level: int) -> Iterator[list[tuple[int, str]]]:
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


class WorkerEnded(Exception):
    """A worker was ended from outside before its work was done."""


class _Worker(NamedTuple):
    process: SpawnProcess
    pipe: Connection


def shared_out(work: Callable[..., Found], jobs: Sequence[tuple[Any, ...]], count: int) -> Generator[tuple[int, Found]]:
    """(number, what `work` gives) of each job, its arguments, as they are done by `count` processes.

    Raises what `work` raises, and WorkerEnded. No process is left when this ends, or the process that runs it; close it, if it may be left
    early.
    """
    workers: list[_Worker] = []
    busy: dict[Connection, int] = {}
    here = object()
    add_cleanup(here, lambda: stop_workers(workers))
    try:
        for _ in range(count):
            with delay_shutdown(), safe_path(), aside():
                workers.append(_start())
        waiting = iter(enumerate(jobs))
        for worker, (number, job) in zip(workers, waiting, strict=False):
            busy[worker.pipe] = number
            _hand(worker.pipe, work, job)
        while busy:
            ready = wait(list(busy))
            for pipe in [pipe for pipe in busy if pipe in ready]:
                number, (found, error) = busy.pop(pipe), _taken(pipe)
                if error is not None:
                    raise error
                yield number, found
                following = next(waiting, None)
                if following is not None:
                    busy[pipe] = following[0]
                    _hand(pipe, work, following[1])
    finally:
        stop_workers(workers)
        remove_cleanup(here)


def _start() -> _Worker:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _hand(pipe: Connection, work: Callable[..., Any], job: tuple[Any, ...]) -> None:
    try:
        pipe.send((work, job))
    except ConnectionError:
        raise WorkerEnded from None


def _taken(pipe: Connection) -> tuple[Any, BaseException | None]:
    try:
        found: tuple[Any, BaseException | None] = pipe.recv()
    except (EOFError, ConnectionError):
        raise WorkerEnded from None
    return found


def serve(pipe: Connection) -> None:
    """A worker process: does what comes through the pipe until its other end is closed."""
    start_worker()
    while True:
        try:
            work, job = pipe.recv()
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = work(*job), None
        except Exception as error:  # not its own to tell
            error.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
            answer = None, error
        with suppress(ConnectionError):  # nobody waits for it: this one is about to be ended
            pipe.send(answer)


@contextmanager
def aside() -> Iterator[None]:
    """A process that is started within this block hears nothing of what a terminal sends to all, until it can ignore it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first process to be started brings it along, and it ends the blocking of others
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ASIDE)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_workers(workers: Sequence[_Worker]) -> None:
    """End these processes: they undo what they have begun; those that are too deep in other work for it are killed."""
    for worker in workers:
        worker.process.terminate()
    until = time.monotonic() + _SOON
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        worker.process.kill()
        worker.process.join()


def start_worker() -> None:
    """A worker process leaves the other cores to its siblings, and what a terminal sends to all to its parent. It ends when its parent
    does, however that ends, and when it is told to."""
    for number in _ASIDE:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _ASIDE)
    handle_signals([signal.SIGTERM], lambda number: end_process(128 + number))
    logging.captureWarnings(True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def end_with_parent() -> None:
    """Waits for the end of the process that started this one, and ends this one with it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        end_process(1)  # whatever the other threads do: nobody waits for it


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
