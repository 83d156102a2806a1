"""`lpdif view` on the command line."""

from __future__ import annotations

import json
import sys
import webbrowser
from pathlib import Path

import numpy as np
import pytest
import trimesh
from cli_fakes import write_points
from conftest import Cli, process_environment
from naive_page import read_page

import lpdif
from lpdif.config import OutputConfig
from lpdif.types import Mesh
from lpdif.view import drawing
from lpdif_cli.records import RECORD_NAME, Record, recipe
from lpdif_cli.shards import Shard


def write_ball(path: Path, radius: float = 1.0) -> Mesh:
    """A sphere with a pattern for every face and a confidence for every vertex."""
    ball = trimesh.creation.icosphere(2, radius)
    vertices, faces = np.asarray(ball.vertices, np.float64), np.asarray(ball.faces, np.int64)
    values, patterns = np.linspace(0, 1, len(vertices)).astype(np.float32), np.arange(len(faces), dtype=np.int32) % 3
    mesh = Mesh(vertices, faces, None, np.full((len(vertices), 3), 200, np.uint8), {"confidence": values}, {"pattern": patterns})
    lpdif.write_mesh(path, mesh)
    return mesh


def write_scan(path: Path) -> None:
    """Fifty points on the sphere."""
    points = np.random.default_rng(0).normal(size=(50, 3))
    lpdif.write_scan(path, lpdif.Scan(points / np.linalg.norm(points, axis=1, keepdims=True)))


def test_a_page_of_a_mesh_and_its_scan(cli: Cli) -> None:
    write_ball(Path("mesh.ply"))
    write_scan(Path("scan.ply"))
    ran = cli("view", "mesh.ply", "scan.ply", "-o", "page.html")
    assert (ran.code, ran.out) == (0, "page.html\n")
    assert ran.lines[0].startswith("wrote page.html: 320 faces and 50 points, ")
    assert ran.lines[1:] == ["open page.html in a browser; it needs no network"]
    page = read_page(Path("page.html").read_text(encoding="utf-8"))
    assert (page.about["name"], page.about["scan"], page.about["up"]) == ("mesh.ply", "scan.ply", "z")
    assert set(page.parts) == {"positions", "faces", "colors", "confidence", "pattern", "distance", "points", "point_distance"}
    assert page.about["made_with"] == []


def test_without_a_scan_and_without_a_name_for_the_page(cli: Cli) -> None:
    write_ball(Path("mesh.ply"))
    ran = cli("view", "mesh.ply")
    assert (ran.code, ran.out) == (0, "mesh.html\n")
    assert ran.lines[0] == "no -o given: the page goes to mesh.html"
    assert ran.lines[1].startswith("wrote mesh.html: 320 faces, ")
    assert cli("view", "mesh.ply", "--overwrite", "-q").err == ""


def test_json_has_the_facts(cli: Cli) -> None:
    write_ball(Path("mesh.ply"))
    write_scan(Path("scan.ply"))
    document = cli("view", "mesh.ply", "scan.ply", "--json").document
    assert document["command"] == "view"
    assert (document["mesh"], document["scan"], document["output"]) == ("mesh.ply", "scan.ply", "mesh.html")
    assert (document["drawn_faces"], document["drawn_points"], document["notes"]) == (320, 50, [])
    assert document["bytes"] == Path("mesh.html").stat().st_size
    assert document["facts"]["closed"] is True
    assert document["facts"]["faces"] == 320
    assert cli("view", "mesh.ply", "-o", "other.html", "--json").document["scan"] is None


def test_a_glb_has_y_up(cli: Cli) -> None:
    write_ball(Path("mesh.glb"))
    assert cli("view", "mesh.glb").code == 0
    assert read_page(Path("mesh.html").read_text(encoding="utf-8")).about["up"] == "y"


def test_a_thinned_mesh_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "DRAWING", drawing.DRAWING._replace(most_faces=100))
    write_ball(Path("mesh.ply"))
    ran = cli("view", "mesh.ply", "-o", "page.html")
    assert ran.lines[0] == "mesh.ply: drawn with 100 of its 320 faces; facts and distances are of all"
    assert ran.lines[1].startswith("wrote page.html: 100 faces, ")
    assert read_page(Path("page.html").read_text(encoding="utf-8")).about["notes"] == [[ran.lines[0], False]]


def test_a_scan_far_away_is_a_warning(cli: Cli) -> None:
    write_ball(Path("mesh.ply"), 1000.0)
    write_points(Path("scan.ply"))
    ran = cli("view", "mesh.ply", "scan.ply", "-q")
    assert ran.code == 0
    assert ran.err.startswith("warning: scan.ply: lies far from the mesh: half of it is more than ")
    assert len(ran.lines) == 1


