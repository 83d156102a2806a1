"""Pieces that others make are the whole, to the byte; what goes out to them is no more than they need."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial

import numpy as np
import pytest
from clouds import box
from reconstructions import all_models, ball
from test_pieces import half, same, two_densities

from lpdif.config import ReconstructConfig
from lpdif.core.model import Model
from lpdif.stages import piece_work, reconstruct
from lpdif.stages.piece_work import PieceSurface, PieceWork, regions_of_piece, surface_of
from lpdif.stages.pieces import PIECES
from lpdif.surface.isosurface import TileSearch
from lpdif.surface.narrow_band import PointIndex
from lpdif.types import Scan


class Others:
    """Make pieces from copies, and give them back the last first."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.sent: list[PieceWork] = []

    def at_once(self) -> int:
        return 2

    def surfaces(self, works: Iterable[PieceWork]) -> Iterator[tuple[int, PieceSurface]]:
        self.sent = [copy.deepcopy(work) for work in works]
        for number in reversed(range(len(self.sent))):
            yield number, surface_of(self.sent[number], self.model, 1)


def grid_ball() -> Scan:
    """The points of a grid near a sphere: most have others at the same distance from a region's centre."""
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 33)] * 3, indexing="ij"), -1).reshape(-1, 3)
    radius = np.linalg.norm(grid, axis=1)
    kept = np.abs(radius - 0.8) < 0.03
    return Scan(grid[kept], grid[kept] / radius[kept, None])


def made(scan: Scan, model: Model, others: Others | None, **settings: object) -> reconstruct.Reconstruction:
    return reconstruct.reconstruct(scan, model, ReconstructConfig(**settings), "cpu", 1, spread=others)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scan", "settings"),
    [
        (ball, {}),
        (partial(half, ball()), {"watertight": True}),
        (partial(half, ball()), {"max_distance": 1.0}),
        (two_densities, {"refine": 2}),
        (grid_ball, {}),
    ],
    ids=["closed", "watertight", "across a gap", "two densities, refined", "grid"],
)
def test_what_others_make_are_the_bytes_of_the_whole(
    scan: Callable[[], Scan], settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = all_models()["tiny"], scan()
    whole = made(given, model, None, **settings)
    for most in (1, 500):
        monkeypatch.setattr(piece_work, "PIECES", PIECES._replace(fewest=most, most=most))
        others = Others(model)
        parts = made(given, model, others, **settings)
        same(whole, parts)
        np.testing.assert_array_equal(parts.regions.pattern, whole.regions.pattern)
        assert len(others.sent) > 2


@pytest.mark.skipif("bundled" not in all_models(), reason="no model is bundled yet")
def test_forms_at_edges_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    solid = box(2500)
    model, given = all_models()["bundled"], Scan(solid.points, solid.normals)
    monkeypatch.setattr(piece_work, "PIECES", PIECES._replace(fewest=700, most=700))
    others = Others(model)
    same(made(given, model, None), made(given, model, others))
    assert len(others.sent) > 2


def test_a_piece_takes_what_is_around_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a long strip, each of many pieces gets a small part."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(0, 60, 6000), rng.uniform(0, 1, 6000), np.zeros(6000)])
    scan = Scan(points, np.tile([0.0, 0, 1], (6000, 1)))
    monkeypatch.setattr(piece_work, "PIECES", PIECES._replace(fewest=800, most=800))
    others = Others(all_models()["tiny"])
    made(scan, others.model, others)
    seen = [sum(len(points) for points, _ in work.visible) for work in others.sent]
    assert len(seen) > 8
    assert max(seen) < 0.4 * len(points)


def test_everybody_gets_several_pieces() -> None:
    assert regions_of_piece(10, 4) == PIECES.fewest
    assert regions_of_piece(320_000, 8) == 10_000
    assert regions_of_piece(10**8, 2) == PIECES.most
    assert regions_of_piece(10**5, 0) == 25_000  # no worker is there yet


def test_a_part_of_a_search_finds_the_same_points_near_its_tiles() -> None:
    points = np.random.default_rng(1).uniform(-5, 5, (3000, 3))
    search = TileSearch(points, 0.05, np.random.default_rng(2).uniform(0.1, 0.6, 3000), tile=16)
    numbers = np.arange(0, len(search.tiles), 7)
    part = search.part(numbers)
    np.testing.assert_array_equal(part.tiles, search.tiles[numbers])
    for (index, _), (few, _) in zip(search._indices, part._indices, strict=True):
        assert len(few.points) < len(index.points)
        for corner in part.tiles:
            np.testing.assert_array_equal(few.near(corner), index.near(corner))
    nothing = PointIndex(points[:0], 0.8, 0.3).part(search.tiles[:2])
    assert len(nothing.near(search.tiles[0])) == 0
