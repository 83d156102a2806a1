"""From a scan to clean, oriented points: what every reconstruction starts with.

The points are cleaned and measured (`measure`); then their normals are checked, repaired or made, and passes
that do not fit are averaged. Every decision is logged.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lpdif.points.cloud import Cloud
from lpdif.points.measure import measure
from lpdif.points.orientation.orient import outward_normals
from lpdif.points.passes import merge_passes
from lpdif.points.validity import note
from lpdif.types import Scan


def prepare(
    scan: Scan,
    sensor: tuple[float, float, float] | None = None,
    keep_outliers: bool = False,
    seed: int = 0,
    threads: int = 1,
) -> Cloud:
    """Clean points of a scan with outward unit normals, in the scan's unit.

    A mesh gives points of its faces (see `mesh_points`), spread by `seed`. sensor: position of the scanner, instead of what the file says;
    threads: 0 takes one for each core. The result does not depend on the number of threads, nor on the order of the points.
    Raises InputError for a scan with too few or degenerate points.
    """
    cloud = measure(scan, keep_outliers, seed, threads or -1, sensor)
    place = np.asarray(sensor, dtype=np.float64) if sensor is not None else scan.sensor
    if place is not None:
        place = (place[cloud.kept] if place.ndim == 2 else place) / cloud.unit - cloud.origin
    facts = dict(cloud.facts)
    found = outward_normals(cloud, cloud.normals, cloud.usable, place, facts)
    facts["ambiguous_share"] = round(found.ambiguous, 4)
    scanner = {"sensor": place, "origin": -cloud.origin}.get(found.viewpoint)
    ready = replace(cloud, near=cloud.near.none(), scanner=scanner)  # no later step asks for neighbours, which take most of the room
    points = merge_passes(cloud.points, found.normals, cloud.local_spacing, cloud.local_noise, cloud.threads)
    note(facts, "merged_passes", int((points != cloud.points).any(axis=1).sum()), "point", "moved: passes that do not fit are one surface")
    ready = replace(ready, points=points, normals=found.normals, usable=np.ones(len(points), dtype=np.bool_), facts=facts)
    return ready.in_scan_unit()