@pytest.mark.parametrize(
    ("words", "code", "said", "hint"),
    [
        (("nosuch.ply",), 3, "nosuch.ply: no such file", "check the path"),
        (("scan.ply",), 3, "scan.ply: points without faces", "make a mesh of them first: lpdif reconstruct scan.ply"),
        (("scan.ply", "mesh.ply"), 3, "scan.ply: points without faces", "the mesh comes first: lpdif view mesh.ply scan.ply"),
        (("mesh.ply", "nosuch.ply"), 3, "nosuch.ply: no such file", "check the path"),
        (("mesh.ply", "empty.ply"), 3, "empty.ply: is empty (0 bytes), at least 32 points are needed", "choose another file"),
        (("mesh.ply", "-o", "there.html"), 2, "there.html: exists already", "pass --overwrite to replace it"),
        (("mesh.ply", "-o", "page.pdf"), 2, "page.pdf: pages are written as HTML only", "let the name end in .html"),
        (("mesh.ply", "-o", "-"), 2, "-: pages are written as HTML only", "let the name end in .html"),
        (("mesh.ply", "-o", "no/page.html"), 2, "no/page.html: there is no folder no", "mkdir -p no"),
    ],
    ids=["no mesh", "points only", "turned round", "no scan", "empty scan", "exists", "ending", "stdout", "folder"],
)
def test_bad_input_is_one_error(cli: Cli, words: tuple[str, ...], code: int, said: str, hint: str) -> None:
    write_ball(Path("mesh.ply"))
    write_points(Path("scan.ply"))
    Path("empty.ply").write_bytes(b"")
    Path("there.html").write_text("mine")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    ran = cli("view", *words, "-q")
    assert (ran.code, ran.out) == (code, "")
    assert ran.lines[0].startswith(f"error: {said}")
    assert ran.lines[1].startswith("  hint: ")
    assert len(ran.lines) == 2
    if "empty" not in said:
        assert ran.lines[1] == f"  hint: {hint}"
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


def test_a_dry_run_writes_nothing(cli: Cli) -> None:
    write_ball(Path("mesh.ply"))
    ran = cli("view", "mesh.ply", "-o", "page.html", "--dry-run")
    assert (ran.code, ran.out, ran.lines) == (0, "page.html\n", ["would write page.html; nothing was done"])
    assert not Path("page.html").exists()
    assert cli("view", "nosuch.ply", "--dry-run").code == 3


def test_open_shows_the_page(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: not opened.append(url))
    write_ball(Path("mesh.ply"))
    ran = cli("view", "mesh.ply", "-o", "a page.html", "--open")
    assert opened == [Path("a page.html").resolve().as_uri()]
    assert len(ran.lines) == 1
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    ran = cli("view", "mesh.ply", "-o", "a page.html", "--open", "--overwrite")
    assert ran.code == 0
    assert ran.lines[-1] == "warning: no browser was found; open a page.html yourself"


def test_what_the_record_of_the_folder_says_is_on_the_page(cli: Cli) -> None:
    from lpdif.storage.workspace import BUNDLED_MODEL

    def made_with() -> list[list[str]]:
        assert cli("view", "meshes/ball.ply", "-o", "page.html", "--overwrite").code == 0
        found: list[list[str]] = read_page(Path("page.html").read_text(encoding="utf-8")).about["made_with"]
        return found

    Path("meshes").mkdir()
    mesh = write_ball(Path("meshes/ball.ply"))
    data = lpdif.encode_mesh(mesh, "ply")
    record = Record(Path("meshes"))
    scan: dict[str, object] = {"content": "0" * 32}
    record.add(Path("meshes/ball.ply"), scan, recipe(lpdif.ReconstructConfig(), OutputConfig(), BUNDLED_MODEL), data, {})
    assert made_with() == [["model", "the one that ships with lpdif"], ["settings", "all automatic"]]
    Path("model").write_bytes(b"another")
    chosen = recipe(lpdif.ReconstructConfig(watertight=True, faces=2000, max_distance=0.5), OutputConfig(units="mm"), Path("model"))
    record.add(Path("meshes/ball.ply"), scan, chosen, data, {})
    first, *settings = made_with()
    assert first[1].startswith("another (")
    assert sorted(settings) == [["faces", "2000"], ["max distance", "0.5"], ["units", '"mm"'], ["watertight", "true"]]
    record.add(Path("meshes/ball.ply"), scan, chosen, b"another mesh", {})
    assert made_with() == []
    Record(Path("meshes"), Shard(3, 8)).add(Path("meshes/ball.ply"), scan, chosen, data, {})  # by a shard of a batch
    assert sorted(made_with()[1:]) == sorted(settings)
    (Path("meshes") / "made-3-of-8.json").unlink()
    (Path("meshes") / RECORD_NAME).write_text(json.dumps({"meshes": {"ball.ply": {"mesh": 7}}}))
    assert made_with() == []
    (Path("meshes") / RECORD_NAME).write_text("{")
    assert made_with() == []


def test_it_loads_no_torch(tmp_path: Path) -> None:
    import subprocess

    write_ball(tmp_path / "mesh.ply")
    code = "import lpdif_cli.main as m; m.run(['view', 'mesh.ply', '-q']); import sys; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], env=process_environment(), capture_output=True, text=True, check=True, cwd=tmp_path)
    assert ran.stdout.split() == ["mesh.html", "False"]
