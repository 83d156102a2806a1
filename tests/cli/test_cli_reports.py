"""`lpdif demo`, `inspect`, `evaluate` and `doctor`."""

from __future__ import annotations

import json
import sys
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import trimesh
from cli_fakes import TETRAHEDRON, write_points, write_snapshot
from conftest import Cli, stand_ins

import lpdif
from lpdif.points.prepare import prepare
from lpdif.storage.workspace import BUNDLED_MODEL


@pytest.fixture
def ball(tmp_path: Path) -> Path:
    path = tmp_path / "ball.ply"
    trimesh.creation.icosphere(3, 1.0).export(path)
    return path


# --- demo


def test_demo_writes_a_scan_that_reads_back(cli: Cli) -> None:
    ran = cli("demo")
    assert (ran.code, ran.out) == (0, "demo-scan.ply\n")
    assert ran.lines[-1] == "next: lpdif reconstruct demo-scan.ply -o demo-mesh.ply"
    scan = lpdif.load_scan("demo-scan.ply")
    assert len(scan.points) == 20_000
    assert scan.normals is not None
    assert scan.colors is not None
    first = Path("demo-scan.ply").read_bytes()
    assert cli("demo").code == 2
    assert cli("demo", "--overwrite", "-q").err == ""
    assert Path("demo-scan.ply").read_bytes() == first
    cli("demo", "--seed", "1", "-o", "other.ply")
    assert Path("other.ply").read_bytes() != first
    assert cli("demo", "-o", "demo.obj").code == 2


# --- inspect


def test_inspect_tells_of_a_scan(cli: Cli) -> None:
    points = np.random.default_rng(0).normal(size=(50, 3))
    points[7] = np.nan
    Path("scan.xyz").write_text("\n".join(" ".join(map(str, row)) for row in points))
    document = cli("inspect", "scan.xyz", "--json").document
    assert (document["kind"], document["points"], document["not finite"]) == ("scan", 50, 1)
    assert document["extent"] == pytest.approx(list(np.ptp(np.delete(points, 7, axis=0), axis=0)))
    ran = cli("inspect", "scan.xyz")
    assert "kind" in ran.out
    assert ran.lines[-1] == "next: lpdif reconstruct scan.xyz -o MESH.ply"


def test_inspect_gives_the_spacing_that_reconstruct_goes_by(cli: Cli) -> None:
    points = trimesh.creation.icosphere(4, 2.0).sample(3000, seed=0)
    Path("scan.xyz").write_text("\n".join(" ".join(map(str, row)) for row in points))
    document = cli("inspect", "scan.xyz", "--json").document
    found = prepare(lpdif.load_scan("scan.xyz"))
    assert (document["spacing"], document["noise"]) == (found.spacing, found.noise)
    assert document["spacing"] == pytest.approx(np.sqrt(16 * np.pi / 3000), rel=0.05)


def test_inspect_goes_by_the_settings_of_reconstruct(cli: Cli) -> None:
    points = trimesh.creation.icosphere(4, 2.0).sample(3000, seed=0)
    far = np.random.default_rng(0).uniform(-4, 4, (60, 3))
    Path("scan.xyz").write_text("\n".join(" ".join(map(str, row)) for row in [*points, *far]))
    Path("my.toml").write_text("[reconstruct]\nkeep_outliers = true\n")
    kept, cleaned = (prepare(lpdif.load_scan("scan.xyz"), keep_outliers=keep) for keep in (True, False))
    assert len(kept.points) > len(cleaned.points)
    ran = cli("inspect", "scan.xyz", "--config", "my.toml", "--threads", "1", "--json")
    assert (ran.document["spacing"], ran.document["noise"]) == (kept.spacing, kept.noise)
    assert ran.lines[-1] == "next: lpdif reconstruct scan.xyz -o MESH.ply --config my.toml"
    document = cli("inspect", "scan.xyz", "--json").document
    assert (document["spacing"], document["noise"]) == (cleaned.spacing, cleaned.noise)
    assert cli("inspect", "scan.xyz", "--config", "none.toml").code == 4


