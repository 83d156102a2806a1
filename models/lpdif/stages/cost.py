"""What a mesh will cost in time and memory by measured rates, and how much memory is free."""

from __future__ import annotations

import logging
import math
import os
import sys
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger("lpdif")


class TimeRates(NamedTuple):
    """Seconds that parts of the work take on one core of a server CPU; elsewhere they may be half or double.

    Measured on an even sphere of 20,000 points with normals at three resolutions (0.59, 2.4 and 9.4 million faces: 11, 40 and 163 s) and of
    200,000 points at the automatic one (1.1 million faces: 28 s); the first two with --watertight too (16 and 59 s; with a part of the sphere
    missing 25 s in place of 8 for 0.4 million faces).
    """

    base: float = 1.0  # For any mesh.
    point: float = 40e-6  # For each point.
    face: float = 19e-6  # For each face of the estimate, which counts 0.9 of the faces that are made.
    watertight: float = 2.2  # A face of a watertight mesh takes so many times as much.


class MemoryRates(NamedTuple):
    """Bytes that parts of the work take at most, on the CPU.

    Measured by one thread on scans of an armadillo: a million points with normals in 4 pieces (1.05 GiB), and without, while they are prepared
    (0.91); ten million, with the scan on disk, while they are prepared (3.13) and finished (3.58).
    """

    base: float = 290 * 2**20  # For any mesh: the program and its libraries.
    scan: float = 48.0  # For each point of the scan as it was read: its place and normal.
    prepared: float = 330.0  # For each point, while the points are prepared.
    oriented: float = 650.0  # The same where their normals are estimated.
    point: float = 115.0  # For each point from then on.
    seen: float = 70.0  # For each point that regions of some sizes see, where these do not see all.
    search: float = 24.0  # For each point, while the surface is searched for.
    region: float = 30.0  # For each region: its place, its pattern and the tiles that hear it.
    code: float = 750.0  # For each region of the piece that is made: its codes, which are held almost twice when they are joined.
    thread: float = 80 * 2**20  # For each thread that encodes regions, or is at work on a tile; much of it is not given back.
    part: float = 30.0  # For each face, until those of all tiles are joined.
    face: float = 75.0  # For each face, while the surface is finished.
    watertight: float = 1.5  # A face of a watertight mesh takes so many times as much there.
    regions_per_point: float = 1.7  # So many regions there are, where they are not counted.
    free_share: float = 0.75  # Without max_memory, the process may take so much of the memory that is free.


TIME = TimeRates()
MEMORY = MemoryRates()
REPORTED_FACES = 3e6  # A mesh of so many faces or more is large: its cost is reported before the work.


class Cost(NamedTuple):
    """Faces before simplifying, seconds on one core, and the most memory in bytes."""

    faces: float
    seconds: float
    memory: float


class Work(NamedTuple):
    """What is to be done for a mesh.

    points     of the scan    regions    faces before simplifying    watertight or not    threads at work
    scan       bytes that the scan takes as it was read
    seen       points that regions of some sizes see, where these do not see all
    estimated  whether the points have no normals of their own
    """

    points: int
    regions: float
    faces: float
    watertight: bool
    threads: int
    scan: float
    seen: float = 0.0
    estimated: bool = False

    @property
    def held(self) -> float:
        """Bytes that are held from the placing of the regions to the end."""
        return MEMORY.base + self.scan + MEMORY.point * self.points + MEMORY.seen * self.seen + MEMORY.region * self.regions

    @property
    def beside(self) -> float:
        """Bytes that are held beside the codes of a piece, at most."""
        return self.held + MEMORY.search * self.points + MEMORY.thread * self.threads + MEMORY.part * self.faces

    def room(self, limit: float) -> float:
        """How many regions a piece may have, so that these bytes suffice while it is made."""
        return max(0.0, (limit - self.beside) / MEMORY.code)

    def cost(self, largest: float) -> Cost:
        """About what the work takes, where the largest piece has so many regions."""
        slower, larger = (TIME.watertight, MEMORY.watertight) if self.watertight else (1.0, 1.0)
        seconds = TIME.base + TIME.point * self.points + slower * TIME.face * self.faces
        prepared = MEMORY.base + self.scan + (MEMORY.oriented if self.estimated else MEMORY.prepared) * self.points
        finished = self.held + MEMORY.thread * self.threads + larger * MEMORY.face * self.faces
        return Cost(self.faces, seconds, max(prepared, self.beside + MEMORY.code * largest, finished))


def cost(faces: float, points: int, watertight: bool) -> Cost:
    """About what it takes to make a mesh of so many faces from so many points, in one piece and by one thread."""
    regions = MEMORY.regions_per_point * points
    return Work(points, regions, faces, watertight, 1, MEMORY.scan * points).cost(regions)


def leaves_little_room(points: int, normals: bool, limit: int | None) -> bool:
    """Whether preparing so many points takes more than half of the memory that there is: `limit`, or a share of what is free."""
    free = free_memory()
    most = limit or (math.inf if free is None else MEMORY.free_share * free)
    return (MEMORY.prepared if normals else MEMORY.oriented) * points > most / 2


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
