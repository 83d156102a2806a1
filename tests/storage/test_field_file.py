"""Fields on disk: what is loaded answers as what was saved, bit for bit, and a file that is damaged or something else is refused by name."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from conftest import Cli
from numpy.typing import NDArray
from safetensors.torch import save_file
from shapes import even_sphere_points, random_field, tiny_model
from torch import Tensor

import lpdif
from lpdif.core.field import LocalField, RegionCodes
from lpdif.errors import ModelError, ResourceError, UsageError
from lpdif.stages.reconstruct import reconstruct
from lpdif.storage.field_file import CODE_KEYS, load_field, save_field
from lpdif.storage.models import load_tensors, save_model
from lpdif.storage.tensor_files import FIELD, MODEL

FloatArray = NDArray[np.float64]
SHIFT = np.array([10.0, 20.0, 30.0])
Change = Callable[[dict[str, Tensor], dict[str, Any]], None]


def cloud(count: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3))


def field_of(patterns: int = 3, levels: int = 2, device: str = "cpu", arrangements: int = 11) -> LocalField:
    """A field of random numbers, whose origin lies elsewhere."""
    field = random_field(cloud(40), 0.3, patterns, levels, arrangements=arrangements)
    codes = RegionCodes(field.codes.center, *(getattr(field.codes, name).to(device) for name in CODE_KEYS))
    return LocalField(field.lattices, codes, field.decoder.to(device), np.array([3e5, -0.1, 1 / 3]))


def same(field: LocalField, again: LocalField) -> None:
    """Whether both give the same bits, wherever and however they are asked."""
    place = cloud(3000, 1)
    said = field.sdf(place + field.origin)
    assert np.isfinite(said).mean() > 0.5
    np.testing.assert_array_equal(again.sdf(place + field.origin), said)
    for name in ("local_sdf", "box_sdf", "pattern_at"):
        np.testing.assert_array_equal(getattr(again, name)(place), getattr(field, name)(place))


@pytest.mark.parametrize("patterns", [1, 3])
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("arrangements", [1, 11])
def test_a_field_survives_its_file(tmp_path: Path, patterns: int, levels: int, arrangements: int) -> None:
    field = field_of(patterns, levels, arrangements=arrangements)
    assert len(set(field.codes.arrangement.tolist())) == arrangements
    path = tmp_path / "field.safetensors"
    save_field(path, field)
    again = load_field(path, "cpu")
    same(field, again)
    assert not again.decoder.training
    assert not any(parameter.requires_grad for parameter in again.decoder.parameters())
    first = path.read_bytes()
    save_field(path, again, overwrite=True)
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]


def test_the_field_of_a_reconstruction_survives_without_its_model(tmp_path: Path) -> None:
    points, normals = even_sphere_points(700)
    field = reconstruct(lpdif.Scan(points + SHIFT, normals), tiny_model(), device="cpu", threads=1).field
    lpdif.save_field(str(tmp_path / "field.safetensors"), field)
    again = lpdif.load_field(str(tmp_path / "field.safetensors"), "cpu")
    place = 0.98 * points + SHIFT
    said = field.sdf(place)
    assert np.isfinite(said).all()
    np.testing.assert_array_equal(again.sdf(place), said)


@pytest.mark.parametrize("lattices", [0, 1])
def test_a_field_need_not_use_all_its_regions(tmp_path: Path, lattices: int) -> None:
    field = field_of()
    some = LocalField(field.lattices[:lattices], field.codes, field.decoder, field.origin)
    save_field(tmp_path / "field.safetensors", some)
    place = cloud(500, 1) + field.origin
    np.testing.assert_array_equal(load_field(tmp_path / "field.safetensors", "cpu").sdf(place), some.sdf(place))


def test_a_field_of_no_regions(tmp_path: Path) -> None:
    field = field_of()
    none = RegionCodes(field.codes.center[:0], *(getattr(field.codes, name)[:0] for name in CODE_KEYS))
    save_field(tmp_path / "field.safetensors", LocalField([], none, field.decoder, field.origin))
    assert np.isnan(load_field(tmp_path / "field.safetensors", "cpu").sdf(cloud(9))).all()


@pytest.mark.cuda
def test_a_field_goes_from_device_to_device(tmp_path: Path) -> None:
    path = tmp_path / "field.safetensors"
    there = field_of(device="cuda")
    save_field(path, there)
    same(there, load_field(path, "cuda"))
    same(field_of(), load_field(path, "cpu"))


def test_loading_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = torch.get_rng_state()
    load_field(path, "cpu")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_field_overwrites_nothing_unasked_and_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "field.safetensors"
    path.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        save_field(path, field_of())

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match="disk full"):
        save_field(path, field_of(), overwrite=True)
    assert path.read_bytes() == b"precious"
    assert list(tmp_path.iterdir()) == [path]


# --- files that are damaged, or something else


def written(folder: Path, change: Change | None = None, kind: str = FIELD, version: str = "2") -> Path:
    """A field's file with something changed in it."""
    path = folder / "field.safetensors"
    save_field(path, field_of(), overwrite=True)
    tensors, card = load_tensors(path, FIELD)
    if change:
        change(tensors, card)
    save_file(tensors, path, {"kind": kind, "version": version, "card": json.dumps(card)})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_field(path, "cpu")
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


