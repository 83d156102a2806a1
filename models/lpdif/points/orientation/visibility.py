"""What of a closed surface can be seen from outside, and on which side the rest has more space: was it scanned from within?

N points, M places spread over them, D directions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lpdif.arrays import BoolArray, FloatArray
from lpdif.points.neighbours import SAMPLE_PLACES, even_rows
from lpdif.points.orientation.priors import NEARLY_ALL


class VisibilitySettings(NamedTuple):
    """How it is found whether a closed surface was scanned from within."""

    # It is looked at from this many places on it.
    places: int = 400
    # A place is hidden if something is in the way in each of this many directions.
    directions: int = 60
    # What is nearer to the place than this many spacings is the surface it lies on.
    own_surface: float = 3.0
    # A surface may have been scanned from within if at least this share of it is hidden from outside.
    hidden: float = 0.01


VISIBILITY = VisibilitySettings()


def scanned_from_within(points: FloatArray, normals: FloatArray, areas: FloatArray) -> bool:
    """Whether closed points (N, 3), with areas (N,), are a room and what stands in it, into which the normals (N, 3) point.

    From outside of a room its things are hidden behind walls, and these things have more space in front of them than behind them. Of a
    solid all but the insides of holes can be seen from outside, and these have more space on the side of the hole.
    """
    some = even_rows(len(points), 2 * SAMPLE_PLACES)
    spacing = np.sqrt(areas[some] * len(points) / len(some))
    rows = some[even_rows(len(some), VISIBILITY.places)]
    hidden = hidden_from_outside(points[some], spacing, points[rows], normals[rows])
    if hidden.mean() < VISIBILITY.hidden:
        return False
    places, out = points[rows[hidden]], normals[rows[hidden]]
    ahead, behind = (free_paths(points[some], spacing, places, way) for way in (out, -out))
    return bool((ahead > behind).mean() > NEARLY_ALL)


def hidden_from_outside(points: FloatArray, spacing: FloatArray, places: FloatArray, normals: FloatArray) -> BoolArray:
    """(M,) whether points (N, 3), with a spacing (N,) around each, stand in the way of places (M, 3) in all directions.

    Of these their normals (M, 3) come first, because most of a solid is seen along them.
    """
    hidden = np.ones(len(places), dtype=np.bool_)
    for directions in (normals, -normals, *even_directions(VISIBILITY.directions)):
        left = np.flatnonzero(hidden)
        hidden[left] = np.isfinite(free_paths(points, spacing, places[left], np.broadcast_to(directions, places.shape)[left]))
    return hidden


def free_paths(points: FloatArray, spacing: FloatArray, places: FloatArray, directions: FloatArray) -> FloatArray:
    """(M,) how far one gets from places (M, 3) along unit directions (M, 3) before points (N, 3) stand in the way; may be infinite."""
    offset = points - places[:, None]
    along = np.einsum("mni,mi->mn", offset, directions)
    aside = np.einsum("mni,mni->mn", offset, offset) - along**2
    in_the_way = (along > VISIBILITY.own_surface * spacing) & (aside < np.square(spacing))
    return np.asarray(np.where(in_the_way, along, np.inf).min(axis=1, initial=np.inf))


def even_directions(count: int) -> FloatArray:
    """Unit vectors (count, 3) on a Fibonacci spiral from pole to pole."""
    step = np.arange(count) + 0.5
    height = 1 - 2 * step / count
    turn = np.pi * (1 + np.sqrt(5)) * step
    flat = np.sqrt(1 - height**2)
    return np.column_stack([flat * np.cos(turn), flat * np.sin(turn), height])
