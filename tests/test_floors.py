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

# From the ground up. An import goes to a floor below, and in a house that is SHARED also to its own; every module has a floor.
FLOORS = (
    r"lpdif\.(errors|words|config|progress|scans|meshes|ending)",
    r"lpdif\.(device|neighbours|marching_cubes|mesh_queries)",
    # geometry: arrays alone; what is built of the floor below it
    r"lpdif\.(regions|narrow_band|spacing|sampling|rendering|confidence|demo_scan)",
    r"lpdif\.(isosurface|bridging|cleaning|evening|local_noise|normals|winding|mesh_points|metrics)",
    r"lpdif\.(measuring|branches|trimming|cover)",
    r"lpdif\.(orientation|manifold|sparse_lattice)",
    r"lpdif\.(votes|closing|rims|simplify)",
    r"lpdif\.(outward|holes)",
    r"lpdif\.preparation",
    # networks
    r"lpdif\.(jets|frames|density|augment)",
    r"lpdif\.(encoder|multi_decoder)",
    r"lpdif\.(refine|field)",
    r"lpdif\.patterns",
    r"lpdif\.optimizer",
    # files
    r"lpdif\.(guarded|strict_json)",
    r"lpdif\.(locking|workspace|tensor_files|mesh_formats|formats|formats\.(axes|guess|source|lzf|polygons))",
    r"lpdif\.(atomic|sources|formats\.(child|columns|rows))",
    r"lpdif\.(writing|run_log|formats\.(arrays|colmap|dialect|ply_lists|gltf|splats))",
    r"lpdif\.formats\.head",
    r"lpdif\.formats\.(e57|glb|las|npy|obj|off|pcd|ply|ptx|stl|text|vtk)",
    r"lpdif\.formats\.sniff",
    r"lpdif\.reading",
    r"lpdif\.folders",
    r"lpdif\.artifacts",
    r"lpdif\.shards",
    # the verbs, the door and the shell
    r"lpdif\.stages(\..+)?",
    r"lpdif",
    r"lpdif_cli|lpdif_cli\.(cards|devices|interrupts|console|failures|helptext|options|settings|inputs|outputs|records|batch)",
    r"lpdif_cli\.(reconstruct|preprocess|fit|cluster|evaluate|inspect|doctor|demo)",
    r"lpdif_cli\.main",
    r"lpdif_cli\.__main__",
)
SHARED = ("lpdif.stages", "lpdif_cli")  # floors whose modules may lean on each other
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


def floor(module: str) -> int:
    found = [number for number, pattern in enumerate(FLOORS) if re.fullmatch(pattern, module)]
    assert len(found) == 1, f"{module}: its floor has to be named in FLOORS, once"
    return found[0]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_only_go_down(module: str) -> None:
    highest = floor(module) if floor(module) in map(floor, SHARED) else floor(module) - 1
    assert [name for name in GRAPH[module] if name in MODULES and floor(name) > highest] == []


def test_every_floor_is_lived_on() -> None:
    assert {floor(module) for module in MODULES} == set(range(len(FLOORS)))


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
    assert {module for module in seeing if floor(module) < floor("lpdif.stages")} == set()


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
    assert len(MODULES[module].read_text().splitlines()) <= 400


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
