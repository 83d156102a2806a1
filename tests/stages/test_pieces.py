"""One scan in pieces is the whole, to the byte; and which piece has what."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
from clouds import box
from numpy.typing import NDArray
from reconstructions import all_models, ball, run
from shapes import even_sphere_points

from lpdif.core.regions import SUPPORT, RegionLattice, region_lattices
from lpdif.stages import reconstruct as stage
from lpdif.stages.pieces import Piece, grouped, hearing, pieces_of
from lpdif.stages.reconstruct import Reconstruction
from lpdif.types import Scan

EDGE = 0.7


def lattices(seed: int = 0) -> list[RegionLattice]:
    """Three sizes, of which the largest stands twice."""
    rng = np.random.default_rng(seed)
    found = region_lattices(rng.normal(0, 1, (200, 3)), 0.1, rng.integers(0, 3, 200))
    again = region_lattices(rng.normal(0, 1, (30, 3)), 0.4, np.zeros(30, np.int64), sum(len(lattice.keys) for lattice in found))
    return [*found, *again]


def tiles(seed: int = 0) -> NDArray[np.int64]:
    places = np.random.default_rng(seed).normal(0, 1, (200, 3))
    return np.unique(np.floor(places / EDGE).astype(np.int64), axis=0)


def test_a_region_is_heard_in_the_tiles_that_its_cube_reaches_into() -> None:
    """The slow, obvious twin."""
    expected = set()
    for lattice in lattices():
        for row, corner in enumerate(lattice.corners.tolist()):
            for number, tile in enumerate(tiles().tolist()):
                low = [(k - SUPPORT) * lattice.size for k in corner]
                high = [(k + SUPPORT) * lattice.size for k in corner]
                if all(a < (t + 1) * EDGE and b > t * EDGE for a, b, t in zip(low, high, tile, strict=True)):
                    expected.add((lattice.first + row, number))
    found = hearing(lattices(), tiles(), EDGE)
    assert len(expected) == len(found.region)
    assert expected == set(zip(found.region.tolist(), found.tile.tolist(), strict=True))


@pytest.mark.parametrize("most", [1, 150, 600])
def test_pieces_have_every_tile_once_every_region_and_all_that_is_heard(most: int) -> None:
    heard, count = hearing(lattices(), tiles(), EDGE), sum(len(lattice.keys) for lattice in lattices())
    pieces = pieces_of(lattices(), tiles(), EDGE, most)
    assert len(pieces) > 2
    np.testing.assert_array_equal(np.sort(np.concatenate([piece.tiles for piece in pieces])), np.unique(heard.tile))
    np.testing.assert_array_equal(np.unique(np.concatenate([piece.regions for piece in pieces])), np.arange(count))
    for piece in pieces:
        assert len(piece.regions) <= most or len(piece.tiles) == 1
        if len(piece.tiles):
            np.testing.assert_array_equal(piece.regions, np.unique(heard.region[np.isin(heard.tile, piece.tiles)]))


def test_what_fits_is_one_piece() -> None:
    count = sum(len(lattice.keys) for lattice in lattices())
    (piece,) = pieces_of(lattices(), tiles(), EDGE, count)
    np.testing.assert_array_equal(piece.regions, np.arange(count))
    assert len(pieces_of(lattices(), tiles(), EDGE, count - 1)) > 1


def test_groups_are_compact_and_as_light_as_asked() -> None:
    line = np.stack([np.arange(16), np.zeros(16, np.int64), np.arange(16) % 2], 1)
    assert grouped(line, np.ones(16, np.int64), 4).tolist() == np.repeat([0, 1, 2, 3], 4).tolist()
    assert len(set(grouped(line, np.full(16, 10), 4).tolist())) == 16  # no tile is light enough
    assert set(grouped(line, np.zeros(16, np.int64), 0).tolist()) == {0}


def half(scan: Scan) -> Scan:
    upper = scan.points[:, 2] > -0.1
    assert scan.normals is not None
    return Scan(scan.points[upper], scan.normals[upper])


def two_densities() -> Scan:
    """A ball of which one side is five times as dense as the other."""
    points, normals = even_sphere_points(4000)
    kept = (points[:, 0] > 0) | (np.arange(len(points)) % 25 == 0)
    return Scan(points[kept], normals[kept])


def same(one: Reconstruction, other: Reconstruction) -> None:
    assert one.facts == other.facts
    for name in ("vertices", "faces", "normals"):
        assert getattr(one.mesh, name).tobytes() == getattr(other.mesh, name).tobytes()
    for values in ("vertex_values", "face_values"):
        first, second = getattr(one.mesh, values), getattr(other.mesh, values)
        assert {name: value.tobytes() for name, value in first.items()} == {name: value.tobytes() for name, value in second.items()}


@pytest.fixture
def in_pieces(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], list[int]]:
    """Makes every scan be made in pieces of at most so many regions; returns a list of the numbers of pieces."""
    numbers: list[int] = []

    def cut(most: float) -> list[int]:
        def pieces(*given: object) -> list[Piece]:
            found = pieces_of(*given[:3], most)  # type: ignore[arg-type]
            numbers.append(len(found))
            return found

        monkeypatch.setattr("lpdif.stages.budget.pieces_of", pieces)
        return numbers

    return cut


@pytest.mark.parametrize(
    ("scan", "settings"),
    [
        (ball, {}),
        (partial(half, ball()), {}),
        (partial(half, ball()), {"watertight": True}),
        (partial(half, ball()), {"max_distance": 1.0}),
        (two_densities, {}),
    ],
    ids=["closed", "open", "watertight", "across a gap", "two densities"],
)
def test_pieces_give_the_bytes_of_the_whole(
    scan: Callable[[], Scan], settings: dict[str, object], in_pieces: Callable[[float], list[int]]
) -> None:
    model, given = all_models()["tiny"], scan()
    whole = run(given, model, **settings)
    for most, threads in ((400, 1), (1, 3)):
        numbers = in_pieces(most)
        same(whole, run(given, model, threads, **settings))
        assert numbers[-1] > 2


@pytest.mark.skipif("bundled" not in all_models(), reason="no model is bundled yet")
def test_forms_at_edges_are_the_same_in_pieces(in_pieces: Callable[[float], list[int]]) -> None:
    solid = box(2500)
    model, given = all_models()["bundled"], Scan(solid.points, solid.normals)
    whole = run(given, model)
    assert len(set(whole.field.codes.arrangement.tolist())) > 2
    numbers = in_pieces(700)
    same(whole, run(given, model))
    assert numbers[-1] > 2


def test_the_field_of_a_scan_in_pieces_is_made_when_it_is_asked_for(in_pieces: Callable[[float], list[int]]) -> None:
    model = all_models()["tiny"]
    whole = run(ball(), model)
    in_pieces(400)
    parts = run(ball(), model)
    place = np.random.default_rng(0).normal(0, 0.7, (500, 3))
    np.testing.assert_array_equal(parts.field.sdf(place), whole.field.sdf(place))
    assert parts.field is parts.field
    np.testing.assert_array_equal(parts.regions.pattern, whole.regions.pattern)


def test_progress_of_pieces_is_that_of_the_whole(in_pieces: Callable[[float], list[int]]) -> None:
    seen: list[tuple[str, int, int]] = []
    numbers = in_pieces(400)
    stage.reconstruct(ball(), all_models()["tiny"], device="cpu", threads=1, progress=lambda *call: seen.append(call))
    for what in ("encode", "extract"):
        steps = [(done, total) for stage_, done, total in seen if stage_ == what]
        assert steps == [(n, len(steps)) for n in range(1, len(steps) + 1)]
        assert len(steps) >= numbers[-1]
