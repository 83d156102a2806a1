"""How far a mesh is from the true surface.

Letters: A the mesh that is judged, T the true mesh, n samples of each. Distances go from samples of one surface to the nearest point of
the other *surface*, not to samples of it: a Chamfer distance between two samplings would measure the sampling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lpdif.arrays import FloatArray, IntArray, unit_rows
from lpdif.errors import InputError
from lpdif.geometry import Surface, face_normals, surface_points
from lpdif.mesh_queries import closest_points
from lpdif.types import Mesh

SAMPLES_OF_EACH = 100_000  # How many points are sampled from each of the two meshes.
F_SCORE_SHARE = 1e-3  # The threshold of the F-score, as a share of the longest side of the true mesh's bounding box.


@dataclass(frozen=True)
class Figures:
    """Figures of mesh A against the true mesh T. Lengths are in the unit of the files.

    accuracy            mean distance from A to T
    completeness        mean distance from T to A
    cd                  Chamfer distance: mean of accuracy and completeness
    p95                 95th percentile of the distances of both directions taken together
    hausdorff           largest distance found in either direction, over the samples and all vertices
    normal_consistency  mean cosine between the normal at a sample and the normal at its nearest point, averaged over both
                        directions; signed, so an inside-out mesh gets -1; 1 is perfect
    precision, recall   share of the samples of A, of T, that lie within `threshold` of the other surface
    f_score             harmonic mean of precision and recall
    threshold           F-score threshold: a thousandth of `longest_side`
    longest_side        longest side of T's bounding box
    samples             samples of each mesh
    """

    accuracy: float
    completeness: float
    cd: float
    p95: float
    hausdorff: float
    normal_consistency: float
    precision: float
    recall: float
    f_score: float
    threshold: float
    longest_side: float
    samples: int


def evaluate(mesh: Mesh, truth: Mesh, samples: int = SAMPLES_OF_EACH, seed: int = 0) -> Figures:
    """Figures of `mesh` against `truth`, from `samples` area-uniform points of each.

    The same seed gives the same figures. Raises InputError if either has no faces, no area, or coordinates that are not finite.
    """
    rng = np.random.default_rng(seed)
    for name, surface in (("mesh", mesh), ("true mesh", truth)):
        _check(name, surface)
    center, side = _frame(truth.vertices)
    # Both are moved into the unit cube around the true mesh: digits would be lost with geographic coordinates.
    a, t = ((m.vertices - center) / side for m in (mesh, truth))
    a_points, a_normals = _samples("mesh", a, mesh.faces, samples, rng)
    t_points, t_normals = _samples("true mesh", t, truth.faces, samples, rng)

    to_truth, truth_face = closest_points(a_points, t, truth.faces)
    to_mesh, mesh_face = closest_points(t_points, a, mesh.faces)
    corners_to_truth = closest_points(a[np.unique(mesh.faces)], t, truth.faces)[0]
    corners_to_mesh = closest_points(t[np.unique(truth.faces)], a, mesh.faces)[0]

    cosines = (
        np.einsum("nd,nd->n", a_normals, unit_rows(face_normals(Surface(t, truth.faces[truth_face])))).mean(),
        np.einsum("nd,nd->n", t_normals, unit_rows(face_normals(Surface(a, mesh.faces[mesh_face])))).mean(),
    )
    precision = float((to_truth <= F_SCORE_SHARE).mean())
    recall = float((to_mesh <= F_SCORE_SHARE).mean())
    accuracy, completeness = float(to_truth.mean()) * side, float(to_mesh.mean()) * side
    return Figures(
        accuracy=accuracy,
        completeness=completeness,
        cd=(accuracy + completeness) / 2,
        p95=float(np.percentile(np.concatenate([to_truth, to_mesh]), 95)) * side,
        hausdorff=float(max(d.max() for d in (to_truth, to_mesh, corners_to_truth, corners_to_mesh))) * side,
        normal_consistency=float(sum(cosines)) / 2,
        precision=precision,
        recall=recall,
        f_score=0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall),
        threshold=F_SCORE_SHARE * side,
        longest_side=side,
        samples=samples,
    )


def _check(name: str, mesh: Mesh) -> None:
    """Raises InputError unless `mesh` has faces with finite corners."""
    if len(mesh.faces) == 0:
        raise InputError(f"the {name} has no faces", "distances go to a surface: reconstruct the points first")
    if not np.isfinite(mesh.vertices[mesh.faces]).all():
        raise InputError(f"the {name} has vertices that are not finite", "repair the mesh first")


def _frame(vertices: FloatArray) -> tuple[FloatArray, float]:
    """Centre (3,) and longest side of the bounding box."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    side = float((high - low).max())
    if side == 0:
        raise InputError("the true mesh has no extent", "all its vertices are at one place")
    return (low + high) / 2, side


def _samples(name: str, vertices: FloatArray, faces: IntArray, n: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """n area-uniform points (n, 3) of a mesh and the unit normals (n, 3) of their faces."""
    if not np.cross(vertices[faces[:, 1]] - vertices[faces[:, 0]], vertices[faces[:, 2]] - vertices[faces[:, 0]]).any():
        raise InputError(f"the {name} has no area", "every face of it is degenerate")
    return surface_points(vertices, faces, n, rng)
