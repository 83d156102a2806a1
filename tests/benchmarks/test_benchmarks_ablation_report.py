"""The ablation's table: means over seeds, and changes against the run of the same seed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import ablation_report as report


def write_row(folder: Path, variant: str, seed: int, mean: float) -> None:
    figures = {"mean": mean, "p95": 3 * mean, "decile_mean": [2 * mean] * 10, "decile_p95": [4 * mean] * 10}
    row = {"variant": variant, "seed": seed, "clean": figures, "as_in_training": figures}
    (folder / f"{variant.replace(' ', '_')}.{seed}.json").write_text(json.dumps(row))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for seed, base in enumerate((0.010, 0.020)):
        write_row(tmp_path, "one decoder", seed, base)
        write_row(tmp_path, "8 patterns", seed, base * (0.9 if seed else 0.8))
    write_row(tmp_path, "16 patterns, KDE", 0, 0.011)
    write_row(tmp_path, "8 fixed patterns, KDE", 5, 0.011)
    return tmp_path


def test_changes_are_against_the_same_seed(results: Path) -> None:
    rows = report.load_rows(results)
    assert list(rows)[:2] == ["one decoder", "8 patterns"]
    base = rows["one decoder"]
    assert report.change(rows["8 patterns"], base) == "-15.0 % ± 7.1"
    assert report.change(rows["16 patterns, KDE"], base) == "+10.0 %"
    assert report.change(rows["8 fixed patterns, KDE"], base) == "-"


def test_the_table_has_a_line_for_each_variant(results: Path) -> None:
    lines = report.table(report.load_rows(results)).splitlines()
    assert len(lines) == 2 + 4
    assert (
        lines[2]
        == "| one decoder | 2 | 15.00 ± 7.07 | +0.0 % ± 0.0 | 45.00 ± 21.21 | 30.00 ± 14.14 | 60.00 ± 28.28 | 15.00 ± 7.07 | 45.00 ± 21.21 |"
    )
    assert {line.count("|") for line in lines} == {10}


def test_plots_are_drawn(results: Path) -> None:
    pytest.importorskip("matplotlib")
    write_row(results, "one decoder, KDE", 0, 0.010)
    write_row(results, "8 fixed patterns, KDE", 0, 0.011)
    (results / "8_fixed_patterns,_KDE.5.json").unlink()
    report.plot(report.load_rows(results), results / "ablation.png")
    assert (results / "ablation.png").read_bytes().startswith(b"\x89PNG")
