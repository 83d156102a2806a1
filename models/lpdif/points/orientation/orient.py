"""Outward normals of a clean scan: given ones kept, mended or replaced, missing ones made; every decision logged.

N points, k neighbours. All lengths are in the unit of the cloud.
"""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from lpdif.arrays import BoolArray, FloatArray
from lpdif.points.cloud import Cloud
from lpdif.points.neighbours import even_rows
from lpdif.points.orientation.blocks import Orientation, orient
from lpdif.points.orientation.given_normals import FITTING, trust_in
from lpdif.points.orientation.oriented_cloud import AMBIGUOUS, CLOSED, ENOUGH, ambiguous_share, filled_in, only_well_founded, stray_rows
from lpdif.points.orientation.propagation import all_agreements, loose_pieces, neighbour_consistency, pieces_of
from lpdif.points.orientation.viewpoints import (
    GIVEN_VOTE,
    SCATTERED_VOTE,
    SOLID,
    SOLID_INSIDE_OUT,
    VIEW_VOTE,
    ground_votes,
    likely_views,
    sensor_votes,
)
from lpdif.points.orientation.winding import dipole_field
from lpdif.text import counted
from lpdif.types import Facts

log = logging.getLogger("lpdif")

FACING = 0.9  # share of the points that must be able to face the sensor, or it was not theirs
VIEW_FACING = 0.8  # the same of a view that is only likely: steps of depth turn more than a tenth away when it counts a little
IN_SIGHT = 0.35  # share of the points that must be seen clearly, not at grazing sight, for a view to count

MOSTLY = 0.5  # share of the points in closed parts from which a scan is one of solids
THIN = 0.2  # mean winding number on a scan that shows two sheets, from which they are the sides of a thin body, which no view decides
LAND = 0.35  # mean winding number on a scan below which it may be land, if no view decides

SENSOR_PLACES = 50  # looked at to tell whether a sensor that moved was
WITHIN = 0.4  # the winding number at it from which it was within what it saw
UNDECIDED = 0.1  # winding number on a part, below which its shape does not tell its outside


def outward_normals(cloud: Cloud, given: FloatArray, usable: BoolArray, sensor: FloatArray | None, facts: Facts) -> tuple[FloatArray, float]:
    """Unit outward normals (N, 3), and the share of points whose side is a guess.

    given (N, 3) unit normals where `usable` (N,); sensor (3,) or (N, 3), or None if unknown.
    """
    if usable.mean() >= ENOUGH:
        filled = given if usable.all() else filled_in(cloud, given, usable)
        stray = stray_rows(cloud, filled, usable)
        left = usable & ~stray
        if left.mean() >= ENOUGH * usable.mean():
            kept = _kept(cloud, filled_in(cloud, given, left) if stray.any() else filled, left, bool(stray.any()), sensor, facts)
            if kept is not None:
                return kept
    else:
        log.info("normals: %s; estimated", "none given" if not usable.any() else f"only {100 * usable.mean():.2g} % given")
    axes = cloud.estimated
    facts["normals"] = "estimated"
    found, view = _oriented(cloud, axes, None, None, sensor, facts)
    _tell_parts(found, view)
    return axes * found.signs[:, None], float((found.accord < AMBIGUOUS).mean())


