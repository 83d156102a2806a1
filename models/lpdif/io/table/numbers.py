"""Reads rows of numbers in text, block by block.

There is no Python loop over rows, and errors name the line. Letters: R rows, T numbers in all of them. A row is a line with at least one
number on it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import IntArray
from lpdif.errors import InputError
from lpdif.io.source import DOWNLOAD_AGAIN, Text
from lpdif.text import counted

Bytes = NDArray[np.uint8]

BLOCK_BYTES = 1 << 20  # So much text is read at once, which limits the memory beside the result to some ten megabytes.
MOST_NUMBERS_IN_LINE = 1 << 20  # No format has rows of more numbers.
LONGEST_LINE = 1 << 26  # bytes

# how different versions of Windows write NaN and infinity, and what tables hold in place of a missing number
NOT_A_NUMBER = re.compile(
    rb"[+-]?(?:nan\([a-z0-9]*\)|1\.#(?:qnan|snan|ind|inf)0*)|<?na>?|n/a|#n/a|null|none|missing|-{1,2}|\?+",
    re.IGNORECASE,
)
_FORTRAN = re.compile(rb"(?<=[\d.])[dD](?=[+-]?\d)")  # begins the exponent of a number in double precision


def number_of(word: bytes) -> float:
    """A word as a number, in any spelling; NaN for a missing number. Raises ValueError where it is none."""
    try:
        return float(word)
    except ValueError:
        return np.nan if NOT_A_NUMBER.fullmatch(word) else float(_FORTRAN.sub(b"e", word))


@dataclass(frozen=True)
class Rows:
    """The numbers of R rows.

    values (T,) float64, row after row; counts (R,) numbers in each row; lines (R,) the line of each row, from 0; end: the byte behind the
    line of the last row.
    """

    values: NDArray[np.float64]
    counts: IntArray
    lines: IntArray
    end: int

    @property
    def starts(self) -> IntArray:
        """(R,) index into `values` of each row's first number."""
        return np.cumsum(self.counts) - self.counts


def read_rows(
    text: Text,
    start: int = 0,
    rows: int | None = None,
    columns: int | None = None,
    keyword: bytes = b"",
    prepare: Callable[[Bytes], Bytes] | None = None,
    bare: bool = False,
) -> Rows:
    """Reads rows of numbers from the byte `start` on; fewer than `rows` where the text ends before.

    rows: how many to read (None: all); columns: how many numbers each must have (None: any); keyword: only lines that begin with this word,
    in small or capital letters, are rows, and it is not part of them; bare: whether it may be alone on a line; prepare: changes the bytes
    of a block, one for one, before they are read. Raises InputError naming the line for a word that is no number, and for a row of another
    length.
    """
    values: list[NDArray[np.float64]] = []
    counts: list[IntArray] = []
    lines: list[IntArray] = []
    data, got, line = text.data, 0, text.data.count(b"\n", 0, start)
    while start < len(data) and (rows is None or got < rows):
        end = data.find(b"\n", min(start + BLOCK_BYTES, len(data)) - 1) + 1 or len(data)
        if end - start > LONGEST_LINE:
            raise text.error(line, f"a line of {(end - start) / 2**20:.0f} MB", DOWNLOAD_AGAIN)
        block = _without_comments(np.frombuffer(data, np.uint8, end - start, start), text.comments)
        line_ends = np.flatnonzero(block == 10) + 1
        block_lines = len(line_ends)
        if not len(line_ends) or line_ends[-1] < len(block):
            line_ends = np.append(line_ends, len(block))
        number, ends_in_file = np.arange(len(line_ends)), start + line_ends
        if keyword:
            block, line_ends, number = _only_lines(block, line_ends, keyword)
        if prepare is not None:
            block = prepare(block)
        count = _numbers_per_line(block, line_ends)
        used = np.flatnonzero(count)
        if keyword and not bare and len(used) < len(count):
            raise text.error(line + int(number[count == 0][0]), f"nothing follows {keyword.decode()!r}")
        if rows is not None and len(used) > rows - got:
            used = used[: rows - got]
            last = int(used[-1])
            block, end, block_lines = block[: line_ends[last]], int(ends_in_file[number[last]]), int(number[last]) + 1
        count, at = count[used], line + number[used]
        _check_counts(text, count, at, columns, end, got)
        values.append(_numbers(text, block, count, at, line + number))
        counts.append(count)
        lines.append(at)
        got, line, start = got + len(used), line + block_lines, end
    if not values:
        return Rows(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64), start)
    return Rows(np.concatenate(values), np.concatenate(counts), np.concatenate(lines), start)


def read_table(text: Text, start: int, count: int, columns: int, thing: str) -> tuple[NDArray[np.float64], int]:
    """Reads exactly `count` rows of `columns` numbers: a table (count, columns), and the byte behind it.

    Raises InputError where the text is too short for so many, before anything is read, and where it ends early.
    """
    room = (len(text.data) - start + 1) // (2 * columns) if columns else 0  # a number and its separator take two bytes
    if count > room:
        raise text.source.error(f"header says {counted(count, thing)}, but the file has room for {room:,} at most", DOWNLOAD_AGAIN)
    try:
        rows = read_rows(text, start, count, columns)
    except CutRow as cut:
        raise text.source.cut(cut.before, count, thing) from None
    if len(rows.counts) < count:
        raise text.source.cut(len(rows.counts), count, thing)
    return rows.values.reshape(count, columns), rows.end


