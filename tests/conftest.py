"""What all tests share: a clean environment, and the command line run in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from forked import Server

    from lpdif.stages.fit import FitReport
    from lpdif.stages.preprocess import PreprocessReport

ROOT = Path(__file__).parent.parent

# The signals that end a run, and its exit codes. Windows has no SIGHUP.
SIGNAL_CODES = [(getattr(signal, name), code) for name, code in (("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)) if hasattr(signal, name)]

# Under nohup, or as a background job, signals may be ignored, and the processes of tests would ignore them too.
for _name, _handler in (("SIGINT", signal.default_int_handler), ("SIGTERM", signal.SIG_DFL), ("SIGHUP", signal.SIG_DFL)):
    _number = getattr(signal, _name, None)  # Windows has no SIGHUP
    if _number is not None and signal.getsignal(_number) == signal.SIG_IGN:
        signal.signal(_number, _handler)

# Several workers of pytest share the cores: two computing threads that wait for each other are many times slower than one.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test."""
    for name in [n for n in os.environ if n.startswith("LPDIF_") or n in {"NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES"}]:
        monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small products are slow on many threads, above all on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@contextlib.contextmanager
def stand_ins() -> Iterator[None]:
    """numpy and libigl, where PyMCubes and point-cloud-utils are: the test is skipped unless there is something to compare."""
    from lpdif import mesh_queries
    from lpdif.surface import marching_cubes

    igl = pytest.importorskip("igl", reason="libigl is not installed")
    pytest.importorskip("point_cloud_utils", reason="point-cloud-utils is not installed")
    pytest.importorskip("igl.embree")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(marching_cubes, "by_pymcubes", None)
        patch.setattr(mesh_queries, "pcu", None)
        patch.setattr(mesh_queries, "igl", igl, raising=False)
        yield


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two closed shapes and a scan without faces. Not to be written to."""
    from short_fits import write_shapes

    return write_shapes(tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="session")
def prepared(scans: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PreprocessReport]:
    """A workspace with samples of them. Not to be written to."""
    from short_fits import SAMPLING

    from lpdif.stages.preprocess import preprocess

    place = tmp_path_factory.mktemp("prepared")
    return place, preprocess([scans], place, SAMPLING, threads=1)


@pytest.fixture
def workspace(prepared: tuple[Path, PreprocessReport], tmp_path: Path) -> Path:
    """A workspace of one's own, with the samples."""
    return Path(shutil.copytree(prepared[0], tmp_path / "workspace"))


@pytest.fixture(scope="session")
def straight(prepared: tuple[Path, PreprocessReport], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitReport]:
    """A workspace after a short fit from its start to its end. Not to be written to."""
    from short_fits import SHORT

    from lpdif.stages.fit import fit

    place = Path(shutil.copytree(prepared[0], tmp_path_factory.mktemp("straight") / "workspace"))
    return place, fit(place, SHORT, "cpu")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The process whose children are runs of `lpdif`."""
    from forked import Server

    server = Server(tmp_path_factory.mktemp("streams"))
    yield server
    server.close()


def alive(pid: int) -> bool:
    """Whether a process runs still; one that has ended and waits for its parent to hear of it does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return bool(state.strip()) and not state.lstrip().startswith("Z")


@dataclass(frozen=True)
class Ran:
    """A run of the command line: exit code and the two streams."""

    code: int
    out: str
    err: str
    raw: bytes

    @property
    def lines(self) -> list[str]:
        """stderr by lines."""
        return self.err.splitlines()

    @property
    def document(self) -> Any:
        """stdout as the one JSON document it must be."""
        return json.loads(self.out)


Cli = Callable[..., Ran]


def run_here(*arguments: str | Path, stdin: bytes = b"") -> Ran:
    """Run `lpdif` with these arguments in this process, off a terminal, but with its hints of what to run next."""
    from lpdif_cli.console import Console
    from lpdif_cli.main import run

    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.StringIO()
    before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            console = Console()
            console.hints = True
            code = run([str(a) for a in arguments], console)
    finally:
        sys.stdin = before
    out.flush()
    raw = out.buffer.getvalue()  # type: ignore[attr-defined]
    return Ran(code, raw.decode(errors="replace"), err.getvalue(), raw)


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """`lpdif` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return run_here


def run_apart(
    arguments: Sequence[str | Path], *, prelude: str = "", environment: Mapping[str, str] | None = None, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run `lpdif` as its own process, after the Python lines `prelude`."""
    return subprocess.run(
        process_words(arguments, prelude),
        env=process_environment(environment),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def process_words(arguments: Sequence[str | Path], prelude: str = "") -> list[str]:
    """The command of a process that runs `lpdif`."""
    return [sys.executable, "-c", f"{prelude}\nfrom lpdif_cli.__main__ import main\nmain()", *map(str, arguments)]


def process_environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of such a process: it finds the packages where this one does."""
    path = os.pathsep.join(filter(None, [os.environ.get("PYTHONPATH", ""), str(ROOT), str(ROOT / "models")]))
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(more or {})}