def test_inspect_says_why_a_scan_makes_no_mesh(cli: Cli) -> None:
    Path("few.xyz").write_text("0 0 0\n1 0 0\n0 1 0\n")
    ran = cli("inspect", "few.xyz", "--json")
    assert (ran.document["points"], ran.document["no mesh"]) == (3, "3 distinct points, at least 32 are needed")
    assert ran.lines == ["few.xyz: columns taken as x y z"]


def test_inspect_tells_of_a_mesh(cli: Cli, ball: Path) -> None:
    document = cli("inspect", ball, "--json").document
    assert (document["kind"], document["faces"], document["parts"], document["closed"]) == ("mesh", 1280, 1, True)
    assert document["volume"] == pytest.approx(4.19, rel=0.03)
    pattern = {"pattern": np.zeros(len(TETRAHEDRON.faces) - 1, np.int32)}
    lpdif.write_mesh(Path("open.ply"), lpdif.Mesh(TETRAHEDRON.vertices, TETRAHEDRON.faces[1:], face_values=pattern))
    document = cli("inspect", "open.ply", "--json").document
    assert document["values of faces"] == "pattern"
    assert document["closed"] is False
    assert "volume" not in document


def test_inspect_tells_of_a_model_and_a_workspace(cli: Cli) -> None:
    from safetensors.numpy import save_file

    model = Path("lpdif-workspace/model.safetensors")
    (model.parent / "samples").mkdir(parents=True)
    card = {"steps": 40, "sizes": {"patterns": 2}}
    save_file({"a": np.zeros(3)}, model, {"kind": "lpdif-model", "version": "1", "card": json.dumps(card)})
    ran = cli("inspect", model, "--json")
    assert (ran.document["kind"], ran.document["steps"], ran.document["sizes.patterns"]) == ("model", 40, 2)
    assert ran.lines[-1] == f"next: lpdif reconstruct SCAN -o MESH.ply --model {model}"

    about = {"kept": [{"shard": "a", "regions": 10}, {"shard": "b", "regions": 20}], "left_out": [["bad.ply", "no points"]]}
    (model.parent / "samples/manifest.json").write_text(json.dumps(about))
    (model.parent / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2, "loss": 0.5}\n')
    document = cli("inspect", "lpdif-workspace", "--json").document
    found = {name: document[name] for name in ("kind", "scans", "regions", "left out", "run loss", "model steps")}
    assert found == {"kind": "workspace", "scans": 2, "regions": 30, "left out": 1, "run loss": 0.5, "model steps": 40}
    assert cli("inspect", model.parent / "metrics.jsonl", "--json").document["rows"] == 2


def test_inspect_names_the_patterns_of_a_model(cli: Cli) -> None:
    from safetensors.numpy import save_file

    def write(*form: float) -> None:
        about = {"kind": "lpdif-model", "version": "1", "card": "{}"}
        tensors = {"a": np.zeros(3), "patterns.centroids": np.zeros((4, 2), np.float32), "z": np.zeros(5)}
        save_file(tensors | ({"patterns.form": np.array(form, np.float32)} if form else {}), "model.safetensors", about)

    write(0, 0, 1, 2)
    assert cli("inspect", "model.safetensors", "--json").document["pattern names"] == ["smooth 0", "smooth 1", "convex edge", "concave edge"]
    assert "smooth 0, smooth 1, convex edge, concave edge\n" in cli("inspect", "model.safetensors").out
    write()  # a model of before there were forms
    assert cli("inspect", "model.safetensors", "--json").document["pattern names"] == [f"smooth {number}" for number in range(4)]
    for strange in (7, -1, 0.5, np.nan):
        write(0, strange, 1, 2)
        ran = cli("inspect", "model.safetensors")
        assert (ran.code, ran.lines[0]) == (4, "error: model.safetensors: patterns.form: expected numbers of 7 forms")


def test_inspect_tells_of_samples(cli: Cli) -> None:
    from safetensors.numpy import save_file

    card = {"source": "ball.ply", "regions": 30, "kind": "closed", "settings": {"seed": 1}}
    save_file({"a": np.zeros(3)}, "a.safetensors", {"kind": "lpdif-samples", "version": "1", "card": json.dumps(card)})
    document = cli("inspect", "a.safetensors", "--json").document
    found = [document[name] for name in ("kind", "shape", "source", "regions", "settings.seed")]
    assert found == ["samples", "closed", "ball.ply", 30, 1]


