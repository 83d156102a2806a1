"""Scans of which no mesh can come: refused at once, before anything heavy is loaded; and points absurdly far out, which are left out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, process_environment
from fault_files import ball, text

from lpdif.errors import InputError
from lpdif.points.measure import measure
from lpdif.points.validity import VALIDITY, check_scan
from lpdif.types import Scan

BALL = ball(2000)[0]
FLAT = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
FLAT += "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n"
CROWD = np.random.default_rng(0).integers(0, 2, (3 * VALIDITY.sample, 3)).astype(float)  # eight places, many times over
REFUSED = {
    "empty.ply": (b"", "is empty"),
    "few.xyz": (text(BALL[:10]), "10 distinct points, at least 32 are needed"),
    "same.xyz": (b"1 2 3\n" * 500, "1 distinct point, at least 32 are needed"),
    "crowd.xyz": (text(CROWD), "8 distinct points, at least 32 are needed"),
    "nowhere.xyz": (b"nan nan nan\n" * 500, "none of its 500 points has a position: each has a coordinate that is NaN or infinite"),
    "line.xyz": (text(np.outer(np.arange(100.0), [1, 2, 3])), "all 100 points lie on one line"),
    "huge.xyz": (text(1e200 * BALL), "beyond any unit of length"),
    "spot.xyz": (text(1e-3 * BALL + 1e10), "cannot be told apart"),
    "apart.xyz": (text(np.concatenate([1e-3 * BALL, BALL[:40] + 1e9])), "40 of 2,040 points lie 9.8e+11 times as far out as the rest"),
    "flat.ply": (FLAT.encode(), "1 face without area"),
}
CALLS = {
    "the command": "from lpdif_cli.main import run\nrun(['reconstruct', name, '-o', 'mesh.ply', '-q'])",
    "a dry run": "from lpdif_cli.main import run\nrun(['reconstruct', name, '-o', 'mesh.ply', '--dry-run', '-q'])",
}


@pytest.mark.parametrize("call", CALLS)
def test_what_is_refused_is_refused_before_torch_is_loaded(call: str, tmp_path: Path) -> None:
    for name, (data, _) in REFUSED.items():
        (tmp_path / name).write_bytes(data)
    body = "".join(f"    {line}\n" for line in CALLS[call].splitlines())
    script = f"import sys, json\nfor name in sys.argv[1:]:\n{body}print(json.dumps(sorted(m.split('.')[0] for m in sys.modules)))"
    command = [sys.executable, "-c", script, *REFUSED]
    ran = subprocess.run(command, env=process_environment(), capture_output=True, text=True, check=True, cwd=tmp_path)
    errors = [line for line in ran.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == len(REFUSED)
    for line, (name, (_, said)) in zip(errors, REFUSED.items(), strict=True):
        assert line.startswith(f"error: {name}: ")
        assert said in line
    assert set(json.loads(ran.stdout.splitlines()[-1])) & {"torch", "sklearn", "scipy", "trimesh", "point_cloud_utils"} == set()


@pytest.mark.parametrize("points", [BALL, BALL * [1, 1, 0], np.concatenate([BALL] * 30), np.concatenate([BALL, np.full((9, 3), np.nan)])])
def test_a_scan_that_is_none_of_these_passes_unsaid(points: np.ndarray, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "lpdif"):
        check_scan(Scan(points))
        check_scan(Scan(np.concatenate([points, [[1e9, 0, 0]]])))
    assert caplog.text == ""


def test_parts_in_other_coordinates_are_refused_at_once() -> None:
    """Two stations, one of them in a local frame; what is given a size of regions is left to it."""
    scan = Scan(np.concatenate([4 * BALL, 4 * BALL + np.array([5e5, 5.8e6, 0])]), name="two.ply")
    with pytest.raises(
        InputError, match=r"two\.ply: extent 5\.8e\+06 is more than 2,097,152 times the 0\.[23]\d* between its points"
    ) as caught:
        check_scan(scan)
    assert "same coordinates" in str(caught.value.hint)
    check_scan(scan, sized=True)


@pytest.mark.parametrize("copies", [2, 8])
def test_copies_a_hair_apart_are_no_mistake_of_units(copies: int) -> None:
    rng = np.random.default_rng(0)
    check_scan(Scan(np.concatenate([BALL + 1e-9 * rng.normal(size=BALL.shape) for _ in range(copies)])))


@pytest.mark.parametrize("mark", [-9999.0, -32768.0, 9999.0])
@pytest.mark.parametrize("axis", [0, 2])
def test_marks_for_no_data_are_dropped(mark: float, axis: int, caplog: pytest.LogCaptureFixture) -> None:
    missing = BALL[::5].copy()
    missing[:, axis] = mark
    with caplog.at_level("INFO", "lpdif"):
        found = measure(Scan(np.concatenate([BALL, missing])))
    assert found.facts["dropped_no_data"] == len(missing)
    assert f"400 points dropped: a coordinate of {mark:g}, far from all others, stands for none" in caplog.text
    np.testing.assert_array_equal(found.points, measure(Scan(BALL)).points)


def test_a_mark_among_the_coordinates_is_one_of_them() -> None:
    """Heights around -9999 are heights; and a number that is no mark may stand far out."""
    assert "dropped_no_data" not in measure(Scan(BALL - [0, 0, 9999.0])).facts
    sheet = BALL * [1, 1, 0] - [0, 0, 500.0]
    assert "dropped_no_data" not in measure(Scan(np.concatenate([BALL, sheet]))).facts


def test_rows_without_a_length_say_nothing_of_precision(caplog: pytest.LogCaptureFixture) -> None:
    measure(Scan(np.concatenate([BALL.astype(np.float32), [[0, 0, 3.4028235e38]]]).astype(np.float64)))
    assert "single precision" not in caplog.text


@pytest.mark.parametrize(
    "strays", [[[1e9, 0, 0]], [[0, -3.4e38, 0]] * 500, [[i, 0, 3.4e38] for i in range(500)], [[1e9, 0, 0], [1e4, 5e5, 1e7]], 1e5 * np.eye(3)]
)
@pytest.mark.parametrize("size", [1e-3, 1.0, 1e5])
def test_points_absurdly_far_out_are_left_out_as_if_they_were_not_there(strays: list[list[float]], size: float) -> None:
    far = np.asarray(strays, dtype=np.float64) * max(1.0, size if np.abs(strays).max() < 1e30 else 1.0)
    alone = measure(Scan(size * BALL))
    found = measure(Scan(np.concatenate([far, size * BALL])))
    np.testing.assert_array_equal(found.points, alone.points)
    np.testing.assert_array_equal(found.origin, alone.origin)
    np.testing.assert_array_equal(found.kept, alone.kept + len(far))
    if np.abs(far).max() > 1e30:  # no length at all: what stands for no data
        assert found.facts["dropped_not_finite"] == len(far)
    else:
        assert found.facts["dropped_outliers"] == len(np.unique(far, axis=0))
    assert (found.spacing, found.noise) == (alone.spacing, alone.noise)


def test_outliers_of_both_kinds_are_counted_together(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "lpdif"):
        found = measure(Scan(np.concatenate([BALL, [[1e9, 0, 0], [2, 2, 2]]])))
    assert found.facts["dropped_outliers"] == 2
    assert "1 outlier left out: 5e+08 times as far out as all the rest" in caplog.text


def test_a_point_absurdly_far_out_that_is_to_be_kept_is_named() -> None:
    scan = Scan(np.concatenate([1e-3 * BALL, [[1e9, 0, 0]]]), name="scan.ply")
    for look in (check_scan, measure):
        with pytest.raises(InputError) as caught:
            look(scan, keep_outliers=True)
        said = "scan.ply: 1 of 2,001 points lies 1e+12 times as far out as the rest, which are one spot beside it"
        assert (caught.value.message, caught.value.hint) == (said, "remove it: 1e+09 0 0")


def test_too_few_are_left_without_the_points_far_out() -> None:
    with pytest.raises(InputError, match=r"1 of 32 points lies 9.9e\+08 times as far out"):
        measure(Scan(np.concatenate([ball(31)[0], [[1e9, 0, 0]]])))


@pytest.mark.parametrize(
    ("words", "lengths", "flags"),
    [
        (["--region-size", "1e-9"], "region size 1e-09", "--region-size 2.1e-06"),
        (["--resolution", "1e-8", "--region-size", "0.3"], "resolution 1e-08", "--resolution 2.1e-06"),
        (
            ["--resolution", "1e-8", "--region-size", "1e-9"],
            "region size 1e-09 and the resolution 1e-08",
            "--region-size 2.1e-06 and --resolution 2.1e-06",
        ),
    ],
)
def test_unit_mistakes_are_named_with_extent_and_size(cli: Cli, words: list[str], lengths: str, flags: str) -> None:
    Path("scan.xyz").write_bytes(text(ball()[0]))
    ran = cli("reconstruct", "scan.xyz", "-o", "mesh.ply", *words)
    assert ran.code == 3
    assert ran.lines[-2] == f"error: scan.xyz: extent 1.995 is more than 2^20 times the {lengths}"
    assert ran.lines[-1] == f"  hint: check the units; or remove points far from all others; or give {flags} or more"
