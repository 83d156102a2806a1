"""What the settings of reconstruct do, and what it refuses."""

from __future__ import annotations

import logging
import re

import numpy as np
import pytest
from reconstructions import all_models, ball, both_models, ring, ring_distance, run, shape_of
from shapes import even_sphere_points

import lpdif
from lpdif.config import ReconstructConfig
from lpdif.core.model import Model
from lpdif.errors import InputError, UsageError
from lpdif.stages.expectation import expect
from lpdif.storage.models import load_model
from lpdif.types import Scan


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return all_models()


def three_balls() -> Scan:
    """A large ball, a small one, and one of few points."""
    points, outward = even_sphere_points(1500)
    small, tiny = even_sphere_points(150), even_sphere_points(40)
    places = [points, 0.3 * small[0] + [2, 0, 0], 0.15 * tiny[0] + [0, 2, 0]]
    return Scan(np.concatenate(places), np.concatenate([outward, small[1], tiny[1]]))


def parts_of(**settings: object) -> list[int]:
    """The faces of each connected component, of the bundled model's mesh."""
    mesh = shape_of(run(three_balls(), load_model(), **settings).mesh)
    return sorted((len(part.faces) for part in mesh.split(only_watertight=False)), reverse=True)


def test_the_largest_part_alone() -> None:
    whole = parts_of()
    assert len(whole) == 3
    assert parts_of(keep="largest") == whole[:1]
    assert len(parts_of(keep="largest", watertight=True, faces=200)) == 1


def test_a_watertight_mesh_of_few_faces_has_no_crumbs(caplog: pytest.LogCaptureFixture) -> None:
    """By area the smallest ball gets 3 of 150 faces, where a closed surface needs 8 to look like anything."""
    caplog.set_level(logging.INFO, "lpdif")
    assert [faces >= 8 for faces in parts_of(watertight=True, faces=2000)] == [True] * 3
    few = parts_of(watertight=True, faces=150)
    assert len(few) == 2
    assert min(few) >= 8
    assert len(parts_of(faces=150)) == 3  # an open mesh keeps what it stands for
    assert "1 part dropped (too small to be shown by 150 faces)" in caplog.text


def test_a_texture_has_the_colours_of_the_scan(models: dict[str, Model]) -> None:
    pytest.importorskip("xatlas", reason="xatlas has no wheel here")
    points, outward = even_sphere_points(1500)
    colors = np.where(points > 0, 200, 50).astype(np.uint8)
    mesh = run(Scan(points, outward, colors), models["tiny"], texture=128, faces=500).mesh
    assert mesh.texture is not None
    assert mesh.texture.image.shape == (128, 128, 3)
    middle = mesh.vertices[mesh.faces].mean(axis=1)
    column, up = np.floor(128 * mesh.texture.coordinates.mean(axis=1)).astype(int).T
    clear = (np.abs(middle) > 0.2).all(axis=1)
    assert (mesh.texture.image[127 - up, column] == np.where(middle > 0, 200, 50))[clear].all()
    with pytest.raises(InputError, match="has no colours"):
        run(Scan(points, outward), models["tiny"], texture=128)


# --- settings -------------------------------------------------------------------------------------------------------------------


def test_resolution_is_the_length_of_the_lattice(models: dict[str, Model]) -> None:
    coarse, fine = (run(ball(), models["tiny"], resolution=step) for step in (0.08, 0.04))
    assert (coarse.facts["resolution"], fine.facts["resolution"]) == (0.08, 0.04)
    assert len(fine.mesh.faces) == pytest.approx(4 * len(coarse.mesh.faces), rel=0.1)
    for found, step in ((coarse, 0.08), (fine, 0.04)):
        edges = found.mesh.vertices[found.mesh.faces] - found.mesh.vertices[np.roll(found.mesh.faces, 1, 1)]
        assert np.linalg.norm(edges, axis=2).max() < np.sqrt(3) * step
        steps = (found.mesh.vertices - found.field.origin) / step
        assert ((np.abs(steps - np.round(steps)) < 1e-6).sum(1) >= 2).all()  # vertices lie on lattice edges


