"""Points as columns of text: XYZ, TXT, CSV, ASC and PTS, with or without names of the columns.

Columns are parted by blanks, tabs, commas or semicolons; see `dialect`. Names come from a first line that is no numbers, a comment
or not; a first line that is one whole number is the count of points (PTS). Without names, values tell what a column is.
"""

from __future__ import annotations

import logging
import re

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.formats.columns import coordinate_columns, coordinates_named, guess_names, may_be_coordinates, said, scan_of_columns
from lpdif.formats.dialect import commas_say_both, dialect_of, has_decimal_commas, is_number, parts_thousands, without_quotes
from lpdif.formats.head import COMMENT, COMMENTS, HEAD, Layout, head_rows, layout_of, rows_of_head
from lpdif.formats.rows import NOT_A_NUMBER, read_rows
from lpdif.formats.source import DOWNLOAD_AGAIN, EXPORT_AGAIN, Source, Text, as_text, with_comments
from lpdif.scans import Scan
from lpdif.words import counted

log = logging.getLogger("lpdif")

_WITH_COMMA = re.compile(rb"(?m)^[^\n#/%!]*\d,\d")
_WITH_POINT = re.compile(rb"(?m)^[^\n#/%!]*\.\d")
_PLAIN_NUMBERS = "export numbers with a decimal point, and with nothing to part their thousands"


def looks_like_columns(data: bytes) -> bool:
    """Whether text holds rows of at least two numbers, after a head of names and comments."""
    head = Text(Source("", b""), data[:HEAD])
    try:
        return layout_of(head).columns >= 2
    except InputError:
        return False


def has_row(data: bytes) -> bool:
    """Whether a line of the text, wherever it stands, is of numbers alone, and of two at least."""
    lines = (line.strip() for line in without_quotes(data).split(b"\n"))
    rows = (dialect_of(line, has_decimal_commas([line])).split(line) for line in lines)
    return any(len(row) >= 2 and all(map(is_number, row)) for row in rows)


def read_text(source: Source) -> Scan:
    """Reads points from columns of text. Raises InputError naming the line of a row that is no numbers or has another length."""
    text = as_text(source)
    layout = layout_of(text)
    if layout.columns == 0:
        raise source.empty("no line of numbers")
    if layout.columns < 3:
        raise source.error(
            f"rows of {counted(layout.columns, 'number')}, where a point needs x, y and z", "save the points with three coordinates"
        )
    if len(layout.names) != layout.columns and parts_thousands(head_rows(text.data)):
        raise source.error(f"thousands are parted within its numbers, as in {_shown(text, layout)!r}", _PLAIN_NUMBERS)
    if layout.dialect.decimal_comma and commas_say_both(head_rows(text.data)):
        raise source.error(f"its commas may be decimal points or part columns, as in {_shown(text, layout)!r}", _PLAIN_NUMBERS)
    values, dropped = _values(text, layout)
    names = layout.names
    if len(names) != layout.columns or not coordinates_named(names):
        names = _guessed(source, layout, values, dropped)
    if layout.count is not None and layout.count != len(values):
        if layout.count > len(values):
            raise source.cut(len(values), layout.count, "point")
        raise source.error(f"header says {counted(layout.count, 'point')}, but the file holds {len(values):,}")
    if layout.dialect.decimal_comma:
        log.info("%s: commas in its numbers taken as decimal points", source.name)
    log.info("%s: columns taken as %s", source.name, said([name if column not in dropped else "" for column, name in enumerate(names)]))
    kept = [column for column, name in enumerate(names) if name and column not in dropped]
    return scan_of_columns(source, [names[column] for column in kept], [_whole(values[:, column]) for column in kept])


def _guessed(source: Source, layout: Layout, values: NDArray[np.float64], dropped: set[int]) -> list[str]:
    """Names of columns by their values, where their own do not say which are x, y and z; those keep theirs that are no coordinates."""
    names, usable = [""] * layout.columns, list(range(layout.columns))
    if layout.names:
        if len(layout.names) == layout.columns:
            names, usable = list(layout.names), may_be_coordinates(source, layout.names)
        elif coordinate_columns(layout.names) not in ([], [0, 1, 2]):
            what = f"{counted(len(layout.names), 'name')} for its {layout.columns} columns: {said(layout.names)[:80]}"
            raise source.error(what, "give each column a name")
        log.info("%s: the names of its columns say no x, y and z; taken by their values", source.name)
    usable = [column for column in usable if column not in dropped]
    if len(usable) < 3:
        raise source.error(
            f"{counted(len(usable), 'column')} of numbers, where a point needs x, y and z", "save the points with three coordinates"
        )
    intensity_first = layout.count is not None or source.name.lower().endswith(".pts")
    for column, name in zip(usable, guess_names(values[:, usable], intensity_first), strict=True):
        names[column] = name
    return names


