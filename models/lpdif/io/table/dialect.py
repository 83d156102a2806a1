"""The dialect of a table: what separates its fields, and whether commas are decimal points.

A comma beside a blank or tab separates fields. A comma between two digits does so too where nothing else separates fields, or where decimal
commas would make no numbers; but `107,271 117,286 106,952` are three numbers. A semicolon or a bar always separates fields, and commas beside
one are decimal points. Numbers with separated thousands are refused: their commas look like those between fields.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lpdif.io.table.numbers import NOT_A_NUMBER, Bytes

_DECIMAL_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_COMMA_NUMBER = re.compile(rb"[+-]?\d+(?:,\d+)?(?:[eEdD][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(rb"(?<=\d),(?=\d)")
_FIELD_GAP = re.compile(rb"\s*,\s+|\s+,\s*|\s+")  # between fields where commas between digits are decimal points
_COMMA_AT_NUMBER = re.compile(rb"\d\s*,[\t\d]")
_THOUSANDS = re.compile(rb"[+-]?\d{1,3}(?:(?:,\d{3})+(?:\.\d+)?|(?:\.\d{3})+,\d+)")
_QUOTED = re.compile(rb'"([^"\n]*)"')
_NUMERIC = re.compile(rb"[-+.,;\seE\d]*")
_NOT_IN_A_WORD = re.compile(rb"[\s,;#%!/]")
CERTAIN_DELIMITERS = (b";", b"|")  # delimiters that have no other use in a table of numbers
_NO_BREAK, _MINUS = "\u00a0".encode(), "\u2212".encode()
_NO_BREAK_IN_NUMBER = re.compile(rb"(?m)^(?=.*\d" + _NO_BREAK + rb"\d{3}(?!\d)).*\d[ \t,;|]+[-+.\d]")  # between thousands
_SEGMENT = re.compile(rb"(?m)^[ \t]*>[^\n]*")
_BRACKETS = re.compile(rb"\s*[\[({]+\s*[-+.\d]")  # as Python and Grasshopper write points
_NO_BRACKETS = bytes.maketrans(b"[](){}", b"      ")
_PADDING = (b"\x00", b"\x1a")  # behind the last line of some files: zeros, or the Ctrl-Z of CP/M and DOS
_ALL_WITH_POINTS = re.compile(rb"(?:[+-]?\d{1,3}(?:,\d{3})*\.\d+(?:,|$)){3,}")


def is_number(word: bytes) -> bool:
    """Whether a word is a number with a decimal point, in any spelling.

    NaN, infinity and marks for missing numbers are too.
    """
    return _DECIMAL_NUMBER.fullmatch(word) is not None or NOT_A_NUMBER.fullmatch(word) is not None


def in_plain_letters(data: bytes) -> bytes:
    """The same lines with blanks for no-break spaces, and hyphens for minus signs.

    Brackets around points are blanks too, where the file begins with one. The segment headers of GMT ("> one") become empty lines. Zeros and
    a Ctrl-Z behind the last line are left out. No-break spaces between thousands stay.
    """
    if data[-64:].rstrip(b"\r\n").endswith(_PADDING):
        data = data.rstrip(b"\x00\x1a\r\n") + b"\n"
    if _BRACKETS.match(data):
        data = data.translate(_NO_BRACKETS)
    if _MINUS in data:
        data = data.replace(_MINUS, b"-")
    if _NO_BREAK in data and not _NO_BREAK_IN_NUMBER.search(data):
        data = data.replace(_NO_BREAK, b" ")
    return _SEGMENT.sub(b"", data) if b">" in data else data


@dataclass(frozen=True)
class Dialect:
    """What separates fields: a semicolon, a bar, a tab, a comma or blanks.

    Beside commas, blanks may separate fields too. decimal_comma: whether commas between digits are decimal points where the delimiter is none
    of CERTAIN_DELIMITERS. Beside one of those they always are.
    """

    delimiter: bytes
    decimal_comma: bool = False

    @property
    def commas_are_decimal(self) -> bool:
        """Whether a comma between two digits is a decimal point."""
        return self.decimal_comma or self.delimiter in CERTAIN_DELIMITERS

    def split(self, line: bytes) -> list[bytes]:
        """The fields of a line, numbers with decimal points."""
        if self.delimiter in CERTAIN_DELIMITERS:
            return [_DECIMAL_COMMA.sub(b".", field.strip()) for field in _without_last(line.split(self.delimiter))]
        if self.decimal_comma:
            return [_DECIMAL_COMMA.sub(b".", field) for field in _without_last(_FIELD_GAP.split(line.strip()))]
        if self.delimiter == b",":
            return [part for field in _without_last(line.split(b",")) for part in _parts(field) or [b""]]
        if self.delimiter == b"\t":
            return [part for field in line.split(b"\t") for part in _parts(field)]
        return line.split()

    def with_blanks(self, block: Bytes) -> Bytes:
        """The same block of rows with blanks between fields, and decimal points for decimal commas."""
        comma = block == 44
        if self.commas_are_decimal:
            digit = (block >= 48) & (block <= 57)
            decimal = comma.copy()
            decimal[:1] = decimal[-1:] = False
            decimal[1:] &= digit[:-1]
            decimal[:-1] &= digit[1:]
            block = np.where(decimal, np.uint8(46), block)
            comma &= ~decimal
        separates = (block == 34) | (block == ord(self.delimiter) if self.delimiter in CERTAIN_DELIMITERS else comma | (block == 59))
        return np.where(separates, np.uint8(32), block)


def dialect_of(line: bytes, decimal_comma: bool = False) -> Dialect:
    """The dialect of a line.

    decimal_comma: whether commas between digits are decimal points, where the delimiter does not tell.
    """
    for delimiter in CERTAIN_DELIMITERS:
        if delimiter in line:
            return Dialect(delimiter)
    if b"," in line and (b"\t" not in line or _COMMA_AT_NUMBER.search(line)):
        return Dialect(b",", decimal_comma)
    return Dialect(b"\t" if b"\t" in line else b" ", decimal_comma)


def has_decimal_commas(rows: Sequence[bytes]) -> bool:
    """Whether rows are numbers with decimal commas, separated by something else.

    rows: without quotes and comments.
    """
    rows = _without_certain_delimiter(rows)
    return any(_DECIMAL_COMMA.search(row) for row in rows) and all(map(_may_have_decimal_commas, rows))


def _without_certain_delimiter(rows: Sequence[bytes]) -> list[bytes]:
    """The rows that hold none of CERTAIN_DELIMITERS."""
    return [row for row in rows if not any(delimiter in row for delimiter in CERTAIN_DELIMITERS)]


def _may_have_decimal_commas(row: bytes) -> bool:
    """Whether all commas between the digits of a row may be decimal points."""
    fields = _without_last(_FIELD_GAP.split(row.strip()))
    if len(fields) < 2 or any(b"." in field and is_number(field) for field in fields):
        return False
    if len(fields) == 2 and not all(b"," in field for field in fields):
        return False
    return all(_COMMA_NUMBER.fullmatch(field) for field in fields if b"," in field)


def has_ambiguous_commas(rows: Sequence[bytes]) -> bool:
    """Whether rows have decimal commas and commas between fields, and some coordinate no comma.

    `1, 2, 3,4` may be three fields or four.
    """
    rows = _without_certain_delimiter(rows)
    table = [_without_last(_FIELD_GAP.split(row.strip())) for row in rows]
    plain = any(all(b"," not in fields[column] for fields in table if column < len(fields)) for column in range(3))
    return plain and any(b"," in _DECIMAL_COMMA.sub(b"", row).rstrip(b", \t") for row in rows)


def separates_thousands(rows: Sequence[bytes]) -> bool:
    """Whether the numbers of rows have separated thousands.

    Commas are between them, or points where there is a decimal comma.
    """
    rows = [row for row in _without_certain_delimiter(rows) if b"," in row]
    return bool(rows) and (all(map(_row_separates_thousands, rows)) or all(map(_commas_separate_all, rows)))


def _row_separates_thousands(row: bytes) -> bool:
    """Whether the numbers of a row have separated thousands, and something else separates its fields."""
    fields = _without_last(_FIELD_GAP.split(row.strip()))
    commas = [field for field in fields if b"," in field]
    certain = any(b"." in field or field.count(b",") > 1 for field in commas)
    return len(fields) >= 3 and certain and all(map(_THOUSANDS.fullmatch, commas))


def _commas_separate_all(row: bytes) -> bool:
    """Whether commas separate both the thousands and the fields of a row: "1,234.5,2,345.6,3,456.7"."""
    with_points = row.count(b".")
    return _ALL_WITH_POINTS.fullmatch(row) is not None and row.count(b",") + 1 - with_points >= 2


def without_quotes(text: bytes) -> bytes:
    """Text with blanks for quotes.

    What is quoted becomes one word, unless it is numbers: `"tall, green"` is `tall__green`.
    """
    if b'"' not in text:
        return text
    return _QUOTED.sub(_one_word, text).replace(b'"', b" ")


def _one_word(quoted: re.Match[bytes]) -> bytes:
    """Quoted words as one word; quoted numbers as they are."""
    words = quoted[1]
    return b" " + (words if _NUMERIC.fullmatch(words) else _NOT_IN_A_WORD.sub(b"_", words.strip())) + b" "


def _parts(field: bytes) -> list[bytes]:
    """The columns of a field: blanks separate numbers in it, as in `1 , 2 3`, but not words."""
    parts = field.split()
    return parts if len(parts) < 2 or all(map(is_number, parts)) else [b" ".join(parts)]


def _without_last(fields: list[bytes]) -> list[bytes]:
    """The fields without an empty last one, since a delimiter at the end of a row separates nothing."""
    return fields[:-1] if fields and not fields[-1].strip() else fields
