"""Parsers that are not our own run in a child process, under a limit of time and memory.

A crash, a hang or a bomb then costs one InputError, not the program. The child is this module, run by itself:
it reads one file, and writes named arrays to its standard output, one after the other, so that none is held twice; what it has to say
against the file goes to standard error.
"""

from __future__ import annotations

import importlib
import os
import signal
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
from lpdif.shutdown import drop, keep, undisturbed

Arrays = dict[str, NDArray[np.generic]]

_SECONDS = 60.0  # a file of any size may take this long,
_SECONDS_A_MEGABYTE = 1.0  # and so much more for its size
_MEMORY = 1 << 30  # bytes of address space for Python and the parser's libraries, which take 0.1 to 0.25 GiB, and room to work,
_HELD = 3  # and so many times what the file unpacks to: as it is read, as it is kept, and what is made of it on the way
_SAID = 1 << 16  # bytes of what a parser says that are kept
_REFUSED = 3  # exit code of a child that says what is wrong
_MARK = "lpdif: "  # and its last line begins so


def arrays_from_child(source: Source, module: str, unpacked: int) -> Arrays:
    """Runs `decode(path)` of the module lpdif.io.formats.MODULE on the file, in a child process.

    unpacked: bytes of the arrays, at most. Raises InputError for what the parser refuses, for its crashes, and where it takes too long or
    too much memory.
    """
    if source.path is not None:
        return _run(source, source.path, module, unpacked)
    with undisturbed():
        held = tempfile.TemporaryDirectory(prefix="lpdif-")
        keep(held.name, held.cleanup)
    try:
        with held as folder:
            path = Path(folder, "input")
            try:
                path.write_bytes(source.data)
            except OSError as error:
                raise ResourceError(f"{folder}: cannot hold {len(source.data)} bytes of standard input: {error.strerror}") from None
            return _run(source, path, module, unpacked)
    finally:
        drop(held.name)


def _run(source: Source, path: Path, module: str, unpacked: int) -> Arrays:
    seconds = _SECONDS + _SECONDS_A_MEGABYTE * len(source.data) / 2**20
    memory = _MEMORY + len(source.data) + _HELD * unpacked
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(_places()))
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # their stacks count as memory
    command = [sys.executable, "-P", "-c", "from lpdif.io.sandbox import main; main()", module, str(path), str(memory)]
    said, late = bytearray(), threading.Event()
    with undisturbed():
        begun = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
        keep(begun, begun.kill)
    with begun as process:
        assert process.stdout is not None
        assert process.stderr is not None
        listener = threading.Thread(target=_listen, args=(process.stderr, said), daemon=True)

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(seconds, stop)
        listener.start()
        timer.start()
        try:
            arrays = dict(_received(process.stdout))
            process.wait()
            listener.join()
        finally:
            timer.cancel()
            process.kill()
            drop(process)
    if late.is_set():
        raise source.error(f"its {module} parser did not finish within {seconds:.0f} s", EXPORT_AGAIN)
    if process.returncode == 0:
        return arrays
    lines = said.decode("utf-8", "replace").strip().splitlines()
    if process.returncode == _REFUSED and lines and lines[-1].startswith(_MARK):
        raise source.error(lines[-1].removeprefix(_MARK))
    if process.returncode < 0:
        number = -process.returncode
        name = signal.Signals(number).name if number in signal.valid_signals() else str(number)
        raise source.error(f"its {module} parser crashed ({name})")
    raise source.error(f"its {module} parser failed: {lines[-1][:200] if lines else f'exit code {process.returncode}'}")


def _places() -> list[str]:
    """Where modules are looked for, without the current folder, which holds scans and whatever came with them; unless lpdif lies in it."""
    own, places = Path(__file__).parents[2], [Path(place) for place in sys.path]
    places = [place for place in places if os.access(place, os.F_OK)]
    return [str(place.absolute()) for place in places if place.samefile(own) or not place.samefile(".")]


def _listen(stream: IO[bytes], said: bytearray) -> None:
    """Reads a stream to its end; the last of it is in `said` then."""
    while block := stream.read(_SAID):
        said += block
        del said[:-_SAID]


def _send(stream: IO[bytes], arrays: Arrays) -> None:
    """Writes named arrays to a pipe; each may be gone once it is written."""
    for name in list(arrays):
        stream.write(name.encode() + b"\n")
        np.lib.format.write_array(SimpleNamespace(write=stream.write), arrays.pop(name), allow_pickle=False)  # for a file it would seek
    stream.write(b"\n")


def _received(stream: IO[bytes]) -> Iterator[tuple[str, NDArray[np.generic]]]:
    """The named arrays that `_send` has written; fewer where it was ended before it was done, as its exit code tells."""
    while name := stream.readline().rstrip(b"\n"):
        try:
            yield name.decode(), np.lib.format.read_array(SimpleNamespace(read=stream.read), allow_pickle=False)
        except ValueError:
            return


def limit_memory(size: int) -> None:
    """Bounds the address space of this process, where the system can."""
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def main() -> None:
    """The child: MODULE PATH MEMORY on the command line."""
    module, path, memory = sys.argv[1:]
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it here too; the process that waits for this one ends it
    limit_memory(int(memory))
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a native library prints is no result
    try:
        arrays = importlib.import_module(f"lpdif.io.formats.{module}").decode(Path(path))
    except InputError as error:
        message = error.message
    except ModuleNotFoundError as error:
        message = f"reading it needs the package {error.name}, which is not installed"
    except MemoryError:
        message = "asks for more memory than its size can explain"
    except BaseException as error:  # whatever a parser raises on a damaged file, panics of Rust included, is what it has to say against it
        text = " ".join(str(error).split())
        message = f"damaged: its parser says {text[:200]!r}" if text else f"damaged: its parser fails with {type(error).__name__}"
    else:
        _send(results, arrays)
        results.close()
        sys.exit(0)
    sys.stderr.write(f"\n{_MARK}{message}\n")
    sys.exit(_REFUSED)
