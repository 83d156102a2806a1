"""The page in a real browser: what it draws, what its controls and keys change, and that it asks for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import browser as browsers
import numpy as np
import pytest
import trimesh
from browser import Browser
from numpy.typing import NDArray

from lpdif.types import Mesh, Scan
from lpdif.view.page import build_page

pytestmark = pytest.mark.skipif(bool(browsers.why_not()), reason=browsers.why_not() or "there is one")

WIDTH, HEIGHT, PANEL = 1000, 700, 272
BACKGROUND = 225  # every channel of the background is brighter
INSIDE = (230, 158, 115)
LOW, HIGH = (210, 60, 130), (60, 180, 220)  # colours of the two ends of the box
PATTERNS = {0: (78, 121, 167), 1: (242, 142, 43)}  # of the page's palette
Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    opened = Browser(WIDTH, HEIGHT)
    yield opened
    opened.close()


def box_mesh() -> Mesh:
    """A box of 4 by 2 by 3 with one corner at (10, 20, 30): colours and patterns by its two ends along x, confidence along z."""
    box = trimesh.creation.box((4.0, 2.0, 3.0)).subdivide().subdivide().subdivide()
    vertices, faces = np.asarray(box.vertices) + np.array([12.0, 21, 31.5]), np.asarray(box.faces, np.int64)
    along = (vertices - [10, 20, 30]) / [4, 2, 3]
    colors = np.where(along[:, :1] < 0.5, np.array(LOW), np.array(HIGH)).astype(np.uint8)
    pattern = (vertices[faces].mean(axis=1)[:, 0] > 12).astype(np.int32)
    return Mesh(vertices, faces, None, colors, {"confidence": along[:, 2]}, {"pattern": pattern}, pattern_names={0: "convex edge"})


def box_scan() -> Scan:
    """Points that float a quarter above the box's top, in blue."""
    rng = np.random.default_rng(0)
    points = np.column_stack([rng.uniform(10, 14, 3000), rng.uniform(20, 22, 3000), np.full(3000, 33.25)])
    return Scan(points, colors=np.tile(np.array([[0, 0, 255]], np.uint8), (3000, 1)), name="scan.ply")


@pytest.fixture(scope="module")
def box_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    path.write_text(build_page(box_mesh(), box_scan(), name="box.ply").html, encoding="utf-8")
    return path


@pytest.fixture
def page(chromium: Browser, box_page: Path) -> Browser:
    """The browser with the page of the box freshly opened."""
    chromium.resize(WIDTH, HEIGHT)
    chromium.open(box_page)
    return chromium


def drawn(picture: Picture) -> Picture:
    """The part of a picture beside the panel, without the axes in its corner."""
    view = picture[:, PANEL:].copy()
    view[-110:, :110] = 255
    return view


def covered(picture: Picture) -> NDArray[np.bool_]:
    """Where something is drawn."""
    return np.asarray(drawn(picture).min(axis=2) < BACKGROUND)


def share_of(picture: Picture, color: tuple[int, int, int]) -> float:
    """The share of what is drawn whose hue is that of a colour, whatever the light."""
    pixels = drawn(picture)[covered(picture)].astype(float)
    wanted = np.array(color, float)
    cosine = pixels @ wanted / (np.linalg.norm(pixels, axis=1) * np.linalg.norm(wanted) + 1e-9)
    return float((cosine > 0.999).mean())


def bluish(picture: Picture) -> float:
    """The share of what is drawn that is blue; points a pixel wide are mixed with what is around them."""
    pixels = drawn(picture)[covered(picture)].astype(int)
    return float((pixels[:, 2] > pixels[:, :2].max(axis=1) + 10).mean())


def changed(before: Picture, after: Picture) -> float:
    """The share of the view's pixels that differ."""
    return float((np.abs(drawn(before).astype(int) - drawn(after).astype(int)).max(axis=2) > 12).mean())


def complaints(browser: Browser) -> list[str]:
    """What the console says, but for what the test's own screenshots cause."""
    return [text for text in browser.complaints() if "ReadPixels" not in text]


def pixel(browser: Browser, place: tuple[float, float, float]) -> tuple[float, float]:
    """Where a place of the file is seen in the window."""
    x, y = browser.value(
        f"""(() => {{
          const view = lpdifView.view, at = {list(place)}.map((value, axis) => (value - view.middle[axis]) / view.longest);
          const box = view.canvas.getBoundingClientRect();
          const seen = view.pixelOf(view.camera.position.clone().set(...at));
          return [box.left + seen[0], box.top + seen[1]];
        }})()"""
    )
    return float(x), float(y)


