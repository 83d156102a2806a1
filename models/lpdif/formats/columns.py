"""Columns with names, or only with values, to a Scan: which are coordinates, normals, colours, and what is left over."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.formats.axes import are_degrees, are_normals, columns_before, coordinates_among, is_no_coordinate, sampled, says_an_axis
from lpdif.formats.source import Source, printable
from lpdif.scans import Scan
from lpdif.words import counted

Column = NDArray[np.generic]
FloatArray = NDArray[np.float64]

log = logging.getLogger("lpdif")

# what programs call normals and colours; compared after `plain`
_NORMALS = (
    ("nx", "ny", "nz"),
    ("normal_x", "normal_y", "normal_z"),
    ("normalx", "normaly", "normalz"),
    ("normals_x", "normals_y", "normals_z"),
    ("normals_0", "normals_1", "normals_2"),
    ("n_x", "n_y", "n_z"),
)
_COLORS = (
    ("red", "green", "blue"),
    ("r", "g", "b"),
    ("diffuse_red", "diffuse_green", "diffuse_blue"),
    ("rf", "gf", "bf"),
    ("color_r", "color_g", "color_b"),
    ("color_red", "color_green", "color_blue"),
    ("colorred", "colorgreen", "colorblue"),
    ("colors_0", "colors_1", "colors_2"),
    ("rgb_0", "rgb_1", "rgb_2"),
)
# fields of several values a point, and what these are; letters alone, as "xyzi", name theirs
_FIELDS = {
    **dict.fromkeys(("points", "point", "position", "positions", "pos", "coords", "coordinates", "vertices", "location"), ("x", "y", "z")),
    **dict.fromkeys(("normals", "normal", "n"), ("nx", "ny", "nz")),
    **dict.fromkeys(("colors", "color", "colours", "colour"), ("red", "green", "blue")),
}
# values that belong to others, and mean nothing without these: opacities to colours, texture coordinates to pictures
_OPACITIES = {"alpha", "a", "diffuse_alpha"}
_TEXTURES = ({"s", "t"}, {"u", "v"}, {"texture_u", "texture_v"})
_LONGEST_NAME = 100
_MOST_SAID = 12  # names in a message
_SURE = 0.15  # by how much one of two columns fits colours better, to be one for sure
_IN_A_CELL = 8  # points, about: near ones have near colours
_UNIT = re.compile(r"[\[(][^\])]*[\])]")
_UNWORDLY = re.compile(r"[^0-9a-z]+")


def plain(name: str) -> str:
    """A column name without case, accents, units and punctuation: "//X [m]" is "x", "Points:0" is "points_0", "Höhe" is "hohe"."""
    name = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return _UNWORDLY.sub("_", _UNIT.sub("", name.lower())).strip("_")


def scan_of_columns(
    source: Source,
    names: Sequence[str],
    columns: Sequence[Column],
    faces: NDArray[np.int64] | None = None,
    sensor: FloatArray | None = None,
) -> Scan:
    """The Scan of named columns, each (N,) or (N, k); the first of two columns of one name counts.

    Raises InputError where no three columns are coordinates.
    """
    named: dict[str, Column] = {}
    spelt: dict[str, str] = {}
    for name, column in zip(names, columns, strict=True):
        name = printable(name[:_LONGEST_NAME])
        key, said_name = plain(name), name.strip().strip("/#\"'").strip()
        if key in named and said_name not in spelt.values():  # two names that differ by their spelling only
            key = said_name
        if key and key not in named:
            named[key], spelt[key] = column, said_name
    axes = coordinates_among([key for key, column in named.items() if column.ndim == 1])
    if axes is None:
        if are_degrees(list(spelt.values())):
            raise source.error("coordinates are degrees of latitude and longitude", "project them to metres first, to UTM say")
        raise no_coordinates(source, list(spelt.values()))
    if axes != ("x", "y", "z"):
        log.info("%s: x, y and z are its columns %s", source.name, said([spelt[key] for key in axes]))
    points = _float64([named.pop(key) for key in axes])
    normals = _take(named, _NORMALS)
    colors = _take(named, _COLORS)
    left_out = {key for pair in _TEXTURES if pair <= set(named) for key in pair} | (_OPACITIES if colors is not None else set())
    extras = {spelt[key]: np.ascontiguousarray(column) for key, column in named.items() if key not in left_out and column.ndim == 1}
    return Scan(
        points=points,
        normals=None if normals is None else _float64(normals),
        colors=None if colors is None else colors_of(colors, source.name),
        extras=extras,
        faces=faces,
        sensor=sensor,
        name=source.name,
    )


def parts_named(name: str, number: int) -> list[str] | None:
    """The names of the values in a field of `number` (> 1) values a point: x, y and z of "xyz"; None where its name does not say."""
    key = plain(name[:_LONGEST_NAME])
    parts = list(_FIELDS.get(key, key if set(key) <= set("xyzirgba") else ""))
    return [*parts, *[""] * (number - len(parts))] if 3 <= len(parts) <= number else None


def coordinates_named(names: Sequence[str]) -> bool:
    """Whether names of columns say which are the coordinates."""
    known = [plain(name[:_LONGEST_NAME]) for name in names]
    return coordinates_among(known) is not None or are_degrees(names)


def coordinate_columns(names: Sequence[str]) -> list[int]:
    """Which columns are x, y and z by their names; none where these do not say."""
    known = [plain(name[:_LONGEST_NAME]) for name in names]
    return [known.index(name) for name in coordinates_among(known) or ()]


def may_be_coordinates(source: Source, names: Sequence[str]) -> list[int]:
    """Which columns may be coordinates though their names do not say so. Raises InputError for fewer than three, or where two are named."""
    known = [plain(name[:_LONGEST_NAME]) for name in names]
    taken = {name for triple in (*_NORMALS, *_COLORS) if set(triple) <= set(known) for name in triple}
    left = [column for column, name in enumerate(known) if name not in taken and not is_no_coordinate(name)]
    if len(left) < 3 or says_an_axis(known):
        raise no_coordinates(source, names)
    return left


def no_coordinates(source: Source, names: Sequence[str]) -> InputError:
    """The error of columns that are called anything but x, y and z."""
    listed = printable(", ".join(name[:_LONGEST_NAME] for name in names))[:120] or "none"
    return source.error(f"no columns x, y and z; its columns are {listed}", "name the columns of the coordinates x, y and z")


def colors_of(columns: Sequence[Column], name: str) -> NDArray[np.uint8] | None:
    """Red, green and blue of any kind, each (N,), as bytes (N, 3): from integers of 8 or 16 bits, or fractions of one.

    None, and said, where they are neither, or missing, or all black, which is how programs write that they have none.
    """
    colors = np.empty((len(columns[0]), 3), dtype=np.uint8)
    if all(column.dtype == np.uint8 for column in columns):
        for axis, column in enumerate(columns):
            colors[:, axis] = column
    else:
        missing = ~np.logical_and.reduce([np.isfinite(column) for column in columns])
        if missing.any():
            log.warning("%s: colours left out: %s without one", name, counted(int(missing.sum()), "point"))
            return None
        low = min(float(column.min(initial=0)) for column in columns)
        high = max(float(column.max(initial=0)) for column in columns)
        if low < 0 or high > 65535:
            log.warning("%s: colours left out: their values go from %g to %g", name, low, high)
            return None
        whole = all(np.issubdtype(column.dtype, np.integer) for column in columns)
        scale = 255.0 if high <= 1 and not whole else 1.0 if high <= 255 else 1 / 257  # 65535 -> 255
        for axis, column in enumerate(columns):
            colors[:, axis] = np.rint(column.astype(np.float64) * scale)
    if not colors.any():
        log.info("%s: colours left out: all are black", name)
        return None
    return colors


def guess_names(values: FloatArray, intensity_first: bool) -> list[str]:
    """Names for the columns of a table (N, C >= 3) that has none, from the ranges of their values: those of `guess`."""
    return guess(values, intensity_first)[0]


def guess(values: FloatArray, intensity_first: bool) -> tuple[list[str], str]:
    """Names for the columns of a table (N, C >= 3) that has none, and what else they might be ("" where nothing speaks for that).

    The first three are coordinates, after what `columns_before` finds. Then, from left to right: three columns of unit length are
    normals, three of 0..255 or 0..1 are colours, any other column is a value on its own. Of four columns of bytes at the end, three
    are colours. intensity_first: the column after the coordinates is an intensity if exactly four are left (the layout of PTS).
    """
    total, sample = values.shape[1], sampled(values)
    names, doubt = columns_before(values)
    names += ["x", "y", "z"]
    scalars, points = 0, sample[:, len(names) - 3 : len(names)]
    if intensity_first and total - len(names) == 4:
        names.append("intensity")
    while len(names) < total:
        rest = sample[:, len(names) :]
        triple = rest[:, :3]
        if triple.shape[1] == 3 and len(triple):
            if "nx" not in names and are_normals(triple):
                names += ["nx", "ny", "nz"]
                continue
            if "red" not in names and _are_colors(triple):
                if rest.shape[1] in (4, 5) and _are_bytes(rest) and (rest.shape[1] == 4 or (rest[:, 4] == 255).all()):
                    four, other = _colors_of_four(points, rest[:, :4])
                    names, doubt = names + four, doubt or other
                else:
                    names += ["red", "green", "blue"]
                continue
        if names[-1] == "blue" and len(rest) and (rest[:, 0] == (1 if sample[:, len(names) - 3 : len(names)].max() <= 1 else 255)).all():
            names.append("alpha")
            continue
        scalars += 1
        names.append("intensity" if scalars == 1 and "intensity" not in names else f"value{scalars}")
    return names, doubt


def _colors_of_four(points: FloatArray, four: FloatArray) -> tuple[list[str], str]:
    """Names of four columns of bytes (N, 4): colours with an opacity behind, or a value before or behind; and another way to name them.

    What is no colour has few values, or goes less with the two columns in the middle, which are colours either way.
    """
    colors = ["red", "green", "blue"]
    if (four[:, 3] == 255).all():
        return [*colors, "alpha"], ""
    number = [len(np.unique(column)) for column in four.T]
    if 2 * number[3] < min(number[:3]):
        return [*colors, "intensity"], ""
    first, last = (_goes_with(points, four[:, column], four[:, 1:3]) for column in (0, 3))
    sure = max(_SURE, 2 / np.sqrt(len(four)))  # by chance few rows are like others
    if 2 * number[0] < min(number[1:]) or last > first + sure:
        return ["intensity", *colors], ""
    if first > last + sure:
        return [*colors, "intensity"], ""
    return ["intensity", *colors], "the last four may be red green blue intensity"


def _goes_with(points: FloatArray, column: FloatArray, colors: FloatArray) -> float:
    """How much a column (N,) is like colours (N, K) of points (N, 3): by correlation, and in how it varies among near points."""
    columns = np.column_stack([column, colors])
    columns = columns - columns.mean(axis=0)
    spread = columns.std(axis=0)
    columns /= np.where(spread > 0, spread, 1)
    likeness = float((columns[:, :1] * columns[:, 1:]).mean())
    points = points / (np.abs(points).max() or 1)
    low, high = np.percentile(points, (2, 98), axis=0)
    side = float((high - low).max()) * np.sqrt(_IN_A_CELL / len(points)) or 1.0
    cells = np.unique(np.clip((points - low) / side, -1, len(points)).astype(np.int64), axis=0, return_inverse=True)[1].ravel()
    count = np.bincount(cells)
    means = np.column_stack([np.bincount(cells, one) / count for one in columns.T])
    within = ((columns - means[cells]) ** 2).mean(axis=0)
    return likeness - float(np.abs(within[1:] - within[0]).mean())


def _are_bytes(values: FloatArray) -> bool:
    return bool((values == np.rint(values)).all()) and bool(values.min() >= 0) and bool(values.max() <= 255)


def _are_colors(triple: FloatArray) -> bool:
    low, high = triple.min(), triple.max()
    whole = bool((triple == np.rint(triple)).all())
    return bool(low >= 0) and bool(high > 0) and (bool(high <= 1) or (whole and bool(high <= 255)))


def _take(named: dict[str, Column], triples: Sequence[tuple[str, str, str]]) -> list[Column] | None:
    for triple in triples:
        if all(key in named and named[key].ndim == 1 for key in triple):
            return [named.pop(key) for key in triple]
    return None


def _float64(triple: Sequence[Column]) -> FloatArray:
    out = np.empty((len(triple[0]), 3), dtype=np.float64)
    for axis, column in enumerate(triple):
        out[:, axis] = column
    return out


def said(names: Sequence[str]) -> str:
    """Names of columns for a message, those left out as "-", and of many only the first."""
    words = " ".join(printable(name[:_LONGEST_NAME]) or "-" for name in names[:_MOST_SAID])
    return words if len(names) <= _MOST_SAID else f"{words} ... and {len(names) - _MOST_SAID:,} more"


def first_of(arrays: Mapping[str, object], names: Sequence[str]) -> str | None:
    """The first of `names` that is a key, compared without case and punctuation, as it is spelt there."""
    known = {plain(key): key for key in reversed(list(arrays))}
    return next((known[name] for name in names if name in known), None)