@pytest.mark.parametrize("root", ["lpdif-workspace", "ws"])
def test_inspect_tells_of_the_workspace_that_a_file_is_part_of(cli: Cli, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = Path(root) / "samples"
    samples.mkdir(parents=True)
    (samples / "manifest.json").write_text(json.dumps({"kept": [{"shard": "a", "regions": 10}]}))
    (Path(root) / "patterns.png").write_bytes(b"\x89PNG")
    whole = cli("inspect", root, "--json")
    for path in (samples / "manifest.json", Path(root) / "patterns.png"):
        ran = cli("inspect", path, "--json")
        assert ran.document == {**whole.document, "path": str(path), "seconds": ran.document["seconds"]}
        assert ran.lines == whole.lines
    monkeypatch.chdir(samples)
    assert cli("inspect", "manifest.json", "--json").document["kind"] == "workspace"


def test_inspect_of_files_named_like_those_of_a_workspace(cli: Cli) -> None:
    for name in ("manifest.json", "patterns.png"):
        Path(name).write_bytes(b"\x89PNG")
        assert cli("inspect", name).code == 3
    Path("samples").mkdir()
    Path("samples/manifest.json").write_text("[]")
    ran = cli("inspect", "samples/manifest.json")
    assert (ran.code, ran.lines[0]) == (3, "error: samples/manifest.json: not a list of samples (it: expected an object, found [])")


@pytest.mark.parametrize(
    ("step", "grouped", "with_model", "following"),
    [
        (10, None, False, "fit --resume --patterns 4 --seed 7 --workspace ws --samples WORKSPACE"),
        (40, 3, True, "fit --resume --patterns 3 --seed 7 --workspace ws --samples WORKSPACE"),  # an earlier model does not make it whole
        (60, 3, False, "fit --resume --patterns 3 --seed 7 --workspace ws --samples WORKSPACE"),
        (60, 3, True, "reconstruct SCAN -o MESH.ply --workspace ws"),
    ],
)
def test_inspect_knows_whether_a_fit_was_stopped(cli: Cli, step: int, grouped: int | None, with_model: bool, following: str) -> None:
    from safetensors.numpy import save_file

    path = write_snapshot(Path("ws"), step, 4, grouped, seed=7)
    if with_model:
        save_file({"a": np.zeros(3)}, "ws/model.safetensors", {"kind": "lpdif-model", "version": "1", "card": "{}"})
    ran = cli("inspect", "ws", "--json")
    assert ran.lines == [f"next: lpdif {following}"]
    found = [ran.document[f"snapshot {name}"] for name in ("steps done", "steps in all", "patterns")]
    assert found == [step, 60, grouped or "none yet"]
    ran = cli("inspect", path, "--json")
    assert (ran.document["kind"], ran.document["steps done"], ran.document["config.patterns"]) == ("snapshot", step, 4)
    assert ran.lines == ([f"next: lpdif {following}"] if "resume" in following else [])


def test_inspect_proposes_to_name_samples_that_lie_elsewhere(cli: Cli) -> None:
    from safetensors.numpy import save_file

    write_snapshot(Path("ws"), 10)
    samples = Path("ws/samples")
    samples.mkdir()
    (samples / "manifest.json").write_text(json.dumps({"kept": [{"shard": "a", "regions": 10}]}))
    own = lpdif.Workspace("ws").samples_identity()
    for made_from, words in ((own, ""), ("another", " --samples WORKSPACE"), (None, "")):  # the first snapshots did not say
        card = {"config": {"shared_steps": 30, "pattern_steps": 30}, **({} if made_from is None else {"samples": made_from})}
        about = {"kind": "lpdif-snapshot", "version": "2", "card": json.dumps(card)}
        save_file({"step": np.array(10, np.int64)}, "ws/snapshot.safetensors", about)
        for path in ("ws", "ws/snapshot.safetensors"):
            assert cli("inspect", path).lines == [f"next: lpdif fit --resume --patterns 8 --workspace ws{words}"]


def test_inspect_tells_of_a_model_that_is_older_than_the_snapshot(cli: Cli) -> None:
    from safetensors.numpy import save_file

    for step, said in ((10, True), (60, False)):
        write_snapshot(Path("ws"), step)
        save_file({"a": np.zeros(3)}, "ws/model.safetensors", {"kind": "lpdif-model", "version": "1", "card": "{}"})
        assert ("of an earlier fit than the snapshot, which is not finished" in cli("inspect", "ws").out) == said


def test_labels_are_words(cli: Cli) -> None:
    shown = cli("inspect", BUNDLED_MODEL).out
    for words in ("held-out error, in region sizes  0.0", "width of a decoder", "fit.kde_every", "patterns   "):
        assert words in shown
    for name in ("sizes.", "validation.", "config.", "form_steps", "p95"):
        assert name not in shown


def test_inspect_of_a_snapshot_without_its_settings(cli: Cli) -> None:
    from safetensors.numpy import save_file

    for card in ("{}", "[1, 2]", '{"config": {"speed": 3}}', '{"config": {"patterns": "many"}}', "oops"):
        save_file({"step": np.array(3)}, "snapshot.safetensors", {"kind": "lpdif-snapshot", "version": "2", "card": card})
        ran = cli("inspect", "snapshot.safetensors")
        assert (ran.code, ran.lines[0][:27]) == (4, "error: snapshot.safetensors")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("other.safetensors", b"\x02\0\0\0\0\0\0\0{}", 4),
        ("broken.safetensors", b"not at all", 4),
        ("metrics.jsonl", b"oops", 3),
        ("empty.ply", b"", 3),
    ],
)
def test_inspect_refuses_what_it_does_not_know(cli: Cli, name: str, content: bytes, code: int) -> None:
    Path(name).write_bytes(content)
    ran = cli("inspect", name)
    assert (ran.code, ran.out) == (code, "")
    assert ran.lines[0].startswith(f"error: {name}: ")


