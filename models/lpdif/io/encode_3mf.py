"""Encodes meshes as 3MF, the format of slicers: a ZIP archive with one XML document, after the core specification 1.3.

Colours are a colour group of the materials extension. It is not declared as required: a program that does not know it still has the mesh.
The same mesh gives the same bytes: the archive bears no time.
"""

from __future__ import annotations

import io
import logging
import zipfile

import numpy as np

from lpdif.io.encode_mesh import corner_table, formatted, log_left_out, needs_double, significant_digits
from lpdif.io.units import UNITS, unit_of
from lpdif.types import Mesh

log = logging.getLogger("lpdif")

_CORE = "http://schemas.microsoft.com/3dmanufacturing/core/2015/02"
_MATERIALS = "http://schemas.microsoft.com/3dmanufacturing/material/2015/02"
_MODEL_PART = "3D/3dmodel.model"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_CONTENT_TYPES = (
    f'{_HEAD}<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">\n'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>\n'
    '<Default Extension="model" ContentType="application/vnd.ms-package.3dmanufacturing-3dmodel+xml"/>\n</Types>\n'
)
_RELATIONS = (
    f'{_HEAD}<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">\n'
    f'<Relationship Target="/{_MODEL_PART}" Id="rel0" Type="http://schemas.microsoft.com/3dmanufacturing/2013/01/3dmodel"/>\n</Relationships>\n'
)
_NO_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP archive can say


def encode_3mf(mesh: Mesh, units: str | None = None) -> bytes:
    """3MF of one object, in the unit of the mesh (millimetres where it is not known), with the colours of the vertices.

    A mesh that is not closed is written with a warning: 3MF describes solids.
    """
    from lpdif.mesh.topology import is_closed_manifold  # which loads scipy

    log_left_out(mesh, "3MF", colors=True, normals=False)
    if units is None:
        log.info("3MF has a unit, and one unit of the scan is taken as 1 mm: --units says otherwise")
    if not is_closed_manifold(mesh.faces):
        log.warning("3MF is for solids, and this mesh is not closed: a slicer will close it in its own way; --watertight closes it")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in (
            ("[Content_Types].xml", _CONTENT_TYPES.encode()),
            ("_rels/.rels", _RELATIONS.encode()),
            (_MODEL_PART, model_part(mesh, units)),
        ):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 0  # it depends on the machine else
            archive.writestr(entry, data)
    return out.getvalue()


def model_part(mesh: Mesh, units: str | None) -> bytes:
    """The XML document of the model."""
    faces = corner_table(mesh)
    # programs read single precision: far from the origin the mesh lies at its centre, and the item moves it back
    shift = np.zeros(3)
    if needs_double(mesh.vertices, mesh.faces):
        shift = np.round((mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2)
    moved = Mesh(mesh.vertices - shift, mesh.faces)
    place = f"%.{significant_digits(moved)}g"
    unit = (unit_of(units) if units else UNITS["mm"]).name
    colored = mesh.colors is not None
    parts = [
        _HEAD.encode(),
        f'<model unit="{unit}" xml:lang="en-US" xmlns="{_CORE}"{f" xmlns:m={_quoted(_MATERIALS)}" if colored else ""}>\n'.encode(),
        b'<metadata name="Application">lpdif</metadata>\n<resources>\n',
    ]
    corners = faces
    row, of_object = '<triangle v1="%d" v2="%d" v3="%d"/>\n', ""
    if mesh.colors is not None:
        distinct, number = np.unique(mesh.colors, axis=0, return_inverse=True)
        parts += [b'<m:colorgroup id="1">\n', *formatted('<m:color color="#%02X%02X%02X"/>\n', distinct), b"</m:colorgroup>\n"]
        corners = np.column_stack([faces, number.reshape(-1)[faces]])
        row, of_object = '<triangle v1="%d" v2="%d" v3="%d" pid="1" p1="%d" p2="%d" p3="%d"/>\n', ' pid="1" pindex="0"'
    parts += [f'<object id="2" type="model"{of_object}>\n<mesh>\n<vertices>\n'.encode()]
    parts += formatted(f'<vertex x="{place}" y="{place}" z="{place}"/>\n', moved.vertices)
    parts += [b"</vertices>\n<triangles>\n", *formatted(row, corners), b"</triangles>\n</mesh>\n</object>\n</resources>\n<build>\n"]
    transform = f' transform="1 0 0 0 1 0 0 0 1 {" ".join(f"{part:.17g}" for part in shift)}"' if shift.any() else ""
    return b"".join([*parts, f'<item objectid="2"{transform}/>\n</build>\n</model>\n'.encode()])


def _quoted(text: str) -> str:
    return f'"{text}"'
