"""How rows of text are written: what parts their fields, and whether a comma among digits is a decimal point.

A comma with a blank or a tab at its side parts fields. One between two digits does so too where nothing else parts fields, or where
taking it for a decimal point makes no numbers; but `107,271 117,286 106,952` are three numbers. What parts thousands is refused: it
cannot be told from what parts fields. A semicolon or a bar parts fields for sure, and commas beside it are decimal points.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lpdif.io.table.numbers import NOT_A_NUMBER, Bytes

_NUMBER = re.compile(rb"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.IGNORECASE)
_COMMA_NUMBER = re.compile(rb"[+-]?\d+(?:,\d+)?(?:[eEdD][+-]?\d+)?")
_DECIMAL_COMMA = re.compile(rb"(?<=\d),(?=\d)")
_FIELD_GAP = re.compile(rb"\s*,\s+|\s+,\s*|\s+")  # between fields, where a comma among digits is none of what parts them
_COMMA_AT_NUMBER = re.compile(rb"\d\s*,[\t\d]")
_THOUSANDS = re.compile(rb"[+-]?\d{1,3}(?:(?:,\d{3})+(?:\.\d+)?|(?:\.\d{3})+,\d+)")
_QUOTED = re.compile(rb'"([^"\n]*)"')
_NUMERIC = re.compile(rb"[-+.,;\seE\d]*")
_NOT_IN_A_WORD = re.compile(rb"[\s,;#%!/]")
CERTAIN_DELIMITERS = (b";", b"|")  # delimiters that are nothing else
_NO_BREAK, _MINUS = "\u00a0".encode(), "\u2212".encode()
_IN_A_NUMBER = re.compile(rb"(?m)^(?=.*\d" + _NO_BREAK + rb"\d{3}(?!\d)).*\d[ \t,;|]+[-+.\d]")  # parts thousands, as another mark parts fields
_SEGMENT = re.compile(rb"(?m)^[ \t]*>[^\n]*")
_ENDS = (b"\x00", b"\x1a")  # of files: what is left of a disk's sector, and the mark of CP/M and DOS
_ALL_WITH_POINTS = re.compile(rb"(?:[+-]?\d{1,3}(?:,\d{3})*\.\d+(?:,|$)){3,}")


def is_number(word: bytes) -> bool:
    """Whether a word is a number with a decimal point, or one that is none, in any spelling."""
    return _NUMBER.fullmatch(word) is not None or NOT_A_NUMBER.fullmatch(word) is not None


def in_plain_letters(data: bytes) -> bytes:
    """The same lines with a blank for each no-break space, a hyphen for each minus sign, and nothing where segments part (GMT: "> one").

    Zeros and a Ctrl-Z behind the last line are left out. A no-break space that parts thousands stays.
    """
    if data[-64:].rstrip(b"\r\n").endswith(_ENDS):
        data = data.rstrip(b"\x00\x1a\r\n") + b"\n"
    if _MINUS in data:
        data = data.replace(_MINUS, b"-")
    if _NO_BREAK in data and not _IN_A_NUMBER.search(data):
        data = data.replace(_NO_BREAK, b" ")
    return _SEGMENT.sub(b"", data) if b">" in data else data


@dataclass(frozen=True)
class Dialect:
    """What parts fields: a semicolon, a bar, a tab, a comma or blanks (a comma may have blanks at its side, and these may part fields too).

    decimal_comma: whether commas between digits are decimal points where the delimiter is none of CERTAIN_DELIMITERS. Beside one of those
    they always are.
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
        """A block of rows in which nothing but blanks parts fields, and points are decimal."""
        comma = block == 44
        if self.commas_are_decimal:
            digit = (block >= 48) & (block <= 57)
            decimal = comma.copy()
            decimal[:1] = decimal[-1:] = False
            decimal[1:] &= digit[:-1]
            decimal[:-1] &= digit[1:]
            block = np.where(decimal, np.uint8(46), block)
            comma &= ~decimal
        parting = (block == 34) | (block == ord(self.delimiter) if self.delimiter in CERTAIN_DELIMITERS else comma | (block == 59))
        return np.where(parting, np.uint8(32), block)


