"""`lpdif preprocess` from end to end on small folders of shapes made by code: true distances, nothing done twice, nothing lost."""

from __future__ import annotations

import dataclasses
import gzip
import json
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from conftest import Cli, stand_ins
from numpy.typing import NDArray
from scipy.optimize import least_squares
from shapes import as_mesh, sphere_points
from short_fits import run_jobs_here
from torch import Tensor

import lpdif
from lpdif.config import PreprocessConfig
from lpdif.stages import preprocess as stage
from lpdif.stages.region_samples import REGION_SAMPLING
from lpdif.storage.atomic_write import atomic_write
from lpdif.storage.models import load_tensors
from lpdif.storage.shards import SAMPLE_KEYS, load_samples
from lpdif.storage.tensor_files import SAMPLES
from lpdif.storage.workspace import Workspace

FloatArray = NDArray[np.float64]

SETTINGS = {"regions_per_shape": 60, "points": 48, "samples": 32, "finest": 0.0625}
SAMPLING = PreprocessConfig(**SETTINGS)  # type: ignore[arg-type]
PLACE = Workspace("lpdif-workspace")
RADIUS, CENTER = 3.7, np.array([10.0, -5.0, 2.0])


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "run_jobs", run_jobs_here)


@pytest.fixture(autouse=True)
def settings(tmp_path: Path) -> None:
    (tmp_path / "lpdif.toml").write_text("[preprocess]\n" + "".join(f"{name} = {value}\n" for name, value in SETTINGS.items()))


def ball(subdivisions: int = 3) -> trimesh.Trimesh:
    return trimesh.creation.icosphere(subdivisions, RADIUS)


def write(path: str, shape: trimesh.Trimesh, shift: FloatArray = CENTER) -> Path:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    mesh = as_mesh(shape)
    lpdif.write_mesh(path, dataclasses.replace(mesh, vertices=mesh.vertices + shift))
    return Path(path)


def box(*sides: float) -> trimesh.Trimesh:
    return trimesh.creation.box(sides)


def shards(place: Workspace = PLACE) -> dict[str, Path]:
    """The shard of each source."""
    return {row["source"]: place.samples / row["shard"] for row in manifest(place)["kept"]}


def manifest(place: Workspace = PLACE) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(place.manifest.read_text())
    return document


def regions_of(shard: Path) -> list[dict[str, FloatArray]]:
    tensors, card = load_tensors(shard, SAMPLES)
    assert set(tensors) == set(SAMPLE_KEYS)
    assert {len(tensor) for tensor in tensors.values()} == {card["regions"]}
    count: Tensor = tensors["counts"]
    return [
        {
            name: tensor[r, : int(count[r])].double().numpy() if name in {"points", "normals"} else tensor[r].double().numpy()
            for name, tensor in tensors.items()
        }
        for r in range(card["regions"])
    ]


def middle_of_ball(region: dict[str, FloatArray], radius: float) -> FloatArray:
    """Where the ball's centre lies, seen from the region's, so that the stored distances are best those of a ball."""
    q, sdf = region["queries"], region["sdf"]
    linear = np.linalg.lstsq(np.column_stack([-2 * q, np.ones(len(q))]), (sdf + radius) ** 2 - (q * q).sum(1), rcond=None)[0][:3]
    return np.asarray(least_squares(lambda c: np.linalg.norm(q - c, axis=1) - radius - sdf, linear, xtol=1e-12).x)


# --- what is stored is true


