"""Gaussian splats in PLY: points that are the centres of Gaussians, their colours the constant part of spherical harmonics."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

from lpdif.io.table.columns import Column

_CONSTANT = 0.28209479177387814  # the spherical harmonic of degree 0: 1 / (2 sqrt(pi))
_COLORS = ("f_dc_0", "f_dc_1", "f_dc_2")
_SHAPE = re.compile(r"f_dc_\d+|f_rest_\d+|opacity|scale_\d+|rot_\d+")  # what draws a Gaussian, and is no value of a point


def is_splat(names: Collection[str]) -> bool:
    """Whether properties of these names are those of a Gaussian splat."""
    return {*_COLORS, "opacity", "scale_0", "rot_0"} <= set(names)


def is_compressed_splat(names: Collection[str]) -> bool:
    """Whether properties of these names are those of a splat as PlayCanvas packs it."""
    return "packed_position" in names


def as_points(columns: dict[str, Column]) -> dict[str, Column]:
    """The properties (N,) of a splat's centres, by name: red, green and blue, fractions of one, for all that draws its Gaussians."""
    out = {name: column for name, column in columns.items() if not _SHAPE.fullmatch(name)}
    for name, constant in zip(("red", "green", "blue"), _COLORS, strict=True):
        with np.errstate(over="ignore", invalid="ignore"):
            out.setdefault(name, np.clip(0.5 + _CONSTANT * columns[constant].astype(np.float64), 0.0, 1.0))
    return out
