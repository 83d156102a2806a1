"""Checks outputs before any work is done."""

from __future__ import annotations

import errno
from pathlib import Path

from lpdif.errors import DISK_FULL, UsageError


def make_folder(folder: Path) -> None:
    """Makes the folder of an output, and those above it. Raises UsageError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if error.errno in DISK_FULL | {errno.ENOMEM, errno.EIO}:
            raise
        where = Path(error.filename or folder)
        hint = "check the path" if error.errno in (errno.EEXIST, errno.ENOTDIR) else "choose another folder"
        raise UsageError(f"{folder}: the folder cannot be made: {where}: {error.strerror}", hint) from None


def check_inside(path: Path, folder: Path) -> None:
    """Raises UsageError where a link leads `path`, which should lie below `folder`, out of it."""
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        where = path.parent.resolve()
        raise UsageError(f"{path}: a symbolic link leads out of {folder}, to {where}", "remove the link, or name that folder with -o")


def check_mesh_output(path: Path, overwrite: bool, source: Path | None) -> None:
    """Raises UsageError unless a mesh can be written to `path`.

    Reasons are an unknown format, the scan `source` itself, a link, an existing file without --overwrite, and a folder that is missing or
    cannot be written.
    """
    from lpdif.io.write import mesh_format
    from lpdif.storage.atomic_write import check_output

    mesh_format(path)
    if source is not None and path.exists() and source.exists() and path.samefile(source):
        raise UsageError(f"{path}: input and output are the same file", "write the mesh elsewhere: the scan is worth keeping")
    check_output(path, overwrite)


def check_texture_output(path: Path | None, overwrite: bool) -> None:
    """Raises UsageError unless a mesh with a texture can be written to `path`, with all files that belong to it; None is stdout."""
    from lpdif.io.textured import TEXTURED_FORMATS, side_files
    from lpdif.io.write import mesh_format
    from lpdif.storage.atomic_write import check_output

    kind = "ply" if path is None else mesh_format(path)
    if kind not in TEXTURED_FORMATS:
        endings = " or ".join(f".{name}" for name in TEXTURED_FORMATS)
        raise UsageError(
            f"{path or 'stdout'}: {kind.upper()} has no place for a texture", f"let the name end in {endings}, or leave out --texture"
        )
    if path is not None and kind == "obj":
        for other in side_files(path):
            check_output(other, overwrite)
