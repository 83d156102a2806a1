"""--report: where the page goes, what it replaces, when it is refused, and that it tells what the run tells."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from pathlib import Path

import pytest
from cli_fakes import Library, write_points
from conftest import Cli
from pages import Page
from reconstructions import ball
from short_fits import SHORT, stop_at

import lpdif
from lpdif.errors import InputError
from lpdif.report.page import MARK
from lpdif.stages.fit import FitReport
from lpdif.tools.rendering import UPRIGHT
from lpdif_cli.options import UPS, up_axis
from lpdif_cli.reports import ReportFile

BATCH = ("reconstruct", "scans", "-o", "out", "--report", "page.html")
PAGE = Path("page.html")


def page() -> Page:
    found = Page(PAGE.read_bytes())
    found.check_stands_alone()
    return found


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    library.install(monkeypatch)
    return library


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.ply", "<script>b<.ply", "deep/c.ply"):
        write_points(tmp_path / "scans" / name)
    return tmp_path / "scans"


# --- one scan


def test_a_reconstruction_and_its_report(cli: Cli) -> None:
    lpdif.write_scan("<script>.ply", ball())
    ran = cli("reconstruct", "<script>.ply", "-o", "mesh.ply", "--report", "page.html", "--seed", "3", "--json", "-q", "--threads", "1")
    assert (ran.code, ran.err) == (0, "")
    assert ran.document["report"] == "page.html"
    found, facts = page(), ran.document["facts"]
    for name, fact in (("points used", "points"), ("regions", "regions"), ("vertices", "vertices")):
        assert found.rows[name] == [f"{facts[fact]:,}"]
    assert found.rows["region size"] == [f"{facts['region_size']:.4g}"]
    assert "normals: given, consistent; kept" in found.text  # though -q shows nothing
    assert "lpdif reconstruct '<script>.ply' -o mesh.ply --report page.html --seed 3 --json -q --threads 1" in found.text
    assert found.rows["seed"] == ["3", "--seed"]
    assert found.rows["threads"] == ["1", "--threads"]
    assert found.rows["resolution"] == ["auto", "default"]
    assert found.rows["model"] == ["bundled", "this run"]
    assert found.rows["lpdif"] == [lpdif.__version__]
    parts = ["reading the scan", "loading the model", "zero surface", "writing the mesh"]
    assert [name for name in found.rows if name in parts] == parts  # in their order


def test_a_mesh_on_stdout_has_a_report_too(cli: Cli) -> None:
    lpdif.write_scan("scan.ply", ball())
    ran = cli("reconstruct", "scan.ply", "-o", "-", "--report", "page.html")
    assert ran.code == 0
    assert ran.raw.startswith(b"ply")
    assert "Mesh: standard output" in page().text


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("page.htm", "--report page.htm: a report is a page of HTML", "let the name end in .html"),
        ("-", "--report -: a report is a page of HTML", "let the name end in .html"),
        ("scan.ply", "--report scan.ply: a report is a page of HTML", "let the name end in .html"),
        ("none/page.html", "none/page.html: there is no folder none", "mkdir -p none"),
        ("there.html", "there.html: exists already", "pass --overwrite to replace it"),
        ("folder.html", "folder.html: is a folder", "name a file in it"),
    ],
)
@pytest.mark.parametrize("scan", ["scan.ply", "folder"])
def test_a_report_that_cannot_be_written_is_told_before_the_work(
    cli: Cli, library: Library, scan: str, name: str, message: str, hint: str
) -> None:
    write_points(Path("scan.ply"))
    write_points(Path("folder/scan.ply"))
    Path("there.html").write_text("mine")
    Path("folder.html").mkdir()
    ran = cli("reconstruct", scan, "-o", "out" if scan == "folder" else "mesh.ply", "--report", name)
    assert ran.code == 2
    assert ran.lines[-2:] == [f"error: {message}", f"  hint: {hint}"]
    assert library.calls == []
    assert not Path("out").exists()
    assert not Path("mesh.ply").exists()
    assert Path("there.html").read_text() == "mine"


def test_overwrite_replaces_and_a_dry_run_writes_nothing(cli: Cli) -> None:
    lpdif.write_scan("scan.ply", ball())
    words = ("reconstruct", "scan.ply", "-o", "mesh.ply", "--report", "page.html")
    assert cli(*words, "--dry-run").code == 0
    assert not PAGE.exists()
    assert cli(*words).code == 0
    Path("mesh.ply").unlink()
    assert cli(*words).lines[-2] == "error: page.html: exists already"  # even where lpdif wrote it
    PAGE.write_text("mine")
    assert cli(*words, "--overwrite").code == 0
    assert PAGE.read_text().startswith(MARK)


# --- a batch


def rows(found: Page) -> dict[str, list[str]]:
    """The rows of the scans, by the name of the scan: state, points, faces, loops, noise, time, words."""
    return {cells[1].partition(".ply")[0]: cells[2:] for cells in found.cells if len(cells) == 9 and ".ply" in cells[1]}


def test_a_batch_with_a_failure(cli: Cli, library: Library, folder: Path) -> None:
    library.trouble = {"c.ply": InputError("c.ply: no surface <b>found</b>", "give a denser scan")}
    library.made.facts |= {"points": 50, "noise": 0.01, "spacing": 0.04, "open_loops": 2}
    (folder / "notes.md").write_text("notes")
    ran = cli(*BATCH, "--json")
    assert ran.code == 7
    assert ran.document["report"] == "page.html"
    found = page()
    assert list(rows(found)) == ["scans/<script>b<", "scans/a", "scans/deep/c"]
    assert rows(found)["scans/a"][:5] == ["done", "50", "4", "2", "0.25"]
    assert rows(found)["scans/deep/c"][0] == "failed"
    assert rows(found)["scans/deep/c"][6] == "no surface <b>found</b> (give a denser scan)"
    assert len(found.pictures) == 2
    assert "a kind of file that lpdif does not read" in found.text
    boxes = [about["class"] for tag, about in found.elements if tag == "div" and (about.get("class") or "").startswith("warnings")]
    assert boxes == ["warnings failures"]  # the failure is told once, and not as a warning of the run too


def test_what_an_earlier_run_made_is_in_the_report_of_the_next(cli: Cli, library: Library, folder: Path) -> None:
    library.made.facts |= {"points": 50, "noise": 0.01, "spacing": 0.04}
    (folder / "a.ply").write_bytes((folder / "a.ply").read_bytes().replace(b"element vertex 50", b"element vertex 60"))
    assert cli(*BATCH).code == 7
    first = rows(page())
    write_points(folder / "a.ply")
    library.calls.clear()
    ran = cli(*BATCH)  # the report of the same command is replaced
    assert ran.code == 0
    assert [call[0] for call in library.calls] == ["a.ply"]
    found = page()
    assert {name: row[0] for name, row in rows(found).items()} == {"scans/<script>b<": "kept", "scans/a": "done", "scans/deep/c": "kept"}
    assert rows(found)["scans/deep/c"][1:] == first["scans/deep/c"][1:]  # with the figures of the run that made it
    assert len(found.pictures) == 3


def test_the_report_of_a_shard_is_about_its_scans(cli: Cli, library: Library, folder: Path) -> None:
    library.made.facts |= {"points": 50, "noise": 0.01, "spacing": 0.04}
    names = ["<script>b<", "a", "deep/c"]
    for number, words in ((1, ["done", "done"]), (2, ["done"])):
        assert cli(*BATCH, "--shard", f"{number}/2").code == 0
        assert [row[:3] for row in rows(page()).values()] == [[word, "50", "4"] for word in words]
        assert list(rows(page())) == [f"scans/{name}" for name in names[number - 1 :: 2]]
    assert cli(*BATCH).code == 0
    assert [row[:3] for row in rows(page()).values()] == [["kept", "50", "4"]] * 3  # with the figures of both shards
    assert len(page().pictures) == 3


def test_records_of_earlier_versions_have_less_to_tell(cli: Cli, library: Library, folder: Path) -> None:
    assert cli("reconstruct", "scans", "-o", "out").code == 0
    record = json.loads(Path("out/made.json").read_text())
    for row in record["meshes"].values():
        del row["told"]
    Path("out/made.json").write_text(json.dumps(record))
    assert cli(*BATCH).code == 0
    assert set(map(tuple, rows(page()).values())) == {("kept", "", "", "", "", "", "")}


@pytest.mark.parametrize("told", [3, {"faces": "many"}, {"seconds": -1}, {"warnings": [{}]}, {"warnings": ["x" * 5000]}])
def test_a_record_that_tells_nonsense_is_refused(cli: Cli, library: Library, folder: Path, told: object) -> None:
    assert cli("reconstruct", "scans", "-o", "out").code == 0
    record = json.loads(Path("out/made.json").read_text())
    record["meshes"]["a.ply"]["told"] = told
    Path("out/made.json").write_text(json.dumps(record))
    ran = cli(*BATCH)
    assert ran.code == 7
    assert rows(page())["scans/a"][6].startswith("out/a.ply: exists already, and out/made.json does not say what it was made from")


def test_warnings_of_a_scan_are_told_beside_it_and_kept(cli: Cli, library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(scan: lpdif.Scan, *rest: object, **more: object) -> object:
        if scan.name == "a.ply":
            logging.getLogger("lpdif").warning("%s: it is thin", scan.name)
            logging.getLogger("lpdif").warning("long" * 5000)
        return library.made

    monkeypatch.setitem(vars(lpdif), "reconstruct", warns)
    for _ in range(2):
        assert cli(*BATCH, "-q").code == 0
        assert [row[6] for row in rows(page()).values()] == ["", f"a.ply: it is thin{('long' * 250)[:997]}...", ""]


def test_a_file_that_is_no_report_is_not_replaced_by_a_batch(cli: Cli, library: Library, folder: Path) -> None:
    PAGE.write_text("mine")
    assert cli(*BATCH).code == 2
    assert (PAGE.read_text(), library.calls) == ("mine", [])
    assert cli(*BATCH, "--overwrite").code == 0
    assert PAGE.read_text().startswith(MARK)


def test_a_report_may_lie_among_the_meshes(cli: Cli, library: Library, folder: Path) -> None:
    for _ in range(2):
        assert cli("reconstruct", "scans", "-o", "out", "--report", "out/page.html").code == 0
    assert Path("out/page.html").read_text().startswith(MARK)


def test_a_batch_that_is_stopped_leaves_a_report_of_what_is_done(
    cli: Cli, library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(scan: lpdif.Scan, *rest: object, **more: object) -> object:
        if scan.name == "c.ply":
            raise KeyboardInterrupt
        return library.made

    with monkeypatch.context() as patched:
        patched.setattr("lpdif_cli.reports.SHARE_OF_TIME", 1e9)  # after every scan
        patched.setitem(vars(lpdif), "reconstruct", stops)
        assert cli(*BATCH).code == 130
    assert {name: row[0] for name, row in rows(page()).items()} == {"scans/<script>b<": "done", "scans/a": "done", "scans/deep/c": "waiting"}
    assert "1 scan of 3 still to be made" in page().text
    assert len(page().pictures) == 2
    assert cli(*BATCH).code == 0
    assert [row[0] for row in rows(page()).values()] == ["kept", "kept", "done"]
    assert "still to be made" not in page().text


def test_the_report_of_a_batch_is_not_written_after_every_scan(
    cli: Cli, library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    put = ReportFile._put
    monkeypatch.setattr(ReportFile, "_put", lambda self, content: (written.append(self.path), put(self, content)))
    monkeypatch.setattr("lpdif_cli.reports.SHARE_OF_TIME", 1e-9)
    assert cli(*BATCH).code == 0
    assert len(written) == 2  # after the first and after the last


@pytest.mark.parametrize(("words", "up"), [((), "z"), (("--up", "-x"), "-x")])
def test_pictures_have_the_axis_up_that_is_asked_for(
    cli: Cli, library: Library, folder: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], up: str
) -> None:
    seen: list[str] = []
    monkeypatch.setattr("lpdif.report.pictures.thumbnail", lambda vertices, faces, up: seen.append(up) or "")
    assert cli(*BATCH, *words).code == 0
    assert seen == [up] * 3


def test_an_axis_that_is_none(cli: Cli, library: Library, folder: Path) -> None:
    for words in (BATCH, ("view", "scans/a.ply")):
        ran = cli(*words, "--up", "w")
        assert (ran.code, ran.lines) == (2, ["error: --up w: no axis", "  hint: it is one of x, y, z, -x, -y, -z"])
    assert library.calls == []


def test_y_points_up_in_glb() -> None:
    assert [up_axis(given, path) for given, path in ((None, Path("a.GLB")), ("z", Path("a.glb")), (None, Path("a.ply")), (None, None))] == [
        *"yzzz"
    ]
    assert set(UPS) == set(UPRIGHT)


# --- a fit


def test_the_report_of_a_fit(cli: Cli, straight: tuple[Path, FitReport], tmp_path: Path) -> None:
    place = shutil.copytree(straight[0], tmp_path / "workspace")
    before = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}
    words = ("fit", "--resume", "--workspace", place, "--report", "page.html", "--device", "cpu", "--json")
    ran = cli(*words)
    assert ran.code == 0
    found = page()
    assert ran.document["report"] == "page.html"
    assert f"{ran.document['validation']['mean']:.4g}" in found.text
    shares = [float(found.rows[str(k)][1].removesuffix(" %")) for k in range(straight[1].patterns)]
    assert sum(shares) == pytest.approx(100, abs=0.2)
    assert "Error near the surface on held-out regions" in found.text
    assert "nothing recorded" not in found.text
    assert {file: file.read_bytes() for file in before} == before  # to tell of it changes nothing
    assert cli(*words).code == 0  # a run that goes on replaces its report
    (place / "metrics.jsonl").write_text("{}\nnonsense\n")
    ran = cli(*words)
    assert ran.code == 0
    assert any(line.startswith(f"warning: {place}/metrics.jsonl: not the log of a fit (line 2: ") for line in ran.lines)
    assert "the report has no curves" in page().text


def test_a_fit_that_goes_on_from_a_model_is_told_as_finished(cli: Cli, workspace: Path) -> None:
    """Its steps are those of the pattern stage alone."""
    Path("lpdif.toml").write_text("[fit]\npattern_steps = 2\nbatch = 8\n")
    ran = cli("fit", "--start", "bundled", "--workspace", workspace, "--device", "cpu", "--report", "page.html")
    assert ran.code == 0
    assert "2 of" not in page().text
    assert "stopped" not in page().text
    assert Path(lpdif.Workspace(workspace).snapshot).exists()


def test_a_fit_that_is_stopped_leaves_a_report_and_names_it_again(cli: Cli, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = lpdif.fit
    monkeypatch.setitem(vars(lpdif), "fit", lambda *given, stop, **named: real(*given, stop=stop_at(12), **named))
    settings = {name: value for name, value in dataclasses.asdict(SHORT).items() if name != "resume"}
    Path("lpdif.toml").write_text("[fit]\n" + "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
    ran = cli("fit", "--workspace", workspace, "--device", "cpu", "--report", "page.html")
    assert ran.code == 130
    assert ran.lines[-1].endswith("--device cpu --report page.html")
    assert "12 of 18" in page().text
    assert "stopped: lpdif fit --resume goes on" in page().text


def test_a_fit_is_not_begun_where_its_report_cannot_be_written(cli: Cli, workspace: Path) -> None:
    PAGE.write_text("mine")
    ran = cli("fit", "--workspace", workspace, "--report", "page.html")
    assert (ran.code, ran.lines[-2]) == (2, "error: page.html: exists already")
    assert not (workspace / "snapshot.safetensors").exists()
