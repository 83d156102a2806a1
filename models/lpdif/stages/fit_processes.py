"""The processes of a fit: how they begin, and what the helpers of the first one do.

The first process alone locks the workspace, reads snapshots, validates, writes and reports. Helpers make the same steps with it: each draws the
same batch and computes the gradient of its own part.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors.torch import load, save

from lpdif.config import FitConfig
from lpdif.core.model import make_networks
from lpdif.core.optimizer import Optimizer
from lpdif.core.processes import ALONE, OneProcess
from lpdif.device import resolve, use_threads
from lpdif.errors import InputError, ResourceError, UsageError
from lpdif.shutdown import add_cleanup, delay_shutdown, remove_cleanup
from lpdif.stages.fit_steps import fit_steps
from lpdif.stages.held_out import split_regions
from lpdif.stages.process_group import LONGEST_WAIT, LOST_HINT, ProcessGroup
from lpdif.stages.workers import captured_log, jobs_beside
from lpdif.storage.shards import load_samples
from lpdif.storage.workspace import Workspace

log = logging.getLogger("lpdif")

LOOPBACKS = ("lo", "lo0")
STARTED = 0.05  # seconds between two looks at whether the helpers have started


@contextmanager
def fit_processes(count: int | None, device: str) -> Iterator[OneProcess]:
    """The processes of a fit, of which this is the first; None: those that torchrun has started.

    Others are started here, and have ended when the block has. They share out the threads of this one.
    """
    if count == 1:
        yield ALONE
        return
    with ExitStack() as stack:
        if count is None:
            stack.enter_context(joined(device))
        else:
            if not dist.is_available() or not dist.is_gloo_available():
                raise ResourceError(f"{count} processes: this torch ({torch.__version__}) has no torch.distributed", "pass --processes 1")
            threads = torch.get_num_threads()
            torch.set_num_threads(max(1, threads // count))
            stack.callback(torch.set_num_threads, threads)
            folder = stack.enter_context(meeting_place())
            jobs = [(folder, number, count, device, torch.get_num_threads()) for number in range(1, count)]
            alive = stack.enter_context(jobs_beside(assist_here, jobs))
            wait_for_all(folder, count, alive)
            stack.enter_context(joined(device, folder, 0, count))
        group = ProcessGroup()
        with group.together():
            log.info("fit: %d processes, each computes its part of every step", group.size)
            yield group


def place_here(count: int | None) -> tuple[int, int]:
    """The number of this process among those on this machine, and their `count`; None: as torchrun says."""
    return (0, count) if count is not None else (int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"]))


def device_of(name: str, number: int, count: int) -> torch.device:
    """The device of process `number` of the `count` on this machine: each has a GPU of its own, or all compute on the CPU."""
    if ":" in name:
        raise UsageError(f"device '{name}' is one GPU, and each of {count} processes has its own", "pass --device cuda, or --processes 1")
    found = resolve(name)
    if found.type == "cpu":
        return found
    gpus = torch.cuda.device_count()
    if count > gpus:
        raise ResourceError(f"{count} processes on a machine with {gpus} CUDA device(s)", f"pass --processes {gpus}, or --device cpu")
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


@contextmanager
def meeting_place() -> Iterator[str]:
    """A folder, for this user alone, in which processes of one machine find each other."""
    cleanup = object()
    with delay_shutdown():
        folder = tempfile.mkdtemp(prefix="lpdif-fit-")
        add_cleanup(cleanup, lambda: shutil.rmtree(folder, ignore_errors=True))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        remove_cleanup(cleanup)


def wait_for_all(folder: str, count: int, alive: Callable[[], bool]) -> None:
    """Waits until the helpers are there. Raises ResourceError where one has ended before."""
    while sum(path.suffix == ".here" for path in Path(folder).iterdir()) < count - 1:
        if not alive():
            raise ResourceError("a process of the fit has ended while it started", LOST_HINT)
        time.sleep(STARTED)


@contextmanager
def joined(device: str, folder: str | None = None, number: int = 0, count: int = 0) -> Iterator[None]:
    """This process is in torch's process group within the block; without a folder, in that of torchrun."""
    gpus = device != "cpu" and torch.cuda.is_available() and dist.is_nccl_available()
    backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
    if folder is None:
        dist.init_process_group(backend, timeout=LONGEST_WAIT)
    else:
        loopback = [name for _, name in socket.if_nameindex() if name in LOOPBACKS]
        if loopback:  # elsewhere gloo listens where the name of the machine leads
            os.environ.setdefault("GLOO_SOCKET_IFNAME", loopback[0])
        store = dist.FileStore(str(Path(folder, "store")), count)  # type: ignore[attr-defined]  # it is public all the same
        dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=LONGEST_WAIT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def assist_here(folder: str, number: int, count: int, device: str, threads: int) -> None:
    """What a process that the first one has started does."""
    use_threads(threads)
    Path(folder, f"{number}.here").touch()
    with joined(device, folder, number, count):
        assist(device, number, count)


def assist_torchrun(device: str, stop: Callable[[], bool]) -> None:
    """What a process that torchrun has started, and that is not the first one, does."""
    with joined(device):
        assist(device, *place_here(None), stop)


def assist(device: str, number: int, count: int, stop: Callable[[], bool] = lambda: False) -> None:
    """Makes the steps of a fit with the first process. number: of `count` processes on this machine; stop: as for `fit`.

    What is logged is dropped: the first process says the same. Raises SystemExit, with its exit code, where the fit fails.
    """
    group = ProcessGroup()
    with captured_log(logging.WARNING), group.together():
        plan = json.loads(group.tell(b""))
        place, config = Workspace(Path(plan["root"]), Path(plan["samples_root"])), FitConfig(**plan["config"])
        if place.samples_identity() != plan["samples"]:
            raise InputError(f"{place.samples}: other samples than those that the first process has", "let all processes see the same folder")
        training = split_regions(load_samples(place)[0])[0]
        optimizer = Optimizer(make_networks(config.features, config.width, config.seed), len(training.counts), device_of(device, number, count))
        optimizer.restore(load(group.tell(b"")))
        for _ in fit_steps(optimizer, training, config, place, group):
            if group.any_stops(stop()):
                break


def invite(group: OneProcess, place: Workspace, config: FitConfig, samples: str, optimizer: Optimizer) -> None:
    """Tells the helpers what is to be fitted, and from where on. samples: their identity."""
    if group.size > 1:
        plan = {"root": str(place.root.absolute()), "samples_root": str(place.samples_root.absolute()), "samples": samples}
        group.tell(json.dumps(plan | {"config": dataclasses.asdict(config)}).encode())
        group.tell(save(optimizer.tensors()))
