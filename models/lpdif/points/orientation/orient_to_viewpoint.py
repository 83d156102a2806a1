"""Which way normals face where a viewpoint decides: a known sensor, or a likely viewpoint of the scan.

N points. `towards` (N,) is which side of each axis faces the viewpoint, as `viewpoint_prior` gives it.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.points.cloud import Cloud
from lpdif.points.neighbours import even_rows
from lpdif.points.orientation.orient_axes import Orientation, orient_axes
from lpdif.points.orientation.priors import MAJORITY, NEARLY_ALL, PRIORS, STRAY_SHARE, ground_prior, viewpoint_prior
from lpdif.points.orientation.propagation import all_agreements, components_of, inconsistent_components, neighbour_consistency
from lpdif.points.orientation.viewpoints import VIEWPOINTS, depth_jump_share, evenness, likely_viewpoints
from lpdif.points.orientation.visibility import scanned_from_within
from lpdif.points.orientation.winding import WINDING, dipole_field
from lpdif.types import Facts

log = logging.getLogger("lpdif")


class ViewingSettings(NamedTuple):
    """When the viewpoint decides which way normals face."""

    # It decides only if this share of these faces it when its prior counts: at steps of depth more than a tenth does not.
    likely_facing: float = 0.8


VIEWING = ViewingSettings()


def orient_to_viewpoint(
    cloud: Cloud, axes: FloatArray, start: FloatArray | None, prior: FloatArray, sensor: FloatArray | None, facts: Facts
) -> tuple[Orientation, str]:
    """Signs for axes (N, 3), and which viewpoint decided.

    It is "sensor", "origin", "above", "ground", "within", or "" where shape alone decided:
    - a known sensor decides, if it can have seen the scan;
    - else shape alone decides where the signs `start` (N,) are already consistent;
    - else the origin of the file decides, if a scanner there spread the points;
    - else shape alone decides on a thin body, which shows two sheets;
    - else the first likely viewpoint decides that most of the scan can face;
    - else, where the scan is open and has ground, the ground is seen from above;
    - else, where it is closed and things in it are hidden from outside, it was seen from within.
    prior (N,): of given normals, for the sign of each axis.
    """
    if sensor is not None:
        return _orient_to_sensor(cloud, axes, start, prior, sensor, facts)
    if start is None and evenness(cloud.points, axes, cloud.areas, -cloud.origin) < VIEWPOINTS.evenness:
        found = _orient_to_scanner_at_origin(cloud, axes, prior)
        if found is not None:
            return found, "origin"
    viewpoints = likely_viewpoints(cloud.points, cloud.origin) if start is None else []
    by_shape = _orient(cloud, axes, start, prior) if any(viewpoint.two_sheets for viewpoint in viewpoints) else None
    if by_shape is not None and _mean_winding(by_shape) > WINDING.solid_like:
        return by_shape, ""
    for viewpoint in viewpoints:
        towards = viewpoint_prior(cloud.points, axes, viewpoint.position(cloud.points))
        if (np.abs(towards) == 1).mean() < MAJORITY:
            continue
        found = _orient(cloud, axes, start, PRIORS.viewpoint * towards + prior)
        if facing_share(found, towards) >= VIEWING.likely_facing:
            face = _face_viewpoint if viewpoint.name == "origin" else _face_viewpoint_where_inconsistent
            return face(cloud, axes, found, towards), viewpoint.name
    found = by_shape or _orient(cloud, axes, start, prior)
    if start is None and _mean_winding(found) < WINDING.closed:
        ground = PRIORS.viewpoint * ground_prior(cloud.points, axes)
        if ground.any():  # the ground is in no solid, and what stands on it continues the ground's surface
            return _orient(cloud, axes, start, ground + prior, solid=False), "ground"
    elif start is None and scanned_from_within(cloud.points, -axes * found.signs[:, None], cloud.areas):
        return replace(found, signs=-found.signs), "within"
    return found, ""


def _orient_to_scanner_at_origin(cloud: Cloud, axes: FloatArray, prior: FloatArray) -> Orientation | None:
    """Signs for axes (N, 3) of points that a scanner at the file's origin spread.

    None if they form a closed solid around it, such as one whose points lie on a grid of longitudes and latitudes: the depth never jumps at a
    silhouette then. From the middle of a street or a room it does at 7 % of the places and more.
    """
    if depth_jump_share(cloud.points, -cloud.origin) < STRAY_SHARE and _mean_winding(_orient(cloud, axes, None, prior)) > WINDING.closed:
        return None
    towards = viewpoint_prior(cloud.points, axes, -cloud.origin)
    return _face_viewpoint(cloud, axes, _orient(cloud, axes, None, PRIORS.viewpoint * towards + prior, solid=False), towards)


def _orient_to_sensor(
    cloud: Cloud, axes: FloatArray, start: FloatArray | None, prior: FloatArray, sensor: FloatArray, facts: Facts
) -> tuple[Orientation, str]:
    """Signs for axes (N, 3) that face the sensor, if it can have seen them.

    It cannot if most of the surface is closed, much of it faces away, and the sensor was not inside. (Of a room seen from inside
    nearly all faces away at first, because closed parts are taken as seen from outside.)
    """
    towards = viewpoint_prior(cloud.points, axes, sensor)
    found = _orient(cloud, axes, start, prior)
    facing = facing_share(found, towards)
    if facing < NEARLY_ALL:
        closed = found.winding[found.part] > WINDING.closed
        outside = facing > 1 - NEARLY_ALL and winding_at_sensor(cloud, axes * found.signs[:, None], sensor) < WINDING.closed
        if closed.mean() > MAJORITY and outside:
            log.warning("%.0f %% of the surface cannot be seen from the sensor's position; it is not used", 100 * (1 - facing))
            return found, ""
        found = _orient(cloud, axes, start, towards + prior)
    log.info("normals: turned towards the sensor")
    facts["sensor"] = "used"
    return _face_viewpoint(cloud, axes, found, towards), "sensor"


def winding_at_sensor(cloud: Cloud, normals: FloatArray, sensor: FloatArray, most: int = 50) -> float:
    """Mean winding number at the sensor: about 1 in a closed room, about 0 outside a solid.

    normals (N, 3); sensor (3,) or (N, 3), of which `most` places are taken at most.
    """
    places = np.atleast_2d(sensor)
    places = np.unique(places[even_rows(len(places), most)], axis=0)
    dipoles = normals * cloud.areas[:, None]
    return float(np.mean([dipole_field(cloud.points - place, dipoles, cloud.local_spacing).sum() for place in places]))


def facing_share(found: Orientation, towards: FloatArray) -> float:
    """Share of the points seen at more than a grazing angle whose normals face the viewpoint."""
    clear = np.abs(towards) == 1
    return float((found.signs * towards > 0)[clear].mean()) if clear.any() else 0.0


def _mean_winding(found: Orientation) -> float:
    """Mean over the points of the winding number on their parts."""
    return float(found.winding[found.part].mean())


def _face_viewpoint(cloud: Cloud, axes: FloatArray, found: Orientation, towards: FloatArray) -> Orientation:
    """The same orientation with every point facing the viewpoint that is not seen at a grazing angle."""
    signs = np.where(np.abs(towards) > 0.5, np.sign(towards), found.signs)
    agreements = all_agreements(cloud.points, axes, cloud.around, cloud.reach)
    return replace(found, signs=signs, consistency=neighbour_consistency(signs, cloud.around, agreements))


def _face_viewpoint_where_inconsistent(cloud: Cloud, axes: FloatArray, found: Orientation, towards: FloatArray) -> Orientation:
    """The same orientation with inconsistent components that face away from the viewpoint flipped.

    Above need not be the only viewpoint: what another one saw behind the silhouette continues smoothly what faces this one.
    """
    agreements = all_agreements(cloud.points, axes, cloud.around, cloud.reach)
    away = found.signs * towards < -0.5
    inconsistent = inconsistent_components(away, components_of(away, cloud.around), found.signs, cloud.around, agreements)
    signs = np.where(inconsistent, -found.signs, found.signs)
    return replace(found, signs=signs, consistency=neighbour_consistency(signs, cloud.around, agreements))


def _orient(cloud: Cloud, axes: FloatArray, start: FloatArray | None, prior: FloatArray, solid: bool = True) -> Orientation:
    return orient_axes(cloud.points, axes, cloud.areas, cloud.around, cloud.spacing, cloud.local_noise, start, prior, solid)
