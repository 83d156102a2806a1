"""Ends the process before its work is done: at once, and with nothing left behind.

That works even within a call of native code. No exception is raised for that. It could leave a call whose threads still write into arrays that
are then freed, and it could be swallowed while a library is being imported. Whoever makes something that would outlive the process, as a
temporary file or a child process, registers its cleanup here. When a signal comes, a thread runs all cleanups and ends the process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Callable, Hashable, Iterable, Iterator
from types import FrameType
from typing import NoReturn

_SHUTDOWN_LOCK = threading.RLock()
_CLEANUPS: dict[Hashable, Callable[[], None]] = {}
_LONGEST_WAIT = 2.0  # seconds that a block of `delay_shutdown`, or writing the last message, may delay the end
_LONGEST_CLEANUP = 10.0  # seconds that all cleanups together may take


@contextlib.contextmanager
def delay_shutdown() -> Iterator[None]:
    """Delays the end of the process until this block, which must be short, is left.

    Once the process is ending, no block is entered.
    """
    with _SHUTDOWN_LOCK:
        yield


def add_cleanup(thing: Hashable, cleanup: Callable[[], None]) -> None:
    """Calls `cleanup` where the process ends before `remove_cleanup(thing)`.

    Make the thing in the same block of `delay_shutdown`.
    """
    with _SHUTDOWN_LOCK:
        _CLEANUPS[thing] = cleanup


def remove_cleanup(thing: Hashable) -> None:
    """Takes the cleanup of a thing back: it is gone already, or is to stay."""
    with _SHUTDOWN_LOCK:
        _CLEANUPS.pop(thing, None)


def end_process(code: int, tell: Callable[[], None] | None = None) -> NoReturn:
    """Calls `tell`, runs all cleanups, the latest first, and ends the process with this exit code.

    Other threads do not prevent it, nor does a cleanup that fails or hangs.
    """
    try:
        cleaner = threading.Thread(target=_tell_and_clean_up, args=(tell,), daemon=True)
        try:
            cleaner.start()
        except RuntimeError:  # no thread can be started any more
            _tell_and_clean_up(tell)
        else:
            cleaner.join(2 * _LONGEST_WAIT + _LONGEST_CLEANUP)
    finally:
        os._exit(code)


def _tell_and_clean_up(tell: Callable[[], None] | None) -> None:
    _SHUTDOWN_LOCK.acquire(timeout=_LONGEST_WAIT)  # in this thread, because cleanups take things back
    if tell is not None:
        teller = threading.Thread(target=tell, daemon=True)  # writing may block where another thread is stuck in the same stream
        with contextlib.suppress(RuntimeError):  # no thread can be started: the cleanups matter more
            teller.start()
            teller.join(_LONGEST_WAIT)
    for cleanup in reversed(list(_CLEANUPS.values())):
        with contextlib.suppress(BaseException):  # where one fails, the others run all the same
            cleanup()


def handle_signals(numbers: Iterable[int], handler: Callable[[int], None]) -> None:
    """From now on calls `handler` with the number of each of these signals that comes.

    It runs in a thread of its own. Call it in the main thread, once a process. A signal that is ignored, as nohup has it, stays ignored.
    """
    wanted = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    ours, theirs = socket.socketpair()  # sockets, because Windows needs them here
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def wait() -> None:
        with ours, theirs:
            while came := ours.recv(1):
                if came[0] in wanted:
                    handler(came[0])

    threading.Thread(target=wait, name="signals", daemon=True).start()
    for number in wanted:
        signal.signal(number, _do_nothing)


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """The handler that Python itself runs for a signal.

    The number goes to the thread of `handle_signals` through a socket.
    """
