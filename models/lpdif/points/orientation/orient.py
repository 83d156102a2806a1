"""Outward normals of a clean scan: given ones are kept, mended or replaced, missing ones are made.

Every decision is logged. N points. All lengths are in the unit of the cloud.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray
from lpdif.points.cloud import Cloud
from lpdif.points.orientation.given_normals import (
    GIVEN,
    NormalQuality,
    ambiguous_share,
    fill_in_normals,
    find_wrong_normals,
    normal_quality,
)
from lpdif.points.orientation.justified_flips import keep_justified_flips
from lpdif.points.orientation.orient_axes import Orientation
from lpdif.points.orientation.orient_to_viewpoint import orient_to_viewpoint
from lpdif.points.orientation.priors import MAJORITY, NEARLY_ALL, PRIORS, STRAY_SHARE, viewpoint_prior
from lpdif.points.orientation.propagation import PROPAGATION
from lpdif.points.orientation.visibility import scanned_from_within
from lpdif.points.orientation.winding import WINDING
from lpdif.text import counted
from lpdif.types import Facts

log = logging.getLogger("lpdif")


class Outward(NamedTuple):
    """Unit outward normals (N, 3), the share of points whose side is a guess, and the viewpoint that decided, as in `orient_to_viewpoint`."""

    normals: FloatArray
    ambiguous: float
    viewpoint: str


def outward_normals(cloud: Cloud, given: FloatArray, usable: BoolArray, sensor: FloatArray | None, facts: Facts) -> Outward:
    """Outward normals of a cloud.

    given (N, 3) unit normals where `usable` (N,); sensor (3,) or (N, 3), or None if
    unknown.
    """
    if usable.mean() >= MAJORITY:
        result = _from_given_normals(cloud, given, usable, sensor, facts)
        if result is not None:
            return result
    else:
        log.info("normals: %s; estimated", "none given" if not usable.any() else f"only {100 * usable.mean():.2g} % given")
    return _from_estimated_axes(cloud, sensor, facts)


def _from_estimated_axes(cloud: Cloud, sensor: FloatArray | None, facts: Facts) -> Outward:
    """The result without given normals."""
    axes = cloud.estimated
    facts["normals"] = "estimated"
    found, viewpoint = orient_to_viewpoint(cloud, axes, None, np.zeros(len(axes)), sensor, facts)
    _log_parts(found, viewpoint)
    return Outward(axes * found.signs[:, None], _share_ambiguous(found), viewpoint)


def _from_given_normals(cloud: Cloud, given: FloatArray, usable: BoolArray, sensor: FloatArray | None, facts: Facts) -> Outward | None:
    """The result with given normals (N, 3), or None if they are not normals of this surface."""
    filled = given if usable.all() else fill_in_normals(cloud, given, usable)
    wrong = find_wrong_normals(cloud, filled, usable)
    right = usable & ~wrong
    if right.mean() < MAJORITY * usable.mean():
        return None
    normals = fill_in_normals(cloud, given, right) if wrong.any() else filled
    quality = normal_quality(cloud.points, normals, cloud.areas, cloud.near.indices, cloud.spacing, cloud.reach)
    if quality.fit < GIVEN.fit:
        log.info("normals: given, but they do not fit the points (median |cos| %.2f); estimated instead", quality.fit)
        return None
    some = "given" if right.all() else f"given for {100 * right.mean():.3g} % of the points, filled in for the others"
    if wrong.any():  # where some normals are wrong, the signs of the others are not trusted either
        signs, ambiguous, viewpoint = _new_signs(cloud, normals, np.where(right, PRIORS.given, 0.0), sensor, some, facts)
    elif quality.scattered:
        signs, ambiguous, viewpoint = _new_signs(cloud, normals, np.where(right, PRIORS.given_scattered, 0.0), sensor, some, facts)
    elif _all_on_one_side(cloud, normals, quality, sensor):
        inside_out = sensor is None and quality.inside_out and not scanned_from_within(cloud.points, normals, cloud.areas)
        viewpoint = "" if sensor is None else "sensor"
        signs, ambiguous = _same_signs(cloud, normals, inside_out, some, facts)
    else:
        signs, ambiguous, viewpoint = _mended_signs(cloud, normals, np.where(right, PRIORS.given, 0.0), sensor, some, facts)
    return Outward(normals * signs[:, None], ambiguous, viewpoint)


def _all_on_one_side(cloud: Cloud, normals: FloatArray, quality: NormalQuality, sensor: FloatArray | None) -> bool:
    """Whether nearly all normals face the sensor or, without one, are those of a solid, out or inward."""
    if sensor is not None:
        return float((viewpoint_prior(cloud.points, normals, sensor) > 0).mean()) >= NEARLY_ALL
    return quality.inside_out or quality.outward >= 1 - STRAY_SHARE


def _same_signs(cloud: Cloud, normals: FloatArray, inside_out: bool, some: str, facts: Facts) -> tuple[FloatArray, float]:
    """(N,) equal signs for given normals (N, 3), -1 if `inside_out`, and the share of ambiguous points."""
    log.info("normals: %s, consistent; %s", some, "but inward: turned over" if inside_out else "kept")
    facts["normals"] = "given, turned over" if inside_out else "given"
    return np.full(len(normals), -1.0 if inside_out else 1.0), ambiguous_share(cloud, normals)


def _new_signs(
    cloud: Cloud, normals: FloatArray, prior: FloatArray, sensor: FloatArray | None, some: str, facts: Facts
) -> tuple[FloatArray, float, str]:
    """(N,) signs for given normals (N, 3) whose own are scattered, the share of ambiguous points, and the viewpoint that decided.

    The signs that were given are only a prior (N,).
    """
    found, viewpoint = orient_to_viewpoint(cloud, normals, None, prior, sensor, facts)
    flipped = float((found.signs < 0).mean())
    log.info("normals: %s, but with scattered signs; axes kept, %.3g %% turned over", some, 100 * flipped)
    facts["normals"] = "given, signs made anew"
    return found.signs, _share_ambiguous(found), viewpoint


def _mended_signs(
    cloud: Cloud, normals: FloatArray, prior: FloatArray, sensor: FloatArray | None, some: str, facts: Facts
) -> tuple[FloatArray, float, str]:
    """(N,) signs that flip some of the consistent normals (N, 3), the share of ambiguous points, and the viewpoint that decided.

    The signs that were given are the start, and a prior (N,).
    """
    found, viewpoint = orient_to_viewpoint(cloud, normals, np.ones(len(normals)), prior, sensor, facts)
    found = found if viewpoint == "sensor" else keep_justified_flips(cloud, normals, found)
    flipped = float((found.signs < 0).mean())
    log.info("normals: %s, consistent; kept%s", some, f", but {100 * flipped:.3g} % turned over" if flipped else "")
    facts["normals"] = "given, partly turned over" if flipped else "given"
    return found.signs, _share_ambiguous(found), viewpoint


def _share_ambiguous(found: Orientation) -> float:
    """Share of the points that do not clearly agree with their neighbours, so that their side is a guess."""
    return float((found.consistency < PROPAGATION.clear).mean())


def _log_parts(found: Orientation, viewpoint: str) -> None:
    """Logs how many points and parts are uncertain, and which viewpoint decided."""
    sizes = np.bincount(found.part[found.part >= 0], minlength=len(found.winding))
    large = sizes >= max(1, len(found.part) // 1000)
    undecided = int((large & (np.abs(found.winding) < WINDING.solid_like)).sum())
    log.info("normals: oriented, %.2g %% of the points ambiguous, %s", 100 * _share_ambiguous(found), counted(int(large.sum()), "part"))
    closed = int((large & (found.winding > WINDING.closed)).sum())
    if viewpoint == "within":
        log.info("normals: taken as seen from within, as from outside a part of it is hidden (--sensor X Y Z decides)")
    elif closed and viewpoint != "sensor":
        log.info("normals: %s, taken as seen from outside (a room is seen from within: --sensor X Y Z)", counted(closed, "closed part"))
    if undecided:
        rule = {
            "origin": "the side that faces the origin of the file, from where the scan shows one surface",
            "above": "the upper side, as from above the scan shows one surface",
            "sensor": "the side that faces the sensor",
            "ground": "the upper side of what looks like ground, and what goes on from it",
            "within": "the side that faces the inside",
            "": "the side on which they bulge",
        }[viewpoint] + ("" if viewpoint == "sensor" else " (--sensor X Y Z decides)")
        log.info("normals: %s not telling inside from outside; taken: %s", counted(undecided, "open part"), rule)
