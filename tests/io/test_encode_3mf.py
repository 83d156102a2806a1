"""3MF: an archive that other programs read, with units and colours, and the same bytes each time."""

from __future__ import annotations

import io
import logging
import zipfile
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from seed_files import COLORS

from lpdif.io.write import encode_mesh, write_mesh
from lpdif.types import Mesh

CORNERS = np.array([[0.0, 0, 0], [20, 0, 0], [0, 30, 0], [0, 0, 40]])
SIDES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])
SOLID = Mesh(CORNERS, SIDES, colors=np.array(COLORS[:4]))
CORE = "{http://schemas.microsoft.com/3dmanufacturing/core/2015/02}"
MATERIALS = "{http://schemas.microsoft.com/3dmanufacturing/material/2015/02}"
UTM = np.array([500_000.125, 4_500_000.125, 100.5])


def model(data: bytes) -> ElementTree.Element:
    """The document in a file, as any reader of XML sees it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        assert set(archive.namelist()) == {"[Content_Types].xml", "_rels/.rels", "3D/3dmodel.model"}
        [relation] = ElementTree.fromstring(archive.read("_rels/.rels"))
        return ElementTree.fromstring(archive.read(relation.attrib["Target"].removeprefix("/")))


def numbers(element: ElementTree.Element, tag: str, *names: str) -> np.ndarray:
    return np.array([[float(row.attrib[name]) for name in names] for row in element.iter(tag)])


def test_the_document_says_what_the_mesh_is() -> None:
    found = model(encode_mesh(SOLID, "3mf", units="cm"))
    assert found.attrib["unit"] == "centimeter"
    np.testing.assert_array_equal(numbers(found, f"{CORE}vertex", *"xyz"), CORNERS)
    np.testing.assert_array_equal(numbers(found, f"{CORE}triangle", "v1", "v2", "v3"), SIDES)
    group = next(found.iter(f"{MATERIALS}colorgroup"))
    palette = np.array([[int(color.attrib["color"][i : i + 2], 16) for i in (1, 3, 5)] for color in group])
    assert len(palette) == len(np.unique(SOLID.colors, axis=0))
    of_corner = numbers(found, f"{CORE}triangle", "p1", "p2", "p3").astype(int)
    assert SOLID.colors is not None
    np.testing.assert_array_equal(palette[of_corner], SOLID.colors[SIDES])
    assert {row.attrib["pid"] for row in found.iter(f"{CORE}triangle")} == {group.attrib["id"]}
    [thing] = found.iter(f"{CORE}object")
    assert thing.attrib["pid"] == group.attrib["id"]  # the specification wants it where a triangle has one
    [item] = found.iter(f"{CORE}item")
    assert item.attrib == {"objectid": thing.attrib["id"]}
    assert thing.attrib["id"] != group.attrib["id"]


@pytest.mark.parametrize(("units", "name"), [("mm", "millimeter"), ("cm", "centimeter"), ("m", "meter"), ("in", "inch"), (None, "millimeter")])
def test_units(units: str | None, name: str) -> None:
    assert model(encode_mesh(SOLID, "3mf", units=units)).attrib["unit"] == name


def test_a_mesh_without_colours_has_no_colour_group() -> None:
    found = model(encode_mesh(Mesh(CORNERS, SIDES), "3mf"))
    assert list(found.iter(f"{MATERIALS}colorgroup")) == []
    assert all(set(row.attrib) == {"v1", "v2", "v3"} for row in found.iter(f"{CORE}triangle"))


def test_far_from_the_origin_the_item_moves_the_mesh_back() -> None:
    found = model(encode_mesh(Mesh(CORNERS + UTM, SIDES), "3mf"))
    vertices = numbers(found, f"{CORE}vertex", *"xyz")
    [item] = found.iter(f"{CORE}item")
    matrix = np.array(item.attrib["transform"].split(), float).reshape(4, 3)
    np.testing.assert_array_equal(vertices @ matrix[:3] + matrix[3], CORNERS + UTM)
    assert np.abs(vertices).max() < 41  # single precision can hold it


def test_the_same_bytes_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode_mesh(SOLID, "3mf")
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("sys.platform", "win32")
    assert encode_mesh(SOLID, "3mf") == first


def test_an_open_mesh_is_told(caplog: pytest.LogCaptureFixture) -> None:
    encode_mesh(SOLID, "3mf")
    assert "not closed" not in caplog.text
    encode_mesh(Mesh(CORNERS, SIDES[:3]), "3mf")
    assert "this mesh is not closed" in caplog.text
    assert caplog.records[-1].levelno == logging.WARNING


def test_the_reference_library_accepts_it(tmp_path: Path) -> None:
    lib3mf = pytest.importorskip("lib3mf", reason="lib3mf has no wheel here")
    write_mesh(tmp_path / "a.3mf", SOLID, units="m")
    found = lib3mf.get_wrapper().CreateModel()
    reader = found.QueryReader("3mf")
    reader.SetStrictModeActive(True)
    reader.ReadFromFile(str(tmp_path / "a.3mf"))
    assert reader.GetWarningCount() == 0
    assert found.GetUnit() == lib3mf.ModelUnit.Meter
    things = found.GetMeshObjects()
    assert things.MoveNext()
    mesh = things.GetCurrentMeshObject()
    assert mesh.IsManifoldAndOriented()
    assert (mesh.GetVertexCount(), mesh.GetTriangleCount()) == (4, 4)


def test_trimesh_reads_it(tmp_path: Path) -> None:
    pytest.importorskip("lxml", reason="trimesh reads 3MF by lxml")
    pytest.importorskip("networkx", reason="and networkx")
    import trimesh

    write_mesh(tmp_path / "a.3mf", Mesh(CORNERS + UTM, SIDES), units="m")
    other = trimesh.load(tmp_path / "a.3mf", force="mesh", process=False)
    assert isinstance(other, trimesh.Trimesh)
    np.testing.assert_allclose(other.triangles, (CORNERS + UTM)[SIDES], atol=1e-6)
    assert other.is_watertight
    assert other.volume == pytest.approx(20 * 30 * 40 / 6)