def test_inspect_of_what_is_not_there(cli: Cli) -> None:
    Path("empty").mkdir()
    for name in ("nowhere.ply", "nowhere.safetensors", "empty"):
        assert cli("inspect", name).code == 3


# --- evaluate


def test_evaluate_prints_figures_with_units(cli: Cli, ball: Path) -> None:
    trimesh.creation.icosphere(3, 1.01).export("bigger.ply")
    ran = cli("evaluate", "bigger.ply", ball)
    assert ran.code == 0
    rows = {line.split()[0]: line.split() for line in ran.out.splitlines()}
    assert set(rows) == {"figure", "cd", "accuracy", "completeness", "p95", "hausdorff", "normal_consistency", "f_score"}
    assert float(rows["cd"][1]) == pytest.approx(0.01, rel=0.02)
    assert float(rows["cd"][2]) == pytest.approx(5, rel=0.02)
    document = cli("evaluate", "bigger.ply", ball, "--json", "--seed", "3").document
    assert document["cd"] == pytest.approx(0.01, rel=0.02)
    assert document["samples"] == 100_000


def test_evaluate_needs_faces(cli: Cli, ball: Path) -> None:
    write_points(Path("scan.ply"))
    ran = cli("evaluate", "scan.ply", ball)
    assert (ran.code, ran.lines[0]) == (3, "error: scan.ply: points without faces")


# --- doctor


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(patterns=SimpleNamespace(centroids=[1, 2]), card={"steps": 40})
    monkeypatch.setitem(vars(lpdif), "load_model", lambda path: fake)


def test_doctor_finds_all_well(cli: Cli, model: None) -> None:
    ran = cli("doctor", "--device", "cpu", "--json")
    assert ran.code == 0
    assert ran.document["well"] is True
    found = {finding["what"]: finding["found"] for finding in ran.document["findings"]}
    assert found["torch"] == metadata.version("torch")
    assert found["device"] == "cpu"
    assert found["bundled model"] == "2 patterns, 40 steps"
    assert found["marching cubes"].split()[0] in ("PyMCubes", "numpy")
    assert found["mesh queries"].split()[0] in ("point-cloud-utils", "libigl")


def test_doctor_tells_what_stands_in(cli: Cli, model: None) -> None:
    with stand_ins():
        ran = cli("doctor", "--device", "cpu", "--json")
    assert ran.code == 0
    found = {finding["what"]: finding["found"] for finding in ran.document["findings"]}
    assert found["marching cubes"] == f"numpy {metadata.version('numpy')}"
    assert found["mesh queries"] == f"libigl {metadata.version('libigl')}"


