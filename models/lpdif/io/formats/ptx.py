"""PTX: scans one after the other, each a raster of points with a pose.

Leica Cyclone, FARO Scene and Trimble RealWorks write it. A scan has the number of its columns and of its rows, each on a line; the position
and the three axes of the scanner; a 4 x 4 matrix for row vectors; and columns x rows lines "x y z intensity" or "x y z intensity r g b". There
"0 0 0" is a direction without a return.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import numpy as np

from lpdif.arrays import FloatArray
from lpdif.io.source import DOWNLOAD_AGAIN, EXPORT_AGAIN, Source, Text, as_text
from lpdif.io.table.colors import colors_of
from lpdif.io.table.dialect import in_plain_letters
from lpdif.io.table.numbers import Rows, read_rows
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_THREE_WORDS = rb"[ \t]*\S+[ \t]+\S+[ \t]+\S+[ \t]*\r?\n"
_START = re.compile(rb"(?:\s*\d{1,18}[ \t]*\r?\n){2}(?!(?:" + _THREE_WORDS + rb"){5})(?:" + _THREE_WORDS + rb"){2}")
_HEADER_NUMBERS = (1, 1, 3, 3, 3, 3, 4, 4, 4, 4)  # how many numbers are on each line before the points
_SHORTEST_POINT = 8  # Bytes: four digits, and a blank or line end behind each.
_WORST_CONDITION = 1e6  # A matrix of a larger condition number flattens the points.


@dataclass(frozen=True)
class _Scan:
    """One scan.

    rows (N, 4 or 7): those with a return; points (N, 3) and position of the scanner (3,), in the common frame; is_raster: whether it has
    several columns and several rows. Points in one row or column are often several scans that were merged.
    """

    rows: FloatArray
    points: FloatArray
    position: FloatArray
    is_raster: bool


def is_ptx(source: Source) -> bool:
    """Whether a text begins with two whole numbers and two to four lines of three words.

    Neither PTS nor a table does: each of the two numbers has a line of its own.
    """
    return source.is_text and _START.match(source.head) is not None


def read_ptx(source: Source) -> Scan:
    """Reads all scans, each moved by its matrix.

    The sensor position (N, 3) of a point is that of its scan. Positions are left out where several scans all have theirs in the origin: they
    are scans that were merged. Raises InputError naming the line for a count that the file does not hold, a matrix that is singular or made
    for column vectors, and a word that is no number.
    """
    text = as_text(source)
    text = Text(source, in_plain_letters(text.data))
    _check_size(text)
    rows = read_rows(text)
    scans: list[_Scan] = []
    place = directions = 0
    while place < len(rows.counts):
        scan, count = _scan(text, rows, place)
        scans.append(scan)
        place, directions = place + len(_HEADER_NUMBERS) + count, directions + count
    points = np.concatenate([scan.points for scan in scans])
    if not len(points):
        raise source.empty(f"no return in {counted(directions, 'direction')}")
    if len(points) < directions:
        log.info("%s: %s of %s without a return left out", source.name, f"{directions - len(points):,}", counted(directions, "point"))
    log.info("%s: %s (points: %s)", source.name, counted(len(scans), "scan"), ", ".join(str(len(scan.points)) for scan in scans[:20]))
    scanned = any(scan.position.any() for scan in scans) or (len(scans) == 1 and scans[0].is_raster)
    scans = [scan for scan in scans if len(scan.points)]
    colored = all(scan.rows.shape[1] == 7 for scan in scans)
    if not colored and any(scan.rows.shape[1] == 7 for scan in scans):
        log.info("%s: colours left out: not all scans have them", source.name)
    numbers = [len(scan.points) for scan in scans]
    return Scan(
        points,
        colors=colors_of(list(np.concatenate([scan.rows[:, 4:] for scan in scans]).T), source.name) if colored else None,
        extras={"intensity": np.concatenate([scan.rows[:, 3] for scan in scans])},
        sensor=np.repeat([scan.position for scan in scans], numbers, axis=0) if scanned else None,
        name=source.name,
    )


def _check_size(text: Text) -> None:
    """Raises InputError where the first scan announces more points than the file has room for.

    That is done before points are read.
    """
    head = read_rows(text, rows=2, columns=1)
    count, room = int(head.values[0]) * int(head.values[1]), (len(text.data) - head.end) // _SHORTEST_POINT
    if count > room:
        raise text.source.error(f"header says {counted(count, 'point')}, but the file has room for {room:,} at most", DOWNLOAD_AGAIN)


def _scan(text: Text, rows: Rows, place: int) -> tuple[_Scan, int]:
    """The scan whose header begins with row `place`, and the number of its rows of points."""
    counts, lines = rows.counts[place : place + len(_HEADER_NUMBERS)], rows.lines[place:]
    for line, got, due in zip(lines, counts, _HEADER_NUMBERS, strict=False):
        if got != due:
            raise text.error(int(line), f"{counted(int(got), 'number')} instead of {due} in the head of a scan")
    if len(counts) < len(_HEADER_NUMBERS):
        raise text.error(int(lines[-1]), "ends within the head of a scan", DOWNLOAD_AGAIN)
    start = int(rows.starts[place])
    head = rows.values[start : start + sum(_HEADER_NUMBERS)]
    columns, height = head[:2]
    if not (0 <= columns < 2**31 and 0 <= height < 2**31 and columns % 1 == height % 1 == 0):
        raise text.error(int(lines[0]), f"{columns:g} columns and {height:g} rows are no size of a scan")
    matrix = head[14:].reshape(4, 4)
    _check_matrix(text, int(lines[6]), matrix)
    position = head[2:5]
    if not np.isfinite(position).all():
        raise text.error(int(lines[2]), "the scanner's position is no finite number")
    count, first = int(columns) * int(height), place + len(_HEADER_NUMBERS)
    table = _points(text, rows, first, count)
    table = table[table[:, :3].any(axis=1)]
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is left out later
        points = table[:, :3] @ matrix[:3, :3] + matrix[3, :3]
    if not position.any():  # it is not given; points are measured from the scanner
        position = matrix[3, :3]
    return _Scan(table, points, position, columns > 1 and height > 1), count


def _points(text: Text, rows: Rows, first: int, count: int) -> FloatArray:
    """The rows (count, 4 or 7) of points from row `first` on."""
    counts = rows.counts[first : first + count]
    if len(counts) < count:
        line = int(rows.lines[first - len(_HEADER_NUMBERS)])
        raise text.error(line, f"ends after {len(counts):,} of {counted(count, 'point')} of this scan", DOWNLOAD_AGAIN)
    if not count:
        return np.zeros((0, 7))
    columns = 7 if counts[0] == 7 else 4
    wrong = np.flatnonzero(counts != columns)
    if len(wrong):
        due = "4 or 7" if wrong[0] == 0 else str(columns)
        hint = DOWNLOAD_AGAIN if first + wrong[0] == len(rows.counts) - 1 else EXPORT_AGAIN
        raise text.error(int(rows.lines[first + wrong[0]]), f"{counted(int(counts[wrong[0]]), 'number')} instead of {due}", hint)
    start = int(rows.starts[first])
    return rows.values[start : start + count * columns].reshape(count, columns)


def _check_matrix(text: Text, line: int, matrix: FloatArray) -> None:
    """Raises InputError where a matrix (4, 4) does not move row vectors, or flattens what it moves."""
    if not np.isfinite(matrix).all():
        raise text.error(line, "the matrix of the scan holds NaN or infinity")
    if np.abs(matrix[:, 3] - (0, 0, 0, 1)).max() > 1e-6:
        raise text.error(line, "the matrix of the scan does not end its rows with 0, 0, 0 and 1")
    if not np.linalg.cond(matrix[:3, :3]) < _WORST_CONDITION:
        raise text.error(line, "the matrix of the scan is singular")