def test_it_draws_and_says_so_without_a_complaint_or_a_request(page: Browser, box_page: Path) -> None:
    picture = page.picture()
    assert 0.15 < covered(picture).mean() < 0.8
    rows, columns = np.nonzero(covered(picture))
    assert abs(rows.mean() - HEIGHT / 2) < 60
    assert abs(columns.mean() - (WIDTH - PANEL) / 2) < 60
    assert complaints(page) == []
    assert page.requests() == [box_page.resolve().as_uri()]
    assert page.value("document.getElementById('facts').innerText").split("\n")[0].split() == ["faces", "768"]
    assert page.value("document.title") == "box.ply"
    for key in "ep12345xdrhu":
        page.key(key)
    page.picture()
    assert complaints(page) == []
    assert len(page.requests()) == 1


def test_the_policy_stops_what_would_ask_for_something(page: Browser, box_page: Path) -> None:
    picture = "const i = new Image(); i.onload = i.onerror = () => done(1); i.src = 'http://127.0.0.1:9/a.png'; document.body.append(i)"
    page.value(f"new Promise((done) => {{ {picture}; }})")
    assert page.value("fetch('http://127.0.0.1:9/').then(() => 'fetched', () => 'stopped')") == "stopped"
    page.value("(() => { const s = document.createElement('script'); s.textContent = 'window.strange = 1'; document.body.append(s); })()")
    assert page.value("window.strange === undefined")
    assert any("Content Security Policy" in text for text in page.complaints())


def test_mesh_edges_and_points_are_switched(page: Browser) -> None:
    first = page.picture()
    page.key("m")
    assert covered(page.picture()).mean() == 0
    page.key("p")
    only_points = page.picture()
    assert 0.001 < covered(only_points).mean() < 0.2
    assert bluish(only_points) > 0.9
    page.key("p")
    page.key("m")
    assert changed(first, page.picture()) == 0
    page.press("show-edges")
    with_edges = page.picture()
    assert 0.02 < changed(first, with_edges) < 0.5
    lines = np.abs(drawn(first).astype(int) - drawn(with_edges)).max(axis=2) > 12
    assert drawn(with_edges)[lines].mean() < drawn(first)[lines].mean() - 10
    page.press("show-edges")
    page.press("show-points")
    with_points = page.picture()
    assert 0.001 < changed(first, with_points) < 0.3
    assert bluish(with_points) > bluish(first) + 0.005


def test_every_colouring_shows_what_it_should(page: Browser) -> None:
    scan = page.picture()
    assert 0.2 < share_of(scan, LOW) < 0.8
    assert 0.2 < share_of(scan, HIGH) < 0.8
    page.key("2")
    confidence = page.picture()
    rows = np.nonzero(covered(confidence))[0]
    upper, lower = (drawn(confidence)[row][covered(confidence)[row]].mean(axis=0) for row in (int(rows.min()) + 30, int(rows.max()) - 60))
    assert upper[1] > lower[1] + 60  # from yellow at the top, sure, to violet
    assert lower[2] > lower[1]
    page.press("colour-pattern")
    pattern = page.picture()
    shares = [share_of(pattern, color) for color in PATTERNS.values()]
    assert all(0.2 < share < 0.8 for share in shares)
    assert sum(shares) > 0.97  # faces have one colour, without a blend where patterns meet
    assert page.value("document.getElementById('legend').innerText").split() == ["convex", "edge", "50", "%", "pattern", "1", "50", "%"]
    page.key("4")
    distance = page.picture()
    assert page.value("document.querySelectorAll('#legend .bar').length") == 2
    assert page.value("[...document.querySelectorAll('#legend .ends')].map(e => e.lastChild.textContent)")[1] == "0.25 or more"
    page.key("5")
    plain = page.picture()
    assert share_of(plain, (190, 202, 214)) > 0.95
    assert page.value("document.getElementById('colour-plain').getAttribute('aria-checked')") == "true"
    pictures = [scan, confidence, pattern, distance, plain]
    assert all(changed(one, other) > 0.1 for i, one in enumerate(pictures) for other in pictures[:i])


