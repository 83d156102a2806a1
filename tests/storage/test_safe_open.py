"""Only regular files, of a bounded size and in their folder, are opened; nothing is waited for."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from lpdif.storage.safe_open import RefusedFile, can_name_a_file, leads_outside, open_regular, read_regular

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pipes, sockets and links in folders")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `in` with a file, and a file beside the folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("in/a.txt", "out.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text(name)
    return Path("in")


def refusal(path: Path, most: int = 100, within: Path | None = None) -> str:
    with pytest.raises(RefusedFile) as caught:
        read_regular(path, most, within)
    assert caught.value.filename == str(path)
    return str(caught.value.strerror)


def test_files_are_read_up_to_their_size(place: Path) -> None:
    assert read_regular(place / "a.txt", 8, place) == b"in/a.txt"
    assert "larger than" in refusal(place / "a.txt", 7)
    with Path("sparse").open("wb") as file:
        file.truncate(1 << 40)
    assert "larger than the 64 MiB" in refusal(Path("sparse"), 1 << 26)


def test_links_are_followed_within_the_folder_alone(place: Path) -> None:
    (place / "b.txt").symlink_to("a.txt")
    (place / "c.txt").symlink_to(Path("../out.txt"))
    (place / "folder").symlink_to(Path.cwd())
    assert read_regular(place / "b.txt", 100, place) == b"in/a.txt"
    assert read_regular(place / "c.txt", 100) == b"out.txt"
    for name in ("c.txt", "folder/out.txt", "../out.txt"):
        assert refusal(place / name, within=place) == "a link that leads out of in"
        assert leads_outside(place / name, place)
    assert not leads_outside(place / "b.txt", place)
    assert not leads_outside(place / "nothing.txt", place)


def test_a_folder_may_itself_be_reached_by_a_link(place: Path) -> None:
    Path("way").symlink_to(place)
    assert read_regular(Path("way/a.txt"), 100, Path("way")) == b"in/a.txt"


def test_what_is_no_file_is_named(place: Path) -> None:
    os.mkfifo("pipe")
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("socket")
    for name, said in (("pipe", "a pipe"), ("socket", "a socket"), ("in", "a folder"), ("/dev/zero", "a device")):
        assert refusal(Path(name)) == f"{said}, not a file"
    for name in ("loop", "a\0b", "\ud800"):
        with pytest.raises(OSError, match=r"leads to itself|Too many levels|no name that a file can have"):
            open_regular(Path(name))
    with pytest.raises(FileNotFoundError):
        open_regular(Path("nothing"))


def test_a_pipe_without_a_name_is_a_pipe(place: Path) -> None:
    reader, writer = os.pipe()
    try:
        assert refusal(Path(f"/dev/fd/{reader}")) == "a pipe, not a file"
        assert refusal(Path(f"/dev/fd/{reader}"), within=place) == "a pipe, not a file"
    finally:
        os.close(reader)
        os.close(writer)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a descriptor keeps its place in the file")
def test_a_file_without_a_name_is_read(place: Path) -> None:
    with (place / "a.txt").open("rb") as file:
        (place / "a.txt").unlink()
        assert read_regular(Path(f"/dev/fd/{file.fileno()}"), 100) == b"in/a.txt"


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"])
def test_what_can_name_no_file_is_no_crash(name: str, tmp_path: Path) -> None:
    assert not can_name_a_file(name)
    assert can_name_a_file("scan é.ply")
    assert leads_outside(tmp_path / name, tmp_path)
