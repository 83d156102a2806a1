"""How a process ends before its work is done: at once, amid any call of native code, and with nothing left behind.

No exception is raised for that: it could leave a call whose threads still write into arrays that are freed then, or be swallowed where
a library is being imported. Whoever makes a thing that would outlast the process (a temporary file, a child process) keeps here how it
is undone; a thread that hears of a signal undoes all of them and ends the process.
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

_GATE = threading.RLock()
_UNDO: dict[Hashable, Callable[[], None]] = {}
_LONGEST_WAIT = 2.0  # seconds that a lock, or a reader of what is told, may hold up the end


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Within this block, which must be short, the process is not ended; and none is entered once it is being ended."""
    with _GATE:
        yield


def keep(thing: Hashable, undo: Callable[[], None]) -> None:
    """Have `undo` called where the process ends before `drop(thing)`. Make the thing and keep it in one undisturbed block."""
    with _GATE:
        _UNDO[thing] = undo


def drop(thing: Hashable) -> None:
    """The thing is gone, or is to stay."""
    with _GATE:
        _UNDO.pop(thing, None)


def end(code: int, tell: Callable[[], None] | None = None) -> NoReturn:
    """Say so, undo what is kept, the latest first, and end the process with this exit code, whatever its other threads do."""
    _GATE.acquire(timeout=_LONGEST_WAIT)
    if tell is not None:
        teller = threading.Thread(target=tell, daemon=True)  # another thread may be stuck in the stream that it writes to
        teller.start()
        teller.join(_LONGEST_WAIT)
    for undo in reversed(list(_UNDO.values())):
        with contextlib.suppress(OSError):  # what cannot be undone does not keep the rest from it
            undo()
    os._exit(code)


def listen(numbers: Iterable[int], heard: Callable[[int], None]) -> None:
    """From now on `heard` is called with each of these signals that comes, in a thread of its own, whatever the main thread does.

    Call it in the main thread, once a process. A signal that is ignored, as nohup has it, stays ignored.
    """
    wanted = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
    ours, theirs = socket.socketpair()  # of what Windows can be woken by too
    theirs.setblocking(False)
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)

    def wait() -> None:
        with ours, theirs:
            while came := ours.recv(1):
                if came[0] in wanted:
                    heard(came[0])

    threading.Thread(target=wait, name="signals", daemon=True).start()
    for number in wanted:
        signal.signal(number, _noted)


def _noted(_number: int, _frame: FrameType | None) -> None:
    """What Python does about a signal of `listen`: nothing, its number is on its way to the thread that listens."""
