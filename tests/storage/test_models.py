"""Files: what is written is read again, what is not ours is refused by name, and nothing is ever half there."""

from __future__ import annotations

import errno
import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from formed import formed_networks, formed_patterns
from safetensors.torch import load_file, save_file
from shapes import tiny_model
from solids import SOLIDS, as_seen, cut
from torch import Tensor

from lpdif.core.model import Model
from lpdif.core.patterns import pattern_tensors
from lpdif.errors import InputError, ModelError, ResourceError
from lpdif.form_names import FORMS
from lpdif.storage import atomic_write, tensor_files
from lpdif.storage.models import load_model, load_tensors, save_model, save_tensors
from lpdif.storage.run_log import append_metrics, read_metrics, start_metrics
from lpdif.storage.shards import SAMPLE_KEYS, load_samples
from lpdif.storage.tensor_files import MODEL, SAMPLES, SNAPSHOT
from lpdif.storage.workspace import Workspace

Change = Callable[[dict[str, Tensor], dict[str, Any]], None]


def written(folder: Path, change: Change | None = None, kind: str = MODEL, version: str = "1") -> Path:
    """A model file with something changed in it."""
    path = folder / "model.safetensors"
    save_model(path, tiny_model())
    tensors, card = load_tensors(path, MODEL)
    if change:
        change(tensors, card)
    save_file(tensors, path, {"kind": kind, "version": version, "card": json.dumps(card)})
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        load_model(path)
    assert caught.value.exit_code == 4
    assert caught.value.message.startswith(str(path))
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


def test_a_model_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    model = tiny_model()
    save_model(path, model)
    again = load_model(path)
    assert again.card == {**model.card, "sizes": {"features": 6, "width": 8, "patterns": 3}}
    before, after = model.networks.state_dict(), again.networks.state_dict()
    assert before.keys() == after.keys()
    for name in before:
        assert torch.equal(before[name], after[name]), name
    for one, other in zip(pattern_tensors(model.patterns).values(), pattern_tensors(again.patterns).values(), strict=True):
        assert torch.equal(one, other)
    assert not again.networks.training
    assert not any(p.requires_grad for p in again.networks.parameters())
    codes = torch.randn((20, 16), generator=torch.Generator().manual_seed(0))
    points = torch.randn((50, 3), generator=torch.Generator().manual_seed(1))
    region = torch.arange(50) % 20
    said = (m.networks.decoder(codes, m.patterns.assign(codes), points, region) for m in (model, again))
    assert torch.equal(*said)


@pytest.mark.parametrize("patterns", [1, 2, 8, 16])
def test_forms_survive_the_file_of_a_model(tmp_path: Path, patterns: int) -> None:
    path = tmp_path / "model.safetensors"
    model = Model(formed_networks(patterns), formed_patterns(patterns), {})
    save_model(path, model)
    again = load_model(path)
    assert torch.equal(again.patterns.form, model.patterns.form)
    assert again.patterns.form.dtype == torch.int64
    assert again.patterns.forms == min(patterns, len(FORMS))
    seen = as_seen([cut(name, 40, 0) for name in SOLIDS])
    places = torch.rand((len(SOLIDS), 5, 3), generator=torch.Generator().manual_seed(0)) - 0.5
    said = [each.networks(seen, None, places, each.patterns) for each in (model, again)]
    assert torch.equal(said[0].sdf, said[1].sdf)
    assert torch.equal(said[0].form, said[1].form)
    assert bool(said[0].form.any()) == (patterns > 1)


