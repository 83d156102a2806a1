"""Makes a Scan of named columns: coordinates, normals, colours and places of the sensor, and the others as values."""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import FloatArray
from lpdif.errors import InputError
from lpdif.io.source import Source
from lpdif.io.table.axis_names import are_degrees, are_polar, coordinates_among, is_no_coordinate, says_an_axis
from lpdif.io.table.colors import PACKED_NAMES, colors_of, packed_colors
from lpdif.text import counted, printable
from lpdif.types import Scan

log = logging.getLogger("lpdif")

Column = NDArray[np.generic]

# the names that programs give to normals, sensors and colours, as `plain` writes them
_NORMAL_NAMES = (
    ("nx", "ny", "nz"),
    ("normal_x", "normal_y", "normal_z"),
    ("normalx", "normaly", "normalz"),
    ("normals_x", "normals_y", "normals_z"),
    ("normals_0", "normals_1", "normals_2"),
    ("n_x", "n_y", "n_z"),
)
# those of the place from which a point was seen
_SENSOR_NAMES = (
    ("sensor_x", "sensor_y", "sensor_z"),
    ("vpx", "vpy", "vpz"),
    ("vp_x", "vp_y", "vp_z"),
    ("viewpoint_x", "viewpoint_y", "viewpoint_z"),
    ("scan_origin_x", "scan_origin_y", "scan_origin_z"),
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
    ("rot", "grun", "blau"),
    ("rouge", "vert", "bleu"),
    ("rojo", "verde", "azul"),
    ("rosso", "verde", "blu"),
)
# names of fields with several values a point, and the names of these values; in a name such as "xyzi" each letter names a value
_PART_NAMES = {
    **dict.fromkeys(("points", "point", "position", "positions", "pos", "coords", "coordinates", "vertices", "location"), ("x", "y", "z")),
    **dict.fromkeys(("normals", "normal", "n"), ("nx", "ny", "nz")),
    **dict.fromkeys(("sensor", "sensor_position", "viewpoint", "scan_origin"), ("sensor_x", "sensor_y", "sensor_z")),
    **dict.fromkeys(("colors", "color", "colours", "colour"), ("red", "green", "blue")),
}
# values that are left out: opacities, which belong to colours, and texture coordinates, which belong to pictures
_OPACITIES = {"alpha", "a", "diffuse_alpha"}
_TEXTURES = ({"s", "t"}, {"u", "v"}, {"texture_u", "texture_v"})
_LONGEST_NAME = 100  # letters of a column name that are used
_MOST_LISTED = 12  # So many names of columns are in a message, at most.
_MOST_DEGREES = 180.0  # of longitude
_METRES_BESIDE_DEGREES = 300.0  # Heights spread so many times as far as x and y where these are degrees: one has 111,000 metres.
_UNIT = re.compile(r"[\[(][^\])]*[\])]")
_PUNCTUATION = re.compile(r"[^0-9a-z]+")


def plain(name: str) -> str:
    """A column name without capitals, accents, units and punctuation.

    "//X [m]" is "x", "Points:0" is "points_0", "Höhe" is "hohe".
    """
    name = "".join(letter for letter in unicodedata.normalize("NFKD", name) if not unicodedata.combining(letter))
    return _PUNCTUATION.sub("_", _UNIT.sub("", name.lower())).strip("_")


def scan_of_columns(
    source: Source,
    names: Sequence[str],
    columns: Sequence[Column],
    faces: NDArray[np.int64] | None = None,
    sensor: FloatArray | None = None,
) -> Scan:
    """The Scan of named columns, each (N,) or (N, k); of two columns with the same name the first counts.

    Raises InputError where no three columns are coordinates.
    """
    named: dict[str, Column] = {}
    spelt: dict[str, str] = {}
    for name, column in zip(names, columns, strict=True):
        name = printable(name[:_LONGEST_NAME])
        key, spelling = plain(name), name.strip().strip("/#\"'").strip()
        if key in named and spelling not in spelt.values():  # two names that differ by their spelling only
            key = spelling
        if key and key not in named:
            named[key], spelt[key] = column, spelling
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
    if _may_be_degrees(points):
        log.warning("%s: x and y may be degrees of longitude and latitude: then project them to metres first, to UTM say", source.name)
    normals = _take(named, _NORMAL_NAMES)
    colors = _take(named, _COLOR_NAMES) or _take_packed(named)
    places = _take(named, _SENSOR_NAMES)
    left_out = {key for pair in _TEXTURES if pair <= set(named) for key in pair} | (_OPACITIES if colors is not None else set())
    extras = {spelt[key]: np.ascontiguousarray(column) for key, column in named.items() if key not in left_out and column.ndim == 1}
    return Scan(
        points=points,
        normals=None if normals is None else normals_of(normals, source.name),
        colors=None if colors is None else colors_of(colors, source.name),
        extras=extras,
        faces=faces,
        sensor=sensor if places is None else _sensor_of(places, source.name, sensor),
        name=source.name,
    )


