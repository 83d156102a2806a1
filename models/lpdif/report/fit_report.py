"""The report of a fit: how it learned, how far it is off on regions it has not seen, and its patterns."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.report.page import Message, Run, about_run, key_figures, number, page, safe, table, told, warning_box
from lpdif.report.pictures import data_address
from lpdif.report.svg import Curve, curves

PATTERN_COLUMNS = {
    "pattern": "pattern",
    "name": "name",
    "share": "share of the regions",
    "error": "error",
    "flatness": "flatness",
    "density": "density",
}
MEANINGS = (
    "Error: mean distance error near the surface on held-out regions, in region sizes. Flatness: 1 is a plane. "
    "Density: of the pattern's codes, 1 where all are equal. Rare patterns of low density are those that the weights are to help."
)


class FittedModel(NamedTuple):
    """What a report shows of a fit.

    model               its file
    patterns, steps     their numbers; shared_steps: those before the codes are grouped; steps_in_all: more than `steps` where it was stopped
    validation          mean, median and p95 of the error near the surface on held-out regions, in region sizes
    scans, regions      that it has learned from and held out
    rows                of metrics.jsonl, one a recorded step
    table               a row for each pattern, with the keys of PATTERN_COLUMNS
    gallery             a PNG picture of the patterns
    messages            what the run told besides
    """

    model: str
    patterns: int
    steps: int
    shared_steps: int
    steps_in_all: int
    validation: Mapping[str, float]
    scans: int
    regions: int
    rows: Sequence[Mapping[str, Any]]
    table: Sequence[Mapping[str, Any]]
    gallery: bytes
    messages: Sequence[Message]


def fit_report(run: Run, fitted: FittedModel) -> bytes:
    """The page of a fit."""
    stopped = fitted.steps < fitted.steps_in_all
    figures = [
        ("patterns", number(fitted.patterns)),
        ("steps", number(fitted.steps) + (f" of {number(fitted.steps_in_all)}" if stopped else "")),
        ("error near the surface, in region sizes", number(fitted.validation["mean"])),
        ("median", number(fitted.validation["median"])),
        ("95 % of regions up to", number(fitted.validation["p95"])),
        ("regions", number(fitted.regions)),
        ("scans and meshes", number(fitted.scans)),
        ("time of the fit", _duration(fitted.rows)),
    ]
    body = key_figures(figures) + (warning_box(["stopped: lpdif fit --resume goes on"]) if stopped else "")
    body += warning_box(message.text for message in fitted.messages if message.warning)
    body += f'<h2>How it learned</h2><div class="curves">{"".join(_curves(fitted))}</div><h2>Patterns</h2>'
    cells = [[_cell(name, row[name]) for name in PATTERN_COLUMNS] for row in fitted.table]
    body += table([*PATTERN_COLUMNS.values()], cells, right=[0, *range(2, len(PATTERN_COLUMNS))]) + f'<p class="pale">{MEANINGS}</p>'
    body += f'<h2>The most typical regions of each pattern</h2><img class="gallery" src="{data_address(fitted.gallery)}" alt="patterns">'
    body += f"<h2>What the run told</h2>{told(fitted.messages)}" + about_run(run)
    return page(f"{fitted.model}: a fit of {number(fitted.patterns)} {'pattern' if fitted.patterns == 1 else 'patterns'}", run, body)


def series(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[FloatArray, FloatArray]:
    """The steps at which a number is recorded, and the number there."""
    there = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), int | float)]
    return np.array([step for step, _ in there], np.float64), np.array([value for _, value in there], np.float64)


def _curves(fitted: FittedModel) -> list[str]:
    shares = [row for row in fitted.rows if row.get("effective_share")]
    steps = np.array([row["step"] for row in shares], np.float64)
    ends = {
        name: np.array([100 * pick(row["effective_share"]) for row in shares], np.float64) for name, pick in (("lowest", min), ("highest", max))
    }
    changed = series(fitted.rows, "changed_pattern")
    errors = [Curve(name, *series(fitted.rows, key)) for key, name in (("p95", "95 % up to"), ("mean", "mean"), ("median", "median"))]
    grouped = (
        f"; the codes were grouped after step {number(fitted.shared_steps)}"
        if fitted.patterns > 1 and fitted.steps > fitted.shared_steps
        else ""
    )
    drawn = [
        curves([Curve("loss", *series(fitted.rows, "loss"))], "Loss on regions learned from", f"running mean{grouped}", log=True),
        curves(errors, "Error near the surface on held-out regions", "in region sizes", log=True),
    ]
    if len(shares):
        lines = [Curve(f"{name} of the patterns", steps, values) for name, values in ends.items()]
        drawn.append(curves(lines, "Effective sample size, % of a pattern's regions", "100 % where the density weights are all equal"))
    if len(changed[0]):
        drawn.append(
            curves([Curve("changed", changed[0], 100 * changed[1])], "Regions that changed pattern, %", "when codes were grouped anew")
        )
    return drawn


def _cell(name: str, value: Any) -> str:
    if isinstance(value, str):
        return safe(value)
    if name == "pattern":
        return number(int(value))
    if not math.isfinite(value):
        return "-"
    return f"{100 * value:.1f} %" if name == "share" else f"{value:.4f}" if name == "error" else f"{value:.2f}"


def _duration(rows: Sequence[Mapping[str, Any]]) -> str:
    """The time from the first step to the last, over all runs of the fit."""
    seconds = series(rows, "seconds")[1]
    if not len(seconds):
        return "-"
    minutes = seconds[-1] / 60
    return f"{seconds[-1]:.1f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"
