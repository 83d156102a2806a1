"""The files around the code say what the package says: versions, Pythons, the command of the tests."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

import lpdif

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_ci_runs_on_every_python_that_is_promised() -> None:
    promised = [name.rpartition(" ")[2] for name in PROJECT["classifiers"] if re.fullmatch(r".*:: 3\.\d+", name)]
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    found = re.search(r"python: \[(.*)\]", text)
    assert found is not None
    assert re.findall(r'"(.*?)"', found[1]) == promised
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in text


def test_ci_runs_the_command_of_the_readme() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "$ make test" in (ROOT / "README.md").read_text()
    assert "run: make test" in text
    makefile = (ROOT / "Makefile").read_text()
    for words in ("ruff check .", "pytest -q -n auto --dist worksteal", "[dev,las,e57,cluster]", "torch==2.13.0"):
        assert words in makefile  # Windows runs the same steps, written out
        assert words in text


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_do_no_more_than_they_need(path: Path) -> None:
    text = path.read_text()
    assert re.search(r"^permissions:\n  contents: read$", text, re.M)
    assert "secrets." not in text
    assert text.count("actions/checkout") == text.count("persist-credentials: false")


def test_the_version_to_cite_is_that_of_the_package() -> None:
    assert f"\nversion: {lpdif.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_the_newest_section_of_the_changelog_is_the_version() -> None:
    """Until a release has its section, its changes stand under Unreleased."""
    sections = re.findall(r"^## \[(.+?)\](.*)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    released = [(version, date) for version, date in sections if version != "Unreleased"]
    assert released[:1] in ([], [(lpdif.__version__, released[0][1] if released else "")])
    assert all(re.fullmatch(r" - \d{4}-\d{2}-\d{2}", date) for _, date in released)
    assert [version for version, _ in sections].count("Unreleased") <= 1


def test_the_image_installs_extras_that_there_are() -> None:
    [extras] = re.findall(r"\.whl\)\[(.*?)\]", (ROOT / "Dockerfile").read_text())
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])
