"""What unpacks, in a process of its own: never to far more than the file's size, and never held twice."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import process_environment
from seed_files import seeds
from test_reading_ply import refusal

from lpdif.errors import InputError
from lpdif.io.formats import e57, las
from lpdif.io.read import load_scan, read_scan
from lpdif.io.sandbox import _receive, _send
from lpdif.io.source import UNPACKED_LEAST, UNPACKED_TIMES, Source

SEEDS = seeds()
COUNT = 3 * las._POINTS_AT_ONCE // 2


def laz(path: Path, count: int = COUNT, said: int | None = None) -> np.ndarray:
    """Writes points with intensities and colours to a LAZ file that says to hold `said`; returns them."""
    laspy = pytest.importorskip("laspy")
    pytest.importorskip("lazrs")
    rng = np.random.default_rng(0)
    header = laspy.LasHeader(point_format=3, version="1.2")
    header.scales = [2.0**-10] * 3
    header.add_extra_dim(laspy.ExtraBytesParams("heat", "f4"))
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points = rng.integers(-(2**20), 2**20, (3, count)) / 2**10
    cloud.intensity = np.arange(count) % 1000
    cloud.red = np.full(count, 65535)
    cloud.heat = np.arange(count) / 4
    cloud.write(path, do_compress=True)
    if said is not None:
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, 107, said)
        path.write_bytes(data)
    return np.asarray(points.T)


def test_points_unpacked_in_parts_are_whole(tmp_path: Path) -> None:
    points = laz(tmp_path / "a.laz")
    scan = load_scan(tmp_path / "a.laz")
    np.testing.assert_array_equal(scan.points, points)
    np.testing.assert_array_equal(scan.extras["intensity"], np.arange(COUNT) % 1000)
    np.testing.assert_array_equal(scan.extras["heat"], np.arange(COUNT) / 4)
    assert set(scan.extras) == {"intensity", "heat"}  # the classification is 0 everywhere
    assert scan.colors is not None
    assert scan.colors.tolist() == [[255, 0, 0]] * COUNT


def test_a_laz_that_claims_too_much_is_refused_by_arithmetic(tmp_path: Path) -> None:
    laz(tmp_path / "a.laz", 1000, said=UNPACKED_LEAST // 38 + 1)
    said = refusal((tmp_path / "a.laz").read_bytes(), "a.laz")
    assert said.startswith("LAZ header says 1,766,023 points of 38 bytes, in ")
    assert said.endswith(f" bytes: more than {UNPACKED_TIMES} times its size")


def test_a_laz_that_claims_much_takes_no_memory_before_it_has_the_points(tmp_path: Path) -> None:
    laz(tmp_path / "few.laz", 1000)
    laz(tmp_path / "lies.laz", 1000, said=UNPACKED_LEAST // 38)
    data = (tmp_path / "few.laz").read_bytes()
    chunk = data.index(struct.pack("<I", 50_000), data.index(b"laszip encoded"))
    (tmp_path / "chunks.laz").write_bytes(data[:chunk] + struct.pack("<I", 20_000_000) + data[chunk + 4 :])
    script = (
        "import resource, sys\nfrom lpdif import LpdifError, load_scan\n"
        "try:\n    print(len(load_scan(sys.argv[1]).points), end=' ')\nexcept LpdifError as error:\n    print('refused', end=' ')\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    took = {}
    for name in ("few.laz", "lies.laz", "chunks.laz"):
        command = [sys.executable, "-c", script, str(tmp_path / name)]
        ran = subprocess.run(command, env=process_environment(), capture_output=True, text=True, check=True)
        said, memory = ran.stdout.split()
        assert said == ("refused" if name == "lies.laz" else "1000")
        took[name] = int(memory) / 1024
    assert took["lies.laz"] < took["few.laz"] + 30  # the points it claims are 107 MiB
    assert took["chunks.laz"] < took["few.laz"] + 30  # a chunk as it says would be 725 MiB


def test_a_las_of_fewer_points_than_its_header_says_is_refused(tmp_path: Path) -> None:
    if "a.las" not in SEEDS:
        pytest.skip("laspy is not installed")
    data = SEEDS["a.las"]
    (tmp_path / "a.las").write_bytes(data[: -struct.unpack_from("<H", data, 105)[0]])
    with pytest.raises(InputError, match="ends after 3 of 4 points"):
        las.decode(tmp_path / "a.las")


def test_an_e57_that_claims_more_points_than_it_has_bits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pye57 = pytest.importorskip("pye57")
    (tmp_path / "a.e57").write_bytes(SEEDS["a.e57"])
    file = pye57.E57(str(tmp_path / "a.e57"))
    assert e57._bits(file.get_header(0).points) >= 3 * 32
    assert len(e57.decode(tmp_path / "a.e57")["points"]) == 8
    monkeypatch.setattr(e57, "_bits", lambda points: 8 * len(SEEDS["a.e57"]) // 4 + 1)
    with pytest.raises(InputError, match="scan 1 says 4 points, more than the file can hold"):
        e57.decode(tmp_path / "a.e57")


def test_what_a_file_may_unpack_to() -> None:
    assert Source("a", bytes(10)).most_unpacked == UNPACKED_LEAST
    assert Source("a", bytes(10**6)).most_unpacked == UNPACKED_TIMES * 10**6


def test_an_archive_that_unpacks_to_far_more_is_called_that() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("points.npy", bytes(UNPACKED_LEAST + 1))
    with pytest.raises(InputError, match=f"unpacks to more than {UNPACKED_TIMES} times its size") as caught:
        read_scan(out.getvalue(), "a.npz")
    assert caught.value.hint == "no scan shrinks so much: if it is yours, store it without compression (numpy.savez)"


def test_arrays_go_through_a_pipe_one_after_the_other(tmp_path: Path) -> None:
    arrays = {"points": np.arange(12.0).reshape(4, 3), "none": np.zeros((0, 3)), "words": np.array([1, 2], dtype=">u2")}
    with (tmp_path / "pipe").open("wb") as stream:
        _send(stream, dict(arrays))
    with (tmp_path / "pipe").open("rb") as stream:
        received = dict(_receive(stream))
    assert list(received) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(received[name], array)
    data = (tmp_path / "pipe").read_bytes()
    (tmp_path / "pipe").write_bytes(data[: data.index(b"none") - 8])
    with (tmp_path / "pipe").open("rb") as stream:
        assert dict(_receive(stream)) == {}  # its exit code says why
