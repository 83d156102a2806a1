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
from functools import partial
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix, csr_array, diags
from scipy.spatial import cKDTree

from lpdif.arrays import BoolArray, FloatArray, IntArray, unit_rows
from lpdif.errors import InputError
from lpdif.geometry import Surface, face_normals, keep_faces, vertex_normals
from lpdif.lattice_keys import pack_keys, unpack_keys
from lpdif.mesh.sparse_lattice import CORNERS, OFFSETS, SparseLattice, common_rows, contains, corners_of, distinct, followed, zero_surface
from lpdif.mesh.topology import boundary_vertices, edge_numbers, face_components, half_edges, is_closed_manifold
from lpdif.mesh_queries import winding_numbers
from lpdif.points.neighbours import query

log = logging.getLogger("lpdif")

SHEET = (2.0, 4.0)  # b rises between these distances, in spacings, behind a surface: a sheet becomes a plate about so thick
RIM = (0.0, 1.0)  # and between these beyond its rim
BEVEL = 8.0  # spacings from the rim at which the plate has its full thickness
SMOOTHINGS = 5  # rounds of averaging of the normals that are used beyond a rim
COARSE = 32  # lattice cells along the longest axis at first
SURE = 0.35  # a cell of edge e whose corners all have |f| > SURE e and one sign is left out; what it holds is found by following
SMOOTH = 8.0  # from this many cells off the surface, w at a midpoint is the mean of its neighbours
MOST_CELLS = 12_000_000  # cells that are held at once: beyond it the lattice stays coarser
LONGEST = 3.0  # spacings or lattice steps, the larger, that a face's side may measure: beyond it the nearest vertex says little of the surface
LEAST = 1e-3  # values nearer to zero, in h, are moved off it, and vertices nearer to a lattice point are not taken over


def make_watertight(surface: Surface, spacing: float, step: float, threads: int = 1) -> Surface:
    """A closed 2-manifold with outward faces that holds the faces of `surface` wherever it can.

    surface: oriented triangles, best the marching-cubes surface of the lattice with this step h: then its vertices, but for those at its
    rim, are vertices of the result; any other surface is sampled anew on the lattice. spacing: distance of the points it was made from.
    Closed surfaces whose parts are all outward (voids inward) come back unchanged. The result does not depend on `threads`.

    Raises InputError where there are no faces, where they are much larger than spacing and step, and where the lattice is too coarse to
    see anything of them.
    """
    if is_closed_manifold(surface.faces) and is_outward(surface, LEAST * step):
        return surface
    check_faces(surface, LONGEST * max(spacing, step))
    skin = Skin(surface, spacing, step, threads)
    lattice, stride = find_cells(skin, step)
    if stride > 1:
        log.warning("gaps are too wide to fill at resolution %.3g: the closed mesh has %.3g", step, step * stride)
    vertices, faces = zero_surface(lattice)
    placed = vertices * (step * stride)
    if stride == 1:
        for old, new in zip(crossings(surface, step), crossings(Surface(placed, faces), step), strict=True):
            from_old, to_new = common_rows(old.edge, new.edge)
            placed[new.vertex[to_new]] = surface.vertices[old.vertex[from_old]]
    solid = supported_parts(Surface(placed, faces), surface, step * stride)
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


def is_outward(surface: Surface, offset: float) -> bool:
    """Of a closed surface: just inside each part the winding number is 1, just outside 0. `offset`: how far is just."""
    number, _ = edge_numbers(surface.faces)
    parts = face_components(surface.faces, number, np.ones(len(surface.faces), bool))
    normals = face_normals(surface)
    area = np.linalg.norm(normals, axis=1)
    order = np.lexsort((-area, parts))
    probe = order[np.unique(parts[order], return_index=True)[1]]  # the largest face of each part
    center = surface.vertices[surface.faces[probe]].mean(1)
    shift = offset * normals[probe] / np.maximum(area[probe], 1e-300)[:, None]
    w = winding_numbers(np.concatenate([center - shift, center + shift]), *surface)
    inner, outer = np.split(w, 2)
    return bool((np.abs(inner - 1) < 0.5).all() and (np.abs(outer) < 0.5).all())


