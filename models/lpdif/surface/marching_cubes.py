"""Marching cubes: the triangles of the zero surface between values on a lattice.

PyMCubes does it where it is installed. It has no wheel for Python 3.13 and newer, nor for Linux on ARM; there numpy does it, with the same
table of cases, in the same order and with the same rounding. So a mesh is the same to the byte whatever is installed.

Corner 4i + 2j + k of a cell lies at (i, j, k) of it, i, j, k 0 or 1. The case of a cell is the sum of 2^c over its corners c inside, that
is, of values not above zero. A vertex lies on an edge between an inner and an outer corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import BoolArray, FloatArray, IntArray

try:
    from mcubes import marching_cubes as by_pymcubes
except ImportError:
    by_pymcubes = None

# The edges a to l of a cell: axis, where it begins, and whether the vertex is computed from its other end, which decides the last bit.
EDGES = (
    (0, (0, 1, 1), True),
    (1, (1, 0, 1), False),
    (2, (1, 1, 0), False),
    (0, (0, 0, 0), False),
    (1, (1, 0, 0), False),
    (0, (0, 1, 0), True),
    (1, (0, 0, 0), True),
    (0, (0, 0, 1), False),
    (1, (0, 0, 1), True),
    (2, (0, 0, 0), False),
    (2, (1, 0, 0), False),
    (2, (0, 1, 0), False),
)

# The triangles of each case from 0 to 255, three edges each, counter-clockwise seen from outside.
CASES = """
    - gjd jih dghhgi flg flddlj ihjflg ihlhflhdf
    lai jdgail hjaajl lagadgahd gfiifa jdidaidfa gfjfhjfah fhdfah
    ked gjeejk kedihj keheihegi dkelgf flelkeljk edkihjlgf lihlhkflkefk
    kedail kejegjail lajahjedk ahkgakegkagl aifigfked faeajejkeaij dkehgfahfjgh hkefheahf
    hbk hbkgjd jikkib dgkgbkgib hbklgf fldljdbkh bkikjiflg ibkfikdfklif
    bkhlai gjdbkhail bkaklakjl laggadabdbkd gfifaikhb hbkajdfadija kjbjfbfabfjg abkdakfad
    hbddbe hbjbgjbeg jidiedibe gbeibg hbdbedlgf befjbfljfbjh lgfjedjieibe eflielbei
    edbdhblai ailhgjhbgbeg jldlbdbedlab glabgaegb fagaigdbedhb jfaijajefbjhjbe jbedjejabfjgjfa abeaef
    cfe gjdcfe cfeihj ihghdgcfe ecggcl ecdcjdclj ecgclghji clelhehdehli
    fecila cfejdgila hjajlaecf cfeldgladahd aiciecige aiccieijejde gejeajahjeca decadchda
    cfkkfd gjfjcfjkc cfkfdkihj kcfikfgifhki dkgklgkcl cjkljc jihldkclkgdl lihklhclk
    dkfkcfila ilagcfgjcjkc jlhlahkfdkcf gkcfgcghkaglgah igdcidkcdica caijcikcj gahjghgcakgdgkc hkchca
    cfehbk jdgcfebkh jikibkfec fecdbkdgbgib lgcgechbk bkhejdecjclj jbkibjgeclgc dibkdbdlicdedcl
    hbkfeclai ilacfegjdbkh cfelbkjlkabl gldladakdkabcfe hbkaecaieige caeaieidedijhbk agecaeajgkabakj decadcdbkdab
    cfbfhbfdh bcfbfghbgjhg fdjbfjibjfbc bcfgbfibg dhbldbclbgdl jhbcjbljc dclgdldbcidjdib bclbli
    laichbcfhfdh jhghbgbfgfbcail bjlablbdjfbcbfd glabgagcfgbc cdhbchcgdicacig caijcichbcjh jgdcab abc
    bac gjdacb acbjih dghgihcba lgfbac jdldflbac flghjibac acbfihdfhlif
    cbllbi cblbildgj hjbjcbjlc hdbdlblcbdgl cbfbgfbig dfjfbjbijbfc cbffbgbhghjg fcbhfbdfh
    edkacb gjejkeacb dkeacbihj bacikegiehki kedlgfacb acbfkeflkljk kedjihlgfacb efkflklhkhliacb
    ilblcbdke bicilcejkegj kedchjlcjbhc hlcbhchglehkheg edkgcbigbfcg fjkefkfijbfcfbi fcgcbgbjgjbhked fcbhfbfkefhk
    khccha achckhgjd acicjickj gidicdckdcia khchacgfl fjdljfckhach lgfjackjciaj idflifikdciaick
    ilhlkhlck gjdikhilklck jckjlc kdglkgckl ckfkifigfkhi ickhikifcdijidf jgfcjfkjc fckfkd
    edcdacdha egjaejhajcea iacicejiedje iaceicgie flgaedhadcea ehaceaejhlefelj djejieicecialgf eflieleaceia
    lcehledhelhi hegjhghcelhihlc cedjcdlcj cegcgl cigfcgchidcecdh fcehij jgfcjfjedjce fce
    baeeaf baeafejdg feaebajih bfeafbhdgihg lgagbageb ljdbldebdalb ihjblgebgalb lebalbldehlilhd
    feleilebi gjdifebielfi ebfbjfjlfjbh lhdgldlbhelfleb bgebig ijdeidbie bhjgbjebg bhdbde
    bakadkafd jkbfjbafbjfg ihjbdkbadafd kgihkikfgakbkaf algagdbadkbd kbalkajkl kbdbadagdgalihj kbalkakihkli
    bikifkfdkilf fbilfifkbjfgfjk bfdkbdblfjbhbjl bhkglf gdkbgkigb ijkikb bhjgbjbdkbgd bhk
    khehfehaf jdgkfekhfhaf afejaekjeiaj kafekfkiagkdkgi hakagkgekgal eljdejealhekeha akjiajaekgalage ekdial
    ilhhlklfkfek hikilklekelfgjd lfeklejlk kdglkgkfeklf ekhiehgei ekhiehejdeij jgejek ekd
    hfdafh fgjhfjafh djiadifda fgifia algdaghad jhajal djiadidlgdal ali
    hilfhldhf hilfhlhgjhfg lfdldj lfg gdhghi ijh jgd -