def test_a_pattern_has_the_same_colour_in_every_page(chromium: Browser, tmp_path: Path) -> None:
    mesh = box_mesh()
    pattern = np.where(mesh.face_values["pattern"] == 1, 5, -1).astype(np.int32)
    path = tmp_path / "page.html"
    named = replace(mesh, face_values={"pattern": pattern}, pattern_names={5: "convex corner", -1: "no region"})
    path.write_text(build_page(named).html, encoding="utf-8")
    chromium.open(path)
    chromium.key("3")
    shown = chromium.value(
        "[...document.querySelectorAll('#legend .patches span')].map(e => [e.firstChild.style.background, e.childNodes[1].data])"
    )
    assert sorted(shown) == [["rgb(205, 208, 212)", "no region"], ["rgb(237, 201, 72)", "convex corner"]]
    picture = chromium.picture()
    assert all(0.2 < share_of(picture, color) < 0.8 for color in ((205, 208, 212), (237, 201, 72)))


def test_what_the_mouse_points_at_is_read(page: Browser) -> None:
    def read(column: float) -> str:
        """What is said where the mesh is, at a share of its width."""
        there = np.argwhere(covered(page.picture()).T)  # columns first
        x = there[int(column * (len(there) - 1)), 0]
        middle = there[there[:, 0] == x][:, 1]
        page.mouse("mouseMoved", PANEL + int(x), int(np.median(middle)))
        page.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        said: str = page.value("document.getElementById('readout').textContent")
        return said

    page.key("3")
    assert (read(0.05), read(0.95)) == ("here: convex edge", "here: pattern 1")
    page.key("2")
    assert 0 <= float(read(0.5).removeprefix("here: ")) <= 1
    page.key("4")
    assert read(0.5).startswith("here: ")
    page.key("5")
    assert read(0.5) == ""
    page.key("3")
    page.mouse("mouseMoved", PANEL + 5, 5)
    page.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.value("document.getElementById('readout').textContent") == ""


def test_points_have_the_colour_of_their_distance(page: Browser) -> None:
    page.key("4")
    page.key("m")
    page.key("p")
    picture = page.picture()
    pixels = drawn(picture)[covered(picture)].astype(int)
    assert (pixels[:, 0] > pixels[:, 2] + 10).mean() > 0.9  # red: all are a quarter away, which is the end of the scale


def test_a_section_takes_away_one_side(page: Browser) -> None:
    page.key("5")
    whole = page.picture()
    assert share_of(whole, INSIDE) < 0.002
    for axis, middle in (("y", 21), ("x", 12), ("z", 31.5)):
        page.key(axis)
        cut = page.picture()
        said, _, place = page.value("document.getElementById('position').textContent").partition(" = ")
        assert (said, float(place)) == (axis, middle)
        assert share_of(cut, INSIDE) > 0.1
        page.press("flip")
        other = page.picture()
        assert changed(cut, other) > 0.05
        for _ in range(20):
            page.key("]")
        moved = page.picture()
        assert changed(other, moved) > 0.02
        page.value("(() => { const w = document.getElementById('where'); w.value = 500; w.dispatchEvent(new Event('input')); })()")
        assert changed(other, page.picture()) == 0
        page.key(axis)
    assert changed(whole, page.picture()) == 0
    page.press("axis-x")
    page.key("Escape")
    assert changed(whole, page.picture()) == 0


def test_two_points_are_measured(page: Browser) -> None:
    page.press("measure")
    begin, end = (10.1, 20.0, 30.2), (13.9, 20.0, 32.9)  # both on the side that faces the reader
    page.click(*pixel(page, begin))
    assert page.value("document.getElementById('from-to').textContent") == "click on the second point"
    page.click(*pixel(page, end))
    wanted = float(np.linalg.norm(np.subtract(end, begin)))
    length = float(page.value("document.getElementById('length').textContent"))
    assert length == pytest.approx(wanted, abs=0.03)  # a pixel is about 0.01
    assert page.value("document.getElementById('label').textContent") == page.value("document.getElementById('length').textContent")
    along = page.value("document.getElementById('from-to').textContent").replace(",", " ").split()
    assert [float(value) for value in along[1::2]] == pytest.approx([3.8, 0, 2.7], abs=0.03)
    x, y = pixel(page, (12.0, 20.0, 31.55))
    magenta = np.abs(page.picture()[int(y) - 20 : int(y) + 20, int(x) - 20 : int(x) + 20].astype(int) - [194, 24, 91]).max(axis=2) < 12
    assert magenta.any()
    page.key("Escape")
    assert page.value("document.getElementById('label').hidden")
    assert page.value("document.getElementById('length').textContent") == ""


