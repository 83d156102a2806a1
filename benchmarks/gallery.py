"""Scans next to their meshes: one picture, and a table of time, memory and what was chosen.

    python benchmarks/gallery.py scans.png scan.ply kinect.ply@-y ...

Each scan is given to the `lpdif` command as a user would. `@-y` after a name says which axis of its coordinates points up (z unless said).
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from lpdif import load_scan
from lpdif.preparation import prepare
from lpdif.rendering import draw_mesh, draw_points, fit_view, sheet

PIXELS = 520
TILT = 0.35  # how far from above the mean normal the view is, in radians of slant


def view_for(normals: np.ndarray, up: str) -> np.ndarray:
    """(3, 3) rows right, up, towards the camera: from the side that most of the surface faces, a little from above."""
    axis = np.eye(3)["xyz".index(up[-1])] * (-1 if up[0] == "-" else 1)
    back = normals.mean(0)
    back -= axis * (back @ axis)
    if np.linalg.norm(back) < 0.05:  # a closed object: any side will do
        back = np.roll(axis, 1) + 0.5 * np.roll(axis, 2)
    back = back / np.linalg.norm(back) + TILT * axis
    flat = abs(normals.mean(0) @ axis) > 0.6  # terrain: from well above
    back = back / np.linalg.norm(back) + (0.9 * axis if flat else 0)
    back /= np.linalg.norm(back)
    right = np.cross(axis, back)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(back, right), back])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("scans", nargs="+")
    parser.add_argument("--margin", type=int, default=20, help="pixels left of the pictures")
    args = parser.parse_args()
    rows = []
    print("| scan | points | spacing | noise | region size | faces | time | memory |\n|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for given in args.scans:
            name, _, up = given.partition("@")
            out = Path(folder, "mesh.ply")
            out.unlink(missing_ok=True)
            started = time.perf_counter()
            ran = subprocess.run(
                [sys.executable, "-m", "lpdif_cli", "reconstruct", name, "-o", str(out), "--json", "-q"],
                capture_output=True,
                text=True,
                check=True,
            )
            wall = time.perf_counter() - started
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of the largest run so far
            made = json.loads(ran.stdout)
            facts = made["facts"]
            print(
                f"| {Path(name).stem} | {made['points']:,} | {facts['spacing']:.3g} | {facts['noise']:.2g} | {facts['region_size']:.3g} "
                f"| {made['faces']:,} | {wall:.1f} s | {peak:.0f} MiB |",
                flush=True,
            )
            scan, mesh = load_scan(name), load_scan(out)
            ready = prepare(scan)
            axes = view_for(ready.normals, up or "z")
            center, half = fit_view(ready.points, axes)
            colors = None if scan.colors is None else scan.colors[ready.kept]
            origin = ready.origin
            faces = mesh.faces
            assert faces is not None
            rows.append(
                (
                    "",
                    [
                        draw_points(ready.points, axes, center, half, PIXELS, colors),
                        draw_mesh(mesh.points - origin, faces, axes, center, half, PIXELS),
                    ],
                )
            )
    sheet(rows, args.margin).save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
