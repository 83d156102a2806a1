"""Atomic writes: whole or not at all, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from conftest import process_environment

import lpdif.storage.atomic_write
from lpdif.errors import LpdifError, ResourceError, UsageError
from lpdif.storage.atomic_write import append_text, atomic_write, check_output, remove_leftovers, write_bytes


def test_a_file_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    with atomic_write(target) as file:
        file.write(b"one")
        assert not target.exists()
        file.write(b"two")
    assert target.read_bytes() == b"onetwo"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("kind", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_raises_leaves_nothing(kind: type[BaseException], tmp_path: Path) -> None:
    target = tmp_path / "a.bin"

    def fail() -> None:
        with atomic_write(target, overwrite=True) as file:
            file.write(b"half")
            raise kind

    with pytest.raises(kind):
        fail()
    assert list(tmp_path.iterdir()) == []
    target.write_bytes(b"before")
    with pytest.raises(kind):
        fail()
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders there")
def test_outputs_that_cannot_be(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"before")
    (tmp_path / "link.bin").symlink_to("a.bin")
    (tmp_path / "dangling.bin").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.bin")
    cases = [
        (target, False, "exists already"),
        (tmp_path / "link.bin", True, "is a symbolic link"),
        (tmp_path / "dangling.bin", True, "is a symbolic link"),
        (tmp_path / "pipe.bin", True, "is a pipe or device"),
        (tmp_path, True, "is a folder"),
        (tmp_path / "none" / "a.bin", True, "there is no folder"),
        (tmp_path / ("a" * 300), True, "File name too long"),
    ]
    for path, overwrite, said in cases:
        with pytest.raises(UsageError, match=said) as caught:
            write_bytes(path, b"after", overwrite)
        assert caught.value.exit_code == 2
        assert caught.value.hint
    assert target.read_bytes() == b"before"
    assert not (tmp_path / "nowhere").exists()
    check_output(target, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "dangling.bin", "link.bin", "pipe.bin"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="no permission to write"):
        write_bytes(tmp_path / "a.bin", b"after")
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no such file system here")
def test_a_file_system_that_takes_no_files_is_found_before_the_work() -> None:
    for check in (check_output, lambda path: write_bytes(path, b"after")):
        with pytest.raises(UsageError, match=r"/proc/a\.ply: (cannot be written|no permission)") as caught:
            check(Path("/proc/a.ply"))
        assert caught.value.hint == "choose another folder"


@pytest.mark.parametrize(
    ("code", "kind", "said"),
    [
        (errno.EROFS, UsageError, "cannot be written: Read-only file system"),
        (errno.EACCES, UsageError, "cannot be written: Permission denied"),
        (errno.ENOSPC, ResourceError, "disk full"),
    ],
)
def test_a_check_tries_what_the_writing_does_first(
    code: int, kind: type[LpdifError], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", refuse)
    for check in (check_output, lambda path: write_bytes(path, b"after")):
        with pytest.raises(kind, match=said):
            check(tmp_path / "a.bin")


def test_a_folder_that_keeps_what_it_gets_is_not_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(UsageError, match="cannot be written: Operation not permitted"):
            check_output(tmp_path / "a.bin")


def test_a_check_leaves_nothing_behind(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"
    check_output(target)
    assert list(tmp_path.iterdir()) == []
    target.write_bytes(b"before")
    before = target.stat()
    check_output(target, overwrite=True)
    assert list(tmp_path.iterdir()) == [target]
    assert target.read_bytes() == b"before"
    assert (target.stat().st_ino, target.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_an_output_that_comes_meanwhile_stays(tmp_path: Path) -> None:
    target = tmp_path / "a.bin"

    def late() -> None:
        with atomic_write(target) as file:
            file.write(b"after")
            target.write_bytes(b"somebody else's")

    with pytest.raises(UsageError, match="exists already"):
        late()
    assert target.read_bytes() == b"somebody else's"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_are_those_of_any_new_file_or_of_the_old_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a.bin", b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o640
    (tmp_path / "a.bin").chmod(0o600)
    write_bytes(tmp_path / "a.bin", b"two", overwrite=True)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == 0o600


def test_a_full_disk_is_found_before_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1_500_000, 1_500_000))
    with pytest.raises(ResourceError) as caught:
        write_bytes(tmp_path / "a.bin", bytes(2_000_000))
    assert caught.value.message == f"{tmp_path / 'a.bin'}: disk full: 2.0 MB are needed, 1.5 MB are free in {tmp_path}"
    assert caught.value.exit_code == 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_disk_that_fills_up_leaves_nothing_behind(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "a.bin"
    target.write_bytes(b"before")

    def full(_: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", full)

    def stream() -> None:
        with atomic_write(target, overwrite=True) as file:
            file.write(bytes(3_000_000))

    said, why = ("", "but the file system takes no file so large$") if code == errno.EFBIG else ("disk full: ", "MB are free in ")
    with pytest.raises(ResourceError, match=rf"a\.bin: {said}full after 3.0 MB, .*{why}"):
        stream()
    with pytest.raises(ResourceError, match=rf"a\.bin: {said}0.1 MB are needed, .*{why}"):
        write_bytes(target, bytes(100_000), overwrite=True)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_a_limit_of_file_size_is_told_as_one(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\nfrom lpdif.storage.atomic_write import write_bytes\nfrom lpdif.errors import ResourceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n    write_bytes(sys.argv[1], bytes(1_000_000))\nexcept ResourceError as error:\n    print(error.message)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.bin")],
        env=process_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == f"{tmp_path / 'a.bin'}: 1.0 MB are needed, but a file may not have more than 0.1 MB here (ulimit -f)\n"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_removed_meanwhile_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def stream() -> None:
        with atomic_write(folder / "a.bin") as file:
            file.write(b"made")
            shutil.rmtree(folder)

    folder.mkdir()
    with pytest.raises(UsageError, match=r"a\.bin: cannot be written: .*out has been removed"):
        stream()


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use stays there")
def test_a_current_folder_that_is_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(UsageError, match=r"^a\.bin: cannot be written: the current folder has been removed$"):
        check_output("a.bin")


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    """A process rewrites a file over and over; after kill -9 it is one of the whole contents."""
    target = tmp_path / "a.bin"
    script = (
        "import sys\nfrom lpdif.storage.atomic_write import write_bytes\nprint('ready', flush=True)\n"
        "for turn in range(10**6):\n    write_bytes(sys.argv[1], bytes([turn % 256]) * 300_000, overwrite=True)\n"
    )
    for pause in (0.0, 0.003, 0.01, 0.03, 0.1):
        process = subprocess.Popen([sys.executable, "-c", script, str(target)], env=process_environment(), stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        if target.exists():
            data = target.read_bytes()
            assert len(data) == 300_000
            assert len(set(data)) == 1
        assert all(path.name.startswith(".a.bin.") for path in tmp_path.iterdir() if path != target)
    assert target.exists()
    write_bytes(target, b"after", overwrite=True)
    assert list(tmp_path.iterdir()) == [target]


SCRIPT = """
import sys
from lpdif.storage.atomic_write import atomic_write
with atomic_write(sys.argv[1], overwrite=True) as file:
    file.write(bytes(1000))
    file.flush()
    print('ready', flush=True)
    sys.stdin.read()
