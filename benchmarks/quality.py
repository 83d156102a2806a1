"""How far reconstructions are from the truth: closed meshes are sampled in several settings, and the meshes made of that are measured.

    python benchmarks/quality.py bunny.ply gears.stl -o quality --peers

Without meshes two shapes made by code are taken. Each scan is given to the `lpdif` command as a user would; with --peers (needs
`pip install '.[bench]'`) also to Screened Poisson at two depths, of which the one with the smaller Chamfer distance counts. The whole
command is timed, start of Python included. Writes quality.json, quality.md and, where there is matplotlib, two plots to the folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from quality_figures import Parts, Row, best_peer, by_setting, compared, errors_in_parts, geometric_mean, parts_of, report
from sampling_settings import SETTINGS, Setting, made_shapes, scan_of, unit_mesh

import lpdif
from lpdif.io.write import write_scan
from lpdif.mesh.topology import is_closed_manifold
from lpdif.tools.metrics import evaluate
from lpdif.types import Mesh

HERE = Path(__file__).parent
DEPTHS = (8, 10)
OURS, PEER, LINE = "#2a5db0", "#d0782a", "#888888"


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    document: dict[str, Any] = {
        "lpdif": lpdif.__version__,
        "seed": args.seed,
        "threads": args.threads,
        "settings": {name: asdict(SETTINGS[name]) for name in args.settings},
        "rows": [],
    }
    rows: list[Row] = document["rows"]
    for name, truth in true_meshes(args.meshes):
        parts = parts_of(truth)
        for setting in args.settings:
            row = measured(truth, parts, SETTINGS[setting], args)
            rows.append({"mesh": name, "setting": setting, **row})
            (args.output / "quality.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
            print(line_of(rows[-1]), flush=True)
    if not rows:
        sys.exit("error: none of the meshes is closed")
    (args.output / "quality.md").write_text(report(rows), encoding="utf-8")
    if importlib.util.find_spec("matplotlib") is None:
        print("no plots: matplotlib is missing; pip install '.[bench]'", file=sys.stderr)
    else:
        plot_errors(rows, args.output / "errors.png")
        plot_times(rows, args.output / "times.png")
    print(f"wrote {args.output / 'quality.md'}")


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("meshes", nargs="*", type=Path, help="closed meshes [two shapes made by code]")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), metavar="NAME", help=", ".join(SETTINGS))
    parser.add_argument("--peers", action="store_true", help="also Screened Poisson")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of every command [1]")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(words)
    if args.peers and importlib.util.find_spec("pymeshlab") is None:
        parser.error("--peers needs pymeshlab: pip install '.[bench]'")
    return args


def true_meshes(paths: Sequence[Path]) -> Iterator[tuple[str, Mesh]]:
    """Name and mesh, longest side 1, of each that is closed; without paths, the shapes made by code."""
    if not paths:
        yield from made_shapes().items()
    for path in paths:
        scan = lpdif.load_scan(path)
        mesh = None if scan.faces is None else welded(Mesh(scan.points, scan.faces))
        if mesh is None or not is_closed_manifold(mesh.faces):
            print(f"{path}: left out, it is no closed mesh", file=sys.stderr)
        else:
            yield path.stem, unit_mesh(mesh)


def welded(mesh: Mesh) -> Mesh:
    """Vertices at one place are one, faces without area in their corners go: STL files know no shared vertices."""
    vertices, number = np.unique(mesh.vertices, axis=0, return_inverse=True)
    faces = number.reshape(-1)[mesh.faces]
    a, b, c = faces.T
    return Mesh(vertices, faces[(a != b) & (b != c) & (c != a)])


def measured(truth: Mesh, parts: Parts, setting: Setting, args: argparse.Namespace) -> Row:
    """Figures of our mesh and of the peers' in one setting."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        scan = folder / "scan.ply"
        write_scan(scan, scan_of(truth, setting, args.seed))
        threads = ["--threads", str(args.threads)]
        ours = [
            sys.executable,
            "-m",
            "lpdif_cli",
            "reconstruct",
            str(scan),
            "-o",
            str(folder / "ours.ply"),
            "-q",
            "--model",
            "bundled",
            *threads,
        ]
        row: Row = {"points": setting.points, "ours": figures_of(ours, folder / "ours.ply", truth, parts)}
        if args.peers:
            row["peers"] = {}
            for depth in DEPTHS:
                mesh = folder / f"poisson{depth}.ply"
                command = [sys.executable, str(HERE / "poisson_peer.py"), str(scan), str(mesh), str(depth), *threads]
                command += [] if setting.normals else ["--estimate-normals"]
                row["peers"][mesh.stem] = figures_of(command, mesh, truth, parts, either_side=True)
    return row


