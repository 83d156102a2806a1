"""Stand-ins for the library's heavy calls, so that the shell can be tested by itself."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import lpdif
from lpdif.memory import bytes_held
from lpdif.types import Mesh, Scan

CORNERS = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
SIDES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
TETRAHEDRON = Mesh(CORNERS, SIDES)

# Puts stand-ins behind the door of a process of its own; reconstruct waits, so that a signal can meet it at work.
SLOW = """
import time, lpdif, sys
sys.path.insert(0, {tests!r})
from cli_fakes import Made, Workspace
def reconstruct(scan, model, config, progress, **rest):
    print("at work", file=sys.stderr, flush=True)
    for done in range(200):
        progress("fields", done, 200)
        time.sleep({pause})
    return Made()
vars(lpdif).update(reconstruct=reconstruct, load_model=lambda path: None, Workspace=Workspace)
"""


def slow(pause: float) -> str:
    """Python lines after which `reconstruct` takes 200 times so many seconds."""
    return SLOW.format(tests=str(Path(__file__).parent), pause=pause)


def write_points(path: Path, count: int = 50) -> Path:
    """A small scan in text: PLY, or bare columns under any other ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    points = np.random.default_rng(0).normal(size=(count, 3))
    header = f"ply\nformat ascii 1.0\nelement vertex {count}\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    rows = "".join(" ".join(f"{c:.6f}" for c in row) + "\n" for row in points)
    path.write_text((header if path.suffix == ".ply" else "") + rows)
    return path


def write_snapshot(workspace: Path, step: int, asked: int = 8, grouped: int | None = None, seed: int = 0) -> Path:
    """What a fit of 30 + 30 steps leaves when it stops after `step`: its card, and no more tensors than tell where it stands."""
    from safetensors.numpy import save_file

    path = workspace / "snapshot.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {"step": np.array(step, np.int64)}
    if grouped is not None:
        tensors["patterns.centroids"] = np.zeros((grouped, 3), np.float32)
    settings = {"shared_steps": 30, "pattern_steps": 30, "patterns": asked, "seed": seed}
    save_file(tensors, path, {"kind": "lpdif-snapshot", "version": "2", "card": json.dumps({"config": settings})})
    return path


@dataclass
class Made:
    """What the fake reconstruct gives."""

    mesh: Mesh = TETRAHEDRON
    field: Any = None
    facts: dict[str, float | int | str] = dataclasses.field(default_factory=lambda: {"region_size": 0.25, "open_loops": 0})
    laps: list[Any] = dataclasses.field(default_factory=list)


class Workspace:
    """The workspace without torch."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self.model = self.root / "model.safetensors"
        self.snapshot = self.root / "snapshot.safetensors"


@dataclass
class Library:
    """The fake library: remembers its calls; `trouble` maps a scan's name to the exception that it raises."""

    calls: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)
    trouble: dict[str, BaseException] = dataclasses.field(default_factory=dict)
    models: list[Path | None] = dataclasses.field(default_factory=list)
    threads: list[int] = dataclasses.field(default_factory=list)
    made: Made = dataclasses.field(default_factory=Made)
    scans: list[Scan] = dataclasses.field(default_factory=list)  # that meshes were made of, or asked about

    def load_model(self, path: Path | None = None) -> str:
        self.models.append(path)
        return f"model {path}"

    def use_threads(self, count: int) -> None:
        self.threads.append(count)

    def reconstruct(self, scan: Scan, model: Any, config: Any, device: str, threads: int, progress: Any = None, spread: Any = None) -> Made:
        self.threads.append(threads)
        self.scans.append(scan)
        self.calls.append((scan.name, model, config, device))
        for name, error in self.trouble.items():
            if name in scan.name:
                raise error
        return self.made

    def expect(self, scan: Scan, config: Any, threads: int) -> dict[str, float | int | str]:
        for name, error in self.trouble.items():
            if name in scan.name:
                raise error
        self.scans.append(scan)
        disk = sum(array.nbytes for array in scan.arrays) - bytes_held(scan.arrays)
        pieces = 1 if config.max_memory is None else 3
        return {"faces": 1200, "resolution": 0.25, "pieces": pieces, "cpu_seconds": 4, "memory_bytes": 500_000_000, "disk_bytes": disk}

    def install(self, monkeypatch: Any) -> None:
        """Put it behind the door."""
        for name in ("load_model", "use_threads", "reconstruct", "expect"):
            monkeypatch.setitem(vars(lpdif), name, getattr(self, name))
