"""PCD (Point Cloud Library): ascii, binary and binary_compressed."""

from __future__ import annotations

import logging
import re

import numpy as np
from numpy.typing import NDArray

from lpdif.io.source import DOWNLOAD_AGAIN, Source, Text
from lpdif.io.table.colors import bits_of_packed, bytes_of_packed
from lpdif.io.table.columns import Column, parts_named, scan_of_columns
from lpdif.io.table.numbers import read_table
from lpdif.text import counted
from lpdif.types import Scan

log = logging.getLogger("lpdif")

_LONGEST_HEADER = 1 << 16  # bytes
_LONGEST_REFERENCE = 264  # The three bytes of a reference in LZF stand for so many bytes, at most.
_MOST_VALUES = 1 << 16  # A field has so many values a point, or bytes of padding, at most.
_HEADER_WORDS = ("VERSION", "FIELDS", "COLUMNS", "SIZE", "TYPE", "COUNT", "WIDTH", "HEIGHT", "VIEWPOINT", "POINTS", "DATA")
_DATA_LINE = re.compile(rb"(?mi)^DATA[ \t]+(\w+)[ \t]*\r?\n")
_FIELD_TYPES = {("F", 4): "<f4", ("F", 8): "<f8"} | {(t, s): f"<{t.lower()}{s}" for t in "IU" for s in (1, 2, 4, 8)} | {("B", 1): "<u1"}


def is_pcd(source: Source) -> bool:
    """Whether the file begins with the header of a PCD file."""
    lines = [line.strip() for line in source.data[:2048].splitlines()]
    if any(line.startswith((b"# .PCD", b"VERSION ", b"FIELDS ", b"COLUMNS ")) for line in lines[:8]):
        return True
    # in small letters these words begin other tables too, so two of them are needed
    return any(line.startswith((b"# .pcd", b"fields ")) for line in lines[:8]) and any(line.startswith(b"data ") for line in lines)


def read_pcd(source: Source) -> Scan:
    """Reads a PCD file.

    Raises InputError for a damaged file, and where its header contradicts itself or the file's size.
    """
    header, start, data_kind = _header(source)
    fields = header.get("FIELDS") or header.get("COLUMNS")
    if not fields:
        raise source.error("PCD header has no line FIELDS")
    sizes = _integers(source, header, "SIZE", [4] * len(fields), fields)
    counts = _integers(source, header, "COUNT", [1] * len(fields), fields)
    types = [kind.upper() for kind in header.get("TYPE", ["F"] * len(fields))]
    if len(types) != len(fields):
        raise source.error(f"PCD header has {len(fields)} of FIELDS and {len(types)} of TYPE")
    kinds = [_kind(source, field, kind, size) for field, kind, size in zip(fields, types, sizes, strict=True)]
    wrong = [count for count in counts if not 0 < count <= _MOST_VALUES]
    if wrong:
        raise source.error(f"PCD header has a COUNT of {wrong[0]}")
    width = _integer(source, header, "WIDTH", None)
    height = _integer(source, header, "HEIGHT", 1)
    points = _integer(source, header, "POINTS", None if width is None else width * (height or 1))
    if points is None:
        raise source.error("PCD header has no line POINTS")
    if width is not None and height is not None and width * height != points:
        raise source.error(f"PCD header says {counted(points, 'point')}, but {width} x {height}")
    if points == 0:
        raise source.empty("header says 0")

    if data_kind == "ascii":
        columns = _ascii(source, start, points, kinds, counts)
    elif data_kind == "binary":
        columns = _binary(source, start, points, kinds, counts)
    elif data_kind == "binary_compressed":
        columns = _compressed(source, start, points, kinds, counts)
    else:
        raise source.error(f"PCD data {data_kind!r} is none of ascii, binary and binary_compressed")

    names: list[str] = []
    arrays: list[Column] = []
    for field, kind, count, column in zip(fields, kinds, counts, columns, strict=True):
        if field == "_":  # padding
            continue
        if field.lower() in ("rgb", "rgba") and count == 1 and kind.itemsize == 4:
            if lost := _colors_lost(fields, columns, column):
                log.warning("%s: colours left out: %s without one", source.name, counted(lost, "point"))
                continue
            packed = bits_of_packed(column[:, 0], kind)
            if packed is None:
                raise source.error("a packed colour is no whole number of four bytes")
            names += ["red", "green", "blue"]
            arrays += bytes_of_packed(packed)
        elif count == 1:
            names.append(field)
            arrays.append(column[:, 0])
        elif (parts := parts_named(field, count)) is not None:
            names += parts
            arrays += list(column.T)
        else:
            log.info("%s: field %s of %d values a point left out", source.name, field, count)
    return scan_of_columns(source, names, arrays, sensor=_sensor(source, header, height or 1))


