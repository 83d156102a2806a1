"""The report of a fit: its curves, its patterns and its errors are those recorded."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from pages import Page
from test_report_page import EVIL, RUN

from lpdif.report.fit_report import FittedModel, fit_report, series
from lpdif.report.page import Message

LOG = [
    {"step": 100, "loss": 0.5, "seconds": 1.0},
    {"step": 200, "loss": 0.25, "seconds": 2.0, "mean": 0.06, "median": 0.05, "p95": 0.2},
    {"step": 300, "loss": 0.2, "seconds": 3.0, "effective_share": [0.9, 0.5], "changed_pattern": 0.04},
    {"step": 400, "loss": 0.125, "seconds": 4.5, "mean": 0.031, "median": None, "p95": 0.09, "effective_share": [0.75, 1.0]},
]
PATTERNS = [
    {"pattern": 1, "name": "convex edge", "share": 0.75, "error": 0.0123, "flatness": 0.9, "density": 0.8},
    {"pattern": 0, "name": "smooth", "share": 0.25, "error": float("nan"), "flatness": 0.5, "density": 0.25},
]


def png() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.full((6, 9, 3), 128, np.uint8)).save(file, "PNG")
    return file.getvalue()


def fitted(**other: object) -> FittedModel:
    validation = {"mean": 0.031, "median": float("nan"), "p95": 0.09}
    whole = FittedModel(
        EVIL, 2, 400, 200, 400, validation, 12, 23_456, LOG, PATTERNS, png(), [Message("patterns: 2"), Message("few regions", True)]
    )
    return whole._replace(**other)


def test_its_figures_are_those_recorded() -> None:
    page = Page(fit_report(RUN, fitted()))
    page.check_stands_alone()
    assert page.rows["1"] == ["convex edge", "75.0 %", "0.0123", "0.90", "0.80"]
    assert page.rows["0"] == ["smooth", "25.0 %", "-", "0.50", "0.25"]
    for words in ("23,456", "12", "0.031", "4.5 s", "patterns: 2", "few regions", "the codes were grouped after step 200"):
        assert words in page.text
    for words in ("loss, at the end 0.125", "mean, at the end 0.031", "median, at the end 0.05", "95 % up to, at the end 0.09"):
        assert words in " ".join(page.text.split())
    assert "lowest of the patterns, at the end 75" in " ".join(page.text.split())
    assert "changed, at the end 4" in " ".join(page.text.split())
    assert page.pictures[0].shape == (6, 9, 3)
    assert len(re.findall("<polyline", page.source)) == 7


def test_a_fit_that_was_stopped_says_so() -> None:
    page = Page(fit_report(RUN, fitted(steps_in_all=900)))
    assert "400 of 900" in page.texts
    assert "stopped: lpdif fit --resume goes on" in page.text
    assert "stopped" not in Page(fit_report(RUN, fitted())).text
    assert "grouped after" not in Page(fit_report(RUN, fitted(steps=150, steps_in_all=900))).text


def test_a_fit_of_one_pattern_has_no_curves_of_patterns() -> None:
    page = Page(fit_report(RUN, fitted(patterns=1, rows=LOG[:2], table=PATTERNS[:1])))
    assert "Effective sample size" not in page.text
    assert "grouped after" not in page.text
    assert len(re.findall("<svg", page.source)) == 2


def test_a_fit_without_a_log_says_so() -> None:
    page = Page(fit_report(RUN, fitted(rows=[])))
    assert page.text.count("nothing recorded") == 2


@pytest.mark.parametrize(("name", "steps", "values"), [("loss", [100, 200, 300, 400], [0.5, 0.25, 0.2, 0.125]), ("median", [200], [0.05])])
def test_series_are_the_numbers_that_are_there(name: str, steps: list[int], values: list[float]) -> None:
    assert [list(part) for part in series(LOG, name)] == [steps, values]
