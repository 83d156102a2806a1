"""The header of a table: what stands before the rows, and how the rows are written.

It may hold comments, titles, column names and a count of points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from lpdif.io.source import DOWNLOAD_AGAIN, HEAD_BYTES, Text
from lpdif.io.table.columns import coordinates_named
from lpdif.io.table.dialect import Dialect, dialect_of, has_decimal_commas, is_number, without_quotes
from lpdif.io.table.numbers import MOST_NUMBERS_IN_LINE

COMMENTS = (b"#", b"//", b"%", b"!")
COMMENT = re.compile(rb"(?<!1\.)(?:#|//|%|!)[^\n]*")
_LIKE_A_NUMBER = re.compile(rb"[-+.,'\d]*\d|[+-]?(?:nan|inf)", re.IGNORECASE)
_DATA_LIKE = re.compile(rb"[#/%!]+\s*[-+.,\d\s]+$")  # a comment of numbers alone gives no names
_LABEL = re.compile(rb"[A-Za-z_ ]+[:=][ \t]+")  # "columns: x y z"
_SEPARATOR = re.compile(rb"sep=.", re.IGNORECASE)  # it tells Excel the delimiter
_ROW_NAME = re.compile(rb'\s*"[^"\n]*"[\s,;|]+[^"\s]')  # in quotes, before values without quotes
_MOST_TITLES = 10  # So many lines of words may stand before the rows.
_ROWS_LOOKED_AT = 50  # So many first rows tell how all are written.


@dataclass(frozen=True)
class Layout:
    """The layout of a table.

    It holds the byte at which the rows begin, names and number of the columns, the dialect, and the count of points. names: empty where there
    are none; count: None where the header gives none; ends_with_delimiter: whether rows end with a delimiter, behind which there is no other
    field.
    """

    start: int
    names: list[str]
    dialect: Dialect
    count: int | None
    columns: int
    ends_with_delimiter: bool = False


@dataclass
class _Lines:
    """The lines before the rows, which may name the columns.

    comments, titles: the words of lines that are comments, and of others; lines: number and text of the latter; naming: which of these
    names the coordinates.
    """

    comments: list[list[str]] = field(default_factory=list)
    titles: list[list[str]] = field(default_factory=list)
    lines: list[tuple[int, bytes]] = field(default_factory=list)
    naming: int | None = None

    def add_comment(self, line: bytes) -> None:
        """Adds a comment; only the last ones are kept."""
        self.comments = (self.comments + _candidates(line))[-2 * _MOST_TITLES :]

    def add_title(self, line: bytes, number: int, are_names: bool = False) -> None:
        """Adds a line that is no comment. are_names: whether it names the columns whatever its words are."""
        candidates = _candidates(line)
        if are_names or any(map(coordinates_named, candidates)):
            self.naming = len(self.lines)
        self.titles += candidates
        self.lines.append((number, line))

    def names(self, columns: int, after_row_names: bool = False) -> list[str]:
        """The names of so many columns: those of the last line that names coordinates, else of the last line.

        after_row_names: whether the first column holds the names of rows. A line may leave out the name of that column, as R does; it is "".
        """
        for names in reversed(self.comments + self.titles):
            for some in (names, names[1:]):
                if len(some) == columns and coordinates_named(some):
                    return some
            if after_row_names and len(names) == columns - 1 and coordinates_named(names):
                return ["", *names]
        if after_row_names and self.titles and len(self.titles[-1]) == columns - 1:
            return ["", *self.titles[-1]]
        return (self.titles or self.comments or [[]])[-1]

    def unread(self, count: int | None) -> tuple[int, bytes] | None:
        """The first of the lines behind the column names, or of all where there are none, that may be a row with something wrong in it.

        None where there is none: the others are titles and units.
        """
        if count is not None and self.naming is None:
            return next(iter(self.lines[1:]), None)
        return next((line for line in self.lines[0 if self.naming is None else self.naming + 1 :] if _may_be_row(line[1])), None)

    def may_have_labels(self, count: int | None) -> bool:
        """Whether rows may begin with a word: there are no column names, and no title but one behind a count."""
        return self.naming is None and len(self.lines) <= (count is not None)


def layout_of(text: Text) -> Layout:
    """Reads the header of a table, up to the first row.

    Raises InputError naming a line that does not belong there.
    """
    data, place, number, count, before = text.data, 0, 0, None, _Lines()
    decimal_comma = has_decimal_commas(head_rows(data))
    while place < len(data):
        end = data.find(b"\n", place)
        end = len(data) if end < 0 else end
        if end - place > MOST_NUMBERS_IN_LINE:
            raise text.error(number, f"a line of {(end - place) / 2**20:.0f} MB is no row of numbers", DOWNLOAD_AGAIN)
        line = without_quotes(data[place:end]).strip()
        if _LIKE_A_NUMBER.match(line):
            line = COMMENT.sub(b"", line).rstrip()
        dialect = dialect_of(line, decimal_comma)
        tokens = dialect.split(line)
        if line.startswith(COMMENTS):
            if _DATA_LIKE.match(line) is None:
                before.add_comment(line.lstrip(b"#/%! \t") or line)
        elif len(tokens) == 1 and count is None and tokens[0].isdigit() and len(tokens[0]) <= 20:
            count = int(tokens[0])
        elif _are_column_numbers(tokens) and not _some_whole(data, end, dialect, len(tokens)):
            before.add_title(line, number, are_names=True)
        elif tokens and (all(map(is_number, tokens[:3])) or _has_words(tokens, before)):
            return _with_rows(text, place, line, dialect, count, before)
        elif before.may_have_labels(count) and _is_labelled(tokens) and _all_labelled(data, end, dialect, len(tokens)):
            return Layout(place, [], dialect, count, len(tokens))
        elif tokens and _SEPARATOR.fullmatch(line) is None:
            before.add_title(line, number)
            if len(before.lines) > _MOST_TITLES:
                raise text.error(number, f"{line[:40].decode('utf-8', 'replace')!r} is no row of numbers")
        place, number = end + 1, number + 1
        if place > HEAD_BYTES:
            raise text.source.error(f"no rows of numbers in its first {HEAD_BYTES} bytes")
    return Layout(len(data), [], Dialect(b" "), count, 0)


def _with_rows(text: Text, place: int, line: bytes, dialect: Dialect, count: int | None, before: _Lines) -> Layout:
    """The layout of a table whose first row is `line`, at the byte `place`."""
    unread = before.unread(count)
    if unread is not None:
        raise text.error(unread[0], f"{unread[1][:40].decode('utf-8', 'replace')!r} is no row of numbers")
    columns = len(dialect.split(line))
    ends_with_delimiter = line.endswith(dialect.delimiter)
    if ends_with_delimiter and len(before.names(columns + 1)) == columns + 1:  # the last field is empty in this row
        columns, ends_with_delimiter = columns + 1, False
    names = before.names(columns, after_row_names=_has_row_names(text.data, place, dialect))
    return Layout(place, names, dialect, count, columns, ends_with_delimiter)


def head_rows(data: bytes) -> list[bytes]:
    """The first lines of a file that look like rows of numbers, without quotes and comments."""
    lines = [COMMENT.sub(b"", line).strip() for line in _lines(data, 0)]
    return [line for line in lines if _LIKE_A_NUMBER.match(line) and not line.isdigit()]


def rows_of_head(data: bytes, start: int, dialect: Dialect) -> list[list[bytes]]:
    """The fields of the first rows from the byte `start` on, without empty lines."""
    lines = (COMMENT.sub(b"", line) for line in _lines(data, start))
    return [dialect.split(line) for line in lines if line.strip()]


def _lines(data: bytes, start: int) -> list[bytes]:
    """The lines in HEAD_BYTES from `start` on, without quotes.

    The last one is left out where it goes on behind them.
    """
    lines = without_quotes(data[start : start + HEAD_BYTES]).split(b"\n")
    return lines[:-1] if len(data) > start + HEAD_BYTES else lines


def _candidates(line: bytes) -> list[list[str]]:
    """The words of a line as names, first without a label before them, and with it."""
    label = _LABEL.match(line)
    return [_names(line[label.end() :]), _names(line)] if label else [_names(line)]


def _names(line: bytes) -> list[str]:
    """The fields of a line as names of columns."""
    delimiter = dialect_of(line).delimiter
    try:
        words = line.decode()
    except UnicodeDecodeError:
        words = line.decode("latin-1")
    names = words.split(delimiter.decode()) if delimiter != b" " else words.split()
    return names[:-1] if len(names) > 1 and not names[-1].strip() else names


def _has_words(tokens: list[bytes], before: _Lines) -> bool:
    """Whether a line is a row with words in some columns.

    Then names tell the coordinates, or the only word is the name of the row.
    """
    names = before.names(len(tokens), after_row_names=not is_number(tokens[0]))
    named = coordinates_named(names) or (names[0] == "" and _is_labelled(tokens)) if len(names) == len(tokens) else False
    return named and sum(map(is_number, tokens)) >= 3


def _has_row_names(data: bytes, start: int, dialect: Dialect) -> bool:
    """Whether the first field of rows is their name.

    It is a word, a number from 0 or 1 on, or quoted where values are not.
    """
    first = [row[0] for row in rows_of_head(data, start, dialect)[:_ROWS_LOOKED_AT]]
    if _ROW_NAME.match(data, start) or not is_number(first[0]):
        return True
    return len(first) > 3 and any(first == [b"%d" % number for number in range(least, least + len(first))] for least in (0, 1))


def _may_be_row(line: bytes) -> bool:
    """Whether a line may be a row: it has three numbers, or begins with one and has another, or begins with two fields like numbers."""
    fields = dialect_of(line).split(line)
    numbers = sum(map(is_number, fields))
    if numbers < 2:
        return numbers == 1 and len(fields) > 1 and all(_LIKE_A_NUMBER.match(field) for field in fields[:2])
    return numbers >= 3 or is_number(fields[0])


def _are_column_numbers(tokens: list[bytes]) -> bool:
    """Whether fields are 0, 1, 2..., maybe behind an empty one.

    Programs write that where columns have no names.
    """
    numbers = tokens[1:] if tokens and not tokens[0] else tokens
    return len(numbers) >= 3 and numbers == [b"%d" % column for column in range(len(numbers))]


def _some_whole(data: bytes, start: int, dialect: Dialect, columns: int) -> bool:
    """Whether there are no rows below, or one of them holds whole numbers alone."""
    rows = rows_of_head(data, start, dialect)[:_ROWS_LOOKED_AT]
    return not rows or any(len(row) != columns or all(field.lstrip(b"+-").isdigit() for field in row) for row in rows[:-1] or rows)


def _is_labelled(tokens: list[bytes]) -> bool:
    """Whether a row is a word with three or more numbers behind it."""
    return len(tokens) >= 4 and bool(tokens[0]) and not is_number(tokens[0]) and all(map(is_number, tokens[1:]))


def _all_labelled(data: bytes, start: int, dialect: Dialect, columns: int) -> bool:
    """Whether all of the first rows are so, with this number of columns."""
    return all(len(row) == columns and _is_labelled(row) for row in rows_of_head(data, start, dialect)[:_ROWS_LOOKED_AT][:-1])
