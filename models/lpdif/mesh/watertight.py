"""A closed surface from an open one: gaps are filled, sheets become thin plates.

Letters: V vertices, F faces, Q positions, h lattice step, d distance to the nearest vertex, p height over its tangent plane,
w generalized winding number of the faces (Jacobson et al. 2013; fast form of Barill et al. 2018).

The result is the zero surface of

    f = (1 - b) p + b d (1 - 2 w),    b rising from 0 at the surface to 1 at some distance from it

on the lattice that the open surface was extracted on. Near the surface that is the surface itself, and a vertex that it has on a
lattice edge is taken as it is. Away from it f < 0 where w > 1/2: in a gap that is a film over its boundary loop, flat where the loop is.
Where the surface does not turn around anything, as behind a sheet, b decides, and the sheet gets a back side.

Cells are refined from coarse to fine where f may be zero, then followed wherever the zero surface leaves them: so it has no boundary.
Marching cubes gives a manifold where no value is zero, so the result is one.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, csr_array, diags
from scipy.spatial import cKDTree

from lpdif.arrays import BoolArray, FloatArray, IntArray, unit_rows
from lpdif.errors import InputError
from lpdif.geometry import Surface, keep_faces, vertex_normals
from lpdif.lattice_keys import distinct, pack_keys, unpack_keys
from lpdif.mesh.shells import is_outward, outer_shells, shells
from lpdif.mesh.sparse_lattice import (
    CORNERS,
    OFFSETS,
    SparseLattice,
    common_rows,
    contains,
    corners_of,
    follow_surface,
    lattice_zero_surface,
)
from lpdif.mesh.topology import boundary_vertices, half_edges, is_closed_manifold
from lpdif.mesh_queries import winding_numbers
from lpdif.points.neighbours import query

log = logging.getLogger("lpdif")


class WatertightSettings(NamedTuple):
    """How an open surface is closed. A "spacing" is the typical one of the points it was made from."""

    plate: float = 4.0  # A sheet becomes a plate at most so many spacings thick: behind it, b rises from 0 at half of that to 1.
    smoothing_rounds: int = 5  # The normals used beyond a boundary are averaged with their neighbours so many times.
    coarse_cells: int = 32  # The first lattice has at most so many cells along its longest axis.
    zero_bound: float = 0.35  # A cell of edge e whose corners all have |f| > 0.35 e and one sign is not refined; following finds it if needed.
    smooth_distance: float = 8.0  # So many cells off the surface and farther, w halfway between lattice points is the mean of theirs.
    max_cells: int = 12_000_000  # The lattice stays coarser if it would hold more cells at once.
    max_side: float = 3.0  # Longest side of a face, in spacings or h: on larger faces the nearest vertex says little of the surface.
    min_value: float = 1e-3  # Smaller values of f, in h, are moved off zero, and vertices nearer to a lattice point are not taken over.


WATERTIGHT = WatertightSettings()


def make_watertight(surface: Surface, spacing: float, step: float, threads: int = 1) -> Surface:
    """A closed 2-manifold with outward faces that contains the faces of `surface` wherever it can.

    surface: oriented triangles, best the marching-cubes surface of the lattice with this step h: then its vertices, but for those at its
    boundary, are vertices of the result; any other surface is sampled anew on the lattice. spacing: of the points it was made from. A closed
    surface whose shells all face outward (those of voids inward) comes back unchanged. The result does not depend on `threads`.

    Raises InputError where there are no faces, where they are much larger than spacing and step, and where the lattice is too coarse for
    any of them.
    """
    if is_closed_manifold(surface.faces) and is_outward(surface, WATERTIGHT.min_value * step):
        return surface
    check_faces(surface, WATERTIGHT.max_side * max(spacing, step))
    open_surface = OpenSurface(surface, spacing, step, threads)
    lattice, stride = find_cells(open_surface, step)
    if stride > 1:
        log.warning("gaps are too wide to fill at resolution %.3g: the closed mesh has %.3g", step, step * stride)
    vertices, faces = lattice_zero_surface(lattice)
    placed = vertices * (step * stride)
    if stride == 1:
        for old, new in zip(crossings(surface, step), crossings(Surface(placed, faces), step), strict=True):
            from_old, to_new = common_rows(old.edge, new.edge)
            placed[new.vertex[to_new]] = surface.vertices[old.vertex[from_old]]
    solid = supported_solids(Surface(placed, faces), surface, step * stride)
    if len(solid.faces) == 0:
        raise InputError(f"the surface is too small to be closed at resolution {step * stride:.3g}", "give a smaller --resolution")
    return solid


def check_faces(surface: Surface, longest: float) -> None:
    """Raises InputError for a surface without faces, and for one with a side longer than `longest`."""
    if len(surface.faces) == 0:
        raise InputError("a surface without faces cannot be closed", "give a surface with faces")
    start, end = half_edges(surface.faces)
    length = float(np.linalg.norm(surface.vertices[end] - surface.vertices[start], axis=1).max())
    if length > longest:
        raise InputError(f"a surface with faces {length:.3g} long is too coarse to be closed", f"split its faces to at most {longest:.3g}")


def supported_solids(solid: Surface, surface: Surface, edge: float) -> Surface:
    """The solids, each with all its voids, that share a lattice cell of this edge with the surface.

    No other solid stands for scanned points.
    """
    cells = pack_keys(np.floor(solid.vertices[solid.faces].mean(1) / edge).astype(np.int64))
    shell = shells(solid)
    outer = outer_shells(solid, shell)[shell]
    good = np.bincount(outer, contains(surface_cells(surface, edge), cells)) > 0
    return keep_faces(solid, good[outer])[0]


def surface_cells(surface: Surface, edge: float) -> IntArray:
    """Keys of the lattice cells that hold the centre of a face; a face of marching cubes lies in one cell."""
    return distinct(pack_keys(np.floor(surface.vertices[surface.faces].mean(1) / edge).astype(np.int64)))


class Crossings(NamedTuple):
    """Vertices on the lattice edges of one direction, sorted by edge."""

    edge: IntArray  # (n,) packed lattice point at which each edge begins
    vertex: IntArray  # (n,)


def crossings(surface: Surface, step: float) -> list[Crossings]:
    """For each of the three directions, the vertices on its lattice edges, but not near an end of these."""
    place = surface.vertices / step
    point = np.rint(place)
    whole = np.abs(place - point) < 1e-6
    part = place - np.floor(place)
    inside = (part > WATERTIGHT.min_value) & (part < 1 - WATERTIGHT.min_value)
    found = []
    for axis in range(3):
        vertex = np.flatnonzero(whole[:, (axis + 1) % 3] & whole[:, (axis + 2) % 3] & inside[:, axis])
        begin = point[vertex].astype(np.int64)
        begin[:, axis] = np.floor(place[vertex, axis]).astype(np.int64)
        edge, first = np.unique(pack_keys(begin), return_index=True)
        found.append(Crossings(edge, vertex[first]))
    return found


def known_signs(surface: Surface, normals: FloatArray, step: float) -> tuple[IntArray, FloatArray]:
    """Packed lattice points (n,) at the ends of crossed edges, and the sign (n,) of f there.

    The points are sorted. The sign is 0 where it is unclear.
    """
    points, signs = [], []
    for axis, (edge, vertex) in enumerate(crossings(surface, step)):
        begin = unpack_keys(edge)
        outer = np.sign(normals[vertex, axis])  # at the edge's end; its beginning lies on the other side
        points += [edge, pack_keys(begin + np.eye(3, dtype=np.int64)[axis])]
        signs += [-outer, outer]
    keys, at = np.unique(np.concatenate(points), return_inverse=True)
    return keys, np.sign(np.bincount(at, np.concatenate(signs), len(keys)))


def smoothing_matrix(faces: IntArray, count: int) -> csr_array:
    """(V, V) matrix of one round of smoothing: half of a vertex's value, half of its neighbours' mean."""
    start, end = half_edges(faces)
    ones = np.ones(2 * len(start))
    beside = coo_matrix((ones, (np.concatenate([start, end]), np.concatenate([end, start]))), shape=(count, count)).tocsr()
    degree = np.asarray(beside.sum(1)).reshape(-1)
    return csr_array(diags(0.5 / np.maximum(degree, 1)) @ beside + diags(np.where(degree > 0, 0.5, 1.0)))


class OpenSurface:
    """The open surface, and what is needed to evaluate f."""

    def __init__(self, surface: Surface, spacing: float, step: float, threads: int) -> None:
        self.surface, self.spacing, self.threads = surface, spacing, threads
        self.tree = cKDTree(surface.vertices)
        self.normals = vertex_normals(surface)
        boundary = boundary_vertices(surface)
        self.known_points, self.known_signs = known_signs(surface, np.where(boundary[:, None], 0.0, self.normals), step)
        smooth, matrix = self.normals, smoothing_matrix(surface.faces, len(surface.vertices))
        for _ in range(WATERTIGHT.smoothing_rounds):
            smooth = matrix @ smooth
        self.normals[boundary] = unit_rows(smooth)[boundary]
        self.thickness = WATERTIGHT.plate * spacing
        bevel = 2 * self.thickness  # so far from its boundary a plate has its full thickness
        inward = query(cKDTree(surface.vertices[boundary]), surface.vertices, threads=threads, distance_upper_bound=bevel)[0]
        share = np.minimum(inward / bevel, 1.0)
        # b rises between these distances: at the boundary from 0 to 1 spacing.
        self.blend_start = spacing * (share * (WATERTIGHT.plate / 2))
        self.blend_end = spacing * (1 + share * (WATERTIGHT.plate - 1))

    def near_field(self, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """d, p and b (Q,) at positions (Q, 3)."""
        distance, index = query(self.tree, points, threads=self.threads, distance_upper_bound=2 * self.thickness)
        # Far from the surface any near vertex will do; on an axis of symmetry, where all are equally near, an exact search is slow.
        far = np.flatnonzero(np.isinf(distance))
        distance[far], index[far] = query(self.tree, points[far], threads=self.threads, eps=0.5)
        height = np.einsum("ij,ij->i", points - self.surface.vertices[index], self.normals[index])
        start, end = self.blend_start[index], self.blend_end[index]
        return distance, height, smoothstep((distance - start) / (end - start))


def smoothstep(x: FloatArray) -> FloatArray:
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def find_cells(open_surface: OpenSurface, step: float) -> tuple[SparseLattice, int]:
    """All cells that the zero surface of f runs through, and their edge in h: 1, unless they are too many."""
    reach = open_surface.thickness
    low, high = open_surface.surface.vertices.min(0) - reach, open_surface.surface.vertices.max(0) + reach
    stride = 1
    while (high - low).max() > WATERTIGHT.coarse_cells * stride * step:
        stride *= 2
    box = np.stack([np.floor(low / (stride * step)) - 1, np.ceil(high / (stride * step)) + 1]).astype(np.int64) * stride
    held = unpack_keys(surface_cells(open_surface.surface, step))
    cells = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in (box // stride).T), indexing="ij"), -1)
    lattice = field_lattice(open_surface, np.sort(pack_keys(cells.reshape(-1, 3))), step, stride, box)
    while stride > 1:
        active = may_hold_zero(lattice, stride * step, reach) | contains(distinct(pack_keys(held // stride)), lattice.cells)
        if 8 * int(active.sum()) > WATERTIGHT.max_cells:
            break
        children = pack_keys(2 * unpack_keys(lattice.cells[active]))[:, None] + CORNERS
        stride //= 2
        lattice = field_lattice(open_surface, np.sort(children, axis=None), step, stride, box, lattice)
    return follow_surface(lattice, partial(field_lattice, open_surface, step=step, stride=stride, box=box), *box // stride), stride


def may_hold_zero(lattice: SparseLattice, edge: float, reach: float) -> BoolArray:
    """(C,) cells to refine: those in which f changes sign or is near zero.

    While cells are too large to resolve a plate, all near the surface are refined.
    """
    found = np.zeros(len(lattice.cells), bool)
    for part, value in lattice.corner_values(lattice.value):
        found[part] = (np.abs(value).min(1) < WATERTIGHT.zero_bound * edge) | ((value < 0).any(1) & (value >= 0).any(1))
    if edge > 0.75 * reach:
        for part, distance in lattice.corner_values(lattice.distance):
            found[part] |= distance.min(1) < reach + edge
    return found


def field_lattice(
    open_surface: OpenSurface, cells: IntArray, step: float, stride: int, box: IntArray, parent: SparseLattice | None = None
) -> SparseLattice:
    """f, a length, at the corners of the cells (C,), sorted keys, whose edge is stride * h.

    parent: the lattice of twice the edge whose cells these are children of. box: low and high corner (2, 3), in h; on and beyond it f is
    positive.
    """
    keys = corners_of(cells)
    places = unpack_keys(keys)
    edge = stride * step
    distance, winding = np.full(len(keys), np.nan), np.full(len(keys), np.nan)
    height, share = np.zeros(len(keys)), np.ones(len(keys))
    if parent is not None:
        # Both are smooth far from the surface: between corners of the parents they are the mean of the two, four or eight.
        below = parent.distance[parent.rows(pack_keys(places // 2))]
        far = np.flatnonzero(below > 2 * open_surface.thickness + 2 * edge)
        around = parent.rows(pack_keys((places[far][:, None] + OFFSETS) // 2))
        distance[far] = parent.distance[around].mean(1)
        smooth = below[far] > 2 * WATERTIGHT.smooth_distance * edge
        winding[far[smooth]] = parent.winding[around[smooth]].mean(1)
    near = np.flatnonzero(np.isnan(distance))
    distance[near], height[near], share[near] = open_surface.near_field(np.asarray(places[near] * edge, dtype=np.float64))
    asked = np.flatnonzero((share > 0) & np.isnan(winding))
    winding[asked] = winding_numbers(np.asarray(places[asked] * edge, dtype=np.float64), *open_surface.surface)
    far_value = np.where(share > 0, distance * (1 - 2 * np.clip(winding, 0, 1)), 0.0)
    value = (1 - share) * height + share * far_value
    sign = np.where(value < 0, -1.0, 1.0)
    if stride == 1:
        at, row = common_rows(keys, open_surface.known_points)
        known = open_surface.known_signs[row]
        sign[at] = np.where(known == 0, sign[at], known)
    sign[((places * stride <= box[0]) | (places * stride >= box[1])).any(1)] = 1.0
    return SparseLattice(cells, keys, sign * np.maximum(np.abs(value), WATERTIGHT.min_value * edge), distance, winding)
