"""Finds the columns x, y and z by their names.

"PosY", "pose.position.y", "Northing", "Altitude" and "Hochwert" are names of axes; they are compared as `columns.plain` writes them. A name
without the word of its axis is its stem. All three axes have the same stem, but a height may have another one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_HORIZONTAL = (
    ("x", "y"),
    ("0", "1"),
    ("easting", "northing"),
    ("east", "north"),
    ("e", "n"),
    ("rechtswert", "hochwert"),
    ("rechts", "hoch"),
    ("ostwert", "nordwert"),
)
_HEIGHTS = ("altitude", "alt", "elevation", "elev", "height", "hoehe", "hohe", "up", "depth")
_VERTICAL = {"0": ("2",), "e": ("z", *_HEIGHTS, "h", "u")}
_VERTICAL_ELSE = ("z", *_HEIGHTS, "h")
_AXIS_WORDS = {word for pair in _HORIZONTAL for word in pair} | {"2", "h", "u", *_HEIGHTS}
# words in the stems of positions, and in the stems of other vectors
_POSITION_WORDS = {
    "p", "pos", "position", "positions", "point", "points", "coord", "coords", "coordinate", "coordinates", "cartesian", "xyz",
    "location", "loc", "center", "centre", "vertex", "vertices", "field",
}  # fmt: skip
_OTHER_WORDS = {
    "n", "norm", "normal", "normals", "v", "vel", "velocity", "u", "w", "omega", "angular", "linear", "a", "acc", "accel", "acceleration",
    "q", "quat", "quaternion", "orientation", "r", "rot", "rotation", "gyro", "mag", "b", "dir", "direction", "ray", "flow", "force", "f",
    "d", "delta", "s", "scale", "size", "std", "sd", "sigma", "var", "cov", "covariance", "err", "error", "accuracy", "precision",
    "color", "colors", "rgb", "angle", "above", "agl", "rate",
}  # fmt: skip
_NEVER_COORDINATES = {
    "", "time", "timestamp", "stamp", "date", "sec", "secs", "nsec", "nsecs", "seconds", "seq", "frame", "id", "ids", "fid", "pid", "oid",
    "index", "idx", "no", "nr", "num", "number", "intensity", "reflectance", "reflectivity", "amplitude", "class", "classification",
    "label", "return", "ring",
}  # fmt: skip
_LATITUDES = {"lat", "lati", "latitude"}
_LONGITUDES = {"lon", "lng", "long", "longi", "longitude"}
# words for what polar coordinates are made of
_ANGLES = {"azimuth", "azimut", "az", "zenith", "elevation", "elev", "inclination", "theta", "phi", "hz", "v", "bearing", "yaw", "pitch"}
_DISTANCES = {"range", "distance", "dist", "r", "radius", "rho", "strecke", "sd"}
_NAME_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")  # "GPSLat_deg" is GPS, Lat, deg

Triple = tuple[str, str, str]


def coordinates_among(names: Sequence[str]) -> Triple | None:
    """The names of x, y and z among plain names of columns; None where no three names are those of axes.

    Names without a stem are preferred, then those whose stem is that of a position, then those that come first.
    """
    found: dict[tuple[str, str], str] = {}
    for name in names:
        for word, stem in _readings(name):
            found.setdefault((word, stem), name)
    heights = [name for (word, stem), name in found.items() if word in _HEIGHTS]
    best: tuple[tuple[int, int], Triple] | None = None
    for (word, stem), first in found.items():
        for x, y in _HORIZONTAL:
            second = found.get((y, stem))
            if word != x or second is None or (x == "0" and _rank(stem) != 1):
                continue
            vertical = _VERTICAL.get(x, _VERTICAL_ELSE)
            third = next((found[z, stem] for z in vertical if (z, stem) in found), None)
            apart = third is None
            if third is None:
                third = next((found[z, "*"] for z in vertical if (z, "*") in found), heights[0] if len(heights) == 1 else None)
            rank = (_rank(stem), int(apart))
            if third is not None and len({first, second, third}) == 3 and (best is None or rank < best[0]):
                best = rank, (first, second, third)
    return best[1] if best else None


def says_an_axis(names: Sequence[str]) -> bool:
    """Whether two of the plain names of columns are those of horizontal axes."""
    found = {reading for name in names for reading in _readings(name)}
    return any((y, stem) in found for word, stem in found for x, y in _HORIZONTAL if word == x and x != "0")


def is_no_coordinate(name: str) -> bool:
    """Whether a plain name is that of a value that cannot be a coordinate.

    Such are times and the numbers of rows.
    """
    return any(word in _NEVER_COORDINATES or word.endswith(("time", "timestamp")) for word in name.split("_"))


def are_polar(names: Sequence[str]) -> set[str]:
    """The plain names that are a distance or an angle, where there are two angles and a distance; an empty set else."""
    words = {name: set(name.split("_")) for name in names}
    angles, distances = ({name for name, some in words.items() if some & known} for known in (_ANGLES, _DISTANCES))
    return angles | distances if len(angles) >= 2 and distances else set()


def are_degrees(names: Sequence[str]) -> bool:
    """Whether names, as the file spells them, contain words for latitude and longitude.

    "PosLat" and "PosLng" do.
    """
    words = {word.lower() for name in names for word in _NAME_WORD.findall(name)}
    return bool(words & _LATITUDES) and bool(words & _LONGITUDES)


def _readings(name: str) -> list[tuple[str, str]]:
    """The ways to read a name: each an axis and a stem, with a star in place of the axis.

    Stems of other vectors are left out.
    """
    words = name.split("_")
    out: list[tuple[str, str]] = []
    for place, word in enumerate(words):
        before, after = "".join(f"{w}_" for w in words[:place]), "".join(f"_{w}" for w in words[place + 1 :])
        if word in _AXIS_WORDS:
            out.append((word, f"{before}*{after}"))
            continue
        if word[:1] in ("x", "y", "z"):
            out.append((word[0], f"{before}*{word[1:]}{after}"))
        if len(word) > 1 and word[-1] in "xyz":
            out.append((word[-1], f"{before}{word[:-1]}*{after}"))
    return [(word, stem) for word, stem in out if _rank(stem) < 3]


def _rank(stem: str) -> int:
    """The rank of a stem, the lower the better.

    0: without words; 1: with the word of a position; 2: with unknown words; 3: with the word of another vector.
    """
    words = {word for word in stem.replace("*", "_").split("_") if word}
    return 3 if words & _OTHER_WORDS else 1 if words & _POSITION_WORDS else 2 if words else 0
