"""What a reconstruction says of itself."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
from reconstructions import all_models, ball, run

from lpdif.text import collected_warnings
from lpdif.types import Scan

log = logging.getLogger("lpdif")


def test_it_prints_what_matters() -> None:
    made = run(ball(), all_models()["tiny"])
    size, step = float(made.facts["region_size"]), float(made.facts["resolution"])
    assert repr(made).startswith(f"Reconstruction({len(made.mesh.faces):,} faces, ")
    assert repr(made).endswith(f", closed, region size {size:.3g}, resolution {step:.3g})")
    assert made.warnings == ()


def test_it_prints_what_was_warned_of() -> None:
    points = np.concatenate([ball().points, [[np.nan] * 3]])
    made = run(Scan(points[points[:, 2] < 0.5]), all_models()["tiny"], region_size=0.02)
    assert any("far below" in warning for warning in made.warnings)
    lines = repr(made).splitlines()
    assert "open along" in lines[0]
    assert lines[1:] == [f"  warning: {warning}" for warning in made.warnings]


def test_warnings_are_collected_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "lpdif")
    other = threading.Thread(target=log.warning, args=("from beside",))
    with collected_warnings() as found:
        log.info("no warning")
        log.warning("mind the %s", "gap")
        other.start()
        other.join()
    log.warning("too late")
    assert found == ["mind the gap"]
    assert caplog.messages == ["mind the gap", "from beside", "too late"]
