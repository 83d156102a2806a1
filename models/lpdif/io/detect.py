"""What a file is, by its content: one of the kinds that can be read, or a refusal that says what it is instead."""

from __future__ import annotations

import codecs
import io
import re
import zipfile

from lpdif.errors import InputError
from lpdif.io.formats import e57, glb, las, npy, off, pcd, ptx, stl, vtk
from lpdif.io.formats.colmap import OTHERS
from lpdif.io.source import Source, as_text
from lpdif.io.table import reader

# kind -> what it is called, and the endings of its names
KINDS = {
    "ply": ("PLY", (".ply",)),
    "obj": ("OBJ", (".obj",)),
    "off": ("OFF", (".off", ".coff", ".noff", ".cnoff")),
    "stl": ("STL", (".stl",)),
    "pcd": ("PCD", (".pcd",)),
    "las": ("LAS", (".las", ".laz")),
    "e57": ("E57", (".e57",)),
    "npy": ("NPY", (".npy",)),
    "npz": ("NPZ", (".npz",)),
    "vtk": ("VTK", (".vtk",)),
    "glb": ("GLB", (".glb",)),
    "ptx": ("PTX", (".ptx",)),
    "text": (
        "columns of numbers",
        (".xyz", ".txt", ".csv", ".asc", ".pts", ".tsv", ".dat", ".neu", ".xyzn", ".xyzrgb", ".xyzi", ".3d"),
    ),
}
TITLES = "PLY, OBJ, OFF, STL, PCD, XYZ/TXT/CSV/ASC, PTS, PTX, NPY/NPZ, VTK, GLB, and LAS/LAZ and E57 as extras"

_SAVE_AS = "save it as PLY, OBJ or XYZ"
_SAVE_TABLE = "save the table in it as CSV"
_EXPORT = "export it as PLY or OBJ"
_UNPACK = "unpack it first"
_DOWNLOAD = "download the scan itself, again"
_MAGIC = (
    (las.MAGIC, "las"),
    (e57.MAGIC, "e57"),
    (npy.MAGIC, "npy"),
    (glb.MAGIC, "glb"),
)
# beginnings of what is never read: (bytes, place, what it is, hint)
_FOREIGN = (
    (b"\x1f\x8b", 0, "a gzip archive", _UNPACK),
    (b"BZh", 0, "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\x00", 0, "an xz archive", _UNPACK),
    (b"7z\xbc\xaf\x27\x1c", 0, "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", 0, "a RAR archive", _UNPACK),
    (b"\x28\xb5\x2f\xfd", 0, "a zstd archive", _UNPACK),
    (b"\x04\x22\x4d\x18", 0, "an lz4 archive", _UNPACK),
    (b"ustar", 257, "a tar archive", _UNPACK),
    (b"\x89HDF\r\n", 0, "an HDF5 file", _SAVE_AS),
    (bytes.fromhex("d0cf11e0a1b11ae1"), 0, "an old Excel or Office file", _SAVE_TABLE),
    (b"PXR-USDC", 0, "a USD file", _EXPORT),
    (b"#usda", 0, "a USD file", _EXPORT),
    (b"\x89PNG", 0, "a PNG picture", "give the scan, not a picture of it"),
    (b"\xff\xd8\xff", 0, "a JPEG picture", "give the scan, not a picture of it"),
    (b"GIF8", 0, "a GIF picture", "give the scan, not a picture of it"),
    (b"WEBP", 8, "a WebP picture", "give the scan, not a picture of it"),
    (b"ftyp", 4, "a video or a HEIC picture", "give the scan, not a picture of it"),
    (b"II*\x00", 0, "a TIFF picture", _SAVE_AS),
    (b"MM\x00*", 0, "a TIFF picture", _SAVE_AS),
    (b"%PDF", 0, "a PDF document", "give the scan itself"),
    (b"Kaydara FBX", 0, "an FBX file", _SAVE_AS),
    (b"BLENDER", 0, "a Blender file", "export it from Blender as PLY or OBJ"),
    (b"DRACO", 0, "a Draco file", _SAVE_AS),
    (b"SQLite format 3", 0, "an SQLite database", _SAVE_AS),
    (b"\x7fELF", 0, "a program", "give the scan itself"),
    (b"MZ\x90", 0, "a program", "give the scan itself"),
)
_MARKUP = re.compile(rb"\s*(?:<!--(?>.*?-->)\s*)*+<(!doctype html|html|\?xml|svg|x3d|vtkfile|collada)", re.IGNORECASE | re.DOTALL)
# what a server answers in place of a file
_ERROR_XML = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<error>", re.IGNORECASE)
_ERROR_JSON = re.compile(rb"\s*\{\s*\"(?:message|errors?|code|status|detail)\"\s*:", re.IGNORECASE)
_ANSWER = 1 << 14  # bytes; it is never longer
_OBJ_LINE = re.compile(rb"(?m)^[ \t]*(?:v|vn|f)[ \t]+[-+.\d]")
_COUNTS = re.compile(rb"(?:\s|#[^\n]*\n)*[1-9]\d*[ \t]+\d+(?:[ \t]+\d+)?\s*\n")  # of points, faces and edges, as OFF has them
_NUMBER = re.compile(rb"[-+]?\d+(?:[.,]\d+)?(?:[eEdD][-+]?\d+)?")
HEAD = 1 << 16
SHOWN = 32  # bytes of a file that is not understood


