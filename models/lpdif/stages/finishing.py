"""The end of a reconstruction: trim to the data, fill holes, close, simplify, carry colours, back to world coordinates."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray, IntArray
from lpdif.config import ReconstructConfig
from lpdif.core.field import LocalField
from lpdif.errors import InputError
from lpdif.geometry import Surface, face_areas, keep_faces, vertex_normals
from lpdif.mesh.boundary import smooth_boundary
from lpdif.mesh.confidence import confidence
from lpdif.mesh.fill_holes import fill_holes
from lpdif.mesh.simplify import simplify
from lpdif.mesh.topology import split_pinched_vertices
from lpdif.mesh.trim import faces_away, large_components, trim
from lpdif.mesh.watertight import close
from lpdif.points.coverage import Coverage
from lpdif.points.neighbours import query
from lpdif.points.prepare import Prepared
from lpdif.stages.resolution import FEWEST, Choice
from lpdif.types import Mesh, Scan

FAR = 1.6  # and kept within this many,
OFF = 0.6  # from so many on only where it looks the way of one of the points around
PAST = 0.15  # of which what is more than this many past the border of the points is cut off
HOLE = 40.0  # larger gaps between points, in squared spacings, stay open
BRIDGED = 24.0  # spacings from the points up to which a watertight mesh goes on as the surface does around a gap
LEAST_POINTS = 16.0  # parts that stand for fewer points are dropped


def spanned(ready: Prepared, config: ReconstructConfig) -> float:
    """How far from the points the surface is carried on across gaps, 0 for not at all."""
    return config.max_distance or (BRIDGED * ready.spacing if config.watertight else 0.0)


def remedy(config: ReconstructConfig) -> str:
    """What to do where no surface came out: the lengths that were given are the first to doubt."""
    given = [f"--{name.replace('_', '-')}" for name in ("resolution", "region_size") if getattr(config, name) is not None]
    return (
        f"leave out {' and '.join(given)}: lengths are then chosen from the scan" if given else "give a denser scan, or a larger --region-size"
    )


def without_small_components(surface: Surface, spacing: FloatArray, of: IntArray | None = None) -> tuple[Surface, IntArray]:
    """The surface without the parts that stand for fewer than CRUMB points, by the spacing (V,) of the points around each vertex; and the
    old number of each vertex that is left. of (V,): if parts are pieces of something, of what; the largest piece of each stays."""
    stands_for = face_areas(surface) / np.square(spacing[surface.faces[:, 0]])
    return keep_faces(surface, large_components(surface, stands_for, LEAST_POINTS, of))


def trimmed(surface: Surface, ready: Prepared, name: str, cover: Coverage, config: ReconstructConfig, step: float) -> Surface:
    """The surface where there is data, and across gaps that it spans, without crumbs, up to an even rim.

    A maximum distance shorter than what is kept anyway decides alone.
    """
    tree, threads = cover.tree, cover.threads
    far = config.max_distance
    if far is not None:
        near = query(tree, surface.vertices, threads=threads)[0] <= far
        surface = keep_faces(surface, np.asarray(near[surface.faces].all(1)))[0]
        if len(surface.faces) == 0:
            raise InputError(f"{name}: no surface within the maximum distance of its points", "give a larger --max-distance")
    around = cover.around(surface.vertices)
    off = around.distance / around.spacing
    stands_for = np.where(off <= FAR, around.spacing, np.inf)  # what is farther stands for no point
    if far is not None and far < FAR * ready.spacing:
        return without_small_components(surface, stands_for)[0]
    supported, doubtful = off <= FAR, np.flatnonzero((off > OFF) & (off <= FAR))
    supported[doubtful] = ~faces_away(surface, doubtful, tree, ready.normals, threads)
    largest = np.maximum(HOLE * np.square(np.maximum(around.spacing, ready.spacing)), (2 * spanned(ready, config)) ** 2)
    kept = trim(surface, supported, largest)
    if not kept.any():
        raise InputError(f"{name}: no surface near its points", remedy(config))
    surface, used = keep_faces(surface, kept)
    largest, stands_for = largest[used], stands_for[used]
    surface, used = without_small_components(surface, stands_for)
    cut = smooth_boundary(surface, cover, PAST, largest[used])
    if len(cut.faces) == 0:
        raise InputError(f"{name}: its points are too few for a surface at resolution {step:.3g}", "give a smaller --resolution")
    whole = cut if config.watertight else split_pinched_vertices(cut)
    if whole is not surface:  # which leaves crumbs of what lay beyond the rim
        whole = without_small_components(whole, cover.around(whole.vertices).spacing)[0]
    return whole if config.watertight else fill_holes(whole, cover, HOLE, ready.spacing)


def finish(surface: Surface, choice: Choice, scan: Scan, field: LocalField, cover: Coverage, config: ReconstructConfig) -> Mesh:
    """Trim to the data, close and simplify if asked, carry attributes, go back to world coordinates."""
    ready, step = choice.ready, choice.step
    surface = trimmed(surface, ready, scan.name, cover, config, step)
    if config.watertight:
        surface = close(surface, ready.spacing, step, cover.threads)
        surface = without_small_components(surface, cover.around(surface.vertices).spacing)[0]
    coarse = choice.faces(float(face_areas(surface).sum())) if choice.resolution > step else np.inf
    most = min(config.faces or np.inf, max(FEWEST, coarse))
    if most < len(surface.faces):
        surface, part = simplify(surface, int(most))
        surface = without_small_components(surface, cover.around(surface.vertices).spacing, part)[
            0
        ]  # what came off where a neck thinned to nothing
    around = cover.around(surface.vertices)
    normals = vertex_normals(surface)
    source = ready.kept[around.nearest]
    values: dict[str, NDArray[np.generic]] = {name: value[source] for name, value in scan.extras.items()}
    values["confidence"] = confidence(surface.vertices, normals, cover.tree, around.spacing, ready.local_noise[around.nearest], cover.threads)
    return Mesh(
        vertices=surface.vertices + ready.origin,
        faces=surface.faces,
        normals=normals,
        colors=None if scan.colors is None else scan.colors[source],
        vertex_values=values,
        face_values={"pattern": field.pattern_at(surface.vertices[surface.faces].mean(1)).astype(np.int32)},
    )
