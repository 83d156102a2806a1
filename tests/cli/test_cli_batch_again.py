"""`lpdif reconstruct FOLDER` once more: what may be kept, what is told, and failures that outlast a run that is stopped."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cli_fakes import Library, write_points
from conftest import Cli, Ran

from lpdif.errors import InputError, ModelError, ResourceError
from lpdif_cli.records import RECORD_NAME

FAILED, RECORD = Path("out/failed.jsonl"), Path("out") / RECORD_NAME
BATCH = ("reconstruct", "scans", "-o", "out")
OTHERWISE = "remove it to have it made anew, or pass --overwrite, which makes all of them anew"


@pytest.fixture(autouse=True)
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    library.install(monkeypatch)
    return library


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for name in ("a.ply", "b.ply", "deep/c.ply"):
        write_points(tmp_path / "scans" / name)
    return tmp_path / "scans"


def failures() -> dict[str, dict[str, Any]]:
    """The errors in failed.jsonl, by scan."""
    rows = [json.loads(line) for line in FAILED.read_text().splitlines()] if FAILED.exists() else []
    return {row["input"]: row["error"] for row in rows}


def reasons(ran: Ran) -> dict[str, str]:
    """Why meshes that are there cannot be kept, by scan; every mesh is left as it was."""
    assert ran.code == 7
    found = failures()
    for scan, error in found.items():
        assert f"warning: {scan} failed: {error['message']}" in ran.lines
        assert (error["hint"], error["exit_code"]) == (OTHERWISE, 2)
    others = "" if len(found) == 3 else "; the others are done"
    assert ran.lines[-1] == f"  hint: the reasons are in out/failed.jsonl{others}; a mesh made otherwise: {OTHERWISE}"
    return {scan: error["message"].partition(": exists already, and ")[2] for scan, error in found.items()}


# --- what a mesh was made from


def test_meshes_of_other_settings_are_not_taken_for_those_asked_for(cli: Cli, library: Library, scans: Path) -> None:
    assert cli(*BATCH).code == 0
    Path("out/deep/c.ply").write_bytes(Path("out/deep/c.ply").read_bytes())  # its time does not count
    library.calls.clear()
    why = "it was made with other settings (faces auto -> 1000, watertight false -> true)"
    ran = cli(*BATCH, "--watertight", "--faces", "1000")
    assert reasons(ran) == dict.fromkeys(["scans/a.ply", "scans/b.ply", "scans/deep/c.ply"], why)
    assert (library.calls, ran.out) == ([], "")
    assert cli(*BATCH, "--threads", "2", "--device", "cpu").code == 0  # on these a mesh does not depend
    assert library.calls == []
    assert cli(*BATCH, "--watertight", "--faces", "1000", "--overwrite").code == 0
    assert len(library.calls) == 3
    assert cli(*BATCH, "--watertight", "--faces", "1000").code == 0
    assert len(library.calls) == 3
    assert set(reasons(cli(*BATCH))) == {"scans/a.ply", "scans/b.ply", "scans/deep/c.ply"}


def test_what_is_missing_is_made_beside_what_is_not_the_same(cli: Cli, library: Library, scans: Path) -> None:
    assert cli(*BATCH, "--sensor", "0", "0", "1").code == 0
    Path("out/b.ply").unlink()
    library.calls.clear()
    ran = cli(*BATCH, "--sensor", "0", "0", "2")
    why = "it was made with other settings (sensor [0.0, 0.0, 1.0] -> [0.0, 0.0, 2.0])"
    assert reasons(ran) == {"scans/a.ply": why, "scans/deep/c.ply": why}
    assert ([call[0] for call in library.calls], ran.out) == (["b.ply"], "out/b.ply\n")
    assert set(reasons(cli(*BATCH, "--sensor", "0", "0", "1"))) == {"scans/b.ply"}


def test_a_scan_that_has_changed_is_told(cli: Cli, scans: Path) -> None:
    assert cli(*BATCH).code == 0
    write_points(scans / "a.ply", 60)
    size = (scans / "b.ply").stat()
    (scans / "b.ply").write_bytes((scans / "b.ply").read_bytes().replace(b"0.", b"1."))  # as long as it was
    os.utime(scans / "b.ply", ns=(size.st_atime_ns, size.st_mtime_ns + 10**9))
    os.utime(scans / "deep/c.ply")  # touched alone
    why = "it was made from another file than is there now"
    ran = cli(*BATCH)
    assert reasons(ran) == {"scans/a.ply": why, "scans/b.ply": why}
    assert "1 of 3 scans done already and kept; --overwrite does it all again" in ran.lines
    shutil.rmtree(scans)
    for name in ("a.ply", "b.ply", "deep/c.ply"):
        write_points(scans / name)
    assert cli(*BATCH).code == 0  # as they were


def test_another_model_is_told(cli: Cli, scans: Path) -> None:
    fitted = Path("lpdif-workspace/model.safetensors")
    fitted.parent.mkdir()
    fitted.write_bytes(b"one")
    assert cli(*BATCH).code == 0
    shutil.copy(fitted, "same.safetensors")
    assert cli(*BATCH, "--model", "same.safetensors").code == 0
    why = "it was made with another model"
    assert set(reasons(cli(*BATCH, "--model", "bundled")).values()) == {why}
    fitted.write_bytes(b"two")
    assert set(reasons(cli(*BATCH, "--seed", "1")).values()) == {f"{why} and with other settings (seed 0 -> 1)"}


def test_meshes_of_which_nothing_is_known_are_left_alone(cli: Cli, library: Library, scans: Path) -> None:
    assert cli(*BATCH).code == 0
    Path("out/a.ply").write_bytes(b"edited")
    assert reasons(cli(*BATCH)) == {"scans/a.ply": "it is not the mesh that was made here"}
    assert Path("out/a.ply").read_bytes() == b"edited"
    Path("out/a.ply").unlink()
    assert cli(*BATCH).code == 0
    whole = RECORD.read_text()
    for damaged in ("{", "[]", '{"meshes": 3}', "\x00"):
        RECORD.write_text(damaged)
        ran = cli(*BATCH)
        assert ran.lines[0] == f"warning: {RECORD}: not a list of meshes; what the meshes here were made from is not known"
        assert set(reasons(ran).values()) == {"it is not known what it was made from"}
    for damaged in ({"a.ply": 3}, {"a.ply": {"settings": {}}}, {"a.ply": {**json.loads(whole)["meshes"]["a.ply"], "scan": []}}):
        RECORD.write_text(json.dumps({"meshes": {**json.loads(whole)["meshes"], **damaged}}))
        assert reasons(cli(*BATCH)) == {"scans/a.ply": f"{RECORD} does not say what it was made from"}
    RECORD.unlink()
    assert set(reasons(cli(*BATCH)).values()) == {"it is not known what it was made from"}
    assert cli(*BATCH, "--overwrite").code == 0
    assert cli(*BATCH).code == 0


def test_a_dry_run_tells_what_would_fail_and_writes_nothing(cli: Cli, library: Library, scans: Path) -> None:
    assert cli(*BATCH).code == 0
    Path("out/b.ply").unlink()
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    ran = cli(*BATCH, "--watertight", "--dry-run", "--json")
    assert ran.code == 7
    assert ran.document["outputs"] == ["out/b.ply"]
    assert [row["input"] for row in ran.document["failed"]] == ["scans/a.ply", "scans/deep/c.ply"]
    assert ran.lines[-2:] == ["error: 2 of 3 scans would fail", f"  hint: {OTHERWISE}"]
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before
    assert cli(*BATCH, "--watertight", "--dry-run", "--overwrite").code == 0


def test_a_mesh_is_entered_before_it_is_written(cli: Cli, library: Library, scans: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run killed between the two leaves an entry whose mesh is not there, or is an older one."""
    import lpdif.storage.atomic_write

    real = lpdif.storage.atomic_write.write_bytes

    def stop(path: Path, data: bytes, overwrite: bool = False) -> None:
        if Path(path).name == "b.ply":
            raise KeyboardInterrupt
        real(path, data, overwrite)

    with monkeypatch.context() as patch:
        patch.setattr(lpdif.storage.atomic_write, "write_bytes", stop)
        assert cli(*BATCH).code == 130
    assert cli(*BATCH).code == 0
    Path("out/b.ply").write_bytes(b"an older mesh")
    with monkeypatch.context() as patch:
        patch.setattr(lpdif.storage.atomic_write, "write_bytes", stop)
        assert cli(*BATCH, "--overwrite").code == 130
    assert reasons(cli(*BATCH)) == {"scans/b.ply": "it is not the mesh that was made here"}


