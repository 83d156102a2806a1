"""What a mesh will cost: time and memory, by rates that were measured, and whether the memory that is free now suffices."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("lpdif")

# Measured as CPU time on one core of a server CPU, and as the most memory that the process took: an even sphere of 20,000 points with normals
# at three resolutions (0.59, 2.4 and 9.4 million faces: 11, 40 and 163 s; 0.55, 1.10 and 3.39 GiB), of 200,000 at the automatic one (1.1
# million: 28 s, 1.0 GiB), the first two with --watertight (16 and 59 s; 0.68 and 1.41 GiB; with a part of the sphere missing 25 s in place of 8
# for 0.4 million). Elsewhere it may be half, or double.
FACE_SECONDS, FACE_BYTES = 19e-6, 390.0  # of a face that the estimate counts, which is .9 of one that is made
POINT_SECONDS, POINT_BYTES = 40e-6, 1500.0
BASE_SECONDS, BASE_BYTES = 1.0, 0.36 * 2**30
CLOSED_SECONDS, CLOSED_BYTES = 2.2, 1.5  # times as much for a face of a mesh that is made watertight

TOLD = 3e6  # faces from which on time and memory are told before the work


class Cost(NamedTuple):
    """Faces that are made on the way, before any are simplified away; seconds on one core; bytes of memory at most."""

    faces: float
    seconds: float
    memory: float


def cost(faces: float, points: int, watertight: bool) -> Cost:
    """About what it takes to make a mesh of so many faces of so many points."""
    slower, larger = (CLOSED_SECONDS, CLOSED_BYTES) if watertight else (1.0, 1.0)
    return Cost(
        faces,
        BASE_SECONDS + POINT_SECONDS * points + slower * FACE_SECONDS * faces,
        BASE_BYTES + POINT_BYTES * points + larger * FACE_BYTES * faces,
    )


def free_memory() -> float | None:
    """Bytes that this process may take now; None where the system does not say."""
    found = [value for value in (available(), group_left(), address_space_left()) if value is not None]
    return min(found, default=None)


def available() -> float | None:
    """Bytes that are free on the machine, or can be freed at once."""
    if sys.platform == "win32":
        return _available_on_windows()
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # not Linux
        return None
    return next((1024.0 * float(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)


def _available_on_windows() -> float | None:
    import ctypes

    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong), *((name, ctypes.c_ulonglong) for name in "abcdefg")]

    status = Status(length=ctypes.sizeof(Status))
    found = ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined]
    return float(status.b) if found else None  # ullAvailPhys


def group_left(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Bytes that are left of what the control group, as of a container, may take."""
    try:
        name = next((line.partition("::")[2] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
        folder = root / name.lstrip("/")
        most, taken = (folder / "memory.max").read_text().strip(), float((folder / "memory.current").read_text())
        return None if most == "max" else max(0.0, float(most) - taken)
    except (OSError, ValueError):  # no such group, or none that is limited
        return None


def address_space_left() -> float | None:
    """Bytes that are left of the limit of `ulimit -v`."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    if most == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux: what is taken is not known
        return float(most)
    return max(0.0, float(most) - pages * os.sysconf("SC_PAGE_SIZE"))


def tell(price: Cost, name: str, many: float) -> None:
    """Say what a large mesh will take; warn of `many` faces, and where more memory is needed than is free now."""
    said = f"{name}: about {price.faces / 1e6:.2g} million faces: {words(price.seconds, price.memory)}"
    free = free_memory()
    if free is not None and price.memory > free:
        log.warning("%s, but only %s are free now: give a larger --resolution, or close other programs", said, gigabytes(free))
    elif price.faces >= TOLD:
        log.log(logging.WARNING if price.faces > many else logging.INFO, "%s", said)


def words(seconds: float, memory: float) -> str:
    """Of a cost, for people: "some 4 min on one core and 4.5 GB of memory"."""
    minutes = seconds / 60
    time = f"{seconds:.0f} s" if minutes < 1.5 else f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.0f} h"
    return f"some {time} on one core and {gigabytes(memory)} of memory"


def gigabytes(count: float) -> str:
    """Bytes for people, to about two digits."""
    return f"{count / 1e9:.{1 if count < 10e9 else 0}f} GB"
