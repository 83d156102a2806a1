"""Confidence of a vertex: how well the points around it back the surface there.

    confidence = support * closeness * fit,  each in [0, 1]
    support    the distance to the K-th nearest point, as it would be in a surface evenly covered, over what it is (at most 1)
    closeness  exp(-d^2 / 2 (spacing^2 + noise^2)), d the distance to the nearest point
    fit        exp(-r^2 / 2 (TOLERANCE * spacing + noise)^2), r the mean distance of the K nearest points from the vertex's tangent plane

V vertices, K = 6 points. 1 is a place in the middle of dense points that all lie on the surface; it falls towards 0 at rims, in filled
gaps and where points scatter more than the scan's noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray
from lpdif.points.neighbours import query

NEAREST = 6
TOLERANCE = 0.25  # residuals of curved surfaces, in spacings, that are no fault
CHUNK = 1 << 17


def confidence(
    vertices: FloatArray, normals: FloatArray, tree: cKDTree, spacing: FloatArray, noise: FloatArray, threads: int = 1
) -> NDArray[np.float32]:
    """(V,) float32 for vertices and unit normals (V, 3), the tree of the points, and the spacing and the
    noise (V,) of the points around each vertex."""
    count = min(NEAREST, tree.n)
    found = np.empty(len(vertices), np.float32)
    for start in range(0, len(vertices), CHUNK):
        part = slice(start, start + CHUNK)
        distance, index = query(tree, vertices[part], np.arange(1, count + 1), threads)
        around, scattered = spacing[part], noise[part]
        even = around * np.sqrt(count / np.pi)
        support = np.minimum(1, even / np.maximum(distance[:, -1], 1e-300))
        off = tree.data[index] - vertices[part][:, None]
        residual = np.abs(np.einsum("vki,vi->vk", off, normals[part])).mean(1)
        closeness = np.exp(-0.5 * distance[:, 0] ** 2 / (around**2 + scattered**2))
        fit = np.exp(-0.5 * (residual / (TOLERANCE * around + scattered)) ** 2)
        found[part] = support * closeness * fit
    return found