class CutRow(InputError):
    """The last line of the file is too short, most likely because the file is cut off there.

    before: the number of whole rows.
    """

    before = 0


def _check_counts(text: Text, count: IntArray, lines: IntArray, columns: int | None, end: int, got: int) -> None:
    long = np.flatnonzero(count > MOST_NUMBERS_IN_LINE)
    if len(long):
        raise text.error(int(lines[long[0]]), f"{count[long[0]]:,} numbers on one line")
    if columns is None:
        return
    wrong = np.flatnonzero(count != columns)
    if not len(wrong):
        return
    first = int(wrong[0])
    what = f"{counted(int(count[first]), 'number')} instead of {columns:,}"
    if first == len(count) - 1 and count[first] < columns and not text.data[end:].strip():
        cut = CutRow(text.error(int(lines[first]), what, DOWNLOAD_AGAIN).message, DOWNLOAD_AGAIN)
        cut.before = got + first
        raise cut
    raise text.error(int(lines[first]), what)


def _without_comments(block: Bytes, marks: tuple[bytes, ...]) -> Bytes:
    """The block with blanks from each of the marks to the end of its line; but 1.#QNAN is no comment."""
    raw = block.tobytes()
    if not any(mark in raw for mark in marks):
        return block
    pattern = rb"(?<!1\.)(?:" + b"|".join(map(re.escape, marks)) + rb")[^\n]*"
    return np.frombuffer(re.sub(pattern, lambda match: b" " * len(match[0]), raw), np.uint8)


def _numbers_per_line(block: Bytes, line_ends: IntArray) -> IntArray:
    """The number of words on each line. Control characters count as blanks here; `_numbers` reports them."""
    if not len(line_ends):
        return np.zeros(0, dtype=np.int64)
    word = block > 32
    starts = word.copy()
    starts[1:] &= ~word[:-1]
    line_starts = np.concatenate([[0], line_ends[:-1]])
    return np.add.reduceat(starts.view(np.uint8), line_starts, dtype=np.int32).astype(np.int64)


def _numbers(text: Text, block: Bytes, count: IntArray, lines: IntArray, all_lines: IntArray) -> NDArray[np.float64]:
    """The numbers of a block.

    count, lines: of its rows; all_lines: the numbers of all its lines, also of those without numbers.
    """
    raw = block.tobytes()
    words = raw.split()
    if len(words) != count.sum():
        controls = np.flatnonzero((block < 9) | ((block > 13) & (block < 32)))
        at = int(all_lines[raw.count(b"\n", 0, controls[0])])
        raise text.error(at, f"control character {block[controls[0]]}: this is no text", DOWNLOAD_AGAIN)
    if b"D" in raw or b"d" in raw:
        words = _FORTRAN.sub(b"e", raw).split()
    try:
        if b"_" in raw:  # Python takes 1_000 as a number; no file format does
            raise ValueError
        return np.array(words, dtype=np.float64)
    except ValueError:
        words = [b"nan" if NOT_A_NUMBER.fullmatch(word) else word for word in words]
        if b"_" not in raw and all(map(_is_number, words)):
            return np.array(words, dtype=np.float64)
        for place, word in enumerate(words):
            if not _is_number(word):
                at = int(lines[np.searchsorted(np.cumsum(count), place, side="right")])
                raise text.error(at, f"{word[:40].decode('utf-8', 'replace')!r} is not a number") from None
        raise


def _is_number(word: bytes) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return b"_" not in word


def _only_lines(block: Bytes, line_ends: IntArray, keyword: bytes) -> tuple[Bytes, IntArray, IntArray]:
    """The lines that begin with the keyword, with blanks in its place.

    Returns their bytes, the ends of lines in these, and which lines they are.
    """
    last = len(block) - 1
    begins = np.concatenate([[0], line_ends[:-1]]) if len(line_ends) else line_ends
    place = begins
    if (block[begins] <= 32).any():  # some lines are indented, or empty
        words = np.append(np.flatnonzero(block > 32), last)
        place = np.minimum(words[np.searchsorted(words[:-1], begins)], line_ends - 1)
    found = place + len(keyword) <= line_ends
    for index, letter in enumerate(keyword):
        found &= (block[np.minimum(place + index, last)] | 32) == letter
    after = place + len(keyword)
    found &= (after >= line_ends) | (block[np.minimum(after, last)] <= 32)
    which = np.flatnonzero(found)
    kept = np.repeat(found, line_ends - begins)
    chosen = block[kept]
    lengths = (line_ends - begins)[which]
    ends = np.cumsum(lengths)
    words = ends - lengths + (place - begins)[which]
    for index in range(len(keyword)):
        chosen[words + index] = 32
    return chosen, ends, which
