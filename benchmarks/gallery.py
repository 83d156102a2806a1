"""Scans next to their meshes: one picture, and a table of time, memory and what was chosen.

    python benchmarks/gallery.py scans.png scan.ply kinect.ply@-y ...

Each scan is given to the `lpdif` command as a user would. `@-y` after a name says which axis of its coordinates points up (z unless said).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lpdif import load_scan
from lpdif.points.prepare import prepare
from lpdif.tools.rendering import draw_mesh, draw_points, fit_view, sheet

NAMED = 100  # pixels of margin from which on names fit in
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


def reconstructed(scan: str, mesh: Path) -> dict[str, Any]:
    """What `lpdif reconstruct --json` says, with the seconds and peak memory of the whole command."""
    usage = mesh.with_suffix(".json")
    command = [sys.executable, "-m", "lpdif_cli", "reconstruct", scan, "-o", str(mesh), "--json", "-q", "--overwrite", "--model", "bundled"]
    measured_run = str(Path(__file__).parent / "measured_run.py")
    ran = subprocess.run([sys.executable, "-S", measured_run, str(usage), *command], capture_output=True, text=True, check=True)
    used = json.loads(usage.read_text())
    if used["code"]:
        sys.exit(ran.stderr.rstrip() or f"error: {' '.join(command)} ended with {used['code']}")
    return {**json.loads(ran.stdout), **used}


def table_line(name: str, made: dict[str, Any]) -> str:
    """One scan's line of the table."""
    facts = made["facts"]
    normals = facts["normals"] + (f", {facts['ambiguous_share']:.1%} ambiguous" if facts["ambiguous_share"] else "")
    return (
        f"| {name} | {made['points']:,} | {facts.get('dropped_outliers', 0):,} | {normals} | {facts['spacing']:.3g} | {facts['noise']:.2g} "
        f"| {facts['region_size']:.3g} | {made['faces']:,} | {made['seconds']:.1f} s | {made['peak_mib']:.0f} MiB |"
    )


def pictures(scan: Path, mesh: Path, up: str, pixels: int) -> list[np.ndarray]:
    """The points and the mesh of them, seen from one side."""
    seen, made = load_scan(scan), load_scan(mesh)
    if made.faces is None:
        sys.exit(f"error: {mesh} holds no faces")
    ready = prepare(seen)
    axes = view_for(ready.normals, up)
    center, half = fit_view(ready.points, axes)
    colors = None if seen.colors is None else seen.colors[ready.kept]
    return [
        draw_points(ready.points, axes, center, half, pixels, colors),
        draw_mesh(made.points - ready.origin, made.faces, axes, center, half, pixels),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path)
    parser.add_argument("scans", nargs="+")
    parser.add_argument("--pixels", type=int, default=520, help="width of a picture [520]")
    parser.add_argument("--margin", type=int, default=20, help="pixels left of the pictures; from 100 on the names stand there [20]")
    args = parser.parse_args()
    rows = []
    print("| scan | points | dropped | normals | spacing | noise | region size | faces | time | memory |\n" + "|---" * 10 + "|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        mesh = Path(folder, "mesh.ply")
        for given in args.scans:
            path, _, up = given.partition("@")
            name = Path(path).stem
            print(table_line(name, reconstructed(path, mesh)), flush=True)
            words = name.replace("_", "\n") if args.margin >= NAMED else ""
            rows.append((words, pictures(Path(path), mesh, up or "z", args.pixels)))
    sheet(rows, args.margin).save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
