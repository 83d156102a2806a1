"""A scan is checked where it is made: shapes and numbers, not values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lpdif.errors import InputError
from lpdif.types import Scan

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
