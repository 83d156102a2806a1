"""Where the numbers are computed: device, threads, and the settings that make a run repeatable."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from lpdif.errors import ResourceError, UsageError

if TYPE_CHECKING:
    import torch

log = logging.getLogger("lpdif")

Part = TypeVar("Part")
_NAME = re.compile(r"auto|cpu|cuda(:\d+)?")


def check_device_name(name: str, where: str = "device") -> None:
    """Raises UsageError unless `name` is auto, cpu, cuda or cuda:N. Needs no torch."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{where}: '{name}' is not a device", "use auto, cpu, cuda or cuda:N")


def resolve(name: str = "auto") -> torch.device:
    """The device that `name` stands for: "auto" is the first CUDA device if there is one, else the CPU.

    Raises UsageError for a name that is none, ResourceError for a device that this machine or this torch does not have.
    """
    check_device_name(name)
    import torch

    if name == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        if name == "auto":
            log.debug("device: cpu (no CUDA device)")
            return torch.device("cpu")
        why = "this torch is built without CUDA" if torch.version.cuda is None else "torch finds no CUDA device"
        raise ResourceError(f"device '{name}': {why} (torch {torch.__version__})", "pass --device cpu, or see `lpdif doctor`")
    index = int(name.partition(":")[2] or 0)
    if index >= count:
        raise ResourceError(f"device '{name}': this machine has {count} CUDA device(s)", f"use cuda:0 to cuda:{count - 1}")
    log.info("device: cuda:%d (%s)", index, torch.cuda.get_device_name(index))
    return torch.device("cuda", index)


def available_threads() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def use_threads(count: int) -> None:
    """Compute with `count` threads from now on, in torch and in the BLAS and OpenMP libraries.

    0 leaves the number to the libraries, which follow OMP_NUM_THREADS. A mesh does not depend on it; a fit repeats bit for bit only with
    the same number.
    """
    if count == 0:
        return
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(count)
    threadpool_limits(count)


def single_threaded_pool(threads: int) -> ThreadPoolExecutor:
    """A pool of `threads` threads; in each of them torch computes with one thread.

    Pieces of work run side by side, and the result of a piece does not depend on how many run.
    """
    import torch

    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,))


def split_on_oom(work: Callable[[slice], Part], items: slice) -> list[Part]:
    """The results of `work` on `items`, in order: one, or several where memory is short.

    Where the memory of the device does not suffice for all items at once, halves of them are tried, down to one item. Raises ResourceError
    where one item is too much as well.
    """
    import torch

    try:
        return [work(items)]
    except torch.OutOfMemoryError as error:
        if items.stop - items.start <= 1:
            hint = "close other programs on the GPU, or ask for less: a larger --resolution or --region-size; or --device cpu"
            raise ResourceError(f"out of memory: {error}", hint) from error
    # out of the except block: the error holds on to what the work had allocated
    middle = (items.start + items.stop) // 2
    log.debug("out of memory with %d items at once; trying half of them", items.stop - items.start)
    return split_on_oom(work, slice(items.start, middle)) + split_on_oom(work, slice(middle, items.stop))


@contextmanager
def repeatable() -> Iterator[None]:
    """Within this block the same input gives the same bits.

    The result depends neither on the number of threads nor on what else the machine does. Each torch operation runs on one thread, so that
    sums are made in one order; several operations may run side by side. cuDNN tries out no algorithms, and products on CUDA are in full
    float32. At the end the earlier settings are restored.
    """
    import torch

    cudnn, products = torch.backends.cudnn, torch.backends.cuda.matmul
    before = torch.get_num_threads(), cudnn.benchmark, cudnn.deterministic, products.allow_tf32
    torch.set_num_threads(1)
    cudnn.benchmark, cudnn.deterministic, products.allow_tf32 = False, True, False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        cudnn.benchmark, cudnn.deterministic, products.allow_tf32 = before[1:]
