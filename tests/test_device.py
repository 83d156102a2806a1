"""Device names become devices, or one clear error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from shapes import even_sphere_points, random_field, tiny_model

import lpdif
from lpdif.core import encode
from lpdif.core.field import LocalField
from lpdif.device import available_threads, repeatable, resolve, split_on_oom, use_threads
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


# --- where memory is short


@pytest.mark.parametrize(("fits", "parts"), [(100, 1), (10, 1), (9, 2), (4, 4), (1, 10)])
def test_work_is_halved_until_it_fits(fits: int, parts: int) -> None:
    asked: list[int] = []

    def work(some: slice) -> list[int]:
        asked.append(some.stop - some.start)
        if asked[-1] > fits:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return list(range(100)[some])

    found = split_on_oom(work, slice(20, 30))
    assert len(found) == parts
    assert [item for part in found for item in part] == list(range(20, 30))
    assert asked[0] == 10
    assert len(asked) == 2 * parts - 1
    assert split_on_oom(work, slice(5, 5)) == [[]]


def test_one_item_that_does_not_fit_is_a_lack_of_memory() -> None:
    asked: list[int] = []

    def work(some: slice) -> None:
        asked.append(some.stop - some.start)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    with pytest.raises(ResourceError, match="out of memory: CUDA out of memory") as caught:
        split_on_oom(work, slice(0, 8))
    assert "--device cpu" in caught.value.hint
    assert asked == [8, 4, 2, 1]


def test_other_errors_are_not_tried_again() -> None:
    def work(_: slice) -> None:
        raise RuntimeError("no kernel image")

    with pytest.raises(RuntimeError, match="no kernel image"):
        split_on_oom(work, slice(0, 8))


def test_a_field_asked_in_halves_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    field = random_field(np.random.default_rng(0).uniform(-1, 1, (40, 3)), 0.3, patterns=3, levels=2)
    place = np.random.default_rng(1).uniform(-1, 1, (1000, 3))
    whole = field.local_sdf(place)
    real, asked = LocalField.decode_at_once, []

    def short(self: LocalField, points: Any, region: Any) -> Any:
        asked.append(len(region))
        if len(region) > 100:
            raise torch.OutOfMemoryError
        return real(self, points, region)

    monkeypatch.setattr(LocalField, "decode_at_once", short)
    np.testing.assert_array_equal(field.local_sdf(place), whole)
    assert max(asked) > 400


def test_regions_encoded_in_halves_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that suffices for 20 regions at once: blocks of 128 are halved until they fit."""
    scan, model = lpdif.Scan(*even_sphere_points(400)), tiny_model()
    whole = lpdif.reconstruct(scan, model, device="cpu", threads=1).field
    real, asked = encode.padded, []

    def short(seen: Any, regions: Any, points: int) -> Any:
        asked.append(len(regions))
        if len(regions) > 20:
            raise torch.OutOfMemoryError
        return real(seen, regions, points)

    monkeypatch.setattr(encode, "padded", short)
    parts = lpdif.reconstruct(scan, model, device="cpu", threads=1).field
    assert max(asked) == 128
    assert min(asked) <= 20
    np.testing.assert_array_equal(parts.codes.center, whole.codes.center)
    assert torch.equal(parts.codes.pattern, whole.codes.pattern)
    torch.testing.assert_close(parts.codes.code, whole.codes.code, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(parts.sdf(scan.points), whole.sdf(scan.points), atol=1e-5)