def dialect_of(line: bytes, decimal_comma: bool = False) -> Dialect:
    """How a line is written; decimal_comma: whether commas between digits are decimal points, if no delimiter says so."""
    for delimiter in CERTAIN_DELIMITERS:
        if delimiter in line:
            return Dialect(delimiter)
    if b"," in line and (b"\t" not in line or _COMMA_AT_NUMBER.search(line)):
        return Dialect(b",", decimal_comma)
    return Dialect(b"\t" if b"\t" in line else b" ", decimal_comma)


def has_decimal_commas(rows: Sequence[bytes]) -> bool:
    """Whether rows, given without their quotes and comments, are numbers with decimal commas, parted by something else."""
    rows = _not_surely_parted(rows)
    return any(_DECIMAL_COMMA.search(row) for row in rows) and all(map(_may_have_decimal_commas, rows))


def _not_surely_parted(rows: Sequence[bytes]) -> list[bytes]:
    return [row for row in rows if not any(delimiter in row for delimiter in CERTAIN_DELIMITERS)]


def _may_have_decimal_commas(row: bytes) -> bool:
    fields = _without_last(_FIELD_GAP.split(row.strip()))
    if len(fields) < 2 or any(b"." in field and is_number(field) for field in fields):
        return False
    if len(fields) == 2 and not all(b"," in field for field in fields):
        return False
    return all(_COMMA_NUMBER.fullmatch(field) for field in fields if b"," in field)


def commas_say_both(rows: Sequence[bytes]) -> bool:
    """Whether commas part fields of rows that have decimal commas too, and a coordinate has none: `1, 2, 3,4` may be three fields or four."""
    rows = _not_surely_parted(rows)
    table = [_without_last(_FIELD_GAP.split(row.strip())) for row in rows]
    plain = any(all(b"," not in fields[column] for fields in table if column < len(fields)) for column in range(3))
    return plain and any(b"," in _DECIMAL_COMMA.sub(b"", row).rstrip(b", \t") for row in rows)


def parts_thousands(rows: Sequence[bytes]) -> bool:
    """Whether numbers of rows are parted after their thousands by commas, or by points before a decimal comma."""
    rows = [row for row in _not_surely_parted(rows) if b"," in row]
    return bool(rows) and (all(map(_parts_thousands, rows)) or all(map(_parts_thousands_alone, rows)))


def _parts_thousands(row: bytes) -> bool:
    fields = _without_last(_FIELD_GAP.split(row.strip()))
    commas = [field for field in fields if b"," in field]
    sure = any(b"." in field or field.count(b",") > 1 for field in commas)
    return len(fields) >= 3 and sure and all(map(_THOUSANDS.fullmatch, commas))


def _parts_thousands_alone(row: bytes) -> bool:
    """The same for a row in which nothing but commas parts fields: "1,234.5,2,345.6,3,456.7"."""
    with_points = row.count(b".")
    return _ALL_WITH_POINTS.fullmatch(row) is not None and row.count(b",") + 1 - with_points >= 2


def without_quotes(text: bytes) -> bytes:
    """Text with blanks for quotes; what is quoted and no numbers becomes one word: `"tall, green"` is `tall__green`."""
    if b'"' not in text:
        return text
    return _QUOTED.sub(_one_word, text).replace(b'"', b" ")


def _one_word(quoted: re.Match[bytes]) -> bytes:
    words = quoted[1]
    return b" " + (words if _NUMERIC.fullmatch(words) else _NOT_IN_A_WORD.sub(b"_", words.strip())) + b" "


def _parts(field: bytes) -> list[bytes]:
    """The columns of a field: blanks part numbers too, as in `1 , 2 3`, but not words."""
    parts = field.split()
    return parts if len(parts) < 2 or all(map(is_number, parts)) else [b" ".join(parts)]


def _without_last(fields: list[bytes]) -> list[bytes]:
    """The fields without an empty last one: a delimiter at the end parts nothing."""
    return fields[:-1] if fields and not fields[-1].strip() else fields