def _kept(
    cloud: Cloud, normals: FloatArray, usable: BoolArray, strayed: bool, sensor: FloatArray | None, facts: Facts
) -> tuple[FloatArray, float] | None:
    """The result with given normals (N, 3), as they are or with other signs; None if they are not normals of this surface.

    strayed: some did, so that the signs of the others are not to be relied upon either.
    """
    trust = trust_in(cloud.points, normals, cloud.areas, cloud.near.indices, cloud.spacing, cloud.reach)
    if trust.fit < FITTING:
        log.info("normals: given, but they do not fit the points (median |cos| %.2f); estimated instead", trust.fit)
        return None
    some = "given" if usable.all() else f"given for {100 * usable.mean():.3g} % of the points, filled in for the others"
    faces_sensor = sensor is not None and float((sensor_votes(cloud.points, normals, sensor) > 0).mean()) >= FACING
    inside_out = trust.inward >= SOLID_INSIDE_OUT and sensor is None
    scattered = trust.flipped or strayed
    if not scattered and (faces_sensor or inside_out or (trust.outward >= SOLID and sensor is None)):
        log.info("normals: %s, consistent; %s", some, "but inward: turned over" if inside_out else "kept")
        facts["normals"] = "given, turned over" if inside_out else "given"
        return (-normals if inside_out else normals), ambiguous_share(cloud, normals)
    if scattered:
        found, _ = _oriented(cloud, normals, None, np.where(usable, GIVEN_VOTE if strayed else SCATTERED_VOTE, 0.0), sensor, facts)
        turned = float((found.signs < 0).mean())
        log.info("normals: %s, but with scattered signs; axes kept, %.3g %% turned over", some, 100 * turned)
        facts["normals"] = "given, signs made anew"
    else:
        found, _ = _oriented(cloud, normals, np.ones(len(normals)), np.where(usable, GIVEN_VOTE, 0.0), sensor, facts)
        found = found if "sensor" in facts else only_well_founded(cloud, normals, found)
        turned = float((found.signs < 0).mean())
        log.info("normals: %s, consistent; kept%s", some, f", but {100 * turned:.3g} % turned over" if turned else "")
        facts["normals"] = "given, partly turned over" if turned else "given"
    return normals * found.signs[:, None], float((found.accord < AMBIGUOUS).mean())


def _oriented(
    cloud: Cloud, axes: FloatArray, start: FloatArray | None, votes: FloatArray | None, sensor: FloatArray | None, facts: Facts
) -> tuple[Orientation, str]:
    """Signs for the axes (N, 3), and what view decided where shape does not: "sensor", "origin", "above", "ground" or none ("").

    A known sensor decides. Else, and unless the signs `start` are consistent, the first likely view that
    sees most of the scan at more than grazing sight, and that most of it can face when the view counts a little, decides. Where none does and
    the scan is no solid, ground is seen from above, if it has any. Of a thin body, which shows two sheets, shape alone decides.
    """
    if sensor is not None:
        return _turned_to_sensor(cloud, axes, start, votes, sensor, facts)
    views = likely_views(cloud.points, cloud.origin) if start is None else []
    alone = _orient(cloud, axes, start, votes) if any(view.two_sheets for view in views) else None
    if alone is not None and float(alone.winding[alone.part].mean()) > THIN:
        return alone, ""
    for place, view, _ in views:
        sight = sensor_votes(cloud.points, axes, place if view == "origin" else cloud.points + place)
        if (np.abs(sight) == 1).mean() < IN_SIGHT:
            continue
        found = _orient(cloud, axes, start, VIEW_VOTE * sight if votes is None else VIEW_VOTE * sight + votes)
        if _facing(found, sight) >= VIEW_FACING:
            return (_faced if view == "origin" else _faced_where_torn)(cloud, axes, found, sight), view
    found = alone or _orient(cloud, axes, start, votes)
    if start is None and float(found.winding[found.part].mean()) < LAND:
        ground = VIEW_VOTE * ground_votes(cloud.points, axes)
        if ground.any():  # which hides in no solid: what stands on it goes on from it
            return _orient(cloud, axes, start, ground if votes is None else ground + votes, solid=False), "ground"
    return found, ""


def _turned_to_sensor(
    cloud: Cloud, axes: FloatArray, start: FloatArray | None, votes: FloatArray | None, sensor: FloatArray, facts: Facts
) -> tuple[Orientation, str]:
    """Signs for the axes (N, 3) that face the sensor, unless the shape is a solid around which it cannot have been, and most of which it cannot
    have seen."""
    sight = sensor_votes(cloud.points, axes, sensor)
    found = _orient(cloud, axes, start, votes)
    facing = _facing(found, sight)
    if facing < FACING:
        solid = found.winding[found.part] > CLOSED
        apart = facing > 1 - FACING and within(cloud, axes * found.signs[:, None], sensor) < WITHIN
        if solid.mean() > MOSTLY and apart:  # seen from within, it faces away at first
            log.warning("%.0f %% of the surface cannot be seen from the sensor's position; it is not used", 100 * (1 - facing))
            return found, ""
        found = _orient(cloud, axes, start, sight if votes is None else sight + votes)
    log.info("normals: turned towards the sensor")
    facts["sensor"] = "used"
    return _faced(cloud, axes, found, sight), "sensor"