# --- failed.jsonl


@pytest.mark.parametrize(
    ("end", "code"), [(KeyboardInterrupt(), 130), (ModelError("wrong kind"), 4), (ResourceError("no room"), 7), (MemoryError(), 7)]
)
def test_failures_outlast_what_ends_the_batch(cli: Cli, library: Library, scans: Path, end: BaseException, code: int) -> None:
    library.trouble = {"a.ply": InputError("a.ply: no surface found"), "c.ply": end}
    ran = cli(*BATCH)
    assert ran.code == code
    assert failures()["scans/a.ply"]["message"] == "a.ply: no surface found"
    assert len(failures()) == (2 if code == 7 else 1)
    assert sorted(path.name for path in Path("out").rglob("*.ply")) == ["b.ply"]


def test_failures_of_an_earlier_run_are_gone_from_the_start(cli: Cli, library: Library, scans: Path) -> None:
    library.trouble = {"b.ply": InputError("b.ply: no surface found")}
    assert cli(*BATCH).code == 7
    assert set(failures()) == {"scans/b.ply"}
    library.trouble = {"b.ply": KeyboardInterrupt()}
    assert cli(*BATCH, "--dry-run").code == 0
    assert set(failures()) == {"scans/b.ply"}
    assert cli(*BATCH).code == 130
    assert not FAILED.exists()
    library.trouble = {"b.ply": KeyboardInterrupt()}
    assert cli(*BATCH, "--faces", "9").code == 130
    assert set(failures()) == {"scans/a.ply", "scans/deep/c.ply"}  # known before the work begins


