"""A Dask cluster as its client sees it: the scheduler, what is installed there, and tasks that are spread over the workers."""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import lpdif
from lpdif.config import Config
from lpdif.errors import InputError, ResourceError, UsageError
from lpdif.io.fingerprints import content_of_bytes, known_content
from lpdif.storage.safe_open import MOST_TEXT_BYTES, read_regular
from lpdif.storage.strict_json import Text, check, parse
from lpdif.storage.workspace import BUNDLED_MODEL
from lpdif.text import counted
from lpdif_cli.console import Console
from lpdif_cli.dask_worker import Answer, Order, Versions, installed, mismatch
from lpdif_cli.failures import Failure

if TYPE_CHECKING:
    from distributed import Client, Future

log = logging.getLogger("lpdif")


class ClusterSettings(NamedTuple):
    """How long the cluster is waited for, in seconds."""

    connect: float = 20.0  # A scheduler that does not answer for so long counts as unreachable.
    look: float = 1.0  # So often it is seen whether workers have come or gone.
    close: float = 3.0  # What should take no time may take so long: leaving a scheduler, which forgets a client that is gone in any case.


CLUSTER = ClusterSettings()
MOST_MODEL_BYTES = 1 << 30  # A larger model is not sent with every scan.

START_HINT = "start one: dask scheduler; then on each machine: dask worker tcp://HOST:8786 --nworkers 4 --nthreads 1"
ADDRESS_HINT = "name the file of `dask scheduler --scheduler-file FILE`, or an address, as in: --cluster tcp://HOST:8786"
AGAIN_HINT = "run the same command again when there is a scheduler: meshes that are there are kept"
_LOGGERS = ("distributed", "distributed.client", "distributed.core", "distributed.comm", "tornado", "tornado.application", "asyncio")


def order(model: Path | None, config: Config) -> Order:
    """What the workers need besides the scans. model: a file, None for the model that ships with lpdif.

    Raises ModelError for a model that cannot be used: better here, where its file has a name, than on each worker.
    """
    content = None
    if model is not None:
        lpdif.load_model(model)
        content = read_regular(model, MOST_MODEL_BYTES)
    digest = known_content(BUNDLED_MODEL) if content is None else content_of_bytes(content)
    return Order(config.reconstruct, config.output, config.device, config.threads, log.level, installed(), content, digest)


def address_of(given: str) -> str:
    """The address of a scheduler, that was given itself or by the file that the scheduler has written."""
    if "://" in given or not (given.endswith(".json") or Path(given).exists()):
        return given
    path = Path(given)
    try:
        about = parse(read_regular(path, MOST_TEXT_BYTES))
        check(about, {"address": Text()})
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})", ADDRESS_HINT) from None
    except ValueError as error:
        raise InputError(f"{path}: not the file of a scheduler ({error})", ADDRESS_HINT) from None
    return str(about["address"])


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler. Raises UsageError without Dask, and ResourceError where no scheduler answers."""
    try:
        import distributed
    except ImportError:
        raise UsageError("--cluster needs Dask, which is not installed", 'pip install "lpdif[cluster]", on every machine') from None
    check_address(address)
    for name in _LOGGERS:  # what they tell is told here, in our words
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    found: queue.SimpleQueue[Client | Exception] = queue.SimpleQueue()

    def connect() -> None:
        try:
            found.put(distributed.Client(address, timeout=CLUSTER.connect, set_as_default=False))
        except Exception as error:  # no answer, no address, no certificate, another protocol
            found.put(error)

    threading.Thread(target=connect, daemon=True).start()  # Dask waits without limit for something else that listens there
    try:
        client = found.get(timeout=CLUSTER.connect + CLUSTER.close)
    except queue.Empty:
        client = TimeoutError("what listens there says nothing")
    if isinstance(client, Exception):
        raise ResourceError(f"no Dask scheduler at {address}: {client}", START_HINT)
    try:
        yield client
    finally:
        client.close(CLUSTER.close)


@contextmanager
def at_work(given: str, order_of: Callable[[], Order], console: Console) -> Iterator[tuple[Client, str, Order]]:
    """A client of the scheduler at an address, or in the file that it wrote; that address; and the order of a run, which its workers can do.

    Raises as `connected`, `order_of` and `check_versions` do. That there is no worker yet is told.
    """
    address = address_of(given)
    with connected(address) as client:
        order = order_of()
        check_versions(client, order.versions)
        if not threads_of(client, address):
            console.say(f"{address} has no worker yet: dask worker {address} --nworkers 4 --nthreads 1")
        yield client, address, order


def check_address(address: str) -> None:
    """Raises UsageError for what is no address, or needs certificates that are not there: Dask's client stumbles over these."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend
    from distributed.security import Security

    try:
        scheme, place = parse_address(address)
        get_backend(scheme)
        parse_host_port(place)
    except ValueError as error:
        raise UsageError(f"--cluster: '{address}' is no address ({error})", ADDRESS_HINT) from None
    if scheme == "tls" and Security().get_connection_args("client").get("ssl_context") is None:
        names = "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, _TLS__CLIENT__CERT and _TLS__CLIENT__KEY"
        raise UsageError(f"--cluster: {address} needs a certificate, and Dask knows of none", f"name the files: {names}")


