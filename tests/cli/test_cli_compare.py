"""`lpdif compare`: what it prints, what it refuses, and what it does with inputs that fail."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import trimesh
from cli_fakes import write_points
from conftest import Cli
from reconstructions import ball
from shapes import as_mesh, tiny_model

import lpdif
from lpdif.storage.models import save_model


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A workspace with a tiny model, two true meshes and a scan."""
    (tmp_path / "ws").mkdir()
    save_model(tmp_path / "ws" / "model.safetensors", tiny_model())
    (tmp_path / "shapes").mkdir()
    lpdif.write_mesh(tmp_path / "shapes" / "ring.ply", as_mesh(trimesh.creation.torus(1.0, 0.4)))
    lpdif.write_mesh(tmp_path / "shapes" / "ball.obj", as_mesh(trimesh.creation.icosphere(3)))
    lpdif.write_scan(tmp_path / "scan.ply", ball(2000))
    return tmp_path


def test_meshes_and_scans_are_measured_and_averaged(cli: Cli, place: Path) -> None:
    words = ("compare", "default", "ws", "--on", "shapes", "--on", "scan.ply", "--points", "2000", "--json", "--threads", "1")
    ran = cli(*words)
    assert ran.code == 0
    found = ran.document
    assert found["models"]["ws"] == "ws/model.safetensors"
    assert found["settings"] == {"points": 2000, "noise": 0.0, "held_out": 0.1, "seed": 0}
    kinds = [(row["input"], row["measured_as"], row["model"]) for row in found["rows"]]
    assert kinds == [
        (name, kind, model)
        for name, kind in (("shapes/ball.obj", "mesh"), ("shapes/ring.ply", "mesh"), ("scan.ply", "scan"))
        for model in ("default", "ws")
    ]
    errors = {(row["input"], row["model"]): row["figures"]["error"] for row in found["rows"]}
    assert all(0 < error < 10 for error in errors.values())
    means = {(row["measured_as"], row["model"]): row for row in found["summary"]}
    assert means["mesh", "ws"]["error"] == pytest.approx((errors["shapes/ball.obj", "ws"] + errors["shapes/ring.ply", "ws"]) / 2)
    ratio = math.prod(errors[name, "ws"] / errors[name, "default"] for name in ("shapes/ball.obj", "shapes/ring.ply")) ** 0.5
    assert means["mesh", "ws"]["ratio"] == pytest.approx(ratio)
    assert means["mesh", "default"]["ratio"] == 1
    assert means["scan", "ws"]["inputs"] == 1
    assert [row["figures"] for row in cli(*words).document["rows"]] == [row["figures"] for row in found["rows"]]


def test_the_table_tells_the_same(cli: Cli, place: Path) -> None:
    words = ("compare", "ws", "default", "--on", "scan.ply", "--threads", "1")
    ran = cli(*words)
    lines = ran.out.splitlines()
    assert lines[0].split() == ["scan", "model", "error", "ratio", "p95", "within", "1", "faces", "time"]
    document = cli(*words, "--json").document
    for line, row in zip(lines[1:3], document["rows"], strict=True):
        figures = row["figures"]
        assert line.split()[:3] == ["scan.ply", row["model"], f"{figures['error']:.4f}"]
        assert line.split()[3] == f"{figures['error'] / document['rows'][0]['figures']['error']:.3f}"
    assert lines[3].split()[:3] == ["mean", "of", "1"]
    assert max(map(len, lines)) <= 80
    assert sum(line.startswith("model: ") for line in ran.lines) == 2


def test_what_fails_among_others_is_told_and_left_out_of_the_means(cli: Cli, place: Path) -> None:
    (place / "shapes" / "bad.ply").write_text("ply\n")
    ran = cli("compare", "ws", "default", "--on", "shapes", "--points", "500", "--threads", "1", "--json")
    assert ran.code == 7
    assert ran.lines[-2] == "error: 1 of 3 inputs failed"
    assert sum(line.startswith("warning: shapes/bad.ply failed: bad.ply: ") for line in ran.lines) == 1
    assert [row["error"]["exit_code"] for row in ran.document["rows"] if "error" in row] == [3, 3]
    assert {row["inputs"] for row in ran.document["summary"]} == {2}


def test_an_input_alone_ends_with_its_own_error(cli: Cli, place: Path) -> None:
    Path("bad.ply").write_text("ply\n")
    assert cli("compare", "ws", "default", "--on", "bad.ply").code == 3


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("ws",), 2, "1 model to compare, at least two are needed"),
        ((), 2, "0 models to compare, at least two are needed"),
        (("ws", "ws"), 2, "the same model is named twice"),
        (("ws", "scan.ply"), 4, "scan.ply: its name stands for PLY, not for a model"),
        (("ws", "none.safetensors"), 4, "none.safetensors: no such file"),
        (("ws", "shapes"), 4, "shapes/model.safetensors: no model in this workspace"),
    ],
)
def test_models_are_checked_before_any_work(cli: Cli, place: Path, words: tuple[str, ...], code: int, message: str) -> None:
    ran = cli("compare", *words, "--on", "scan.ply")
    assert (ran.code, ran.out) == (code, "")
    assert ran.lines[-2].startswith(f"error: {message}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--points", "0"), "--points: '0' is out of range"),
        (("--points", "many"), "--points: 'many' is not a whole number"),
        (("--noise", "-1"), "--noise: -1 is out of range"),
        (("--held-out", "1"), "--held-out: 1 is out of range"),
    ],
)
def test_values_that_make_no_sense(cli: Cli, place: Path, words: tuple[str, ...], message: str) -> None:
    ran = cli("compare", "ws", "default", "--on", "scan.ply", *words)
    assert ran.code == 2
    assert ran.lines[0].replace("'", "").startswith("error: " + message.replace("'", ""))


def test_nothing_to_compare_on(cli: Cli, place: Path) -> None:
    ran = cli("compare", "ws", "default")
    assert (ran.code, ran.lines) == (2, ["error: nothing to compare them on", "  hint: name meshes or scans: --on FOLDER"])
    write_points(Path("few.xyz"), 20)
    assert cli("compare", "ws", "default", "--on", "few.xyz").code == 3
    assert cli("compare", "ws", "default", "--on", "none.ply").code == 3
