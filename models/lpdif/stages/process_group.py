"""Several processes that fit one model: what they tell each other.

Every exchange begins with a word from each process, so that an error in one of them reaches the others wherever they wait. Only tensors,
JSON and safetensors pass between them: nothing is unpickled. Gradients on GPUs go through NCCL, all else through gloo.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lpdif import errors
from lpdif.core.processes import OneProcess
from lpdif.errors import LpdifError, ResourceError

Result = TypeVar("Result")

GO, STOP, FAILED = range(3)  # the words
LONGEST_WAIT = timedelta(days=1)  # For a process that lives: the first may be validating, or all be suspended. A dead one is noticed at once.
STOPPED = 130  # exit code of a helper where the first process was stopped
LOST_HINT = "see what ended it (memory?); go on from the last snapshot, if there is one: lpdif fit --resume"
KINDS = {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, LpdifError)}


class ProcessGroup(OneProcess):
    """This process among the others of torch's process group, which has been made (`dist.init_process_group`)."""

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        super().__init__(self.size)
        self.over = False  # there is nothing more to exchange: all know of an error, or the others cannot be reached

    def parts(self, regions: int) -> list[slice]:
        """The one part of so many regions that is this process's, unless it is empty."""
        low, high = (regions * number // self.size for number in (self.rank, self.rank + 1))
        return [slice(low, high)] if low < high else []

    @contextmanager
    def together(self) -> Iterator[None]:
        """Within this block, an error in one process is an error in all; without one they wait for each other at its end.

        In the first process it is raised; the others end with its exit code and say nothing.
        """
        try:
            yield
            self.meet()
        except BaseException as error:
            told = self.over or self._fail(error)
            if self.rank == 0 or not told:
                raise
            raise SystemExit(STOPPED if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)) from error

    def meet(self, word: int = GO, check: int = 0) -> list[int]:
        """The words of all processes.

        Raises the error of the first that has failed. check: a number that must be the same in all.
        """
        said = self._reached(lambda: self._all(torch.tensor([word, check]))).tolist()
        words = [each[0] for each in said]
        if FAILED in words:
            self.over = True
            raise rebuilt(json.loads(self._reached(lambda: self._spread(b"", words.index(FAILED)))), words.index(FAILED))
        apart = [number for number, each in enumerate(said) if each[1] != check]
        if apart:
            self.over = True
            hint = "let all processes run on machines of one kind, with the same torch; go on from the last snapshot with --resume"
            raise ResourceError(f"the processes of the fit have come apart: numbers of processes {self.rank} and {apart[0]} differ", hint)
        return words

    def any_stops(self, stop: bool) -> bool:
        """Whether one of the processes is to stop."""
        return STOP in self.meet(STOP if stop else GO)

    def tell(self, data: bytes) -> bytes:
        """What the first process has to say to the others."""
        self.meet()
        return self._reached(lambda: self._spread(data, 0))

    def exchange(self, gradient_G: Tensor, said_BV: Tensor, parameters_G: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient (G,) added in the order of the processes, and what these say of their regions, said (B, V), in their order."""
        self.meet(check=int(parameters_G.view(torch.int32).sum()))
        on = gradient_G.device
        there = gradient_G if on.type == "cpu" or dist.is_nccl_available() else gradient_G.cpu()
        return self._reached(lambda: (self._sum(there).to(on), self._in_order(said_BV)))

    def _sum(self, vector_G: Tensor) -> Tensor:
        """(G,) sum over the processes: each adds up one stretch, in their order."""
        stretch = -(-len(vector_G) // self.size)
        mine = vector_G.new_zeros(self.size * stretch)
        mine[: len(vector_G)] = vector_G
        theirs = torch.empty_like(mine)
        dist.all_to_all_single(theirs, mine)
        first, *others = theirs.view(self.size, stretch)
        total = first.clone()
        for other in others:
            total += other
        return self._all(total).flatten()[: len(vector_G)]

    def _in_order(self, rows_BV: Tensor) -> Tensor:
        """Rows of all processes, one behind the other."""
        counts = self._all(torch.tensor([len(rows_BV)]))[:, 0].tolist()
        padded = rows_BV.new_zeros(max(counts), rows_BV.shape[1])
        padded[: len(rows_BV)] = rows_BV
        return torch.cat([rows[:count] for rows, count in zip(self._all(padded), counts, strict=True)])

    def _all(self, tensor: Tensor) -> Tensor:
        """(processes, ...) the tensors of all, which have one shape."""
        found = tensor.new_empty(self.size, *tensor.shape)
        dist.all_gather(list(found), tensor.contiguous())
        return found

    def _spread(self, data: bytes, source: int) -> bytes:
        """The bytes of process `source`."""
        length = torch.tensor([len(data)])
        dist.broadcast(length, source)
        content = torch.zeros(int(length), dtype=torch.uint8)
        if self.rank == source and data:
            content = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        dist.broadcast(content, source)
        return content.numpy().tobytes()

    def _reached(self, exchange: Callable[[], Result]) -> Result:
        """The result of an exchange. Raises ResourceError where the others cannot be reached."""
        try:
            return exchange()
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # gloo raises nothing finer
            self.over = True
            why = str(error).splitlines()[0] if str(error) else "no reason given"
            raise ResourceError(f"another process of the fit has ended, or cannot be reached ({why})", LOST_HINT) from error

    def _fail(self, error: BaseException) -> bool:
        """Tells the others of an error in this process. Returns whether they have heard."""
        self.over = True
        with suppress(ResourceError):  # they are gone, and this error says why the fit ends
            words = self._reached(lambda: self._all(torch.tensor([FAILED, 0])))[:, 0].tolist()
            first = words.index(FAILED)
            self._reached(lambda: self._spread(json.dumps(described(error)).encode() if first == self.rank else b"", first))
            return True
        return False


def described(error: BaseException) -> dict[str, Any]:
    """What another process needs to raise this error."""
    if isinstance(error, LpdifError):
        return {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return {"kind": "MemoryError", "message": str(error)}
    if isinstance(error, OSError):
        file = None if error.filename is None else str(error.filename)
        return {"kind": "OSError", "errno": error.errno, "message": error.strerror or str(error), "file": file}
    return {"kind": type(error).__name__, "message": str(error)}


def rebuilt(about: dict[str, Any], rank: int) -> BaseException:
    """The error that `described` described, of process `rank`."""
    if about["kind"] in KINDS:
        return KINDS[about["kind"]](about["message"], about["hint"])
    if about["kind"] == "MemoryError":
        return MemoryError(f"{about['message']} (in process {rank})")
    if about["kind"] == "OSError":
        return OSError(about["errno"], about["message"], about["file"])
    if about["kind"] == "KeyboardInterrupt":
        return KeyboardInterrupt()
    return RuntimeError(f"in process {rank}: {about['kind']}: {about['message']}")