def within(cloud: Cloud, normals: FloatArray, sensor: FloatArray) -> float:
    """Mean winding number of the oriented points at the sensor, (3,) or (N, 3): about 1 in a closed room, 0 outside of a solid."""
    places = np.atleast_2d(sensor)
    places = np.unique(places[even_rows(len(places), SENSOR_PLACES)], axis=0)
    dipoles = normals * cloud.areas[:, None]
    return float(np.mean([dipole_field(cloud.points - place, dipoles, cloud.local_spacing).sum() for place in places]))


def _facing(found: Orientation, sight: FloatArray) -> float:
    """Share of the points clearly in sight, from one side or the other, whose normals face the viewer."""
    clear = np.abs(sight) == 1
    return float((found.signs * sight > 0)[clear].mean()) if clear.any() else 0.0


def _faced(cloud: Cloud, axes: FloatArray, found: Orientation, sight: FloatArray) -> Orientation:
    """The same with every point turned to the viewer that is not seen at a grazing angle."""
    signs = np.where(np.abs(sight) > 0.5, np.sign(sight), found.signs)
    agreements = all_agreements(cloud.points, axes, cloud.around, cloud.reach)
    return replace(found, signs=signs, accord=neighbour_consistency(signs, cloud.around, agreements))


def _faced_where_torn(cloud: Cloud, axes: FloatArray, found: Orientation, sight: FloatArray) -> Orientation:
    """The same with those pieces of the surface turned to the viewer that face away and do not hang together with what is around them.

    A view from above need not be the only one: what another view saw behind the silhouette goes on smoothly from what faces this one.
    """
    agreements = all_agreements(cloud.points, axes, cloud.around, cloud.reach)
    away = found.signs * sight < -0.5
    loose = loose_pieces(away, pieces_of(away, cloud.around), found.signs, cloud.around, agreements)
    signs = np.where(loose, -found.signs, found.signs)
    return replace(found, signs=signs, accord=neighbour_consistency(signs, cloud.around, agreements))


def _orient(cloud: Cloud, axes: FloatArray, start: FloatArray | None, votes: FloatArray | None, solid: bool = True) -> Orientation:
    return orient(cloud.points, axes, cloud.areas, cloud.around, cloud.spacing, cloud.local_noise, start, votes, solid)


def _tell_parts(found: Orientation, view: str) -> None:
    """Logs how many points and parts are uncertain, and what decided."""
    sizes = np.bincount(found.part[found.part >= 0], minlength=len(found.winding))
    large = sizes >= max(1, len(found.part) // 1000)
    undecided = int((large & (np.abs(found.winding) < UNDECIDED)).sum())
    ambiguous = 100 * float((found.accord < AMBIGUOUS).mean())
    log.info("normals: oriented, %.2g %% of the points ambiguous, %s", ambiguous, counted(int(large.sum()), "part"))
    closed = int((large & (found.winding > CLOSED)).sum())
    if closed and view != "sensor":
        log.info("normals: %s, taken as seen from outside (a room is seen from within: --sensor X Y Z)", counted(closed, "closed part"))
    if undecided:
        rule = {
            "origin": "the side that faces the origin of the file, from where the scan shows one surface",
            "above": "the upper side, as from above the scan shows one surface",
            "sensor": "the side that faces the sensor",
            "ground": "the upper side of what looks like ground, and what goes on from it",
            "": "the side on which they bulge",
        }[view] + ("" if view == "sensor" else " (--sensor X Y Z decides)")
        log.info("normals: %s not telling inside from outside; taken: %s", counted(undecided, "open part"), rule)
