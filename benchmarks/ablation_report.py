"""Table and plots of what benchmarks/ablation.py found.

    python benchmarks/ablation_report.py FOLDER [-o PICTURES]

Prints the table: per variant the mean over seeds and, after +-, their standard deviation. Writes ablation.png to the folder: error by decile of
rarity, relative to one decoder, and error by the number of patterns. Takes the results of free_codes.py too, which has no noisy ones.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

BASE = "one decoder"
ORDER = ["one decoder", "one wide decoder", "8 patterns", "8 random groups"]
LOOKS = ("clean", "as_in_training")

Row = dict[str, Any]


def load_rows(folder: Path) -> dict[str, list[Row]]:
    """Results by variant, seeds in order."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        row = json.loads(path.read_text())
        rows[row["variant"]].append(row)
    return {name: rows[name] for name in sorted(rows, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))}


def spread(values: list[float]) -> str:
    """Mean and, of several, standard deviation, in thousandths."""
    found = np.array(values) * 1000
    if not values:
        return "-"
    return f"{found.mean():.2f} ± {found.std(ddof=1):.2f}" if len(found) > 1 else f"{found.mean():.2f}"


def change(found: list[Row], base: list[Row]) -> str:
    """Mean and standard deviation of the clean error over that of the base with the same seed, in per cent of change."""
    known = {row["seed"]: row["clean"]["mean"] for row in base}
    ratios = [row["clean"]["mean"] / known[row["seed"]] - 1 for row in found if row["seed"] in known]
    if not ratios:
        return "-"
    return f"{100 * np.mean(ratios):+.1f} %" + (f" ± {100 * np.std(ratios, ddof=1):.1f}" if len(ratios) > 1 else "")


def table(rows: dict[str, list[Row]]) -> str:
    """Markdown: errors in thousandths of a region; rare: the rarest tenth of the regions."""
    titles = [
        "variant",
        "seeds",
        "clean mean",
        f"against {BASE}",
        "clean p95",
        "rarest tenth, mean",
        "rarest tenth, p95",
        "noisy mean",
        "noisy p95",
    ]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for name, found in rows.items():
        columns = [
            [row["clean"]["mean"] for row in found],
            [row["clean"]["p95"] for row in found],
            [row["clean"]["decile_mean"][0] for row in found],
            [row["clean"]["decile_p95"][0] for row in found],
            [row["as_in_training"]["mean"] for row in found if "as_in_training" in row],
            [row["as_in_training"]["p95"] for row in found if "as_in_training" in row],
        ]
        first, *others = map(spread, columns)
        lines.append("| " + " | ".join([name, str(len(found)), first, change(found, rows.get(BASE, [])), *others]) + " |")
    return "\n".join(lines) + "\n"


def against(rows: dict[str, list[Row]], name: str, base: str = BASE) -> np.ndarray:
    """(seeds, 10) mean error by decile over that of the base with the same seed."""
    known = {row["seed"]: np.array(row["clean"]["decile_mean"]) for row in rows[base]}
    return np.array([np.array(row["clean"]["decile_mean"]) / known[row["seed"]] for row in rows[name] if row["seed"] in known])


def plot(rows: dict[str, list[Row]], path: Path) -> None:
    """Two plots side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    for name in rows:
        if name == BASE or "no jet" in name or (name.split()[0].isdigit() and not name.startswith("8 ")):
            continue
        ratio = against(rows, name)
        left.plot(np.arange(1, 11), ratio.mean(0), marker="o", markersize=3, label=name)
    left.axhline(1, color="#888888", linewidth=0.8)
    left.set(xlabel="decile of rarity (1: rarest)", ylabel="error over that of one decoder")
    left.legend(fontsize=7)
    swept = [name for name in rows if name == "one decoder, KDE" or re.fullmatch(r"\d+ patterns, KDE", name)]
    counts = sorted((int(name.split()[0]) if name[0].isdigit() else 1, name) for name in swept)
    for look in LOOKS:
        known = {row["seed"]: row[look]["mean"] for row in rows.get("one decoder, KDE", []) if look in row}
        ratios = [[row[look]["mean"] / known[row["seed"]] for row in rows[name] if row["seed"] in known] for _, name in counts]
        if all(ratios) and known:
            means, spreads = zip(*((np.mean(part), np.std(part)) for part in ratios), strict=True)
            right.errorbar([count for count, _ in counts], means, spreads, marker="o", markersize=3, capsize=2, label=look.replace("_", " "))
    right.set_xscale("log", base=2)
    right.set(xlabel="patterns, with KDE weights", ylabel="error over that of one pattern")
    right.legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, help="where ablation.png goes [FOLDER]")
    args = parser.parse_args()
    rows = load_rows(args.folder)
    print(table(rows))
    plot(rows, (args.output or args.folder) / "ablation.png")


if __name__ == "__main__":
    main()
