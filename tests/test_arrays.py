"""What is done to rows everywhere."""

from __future__ import annotations

import numpy as np
import pytest

from lpdif.arrays import chunks, unit_rows


@pytest.mark.parametrize(("count", "chunk"), [(0, 3), (1, 3), (3, 3), (7, 3)])
def test_chunks_cover_a_range(count: int, chunk: int) -> None:
    found = [list(range(count))[part] for part in chunks(count, chunk)]
    assert [n for part in found for n in part] == list(range(count))
    assert all(0 < len(part) <= chunk for part in found)


def test_unit_rows_have_length_one_and_zero_stays_zero() -> None:
    vectors = np.array([[3.0, 0.0, 4.0], [0.0, 0.0, 0.0], [1e-100, 0.0, 0.0]])
    np.testing.assert_allclose(unit_rows(vectors), [[0.6, 0.0, 0.8], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