def test_distances_to_a_closed_ball_are_those_of_the_formula(cli: Cli, here: None) -> None:
    """|x| - r in region units to a thousandth, negative inside, whatever the ball's own unit and place."""
    write("scans/ball.ply", ball(6))
    assert cli("preprocess", "scans").code == 0
    assert manifest()["kept"][0]["kind"] == "closed"
    regions = regions_of(shards()["ball.ply"])
    assert len(regions) == 60
    for region in regions:
        radius = 0.5 / float(region["sizes"])  # the longest side is 1
        middle = middle_of_ball(region, radius)
        off = np.linalg.norm(region["queries"] - middle, axis=1) - radius - region["sdf"]
        assert np.abs(off).max() < 1e-3
        outward = region["points"] - middle
        assert np.abs(np.linalg.norm(outward, axis=1) - radius).max() < 5e-3  # half precision
        assert ((outward / radius) * region["normals"]).sum(1).min() > 0.99
        assert len(region["points"]) >= REGION_SAMPLING.fewest_points
        assert np.linalg.norm(region["points"], axis=1).max() <= REGION_SAMPLING.stored_radius * 1.001
        assert np.abs(region["queries"]).max() <= REGION_SAMPLING.cube + REGION_SAMPLING.along_normal
    sdf = np.concatenate([region["sdf"] for region in regions])
    assert 0.2 < (sdf < 0).mean() < 0.8
    sizes = np.array([float(region["sizes"]) for region in regions])
    assert SAMPLING.finest <= sizes.min() < 0.07
    assert 0.11 < sizes.max() <= SAMPLING.coarsest


def test_an_open_mesh_is_used_as_a_scan(cli: Cli, here: None) -> None:
    """Half a ball: distances are those from it, and nothing closes its rim."""
    whole = ball(5)
    upper = whole.vertices[:, 2][whole.faces].min(1) >= 0
    write("scans/bowl.ply", trimesh.Trimesh(whole.vertices, whole.faces[upper], process=False))
    ran = cli("preprocess", "scans")
    assert ran.code == 0
    assert manifest()["kept"][0]["kind"] == "scan"
    for region in regions_of(shards()["bowl.ply"]):
        radius = 0.5 / float(region["sizes"])
        middle = middle_of_ball(region, radius)
        out = np.linalg.norm(region["queries"] - middle, axis=1)
        assert np.abs(out - radius - region["sdf"]).max() < 0.06
        foot = (region["queries"] - middle)[:, 2] / out * radius
        assert foot.min() > -0.3  # hardly any below it, where a lid would give some


@pytest.mark.parametrize("inside_out", [False, True])
def test_a_solid_is_taken_for_one_only_if_its_faces_look_outward(cli: Cli, here: None, inside_out: bool) -> None:
    shape = ball()
    if inside_out:
        shape.invert()
    write("ball.ply", shape)
    ran = cli("preprocess", "ball.ply")
    assert ran.code == 0
    assert manifest()["kept"][0]["kind"] == ("scan" if inside_out else "closed")
    assert ("ball.ply: closed but inside out; used as a scan" in ran.lines) == inside_out


def test_points_alone_are_a_scan(cli: Cli, here: None) -> None:
    points, normals = sphere_points(4000)
    lpdif.write_scan("ball.ply", lpdif.Scan(points, normals))
    assert cli("preprocess", "ball.ply").code == 0
    assert manifest()["kept"][0]["kind"] == "scan"
    sdf = np.concatenate([region["sdf"] for region in regions_of(shards()["ball.ply"])])
    assert np.median(np.abs(sdf)) < 0.15 < np.abs(sdf).max()
    assert min((sdf < 0).mean(), (sdf > 0).mean()) > 0.4


# --- bad files


