"""The content of one file, as readers get it; text in UTF-8 with line feeds."""

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
from lpdif.text import counted, printable
from lpdif.types import MINIMUM_POINTS

DOWNLOAD_AGAIN = "the file is cut off or damaged: copy or download it again"
CHOOSE_ANOTHER = "choose another file, or check that the whole scan was exported"
EXPORT_AGAIN = "export the file again from the program that made it"

HEAD_BYTES = 1 << 16  # The format of a file is recognised in so many first bytes, and a table has its header there.
UNPACKED_LEAST = 1 << 26  # A compressed file may unpack to so many bytes, whatever its size.
UNPACKED_TIMES = 200  # A larger compressed file may unpack to so many times its size.

# byte order marks and their encodings; UTF-32 comes first because its little-endian mark begins with that of UTF-16
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECIMAL_COMMA_ERROR = re.compile(r"'[-+]?\d+,\d+(?:[eE][-+]?\d+)?' is not a number")
_UTF16_LETTERS = (re.compile(rb"(?:[\t\r\n -~]\x00){4}"), re.compile(rb"(?:\x00[\t\r\n -~]){4}"))  # little and big end first
_CONTINUED = re.compile(rb"\\\r?\n")


@dataclass(frozen=True)
class Source:
    """A file to read: its name for messages, its bytes, and its path, which standard input has not.

    identity: that of the file which the bytes were read from, as `file_identity` gives it; times: whether the times of points are wanted, where
    a format has them in a place of their own.
    """

    name: str
    data: bytes
    path: Path | None = None
    identity: tuple[int, int, int, int] | None = None
    times: bool = False

    def error(self, what: str, hint: str = EXPORT_AGAIN) -> InputError:
        """An InputError whose message begins with the file's name."""
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
        """The names of the files in a zip archive; None where this is no archive.

        Raises InputError where it is a damaged one.
        """
        if not self.data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            return None
        try:
            with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
                return archive.namelist()
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
            raise self.error("a damaged zip archive", "copy or download it again, and unpack it") from None

    @property
    def most_unpacked(self) -> int:
        """Bytes that a compressed file may unpack to. One that unpacks to more is a zip bomb and no scan."""
        return max(UNPACKED_LEAST, UNPACKED_TIMES * len(self.data))

    def empty(self, why: str = "") -> InputError:
        """The error of a file without points. why: how the file says so, if it does."""
        return self.error(f"holds no points{f' ({why})' if why else ''}, at least {MINIMUM_POINTS} are needed", CHOOSE_ANOTHER)

    def cut(self, got: int, count: int, thing: str) -> InputError:
        """The error of a file that ends early: "ends after 53 of 100 points (header says 100)".

        thing: the noun, "point" here.
        """
        return self.error(f"ends after {got:,} of {counted(count, thing)} (header says {count:,})", DOWNLOAD_AGAIN)


@dataclass(frozen=True)
class Text:
    """A text file in UTF-8 with line feeds.

    breaks: the lines (counted from 0 in `data`) that a backslash continued, once for each continuation: with them messages give the line
    numbers of the file itself. comments: what comments begin with.
    """

    source: Source
    data: bytes
    breaks: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    comments: tuple[bytes, ...] = ()

    def line_number(self, line: int) -> int:
        """The number of a line of `data` (from 0) as an editor shows it.

        It counts from 1, and continued lines one by one.
        """
        return line + 1 + int(np.searchsorted(self.breaks, line, side="left"))

    def error(self, line: int, what: str, hint: str = EXPORT_AGAIN) -> InputError:
        """An InputError that names the file and line `line` of `data` (from 0)."""
        if _DECIMAL_COMMA_ERROR.fullmatch(what):
            what, hint = f"{what}: it has a decimal comma", "export it with decimal points (the language of the program decides)"
        return self.source.error(f"line {self.line_number(line)}: {what}", hint)


def as_text(source: Source) -> Text:
    """The text of a file in UTF-8, without a byte order mark.

    Where only carriage returns end lines, they become line feeds.
    """
    data = source.data
    for mark, encoding in _BYTE_ORDER_MARKS:
        if data.startswith(mark):
            try:
                data = data.decode(encoding).encode()
            except UnicodeError:
                raise source.error(f"begins as {encoding.upper()} text, but is not", DOWNLOAD_AGAIN) from None
            break
    else:
        data = _from_utf16(data)
    if data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    if b"\n" not in data and b"\r" in data:
        data = data.replace(b"\r", b"\n")
    return Text(source, data)


def _from_utf16(data: bytes) -> bytes:
    """Text in UTF-16 without a mark, which begins with letters of ASCII and zeros in turn, in UTF-8; other data as it is."""
    for letters, encoding in zip(_UTF16_LETTERS, ("utf-16-le", "utf-16-be"), strict=True):
        if letters.match(data):
            try:
                return data.decode(encoding).encode()
            except UnicodeError:
                return data
    return data


def join_continued(text: Text) -> Text:
    """The text with each line that ends with a backslash joined to the next one."""
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
    """The text, in which these marks begin comments when rows are read.

    A comment goes to the end of its line.
    """
    return replace(text, comments=marks)


def has_mark(data: bytes) -> bool:
    """Whether the data begins with a byte order mark, or as UTF-16 does without one. Then it is text, whatever bytes follow."""
    marks = (*(mark for mark, _ in _BYTE_ORDER_MARKS), codecs.BOM_UTF8)
    return data.startswith(marks) or any(letters.match(data) for letters in _UTF16_LETTERS)
