"""Parsers that are not our own run in a child process, under a limit of time and memory.

A crash, a hang or a bomb then costs one InputError, not the program. The child is this module, run by itself:
it reads one file, and writes named arrays to its standard output; what it has to say against the file goes to standard error.
"""

from __future__ import annotations

import importlib
import io
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError, ResourceError
from lpdif.formats.source import EXPORT_AGAIN, Source

Arrays = dict[str, NDArray[np.generic]]

_SECONDS = 60.0  # a file of any size may take this long,
_SECONDS_A_MEGABYTE = 1.0  # and so much more for its size
_MEMORY = 3 << 30  # bytes of address space a parser may use besides
_MEMORY_TIMES = 100  # this many times the file's size: LAZ and E57 unpack to ten or twenty times, in doubles
_REFUSED = 3  # exit code of a child that says what is wrong
_MARK = "lpdif: "  # and its last line begins so


def arrays_from_child(source: Source, module: str) -> Arrays:
    """Runs `decode(path)` of the module lpdif.formats.MODULE on the file, in a child process.

    Raises InputError for what the parser refuses, for its crashes, and where it takes too long or too much memory.
    """
    if source.path is not None:
        return _run(source, source.path, module)
    with tempfile.TemporaryDirectory(prefix="lpdif-") as folder:
        path = Path(folder, "input")
        try:
            path.write_bytes(source.data)
        except OSError as error:
            raise ResourceError(f"{folder}: cannot hold {len(source.data)} bytes of standard input: {error.strerror}") from None
        return _run(source, path, module)


def _run(source: Source, path: Path, module: str) -> Arrays:
    seconds = _SECONDS + _SECONDS_A_MEGABYTE * len(source.data) / 2**20
    memory = _MEMORY + _MEMORY_TIMES * len(source.data)
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(place for place in sys.path if place))
    environment |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}  # their stacks count as memory
    command = [sys.executable, "-c", "from lpdif.formats.child import main; main()", module, str(path), str(memory)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise source.error(f"its {module} parser did not finish within {seconds:.0f} s", EXPORT_AGAIN) from None
    if done.returncode == 0:
        with np.load(io.BytesIO(done.stdout), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    if done.returncode == _REFUSED and said and said[-1].startswith(_MARK):
        raise source.error(said[-1].removeprefix(_MARK))
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name if -done.returncode in signal.valid_signals() else str(-done.returncode)
        raise source.error(f"its {module} parser crashed ({name})")
    raise source.error(f"its {module} parser failed: {said[-1][:200] if said else f'exit code {done.returncode}'}")


def limit_memory(size: int) -> None:
    """Bounds the address space of this process, where the system can."""
    if sys.platform != "win32":
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def main() -> None:
    """The child: MODULE PATH MEMORY on the command line."""
    module, path, memory = sys.argv[1:]
    limit_memory(int(memory))
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a native library prints is no result
    try:
        arrays = importlib.import_module(f"lpdif.formats.{module}").decode(Path(path))
    except InputError as error:
        message = error.message
    except MemoryError:
        message = "asks for more memory than its size can explain"
    except Exception as error:  # whatever a parser raises on a damaged file is what it has to say against it
        text = " ".join(str(error).split())
        message = f"damaged: its parser says {text[:200]!r}" if text else f"damaged: its parser fails with {type(error).__name__}"
    else:
        np.savez(results, **arrays)
        results.close()
        sys.exit(0)
    sys.stderr.write(f"\n{_MARK}{message}\n")
    sys.exit(_REFUSED)