def test_a_fine_resolution_leaves_no_holes(models: dict[str, Model]) -> None:
    """Many tiles between one point and the next."""
    scan = ball(60)
    shape = shape_of(run(scan, models["tiny"], resolution=0.02).mesh)
    assert shape.is_watertight
    assert shape.euler_number == 2


@pytest.mark.parametrize("step", [0.2, 0.4, 0.8])
def test_a_coarse_resolution_is_the_same_surface_with_fewer_faces(models: dict[str, Model], step: float) -> None:
    """Steps of several regions, at which a lattice would miss the surface."""
    made = run(ball(), models["tiny"], resolution=step)
    assert step > 1.2 * float(made.facts["region_size"])
    shape = shape_of(made.mesh)
    assert shape.is_watertight
    assert len(made.mesh.faces) == pytest.approx(2.6 * 4 * np.pi / step**2, rel=0.2)
    assert made.facts["resolution"] == step
    assert shape.volume == pytest.approx(4 * np.pi / 3, rel=2 / len(made.mesh.faces) ** 0.5)


def test_a_resolution_that_leaves_no_faces_is_a_slip() -> None:
    with pytest.raises(UsageError, match=r"resolution 50 is coarser than the whole surface, whose area is about 1[23]") as caught:
        expect(ball(), ReconstructConfig(resolution=50.0))
    largest = float(str(caught.value.hint).split("below ")[1].split(";")[0])
    assert expect(ball(), ReconstructConfig(resolution=0.9 * largest))["faces"] >= 4


def test_open_loops_are_counted(models: dict[str, Model]) -> None:
    counts = [run(scan, load_model()).facts["open_loops"] for scan in (ball(), holed(0.8))]
    assert counts == [0, 1]
    points, normals = even_sphere_points(4000)
    seen = np.abs(points[:, 2]) < 0.8
    assert run(Scan(points[seen], normals[seen]), load_model()).facts["open_loops"] == 2


def test_region_size_is_that_of_the_finest_level(models: dict[str, Model]) -> None:
    one, other = (run(ball(), models["tiny"], region_size=size) for size in (0.2, 0.4))
    assert (one.facts["region_size"], other.facts["region_size"]) == (0.2, 0.4)
    assert min(lattice.size for lattice in one.field.lattices) == 0.2
    assert int(other.facts["regions"]) < 0.5 * int(one.facts["regions"])
    assert np.abs(np.linalg.norm(other.mesh.vertices, axis=1) - 1).max() < 0.02


@pytest.mark.parametrize("distance", [0.03, 0.06])
def test_no_surface_beyond_the_maximum_distance(models: dict[str, Model], distance: float) -> None:
    scan = ball(400)
    mesh = run(scan, models["tiny"], max_distance=distance).mesh
    nearest = np.linalg.norm(mesh.vertices[:, None] - scan.points[None], axis=2).min(1)
    assert nearest.max() <= distance
    assert shape_of(mesh).area < 4 * np.pi * 0.9


@pytest.mark.parametrize("distance", [0.5, 1e3, 1e12])
def test_a_large_maximum_distance_costs_nothing(models: dict[str, Model], distance: float) -> None:
    mesh = run(ball(), models["tiny"], max_distance=distance).mesh
    assert shape_of(mesh).is_watertight
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 0.01


def holed(height: float) -> Scan:
    """The unit sphere without its cap above this height."""
    points, normals = even_sphere_points(4000)
    seen = points[:, 2] < height
    return Scan(points[seen], normals[seen], name="holed.ply")


