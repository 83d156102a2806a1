"""`lpdif preprocess` and where samples come from: files of one name, files of one content, and what is said of each file."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from conftest import Cli
from shapes import sphere_points
from short_fits import SAMPLING, run_jobs_here
from test_stages_preprocess import PLACE, ball, box, manifest, write

import lpdif
from lpdif.errors import InputError
from lpdif.io.fingerprints import content_of, distinct_files, dropped
from lpdif.stages import preprocess as stage
from lpdif.stages.workers import capture
from lpdif.storage.workspace import Shard


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> None:
    names = ("regions_per_shape", "points", "samples", "finest")
    (tmp_path / "lpdif.toml").write_text("[preprocess]\n" + "".join(f"{name} = {getattr(SAMPLING, name)}\n" for name in names))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "run_jobs", run_jobs_here)


def rows(place: lpdif.Workspace = PLACE) -> list[tuple[str, str]]:
    """(path below this folder, kind) of every shard in the manifest."""
    return [(str(Path(row["path"]).relative_to(Path.cwd())), row["kind"]) for row in manifest(place)["kept"]]


# --- files of one name


def test_samples_of_another_scan_of_the_same_name_are_not_dropped_unasked(cli: Cli, here: None) -> None:
    write("a/scan.ply", ball())
    write("b/scan.ply", box(1, 2, 3))
    assert cli("preprocess", "a").code == 0
    ran = cli("preprocess", "b")
    assert (ran.code, ran.lines) == (
        2,
        [
            "error: lpdif-workspace/samples: holds samples of 1 other scan (a/scan.ply), which would be dropped",
            "  hint: pass --overwrite to drop them, give those scans too, or take another folder with --workspace",
        ],
    )
    assert rows() == [("a/scan.ply", "closed")]
    assert cli("preprocess", "a", "b").code == 0
    assert sorted(rows()) == [("a/scan.ply", "closed"), ("b/scan.ply", "closed")]
    assert cli("preprocess", "b", "--overwrite").code == 0
    assert rows() == [("b/scan.ply", "closed")]


def test_a_scan_that_was_moved_is_the_same_scan(cli: Cli, here: None) -> None:
    write("a/scan.ply", ball())
    assert cli("preprocess", "a").code == 0
    shard = PLACE.shards()
    Path("a").rename("b")
    assert cli("preprocess", "b").code == 0
    assert (rows(), PLACE.shards()) == ([("b/scan.ply", "closed")], shard)
    Path("b/scan.ply").unlink()
    write("b/other.ply", box(1, 2, 3))
    assert cli("preprocess", "b").code == 2


def test_a_list_of_samples_that_knows_names_alone_goes_by_these(cli: Cli, here: None) -> None:
    write("a/scan.ply", ball())
    assert cli("preprocess", "a").code == 0
    about = manifest()
    for row in about["kept"]:
        del row["path"], row["content"], row["bytes"]
    PLACE.manifest.write_text(json.dumps(about))
    write("b/scan.ply", ball())
    write("c/other.ply", box(1, 2, 3))
    assert "(scan.ply)" in cli("preprocess", "c").lines[0]
    assert cli("preprocess", "b").code == 0


# --- files of one content


def test_a_shape_that_is_given_twice_counts_once_aloud(cli: Cli, here: None) -> None:
    write("a/scan.ply", ball())
    write("b/scan.ply", box(1, 2, 3))
    for copy in ("c/scan.ply", "d/other.ply"):
        Path(copy).parent.mkdir()
        shutil.copy("a/scan.ply", copy)
    ran = cli("preprocess", "a", "b", "c", "d", "--json")
    assert ran.code == 0
    told = ["same content as a/scan.ply"] * 2
    assert ran.document["skipped"] == [{"scan": s, "reason": r} for s, r in zip(["c/scan.ply", "d/other.ply"], told, strict=True)]
    assert ran.lines[:2] == [f"warning: {copy}: same content as a/scan.ply; used once" for copy in ("c/scan.ply", "d/other.ply")]
    assert sorted(rows()) == [("a/scan.ply", "closed"), ("b/scan.ply", "closed")]
    shards = PLACE.shards()
    assert len(set(shards)) == 2
    assert cli("preprocess", "c", "b").code == 0  # nothing is lost by that
    assert PLACE.shards() == shards


def test_only_equal_bytes_are_the_same(tmp_path: Path) -> None:
    names = {"a": b"one", "b": b"two", "c": b"one", "d": b"", "e": b"", "f": b"longer", "g": b"two", "h": b"one"}
    for name, data in names.items():
        (tmp_path / name).write_bytes(data)
    files = [tmp_path / name for name in [*names, "missing"]]
    kept, repeated = distinct_files(files)
    assert [file.name for file in kept] == ["a", "b", "d", "e", "f", "missing"]
    assert [(file.name, first.name) for file, first in repeated] == [("c", "a"), ("g", "b"), ("h", "a")]
    assert content_of(tmp_path / "a") == content_of(tmp_path / "c") != content_of(tmp_path / "b")


def test_a_shard_is_dropped_unless_its_source_is_given(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"one")
    content = content_of(tmp_path / "a")
    at_place = Shard(Path("1"), "a", 1, str(tmp_path / "a"), "another", 9)
    moved = Shard(Path("2"), "z", 1, str(tmp_path / "z"), content, 3)
    gone = Shard(Path("3"), "a", 1, str(tmp_path / "y"), "another", 3)
    by_name, other_name = Shard(Path("4"), "a", 1), Shard(Path("5"), "b", 1)
    assert dropped([at_place, moved, gone, by_name, other_name], [tmp_path / "a"]) == [gone, other_name]
    assert dropped([at_place], []) == [at_place]


# --- what is said of each file


def write_talkative(folder: str) -> None:
    """Four files of which there is something to say, a good one and a bad one."""
    shape = ball()
    shape.invert()
    write(f"{folder}/a.ply", shape)
    whole = ball()
    write(f"{folder}/b.ply", trimesh.Trimesh(whole.vertices, whole.faces[:-200], process=False))
    write(f"{folder}/c.ply", box(1, 2, 3))
    Path(folder, "d.ply").write_bytes(b"ply\n")
    points, normals = sphere_points(4000)
    points[5] = points[17] = np.nan
    lpdif.write_scan(f"{folder}/e.ply", lpdif.Scan(points, normals * np.where(np.arange(4000) % 2, 1.0, -1.0)[:, None]))
    torn = ball()
    write(f"{folder}/f.ply", trimesh.Trimesh(torn.vertices, np.concatenate([torn.faces[:100, ::-1], torn.faces[100:]]), process=False))


def said(lines: list[str]) -> list[str]:
    """What is said of files, up to the summary."""
    return lines[: next(n for n, line in enumerate(lines) if line.startswith("5 scans: "))]


def test_what_workers_say_is_told_in_the_order_of_the_files(cli: Cli) -> None:
    write_talkative("scans")
    one = cli("preprocess", "scans", "--threads", "1", "--workspace", "one")
    assert one.code == 7
    told = said(one.lines)
    for line in (
        "a.ply: closed but inside out; used as a scan",
        "b.ply: an open mesh; used as a scan",
        "f.ply: closed, but its faces do not agree on the outside; used as a scan",
    ):
        assert line in told
    assert any(line.startswith("warning: d.ply left out: ") for line in told)
    assert any(line.endswith("2 points without a finite position dropped") and "e.ply: " in line for line in told)
    assert any(line.startswith("e.ply: normals: given, but with scattered signs") for line in told)
    files = [line.removeprefix("warning: ").split(" ")[0].rstrip(":") for line in told]
    assert files == sorted(files)
    assert set(files) == {"a.ply", "b.ply", "d.ply", "e.ply", "f.ply"}  # of c.ply there is nothing to say
    assert "5 scans: 1 closed, 4 as scans" in one.lines
    two = cli("preprocess", "scans", "--threads", "2", "--workspace", "two", "--json")
    assert said(two.lines) == told
    assert {name: two.document[name] for name in ("kept", "closed", "as_scans")} == {"kept": 5, "closed": 1, "as_scans": 4}
    quiet = cli("preprocess", "scans", "--threads", "1", "--workspace", "three", "-q")
    assert quiet.lines[:-2] == [line for line in told if line.startswith("warning: ")]


def test_files_of_one_name_are_told_apart(cli: Cli, here: None) -> None:
    for folder, cut in (("a", 100), ("b", 300)):
        shape = ball()
        write(f"{folder}/scan.ply", trimesh.Trimesh(shape.vertices, shape.faces[:-cut], process=False))
    Path("c").mkdir()
    Path("c/scan.ply").write_bytes(b"ply\n")
    write("d/other.ply", box(1, 2, 3))
    ran = cli("preprocess", "a", "b", "c", "d")
    assert "a/scan.ply: an open mesh; used as a scan" in ran.lines
    assert "b/scan.ply: an open mesh; used as a scan" in ran.lines
    assert any(line.startswith("warning: c/scan.ply left out: ") for line in ran.lines)
    assert "3 scans: 1 closed, 2 as scans" in ran.lines


def test_words_are_kept_with_what_was_found_and_nothing_else_is_changed(caplog: pytest.LogCaptureFixture) -> None:
    log = logging.getLogger("lpdif")

    def work(value: int, *, fail: bool = False) -> int:
        log.debug("a detail")
        log.info("it is %d", value)
        logging.getLogger("py.warnings").warning("for developers")
        if fail:
            raise InputError("bad")
        return value + 1

    before = (log.level, log.handlers, log.propagate)
    found = capture(work, logging.INFO, 1)
    failed = capture(work, logging.DEBUG, 2, fail=True)
    with pytest.raises(TypeError):
        capture(work, logging.INFO, "no number")  # type: ignore[arg-type]
    assert (found.result, found.error) == (2, None)
    assert found.messages == [(logging.INFO, "it is 1"), (logging.DEBUG, "for developers")]
    assert failed.result is None
    assert isinstance(failed.error, InputError)
    assert [text for _, text in failed.messages] == ["a detail", "it is 2", "for developers"]
    assert (log.level, log.handlers, log.propagate) == before
    assert caplog.records == []


def test_the_report_counts_what_there_is(scans: Path, tmp_path: Path, here: None) -> None:
    for name in ("ball.ply", "box.obj"):
        shutil.copy(scans / name, tmp_path / name)
    shutil.copy(scans / "box.obj", tmp_path / "copy.obj")
    report: Any = lpdif.preprocess([tmp_path], tmp_path / "workspace", dataclasses.replace(SAMPLING, regions_per_shape=24))
    assert (report.kept, report.closed, report.left_out) == (2, 1, [])
    assert report.skipped == [(str(tmp_path / "copy.obj"), f"same content as {tmp_path / 'box.obj'}")]
