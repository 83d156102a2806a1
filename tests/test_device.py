"""Device names become devices, or one clear error."""

from __future__ import annotations

import pytest
import torch

from lpdif.device import available_threads, repeatable, resolve, use_threads
from lpdif.errors import ResourceError, UsageError


def test_cpu_is_cpu() -> None:
    assert resolve("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:x", "CPU", "cpu:0", "mps"])
def test_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not a device"):
        resolve(name)


def test_auto_is_cpu_where_there_is_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert resolve("auto") == torch.device("cpu")
    with pytest.raises(ResourceError, match="device 'cuda:1'"):
        resolve("cuda:1")


def test_devices_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"card {index}")
    assert resolve("auto") == resolve("cuda") == torch.device("cuda", 0)
    assert resolve("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(ResourceError, match="this machine has 2 CUDA device") as caught:
        resolve("cuda:2")
    assert caught.value.hint == "use cuda:0 to cuda:1"


def test_threads_are_set_and_zero_leaves_them() -> None:
    before = torch.get_num_threads()
    try:
        use_threads(1)
        assert torch.get_num_threads() == 1
        use_threads(0)
        assert torch.get_num_threads() == 1
    finally:
        use_threads(before)
    assert available_threads() >= 1


def test_sums_do_not_depend_on_threads() -> None:
    """A sum of a million numbers is cut by threads: within repeatable() it is not."""
    numbers = torch.rand(1_000_001, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 3, 4):
            torch.set_num_threads(count)
            with repeatable():
                assert torch.get_num_threads() == 1
                found.append(numbers.sum().item())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert len(set(found)) == 1
