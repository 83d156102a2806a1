"""What a file is, by its content: a format that can be read, or an error that says what it is instead."""

from __future__ import annotations

import codecs
import re

from lpdif.errors import InputError
from lpdif.io import registry
from lpdif.io.foreign import refuse_foreign
from lpdif.io.registry import TABLE, Format, format_by_name, list_formats
from lpdif.io.source import HEAD_BYTES, Source, as_text
from lpdif.io.table import colmap, reader

_LOOSE_NUMBER = re.compile(rb"[-+]?\d+(?:[.,]\d+)?(?:[eEdD][-+]?\d+)?")
_SHOWN_BYTES = 32  # of a file that is not understood, in the error


def format_of(source: Source) -> Format:
    """The format of a file, by its content; by its name where nothing in the content tells it.

    Raises InputError, which says what the file is instead, where it cannot be read.
    """
    named = format_by_name(source.name)
    found = format_by_content(source)
    if found is None:
        if named is not None and named.may_be is not None and named.may_be(source):
            return named
        raise _unknown(source, named)
    if found.name == TABLE and named is not None and named.name != TABLE:
        hint = named.headerless_hint(source) if named.headerless_hint else ""
        raise source.error(
            f"not {_with_article(named.title)} file: it holds bare columns of numbers and no {named.title} header",
            hint or "if these are x y z, rename it to end in .xyz",
        )
    return found


def format_by_content(source: Source) -> Format | None:
    """The first format that the content of a file matches; None if it matches none.

    Raises InputError for what is never read.
    """
    for known in registry.MARKED:
        if known.matches(source):
            return known
    refuse_foreign(source)
    return next((known for known in registry.UNMARKED if known.matches(source)), None)


def is_prose(source: Source) -> bool:
    """Whether a file that is named like a table of points holds words instead.

    Such are notes, and the images or cameras of COLMAP. source: at most the first HEAD_BYTES of the file. False for what is empty, damaged,
    longer, of another format, or a table in another dialect: reading that says what is wrong with it.
    """
    named = format_by_name(source.name)
    if named is None or named.name != TABLE or not source.data.strip():
        return False
    if colmap.OTHER_HEADERS.search(source.data):
        return True
    if len(source.data) >= HEAD_BYTES:
        return False
    try:
        data = as_text(source).data
        if b"\x00" in data or format_by_content(Source(source.name, data)) is not None or reader.has_row(data):
            return False
    except InputError:
        return False
    lines = [line for line in data.split(b"\n") if line.strip()]
    return 2 * sum(map(_is_mostly_numbers, lines)) < len(lines)


def _is_mostly_numbers(line: bytes) -> bool:
    """Whether half of a line or more is numbers, and there are at least three, in whatever dialect."""
    numbers = _LOOSE_NUMBER.findall(line)
    return len(numbers) >= 3 and 2 * sum(map(len, numbers)) >= len(b"".join(line.split()))


def _unknown(source: Source, named: Format | None) -> InputError:
    """The error of a file that is of no format, with its first words or bytes."""
    words = _first_line(source.data[:_SHOWN_BYTES])
    begins = repr(words) if words else f"bytes {source.data[:8].hex(' ')}"
    what = "not recognised as a scan"
    if named is not None:
        what = f"not {named.title}" if named.name == TABLE else f"not {_with_article(named.title)} file"
    return source.error(f"{what} (it begins with {begins})", list_formats())


def _first_line(data: bytes) -> str:
    """The first line of these bytes that is not blank; "" where they are not all text."""
    try:
        letters = codecs.getincrementaldecoder("utf-8")().decode(data)  # they may end within a letter
    except UnicodeDecodeError:
        return ""
    if not all(letter.isprintable() or letter.isspace() for letter in letters):
        return ""
    return next((line.strip() for line in letters.splitlines() if line.strip()), "")


def _with_article(title: str) -> str:
    return ("an " if title[0] in "AEFHILMNORSX" else "a ") + title
