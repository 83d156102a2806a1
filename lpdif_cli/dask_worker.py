"""What a worker of a Dask cluster does for `lpdif reconstruct --cluster`: the bytes of a scan become those of its mesh, a piece its surface.

Everything a mesh depends on comes with the task, so that no folder need be shared. The client writes the mesh.
"""

from __future__ import annotations

import functools
import logging
import os
import platform
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import lpdif
from lpdif.config import OutputConfig, ReconstructConfig
from lpdif.errors import LpdifError, ModelError, ResourceError
from lpdif.io.fingerprints import content_of_bytes, known_content
from lpdif.storage.workspace import BUNDLED_MODEL
from lpdif_cli.failures import Failure, describe

if TYPE_CHECKING:
    from lpdif.stages.piece_work import PieceSurface, PieceWork

_ONE_SCAN = threading.Lock()  # A worker's threads share the log and the settings of torch, so they take turns.


class Versions(NamedTuple):
    """What is installed in one place. The meshes are the same to the byte where all of it is the same."""

    lpdif: str
    python: str
    torch: str
    numpy: str

    def __str__(self) -> str:
        return f"lpdif {self.lpdif} on Python {self.python}"

    def runs_with(self, other: Versions) -> bool:
        """Whether one place can work for the other."""
        return (self.lpdif, self.python) == (other.lpdif, other.python)


def installed() -> Versions:
    """What is installed where this is called. Loads none of it."""
    major, minor, _ = platform.python_version_tuple()
    return Versions(lpdif.__version__, f"{major}.{minor}", metadata.version("torch"), metadata.version("numpy"))


def mismatch(theirs: Versions, ours: Versions, where: str) -> ResourceError:
    """The error of a place with other versions than the client's."""
    return ResourceError(f"{theirs} is installed on {where}, {ours} here", "install the same versions on every machine")


@dataclass(frozen=True)
class Order:
    """What all scans of a run have in common.

    model: the content of a model file, None for the one that ships with lpdif; digest: of that file. threads: 0 for as many as the worker has.
    level: of the messages to send back.
    """

    settings: ReconstructConfig
    output: OutputConfig
    device: str
    threads: int
    level: int
    versions: Versions
    model: bytes | None
    digest: str


@dataclass(frozen=True)
class Answer:
    """What came of a scan, the bytes of its mesh, or of a piece, its surface; or a failure, or an error that would stop every scan there.

    messages: (level, text) of each that was logged.
    """

    where: str = ""
    data: bytes = b""
    faces: int = 0
    surface: PieceSurface | None = None
    facts: dict[str, float | int | str] = field(default_factory=dict)
    seconds: float = 0.0
    failure: Failure | None = None
    error: LpdifError | None = None
    messages: list[tuple[int, str]] = field(default_factory=list)


def answer(order: Order, name: str, scan: bytes, kind: str) -> Answer:
    """The mesh of a scan in a format, as the task of a Dask worker.

    scan: the content of a file; name: of that file, for messages. Raises nothing that a scan or a user can cause.
    """

    def make(model: lpdif.Model, threads: int) -> Answer:
        made = lpdif.reconstruct(lpdif.read_scan(scan, name), model, order.settings, device=order.device, threads=threads)
        return Answer(data=lpdif.encode_mesh(made.mesh, kind, **asdict(order.output)), faces=len(made.mesh.faces), facts=made.facts)

    return answered(order, make)


def piece(order: Order, work: PieceWork) -> Answer:
    """The surface of a piece of a scan, as the task of a Dask worker."""
    from lpdif.device import repeatable, resolve
    from lpdif.stages.piece_work import surface_of

    def make(model: lpdif.Model, threads: int) -> Answer:
        with repeatable():
            return Answer(surface=surface_of(work, model.to(resolve(order.device)), threads))

    return answered(order, make)


def answered(order: Order, make: Callable[[lpdif.Model, int], Answer]) -> Answer:
    """What is made by a model and some threads, or what came in the way; with the place, the time and the messages."""
    from distributed import get_worker

    from lpdif.memory import give_back, keep_freed
    from lpdif.stages.workers import captured_log

    where = f"{socket.gethostname()}:{os.getpid()}"
    threads = order.threads or get_worker().state.nthreads
    with _ONE_SCAN, captured_log(order.level) as messages:
        keep_freed()
        began = time.monotonic()
        try:
            found = make(model_of(order, where), threads)
        except ModelError as error:
            found = Answer(error=error)
        except WrongPlace as error:
            found = Answer(error=error.reason)
        except Exception as error:
            if order.level <= logging.DEBUG:
                messages += [(logging.DEBUG, line) for line in traceback.format_exc().splitlines()]
            found = Answer(failure=describe(error, "reconstruct"))
        give_back()
        return replace(found, where=where, seconds=time.monotonic() - began, messages=messages)


class WrongPlace(Exception):
    """This worker cannot work for that client, whatever the scan."""

    def __init__(self, reason: LpdifError) -> None:
        super().__init__(reason.message)
        self.reason = reason


def model_of(order: Order, where: str) -> lpdif.Model:
    """The model of a run. Raises WrongPlace where this worker has other versions, or another model under the same version."""
    if not installed().runs_with(order.versions):
        raise WrongPlace(mismatch(installed(), order.versions, where))
    found = known_content(BUNDLED_MODEL) if order.model is None else content_of_bytes(order.model)
    if found != order.digest:
        what = "the model that ships with lpdif" if order.model is None else "the model that was sent"
        raise WrongPlace(ResourceError(f"{what} is another one on {where} than here", "install the same lpdif on every machine"))
    return load_model(order.model)


@functools.lru_cache(1)
def load_model(content: bytes | None) -> lpdif.Model:
    """The model in the content of a file, or the one that ships with lpdif. Raises ModelError for a damaged one."""
    if content is None:
        return lpdif.load_model()
    with tempfile.TemporaryDirectory(prefix="lpdif-") as folder:
        path = Path(folder, "model.safetensors")
        path.write_bytes(content)
        return lpdif.load_model(path)
