"""What a mesh will cost in time and memory by measured rates, and how much memory is free."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("lpdif")


class Rate(NamedTuple):
    """Seconds on one core of a server CPU, and bytes of memory; elsewhere they may be half or double."""

    seconds: float
    memory: float


class CostRates(NamedTuple):
    """What parts of the work add to the time and to the most memory that the process takes.

    Measured on an even sphere of 20,000 points with normals at three resolutions (0.59, 2.4 and 9.4 million faces: 11, 40 and 163 s; 0.55,
    1.10 and 3.39 GiB) and of 200,000 points at the automatic one (1.1 million faces: 28 s, 1.0 GiB); the first two with --watertight too (16
    and 59 s; 0.68 and 1.41 GiB; with a part of the sphere missing 25 s in place of 8 for 0.4 million faces).
    """

    base: Rate = Rate(1.0, 0.36 * 2**30)  # For any mesh.
    point: Rate = Rate(40e-6, 1500.0)  # For each point.
    face: Rate = Rate(19e-6, 390.0)  # For each face of the estimate, which counts 0.9 of the faces that are made.
    watertight: Rate = Rate(2.2, 1.5)  # A face of a watertight mesh takes so many times as much.


RATES = CostRates()
REPORTED_FACES = 3e6  # A mesh of so many faces or more is large: its cost is reported before the work.


class Cost(NamedTuple):
    """Faces before simplifying, seconds on one core, and the most memory in bytes."""

    faces: float
    seconds: float
    memory: float


def cost(faces: float, points: int, watertight: bool) -> Cost:
    """About what it takes to make a mesh of so many faces from so many points."""
    slower, larger = RATES.watertight if watertight else (1.0, 1.0)
    return Cost(
        faces,
        RATES.base.seconds + RATES.point.seconds * points + slower * RATES.face.seconds * faces,
        RATES.base.memory + RATES.point.memory * points + larger * RATES.face.memory * faces,
    )


def free_memory() -> float | None:
    """Bytes that this process can take now; None where the system does not tell."""
    found = [value for value in (available_memory(), control_group_left(), address_space_left()) if value is not None]
    return min(found, default=None)


def available_memory() -> float | None:
    """Bytes that are free on the machine or can be freed at once; None where the system does not tell."""
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


def control_group_left(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """Bytes that are left of the limit of the control group (a container); None where there is no limit."""
    try:
        name = next((line.partition("::")[2] for line in own.read_text().splitlines() if line.startswith("0::")), "/")
        folder = root / name.lstrip("/")
        limit, taken = (folder / "memory.max").read_text().strip(), float((folder / "memory.current").read_text())
        return None if limit == "max" else max(0.0, float(limit) - taken)
    except (OSError, ValueError):  # no such group, or none that is limited
        return None


def address_space_left() -> float | None:
    """Bytes that are left of the limit of `ulimit -v`; None where there is no limit."""
    if sys.platform == "win32":
        return None
    import resource

    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:  # not Linux: what is taken is not known
        return float(limit)
    return max(0.0, float(limit) - pages * os.sysconf("SC_PAGE_SIZE"))


def report_cost(price: Cost, name: str, many: float) -> None:
    """Log what a large mesh will take.

    With a warning above `many` faces, or if more memory is needed than is free now.
    """
    message = f"{name}: about {price.faces / 1e6:.2g} million faces: {cost_in_words(price.seconds, price.memory)}"
    free = free_memory()
    if free is not None and price.memory > free:
        log.warning("%s, but only %s are free now: give a larger --resolution, or close other programs", message, gigabytes(free))
    elif price.faces >= REPORTED_FACES:
        log.log(logging.WARNING if price.faces > many else logging.INFO, "%s", message)


def cost_in_words(seconds: float, memory: float) -> str:
    """A cost in words: "some 4 min on one core and 4.5 GB of memory"."""
    minutes = seconds / 60
    time = f"{seconds:.0f} s" if minutes < 1.5 else f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.0f} h"
    return f"some {time} on one core and {gigabytes(memory)} of memory"


def gigabytes(count: float) -> str:
    """A number of bytes in GB, to about two digits."""
    return f"{count / 1e9:.{1 if count < 10e9 else 0}f} GB"
