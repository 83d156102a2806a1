"""Completion: what a shell is offered, asked as a shell asks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import process_environment

from lpdif_cli import completion


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with files of all kinds."""
    monkeypatch.chdir(tmp_path)
    Path("scans/deep").mkdir(parents=True)
    for name in ("scan.ply", "scan.PCD", "scan.docx", "print.3mf", "model.safetensors", ".hidden.ply", "scans/b.las", "scans/a.txt"):
        Path(name).write_text("")
    return tmp_path


def test_scans_are_files_that_can_be_read_and_folders() -> None:
    assert completion.scans("") == ["print.3mf", "scan.PCD", "scan.ply", "scans/"]
    assert completion.scans("scan.") == ["scan.PCD", "scan.ply"]
    assert completion.scans("scans/") == ["scans/a.txt", "scans/b.las", "scans/deep/"]
    assert completion.scans("./sc") == ["./scan.PCD", "./scan.ply", "./scans/"]
    assert completion.scans(".h") == [".hidden.ply"]
    assert completion.scans("nowhere/") == completion.scans("scan.ply/") == []


def test_meshes_get_their_ending() -> None:
    assert completion.meshes("new.") == [f"new.{kind}" for kind in ("obj", "ply", "stl", "off", "glb", "3mf")]
    assert completion.meshes("out/new.o") == ["out/new.obj", "out/new.off"]
    assert completion.meshes("print.") == ["print.3mf", "print.obj", "print.ply", "print.stl", "print.off", "print.glb"]
    assert completion.meshes("") == ["print.3mf", "scan.ply", "scans/"]


def test_models_and_words() -> None:
    assert completion.models("") == ["bundled", "model.safetensors", "scans/"]
    assert completion.models("b") == ["bundled"]
    assert completion.among("mm", "cm", "m", "in")("m") == ["mm", "m"]


def asked(line: str) -> list[str]:
    """What bash gets for a line that ends where Tab is pressed."""
    words = {"_LPDIF_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    ran = subprocess.run(
        [sys.executable, "-c", "from lpdif_cli.__main__ import main\nmain()"],
        env=process_environment(words),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout.split()


@pytest.mark.skipif(os.name != "posix", reason="bash is not at home there")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("lpdif rec", ["reconstruct"]),
        ("lpdif reconstruct --wat", ["--watertight"]),
        ("lpdif reconstruct scan", ["scan.PCD", "scan.ply", "scans/"]),
        ("lpdif reconstruct scan.ply -o new.p", ["new.ply"]),
        ("lpdif reconstruct scan.ply --units c", ["cm"]),
        ("lpdif reconstruct scan.ply --model b", ["bundled"]),
        ("lpdif evaluate scan.p", ["scan.ply"]),
    ],
)
def test_bash_is_offered(line: str, offered: list[str]) -> None:
    assert asked(line) == offered


def test_the_script_for_a_shell_is_shown() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", "from lpdif_cli.__main__ import main\nmain()", "--show-completion", "bash"],
        env=process_environment({"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert "_LPDIF_COMPLETE=complete_bash" in ran.stdout