def write_bad_files() -> None:
    Path("scans").mkdir(exist_ok=True)
    good = write("good.ply", ball()).read_bytes()
    Path("scans/cut.ply").write_bytes(good[: len(good) // 2])
    Path("scans/empty.obj").write_bytes(b"")
    Path("scans/packed.ply").write_bytes(gzip.compress(good))
    Path("scans/few.xyz").write_text("".join(f"{i} {i * i} 1.5\n" for i in range(10)))
    points, _ = sphere_points(40)
    lpdif.write_scan("scans/thin.ply", lpdif.Scan(points))


def test_bad_files_are_left_out_with_their_reasons_and_the_rest_is_done(cli: Cli, here: None) -> None:
    write_bad_files()
    write("scans/a.ply", ball())
    write("scans/z.obj", box(1, 2, 3))
    ran = cli("preprocess", "scans", "--json")
    assert ran.code == 7
    expected = {
        "scans/cut.ply": "ends after",
        "scans/empty.obj": "is empty (0 bytes), at least 32 points are needed",
        "scans/few.xyz": "10 distinct points, at least 32 are needed",
        "scans/packed.ply": "a gzip archive",
        "scans/thin.ply": "too few points (40) for regions of 0.125 of its size",
    }
    found = {row["scan"]: row["reason"] for row in ran.document["left_out"]}
    assert found.keys() == expected.keys()
    for scan, reason in expected.items():
        assert reason in found[scan]
        name = Path(scan).name
        assert not found[scan].startswith(name)
        assert f"warning: {name} left out: {found[scan]}" in ran.lines
    assert (ran.document["kept"], ran.document["regions"]) == (2, 120)
    assert ran.lines[-2] == "error: 5 of 7 files left out"
    assert sorted(shards()) == ["a.ply", "z.obj"]
    assert manifest()["left_out"] == [[scan, found[scan]] for scan in sorted(found)]
    assert len(load_samples(PLACE)[1]) == 120


def test_one_file_that_is_missing_is_told_once(cli: Cli, here: None) -> None:
    ran = cli("preprocess", "nosuch.ply")
    assert ran.code == 3
    assert ran.lines == ["error: nosuch.ply: no such file", "  hint: check the path and its permissions"]
    assert not PLACE.manifest.exists()


def test_nothing_but_bad_files_is_bad_input(cli: Cli, here: None) -> None:
    write_bad_files()
    ran = cli("preprocess", "scans")
    assert ran.code == 3
    assert ran.lines[-2].startswith("error: none of 5 files gives a region; scans/cut.ply: ends after")
    assert not PLACE.manifest.exists()
    assert list(PLACE.samples.iterdir()) == []
    assert cli("fit").code == 3


# --- nothing is done twice


def reading(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    names: list[str] = []
    real = stage.load_scan

    def load_scan(path: Path) -> lpdif.Scan:
        names.append(path.name)
        return real(path)

    monkeypatch.setattr(stage, "load_scan", load_scan)
    return names


def test_what_is_done_is_not_done_again(cli: Cli, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    write("scans/a.ply", ball())
    write("scans/b.ply", box(1, 2, 3))
    names = reading(monkeypatch)
    assert cli("preprocess", "scans").code == 0
    assert names == ["a.ply", "b.ply"]
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in shards().values()}
    document = manifest()
    names.clear()
    again = cli("preprocess", "scans", "--json")
    assert (again.code, again.document["kept"], again.document["reused"]) == (0, 2, 2)
    assert any("regions of 2 scans, 2 of them from before in " in line for line in again.lines)
    assert names == []
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in shards().values()} == before
    assert manifest() == document

    write("scans/c.ply", box(1, 1, 1))  # one more
    more = cli("preprocess", "scans", "--json")
    assert (more.code, more.document["kept"], more.document["reused"]) == (0, 3, 2)
    assert names == ["c.ply"]
    names.clear()
    Path("scans/b.ply").unlink()
    write("scans/b.ply", box(1, 2, 4))  # another under an old name
    assert cli("preprocess", "scans").code == 0
    assert names == ["b.ply"]
    names.clear()
    shards()["a.ply"].unlink()  # one that went
    damaged = shards()["c.ply"]
    damaged.write_bytes(damaged.read_bytes()[:-100])  # and one that is cut
    ran = cli("preprocess", "scans")
    assert ran.code == 0
    assert names == ["a.ply", "c.ply"]
    assert "c.ply: its shard is damaged and made again" in ran.lines
    assert all(before[path][0] == path.read_bytes() for path in shards().values() if path in before)
    names.clear()
    assert cli("preprocess", "scans", "--seed", "1").code == 0  # other settings, other samples
    assert names == ["a.ply", "b.ply", "c.ply"]


def test_a_stopped_run_is_taken_up_where_it_was(cli: Cli, here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate("abc", 1):
        write(f"scans/{name}.ply", box(1, 2, number))
    names = reading(monkeypatch)
    with monkeypatch.context() as patch:
        real = stage.closed_and_consistent

        def stop_at_b(scan: lpdif.Scan) -> bool:
            if scan.name == "b.ply":
                raise KeyboardInterrupt
            return real(scan)

        patch.setattr(stage, "closed_and_consistent", stop_at_b)
        ran = cli("preprocess", "scans")
    assert ran.code == 130
    assert ran.lines[-2:] == ["error: stopped by SIGINT", "  hint: run the same command again: samples that are done are kept"]
    assert not PLACE.manifest.exists()
    assert [path.name[:2] for path in PLACE.samples.iterdir()] == ["a-"]
    names.clear()
    assert cli("preprocess", "scans").code == 0
    assert names == ["b.ply", "c.ply"]
    assert sorted(shards()) == ["a.ply", "b.ply", "c.ply"]


# --- repeatable


def test_same_seed_same_bytes_whatever_else_is_in_the_folder(cli: Cli, here: None) -> None:
    """The samples of a file depend on the file, its name, the settings and the seed; not on the others nor on the day."""
    write("scans/a.ply", ball())
    write("scans/b.ply", box(1, 2, 3))
    for words in (["scans", "--workspace", "one"], ["scans/b.ply", "--workspace", "two"], ["scans", "--workspace", "three", "--seed", "1"]):
        assert cli("preprocess", *words).code == 0
    one, two, three = (shards(Workspace(name)) for name in ("one", "two", "three"))
    assert one["b.ply"].name == two["b.ply"].name
    assert one["b.ply"].read_bytes() == two["b.ply"].read_bytes()
    assert one["b.ply"].name != three["b.ply"].name
    tensors = [load_tensors(found["b.ply"], SAMPLES)[0]["queries"] for found in (one, three)]
    assert not torch.equal(*tensors)


def test_samples_do_not_depend_on_what_is_installed(cli: Cli, here: None) -> None:
    write("scans/a.ply", ball())
    write("scans/b.ply", box(1, 2, 3))
    assert cli("preprocess", "scans", "--workspace", "one").code == 0
    with stand_ins():
        assert cli("preprocess", "scans", "--workspace", "two").code == 0
    one, two = (shards(Workspace(name)) for name in ("one", "two"))
    assert {row["kind"] for row in manifest(Workspace("one"))["kept"]} == {"closed"}
    assert [path.read_bytes() for path in one.values()] == [path.read_bytes() for path in two.values()]


def test_processes_at_work_give_the_same_bytes_and_are_gone_afterwards(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    write("scans/a.ply", ball())
    with monkeypatch.context() as patch:
        patch.setattr(stage, "run_jobs", run_jobs_here)
        assert cli("preprocess", "scans", "--workspace", "one").code == 0
    calls: list[tuple[str, int, int]] = []
    report = lpdif.preprocess([Path("scans")], Path("two"), SAMPLING, threads=1, progress=lambda *c: calls.append(c))
    assert (report.kept, report.regions, report.left_out) == (1, 60, [])
    assert calls == [("preprocess", 1, 1)]
    one, two = shards(Workspace("one"))["a.ply"], shards(Workspace("two"))["a.ply"]
    assert one.read_bytes() == two.read_bytes()
    assert manifest(Workspace("one")) == manifest(Workspace("two"))
    assert multiprocessing.active_children() == []


def killed(file: Path, folder: Path, _config: PreprocessConfig) -> None:
    """What happens to a worker when memory runs out, amid writing."""
    with atomic_write(folder / file.name):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no such signal there")
def test_a_worker_that_is_killed_is_a_lack_of_memory(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "preprocess_file", killed)
    ran = cli("preprocess", write("scans/a.ply", ball()), write("scans/b.ply", ball(2)), "--threads", 2)
    assert (ran.code, ran.lines[-1]) == (5, "  hint: close other programs, or have fewer at work: --threads 1; samples that are done are kept")
    assert ran.lines[-2].startswith("error: one of 2 processes at work ended before its file was done")
    assert list(PLACE.samples.iterdir()) == []


def mistaken(*_: object) -> None:
    """A bug."""
    raise ZeroDivisionError("seven")


@pytest.mark.slow
def test_a_bug_in_a_worker_is_told_with_its_place(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "preprocess_file", mistaken)
    ran = cli("preprocess", write("scans/a.ply", ball()), write("scans/b.ply", ball(2)), "--threads", 2, "-v")
    assert (ran.code, ran.lines[-2]) == (1, "error: internal: ZeroDivisionError: seven")
    assert "in a worker process:" in ran.err
    assert "in mistaken" in ran.err
    assert multiprocessing.active_children() == []


# --- the manifest


@pytest.mark.parametrize("damaged", ["{", "[]", '{"kept": [1]}', "\x00"])
def test_a_damaged_manifest_is_made_anew_aloud(cli: Cli, here: None, damaged: str) -> None:
    write("scans/a.ply", box(1, 2, 3))
    PLACE.samples.mkdir(parents=True)
    PLACE.manifest.write_text(damaged)
    ran = cli("inspect", "lpdif-workspace")
    said = f"{PLACE.manifest}: not a list of samples ("
    assert (ran.code, ran.lines[1]) == (3, "  hint: run `lpdif preprocess` again")
    assert ran.lines[0].startswith(f"error: {said}")
    ran = cli("preprocess", "scans")
    assert ran.code == 0
    assert ran.lines[0].startswith(f"warning: {said}")
    assert ran.lines[0].endswith("; it is made anew, of these scans alone")
    assert cli("inspect", "lpdif-workspace", "--json").document["scans"] == 1


def test_the_manifest_says_what_there_is(cli: Cli, here: None) -> None:
    write("scans/a.ply", ball())
    write("scans/deep/b.obj", box(1, 2, 3))
    points, normals = sphere_points(4000)
    lpdif.write_scan("scans/c.ply", lpdif.Scan(points, normals))
    assert cli("preprocess", "scans", "--seed", "7").code == 0
    about = manifest()
    assert set(about) == {"kept", "left_out", "settings"}
    assert about["settings"] == dataclasses.asdict(dataclasses.replace(SAMPLING, seed=7))
    assert about["left_out"] == []
    assert [(row["source"], row["kind"]) for row in about["kept"]] == [("a.ply", "closed"), ("b.obj", "closed"), ("c.ply", "scan")]
    assert [row["shard"] for row in about["kept"]] == sorted(row["shard"] for row in about["kept"])
    for row in about["kept"]:
        card = load_tensors(PLACE.samples / row["shard"], SAMPLES)[1]
        assert card == {"source": row["source"], "regions": row["regions"], "kind": row["kind"], "settings": about["settings"]}
        assert row["shard"].startswith(Path(row["source"]).stem + "-")
    assert {path.name for path in PLACE.samples.iterdir()} == {"manifest.json", *(row["shard"] for row in about["kept"])}
    data, sizes = load_samples(PLACE)
    assert len(sizes) == len(data.counts) == sum(row["regions"] for row in about["kept"])
    document = cli("inspect", "lpdif-workspace", "--json").document
    assert (document["scans"], document["regions"], document["left out"]) == (3, len(sizes), 0)


def test_a_changed_file_leaves_no_samples_of_the_old_one_in_use(cli: Cli, here: None) -> None:
    write("scans/a.ply", box(1, 2, 3))
    assert cli("preprocess", "scans").code == 0
    old = shards()["a.ply"]
    Path("scans/a.ply").unlink()
    write("scans/a.ply", ball())
    assert cli("preprocess", "scans").code == 0
    assert shards()["a.ply"] != old
    assert PLACE.shards() == [shards()["a.ply"]]
