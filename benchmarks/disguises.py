"""One sphere, seen in seven ways that break reconstruction tools: does the same sphere come out?

    python benchmarks/disguises.py [--points 20000]

A noisy unit sphere (2 mm, in metres) is given to the `lpdif` command shifted by 4,500 km, cut in half, without normals, with zero normals,
with a point that is nowhere, with half of its normals turned over, and to one and two threads. Right is a surface of one part that looks
outward and is less than 1 mm off; of the half, less than 2 % of area where nothing was seen and more than 99 % of what was; with one and two
threads, the same bytes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif import Scan, load_scan, write_scan
from lpdif.geometry import Surface, face_areas, face_normals
from lpdif.mesh.trim import large_components

FloatArray = NDArray[np.float64]

NOISE = 0.002
SHIFTED, HALVED = "shifted by 4,500 km", "cut in half"
SHIFT = np.array([500_000.0, 4_500_000.0, 100.0])
RIM = 0.02  # faces nearer to the plane of the cut count neither as seen nor as unseen


class Found(NamedTuple):
    """Mean distance from the unit sphere; whether it is one part, and looks outward; area below and above the cut over the true one."""

    off: float
    whole: bool
    outward: bool
    below: float
    above: float


def sphere(count: int) -> tuple[FloatArray, FloatArray]:
    """Noisy points (N, 3) of the unit sphere, and their outward normals."""
    rng = np.random.default_rng(0)
    normals = rng.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return normals + rng.normal(scale=NOISE, size=normals.shape), normals


def disguises(points: FloatArray, normals: FloatArray) -> dict[str, Scan]:
    """The six scans, by what is wrong with them."""
    upper = normals[:, 2] > 0
    nowhere = points.copy()
    nowhere[5] = np.nan
    turned = np.where(np.random.default_rng(1).random(len(points)) < 0.5, -1.0, 1.0)[:, None]
    return {
        SHIFTED: Scan(points + SHIFT, normals),
        HALVED: Scan(points[upper], normals[upper]),
        "without normals": Scan(points),
        "zero normals": Scan(points, np.zeros_like(normals)),
        "a point that is nowhere": Scan(nowhere, normals),
        "half of the normals turned over": Scan(points, normals * turned),
    }


def reconstructed(scan: Path, mesh: Path, threads: int) -> None:
    """Runs the command; ends this one where it fails."""
    command = [
        sys.executable,
        "-m",
        "lpdif_cli",
        "reconstruct",
        str(scan),
        "-o",
        str(mesh),
        "-q",
        "--threads",
        str(threads),
        "--model",
        "bundled",
    ]
    ran = subprocess.run(command, stdout=subprocess.DEVNULL)
    if ran.returncode:
        sys.exit(ran.returncode)


def look_at(mesh: Path, center: FloatArray) -> Found:
    """What came out, with the sphere's centre where it was put."""
    made = load_scan(mesh)
    if made.faces is None:
        sys.exit(f"error: {mesh} holds no faces")
    surface = Surface(made.points - center, made.faces)
    middle, area = surface.vertices[surface.faces].mean(1), face_areas(surface)
    off = np.abs(np.linalg.norm(middle, axis=1) - 1)
    whole = bool(large_components(surface, np.ones(len(area)), len(area)).all())
    outward = float((face_normals(surface) * middle).sum()) > 0
    below, above = (float(area[part].sum() / (2 * np.pi * (1 - RIM))) for part in (middle[:, 2] < -RIM, middle[:, 2] > RIM))
    return Found(float((off * area).sum() / area.sum()), whole, outward, below, above)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000)
    args = parser.parse_args()
    right = 0
    with tempfile.TemporaryDirectory() as folder:
        scan, mesh, other = (Path(folder, name) for name in ("scan.ply", "mesh.ply", "other.ply"))
        scans = disguises(*sphere(args.points))
        for name, disguised in scans.items():
            for path in (scan, mesh):
                path.unlink(missing_ok=True)
            write_scan(scan, disguised)
            reconstructed(scan, mesh, 0)
            found = look_at(mesh, SHIFT if "shifted" in name else np.zeros(3))
            good = found.off < 0.001 and (
                found.below < 0.02 and found.above > 0.99 if "half" in name.split()[-1] else found.whole and found.outward
            )
            right += good
            print(f"{'right' if good else 'WRONG'}  {name}: {1000 * found.off:.2f} mm off", flush=True)
        mesh.unlink()
        reconstructed(scan, mesh, 1)
        reconstructed(scan, other, 2)
        same = mesh.read_bytes() == other.read_bytes()
        right += same
        print(f"{'right' if same else 'WRONG'}  with one and with two threads: {'the same bytes' if same else 'different bytes'}")
    print(f"{right} of 7")
    sys.exit(right != 7)


if __name__ == "__main__":
    main()
