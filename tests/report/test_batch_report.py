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
