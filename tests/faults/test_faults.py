"""Bad input and failing resources, row by row, through the command line and the real library: one error line, one hint, one exit
code, and what was there before stays."""

from __future__ import annotations

import bz2
import errno
import json
import os
import pickle
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
import torch
from conftest import Cli, Ran
from fault_files import ball, checkpoint, faces, npy_of, packed, ply, text
from safetensors.torch import save_file
from shapes import plain_patterns, training_regions
from torch import Tensor

import lpdif
from lpdif.core.model import Model, make_networks
from lpdif.core.optimizer import Optimizer
from lpdif.storage.models import load_tensors, save_model, save_tensors
from lpdif.storage.tensor_files import MODEL, SAMPLES, SNAPSHOT
from lpdif.storage.workspace import Workspace

pytestmark = pytest.mark.usefixtures("one_thread")

PLACE = Workspace("lpdif-workspace")
FIT = 'device = "cpu"\n[fit]\npatterns = 2\nshared_steps = 3\npattern_steps = 3\nfeatures = 6\nwidth = 8\nbatch = 16\nsnapshot_every = 2\n'
OLD = b"what was there before"
FULL = r"error: {}: disk full: [\d.]+ MB are needed, [\d.]+ MB are free in {}"


@pytest.fixture(autouse=True)
def model(tmp_path: Path) -> Path:
    """An untrained model, whose fitted jets are surface enough, where `reconstruct` finds it."""
    path = tmp_path / PLACE.model
    path.parent.mkdir()
    save_model(path, Model(make_networks(6, 8, 0), plain_patterns(torch.zeros(1, 1), 16), {}))
    return path


def files() -> dict[str, bytes]:
    """What lies in a folder, by path, the lock's text aside."""
    return {str(p): p.read_bytes() for p in Path().rglob("*") if p.is_file() and p.name != ".lock"}


def refused(cli: Cli, code: int, *words: str | Path) -> Ran:
    """Runs, and sees that it fails as it should and leaves every file as it was."""
    before = files()
    ran = cli(*words)
    assert ran.code == code, ran.err
    assert ran.out == ""
    assert ran.lines[-2].startswith("error: ")
    assert ran.lines[-1].startswith("  hint: ")
    assert "Traceback" not in ran.err
    assert files() == before
    return ran


# --- scans that are none


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("scan.ply", b"", "is empty (0 bytes), at least 32 points are needed"),
        ("scan.ply", ply(0, b""), "holds no points (element vertex 0), at least 32 are needed"),
        ("scan.xyz", text(ball()[0][:3]), "3 distinct points, at least 32 are needed"),
        ("scan.xyz", text(ball()[0][:31]), "31 distinct points, at least 32 are needed"),
        ("scan.xyz", b"1 2 3\n" * 500, "1 distinct point, at least 32 are needed"),
        ("scan.xyz", b"nan nan nan\n" * 500, "none of its 500 points has a position: each has a coordinate that is NaN or infinite"),
        ("scan.xyz", text(np.outer(np.arange(100.0), [1, 0, 0])), "lie on one line"),
        ("scan.xyz", text(1e200 * ball()[0]), "beyond any unit of length"),
        ("scan.ply", b"\x89PNG\r\n\x1a\n" + bytes(50), "a PNG picture"),
        ("scan.ply", ply(4294967295), "4,294,967,295"),
        ("scan.ply", ply(4294967295, kind="binary_little_endian"), "4,294,967,295"),
        ("scan.ply", ply(-5), "-5"),
        ("scan.ply", ply("1e18"), "1e18"),
        ("scan.ply", ply(10**18), "1,000,000,000,000,000,000"),
        ("scan.ply", ply(10**30, kind="binary_little_endian"), str(10**30)),
        ("scan.ply", ply(40, b"", end=""), "end_header"),
        ("scan.ply", ply(41), "header says 41 points, but the file has room for 40 at most"),
        ("scan.ply", faces(400), "400"),
        ("scan.ply", faces(-1), "-1"),
        ("scan.ply", bz2.compress(ply(40)), "a bzip2 archive"),
        ("scan.zip", packed(), "a zip archive"),
        ("scan.pkl", pickle.dumps(ball()[0]), "scan.pkl"),
        ("scan.npy", b"\x80\x04" + pickle.dumps(ball()[0]), "scan.npy"),
        ("scan.pt", checkpoint(), "a PyTorch checkpoint"),
    ],
)
def test_a_scan_that_is_none_is_refused_in_a_second(cli: Cli, name: str, data: bytes, said: str) -> None:
    Path(name).write_bytes(data)
    Path("mesh.ply").write_bytes(OLD)
    began = time.process_time()
    ran = refused(cli, 3, "reconstruct", name, "-o", "mesh.ply", "--overwrite")
    assert time.process_time() - began < 1
    assert ran.lines[-2].startswith(f"error: {name}: ")
    assert said in ran.lines[-2]


