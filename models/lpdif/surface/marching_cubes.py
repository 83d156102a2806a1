"""Marching cubes: the triangles of the zero surface between values on a lattice.

By PyMCubes where it is installed. It has no wheel for Python 3.13 and newer, nor for Linux on ARM; there numpy does it, by the same table of
cases, in the same order and rounded alike: a mesh is the same to the byte whatever is installed.

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

# the edges a to l of a cell: axis, where it begins, and whether the vertex is reckoned from its other end (that decides the last bit)
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

# the triangles of each case from 0 to 255, three edges each, counter-clockwise seen from outside
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

AXIS = np.array([axis for axis, _, _ in EDGES])
BEGIN = np.array([begin for _, begin, _ in EDGES])
BACKWARD = np.array([backward for _, _, backward in EDGES])
NUMBER = np.full((3, 2, 2, 2), -1)  # of an edge, by its axis and where it begins
NUMBER[AXIS, *BEGIN.T] = np.arange(len(EDGES))
COUNT = np.array([len(word.strip("-")) // 3 for word in CASES.split()])  # triangles of a case
FIRST = np.cumsum(COUNT) - COUNT  # of these in SIDES
SIDES = np.array(["abcdefghijkl".index(letter) for word in CASES.split() for letter in word.strip("-")]).reshape(-1, 3)


def marching_cubes(values: FloatArray) -> tuple[FloatArray, IntArray]:
    """Vertices (V, 3) in lattice units and faces (F, 3) of the zero surface of values (X, Y, Z), negative inside, float64.

    Faces are counter-clockwise from outside. A value of zero counts as inside.
    """
    if by_pymcubes is None:
        return by_numpy(values)
    vertices, faces = by_pymcubes(values, 0.0)
    return vertices, np.ascontiguousarray(faces[:, ::-1], dtype=np.int64)  # PyMCubes winds the other way


def library() -> str:
    """The package that does it."""
    return "numpy" if by_pymcubes is None else "PyMCubes"


def by_numpy(values: FloatArray) -> tuple[FloatArray, IntArray]:
    """What PyMCubes gives. It goes from cell to cell, z fastest; each adds its triangles, and those of its vertices that are new."""
    if min(values.shape) < 2:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64)
    inside = values <= 0
    case = inside.view(np.uint8)
    for axis, bits in ((2, 1), (1, 2), (0, 4)):
        low, high = ends(case, axis)
        case = low | high << bits
    cell = np.flatnonzero((case != 0) & (case != 255))
    corner = places(cell, case.shape) @ steps(values.shape)
    case = case.reshape(-1)[cell]
    count = COUNT[case]
    triangle = np.arange(count.sum()) + np.repeat(FIRST[case] - (np.cumsum(count) - count), count)
    vertices, number = cut_edges(values, inside)
    shift = AXIS * values.size + BEGIN @ steps(values.shape)
    return vertices, number[np.repeat(corner, count)[:, None] + shift[SIDES[triangle]]]


def cut_edges(values: FloatArray, inside: BoolArray) -> tuple[FloatArray, IntArray]:
    """Vertices (V, 3), and (3 X Y Z,) the number of each, by axis and first point of its lattice edge; undefined where there is none."""
    step = steps(values.shape)
    begins, keys = [], []
    for axis in range(3):
        low, high = ends(inside, axis)
        begin = places(np.flatnonzero(low != high), low.shape)
        home = np.maximum(begin - 1, 0)  # the first cell that has the edge
        home[:, axis] = begin[:, axis]
        begins.append(begin)
        keys.append((home @ steps([n - 1 for n in values.shape])) * len(EDGES) + NUMBER[axis, *(begin - home).T])
    key = np.concatenate(keys)
    order = np.argsort(key)
    begin, edge = np.concatenate(begins)[order], key[order] % len(EDGES)
    axis, point = AXIS[edge], begin @ step
    number = np.empty(3 * values.size, np.int64)
    number[axis * values.size + point] = np.arange(len(order))
    # as PyMCubes rounds it: along the edge from the end where it starts, to the other
    back = BACKWARD[edge]
    flat = values.reshape(-1)
    first, last = flat[point], flat[point + step[axis]]
    near, far = np.where(back, last, first), np.where(back, first, last)
    vertices = begin.astype(np.float64)
    vertices[np.arange(len(order)), axis] += back
    vertices[np.arange(len(order)), axis] += np.where(back, -1.0, 1.0) * (0.0 - near) / (far - near)
    return vertices, number


def ends(values: NDArray[Any], axis: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Views of the values at the first and at the second end of each lattice edge along an axis."""
    values = np.moveaxis(values, axis, 0)
    return np.moveaxis(values[:-1], 0, axis), np.moveaxis(values[1:], 0, axis)


def steps(shape: Sequence[int]) -> IntArray:
    """(3,) how far points are apart along each axis when those of a lattice are counted one by one."""
    return np.array([shape[1] * shape[2], shape[2], 1])


def places(numbers: IntArray, shape: tuple[int, ...]) -> IntArray:
    """(n, 3) coordinates of the points (n,) counted so."""
    return np.stack(np.unravel_index(numbers, shape), axis=-1)
