"""The largest part of a mesh, and parts too small to be shown."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import trimesh

from lpdif.geometry import Surface, face_areas
from lpdif.mesh.parts import largest_part, parts, without_crumbs
from lpdif.mesh.topology import is_closed_manifold


def ball(radius: float, place: float = 0.0, inward: bool = False, subdivisions: int = 3) -> Surface:
    shape = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    faces = np.asarray(shape.faces, np.int64)
    return Surface(np.asarray(shape.vertices) + np.array([place, 0, 0]), faces[:, ::-1] if inward else faces)


def together(*surfaces: Surface) -> Surface:
    begin = np.cumsum([0, *(len(one.vertices) for one in surfaces)])
    faces = [one.faces + start for one, start in zip(surfaces, begin[:-1], strict=True)]
    return Surface(np.concatenate([one.vertices for one in surfaces]), np.concatenate(faces))


def area(surface: Surface) -> float:
    return float(face_areas(surface).sum())


def test_parts_of_closed_surfaces_are_solids_with_their_voids() -> None:
    whole = together(ball(1), ball(0.5, inward=True), ball(0.7, 3))
    count = len(ball(1).faces)
    assert np.split(parts(whole, closed=True), [count, 2 * count])[0][0] == parts(whole, closed=True)[count]
    assert len(np.unique(parts(whole, closed=True))) == 2
    assert len(np.unique(parts(whole, closed=False))) == 3


def test_largest_keeps_the_voids_of_the_largest(caplog: pytest.LogCaptureFixture) -> None:
    big = together(ball(1), ball(0.5, inward=True))
    with caplog.at_level(logging.INFO, "lpdif"):
        kept = largest_part(together(ball(0.7, 3), big, ball(0.2, 5)), closed=True)
    assert area(kept) == pytest.approx(area(big))
    assert is_closed_manifold(kept.faces)
    assert "2 parts dropped (--keep largest): 30 % of the area" in caplog.text


def test_largest_goes_by_area_and_not_by_faces() -> None:
    whole = together(ball(0.3, 3, subdivisions=4), ball(1, subdivisions=1))
    assert len(largest_part(whole, closed=False).faces) == 80


def test_a_lone_part_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "lpdif"):
        assert largest_part(ball(1), closed=False) is not None
        np.testing.assert_array_equal(without_crumbs(ball(1), 4).faces, ball(1).faces)
    assert caplog.text == ""


def test_crumbs_go_with_their_voids_and_others_stay() -> None:
    crumb = together(ball(0.02, 3), ball(0.01, 3, inward=True))
    whole = together(ball(1), ball(0.5, inward=True), ball(0.3, 6), crumb)
    kept = without_crumbs(whole, 1000)  # 8 of 1000 faces are .8 % of the area: the crumb has .04 %, the small ball 6 %
    assert area(kept) == pytest.approx(area(together(ball(1), ball(0.5, inward=True), ball(0.3, 6))))
    np.testing.assert_array_equal(without_crumbs(whole, 1_000_000).faces, whole.faces)


def test_the_largest_is_no_crumb_however_few_the_faces() -> None:
    kept = without_crumbs(together(ball(1), ball(0.99, 3)), 4)
    assert area(kept) == pytest.approx(area(ball(1)))