def test_an_object_in_an_array_is_never_unpickled(cli: Cli) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
            return os.mkdir, ("trapped",)  # type: ignore[return-value]

    for name, data in (("scan.pkl", pickle.dumps(Trap())), ("scan.npy", npy_of(Trap()))):
        Path(name).write_bytes(data)
        refused(cli, 3, "reconstruct", name, "-o", "mesh.ply")
        assert refused(cli, 3, "inspect", name).lines[-2].startswith(f"error: {name}: ")
    assert not Path("trapped").exists()


# --- scans that are odd, and work


def meshed(cli: Cli, scan: lpdif.Scan, *words: str) -> tuple[lpdif.Scan, str]:
    """The mesh of a scan, and what was said on the way."""
    lpdif.write_scan("scan.ply", scan, overwrite=True)
    ran = cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--overwrite", *words)
    assert ran.code == 0, ran.err
    return lpdif.load_scan("mesh.ply"), ran.err


def test_rows_without_a_position_and_duplicates_are_counted_aloud(cli: Cli) -> None:
    points, normals = ball()
    clean, said = meshed(cli, lpdif.Scan(points, normals))
    assert "dropped" not in said
    assert "merged" not in said
    odd = np.concatenate([points, points[:25], np.full((7, 3), np.nan), [[np.inf, 0, 0]]])
    mesh, said = meshed(cli, lpdif.Scan(odd, np.concatenate([normals, normals[:25], np.ones((8, 3))])))
    assert "8 points without a finite position dropped" in said
    assert "25 exact duplicates merged" in said
    assert np.array_equal(mesh.points, clean.points)


@pytest.mark.parametrize("spoil", ["none", "zero", "long", "flipped"])
def test_normals_are_made_or_mended_aloud(cli: Cli, spoil: str) -> None:
    points, normals = ball(800)
    if spoil == "flipped":
        normals = normals * np.where(np.arange(800) % 2, 1.0, -1.0)[:, None]
    normals = {"zero": 0 * normals, "long": 7 * normals}.get(spoil, normals)
    mesh, said = meshed(cli, lpdif.Scan(points, None if spoil == "none" else normals))
    expected = {
        "none": "none given; estimated",
        "zero": "none given; estimated",
        "long": "given, consistent; kept",
        "flipped": "scattered signs",
    }
    assert f"normals: {'' if spoil != 'flipped' else 'given, but with '}{expected[spoil]}" in said
    assert np.abs(np.linalg.norm(mesh.points, axis=1) - 1).max() < 0.03
    assert mesh.normals is not None
    assert (mesh.points * mesh.normals).sum(1).min() > 0.8  # outward


def test_a_plane_is_a_valid_scan(cli: Cli) -> None:
    side = np.linspace(-1, 1, 24)
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    mesh, _ = meshed(cli, lpdif.Scan(np.column_stack([grid, np.zeros(len(grid))])))
    assert np.abs(mesh.points[:, 2]).max() < 1e-3
    assert mesh.faces is not None
    corners = mesh.points[mesh.faces]
    area = 0.5 * np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()
    assert area == pytest.approx(4, rel=0.15)  # one sheet, neither two nor a lid


def test_a_scan_far_from_the_origin_gives_the_same_mesh_shifted(cli: Cli) -> None:
    shift = np.array([500_000.0, 4_649_776.0, 250.0])
    points, normals = (np.round(part * 2**20) / 2**20 for part in ball())
    here, _ = meshed(cli, lpdif.Scan(points, normals))
    there, _ = meshed(cli, lpdif.Scan(points + shift, normals))
    assert there.faces is not None
    assert np.array_equal(here.faces, there.faces)
    assert np.abs(there.points - shift - here.points).max() < 2e-7  # the mesh near the origin is written in single precision


# --- outputs


