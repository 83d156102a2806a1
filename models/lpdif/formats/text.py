"""Points as columns of text: XYZ, TXT, CSV, ASC and PTS, with or without names of the columns.

Columns are parted by blanks, tabs, commas or semicolons; see `dialect`. Names come from a first line that is no numbers, a comment
or not; a first line that is one whole number is the count of points (PTS). Without names, values tell what a column is.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.formats.columns import coordinates_named, guess_names, said, scan_of_columns
from lpdif.formats.dialect import Dialect, commas_say_both, dialect_of, has_decimal_commas, is_number, parts_thousands
from lpdif.formats.rows import LONGEST, NOT_A_NUMBER, read_rows
from lpdif.formats.source import DOWNLOAD_AGAIN, Source, Text, as_text, with_comments
from lpdif.scans import Scan
from lpdif.words import counted

log = logging.getLogger("lpdif")

_HEAD = 1 << 16  # names and comments are looked for in so many bytes
_COMMENTS = (b"#", b"//", b"%", b"!")
_COMMENT = re.compile(rb"(?<!1\.)(?:#|//|%|!)[^\n]*")
_LIKE_A_NUMBER = re.compile(rb"[-+.,'\d]*\d|[+-]?(?:nan|inf)", re.IGNORECASE)
_WITH_COMMA = re.compile(rb"(?m)^[^\n#/%!]*\d,\d")
_WITH_POINT = re.compile(rb"(?m)^[^\n#/%!]*\.\d")
_PLAIN_NUMBERS = "export numbers with a decimal point, and with nothing to part their thousands"


@dataclass(frozen=True)
class Layout:
    """What the first lines say: where the rows begin, what the columns are called and how rows are written, how many points."""

    start: int
    names: list[str]
    dialect: Dialect
    count: int | None
    columns: int


def looks_like_columns(data: bytes) -> bool:
    """Whether text holds rows of at least two numbers, after a head of names and comments."""
    head = Text(Source("", b""), data[:_HEAD])
    try:
        return _layout(head).columns >= 2
    except InputError:
        return False


def has_row(data: bytes) -> bool:
    """Whether a line of the text, wherever it stands, is of numbers alone, and of two at least."""
    lines = (line.replace(b'"', b" ").strip() for line in data.split(b"\n"))
    rows = (dialect_of(line, has_decimal_commas([line])).split(line) for line in lines)
    return any(len(row) >= 2 and all(map(is_number, row)) for row in rows)


def read_text(source: Source) -> Scan:
    """Reads points from columns of text. Raises InputError naming the line of a row that is no numbers or has another length."""
    text = as_text(source)
    layout = _layout(text)
    if layout.columns == 0:
        raise source.empty("no line of numbers")
    if layout.columns < 3:
        raise source.error(
            f"rows of {counted(layout.columns, 'number')}, where a point needs x, y and z", "save the points with three coordinates"
        )
    if len(layout.names) != layout.columns and parts_thousands(_head_rows(text.data)):
        raise source.error(f"thousands are parted within its numbers, as in {_shown(text, layout)!r}", _PLAIN_NUMBERS)
    if layout.dialect.decimal_comma and commas_say_both(_head_rows(text.data)):
        raise source.error(f"its commas may be decimal points or part columns, as in {_shown(text, layout)!r}", _PLAIN_NUMBERS)
    values, dropped = _values(text, layout)
    names = layout.names
    if len(names) != values.shape[1] or not coordinates_named(names):
        if names:
            log.info("%s: the names of its columns say no x, y and z; taken by their values", source.name)
        names = guess_names(values, intensity_first=layout.count is not None or source.name.lower().endswith(".pts"))
    if layout.count is not None and layout.count != len(values):
        if layout.count > len(values):
            raise source.cut(len(values), layout.count, "point")
        raise source.error(f"header says {counted(layout.count, 'point')}, but the file holds {len(values):,}")
    if layout.dialect.decimal_comma:
        log.info("%s: commas in its numbers taken as decimal points", source.name)
    log.info("%s: columns taken as %s", source.name, said([name if column not in dropped else "" for column, name in enumerate(names)]))
    kept = [column for column, name in enumerate(names) if name and column not in dropped]
    return scan_of_columns(source, [names[column] for column in kept], [_whole(values[:, column]) for column in kept])


def _shown(text: Text, layout: Layout) -> str:
    """The first row, for a message."""
    end = text.data.find(b"\n", layout.start)
    return text.data[layout.start : end if end >= 0 else None][:60].strip().decode("utf-8", "replace")


def _layout(text: Text) -> Layout:
    """Reads the head of the text: comments, at most one line of names, at most one count, then the first row."""
    names_line, named, count, place = b"", False, None, 0
    data = text.data
    decimal_comma = has_decimal_commas(_head_rows(data))
    while place < len(data):
        end = data.find(b"\n", place)
        end = len(data) if end < 0 else end
        if end - place > LONGEST:
            raise text.error(data.count(b"\n", 0, place), f"a line of {(end - place) / 2**20:.0f} MB is no row of numbers", DOWNLOAD_AGAIN)
        line = data[place:end].replace(b'"', b" ").strip()
        if _LIKE_A_NUMBER.match(line):
            line = _COMMENT.sub(b"", line).rstrip()
        dialect = dialect_of(line, decimal_comma)
        tokens = dialect.split(line)
        if line.startswith(_COMMENTS):
            if not named and _DATA_LIKE.match(line) is None:
                names_line = line.lstrip(b"#/%! \t") or names_line
        elif tokens and (all(map(is_number, tokens[:3])) or _has_words(tokens, _names(names_line))):
            if len(tokens) == 1 and count is None and tokens[0].isdigit() and len(tokens[0]) <= 20:
                count = int(tokens[0])
            else:
                return Layout(place, _names(names_line), dialect, count, len(tokens))
        elif tokens:
            if named or any(map(is_number, tokens)):
                raise text.error(data.count(b"\n", 0, place), f"{line[:40].decode('utf-8', 'replace')!r} is no row of numbers")
            names_line, named = line, True
        place = end + 1
        if place > _HEAD:
            raise text.source.error(f"no rows of numbers in its first {_HEAD} bytes")
    return Layout(len(data), [], Dialect(b" "), count, 0)


def _head_rows(data: bytes) -> list[bytes]:
    """The lines of the head that look like rows of numbers, without quotes and comments."""
    lines = data[:_HEAD].split(b"\n")
    lines = lines[:-1] if len(data) > _HEAD else lines  # the last may be cut there
    lines = [_COMMENT.sub(b"", line.replace(b'"', b" ")).strip() for line in lines]
    return [line for line in lines if _LIKE_A_NUMBER.match(line) and not line.isdigit()]


def _names(line: bytes) -> list[str]:
    delimiter = dialect_of(line).delimiter
    return [name.decode("utf-8", "replace") for name in (line.split(delimiter) if delimiter != b" " else line.split())]


def _has_words(tokens: list[bytes], names: list[str]) -> bool:
    """Whether a row has words in some columns, and the names to tell which are the coordinates."""
    return len(tokens) == len(names) and coordinates_named(names) and sum(map(is_number, tokens)) >= 3


_DATA_LIKE = re.compile(rb"[#/%!]+\s*[-+.,\d\s]+$")  # a comment of nothing but numbers gives no names


def _values(text: Text, layout: Layout) -> tuple[NDArray[np.float64], set[int]]:
    """The table (N, C), and its columns that hold words instead of numbers (as NaN)."""
    words = _columns_of_words(text, layout)
    if words or _has_gaps(text.data, layout.dialect.delimiter):
        return _slow_values(text, layout, words), words
    _check_points(text, layout)
    rows = read_rows(with_comments(text, *_COMMENTS), layout.start, columns=layout.columns, prepare=layout.dialect.with_blanks)
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


def _has_gaps(data: bytes, delimiter: bytes) -> bool:
    """Whether fields are empty somewhere, so that columns cannot be told by counting numbers."""
    if delimiter not in (b",", b";"):
        return False
    return re.search(re.escape(delimiter) + rb"[ \t]*" + re.escape(delimiter), data) is not None


def _columns_of_words(text: Text, layout: Layout) -> set[int]:
    end = text.data.find(b"\n", layout.start)
    line = _COMMENT.sub(b"", text.data[layout.start : end if end >= 0 else None].replace(b'"', b" "))
    return {index for index, token in enumerate(layout.dialect.split(line)) if token and not is_number(token)}


def _slow_values(text: Text, layout: Layout, words: set[int]) -> NDArray[np.float64]:
    """Rows with empty fields or words, field by field: NaN for what is empty."""
    first = text.data.count(b"\n", 0, layout.start)
    rows: list[list[float]] = []
    for number, line in enumerate(_COMMENT.sub(b"", text.data[layout.start :].replace(b'"', b" ")).split(b"\n"), first):
        if not line.strip():
            continue
        fields = layout.dialect.split(line)
        if line.rstrip().endswith(layout.dialect.delimiter):
            fields += [b""] * (layout.columns - len(fields))
        if len(fields) != layout.columns:
            raise text.error(number, f"{counted(len(fields), 'field')} instead of {layout.columns:,}")
        values = [field if field and index not in words else b"nan" for index, field in enumerate(fields)]
        for field in values:
            if not is_number(field):
                raise text.error(number, f"{field[:40].decode('utf-8', 'replace')!r} is not a number")
        rows.append([np.nan if NOT_A_NUMBER.fullmatch(field) else float(field) for field in values])
    return np.array(rows).reshape(-1, layout.columns)


def _whole(column: NDArray[np.float64]) -> NDArray[np.generic]:
    """Labels and counts as integers: a column of whole numbers only."""
    if len(column) and np.isfinite(column).all() and (column == np.rint(column)).all() and np.abs(column).max() < 2**31:
        return column.astype(np.int32)
    return column
