"""Meshes of made scans are what they were: no change of the code moves them unannounced.

Figures, not hashes, because floating point differs in its last bits between machines; `benchmarks/golden.py` compares hashes on one machine.
A change that is meant to move meshes puts its new figures here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from clouds import hemisphere, torus
from conftest import ROOT, process_environment

import lpdif

RING, DOME, DEMO = torus(1500), hemisphere(1500), lpdif.make_demo_scan(3000)
SCANS = {
    "demo": DEMO,
    "demo without normals": lpdif.Scan(DEMO.points),
    "ring": lpdif.Scan(RING.points, RING.normals),
    "open dome without normals": lpdif.Scan(DOME.points),
}
# faces, area, volume, mean confidence
FIGURES = {
    "demo": (28172, 10942.7447, 48560.6409, 0.742774),
    "demo without normals": (29043, 10817.7311, 47440.9945, 0.753903),
    "ring": (16724, 15.7848962, 3.15108217, 0.804759),
    "open dome without normals": (19630, 6.34609285, 2.11442766, 0.826992),
}


@pytest.mark.parametrize("name", SCANS)
def test_meshes_are_what_they_were(name: str) -> None:
    mesh = lpdif.reconstruct(SCANS[name], device="cpu", threads=1).mesh
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    across = np.cross(b - a, c - a)
    area, volume = np.linalg.norm(across, axis=1).sum() / 2, np.einsum("fi,fi->", a, across) / 6
    faces, *wanted = FIGURES[name]
    assert len(mesh.faces) == pytest.approx(faces, abs=20)
    assert [area, volume, mesh.vertex_values["confidence"].mean()] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.slow
def test_the_script_of_hashes_knows_the_same_from_another(tmp_path: Path) -> None:
    lpdif.write_scan(tmp_path / "ring.ply", SCANS["ring"])

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "benchmarks" / "golden.py"), *words, "ring.ply"]
        return subprocess.run(command, env=process_environment(), cwd=tmp_path, capture_output=True, text=True, check=False)

    assert run("-o", "hashes.json").returncode == 0
    hashes = json.loads((tmp_path / "hashes.json").read_text())
    assert set(hashes) == {"fit", "field", "ring"}
    same = run("--against", "hashes.json")
    assert (same.returncode, same.stdout.count("same")) == (0, 3)
    (tmp_path / "hashes.json").write_text(json.dumps({**hashes, "ring": "0"}))
    other = run("--against", "hashes.json")
    assert (other.returncode, other.stdout.count("DIFFERS")) == (1, 1)