def kind_by_name(name: str) -> str | None:
    """The kind that the ending of a name stands for, None if it stands for none."""
    lowered = name.lower()
    return next((kind for kind, (_, endings) in KINDS.items() if lowered.endswith(endings)), None)


def kind_of(source: Source) -> str:
    """The kind of a file, by content. Raises InputError if it is none that can be read, and says what it is."""
    named = kind_by_name(source.name)
    kind = _by_content(source)
    if kind is None:
        # nothing marks the content: the name decides how to read it, where the content can be that at all
        if named in ("obj", "stl") and _could_be(named, source.data):
            return named
        raise _unknown(source, named)
    if kind == "text" and named not in (None, "text"):
        title = KINDS[named][0]
        counted = named == "off" and _COUNTS.match(source.data[:HEAD])
        raise source.error(
            f"not {_a(title)} file: it holds bare columns of numbers and no {title} header",
            "put a first line before its counts that says OFF" if counted else "if these are x y z, rename it to end in .xyz",
        )
    return kind


def is_prose(source: Source) -> bool:
    """Whether a file, given by up to its first HEAD bytes, has the name of a table of points and holds words instead: notes; or COLMAP's
    images or cameras.

    What is empty, damaged, longer, something else, or a table of another dialect is no prose: reading it says what is wrong.
    """
    if kind_by_name(source.name) != "text" or not source.data.strip():
        return False
    if OTHERS.search(source.data):
        return True
    if len(source.data) >= HEAD:
        return False
    try:
        data = as_text(source).data
        if b"\x00" in data or _by_content(Source(source.name, data)) is not None or reader.has_row(data):
            return False
    except InputError:
        return False
    lines = [line for line in data.split(b"\n") if line.strip()]
    return 2 * sum(map(_like_a_row, lines)) < len(lines)


def _like_a_row(line: bytes) -> bool:
    """Whether a line is mostly numbers, three at least, in whatever dialect."""
    numbers = _NUMBER.findall(line)
    return len(numbers) >= 3 and 2 * sum(map(len, numbers)) >= len(b"".join(line.split()))


def _by_content(source: Source) -> str | None:
    data = source.data
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return _zip(source)
    _refuse_foreign(source)
    head = data[:HEAD]
    start = head.lstrip()
    if re.match(rb"ply\s", start[:4], re.IGNORECASE):
        return "ply"
    if stl.is_binary_stl(data):
        return "stl"
    if vtk.MAGIC.match(data):
        return "vtk"
    if off.HEADER.match(head):
        return "off"
    if pcd.is_pcd(head):
        return "pcd"
    if stl.is_text_stl(start):
        return "stl"
    if b"\x00" in head.rstrip(b"\x00\x1a\r\n"):
        return None
    if ptx.is_ptx(head):
        return "ptx"
    if _OBJ_LINE.search(head) or (_OBJ_LINE.search(head.lower()) and _could_be("obj", head)):
        return "obj"
    return "text" if reader.looks_like_columns(data) else None


