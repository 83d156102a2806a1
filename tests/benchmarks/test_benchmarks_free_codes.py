"""The auto-decoder's own parts: points as queries, codes fitted to points, results of a whole small run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT
from shapes import wavy_regions

from lpdif.core.optimizer import TrainingRegions

sys.path.insert(0, str(ROOT / "benchmarks"))
import free_codes


def planes(count: int, seed: int) -> TrainingRegions:
    """Flat regions at heights that differ, with exact distances."""
    generator = torch.Generator().manual_seed(seed)
    height = 0.2 * torch.randn(count, 1, generator=generator)
    across = torch.rand(count, 160, 2, generator=generator) * 2 - 1
    points = torch.cat([across, height[:, None].expand(-1, 160, 1)], 2)
    queries = torch.rand(count, 30, 3, generator=generator) - 0.5
    normals = torch.tensor([0.0, 0.0, 1.0]).expand(count, 160, 3)
    return TrainingRegions(points.half(), normals.half(), torch.full((count,), 160), queries, queries[..., 2] - height)


def test_points_are_queries_at_known_distances() -> None:
    regions = free_codes.seen_in_frames(planes(5, 0), False, 5)
    queries, sdf = free_codes.on_points(regions, 200, torch.Generator().manual_seed(0))
    assert sdf.unique().tolist() == pytest.approx([-0.05, 0.0, 0.05])
    height = regions.points[:, :1, 2]
    torch.testing.assert_close(queries[..., 2] - height, sdf, atol=1e-6, rtol=0)


@pytest.mark.parametrize("frames", [False, True])
def test_errors_are_those_near_the_surface(frames: bool) -> None:
    """In canonical frames flat regions are the plane z = 0, which a fresh decoder says; in fixed ones it is off by their heights."""
    data = planes(6, 1)
    regions = free_codes.seen_in_frames(data, frames, 6)
    learner = free_codes.AutoDecoder(6, 8, 0, torch.device("cpu"))
    found = free_codes.errors(learner.decoder, torch.zeros(6, free_codes.FEATURES), torch.zeros(6, dtype=torch.int64), regions)
    assert found == pytest.approx(np.zeros(6) if frames else data.points[:, 0, 2].abs().numpy(), abs=1e-3)


def test_a_small_run_writes_every_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEPS": 200, "BATCH": 16, "FITTING": 60, "WIDTH": 16}.items():
        monkeypatch.setattr(free_codes, name, value)
    sides = [free_codes.seen_in_frames(planes(count, count), False, count) for count in (60, 40)]
    variants = [v for v in free_codes.VARIANTS if v.wide == 1 and v.batch == 1 and v.patterns < 32]
    free_codes.run_seed(0, variants, *sides, torch.device("cpu"), tmp_path)
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(tmp_path.glob("*.json"))]
    assert {row["variant"] for row in rows} == {v.name for v in variants}
    untrained = float(np.abs(sides[1].sdf.numpy() - sides[1].queries[..., 2].numpy()).mean())
    for row in rows:
        assert row["clean"]["mean"] < 0.5 * untrained
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    free_codes.run_seed(0, variants, *sides, torch.device("cpu"), tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}


def test_wavy_regions_are_seen_in_their_frames() -> None:
    points, normals = (part.half() for part in wavy_regions(4, 160))
    data = TrainingRegions(points, normals, torch.full((4,), 160), points[:, :8].float(), torch.zeros(4, 8))
    regions = free_codes.seen_in_frames(data, True, 4)
    assert regions.queries.shape == (4, 8, 3)
    assert (regions.normals[regions.mask][:, 2] > 0).float().mean() > 0.9
