"""Points of chosen classes alone: all that belongs to a point goes with it, and what has no such class is refused."""

from __future__ import annotations

import numpy as np
import pytest
from clouds import torus

from lpdif import ReconstructConfig, Scan, expect, reconstruct
from lpdif.errors import InputError, UsageError
from lpdif.points.classes import of_classes

RING = torus(1500)
CLASS = np.where(RING.points[:, 0] > 0, 2, 6).astype(np.uint8)
CLASS[::7] = 1
SCAN = Scan(
    RING.points,
    RING.normals,
    colors=np.full((1500, 3), 9, np.uint8),
    extras={"classification": CLASS, "row": np.arange(1500)},
    sensor=np.tile([0.0, 0.0, 9.0], (1500, 1)),
    name="ring.las",
)


@pytest.mark.parametrize("classes", [(2,), (6, 2), (1, 9)])
def test_what_belongs_to_a_point_goes_with_it(classes: tuple[int, ...]) -> None:
    found = of_classes(SCAN, classes)
    rows = [row for row in range(1500) if CLASS[row] in classes]
    np.testing.assert_array_equal(found.extras["row"], rows)
    np.testing.assert_array_equal(found.points, RING.points[rows])
    np.testing.assert_array_equal(found.normals, RING.normals[rows])
    assert found.colors is not None
    assert found.sensor is not None
    assert len(found.colors) == len(found.sensor) == len(rows)


def test_no_classes_are_all_points() -> None:
    assert of_classes(SCAN, ()) is SCAN


@pytest.mark.parametrize(
    ("scan", "what"),
    [
        (SCAN, "ring.las: no point of class 3 or 4"),
        (Scan(RING.points, extras={"intensity": np.ones(1500)}), r"its points have no classes \(values: intensity\)"),
        (Scan(RING.points[:3], faces=np.array([[0, 1, 2]])), "a mesh, but classes are of points"),
    ],
)
def test_what_has_no_such_class_is_refused(scan: Scan, what: str) -> None:
    with pytest.raises(InputError, match=what):
        of_classes(scan, (3, 4))


def test_a_mesh_of_some_classes_is_that_of_a_scan_of_these_points() -> None:
    config = ReconstructConfig(classes=(2,))
    chosen = CLASS == 2
    other = Scan(RING.points[chosen], RING.normals[chosen], sensor=np.array([0.0, 0.0, 9.0]))
    made, wanted = reconstruct(SCAN, config=config, threads=1), reconstruct(other, threads=1)
    np.testing.assert_array_equal(made.mesh.vertices, wanted.mesh.vertices)
    np.testing.assert_array_equal(made.mesh.faces, wanted.mesh.faces)
    assert expect(SCAN, config)["faces"] == expect(other)["faces"]


@pytest.mark.parametrize("classes", [(-1,), (256,), (1.5,), "2", 2, None])
def test_classes_are_whole_numbers(classes: object) -> None:
    with pytest.raises(UsageError, match="classes = "):
        ReconstructConfig(classes=classes)  # type: ignore[arg-type]
