"""A closed surface from an open one: gaps are filled where the surface turns around them, sheets become thin plates.

Letters: V vertices, F faces, Q positions, h lattice step, d distance to the nearest vertex, p height over its tangent plane,
w generalized winding number of the faces (Jacobson et al. 2013; fast form of Barill et al. 2018).

The result is the zero surface of

    f = (1 - b) p + b d (1 - 2 w),    b rising from 0 at the surface to 1 at some distance from it

on the lattice that the open surface was extracted on. Near the surface that is the surface itself, and a vertex that it has on a
lattice edge is taken as it is. Away from it f < 0 where w > 1/2: in a gap that is a film over the gap's rim, flat where the rim is. Where
nothing is turned around, as behind a sheet, b decides, and the sheet gets a back.

Cells are refined from coarse to fine where f may be zero, then followed wherever the zero surface leaves them: so it has no border. With
no value at zero, marching cubes gives a manifold, so the result is one.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import mcubes
import numpy as np
import point_cloud_utils as pcu
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from lpdif.isosurface import Surface, weld
from lpdif.manifold import border_vertices, is_closed_manifold
from lpdif.regions import pack_keys, unpack_keys
from lpdif.rims import averaging, even_rim
from lpdif.trimming import edge_numbers, face_parts, keep_faces

log = logging.getLogger("lpdif")

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SHEET = (2.0, 4.0)  # b rises between these distances, in spacings, behind a surface: a sheet becomes a plate about so thick
RIM = (0.0, 1.0)  # and between these beyond its rim
BEVEL = 8.0  # spacings from the rim at which the plate has its full thickness
FRINGE = (4.0, 3.0)  # spacings; see even_rim
SMOOTHINGS = 5  # rounds of averaging of the normals that are used beyond a rim
COARSE = 32  # lattice cells along the longest axis at first
SURE = 0.35  # a cell of edge e whose corners all have |f| > SURE e and one sign is left out; what it holds is found by following
SMOOTH = 4.0  # from this many cells off the surface, w at a midpoint is the mean of its neighbours
TILE = 64  # cells of a marching cube tile along each axis
MOST_CELLS = 12_000_000  # cells that are held at once: beyond it the lattice stays coarser
LEAST = 1e-3  # values nearer to zero, in h, are moved off it, and vertices nearer to a lattice point are not taken over
CORNERS = np.array(list(np.ndindex(2, 2, 2)), dtype=np.int64)


def close(surface: Surface, spacing: float, step: float, threads: int = 1) -> Surface:
    """A closed 2-manifold with outward faces that holds the faces of `surface` wherever it can.

    surface: oriented triangles, best the marching-cubes surface of the lattice with this step h: then its vertices, but for those at its rim, are vertices of
    the result; any other surface is sampled anew on the lattice. spacing: distance of the points it was made from.
    Closed surfaces whose parts are all outward (voids inward) come back unchanged. The result does not depend on `threads`.
    """
    if is_closed_manifold(surface.faces) and is_outward(surface, LEAST * step):
        return surface
    surface = even_rim(surface, FRINGE[0] * spacing, FRINGE[1] * spacing)
    skin = Skin(surface, spacing, step, threads)
    lattice, stride = find_cells(skin, step)
    if stride > 1:
        log.warning("gaps are too wide to fill at resolution %.3g: the closed mesh has %.3g", step, step * stride)
    vertices, faces = marching_cubes(lattice)
    placed = vertices * (step * stride)
    if stride == 1:
        for old, new in zip(crossings(surface, step), crossings(Surface(placed, faces), step), strict=True):
            from_old, to_new = common_rows(old.edge, new.edge)
            placed[new.vertex[to_new]] = surface.vertices[old.vertex[from_old]]
    return supported_parts(Surface(placed, faces), surface, step * stride)


def is_outward(surface: Surface, offset: float) -> bool:
    """Of a closed surface: just inside each part the winding number is 1, just outside 0. `offset`: how far is just."""
    number, _ = edge_numbers(surface.faces)
    parts = face_parts(surface.faces, number, np.ones(len(surface.faces), bool))
    a, b, c = (surface.vertices[surface.faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    area = np.linalg.norm(normals, axis=1)
    order = np.lexsort((-area, parts))
    probe = order[np.unique(parts[order], return_index=True)[1]]  # the largest face of each part
    center = surface.vertices[surface.faces[probe]].mean(1)
    shift = offset * normals[probe] / np.maximum(area[probe], 1e-300)[:, None]
    w = winding_numbers(surface, np.concatenate([center - shift, center + shift]))
    inner, outer = np.split(w, 2)
    return bool((np.abs(inner - 1) < 0.5).all() and (np.abs(outer) < 0.5).all())


def winding_numbers(surface: Surface, points: FloatArray) -> FloatArray:
    """(Q,) generalized winding number of the surface, to about 0.003."""
    if len(points) == 0:
        return np.zeros(0)
    return np.asarray(pcu.triangle_soup_fast_winding_number(surface.vertices, surface.faces, np.ascontiguousarray(points)), np.float64)


def vertex_normals(surface: Surface) -> FloatArray:
    """(V, 3) unit normals, the mean of the faces around by area; zero where they cancel."""
    a, b, c = (surface.vertices[surface.faces[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a)
    corner = surface.faces.T.reshape(-1)
    total = np.stack([np.bincount(corner, np.tile(normals[:, axis], 3), len(surface.vertices)) for axis in range(3)], 1)
    return unit(total)


def unit(vectors: FloatArray) -> FloatArray:
    """Rows (n, 3) at length 1, or 0."""
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-300))


class Crossings(NamedTuple):
    """Vertices (n,) on the lattice edges of one direction, and the packed lattice point (n,), sorted, at which each edge begins."""

    edge: IntArray
    vertex: IntArray


def crossings(surface: Surface, step: float) -> list[Crossings]:
    """For each of the three directions, the vertices that lie on one lattice edge, and not too near an end of it."""
    place = surface.vertices / step
    point = np.rint(place)
    whole = np.abs(place - point) < 1e-6
    part = place - np.floor(place)
    found = []
    for axis in range(3):
        on_edge = whole[:, (axis + 1) % 3] & whole[:, (axis + 2) % 3] & (part[:, axis] > LEAST) & (part[:, axis] < 1 - LEAST)
        vertex = np.flatnonzero(on_edge)
        begin = point[vertex].astype(np.int64)
        begin[:, axis] = np.floor(place[vertex, axis]).astype(np.int64)
        edge, first = np.unique(pack_keys(begin), return_index=True)
        found.append(Crossings(edge, vertex[first]))
    return found


def known_sides(surface: Surface, normals: FloatArray, step: float) -> tuple[IntArray, FloatArray]:
    """Packed lattice points (n,), sorted, and the sign (n,) that f has there, as the vertices on the lattice edges tell."""
    points, signs = [], []
    for axis, (edge, vertex) in enumerate(crossings(surface, step)):
        begin = unpack_keys(edge)
        outer = np.sign(normals[vertex, axis])  # of the edge's end; its beginning lies on the other side
        points += [edge, pack_keys(begin + np.eye(3, dtype=np.int64)[axis])]
        signs += [-outer, outer]
    keys, at = np.unique(np.concatenate(points), return_inverse=True)
    return keys, np.sign(np.bincount(at, np.concatenate(signs), len(keys)))


class Skin:
    """The open surface, ready to be asked for f."""

    def __init__(self, surface: Surface, spacing: float, step: float, threads: int) -> None:
        self.surface, self.spacing, self.threads = surface, spacing, threads
        self.tree = cKDTree(surface.vertices)
        self.border = border_vertices(surface)
        self.normals = vertex_normals(surface)
        border = border_vertices(surface)
        self.known, self.signs = known_sides(surface, np.where(border[:, None], 0.0, self.normals), step)
        smooth, average = self.normals, averaging(surface.faces, len(surface.vertices))
        for _ in range(SMOOTHINGS):
            smooth = average @ smooth
        self.normals[border] = unit(smooth)[border]
        inward = cKDTree(surface.vertices[border]).query(surface.vertices, workers=threads, distance_upper_bound=BEVEL * spacing)[0]
        share = np.minimum(inward / (BEVEL * spacing), 1.0)  # of the plate's thickness: a plate is thinner at its rim
        self.low = spacing * (RIM[0] + share * (SHEET[0] - RIM[0]))
        self.high = spacing * (RIM[1] + share * (SHEET[1] - RIM[1]))

    def local(self, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """d, p and b (Q,) at positions (Q, 3)."""
        # far from the surface any near vertex will do, and on an axis of symmetry all are equally near
        distance, index = self.tree.query(points, eps=0.2, workers=self.threads)
        close_by = np.flatnonzero(distance < 2 * SHEET[1] * self.spacing)
        distance[close_by], index[close_by] = self.tree.query(points[close_by], workers=self.threads)
        height = np.einsum("ij,ij->i", points - self.surface.vertices[index], self.normals[index])
        low, high = self.low[index], self.high[index]
        return distance, height, smoothstep((distance - low) / (high - low))


def smoothstep(x: FloatArray) -> FloatArray:
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


class Lattice(NamedTuple):
    """Cells (C,) and their corners (K,) on a lattice of some stride, as sorted packed keys; distance, w (NaN where it plays no part) and f (K,)."""

    cells: IntArray
    corners: IntArray
    distance: FloatArray
    winding: FloatArray
    value: FloatArray

    def at(self, corners: IntArray) -> IntArray:
        """Row of each corner (n, 3), which must be there."""
        return np.searchsorted(self.corners, pack_keys(corners))

    def of_cells(self, values: FloatArray) -> FloatArray:
        """(C, 8) values (K,) at the corners of the cells."""
        return values[self.at(unpack_keys(self.cells)[:, None] + CORNERS)]


def find_cells(skin: Skin, step: float) -> tuple[Lattice, int]:
    """All cells that the zero surface of f runs through, and their edge in h: 1, unless there would be more than MOST_CELLS of them."""
    reach = SHEET[1] * skin.spacing
    low, high = skin.surface.vertices.min(0) - reach, skin.surface.vertices.max(0) + reach
    stride = 1
    while (high - low).max() > COARSE * stride * step:
        stride *= 2
    first = np.floor(low / (stride * step)).astype(np.int64) - 1
    last = np.ceil(high / (stride * step)).astype(np.int64) + 1
    box = np.stack([first, last]) * stride
    held = surface_cells(skin.surface, step)
    cells = np.stack(np.meshgrid(*[np.arange(a, b) for a, b in zip(first, last, strict=True)], indexing="ij"), -1).reshape(-1, 3)
    lattice = evaluate(skin, pack_keys(cells), step, stride, box, None)
    while stride > 1:
        active = may_be_zero(lattice, stride * step, reach)
        active |= np.isin(lattice.cells, pack_keys(held // stride))
        children = 2 * unpack_keys(lattice.cells[active])[:, None] + CORNERS
        if children.size // 3 > MOST_CELLS:
            break
        stride //= 2
        lattice = evaluate(skin, np.sort(pack_keys(children.reshape(-1, 3))), step, stride, box, lattice)
    return follow(skin, lattice, step, stride, box), stride


def surface_cells(surface: Surface, step: float) -> IntArray:
    """(n, 3) lattice cells that hold a face's centre: those of all faces, where each lies in one cell."""
    cells = np.floor(surface.vertices[surface.faces].mean(1) / step).astype(np.int64)
    return unpack_keys(np.unique(pack_keys(cells)))