"""

EDGE_AXIS = np.array([axis for axis, _, _ in EDGES])
EDGE_BEGIN = np.array([begin for _, begin, _ in EDGES])
EDGE_BACKWARD = np.array([backward for _, _, backward in EDGES])
EDGE_NUMBER = np.full((3, 2, 2, 2), -1)  # number of an edge, by its axis and where it begins
EDGE_NUMBER[EDGE_AXIS, *EDGE_BEGIN.T] = np.arange(len(EDGES))
CASE_COUNT = np.array([len(word.strip("-")) // 3 for word in CASES.split()])  # how many triangles a case has
CASE_FIRST = np.cumsum(CASE_COUNT) - CASE_COUNT  # row of its first triangle in CASE_EDGES
# the three edges of each triangle
CASE_EDGES = np.array(["abcdefghijkl".index(letter) for word in CASES.split() for letter in word.strip("-")]).reshape(-1, 3)


def marching_cubes(values: FloatArray) -> tuple[FloatArray, IntArray]:
    """Vertices (V, 3) in lattice units and faces (F, 3) of the zero surface of values (X, Y, Z).

    Values are float64 and negative inside. Faces are counter-clockwise from outside. A value of zero counts as inside.
    """
    if by_pymcubes is None:
        return by_numpy(values)
    vertices, faces = by_pymcubes(values, 0.0)
    return vertices, np.ascontiguousarray(faces[:, ::-1], dtype=np.int64)  # PyMCubes winds the other way


def library() -> str:
    """The package that does it."""
    return "numpy" if by_pymcubes is None else "PyMCubes"


def by_numpy(values: FloatArray) -> tuple[FloatArray, IntArray]:
    """The same as PyMCubes, to the byte.

    PyMCubes goes from cell to cell, z fastest, and adds the triangles of each and its new vertices.
    """
    if min(values.shape) < 2:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    inside = values <= 0
    case = inside.view(np.uint8)
    for axis, bits in ((2, 1), (1, 2), (0, 4)):
        low, high = edge_ends(case, axis)
        case = low | high << bits
    cell = np.flatnonzero((case != 0) & (case != 255))
    corner = coordinates(cell, case.shape) @ strides(values.shape)
    case = case.reshape(-1)[cell]
    count = CASE_COUNT[case]
    triangle = np.arange(count.sum()) + np.repeat(CASE_FIRST[case] - (np.cumsum(count) - count), count)
    vertices, number = cut_edges(values, inside)
    shift = EDGE_AXIS * values.size + EDGE_BEGIN @ strides(values.shape)
    return vertices, number[np.repeat(corner, count)[:, None] + shift[CASE_EDGES[triangle]]]


def cut_edges(values: FloatArray, inside: BoolArray) -> tuple[FloatArray, IntArray]:
    """Vertices (V, 3), and (3 X Y Z,) the number of the vertex on each lattice edge.

    Edges go by axis, then by their first point. The number is undefined where an edge has no vertex.
    """
    step = strides(values.shape)
    begins, keys = [], []
    for axis in range(3):
        low, high = edge_ends(inside, axis)
        begin = coordinates(np.flatnonzero(low != high), low.shape)
        home = np.maximum(begin - 1, 0)  # the first cell that has the edge
        home[:, axis] = begin[:, axis]
        begins.append(begin)
        keys.append((home @ strides([n - 1 for n in values.shape])) * len(EDGES) + EDGE_NUMBER[axis, *(begin - home).T])
    key = np.concatenate(keys)
    order = np.argsort(key)
    begin, edge = np.concatenate(begins)[order], key[order] % len(EDGES)
    axis, point = EDGE_AXIS[edge], begin @ step
    number = np.empty(3 * values.size, np.int64)
    number[axis * values.size + point] = np.arange(len(order))
    # Rounded as by PyMCubes: along the edge from the end where it starts to the other.
    back = EDGE_BACKWARD[edge]
    flat = values.reshape(-1)
    first, last = flat[point], flat[point + step[axis]]
    near, far = np.where(back, last, first), np.where(back, first, last)
    vertices = begin.astype(np.float64)
    vertices[np.arange(len(order)), axis] += back
    vertices[np.arange(len(order)), axis] += np.where(back, -1.0, 1.0) * (0.0 - near) / (far - near)
    return vertices, number


def edge_ends(values: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Views of the values at the first and at the second end of each lattice edge along an axis."""
    values = np.moveaxis(values, axis, 0)
    return np.moveaxis(values[:-1], 0, axis), np.moveaxis(values[1:], 0, axis)


def strides(shape: Sequence[int]) -> IntArray:
    """(3,) difference of the numbers of neighbouring lattice points along each axis, z fastest."""
    return np.array([shape[1] * shape[2], shape[2], 1])


def coordinates(numbers: IntArray, shape: tuple[int, ...]) -> IntArray:
    """(n, 3) coordinates of the lattice points with these numbers (n,)."""
    return np.stack(np.unravel_index(numbers, shape), axis=-1)
