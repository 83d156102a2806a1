"""Pictures: what is nearer is in front, sides differ in colour, and rows of pictures come out in their places."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from shapes import as_mesh

from lpdif.tools.rendering import BACK, BACKGROUND, FRONT, draw_mesh, draw_points, fit_view, sheet, view_axes

BALL = as_mesh(trimesh.creation.icosphere(subdivisions=3))
WHITE = BACKGROUND.astype(np.uint8)


def seen(picture: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that are not background."""
    return np.asarray((picture != WHITE).any(-1))


@pytest.mark.parametrize("azimuth", [0, 35, 200])
@pytest.mark.parametrize("elevation", [-60, 0, 35])
def test_view_axes_are_a_camera(azimuth: float, elevation: float) -> None:
    axes = view_axes(azimuth, elevation)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[0, 2] == 0  # the horizon is level
    assert axes[1, 2] > 0  # and up is up
    assert axes[2, 2] == pytest.approx(np.sin(np.radians(elevation)))


def test_a_view_holds_its_points() -> None:
    points = np.random.default_rng(0).uniform(-3, 8, (50, 3))
    axes = view_axes(20, 30)
    center, half = fit_view(points, axes)
    across = (points - center) @ axes[:2].T
    assert np.abs(across).max() < half < 1.1 * np.abs(across).max()


@pytest.mark.parametrize("pixels", [1, 2, 40])
def test_a_ball_is_a_disc(pixels: int) -> None:
    picture = draw_mesh(BALL.vertices, BALL.faces, view_axes(0, 0), np.zeros(3), 2.0, pixels)
    assert picture.shape == (pixels, pixels, 3)
    assert picture.dtype == np.uint8
    axis = (np.arange(pixels) + 0.5) / pixels * 4 - 2
    radius = np.hypot(*np.meshgrid(axis, axis))
    assert seen(picture)[radius < 0.97].all()
    assert not seen(picture)[radius > 1].any()


@pytest.mark.parametrize("inside_out", [False, True])
def test_the_two_sides_differ(inside_out: bool) -> None:
    faces = BALL.faces[:, ::-1] if inside_out else BALL.faces
    picture = draw_mesh(BALL.vertices, faces, view_axes(0, 0), np.zeros(3), 1.2, 32)
    hues = picture[seen(picture)] / np.linalg.norm(picture[seen(picture)], axis=1, keepdims=True)
    tone = BACK if inside_out else FRONT
    assert (hues @ (tone / np.linalg.norm(tone)) > 0.999).all()


def test_a_hole_shows_the_inside() -> None:
    open_ = BALL.faces[BALL.vertices[BALL.faces].mean(1)[:, 0] < 0.5]
    picture = draw_mesh(BALL.vertices, open_, view_axes(0, 0), np.zeros(3), 1.2, 33)
    middle = picture[16, 16] / np.linalg.norm(picture[16, 16])
    assert middle @ (BACK / np.linalg.norm(BACK)) > 0.999


def test_faces_in_their_own_colours() -> None:
    colors = np.where(BALL.vertices[BALL.faces].mean(1)[:, 1:2] < 0, [[250, 0, 0]], [[0, 250, 0]]).astype(np.uint8)
    picture = draw_mesh(BALL.vertices, BALL.faces, view_axes(0, 0), np.zeros(3), 1.2, 32, colors)
    assert (picture[10:20, 4:12, 0] > 0).all()  # y points to the right when looking from x
    assert (picture[10:20, 4:12, 1] == 0).all()
    assert (picture[10:20, 20:28, 1] > 0).all()
    assert (picture[10:20, 20:28, 0] == 0).all()


def test_what_is_out_of_view_is_not_drawn() -> None:
    picture = draw_mesh(np.add(BALL.vertices, [0, 10, 0]), BALL.faces, view_axes(0, 0), np.zeros(3), 1.0, 8)
    assert not seen(picture).any()


@pytest.mark.parametrize("count", [0, 1, 500])
def test_points_lie_where_they_are_seen(count: int) -> None:
    axes = view_axes(0, 0)
    points = np.random.default_rng(1).uniform(-0.9, 0.9, (count, 3))
    picture = draw_points(points, axes, np.zeros(3), 1.0, 50)
    expected = np.zeros((50, 50), bool)
    for point in points:
        expected[int((1 - point[2]) * 25), int((1 + point[1]) * 25)] = True
    np.testing.assert_array_equal(seen(picture), expected)


def test_the_nearer_point_is_in_front() -> None:
    points = np.array([[0.5, 0.01, 0.01], [-0.5, 0.01, 0.01], [0.0, 0.01, 0.01]])
    colors = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], dtype=np.uint8)
    picture = draw_points(points, view_axes(0, 0), np.zeros(3), 1.0, 10, colors)
    assert picture[4, 5].tolist() == [1, 2, 3]
    assert seen(picture).sum() == 1


def test_a_sheet_puts_every_picture_in_its_place() -> None:
    pictures = [np.full((20, 20, 3), tone, np.uint8) for tone in (10, 60, 110, 160)]
    whole = np.asarray(sheet([("first\nrow", pictures[:3]), ("second", pictures[3:])], margin=50))
    assert whole.shape == (40, 50 + 3 * 20, 3)
    for n, tone in enumerate((10, 60, 110)):
        assert (whole[:20, 50 + 20 * n : 70 + 20 * n] == tone).all()
    assert (whole[20:, 50:70] == 160).all()
    assert (whole[20:, 70:] == 255).all()
    assert (whole[:20, :50] < 255).any()  # the words
