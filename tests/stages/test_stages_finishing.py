"""The end of a reconstruction, in parts."""

from __future__ import annotations

import numpy as np
import pytest

from lpdif import arrays
from lpdif.geometry import Surface
from lpdif.stages import finishing


class Octants:
    """A field whose pattern is the octant."""

    def pattern_at(self, points: np.ndarray) -> np.ndarray:
        return (points > 0) @ np.array([1, 2, 4])


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_patterns_are_those_in_the_middle_of_faces(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    surface = Surface(rng.normal(size=(30, 3)), rng.integers(0, 30, (50, 3)))
    monkeypatch.setattr(finishing, "chunks", lambda count: arrays.chunks(count, size))
    found = finishing.face_patterns(surface, Octants().pattern_at)
    middles = [surface.vertices[face].mean(0) for face in surface.faces]
    assert found.tolist() == [sum(2**axis for axis in range(3) if middle[axis] > 0) for middle in middles]
    assert found.dtype == np.int32
