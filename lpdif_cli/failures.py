"""Turns every exception into one error message, a hint and an exit code."""

from __future__ import annotations

import difflib
import errno
import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from lpdif.errors import DISK_FULL, InputError, LpdifError, ResourceError, UsageError
from lpdif.storage.atomic_write import FILE_SIZE_HINT, file_size_limit
from lpdif_cli.setting_values import THREE_NUMBERS

# the hint where memory runs out, by command
NO_MEMORY_HINTS = {
    "reconstruct": "close other programs, or ask for less: a --max-memory, a larger --resolution or --region-size; or --device cpu",
    "preprocess": "close other programs, or have fewer processes at work: --threads 1",
    "fit": "close other programs; or go on with --resume --device cpu if it was the GPU; "
    "or start anew with a smaller batch: under [fit] in lpdif.toml, or LPDIF_FIT_BATCH",
    "cluster": "close other programs; --device cpu if it was the GPU",
    "compare": "close other programs, or ask for less: fewer --points; --device cpu if it was the GPU",
}
BUG_HINT = "this is a bug in lpdif: run the command again with -v for the traceback, and report it"
_SUGGESTED = re.compile(r"lpdif (?:preprocess|fit|cluster)(?: SCANS| --overwrite)*")  # commands in the hints of the library
_PLACE = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EROFS}


@dataclass(frozen=True)
class Failure:
    """The message, the hint and the exit code of an error. bug: whether no user could have caused it."""

    message: str
    hint: str
    code: int
    bug: bool = False


def describe(error: BaseException, command: str) -> Failure:
    """The failure that describes an error in a run of this command."""
    if isinstance(error, LpdifError):
        return Failure(error.message, error.hint, error.exit_code)
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if _is_out_of_memory(error):
        return Failure(
            f"out of memory: {_memory_numbers(error)}", NO_MEMORY_HINTS.get(command, "close other programs"), ResourceError.exit_code
        )
    if isinstance(error, OSError):
        return _system(error)
    if isinstance(error, ImportError):
        what = f"a needed package cannot be loaded: {error}"
        return Failure(what, "see `lpdif doctor`, and reinstall: pip install --force-reinstall lpdif", ResourceError.exit_code)
    return Failure(f"internal: {type(error).__name__}: {error}", BUG_HINT, 1, bug=True)


def completed(hint: str, where: Sequence[str]) -> str:
    """A hint of the library, with the options `where` added to the commands in it."""
    return _SUGGESTED.sub(lambda found: shlex.join([*found[0].split(), *where]), hint)


def _usage(error: typer.TyperException) -> Failure:
    """The failure of a mistake in the command line."""
    message = error.format_message().rstrip(".")
    if message == "Option '--sensor' requires 3 arguments":
        return Failure("option '--sensor' needs three numbers", THREE_NUMBERS, UsageError.exit_code)
    context = getattr(error, "ctx", None)
    command = f"{context.command_path} --help" if context is not None else "lpdif --help"
    suggested = re.search(r"(.*?)\.? (?:Did you mean|\(Possible options:) '?([^',?)]+)", message)
    message, close = (suggested[1], suggested[2]) if suggested else (message, "")
    if message.startswith("No such option") and context is not None:  # better than what typer suggests
        close = nearest_option(getattr(error, "option_name", ""), [name for option in context.command.params for name in option.opts])
    hint = f"did you mean {close}? `{command}` lists what there is" if close else f"see `{command}`"
    return Failure(message[:1].lower() + message[1:], hint, UsageError.exit_code)


def nearest_option(name: str, known: list[str]) -> str:
    """The long option that is spelt most like `name`; "" where none is similar."""
    words = {option.removeprefix("--"): option for option in known if option.startswith("--")}
    return next((words[word] for word in difflib.get_close_matches(name.lstrip("-"), words, 1)), "")


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, of the CPU or of the GPU. Does not load torch."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error).lower()
    if isinstance(error, RuntimeError):
        return "can't allocate memory" in text or "out of memory" in text
    return isinstance(error, ImportError) and ("cannot allocate memory" in text or "failed to map segment" in text)


def _memory_numbers(error: BaseException) -> str:
    """The memory that was asked for, and the most that this process has used."""
    asked = str(error) or "an allocation was refused"
    if sys.platform == "win32":
        return asked
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return f"{asked} ({peak / 2**20:,.0f} MiB in use at most)"


def _system(error: OSError) -> Failure:
    """The failure of an error of the operating system."""
    where = f"{error.filename}: " if error.filename else ""
    what = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        return Failure(f"{where}{file_size_limit()}", FILE_SIZE_HINT, ResourceError.exit_code)
    if error.errno in DISK_FULL:
        return Failure(
            f"{where}{what}{_free_space(error.filename)}",
            "free some space or write elsewhere; what was there before is intact",
            ResourceError.exit_code,
        )
    if error.errno in _PLACE:
        return Failure(f"{where}{what}", "check the path and its permissions", InputError.exit_code)
    return Failure(f"{where}{what}", "the system refused; see `lpdif doctor`", ResourceError.exit_code)


def _free_space(filename: object) -> str:
    """The free space in the folder of a file, for a message; "" where it is not known."""
    if not isinstance(filename, (str, Path)):
        return ""
    folder = Path(filename).absolute().parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError:  # the folder is gone
        return ""
    return f" ({free / 1e6:,.1f} MB free in {folder})"
