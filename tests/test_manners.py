"""docs/manners.md: every manner is held by tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs" / "manners.md").read_text()
ROWS = re.findall(r"^\| (\d+) \| (.+) \| (.+) \|$", PAGE, re.M)
NAMED = sorted(set(re.findall(r"`(tests/[\w/.]+)::(\w+)`", PAGE)))


@cache
def functions_in(file: str) -> set[str]:
    """The names of the functions in a file."""
    tree = ast.parse((ROOT / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_there_are_forty_and_each_is_held() -> None:
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 41))
    assert all(re.fullmatch(r"`tests/[\w/.]+::test_\w+`(, `tests/[\w/.]+::test_\w+`)*", held) for _, _, held in ROWS)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_the_test_is_there(file: str, name: str) -> None:
    assert name in functions_in(file)
