"""Scenes without a true mesh: a tenth of the points is held out, the rest is meshed, and the distance of the unseen points to the mesh told.

    python benchmarks/held_out.py scan.ply room.pcd ... [--peers] [-o held_out.md]

Lengths are in the typical spacing of the scan's points. "within 1" is the share of unseen points within one spacing of the mesh; "area" is the
mesh's area over the area that the points stand for (the sum of their squared local spacings): well above 1 says that surface was made up. With
--peers (needs `pip install '.[bench]'`) also Screened Poisson, depths 8 and 10, on the normals that lpdif prepared, its faces farther from
the points than each of several spacings cut off; the row shown is the one with the smallest mean among those whose area is at most ours by
a tenth more, so that nobody wins by surface that covers everything.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from lpdif import Scan, load_scan
from lpdif.geometry import Surface, face_areas
from lpdif.io.write import write_scan
from lpdif.mesh_queries import closest_points
from lpdif.points.prepare import prepare

HERE = Path(__file__).parent
SHARE = 10  # every so many-th point is held out
CUTS = (1.5, 3.0, 6.0, 12.0)  # spacings
DEPTHS = (8, 10)


@dataclass(frozen=True)
class Row:
    """Figures of one mesh: distances of unseen points in spacings, share within one, area, seconds of the command."""

    name: str
    median: float
    mean: float
    p95: float
    within: float
    area: float
    seconds: float

    def line(self, scan: str) -> str:
        """A line of the table."""
        figures = f"{self.median:.3f} | {self.mean:.3f} | {self.p95:.2f} | {self.within:.1%} | {self.area:.2f} | {self.seconds:.1f}"
        return f"| {scan} | {self.name} | {figures} |"


def figures(name: str, vertices: np.ndarray, faces: np.ndarray, unseen: np.ndarray, spacing: float, stood_for: float, seconds: float) -> Row:
    """Row of one mesh."""
    distance = closest_points(unseen, vertices, faces)[0] / spacing
    area = face_areas(Surface(vertices, faces)).sum() / stood_for
    quantiles = np.quantile(distance, [0.5, 0.95])
    return Row(name, float(quantiles[0]), float(distance.mean()), float(quantiles[1]), float((distance <= 1).mean()), float(area), seconds)


def timed(command: list[str]) -> float:
    """Seconds of a command that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"error: {' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return time.perf_counter() - started


def rows_of(path: Path, peers: bool, folder: Path) -> list[Row]:
    """Ours first, then the best of the peers."""
    whole = load_scan(path)
    finite = np.isfinite(whole.points).all(1)
    points, row = np.unique(whole.points[finite], axis=0, return_index=True)
    normals = None if whole.normals is None else whole.normals[finite][row]
    order = np.random.default_rng(0).permutation(len(points))
    unseen, seen = points[order[: len(points) // SHARE]], np.sort(order[len(points) // SHARE :])
    scan = Scan(points[seen], None if normals is None else normals[seen], name=path.name)
    ready = prepare(scan)
    # an unseen point that has no seen one near it is an outlier, or lies where nobody could know
    known = cKDTree(ready.points).query(unseen - ready.origin)[0] <= 3 * ready.spacing
    unseen = unseen[known] - ready.origin
    stood_for = float(np.square(ready.local_spacing).sum())
    given, made = folder / "given.ply", folder / "made.ply"
    write_scan(given, Scan(scan.points - ready.origin, scan.normals), overwrite=True)
    seconds = timed([sys.executable, "-m", "lpdif_cli", "reconstruct", str(given), "-o", str(made), "--overwrite", "-q"])
    mesh = load_scan(made)
    assert mesh.faces is not None
    ours = figures("lpdif", mesh.points, mesh.faces, unseen, ready.spacing, stood_for, seconds)
    return [ours, best_peer(ready.points, ready.normals, ready.spacing, unseen, stood_for, ours.area, folder)] if peers else [ours]


def best_peer(points: np.ndarray, normals: np.ndarray, spacing: float, unseen: np.ndarray, stood_for: float, area: float, folder: Path) -> Row:
    """Screened Poisson at its best depth and cut."""
    given, made = folder / "peer.ply", folder / "peer_mesh.ply"
    write_scan(given, Scan(points, normals), overwrite=True)
    tree = cKDTree(points)
    found = []
    for depth in DEPTHS:
        seconds = timed([sys.executable, str(HERE / "poisson_peer.py"), str(given), str(made), str(depth)])
        mesh = load_scan(made)
        assert mesh.faces is not None
        far = tree.query(mesh.points)[0] / spacing
        for cut in CUTS:
            kept = mesh.faces[(far <= cut)[mesh.faces].all(1)]
            if len(kept):
                found.append(figures(f"Poisson {depth}, cut at {cut:g}", mesh.points, kept, unseen, spacing, stood_for, seconds))
    fair = [row for row in found if row.area <= 1.1 * area] or [min(found, key=lambda row: row.area)]
    return min(fair, key=lambda row: row.mean)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scans", nargs="+", type=Path)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("-o", "--output", type=Path)
    args = parser.parse_args()
    lines = ["| scan | mesh | median | mean | p95 | within 1 | area | seconds |", "|---|---|---|---|---|---|---|---|"]
    print("\n".join(lines), flush=True)
    for path in args.scans:
        with tempfile.TemporaryDirectory() as folder:
            for row in rows_of(path, args.peers, Path(folder)):
                lines.append(row.line(path.stem))
                print(lines[-1], flush=True)
    if args.output:
        args.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