def figures_of(command: Sequence[str], made: Path, truth: Mesh, parts: Parts, either_side: bool = False) -> Row:
    """Runs a command that makes a mesh and measures that. either_side: an inside-out mesh counts like the same turned over."""
    usage = made.with_suffix(".json")
    ran = subprocess.run(
        [sys.executable, "-S", str(HERE / "measured_run.py"), str(usage), *command], capture_output=True, text=True, check=True
    )
    found: Row = json.loads(usage.read_text(encoding="utf-8"))
    code = found.pop("code")
    scan = lpdif.load_scan(made) if code == 0 and made.exists() else None
    if scan is None or scan.faces is None or len(scan.faces) == 0:
        return {**found, "failed": code, "message": ran.stderr[-400:].strip()}
    mesh = Mesh(scan.points, scan.faces)
    figures = evaluate(mesh, truth)
    consistency = abs(figures.normal_consistency) if either_side else figures.normal_consistency
    return {
        "cd": figures.cd,
        "roughness": 1 - consistency,
        "p95": figures.p95,
        "f_score": figures.f_score,
        **errors_in_parts(mesh, parts),
        **found,
        "faces": len(mesh.faces),
    }


def line_of(row: Row) -> str:
    """One row of figures for the terminal."""
    ours, ratios = row["ours"], compared(row)
    head = f"{row['mesh']:24} {row['setting']:12}"
    if "cd" not in ours:
        return f"{head} failed with exit code {ours['failed']}: {(ours['message'].splitlines() or ['no message'])[-1]}"
    text = f"{head} cd {1e3 * ours['cd']:7.3f}  1-nc {ours['roughness']:.4f}  {ours['seconds']:6.1f} s {ours['peak_mib']:6.0f} MiB"
    return text + "".join(f"  {name} x{ratios[name]:.2f}" for name in ratios)


def plot_errors(rows: Sequence[Row], path: Path) -> None:
    """Every mesh a dot, every setting a bar at the geometric mean: cd over the best peer's, or in thousandths without peers."""
    groups = by_setting(rows)
    peers = any(best_peer(row) is not None for row in rows)
    shown = [[value for row in group if (value := dot(row, peers)) is not None] for group in groups.values()]
    ends = [value for values in shown for value in values]
    ends += [1.0] if peers or not ends else []
    figure, axes = canvas(max(4.0, 1.2 * len(groups) + 1), 4.0)
    axes.set_ylim(min(ends) / 1.25, max(ends) * 1.25)
    axes.set_yscale("log")
    plain_numbers(axes.yaxis)
    for place, values in enumerate(shown):
        mean = geometric_mean(values)
        if mean is None:
            continue
        spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
        axes.scatter(place + spread, values, s=16, color=OURS, alpha=0.7, linewidths=0)
        axes.hlines(mean, place - 0.35, place + 0.35, color=OURS, linewidth=2)
        axes.annotate(f"{mean:.2f}", (place + 0.37, mean), fontsize=8, va="center")
    if peers:
        axes.axhline(1.0, color=LINE, linewidth=1, linestyle="--")
    axes.set_xticks(range(len(groups)), list(groups), rotation=20)
    axes.set_xlim(-0.6, len(groups) - 0.2)
    axes.set_ylabel("cd, ours / best peer" if peers else "cd, thousandths of the longest side")
    figure.savefig(path, dpi=150)


def dot(row: Row, peers: bool) -> float | None:
    """Where a row stands in the plot of errors; None where it has no place there."""
    if peers:
        return compared(row).get("cd")
    return 1e3 * row["ours"]["cd"] if "cd" in row["ours"] else None


def plot_times(rows: Sequence[Row], path: Path) -> None:
    """Seconds of the whole command against points."""
    figure, axes = canvas(5.0, 4.0)
    axes.set_xscale("log")
    plain_numbers(axes.xaxis)
    made = [row for row in rows if "cd" in row["ours"]]
    axes.scatter([row["points"] for row in made], [row["ours"]["seconds"] for row in made], s=18, color=OURS, label="lpdif", alpha=0.8)
    met = [(row["points"], peer["seconds"]) for row in rows if (peer := best_peer(row)) is not None]
    if met:
        axes.scatter(*zip(*met, strict=True), s=18, color=PEER, marker="^", label="Screened Poisson", alpha=0.8)
        axes.legend(frameon=False)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("points")
    axes.set_ylabel("seconds")
    figure.savefig(path, dpi=150)


def plain_numbers(axis: Any) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5, written out."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def canvas(width: float, height: float) -> tuple[Any, Any]:
    """A figure and its axes, in inches, that need no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


if __name__ == "__main__":
    main()