@pytest.mark.parametrize("words", [["reconstruct", "scan.ply"], ["demo"]])
def test_nothing_is_written_through_a_link(cli: Cli, tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    target = tmp_path_factory.mktemp("elsewhere") / "precious.ply"
    target.write_bytes(OLD)
    lpdif.write_scan("scan.ply", lpdif.Scan(*ball()))
    Path("link.ply").symlink_to(target)
    ran = refused(cli, 2, *words, "-o", "link.ply", "--overwrite")
    assert ran.lines[-2:] == ["error: link.ply: is a symbolic link, and is not written through", f"  hint: name the file itself: {target}"]
    assert target.read_bytes() == OLD


@pytest.mark.parametrize("name", ["model.safetensors", "snapshot.safetensors", "metrics.jsonl"])
def test_fit_writes_through_no_link_either(cli: Cli, tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    target = tmp_path_factory.mktemp("elsewhere") / "precious"
    target.write_bytes(OLD)
    write_samples()
    (PLACE.root / name).unlink(missing_ok=True)
    (PLACE.root / name).symlink_to(target)
    ran = refused(cli, 2, "fit", "--overwrite")
    assert ran.lines[-2] == f"error: lpdif-workspace/{name}: is a symbolic link, and is not written through"
    assert target.read_bytes() == OLD
    target.unlink()
    assert refused(cli, 2, "fit", "--overwrite").lines == ran.lines
    assert len(ran.lines) == 2  # nothing was begun


def test_a_batch_writes_through_no_linked_folder(cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> None:
    target = tmp_path_factory.mktemp("elsewhere")
    for name in ("a", "deep/b", "deep/er/c"):
        Path("scans", name).parent.mkdir(parents=True, exist_ok=True)
        lpdif.write_scan(f"scans/{name}.ply", lpdif.Scan(*ball()))
    Path("out").mkdir()
    Path("out/deep").symlink_to(target)
    ran = cli("reconstruct", "scans", "-o", "out", "--json")
    assert (ran.code, [scan["state"] for scan in ran.document["scans"]]) == (7, ["done", "failed", "failed"])
    assert f"warning: scans/deep/b.ply failed: out/deep/b.ply: a symbolic link leads out of out, to {target}" in ran.lines
    assert list(target.iterdir()) == []


# --- models


def write_model(change: Callable[[dict[str, Tensor], dict[str, Any]], None], kind: str = MODEL, version: str = "1") -> None:
    tensors, card = load_tensors(PLACE.model, MODEL)
    change(tensors, card)
    save_file(tensors, "other.safetensors", {"kind": kind, "version": version, "card": json.dumps(card)})


@pytest.mark.parametrize(
    ("kind", "version", "change", "said"),
    [
        (SNAPSHOT, "1", lambda tensors, card: None, f"expected {MODEL}, found {SNAPSHOT}"),
        (MODEL, "2", lambda tensors, card: None, f"expected version 1 of {MODEL}, found 2"),
        (MODEL, "1", lambda tensors, card: tensors.update({"encoder.again.bias": torch.zeros(3)}), "do not fit its card"),
        (MODEL, "1", lambda tensors, card: card["sizes"].update(width=9), "do not fit its card"),
        (MODEL, "1", lambda tensors, card: card["sizes"].update(width=10**12), "do not fit its card"),
        (MODEL, "1", lambda tensors, card: tensors["decoder.out.bias"].fill_(torch.nan), "decoder.out.bias holds values that are not finite"),
    ],
)
def test_models_that_do_not_fit_exit_4(cli: Cli, kind: str, version: str, change: Callable[..., None], said: str) -> None:
    lpdif.write_scan("scan.ply", lpdif.Scan(*ball()))
    write_model(change, kind, version)
    ran = refused(cli, 4, "reconstruct", "scan.ply", "-o", "mesh.ply", "--model", "other.safetensors")
    assert ran.lines[-2].startswith("error: other.safetensors: ")
    assert said in ran.lines[-2]
    PLACE.model.write_bytes(Path("other.safetensors").read_bytes())
    assert said in refused(cli, 4, "reconstruct", "scan.ply", "-o", "mesh.ply").lines[-2]
    assert cli("reconstruct", "scan.ply", "-o", "mesh.ply", "--model", "bundled", "--dry-run").code == 0


@pytest.mark.parametrize(
    "data", [b"", b"\x00" * 100, checkpoint(), pickle.dumps({"weight": [0.0]}), b"\xff" * 8 + b"{}", (2**40).to_bytes(8, "little") + b"{}"]
)
def test_what_is_no_model_exits_4(cli: Cli, data: bytes) -> None:
    lpdif.write_scan("scan.ply", lpdif.Scan(*ball()))
    Path("model.pt").write_bytes(data)
    ran = refused(cli, 4, "reconstruct", "scan.ply", "-o", "mesh.ply", "--model", "model.pt")
    assert ran.lines[-2].startswith("error: model.pt: not a readable safetensors file")
    assert "lpdif fit" in ran.lines[-1]


@pytest.mark.parametrize("words", [["fit", "--resume"], ["cluster"]])
def test_a_snapshot_of_another_kind_exits_4(cli: Cli, words: list[str]) -> None:
    write_samples()
    PLACE.snapshot.write_bytes(PLACE.model.read_bytes())
    assert f"expected {SNAPSHOT}, found {MODEL}" in refused(cli, 4, *words).lines[-2]
    PLACE.snapshot.write_bytes(PLACE.model.read_bytes()[:1000])
    assert "not a readable safetensors file" in refused(cli, 4, *words).lines[-2]


# --- disk and memory


def write_samples() -> None:
    Path("lpdif.toml").write_text(FIT)
    PLACE.samples.mkdir(parents=True, exist_ok=True)
    data = training_regions(160)
    save_tensors(PLACE.samples / "shard.safetensors", SAMPLES, {**data._asdict(), "sizes": torch.full((160,), 0.1)}, {"regions": 160})
    PLACE.manifest.write_text(json.dumps({"kept": [{"shard": "shard.safetensors", "source": "a.ply", "regions": 160}], "left_out": []}))


def full(*_: object) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


MEMORY = {
    "python": MemoryError("Unable to allocate 3.5 GiB for an array"),
    "torch": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 80 bytes"
    ),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
}


@pytest.mark.parametrize("words", [["reconstruct", "scan.ply", "-o", "out.ply", "--overwrite"], ["demo", "-o", "out.ply", "--overwrite"]])
def test_a_full_disk_leaves_the_old_output(cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    lpdif.write_scan("scan.ply", lpdif.Scan(*ball()))
    Path("out.ply").write_bytes(OLD)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        ran = refused(cli, 5, *words)
    assert ran.lines[-2].startswith("error: out.ply: disk full: 0.")
    assert " MB are needed, " in ran.lines[-2]
    assert ran.lines[-2].endswith(" MB are free in .")


def test_a_disk_that_fills_up_in_a_batch_ends_it_and_the_next_run_goes_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        Path("scans").mkdir(exist_ok=True)
        lpdif.write_scan(f"scans/{name}.ply", lpdif.Scan(*ball()))
    real = os.fsync
    count = iter(range(100))

    def fills_up(handle: int) -> None:
        if next(count) >= 6:  # two files and their folder: the record of the meshes and the first mesh, then the record of both
            full()
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fills_up)
        ran = cli("reconstruct", "scans", "-o", "out")
    assert ran.code == 5
    assert "out/b.ply: disk full: " in ran.lines[-2]
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.ply", "made.json"]
    ran = cli("reconstruct", "scans", "-o", "out")
    assert ran.code == 0
    assert "1 of 3 scans done already and kept; --overwrite does it all again" in ran.lines


def test_a_disk_full_at_the_model_keeps_the_snapshot_and_the_old_model(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write_samples()
    old = PLACE.model.read_bytes()
    real = save_model

    def no_room(path: Path, model: Model) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            real(path, model)

    with monkeypatch.context() as patch:
        patch.setattr("lpdif.stages.fit.save_model", no_room)
        ran = cli("fit", "--overwrite")
    assert ran.code == 5
    assert re.fullmatch(FULL.format(PLACE.model, PLACE.root), ran.lines[-2])
    assert ran.lines[-1] == "  hint: free some space, or choose another disk"
    assert PLACE.model.read_bytes() == old
    assert cli("fit", "--resume").code == 0
    assert PLACE.model.read_bytes() != old


@pytest.mark.parametrize("kind", MEMORY)
def test_out_of_memory_in_reconstruct_leaves_the_old_mesh(cli: Cli, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    lpdif.write_scan("scan.ply", lpdif.Scan(*ball()))
    Path("mesh.ply").write_bytes(OLD)

    def fail(*_: object, **__: object) -> NoReturn:
        raise MEMORY[kind]

    monkeypatch.setattr("lpdif.core.encode.encode_block", fail)  # within a pool of threads
    ran = refused(cli, 5, "reconstruct", "scan.ply", "-o", "mesh.ply", "--overwrite")
    assert ran.lines[-2].startswith(f"error: out of memory: {MEMORY[kind]}")
    assert ran.lines[-2].endswith(" MiB in use at most)") == (kind != "cuda")
    assert ran.lines[-1].startswith("  hint: close other programs")
    assert "a larger --resolution or --region-size; " in ran.lines[-1]
    assert ("--max-memory" in ran.lines[-1]) == (kind != "cuda")
    assert "--device cpu" in ran.lines[-1]


def test_out_of_memory_in_fit_leaves_a_snapshot_to_go_on_from(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write_samples()
    assert cli("fit", "--overwrite").code == 0
    straight = PLACE.model.read_bytes()
    real = Optimizer.learn

    def learn(self: Optimizer, *arguments: Any) -> float:
        if self.step == 4:
            raise MEMORY["cuda"]
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Optimizer, "learn", learn)
        PLACE.model.write_bytes(OLD)
        ran = cli("fit", "--overwrite")
    assert (ran.code, ran.lines[-2][:22]) == (5, "error: out of memory: ")
    assert ran.lines[-1].endswith("or start anew with a smaller batch: under [fit] in lpdif.toml, or LPDIF_FIT_BATCH")
    assert PLACE.model.read_bytes() == OLD
    assert int(load_tensors(PLACE.snapshot, SNAPSHOT)[0]["step"]) == 4
    assert cli("fit", "--resume").code == 0
    assert PLACE.model.read_bytes() == straight