def _colors_lost(fields: list[str], columns: list[Column], packed: Column) -> int:
    """The number of points with coordinates whose colour is "nan".

    This happens in text alone, whose columns are in double precision: the four bytes of a float are a colour whatever they are.
    """
    if packed.dtype != np.float64:
        return 0
    missing = np.isnan(packed[:, 0])
    for field, column in zip(fields, columns, strict=True):
        if field.lower() in ("x", "y", "z"):
            missing &= np.isfinite(column[:, 0])
    return int(missing.sum())


def _header(source: Source) -> tuple[dict[str, list[str]], int, str]:
    """The words behind each word of the header, the byte at which the data begins, and the kind of data."""
    match = _DATA_LINE.search(source.data, 0, _LONGEST_HEADER)
    if match is None:
        raise source.error("PCD header does not end: no line DATA", DOWNLOAD_AGAIN)
    header: dict[str, list[str]] = {}
    for number, raw in enumerate(source.data[: match.start()].decode("latin-1").splitlines(), 1):
        words = raw.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0].upper() not in _HEADER_WORDS:
            raise source.error(f"line {number}: {raw.strip()[:40]!r} belongs in no PCD header")
        header[words[0].upper()] = words[1:]
    return header, match.end(), match[1].decode().lower()


def _integers(source: Source, header: dict[str, list[str]], word: str, default: list[int], fields: list[str]) -> list[int]:
    """The whole numbers of a header line, one for each field."""
    if word not in header:
        return default
    words = header[word]
    if len(words) != len(fields):
        raise source.error(f"PCD header has {len(fields)} of FIELDS and {len(words)} of {word}")
    return [_number(source, word, value) for value in words]


def _integer(source: Source, header: dict[str, list[str]], word: str, default: int | None) -> int | None:
    """The one whole number of a header line, from 0 on."""
    if word not in header:
        return default
    if len(header[word]) != 1:
        raise source.error(f"PCD header line {word} has {len(header[word])} values")
    value = _number(source, word, header[word][0])
    if value < 0:
        raise source.error(f"PCD header says {word} {value}")
    return value


def _number(source: Source, word: str, value: str) -> int:
    """A value of a header line as a whole number. Raises InputError where it is none."""
    if not value.isascii() or not value.removeprefix("-").isdigit() or len(value) > 20:
        raise source.error(f"PCD header line {word}: {value[:40]!r} is not a whole number")
    return int(value)


def _kind(source: Source, field: str, kind: str, size: int) -> np.dtype[np.generic]:
    """The numpy type of a field. Raises InputError where there is none."""
    if field == "_" and 0 < size <= _MOST_VALUES and (kind, size) not in _FIELD_TYPES:
        return np.dtype(f"V{size}")
    if (kind, size) not in _FIELD_TYPES:
        raise source.error(f"PCD field {field!r} of type {kind[:8]} and {counted(size, 'byte')} is not understood")
    return np.dtype(_FIELD_TYPES[kind, size])


def _ascii(source: Source, start: int, points: int, kinds: list[np.dtype[np.generic]], counts: list[int]) -> list[Column]:
    """The fields of text, each (points, count).

    Integers that fit their type have it, all others double precision.
    """
    table, _ = read_table(Text(source, source.data, comments=(b"#",)), start, points, sum(counts), "point")
    columns: list[Column] = []
    place = 0
    for kind, count in zip(kinds, counts, strict=True):
        column: NDArray[np.generic] = table[:, place : place + count]
        place += count
        if kind.kind in "iu":
            limits = np.iinfo(kind.str)
            values = table[:, place - count : place]
            if np.isfinite(values).all() and values.min() >= limits.min and values.max() <= limits.max:
                column = values.astype(kind)
        columns.append(column)
    return columns


