"""The facts of meshes whose counts, areas and volumes are known."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from lpdif.geometry import Surface
from lpdif.view.facts import fact_rows, mesh_facts


def surface_of(shape: trimesh.Trimesh) -> Surface:
    return Surface(np.asarray(shape.vertices, np.float64), np.asarray(shape.faces, np.int64))


BOX = surface_of(trimesh.creation.box((1.0, 2.0, 3.0)))


def test_a_closed_box() -> None:
    facts = mesh_facts(Surface(BOX.vertices + 1e6, BOX.faces))
    assert facts[:3] == (12, 8, pytest.approx((1, 2, 3)))
    assert (facts.parts, facts.closed, facts.open_loops) == (1, True, 0)
    assert facts.area == pytest.approx(22)
    assert facts.volume == pytest.approx(6)
    assert dict(fact_rows(facts)) == {
        "faces": "12",
        "vertices": "8",
        "parts": "1",
        "closed": "yes",
        "size": "1 × 2 × 3",
        "area": "22",
        "volume": "6",
    }


def test_a_box_turned_inside_out_has_a_negative_volume() -> None:
    assert mesh_facts(Surface(BOX.vertices, BOX.faces[:, ::-1])).volume == pytest.approx(-6)


def test_a_box_without_two_faces_that_do_not_touch_is_open() -> None:
    facts = mesh_facts(Surface(BOX.vertices, BOX.faces[1:]))
    assert (facts.closed, facts.open_loops, facts.volume) == (False, 1, None)
    assert dict(fact_rows(facts))["closed"] == "no, 1 open loop"


def test_loops_and_parts_are_counted() -> None:
    ring = trimesh.creation.annulus(0.5, 1.0, 1.0)
    tube = ring.submesh([np.flatnonzero(np.abs(ring.face_normals[:, 2]) < 0.5)], append=True)  # an inner and an outer wall
    facts = mesh_facts(surface_of(tube))
    assert (facts.parts, facts.closed, facts.open_loops) == (2, False, 4)
    assert dict(fact_rows(facts))["closed"] == "no, 4 open loops"


def test_a_face_that_faces_the_other_way_leaves_it_closed_without_volume() -> None:
    faces = BOX.faces.copy()
    faces[0] = faces[0, ::-1]
    facts = mesh_facts(Surface(BOX.vertices, faces))
    assert (facts.closed, facts.open_loops, facts.volume) == (True, None, None)


def test_an_edge_of_three_faces_has_no_loops() -> None:
    fins = Surface(np.array([[0.0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, -1, 0]]), np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]))
    facts = mesh_facts(fins)
    assert (facts.closed, facts.open_loops) == (False, None)
    assert dict(fact_rows(facts))["closed"] == "no"
