"""Reads points from tables in text: XYZ, TXT, CSV, ASC and PTS, with or without names of the columns.

Columns are separated by blanks, tabs, commas, semicolons or bars; see `dialect`. A line of words before the rows, a comment or not, names
the columns; without names, the values tell what a column is. A first line of one whole number is the count of points (PTS), and another
one may stand before the points of each further scan. COLMAP's points have a reader of their own.
"""

from __future__ import annotations

import logging
import re

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.io.source import DOWNLOAD_AGAIN, HEAD_BYTES, Source, Text, as_text, with_comments
from lpdif.io.table import colmap
from lpdif.io.table.axis_names import says_an_axis
from lpdif.io.table.columns import coordinate_columns, coordinates_named, list_names, may_be_coordinates, plain, scan_of_columns
from lpdif.io.table.dialect import (
    dialect_of,
    has_ambiguous_commas,
    has_decimal_commas,
    in_plain_letters,
    is_number,
    separates_thousands,
    without_quotes,
)
from lpdif.io.table.field_rows import columns_of_words, has_gaps, values_field_by_field
from lpdif.io.table.header import COMMENTS, Layout, head_rows, layout_of
from lpdif.io.table.infer_columns import guess
from lpdif.io.table.numbers import read_rows
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

ENDINGS = (".xyz", ".txt", ".csv", ".asc", ".pts", ".tsv", ".dat", ".neu", ".xyzn", ".xyzrgb", ".xyzi", ".3d")

_HAS_DECIMAL_COMMA = re.compile(rb"(?m)^[^\n#/%!]*\d,\d")
_HAS_DECIMAL_POINT = re.compile(rb"(?m)^[^\n#/%!]*\.\d")
_RASTER = re.compile(rb"\s*n(?:cols|rows)[ \t]+\d+\s+n(?:cols|rows)[ \t]+\d+\s", re.IGNORECASE)  # how an ESRI grid begins
_NEXT_COUNT = re.compile(
    rb"(?:\s*+(?:#|//|%|!)[^\n]*\n)*+\s*\d{1,18}[ \t]*(?:(?:#|//|%|!)[^\n]*|\r)?(?:\n|$)"
)  # of the points of another scan, maybe behind comments
_LETTER = re.compile(rb"[A-Za-z\x80-\xff]")
_RASTER_ROWS = 200  # So many rows are enough to recognise a raster.
_MOST_TABLE_COLUMNS = 20  # A table with more columns is refused where it is a single row, or a raster.
_RASTER_STEP = 0.35  # of the spread of all numbers: the largest median step from one number of a raster to the next
_AS_POINTS = "export it as points: a line of x, y and z for each"
_PLAIN_NUMBERS = "export numbers with a decimal point, and with nothing to part their thousands"


def is_table(source: Source) -> bool:
    """Whether a text holds rows of at least two numbers, after a header of names and comments.

    A raster counts too, which `read_text` refuses.
    """
    if not source.is_text:
        return False
    head = Text(Source("", b""), in_plain_letters(source.head))
    if _RASTER.match(source.data):
        return True
    try:
        return layout_of(head).columns >= 2
    except InputError:
        return False


def has_row(data: bytes) -> bool:
    """Whether some line of the text consists of two or more numbers."""
    lines = (line.strip() for line in without_quotes(in_plain_letters(data)).split(b"\n"))
    rows = (dialect_of(line, has_decimal_commas([line])).split(line) for line in lines)
    return any(len(row) >= 2 and all(map(is_number, row)) for row in rows)