@pytest.mark.parametrize(("distance", "closed"), [(0.2, False), (0.4, False), (0.7, True)])
def test_a_larger_maximum_distance_carries_the_surface_across_a_gap(distance: float, closed: bool) -> None:
    """Or leaves it to the boundary, where it does not reach across."""
    shape = shape_of(run(holed(0.8), load_model(), max_distance=distance).mesh)
    assert shape.is_watertight == closed
    assert np.abs(np.linalg.norm(shape.vertices, axis=1) - 1).max() < (0.065 if closed else 0.01)
    assert shape.vertices[:, 2].max() < (1.06 if closed else 0.84)
    assert not closed or shape.volume == pytest.approx(4 * np.pi / 3, rel=0.01)


@pytest.mark.parametrize(("height", "within"), [(0.95, 0.03), (0.8, 0.065)])
def test_watertight_goes_on_around_a_gap_as_the_surface_does(height: float, within: float) -> None:
    shape = shape_of(run(holed(height), load_model(), watertight=True).mesh)
    assert shape.is_watertight
    assert shape.volume == pytest.approx(4 * np.pi / 3, rel=0.01)
    assert np.abs(np.linalg.norm(shape.vertices, axis=1) - 1).max() < within


def test_watertight_gives_half_a_sphere_a_flat_lid() -> None:
    shape = shape_of(run(holed(0.0), load_model(), watertight=True).mesh)
    assert shape.is_watertight
    assert shape.volume == pytest.approx(2 * np.pi / 3, rel=0.05)
    assert shape.vertices[:, 2].max() < 0.1


@both_models
def test_refinement_stays_on_the_surface_and_repeats_itself(models: dict[str, Model], name: str) -> None:
    scan = ring(800)
    plain, refined, again = (run(scan, models[name], refine=steps, seed=5).mesh for steps in (0, 3, 3))
    assert np.abs(ring_distance(refined.vertices)).mean() < 0.02 * np.sqrt(4 * np.pi**2 * 0.4 / 800)
    assert refined.vertices.tobytes() == again.vertices.tobytes()
    assert refined.vertices.tobytes() != plain.vertices.tobytes()


# --- what cannot be done --------------------------------------------------------------------------------------------------------


def refusal(scan: Scan, model: Model, **settings: object) -> str:
    with pytest.raises(InputError) as caught:
        run(scan, model, **settings)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_points(models: dict[str, Model], count: int) -> None:
    assert "at least 32 are needed" in refusal(Scan(np.eye(3)[:count], name="few.ply"), models["tiny"])


def test_extents_beyond_the_lattice(models: dict[str, Model]) -> None:
    for name in ("region_size", "resolution"):
        settings = {name: 1e-7}
        said = f"2^20 times the {name.replace('_', ' ')} 1e-07"
        assert said in refusal(Scan(*even_sphere_points(300), name="far.ply"), models["tiny"], **settings)


def test_what_is_expected_is_about_what_is_made(models: dict[str, Model]) -> None:
    for settings in ({}, {"resolution": 0.05}, {"faces": 500}):
        expected, made = expect(ball(), ReconstructConfig(**settings)), run(ball(), models["tiny"], **settings)
        assert float(expected["faces"]) == pytest.approx(len(made.mesh.faces), rel=0.25)
        assert expected["resolution"] == made.facts["resolution"]


