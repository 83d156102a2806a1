"""The formats that can be read. A new format is one new file in `lpdif.io.formats` and one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lpdif.io.formats import colmap_bin, e57, glb, las, npy, npz, obj, off, pcd, ply, ptx, stl, threemf, vtk, vtk_xml
from lpdif.io.source import Source
from lpdif.io.table import reader
from lpdif.types import Scan


class Format(NamedTuple):
    """A kind of file: how messages call it, how it is recognised, and how it is read."""

    name: str
    title: str  # in messages, as in "not a PLY file"
    endings: tuple[str, ...]  # of file names, in small letters and with the dot
    matches: Callable[[Source], bool]  # whether the content is of this format
    read: Callable[[Source], Scan]  # raises InputError for a damaged file
    may_be: Callable[[Source], bool] | None = None  # whether content that no format matches may be of this one, if the name says so
    headerless_hint: Callable[[Source], str] | None = None  # how to mend bare numbers that lack its header; "" where these are not of it
    packages: tuple[str, ...] = ()  # packages it needs that lpdif does not: an extra of the same name installs them


# Formats whose first bytes occur in no other file. They are tried before the file is compared with what is never read.
MARKED: tuple[Format, ...] = (
    Format("las", "LAS", (".las", ".laz"), las.is_las, las.read_las, packages=las.PACKAGES),
    Format("e57", "E57", (".e57",), e57.is_e57, e57.read_e57, packages=e57.PACKAGES),
    Format("npy", "NPY", (".npy",), npy.is_npy, npy.read_npy),
    Format("npz", "NPZ", (".npz",), npz.is_npz, npz.read_npz),
    Format("colmap", "COLMAP points3D.bin", (colmap_bin.ENDING,), colmap_bin.is_colmap_points, colmap_bin.read_colmap_points),
    Format("3mf", "3MF", (".3mf",), threemf.is_3mf, threemf.read_3mf),
    Format("vtk_xml", "VTK XML", (".vtp", ".vtu", ".vts"), vtk_xml.is_vtk_xml, vtk_xml.read_vtk_xml),
    Format("glb", "GLB", (".glb",), glb.is_glb, glb.read_glb),
)
# Formats that are recognised by their header, their size or the look of their lines. The order counts: each is tried where those before
# it do not match, and almost any text with numbers looks like a table.
UNMARKED: tuple[Format, ...] = (
    Format("ply", "PLY", (".ply",), ply.is_ply, ply.read_ply),
    Format("gltf", "glTF", (".gltf",), glb.is_gltf, glb.read_gltf),
    Format("stl", "STL", (".stl",), stl.is_stl, stl.read_stl, may_be=stl.may_be_stl),
    Format("vtk", "VTK", (".vtk",), vtk.is_vtk, vtk.read_vtk),
    Format("off", "OFF", (".off", ".coff", ".noff", ".cnoff"), off.is_off, off.read_off, headerless_hint=off.headerless_hint),
    Format("pcd", "PCD", (".pcd",), pcd.is_pcd, pcd.read_pcd),
    Format("ptx", "PTX", (".ptx",), ptx.is_ptx, ptx.read_ptx),
    Format("obj", "OBJ", (".obj",), obj.is_obj, obj.read_obj, may_be=obj.may_be_obj),
    Format("table", "columns of numbers", reader.ENDINGS, reader.is_table, reader.read_text),
)
TABLE = "table"  # the format whose files have no header: a file of any other name that looks like one has lost its header


def all_formats() -> tuple[Format, ...]:
    """Every format that can be read, in the order in which a file is compared with them."""
    return (*MARKED, *UNMARKED)


def all_endings() -> tuple[str, ...]:
    """The endings of all names of files that can be read."""
    return tuple(ending for known in all_formats() for ending in known.endings)


def format_by_name(name: str) -> Format | None:
    """The format that the ending of a file name stands for; None if it stands for none."""
    lowered = name.lower()
    return next((known for known in all_formats() if lowered.endswith(known.endings)), None)


def list_formats() -> str:
    """The formats that can be read, for a hint."""
    own, extras = (
        ", ".join("/".join(ending.lstrip(".").upper() for ending in known.endings) for known in all_formats() if bool(known.packages) is extra)
        for extra in (False, True)
    )
    return f"lpdif reads {own}; and with extra packages {extras}"
