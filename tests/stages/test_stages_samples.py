"""preprocess on shapes made by code: a shard a file, and only what is missing made again."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import shutil
import socket
import sys
from pathlib import Path

import pytest
import torch
from short_fits import SAMPLING

from lpdif.errors import InputError
from lpdif.stages.preprocess import PreprocessReport, preprocess, scan_files
from lpdif.storage.models import load_tensors
from lpdif.storage.shards import load_samples
from lpdif.storage.tensor_files import SAMPLES
from lpdif.storage.workspace import Workspace


def test_every_file_becomes_a_shard(prepared: tuple[Path, PreprocessReport]) -> None:
    place, report = Workspace(prepared[0]), prepared[1]
    assert report.kept == 3
    assert report.left_out == []
    kinds = {row["source"]: row["kind"] for row in json.loads(place.manifest.read_text())["kept"]}
    assert kinds == {"ball.ply": "scan", "box.obj": "closed", "ring.ply": "closed"}
    data, sizes = load_samples(place)
    assert len(data.counts) == len(sizes) == report.regions
    assert 250 < report.regions <= 360
    assert data.points.dtype == data.normals.dtype == torch.float16
    assert float(sizes.min()) >= SAMPLING.finest
    assert float(sizes.max()) <= SAMPLING.coarsest
    assert sorted(p.name for p in place.samples.iterdir()) == sorted(["manifest.json", *(p.name for p in place.shards())])
    for shard in place.shards():
        assert load_tensors(shard, SAMPLES)[1]["settings"] == dataclasses.asdict(SAMPLING)


@pytest.mark.slow
def test_preprocessing_again_redoes_only_what_is_missing(
    scans: Path, workspace: Path, prepared: tuple[Path, PreprocessReport], tmp_path: Path
) -> None:
    place = Workspace(workspace)
    before = {p: p.read_bytes() for p in place.shards()}
    times = {p: p.stat().st_mtime_ns for p in before}
    damaged, missing, kept = before
    damaged.write_bytes(before[damaged][:100])
    missing.unlink()
    (tmp_path / "broken.ply").write_bytes(b"no scan")
    calls: list[tuple[str, int, int]] = []
    report = preprocess([scans, tmp_path / "broken.ply"], workspace, SAMPLING, threads=2, progress=lambda *c: calls.append(c))
    assert (report.kept, report.regions) == (prepared[1].kept, prepared[1].regions)
    assert {p: p.read_bytes() for p in before} == before  # the same seed, the same bytes
    assert kept.stat().st_mtime_ns == times[kept]
    [(name, reason)] = report.left_out
    assert name.endswith("broken.ply")
    assert reason
    assert calls == [("preprocess", n, 4) for n in (1, 2, 3, 4)]


def test_files_are_found_once_and_in_order(scans: Path, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "workspace").mkdir()
    for name in ("more/z.ply", "more/a.stl", "notes.md", "b.PLY", "more/._z.ply", ".DS_Store", "a.jpg", "workspace/a.ply"):
        (tmp_path / name).touch()
    found, skipped = scan_files([tmp_path, tmp_path / "b.PLY", tmp_path / "notes.md"], Workspace(tmp_path / "workspace"))
    assert [p.name for p in found] == ["b.PLY", "a.stl", "z.ply", "notes.md"]
    told = [(str(file.relative_to(tmp_path)), reason) for file, reason in skipped]
    assert told == [("a.jpg", "a kind of file that lpdif does not read"), ("more/._z.ply", "hidden")]


def no_files(folder: Path) -> dict[str, str]:
    """Puts what is no file, but named like a scan, into a folder; gives their names, with why they are skipped."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "deep").mkdir()
    (folder / "below.ply").mkdir()
    os.mkfifo(folder / "pipe.ply")
    os.mkfifo(folder / "deep" / "pipe.xyz")
    (folder / "dangling.ply").symlink_to("nowhere.ply")
    (folder / "circle.obj").symlink_to("circle.obj")
    (folder / "device.pcd").symlink_to("/dev/zero")
    (folder / "linked").symlink_to(folder.parent, target_is_directory=True)
    pipe, link = "a pipe, socket or device", "a link that leads to no file"
    found = {"pipe.ply": pipe, "deep/pipe.xyz": pipe, "device.pcd": pipe, "dangling.ply": link, "circle.obj": link}
    with contextlib.suppress(OSError):  # the name of a socket may not be long
        socket.socket(socket.AF_UNIX).bind(str(folder / "s.ply"))
        found["s.ply"] = pipe
    return {**found, "linked": "a link to a folder, which is not followed"}


@pytest.mark.skipif(sys.platform == "win32", reason="such files are made otherwise there")
@pytest.mark.filterwarnings("ignore:unclosed <socket")
def test_what_is_no_file_is_skipped_and_named(tmp_path: Path) -> None:
    why = no_files(tmp_path / "scans")
    (tmp_path / "scans/a.ply").touch()
    found, skipped = scan_files([tmp_path / "scans"], Workspace(tmp_path / "workspace"))
    assert [file.name for file in found] == ["a.ply"]
    assert {file.relative_to(tmp_path / "scans").as_posix(): reason for file, reason in skipped} == why
    assert not [file for file, _ in scan_files([tmp_path / "scans"], Workspace(tmp_path))[1] if "below" in file.name]


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locked").mkdir()
    (tmp_path / "a.ply").touch()
    monkeypatch.setattr("lpdif.io.folders.may_be_read", lambda folder: folder.name != "locked")  # root may read all
    found, skipped = scan_files([tmp_path], Workspace(tmp_path / "workspace"))
    assert [file.name for file in found] == ["a.ply"]
    assert skipped == [(tmp_path / "locked", "a folder that may not be read")]


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes by name there")
def test_a_pipe_that_is_named_is_left_out_and_not_waited_for(scans: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.ply")
    (tmp_path / "circle.ply").symlink_to("circle.ply")
    report = preprocess([tmp_path / "pipe.ply", tmp_path / "circle.ply", scans / "box.obj"], tmp_path / "workspace", SAMPLING, threads=1)
    assert report.kept == 1
    assert {Path(name).name: reason for name, reason in report.left_out} == {
        "pipe.ply": "cannot be read (a pipe, not a file)",
        "circle.ply": f"cannot be read ({os.strerror(errno.ELOOP)})",
    }


@pytest.mark.parametrize("place", [".", "scans", "scans/here"])
def test_scans_are_found_wherever_the_workspace_is(place: str, tmp_path: Path) -> None:
    for name in ("scans/a.ply", f"{place}/samples/shard.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found, _ = scan_files([tmp_path / "scans"], Workspace(tmp_path / place))
    assert [file.name for file in found] == ["a.ply"]


def test_notes_in_a_folder_are_skipped(scans: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = Path(shutil.copytree(scans, tmp_path / "scans"))
    for name in ("ball.ply", "ring.ply"):
        (folder / name).unlink()
    note = folder / "README.txt"
    note.write_text("Scans of a box.\n")
    with caplog.at_level(logging.INFO, "lpdif"):
        report = preprocess([folder], tmp_path / "workspace", SAMPLING, threads=1)
    assert (report.kept, report.left_out) == (1, [])
    assert report.skipped == [(str(note), "text without a row of numbers")]
    assert f"skipped, as text without a row of numbers: {note}" in caplog.text
    named = preprocess([folder, note], tmp_path / "workspace", SAMPLING, threads=1)  # what is named is read, and the reason is given
    assert ([name for name, _ in named.left_out], named.skipped) == ([str(note)], [])


def test_nothing_to_preprocess(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no scan found"):
        preprocess([tmp_path], tmp_path / "workspace")
