"""The errors of lpdif.

Every failure that a user can cause is one of these; each kind carries its exit code.
"""

import errno

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # what the system calls it


class LpdifError(Exception):
    """Base of all errors of lpdif.

    `message` is one line naming the file, the place and the cause; `hint` says what to do about it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(LpdifError):
    """The call itself is wrong: an unknown option value, an output that already exists."""

    exit_code = 2


class InputError(LpdifError):
    """A scan or mesh that cannot be used: unreadable, empty, too few points, not what its name says."""

    exit_code = 3


class ModelError(LpdifError):
    """A model or configuration of the wrong kind, version or shape."""

    exit_code = 4


class ResourceError(LpdifError):
    """Disk, memory or device does not suffice."""

    exit_code = 5


class BusyError(LpdifError):
    """Another run holds the workspace."""

    exit_code = 6


class BatchError(LpdifError):
    """Some scans of a batch failed; the others are done."""

    exit_code = 7
