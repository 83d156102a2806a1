"""The seven disguises: what is disguised, and what counts as right."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import trimesh
from conftest import ROOT
from shapes import as_mesh

from lpdif.io.write import write_mesh
from lpdif.types import Mesh

sys.path.insert(0, str(ROOT / "benchmarks"))
import disguises


def test_every_disguise_holds_the_sphere_that_was_seen() -> None:
    points, normals = disguises.sphere(500)
    assert np.abs(np.linalg.norm(points, axis=1) - 1).max() < 5 * disguises.NOISE
    scans = disguises.disguises(points, normals)
    assert len(scans) == 6
    np.testing.assert_allclose(scans[disguises.SHIFTED].points - disguises.SHIFT, points, atol=1e-8)
    assert (scans[disguises.HALVED].points[:, 2] > -5 * disguises.NOISE).all()
    turned = scans["half of the normals turned over"].normals
    assert turned is not None
    assert np.einsum("ni,ni->n", turned, normals).mean() == pytest.approx(0, abs=0.15)


def test_what_came_out_is_looked_at(tmp_path: Path) -> None:
    ball = as_mesh(trimesh.creation.icosphere(subdivisions=4))
    path = tmp_path / "ball.ply"
    write_mesh(path, Mesh(ball.vertices + disguises.SHIFT, ball.faces))
    found = disguises.look_at(path, disguises.SHIFT)
    assert (found.whole, found.outward) == (True, True)
    assert 0 < found.off < 0.002
    assert (found.below, found.above) == (pytest.approx(1, abs=0.02), pytest.approx(1, abs=0.02))
    vertices = np.concatenate([ball.vertices, 0.5 * ball.vertices])
    faces = np.concatenate([ball.faces, ball.faces + len(ball.vertices)])
    write_mesh(path, Mesh(vertices, faces[:, ::-1]), overwrite=True)
    found = disguises.look_at(path, np.zeros(3))
    assert (found.whole, found.outward) == (False, False)
    assert found.off == pytest.approx(0.1, abs=0.01)  # a fifth of the area is half a radius off
