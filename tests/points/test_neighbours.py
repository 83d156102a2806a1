"""Nearest points by several threads: as cKDTree gives them, the same for every number of threads, and nobody else asks a tree so."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, process_environment
from scipy.spatial import cKDTree

from lpdif.points import neighbours
from lpdif.points.neighbours import query

# Ctrl-C in the middle of long searches; what the threads of a search that was left still write into is freed then.
LEFT = """
import _thread, threading
import numpy as np
from scipy.spatial import cKDTree
from lpdif.points.neighbours import query
points = np.random.default_rng(0).random((60_000, 3))
tree = cKDTree(points)
for pause in np.linspace(0.01, 0.3, 8):
    try:
        threading.Timer(pause, _thread.interrupt_main).start()
        while True:
            query(tree, points, 64, 4)
    except KeyboardInterrupt:
        pass
    ballast = [np.ones(100_000) for _ in range(40)]
    assert all((part == 1).all() for part in ballast)
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread() and not isinstance(thread, threading.Timer)]
    assert others == [], others
"""


@pytest.mark.parametrize("count", [0, 1, 7, 5000])
@pytest.mark.parametrize(
    "more", [{}, {"k": 1}, {"k": 9}, {"k": [2, 5]}, {"k": np.arange(1, 4)}, {"eps": 0.5}, {"k": 5, "distance_upper_bound": 0.05}]
)
def test_as_the_tree_gives_them_for_every_number_of_threads(count: int, more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(count)
    tree, places = cKDTree(rng.random((300, 3))), rng.random((count, 3))
    monkeypatch.setattr(neighbours, "QUERY_ROWS", 512)
    wanted = tree.query(places, **more)
    for threads in (1, 2, 3):
        for found, expected in zip(query(tree, places, threads=threads, **more), wanted, strict=True):
            assert (found.shape, found.dtype, found.tobytes()) == (expected.shape, expected.dtype, expected.tobytes())


def test_what_a_block_raises_is_raised() -> None:
    places = np.zeros((20_000, 3))
    places[-1] = np.nan
    with pytest.raises(ValueError, match="finite"):
        query(cKDTree(np.zeros((5, 3))), places, threads=2)


@pytest.mark.slow
def test_an_interrupt_leaves_no_thread_at_work() -> None:
    ran = subprocess.run([sys.executable, "-c", LEFT], env=process_environment(), capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def asks_with_threads(path: Path) -> list[int]:
    """Lines of a file where something is called with `workers=`, as the searches of scipy take the number of their threads."""
    calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if any(keyword.arg == "workers" for keyword in call.keywords)]


def test_nobody_else_asks_from_several_threads() -> None:
    files = [path for folder in ("models", "lpdif_cli", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    assert {str(path): lines for path in files if (lines := asks_with_threads(path))} == {}


def test_a_call_with_threads_is_seen(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\ntree.query(points, workers=-1)\n")
    assert asks_with_threads(tmp_path / "a.py") == [2]
