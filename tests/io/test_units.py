"""Units, scale, and the size that a slicer sees."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from lpdif.errors import UsageError
from lpdif.io.read import read_scan
from lpdif.io.units import UNITS
from lpdif.io.write import MESH_FORMATS, encode_mesh
from lpdif.types import Mesh

CORNERS = np.array([[0.0, 0, 0], [0.18, 0, 0], [0, 0.1, 0], [0, 0, 0.05]])
SIDES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
SMALL = Mesh(CORNERS, SIDES)


@pytest.mark.parametrize("kind", [kind for kind in MESH_FORMATS if kind != "3mf"])
def test_scale_multiplies_coordinates(kind: str) -> None:
    scan = read_scan(encode_mesh(SMALL, kind, scale=1000), f"a.{kind}")
    assert scan.faces is not None
    np.testing.assert_allclose(scan.points[scan.faces], 1000 * CORNERS[SIDES], rtol=1e-6)


@pytest.mark.parametrize(("units", "metres"), [("mm", 0.001), ("cm", 0.01), ("m", 1.0), ("in", 0.0254), (None, 1.0)])
@pytest.mark.parametrize("shift", [0.0, 4_500_000.0])
def test_glb_is_in_metres(units: str | None, metres: float, shift: float) -> None:
    scan = read_scan(encode_mesh(Mesh(CORNERS + shift, SIDES), "glb", units=units), "a.glb")
    np.testing.assert_allclose(scan.points, metres * (CORNERS + shift), rtol=0, atol=1e-6 * metres)


def said(caplog: pytest.LogCaptureFixture, kind: str, mesh: Mesh = SMALL, **how: object) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.INFO, "lpdif"):
        encode_mesh(mesh, kind, **how)  # type: ignore[arg-type]
    return [record.message for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    ("kind", "how", "warning"),
    [
        ("stl", {}, "0.18 mm long, too small to print: if the scan is in metres, pass --scale 1000, which makes it 180 mm"),
        ("stl", {"units": "m"}, "0.18 mm long, too small to print: --scale 1000 makes millimetres of m"),
        ("stl", {"units": "in"}, "0.18 mm long, too small to print: --scale 25.4 makes millimetres of in"),
        ("3mf", {}, "0.18 mm long, too small to print: if the scan is in metres, pass --units m, which makes it 180 mm"),
        ("3mf", {"units": "cm"}, "1.8 mm long, too small to print: --scale enlarges it"),
    ],
)
def test_what_a_slicer_would_see_as_a_speck_is_told(caplog: pytest.LogCaptureFixture, kind: str, how: dict[str, object], warning: str) -> None:
    assert said(caplog, kind, **how) == [f"a slicer will take this mesh to be {warning}"]


def test_the_remedies_help(caplog: pytest.LogCaptureFixture) -> None:
    assert said(caplog, "stl", scale=1000) == said(caplog, "3mf", units="m") == said(caplog, "ply") == []
    said(caplog, "stl", scale=1000)
    assert "a slicer takes this STL to be 180 x 100 x 50 mm large" in caplog.text
    said(caplog, "3mf", units="in", scale=10)
    assert "to be 45.7 x 25.4 x 12.7 mm large" in caplog.text


@pytest.mark.parametrize("kind", ["ply", "obj", "stl", "off"])
def test_a_format_without_units_says_so(caplog: pytest.LogCaptureFixture, kind: str) -> None:
    said(caplog, kind, units="m")
    assert f"{kind.upper()} has no place for the unit (m)" in caplog.text


@pytest.mark.parametrize("how", [{"units": "miles"}, {"scale": 0.0}, {"scale": -1.0}, {"scale": float("nan")}, {"scale": float("inf")}])
def test_what_makes_no_sense_is_refused(how: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        encode_mesh(SMALL, "ply", **how)  # type: ignore[arg-type]


def test_an_empty_mesh_has_no_size() -> None:
    assert encode_mesh(Mesh(np.zeros((0, 3)), np.zeros((0, 3), np.int64)), "stl")


def test_settings_and_formats_know_the_same_units() -> None:
    from lpdif.config import CHOICES

    assert CHOICES["units"] == tuple(UNITS)