def _binary(source: Source, start: int, points: int, kinds: list[np.dtype[np.generic]], counts: list[int]) -> list[Column]:
    """The fields of binary data, each (points, count), which lie point after point."""
    row = np.dtype([(f"f{i}", kind, (count,)) for i, (kind, count) in enumerate(zip(kinds, counts, strict=True))])
    room = (len(source.data) - start) // row.itemsize
    if points > room:
        raise source.cut(room, points, "point")
    values = np.frombuffer(source.data, row, points, start)
    return [np.ascontiguousarray(values[f"f{index}"]) for index in range(len(kinds))]


def _compressed(source: Source, start: int, points: int, kinds: list[np.dtype[np.generic]], counts: list[int]) -> list[Column]:
    """The fields of compressed data, each (points, count), which lie field after field."""
    size = points * sum(kind.itemsize * count for kind, count in zip(kinds, counts, strict=True))
    if len(source.data) < start + 8:
        raise source.error("ends before its compressed data", DOWNLOAD_AGAIN)
    packed_size, unpacked_size = np.frombuffer(source.data, "<u4", 2, start).tolist()
    if unpacked_size != size:
        raise source.error(
            f"compressed data is announced as {counted(unpacked_size, 'byte')}, where {counted(points, 'point')} would take {size:,}"
        )
    if packed_size > len(source.data) - start - 8:
        raise source.error(f"ends after {len(source.data) - start - 8:,} of {counted(packed_size, 'byte')} of compressed data", DOWNLOAD_AGAIN)
    if size > packed_size * _LONGEST_REFERENCE // 3:
        raise source.error(f"{counted(packed_size, 'byte')} of compressed data cannot hold {counted(points, 'point')}", DOWNLOAD_AGAIN)
    try:
        data = decompress_lzf(source.data[start + 8 : start + 8 + packed_size], size)
    except ValueError as error:
        raise source.error(f"compressed data {error}", DOWNLOAD_AGAIN) from None
    columns: list[Column] = []
    place = 0
    for kind, count in zip(kinds, counts, strict=True):
        columns.append(np.frombuffer(data, kind, points * count, place).reshape(points, count))
        place += points * count * kind.itemsize
    return columns


def _sensor(source: Source, header: dict[str, list[str]], height: int) -> NDArray[np.float64] | None:
    """The position of the scanner (3,), from the line VIEWPOINT; None where it is missing or unknown.

    Programs write zeros where they do not know the position. They count only for an organised cloud, which one scan has made.
    """
    words = header.get("VIEWPOINT", [])
    try:
        place = np.array([float(word) for word in words[:3]])
    except ValueError:
        raise source.error(f"PCD header line VIEWPOINT: {' '.join(words)[:60]!r} is not seven numbers") from None
    return place if len(place) == 3 and np.isfinite(place).all() and (height > 1 or place.any()) else None


def decompress_lzf(packed: bytes, size: int) -> bytes:
    """Undoes the compression LZF (liblzf): runs of literal bytes, and references to earlier bytes.

    Raises ValueError unless `packed` unpacks to just `size` bytes, and for a reference to before the beginning.
    """
    out = bytearray()
    place, end = 0, len(packed)
    while place < end:
        control = packed[place]
        place += 1
        if control < 32:  # the next control + 1 bytes are literals
            out += packed[place : place + control + 1]
            place += control + 1
            if place > end:
                raise ValueError("ends within a run of literals")
        else:  # a reference: 3 bits of length, 13 of distance
            if place + (control >= 224) >= end:
                raise ValueError("ends within a reference")
            length = control >> 5
            if length == 7:
                length += packed[place]
                place += 1
            length += 2
            begin = len(out) - ((control & 31) << 8) - packed[place] - 1
            place += 1
            if begin < 0:
                raise ValueError("refers to before its beginning")
            if begin + length <= len(out):
                out += out[begin : begin + length]
            else:  # the reference reaches into what it writes: a repeated piece
                piece = out[begin:]
                out += (piece * (length // len(piece) + 1))[:length]
        if len(out) > size:
            raise ValueError(f"holds more than the {counted(size, 'byte')} it announces")
    if len(out) != size:
        raise ValueError(f"holds {len(out):,} of the {counted(size, 'byte')} it announces")
    return bytes(out)
