"""Nothing of the current folder is imported: scans come in folders with whatever else lies there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import process_environment
from e57_files import e57_of, floats
from seed_files import las

SCRIPT = "from lpdif_cli.main import main\nif __name__ == '__main__':\n    main()\n"  # as pip writes it into bin
SCAN = np.random.default_rng(0).normal(size=(400, 3))
SCAN /= np.linalg.norm(SCAN, axis=1, keepdims=True)


def importable() -> set[str]:
    """The names of all modules that there are, and of those that Python asks for by itself."""
    installed = {name for name in importlib.metadata.packages_distributions() if name.isidentifier()}
    return installed | set(sys.stdlib_module_names) | {"lpdif", "lpdif_cli", "laspy", "lazrs", "pye57", "sitecustomize", "usercustomize"}


def taken_by_python(folder: Path) -> set[str]:
    """What `python -m lpdif_cli` imports before lpdif has a say: the package by its name, and what Python needs to find it."""
    (folder / "probe.py").write_text("import sys\nprint(*{name.partition('.')[0] for name in sys.modules})\n")
    ran = subprocess.run([sys.executable, "-m", "probe"], cwd=folder, capture_output=True, text=True, check=True)
    return set(ran.stdout.split()) | {"lpdif_cli"}


@pytest.fixture
def lpdif(tmp_path: Path) -> list[str]:
    """The command `lpdif`, as installed."""
    script = tmp_path / "bin" / "lpdif"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    return [sys.executable, str(script)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a module of every name; each leaves its name in a file when it is run."""
    place = tmp_path / "scans"
    place.mkdir()
    leave = f"open({str(tmp_path / 'imported')!r}, 'a').write(__name__ + ' ')\n"
    for number, name in enumerate(sorted(importable())):
        if number % 2:
            (place / f"{name}.py").write_text(leave)
        else:
            (place / name).mkdir()
            (place / name / "__init__.py").write_text(leave)
    return place


def imported(folder: Path) -> str:
    file = folder.parent / "imported"
    return file.read_text() if file.exists() else ""


def run(command: list[str], folder: Path, code: int = 0) -> str:
    """Runs it in the folder, and gives what it prints; nothing that lies there may be imported."""
    ran = subprocess.run(command, cwd=folder, env=process_environment(), capture_output=True, text=True)
    assert imported(folder) == ""
    assert ran.returncode == code, ran.stderr
    return ran.stdout


def write_scans(folder: Path) -> list[str]:
    """One scan a parser, those of others by what is installed."""
    np.savetxt(folder / "a.xyz", SCAN)
    for name in ("a.las", "a.laz"):
        data = las(name == "a.laz", SCAN)
        if data is not None:
            (folder / name).write_bytes(data)
    if importlib.util.find_spec("pye57") is not None:
        (folder / "a.e57").write_bytes(e57_of({f"cartesian{axis}": floats(column) for axis, column in zip("XYZ", SCAN.T, strict=True)}))
    return sorted(file.name for file in folder.glob("a.*"))


def test_what_is_planted_would_be_run(folder: Path) -> None:
    (folder / "use.py").write_text("import laspy, json\n")  # a file, as Python 3.13 needs a module of its own for the text after -c
    subprocess.run([sys.executable, "use.py"], cwd=folder, env=process_environment(), check=True)
    assert set(imported(folder).split()) >= {"laspy", "json"}


def test_readers_import_nothing_of_the_current_folder(lpdif: list[str], folder: Path) -> None:
    for scan in write_scans(folder):
        assert "400" in run([*lpdif, "inspect", scan], folder)


def test_readers_of_a_program_that_imports_from_there_itself(folder: Path) -> None:
    names = [name for name in write_scans(folder) if name != "a.xyz"]
    # all that it needs itself comes before the folder is where it looks first, as it is for `python -c`
    code = f"import difflib, json, os, sys, lpdif\nlpdif.load_scan('a.xyz')\nsys.path[:0] = ['', '.', os.getcwd()]\nfor name in {names}:\n"
    read = "    print(len(lpdif.load_scan(name).points))"
    assert run([sys.executable, "-P", "-c", code + read], folder).split() == ["400"] * len(names)


def unplant(folder: Path, names: set[str]) -> None:
    for name in names:
        (folder / f"{name}.py").unlink(missing_ok=True)
        shutil.rmtree(folder / name, ignore_errors=True)


def test_python_m_imports_nothing_more_than_python_itself(folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    unplant(folder, taken_by_python(elsewhere))
    for scan in write_scans(folder):
        assert "400" in run([sys.executable, "-m", "lpdif_cli", "inspect", scan], folder)


def test_safe_python_m_imports_nothing_at_all(folder: Path) -> None:
    write_scans(folder)
    assert "400" in run([sys.executable, "-P", "-m", "lpdif_cli", "inspect", "a.xyz"], folder)


def test_processes_at_work_import_nothing_of_the_current_folder(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "bin.py"
    script.write_text(
        "import multiprocessing\nfrom concurrent.futures import ProcessPoolExecutor\nfrom lpdif.stages.workers import safe_path\n"
        "if __name__ == '__main__':\n    with safe_path():\n"
        "        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context('spawn'))\n        asked = pool.submit(abs, -7)\n"
        "    print(asked.result())\n    pool.shutdown()\n"
    )
    assert run([sys.executable, str(script)], folder) == "7\n"


@pytest.mark.slow
def test_no_command_imports_anything_of_the_current_folder(lpdif: list[str], folder: Path) -> None:
    scans = write_scans(folder)
    for scan in scans:
        run([*lpdif, "reconstruct", scan, "-o", f"{scan}.ply"], folder)
    run([*lpdif, "inspect", f"{scans[0]}.ply"], folder)
    run([*lpdif, "evaluate", f"{scans[0]}.ply", f"{scans[0]}.ply"], folder)
    run([*lpdif, "preprocess", *scans[:2], f"{scans[0]}.ply", "--threads", "2"], folder, code=7)  # two have too few points
    short = "[fit]\npatterns = 2\nshared_steps = 4\npattern_steps = 4\nfeatures = 6\nwidth = 8\nbatch = 16\nsnapshot_every = 1\n"
    (folder / "lpdif.toml").write_text(short)
    run([*lpdif, "fit", "--device", "cpu"], folder)
    run([*lpdif, "cluster", "--patterns", "2", "--overwrite"], folder)
    run([*lpdif, "doctor"], folder)
    run([*lpdif, "demo", "-o", "snail.ply"], folder)