def read_text(source: Source) -> Scan:
    """Reads points from a table.

    Raises InputError naming the line of a row that has another length or a word in place of a number.
    """
    text = as_text(source)
    text = Text(source, in_plain_letters(text.data))
    if zeros := source.data.count(0):
        log.warning("%s: %s behind its last line left out", source.name, counted(zeros, "zero byte"))
    if _RASTER.match(text.data):
        raise source.error("an ESRI ASCII grid, a raster of heights", _AS_POINTS)
    if colmap.POINTS_HEADER.search(text.data[:HEAD_BYTES]):
        return colmap.read_points3d(text)
    layout = layout_of(text)
    text = _without_repeated_heads(text, layout)
    if layout.columns == 0:
        raise source.empty("no line of numbers")
    if layout.columns < 3:
        raise source.error(
            f"rows of {counted(layout.columns, 'number')}, where a point needs x, y and z", "save the points with three coordinates"
        )
    if len(layout.names) != layout.columns and separates_thousands(head_rows(text.data)):
        raise source.error(f"thousands are parted within its numbers, as in {_shown(text, layout)!r}", _PLAIN_NUMBERS)
    if layout.dialect.decimal_comma and has_ambiguous_commas(head_rows(text.data)):
        raise source.error(f"its commas may be decimal points or part columns, as in {_shown(text, layout)!r}", _PLAIN_NUMBERS)
    values, dropped = _values(text, layout)
    names, doubt = layout.names, ""
    if not names:
        _refuse_raster(source, values)
    if len(names) != layout.columns or not coordinates_named(names):
        names, doubt = _infer_names(source, layout, values, dropped)
    if layout.dialect.decimal_comma:
        log.info("%s: commas in its numbers taken as decimal points", source.name)
    taken = list_names([name if column not in dropped else "" for column, name in enumerate(names)])
    if doubt:
        log.warning("%s: columns taken as %s, but %s: name the columns to be sure", source.name, taken, doubt)
    else:
        log.info("%s: columns taken as %s", source.name, taken)
    kept = [column for column, name in enumerate(names) if name and column not in dropped]
    return scan_of_columns(source, [names[column] for column in kept], [_whole(values[:, column]) for column in kept])


def _without_repeated_heads(text: Text, layout: Layout) -> Text:
    """The text with empty lines for those of its head that come again among the rows, as where several files were joined."""
    data = text.data[layout.start :]
    heads = [line.strip() for line in text.data[: layout.start].split(b"\n")]
    again = 0
    for head in {head for head in heads if _LETTER.search(head) and head in data}:
        data, number = re.subn(rb"(?m)^[ \t]*" + re.escape(head) + rb"[ \t\r]*$", b"", data)
        again += number
    if not again:
        return text
    log.info("%s: its head comes again in %s, which are left out", text.source.name, counted(again, "line"))
    return Text(text.source, text.data[: layout.start] + data)


def read_table_of_numbers(source: Source) -> tuple[list[str], NDArray[np.float64]]:
    """The names of the columns, [] where there are none, and the numbers (N, C) of a table, whatever they mean.

    There may be more or fewer names than columns. A title is no name: words of which none is that of a coordinate.

    Raises InputError naming the line of a row that has another length or a word in place of a number.
    """
    text = as_text(source)
    text = Text(source, in_plain_letters(text.data))
    layout = layout_of(text)
    values, _ = _values(text, layout)
    are_names = len(layout.names) == layout.columns or says_an_axis(list(map(plain, layout.names)))
    return (layout.names if are_names else []), values