def evaluate(skin: Skin, cells: IntArray, step: float, stride: int, box: IntArray, parent: Lattice | None) -> Lattice:
    """f at the corners of the cells. parent: the lattice of twice the stride that the cells were cut from."""
    places = unpack_keys(distinct(pack_keys(unpack_keys(cells)[:, None] + CORNERS)))
    keys = pack_keys(places)
    distance, winding = np.zeros(len(places)), np.full(len(places), np.nan)
    height, share = np.zeros(len(places)), np.ones(len(places))
    if parent is not None:
        # far from the surface both are smooth: in the middle of parents' corners they are the mean of two, four or eight of them
        reach = max(SMOOTH * 2 * stride * step, SHEET[1] * skin.spacing) + 2 * stride * step
        far = np.flatnonzero(parent.distance[parent.at(places // 2)] > reach)
        around = parent.at((places[far][:, None] + CORNERS) // 2)
        distance[far], winding[far] = parent.distance[around].mean(1), parent.winding[around].mean(1)
    near = np.flatnonzero(np.isnan(winding))
    points = places[near] * (stride * step)
    distance[near], height[near], share[near] = skin.local(points)
    asked = share[near] > 0
    winding[near[asked]] = winding_numbers(skin.surface, points[asked])
    turned = np.where(share > 0, share * distance * (1 - 2 * np.clip(winding, 0, 1)), 0.0)
    value = (1 - share) * height + turned
    sign = np.where(value < 0, -1.0, 1.0)
    if stride == 1:
        told, row = common_rows(keys, skin.known)
        sign[told] = np.where(skin.signs[row] == 0, sign[told], skin.signs[row])
    sign[((places * stride <= box[0]) | (places * stride >= box[1])).any(1)] = 1.0
    value = sign * np.maximum(np.abs(value), LEAST * stride * step)
    return Lattice(cells, keys, distance, winding, value)


def distinct(keys: IntArray) -> IntArray:
    """All keys once, sorted: np.unique, but faster on large arrays."""
    keys = np.sort(keys, axis=None)
    return keys[np.r_[True, keys[1:] != keys[:-1]]] if len(keys) else keys


def common_rows(a: IntArray, b: IntArray) -> tuple[IntArray, IntArray]:
    """Rows of a and of b, both sorted and without doubles, that hold the same."""
    _, in_a, in_b = np.intersect1d(a, b, assume_unique=True, return_indices=True)
    return in_a, in_b


def may_be_zero(lattice: Lattice, edge: float, reach: float) -> BoolArray:
    """(C,) cells that the zero surface may run through."""
    value = lattice.of_cells(lattice.value)
    found = (np.abs(value).min(1) < SURE * edge) | ((value < 0).any(1) & (value >= 0).any(1))
    if edge > reach / 2:  # too coarse to see a plate: look at all cells near the surface
        found |= lattice.of_cells(lattice.distance).min(1) < reach + SURE * edge
    return np.asarray(found)


def follow(skin: Skin, lattice: Lattice, step: float, stride: int, box: IntArray) -> Lattice:
    """The cells whose corners differ in sign, and all that are reached from them through faces whose corners do."""
    radius = 1
    while True:
        inside = lattice.of_cells(lattice.value) < 0
        crossed = inside.any(1) & ~inside.all(1)
        cells, inside = unpack_keys(lattice.cells[crossed]), inside[crossed]
        beyond = []
        for axis in range(3):
            for side in (0, 1):
                face = inside[:, CORNERS[:, axis] == side]
                mixed = face.any(1) & ~face.all(1)
                beyond.append(cells[mixed] + (2 * side - 1) * np.eye(3, dtype=np.int64)[axis])
        missing = np.setdiff1d(pack_keys(np.concatenate(beyond)), lattice.cells)
        if len(missing) == 0:
            return lattice._replace(cells=lattice.cells[crossed])
        around = unpack_keys(missing)[:, None] + np.array(list(np.ndindex(*[2 * radius + 1] * 3))) - radius
        limits = box // stride
        around = around.reshape(-1, 3)
        around = around[((around >= limits[0]) & (around < limits[1])).all(1)]
        fresh = np.setdiff1d(pack_keys(around), lattice.cells)
        lattice = joined(lattice, evaluate(skin, fresh, step, stride, box, None))
        radius = min(2 * radius, 8)


def joined(a: Lattice, b: Lattice) -> Lattice:
    """Both; where they share a corner, the values of the first."""
    corners, row = np.unique(np.concatenate([a.corners, b.corners]), return_index=True)
    columns = [np.concatenate(pair)[row] for pair in zip(a[2:], b[2:], strict=True)]
    return Lattice(np.union1d(a.cells, b.cells), corners, *columns)


def marching_cubes(lattice: Lattice) -> tuple[FloatArray, IntArray]:
    """Vertices (V, 3), in lattice units, and faces (F, 3) of the zero surface, tile by tile."""
    cells = unpack_keys(lattice.cells)
    tile = pack_keys(cells // TILE)
    parts = []
    for number in np.unique(tile):
        corner = unpack_keys(np.array([number]))[0] * TILE
        own = cells[tile == number] - corner
        values = np.ones((TILE + 1,) * 3)
        places = own[:, None] + CORNERS
        values[tuple(np.moveaxis(places, -1, 0))] = lattice.value[lattice.at(places + corner)]
        whole = np.zeros((TILE,) * 3, bool)
        whole[tuple(own.T)] = True
        vertices, faces = mcubes.marching_cubes(values, 0.0)
        faces = faces.astype(np.int64)[:, ::-1]  # PyMCubes winds the other way for a field that is negative inside
        home = np.clip(np.floor(vertices[faces].mean(1)).astype(np.int64), 0, TILE - 1)
        parts.append(Surface(*keep_faces(Surface(vertices + corner, faces), whole[tuple(home.T)])[0]))
    return weld(parts)


def supported_parts(solid: Surface, surface: Surface, edge: float) -> Surface:
    """The connected parts of the solid that share a lattice cell of this edge with the surface: the others stand for nothing in the scan."""
    held = pack_keys(surface_cells(surface, edge))
    cells = pack_keys(np.floor(solid.vertices[solid.faces].mean(1) / edge).astype(np.int64))
    number, _ = edge_numbers(solid.faces)
    parts = face_parts(solid.faces, number, np.ones(len(solid.faces), bool))
    good = np.bincount(parts, np.isin(cells, held)) > 0
    return keep_faces(solid, good[parts])[0]