"""


def half_way(target: Path) -> subprocess.Popen[bytes]:
    """A process that has written half of a file."""
    words = [sys.executable, "-c", SCRIPT, str(target)]
    process = subprocess.Popen(words, env=process_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def test_what_a_killed_process_was_writing_goes_with_the_next_writing(tmp_path: Path) -> None:
    """Only what was for that file, and bears such a name; what a living process is writing stays and becomes the file."""
    target = tmp_path / "a.bin"
    strangers = [".a.bin.tmp", ".a.bin.0123456789abc.tmp", ".a.bin.x.0123456789ab.tmp", ".b.bin.0123456789ab.tmp", "a.bin.0123456789ab.tmp"]
    for name in strangers:
        (tmp_path / name).write_bytes(b"not ours")
    (tmp_path / ".a.bin.ba9876543210.tmp").symlink_to("nowhere")
    strangers.append(".a.bin.ba9876543210.tmp")
    (tmp_path / ".a.bin.0123456789ab.tmp").write_bytes(b"left over")
    process = half_way(target)
    process.kill()
    process.communicate()
    assert len(list(tmp_path.iterdir())) == len(strangers) + 1  # the older one is gone, one more is there
    with half_way(target) as living:
        [busy] = [path for path in tmp_path.iterdir() if path.name not in strangers]
        write_bytes(target, b"ours")
        assert {path.name for path in tmp_path.iterdir()} == {*strangers, busy.name, "a.bin"}
        assert target.read_bytes() == b"ours"
        living.communicate(timeout=20)
    assert target.read_bytes() == bytes(1000)
    assert {path.name for path in tmp_path.iterdir()} == {*strangers, "a.bin"}


def test_a_new_file_that_is_taken_for_a_left_over_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, taken = lpdif.storage.atomic_write.take_lock, []

    def late(handle: int) -> bool:
        if not taken:
            taken.extend(tmp_path.iterdir())
            taken[0].unlink()
        return real(handle)

    monkeypatch.setattr(lpdif.storage.atomic_write, "take_lock", late)
    write_bytes(tmp_path / "a.bin", b"whole")
    assert (tmp_path / "a.bin").read_bytes() == b"whole"
    assert len(taken) == 1


def test_nothing_is_removed_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    (tmp_path / ".a.bin.0123456789ab.tmp").write_bytes(b"left over")
    with monkeypatch.context() as patch:
        patch.setattr(lpdif.storage.atomic_write, "take_lock", refuse)
        write_bytes(tmp_path / "a.bin", b"one")
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin", ".a.bin.0123456789ab.tmp"}
    write_bytes(tmp_path / "a.bin", b"two", overwrite=True)
    assert {path.name for path in tmp_path.iterdir()} == {"a.bin"}


def test_text_is_added_to_the_end(tmp_path: Path) -> None:
    append_text(tmp_path / "a.txt", "one\n")
    append_text(tmp_path / "a.txt", "two\n")
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\n"


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_text_that_finds_no_room_is_not_there_by_half(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys\nfrom lpdif.storage.atomic_write import append_text\nfrom lpdif.errors import ResourceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nresource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "append_text(sys.argv[1], 'first ' * 10_000)\n"
        "try:\n    append_text(sys.argv[1], 'second ' * 10_000)\nexcept ResourceError as error:\n    print(error.message)\n"
    )
    words = [sys.executable, "-c", script, str(tmp_path / "a.txt")]
    ran = subprocess.run(words, env=process_environment(), capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(f"{tmp_path / 'a.txt'}: 0.1 MB are needed, but a file may not have more than 0.1 MB here (ulimit -f)")
    assert (tmp_path / "a.txt").read_text() == "first " * 10_000


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders there")
def test_text_is_added_to_files_alone_and_not_under_their_other_names(tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text("one\n")
    (tmp_path / "link").symlink_to(other)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(UsageError, match=name):
            append_text(tmp_path / name, "two\n")
    (tmp_path / "a.txt").hardlink_to(other)
    append_text(tmp_path / "a.txt", "two\n")
    append_text(tmp_path / "a.txt", "three\n")
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\nthree\n"
    assert other.read_text() == "one\n"


def test_other_errors_of_the_system_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        write_bytes(tmp_path / "a.bin", b"after")
    assert not isinstance(caught.value, LpdifError)
    assert list(tmp_path.iterdir()) == []


def test_a_check_bears_that_its_file_is_removed_as_a_leftover(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    close = os.close

    def late(handle: int) -> None:
        close(handle)
        remove_leftovers(tmp_path)

    monkeypatch.setattr(os, "close", late)
    check_output(tmp_path / "a.bin")
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("letters", ["\u6383\u63cf", "\u00e9", "a", "\U0001f600"])
def test_the_longest_names_can_be_written(tmp_path: Path, letters: str) -> None:
    most = 251 // len(letters.encode())
    for count in (1, most // 2, most - 1, most):
        target = tmp_path / f"{letters * count}.ply"
        write_bytes(target, b"data")
        assert target.read_bytes() == b"data"
    assert len(list(tmp_path.iterdir())) == 4
