"""Memory is given back to the system: large arrays lie in files that have no name, and what was freed is let go.

An array in such a file is used like any other. The system reads the parts that are in use, and memory need not hold the rest.
"""

from __future__ import annotations

import ctypes
import mmap
import shutil
import sys
import tempfile
from collections.abc import Iterable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lpdif.errors import DISK_FULL, ResourceError

Kind = TypeVar("Kind", bound=np.generic)
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # settings of the C library of Linux, by malloc.h
KEPT = 1 << 28  # bytes that are freed at the end of the heap are kept up to so many
LARGE = 1 << 25  # arrays of so many bytes are given back when they are freed, in any case; its own default goes up to this
BYTES_WRITTEN = 1 << 24  # so many bytes of an array are written to its file at once


def on_disk(array: NDArray[Kind]) -> NDArray[Kind]:
    """A read-only copy of an array in a file without a name in the folder for temporary files; an array that is there already as it is.

    The file goes with the array. Raises ResourceError, before anything is written, where the disk has too little room.
    """
    if map_of(array) is not None or not array.nbytes:
        return array
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError:
        raise ResourceError("no folder takes temporary files", "name one: TMPDIR=FOLDER lpdif ...") from None
    room = f"{array.nbytes / 1e6:.0f} MB are needed in {folder} while the mesh is made"
    hint = "free some space, or name a folder on another disk: TMPDIR=FOLDER lpdif ..."
    if (free := shutil.disk_usage(folder).free) < array.nbytes:
        raise ResourceError(f"disk full: {room}, and {free / 1e6:.0f} MB are free", hint)
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    try:
        with tempfile.TemporaryFile() as file:
            for begin in range(0, len(data), BYTES_WRITTEN):
                file.write(data[begin : begin + BYTES_WRITTEN].data)
            file.flush()
            place = mmap.mmap(file.fileno(), array.nbytes, access=mmap.ACCESS_READ)
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise ResourceError(f"disk full: {room}", hint) from None
    return np.ndarray(array.shape, array.dtype, place)


def map_of(array: NDArray[Any]) -> mmap.mmap | None:
    """The file that an array, or the one that it is a view of, lies in; None where that is memory."""
    base: object = array
    while isinstance(base, np.ndarray):
        base = base.base
    return base if isinstance(base, mmap.mmap) else None


def bytes_held(arrays: Iterable[NDArray[Any]]) -> int:
    """The bytes of memory that these arrays take, those of them that lie in no file."""
    return sum(array.nbytes for array in arrays if map_of(array) is None)


def let_go(arrays: Iterable[NDArray[Any]]) -> None:
    """No memory holds these arrays any more, those of them that lie in files; they are read again when they are used."""
    for array in arrays:
        place = map_of(array)
        if place is not None and hasattr(mmap, "MADV_DONTNEED"):  # not on Windows, which takes memory back by itself when it is short
            place.madvise(mmap.MADV_DONTNEED)


def give_back() -> None:
    """What was freed goes back to the system: the C library of Linux keeps most of it for later, between what is still in use."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # not in musl
        if trim is not None:
            trim(0)


def keep_freed() -> None:
    """What is freed is kept for the next use, up to KEPT bytes, until `give_back` is called.

    Dask's workers are told to give it back at once (MALLOC_TRIM_THRESHOLD_ of the nanny). Arrays that come and go at every step are then
    mapped anew each time, which takes as much time as all the work on them.
    """
    if sys.platform == "linux":
        tune = getattr(ctypes.CDLL(None), "mallopt", None)
        if tune is not None:
            tune(TRIM_THRESHOLD, KEPT)
            tune(MMAP_THRESHOLD, LARGE)