def test_a_model_of_before_there_were_forms_is_smooth(tmp_path: Path) -> None:
    """It has neither a gate nor forms; its answers are those of its decoders alone."""

    def older(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        for name in [name for name in tensors if name.startswith("gate.") or name == "patterns.form"]:
            del tensors[name]

    old = load_model(written(tmp_path, older))
    assert not old.patterns.form.any()
    seen = as_seen([cut(name, 40, 0) for name in SOLIDS])
    places = torch.rand((len(SOLIDS), 5, 3), generator=torch.Generator().manual_seed(0)) - 0.5
    answer = old.networks(seen, None, places, old.patterns)
    frames, codes = old.networks.encode(seen)
    assert not answer.form.any()
    assert torch.equal(answer.sdf, old.networks.ask(frames, codes, old.patterns.assign(codes), places))
    save_model(tmp_path / "again.safetensors", old)
    assert torch.equal(load_model(tmp_path / "again.safetensors").patterns.form, old.patterns.form)


def test_same_model_same_bytes(tmp_path: Path) -> None:
    """The order of the keys in a file's header included, which safetensors leaves to chance."""
    path = tmp_path / "model.safetensors"
    save_model(path, tiny_model())
    first = path.read_bytes()
    for _ in range(8):
        save_model(path, load_model(path))
        assert path.read_bytes() == first


def test_loading_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    path = written(tmp_path)
    before = torch.get_rng_state()
    load_model(path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("kind", [SNAPSHOT, SAMPLES, "lpdif-other"])
def test_other_kinds_are_named(tmp_path: Path, kind: str) -> None:
    assert f"expected {MODEL}, found {kind}" in refusal(written(tmp_path, kind=kind))


def test_safetensors_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    assert "found a safetensors file of another program" in refusal(path)
    save_file({"weight": torch.zeros(3)}, path, {"format": "pt"})
    assert "found a safetensors file of another program" in refusal(path)


@pytest.mark.parametrize("version", ["0", "2", "", "one"])
def test_other_versions_are_named(tmp_path: Path, version: str) -> None:
    assert f"expected version 1 of {MODEL}, found {version}" in refusal(written(tmp_path, version=version))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["decoder.out.weight", "patterns.centroids", "encoder.ridge"])
def test_values_that_are_not_finite(tmp_path: Path, name: str, value: float) -> None:
    def spoil(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        tensors[name].view(-1)[-1] = value

    assert f"{name} holds values that are not finite" in refusal(written(tmp_path, spoil))


def drop(name: str) -> Change:
    def change(tensors: dict[str, Tensor], card: dict[str, Any]) -> None:
        del tensors[name]

    return change


def reshape(name: str, *shape: int) -> Change:
    return lambda tensors, card: tensors.update({name: torch.zeros(shape)})


def reform(*form: float) -> Change:
    return lambda tensors, card: tensors.update({"patterns.form": torch.tensor(form)})


def resize(**sizes: object) -> Change:
    return lambda tensors, card: card["sizes"].update(sizes)


@pytest.mark.parametrize(
    "change",
    [
        drop("encoder.again.weight"),
        drop("decoder.out.bias"),
        drop("patterns.centroids"),
        drop("patterns.mean"),
        drop("patterns.projection"),
        drop("gate.sharpness"),
        drop("gate.body.0.weight"),
        reshape("gate.choose.weight", 10, 64),
        reshape("gate.more", 2),
        reshape("patterns.form", 2),
        reshape("patterns.form", 3, 1),
        reshape("patterns.form"),
        reshape("patterns.centroids"),
        reform(1, 1, 2),
        reform(0, 0, 2),
        reform(0, 2, 1),
        reform(0, 0, -1),
        reform(0, 0, 7),
        reshape("encoder.again.weight", 3, 3),
        reshape("decoder.from_code.weight", 2, 16, 16),
        reshape("patterns.centroids", 2, 16),
        reshape("patterns.centroids", 3, 5),
        reshape("patterns.mean", 3),
        reshape("patterns.projection", 16),
        reshape("patterns.projection", 9, 16),
        reshape("decoder.more", 2),
        resize(features=7),
        resize(width=-1),
        resize(width=0),
        resize(patterns=0),
        resize(features="many"),
        resize(features=None),
        resize(width=float("inf")),
        lambda tensors, card: card.clear(),
        lambda tensors, card: card.update(sizes=[6, 8, 3]),
        lambda tensors, card: tensors.update({"decoder.out.bias": tensors["decoder.out.bias"].half()}),
        lambda tensors, card: tensors.update({"encoder.ridge": torch.zeros(10, dtype=torch.int64)}),
    ],
)
def test_tensors_that_do_not_fit(tmp_path: Path, change: Change) -> None:
    refusal(written(tmp_path, change))


@pytest.mark.parametrize("size", [10**9, 10**15, 10**40])
def test_a_card_that_lies_costs_nothing(tmp_path: Path, size: int) -> None:
    """What it says is not allocated: 10^9 features would be 512 GB."""
    refusal(written(tmp_path, resize(features=size)))
    refusal(written(tmp_path, resize(width=size)))
    refusal(written(tmp_path, resize(patterns=size)))


def test_a_model_that_is_replaced_while_it_is_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path)

    def late(*words: Any) -> Any:
        head = tensor_files.read_tensor_header(*words)
        save_model(path, tiny_model())
        return head

    monkeypatch.setattr("lpdif.storage.models.read_tensor_header", late)
    assert "was replaced while it was read" in refusal(path)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and links in folders")
def test_what_is_refused_is_not_called_damaged(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        with pytest.raises(ModelError, match="a pipe, not a file"):
            load_model(Path(f"/dev/fd/{reader}"))
    finally:
        os.close(reader)
        os.close(writer)
    path = written(tmp_path)
    (tmp_path / "in").mkdir()
    link = tmp_path / "in" / "link"
    link.symlink_to(path)
    assert load_tensors(link, MODEL, tmp_path)[0]
    with pytest.raises(ModelError) as caught:
        load_tensors(link, MODEL, link.parent)
    assert caught.value.message == f"{link}: a link that leads out of {link.parent}"
    assert caught.value.hint == "remove the link"


@pytest.mark.skipif(sys.platform == "win32", reason="links in folders")
def test_samples_that_lie_outside_are_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Workspace(tmp_path / "workspace")
    place.samples.mkdir(parents=True)
    link = place.samples / "a.safetensors"
    link.symlink_to(written(tmp_path))
    monkeypatch.setattr(Workspace, "shards", lambda _: [link])
    with pytest.raises(InputError) as caught:
        load_samples(place)
    assert caught.value.message == f"{link}: a link that leads out of {place.root}"
    assert caught.value.hint.startswith("remove the link")


@pytest.mark.parametrize("content", [b"", b"ply\nformat ascii 1.0\n", b"\x80\x04\x95", b"\xff" * 100, b"{}"])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert "not a readable safetensors file" in refusal(path)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_truncated_models(tmp_path: Path, share: float) -> None:
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    refusal(path)


def test_a_pickle_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", b"cos\nsystem\n(S'touch " + str(tmp_path / "touched").encode() + b"'\ntR.")
    refusal(path)
    assert not (tmp_path / "touched").exists()


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "nothing.safetensors")
    assert refusal(tmp_path).startswith(f"{tmp_path}: a folder, not a file")
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError) as caught:
        load_model(tmp_path)
    assert caught.value.hint == f"name the file in it: {tmp_path / 'model.safetensors'}"


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes by name there")
def test_a_pipe_is_no_model_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.safetensors")
    assert "a pipe, not a file" in refusal(tmp_path / "pipe.safetensors")


@pytest.mark.parametrize("card", ["", "{", "[1", None])
def test_a_card_that_is_no_json(tmp_path: Path, card: str | None) -> None:
    path = tmp_path / "model.safetensors"
    about = {"kind": MODEL, "version": "1"}
    save_file({"a": torch.zeros(1)}, path, about if card is None else {**about, "card": card})
    refusal(path)


def snapshot(value: float) -> dict[str, Tensor]:
    return {"a": torch.full((1000,), value), "b": torch.arange(5)}


@pytest.mark.parametrize("where", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_snapshot_is_never_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, failure: BaseException) -> None:
    path = tmp_path / "snapshot.safetensors"
    save_tensors(path, SNAPSHOT, snapshot(1.0), {"step": 1})
    before = path.read_bytes()

    def fail(*_: object) -> NoReturn:
        raise failure

    monkeypatch.setattr(*((os, "fsync") if where == "fsync" else (Path, "replace")), fail)
    with pytest.raises(ResourceError if isinstance(failure, OSError) else KeyboardInterrupt):
        save_tensors(path, SNAPSHOT, snapshot(2.0), {"step": 2})
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    save_tensors(path, SNAPSHOT, snapshot(2.0), {"step": 2})
    tensors, card = load_tensors(path, SNAPSHOT)
    assert card == {"step": 2}
    assert torch.equal(tensors["a"], snapshot(2.0)["a"])
    assert list(tmp_path.iterdir()) == [path]


def test_a_disk_too_full_is_found_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atomic_write.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 100})())
    with pytest.raises(ResourceError, match=r"disk full: .* MB are needed"):
        save_tensors(tmp_path / "snapshot.safetensors", SNAPSHOT, snapshot(1.0), {})
    assert list(tmp_path.iterdir()) == []


