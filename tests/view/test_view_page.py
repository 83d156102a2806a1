"""What a page of a mesh and a scan holds, read by the naive decoder."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace

import numpy as np
import pytest
import trimesh
from naive_page import read_page
from scipy.spatial import cKDTree

from lpdif.arrays import FloatArray
from lpdif.errors import InputError
from lpdif.mesh_queries import closest_points
from lpdif.types import Mesh, Scan
from lpdif.view import drawing
from lpdif.view.packing import LEVELS, STEPS
from lpdif.view.page import ASSETS, build_page

SPHERE = trimesh.creation.icosphere(3)
VERTICES, FACES = np.asarray(SPHERE.vertices, np.float64) * 20 + [1000.0, -5, 3], np.asarray(SPHERE.faces, np.int64)


def coloured() -> Mesh:
    """A sphere with everything that a page shows."""
    rng = np.random.default_rng(0)
    count = len(VERTICES)
    return Mesh(
        VERTICES,
        FACES,
        colors=rng.integers(0, 256, (count, 3)).astype(np.uint8),
        vertex_values={"confidence": rng.random(count).astype(np.float32)},
        face_values={"pattern": np.where(VERTICES[FACES[:, 0], 2] > 3, 5, 2).astype(np.int32)},
    )


def scan_near(count: int = 400, seed: int = 1) -> Scan:
    """Points around the sphere, off it by up to one."""
    rng = np.random.default_rng(seed)
    direction = rng.normal(size=(count, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    points = direction * rng.uniform(19, 21, (count, 1)) + [1000.0, -5, 3]
    return Scan(points, colors=rng.integers(0, 256, (count, 3)).astype(np.uint8), name="scan.ply")


def test_vertices_and_faces_are_those_of_the_mesh() -> None:
    page = read_page(build_page(coloured()).html)
    places = np.array(page.places("positions"))
    side = float(np.ptp(VERTICES, axis=0).max())
    assert page.about["step"] == pytest.approx(side / STEPS)
    distance, row = cKDTree(VERTICES).query(places)
    assert distance.max() <= np.sqrt(3) / 2 * page.about["step"] * 1.001
    assert sorted(row.tolist()) == list(range(len(VERTICES)))
    drawn = {tuple(np.roll(face, -int(np.argmin(face))).tolist()) for face in row[np.array(page.faces())]}
    assert drawn == {tuple(np.roll(face, -int(np.argmin(face))).tolist()) for face in FACES}


def test_values_are_those_of_the_vertices_and_faces() -> None:
    mesh = coloured()
    page = read_page(build_page(mesh).html)
    row = cKDTree(VERTICES).query(np.array(page.places("positions")))[1]
    assert mesh.colors is not None
    assert page.colors("colors") == mesh.colors[row].tolist()
    assert page.about["confidence"] == [0, 1]
    shown = np.array(page.bytes("confidence"))[:, 0] / (LEVELS - 1)
    assert np.abs(shown - mesh.vertex_values["confidence"][row]).max() <= 0.5 / (LEVELS - 1) + 1e-6
    known = [pattern for pattern, _, _ in page.about["patterns"]]
    assert known == [2, 5]
    assert sum(share for _, share, _ in page.about["patterns"]) == pytest.approx(1)
    upper = [known[number] == 5 for (number,) in page.bytes("pattern")]
    wanted = {frozenset(face): bool(VERTICES[face[0], 2] > 3) for face in FACES.tolist()}  # by the corner that decides in the mesh
    assert upper == [wanted[frozenset(row[face].tolist())] for face in page.faces()]


def test_distances_of_both_directions() -> None:
    scan = scan_near()
    page = read_page(build_page(coloured(), scan).html)
    places, points = np.array(page.places("positions")), np.array(page.places("points"))
    row = cKDTree(scan.points).query(points)[1]
    assert sorted(row.tolist()) == list(range(len(scan.points)))
    assert scan.colors is not None
    assert page.colors("point_colors") == scan.colors[row].tolist()
    for name, wanted in (
        ("distance", cKDTree(scan.points).query(places)[0]),
        ("point_distance", closest_points(points, VERTICES, FACES)[0]),
    ):
        top = page.about[name][1]
        shown = np.array(page.bytes(name))[:, 0] / (LEVELS - 1) * top
        assert np.abs(shown - np.minimum(wanted, top)).max() <= 0.5 * top / (LEVELS - 1) + 2 * page.about["step"]
        assert (wanted > top).mean() <= 0.01
    facts = dict(page.about["scan_facts"])
    assert facts["points"] == "400"
    assert float(facts["points to mesh, median"]) == pytest.approx(np.median(closest_points(scan.points, VERTICES, FACES)[0]), rel=0.01)
    assert float(facts["mesh to points, 95 %"]) == pytest.approx(np.quantile(cKDTree(scan.points).query(VERTICES)[0], 0.95), rel=0.01)


def test_a_plain_mesh_has_only_positions_and_faces() -> None:
    page = build_page(Mesh(VERTICES, FACES))
    read = read_page(page.html)
    assert set(read.parts) == {"positions", "faces"}
    assert (page.faces, page.points, page.notes, read.about["notes"]) == (len(FACES), 0, [], [])
    assert "scan" not in read.about


def test_a_mesh_without_shared_vertices_is_welded() -> None:
    soup = Mesh(VERTICES[FACES].reshape(-1, 3), np.arange(3 * len(FACES)).reshape(-1, 3))
    page = build_page(soup)
    assert read_page(page.html).about["vertices"] == len(VERTICES)
    assert page.facts.closed
    assert page.facts.volume == pytest.approx(SPHERE.volume * 20**3)


def test_a_large_mesh_is_thinned_with_its_values_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "DRAWING", drawing.DRAWING._replace(most_faces=400, most_points=100))
    scan = scan_near()
    height = (VERTICES[:, 2:] - VERTICES[:, 2].min()) / 40
    mesh = Mesh(VERTICES, FACES, None, np.repeat((255 * height).astype(np.uint8), 3, 1), {"confidence": height[:, 0]}, coloured().face_values)
    page = build_page(mesh, scan, name="ball.ply")
    read = read_page(page.html)
    assert 0 < page.faces == read.about["faces"] <= 400
    assert page.points == read.about["points"] == 100
    assert [note.text for note in page.notes] == [
        f"ball.ply: drawn with {page.faces:,} of its 1,280 faces; facts and distances are of all",
        "scan.ply: 100 of its 400 points are drawn; the distances of the mesh are to all",
    ]
    assert read.about["notes"] == [[note.text, False] for note in page.notes]
    assert page.facts.faces == 1280
    places = np.array(read.places("positions"))
    own = (places[:, 2] - VERTICES[:, 2].min()) / 40
    assert np.abs(np.array(read.colors("colors"))[:, 0] / 255 - own).max() < 0.1
    assert np.abs(np.array(read.bytes("confidence"))[:, 0] / (LEVELS - 1) - own).max() < 0.1
    middle = places[np.array(read.faces())].mean(axis=1)[:, 2] - 3
    pattern = np.array([read.about["patterns"][number][0] for (number,) in read.bytes("pattern")])
    assert ((pattern == 5) == (middle > 0))[np.abs(middle) > 4].all()


def test_a_small_part_does_not_vanish_when_the_mesh_is_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "DRAWING", drawing.DRAWING._replace(most_faces=200))
    small = trimesh.creation.icosphere(1, 0.5)
    vertices = np.concatenate([VERTICES, np.asarray(small.vertices) + np.array([1030.0, -5, 3])])
    faces = np.concatenate([FACES, np.asarray(small.faces) + len(VERTICES)])
    places = np.array(read_page(build_page(Mesh(vertices, faces)).html).places("positions"))
    assert (np.abs(places[:, 0] - 1030) < 1).sum() >= 3


def test_what_is_not_finite_is_left_out_and_told() -> None:
    vertices, points = VERTICES.copy(), scan_near().points.copy()
    vertices[0], points[:3] = np.nan, np.inf
    around = int((FACES == 0).any(axis=1).sum())
    page = build_page(Mesh(vertices, FACES), Scan(points, name="scan.ply"), name="ball.ply")
    assert [note.text for note in page.notes] == [
        f"ball.ply: {around} faces left out: not all coordinates are finite",
        "scan.ply: 3 points left out: not all coordinates are finite",
    ]
    assert page.faces == len(FACES) - around
    assert page.points == 397
    assert not page.facts.closed


def test_crumbs_far_away_are_told_and_what_is_absurdly_far_is_not_drawn() -> None:
    crumb = np.array([[0.0, 0, 0], [0.1, 0, 0], [0, 0.1, 0]])
    vertices = np.concatenate([VERTICES, crumb + np.array([1500.0, 0, 0]), crumb + 1e9])
    faces = np.concatenate([FACES, np.arange(6).reshape(2, 3) + len(VERTICES)])
    page = build_page(Mesh(vertices, faces), Scan(np.concatenate([scan_near().points, [[1e9, 0, 0]]]), name="scan.ply"), name="ball.ply")
    texts = [note.text for note in page.notes]
    assert texts == [
        "ball.ply: 2 faces far from the rest, outside of the first view: zoom out to see them",
        "ball.ply: 1 face more than 1,000 times the size of the mesh away from it: not drawn",
        "scan.ply: 1 point more than 1,000 times the size of the mesh away from it: not drawn",
    ]
    read = read_page(page.html)
    assert len(read.faces()) == len(FACES) + 1
    places = np.array(read.places("positions"))
    assert np.abs(places[places[:, 0] > 1400] - [1500.05, 0.05, 0]).max() < 0.1
    assert page.facts.faces == len(FACES) + 2  # the facts are of all


@pytest.mark.parametrize(
    ("move", "scale"),
    [(np.array([500.0, 0, 0]), 1.0), (np.zeros(3), 1000.0), (np.zeros(3), 0.001)],
    ids=["elsewhere", "in millimetres", "in kilometres"],
)
def test_a_scan_far_from_the_mesh_is_told(move: FloatArray, scale: float) -> None:
    scan = Scan((scan_near().points - [1000.0, -5, 3]) * scale + move, name="scan.ply")
    page = build_page(Mesh(VERTICES - [1000.0, -5, 3], FACES), scan)
    assert [note.warning for note in page.notes if "lies far from the mesh" in note.text] == [True]


@pytest.mark.parametrize("part", ["scan", "mesh"])
def test_a_part_of_the_mesh_or_of_the_scan_is_near(part: str) -> None:
    scan, mesh = scan_near(2000), Mesh(VERTICES, FACES)
    if part == "scan":
        scan = Scan(scan.points[scan.points[:, 0] > 1012], name="scan.ply")
    else:
        mesh = Mesh(VERTICES, FACES[(VERTICES[FACES, 0] > 1012).all(axis=1)])
    assert build_page(mesh, scan).notes == []


def test_patterns_have_their_names_where_the_mesh_tells_them() -> None:
    def names(known: dict[int, str]) -> list[str]:
        page = read_page(build_page(replace(coloured(), pattern_names=known)).html)
        return [name for _, _, name in page.about["patterns"]]

    assert names({2: "smooth 2", 5: "concave edge", 7: "convex edge"}) == ["smooth 2", "concave edge"]
    assert names({5: "concave edge"}) == ["pattern 2", "concave edge"]
    assert names({}) == ["pattern 2", "pattern 5"]
    assert names({2: "</script>\n"}) == ["</script>\\n", "pattern 5"]


@pytest.mark.parametrize(
    "values", [np.full(len(FACES), 0.5), np.full(len(FACES), np.nan), np.arange(len(FACES))], ids=["halves", "nan", "many"]
)
def test_what_is_no_number_of_a_pattern_is_told_and_not_shown(values: FloatArray) -> None:
    page = build_page(Mesh(VERTICES, FACES, face_values={"pattern": values}), name="ball.ply")
    assert [note.text for note in page.notes] == ['ball.ply: the values "pattern" of its faces are not at most 255 whole numbers: not shown']
    assert "pattern" not in read_page(page.html).parts


def test_a_confidence_of_other_programs_keeps_its_ends() -> None:
    values = np.linspace(-3, 12, len(VERTICES))
    assert read_page(build_page(Mesh(VERTICES, FACES, vertex_values={"confidence": values})).html).about["confidence"] == [-3, 12]


@pytest.mark.parametrize(
    ("mesh", "said"),
    [
        (Mesh(VERTICES, np.zeros((0, 3), np.int64)), "points without faces"),
        (Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])), "none of its 1 face has an area"),
        (Mesh(np.full((3, 3), np.nan), np.array([[0, 1, 2]])), "none of its 1 face has an area"),
    ],
    ids=["points", "one place", "nan"],
)
def test_a_mesh_that_shows_nothing_is_refused(mesh: Mesh, said: str) -> None:
    with pytest.raises(InputError, match=f"^ball.ply: {said}"):
        build_page(mesh, name="ball.ply")


def test_a_scan_without_a_finite_point_is_refused() -> None:
    with pytest.raises(InputError, match=r"^scan\.ply: none of its 40 points has finite coordinates"):
        build_page(coloured(), Scan(np.full((40, 3), np.nan), name="scan.ply"))


def test_names_are_text_and_nothing_else() -> None:
    name = '</script><script>alert("{{data}} & more")</script>\x1b[31m'
    text = build_page(coloured(), Scan(scan_near().points, name=name), name=name, made_with=[("<b>", name)]).html
    assert text.count("<script") == 3
    assert text.count("</script") == 3
    assert "\x1b" not in text
    about = read_page(text).about
    assert about["name"] == about["scan"] == about["made_with"][0][1] == name.replace("\x1b", "\\x1b")
    assert re.findall("<title>(.*?)</title>", text) == [
        "&lt;/script&gt;&lt;script&gt;alert(&quot;{{data}} &amp; more&quot;)&lt;/script&gt;\\x1b[31m"
    ]


def test_the_policy_lets_run_what_is_in_the_page_and_nothing_else() -> None:
    text = build_page(coloured()).html
    policy = re.findall(r'http-equiv="Content-Security-Policy" content="(.*?)"', text)
    assert len(policy) == 1
    rules = dict(rule.strip().split(" ", 1) for rule in policy[0].split(";"))
    assert rules["default-src"] == "'none'"

    def digest(content: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"

    assert rules["script-src"] == digest(re.findall(r"<script>(.*?)</script>", text, re.S)[0])
    assert rules["style-src"] == digest(re.findall(r"<style>(.*?)</style>", text, re.S)[0])
    assert "unsafe" not in policy[0]
    assert not re.search(r'<(?:link|img|iframe|base|meta http-equiv="refresh")|\s(?:src|href)=', text[: text.index("<script")])


def test_progress_goes_from_part_to_part_to_the_end() -> None:
    told: list[tuple[str, int, int]] = []
    build_page(coloured(), scan_near(), progress=lambda *part: told.append(part))
    assert told == [("page", done, 5) for done in range(1, 6)]


def test_the_same_input_gives_the_same_page() -> None:
    assert build_page(coloured(), scan_near(), threads=1).html == build_page(coloured(), scan_near(), threads=3).html


def test_the_licence_of_three_js_is_in_the_page_and_beside_its_script() -> None:
    licence = (ASSETS / "LICENSE-three.txt").read_text(encoding="utf-8")
    assert licence.startswith("The MIT License")
    assert "three.js authors" in licence
    assert licence.strip() in build_page(coloured()).html