def test_doctor_names_the_remedy(cli: Cli, model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from lpdif.io import registry
    from lpdif_cli import doctor

    # as where neither package can be loaded
    monkeypatch.delitem(sys.modules, "lpdif.mesh_queries", raising=False)
    for name in ("point_cloud_utils", "igl"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(doctor.NEEDED, "no-such-package", "no_such_package")
    las = next(known for known in registry.all_formats() if known.name == "las")
    monkeypatch.setattr(registry, "MARKED", (las._replace(packages=("no-such-extra",)),))
    ran = cli("doctor", "--device", "cpu")
    assert ran.code == 5
    marks = {line[5:].split("  ")[0]: line[:3] for line in ran.out.splitlines()}
    assert marks["mesh queries"] == marks["no-such-package"] == "BAD"
    assert marks["[las]"] == "-  "
    assert any("pip install --force-reinstall libigl" in line for line in ran.lines)
    assert any("pip install no-such-extra" in line for line in ran.lines)


def test_doctor_tells_of_a_broken_settings_file_and_goes_on(cli: Cli, model: None) -> None:
    Path("lpdif.toml").write_text("[fit]\npattrns = 4\n")
    ran = cli("doctor", "--device", "cpu", "--json")
    assert ran.code == 5
    findings = {finding["what"]: finding for finding in ran.document["findings"]}
    assert findings["settings"]["found"] == "lpdif.toml: unknown key 'pattrns' in [fit]"
    assert findings["settings"]["remedy"] == "did you mean 'patterns'?"
    assert findings["numpy"]["remedy"] == ""


# --- what all documents of --json have


def test_documents_have_versions_and_warnings(cli: Cli) -> None:
    write_points(Path("scan.xyz"))
    found = cli("inspect", "scan.xyz", "--json").document
    assert (found["schema_version"], found["command"], found["warnings"]) == (1, "inspect", [])
    assert found["versions"]["lpdif"] == lpdif.__version__
    assert found["versions"]["python"] == sys.version.split()[0]
    assert found["versions"]["numpy"] == np.__version__
    Path("flags.xyz").write_text("0 0 0\n" * 40)
    ran = cli("inspect", "nowhere.xyz", "--json")
    assert (ran.document["schema_version"], ran.document["error"]["exit_code"]) == (1, 3)


def test_warnings_are_in_the_document(cli: Cli) -> None:
    Path("a").mkdir()
    write_points(Path("a/good.ply"))
    Path("a/bad.ply").write_text("ply\nformat ascii 1.0\nelement vertex 9\n")
    ran = cli("reconstruct", "a", "-o", "out", "--dry-run", "--json")
    warned = [line.removeprefix("warning: ") for line in ran.lines if line.startswith("warning: ")]
    assert len(warned) == 1
    assert ran.document["warnings"] == warned


def test_hints_of_what_to_run_next_are_for_people(cli: Cli) -> None:
    from io import StringIO

    from lpdif_cli.console import Console
    from lpdif_cli.main import run

    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    for stream, hint in ((StringIO(), False), (Terminal(), True)):
        assert run(["demo", "--overwrite"], Console(StringIO(), stream)) == 0
        assert ("next: lpdif reconstruct" in stream.getvalue()) is hint


# --- stdin, and folders of a workspace


def test_inspect_reads_stdin(cli: Cli) -> None:
    data = write_points(Path("scan.ply")).read_bytes()
    ran = cli("inspect", "-", "--json", stdin=data)
    assert (ran.code, ran.document["path"], ran.document["kind"], ran.document["points"]) == (0, "-", "scan", 50)
    assert ran.lines[-1] == "next: lpdif reconstruct - -o MESH.ply"
    named = cli("inspect", "scan.ply", "--json").document
    same = set(named) - {"path", "bytes", "seconds"}
    assert {name: ran.document[name] for name in same} == {name: named[name] for name in same}
    assert cli("inspect", "-", stdin=b"").code == 3


def test_the_folder_of_samples_is_that_of_its_workspace(cli: Cli) -> None:
    write_snapshot(Path("ws"), 10)
    Path("ws/samples").mkdir()
    assert cli("inspect", "ws/samples", "--json").document["snapshot steps done"] == 10
    Path("samples").mkdir()  # of no workspace
    assert cli("inspect", "samples").code == 3
