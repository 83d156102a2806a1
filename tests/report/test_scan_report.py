"""The report of a reconstruction: what it shows is what was made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pages import Page
from reconstructions import SPACING, all_models, ball, run
from test_report_page import EVIL, RUN

from lpdif.report.page import Message
from lpdif.report.pictures import PICTURES
from lpdif.report.scan_report import MEASURED_POINTS, MeshedScan, distances_to_mesh, scan_report
from lpdif.tools.laps import Lap
from lpdif.types import Mesh, Scan


@pytest.fixture(scope="module")
def made() -> MeshedScan:
    scan = ball()
    whole = run(scan, all_models()["tiny"])
    messages = [Message("normals: given, consistent; kept"), Message(f"about {EVIL}", True)]
    return MeshedScan(EVIL, "mesh.ply", scan.points, whole.mesh, *whole.used, whole.facts, messages, whole.laps)


@pytest.fixture(scope="module")
def page(made: MeshedScan) -> Page:
    return Page(scan_report(RUN, made))


def test_it_stands_alone_whatever_the_names(page: Page) -> None:
    page.check_stands_alone()
    assert 10_000 < len(page.source) < 2_000_000


def test_its_figures_are_those_of_the_run(page: Page, made: MeshedScan) -> None:
    assert page.rows["points used"] == [f"{len(made.used):,}"]
    assert page.rows["faces"] == [f"{len(made.mesh.faces):,}"]
    assert page.rows["spacing"] == [f"{made.facts['spacing']:.4g}"]
    assert page.rows["region size"] == [f"{made.facts['region_size']:.4g}"]
    assert page.rows["normals"] == [str(made.facts["normals"])]
    assert page.rows["open loops"] == ["0"]
    sides = [float(word) for word in page.rows["size of the mesh"][0].split(" × ")]
    np.testing.assert_allclose(sides, np.ptp(made.mesh.vertices, axis=0), rtol=1e-3)
    assert float(page.rows["area of the mesh"][0]) == pytest.approx(4 * np.pi, rel=0.03)
    away = distances_to_mesh(made.used, made.mesh)
    assert f"mean {away.mean():.4g}" in page.text
    assert f"median {np.median(made.spacing):.4g}" in page.text
    assert f"median {np.median(made.mesh.vertex_values['confidence'].astype(float)):.4g}" in page.text


def test_it_tells_what_the_run_told_and_warned_of(page: Page) -> None:
    assert "normals: given, consistent; kept" in page.text
    boxes = [about for tag, about in page.elements if tag == "div" and (about.get("class") or "").startswith("warnings")]
    assert len(boxes) == 1
    assert page.source.count("about &lt;script&gt;") == 2  # in the box, and in its place among the rest


def test_its_pictures_show_points_and_mesh_from_four_sides(page: Page) -> None:
    pictures = page.pictures
    assert [len(picture) for picture in pictures] == [PICTURES.point_pixels] * 4 + [PICTURES.pixels] * 4
    for picture in pictures:
        seen = (picture < 250).any(-1)
        across, down = seen.any(0).mean(), seen.any(1).mean()
        assert (across, down) == (pytest.approx(0.95, abs=0.05), pytest.approx(0.95, abs=0.05))  # a ball fills its frame
    covered = [(picture < 250).any(-1).mean() for picture in pictures[4:]]
    np.testing.assert_allclose(covered, np.pi / 4 / 1.04**2, atol=0.03)


def test_parts_of_the_work_are_told_with_time_and_memory(page: Page, made: MeshedScan) -> None:
    assert [lap.name for lap in made.laps] == [
        "points and sizes",
        "placing the regions",
        "codes and patterns",
        "zero surface",
        "trimming and finishing",
    ]
    for lap in made.laps:
        memory = "-" if lap.memory is None else f"{lap.memory / 1e6:,.0f} MB"
        assert page.rows[lap.name][:3] == [f"{lap.seconds:.2f} s", f"{lap.cpu:.2f} s", memory]


def test_memory_that_is_not_known_and_values_that_are_missing(made: MeshedScan) -> None:
    bare = dataclasses.replace(made.mesh, vertex_values={})
    page = Page(scan_report(RUN, made._replace(mesh=bare, laps=[Lap("all", 0.0, 0.0, None)], messages=[])))
    assert page.rows["all"][2] == "-"
    assert "Confidence" not in page.text
    assert 'class="warnings' not in page.source


def test_distances_are_those_of_the_points(made: MeshedScan) -> None:
    shift = np.array([4.5e6, -2e6, 3e5])
    far = Mesh(made.mesh.vertices + shift, made.mesh.faces)
    np.testing.assert_allclose(distances_to_mesh(made.used + shift, far), distances_to_mesh(made.used, made.mesh), atol=1e-6)
    assert distances_to_mesh(made.used, made.mesh).max() < 0.2 * SPACING
    many = np.repeat(made.used, 1 + 2 * MEASURED_POINTS // len(made.used), axis=0)
    assert MEASURED_POINTS / 2 < len(distances_to_mesh(many, made.mesh)) <= MEASURED_POINTS


def test_what_the_mesh_was_made_of_is_in_world_coordinates() -> None:
    scan = ball()
    moved = run(Scan(scan.points + np.array([1000.0, 0, 0]), scan.normals), all_models()["tiny"]).used
    assert len(moved.points) == len(moved.spacing) == len(moved.noise) == 1500
    np.testing.assert_allclose(np.linalg.norm(moved.points - [1000, 0, 0], axis=1), 1, atol=1e-9)
    assert np.median(moved.spacing) == pytest.approx(SPACING, rel=0.1)
