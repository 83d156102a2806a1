"""3MF as slicers and CAD write it: objects, components, parts, colours, and archives that lie."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from seed_files import COLORS, FACES, POINTS
from test_reading_ply import refusal

from lpdif.io.encode_3mf import encode_3mf
from lpdif.io.read import read_scan
from lpdif.types import Mesh

CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
PRODUCTION = "http://schemas.microsoft.com/3dmanufacturing/production/2015/06"
TRIANGLE = "".join(f'<triangle v1="{a}" v2="{b}" v3="{c}"/>' for a, b, c in FACES)
VERTICES = "".join(f'<vertex x="{x}" y="{y}" z="{z}"/>' for x, y, z in POINTS)
MESH = f"<mesh><vertices>{VERTICES}</vertices><triangles>{TRIANGLE}</triangles></mesh>"


def model(resources: str, build: str, head: str = "") -> str:
    declared = f'xmlns="{CORE}" xmlns:p="{PRODUCTION}" xmlns:m="http://schemas.microsoft.com/3dmanufacturing/material/2015/02"'
    return f'<?xml version="1.0"?>{head}<model unit="inch" {declared}><resources>{resources}</resources><build>{build}</build></model>'


def packed(**parts: str) -> bytes:
    """An archive of documents; those of a slicer have a relation to the root model."""
    names = {
        "root": "3D/3dmodel.model",
        "other": "3D/Objects/object_1.model",
        "relations": "_rels/.rels",
        "elsewhere": "3D/Parts/3dmodel.model",
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        for part, text in parts.items():
            archive.writestr(names[part], text)
    return file.getvalue()


def said(resources: str, build: str = '<item objectid="1"/>', head: str = "") -> str:
    return refusal(packed(root=model(resources, build, head)), "a.3mf")


@pytest.mark.parametrize("colors", [None, COLORS])
def test_what_is_written_is_read(colors: np.ndarray | None) -> None:
    mesh = Mesh(POINTS + [4500000, 0, 0] if colors is None else POINTS, FACES, colors=colors)  # noqa: RUF005
    scan = read_scan(encode_3mf(mesh, "mm"), "a.3mf")
    np.testing.assert_allclose(scan.points, mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(scan.faces, FACES)
    assert (scan.colors is None) is (colors is None)
    if colors is not None:
        np.testing.assert_array_equal(scan.colors, colors)


def test_components_are_moved_and_mirrors_turn_triangles(caplog: pytest.LogCaptureFixture) -> None:
    component = '<component objectid="1" transform="0 1 0 -1 0 0 0 0 1 10 0 0"/><component objectid="1" transform="-1 0 0 0 1 0 0 0 1 0 0 0"/>'
    resources = f'<object id="1">{MESH}</object><object id="2"><components>{component}</components></object>'
    with caplog.at_level("INFO", "lpdif"):
        scan = read_scan(packed(root=model(resources, '<item objectid="2" transform="2 0 0 0 2 0 0 0 2 0 5 0"/>')), "a.3mf")
    x, y, z = POINTS.T
    first = np.column_stack([-y + 10, x, z]) * 2 + [0, 5, 0]
    second = np.column_stack([-x, y, z]) * 2 + [0, 5, 0]
    np.testing.assert_allclose(scan.points, np.concatenate([first, second]))
    np.testing.assert_array_equal(scan.faces, np.concatenate([FACES, FACES[:, ::-1] + 4]))
    assert "a.3mf: 2 objects, unit: inch" in caplog.text


def test_parts_in_other_documents() -> None:
    """As the production extension splits them, and with the root named by the relations."""
    resources = '<object id="7"><components><component p:path="/3D/Objects/object_1.model" objectid="1"/></components></object>'
    root = model(resources, '<item objectid="7"/>')
    other = model(f'<object id="1">{MESH}</object>', "")
    np.testing.assert_array_equal(read_scan(packed(root=root, other=other), "a.3mf").points, POINTS)
    relation = '<Relationships><Relationship Type="http://x/3dmodel" Target="/3D/Parts/3dmodel.model"/></Relationships>'
    np.testing.assert_array_equal(read_scan(packed(relations=relation, elsewhere=root, other=other), "a.3mf").points, POINTS)
    assert refusal(packed(root=root), "a.3mf") == "its part /3D/Objects/object_1.model is not there"


def test_colors_of_materials_objects_and_corners() -> None:
    materials = '<basematerials id="5"><base name="a" displaycolor="#FF0000"/><base name="b" displaycolor="#0000FFFF"/></basematerials>'
    of_object = f'{materials}<object id="1" pid="5" pindex="1">{MESH}</object>'
    np.testing.assert_array_equal(read_scan(packed(root=model(of_object, '<item objectid="1"/>')), "a.3mf").colors, [[0, 0, 255]] * 4)
    some = MESH.replace("/>", ' pid="5" p1="0"/>').replace('" pid="5" p1="0"/></vertices>', '"/></vertices>')
    np.testing.assert_array_equal(
        read_scan(packed(root=model(f'{materials}<object id="1">{some}</object>', '<item objectid="1"/>')), "a.3mf").colors, [[255, 0, 0]] * 4
    )


def test_supports_and_what_is_not_built_are_no_part(caplog: pytest.LogCaptureFixture) -> None:
    resources = f'<object id="1">{MESH}</object><object id="2" type="support">{MESH}</object><object id="3">{MESH}</object>'
    with caplog.at_level("INFO", "lpdif"):
        scan = read_scan(packed(root=model(resources, '<item objectid="1"/><item objectid="2"/>')), "a.3mf")
    assert len(scan.points) == 4
    assert "object 2 left out: it is a support" in caplog.text
    assert len(read_scan(packed(root=model(resources, "")), "a.3mf").points) == 8  # a library: all but the support


def test_archives_that_lie() -> None:
    bomb = '<!DOCTYPE model [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    assert said("", head=bomb) == "its part 3D/3dmodel.model declares a document type, which no 3MF has"
    assert said("") == "its object 1 is not there"
    itself = '<object id="1"><components><component objectid="1"/></components></object>'
    assert said(itself) == "its object 1 lies in more than 32 others, or in itself"
    pairs = "".join(
        f'<object id="{n}"><components>{f"<component objectid={chr(34)}{n + 1}{chr(34)}/>" * 2}</components></object>' for n in range(1, 30)
    )
    assert said(f'{pairs}<object id="30"/>') == "unpacks to more than 200 times its size"
    assert said(f'<object id="1">{MESH.replace("v3=", "v4=")}</object>').endswith("line 1: 'v3' is missing or no number")
    assert said(f'<object id="1">{MESH.replace("0.125", "abc")}</object>').endswith(
        "could not convert string to float: 'abc' is missing or no number"
    )
    far = MESH.replace(f'v3="{FACES[1][2]}"', 'v3="9"', 1)
    assert "uses point 9, but points go from 0 to 3" in said(f'<object id="1">{far}</object>')
    assert said(f'<object id="1">{MESH}</object>', '<item objectid="1" transform="1 2"/>').endswith("transform is missing or no number")
    group = '<basematerials id="5"><base name="a" displaycolor="#FF0000"/></basematerials>'
    painted = MESH.replace('"/>', '" pid="5" p1="0" p2="1000000"/>')
    assert said(f'{group}<object id="1">{painted}</object>') == "object 1: triangle 1 has colour 1000000, but its group has 1 colour"
    assert said('<object id="1"/>') == "holds no points (nothing is built), at least 32 are needed"
    assert "is damaged" in refusal(packed(root="<model><"), "a.3mf")
    assert "damaged zip archive" in refusal(packed(root=model("", ""))[:-30], "a.3mf")
