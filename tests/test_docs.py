"""The README cannot drift: its commands are run or parsed, its help texts are what is printed, its Python compiles, its links
lead somewhere.

In a ```console block, lines after `$ ` are commands; lines below a command are its output. Every command is parsed: it and its
options must be there. Where the output of a --help or --version is shown, it must be what is printed (`...` stands for anything).
Blocks that begin with `lpdif demo` are run as they stand (slow), and so are those of one machine in docs/cluster.md, on another port.
"""

from __future__ import annotations

import re
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cli_options import ALWAYS, COMMANDS, OPTIONS
from conftest import ROOT, Cli, process_environment, run_here
from shapes import even_sphere_points

import lpdif

NAMED = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "models" / "README.md"]
PAGES = [page for page in [*NAMED, *sorted((ROOT / "docs").glob("*.md"))] if page.exists()]
SHORT = {"-o": "--output", "-q": "--quiet", "-v": "--verbose", "-h": "--help"}


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)


def commands(page: Path) -> list[tuple[str, str]]:
    """(command, output shown) of every console block."""
    found = []
    for block in blocks(page, "console"):
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            joined = re.sub(r"\\\n\s*", " ", part)
            command, _, output = joined.partition("\n")
            found.append((command.strip(), output))
    return found


def lpdif_words(command: str) -> list[list[str]]:
    """The arguments of every `lpdif` in a line of shell."""
    words = shlex.split(command, comments=True)
    runs: list[list[str]] = []
    for before, word in zip(["&&", *words], words, strict=False):
        if word == "lpdif" and before in {"&&", ";", "||", "|"}:
            runs.append([])
        elif runs:
            runs[-1].append(word)
    ends = {"&&", ";", "||", "|", ">", "<"}
    return [run[: next((i for i, word in enumerate(run) if word in ends), len(run))] for run in runs]


ALL = [(page, command, output) for page in PAGES for command, output in commands(page)]


@pytest.mark.parametrize(("page", "command", "output"), ALL, ids=[f"{p.name}: {c[:50]}" for p, c, _ in ALL])
def test_commands_exist_and_their_help_is_what_is_printed(cli: Cli, page: Path, command: str, output: str) -> None:
    for words in lpdif_words(command):
        if not words or words[0].startswith("-"):
            assert words in ([], ["--version"], ["--help"], ["--install-completion"]), command
        else:
            assert words[0] in COMMANDS, command
            used = {SHORT.get(word, word).partition("=")[0] for word in words[1:] if re.match(r"-[a-z-]", word)}
            assert used <= OPTIONS[words[0]] | ALWAYS, command
        if output.strip() and words[-1:] in (["--help"], ["--version"]):
            wanted = re.escape(output.strip()).replace(r"\.\.\.", ".*")
            assert re.fullmatch(wanted, run_here(*words).out.strip(), re.S), f"{command} prints something else"
    if command.startswith("python "):
        script, *rest = shlex.split(command)[1:]
        source = (ROOT / script).read_text()
        assert all(f'"{word}"' in source for word in rest if word.startswith("-")), command
    if command.startswith("make "):
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M)
        assert set(command.split()[1:]) <= set(targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_compiles_and_uses_what_there_is(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")
        used = re.findall(r"\blpdif\.(\w+)", block)
        for names in re.findall(r"^from lpdif import (.+)$", block, re.M):
            used += re.split(r",\s*", names)
        for name in used:
            assert name in dir(lpdif), f"{page.name}: lpdif.{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        assert re.match(r"https?:", target) or (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_files_and_folders_that_are_named_are_there(page: Path) -> None:
    """Of the repository, of the package, or beside the page: `core/encoder.py`, `tests/naive.py`, `models/lpdif/io/formats/`."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    for name in re.findall(r"`([\w./-]+(?:\.py|\.toml|\.md|/))`", prose):
        if name not in {"lpdif.toml"}:  # which is the user's
            places = [ROOT, ROOT / "models" / "lpdif", page.parent, *(ROOT / "models" / "lpdif").iterdir()]
            assert any((place / name).exists() for place in places), f"{page.name}: {name}"


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_console_blocks_of_the_demo_run(page: Path, tmp_path: Path) -> None:
    """Every block that begins with `lpdif demo` is run as it stands."""
    for block in blocks(page, "console"):
        lines = [re.sub(r"\\\n\s*", " ", part).partition("\n")[0] for part in re.split(r"^\$ ", block, flags=re.M)[1:]]
        if lines and lines[0].startswith("lpdif demo"):
            for line in lines:
                script = f'lpdif() {{ "$PYTHON" -m lpdif_cli "$@"; }}\n{line}'
                ran = subprocess.run(
                    ["sh", "-e", "-c", script],
                    env=process_environment({"PYTHON": sys.executable}),
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert ran.returncode == 0, f"{line}: {ran.stderr}"


def test_options_of_dask_in_the_pages_exist() -> None:
    scheduler = pytest.importorskip("distributed.cli.dask_scheduler", reason="the extra [cluster] is not installed").main
    from distributed.cli.dask_worker import main as worker

    known = {
        name: {option for parameter in command.params for option in parameter.opts}
        for name, command in (("scheduler", scheduler), ("worker", worker))
    }
    used = [
        (name, option)
        for page in PAGES
        for name, rest in re.findall(r"dask (scheduler|worker)([^`\n]*)", page.read_text())
        for option in re.findall(r"--[a-z-]+", rest)
    ]
    assert len(used) > 5
    assert [(name, option) for name, option in used if option not in known[name]] == []


@pytest.mark.slow
def test_console_blocks_of_one_machine_run(tmp_path: Path) -> None:
    """The scheduler and the workers of docs/cluster.md in the background, then what is run with them."""
    pytest.importorskip("distributed", reason="the extra [cluster] is not installed")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    text = (ROOT / "docs/cluster.md").read_text()
    page = tmp_path / "page.md"
    page.write_text(text[text.index("## One machine") : text.index("## Several machines")].replace("8786", str(port)))
    environment = process_environment({"PYTHON": sys.executable})
    head = 'lpdif() { "$PYTHON" -m lpdif_cli "$@"; }\n'
    (tmp_path / "scans").mkdir()
    for number in range(3):
        lpdif.write_scan(tmp_path / f"scans/{number}.ply", lpdif.Scan(*even_sphere_points(300 + number)))
    background = []
    try:
        for command, _ in commands(page):
            if command.startswith("dask "):
                name, *rest = shlex.split(command)[1:]
                words = [sys.executable, "-m", f"distributed.cli.dask_{name}", *rest]
                background.append(subprocess.Popen(words, env=environment, cwd=tmp_path, stderr=subprocess.DEVNULL))
            elif command.startswith("lpdif "):
                ran = subprocess.run(
                    ["sh", "-e", "-c", head + command], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
                )
                assert ran.returncode == 0, f"{command}: {ran.stderr}"
                if "--cluster" in command:
                    assert len(list((tmp_path / "meshes").glob("*.ply"))) == 3
                    shutil.rmtree(tmp_path / "meshes")
        assert len(list((tmp_path / "meshes").glob("*.ply"))) == 3
    finally:
        for process in reversed(background):
            process.terminate()
            process.wait(30)
