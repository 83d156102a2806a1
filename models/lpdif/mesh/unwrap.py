"""Texture coordinates of a mesh, by xatlas: it is cut into charts, which are flattened and packed into a square.

Letters: F faces.
"""

from __future__ import annotations

import importlib.util
import logging
from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.errors import InputError, ResourceError
from lpdif.geometry import Surface, face_areas
from lpdif.types import Scan

log = logging.getLogger("lpdif")


class UnwrapSettings(NamedTuple):
    """How charts are packed."""

    padding: int = 4  # So many texels lie between two charts, so that neither takes colours of the other on a smaller copy of the texture.
    many_faces: int = 200_000  # A mesh of more faces takes minutes.


UNWRAP = UnwrapSettings()


def check_texture(scan: Scan, size: int | None) -> None:
    """Raises InputError where a texture is asked for and the scan has no colours, ResourceError where xatlas is not installed."""
    if size is None:
        return
    if scan.colors is None:
        raise InputError(f"{scan.name}: has no colours, which a texture would show", "leave out --texture, or give a scan with colours")
    if importlib.util.find_spec("xatlas") is None:
        raise ResourceError("a texture needs the package xatlas, which is not installed", "pip install xatlas; or leave out --texture")


def unwrap(surface: Surface, size: int) -> FloatArray:
    """(F, 3, 2) texture coordinates of the corners, from 0 to 1, for a texture of size x size texels. The second one runs upwards.

    Faces do not overlap, and there is room between charts. Raises InputError where xatlas gives up.
    """
    import xatlas

    if len(surface.faces) > UNWRAP.many_faces:
        log.warning("to unwrap %s faces takes long: --faces 20000 makes fewer", f"{len(surface.faces):,}")
    # xatlas works in single precision, and leaves out faces below a fixed area: so a typical face gets the area 1
    area = float(np.median(face_areas(surface)))
    center = 0.5 * (surface.vertices.min(axis=0) + surface.vertices.max(axis=0))
    positions = (surface.vertices - center) / np.sqrt(area if area > 0 else 1.0)
    atlas = xatlas.Atlas()
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = size, UNWRAP.padding, True
    try:
        atlas.add_mesh(positions.astype(np.float32), surface.faces.astype(np.uint32))
        atlas.generate(xatlas.ChartOptions(), packing)
        _, corner, coordinates = atlas[0]
    except (RuntimeError, ValueError, IndexError) as error:
        raise InputError(f"the mesh cannot be unwrapped for a texture: {error}", "leave out --texture") from None
    if corner.shape != surface.faces.shape or atlas.atlas_count != 1:
        raise InputError("the mesh cannot be unwrapped for a texture: xatlas has left out faces", "leave out --texture")
    left = UNWRAP.padding * size / max(atlas.width, atlas.height)
    if left < 1:  # colours of two charts run into each other
        log.warning("a texture of %d texels is too small for %s charts: give a larger --texture", size, f"{atlas.chart_count:,}")
    return np.asarray(coordinates[corner], np.float64)
