"""The report of a batch: a row a scan, what failed and why, totals; small for thousands."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from pages import Page, picture
from shapes import as_mesh
from test_report_page import EVIL, RUN

from lpdif.report.batch_report import SKIPPED_NAMED, BatchRow, batch_report
from lpdif.report.pictures import PICTURES, thumbnail
from lpdif.tools.rendering import UPRIGHT

RING = as_mesh(trimesh.creation.torus(1.0, 0.4))
ROWS = [
    BatchRow("scans/a.ply", "out/a.ply", "done", thumbnail(RING.vertices, RING.faces), 4000, 12_345, 1, 0.187, 3.14, ["it is thin"]),
    BatchRow("scans/b.ply", "out/b.ply", "kept", "", 1000, 655, 0, 0.0, 2.0),
    BatchRow("scans/old.ply", "out/old.ply", "kept"),  # of which the record says nothing
    BatchRow(f"scans/{EVIL}.ply", f"out/{EVIL}.ply", "failed", seconds=0.5, error=f"ends after 53 of 100 points {EVIL}"),
]


def test_rows_totals_and_failures() -> None:
    page = Page(batch_report(RUN, "out", ROWS, warnings=["made.json: not a list of meshes"]))
    page.check_stands_alone()
    rows = {cells[1]: cells[2:] for cells in page.cells if len(cells) == 9}
    assert rows["scans/a.plyout/a.ply"] == ["done", "4,000", "12,345", "1", "0.19", "3.1 s", "it is thin"]
    assert rows["scans/b.plyout/b.ply"] == ["kept", "1,000", "655", "0", "0.00", "2.0 s", ""]
    assert rows["scans/old.plyout/old.ply"] == ["kept", "", "", "", "", "", ""]
    assert rows["4 in all"] == ["", "5,000", "13,000", "", "", "3.1 s", ""]
    [failed] = [cells for name, cells in rows.items() if "script" in name]
    assert (failed[0], failed[5]) == ("failed", "0.5 s")
    assert "ends after 53 of 100 points <script>" in failed[6]
    assert page.text.count("ends after 53 of 100 points") == 2  # in the box above all others too
    assert "made.json: not a list of meshes" in page.text
    keys = [page.texts[i - 1] for name in ("meshes made now", "kept from earlier runs", "failed") for i in [page.texts.index(name)]]
    assert keys == ["1", "2", "1"]


def test_what_is_still_to_be_made_is_told() -> None:
    page = Page(batch_report(RUN, "out", [*ROWS, BatchRow("scans/z.ply", "out/z.ply", "waiting")]))
    assert "1 scan of 5 still to be made: the run goes on, or was stopped" in page.text
    assert ["waiting", "", "", "", "", "", ""] in [cells[2:] for cells in page.cells if len(cells) == 9]
    assert "still to be made" not in Page(batch_report(RUN, "out", ROWS)).text


@pytest.mark.parametrize("up", sorted(UPRIGHT))
def test_pictures_have_the_axis_up_that_is_asked_for(up: str) -> None:
    axis, sign = "xyz".index(up[-1]), -1.0 if up[0] == "-" else 1.0
    cone = trimesh.creation.cone(1.0, 3.0)  # along z, its tip above
    turned = np.roll(np.asarray(cone.vertices), axis - 2, axis=1)  # x, y, z go round, so that faces keep their outside
    if sign < 0:  # half a turn about another axis
        turned[:, [axis, (axis + 1) % 3]] *= -1
    wide = (picture(thumbnail(turned, np.asarray(cone.faces), up)) < 250).any(-1).sum(1)
    rows = np.flatnonzero(wide)
    assert wide[rows[-8:]].mean() > 3 * wide[rows[:8]].mean()  # the tip is above
    assert len(rows) > 1.2 * wide.max()


def test_skipped_files_are_told_by_their_reasons() -> None:
    skipped = [(f"scans/{n}.md", "notes") for n in range(SKIPPED_NAMED + 5)] + [("scans/x.fifo", "a pipe, socket or device")]
    page = Page(batch_report(RUN, "out", ROWS, skipped))
    assert page.rows["notes"][0] == str(SKIPPED_NAMED + 5)
    assert page.rows["notes"][1].endswith(" and 5 more")
    assert page.rows["a pipe, socket or device"] == ["1", "scans/x.fifo"]


@pytest.mark.parametrize("shift", [0.0, 1e7])
def test_thumbnails_show_the_mesh_wherever_it_lies(shift: float) -> None:
    seen = (picture(thumbnail(RING.vertices + shift, RING.faces)) < 250).any(-1)
    assert seen.shape == (PICTURES.thumbnail, PICTURES.thumbnail)
    there = (picture(thumbnail(RING.vertices, RING.faces)) < 250).any(-1)
    assert (seen != there).mean() < 0.01
    assert seen.any(0).mean() > 0.9  # it fills the width
    assert 0.2 < seen.any(1).mean() < 0.8  # and lies flat


def test_no_face_has_no_picture() -> None:
    assert thumbnail(np.zeros((4, 3)), np.empty((0, 3), np.int64)) == ""


def test_a_thousand_scans_are_a_few_megabytes() -> None:
    assert len(batch_report(RUN, "out", [ROWS[0]._replace(scan=f"scans/{n}.ply") for n in range(1000)])) < 6_000_000
