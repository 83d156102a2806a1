"""Reads rows of tables field by field, where some fields are empty or hold words.

That is slower than `numbers.read_rows`, which counts the numbers of a line and so cannot tell which column is empty.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from lpdif.io.source import DOWNLOAD_AGAIN, EXPORT_AGAIN, Text
from lpdif.io.table.columns import coordinate_columns
from lpdif.io.table.dialect import CERTAIN_DELIMITERS, is_number, without_quotes
from lpdif.io.table.header import COMMENT, Layout, rows_of_head
from lpdif.io.table.numbers import number_of
from lpdif.text import counted


def has_gaps(text: Text, layout: Layout) -> bool:
    """Whether some fields are empty, so that counting numbers does not tell their columns."""
    if layout.dialect.delimiter not in (b",", *CERTAIN_DELIMITERS):
        return False
    delimiter = re.escape(layout.dialect.delimiter)
    end = rb"" if layout.ends_with_delimiter else rb"|\r?\n"
    return re.search(delimiter + rb"[ \t\"]*(?:" + delimiter + end + rb")", text.data[layout.start :]) is not None


def columns_of_words(text: Text, layout: Layout) -> set[int]:
    """The columns that hold a word in the first row.

    Where their name is not that of a coordinate, a word in one of the first rows is enough.
    """
    rows = rows_of_head(text.data, layout.start, layout.dialect)
    words = {column for row in rows[:1] for column, field in enumerate(row) if field and not is_number(field)}
    for column in _may_hold_words(layout) - words:
        if any(len(row) == layout.columns and row[column] and not is_number(row[column]) for row in rows):
            words.add(column)
    return words


def _may_hold_words(layout: Layout) -> set[int]:
    """The columns that may hold words.

    They are those whose names are not of coordinates, where names tell the coordinates.
    """
    coordinates = coordinate_columns(layout.names) if len(layout.names) == layout.columns else []
    return set(range(layout.columns)) - set(coordinates) if coordinates else set()


def values_field_by_field(text: Text, layout: Layout, words: set[int]) -> NDArray[np.float64]:
    """The table (N, C) of rows with empty fields or words, which become NaN; read field by field.

    Adds further columns of words to `words`. Raises InputError naming the line of a row that is wrong.
    """
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
        rows.append(list(map(number_of, values)))
    return np.array(rows).reshape(-1, layout.columns)
