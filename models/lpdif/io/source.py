"""What a reader is given: the bytes of one file, and for text the same bytes in one spelling of lines and letters."""

from __future__ import annotations

import codecs
import io
import re
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import InputError
from lpdif.text import counted
from lpdif.types import MINIMUM_POINTS

DOWNLOAD_AGAIN = "the file is cut off or damaged: copy or download it again"
CHOOSE_ANOTHER = "choose another file, or check that the whole scan was exported"
EXPORT_AGAIN = "export the file again from the program that made it"

HEAD_BYTES = 1 << 16  # of the beginning of a file, which shows its format; the header of a table lies in it too
UNPACKED_LEAST = 1 << 26  # bytes that a compressed file may always unpack to, and beyond to
UNPACKED_TIMES = 200  # times its size

# byte order marks -> encoding; UTF-32 first: its little-endian mark begins with that of UTF-16
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECIMAL_COMMA = re.compile(r"'[-+]?\d+,\d+(?:[eE][-+]?\d+)?' is not a number")
_CONTINUED = re.compile(rb"\\\r?\n")


@dataclass(frozen=True)
class Source:
    """A file as it lies on disk: its name for messages, its bytes, and its path if it has one (stdin has none)."""

    name: str
    data: bytes
    path: Path | None = None

    def error(self, what: str, hint: str = EXPORT_AGAIN) -> InputError:
        """An InputError that opens with the file's name."""
        return InputError(printable(f"{self.name}: {what}"), hint)

    @property
    def head(self) -> bytes:
        """The first HEAD_BYTES of the file."""
        return self.data[:HEAD_BYTES]

    @property
    def is_text(self) -> bool:
        """Whether the head holds no zero byte, but for those that end it and line ends or a Ctrl-Z among them."""
        return b"\x00" not in self.head.rstrip(b"\x00\x1a\r\n")

    def zip_names(self) -> list[str] | None:
        """The names of the files in a zip archive; None where this is no archive. Raises InputError where it is a damaged one."""
        if not self.data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return None
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
            raise self.error("a damaged zip archive", "copy or download it again, and unpack it") from None

    @property
    def most_unpacked(self) -> int:
        """Bytes that a compressed file may unpack to: more is a bomb, not a scan."""
        return max(UNPACKED_LEAST, UNPACKED_TIMES * len(self.data))

    def empty(self, why: str = "") -> InputError:
        """The error of a file without points; `why` one can tell."""
        return self.error(f"holds no points{f' ({why})' if why else ''}, at least {MINIMUM_POINTS} are needed", CHOOSE_ANOTHER)

    def cut(self, got: int, count: int, thing: str) -> InputError:
        """The error of a file that ends early: "ends after 53 of 100 points (header says 100)"; `thing` is one of them."""
        return self.error(f"ends after {got:,} of {counted(count, thing)} (header says {count:,})", DOWNLOAD_AGAIN)


def printable(words: str) -> str:
    """Words out of a file, fit for one line of a terminal: what is no letter of any kind is written as its code."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in words)


@dataclass(frozen=True)
class Text:
    """A text file in UTF-8 with line feeds.

    breaks: the lines (counted from 0 in `data`) that were continued by a backslash, once for each
    continuation, so that messages still give the line numbers of the file itself. comments: what comments begin with.
    """

    source: Source
    data: bytes
    breaks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    comments: tuple[bytes, ...] = ()

    def line_number(self, line: int) -> int:
        """Number, from 1 and as an editor shows it, of line `line` of `data` (from 0)."""
        return line + 1 + int(np.searchsorted(self.breaks, line, side="left"))

    def error(self, line: int, what: str, hint: str = EXPORT_AGAIN) -> InputError:
        """An InputError that names the file and line `line` of `data` (from 0)."""
        if _DECIMAL_COMMA.fullmatch(what):
            what, hint = f"{what}: it has a decimal comma", "export it with decimal points (the language of the program decides)"
        return self.source.error(f"line {self.line_number(line)}: {what}", hint)


def as_text(source: Source) -> Text:
    """The text of a file: UTF-16 and UTF-32 recoded, a byte order mark dropped, lone carriage returns made line ends."""
    data = source.data
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                data = data.decode(encoding).encode()
            except UnicodeError:
                raise source.error(f"begins as {encoding.upper()} text, but is not", DOWNLOAD_AGAIN) from None
            break
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    if b"\n" not in data and b"\r" in data:
        data = data.replace(b"\r", b"\n")
    return Text(source, data)


def join_continued(text: Text) -> Text:
    """Joins lines that end with a backslash to their followers."""
    if b"\\" not in text.data:
        return text
    parts: list[bytes] = []
    breaks: list[int] = []
    end, line = 0, 0
    for match in _CONTINUED.finditer(text.data):
        piece = text.data[end : match.start()]
        line += piece.count(b"\n")
        breaks.append(line)
        parts.append(piece)
        end = match.end()
    parts.append(text.data[end:])
    return Text(text.source, b" ".join(parts), np.array(breaks, dtype=np.int64))


def with_comments(text: Text, *marks: bytes) -> Text:
    """The text with all from one of these marks to the end of its line taken as a comment, when rows are read."""
    return replace(text, comments=marks)


def has_mark(data: bytes) -> bool:
    """Whether the data begins with a byte order mark: then it is text, whatever its bytes."""
    return data.startswith((*(mark for mark, _ in _MARKS), codecs.BOM_UTF8))
