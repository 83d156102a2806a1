"""Small holes, where the surface lacks a few cells at a crease or thin part, are closed by fans.

Letters: V vertices, F faces, B boundary half-edges, L boundary loops.

The boundary of an open surface is a loop too, and must stay open. What tells the two apart: the faces that would close a hole face the same
way as those around it, and a hole has scanned points or surface on all sides.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from lpdif.arrays import CHUNK, BoolArray, FloatArray, IntArray, chunks, index_type
from lpdif.geometry import Surface, centroids, face_areas, face_normals
from lpdif.mesh.boundary import border_distance
from lpdif.mesh.topology import boundary_half_edges, boundary_loops, ends_of, vertex_components
from lpdif.points.coverage import Coverage, NearestPoints


class HoleSettings(NamedTuple):
    """Which boundary loops are holes.

    The area of a loop is that of a circle of its length. u is the distance past the border of the points, as in lpdif.mesh.boundary.
    """

    min_agreement: float = 0.5  # The mean cosine between the fan's faces and those around it is at least this in a hole.
    small_area: float = 6.5  # A loop of at most so many squared spacings is small: it is a hole where its mean u is below 0.
    uncut_distance: float = 0.12  # Where the mean u is above this, the surface was cut at the border of the points, so it is no hole.
    min_surrounding_area: float = 22.0  # Surface within half a length, in squared radii: 28 in a plane, 19 at a pipe's end, 3 at a scrap.
    max_missing_share: float = 0.005  # A component is closed but for small holes if these are at most this share of its area.


HOLES = HoleSettings()


class Loops(NamedTuple):
    """L boundary loops of B half-edges."""

    half_edge: IntArray  # (B,) number of the half-edge
    start: IntArray  # (B,) its first vertex
    end: IntArray  # (B,) its last vertex
    loop: IntArray  # (B,) its loop
    size: IntArray  # (L,) how many half-edges the loop has
    length: FloatArray  # (L,)
    middle: FloatArray  # (L, 3) mean of the loop's vertices

    def sums(self, values: FloatArray) -> FloatArray:
        """(L,) or (L, 3) sums over each loop of values (B,) or (B, 3) of the half-edges."""
        if values.ndim == 2:
            return np.stack([self.sums(column) for column in values.T], 1)
        return np.asarray(np.bincount(self.loop, values, len(self.size)), dtype=np.float64)

    def area(self) -> FloatArray:
        """(L,) areas of circles as long as the loops."""
        return np.square(self.length) / (4 * np.pi)

    def within(self, area: float, spacing: FloatArray) -> BoolArray:
        """(L,) loops with an area of at most `area` squared spacings (L,)."""
        return np.asarray(np.square(self.length) <= 4 * np.pi * area * np.square(spacing))

    def simple(self) -> BoolArray:
        """(L,) loops that come through each of their vertices once."""
        found = np.ones(len(self.size), bool)
        width = int(max(self.start.max(), self.end.max())) + 1
        for vertex in (self.start, self.end):
            found &= np.bincount(np.unique(self.loop * width + vertex) // width, minlength=len(found)) == self.size
        return found


def fill_holes(surface: Surface, coverage: Coverage, largest: float, spacing: float) -> Surface:
    """The surface with its small holes closed, each by a fan of faces around a new vertex in its middle.

    A loop may be a hole if it comes through each vertex once and its area is at most `largest` squared spacings: the typical spacing of the
    scan, or where points are sparser their own. It is one if its fan faces the way of the faces around it (at the boundary of a scrap the fan
    would face back, at the end of a pipe across), if it is small and lies amid points, or if it lies amid surface. A component that is closed
    but for a few small holes becomes closed.
    """
    half_edge = boundary_half_edges(surface.faces, len(surface.vertices))
    if not len(half_edge):
        return surface
    loops = measured_loops(surface, half_edge)
    around = coverage.around(surface.vertices[loops.start])
    local = loops.sums(around.spacing) / loops.size
    simple = loops.simple()
    possible = simple & loops.within(largest, np.maximum(local, spacing))
    hole = possible & fan_agrees(surface, loops)
    doubtful = possible & ~hole
    if doubtful.any():
        small = loops.within(HOLES.small_area, local)
        hole |= inside_data(surface, coverage, loops, around, doubtful, small)
        rest = simple & small & ~hole
        if rest.any():
            hole |= rest & on_nearly_closed_component(surface, loops, hole, rest)
    return closed_by_fans(surface, loops, hole) if hole.any() else surface


def measured_loops(surface: Surface, half_edge: IntArray) -> Loops:
    """The loops of the boundary half-edges (B,), all that the surface has."""
    vertices, faces = surface
    start, end = ends_of(faces, half_edge)
    loop = boundary_loops(faces, half_edge)
    size = np.bincount(loop)
    loops = Loops(half_edge, start, end, loop, size, length=np.zeros(len(size)), middle=np.zeros((len(size), 3)))
    length = loops.sums(np.linalg.norm(vertices[end] - vertices[start], axis=1))
    return loops._replace(length=length, middle=loops.sums(vertices[start]) / size[:, None])


def fan_agrees(surface: Surface, loops: Loops) -> BoolArray:
    """(L,) whether the fan that would close a loop faces the way of the faces around it."""
    middle = loops.middle[loops.loop]
    fan = -np.cross(surface.vertices[loops.start] - middle, surface.vertices[loops.end] - middle)  # it runs along the half-edges backwards
    beside = face_normals(Surface(surface.vertices, surface.faces[loops.half_edge % len(surface.faces)]))
    sums = [loops.sums(normals) for normals in (fan, beside)]
    areas = [loops.sums(np.linalg.norm(normals, axis=1)) for normals in (fan, beside)]
    return np.asarray((sums[0] * sums[1]).sum(1) > HOLES.min_agreement * areas[0] * areas[1])


def inside_data(surface: Surface, coverage: Coverage, loops: Loops, around: NearestPoints, doubtful: BoolArray, small: BoolArray) -> BoolArray:
    """(L,) of the doubtful loops (L,), those that are small (L,) and lie amid points, or lie amid surface.

    around: what the points cover at the first vertex of every half-edge.
    """
    rows = np.flatnonzero(doubtful[loops.loop])
    past = border_distance(surface.vertices[loops.start[rows]], coverage, around.at(rows))
    past = np.bincount(loops.loop[rows], past, len(loops.size)) / loops.size  # the mean over each loop, 0 for the others
    found = doubtful & small & (past < 0)
    rest = np.flatnonzero(doubtful & ~found & (past < HOLES.uncut_distance))
    found[rest] = surrounded(surface, loops.middle[rest], loops.length[rest])
    return found


def surrounded(surface: Surface, middle: FloatArray, length: FloatArray) -> BoolArray:
    """(L,) whether loops of a length (L,) around places (L, 3) lie amid surface."""
    if not len(middle):
        return np.zeros(0, bool)
    reach = length / 2
    middles, parts = cKDTree(middle), chunks(len(surface.faces))
    within = [middles.query(centroids(surface, part), distance_upper_bound=reach.max())[0] < np.inf for part in parts]
    near = np.flatnonzero(np.concatenate(within))
    tree = cKDTree(centroids(surface, near))
    chunk = np.cumsum(tree.query_ball_point(middle, reach, return_length=True)) // CHUNK
    area = np.zeros(len(middle))
    for loops in np.split(np.arange(len(middle)), np.flatnonzero(np.diff(chunk)) + 1):
        found = tree.query_ball_point(middle[loops], reach[loops])
        loop = np.repeat(loops, [len(rows) for rows in found])
        rows = near[np.fromiter(itertools.chain.from_iterable(found), np.int64, len(loop))]
        area += np.bincount(loop, face_areas(Surface(surface.vertices, surface.faces[rows])), len(middle))
    return np.asarray(area >= HOLES.min_surrounding_area * np.square(length / (2 * np.pi)))


def on_nearly_closed_component(surface: Surface, loops: Loops, hole: BoolArray, small: BoolArray) -> BoolArray:
    """(L,) whether the connected component of a loop is closed but for holes and small loops.

    hole (L,), small (L,): these loops. The small ones must make up little of the component's area.
    """
    component = vertex_components(surface)
    number = int(component.max()) + 1
    at = component[loops.start[np.unique(loops.loop, return_index=True)[1]]]
    is_open = np.bincount(at, ~(hole | small), number) > 0
    missing = np.bincount(at, loops.area() * small, number)
    covered = np.bincount(component[surface.faces[:, 0]], face_areas(surface), number)
    return np.asarray((~is_open & (missing <= HOLES.max_missing_share * covered))[at])


def closed_by_fans(surface: Surface, loops: Loops, hole: BoolArray) -> Surface:
    """The surface with a fan of faces around a new vertex in each loop that is a hole (L,)."""
    rows = np.flatnonzero(hole[loops.loop])
    fresh = len(surface.vertices) + (np.cumsum(hole) - 1)[loops.loop[rows]]
    added = np.stack([loops.end[rows], loops.start[rows], fresh], 1).astype(index_type(len(surface.vertices) + int(hole.sum())))
    return Surface(np.concatenate([surface.vertices, loops.middle[hole]]), np.concatenate([surface.faces, added]))
