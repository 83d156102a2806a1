"""Drawings: bars are as high as they count, curves go where their numbers are, marks are round."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from lpdif.report.svg import DRAWING, Curve, curves, histogram, log_ticks, ticks


def bar_heights(drawing: str) -> dict[int, float]:
    """The height of each bar, by its number."""
    step = DRAWING.width / DRAWING.bars
    return {round(float(x) / step): float(h) for x, h in re.findall(rf"M([\d.]+) {DRAWING.height}v-([\d.]+)h", drawing)}


@pytest.mark.parametrize("seed", range(4))
def test_bars_are_as_high_as_they_count(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=500)
    drawing = histogram(np.r_[values, np.nan, np.inf], "values", low=-2.0, high=2.0)
    counts = [0] * DRAWING.bars
    for value in values:  # one at a time; what is farther out goes to the ends
        counts[min(DRAWING.bars - 1, max(0, math.floor((value + 2) / 4 * DRAWING.bars)))] += 1
    heights = bar_heights(drawing)
    for number, count in enumerate(counts):
        assert heights.get(number, 0) == pytest.approx(DRAWING.height * count / max(counts), abs=0.06)
    assert f"median {float(f'{np.median(values):.4g}'):g}," in drawing
    assert f"95 % up to {float(f'{np.quantile(values, 0.95):.4g}'):g}" in drawing


def test_tails_go_to_the_outermost_bars() -> None:
    values = np.r_[np.linspace(0, 1, 1000), 1e6]
    heights = bar_heights(histogram(values, "with a stray"))
    assert len(heights) == DRAWING.bars  # not all in the first


@pytest.mark.parametrize("value", [0.0, 3.0, -2.0, 1e-30])
def test_values_that_are_all_alike_are_one_bar_in_the_middle(value: float) -> None:
    heights = bar_heights(histogram(np.full(9, value), "alike"))
    assert list(heights.values()) == [DRAWING.height]
    assert abs(next(iter(heights)) - DRAWING.bars / 2) <= 1


def test_no_value_is_said() -> None:
    assert "no value" in histogram(np.array([np.nan]), "empty")
    assert "nothing recorded" in curves([Curve("empty", np.array([]), np.array([]))], "empty")
    assert "nothing recorded" in curves([Curve("negative", np.array([1.0]), np.array([-1.0]))], "on a logarithmic axis", log=True)


@pytest.mark.parametrize("log", [False, True])
def test_a_curve_goes_through_its_numbers(log: bool) -> None:
    x = np.array([0.0, 10, 20, 30, 40])
    y = np.array([100.0, 10, np.nan, 1, 0.1])
    drawing = curves([Curve("loss", x, y)], "loss", log=log)
    corners = [tuple(map(float, pair.split(","))) for pair in re.findall(r'points="([^"]+)"', drawing)[0].split()]
    assert len(corners) == 4  # without the one that is no number
    across, down = np.array(corners).T
    np.testing.assert_allclose(np.interp(x[[0, 1, 3, 4]], [0, 40], across[[0, 3]]), across, atol=0.06)
    heights = np.log10(y[[0, 1, 3, 4]]) if log else y[[0, 1, 3, 4]]
    np.testing.assert_allclose(np.interp(heights, heights[[3, 0]], down[[3, 0]]), down, atol=0.12)
    assert (down >= 0).all()
    assert (down <= DRAWING.curve_height).all()
    assert "at the end 0.1" in drawing


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    x = np.arange(100_001.0)
    drawing = curves([Curve("long", x, x)], "long")
    corners = re.findall(r'points="([^"]+)"', drawing)[0].split()
    assert 100 < len(corners) <= DRAWING.most_places + 1
    assert float(corners[-1].split(",")[0]) == pytest.approx(DRAWING.curve_width - DRAWING.right, abs=0.06)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0, 20_000), (-3, 7), (0.21, 0.37), (1e-5, 3e-5), (95, 100)])
def test_marks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 2 * DRAWING.ticks
    assert all(low - 1e-9 <= value <= high + 1e-9 for value in found)
    steps = {f"{b - a:.6g}" for a, b in itertools.pairwise(found)}
    assert len(steps) == 1
    assert re.fullmatch(r"0*[125]0*(e-?\d+)?", next(iter(steps)).replace(".", ""))


@pytest.mark.parametrize(("low", "high", "wanted"), [(0.0, 5.0, [1, 10, 100, 1000, 1e4, 1e5]), (-1.0, 0.0, [0.1, 0.2, 0.5, 1])])
def test_marks_of_a_logarithmic_axis(low: float, high: float, wanted: list[float]) -> None:
    np.testing.assert_allclose(log_ticks(low, high), wanted)


def test_a_short_logarithmic_axis_has_plain_marks() -> None:
    assert log_ticks(math.log10(0.21), math.log10(0.37)) == ticks(0.21, 0.37)