def test_other_kinds_and_versions_are_named(tmp_path: Path) -> None:
    save_model(tmp_path / "model.safetensors", tiny_model())
    assert f"expected {FIELD}, found {MODEL}" in refusal(tmp_path / "model.safetensors")
    for version in ("1", "3"):
        assert f"expected version 2 of {FIELD}, found {version}" in refusal(written(tmp_path, version=version))
    save_file({"weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    assert "found a safetensors file of another program" in refusal(tmp_path / "other.safetensors")
    assert "no such file" in refusal(tmp_path / "nothing.safetensors")
    with pytest.raises(ModelError, match=f"expected {MODEL}, found {FIELD}"):
        lpdif.load_model(written(tmp_path))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_truncated_fields(tmp_path: Path, share: float) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    assert "not a readable safetensors file" in refusal(path)


FLOATS = [
    "origin",
    "lattices.size",
    "decoder.out.weight",
    *(f"codes.{name}" for name in ("center", "origin", "axes", "size", "code", "support", "radius")),
]
WHOLE = ["lattices.first", "lattices.count", "lattices.keys", "codes.pattern", "codes.arrangement", "codes.first"]


@pytest.mark.parametrize("value", [float("nan"), float("-inf")])
@pytest.mark.parametrize("name", FLOATS)
def test_values_that_are_not_finite(tmp_path: Path, name: str, value: float) -> None:
    def spoil(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        tensors[name].view(-1)[-1] = value

    assert f": {name}: expected finite numbers, found {value}" in refusal(written(tmp_path, spoil))


@pytest.mark.parametrize("name", FLOATS + WHOLE)
def test_tensors_that_lack_or_have_another_shape_or_type(tmp_path: Path, name: str) -> None:
    def drop(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        del tensors[name]

    def reshape(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        tensors[name] = tensors[name][None]

    def convert(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        tensors[name] = tensors[name].half()

    for change, found in ((drop, "found no such tensor"), (reshape, "expected "), (convert, "found float16")):
        message = refusal(written(tmp_path, change))
        assert found in message
        assert f": {name}: expected " in message


def test_a_tensor_too_many(tmp_path: Path) -> None:
    path = written(tmp_path, lambda tensors, card: tensors.update({"decoder.more": torch.zeros(2)}))
    assert "decoder.more: expected no such tensor, found float32 [2]" in refusal(path)


@pytest.mark.parametrize("at", [0, -1])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lattices.size", 0.0),
        ("lattices.size", 1e9),
        ("lattices.first", -1),
        ("lattices.first", 2**63 - 1),
        ("lattices.count", -1),
        ("lattices.count", 2**63 - 1),
        ("lattices.count", 0),
        ("lattices.keys", -1),
        ("lattices.keys", "next"),
        ("codes.size", 0.0),
        ("codes.size", -1.0),
        ("codes.pattern", 3),
        ("codes.pattern", -1),
        ("codes.arrangement", 11),
        ("codes.arrangement", -1),
        ("codes.first", -1),
        ("codes.first", "next"),
        ("codes.first", 2**63 - 1),
        ("codes.radius", 0.0),
        ("codes.radius", -1.0),
        ("codes.support", -0.1),
        ("codes.support", 1.1),
    ],
)
def test_numbers_that_cannot_be(tmp_path: Path, name: str, value: float | str, at: int) -> None:
    def spoil(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        tensors[name][at] = tensors[name][1 if at == 0 else -2] if isinstance(value, str) else value

    assert f": {name}: expected " in refusal(written(tmp_path, spoil))


def test_sheets_that_are_not_those_of_the_arrangements(tmp_path: Path) -> None:
    def smooth(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        tensors["codes.arrangement"].zero_()

    assert ": codes.first: expected the first sheet of each region" in refusal(written(tmp_path, smooth))


def test_sizes_that_are_not_those_of_the_card_and_codes_too_short_for_a_decoder(tmp_path: Path) -> None:
    assert ": lattices.size: " in refusal(written(tmp_path, lambda tensors, card: card.update(region_sizes=[0.3, 0.7])))
    assert "region_sizes[0]: expected a number" in refusal(written(tmp_path, lambda tensors, card: card.update(region_sizes=["small", 0.6])))

    def shorten(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        card["code_size"] = 9
        for name, axis in (("codes.code", 1), ("decoder.from_code.weight", 1)):
            tensors[name] = tensors[name].narrow(axis, 0, 9).contiguous()

    assert ": codes.code: expected codes of at least 10 numbers" in refusal(written(tmp_path, shorten))


@pytest.mark.parametrize("name", ["regions", "sheets", "patterns", "smooth", "code_size", "width", "region_sizes"])
@pytest.mark.parametrize("value", [None, "many", -1, 0, 5, 10**12, 10**40, float("inf"), [], {}])
def test_a_card_that_lies_is_refused_and_costs_nothing(tmp_path: Path, name: str, value: object) -> None:
    refusal(written(tmp_path, lambda tensors, card: card.update({name: value})))
    refusal(written(tmp_path, lambda tensors, card: card.pop(name)))


# --- inspect


def test_inspect_tells_of_a_field(cli: Cli) -> None:
    field = field_of()
    save_field("field.safetensors", field)
    ran = cli("inspect", "field.safetensors", "--json")
    facts = {"kind": "field", "version": "2", "regions": len(field.codes.center), "region_sizes": [0.3, 0.6], "patterns": 3}
    assert ran.code == 0
    assert {name: ran.document[name] for name in facts} == facts
    assert "next" not in ran.err
    assert "0.3 0.6" in cli("inspect", "field.safetensors").out


def test_a_field_is_no_model_to_reconstruct_with(cli: Cli) -> None:
    points, normals = even_sphere_points(700)
    lpdif.write_scan("scan.ply", lpdif.Scan(points, normals))
    save_field("field.safetensors", field_of())
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--model", "field.safetensors")
    assert (ran.code, ran.lines[-2]) == (4, f"error: field.safetensors: expected {MODEL}, found {FIELD}")
