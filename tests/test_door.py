"""The public door: everything it names is there, and it opens lazily."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import process_environment

import lpdif

PROMISED = {"Config", "LocalField", "LpdifError", "load_scan", "preprocess", "fit", "cluster", "reconstruct"}


def test_what_is_promised_is_there() -> None:
    assert set(dir(lpdif)) >= PROMISED | {"write_mesh", "load_model", "load_field", "save_field", "evaluate", "__version__"}


def test_nothing_else_shows() -> None:
    import lpdif.errors  # a part that is loaded does not show either

    assert dir(lpdif) == sorted(lpdif.__all__) == sorted([*lpdif._DOOR, "__version__"])


def test_a_star_takes_what_shows() -> None:
    taken: dict[str, object] = {}
    exec("from lpdif import *", taken)
    assert set(taken) - {"__builtins__"} == set(lpdif.__all__)


@pytest.mark.parametrize("name", sorted(lpdif._DOOR))
def test_every_name_opens(name: str) -> None:
    thing = getattr(lpdif, name)
    assert thing.__module__ == f"lpdif.{lpdif._DOOR[name]}"
    assert thing.__doc__
    assert vars(lpdif)[name] is thing


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(lpdif.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.asname: str(node.module).removeprefix("lpdif.") for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen == lpdif._DOOR


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'reconstrct'"):
        lpdif.reconstrct  # noqa: B018


def test_import_alone_loads_nothing_else() -> None:
    code = "import sys, lpdif; print(*sorted(m for m in sys.modules if 'lpdif' in m))"
    ran = subprocess.run([sys.executable, "-c", code], env=process_environment(), capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["lpdif"]