def _shown(text: Text, layout: Layout) -> str:
    """The first row, for a message."""
    end = text.data.find(b"\n", layout.start)
    return text.data[layout.start : end if end >= 0 else None][:60].strip().decode("utf-8", "replace")


def _values(text: Text, layout: Layout) -> tuple[NDArray[np.float64], set[int]]:
    """The table (N, C), and its columns that hold words instead of numbers (as NaN)."""
    words = _columns_of_words(text, layout)
    if words or _has_gaps(text, layout):
        return _slow_values(text, layout, words), words
    _check_points(text, layout)
    rows = read_rows(with_comments(text, *COMMENTS), layout.start, columns=layout.columns, prepare=layout.dialect.with_blanks)
    return rows.values.reshape(-1, layout.columns), set()


def _check_points(text: Text, layout: Layout) -> None:
    """Raises InputError where numbers have decimal commas in some rows and points in others: one of them may part thousands."""
    if not layout.dialect.commas_are_decimal:
        return
    comma, point = (pattern.search(text.data, layout.start) for pattern in (_WITH_COMMA, _WITH_POINT))
    if comma is not None and point is not None:
        lines = [text.data.count(b"\n", 0, match.start()) for match in (comma, point)]
        what = f"a decimal {'point' if lines[1] >= lines[0] else 'comma'}, where line {text.line_number(min(lines))} has the other"
        raise text.error(max(lines), what, _PLAIN_NUMBERS)


def _has_gaps(text: Text, layout: Layout) -> bool:
    """Whether fields are empty somewhere, so that columns cannot be told by counting numbers."""
    delimiter = re.escape(layout.dialect.delimiter)
    if delimiter not in (b",", b";"):
        return False
    end = rb"" if layout.ends_with_delimiter else rb"|\r?\n"
    return re.search(delimiter + rb"[ \t\"]*(?:" + delimiter + end + rb")", text.data[layout.start :]) is not None


def _columns_of_words(text: Text, layout: Layout) -> set[int]:
    """The columns with a word in the first row, or in another of the head if their name is not that of a coordinate."""
    rows = rows_of_head(text.data, layout.start, layout.dialect)
    words = {column for row in rows[:1] for column, field in enumerate(row) if field and not is_number(field)}
    for column in _may_hold_words(layout) - words:
        if any(len(row) == layout.columns and row[column] and not is_number(row[column]) for row in rows):
            words.add(column)
    return words


def _may_hold_words(layout: Layout) -> set[int]:
    """The columns that are no coordinates, by their names."""
    coordinates = coordinate_columns(layout.names) if len(layout.names) == layout.columns else []
    return set(range(layout.columns)) - set(coordinates) if coordinates else set()


def _slow_values(text: Text, layout: Layout, words: set[int]) -> NDArray[np.float64]:
    """Rows with empty fields or words, field by field: NaN for what is empty. Adds to `words` the columns where some are found."""
    first = text.data.count(b"\n", 0, layout.start)
    rows: list[list[float]] = []
    may_hold = _may_hold_words(layout)
    lines = COMMENT.sub(b"", without_quotes(text.data[layout.start :])).rstrip().split(b"\n")
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        fields = layout.dialect.split(line)
        if line.rstrip().endswith(layout.dialect.delimiter):
            fields += [b""] * (layout.columns - len(fields))
        if len(fields) != layout.columns:
            cut = len(fields) < layout.columns and number == first + len(lines) - 1
            raise text.error(number, f"{counted(len(fields), 'field')} instead of {layout.columns:,}", DOWNLOAD_AGAIN if cut else EXPORT_AGAIN)
        values = [b"nan"] * layout.columns
        for index, field in enumerate(fields):
            if index in words or not field:
                continue
            if is_number(field):
                values[index] = field
            elif index in may_hold:
                words.add(index)
            else:
                raise text.error(number, f"{field[:40].decode('utf-8', 'replace')!r} is not a number")
        rows.append([np.nan if NOT_A_NUMBER.fullmatch(field) else float(field) for field in values])
    return np.array(rows).reshape(-1, layout.columns)


def _whole(column: NDArray[np.float64]) -> NDArray[np.generic]:
    """Labels and counts as integers: a column of whole numbers only."""
    if len(column) and np.isfinite(column).all() and (column == np.rint(column)).all() and np.abs(column).max() < 2**31:
        return column.astype(np.int32)
    return column
