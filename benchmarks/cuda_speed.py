"""What a CUDA device does for lpdif: its tests, the time of each stage of `reconstruct`, and of the steps of `fit`, in under ten minutes.

    python benchmarks/cuda_speed.py -o cuda
    python benchmarks/cuda_speed.py -o cuda --sizes 100000 1000000 10000000
    python benchmarks/cuda_speed.py -o cuda --device cpu --sizes 3000 --steps 20    # the script itself, without a GPU

First pytest runs the tests marked `cuda`. Then a bracket made by code is scanned with each number of points and made into a mesh, and a
model is fitted to samples of shapes made by code. Wall seconds count here, so let the machine be idle. A part is not begun once --minutes
are over. Writes cuda.json to the folder, after each part, and prints a table. Exit code 5 where there is no such device, 1 where a test
fails.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from quality_figures import cell, table
from sampling_settings import Setting, made_shapes, scan_of

import lpdif
from lpdif.device import available_threads, resolve
from lpdif.errors import LpdifError

ROOT = Path(__file__).parent.parent
SIZES = (100_000, 1_000_000)
SHAPE = "bracket"
WARM_UP = 3_000  # points of a scan before the clock runs: kernels are loaded
FIRST_STEPS = 5  # steps at the beginning of a stage that are left out, for the same reason

Row = dict[str, Any]


def main() -> None:
    args = arguments()
    try:
        device = resolve(args.device)
    except LpdifError as error:
        print(f"error: {error.message}\n  hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)
    args.output.mkdir(parents=True, exist_ok=True)
    lpdif.use_threads(args.threads)
    document: Row = {"lpdif": lpdif.__version__, **machine(device), "rows": []}
    until = time.monotonic() + 60 * args.minutes
    for row in parts(args, device, until):
        document["rows"].append(row)
        (args.output / "cuda.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        print(f"{row['what']}: {row['seconds']:.1f} s", file=sys.stderr, flush=True)
    print(report(document))
    sys.exit(any(row.get("failed", False) for row in document["rows"]))


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--device", default="cuda", metavar="NAME", help="cuda, cuda:N or cpu [cuda]")
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES), metavar="N", help="numbers of points [100000 1000000]")
    parser.add_argument("--steps", type=int, default=1000, metavar="N", help="steps of the fit, half of them with patterns [1000]")
    parser.add_argument("--regions", type=int, default=1920, metavar="N", help="regions of each shape that it learns from [1920]")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="processes of the fit, a GPU each [1]")
    parser.add_argument("--threads", type=int, default=available_threads(), metavar="N", help="CPU threads [one a core]")
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="begin nothing after so many minutes [10]")
    return parser.parse_args(words)


def machine(device: torch.device) -> Row:
    """Where the figures are from."""
    name = platform.processor() or platform.machine() if device.type == "cpu" else torch.cuda.get_device_name(device)
    return {"device": str(device), "name": name, "torch": torch.__version__, "machine": platform.platform(), "cores": available_threads()}


def parts(args: argparse.Namespace, device: torch.device, until: float) -> Iterator[Row]:
    """What each part has given; `until`: the time at which no part is begun any more."""
    if device.type == "cuda":
        yield tests_marked_cuda(until)
    truth = made_shapes()[SHAPE]
    reconstruct(scan_of(truth, Setting(WARM_UP), 0), device, args.threads)
    for points in args.sizes:
        if time.monotonic() < until:
            yield reconstruct(scan_of(truth, Setting(points), 0), device, args.threads)
    if args.steps and time.monotonic() < until:
        yield fit(args)


def tests_marked_cuda(until: float) -> Row:
    """Runs them; they failed too where they were not done in time."""
    began = time.perf_counter()
    words = [sys.executable, "-m", "pytest", "-q", "-m", "cuda", "-p", "no:cacheprovider", "--rootdir", str(ROOT), str(ROOT / "tests")]
    try:
        ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=max(1.0, until - time.monotonic()))
        code, out = ran.returncode, ran.stdout + ran.stderr
    except subprocess.TimeoutExpired:
        code, out = -1, "not done in time"
    if code != 0:
        print(out, file=sys.stderr)
    return {"what": "tests marked cuda", "seconds": time.perf_counter() - began, "failed": code != 0, "summary": out.strip().splitlines()[-1]}


def reconstruct(scan: lpdif.Scan, device: torch.device, threads: int) -> Row:
    """The time of each stage of a reconstruction, and the most memory that it took on the GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    began = time.perf_counter()
    made = lpdif.reconstruct(scan, device=str(device), threads=threads)
    row: Row = {"what": f"reconstruct, {len(scan.points):,} points", "seconds": time.perf_counter() - began, "faces": len(made.mesh.faces)}
    if device.type == "cuda":
        row["gpu_mib"] = torch.cuda.max_memory_allocated(device) / 2**20
    return {**row, "stages": {lap.name: {"seconds": lap.seconds, "cpu": lap.cpu} for lap in made.laps}}


def fit(args: argparse.Namespace) -> Row:
    """The time of a step in both stages of a fit with the sizes of the model that ships: the median, and all steps together."""
    with tempfile.TemporaryDirectory() as folder:
        scans, place = Path(folder, "shapes"), Path(folder, "workspace")
        scans.mkdir()
        for name, mesh in made_shapes().items():
            lpdif.write_mesh(scans / f"{name}.ply", mesh)
        lpdif.preprocess([scans], place, lpdif.PreprocessConfig(regions_per_shape=args.regions), threads=args.threads)
        shared = args.steps // 2
        config = lpdif.FitConfig(patterns=14, shared_steps=shared, pattern_steps=args.steps - shared, snapshot_every=args.steps)
        at = [time.perf_counter()]
        done = lpdif.fit(place, config, args.device, progress=lambda *_: at.append(time.perf_counter()), processes=args.processes)
        end = time.perf_counter()
    took = [after - before for before, after in pairwise(at)]
    stages = {name: steps_of(took[part]) for name, part in (("shared", slice(0, shared)), ("patterns", slice(shared, -1)))}
    return {
        "what": f"fit, {args.steps:,} steps of {config.batch} regions" + (f", {args.processes} processes" if args.processes > 1 else ""),
        "seconds": end - at[0],
        "validation": done.validation,
        "stages": {f"a step, {name}": found for name, found in stages.items() if found},
    }


def steps_of(seconds: Sequence[float]) -> Row:
    """The median step without the first ones; nothing where no step is left."""
    later = seconds[FIRST_STEPS:]
    return {"seconds": statistics.median(later), "steps": len(later)} if later else {}


def report(document: Row) -> str:
    """One table, by part and stage."""
    lines = []
    for row in document["rows"]:
        note = row.get("summary") or (f"{row['faces']:,} faces" if "faces" in row else "")
        memory = f", {row['gpu_mib']:,.0f} MiB of the GPU" if "gpu_mib" in row else ""
        lines.append([row["what"], cell(row["seconds"], ".2f"), "–", note + memory])
        for name, found in row.get("stages", {}).items():
            lines.append([f"  {name}", cell(found["seconds"], ".4f" if "steps" in found else ".2f"), cell(found.get("cpu"), ".2f"), ""])
    head = f"{document['name']} ({document['device']}), torch {document['torch']}, {document['cores']} cores, lpdif {document['lpdif']}"
    return f"{head}\n\n{table(['what', 'seconds', 'CPU s', ''], lines)}"


if __name__ == "__main__":
    main()
