"""`lpdif reconstruct --shard I/N`: parts of a batch, side by side in one folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from cli_fakes import Library, slow, write_points
from conftest import Cli, process_environment, process_words

from lpdif.errors import InputError
from lpdif_cli.shards import SHARD_HINT, Shard

BATCH = ("reconstruct", "scans", "-o", "out")
NAMES = [f"{letter}.ply" for letter in "abcdefg"]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    for number, name in enumerate(NAMES):
        write_points(tmp_path / "scans" / name, 50 + number)
    return tmp_path / "scans"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    library.install(monkeypatch)
    return library


def made() -> set[str]:
    return {path.name for path in Path("out").glob("*.ply")}


@pytest.mark.parametrize("total", [1, 2, 3, 7, 10])
def test_every_item_is_in_one_shard(total: int) -> None:
    parts = [Shard(number, total).part(NAMES) for number in range(1, total + 1)]
    assert sorted(name for part in parts for name in part) == NAMES
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_run_over_all_scans_sees_what_the_shards_made(cli: Cli, scans: Path, library: Library) -> None:
    library.trouble = {"b.ply": InputError("b.ply: no surface found")}
    assert [cli(*BATCH, "--shard", f"{number}/3").code for number in (3, 1)] == [0, 0]
    assert made() == {"a.ply", "c.ply", "d.ply", "f.ply", "g.ply"}
    assert cli(*BATCH, "--shard", "2/3").code == 7
    assert sorted(path.name for path in Path("out").iterdir() if path.suffix != ".ply") == [
        "failed-2-of-3.jsonl", "made-1-of-3.json", "made-2-of-3.json", "made-3-of-3.json",
    ]  # fmt: skip
    assert json.loads(Path("out/failed-2-of-3.jsonl").read_text())["input"] == "scans/b.ply"
    library.calls.clear()
    library.trouble = {}
    ran = cli(*BATCH)
    assert (ran.code, [call[0] for call in library.calls]) == (0, ["b.ply"])
    assert ran.lines[0] == "6 of 7 scans done already and kept; --overwrite does it all again"
    assert not list(Path("out").glob("failed*"))
    library.calls.clear()
    for again in ((), ("--shard", "1/2"), ("--shard", "2/2")):  # divided otherwise, too
        assert cli(*BATCH, *again).code == 0
    assert library.calls == []


def test_a_shard_tells_what_was_made_otherwise(cli: Cli, scans: Path, library: Library) -> None:
    assert cli(*BATCH, "--shard", "1/2").code == 0
    ran = cli(*BATCH, "--faces", "9")
    assert ran.code == 7
    assert {row["input"] for row in map(json.loads, Path("out/failed.jsonl").read_text().splitlines())} == {
        f"scans/{name}" for name in NAMES[::2]
    }
    assert cli(*BATCH, "--overwrite").code == 0  # made.json tells now, and what the shard wrote is older
    library.calls.clear()
    assert cli(*BATCH, "--shard", "1/2").code == 0
    assert library.calls == []
    Path("out/made-1-of-2.json").write_text("{")
    ran = cli(*BATCH, "--shard", "2/2")
    assert ran.code == 0
    assert "warning: out/made-1-of-2.json: not a list of meshes; what the meshes here were made from is not known" in ran.lines


def test_a_shard_may_be_empty(cli: Cli, scans: Path, library: Library) -> None:
    ran = cli(*BATCH, "--shard", "9/9")
    assert (ran.code, ran.out, ran.lines[0]) == (0, "", "shard 9/9: 0 of 7 scans")


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "1/0", "a/b", "1/2/3", "-1/2", " 1/2", "1.0/2", "٣/٤"])
def test_what_is_no_shard(cli: Cli, scans: Path, text: str) -> None:
    ran = cli(*BATCH, f"--shard={text}")
    assert (ran.code, ran.lines[-1]) == (2, f"  hint: {SHARD_HINT}")
    assert not Path("out").exists()


def test_a_single_scan_is_not_divided(cli: Cli, scans: Path) -> None:
    ran = cli("reconstruct", "scans/a.ply", "-o", "a.ply", "--shard", "1/2")
    assert (ran.code, ran.lines[0]) == (2, "error: --shard is for several scans")


def test_shards_run_side_by_side(cli: Cli, scans: Path, library: Library) -> None:
    words = [[*BATCH, "--shard", f"{number}/3"] for number in (1, 2, 3)]
    running = [
        subprocess.Popen(process_words(part, slow(0.001)), env=process_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for part in words
    ]
    said = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert made() == set(NAMES)
    assert cli(*BATCH).code == 0
    assert library.calls == []
