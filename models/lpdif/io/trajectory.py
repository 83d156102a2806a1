"""The way of a moving scanner: its positions over time, and so the place from which each point of a scan was seen.

N points, M positions.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.errors import InputError
from lpdif.io.read import source_of
from lpdif.io.table.columns import coordinate_columns, first_of, list_names, plain
from lpdif.io.table.reader import is_table, read_table_of_numbers
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

TIME_NAMES = ("gps_time", "gpstime", "time", "timestamp", "gps_seconds", "t")  # of columns that hold times, as `plain` writes them
_COLUMNS = "columns time x y z, or names for them in a first line"


@dataclass(frozen=True)
class Trajectory:
    """Positions of a scanner over time.

    times (M,) ascending, no two alike    positions (M, 3)    name of the file, for messages
    """

    times: FloatArray
    positions: FloatArray
    name: str = "trajectory"


def load_trajectory(path: str | Path) -> Trajectory:
    """Reads positions over time from a table in text: a row of time, x, y and z for each, with or without names of the columns.

    Further columns are left out, as the angles of TUM's trajectories are. Raises InputError for a file that is missing, damaged or no such
    table.
    """
    source = source_of(path)
    if not is_table(source):
        raise source.error("no table of numbers, which a trajectory is", f"export it as text, with {_COLUMNS}")
    names, values = read_table_of_numbers(source)
    known = [plain(name) for name in names]
    if names and len(names) != values.shape[1]:
        what = f"{counted(len(names), 'name')} for its {counted(values.shape[1], 'column')}: {list_names(names)[:80]}"
        raise source.error(what, f"name each column, and export {_COLUMNS}")
    if not names:
        columns = [0, 1, 2, 3]
        if values.shape[1] < 4:
            raise source.error(f"rows of {counted(values.shape[1], 'number')}, where a position has time, x, y and z", f"export {_COLUMNS}")
    else:
        time = next((known.index(name) for name in TIME_NAMES if name in known), None)
        axes = coordinate_columns(names)
        if time is None or len(axes) != 3:
            what = "column of times" if time is None else "columns x, y and z"
            raise source.error(f"no {what}; its columns are {list_names(names)}", f"export {_COLUMNS}")
        columns = [time, *axes]
    rows = values[:, columns]
    whole = np.isfinite(rows).all(axis=1)
    if not whole.all():
        log.warning("%s: %s without a time or position left out", source.name, counted(int((~whole).sum()), "row"))
    times, first = np.unique(rows[whole, 0], return_index=True)
    if len(times) < 2:
        raise source.error(f"positions at {counted(len(times), 'time')}, where at least 2 are needed", f"export {_COLUMNS}")
    return Trajectory(times, rows[whole][first, 1:], source.name)


def seen_along(scan: Scan, trajectory: Trajectory) -> Scan:
    """The scan with the place from which each of its points was seen: where the scanner was at the time of the point.

    The times are no values of the scan any more. Positions are interpolated between those of the trajectory. Points of times before or after
    it take its first or last one, with a warning. Raises InputError where the points have no times, or all lie outside.
    """
    key = first_of(scan.extras, (*TIME_NAMES, *(f"scalar_{name}" for name in TIME_NAMES)))  # the latter as CloudCompare writes them
    if key is None:
        there = list_names(list(scan.extras)) or "none"
        raise InputError(
            f"{scan.name}: its points have no times (values: {there})", "a trajectory needs a value gps_time or time of each point"
        )
    times = scan.extras[key].astype(np.float64)
    missing = int((~np.isfinite(times)).sum())
    if missing:
        raise InputError(f"{scan.name}: {counted(missing, 'point')} without a time", "leave these out, or the trajectory")
    first, last = trajectory.times[[0, -1]]
    outside = int(((times < first) | (times > last)).sum())
    spans = f"{times.min():.10g} to {times.max():.10g}, {trajectory.name} has {first:.10g} to {last:.10g}"
    if outside == len(times):
        raise InputError(
            f"{scan.name}: no point has a time of the trajectory: {spans}",
            "both need one clock: GPS seconds of the week, say, are not adjusted GPS seconds",
        )
    if outside:
        log.warning("%s: %s outside of the trajectory, seen from its nearest end: times %s", scan.name, counted(outside, "point"), spans)
    log.info("%s: %s seen along %s", scan.name, counted(len(times) - outside, "point"), trajectory.name)
    places = [np.interp(times, trajectory.times, axis) for axis in trajectory.positions.T]
    extras = {name: values for name, values in scan.extras.items() if name != key}  # they have served: no mesh needs times
    return replace(scan, sensor=np.column_stack(places), extras=extras)
