"""Time and memory of lpdif, PoissonRecon and MeshLab's Poisson by the number of points, on one shape.

    python benchmarks/speed.py -o speed --sizes 3000 20000 100000

Without --mesh a bracket made by code is scanned, exactly and with normals. Each tool runs as a command in a process of its own, start of
Python included. Of it are measured CPU seconds (user and system, of all threads), wall seconds, peak memory, and cd: the mean distance
between its mesh and the true one, both ways. Wall seconds mean little on a busy machine, CPU seconds more; the load is written down.
PoissonRecon (by gpytoolbox) runs on one thread only. The peers need `pip install '.[bench]'`. Writes speed.json, speed.md and, where there
is matplotlib, growth.svg and growth.png to the folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from quality import OURS, PEER, canvas, plain_numbers, true_meshes
from quality_figures import cell, table
from sampling_settings import Setting, scan_of

import lpdif
from lpdif.io.write import write_scan
from lpdif.tools.metrics import evaluate
from lpdif.types import Mesh

HERE = Path(__file__).parent
SIZES = (3_000, 20_000, 100_000, 1_000_000)
DEPTHS = ((10_000, 8), (50_000, 9))  # of the octree, up to so many points; else DEEPEST
DEEPEST = 10
PEERS = {"PoissonRecon": ("poissonrecon_peer.py", "gpytoolbox"), "MeshLab": ("poisson_peer.py", "pymeshlab")}  # script and package
COLOURS = {"lpdif": OURS, "PoissonRecon": PEER, "MeshLab": "#3a8a4f"}

Row = dict[str, Any]


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    name, truth = next(true_meshes([args.mesh] if args.mesh else []), (None, None))
    if name is None or truth is None:
        sys.exit(f"error: {args.mesh}: no closed mesh")
    document: Row = {"lpdif": lpdif.__version__, "mesh": name, "seed": args.seed, **machine(), "rows": []}
    rows: list[Row] = document["rows"]
    for points in args.sizes:
        with tempfile.TemporaryDirectory() as place:
            scan = Path(place) / "scan.ply"
            write_scan(scan, scan_of(truth, Setting(points), args.seed))
            for tool, threads, command, made in commands(scan, points, args.tools, args.threads):
                row = {"points": points, "tool": tool, "threads": threads, **measured(command, made, truth)}
                rows.append(row)
                (args.output / "speed.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
                print(f"{points:>9,} {tool:13} {threads} thread{'s' if threads > 1 else ''}: {in_words(row)}", flush=True)
    (args.output / "speed.md").write_text(report(document), encoding="utf-8")
    print("\n" + report(document))
    if importlib.util.find_spec("matplotlib") is None:
        print("no plot: matplotlib is missing; pip install '.[bench]'", file=sys.stderr)
    else:
        plot_growth(rows, args.output / "growth")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--mesh", type=Path, metavar="FILE", help="the true mesh, closed [a bracket made by code]")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), metavar="N", help="numbers of points")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="threads of lpdif and MeshLab [1 2]")
    parser.add_argument(
        "--tools", nargs="+", choices=["lpdif", *PEERS], default=["lpdif", *PEERS], metavar="NAME", help="lpdif PoissonRecon MeshLab"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(words)
    for tool in args.tools:
        if tool in PEERS and importlib.util.find_spec(PEERS[tool][1]) is None:
            parser.error(f"{tool} needs {PEERS[tool][1]}: pip install '.[bench]', or leave it out of --tools")
    return args


def depth_for(points: int) -> int:
    """The depth of the octree for a scan of so many points."""
    return next((depth for most, depth in DEPTHS if points <= most), DEEPEST)


def machine() -> Row:
    """Where the figures are from, and how busy it was at the start."""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"machine": platform.platform(), "cores": os.cpu_count(), "load": load}


def commands(scan: Path, points: int, tools: Sequence[str], threads: Sequence[int]) -> Iterator[tuple[str, int, list[str], Path]]:
    """Tool, threads, command and mesh of every run on a scan."""
    for tool in tools:
        for count in threads:
            made = scan.with_name(f"{tool}{count}.ply")
            if tool == "lpdif":
                words = ["-m", "lpdif_cli", "reconstruct", str(scan), "-o", str(made), "-q", "--model", "bundled", "--threads", str(count)]
            else:
                words = [str(HERE / PEERS[tool][0]), str(scan), str(made), str(depth_for(points))]
                if tool == "MeshLab":
                    words += ["--threads", str(count)]
                elif count > 1:
                    continue  # gpytoolbox has no threads
            yield tool, count, [sys.executable, *words], made


def measured(command: Sequence[str], made: Path, truth: Mesh) -> Row:
    """Runs a command that makes a mesh, and measures both."""
    usage = made.with_suffix(".json")
    words = [sys.executable, "-S", str(HERE / "measured_run.py"), str(usage), *command]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    found: Row = json.loads(usage.read_text(encoding="utf-8"))
    code = found.pop("code")
    scan = lpdif.load_scan(made) if code == 0 and made.exists() else None
    if scan is None or scan.faces is None:
        return {**found, "failed": code, "message": ran.stderr[-400:].strip()}
    return {**found, "cd": evaluate(Mesh(scan.points, scan.faces), truth).cd, "faces": len(scan.faces)}


def in_words(row: Row) -> str:
    """The figures of a run on a line."""
    text = f"{row['cpu']:7.1f} s of CPU, {row['seconds']:7.1f} s, {row['peak_mib']:6.0f} MiB"
    if "cd" not in row:
        return f"{text}; failed with exit code {row['failed']}: {(row['message'].splitlines() or ['no message'])[-1]}"
    return f"{text}, cd {1e3 * row['cd']:.4f}, {row['faces']:,} faces"


def report(document: Row) -> str:
    """speed.md: a table, and how time and memory grow."""
    header = ["points", "tool", "threads", "CPU s", "wall s", "peak MiB", "cd", "faces"]
    lines = [
        [
            f"{row['points']:,}",
            row["tool"],
            str(row["threads"]),
            cell(row["cpu"], ".1f"),
            cell(row["seconds"], ".1f"),
            cell(row["peak_mib"], ",.0f"),
            cell(row.get("cd"), ".4f", 1e3),
            cell(row.get("faces"), ",.0f"),
        ]
        for row in document["rows"]
    ]
    load = "unknown" if document["load"] is None else f"{document['load']:.1f}"
    text = [
        "# Speed",
        f"{document['mesh']}, longest side 1, exact points with normals; cd in thousandths of it. {document['cores']} cores, "
        f"load {load} at the start. Poisson's octree has depth {', '.join(f'{depth} up to {most:,} points' for most, depth in DEPTHS)}, "
        f"else {DEEPEST}.",
        table(header, lines),
        *(f"{tool}, {threads} thread{'s' if threads > 1 else ''}: {line}" for (tool, threads), line in growth(document["rows"]).items()),
    ]
    return "\n\n".join(text) + "\n"


def growth(rows: Sequence[Row]) -> dict[tuple[str, int], str]:
    """By what power of the points CPU and memory grow between the two largest scans, for each tool."""
    found = {}
    for key, own in by_tool(rows).items():
        if len(own) > 1:
            one, other = own[-2:]
            powers = [math.log(other[name] / one[name]) / math.log(other["points"] / one["points"]) for name in ("cpu", "peak_mib")]
            span = f"from {one['points']:,} to {other['points']:,} points"
            found[key] = f"CPU grows as points^{powers[0]:.2f}, memory as points^{powers[1]:.2f} {span}"
    return found


def by_tool(rows: Sequence[Row]) -> dict[tuple[str, int], list[Row]]:
    """The runs of each tool and number of threads that made a mesh, by size."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in sorted(rows, key=lambda row: row["points"]):
        if "cd" in row:
            found.setdefault((row["tool"], row["threads"]), []).append(row)
    return found


def plot_growth(rows: Sequence[Row], path: Path) -> None:
    """CPU seconds and peak memory against points, as SVG and PNG."""
    figure, _ = canvas(9.0, 3.8)
    figure.clear()
    for axes, name, label in zip(figure.subplots(1, 2), ("cpu", "peak_mib"), ("CPU seconds", "peak memory, MiB"), strict=True):
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            plain_numbers(axis)
        for (tool, threads), own in by_tool(rows).items():
            style = {"color": COLOURS[tool], "marker": "o", "markersize": 4, "linestyle": "-" if threads == 1 else ":"}
            named = f"{tool}, {threads} thread{'s' if threads > 1 else ''}"
            axes.plot([row["points"] for row in own], [row[name] for row in own], label=named, **style)
        axes.set_xlabel("points")
        axes.set_ylabel(label)
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path.with_suffix(".svg"))
    figure.savefig(path.with_suffix(".png"), dpi=150)


if __name__ == "__main__":
    main()