def averaging(faces: IntArray, count: int) -> csr_array:
    """(V, V) matrix that takes half of a vertex's value and half of the mean of its neighbours'."""
    start, end = half_edges(faces)
    ones = np.ones(2 * len(start))
    beside = coo_matrix((ones, (np.concatenate([start, end]), np.concatenate([end, start]))), shape=(count, count)).tocsr()
    degree = np.asarray(beside.sum(1)).reshape(-1)
    return csr_array(diags(0.5 / np.maximum(degree, 1)) @ beside + diags(np.where(degree > 0, 0.5, 1.0)))


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
        self.normals = vertex_normals(surface)
        border = boundary_vertices(surface)
        self.known, self.signs = known_sides(surface, np.where(border[:, None], 0.0, self.normals), step)
        smooth, average = self.normals, averaging(surface.faces, len(surface.vertices))
        for _ in range(SMOOTHINGS):
            smooth = average @ smooth
        self.normals[border] = unit_rows(smooth)[border]
        inward = query(cKDTree(surface.vertices[border]), surface.vertices, threads=threads, distance_upper_bound=BEVEL * spacing)[0]
        share = np.minimum(inward / (BEVEL * spacing), 1.0)  # of the plate's thickness: a plate is thinner at its rim
        self.low = spacing * (RIM[0] + share * (SHEET[0] - RIM[0]))
        self.high = spacing * (RIM[1] + share * (SHEET[1] - RIM[1]))

    def local(self, points: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """d, p and b (Q,) at positions (Q, 3)."""
        # far from the surface any near vertex will do, and on an axis of symmetry all are equally near
        distance, index = query(self.tree, points, threads=self.threads, distance_upper_bound=2 * SHEET[1] * self.spacing)
        far = np.flatnonzero(np.isinf(distance))
        distance[far], index[far] = query(self.tree, points[far], threads=self.threads, eps=0.5)
        height = np.einsum("ij,ij->i", points - self.surface.vertices[index], self.normals[index])
        low, high = self.low[index], self.high[index]
        return distance, height, smoothstep((distance - low) / (high - low))


def smoothstep(x: FloatArray) -> FloatArray:
    """0 below 0, 1 above 1, smooth between."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def find_cells(skin: Skin, step: float) -> tuple[SparseLattice, int]:
    """All cells that the zero surface of f runs through, and their edge in h: 1, unless there would be more than MOST_CELLS of them."""
    reach = SHEET[1] * skin.spacing
    low, high = skin.surface.vertices.min(0) - reach, skin.surface.vertices.max(0) + reach
    stride = 1
    while (high - low).max() > COARSE * stride * step:
        stride *= 2
    box = np.stack([np.floor(low / (stride * step)) - 1, np.ceil(high / (stride * step)) + 1]).astype(np.int64) * stride
    held = unpack_keys(surface_cells(skin.surface, step))
    cells = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in (box // stride).T), indexing="ij"), -1)
    lattice = field_lattice(skin, np.sort(pack_keys(cells.reshape(-1, 3))), step, stride, box)
    while stride > 1:
        active = may_be_zero(lattice, stride * step, reach) | contains(distinct(pack_keys(held // stride)), lattice.cells)
        if 8 * int(active.sum()) > MOST_CELLS:
            break
        children = pack_keys(2 * unpack_keys(lattice.cells[active]))[:, None] + CORNERS
        stride //= 2
        lattice = field_lattice(skin, np.sort(children, axis=None), step, stride, box, lattice)
    return followed(lattice, partial(field_lattice, skin, step=step, stride=stride, box=box), *box // stride), stride


def surface_cells(surface: Surface, edge: float) -> IntArray:
    """Keys of the lattice cells that hold a face's centre: those of all faces, where each lies in one cell."""
    return distinct(pack_keys(np.floor(surface.vertices[surface.faces].mean(1) / edge).astype(np.int64)))


def may_be_zero(lattice: SparseLattice, edge: float, reach: float) -> BoolArray:
    """(C,) cells to look into: where f changes sign or comes near zero, and those near the surface while they are too coarse to see a plate."""
    found = np.zeros(len(lattice.cells), bool)
    for part, value in lattice.by_cell(lattice.value):
        found[part] = (np.abs(value).min(1) < SURE * edge) | ((value < 0).any(1) & (value >= 0).any(1))
    if edge > 0.75 * reach:
        for part, distance in lattice.by_cell(lattice.distance):
            found[part] |= distance.min(1) < reach + edge
    return found


def field_lattice(skin: Skin, cells: IntArray, step: float, stride: int, box: IntArray, parent: SparseLattice | None = None) -> SparseLattice:
    """f, a length, at the corners of the cells (C,), sorted keys, whose edge is stride * h.

    parent: the lattice of twice the edge that they were cut from; box: low and high corner (2, 3), in h, on and beyond which f is positive.
    """
    keys = corners_of(cells)
    places = unpack_keys(keys)
    edge = stride * step
    distance, winding = np.full(len(keys), np.nan), np.full(len(keys), np.nan)
    height, share = np.zeros(len(keys)), np.ones(len(keys))
    if parent is not None:
        # both are smooth far from the surface: amid parents' corners they are the mean of the two, four or eight
        below = parent.distance[parent.rows(pack_keys(places // 2))]
        far = np.flatnonzero(below > 2 * SHEET[1] * skin.spacing + 2 * edge)
        around = parent.rows(pack_keys((places[far][:, None] + OFFSETS) // 2))
        distance[far] = parent.distance[around].mean(1)
        smooth = below[far] > 2 * SMOOTH * edge
        winding[far[smooth]] = parent.winding[around[smooth]].mean(1)
    near = np.flatnonzero(np.isnan(distance))
    distance[near], height[near], share[near] = skin.local(np.asarray(places[near] * edge, dtype=np.float64))
    asked = np.flatnonzero((share > 0) & np.isnan(winding))
    winding[asked] = winding_numbers(np.asarray(places[asked] * edge, dtype=np.float64), *skin.surface)
    turned = np.where(share > 0, distance * (1 - 2 * np.clip(winding, 0, 1)), 0.0)
    value = (1 - share) * height + share * turned
    sign = np.where(value < 0, -1.0, 1.0)
    if stride == 1:
        told, row = common_rows(keys, skin.known)
        sign[told] = np.where(skin.signs[row] == 0, sign[told], skin.signs[row])
    sign[((places * stride <= box[0]) | (places * stride >= box[1])).any(1)] = 1.0
    return SparseLattice(cells, keys, sign * np.maximum(np.abs(value), LEAST * edge), distance, winding)


def supported_parts(solid: Surface, surface: Surface, edge: float) -> Surface:
    """The connected solids that share a lattice cell of this edge with the surface, each with all its voids: the others stand for nothing."""
    held = surface_cells(surface, edge)
    cells = pack_keys(np.floor(solid.vertices[solid.faces].mean(1) / edge).astype(np.int64))
    number, _ = edge_numbers(solid.faces)
    parts = face_components(solid.faces, number, np.ones(len(solid.faces), bool))
    skin = outer_skins(solid, parts)[parts]
    good = np.bincount(skin, contains(held, cells)) > 0
    return keep_faces(solid, good[skin])[0]


def outer_skins(solid: Surface, parts: IntArray) -> IntArray:
    """(P,) the part that is the outer skin of what each part bounds: of a void the least outward part around it, else the part itself.

    solid: closed parts that do not meet, turned outward and inward by turns from the outside on; parts (F,): the part of each face.
    """
    order = np.argsort(parts, kind="stable")
    begin = np.flatnonzero(np.diff(parts[order], prepend=-1))
    corners = solid.vertices[solid.faces[order]]
    probe = corners[begin, 0]
    low, high = np.minimum.reduceat(corners.min(1), begin), np.maximum.reduceat(corners.max(1), begin)
    a, b, c = (corners - probe[parts[order]][:, None]).transpose(1, 0, 2)  # else rounding could turn a speck far from the origin
    volume = np.bincount(parts[order], np.einsum("ij,ij->i", a, np.cross(b, c)))
    found = np.arange(len(volume))
    voids = np.flatnonzero(volume < 0)
    for part in np.argsort(volume)[len(voids) :]:
        inside = voids[(low[voids] > low[part]).all(1) & (high[voids] < high[part]).all(1)]
        if len(inside):
            inside = inside[winding_numbers(probe[inside], *keep_faces(solid, parts == part)[0]) > 0.5]
            found[inside] = part
            voids = np.setdiff1d(voids, inside)
    return found
