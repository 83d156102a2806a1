"""The rows of PLY elements with list properties, whose lengths differ."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lpdif.arrays import IntArray
from lpdif.io.formats.ply_header import Element, Property
from lpdif.io.source import Source, Text
from lpdif.io.table.columns import Column
from lpdif.io.table.numbers import Rows
from lpdif.text import counted


@dataclass(frozen=True)
class Lists:
    """A list property of all rows.

    values (T,): of one row after another; counts (R,): the number of values in each row.
    """

    values: NDArray[np.generic]
    counts: IntArray

    def as_indices(self, source: Source, thing: str) -> IntArray:
        """The values as indices. Raises InputError where one is no whole number."""
        if np.issubdtype(self.values.dtype, np.integer):
            return self.values.astype(np.int64)
        numbers = self.values.astype(np.float64)
        fits = np.isfinite(numbers) & (numbers == np.rint(numbers)) & (np.abs(numbers) < 2.0**62)
        if not fits.all():
            place = int(np.flatnonzero(~fits)[0])
            row = int(np.searchsorted(np.cumsum(self.counts), place, side="right"))
            raise source.error(f"{thing} {row + 1} of {len(self.counts)} uses point {numbers[place]:g}: not a whole number")
        return numbers.astype(np.int64)


def lists_of_rows(text: Text, rows: Rows, properties: Sequence[Property]) -> tuple[dict[str, Column], dict[str, Lists]]:
    """Splits rows of numbers into the properties: scalar columns and lists, by name.

    Raises InputError naming the line of a row that is too short or too long.
    """
    scalars: dict[str, Column] = {}
    lists: dict[str, Lists] = {}
    place, ends = rows.starts.copy(), rows.starts + rows.counts
    values = rows.values

    def check(good: NDArray[np.bool_], what: str) -> None:
        if not good.all():
            row = int(np.flatnonzero(~good)[0])
            raise text.error(int(rows.lines[row]), what)

    for prop in properties:
        check(place < ends, f"too few numbers: no value for {prop.name}")
        first = values[place]
        place += 1
        if not prop.count_type:
            scalars.setdefault(prop.name, first)
            continue
        check((first >= 0) & (first == np.rint(first)), f"{prop.name} does not begin with a count")
        check(first <= ends - place, f"{prop.name} has fewer values than its count")
        counts = first.astype(np.int64)
        lists.setdefault(prop.name, Lists(values[_ranges(place, counts)], counts))
        place += counts
    check(place == ends, "more numbers than the header lists")
    return scalars, lists


def one_row_a_line(data: bytes, start: int, elements: Sequence[Element]) -> bytes | None:
    """Text with each row on a line of its own, where only the numbers of values tell rows apart.

    start: the byte at which the rows begin. None where there are more or fewer words than the elements need, and where most lines are rows
    already, so that the others are wrong.
    """
    block = np.frombuffer(data, np.uint8, offset=start)
    word = np.zeros(len(block) + 2, dtype=np.bool_)  # with a place that is no word on either side
    word[1:-1] = block > 32
    if not word.any() or ((block < 9) | ((block > 13) & (block < 32))).any():
        return None
    edges = np.flatnonzero(word[1:] != word[:-1])
    begins, ends = edges[::2], edges[1::2]
    if elements and _are_rows(block, begins, elements[0]):
        return None
    places = [np.zeros(0, dtype=np.int64)]  # words before the end of each row
    place = 0
    for element in elements:
        width = len(element.properties)
        if not any(prop.count_type for prop in element.properties):
            if element.count * width > len(begins) - place:
                return None
            places.append(place + width * np.arange(1, element.count + 1 if width else 1))
            place += element.count * width
            continue
        last: list[int] = []
        for _ in range(element.count):
            for prop in element.properties:
                if place >= len(begins):
                    return None
                if prop.count_type:
                    length = data[start + begins[place] : start + ends[place]]
                    if len(length) > 9 or not length.isdigit():
                        return None
                    place += int(length)
                place += 1
            last.append(place)
        places.append(np.array(last, dtype=np.int64))
    if place != len(begins):
        return None
    out = block.copy()
    out[(out == 10) | (out == 13)] = 32
    after = ends[np.concatenate(places) - 1]
    out[after[after < len(out)]] = 10
    return data[:start] + out.tobytes()


def _are_rows(block: NDArray[np.uint8], begins: IntArray, element: Element) -> bool:
    """Whether most of the first lines hold as many words as a row of the first element.

    begins: the bytes at which words begin.
    """
    line = np.searchsorted(np.flatnonzero((block == 10) | (block == 13)), begins)
    words = np.unique(line, return_counts=True)[1][: element.count]
    return bool((words == len(element.properties)).mean() > 0.5)


def _ranges(starts: IntArray, counts: IntArray) -> IntArray:
    """The indices start, start + 1, ..., `count` of them for each row, one row after another."""
    ends = np.cumsum(counts)
    out: IntArray = np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(starts - (ends - counts), counts)
    return out


def lists_of_bytes(
    source: Source, start: int, count: int, properties: Sequence[Property], thing: str
) -> tuple[tuple[dict[str, Column], dict[str, Lists]], int]:
    """Reads `count` binary rows: scalar columns and lists by name, and the byte after them.

    start: the byte at which the rows begin. Rows of equal length are read as one structured array, others one by one. Raises InputError where
    the file ends early.
    """
    least = sum(np.dtype(prop.count_type or prop.type).itemsize for prop in properties)
    room = (len(source.data) - start) // least
    if count > room:
        raise source.cut(room, count, thing)
    if count == 0:
        return ({p.name: np.zeros(0, p.type) for p in properties if not p.count_type}, {}), start
    sizes = _row_counts(source.data, start, properties)
    uniform = None if sizes is None else _uniform(source.data, start, count, properties, sizes)
    if uniform is not None:
        return uniform
    return _walk(source, start, count, properties, thing)


def _row_counts(data: bytes, place: int, properties: Sequence[Property]) -> list[int] | None:
    """The lengths of the lists in the row that begins at the byte `place`.

    None where the row does not end within the data.
    """
    lengths: list[int] = []
    for prop in properties:
        width = np.dtype(prop.type).itemsize
        if prop.count_type:
            kind = np.dtype(prop.count_type)
            if place + kind.itemsize > len(data):
                return None
            length = int(np.frombuffer(data, kind, 1, place)[0])
            if length < 0:
                return None
            lengths.append(length)
            place += kind.itemsize + length * width
        else:
            place += width
    return lengths if place <= len(data) else None


def _uniform(
    data: bytes, start: int, count: int, properties: Sequence[Property], lengths: Sequence[int]
) -> tuple[tuple[dict[str, Column], dict[str, Lists]], int] | None:
    """The rows, where all have lists as long as those of the first; else None."""
    fields: list[tuple[str, str] | tuple[str, str, tuple[int]]] = []
    left = iter(lengths)
    for index, prop in enumerate(properties):
        if prop.count_type:
            fields.append((f"c{index}", prop.count_type))
            fields.append((f"p{index}", prop.type, (next(left),)))
        else:
            fields.append((f"p{index}", prop.type))
    if sum(lengths) > 1 << 24:  # numpy has no rows of more than 2 GB
        return None
    row = np.dtype(fields)
    if count * row.itemsize > len(data) - start:
        return None
    rows = np.frombuffer(data, row, count, start)
    scalars: dict[str, Column] = {}
    lists: dict[str, Lists] = {}
    for index, prop in enumerate(properties):
        column = rows[f"p{index}"]
        if not prop.count_type:
            scalars.setdefault(prop.name, column.astype(column.dtype.newbyteorder("=")))
            continue
        counts = rows[f"c{index}"]
        if not (counts == counts[0]).all():
            return None
        lists.setdefault(prop.name, Lists(column.astype(column.dtype.newbyteorder("=")).reshape(-1), counts.astype(np.int64)))
    return (scalars, lists), start + count * row.itemsize


def _walk(
    source: Source, start: int, count: int, properties: Sequence[Property], thing: str
) -> tuple[tuple[dict[str, Column], dict[str, Lists]], int]:
    """The rows, read one by one."""
    data, end = source.data, len(source.data)
    steps: list[tuple[struct.Struct | None, int, list[int], list[int]]] = [
        (struct.Struct(_struct_format(prop.count_type)) if prop.count_type else None, np.dtype(prop.type).itemsize, [], [])
        for prop in properties
    ]
    place = start
    for row in range(count):
        for counter, width, places, lengths in steps:
            if counter is None:
                places.append(place)
                place += width
                continue
            if place + counter.size > end:
                raise source.cut(row, count, thing)
            length = counter.unpack_from(data, place)[0]
            if length < 0:
                raise source.error(f"row {row + 1} of {counted(count, thing)}: a list of {length} values")
            place += counter.size
            places.append(place)
            lengths.append(length)
            place += length * width
        if place > end:
            raise source.cut(row, count, thing)
    scalars: dict[str, Column] = {}
    lists: dict[str, Lists] = {}
    for prop, (counter, _, places, lengths) in zip(properties, steps, strict=True):
        kind = np.dtype(prop.type)
        counts = np.array(lengths, dtype=np.int64) if counter else np.ones(count, dtype=np.int64)
        values = _gather(data, np.array(places, dtype=np.int64), counts, kind)
        if counter:
            lists.setdefault(prop.name, Lists(values, counts))
        else:
            scalars.setdefault(prop.name, values)
    return (scalars, lists), place


def _struct_format(kind: str) -> str:
    """A numpy type as the module struct writes it."""
    return kind[0] + {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "i8": "q", "u8": "Q"}[kind[1:]]


def _gather(data: bytes, places: IntArray, counts: IntArray, kind: np.dtype[np.generic]) -> NDArray[np.generic]:
    """One array of all values of type `kind`: counts[i] of them at the byte places[i]."""
    raw = np.frombuffer(data, np.uint8)
    out = np.empty(int(counts.sum()), dtype=kind.newbyteorder("="))
    ends = np.cumsum(counts)
    step = max(1, (1 << 20) // max(1, int(counts.max(initial=1))))
    for begin in range(0, len(places), step):
        some, lengths = places[begin : begin + step], counts[begin : begin + step]
        values = _ranges(np.zeros(len(some), dtype=np.int64), lengths) * kind.itemsize + np.repeat(some, lengths)
        first = int(ends[begin] - counts[begin])
        out[first : first + len(values)] = raw[values[:, None] + np.arange(kind.itemsize)].view(kind)[:, 0]
    return out
