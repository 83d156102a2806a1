"""The manners of the command line: streams, colour, help, errors, exit codes, signals."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cli_fakes import Library, write_points
from cli_options import ALWAYS, COMMANDS, OPTIONS
from conftest import Cli, process_environment, run_apart

from lpdif import errors
from lpdif.io.registry import all_endings, all_formats
from lpdif.io.write import MESH_FORMATS
from lpdif.text import counted, size
from lpdif_cli.console import Console
from lpdif_cli.wording import duration, one_line, table


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    library.install(monkeypatch)
    return library


# --- help


@pytest.mark.parametrize("command", COMMANDS)
def test_help_opens_with_a_command_and_fits_80_columns(cli: Cli, command: str) -> None:
    ran = cli(command, "--help")
    assert ran.code == 0
    assert ran.err == ""
    assert ran.out.splitlines()[0].startswith(f"lpdif {command}")
    assert max(map(len, ran.out.splitlines())) <= 80
    assert set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", ran.out, re.M)) == OPTIONS[command] | ALWAYS
    assert cli(command, "-h").out == ran.out


@pytest.mark.parametrize("columns", [None, 200, 80, 60])
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_no_line_of_help_is_wider_than_80_columns_or_the_terminal(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, columns: int | None
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", str(columns))
    words = [command] if command else []
    lines = cli(*words, "--help").out.splitlines()
    assert max(map(len, lines)) <= min(80, columns or 80)
    assert lines[0].startswith("lpdif ")
    assert sum(line.startswith("Usage: ") for line in lines) == 1
    headings = [line for line in lines if line in {"Options:", "Result:", "Sizes:", "Scan and model:", "Run:", "What is shown:"}]
    assert headings
    assert len(headings) == len(set(headings))


def test_narrow_help_says_the_same(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def said() -> list[str]:
        return [word for word in re.split(r"[\s-]+", cli("reconstruct", "--help").out) if word]  # options may be folded at a hyphen

    wide = said()
    monkeypatch.setenv("COLUMNS", "60")
    assert said() == wide


def test_help_names_the_formats_that_are_read_and_written(cli: Cli) -> None:
    text = " ".join(cli("reconstruct", "--help").out.split())
    read, written = text.partition("INPUT is ")[2].partition(" OUT is ")[::2]
    named = {f".{word.lower()}" for word in re.findall(r"\b(?:[A-Z][A-Z0-9]{2}|3MF|glTF|points3D\.bin)\b", read)}
    assert named <= {f".{ending.lstrip('.')}" for ending in all_endings()}
    for known in all_formats():
        assert f".{known.endings[0].lstrip('.')}" in named, f"the help does not name {known.title}"
        assert all(package in read for package in known.packages)
    assert "COLMAP" in read
    assert {word.lower() for word in re.findall(r"\b[A-Z0-9]{3}\b", written.partition(".")[0])} == set(MESH_FORMATS)


def test_help_of_lpdif_lists_every_command(cli: Cli) -> None:
    ran = cli("--help")
    assert ran.out.splitlines()[0] == "lpdif reconstruct scan.ply -o mesh.ply"
    listed = ran.out.split("Commands:")[1].split("Exit codes")[0]
    assert [line.split()[0] for line in listed.splitlines() if line.strip()] == list(COMMANDS)
    assert cli().out == ran.out


def test_version(cli: Cli) -> None:
    assert re.fullmatch(r"lpdif \d+\.\d+\.\d+\n", cli("--version").out)


def test_help_is_quick() -> None:
    spent = []
    for _ in range(3):
        before = os.times()
        assert run_apart(["--help"]).returncode == 0
        after = os.times()
        spent.append(after.children_user - before.children_user + after.children_system - before.children_system)
    assert min(spent) < 0.6


# --- streams


def test_stdout_is_the_result_and_stderr_the_rest(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply")
    assert ran.code == 0
    assert ran.out == "mesh.ply\n"
    assert re.fullmatch(r"wrote mesh.ply: 4 vertices, 4 faces, [\d.]+ k?B in [\d.]+ s", ran.lines[-2])
    assert ran.lines[-1] == "next: lpdif inspect mesh.ply"


@pytest.mark.parametrize(("loops", "said"), [(1, "1 loop"), (1200, "1,200 loops")])
def test_an_open_mesh_is_told(cli: Cli, library: Library, loops: int, said: str) -> None:
    library.made.facts["open_loops"] = loops
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply")
    assert ran.lines[-2] == f"open along {said}, where the points end or leave a gap (--watertight closes it)"
    assert ran.out == "mesh.ply\n"


def test_json_is_one_document(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    document = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--json").document
    assert document["command"] == "reconstruct"
    assert (document["output"], document["vertices"], document["faces"], document["points"]) == ("mesh.ply", 4, 4, 50)
    assert document["bytes"] == Path("mesh.ply").stat().st_size
    assert document["facts"] == {"region_size": 0.25, "open_loops": 0}


@pytest.mark.parametrize("words", [("reconstruct", "nowhere.ply"), ("reconstruct",), ("reconstruct", "x", "--oops"), ("oops",)])
def test_json_also_tells_of_errors(cli: Cli, words: tuple[str, ...]) -> None:
    ran = cli(*words, "--json")
    assert ran.document["error"]["exit_code"] == ran.code != 0
    assert ran.lines[0] == "error: " + ran.document["error"]["message"]


def test_quiet_leaves_only_errors_on_stderr(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "-q")
    assert (ran.out, ran.err) == ("mesh.ply\n", "")
    assert cli("reconstruct", "scan.ply", "-o", "mesh.ply", "-q").lines[0].startswith("error: ")
    assert cli("reconstruct", "scan.ply", "-q", "-v").code == 2


def test_log_of_the_library_is_shown_as_lines(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    import logging
    import warnings

    class Talking(Library):
        def reconstruct(self, *arguments: object, **more: object) -> object:  # type: ignore[override]
            log = logging.getLogger("lpdif")
            log.debug("a detail")
            log.info("region size 0.25: 3 x the spacing")
            log.warning("12 points are not finite")
            warnings.warn("for developers", stacklevel=1)
            return super().reconstruct(*arguments, **more)  # type: ignore[arg-type]

    Talking().install(monkeypatch)
    write_points(Path("scan.ply"))
    shown = {}
    for flag in ("", "-q", "-v"):
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            words = ["reconstruct", "scan.ply", "-o", "mesh.ply", "--overwrite", *([flag] if flag else [])]
            shown[flag] = cli(*words).lines
    assert "region size 0.25: 3 x the spacing" in shown[""]
    assert "a detail" not in shown[""]
    assert not any("for developers" in line for line in shown[""])
    assert shown["-q"] == ["warning: 12 points are not finite"]
    assert "a detail" in shown["-v"]
    assert any("for developers" in line for line in shown["-v"])


# --- errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.UsageError("wrong", "right"), 2),
        (errors.InputError("wrong", "right"), 3),
        (errors.ModelError("wrong", "right"), 4),
        (errors.ResourceError("wrong", "right"), 5),
        (errors.BusyError("wrong", "right"), 6),
        (errors.BatchError("wrong", "right"), 7),
    ],
)
def test_each_kind_of_error_has_its_code_and_form(cli: Cli, library: Library, error: Exception, code: int) -> None:
    write_points(Path("scan.ply"))
    library.trouble["scan"] = error
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply")
    assert ran.code == code
    assert (ran.out, ran.lines) == ("", ["error: wrong", "  hint: right"])
    assert not Path("mesh.ply").exists()


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (MemoryError("Unable to allocate 3.5 GiB"), 5, "out of memory: Unable to allocate 3.5 GiB ("),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 8 bytes"), 5, "out of memory: "),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 5, "out of memory: "),
        (ImportError("libx.so: failed to map segment from shared object"), 5, "out of memory: "),
        (OSError(errno.ENOSPC, "No space left on device", "mesh.ply"), 5, "mesh.ply: No space left on device ("),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "mesh.ply"), 5, "mesh.ply: Disk quota exceeded ("),
        (PermissionError(errno.EACCES, "Permission denied", "mesh.ply"), 3, "mesh.ply: Permission denied"),
        (OSError(errno.EIO, "Input/output error", "mesh.ply"), 5, "mesh.ply: Input/output error"),
        (ModuleNotFoundError("No module named 'torch'"), 5, "a needed package cannot be loaded: No module named 'torch'"),
        (KeyError("x"), 1, "internal: KeyError: 'x'"),
        (AssertionError(), 1, "internal: AssertionError"),
    ],
)
def test_other_exceptions_are_one_line_with_a_hint(cli: Cli, library: Library, error: Exception, code: int, message: str) -> None:
    write_points(Path("scan.ply"))
    library.trouble["scan"] = error
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply")
    assert ran.code == code
    assert ran.lines[0].startswith(f"error: {message}")
    assert ran.lines[1].startswith("  hint: ")
    assert len(ran.lines) == 2
    assert ("run the command again with -v" in ran.err) == (code == 1)


def test_out_of_gpu_memory_is_a_resource_error(cli: Cli, library: Library) -> None:
    import torch

    write_points(Path("scan.ply"))
    library.trouble["scan"] = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply")
    assert (ran.code, ran.lines[0][:24]) == (5, "error: out of memory: CU")


def test_a_limit_of_file_size_is_told_as_one(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    library.trouble["scan"] = OSError(errno.EFBIG, "File too large", "mesh.ply")
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply")
    assert (ran.code, ran.lines[0]) == (5, "error: mesh.ply: the file system takes no file so large")
    assert "ulimit -f unlimited" in ran.lines[1]


@pytest.mark.skipif(sys.platform == "win32", reason="a folder in use stays there")
@pytest.mark.parametrize("words", [("demo",), ("reconstruct", "/scan.ply", "-o", "/mesh.ply"), ("doctor",), ("inspect", "scan.ply")])
def test_a_current_folder_that_is_gone_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]) -> None:
    Path("here").mkdir()
    monkeypatch.chdir("here")
    Path("../here").resolve().rmdir()
    ran = cli(*words)
    assert (ran.code, ran.lines) == (2, ["error: the current folder has been removed", "  hint: go to one that is there, as in: cd ~"])
    assert cli("--version").code == cli("fit", "--help").code == 0


def test_traceback_only_with_v(cli: Cli, library: Library) -> None:
    write_points(Path("scan.ply"))
    library.trouble["scan"] = KeyError("x")
    words = ("reconstruct", "scan.ply", "-o", "mesh.ply")
    assert "Traceback" not in cli(*words).err
    assert "Traceback" in cli(*words, "-v").err


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("reconstrct",), "no such command 'reconstrct'", "did you mean reconstruct? `lpdif --help` lists what there is"),
        (
            ("fit", "--pattern", "8"),
            "no such option: --pattern",
            "did you mean --patterns? `lpdif fit --help` lists what there is",
        ),
        (("fit", "--zzz"), "no such option: --zzz", "see `lpdif fit --help`"),
        (("reconstruct",), "missing argument 'INPUT'", "see `lpdif reconstruct --help`"),
        (("fit", "extra"), "got unexpected extra argument(s) (extra)", "see `lpdif fit --help`"),
        (("fit", "--patterns"), "option '--patterns' requires an argument", "see `lpdif"),
        (("fit", "--stop"), "no such option: --stop", "see `lpdif fit --help`"),
        (
            ("reconstruct", "x", "--resolutoin", "1"),
            "no such option: --resolutoin",
            "did you mean --resolution? `lpdif reconstruct --help` lists what there is",
        ),
        (("reconstruct", "x", "--region", "1"), "no such option: --region", "did you mean --region-size? "),
        (("reconstruct", "x", "--sensor", "1", "2"), "option '--sensor' needs three numbers", "write X Y Z, as in --sensor 0 0 1.5, "),
        (
            ("reconstruct", "x", "--sensor", "1", "2", "-o", "y.ply"),
            "--sensor: '-o' is not a number, and three are needed",
            "write X Y Z, as in --sensor 0 0 1.5, ",
        ),
        (
            ("reconstruct", "--sensor", "1", "2", "x.ply", "-o", "y.ply"),
            "--sensor: 'x.ply' is not a number, and three are needed",
            "write X Y Z, as in --sensor 0 0 1.5, ",
        ),
    ],
)
def test_usage_errors_have_the_same_form(cli: Cli, words: tuple[str, ...], message: str, hint: str) -> None:
    ran = cli(*words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.lines[0] == f"error: {message}"
    assert ran.lines[1].startswith(f"  hint: {hint}")
    assert len(ran.lines) == 2


def test_bad_settings_file_exits_4(cli: Cli) -> None:
    Path("lpdif.toml").write_text("[reconstruct]\nresoluton = 1\n")
    ran = cli("reconstruct", "scan.ply")
    assert ran.code == 4
    assert ran.lines == ["error: lpdif.toml: unknown key 'resoluton' in [reconstruct]", "  hint: did you mean 'resolution'?"]


def test_control_characters_never_reach_the_terminal(cli: Cli) -> None:
    ran = cli("reconstruct", "bad\x1b[31m\nname.ply", "-o", "mesh.ply")
    assert ran.code == 3
    assert "\x1b" not in ran.err
    assert ran.lines[0].startswith("error: bad\\x1b[31m")


# --- small parts


def test_counted_nouns() -> None:
    assert [counted(n, "scan") for n in (0, 1, 2, 1234)] == ["0 scans", "1 scan", "2 scans", "1,234 scans"]
    assert [counted(n, "row of camera") for n in (1, 2)] == ["1 row of camera", "2 rows of camera"]
    assert [counted(n, "vertex", "vertices") for n in (1, 2)] == ["1 vertex", "2 vertices"]


def test_words_for_people() -> None:
    assert [duration(s) for s in (0.04, 59.94, 60, 3599, 7260)] == ["0.0 s", "59.9 s", "1 min 0 s", "59 min 59 s", "2 h 1 min"]
    assert [size(n) for n in (0, 999, 1000, 1_234_567, 5e12)] == ["0 B", "999 B", "1.0 kB", "1.2 MB", "5.0 TB"]
    assert table([["a", "1"], ["bcd", "22"]], right=[1]) == ["a     1", "bcd  22"]
    assert one_line("a\n  b\x07\tc") == "a b\\x07\\tc"


def test_json_has_no_nan(cli: Cli) -> None:
    import numpy as np

    console = Console()
    console.setup("x", as_json=True, quiet=False, verbose=False)
    with pytest.MonkeyPatch.context() as patch:
        from io import StringIO

        patch.setattr(console, "out", StringIO())
        console.result({"a": float("nan"), "b": np.float32(1.5), "c": np.arange(2), "d": Path("x"), "e": {1: (True, None)}})
        document = json.loads(console.out.getvalue())  # type: ignore[attr-defined]
    assert document == {
        "schema_version": 1,
        "versions": document["versions"],
        "warnings": [],
        "command": "x",
        "seconds": document["seconds"],
        "a": None,
        "b": 1.5,
        "c": [0, 1],
        "d": "x",
        "e": {"1": [True, None]},
    }


def test_runs_as_a_module() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "lpdif_cli", "--version"], env=process_environment(), capture_output=True, text=True, check=False
    )
    assert ran.stdout.startswith("lpdif ")
