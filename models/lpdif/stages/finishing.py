"""The end of a reconstruction: trim, fill holes, close, simplify, carry attributes.

Letters: V vertices. "Spacing" is that of the points around a vertex, unless it says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import BoolArray, FloatArray, IndexArray, IntArray, chunks
from lpdif.config import ReconstructConfig
from lpdif.errors import InputError
from lpdif.geometry import Surface, centroids, face_areas, keep_faces, vertex_normals
from lpdif.memory import give_back
from lpdif.mesh.adaptive import fewest_faces
from lpdif.mesh.bake import bake
from lpdif.mesh.boundary import smooth_boundary
from lpdif.mesh.confidence import confidence
from lpdif.mesh.fill_holes import fill_holes
from lpdif.mesh.parts import largest_part, without_crumbs
from lpdif.mesh.simplify import simplify
from lpdif.mesh.topology import TETRAHEDRON_FACES, split_pinched_vertices
from lpdif.mesh.trim import faces_away, faces_scanner, large_components, trim
from lpdif.mesh.unwrap import unwrap
from lpdif.mesh.watertight import make_watertight
from lpdif.points.cloud import Cloud
from lpdif.points.coverage import Coverage, NearestPoints
from lpdif.points.neighbours import query
from lpdif.stages.resolution import Choice
from lpdif.types import Mesh, Scan, Texture


class FinishingSettings(NamedTuple):
    """Which part of the zero surface becomes the mesh. Lengths are in spacings, areas in squared spacings."""

    support_distance: float = 1.6  # Surface is kept up to this distance from the points.
    unconditional_distance: float = 0.6  # From this distance on, it must face the way of one of the points around as well.
    boundary_limit: float = 0.15  # Surface that goes farther past the border of the points is cut off there.
    largest_hole: float = 40.0  # Larger gaps between points stay open.
    watertight_bridge: float = 24.0  # Around a gap, the surface of a watertight mesh is carried on up to this distance from the points.
    min_points: float = 16.0  # A connected component whose area stands for fewer points is dropped.


FINISHING = FinishingSettings()


PatternAt = Callable[[FloatArray], IntArray]  # positions (Q, 3) -> (Q,) patterns of the regions there


def finish(surface: Surface, choice: Choice, scan: Scan, pattern_at: PatternAt, coverage: Coverage, config: ReconstructConfig) -> Mesh:
    """The mesh of the scan, from the trimmed zero surface of its field."""
    if config.watertight:
        surface = make_watertight(surface, choice.ready.spacing, choice.step, coverage.threads)
        surface = without_small_components(surface, coverage.around(surface.vertices).spacing)[0]
    if config.keep == "largest":
        surface = largest_part(surface, config.watertight)
    surface = simplified(surface, choice, coverage, config)
    if config.keep == "largest":  # a neck may have thinned to nothing
        surface = largest_part(surface, config.watertight)
    mesh = with_attributes(surface, choice.ready, scan, pattern_at, coverage)
    return mesh if config.texture is None else with_texture(mesh, surface, choice.ready, scan, coverage, config.texture)


def bridge_distance(ready: Cloud, config: ReconstructConfig) -> float:
    """How far from the points the surface is carried on across gaps, in world units; 0 for not at all."""
    return config.max_distance or (FINISHING.watertight_bridge * ready.spacing if config.watertight else 0.0)


def remedy(config: ReconstructConfig) -> str:
    """What to do where no surface came out. Lengths that the user gave are the most likely cause."""
    given = [f"--{name.replace('_', '-')}" for name in ("resolution", "region_size") if getattr(config, name) is not None]
    return (
        f"leave out {' and '.join(given)}: lengths are then chosen from the scan" if given else "give a denser scan, or a larger --region-size"
    )


def trimmed(surface: Surface, ready: Cloud, name: str, coverage: Coverage, config: ReconstructConfig, step: float) -> Surface:
    """The surface where there are points, and across gaps that it bridges, up to a smooth boundary.

    Small components go. A maximum distance below the support distance alone decides where the surface ends. Raises InputError where nothing
    is left.
    """
    if config.max_distance is not None:
        surface = within_distance(surface, name, coverage, config.max_distance)
        if config.max_distance < FINISHING.support_distance * ready.spacing:
            return without_small_components(surface, represented_spacing(coverage.around(surface.vertices)))[0]
    give_back()  # also between the steps: each leaves surfaces that are no longer needed
    surface, largest_hole = supported_surface(surface, ready, name, coverage, config)
    give_back()
    clipped = smooth_boundary(surface, coverage, FINISHING.boundary_limit, largest_hole)
    if len(clipped.faces) == 0:
        raise InputError(f"{name}: its points are too few for a surface at resolution {step:.3g}", "give a smaller --resolution")
    cut = clipped is not surface
    del surface  # memory holds as few copies as can be
    give_back()
    whole = clipped if config.watertight else split_pinched_vertices(clipped)
    if cut or whole is not clipped:  # the cut may have left small components of what lay beyond the border
        del clipped
        whole = without_small_components(whole, coverage.around(whole.vertices).spacing)[0]
    return whole if config.watertight else fill_holes(whole, coverage, FINISHING.largest_hole, ready.spacing)


def within_distance(surface: Surface, name: str, coverage: Coverage, most: float) -> Surface:
    """The faces whose vertices are at most so far from the points, in world units.

    Raises InputError if there are none.
    """
    near = query(coverage.tree, surface.vertices, threads=coverage.threads)[0] <= most
    surface = keep_faces(surface, np.asarray(near[surface.faces].all(1)))[0]
    if len(surface.faces) == 0:
        raise InputError(f"{name}: no surface within the maximum distance of its points", "give a larger --max-distance")
    return surface


def supported_surface(surface: Surface, ready: Cloud, name: str, coverage: Coverage, config: ReconstructConfig) -> tuple[Surface, FloatArray]:
    """The surface that the points support, and (V,) the area of the largest hole that is covered.

    Small components go. Raises InputError if the points support nothing.
    """
    around = coverage.around(surface.vertices)
    distance = around.distance / around.spacing
    supported = distance <= FINISHING.support_distance
    doubtful = np.flatnonzero((distance > FINISHING.unconditional_distance) & supported)
    supported[doubtful] = ~faces_away(surface, doubtful, coverage.tree, ready.normals, coverage.threads)
    if ready.scanner is not None and not bridge_distance(ready, config):
        supported &= faces_scanner(surface, ready.scanner, around.nearest)
    largest_hole = FINISHING.largest_hole * np.square(np.maximum(around.spacing, ready.spacing))
    largest_hole = np.maximum(largest_hole, (2 * bridge_distance(ready, config)) ** 2)
    represented = represented_spacing(around)
    del around, distance, doubtful  # large; from here on faces are copied
    kept = trim(surface, supported, largest_hole)
    if not kept.any():
        raise InputError(f"{name}: no surface near its points", remedy(config))
    kept[kept] = enough_points(Surface(surface.vertices, surface.faces[kept]), represented)
    del represented
    surface, used = keep_faces(surface, kept)
    return surface, largest_hole[used]


def represented_spacing(around: NearestPoints) -> FloatArray:
    """(V,) spacing of the points that the surface at each vertex stands for.

    Beyond the support distance it is infinite: the surface there stands for no point.
    """
    return np.where(around.distance / around.spacing <= FINISHING.support_distance, around.spacing, np.inf)


def without_small_components(surface: Surface, spacing: FloatArray, origin: IntArray | None = None) -> tuple[Surface, IntArray]:
    """The surface without components that stand for few points, and the old number of each vertex left.

    spacing (V,): of the points around each vertex. origin (V,): as in `large_components`; of each the largest component stays.
    """
    return keep_faces(surface, enough_points(surface, spacing, origin))


def enough_points(surface: Surface, spacing: FloatArray, origin: IntArray | None = None) -> BoolArray:
    """(F,) faces of components that stand for enough points, as `without_small_components` has them."""
    points = face_areas(surface)
    for part in chunks(len(points)):
        points[part] /= np.square(spacing[surface.faces[part, 0]])
    return large_components(surface, points, FINISHING.min_points, origin)


def simplified(surface: Surface, choice: Choice, coverage: Coverage, config: ReconstructConfig) -> Surface:
    """The surface with no more faces than the settings ask for.

    They ask for a number of faces, for a distance from the fine surface, or for a resolution that is coarser than the lattice.
    """
    coarse = choice.faces(float(face_areas(surface).sum())) if choice.resolution > choice.step else np.inf
    most = min(config.faces or np.inf, max(TETRAHEDRON_FACES, coarse))
    if config.adaptive is not None:
        most = min(most, fewest_faces(surface, config.adaptive))
    if most >= len(surface.faces):
        return surface
    crumbs_go = config.watertight and config.adaptive is None  # which keeps a distance, so no solid may go
    if crumbs_go:
        surface = without_crumbs(surface, int(most))
    surface, origin = simplify(surface, int(most))
    # Small components came off where a neck thinned to nothing.
    surface = without_small_components(surface, coverage.around(surface.vertices).spacing, origin)[0]
    return without_crumbs(surface, int(most)) if crumbs_go else surface


def with_attributes(surface: Surface, ready: Cloud, scan: Scan, pattern_at: PatternAt, coverage: Coverage) -> Mesh:
    """The mesh in world coordinates, with its attributes.

    These are normals, confidence, patterns, and the colours and values of the nearest points.
    """
    around = coverage.around(surface.vertices)
    normals = vertex_normals(surface)
    source = ready.kept[around.nearest]
    values: dict[str, NDArray[np.generic]] = {name: value[source] for name, value in scan.extras.items()}
    colors = None if scan.colors is None else scan.colors[source]
    values["confidence"] = confidence(
        surface.vertices, normals, coverage.tree, around.spacing, ready.local_noise[around.nearest], coverage.threads
    )
    del around, source
    give_back()
    return Mesh(
        vertices=surface.vertices + ready.origin,
        faces=surface.faces,
        normals=normals,
        colors=colors,
        vertex_values=values,
        face_values={"pattern": face_patterns(surface, pattern_at)},
    )


def face_patterns(surface: Surface, pattern_at: PatternAt) -> IndexArray:
    """(F,) pattern of the field in the middle of each face."""
    found = np.empty(len(surface.faces), np.int32)
    for part in chunks(len(found)):
        found[part] = pattern_at(centroids(surface, part))
    return found


def with_texture(mesh: Mesh, surface: Surface, ready: Cloud, scan: Scan, coverage: Coverage, size: int) -> Mesh:
    """The mesh with a texture of size x size texels, baked from the colours of the points; the surface is that of the mesh."""
    assert scan.colors is not None  # checked at the start
    coordinates = unwrap(surface, size)
    tree, colors = coverage.tree, scan.colors[ready.kept]
    image = bake(surface, coordinates, size, tree, ready.normals, ready.local_spacing, colors, coverage.threads)
    return replace(mesh, texture=Texture(coordinates, image))
