"""Text that is no scan: it is shown as text, and told from tables of points."""

from __future__ import annotations

import pytest

from lpdif.errors import InputError
from lpdif.io.detect import is_prose
from lpdif.io.read import read_scan
from lpdif.io.source import HEAD_BYTES, Source

ROWS = b"0 0 0\n1 0 0\n0 1 0\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("README.txt", b"My scans, 2024.\n\n1. Made in the garden\n2. Made at home\n"),
        ("MANIFEST.csv", b"name,bytes,digest\nball.ply,123,abc\nring.ply,456,def\n"),
        ("notes.TXT", "Grüße\n".encode("utf-16")),
        ("todo.dat", b"- scan"),
        ("empty-table.xyz", b"x y z\n"),
        ("MANIFEST.csv", b"file,from,licence,verts,faces,closed\nring.ply,somewhere/nice@8a4f86,MIT,43243,86482,True\n"),
    ],
)
def test_notes_are_prose(name: str, content: bytes) -> None:
    assert is_prose(Source(name, content))
    with pytest.raises(InputError):
        read_scan(content, name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("points.txt", ROWS),
        ("points.csv", b"x,y,z,label\n1,2,3,ground\n"),
        ("broken.xyz", b"0 0 O\n" + ROWS),  # a row is wrong, others are not: that is for reading to say
        ("two.csv", b"a,b\n1,2\n"),
        ("points.txt", b"ply\nformat ascii 1.0\n"),
        ("faces.txt", b"v 1 2 3\n"),
        ("page.txt", b"<html>no such file</html>"),
        ("scan.xyz", b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 3\n"),
        ("scan.xyz", b"\x1f\x8b\x08"),
        ("scan.xyz", b"abc\0\1\2"),
        ("scan.xyz", b""),
        ("scan.xyz", b" \n\n"),
        ("README.ply", b"My scans"),
        ("README", b"My scans"),
        ("brackets.xyz", b"[0.1, 0.2, 0.3]\n[0.4, 0.5, 0.6]\n"),
        ("commas.txt", b"x\ty\tz\n0,1\t0,2\t0,3\n0,4\t0,5\t0,6\n"),
        ("fortran.xyz", b"1.0D+00 2.0D+00 3.0D+00\n" * 2),
        ("atoms.xyz", b"2\nwater\nO 0.00000 0.00000 0.11779\nH 0.00000 0.75545 -0.47116\n"),
        ("named.txt", b"x=0.125 y=0.250 z=0.375\n" * 2),
        ("labels.csv", b"a,1.5,2.5,3.5\nb,4.5,5.5,6.5\n"),
        ("commented.xyz", b"# c\n" * (HEAD_BYTES // 4) + ROWS),
    ],
)
def test_what_reading_must_judge_is_no_prose(name: str, content: bytes) -> None:
    assert not is_prose(Source(name, content))


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        (b"hello world\n", "'hello world'"),
        (b"\r\n  \r\n\thello\r\nworld\r\n", "'hello'"),
        ("Grüße aus dem Garten, und noch vieles mehr".encode(), "'Grüße aus dem Garten, und noch'"),
        (b"x" * 31 + "ü".encode(), f"'{'x' * 31}'"),  # cut within a letter
        (b"hello \x1b[31m world", "bytes 68 65 6c 6c 6f 20 1b 5b"),
        (b"\xff\xf0 text", "bytes ff f0 20 74 65 78 74"),
        (b"  \n", "bytes 20 20 0a"),
    ],
)
def test_text_is_shown_as_text(content: bytes, shown: str) -> None:
    with pytest.raises(InputError) as caught:
        read_scan(content, "scan.ply")
    assert caught.value.message == f"scan.ply: not a PLY file (it begins with {shown})"