def test_measuring_takes_points_of_the_scan_and_none_that_is_cut_away(page: Browser) -> None:
    page.key("m")
    page.key("p")
    page.key("d")
    points = box_scan().points
    first, second = points[np.argmin(points[:, 0])], points[np.argmax(points[:, 0])]
    for place in (first, second):
        page.click(*pixel(page, tuple(place.tolist())))
    length = float(page.value("document.getElementById('length').textContent"))
    assert length == pytest.approx(float(np.linalg.norm(second - first)), abs=0.1)
    page.key("Escape")
    page.key("p")
    page.key("m")
    page.key("y")  # the side at y = 20 is cut away: what is hit now is the inside of the one at y = 22
    page.key("d")
    page.click(*pixel(page, (12.0, 22.0, 31.0)))
    place = page.value("lpdifView.view.fileCoordinates(lpdifView.measure.places[0])")
    assert place == pytest.approx([12, 22, 31], abs=0.05)


def test_the_mouse_turns_moves_and_zooms_and_r_goes_back(page: Browser) -> None:
    first = page.picture()
    middle = (PANEL + (WIDTH - PANEL) / 2, HEIGHT / 2)
    page.drag(middle, (middle[0] + 150, middle[1] + 60))
    turned = page.picture()
    assert changed(first, turned) > 0.05
    page.key("r")
    assert changed(first, page.picture()) == 0
    for _ in range(5):
        page.key("-")  # so that nothing leaves the picture
    small = page.picture()
    assert covered(small).mean() < 0.5 * covered(first).mean()
    page.drag(middle, (middle[0] + 80, middle[1]), "right")
    shift = np.nonzero(covered(page.picture()))[1].mean() - np.nonzero(covered(small))[1].mean()
    assert shift == pytest.approx(80, abs=15)
    page.press("reset")
    page.mouse("mouseWheel", *middle, deltaX=0, deltaY=-240)
    assert covered(page.picture()).mean() > 1.1 * covered(first).mean()
    page.key("r")
    for key in ("ArrowLeft", "ArrowUp", "+"):
        page.key(key)
    assert changed(first, page.picture()) > 0.05
    page.key("r")
    assert changed(first, page.picture()) == 0
    page.key("u")
    assert page.value("document.getElementById('up').value") == "y"
    assert changed(first, page.picture()) > 0.05


def test_a_double_click_turns_about_that_place(page: Browser) -> None:
    place = (10.5, 20.0, 30.5)
    x, y = pixel(page, place)
    page.click(x, y)
    page.click(x, y, count=2)
    target = page.value("(() => { const v = lpdifView.view; return v.fileCoordinates(v.world.worldToLocal(v.controls.target.clone())); })()")
    assert target == pytest.approx(place, abs=0.03)


def test_fingers_turn_zoom_and_measure_on_a_small_screen(chromium: Browser, box_page: Path) -> None:
    chromium.resize(390, 800, touch=True)
    try:
        chromium.open(box_page)
        first = chromium.picture()
        box = chromium.value("(({ left, top, width, height }) => [left, top, width, height])(lpdifView.view.canvas.getBoundingClientRect())")
        assert box[2] == 390
        assert box[3] > 300

        def seen() -> Picture:
            return chromium.picture()[int(box[1]) : int(box[1] + box[3]) - 110]

        def differs(before: Picture) -> float:
            return float((np.abs(seen().astype(int) - before.astype(int)).max(axis=2) > 12).mean())

        start = first[int(box[1]) : int(box[1] + box[3]) - 110]
        assert (start.min(axis=2) < BACKGROUND).mean() > 0.1
        x, y = box[0] + box[2] / 2, box[1] + box[3] / 2
        chromium.touch("touchStart", (x, y))
        for step in range(1, 6):
            chromium.touch("touchMove", (x + 20 * step, y))
        chromium.touch("touchEnd")
        assert differs(start) > 0.03
        chromium.press("reset")
        assert differs(start) == 0
        chromium.press("measure")
        begin, end = (10.3, 20.0, 30.3), (13.7, 20.0, 32.7)
        for place in (begin, end):
            chromium.touch("touchStart", pixel(chromium, place))
            chromium.touch("touchEnd")
        length = float(chromium.value("document.getElementById('length').textContent"))
        assert length == pytest.approx(float(np.linalg.norm(np.subtract(end, begin))), abs=0.06)
        chromium.key("Escape")
        chromium.press("reset")
        chromium.touch("touchStart", (x - 20, y), (x + 20, y))
        for step in range(1, 6):
            chromium.touch("touchMove", (x - 20 - 10 * step, y), (x + 20 + 10 * step, y))
        chromium.touch("touchEnd")
        assert (seen().min(axis=2) < BACKGROUND).mean() > 1.3 * (start.min(axis=2) < BACKGROUND).mean()
        assert complaints(chromium) == []
    finally:
        chromium.resize(WIDTH, HEIGHT)


