"""Columns with names to a Scan: which are coordinates, normals, colours, and what is left over."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray
from lpdif.errors import InputError
from lpdif.io.source import Source, printable
from lpdif.io.table.axis_names import are_degrees, coordinates_among, is_no_coordinate, says_an_axis
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

Column = NDArray[np.generic]

# what programs call normals and colours; compared after `plain`
_NORMAL_NAMES = (
    ("nx", "ny", "nz"),
    ("normal_x", "normal_y", "normal_z"),
    ("normalx", "normaly", "normalz"),
    ("normals_x", "normals_y", "normals_z"),
    ("normals_0", "normals_1", "normals_2"),
    ("n_x", "n_y", "n_z"),
)
_COLOR_NAMES = (
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
_PART_NAMES = {
    **dict.fromkeys(("points", "point", "position", "positions", "pos", "coords", "coordinates", "vertices", "location"), ("x", "y", "z")),
    **dict.fromkeys(("normals", "normal", "n"), ("nx", "ny", "nz")),
    **dict.fromkeys(("colors", "color", "colours", "colour"), ("red", "green", "blue")),
}
# values that belong to others, and mean nothing without these: opacities to colours, texture coordinates to pictures
_OPACITIES = {"alpha", "a", "diffuse_alpha"}
_TEXTURES = ({"s", "t"}, {"u", "v"}, {"texture_u", "texture_v"})
_LONGEST_NAME = 100
_MOST_LISTED = 12  # names in a message
_UNIT = re.compile(r"[\[(][^\])]*[\])]")
_PUNCTUATION = re.compile(r"[^0-9a-z]+")


def plain(name: str) -> str:
    """A column name without case, accents, units and punctuation: "//X [m]" is "x", "Points:0" is "points_0", "Höhe" is "hohe"."""
    name = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return _PUNCTUATION.sub("_", _UNIT.sub("", name.lower())).strip("_")


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
        log.info("%s: x, y and z are its columns %s", source.name, list_names([spelt[key] for key in axes]))
    if "depth" in axes[2].split("_"):
        log.warning("%s: z is a depth, taken as it is: where depths grow downwards, the mesh is a mirror image", source.name)
    points = _float64([named.pop(key) for key in axes])
    normals = _take(named, _NORMAL_NAMES)
    colors = _take(named, _COLOR_NAMES)
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
    parts = list(_PART_NAMES.get(key, key if set(key) <= set("xyzirgba") else ""))
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
    taken = {name for triple in (*_NORMAL_NAMES, *_COLOR_NAMES) if set(triple) <= set(known) for name in triple}
    left = [column for column, name in enumerate(known) if name not in taken and not is_no_coordinate(name)]
    if len(left) < 3 or says_an_axis(known):
        raise no_coordinates(source, names)
    return left


def no_coordinates(source: Source, names: Sequence[str]) -> InputError:
    """The error of columns that are called anything but x, y and z."""
    listed = printable(", ".join(name[:_LONGEST_NAME].strip() for name in names if name.strip()))[:120] or "none"
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


def list_names(names: Sequence[str]) -> str:
    """Names of columns for a message, those left out as "-", and of many only the first."""
    words = " ".join(printable(name[:_LONGEST_NAME]) or "-" for name in names[:_MOST_LISTED])
    return words if len(names) <= _MOST_LISTED else f"{words} ... and {len(names) - _MOST_LISTED:,} more"


def first_of(arrays: Mapping[str, object], names: Sequence[str]) -> str | None:
    """The first of `names` that is a key, compared without case and punctuation, as it is spelt there."""
    known = {plain(key): key for key in reversed(list(arrays))}
    return next((known[name] for name in names if name in known), None)
