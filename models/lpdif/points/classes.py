"""The points of some classes, as LAS files number them: ground is 2, buildings 6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lpdif.errors import InputError
from lpdif.types import Scan

_NAMES = ("classification", "class", "scalar_classification")  # of columns that hold classes, in small letters


def of_classes(scan: Scan, classes: Sequence[int]) -> Scan:
    """The points of a scan that are of one of these classes; the scan itself where none is named.

    Raises InputError where its points have no classes, or none of them is of these.
    """
    if not classes:
        return scan
    if scan.faces is not None and len(scan.faces):
        raise InputError(f"{scan.name}: a mesh, but classes are of points", "leave --classes out")
    of = next((values for name, values in scan.extras.items() if name.lower() in _NAMES), None)
    if of is None:
        columns = ", ".join(scan.extras) or "none"
        raise InputError(f"{scan.name}: its points have no classes (values: {columns[:80]})", "leave --classes out")
    chosen = np.isin(of, classes)
    if not chosen.any():
        there = " ".join(f"{value:g}" for value in np.unique(of)[:20])
        raise InputError(f"{scan.name}: no point of class {' or '.join(map(str, classes))}", f"its classes are {there}")
    return replace(
        scan,
        points=scan.points[chosen],
        normals=None if scan.normals is None else scan.normals[chosen],
        colors=None if scan.colors is None else scan.colors[chosen],
        extras={name: values[chosen] for name, values in scan.extras.items()},
        sensor=scan.sensor[chosen] if scan.sensor is not None and scan.sensor.ndim == 2 else scan.sensor,
        faces=None,
    )
