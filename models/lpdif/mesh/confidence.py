"""Confidence of a vertex: how well the points around it support the surface there.

    confidence = support * closeness * fit,  each in [0, 1]
    support    the distance to the K-th nearest point, as it would be in a surface evenly covered, over what it is (at most 1)
    closeness  exp(-d^2 / 2 (spacing^2 + noise^2)), d the distance to the nearest point
    fit        exp(-r^2 / 2 (NEGLIGIBLE * spacing + noise)^2), r the mean distance of the K nearest points from the vertex's tangent plane

V vertices, K = FEW_NEIGHBOURS nearest points of each. The confidence is 1 amid dense points that all lie on the surface. It falls towards 0 at
boundaries, in filled gaps and where points scatter more than the scan's noise.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import Float32Array, FloatArray, chunks
from lpdif.points.neighbours import FEW_NEIGHBOURS, query
from lpdif.points.spacing import NEGLIGIBLE


def confidence(
    vertices: FloatArray, normals: FloatArray, tree: cKDTree, spacing: FloatArray, noise: FloatArray, threads: int = 1
) -> Float32Array:
    """(V,) confidence of vertices (V, 3) with unit normals (V, 3).

    tree: of the points. spacing (V,), noise (V,): of the points around each vertex.
    """
    count = min(FEW_NEIGHBOURS, tree.n)
    found = np.empty(len(vertices), np.float32)
    for part in chunks(len(vertices)):
        distance, index = query(tree, vertices[part], np.arange(1, count + 1), threads)
        support = np.minimum(1, spacing[part] * np.sqrt(count / np.pi) / np.maximum(distance[:, -1], 1e-300))
        offset = tree.data[index] - vertices[part][:, None]
        residual = np.abs(np.einsum("vki,vi->vk", offset, normals[part])).mean(1)
        closeness = np.exp(-0.5 * distance[:, 0] ** 2 / (spacing[part] ** 2 + noise[part] ** 2))
        fit = np.exp(-0.5 * (residual / (NEGLIGIBLE * spacing[part] + noise[part])) ** 2)
        found[part] = support * closeness * fit
    return found