def test_crumbs_far_away_do_not_make_the_first_view_small(chromium: Browser, tmp_path: Path) -> None:
    ball = trimesh.creation.icosphere(4)
    vertices = np.concatenate([np.asarray(ball.vertices), np.array([[0, 0, 0], [0.01, 0, 0], [0, 0.01, 0]]) + 300])
    faces = np.concatenate([np.asarray(ball.faces), [[len(ball.vertices) + i for i in range(3)]]])
    path = tmp_path / "page.html"
    path.write_text(build_page(Mesh(vertices, faces)).html, encoding="utf-8")
    chromium.open(path)
    assert covered(chromium.picture()).mean() > 0.3
    assert "outside of the first view" in chromium.value("document.getElementById('notes').innerText")


def test_a_page_without_webgl_says_so_and_still_has_the_facts(chromium: Browser, box_page: Path, tmp_path: Path) -> None:
    script = "HTMLCanvasElement.prototype.getContext = () => null"
    number = chromium.ask("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    try:
        chromium.ask("Page.navigate", url=box_page.resolve().as_uri())
        look = "const t = document.getElementById('trouble'); t && !t.hidden ? done(t.textContent) : setTimeout(wait, 30)"
        assert "needs WebGL" in chromium.value(f"new Promise((done) => {{ const wait = () => {{ {look}; }}; wait(); }})")
        assert "768" in chromium.value("document.getElementById('facts').innerText")
        assert chromium.value("document.getElementById('controls').hidden")
    finally:
        chromium.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=number)
        chromium.events.clear()


def test_a_scan_of_which_nothing_can_be_drawn_leaves_the_mesh(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    path.write_text(build_page(box_mesh(), Scan(np.full((40, 3), 1e9), name="scan.ply")).html, encoding="utf-8")
    chromium.open(path)
    chromium.key("p")
    chromium.key("4")
    assert covered(chromium.picture()).mean() > 0.1
    assert complaints(chromium) == []


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU time is read from /proc")
def test_200_000_faces_are_ready_in_3_s_of_cpu_and_3_mb(chromium: Browser, tmp_path: Path) -> None:
    shape = trimesh.creation.torus(1.0, 0.4, major_sections=500, minor_sections=200)
    rng = np.random.default_rng(0)
    vertices = np.asarray(shape.vertices) + 0.0005 * rng.normal(size=shape.vertices.shape)
    faces = np.asarray(shape.faces, np.int64)
    shade = (128 + 90 * np.sin(4 * vertices) + 4 * rng.normal(size=(len(vertices), 1))).astype(np.uint8)
    pattern = (np.floor(6 * vertices[faces].mean(axis=1)).astype(np.int64) @ [1, 3, 5] % 8).astype(np.int32)
    confidence = np.clip(0.8 + 0.1 * rng.normal(size=len(vertices)), 0, 1)
    points = vertices[rng.choice(len(vertices), 80_000)] + 0.002 * rng.normal(size=(80_000, 3))
    scan = Scan(points, colors=np.tile(np.array([[200, 180, 160]], np.uint8), (80_000, 1)))
    page = build_page(Mesh(vertices, faces, None, shade, {"confidence": confidence}, {"pattern": pattern}), scan)
    assert page.faces == 200_000
    assert len(page.html) < 3e6
    path = tmp_path / "page.html"
    path.write_text(page.html, encoding="utf-8")
    chromium.ask("Page.navigate", url="about:blank")
    before = chromium.cpu_seconds()
    chromium.open(path)
    chromium.value("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert chromium.cpu_seconds() - before < 3
    assert covered(chromium.picture()).mean() > 0.1
