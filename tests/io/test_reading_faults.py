"""What is no scan, and what is done to scans: cut, bent, renamed, missing; every time one clear error, or a scan."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import io
import json
import lzma
import os
import struct
import subprocess
import sys
import tarfile
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import process_environment
from hypothesis import given, settings
from hypothesis import strategies as st
from seed_files import CSV, FACES, OBJ, POINTS, ply, seeds
from test_reading_ply import refusal

from lpdif.errors import InputError, LpdifError, ResourceError
from lpdif.io import registry, sandbox
from lpdif.io.read import load_scan, read_scan
from lpdif.io.source import Source
from lpdif.storage.safe_open import file_identity
from lpdif.types import Scan

PLY = ply(tuple(zip("xyz", ["f4"] * 3, POINTS.T, strict=True)), polygons=FACES.tolist())
SEEDS = seeds()
OWN = [name for name in SEEDS if not name.endswith((".las", ".laz", ".e57"))]  # read in this process, without a child
CHILDREN = [name for name in SEEDS if name not in OWN]


def attempt(data: bytes, name: str) -> None:
    """Reads; a scan or an LpdifError will do."""
    try:
        scan = read_scan(data, name)
    except LpdifError as caught:
        error = caught
    else:
        check(scan)
        return
    assert error.message.startswith(f"{name}: ")
    assert "\n" not in error.message


def check(scan: Scan) -> None:
    """A scan keeps its own promises."""
    assert scan.points.shape == (len(scan.points), 3)
    assert len(scan.points) > 0
    assert scan.points.dtype == np.float64
    for values in scan.extras.values():
        assert values.shape == (len(scan.points),)
    for table in (scan.normals, scan.colors):
        assert table is None or table.shape == scan.points.shape
    if scan.faces is not None:
        assert scan.faces.min() >= 0
        assert scan.faces.max() < len(scan.points)


@pytest.mark.parametrize("name", OWN)
def test_cut_at_any_byte(name: str) -> None:
    data = SEEDS[name]
    for length in range(len(data)):
        attempt(data[:length], name)


@pytest.mark.parametrize("name", OWN)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_with_bytes_changed(name: str, changes: list[tuple[int, int]]) -> None:
    data = bytearray(SEEDS[name])
    for place, value in changes:
        data[place % len(data)] = value
    attempt(bytes(data), name)


@given(st.binary(max_size=400), st.sampled_from([*OWN, "a.xyz", "a.pcd", "a"]))
@settings(max_examples=150, deadline=None)
def test_random_bytes(data: bytes, name: str) -> None:
    attempt(data, name)
    for begin in (
        b"ply\n",
        b"OFF\n",
        b"\x93NUMPY",
        b"solid ",
        b"# vtk DataFile Version 3.0\na\nBINARY\n",
        b"VERSION 0.7\n",
        b"v 1 2 3\n",
    ):
        attempt(begin + data, name)


@pytest.mark.parametrize("name", CHILDREN)
def test_children_cut_and_changed(name: str) -> None:
    data = SEEDS[name]
    rng = np.random.default_rng(0)
    for length in (1, 60, len(data) - 1):
        attempt(data[:length], name)
    for _ in range(2):
        bent = bytearray(data)
        for place in rng.integers(len(data), size=6):
            bent[place] ^= 255
        attempt(bytes(bent), name)


@pytest.mark.parametrize("name", SEEDS)
def test_content_decides_and_not_the_name(name: str) -> None:
    expected = read_scan(SEEDS[name], name)
    for other in ("scan",) if name in CHILDREN else ("scan", "scan.bin", "scan.asc" if name.endswith((".pts", ".csv", ".xyz")) else "scan.PLY"):
        scan = read_scan(SEEDS[name], other)
        np.testing.assert_array_equal(scan.points, expected.points)
        np.testing.assert_array_equal(scan.faces, expected.faces)


def test_another_content_is_said(caplog: pytest.LogCaptureFixture) -> None:
    read_scan(OBJ, "scan.ply")
    assert "scan.ply: its content is OBJ, and is read as that" in caplog.text


@pytest.mark.parametrize("ending", [".ply", ".pcd", ".obj", ".stl", ".las", ".npy", ".vtk", ".off"])
def test_bare_numbers_under_the_name_of_another_format_are_refused(ending: str) -> None:
    message = refusal(b"289814.15 4320978.61 170.76\n289814.64 4320978.84 170.76\n", f"a{ending}")
    title = ending[1:].upper()
    assert message.endswith(f"{title} file: it holds bare columns of numbers and no {title} header")


def test_las_that_lies_in_its_header() -> None:
    if "a.las" not in SEEDS:
        pytest.skip("laspy is not installed")
    data = bytearray(SEEDS["a.las"])

    def bent(place: int, form: str, value: float) -> str:
        changed = bytearray(data)
        struct.pack_into(form, changed, place, value)
        said: str = refusal(bytes(changed), "a.las")
        return said

    assert bent(107, "<I", 4294967295) == "ends after 4 of 4,294,967,295 points (header says 4,294,967,295)"
    assert bent(107, "<I", 0) == "holds no points (header says 0), at least 32 are needed"
    assert "variable length records, but has room for" in bent(100, "<I", 9)
    assert "not understood" in bent(104, "<B", 63)
    for scale in (0.0, np.nan, np.inf):
        assert bent(131, "<d", scale).startswith(f"LAS header scales x, y and z by {scale:g} ")
    assert "points from byte" in bent(96, "<I", 10**9)
    assert bent(105, "<H", 3).startswith("LAS points of format 3 and 3 bytes")
    assert refusal(bytes(data[:100]), "a.las") == "ends within its header (100 of 227 bytes)"


def test_extras_that_are_not_installed_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    hidden = ("laspy", "pye57", "lazrs")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else found(name, *rest))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name, package, named in (("a.las", "laspy", "laspy lazrs"), ("a.laz", "laspy", "laspy lazrs"), ("a.e57", "pye57", "pye57")):
        if name not in SEEDS:
            continue
        with pytest.raises(InputError, match=f"needs the package {package}") as caught:
            read_scan(SEEDS[name], name)
        assert caught.value.hint == f"pip install {named}"  # of packages, not of extras: so it is true of a source tree too


@pytest.mark.skipif("a.e57" not in SEEDS, reason="pye57 is not installed")
def test_a_package_without_a_wheel_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(InputError) as caught:
        read_scan(SEEDS["a.e57"], "a.e57")
    assert caught.value.hint == "pye57 has no wheel for Linux on ARM: export the scan as PLY or LAS"


def test_scans_of_an_e57_come_with_their_poses() -> None:
    if "a.e57" not in SEEDS:
        pytest.skip("pye57 is not installed")
    scan = read_scan(SEEDS["a.e57"], "a.e57")
    turned = POINTS * [-1, -1, 1] + [-1, 0, 0]
    np.testing.assert_allclose(scan.points, np.concatenate([POINTS + np.array([10, 20, 30]), turned]), atol=1e-6)
    assert scan.sensor is not None
    np.testing.assert_array_equal(scan.sensor, np.repeat([[10.0, 20, 30], [-1, 0, 0]], 4, axis=0))
    assert set(scan.extras) == {"intensity"}


def archives() -> dict[str, bytes]:
    zipped, tarred = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("scan.ply", PLY)
    with tarfile.open(fileobj=tarred, mode="w") as tar:
        about = tarfile.TarInfo("scan.ply")
        about.size = len(PLY)
        tar.addfile(about, io.BytesIO(PLY))
    return {
        "a gzip archive": gzip.compress(PLY),
        "a bzip2 archive": bz2.compress(PLY),
        "an xz archive": lzma.compress(PLY),
        "a zip archive": zipped.getvalue(),
        "a tar archive": tarred.getvalue(),
        "a 7z archive": b"7z\xbc\xaf\x27\x1c" + bytes(40),
    }


@pytest.mark.parametrize("what", archives())
def test_archives_are_refused(what: str) -> None:
    for name in ("scan.ply", "scan.ply.gz", "scan"):
        with pytest.raises(InputError, match=what) as caught:
            read_scan(archives()[what], name)
        assert caught.value.hint == "unpack it first"


def zip_of(*names: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in names:
            archive.writestr(name, b"some bytes")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty (0 bytes), at least 32 points are needed"),
        (bytes(1), "holds 1 zero byte and nothing else"),
        (bytes(1000), "holds 1,000 zero bytes and nothing else"),
        (b"\n\n \n", "not "),
        (zip_of("archive/data.pkl", "archive/data/0"), "a PyTorch checkpoint"),
        (zip_of("[Content_Types].xml", "xl/workbook.xml"), "an Office workbook, not a scan"),
        (zip_of("[Content_Types].xml", "word/document.xml"), "an Office document, not a scan"),
        (bytes.fromhex("d0cf11e0a1b11ae1") + bytes(50), "an old Excel or Office file, not a scan"),
        (zip_of("scan.usdc", "0/texture.png"), "a USDZ file, which is not read"),
        (b"PXR-USDC" + bytes(50), "a USD file, not a scan"),
        (b'{"message":"Not Found"}', "the error message of a server, not a scan"),
        (b'{\n "error": {"code": 403}}', "the error message of a server, not a scan"),
        (b'<?xml version="1.0"?>\n<Error><Code>AccessDenied</Code></Error>', "the error message of a server, not a scan"),
        (b"<!-- made --> <!-- by -->\n<html></html>", "a web page, not a scan"),
        (b"<!-- made --> " * 2000 + b"<?xml?>", "an XML file, which is not read"),
        (b"GIF89a" + bytes(20), "a GIF picture, not a scan"),
        (b"RIFF\x10\x27\0\0WEBPVP8 " + bytes(20), "a WebP picture, not a scan"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "a video or a HEIC picture, not a scan"),
        (struct.pack("<Q", 20) + json.dumps({"a": 1}).encode() + bytes(40), "a safetensors file"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "a web page, not a scan"),
        (b'<?xml version="1.0"?><VTKFile></VTKFile>', "VTK data of type ''"),
        (b'{"asset": {"version": "2.0"}, "meshes": []}', "holds no points"),
        (b"version https://example.org/spec/v1\noid sha256:00\nsize 5\n", "a Git LFS pointer"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG picture"),
        (b"glTF" + struct.pack("<II", 1, 20) + bytes(20), "version 1 is not understood"),
        (b"glTF" + struct.pack("<II", 2, 4294967295) + bytes(20), "ends after 32 of 4,294,967,295 bytes"),
        (b"ply\nformat binary_little_endian 1.0\nelement vertex 1\nproperty float x\nend_header\n", "ends after 0 of 1 point (header says 1)"),
        (b"ASTM-E57" + bytes(20), "ends within its header"),
        (b"ASTM-E57" + struct.pack("<IIQ", 1, 0, 10**18) + bytes(40), "ends after 64 of 1,000,000,000,000,000,000 bytes"),
        (b"\xff\xfe" + b"a", "begins as UTF-16 text, but is not"),
        (bytes(range(128, 256)), "not "),
    ],
)
def test_what_is_no_scan(data: bytes, said: str) -> None:
    for name in ("scan", "scan.ply", "scan.xyz"):
        assert said in refusal(data, name)


def test_what_to_do_about_what_is_no_scan() -> None:
    for data, hint in (
        (zip_of("[Content_Types].xml", "xl/workbook.xml"), "save the table in it as CSV"),
        (zip_of("scan.usdc"), "export it as PLY or OBJ"),
        (b'{"message":"Not Found"}', "download the scan itself, again"),
        (b"<!-- 404 --><html></html>", "download the scan itself, again"),
    ):
        with pytest.raises(InputError) as caught:
            read_scan(data, "scan.csv")
        assert caught.value.hint == hint


def test_missing_files_and_what_is_meant(tmp_path: Path) -> None:
    (tmp_path / "bunny.ply").write_bytes(PLY)
    (tmp_path / "horse.obj").write_bytes(OBJ)
    (tmp_path / "p.ply").write_bytes(PLY)
    for name, hint in (("buny.ply", "bunny.ply"), ("Bunny.PLY", "bunny.ply"), ("horse.ply", "horse.obj")):
        with pytest.raises(InputError, match="no such file") as caught:
            load_scan(tmp_path / name)
        assert caught.value.hint == f"did you mean {hint}?"
        assert caught.value.exit_code == 3
    with pytest.raises(InputError) as caught:
        load_scan(tmp_path / "nope.ply")  # an ending alone is no likeness
    assert caught.value.hint == "check the path"
    with pytest.raises(InputError, match="there is no folder"):
        load_scan(tmp_path / "scans" / "bunny.ply")
    with pytest.raises(InputError, match="no such file"):
        load_scan(tmp_path / "bunny.ply" / "more.ply")
    with pytest.raises(InputError, match="cannot be opened"):
        load_scan(tmp_path / ("a" * 300 + ".ply"))
    with pytest.raises(InputError, match="cannot be opened"):
        load_scan("a\0b.ply")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders there")
def test_pipes_and_devices_are_not_read(tmp_path: Path) -> None:
    """Nobody will ever write to the pipe, and the device gives zeros without end."""
    os.mkfifo(tmp_path / "pipe.ply")
    for path in (tmp_path / "pipe.ply", "/dev/zero"):
        said: list[str] = []

        def read(path: Path | str = path, said: list[str] = said) -> None:
            try:
                load_scan(path)
            except InputError as error:
                said.append(error.message)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        reader.join(60)
        assert not reader.is_alive(), path
        assert ["a pipe or device" in message for message in said] == [True]


def test_folders_and_links(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a folder"):
        load_scan(tmp_path)
    (tmp_path / "scan.ply").write_bytes(PLY)
    (tmp_path / "link.ply").symlink_to("scan.ply")
    assert len(load_scan(tmp_path / "link.ply").points) == 4
    (tmp_path / "lost.ply").symlink_to("nowhere.ply")
    with pytest.raises(InputError, match=r"a link to nowhere.ply, which does not exist"):
        load_scan(tmp_path / "lost.ply")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_no_permission(tmp_path: Path) -> None:
    (tmp_path / "scan.ply").write_bytes(PLY)
    (tmp_path / "scan.ply").chmod(0)
    with pytest.raises(InputError, match="no permission to read it"):
        load_scan(tmp_path / "scan.ply")


def test_out_of_memory_is_said_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Source) -> None:
        raise MemoryError

    monkeypatch.setattr(registry, "UNMARKED", [known._replace(read=full) for known in registry.UNMARKED])
    with pytest.raises(ResourceError, match="not enough memory to read 0 MB") as caught:
        read_scan(CSV, "a.csv")
    assert caught.value.exit_code == 5


# what a parser may do to its process, as modules that the child can run
PARSERS = {
    "hangs": "import time\ndef decode(path):\n    time.sleep(60)\n",
    "crashes": "import os, signal\ndef decode(path):\n    os.kill(os.getpid(), signal.SIGSEGV)\n",
    "eats": "import numpy as np\ndef decode(path):\n    return {'points': np.ones(1 << 40)}\n",
    "leaves": "import os\ndef decode(path):\n    os._exit(1)\n",
    "raises": "def decode(path):\n    raise KeyError('no such key')\n",
    "panics": "class Panic(BaseException):\n    pass\ndef decode(path):\n    raise Panic('range end index out of range')\n",
    "chatters": "import os\nimport numpy as np\ndef decode(path):\n    os.write(1, b'hello')\n    return {'points': np.ones((2, 3))}\n",
    "repeats": (
        "import numpy as np\n"
        "def decode(path):\n"
        "    return {'content': np.frombuffer(path.read_bytes(), 'u1'), 'path': np.frombuffer(str(path).encode(), 'u1')}\n"
    ),
}


@pytest.fixture
def parser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules pass for modules of lpdif.io.formats in the child."""
    (tmp_path / "sitecustomize.py").write_text(f"import lpdif.io.formats\nlpdif.io.formats.__path__.append({str(tmp_path)!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, code in PARSERS.items():
        (tmp_path / f"{name}.py").write_text(code)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("hangs", "its hangs parser did not finish within 1 s"),
        ("crashes", "its crashes parser crashed (SIGSEGV)"),
        ("eats", "asks for more memory than its size can explain"),
        ("leaves", "its leaves parser failed: exit code 1"),
        ("raises", "damaged: its parser says"),
        ("panics", "damaged: its parser says 'range end index out of range'"),
    ],
)
def test_parsers_may_hang_and_crash(name: str, said: str, parser: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if name == "hangs":
        monkeypatch.setattr(sandbox, "_CHILD_SECONDS", 1.0)
    with pytest.raises(InputError) as caught:
        sandbox.arrays_from_child(Source("a.bin", PLY), name, 1000)
    assert said in caught.value.message


def test_parsers_may_chatter(parser: Path) -> None:
    arrays = sandbox.arrays_from_child(Source("a.bin", PLY, parser / "chatters.py"), "chatters", 1000)
    np.testing.assert_array_equal(arrays["points"], np.ones((2, 3)))


def source_of(path: Path, data: bytes) -> Source:
    """The source that reading this file at first gave, when it held these bytes."""
    path.write_bytes(data)
    return Source(path.name, data, path, file_identity(path.stat()))


def bytes_in_child(source: Source) -> tuple[bytes, str]:
    """The bytes that the child finds, and the path where it finds them."""
    arrays = sandbox.arrays_from_child(source, "repeats", 1000)
    return arrays["content"].tobytes(), arrays["path"].tobytes().decode()


def test_the_child_reads_a_file_where_it_lies(parser: Path, tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.bin", b"first")
    assert bytes_in_child(source) == (b"first", str(source.path))


def test_the_child_reads_what_was_checked_and_not_what_came_after(parser: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    source = source_of(path, b"first")
    (tmp_path / "b.bin").write_bytes(b"later")
    (tmp_path / "b.bin").replace(path)
    assert bytes_in_child(source)[0] == b"first"
    path.unlink()
    assert bytes_in_child(source)[0] == b"first"


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="no such paths there")
def test_the_child_reads_what_only_this_process_has_open(parser: Path, tmp_path: Path) -> None:
    source = source_of(tmp_path / "a.bin", b"first")
    with (tmp_path / "a.bin").open("rb") as file:
        opened = replace(source, path=Path(f"/dev/fd/{file.fileno()}"))
        assert bytes_in_child(opened)[0] == b"first"
        (tmp_path / "a.bin").unlink()
        assert bytes_in_child(opened)[0] == b"first"


def test_bad_files_take_no_memory_beyond_their_size(tmp_path: Path) -> None:
    """Headers of ever so many points, in a process that may not have them."""
    xyz = "".join(f"property float {name}\n" for name in "xyz")
    (tmp_path / "a.ply").write_text(f"ply\nformat ascii 1.0\nelement vertex 4294967295\n{xyz}end_header\n1 2 3\n")
    (tmp_path / "b.ply").write_text(f"ply\nformat binary_little_endian 1.0\nelement vertex 4294967295\n{xyz}end_header\n1 2 3\n")
    (tmp_path / "c.off").write_text("OFF\n353535235358 6 0\n1 2 3\n")
    (tmp_path / "d.stl").write_bytes(bytes(80) + b"\xff" * 60)
    (tmp_path / "e.pcd").write_text("FIELDS x y z\nWIDTH 4294967295\nHEIGHT 1\nDATA binary\n1 2 3\n")
    (tmp_path / "f.vtk").write_text("# vtk DataFile Version 3.0\na\nASCII\nDATASET POLYDATA\nPOINTS 4294967295 float\n1 2 3\n")
    (tmp_path / "g.pts").write_text("4294967295\n1 2 3\n")
    accessor = {"count": 4294967295, "componentType": 5126, "type": "VEC3"}  # of zeros, as there is no bufferView
    primitive = {"attributes": {"POSITION": 0}}
    words = json.dumps({"meshes": [{"primitives": [primitive]}], "accessors": [accessor]}).encode()
    (tmp_path / "h.glb").write_bytes(b"glTF" + struct.pack("<III", 2, 20 + len(words), len(words)) + b"JSON" + words)
    script = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from lpdif.errors import InputError\nfrom lpdif.io.read import load_scan\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20),) * 2)\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    try:\n        load_scan(path)\n    except InputError as error:\n        print(error.message)\n"
    )
    if not Path("/proc/self/statm").exists():
        pytest.skip("no /proc here")
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env=process_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert len(ran.stdout.splitlines()) == 8


def test_reading_from_many_threads_gives_the_same() -> None:
    expected = read_scan(OBJ, "a.obj").points
    failed = []

    def work() -> None:
        for _ in range(20):
            if not np.array_equal(read_scan(OBJ, "a.obj").points, expected):
                failed.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