def parts_named(name: str, number: int) -> list[str] | None:
    """The names of the `number` (> 1) values a point of a field: x, y and z for "xyz".

    None where the field's name does not tell them.
    """
    key = plain(name[:_LONGEST_NAME])
    parts = list(_PART_NAMES.get(key, key if set(key) <= set("xyzirgba") else ""))
    return [*parts, *[""] * (number - len(parts))] if 3 <= len(parts) <= number else None


def coordinates_named(names: Sequence[str]) -> bool:
    """Whether the names of columns tell which are the coordinates."""
    known = [plain(name[:_LONGEST_NAME]) for name in names]
    return coordinates_among(known) is not None or are_degrees(names)


def coordinate_columns(names: Sequence[str]) -> list[int]:
    """The places of the columns x, y and z; an empty list where the names do not tell them."""
    known = [plain(name[:_LONGEST_NAME]) for name in names]
    return [known.index(name) for name in coordinates_among(known) or ()]


def may_be_coordinates(source: Source, names: Sequence[str]) -> list[int]:
    """The places of the columns that may be coordinates though their names do not tell.

    Raises InputError where there are fewer than three, and where the names tell two coordinates but not the third.
    """
    known = [plain(name[:_LONGEST_NAME]) for name in names]
    taken = {name for triple in (*_NORMAL_NAMES, *_COLOR_NAMES, *_SENSOR_NAMES) if set(triple) <= set(known) for name in triple}
    polar = are_polar(known)
    left = [column for column, name in enumerate(known) if name not in taken | polar and not is_no_coordinate(name)]
    if polar and len(left) < 3:
        what = f"its columns are a distance and angles, as a scanner measures: {list_names(names)}"
        raise source.error(what, "export x, y and z: which way the angles go is not told")
    if len(left) < 3 or says_an_axis(known):
        raise no_coordinates(source, names)
    return left


def no_coordinates(source: Source, names: Sequence[str]) -> InputError:
    """The error of columns none of which is named as a coordinate."""
    listed = printable(", ".join(name[:_LONGEST_NAME].strip() for name in names if name.strip()))[:120] or "none"
    return source.error(f"no columns x, y and z; its columns are {listed}", "name the columns of the coordinates x, y and z")


def _take(named: dict[str, Column], triples: Sequence[tuple[str, str, str]]) -> list[Column] | None:
    """Takes the first of these triples that is there out of `named`; None where none is."""
    for triple in triples:
        if all(key in named and named[key].ndim == 1 for key in triple):
            return [named.pop(key) for key in triple]
    return None


def _may_be_degrees(points: FloatArray) -> bool:
    """Whether x and y of points (N, 3) are in the range of angles on Earth, and z spreads far more, as metres beside degrees."""
    finite = points[np.isfinite(points).all(axis=1)]
    if not len(finite) or np.abs(finite[:, :2]).max() > _MOST_DEGREES:
        return False
    low, high = np.percentile(finite, (1, 99), axis=0)
    spread = high - low
    return bool(spread[2] > _METRES_BESIDE_DEGREES * spread[:2].max() > 0)


def _take_packed(named: dict[str, Column]) -> Sequence[Column] | None:
    """Red, green and blue of a column that holds whole colours, which is taken out of `named`; None where none does."""
    for key in PACKED_NAMES:
        if key in named and named[key].ndim == 1 and (colors := packed_colors(named[key])) is not None:
            del named[key]
            return colors
    return None


def normals_of(columns: Sequence[Column], name: str) -> FloatArray | None:
    """Normals (N, 3) of three columns; None, with a message, where all are zero, as programs write that have none."""
    normals = _float64(columns)
    if normals.any():
        return normals
    log.info("%s: normals left out: all are zero", name)
    return None


def _sensor_of(places: Sequence[Column], name: str, other: FloatArray | None) -> FloatArray | None:
    """The place (N, 3) from which each point was seen; `other`, with a message, where a coordinate of one is missing or all are zero.

    Programs write zeros where they do not know the place.
    """
    sensor = _float64(places)
    missing = int((~np.isfinite(sensor)).any(axis=1).sum())
    if missing:
        log.warning("%s: places of the sensor left out: %s without one", name, counted(missing, "point"))
    elif sensor.any():
        log.info("%s: each point has the place of its sensor", name)
        return sensor
    return other


def _float64(triple: Sequence[Column]) -> FloatArray:
    """Three columns (N,) as one array (N, 3)."""
    out = np.empty((len(triple[0]), 3), dtype=np.float64)
    for axis, column in enumerate(triple):
        out[:, axis] = column
    return out


def list_names(names: Sequence[str]) -> str:
    """The names of columns for a message: "-" for those without a name, and of many only the first."""
    words = " ".join(printable(name[:_LONGEST_NAME]) or "-" for name in names[:_MOST_LISTED])
    return words if len(names) <= _MOST_LISTED else f"{words} ... and {len(names) - _MOST_LISTED:,} more"


def first_of(arrays: Mapping[str, object], names: Sequence[str]) -> str | None:
    """The key, as it is spelt, of the first of `names` that is one; compared as `plain` writes them.

    None where none is.
    """
    known = {plain(key): key for key in reversed(list(arrays))}
    return next((known[name] for name in names if name in known), None)
