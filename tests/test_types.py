"""A scan is checked where it is made: shapes and numbers, not values. A mesh can be had as trimesh has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lpdif.errors import InputError
from lpdif.types import Mesh, Scan

POINTS = np.arange(30.0).reshape(10, 3)


def test_lists_and_other_numbers_are_converted() -> None:
    scan = Scan([[0, 1, 2], [3, 4, 5]], normals=np.ones((2, 3), np.float32), colors=[[1, 2, 3]] * 2, sensor=(0, 0, 1))  # type: ignore[arg-type]
    assert scan.points.dtype == scan.normals.dtype == np.float64  # type: ignore[union-attr]
    assert scan.colors is not None
    assert scan.colors.dtype == np.uint8
    np.testing.assert_array_equal(scan.sensor, [0.0, 0.0, 1.0])  # type: ignore[arg-type]


def test_what_fits_stays_the_same_array() -> None:
    assert Scan(POINTS).points is POINTS


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"points": np.zeros((10, 2))}, r"points have the shape \(10, 2\), expected \(N, 3\)"),
        ({"points": np.zeros(3)}, r"points have the shape \(3,\), expected \(N, 3\)"),
        ({"points": "scan.ply"}, "points are no numbers"),
        ({"points": None}, "points are no numbers"),
        ({"points": [[1, 2, 3], [4, 5]]}, "points are no array"),
        ({"colors": np.full((10, 3), 0.5)}, "colors are no whole numbers, but float64"),
        ({"colors": np.full((10, 3), 300)}, "colors hold numbers that uint8 has no room for"),
        ({"normals": np.zeros((3, 3))}, r"normals have the shape \(3, 3\), expected \(10, 3\)"),
        ({"colors": np.zeros((10, 4), np.uint8)}, "colors have the shape"),
        ({"faces": np.zeros((4, 4), np.int64)}, r"faces have the shape \(4, 4\), expected \(F, 3\)"),
        ({"sensor": np.zeros(2)}, r"sensor have the shape \(2,\), expected \(3,\) or \(10, 3\)"),
        ({"extras": {"intensity": np.zeros(9)}}, r"extras\['intensity'\] has 9 values for 10 points"),
        (
            {"faces": np.zeros((4, 3), np.int64), "face_values": {"pattern": np.zeros(3)}},
            r"face_values\['pattern'\] has 3 values for 4 faces",
        ),
        ({"face_values": {"pattern": np.zeros(3)}}, r"face_values\['pattern'\] has 3 values for 0 faces"),
    ],
)
def test_other_shapes_are_refused_by_name(parts: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"^shape: {said}"):
        Scan(**{"points": POINTS, "name": "shape", **parts})


def test_a_mesh_for_trimesh_has_all_that_it_carries() -> None:
    rng = np.random.default_rng(0)
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 0]])  # the last equals the first: nothing may be merged
    faces = np.array([[0, 1, 2], [3, 2, 1]])
    normals = rng.normal(size=(4, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    colors = rng.integers(0, 256, (4, 3)).astype(np.uint8)
    made = Mesh(vertices, faces, normals, colors, {"confidence": np.arange(4.0)}, {"pattern": np.array([5, 6])}).to_trimesh()
    np.testing.assert_array_equal(made.vertices, vertices)
    np.testing.assert_array_equal(made.faces, faces)
    np.testing.assert_allclose(made.vertex_normals, normals)
    np.testing.assert_array_equal(np.asarray(made.visual.vertex_colors)[:, :3], colors)  # type: ignore[union-attr]
    np.testing.assert_array_equal(made.vertex_attributes["confidence"], np.arange(4.0))
    np.testing.assert_array_equal(made.face_attributes["pattern"], [5, 6])
    assert len(Mesh(vertices, faces).to_trimesh().faces) == 2