def _zip(source: Source) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(source.data)) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, EOFError):
        raise source.error("a damaged zip archive", "copy or download it again, and unpack it") from None
    if any(name.endswith("data.pkl") for name in names):
        raise source.error("a PyTorch checkpoint, not a scan; pickles are never read", _SAVE_AS)
    if names and all(name.endswith(".npy") for name in names):
        return "npz"
    if any(name.lower().endswith("3dmodel.model") for name in names):
        raise source.error("a 3MF file, which is not read", _SAVE_AS)
    if "[Content_Types].xml" in names:
        raise source.error(f"an Office {'workbook' if any(name.startswith('xl/') for name in names) else 'document'}, not a scan", _SAVE_TABLE)
    if names and names[0].lower().endswith((".usd", ".usda", ".usdc")):
        raise source.error("a USDZ file, which is not read", _EXPORT)
    raise source.error("a zip archive", _UNPACK)


def _refuse_foreign(source: Source) -> None:
    data = source.data
    for magic, place, what, hint in _FOREIGN:
        if data[place : place + len(magic)] == magic:
            raise source.error(f"{what}, not a scan", hint)
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and data.rstrip(b"\x00").endswith(b"."):
        raise source.error("a Python pickle, not a scan; pickles are never read", _SAVE_AS)
    if data[8:10] == b'{"' and 2 <= int.from_bytes(data[:8], "little") <= len(data):
        raise source.error("a safetensors file, not a scan", "a model is given with --model")
    if len(data) <= _ANSWER and (_ERROR_XML.match(data) or _ERROR_JSON.match(data)):
        raise source.error("the error message of a server, not a scan", _DOWNLOAD)
    match = _MARKUP.match(data[:HEAD])
    if match:
        page = b"html" in match[1].lower()
        raise source.error(
            "a web page, not a scan" if page else "an XML file, which is not read",
            _DOWNLOAD if page else _SAVE_AS,
        )
    if data[:8] == b"version " and b"oid sha256:" in data[:400]:
        raise source.error("a Git LFS pointer, not the scan itself", "fetch the file: git lfs pull")
    if data.lstrip()[:1] == b"{" and b'"asset"' in data[:HEAD]:
        raise source.error("a glTF text file, which is not read", "save it as GLB, PLY or OBJ")


def _could_be(kind: str, data: bytes) -> bool:
    """Whether unmarked content may be an OBJ (text, perhaps without a point) or an STL (binary, cut off)."""
    if kind == "obj":
        return b"\x00" not in data[:HEAD] and all(_obj_word(line) for line in data[:HEAD].splitlines()[:50])
    return (len(data) >= 84 and b"\x00" in data[:HEAD]) or data[:5].lower() == b"solid"


def _obj_word(line: bytes) -> bool:
    words = line.split(None, 1)
    return (
        not words
        or words[0].startswith(b"#")
        or words[0].lower() in (b"v", b"vt", b"vn", b"vp", b"f", b"l", b"p", b"o", b"g", b"s", b"usemtl", b"mtllib")
    )


def _unknown(source: Source, named: str | None) -> InputError:
    words = _words(source.data[:SHOWN])
    begins = repr(words) if words else f"bytes {source.data[:8].hex(' ')}"
    if named == "text":
        return source.error(f"not columns of numbers (it begins with {begins})", f"read are {TITLES}")
    if named is None:
        return source.error(f"not recognised as a scan (it begins with {begins})", f"read are {TITLES}")
    return source.error(f"not {_a(KINDS[named][0])} file (it begins with {begins})", f"read are {TITLES}")


def _words(data: bytes) -> str:
    """The first line in these bytes that is not blank, if all of them are text."""
    try:
        letters = codecs.getincrementaldecoder("utf-8")().decode(data)  # they may end within a letter
    except UnicodeDecodeError:
        return ""
    if not all(letter.isprintable() or letter.isspace() for letter in letters):
        return ""
    return next((line.strip() for line in letters.splitlines() if line.strip()), "")


def _a(title: str) -> str:
    return ("an " if title[0] in "AEFHILMNORSX" else "a ") + title