def check_versions(client: Client, ours: Versions) -> None:
    """Raises ResourceError where the scheduler or a worker has not the same lpdif and Python, and warns of other differences.

    Workers that come later are checked by their tasks.
    """
    found: dict[str, Any] = dict(client.run(installed, on_error="return"))
    try:
        found["the scheduler"] = client.run_on_scheduler(installed)  # which unpacks the tasks
    except Exception as error:  # it raises whatever unpacking the function raised there
        found["the scheduler"] = error
    found = {where: theirs for where, theirs in found.items() if not isinstance(theirs, OSError)}  # a worker that has just gone
    for where, theirs in found.items():
        if not isinstance(theirs, Versions):
            what = f"{ours} is needed on {where} too, as it is here ({type(theirs).__name__}: {theirs})"
            raise ResourceError(what, "install the same versions on every machine")
        if not theirs.runs_with(ours):
            raise mismatch(theirs, ours, where)
    found.pop("the scheduler", None)  # which computes nothing
    for where, theirs in found.items():
        if theirs != ours:
            here, there = (f"torch {one.torch} and numpy {one.numpy}" for one in (ours, theirs))
            log.warning("%s on %s, %s here: meshes may differ in their last bits", there, where, here)


def threads_of(client: Client, address: str) -> int:
    """How many threads the workers have in all."""
    try:
        return sum(client.nthreads().values())
    except OSError as error:
        raise scheduler_gone(address) from error


def scheduler_gone(address: str) -> ResourceError:
    """The error of a scheduler that went away during the work."""
    return ResourceError(f"the Dask scheduler at {address} is gone, or has dropped the work", AGAIN_HINT)


Item = TypeVar("Item")


def answers(
    client: Client, address: str, task: Callable[..., Answer], requests: Iterable[tuple[Item, tuple[Any, ...]]]
) -> Iterator[tuple[Item, Answer]]:
    """What came of each request, an item and what the task is called with, as it is done.

    As many are at work at a time as the workers have threads; the next is taken when there is room. With more, some would wait at workers; if
    such a worker dies, those that wait there would be suspected of it too. Raises ResourceError where the scheduler goes away.
    """
    done: queue.SimpleQueue[Future] = queue.SimpleQueue()
    run, rest = uuid.uuid4().hex, iter(enumerate(requests))
    at_work: dict[object, Item] = {}
    more = True
    while more or at_work:
        room = max(1, threads_of(client, address)) - len(at_work) if more else 0
        while room > 0 and more:
            following = next(rest, None)
            if following is None:
                more = False
                break
            number, (item, words) = following
            key = (f"lpdif-{run}", number)
            future = client.submit(task, *words, key=key, pure=False)
            at_work[key] = item
            future.add_done_callback(done.put)
            room -= 1
        try:
            future = done.get(timeout=CLUSTER.look)
        except queue.Empty:
            continue
        item, answered = at_work.pop(future.key), answer_of(future, address)
        future.release()
        yield item, answered


def answer_of(future: Future, address: str) -> Answer:
    """The answer of a task that is over. Raises ResourceError where the scheduler is gone."""
    from distributed import CancelledError
    from distributed.scheduler import KilledWorker

    try:
        found: Answer = future.result()
    except KilledWorker as error:
        what = f"{counted(error.allowed_failures + 1, 'worker')} ended while at work on it"
        hint = "memory may be short there: have fewer workers a machine"
        return Answer("", failure=Failure(what, hint, ResourceError.exit_code))
    except (OSError, CancelledError) as error:  # of the connection: those of the task are in its answer
        raise scheduler_gone(address) from error
    return found
