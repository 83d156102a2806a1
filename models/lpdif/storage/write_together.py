"""Files that belong together are written all or not at all, as far as a file system allows."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from lpdif.errors import ResourceError
from lpdif.shutdown import delay_shutdown
from lpdif.storage.atomic_write import atomic_write, check_output, space_needed


def write_together(files: Mapping[Path, bytes], overwrite: bool = False) -> None:
    """Writes files of one folder: the first one, which names the others, gets its name last.

    All are complete on the disk before the first gets its name, and signals wait from then on. So only a loss of power in between can leave
    some without the others. Raises as atomic_write does, with nothing left behind.
    """
    for path in files:
        check_output(path, overwrite)
    needed = sum(map(len, files.values()))
    folder = next(iter(files)).parent
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"{folder}: disk full: {space_needed(needed)}, {free / 1e6:.1f} MB are free: {os.strerror(errno.ENOSPC)}",
            "free some space, or choose another disk",
        )
    with contextlib.ExitStack() as waiting:
        opened = [(waiting.enter_context(atomic_write(path, overwrite, len(data))), data) for path, data in files.items()]
        for file, data in opened:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with delay_shutdown():
            waiting.pop_all().close()  # the last opened is named first