def test_tensors_of_any_layout_survive(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.safetensors"
    given = {
        "view": torch.arange(12.0).view(3, 4).T,
        "learnt": torch.nn.Parameter(torch.ones(2)),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(7),
        "empty": torch.zeros(0, 3),
        "half": torch.ones(3).half(),
    }
    save_tensors(path, SNAPSHOT, given, {})
    found = load_file(path)
    assert found.keys() == given.keys()
    for name, tensor in given.items():
        assert torch.equal(found[name], tensor), name
        assert found[name].dtype == tensor.dtype


def shard(regions: int, value: int) -> dict[str, Tensor]:
    shapes = {"points": (4, 3), "normals": (4, 3), "counts": (), "queries": (2, 3), "sdf": (2,), "sizes": ()}
    types = {"points": torch.float16, "normals": torch.float16, "counts": torch.int64}
    return {key: torch.full((regions, *shapes[key]), value, dtype=types.get(key, torch.float32)) for key in SAMPLE_KEYS}


def workspace_with(folder: Path, *shards: tuple[str, int, int]) -> Workspace:
    place = Workspace(folder)
    place.samples.mkdir()
    for name, regions, value in shards:
        save_tensors(place.samples / name, SAMPLES, shard(regions, value), {})
    place.manifest.write_text(json.dumps({"kept": [{"shard": name} for name, _, _ in shards]}))
    return place


def test_samples_come_in_the_order_of_the_manifest(tmp_path: Path) -> None:
    place = workspace_with(tmp_path, ("b.safetensors", 2, 3), ("a.safetensors", 3, 4), ("c.safetensors", 0, 1))
    data, sizes = load_samples(place)
    assert data.counts.tolist() == sizes.tolist() == [3, 3, 4, 4, 4]
    assert data.points.shape == (5, 4, 3)
    assert data.queries.shape == (5, 2, 3)


def no_samples(place: Workspace) -> str:
    with pytest.raises(InputError) as caught:
        load_samples(place)
    assert caught.value.exit_code == 3
    assert "preprocess" in caught.value.hint
    return caught.value.message


def test_workspaces_without_samples(tmp_path: Path) -> None:
    assert "no samples here" in no_samples(Workspace(tmp_path / "nowhere"))
    assert "hold no region" in no_samples(workspace_with(tmp_path))


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"left": 1}', '{"kept": [1]}', '{"kept": 5}', '{"kept": [{}]}'])
def test_a_damaged_manifest(tmp_path: Path, manifest: str) -> None:
    place = workspace_with(tmp_path)
    place.manifest.write_text(manifest)
    assert str(place.manifest) in no_samples(place)


def test_a_damaged_or_missing_shard_is_named(tmp_path: Path) -> None:
    place = workspace_with(tmp_path, ("a.safetensors", 2, 1), ("b.safetensors", 2, 1))
    path = place.samples / "b.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    assert "b.safetensors" in no_samples(place)
    path.unlink()
    assert "b.safetensors" in no_samples(place)


def test_metrics_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    rows: list[dict[str, Any]] = [{"step": 1, "loss": 0.5}, {"step": 2, "shares": [0.1, 0.9]}]
    for row in rows:
        append_metrics(path, row)
    assert read_metrics(path) == rows
    start_metrics(path, rows[1:])
    append_metrics(path, rows[0])
    assert read_metrics(path) == rows[::-1]
