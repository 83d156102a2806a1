"""Files that are never read, recognised by their content.

So the error can say what they are and what to do.
"""

from __future__ import annotations

import re

from lpdif.io.source import Source

_SAVE_AS = "save it as PLY, OBJ or XYZ"
_SAVE_TABLE = "save the table in it as CSV"
_EXPORT = "export it as PLY or OBJ"
_UNPACK = "unpack it first"
_DOWNLOAD = "download the scan itself, again"
# the bytes of each kind of file, the place where they stand, what the file is, and what to do
_SIGNATURES = (
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
_PNG, _GREY_16 = b"\x89PNG\r\n\x1a\n", b"\x10\x00"  # the second: bits and kind of colour, in the head of a PNG
_MARKUP = re.compile(rb"\s*(?:<!--(?>.*?-->)\s*)*+<(!doctype html|html|\?xml|svg|x3d|vtkfile|collada)", re.IGNORECASE | re.DOTALL)
# what a server answers in place of a file
_ERROR_XML = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<error>", re.IGNORECASE)
_ERROR_JSON = re.compile(rb"\s*\{\s*\"(?:message|errors?|code|status|detail)\"\s*:", re.IGNORECASE)
_LONGEST_ANSWER = 1 << 14  # bytes: the error message of a server is shorter


def refuse_foreign(source: Source) -> None:
    """Raises InputError for archives, pictures, documents, programs and files of other software.

    The error says what the file is.
    """
    data = source.data
    names = source.zip_names()
    if names is not None:
        _refuse_zip(source, names)
    if data.startswith(_PNG) and data[24:26] == _GREY_16:
        what = "a PNG picture of 16 bits in grey, as depth images are, not a scan"
        raise source.error(what, "make points of a depth image by the camera's focal lengths and centre, and give these")
    for signature, place, what, hint in _SIGNATURES:
        if data[place : place + len(signature)] == signature:
            raise source.error(f"{what}, not a scan", hint)
    if data[:1] == b"\x80" and data[1:2] in (b"\x02", b"\x03", b"\x04", b"\x05") and data.rstrip(b"\x00").endswith(b"."):
        raise source.error("a Python pickle, not a scan; pickles are never read", _SAVE_AS)
    if data[8:10] == b'{"' and 2 <= int.from_bytes(data[:8], "little") <= len(data):
        raise source.error("a safetensors file, not a scan", "a model is given with --model")
    if len(data) <= _LONGEST_ANSWER and (_ERROR_XML.match(data) or _ERROR_JSON.match(data)):
        raise source.error("the error message of a server, not a scan", _DOWNLOAD)
    match = _MARKUP.match(source.head)
    if match:
        page = b"html" in match[1].lower()
        raise source.error(
            "a web page, not a scan" if page else "an XML file, which is not read",
            _DOWNLOAD if page else _SAVE_AS,
        )
    if data[:8] == b"version " and b"oid sha256:" in data[:400]:
        raise source.error("a Git LFS pointer, not the scan itself", "fetch the file: git lfs pull")


def _refuse_zip(source: Source, names: list[str]) -> None:
    """Raises InputError for a zip archive with files of these names."""
    if any(name.endswith("data.pkl") for name in names):
        raise source.error("a PyTorch checkpoint, not a scan; pickles are never read", _SAVE_AS)
    if "[Content_Types].xml" in names:
        raise source.error(f"an Office {'workbook' if any(name.startswith('xl/') for name in names) else 'document'}, not a scan", _SAVE_TABLE)
    if names and names[0].lower().endswith((".usd", ".usda", ".usdc")):
        raise source.error("a USDZ file, which is not read", _EXPORT)
    raise source.error("a zip archive", _UNPACK)