def test_meshes_beside_the_scans_they_were_made_of_are_no_scans(cli: Cli, scans: Path) -> None:
    for name in ("a.mesh.ply", "deep/c.mesh.obj", "other.mesh.ply", ".mesh.ply"):
        write_points(scans / Path(name).with_suffix(".ply")).rename(scans / name)
    write_points(scans / "b.mesh.ply")
    write_points(scans / "d.mesh.ply")
    (scans / "d").mkdir()  # a folder of that name is no scan
    ran = cli(*BATCH)
    made = {file.name for file in Path("out").rglob("*.ply")}
    assert {"a.ply", "b.ply", "c.ply", "d.mesh.ply", "other.mesh.ply"} <= made
    assert not made & {"a.mesh.ply", "b.mesh.ply", "c.mesh.ply"}
    assert any(line.startswith("skipped, as the mesh of the scan beside it: ") and "a.mesh.ply" in line for line in ran.lines)


def test_a_setting_that_an_earlier_version_lacked_counts_as_its_default(cli: Cli, library: Library, scans: Path) -> None:
    assert cli(*BATCH).code == 0
    about = json.loads(RECORD.read_text())
    for row in about["meshes"].values():
        del row["settings"]["scale"], row["settings"]["keep"]
    RECORD.write_text(json.dumps(about))
    assert cli(*BATCH).code == 0
    ran = cli(*BATCH, "--keep", "largest")
    assert ran.code == 7
    assert 'with other settings (keep "all" -> "largest")' in ran.err