def test_far_too_fine_a_resolution_is_refused_and_a_fine_one_told(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.stages.cost.free_memory", lambda: 1e12)
    with pytest.raises(InputError, match=r"resolution 0\.0001 would make some [0-9,]+ million faces") as caught:
        expect(ball(), ReconstructConfig(resolution=1e-4))
    larger = float(str(caught.value.hint).split("--resolution: ")[1].split()[0])
    assert 1e7 < float(expect(ball(), ReconstructConfig(resolution=larger))["faces"]) < 3e7
    assert not caplog.records or all(record.levelname != "WARNING" for record in caplog.records)
    expect(ball(), ReconstructConfig(resolution=larger / 2))
    said = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(said) == 1
    assert re.fullmatch(r"scan: about 7\d million faces: some 2\d min on one core and \d\.\d GB of memory", said[0])


def test_what_a_large_mesh_takes_is_told_before_the_work(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = ball()
    with caplog.at_level("INFO", "lpdif"):
        small = expect(scan)
        assert "million faces" not in caplog.text
        monkeypatch.setattr("lpdif.stages.cost.free_memory", lambda: 1e12)
        large = expect(scan, ReconstructConfig(resolution=0.0017))
        assert re.search(r"INFO .*scan: about 1[12] million faces: some 4 min on one core and \d\.\d GB of memory\n", caplog.text)
        closed = expect(scan, ReconstructConfig(resolution=0.0017, watertight=True))
        thinned = expect(scan, ReconstructConfig(resolution=0.0017, faces=1000))
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    for name in ("cpu_seconds", "memory_bytes"):
        assert 0 < float(small[name]) < float(large[name]) / 2 < float(closed[name]) / 2
        assert thinned[name] == large[name]  # all faces are made first
    monkeypatch.setattr("lpdif.stages.cost.free_memory", lambda: 1e9)
    expect(scan, ReconstructConfig(resolution=0.0017))
    assert "GB of memory, but only 1.0 GB are free now: give a larger --resolution" in caplog.text
    assert caplog.records[-1].levelname == "WARNING"


def test_lengths_that_leave_no_surface_are_blamed_for_it(models: dict[str, Model]) -> None:
    with pytest.raises(InputError) as caught:
        run(ball(), models["tiny"], region_size=1000.0)
    assert str(caught.value.hint).startswith("leave out --region-size:")


def test_regions_too_small_for_the_points_are_told(models: dict[str, Model], caplog: pytest.LogCaptureFixture) -> None:
    usual = float(run(ball(), models["tiny"]).facts["region_size"])
    assert "may have holes" not in caplog.text
    run(ball(), models["tiny"], region_size=0.3 * usual)
    assert f"is far below the {usual:.3g} that the points ask for: the surface may have holes" in caplog.text


def test_no_surface_near_enough(models: dict[str, Model]) -> None:
    assert refusal(ball(), models["tiny"], max_distance=1e-9)


def test_an_array_is_no_scan() -> None:
    with pytest.raises(TypeError, match=r"a Scan is needed, not a ndarray: lpdif\.Scan\(points\)"):
        lpdif.reconstruct(np.zeros((100, 3)))  # type: ignore[arg-type]


def touching_balls(gap: float = 1.9, count: int = 600) -> Scan:
    """Nine unit balls in a square, this far apart: they are joined by thin necks."""
    points, normals = even_sphere_points(count)
    found = []
    for row, column in np.ndindex(3, 3):
        inner = [np.array(step) for step in ((1, 0), (-1, 0), (0, 1), (0, -1)) if max(row + step[0], column + step[1]) < 3]
        inner = [step for step in inner if min(row + step[0], column + step[1]) >= 0]
        kept = np.all([points[:, :2] @ step < gap / 2 for step in inner], axis=0)
        found.append((points[kept] + gap * np.array([row, column, 0]), normals[kept]))
    return Scan(np.concatenate([place for place, _ in found]), np.concatenate([facing for _, facing in found]))


@pytest.mark.slow
def test_no_small_component_comes_off_a_simplified_mesh() -> None:
    """As it does where a neck thins to nothing."""
    shape = shape_of(run(touching_balls(), load_model(), watertight=True, faces=600).mesh)
    assert shape.is_watertight
    assert [len(body.faces) for body in shape.split(only_watertight=False)] == [len(shape.faces)]
    assert 500 < len(shape.faces) <= 600


def test_a_small_thing_of_a_scan_does_not_vanish_from_a_simplified_mesh() -> None:
    points, normals = even_sphere_points(1500)
    small, facing = even_sphere_points(60, 0.2)
    scan = Scan(np.concatenate([points, small + 2.0]), np.concatenate([normals, facing]))
    shape = shape_of(run(scan, load_model(), faces=40).mesh)
    assert shape.is_watertight
    assert shape.body_count == 2
    assert np.linalg.norm(shape.vertices - 2.0, axis=1).min() < 0.3
