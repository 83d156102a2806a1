"""Units of length, and how large a mesh is for a slicer: the program that prepares it for a printer."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from lpdif.errors import UsageError
from lpdif.types import Mesh

log = logging.getLogger("lpdif")


class Unit(NamedTuple):
    """What 3MF calls a unit, and how many millimetres it has."""

    name: str
    millimetres: float


UNITS = {"mm": Unit("millimeter", 1.0), "cm": Unit("centimeter", 10.0), "m": Unit("meter", 1000.0), "in": Unit("inch", 25.4)}
PRINTED_FORMATS = {"stl": "STL", "3mf": "3MF"}  # formats that slicers read
# PrusaSlicer, too, takes what is smaller for a mesh in inches or metres: a nozzle is 0.4 mm wide.
SMALLEST_PRINT = 3.0  # millimetres


def unit_of(name: str) -> Unit:
    """The unit of this name. Raises UsageError for another one."""
    if name not in UNITS:
        raise UsageError(f"unit {name!r} is not known", f"use {', '.join(UNITS)}")
    return UNITS[name]


def tell_print_size(mesh: Mesh, kind: str, units: str | None) -> None:
    """Logs how large a slicer will take the mesh to be, with a warning where that is too small to be printed.

    kind: of the file, one of PRINTED_FORMATS. STL has no unit, and slicers take millimetres.
    """
    if kind not in PRINTED_FORMATS or not len(mesh.vertices):
        return
    unit = unit_of(units) if units else UNITS["mm"]
    sides = np.ptp(mesh.vertices, axis=0) * (unit.millimetres if kind == "3mf" else 1.0)
    size = " x ".join(f"{float(f'{side:.3g}'):,.12g}" for side in sides)  # 2,020 and not 2.02e+03
    log.info("a slicer takes this %s to be %s mm large", PRINTED_FORMATS[kind], size)
    longest = float(sides.max())
    if longest >= SMALLEST_PRINT:
        return
    if units in (None, "mm"):
        far = "--units m" if kind == "3mf" else "--scale 1000"
        remedy = f"if the scan is in metres, pass {far}, which makes it {1000 * longest:.3g} mm"
    elif kind == "stl":
        remedy = f"--scale {unit.millimetres:g} makes millimetres of {units}"
    else:
        remedy = "--scale enlarges it"
    log.warning("a slicer will take this mesh to be %.2g mm long, too small to print: %s", longest, remedy)
