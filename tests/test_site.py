"""The site of the documents: its pages are there, its API page is what the docstrings say, and it builds without a warning."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import api_page
import pytest
from conftest import ROOT

SITE = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]


def test_the_navigation_has_every_page_once() -> None:
    named = re.findall(r'"([\w-]+\.md)"', (ROOT / "zensical.toml").read_text())
    assert sorted(named) == sorted(path.name for path in (ROOT / "docs").glob("*.md"))
    assert SITE["docs_dir"] == "docs"


def test_the_api_page_is_what_the_docstrings_say() -> None:
    assert api_page.PAGE.read_text(encoding="utf-8") == api_page.page(), "run: python tests/api_page.py"


def test_formats_of_the_page_are_those_that_there_are() -> None:
    from lpdif.io.registry import all_formats
    from lpdif.io.write import MESH_FORMATS

    read, written = (ROOT / "docs" / "formats.md").read_text().split("## Written")
    for known in all_formats():
        assert all(ending in read.lower() for ending in known.endings) or known.name == "table", known.name
    assert {name.lower() for name in re.findall(r"^\| (\w+) \|", written, re.M)} - {"format"} == set(MESH_FORMATS)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="the extra [docs] is not installed")
def test_it_builds_without_a_warning(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    ran = subprocess.run([sys.executable, "-m", "zensical", "build"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "Warning" not in ran.stdout + ran.stderr
    assert (tmp_path / "site" / "index.html").exists()
