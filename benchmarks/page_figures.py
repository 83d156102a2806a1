"""Size and speed of the page of `lpdif view` by the number of faces, and the screenshots of docs/view.md.

    python benchmarks/page_figures.py -o pages --sizes 20000 200000 2000000
    python benchmarks/page_figures.py -o docs/images --pictures

A ring with noise, colours, confidence and named patterns, beside a scan of it, goes through `lpdif view` in a process of its own: its CPU
seconds (user and system) and peak memory. Then a headless Chromium, which draws by software, opens the page: "ready" is all the CPU of its
processes until the second frame after the first picture, and the wall clock that the page itself tells. The first opening of a browser warms
it up and does not count; of --rounds openings the lowest and the highest are written. Linux with a Chromium only. Writes pages.json.
--pictures instead makes the pictures of every colouring, from the demo scan, into the folder.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import trimesh
from PIL import Image

import lpdif
from lpdif.form_names import pattern_names

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from browser import Browser, why_not

SIZES = (20_000, 200_000, 2_000_000)
FORMS = (0, 0, 1, 2, 3, 4, 5, 6)  # of the patterns of the ring
LPDIF = (sys.executable, "-m", "lpdif_cli")
VIEWS = {"colour": "1", "confidence": "2", "pattern": "3", "distance": "4p", "plain": "5e", "section": "5yd"}  # the keys of each picture
ENDS = ((330, 338), (820, 214))  # pixels at which a length is measured

Row = dict[str, Any]


def main() -> None:
    args = arguments()
    if why_not():
        sys.exit(f"error: {why_not()}")
    args.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        if args.pictures:
            draw_pictures(Path(place), args.output)
            return
        rows = []
        for size in args.sizes:
            rows.append(measured(size, Path(place), args.points, args.rounds))
            print(json.dumps(rows[-1]), flush=True)
    document = {"lpdif": lpdif.__version__, "points": args.points, "rounds": args.rounds, "rows": rows}
    (args.output / "pages.json").write_text(json.dumps(document, indent=1))


def measured(size: int, place: Path, points: int, rounds: int) -> Row:
    """The figures of a page of about so many faces."""
    mesh, scan = ring(size, points)
    lpdif.write_mesh(place / "mesh.ply", mesh, overwrite=True)
    lpdif.write_scan(place / "scan.ply", scan, overwrite=True)
    page, report = place / "page.html", place / "report.json"
    command = [*LPDIF, "view", str(place / "mesh.ply"), str(place / "scan.ply"), "-o", str(page), "--overwrite", "--threads", "1", "--quiet"]
    runner = [sys.executable, "-S", str(Path(__file__).with_name("measured_run.py")), str(report)]
    subprocess.run([*runner, *command], check=True, stdout=subprocess.DEVNULL)
    made = json.loads(report.read_text())
    opened = openings(page, rounds)
    return {
        "faces": len(mesh.faces),
        "points": points,
        "page_mb": page.stat().st_size / 1e6,
        "view_cpu": made["cpu"],
        "view_peak_mib": made["peak_mib"],
        "ready_cpu": [min(cpu for cpu, _ in opened), max(cpu for cpu, _ in opened)],
        "ready_wall": [min(wall for _, wall in opened), max(wall for _, wall in opened)],
    }


def ring(size: int, points: int) -> tuple[lpdif.Mesh, lpdif.Scan]:
    """A ring of about so many faces with all that a page shows, and a scan of it."""
    minor = round(math.sqrt(size / 5))
    shape = trimesh.creation.torus(1.0, 0.4, major_sections=round(2.5 * minor), minor_sections=minor)
    rng = np.random.default_rng(0)
    vertices = np.asarray(shape.vertices) + 0.0005 * rng.normal(size=shape.vertices.shape)
    faces = np.asarray(shape.faces, np.int64)
    shade = (128 + 90 * np.sin(4 * vertices) + 4 * rng.normal(size=(len(vertices), 1))).astype(np.uint8)
    pattern = (np.floor(6 * vertices[faces].mean(axis=1)).astype(np.int64) @ [1, 3, 5] % len(FORMS)).astype(np.int32)
    confidence = np.clip(0.8 + 0.1 * rng.normal(size=len(vertices)), 0, 1)
    names = dict(enumerate(pattern_names(FORMS)))
    mesh = lpdif.Mesh(vertices, faces, None, shade, {"confidence": confidence}, {"pattern": pattern}, pattern_names=names)
    seen = vertices[rng.choice(len(vertices), points)] + 0.002 * rng.normal(size=(points, 3))
    return mesh, lpdif.Scan(seen, colors=np.tile(np.array([[200, 180, 160]], np.uint8), (points, 1)))


def openings(page: Path, rounds: int) -> list[tuple[float, float]]:
    """CPU and wall seconds until the page is ready, of so many openings after one that warms the browser up."""
    browser = Browser()
    found = []
    try:
        for _ in range(rounds + 1):
            browser.ask("Page.navigate", url="about:blank")
            time.sleep(1.0)  # what it still does about the last page is not of the next
            before = browser.cpu_seconds()
            wall = browser.open(page) / 1000
            browser.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            found.append((browser.cpu_seconds() - before, wall))
    finally:
        browser.close()
    return found[1:]


def draw_pictures(place: Path, folder: Path) -> None:
    """The pictures of every colouring, and of a section in which a length is measured."""
    for words in (
        ("demo", "-o", "snail-scan.ply"),
        ("reconstruct", "snail-scan.ply", "-o", "snail.ply"),
        ("view", "snail.ply", "snail-scan.ply", "-o", "snail.html"),
    ):
        subprocess.run([*LPDIF, *words, "--quiet"], cwd=place, check=True, stdout=subprocess.DEVNULL)
    browser = Browser(860, 600)
    try:
        for name, keys in VIEWS.items():
            browser.open(place / "snail.html")
            for key in keys:
                browser.key(key)
            for at in ENDS if name == "section" else ():
                browser.click(*at)
            Image.fromarray(browser.picture()).quantize(256, kmeans=3, dither=Image.Dither.NONE).save(
                folder / f"view_{name}.png", optimize=True
            )
    finally:
        browser.close()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder for the figures or pictures")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="faces")
    parser.add_argument("--points", type=int, default=100_000, help="of the scan")
    parser.add_argument("--rounds", type=int, default=3, help="openings of each page")
    parser.add_argument("--pictures", action="store_true", help="make the pictures instead")
    return parser.parse_args()


if __name__ == "__main__":
    main()
