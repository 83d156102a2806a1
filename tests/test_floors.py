"""The house: imports only go down, nothing goes in circles, and what is heavy is loaded late."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, process_environment

# Folders, from the ground up: an import goes to the same folder or to one below it. "lpdif" is the modules right in it.
FLOORS: tuple[tuple[str, ...], ...] = (
    ("lpdif",),
    ("lpdif.points", "lpdif.tools"),
    ("lpdif.core", "lpdif.surface"),
    ("lpdif.mesh", "lpdif.report"),
    ("lpdif.storage",),
    ("lpdif.io",),
    ("lpdif.stages", "lpdif.view"),
    ("lpdif_cli",),
)
DOOR = "lpdif"  # the package itself gives the public names: it looks down on all of its folders
HEAVY = {"torch", "sklearn", "trimesh", "scipy", "numpy", "mcubes", "point_cloud_utils", "igl", "PIL", "rich", "pydantic"}


def modules() -> Iterator[tuple[str, Path]]:
    for root, package in ((ROOT / "models", "lpdif"), (ROOT, "lpdif_cli")):
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = dict(modules())


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it; of the two packages down to the module, not the name in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            found |= {f"{module}.{a.name}" if f"{module}.{a.name}" in MODULES else module for a in node.names}
    return found


GRAPH = {name: imports(path) for name, path in MODULES.items()}


def folder(module: str) -> str:
    """The folder of FLOORS that a module lies in."""
    folders = [name for floor in FLOORS for name in floor]
    inside = [name for name in folders if module == name or module.startswith(f"{name}.")]
    assert inside, f"{module}: its folder has to be named in FLOORS"
    return max(inside, key=len)


def floor(module: str) -> int:
    """The number of the floor that a module's folder is on."""
    return next(number for number, folders in enumerate(FLOORS) if folder(module) in folders)


@pytest.mark.parametrize("module", sorted(set(MODULES) - {DOOR}))
def test_imports_only_go_down(module: str) -> None:
    ours = [name for name in GRAPH[module] if name in MODULES and folder(name) != folder(module) and name != DOOR]
    assert [name for name in ours if floor(name) >= floor(module)] == []


def test_the_door_is_for_others() -> None:
    assert [name for name in MODULES if name.startswith("lpdif.") and DOOR in GRAPH[name]] == []


def test_every_folder_is_there_and_on_one_floor() -> None:
    named = [name for floor in FLOORS for name in floor]
    assert len(named) == len(set(named))
    assert {folder(module) for module in MODULES} == set(named)


def test_nothing_goes_in_circles() -> None:
    done: set[str] = set()

    def walk(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above[above.index(module) :], module))
        if module not in done:
            for name in sorted(GRAPH[module] & set(MODULES)):
                walk(name, (*above, module))
            done.add(module)

    for module in MODULES:
        walk(module, ())


def test_every_import_of_ours_exists() -> None:
    missing = {name for names in GRAPH.values() for name in names if re.match(r"lpdif(_cli)?(\.|$)", name)} - set(MODULES)
    assert missing == set()


def test_only_stages_see_configurations() -> None:
    seeing = {module for module in MODULES if "lpdif.config" in GRAPH[module]}
    assert {module for module in seeing if floor(module) < floor("lpdif.stages") and module != DOOR} == set()


def test_the_core_knows_no_shell_and_no_terminal() -> None:
    for module in MODULES:
        if module.split(".")[0] == "lpdif":
            assert {name.split(".")[0] for name in GRAPH[module]} & {"lpdif_cli", "typer", "rich", "argparse"} == set(), module


def test_the_shell_holds_no_tensor() -> None:
    for module in MODULES:
        if module.startswith("lpdif_cli") and module != "lpdif_cli.doctor":  # which asks torch for its devices
            assert "torch" not in {name.split(".")[0] for name in GRAPH[module]}, module


def test_nothing_unpickles() -> None:
    for module, path in MODULES.items():
        assert GRAPH[module] & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"} == set(), module
        assert not re.search(r"torch\.load\(|allow_pickle=True", path.read_text()), module


def test_models_is_a_folder_and_no_package() -> None:
    assert not (ROOT / "models" / "__init__.py").exists()


@pytest.mark.parametrize("module", sorted(MODULES))
def test_no_file_is_two(module: str) -> None:
    assert len(MODULES[module].read_text().splitlines()) <= 300


def loaded_after(code: str, folder: Path) -> set[str]:
    """Top-level modules that are loaded when `code` has run in a process of its own."""
    report = "print(*sorted({m.split('.')[0] for m in sys.modules}), file=sys.stderr)"
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\n{report}"
    ran = subprocess.run([sys.executable, "-c", script], env=process_environment(), capture_output=True, text=True, check=True, cwd=folder)
    return set(ran.stderr.splitlines()[-1].split())


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = "import lpdif_cli.main as m; sys.argv = ['lpdif', '--help']; m.main()"
    assert loaded_after(code, tmp_path) & HEAVY == set()


def test_bad_scan_is_answered_without_torch(tmp_path: Path) -> None:
    (tmp_path / "empty.ply").write_bytes(b"")
    code = "import lpdif_cli.main as m; sys.argv = ['lpdif', 'reconstruct', 'empty.ply', '-o', 'mesh.ply']; m.main()"
    assert loaded_after(code, tmp_path) & {"torch", "sklearn", "trimesh", "rich"} == set()


def test_using_a_model_loads_no_training(tmp_path: Path) -> None:
    code = "import lpdif, numpy; lpdif.reconstruct(lpdif.make_demo_scan(2000), device='cpu', threads=1)"
    report = "import sys; print(*sorted(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", f"{code}; {report}"], env=process_environment(), capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert set(ran.stdout.split()) & {"lpdif.core.optimizer", "lpdif.core.augment", "lpdif.core.kde", "lpdif.stages.fit"} == set()
