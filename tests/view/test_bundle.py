"""The script and the style that are in the package are what the sources in viewer/ give."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

from lpdif.view.page import ASSETS

VIEWER = ROOT / "viewer"
BUILT = ("viewer.min.js", "page.min.css", "LICENSE-three.txt")

pytestmark = pytest.mark.skipif(not VIEWER.exists(), reason="the sources of the viewer are not here")


def digest_of_sources() -> str:
    """As `viewer/build.mjs` makes it."""
    digest = hashlib.sha256()
    for name in ("build.mjs", "package.json", "package-lock.json", *sorted(f"src/{path.name}" for path in (VIEWER / "src").iterdir())):
        digest.update(f"{name}\n{(VIEWER / name).read_text(encoding='utf-8')}".encode())
    return digest.hexdigest()


def test_the_script_was_built_from_the_sources_that_are_here() -> None:
    first = (ASSETS / "viewer.min.js").read_text(encoding="utf-8").splitlines()[0]
    assert re.findall(r"sha256 ([0-9a-f]{64})", first) == [digest_of_sources()], "run: make viewer"


def test_versions_are_pinned_and_no_address_of_a_registry_is_kept() -> None:
    package = json.loads((VIEWER / "package.json").read_text())
    lock = json.loads((VIEWER / "package-lock.json").read_text())
    for name, version in {**package["dependencies"], **package["devDependencies"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), name
        assert lock["packages"][f"node_modules/{name}"]["version"] == version
        assert lock["packages"][f"node_modules/{name}"]["integrity"].startswith("sha512-")
    assert "resolved" not in (VIEWER / "package-lock.json").read_text()


@pytest.mark.slow
def test_building_again_gives_the_same_bytes(tmp_path: Path) -> None:
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("Node.js and npm are not installed")
    place = Path(shutil.copytree(VIEWER, tmp_path / "viewer", ignore=shutil.ignore_patterns("node_modules")))
    assets = tmp_path / "models" / "lpdif" / "view" / "assets"
    assets.mkdir(parents=True)
    if (VIEWER / "node_modules").is_dir():
        shutil.copytree(VIEWER / "node_modules", place / "node_modules", symlinks=True)
    else:
        fetched = subprocess.run([npm, "ci"], cwd=place, capture_output=True, text=True, check=False)
        if fetched.returncode:
            pytest.skip(f"npm cannot install what the build needs: {fetched.stderr.strip()[-200:]}")
    subprocess.run([npm, "run", "build"], cwd=place, check=True, capture_output=True)
    for name in BUILT:
        assert (assets / name).read_bytes() == (ASSETS / name).read_bytes(), f"{name}: run: make viewer"
