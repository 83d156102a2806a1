"""`lpdif reconstruct`: what goes where, what is refused before any work, and batches."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cli_fakes import Library, write_points, write_snapshot
from conftest import Cli

import lpdif
from lpdif.errors import InputError, ModelError, ResourceError
from lpdif.memory import bytes_held, map_of
from lpdif.stages.cost import MEMORY
from lpdif.types import Scan
from lpdif_cli.reconstruct import read_along
from lpdif_cli.settings import resolve
from lpdif_cli.work import Work


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    library.install(monkeypatch)
    return library


# --- one scan


def test_mesh_goes_next_to_the_scan_aloud(cli: Cli) -> None:
    write_points(Path("in/scan.ply"))
    ran = cli("reconstruct", "in/scan.ply")
    assert ran.out == "in/scan.mesh.ply\n"
    assert "no -o given: the mesh goes to in/scan.mesh.ply" in ran.lines
    assert Path("in/scan.mesh.ply").exists()


def test_mesh_goes_into_a_folder_under_the_name_of_the_scan(cli: Cli) -> None:
    write_points(Path("scan.ply"))
    Path("out").mkdir()
    assert cli("reconstruct", "scan.ply", "-o", "out").out == "out/scan.ply\n"


@pytest.mark.parametrize("ending", [".ply", ".obj", ".stl", ".off", ".glb", ".3mf", ".PLY"])
def test_every_format_is_written(cli: Cli, ending: str) -> None:
    write_points(Path("scan.ply"))
    assert cli("reconstruct", "scan.ply", "-o", f"mesh{ending}").code == 0
    assert Path(f"mesh{ending}").stat().st_size > 0


def test_units_and_scale_reach_the_file(cli: Cli) -> None:
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.stl", "--scale", "1000")
    assert "a slicer takes this STL to be 1,000 x 1,000 x 1,000 mm large" in ran.lines
    assert cli("inspect", "mesh.stl", "--json").document["extent"] == [1000, 1000, 1000]
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.3mf", "--units", "cm")
    assert "a slicer takes this 3MF to be 10 x 10 x 10 mm large" in ran.lines
    assert any(line.startswith("next: ") for line in ran.lines)
    ran = cli("reconstruct", "scan.ply", "-o", "again.stl")
    assert ran.lines[-3].startswith("warning: a slicer will take this mesh to be 1 mm long, too small to print: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--units", "feet"], "--units: 'feet' is not one of mm, cm, m, in"),
        (["--scale", "0"], "--scale: 0 is out of range"),
        (["--scale", "big"], "--scale: 'big' is not a number"),
        (["--keep", "smallest"], "--keep: 'smallest' is not one of all, largest"),
    ],
)
def test_units_scale_and_parts_that_make_no_sense(cli: Cli, words: list[str], message: str) -> None:
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", *words)
    assert (ran.code, ran.lines[0]) == (2, f"error: {message}")


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["scan.ply", "-o", "mesh.ply"], "mesh.ply: PLY has no place for a texture", "let the name end in .glb or .obj"),
        (["scan.ply", "-o", "-"], "stdout: PLY has no place for a texture", "let the name end in .glb or .obj"),
        (["scan.ply"], "scan.mesh.ply: PLY has no place for a texture", "let the name end in .glb or .obj"),
        (["scan.ply", "-o", "mesh.obj"], "mesh.png: exists already", "pass --overwrite"),
    ],
)
def test_a_texture_needs_a_place(cli: Cli, words: list[str], message: str, hint: str) -> None:
    write_points(Path("scan.ply"))
    Path("mesh.png").write_text("precious")
    ran = cli("reconstruct", *words, "--texture", "512")
    assert (ran.code, ran.lines[0]) == (2, f"error: {message}")
    assert hint in ran.lines[1]


def test_a_texture_needs_colours(cli: Cli) -> None:
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.glb", "--texture", "512")
    assert (ran.code, ran.lines[0]) == (3, "error: scan.ply: has no colours, which a texture would show")


def test_a_batch_with_a_texture_becomes_glb(cli: Cli, library: Library) -> None:
    pytest.importorskip("xatlas")
    points = np.random.default_rng(0).normal(size=(50, 3))
    Path("in").mkdir()
    lpdif.write_scan("in/a.ply", lpdif.Scan(points, colors=np.full((50, 3), 90, np.uint8)))
    words = ("reconstruct", "in", "-o", "out", "--texture", "512")
    ran = cli(*words, "--json")
    assert ran.code == 0
    assert [row["output"] for row in ran.document["scans"]] == ["out/a.glb"]
    assert lpdif.load_scan("out/a.glb").faces is not None
    assert cli(*words).lines[0].startswith("1 of 1 scan done already")


def test_a_missing_scan_is_told_before_a_bad_output(cli: Cli) -> None:
    ran = cli("reconstruct", "nosuch.ply", "-o", "q")
    assert (ran.code, ran.lines[0]) == (3, "error: nosuch.ply: no such file")


def test_a_dry_run_of_a_batch_reads_the_scans_and_says_what_it_takes(cli: Cli, library: Library) -> None:
    write_points(Path("in/a.ply"), 1000)
    write_points(Path("in/b.xyz"), 50)
    Path("in/cut.ply").write_text("ply\nformat ascii 1.0\nelement vertex 9\n")
    ran = cli("reconstruct", "in", "-o", "out", "--dry-run", "--json")
    assert ran.code == 7
    assert not Path("out").exists()
    found = ran.document
    assert found["outputs"] == [str(Path("out/a.ply")), str(Path("out/b.ply"))]
    assert [row["points"] for row in found["expected"]] == [1000, 50]
    assert 3000 < found["expected"][0]["faces"] < 20_000
    assert found["total"]["cpu_seconds"] >= 2
    assert [row["input"] for row in found["failed"]] == [str(Path("in/cut.ply"))]
    assert "would make 2 meshes in out: some 2 s on one core and 0.4 GB of memory; nothing was written" in ran.lines
    ran = cli("reconstruct", "in/a.ply", "in/b.xyz", "-o", "out", "--dry-run", "--resolution", "0.1", "--json")
    assert [row["faces"] for row in ran.document["expected"]] == [1200, 1200]  # as the library expects for these sizes
    assert library.calls == []


def test_a_batch_is_not_made_anew_for_another_limit_of_memory(cli: Cli, library: Library) -> None:
    write_points(Path("in/a.ply"))
    for more in ((), ("--max-memory", "4G"), ("--max-memory", "2G")):
        assert cli("reconstruct", "in", "-o", "out", *more).code == 0
    assert len(library.calls) == 1
    assert cli("reconstruct", "in", "-o", "other", "--max-memory", "4G").code == 0
    assert library.calls[-1][2].max_memory == 4 * 10**9


def test_a_batch_is_made_anew_for_another_scale(cli: Cli) -> None:
    write_points(Path("in/a.ply"))
    assert cli("reconstruct", "in", "-o", "out", "--scale", "2").code == 0
    assert cli("inspect", "out/a.ply", "--json").document["extent"] == [2, 2, 2]
    assert cli("reconstruct", "in", "-o", "out", "--scale", "2").code == 0
    ran = cli("reconstruct", "in", "-o", "out")
    assert ran.code == 7
    assert "with other settings (scale 2.0 -> 1.0)" in ran.err


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes by name there")
@pytest.mark.parametrize(
    ("output", "message", "hint"),
    [
        ("mesh.docx", "mesh.docx: format 'docx' is not known", "meshes are written to .obj, .ply, .stl, .off, .glb, .3mf"),
        ("mesh", "mesh: the name has no ending", "meshes are written to"),
        ("there.ply", "there.ply: exists already", "pass --overwrite"),
        ("link.ply", "link.ply: is a symbolic link", "name the file itself: there.ply"),
        ("dangling.ply", "dangling.ply: is a symbolic link", "name the file itself"),
        ("pipe.ply", "pipe.ply: is a pipe or device", '"-"'),
        ("nowhere/mesh.ply", "nowhere/mesh.ply: there is no folder nowhere", "mkdir -p nowhere"),
    ],
)
def test_bad_output_is_refused_before_the_scan_is_read(cli: Cli, output: str, message: str, hint: str) -> None:
    Path("there.ply").write_text("precious")
    Path("link.ply").symlink_to("there.ply")
    Path("dangling.ply").symlink_to("gone.ply")
    os.mkfifo("pipe.ply")
    Path("broken.ply").write_text("ply")
    ran = cli("reconstruct", "broken.ply", "-o", output)
    assert ran.code == 2
    assert ran.lines[0].startswith(f"error: {message}")
    assert hint in ran.lines[1]
    assert Path("there.ply").read_text() == "precious"


def test_scan_is_never_its_own_output(cli: Cli) -> None:
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "./scan.ply", "--overwrite")
    assert (ran.code, ran.lines[0]) == (2, "error: scan.ply: input and output are the same file")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions do not bind this user")
def test_folder_without_permission_is_refused(cli: Cli) -> None:
    Path("closed").mkdir(mode=0o500)
    ran = cli("reconstruct", "scan.ply", "-o", "closed/mesh.ply")
    assert (ran.code, ran.lines[0]) == (2, "error: closed/mesh.ply: no permission to write in closed")


def test_overwrite_replaces(cli: Cli) -> None:
    write_points(Path("scan.ply"))
    Path("mesh.ply").write_text("old")
    assert cli("reconstruct", "scan.ply", "-o", "mesh.ply").code == 2
    assert Path("mesh.ply").read_text() == "old"
    assert cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--overwrite").code == 0
    assert Path("mesh.ply").read_bytes()[:3] == b"ply"


def test_scan_is_read_before_the_model(cli: Cli, library: Library) -> None:
    assert cli("reconstruct", "no-such-scan.ply", "-o", "mesh.ply").code == 3
    assert library.models == []


def test_stdin_and_stdout(cli: Cli) -> None:
    points = write_points(Path("scan.ply")).read_bytes()
    ran = cli("reconstruct", "-", "-o", "-", stdin=points)
    assert ran.code == 0
    assert ran.raw.startswith(b"ply\n")
    assert cli("reconstruct", "-", "-o", "mesh.ply", stdin=points).out == "mesh.ply\n"
    assert cli("reconstruct", "-", stdin=points).lines == [
        "error: a scan from stdin needs -o",
        "  hint: say where the mesh goes: -o mesh.ply, or -o - for stdout",
    ]
    assert cli("reconstruct", "scan.ply", "-o", "-", "--json").code == 2


def test_options_reach_the_library(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    words = "--resolution 0.1 --region-size 0.5 --max-distance auto --watertight --refine 20 --sensor -1 2 -3e1 --faces 1000"
    ran = cli("reconstruct", "scan.ply", "-o", "m.ply", *words.split(), *["--device", "cpu", "--threads", "3", "--seed", "9"])
    assert ran.code == 0
    _, _, config, device = library.calls[0]
    assert (config.resolution, config.region_size, config.max_distance, config.watertight) == (0.1, 0.5, None, True)
    assert (config.refine, config.sensor, config.faces, config.seed) == (20, (-1.0, 2.0, -30.0), 1000, 9)
    assert (device, library.threads) == ("cpu", [3])


def write_with_zeros(name: str) -> None:
    """A scan in scan.csv whose points have one more value, which is 0."""
    points = np.random.default_rng(0).normal(size=(50, 3))
    Path("scan.csv").write_text(f"x,y,z,{name}\n" + "".join(",".join(map(str, [*point, 0])) + "\n" for point in points))


def test_classes_reach_the_library(cli: Cli, library: Library) -> None:
    write_with_zeros("classification")
    assert cli("reconstruct", "scan.csv", "-o", "m.ply", "--classes", "0,6").code == 0
    assert library.calls[0][2].classes == (0, 6)
    ran = cli("reconstruct", "scan.csv", "-o", "m.ply", "--overwrite", "--classes", "2,house")
    assert (ran.code, ran.lines[0]) == (2, "error: --classes: 'house' is not a whole number")
    ran = cli("reconstruct", "scan.csv", "-o", "m.ply", "--overwrite", "--classes", "300")
    assert (ran.code, ran.lines[0]) == (2, "error: --classes: 300 is out of range")
    ran = cli("reconstruct", "scan.csv", "-o", "m.ply", "--overwrite", "--classes", "7")
    assert (ran.code, ran.lines[-2:]) == (3, ["error: scan.csv: no point of class 7", "  hint: its classes are 0"])


def test_a_trajectory_gives_each_point_its_sensor(cli: Cli) -> None:
    write_with_zeros("time")
    Path("way.txt").write_text("-1 0 0 5\n1 2 0 5\n")
    assert cli("reconstruct", "scan.csv", "-o", "m.ply", "--trajectory", "way.txt").code == 0
    sensor = read_along(Path("scan.csv"), Path("way.txt")).sensor
    np.testing.assert_array_equal(sensor, np.tile([1.0, 0, 5], (50, 1)))  # half-way at time 0
    assert read_along(Path("scan.csv"), None).sensor is None


@pytest.mark.parametrize(
    ("words", "code", "message", "hint"),
    [
        (("scan.ply", "--trajectory", "no.txt"), 3, "no.txt: no such file", "check the path"),
        (
            ("scan.ply", "--trajectory", "way.txt"),
            3,
            "scan.ply: its points have no times (values: none)",
            "a trajectory needs a value gps_time",
        ),
        (("scan.ply", "scan.ply", "--trajectory", "way.txt"), 2, "--trajectory is for one scan", "run lpdif once for each scan"),
        (
            ("scan.ply", "--sensor", "0", "0", "1", "--trajectory", "way.txt"),
            2,
            "--sensor and --trajectory both say where the scanner was",
            "leave one out",
        ),
    ],
)
def test_a_trajectory_that_cannot_be_used(cli: Cli, words: tuple[str, ...], code: int, message: str, hint: str) -> None:
    write_points(Path("scan.ply"))
    Path("way.txt").write_text("-1 0 0 5\n1 2 0 5\n")
    ran = cli("reconstruct", *words, "-o", "out.ply")
    assert (ran.code, ran.lines[0]) == (code, f"error: {message}")
    assert ran.lines[1].startswith(f"  hint: {hint}")
    assert not Path("out.ply").exists()


def test_a_sensor_of_the_settings_and_a_trajectory_exclude_each_other(cli: Cli) -> None:
    write_with_zeros("time")
    Path("way.txt").write_text("-1 0 0 5\n1 2 0 5\n")
    Path("lpdif.toml").write_text("[reconstruct]\nsensor = [0, 0, 1]\n")
    ran = cli("reconstruct", "scan.csv", "-o", "m.ply", "--trajectory", "way.txt")
    assert (ran.code, ran.lines[0]) == (2, "error: --sensor and --trajectory both say where the scanner was")


def test_model_of_the_workspace_comes_first_aloud(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    base = ("reconstruct", "scan.ply", "-o", "m.ply", "--overwrite")
    assert "model" not in cli(*base).err
    fitted = Path("lpdif-workspace/model.safetensors")
    fitted.parent.mkdir()
    fitted.write_bytes(b"")
    assert f"model: {fitted}, fitted in this workspace" in cli(*base).err
    cli(*base, "--model", "bundled")
    cli(*base, "--model", "mine.safetensors")
    assert library.models == [None, fitted, None, Path("mine.safetensors")]
    ran = cli(*base, "--workspace", "elsewhere")
    assert (ran.code, ran.lines[0]) == (4, "error: elsewhere/model.safetensors: no model in this workspace")


def test_a_mesh_is_no_model_by_its_name(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--model", "other.PLY")
    assert (ran.code, ran.lines[-2]) == (4, "error: other.PLY: its name stands for PLY, not for a model")
    assert library.models == []


def test_a_fit_that_is_not_finished_is_mentioned(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    write_snapshot(Path("lpdif-workspace"), 7)
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply")
    assert ran.code == 0
    assert "model: the one that ships with lpdif; the fit in lpdif-workspace is not finished (lpdif fit --resume)" in ran.lines


def test_a_newer_fit_that_is_not_finished_is_mentioned(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    model = Path("lpdif-workspace/model.safetensors")
    snapshot = write_snapshot(Path("lpdif-workspace"), 7)
    model.write_bytes(b"")
    words = ("reconstruct", "scan.ply", "-o", "mesh.ply", "--overwrite")
    said = "a newer fit in lpdif-workspace is not finished (7 of 60 steps): lpdif fit --resume makes its model"
    assert said in cli(*words).lines
    write_snapshot(Path("lpdif-workspace"), 60)
    assert not any("newer fit" in line for line in cli(*words).lines)
    snapshot.write_bytes(b"damaged")
    ran = cli(*words)
    assert ran.code == 0
    [line] = [line for line in ran.lines if line.startswith("warning: ")]
    assert line.startswith(f"warning: {snapshot}: ")
    assert line.endswith("; the model beside it is used")


def test_dry_run_writes_nothing(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--dry-run")
    assert (ran.code, ran.out) == (0, "mesh.ply\n")
    takes = "some 4 s on one core and 0.5 GB of memory"
    assert f"would make a mesh of about 1,200 faces from 50 points (scan.ply): {takes}; nothing was written" in ran.lines
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--dry-run", "--max-memory", "1G", "--json")
    assert f"would make a mesh of about 1,200 faces from 50 points (scan.ply): {takes}, in 3 pieces; nothing was written" in ran.lines
    assert ran.document["expected"]["pieces"] == 3
    assert library.calls == []
    assert not Path("mesh.ply").exists()
    library.trouble["scan"] = InputError("scan.ply: far too fine", "be coarser")
    assert cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--dry-run").code == 3
    assert cli("reconstruct", "nowhere.xyz", "-o", "mesh.ply", "--dry-run").code == 3


def test_a_scan_that_leaves_little_room_lies_on_disk(cli: Cli, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    colors = np.full((60, 3), 7, np.uint8)
    points = np.random.default_rng(0).normal(size=(60, 3))
    scan = Scan(points, points, colors, {"intensity": np.arange(60)}, sensor=np.ones((60, 3)))
    for leaves_little in (True, False):
        monkeypatch.setattr("lpdif.stages.cost.MEMORY", MEMORY._replace(prepared=1e12 if leaves_little else 0.0))
        kept = Work(resolve("reconstruct", {}), None).stored(scan)  # type: ignore[arg-type]
        assert [map_of(array) is not None for array in kept.arrays] == [leaves_little] * 5
        for found, array in zip(kept.arrays, scan.arrays, strict=True):
            np.testing.assert_array_equal(found, array)
    mesh = replace(scan, faces=np.array([[0, 1, 2]]))
    monkeypatch.setattr("lpdif.stages.cost.MEMORY", MEMORY._replace(prepared=1e12, oriented=1e12))
    assert Work(resolve("reconstruct", {}), None).stored(mesh) is mesh  # type: ignore[arg-type]
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--dry-run")
    assert any(", 0.0 GB of disk for temporary files; nothing was written" in line for line in ran.lines)
    assert cli("reconstruct", "scan.ply", "-o", "mesh.ply").code == 0
    assert cli("reconstruct", "scan.ply", "scan.ply", "-o", "meshes").code == 0
    assert [bytes_held(scan.arrays) for scan in library.scans] == [0, 0, 0]
    monkeypatch.setattr("lpdif.memory.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10, 0, 10))  # type: ignore[attr-defined]
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--overwrite")
    assert ran.code == 5
    assert any("disk full: 0 MB are needed in" in line for line in ran.lines)


# --- several scans


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("a.ply", "bad.ply", "deep/a.ply"):
        write_points(tmp_path / "scans" / name)
    (tmp_path / "scans/notes.md").write_text("no scan")
    return tmp_path / "scans"


def test_one_bad_scan_does_not_stop_the_rest(cli: Cli, library: Library, scans: Path) -> None:
    library.trouble["bad"] = InputError("bad.ply: no surface found", "give a denser scan")
    ran = cli("reconstruct", "scans", "-o", "out")
    assert ran.code == 7
    assert ran.out.splitlines() == ["out/a.ply", "out/deep/a.ply"]
    assert sorted(str(p.relative_to("out")) for p in Path("out").rglob("*.*")) == [
        "a.ply",
        "deep/a.ply",
        "failed.jsonl",
        "made.json",
    ]
    assert "warning: scans/bad.ply failed: bad.ply: no surface found" in ran.lines
    assert ran.lines[-2:] == ["error: 1 of 3 scans failed", "  hint: the reasons are in out/failed.jsonl; the others are done"]
    [record] = [json.loads(line) for line in Path("out/failed.jsonl").read_text().splitlines()]
    assert record == {
        "input": "scans/bad.ply",
        "state": "failed",
        "error": {"message": "bad.ply: no surface found", "hint": "give a denser scan", "exit_code": 3},
    }


def test_next_run_does_only_what_is_missing(cli: Cli, library: Library, scans: Path) -> None:
    library.trouble["bad"] = InputError("bad.ply: no surface found")
    cli("reconstruct", "scans", "-o", "out")
    library.trouble.clear()
    library.calls.clear()
    ran = cli("reconstruct", "scans", "-o", "out")
    assert ran.code == 0
    assert [call[0] for call in library.calls] == ["bad.ply"]
    assert "2 of 3 scans done already and kept; --overwrite does it all again" in ran.lines
    assert not Path("out/failed.jsonl").exists()
    cli("reconstruct", "scans", "-o", "out", "--overwrite")
    assert [call[0] for call in library.calls] == ["bad.ply", "a.ply", "bad.ply", "a.ply"]


def test_batch_loads_the_model_once(cli: Cli, library: Library, scans: Path) -> None:
    assert cli("reconstruct", "scans", "-o", "out").code == 0
    assert len(library.models) == 1


def test_batch_gives_one_document_and_a_table(cli: Cli, library: Library, scans: Path) -> None:
    library.trouble["bad"] = InputError("bad.ply: no surface found")
    ran = cli("reconstruct", "scans", "-o", "out", "--json")
    assert ran.code == 7
    assert [scan["state"] for scan in ran.document["scans"]] == ["done", "failed", "done"]
    assert any(line.split()[:3] == ["scan", "state", "faces"] for line in ran.lines)


def test_files_and_globs_make_a_batch_too(cli: Cli, library: Library, scans: Path) -> None:
    assert cli("reconstruct", "scans/a.ply", "scans/bad.ply", "-o", "one").out.splitlines() == ["one/a.ply", "one/bad.ply"]
    assert cli("reconstruct", "scans/*.ply", "-o", "two").out.splitlines() == ["two/a.ply", "two/bad.ply"]
    assert cli("reconstruct", "scans/**/*.ply", "-o", "three").code == 2  # two scans called a
    assert cli("reconstruct", "scans/*.pcd", "-o", "four").lines[0] == "error: scans/*.pcd: no file matches"


def test_scans_of_one_stem_keep_their_endings(cli: Cli, library: Library) -> None:
    write_points(Path("scans/a.ply"))
    write_points(Path("scans/a.txt"))
    assert cli("reconstruct", "scans", "-o", "out").out.splitlines() == ["out/a.ply.ply", "out/a.txt.ply"]


def test_meshes_below_the_scans_are_not_taken_for_scans(cli: Cli, library: Library, scans: Path) -> None:
    first = cli("reconstruct", "scans", "-o", "scans/meshes")
    again = cli("reconstruct", "scans", "-o", "scans/meshes")
    assert (first.code, again.code) == (0, 0)
    assert "3 of 3 scans done already" in again.err


def test_missing_scan_of_a_batch_is_one_failure(cli: Cli, library: Library, scans: Path) -> None:
    ran = cli("reconstruct", "scans/a.ply", "nowhere.xyz", "-o", "out")
    assert (ran.code, ran.out) == (7, "out/a.ply\n")


def test_what_would_stop_every_scan_stops_the_batch(cli: Cli, library: Library, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **more: object) -> None:
        raise ResourceError("disk full", "free some")

    library.trouble["bad"] = ModelError("wrong kind")
    assert cli("reconstruct", "scans", "-o", "out").code == 4
    monkeypatch.setattr("lpdif.storage.atomic_write.write_bytes", full)
    ran = cli("reconstruct", "scans", "-o", "out", "--overwrite")
    assert (ran.code, ran.lines[-2]) == (5, "error: disk full")


@pytest.mark.parametrize("error", [ResourceError("not enough memory to read it"), MemoryError(), KeyError("a bug"), OSError(5, "I/O")])
def test_what_goes_wrong_with_one_scan_stops_no_other(cli: Cli, library: Library, scans: Path, error: Exception) -> None:
    library.trouble["bad"] = error
    ran = cli("reconstruct", "scans", "-o", "out")
    assert (ran.code, ran.out.splitlines()) == (7, ["out/a.ply", "out/deep/a.ply"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("scans",), "several scans need a folder to go to"),
        (("scans", "-o", "-"), "several scans need a folder to go to"),
        (("scans", "-", "-o", "out"), "stdin is one scan, not one of several"),
        (("scans", "-o", "file.ply"), "file.ply: a file, but several scans go to a folder"),
    ],
)
def test_batch_without_a_folder_is_refused(cli: Cli, scans: Path, words: tuple[str, ...], message: str) -> None:
    Path("file.ply").write_text("precious")
    ran = cli("reconstruct", *words)
    assert (ran.code, ran.lines[0]) == (2, f"error: {message}")


def test_output_given_as_second_scan_is_understood(cli: Cli) -> None:
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "mesh.ply")
    assert (ran.code, ran.lines[1]) == (2, "  hint: the mesh comes after -o: lpdif reconstruct scan.ply -o mesh.ply")


def test_batch_dry_run(cli: Cli, library: Library, scans: Path) -> None:
    ran = cli("reconstruct", "scans", "-o", "out", "--dry-run")
    assert ran.out.splitlines() == ["out/a.ply", "out/bad.ply", "out/deep/a.ply"]
    assert not Path("out").exists()


def test_folder_without_scans_is_bad_input(cli: Cli) -> None:
    Path("empty").mkdir()
    assert cli("reconstruct", "empty", "-o", "out").code == 3
    write_notes(Path("empty"), "README.txt")
    assert cli("reconstruct", "empty", "-o", "out").lines[-2] == "error: empty: no scan in this folder"


def write_notes(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text("name,bytes\nball.ply,12\n")


def test_notes_beside_the_scans_are_skipped_in_one_line(cli: Cli, library: Library, scans: Path) -> None:
    write_notes(scans, "README.txt", "MANIFEST.csv", "deep/notes.xyz")
    ran = cli("reconstruct", "scans", "-o", "out")
    assert (ran.code, ran.out.splitlines()) == (0, ["out/a.ply", "out/bad.ply", "out/deep/a.ply"])
    assert "skipped, as text without a row of numbers: scans/MANIFEST.csv, scans/README.txt, scans/deep/notes.xyz" in ran.lines
    assert "skipped, as a kind of file that lpdif does not read: scans/notes.md" in ran.lines
    names = ["scans/MANIFEST.csv", "scans/README.txt", "scans/deep/notes.xyz"]
    for more in ([], ["--dry-run"]):
        skipped = cli("reconstruct", "scans", "-o", "out", "--json", *more).document["skipped"]
        other = {"scan": "scans/notes.md", "reason": "a kind of file that lpdif does not read"}
        assert sorted(skipped, key=lambda row: row["scan"] == "scans/notes.md") == [
            *({"scan": name, "reason": "text without a row of numbers"} for name in names),
            other,
        ]
    write_notes(scans, "a.txt", "b.txt")
    assert "skipped, as text without a row of numbers: scans/MANIFEST.csv, scans/README.txt, scans/a.txt and 2 more" in cli(
        "reconstruct", "scans", "-o", "out"
    ).lines  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes by name there")
def test_what_is_no_file_is_named_and_never_opened(cli: Cli, library: Library, scans: Path) -> None:
    os.mkfifo(scans / "pipe.ply")
    (scans / "dangling.xyz").symlink_to("nowhere.xyz")
    ran = cli("reconstruct", "scans", "-o", "out")
    assert (ran.code, ran.out.splitlines()) == (0, ["out/a.ply", "out/bad.ply", "out/deep/a.ply"])
    assert "skipped, as a pipe, socket or device: scans/pipe.ply" in ran.lines
    assert "skipped, as a link that leads to no file: scans/dangling.xyz" in ran.lines
    assert {"scan": "scans/pipe.ply", "reason": "a pipe, socket or device"} in cli("preprocess", "scans", "--dry-run", "--json").document[
        "skipped"
    ]
    os.mkfifo("alone.ply")
    Path("circle.ply").symlink_to("circle.ply")
    for words in (("alone.ply", "circle.ply"), ("*.ply",)):  # what is named is a failure
        ran = cli("reconstruct", *words, "-o", "other")
        assert ran.code == 7
        assert [line for line in ran.lines if "failed: " in line] == [
            "warning: alone.ply failed: alone.ply: a pipe or device, not a file",
            f"warning: circle.ply failed: circle.ply: cannot be opened: {os.strerror(errno.ELOOP)}",
        ]


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes by name there")
def test_a_folder_of_nothing_but_pipes_says_so(cli: Cli, library: Library) -> None:
    Path("pipes").mkdir()
    os.mkfifo("pipes/pipe.ply")
    ran = cli("reconstruct", "pipes", "-o", "out")
    assert (ran.code, ran.lines[:2]) == (3, ["skipped, as a pipe, socket or device: pipes/pipe.ply", "error: pipes: no scan in this folder"])


def test_a_folder_that_may_not_be_read(cli: Cli, library: Library, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lpdif.io.folders.may_be_read", lambda folder: False)  # root may read all
    ran = cli("reconstruct", "scans", "-o", "out")
    assert (ran.code, ran.lines[0]) == (3, "error: scans: no permission to read this folder")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_an_output_folder_that_cannot_be_made_or_written_to_is_a_slip_alone_and_in_a_batch(
    cli: Cli, library: Library, scans: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*arguments: object, **more: object) -> None:
        raise OSError(number, os.strerror(number), "out")

    Path("made").mkdir()
    monkeypatch.setattr("lpdif.storage.atomic_write.os.open", refuse)
    assert cli("reconstruct", "scans/a.ply", "-o", "made/a.ply").code == 2
    assert cli("reconstruct", "scans", "-o", "made").code == 2
    monkeypatch.setattr(Path, "mkdir", refuse)
    ran = cli("reconstruct", "scans", "-o", "out")
    assert (ran.code, ran.lines[-2]) == (2, f"error: out: the folder cannot be made: out: {os.strerror(number)}")


def test_a_folder_for_meshes_below_a_file_is_a_slip(cli: Cli, library: Library, scans: Path) -> None:
    Path("file").touch()
    ran = cli("reconstruct", "scans", "-o", "file/out")
    assert (ran.code, ran.lines[-1]) == (2, "  hint: check the path")


def test_notes_that_are_named_are_an_error(cli: Cli, library: Library, scans: Path) -> None:
    write_notes(scans, "README.txt")
    for words in (("scans/README.txt", "scans/a.ply"), ("scans/[Ra]*",)):
        ran = cli("reconstruct", *words, "-o", "out", "--overwrite")
        assert ran.code == 7
        assert any("README.txt failed: README.txt: not columns of numbers" in line for line in ran.lines)


def test_several_scans_do_not_make_a_folder_named_like_a_mesh(cli: Cli, library: Library, scans: Path) -> None:
    ran = cli("reconstruct", "scans", "-o", "single.ply")
    assert (ran.code, ran.lines[-2:]) == (
        2,
        ["error: single.ply: named like one mesh, but several scans go to a folder", "  hint: pass -o FOLDER, as in: -o single"],
    )
    assert not Path("single.ply").exists()
    assert cli("reconstruct", "scans", "-o", "made.obj/").code == 0  # the slash says that it is meant
    Path("there.ply").mkdir()
    assert cli("reconstruct", "scans", "-o", "there.ply").code == 0
    assert cli("reconstruct", "scans", "-o", "run.2").code == 0


def test_one_is_counted_as_one(cli: Cli, library: Library) -> None:
    write_points(Path("scans/a.ply"))
    assert (
        "would make 1 mesh in out: some 1 s on one core and 0.4 GB of memory; nothing was written"
        in cli("reconstruct", "scans", "-o", "out", "--dry-run").lines
    )
    assert any(line.startswith("wrote 1 mesh to out in ") for line in cli("reconstruct", "scans", "-o", "out").lines)
    again = [line for line in cli("reconstruct", "scans", "-o", "out").lines if line.startswith("wrote 0 meshes to out in ")]
    assert [line.rpartition(", ")[2] for line in again] == ["1 kept"]
    assert "1 of 1 scan done already and kept; --overwrite does it all again" in cli("reconstruct", "scans", "-o", "out").lines
