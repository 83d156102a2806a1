"""Points as columns of text: XYZ, TXT, CSV, ASC and PTS, with or without names of the columns.

Columns are parted by blanks, tabs, commas or semicolons. Names come from a first line that is no numbers, a comment
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
from lpdif.formats.rows import LONGEST, NOT_A_NUMBER, Bytes, read_rows
from lpdif.formats.source import DOWNLOAD_AGAIN, Source, Text, as_text, with_comments
from lpdif.scans import Scan
from lpdif.words import counted

log = logging.getLogger("lpdif")

_HEAD = 1 << 16  # names and comments are looked for in so many bytes
_COMMENTS = (b"#", b"//", b"%", b"!")
_COMMENT = re.compile(rb"(?<!1\.)(?:#|//|%|!)[^\n]*")
_DECIMAL_COMMA = re.compile(rb"(?<=\d),(?=\d)")
_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """What the first lines say: where the rows begin, what the columns are called and how they are parted, how many points."""

    start: int
    names: list[str]
    delimiter: bytes
    count: int | None
    columns: int


def _is_number(word: bytes) -> bool:
    return _NUMBER.fullmatch(word) is not None or NOT_A_NUMBER.fullmatch(word) is not None


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
    rows = (_split(line, _delimiter(line)) for line in lines)
    return any(len(row) >= 2 and all(map(_is_number, row)) for row in rows)


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
    log.info("%s: columns taken as %s", source.name, said([name if column not in dropped else "" for column, name in enumerate(names)]))
    kept = [column for column, name in enumerate(names) if name and column not in dropped]
    return scan_of_columns(source, [names[column] for column in kept], [_whole(values[:, column]) for column in kept])


def _layout(text: Text) -> Layout:
    """Reads the head of the text: comments, at most one line of names, at most one count, then the first row."""
    names_line, named, count, place = b"", False, None, 0
    data = text.data
    while place < len(data):
        end = data.find(b"\n", place)
        end = len(data) if end < 0 else end
        if end - place > LONGEST:
            raise text.error(data.count(b"\n", 0, place), f"a line of {(end - place) / 2**20:.0f} MB is no row of numbers", DOWNLOAD_AGAIN)
        line = data[place:end].replace(b'"', b" ").strip()
        tokens = _split(line, _delimiter(line))
        if line.startswith(_COMMENTS):
            if not named and _DATA_LIKE.match(line) is None:
                names_line = line.lstrip(b"#/%! \t") or names_line
        elif tokens and (all(map(_is_number, tokens[:3])) or _has_words(tokens, _names(names_line))):
            if len(tokens) == 1 and count is None and tokens[0].isdigit() and len(tokens[0]) <= 20:
                count = int(tokens[0])
            else:
                return Layout(place, _names(names_line), _delimiter(line), count, len(tokens))
        elif tokens:
            if named or any(map(_is_number, tokens)):
                raise text.error(data.count(b"\n", 0, place), f"{line[:40].decode('utf-8', 'replace')!r} is no row of numbers")
            names_line, named = line, True
        place = end + 1
        if place > _HEAD:
            raise text.source.error(f"no rows of numbers in its first {_HEAD} bytes")
    return Layout(len(data), [], b"", count, 0)


def _names(line: bytes) -> list[str]:
    delimiter = _delimiter(line)
    return [name.decode("utf-8", "replace") for name in (line.split(delimiter) if delimiter != b" " else line.split())]


def _has_words(tokens: list[bytes], names: list[str]) -> bool:
    """Whether a row has words in some columns, and the names to tell which are the coordinates."""
    return len(tokens) == len(names) and coordinates_named(names) and sum(map(_is_number, tokens)) >= 3


_DATA_LIKE = re.compile(rb"[#/%!]+\s*[-+.\d\s]+$")  # a comment of nothing but numbers gives no names


def _delimiter(line: bytes) -> bytes:
    for delimiter in (b";", b"\t", b","):
        if delimiter in line:
            return delimiter
    return b" "


def _split(line: bytes, delimiter: bytes) -> list[bytes]:
    if delimiter in (b";", b","):
        fields = [field.strip() for field in line.split(delimiter)]
        fields = fields[:-1] if fields and not fields[-1] else fields  # a delimiter at the end parts nothing
        if delimiter == b",":  # "1 , 2 3": blanks part columns too
            return [part for field in fields for part in (field.split() or [b""])]
        return [_DECIMAL_COMMA.sub(b".", field) for field in fields]
    return line.split()


def _values(text: Text, layout: Layout) -> tuple[NDArray[np.float64], set[int]]:
    """The table (N, C), and its columns that hold words instead of numbers (as NaN)."""
    words = _columns_of_words(text, layout)
    if words or _has_gaps(text.data, layout.delimiter):
        return _slow_values(text, layout, words), words

    def with_blanks(block: Bytes) -> Bytes:
        if layout.delimiter == b";":
            block = np.where(block == 44, np.uint8(46), block)  # commas are decimal points then
        return np.where((block == 44) | (block == 59) | (block == 34), np.uint8(32), block)

    rows = read_rows(with_comments(text, *_COMMENTS), layout.start, columns=layout.columns, prepare=with_blanks)
    return rows.values.reshape(-1, layout.columns), set()


def _has_gaps(data: bytes, delimiter: bytes) -> bool:
    """Whether fields are empty somewhere, so that columns cannot be told by counting numbers."""
    if delimiter not in (b",", b";"):
        return False
    return re.search(re.escape(delimiter) + rb"[ \t]*" + re.escape(delimiter), data) is not None


def _columns_of_words(text: Text, layout: Layout) -> set[int]:
    end = text.data.find(b"\n", layout.start)
    line = _COMMENT.sub(b"", text.data[layout.start : end if end >= 0 else None].replace(b'"', b" "))
    return {index for index, token in enumerate(_split(line, layout.delimiter)) if token and not _is_number(token)}


def _slow_values(text: Text, layout: Layout, words: set[int]) -> NDArray[np.float64]:
    """Rows with empty fields or words, field by field: NaN for what is empty."""
    first = text.data.count(b"\n", 0, layout.start)
    rows: list[list[float]] = []
    for number, line in enumerate(_COMMENT.sub(b"", text.data[layout.start :].replace(b'"', b" ")).split(b"\n"), first):
        if not line.strip():
            continue
        fields = _split(line, layout.delimiter)
        fields += [b""] * (layout.columns - len(fields) if len(fields) < layout.columns and line.rstrip().endswith(layout.delimiter) else 0)
        if len(fields) != layout.columns:
            raise text.error(number, f"{counted(len(fields), 'field')} instead of {layout.columns:,}")
        try:
            rows.append([np.nan if index in words or not field else float(field) for index, field in enumerate(fields)])
        except ValueError:
            bad = next(field for index, field in enumerate(fields) if index not in words and field and not _is_number(field))
            raise text.error(number, f"{bad[:40].decode('utf-8', 'replace')!r} is not a number") from None
    return np.array(rows).reshape(-1, layout.columns)


def _whole(column: NDArray[np.float64]) -> NDArray[np.generic]:
    """Labels and counts as integers: a column of whole numbers only."""
    if len(column) and np.isfinite(column).all() and (column == np.rint(column)).all() and np.abs(column).max() < 2**31:
        return column.astype(np.int32)
    return column
