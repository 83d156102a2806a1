"""Worker processes: they run jobs, return results and messages to their parent, and end when it does."""

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

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")

_TERMINAL_SIGNALS = {getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)}  # a terminal sends them to workers too
_TERMINATE_SECONDS = 0.5  # that workers have to clean up before they are killed
_KILL_SECONDS = 2.0  # that a killed worker is waited for; one that is stuck in the system ends later


@dataclass(frozen=True)
class Captured(Generic[Result]):
    """The result of a call, or the LpdifError that it raised, and what it logged.

    messages: (level, text) of each.
    """

    result: Result | None
    error: LpdifError | None
    messages: list[tuple[int, str]]


def capture(work: Callable[Parameters, Result], level: int, /, *arguments: Parameters.args, **more: Parameters.kwargs) -> Captured[Result]:
    """Calls `work` and captures its result, its LpdifError, and its messages of `level` and above.

    Other errors are raised.
    """
    with captured_log(level) as messages:
        try:
            return Captured(work(*arguments, **more), None, messages)
        except LpdifError as error:
            return Captured(None, error, messages)


@contextmanager
def captured_log(level: int) -> Iterator[list[tuple[int, str]]]:
    """Sends what is logged within this block to the list that it gives, and nowhere else.

    Python's warnings are for developers and get the level DEBUG.
    """
    messages: list[tuple[int, str]] = []
    warnings_log = logging.getLogger("py.warnings")
    before = [(logger, logger.handlers, logger.propagate, logger.level) for logger in (log, warnings_log)]
    for logger in (log, warnings_log):
        logger.handlers, logger.propagate = [_ListHandler(messages, logger is warnings_log)], False
    log.setLevel(level)
    try:
        yield messages
    finally:
        for logger, handlers, propagate, threshold in before:
            logger.handlers, logger.propagate = handlers, propagate
            logger.setLevel(threshold)


class _ListHandler(logging.Handler):
    """Appends the (level, text) of each record to a list."""

    def __init__(self, messages: list[tuple[int, str]], as_debug: bool) -> None:
        super().__init__()
        self.messages = messages
        self.as_debug = as_debug

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append((logging.DEBUG if self.as_debug else record.levelno, record.getMessage()))


class WorkerEnded(Exception):
    """A worker was ended from outside before its job was done."""


class _Worker(NamedTuple):
    process: SpawnProcess
    pipe: Connection


def run_jobs(work: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], count: int) -> Generator[tuple[int, Result]]:
    """Runs `work` on each job in `count` processes, and gives (number of the job, result) as each is done.

    A job is the arguments of a call. Raises what `work` raises, and WorkerEnded. No worker is left when the generator or this process ends;
    close the generator if it may be left early.
    """
    busy: dict[Connection, int] = {}
    with started_workers(count) as workers:
        waiting = iter(enumerate(jobs))
        for worker, (number, job) in zip(workers, waiting, strict=False):
            busy[worker.pipe] = number
            _send(worker.pipe, work, job)
        while busy:
            ready = wait(list(busy))
            for pipe in [pipe for pipe in busy if pipe in ready]:
                number, (result, error) = busy.pop(pipe), _receive(pipe)
                if error is not None:
                    raise error
                yield number, result
                following = next(waiting, None)
                if following is not None:
                    busy[pipe] = following[0]
                    _send(pipe, work, following[1])


@contextmanager
def jobs_beside(work: Callable[..., Any], jobs: Sequence[tuple[Any, ...]]) -> Iterator[Callable[[], bool]]:
    """Runs `work` on each job, in a process each, beside the block; gives a function that says whether all of them live.

    What they return or raise is dropped. No worker is left when the block or this process ends.
    """
    with started_workers(len(jobs)) as workers:
        for worker, job in zip(workers, jobs, strict=True):
            _send(worker.pipe, work, job)
        yield lambda: all(worker.process.is_alive() for worker in workers)


@contextmanager
def started_workers(count: int) -> Iterator[list[_Worker]]:
    """So many processes that wait for jobs. None is left when the block or this process ends."""
    workers: list[_Worker] = []
    cleanup = object()
    add_cleanup(cleanup, lambda: stop_workers(workers))
    try:
        for _ in range(count):
            with delay_shutdown(), safe_path(), block_terminal_signals():
                workers.append(_start())
        yield workers
    finally:
        stop_workers(workers)
        remove_cleanup(cleanup)


def _start() -> _Worker:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=run_worker, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _send(pipe: Connection, work: Callable[..., Any], job: tuple[Any, ...]) -> None:
    try:
        pipe.send((work, job))
    except ConnectionError:
        raise WorkerEnded from None


def _receive(pipe: Connection) -> tuple[Any, BaseException | None]:
    try:
        answer: tuple[Any, BaseException | None] = pipe.recv()
    except (EOFError, ConnectionError):
        raise WorkerEnded from None
    return answer


def run_worker(pipe: Connection) -> None:
    """Runs the jobs that come through the pipe, in a worker process, until its other end is closed."""
    start_worker()
    while True:
        try:
            work, job = pipe.recv()
        except EOFError:
            return
        answer: tuple[Any, Exception | None]
        try:
            answer = work(*job), None
        except Exception as error:  # the parent raises it
            error.add_note(f"in a worker process:\n{''.join(traceback.format_exception(error))}")
            answer = None, error
        with suppress(ConnectionError):  # the parent no longer waits for it and is about to end this worker
            pipe.send(answer)


@contextmanager
def block_terminal_signals() -> Iterator[None]:
    """Blocks a terminal's signals in the processes that are started within this block.

    They unblock them as soon as they ignore them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # the first process to be started would start it, which unblocks signals
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _TERMINAL_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def stop_workers(workers: Sequence[_Worker]) -> None:
    """Ends these processes: they get time to clean up, and those that need more are killed."""
    for worker in workers:
        worker.process.terminate()
    until = time.monotonic() + _TERMINATE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))
        worker.process.kill()
    until = time.monotonic() + _KILL_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, until - time.monotonic()))


def start_worker() -> None:
    """Prepares a worker process: one thread, and no signals of a terminal.

    It ends when its parent does, or on SIGTERM.
    """
    for number in _TERMINAL_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TERMINAL_SIGNALS)
    handle_signals([signal.SIGTERM], lambda number: end_process(128 + number))
    logging.captureWarnings(True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    import torch

    torch.set_num_threads(1)


def end_with_parent() -> None:
    """Waits until the parent process ends, then ends this one."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        end_process(1)  # whatever the other threads do


@contextmanager
def safe_path() -> Iterator[None]:
    """Keeps the current folder off the import path of Python processes started within this block."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before
