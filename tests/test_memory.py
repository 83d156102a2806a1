"""Memory that is given back: arrays in files without a name."""

from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import process_environment

from lpdif import memory
from lpdif.errors import ResourceError
from lpdif.memory import bytes_held, give_back, let_go, map_of, on_disk

ARRAY = np.random.default_rng(0).normal(size=(1000, 3))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("array", [ARRAY, ARRAY[::2, ::-1], ARRAY.astype(np.float32), (100 * ARRAY).astype(np.uint8), np.arange(7)])
def test_an_array_on_disk_is_the_same(array: np.ndarray, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(memory, "BYTES_WRITTEN", 1000)
    found = on_disk(array)
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    np.testing.assert_array_equal(found, array)
    assert map_of(array) is None
    assert map_of(found) is map_of(found[1:, ...][::2]) is not None
    assert on_disk(found) is found
    assert on_disk(found[1:]) is not None
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0
    if os.name == "posix":
        assert list(folder.iterdir()) == []
    let_go([found, array, found[:5]])
    np.testing.assert_array_equal(found, array)


def test_what_is_on_disk_takes_no_memory() -> None:
    found = on_disk(ARRAY)
    assert bytes_held([ARRAY, found, ARRAY[:10], found[:10]]) == ARRAY.nbytes + 240
    empty = ARRAY[:0]
    assert on_disk(empty) is empty
    give_back()


@pytest.mark.skipif(sys.platform != "linux", reason="where the system tells what is resident")
def test_memory_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    found = on_disk(np.ones(1 << 24, np.uint8))
    assert found.sum(dtype=np.int64) == 1 << 24  # reads all
    held = resident()
    let_go([found])
    assert held - resident() > 1 << 23


def test_no_room_on_the_disk_is_told_before_anything_is_written(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10})())
    monkeypatch.setattr(tempfile, "TemporaryFile", None)
    with pytest.raises(ResourceError, match=r"disk full: 0 MB are needed in .* while the mesh is made, and 0 MB are free") as caught:
        on_disk(ARRAY)
    assert str(folder) in str(caught.value)
    assert "TMPDIR" in caught.value.hint


def test_no_folder_for_temporary_files_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/nowhere/at/all"])
    with pytest.raises(ResourceError, match="no folder takes temporary files"):
        on_disk(ARRAY)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_gets_full_is_told(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise OSError(number, "no")

    monkeypatch.setattr(tempfile, "TemporaryFile", fail)
    with pytest.raises(ResourceError if number == errno.ENOSPC else OSError):
        on_disk(ARRAY)


KEPT_TWICE = """
import platform
import subprocess
import sys
from pathlib import Path
import numpy as np
if sys.argv[1] == "kept":
    from lpdif.memory import keep_freed
    keep_freed()
faults = lambda: int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[7])
np.ones(200_000)
before = faults()
for _ in range(300):
    np.ones(200_000)
print(faults() - before)
"""


@pytest.mark.skipif(sys.platform != "linux" or platform.libc_ver()[0] != "glibc", reason="of the C library of Linux")
def test_what_is_freed_is_kept_where_it_was_to_be_given_back() -> None:
    """As under Dask's nanny: without, each page of each array is mapped anew."""
    faults = []
    for how in ("given back", "kept"):
        words = [sys.executable, "-c", KEPT_TWICE, how]
        environment = process_environment({"MALLOC_TRIM_THRESHOLD_": "65536"})
        faults.append(int(subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout))
    assert faults[1] < 2000 < 100_000 < faults[0]
