"""reconstruct from end to end, on shapes whose true surface is known: with a model after a few dozen steps, and with the one that ships."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
import trimesh
from conftest import stand_ins
from reconstructions import BUNDLED, SPACING, all_models, ball, both_models, moved, ring, ring_distance, run, shape_of
from shapes import even_sphere_points, rotation

from lpdif.core.model import Model
from lpdif.form_names import FORMS
from lpdif.geometry import Surface, signed_distance
from lpdif.io.read import read_scan
from lpdif.io.write import encode_mesh
from lpdif.mesh.adaptive import farthest
from lpdif.stages.reconstruct import reconstruct
from lpdif.tools.metrics import evaluate
from lpdif.types import Mesh, Scan


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return all_models()


# --- the surface is where it should be ------------------------------------------------------------------------------------------


@both_models
@pytest.mark.parametrize("normals", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_ball_of_five_thousand_points(models: dict[str, Model], name: str, normals: bool) -> None:
    found = run(ball(5000, normals), models[name])
    shape = shape_of(found.mesh)
    radius = np.linalg.norm(found.mesh.vertices, axis=1)
    assert np.abs(radius - 1).mean() < 5e-4
    assert np.abs(radius - 1).max() < 5e-3
    assert shape.is_watertight
    assert shape.is_winding_consistent
    assert shape.euler_number == 2
    assert shape.volume == pytest.approx(4 / 3 * np.pi, rel=2e-3)  # and outward
    assert shape.body_count == 1


@both_models
def test_a_ring_keeps_its_hole(models: dict[str, Model], name: str) -> None:
    mesh = run(ring(), models[name]).mesh
    assert np.abs(ring_distance(mesh.vertices)).mean() < 1.5e-3
    assert np.abs(ring_distance(mesh.vertices)).max() < 0.03
    shape = shape_of(mesh)
    assert shape.is_watertight
    assert shape.euler_number == 0
    assert shape.volume == pytest.approx(2 * np.pi**2 * 0.16, rel=5e-3)


@both_models
def test_an_open_shape_stays_open(models: dict[str, Model], name: str) -> None:
    """Half a ball: nothing is made up below its boundary, and nothing of it is lost."""
    whole = ball(4000)
    upper = whole.points[:, 2] > 0
    assert whole.normals is not None
    mesh = run(Scan(whole.points[upper], whole.normals[upper]), models[name]).mesh
    spacing = np.sqrt(4 * np.pi / 4000)
    assert abs(mesh.vertices[:, 2].min()) < spacing
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 0.02
    shape = shape_of(mesh)
    assert not shape.is_watertight
    assert len(shape.outline().entities) == 1  # one boundary, no loop beside it, no pinhole
    assert shape.outline().length < 2 * np.pi * 1.05  # without teeth
    assert shape.area == pytest.approx(2 * np.pi, rel=0.02)


def wedge(count: int = 1500) -> tuple[Scan, trimesh.Trimesh]:
    """A wedge with an edge of about 8 degrees, and points spread evenly over it, seven spacings thick where it is thickest."""
    corners = np.array([[0, 0, 0], [2, 0, 0.15], [2, 0, -0.15], [0, 2, 0], [2, 2, 0.15], [2, 2, -0.15]], dtype=float)
    shape = trimesh.Trimesh(corners).convex_hull
    points, face = trimesh.sample.sample_surface_even(shape, count, seed=0)
    return Scan(np.asarray(points), np.asarray(shape.face_normals[face])), shape


def test_no_sheets_hang_at_a_sharp_edge(models: dict[str, Model]) -> None:
    scan, truth = wedge()
    made = run(scan, models["bundled"])
    off = np.abs(signed_distance(made.mesh.vertices, np.array(truth.vertices), np.array(truth.faces, np.int64))) / float(made.facts["spacing"])
    assert (off > 1).mean() < 0.007  # 0.011 with the sheets
    assert off.mean() < 0.066  # 0.074


def test_regions_beside_an_edge_hardly_count(models: dict[str, Model]) -> None:
    """Half a plane: where nothing was seen, regions count for little; amid the points all count in full."""
    x, y = np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 40))
    points = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    field = run(Scan(points, np.tile([0.0, 0.0, 1.0], (len(points), 1))), models["tiny"]).field
    place, size = field.codes.center + field.origin, field.codes.size.numpy()
    support = field.codes.support.numpy()
    inside = (np.abs(place[:, :2] - 0.5) < 0.5 - 1.5 * size[:, None]).all(1) & (np.abs(place[:, 2]) < 0.6 * size)
    assert (support[inside] > 0.99).all()
    assert (support[place[:, 0] < -0.9 * size] < 0.2).all()


@both_models
def test_noise_is_averaged_out(models: dict[str, Model], name: str) -> None:
    scan = ball(6000)
    noisy = Scan(scan.points + 0.01 * np.random.default_rng(0).normal(size=scan.points.shape), scan.normals)
    found = run(noisy, models[name])
    assert found.facts["noise"] == pytest.approx(0.01, rel=0.2)
    off = np.linalg.norm(found.mesh.vertices, axis=1) - 1
    assert np.abs(off).mean() < 0.006
    assert abs(off.mean()) < 0.003


@both_models
def test_the_field_belongs_to_the_mesh(models: dict[str, Model], name: str) -> None:
    shift = np.array([5.0, -3.0, 11.0])
    found = run(moved(ball(), shift=shift), models[name])
    assert np.abs(found.field.sdf(found.mesh.vertices)).max() < 0.02 * SPACING
    off = np.linspace(-0.5, 0.5, 11) * SPACING
    place = even_sphere_points(50)[0][:, None] * (1 + off)[:, None] + shift
    np.testing.assert_allclose(found.field.sdf(place.reshape(-1, 3)).reshape(50, 11), np.broadcast_to(off, (50, 11)), atol=0.1 * SPACING)
    assert np.isnan(found.field.sdf(shift[None])).all()  # far inside nothing is known


# --- and it does not depend on what it should not depend on ---------------------------------------------------------------------


def test_the_order_of_the_points_does_not_change_a_byte(models: dict[str, Model]) -> None:
    scan = ring(2000)
    assert scan.normals is not None
    order = np.random.default_rng(1).permutation(2000)
    colors = np.random.default_rng(2).integers(0, 256, (2000, 3)).astype(np.uint8)
    one = run(Scan(scan.points, scan.normals, colors), models["tiny"]).mesh
    other = run(Scan(scan.points[order], scan.normals[order], colors[order]), models["tiny"]).mesh
    assert one.vertices.tobytes() == other.vertices.tobytes()
    assert one.faces.tobytes() == other.faces.tobytes()
    np.testing.assert_array_equal(one.colors, other.colors)


def test_threads_do_not_change_a_byte(models: dict[str, Model]) -> None:
    scan = ring(2000)
    one = run(scan, models["tiny"]).mesh
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        other = run(scan, models["tiny"], threads=3).mesh
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert one.vertices.tobytes() == other.vertices.tobytes()
    assert one.faces.tobytes() == other.faces.tobytes()


def test_far_from_the_origin_it_is_the_same_mesh(models: dict[str, Model]) -> None:
    """A million units away, where single precision has steps of 1/16."""
    shift = np.array([1e6, -2e6, 5e5])
    scan = ring(2000)
    snapped = Scan(np.round(scan.points * 2**20) / 2**20, scan.normals)  # what doubles hold there too
    near, far = run(snapped, models["tiny"]).mesh, run(moved(snapped, shift=shift), models["tiny"]).mesh
    np.testing.assert_array_equal(far.faces, near.faces)
    np.testing.assert_allclose(far.vertices - shift, near.vertices, rtol=0, atol=1e-6)
    assert far.vertices.dtype == np.float64


def test_a_turned_scan_gives_the_turned_mesh(models: dict[str, Model]) -> None:
    scan, turn, shift = ring(2000), rotation(3), np.array([3.0, 4.0, -5.0])
    one = run(scan, models["tiny"]).mesh
    other = run(moved(scan, turn, shift=shift), models["tiny"]).mesh
    back = Mesh((other.vertices - shift) @ turn, other.faces)
    figures = evaluate(back, one, samples=8000)
    spacing = np.sqrt(4 * np.pi**2 * 0.4 / 2000)
    assert figures.cd < 0.02 * spacing
    assert figures.p95 < 0.06 * spacing
    assert figures.normal_consistency > 0.995


@pytest.mark.parametrize("scale", [2.0**-12, 2.0**9])
def test_a_scaled_scan_gives_the_scaled_mesh(models: dict[str, Model], scale: float) -> None:
    """By powers of two: the very same numbers but for their exponents."""
    one, other = run(ring(1000), models["tiny"]), run(moved(ring(1000), scale=scale), models["tiny"])
    np.testing.assert_array_equal(other.mesh.faces, one.mesh.faces)
    np.testing.assert_allclose(other.mesh.vertices, scale * one.mesh.vertices, rtol=0, atol=1e-6 * scale)
    for key in ("spacing", "noise", "region_size", "resolution"):
        assert other.facts[key] == pytest.approx(scale * float(one.facts[key]), rel=1e-6)


def test_any_unit_will_do(models: dict[str, Model]) -> None:
    one, other = run(ball(), models["tiny"]).mesh, run(moved(ball(), scale=1000.0), models["tiny"]).mesh
    assert len(other.faces) == pytest.approx(len(one.faces), rel=0.01)
    assert np.abs(np.linalg.norm(other.vertices, axis=1) - 1000).max() < 5


# --- what comes with the mesh ---------------------------------------------------------------------------------------------------


def test_a_watertight_mesh_has_no_boundary(models: dict[str, Model]) -> None:
    whole = ball(1500)
    upper = whole.points[:, 2] > 0
    assert whole.normals is not None
    scan = Scan(whole.points[upper], whole.normals[upper])
    mesh = run(scan, models["tiny"], watertight=True).mesh
    shape = shape_of(mesh)
    assert shape.is_watertight
    assert shape.is_winding_consistent
    assert shape.volume == pytest.approx(2 / 3 * np.pi, rel=0.2)
    with stand_ins():  # whatever is installed, the mesh is the same to the byte
        other = run(scan, models["tiny"], watertight=True).mesh
    assert (mesh.vertices.tobytes(), mesh.faces.tobytes()) == (other.vertices.tobytes(), other.faces.tobytes())


@pytest.mark.parametrize("most", [300, 1000])
def test_no_more_faces_than_wanted(models: dict[str, Model], most: int) -> None:
    mesh = run(ball(), models["tiny"], faces=most).mesh
    assert 0.9 * most < len(mesh.faces) <= most
    assert np.abs(np.linalg.norm(mesh.vertices, axis=1) - 1).max() < 0.05
    assert shape_of(mesh).is_watertight
    assert len(mesh.face_values["pattern"]) == len(mesh.faces)


def test_adaptive_triangles_stay_within_the_distance_and_carry_everything(models: dict[str, Model]) -> None:
    fine, coarse = run(ball(), models["tiny"]).mesh, run(ball(), models["tiny"], adaptive=0.01).mesh
    assert len(coarse.faces) < 0.5 * len(fine.faces)
    assert farthest(Surface(fine.vertices, fine.faces), Surface(coarse.vertices, coarse.faces)) <= 0.01
    assert shape_of(coarse).is_watertight
    assert len(coarse.vertex_values["confidence"]) == len(coarse.vertices)
    assert len(coarse.face_values["pattern"]) == len(coarse.faces)
    both = run(ball(), models["tiny"], adaptive=0.01, faces=100).mesh
    assert len(both.faces) <= 100  # the smaller number counts


def test_attributes_are_carried_from_the_nearest_point(models: dict[str, Model]) -> None:
    points, normals = even_sphere_points(1500)
    north = points[:, 2] > 0
    scan = Scan(
        points,
        normals,
        np.where(north[:, None], [[200, 10, 0]], [[0, 20, 250]]).astype(np.uint8),
        {"intensity": points[:, 0].astype(np.float32), "row": np.arange(1500)},
    )
    mesh = run(scan, models["tiny"]).mesh
    nearest = np.linalg.norm(mesh.vertices[:, None] - points[None], axis=2).argmin(1)
    assert scan.colors is not None
    np.testing.assert_array_equal(mesh.colors, scan.colors[nearest])
    np.testing.assert_array_equal(mesh.vertex_values["row"], nearest)
    assert mesh.vertex_values["intensity"].dtype == np.float32
    confidence = mesh.vertex_values["confidence"]
    assert ((confidence > 0.2) & (confidence <= 1)).all()


def test_every_face_names_its_pattern(models: dict[str, Model]) -> None:
    found = run(ring(2000), models["tiny"])
    pattern = found.mesh.face_values["pattern"]
    assert pattern.shape == (len(found.mesh.faces),)
    assert set(np.unique(pattern).tolist()) <= {-1, 0, 1, 2}
    assert float((pattern >= 0).mean()) > 0.9
    assert found.mesh.pattern_names == models["tiny"].patterns.names
    assert models["bundled"].patterns.names == {
        -1: "no region",
        **{number: f"smooth {number}" for number in range(8)},
        **{8 + number: form for number, form in enumerate(FORMS[1:])},
    }
    assert read_scan(encode_mesh(found.mesh, "ply"), "a.ply").pattern_names == found.mesh.pattern_names


def test_facts_are_those_of_the_result(models: dict[str, Model]) -> None:
    found = run(ball(), models["tiny"])
    assert found.facts["points"] == 1500
    assert found.facts["vertices"] == len(found.mesh.vertices)
    assert found.facts["faces"] == len(found.mesh.faces)
    assert found.facts["regions"] == len(found.field.codes.center)
    assert found.facts["spacing"] == pytest.approx(SPACING, rel=0.1)
    assert all(isinstance(value, int | float | str) for value in found.facts.values())


def test_every_choice_is_told_with_what_it_follows_from(models: dict[str, Model], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        facts = run(ball(), models["tiny"]).facts
    size, spacing, noise, resolution = (float(facts[name]) for name in ("region_size", "spacing", "noise", "resolution"))
    assert f"region size {size:.4g} (spacing {spacing:.3g}, noise {noise:.2g}), mesh resolution {resolution:.3g}" in caplog.messages
    assert "normals: given, consistent; kept" in caplog.messages


def test_progress_and_log_tell_what_is_going_on(models: dict[str, Model], caplog: pytest.LogCaptureFixture) -> None:
    seen: list[tuple[str, int, int]] = []
    with caplog.at_level(logging.INFO, "lpdif"):
        reconstruct(ball(), models["tiny"], device="cpu", threads=1, progress=lambda *call: seen.append(call))
    assert "region size" in caplog.text
    for what in ("encode", "extract"):
        steps = [(done, total) for stage, done, total in seen if stage == what]
        assert steps == [(n, len(steps)) for n in range(1, len(steps) + 1)]
        assert steps


@pytest.mark.skipif(not BUNDLED.exists(), reason="no model is bundled yet")
def test_without_a_model_the_bundled_one_is_taken(models: dict[str, Model]) -> None:
    one, other = reconstruct(ball(600), device="cpu", threads=1).mesh, run(ball(600), models["bundled"]).mesh
    assert one.vertices.tobytes() == other.vertices.tobytes()


@pytest.mark.cuda
@both_models
def test_cuda_gives_the_same_surface(models: dict[str, Model], name: str) -> None:
    scan = ring(4000)
    cpu = run(scan, models[name])
    place = cpu.mesh.vertices.copy()
    expected = cpu.field.sdf(place)
    cuda = reconstruct(scan, models[name], device="cuda")
    np.testing.assert_allclose(cuda.field.sdf(place), expected, atol=1e-4)
    assert evaluate(cuda.mesh, cpu.mesh, samples=20_000).p95 < 1e-4


@pytest.mark.slow
@pytest.mark.skipif(not BUNDLED.exists(), reason="no model is bundled yet")
def test_a_dense_ball_is_met_closely(models: dict[str, Model]) -> None:
    found = run(ball(60_000, normals=False), models["bundled"])
    off = np.abs(np.linalg.norm(found.mesh.vertices, axis=1) - 1)
    assert off.mean() < 3e-5
    assert shape_of(found.mesh).is_watertight