def _refuse_raster(source: Source, values: NDArray[np.float64]) -> None:
    """Raises InputError for a raster of heights, and for a single row of all points.

    Both are tables without names and with many columns.
    """
    rows, columns = values.shape
    if columns <= _MOST_TABLE_COLUMNS:
        return
    if rows == 1:
        raise source.error(f"one row of {counted(columns, 'number')}, where each point has a row of its own", _AS_POINTS)
    # in a raster each number is near the next one, also in the first columns, which would be x, y and z
    sample = values[:: max(1, rows // _RASTER_ROWS)]
    finite = sample[np.isfinite(sample)]
    with np.errstate(over="ignore", invalid="ignore"):
        spread = _median_size(finite - np.median(finite)) if len(finite) else 0.0
        steps = [_median_size(step) for step in (np.diff(sample), *np.diff(sample[:, :4]).T)]
    if max(steps) <= _RASTER_STEP * spread:
        raise source.error(f"{rows:,} rows of {counted(columns, 'number')} of one kind: a raster of heights, not points", _AS_POINTS)


def _median_size(values: NDArray[np.float64]) -> float:
    """The median of the absolute finite values; 0 where there are none."""
    finite = np.abs(values[np.isfinite(values)])
    return float(np.median(finite)) if len(finite) else 0.0


def _infer_names(source: Source, layout: Layout, values: NDArray[np.float64], dropped: set[int]) -> tuple[list[str], str]:
    """Names of columns by their values, where the file's names do not tell x, y and z.

    Second comes what else the columns might be. Columns that cannot be coordinates keep their names. dropped: columns of words.
    """
    names, usable = [""] * layout.columns, list(range(layout.columns))
    if layout.names:
        if len(layout.names) == layout.columns:
            names, usable = list(layout.names), may_be_coordinates(source, layout.names)
        elif coordinate_columns(layout.names) not in ([], [0, 1, 2]) or (
            says_an_axis(list(map(plain, layout.names))) and not coordinates_named(layout.names)
        ):
            what = f"{counted(len(layout.names), 'name')} for its {layout.columns} columns: {list_names(layout.names)[:80]}"
            raise source.error(what, "give each column a name")
        log.info("%s: the names of its columns say no x, y and z; taken by their values", source.name)
    usable = [column for column in usable if column not in dropped]
    if len(usable) < 3:
        raise source.error(
            f"{counted(len(usable), 'column')} of numbers, where a point needs x, y and z", "save the points with three coordinates"
        )
    intensity_first = layout.count is not None or source.name.lower().endswith(".pts")
    guessed, doubt = guess(values[:, usable], intensity_first)
    for column, name in zip(usable, guessed, strict=True):
        names[column] = name
    return names, doubt


def _shown(text: Text, layout: Layout) -> str:
    """The first row, shortened for a message."""
    end = text.data.find(b"\n", layout.start)
    return text.data[layout.start : end if end >= 0 else None][:60].strip().decode("utf-8", "replace")


def _values(text: Text, layout: Layout) -> tuple[NDArray[np.float64], set[int]]:
    """The table (N, C), and the columns of it that hold words, which are NaN."""
    words = columns_of_words(text, layout)
    if words or has_gaps(text, layout):
        values = values_field_by_field(text, layout, words)
        _check_number(text, layout, len(values))
        return values, words
    _check_points(text, layout)
    text = with_comments(text, *COMMENTS)
    rows = read_rows(text, layout.start, layout.count, layout.columns, prepare=layout.dialect.with_blanks)
    parts, end = [rows.values], rows.end
    if layout.count == len(rows.counts) and _NEXT_COUNT.match(text.data, end):
        parts.append(_further_scans(text, layout, end))
    elif layout.count is not None:
        rest = read_rows(text, end, columns=layout.columns, prepare=layout.dialect.with_blanks)
        _check_number(text, layout, len(rows.counts) + len(rest.counts))
    return np.concatenate(parts).reshape(-1, layout.columns), set()


def _check_number(text: Text, layout: Layout, number: int) -> None:
    """Raises InputError where the file holds another number of points than its header says."""
    if layout.count is not None and layout.count > number:
        raise text.source.cut(number, layout.count, "point")
    if layout.count is not None and layout.count < number:
        raise text.source.error(f"header says {counted(layout.count, 'point')}, but the file holds {number:,}")


def _further_scans(text: Text, layout: Layout, start: int) -> NDArray[np.float64]:
    """The numbers of all scans behind the first. A line with the count of its points is before each."""
    rows = read_rows(text, start, prepare=layout.dialect.with_blanks)
    first, heads = rows.values[rows.starts], np.zeros(len(rows.counts), dtype=bool)
    numbers, place = [layout.count], 0
    while place < len(first):
        line, count, left = int(rows.lines[place]), first[place], len(first) - place - 1
        if rows.counts[place] != 1 or not count >= 0 or count % 1:
            raise text.error(line, f"{counted(int(rows.counts[place]), 'number')}, where the count of another scan's points belongs")
        if count > left:
            raise text.error(line, f"says {count:,.0f} points, but {counted(left, 'line')} follow", DOWNLOAD_AGAIN)
        wrong = np.flatnonzero(rows.counts[place + 1 : place + 1 + int(count)] != layout.columns)
        if len(wrong):
            row = place + 1 + int(wrong[0])
            raise text.error(int(rows.lines[row]), f"{counted(int(rows.counts[row]), 'number')} instead of {layout.columns:,}")
        heads[place] = True
        numbers.append(int(count))
        place += int(count) + 1
    log.info("%s: %s (points: %s)", text.source.name, counted(len(numbers), "scan"), ", ".join(map(str, numbers[:20])))
    return np.delete(rows.values, rows.starts[heads])


def _check_points(text: Text, layout: Layout) -> None:
    """Raises InputError where some rows have decimal commas and others points.

    One of these may separate thousands.
    """
    if not layout.dialect.commas_are_decimal:
        return
    comma, point = (pattern.search(text.data, layout.start) for pattern in (_HAS_DECIMAL_COMMA, _HAS_DECIMAL_POINT))
    if comma is not None and point is not None:
        lines = [text.data.count(b"\n", 0, match.start()) for match in (comma, point)]
        what = f"a decimal {'point' if lines[1] >= lines[0] else 'comma'}, where line {text.line_number(min(lines))} has the other"
        raise text.error(max(lines), what, _PLAIN_NUMBERS)


def _whole(column: NDArray[np.float64]) -> NDArray[np.generic]:
    """A column as integers, where it holds whole numbers alone, as labels and counts do."""
    if len(column) and np.isfinite(column).all() and (column == np.rint(column)).all() and np.abs(column).max() < 2**31:
        return column.astype(np.int32)
    return column
