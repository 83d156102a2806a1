"""Drawings of numbers as SVG: histograms and curves, with the marks and words that make them legible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.report.page import number, safe


class DrawingSettings(NamedTuple):
    """Sizes of the drawings, in units that are about pixels."""

    width: int = 250  # Width of a histogram.
    height: int = 84  # Height of its highest bar.
    bars: int = 50  # Number of its bars.
    tail: float = 0.005  # This share of the values at either end may lie in the outermost bars, though they are farther out.
    curve_width: int = 460  # Width of a drawing of curves.
    curve_height: int = 170  # Its height without the words below.
    margin: int = 46  # Room for the words at its left.
    right: int = 26  # Room at its right, for half of the last word below.
    headroom: float = 0.06  # Above and below the curves this share of their height is left free.
    most_places: int = 400  # A curve has at most so many corners.
    ticks: int = 4  # About so many marks on an axis.


DRAWING = DrawingSettings()
COLOURS = ("#3b6ea5", "#c8703a", "#4f8a5b", "#8a6fb0")


class Curve(NamedTuple):
    """A curve through (x, y), and its name."""

    name: str
    x: FloatArray
    y: FloatArray


def histogram(values: FloatArray, title: str, note: str = "", low: float | None = None, high: float | None = None) -> str:
    """How values (N,) are spread between low and high, by default without their tails, which lie in the outermost bars.

    The median is marked. Nothing is drawn where no value is finite.
    """
    finite = np.asarray(values, np.float64)[np.isfinite(values)]
    if len(finite) == 0:
        return f"<figure><figcaption><b>{safe(title)}</b><br>no value</figcaption></figure>"
    ends = np.quantile(finite, [DRAWING.tail, 1 - DRAWING.tail])
    low, high = float(ends[0]) if low is None else low, float(ends[1]) if high is None else high
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # all alike: one bar in the middle
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)
    counts = np.histogram(np.clip(finite, low, high), DRAWING.bars, (low, high))[0]
    width, height = DRAWING.width, DRAWING.height
    step = width / DRAWING.bars
    bars = "".join(
        f"M{i * step:.1f} {height}v{-height * count / counts.max():.1f}h{step - 0.7:.1f}V{height}z" for i, count in enumerate(counts) if count
    )
    median, upper = np.quantile(finite, [0.5, 0.95])
    at = width * min(1.0, max(0.0, (float(median) - low) / (high - low)))
    labels = "".join(
        f'<text x="{width * k / 2}" y="{height + 14}" text-anchor="{anchor}">{number(float(low + (high - low) * k / 2))}</text>'
        for k, anchor in enumerate(("start", "middle", "end"))
    )
    words = f"median {number(float(median))}, 95 % up to {number(float(upper))}"
    return (
        f'<figure><svg viewBox="0 0 {width} {height + 18}" role="img" aria-label="{safe(title)}: {words}">'
        f'<path d="{bars}" fill="{COLOURS[0]}"/><path d="M0 {height + 0.5}H{width}" stroke="#c4cbd2"/>'
        f'<path d="M{at:.1f} 0V{height}" stroke="{COLOURS[1]}" stroke-dasharray="3 2"/>{labels}</svg>'
        f"<figcaption><b>{safe(title)}</b><br>{words}{'<br>' + safe(note) if note else ''}</figcaption></figure>"
    )


def curves(lines: Sequence[Curve], title: str, note: str = "", log: bool = False, x_name: str = "step") -> str:
    """Curves in one drawing, with a legend. log: y on a logarithmic axis, which leaves out what is not above zero."""
    drawn = [line for line in (_finite(line, log) for line in lines) if len(line.x)]
    if not drawn:
        return f"<figure><figcaption><b>{safe(title)}</b><br>nothing recorded</figcaption></figure>"
    x, y = np.concatenate([line.x for line in drawn]), np.concatenate([line.y for line in drawn])
    x_low, x_high = _room(float(x.min()), float(x.max()))
    y_low, y_high = _room(float(y.min()), float(y.max()), DRAWING.headroom)
    width, height, margin = DRAWING.curve_width, DRAWING.curve_height, DRAWING.margin

    def place(x: FloatArray, y: FloatArray) -> FloatArray:
        across = margin + (x - x_low) / (x_high - x_low) * (width - margin - DRAWING.right)
        return np.column_stack([across, height - (y - y_low) / (y_high - y_low) * height])

    grid = ""
    for value in log_ticks(y_low, y_high) if log else ticks(y_low, y_high):
        up = place(np.array([x_low]), np.array([math.log10(value) if log else value]))[0, 1]
        grid += f'<path d="M{margin} {up:.1f}H{width - DRAWING.right}" stroke="#e6e9ec"/>'
        grid += f'<text x="{margin - 6}" y="{up + 4:.1f}" text-anchor="end">{number(value)}</text>'
    for value in ticks(x_low, x_high):
        right = place(np.array([value]), np.array([y_low]))[0, 0]
        grid += (
            f'<text x="{right:.1f}" y="{height + 16}" text-anchor="middle">{number(round(value) if value == round(value) else value)}</text>'
        )
    drawing, legend = "", []
    for colour, line in zip(COLOURS, drawn, strict=False):
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in _thinned(place(line.x, line.y)))
        drawing += f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/>'
        drawing += "".join(f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.4" fill="{colour}"/>' for a, b in place(line.x, line.y)[-1:])
        last = float(10 ** line.y[-1]) if log else float(line.y[-1])
        legend.append(f'<span style="color:{colour}">&#9632;</span> {safe(line.name)}, at the end {number(last)}')
    return (
        f'<figure><svg viewBox="0 -8 {width} {height + 30}" role="img" aria-label="{safe(title)}">{grid}{drawing}'
        f'<text x="0" y="{height + 16}">{safe(x_name)}</text></svg>'
        f"<figcaption><b>{safe(title)}</b><br>{'; '.join(legend)}{'<br>' + safe(note) if note else ''}</figcaption></figure>"
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high, about DRAWING.ticks of them."""
    rough = (high - low) / DRAWING.ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(times for times in (1, 2, 5, 10) if times * power >= 0.999 * rough)
    return [round(k * step, 12) for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Round numbers between the powers of ten `low` and `high`."""
    found = [times * 10.0**k for k in range(math.floor(low), math.ceil(high) + 1) for times in (1, 2, 5)]
    inside = [value for value in found if low - 1e-9 <= math.log10(value) <= high + 1e-9]
    powers = [value for value in inside if abs(math.log10(value) % 1) < 1e-9]
    if len(inside) < DRAWING.ticks - 1:  # less than a power of ten
        return ticks(10.0**low, 10.0**high)
    return powers if len(powers) >= DRAWING.ticks else inside


def _finite(line: Curve, log: bool) -> Curve:
    """The places that can be drawn; y as its power of ten where the axis is logarithmic."""
    x, y = np.asarray(line.x, np.float64), np.asarray(line.y, np.float64)
    kept = np.isfinite(x) & np.isfinite(y) & ((y > 0) | (not log))
    return Curve(line.name, x[kept], np.log10(y[kept]) if log else y[kept])


def _room(low: float, high: float, share: float = 0.0) -> tuple[float, float]:
    """The ends of an axis, with this share of its length beyond both; a single value gets room on both sides."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        more = share * (high - low)
        return low - more, high + more
    half = 0.5 * (abs(low) or 1.0)
    return low - half, high + half


def _thinned(places: FloatArray) -> FloatArray:
    """Every so many-th row, and the last."""
    rows = np.unique(np.r_[np.arange(0, len(places), -(-len(places) // DRAWING.most_places)), len(places) - 1])
    return np.asarray(places[rows])
