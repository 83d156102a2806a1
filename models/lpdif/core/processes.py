"""Who computes a step of training: one process, or several that share out its regions.

A step's regions are cut into parts. The gradients of the parts are added in their order, whoever has computed them, so that N processes come to
the numbers of one process that goes through the same N parts, bit for bit.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class OneProcess:
    """This process alone, which goes through all parts of a step. `lpdif.stages.process_group` has the same for several.

    rank: the number of this process; size: how many there are.
    """

    rank = 0
    size = 1

    def __init__(self, parts: int = 1) -> None:
        self.count = parts

    def parts(self, regions: int) -> list[slice]:
        """The parts of so many regions that this process computes, none of them empty."""
        bounds = [regions * number // self.count for number in range(self.count + 1)]
        return [slice(low, high) for low, high in pairwise(bounds) if low < high]

    def exchange(self, gradient_G: Tensor, said_BV: Tensor, parameters_G: Tensor) -> tuple[Tensor, Tensor]:
        """The gradient (G,) added over all processes, and what they say of their regions (B, V), in the order of the regions.

        parameters (G,): before the step, by which processes see that they are at one.
        """
        del parameters_G
        return gradient_G, said_BV

    def tell(self, data: bytes) -> bytes:
        """What the first process has to say to the others; these give b""."""
        return data

    def any_stops(self, stop: bool) -> bool:
        """Whether one of the processes is to stop."""
        return stop


ALONE = OneProcess()


def exchange_gradients(networks: nn.Module, said_BV: Tensor, among: OneProcess) -> Tensor:
    """What all processes say of their regions (B, V). The gradient of each parameter becomes the sum over the processes."""
    parameters = list(networks.parameters())
    own_G = torch.cat([parameter.detach().flatten() for parameter in parameters])
    gradient_G = torch.cat([parameter.grad.flatten() for parameter in parameters if parameter.grad is not None])
    total_G, said_BV = among.exchange(gradient_G, said_BV, own_G)
    for parameter, gradient in zip(parameters, torch.split(total_G, [parameter.numel() for parameter in parameters]), strict=True):
        parameter.grad = gradient.view_as(parameter)
    return said_BV
