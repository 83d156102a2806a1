"""The frame holds the surface, and is not made large by crumbs."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpdif.geometry import Surface
from lpdif.view.frame import frame_of


def surface_of(*shapes: trimesh.Trimesh) -> Surface:
    whole = trimesh.util.concatenate(list(shapes))
    return Surface(np.asarray(whole.vertices, np.float64), np.asarray(whole.faces, np.int64))


@pytest.mark.parametrize(
    "shape",
    [
        trimesh.creation.box((1.0, 2.0, 3.0)),
        trimesh.creation.icosphere(3),
        trimesh.creation.torus(1.0, 0.1),
        trimesh.creation.cylinder(0.01, 5.0),
        trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]], process=False),
    ],
    ids=["box", "sphere", "ring", "rod", "triangle"],
)
def test_a_shape_of_one_piece_is_framed_as_a_whole(shape: trimesh.Trimesh) -> None:
    frame = frame_of(surface_of(shape))
    assert np.allclose([frame.low, frame.high], shape.bounds)


def test_a_large_floor_of_two_faces_is_framed_with_what_stands_on_it() -> None:
    floor = trimesh.creation.box((10.0, 10.0, 0.1))
    frame = frame_of(surface_of(floor, trimesh.creation.icosphere(4, 1.0)))
    assert np.allclose(frame.low[:2], -5)
    assert np.allclose(frame.high, [5, 5, 1])


def test_crumbs_far_away_do_not_make_the_shape_small() -> None:
    sphere, crumb = trimesh.creation.icosphere(4), trimesh.creation.icosphere(0, 0.01)
    crumb.apply_translation([500.0, -300.0, 7.0])
    frame = frame_of(surface_of(sphere, crumb))
    assert (frame.low <= -1).all()
    assert (frame.high >= 1).all()
    assert frame.longest_side < 4.1  # twice the sphere, where the box around all is 250 times as large


def test_two_shapes_of_one_size_are_both_framed() -> None:
    one, other = trimesh.creation.icosphere(3), trimesh.creation.icosphere(3)
    other.apply_translation([20.0, 0, 0])
    frame = frame_of(surface_of(one, other))
    assert np.allclose([frame.low[0], frame.high[0]], [-1, 21])


def test_slivers_without_area_have_a_frame() -> None:
    line = Surface(np.array([[0.0, 0, 0], [1, 1, 1], [2, 2, 2]]), np.array([[0, 1, 2]]))
    assert np.allclose([frame_of(line).low, frame_of(line).high], [[0, 0, 0], [2, 2, 2]])


def test_a_frame_holds_what_is_in_it_and_near_it() -> None:
    frame = frame_of(surface_of(trimesh.creation.box((2.0, 2.0, 4.0))))
    places = np.array([[0.0, 0, 0], [1, 1, 2], [1.5, 0, 0], [0, 0, -6.5]])
    assert frame.holds(places, 0.0).tolist() == [True, True, False, False]
    assert frame.holds(places, 0.5).tolist() == [True, True, True, False]
