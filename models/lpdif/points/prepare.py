"""From a scan to clean, oriented points: what every reconstruction starts with.

What `measuring` has left and measured gets its normals checked, repaired or made. Every decision is logged. N points that are left.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lpdif.arrays import FloatArray, IntArray
from lpdif.points.measure import measure
from lpdif.points.orientation.orient import outward_normals
from lpdif.points.orientation.oriented_cloud import Cloud
from lpdif.types import Facts, Scan


@dataclass(frozen=True)
class Prepared:
    """Points that a surface can be made of. Their order is spatial, and depends on the points alone.

    points           (N, 3) = world - origin (3,), in the scan's unit
    normals          (N, 3) unit, outward
    kept             (N,) row of the scan that each point came from; of a mesh, the nearest vertex
    spacing          square root of the area per point, typical of the scan; local_spacing (N,) around each point
    noise            standard deviation of the points about the surface, in the scan's unit, typical of the scan; local_noise (N,) around
                     each point
    normals_noise    standard deviation of the normals along each tangent, in radians; rough
    ambiguous_share  share of the points whose side is a guess
    facts            what was found and done, for reports
    """

    points: FloatArray
    origin: FloatArray
    normals: FloatArray
    kept: IntArray
    spacing: float
    local_spacing: FloatArray
    noise: float
    local_noise: FloatArray
    normals_noise: float
    ambiguous_share: float
    facts: Facts = field(default_factory=dict)


def prepare(
    scan: Scan,
    sensor: tuple[float, float, float] | None = None,
    keep_outliers: bool = False,
    seed: int = 0,
    threads: int = 1,
) -> Prepared:
    """Clean, oriented points of a scan. A mesh gives points of its faces (see `mesh_points`), spread by `seed`.

    sensor: position of the scanner, instead of what the file says; threads: 0 takes one for each core.
    The result does not depend on the number of threads, nor on the order of the points. Raises InputError for
    a scan with too few or degenerate points.
    """
    threads = threads or -1
    found = measure(scan, keep_outliers, seed, threads)
    origin, unit = found.origin, found.unit
    place = np.asarray(sensor, dtype=np.float64) if sensor is not None else scan.sensor
    if place is not None:
        place = ((place[found.kept] if place.ndim == 2 else place) - origin) / unit
    cloud = Cloud(found.points, found.near, found.local_spacing, found.spacing, found.noise, found.local_noise, origin / unit, threads)
    facts = dict(found.facts)
    normals, normal_error, ambiguous = outward_normals(cloud, found.axes, found.usable, place, facts)
    facts["ambiguous_share"] = round(ambiguous, 4)
    return Prepared(
        points=found.points * unit,
        origin=origin,
        normals=normals,
        kept=found.kept,
        spacing=found.spacing * unit,
        local_spacing=found.local_spacing * unit,
        noise=found.noise * unit,
        local_noise=found.local_noise * unit,
        normals_noise=normal_error,
        ambiguous_share=ambiguous,
        facts=facts,
    )
