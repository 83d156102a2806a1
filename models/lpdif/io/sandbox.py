"""Runs parsers of other packages in a child process, under a limit of time and memory.

Where such a parser crashes, hangs or unpacks a zip bomb, the result is one InputError. The child process is this module, run by itself: it
reads one file and writes named arrays to its standard output, one after the other, so that none is in memory twice. What is wrong with
the file goes to its standard error.
"""

from __future__ import annotations

import importlib
import os
import signal
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError, ResourceError
from lpdif.io.source import EXPORT_AGAIN, Source
from lpdif.shutdown import add_cleanup, delay_shutdown, remove_cleanup
from lpdif.storage.safe_open import file_identity

Arrays = dict[str, NDArray[np.generic]]

_CHILD_SECONDS = 60.0  # The child may run so long, whatever the size of the file.
_SECONDS_PER_MEGABYTE = 1.0  # The child may run so much longer for each megabyte of the file.
_CHILD_MEMORY = 1 << 30  # Bytes of address space for Python, the parser's libraries (0.1 to 0.25 GiB) and their work.
_CHILD_COPIES = 3  # What the file unpacks to is in memory so many times: as it is read, as it is returned, and one copy on the way.
_KEPT_OUTPUT = 1 << 16  # So many last bytes of the child's standard error are kept.
_REFUSED_CODE = 3  # The exit code of a child that found something wrong with the file.
_MESSAGE_PREFIX = "lpdif: "  # The last line of such a child begins so.
_SYSTEM_FOLDERS = ("/dev", "/proc")  # A path below them may lead each process to another file.


def arrays_from_child(source: Source, module: str, unpacked: int) -> Arrays:
    """The arrays that `decode(path)` of lpdif.io.formats.MODULE returns, run in a child process.

    unpacked: bytes of all arrays, at most. Raises InputError for a file that the parser refuses, and where the parser crashes or needs too
    much time or memory.
    """
    named = _path_for_child(source)
    if named is not None:
        return _run_child(source, named, module, unpacked)
    with delay_shutdown():
        held = tempfile.TemporaryDirectory(prefix="lpdif-")
        add_cleanup(held.name, held.cleanup)
    try:
        with held as folder:
            path = Path(folder, "input")
            try:
                path.write_bytes(source.data)
            except OSError as error:
                raise ResourceError(f"{folder}: cannot hold the {len(source.data)} bytes of {source.name}: {error.strerror}") from None
            return _run_child(source, path, module, unpacked)
    finally:
        remove_cleanup(held.name)


def _path_for_child(source: Source) -> Path | None:
    """A path at which a child process surely finds the bytes of this source, or None."""
    if source.path is None:
        return None
    place = Path(os.path.realpath(source.path))  # /dev/stdin leads to the file that it was redirected from
    if any(place.is_relative_to(folder) for folder in _SYSTEM_FOLDERS):
        return None
    try:
        about = place.stat()
    except OSError:  # it has been removed or renamed
        return None
    return place if stat.S_ISREG(about.st_mode) and file_identity(about) == source.identity else None


def _run_child(source: Source, path: Path, module: str, unpacked: int) -> Arrays:
    seconds = _CHILD_SECONDS + _SECONDS_PER_MEGABYTE * len(source.data) / 2**20
    memory = _CHILD_MEMORY + len(source.data) + _CHILD_COPIES * unpacked
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(_module_folders()))
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # the stack of each thread counts as memory
    command = [sys.executable, "-P", "-c", "from lpdif.io.sandbox import main; main()", module, str(path), str(memory)]
    messages, late = bytearray(), threading.Event()
    with delay_shutdown():
        begun = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        add_cleanup(begun, begun.kill)
    with begun as process:
        assert process.stdout is not None
        assert process.stderr is not None
        listener = threading.Thread(target=_read_last, args=(process.stderr, messages), daemon=True)

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        try:
            listener.start()
            timer.start()
            arrays = dict(_receive(process.stdout))
            process.wait()
            listener.join()
        finally:
            timer.cancel()
            process.kill()
            remove_cleanup(process)
    if late.is_set():
        raise source.error(f"its {module} parser did not finish within {seconds:.0f} s", EXPORT_AGAIN)
    if process.returncode == 0:
        return arrays
    lines = messages.decode("utf-8", "replace").strip().splitlines()
    if process.returncode == _REFUSED_CODE and lines and lines[-1].startswith(_MESSAGE_PREFIX):
        raise source.error(lines[-1].removeprefix(_MESSAGE_PREFIX))
    if process.returncode < 0:
        number = -process.returncode
        name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
        raise source.error(f"its {module} parser crashed ({name})")
    raise source.error(f"its {module} parser failed: {lines[-1][:200] if lines else f'exit code {process.returncode}'}")


def _module_folders() -> list[str]:
    """The folders in which the child looks for modules.

    The current one, which holds files of others, is left out, unless lpdif lies in it.
    """
    own, places = Path(__file__).parents[2], [Path(place) for place in sys.path]
    places = [place for place in places if os.access(place, os.F_OK)]
    return [str(place.absolute()) for place in places if place.samefile(own) or not place.samefile(".")]


def _read_last(stream: IO[bytes], last: bytearray) -> None:
    """Reads a stream to its end and keeps its last bytes in `last`."""
    while block := stream.read(_KEPT_OUTPUT):
        last += block
        del last[:-_KEPT_OUTPUT]


def _send(stream: IO[bytes], arrays: Arrays) -> None:
    """Writes named arrays to a pipe.

    Takes each out of `arrays`, so that its memory is free once it is written.
    """
    for name in list(arrays):
        stream.write(name.encode() + b"\n")
        np.lib.format.write_array(
            SimpleNamespace(write=stream.write), arrays.pop(name), allow_pickle=False
        )  # numpy would look for a position in a file object
    stream.write(b"\n")


def _receive(stream: IO[bytes]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """The named arrays that `_send` writes.

    They are fewer where the child ends early, which its exit code tells.
    """
    while name := stream.readline().rstrip(b"\n"):
        try:
            yield name.decode(), np.lib.format.read_array(SimpleNamespace(read=stream.read), allow_pickle=False)
        except ValueError:
            return


def limit_memory(size: int) -> None:
    """Limits the address space of this process to `size` bytes, where the system can do that.

    Windows cannot.
    """
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def main() -> None:
    """What the child process does.

    Its arguments are the name of the module, the path of the file, and the bytes of memory.
    """
    module, path, memory = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches this process too; the parent ends it
    limit_memory(int(memory))
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a native library prints must not get among the arrays
    try:
        arrays = importlib.import_module(f"lpdif.io.formats.{module}").decode(Path(path))
    except InputError as error:
        message = error.message
    except ModuleNotFoundError as error:
        message = f"reading it needs the package {error.name}, which is not installed"
    except MemoryError:
        message = "asks for more memory than its size can explain"
    except BaseException as error:  # a parser may raise anything on a damaged file, panics of Rust included
        text = " ".join(str(error).split())
        message = f"damaged: its parser says {text[:200]!r}" if text else f"damaged: its parser fails with {type(error).__name__}"
    else:
        _send(results, arrays)
        results.close()
        sys.exit(0)
    sys.stderr.write(f"\n{_MESSAGE_PREFIX}{message}\n")
    sys.exit(_REFUSED_CODE)
