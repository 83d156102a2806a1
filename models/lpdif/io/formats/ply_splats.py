"""Gaussian splats in PLY, plain or compressed: points are the centres of Gaussians, with the colours that they have from all sides."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import IntArray
from lpdif.io.source import DOWNLOAD_AGAIN, Source
from lpdif.io.table.columns import Column
from lpdif.text import counted
from lpdif.types import MINIMUM_POINTS

log = logging.getLogger("lpdif")

_HARMONIC_0 = 0.28209479177387814  # the spherical harmonic of degree 0: 1 / (2 sqrt(pi))
_COLOR_COEFFICIENTS = ("f_dc_0", "f_dc_1", "f_dc_2")
_LEAST_OPACITY = 0.1  # Fainter Gaussians are fog that fits single pictures, and no surface
_DRAWING_NAMES = re.compile(r"f_dc_\d+|f_rest_\d+|opacity|scale_\d+|rot_\d+")  # properties that draw a Gaussian and are no values of a point

_CHUNK = 256  # PlayCanvas packs the coordinates of so many Gaussians into the box around these.
_PACKED_BITS = {"x": (21, 11), "y": (11, 10), "z": (0, 11)}  # of a packed position: the lowest bit of each coordinate, and its bits
_COLOR_SHIFTS = {"r": 24, "g": 16, "b": 8}  # of a packed colour, whose last byte is the opacity


def points_of_splat(source: Source, vertices: Mapping[str, Column], chunks: Mapping[str, Column]) -> dict[str, Column]:
    """The columns (N,) of the points of a PLY file: those of its vertices, but the solid centres where these are Gaussians.

    chunks: those of the element chunk, which compressed splats have. Raises InputError where it has too few rows.
    """
    compressed = is_compressed_splat(vertices)
    if not compressed and not is_splat(vertices):
        return dict(vertices)
    log.info("%s: a Gaussian splat: the centres of its Gaussians are taken as points", source.name)
    if compressed:
        columns, opacity = _unpacked(source, vertices, chunks)
    else:
        columns, opacity = splat_centres(vertices), vertices["opacity"]
    solid = opaque_rows(opacity)
    if not solid.all():
        log.info("%s: %s left out: opacity below %g", source.name, counted(int((~solid).sum()), "Gaussian"), _LEAST_OPACITY)
    return {name: column[solid] for name, column in columns.items()}


def is_splat(names: Collection[str]) -> bool:
    """Whether properties of these names are those of a Gaussian splat."""
    return {*_COLOR_COEFFICIENTS, "opacity", "scale_0", "rot_0"} <= set(names)


def is_compressed_splat(names: Collection[str]) -> bool:
    """Whether properties of these names are those of a splat that PlayCanvas has compressed."""
    return {"packed_position", "packed_color"} <= set(names)


def opaque_rows(opacity: Column) -> NDArray[np.bool_]:
    """(N,) Gaussians that stop some light, by their opacity (N,) as splats store it: the logit of a share.

    All are kept where too few would be left for a scan.
    """
    solid = ~(opacity.astype(np.float64) < np.log(_LEAST_OPACITY / (1 - _LEAST_OPACITY)))
    return solid if solid.sum() >= MINIMUM_POINTS else np.ones(len(solid), np.bool_)


def splat_centres(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The properties (N,) of the centres of Gaussians, by name.

    Red, green and blue, from 0 to 1, take the place of the properties that draw Gaussians.
    """
    out = {name: column for name, column in columns.items() if not _DRAWING_NAMES.fullmatch(name)}
    for name, constant in zip(("red", "green", "blue"), _COLOR_COEFFICIENTS, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            out.setdefault(name, np.clip(0.5 + _HARMONIC_0 * columns[constant].astype(np.float64), 0.0, 1.0))
    return out


def _unpacked(source: Source, vertices: Mapping[str, Column], chunks: Mapping[str, Column]) -> tuple[dict[str, Column], Column]:
    """Coordinates, colours from 0 to 1 and the logit of the opacity (N,) of a compressed splat.

    Positions are fractions of the box of their chunk, and colours those of its range where it has one.
    """
    position, color = (vertices[name].astype(np.uint32) for name in ("packed_position", "packed_color"))
    needed = [f"{end}_{axis}" for axis in _PACKED_BITS for end in ("min", "max")]
    rows = np.arange(len(position)) // _CHUNK
    there = min((len(chunks[name]) for name in needed if name in chunks), default=0) if set(needed) <= set(chunks) else 0
    if len(rows) and rows[-1] >= there:
        raise source.error(f"a compressed splat of {counted(len(rows), 'Gaussian')} in {counted(there, 'chunk')} of {_CHUNK}", DOWNLOAD_AGAIN)
    out: dict[str, Column] = {}
    for axis, (shift, bits) in _PACKED_BITS.items():
        fraction = ((position >> shift) & (2**bits - 1)) / (2**bits - 1)
        out[axis] = _between(chunks, axis, rows, fraction)
    for name, shift in _COLOR_SHIFTS.items():
        fraction = ((color >> shift) & 255) / 255
        if {f"min_{name}", f"max_{name}"} <= set(chunks):
            fraction = np.clip(_between(chunks, name, rows, fraction), 0.0, 1.0)
        out[name] = fraction
    share = (color & 255) / 255
    with np.errstate(divide="ignore"):
        return out, np.log(share / (1 - share))


def _between(chunks: Mapping[str, Column], name: str, rows: IntArray, fraction: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values (N,) at fractions of the range that their chunks (N,) have."""
    low, high = (chunks[f"{end}_{name}"].astype(np.float64)[rows] for end in ("min", "max"))
    out: NDArray[np.float64] = low + (high - low) * fraction
    return out
