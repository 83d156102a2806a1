"""The registry of formats: one line adds a format, and everything that asks for formats then knows it."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from lpdif.errors import InputError
from lpdif.io import registry
from lpdif.io.detect import format_of
from lpdif.io.folders import scans_below
from lpdif.io.read import load_scan, read_scan
from lpdif.io.registry import Format, all_endings, all_formats, format_by_name
from lpdif.io.source import Source
from lpdif.types import Scan

TOY = b"TOY!" + np.arange(12.0).tobytes()


def is_toy(source: Source) -> bool:
    return source.data.startswith(b"TOY!")


def read_toy(source: Source) -> Scan:
    return Scan(np.frombuffer(source.data[4:]).reshape(-1, 3), name=source.name)


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "UNMARKED", (Format("lpdif-toy", "TOY", (".lpdif-toy",), is_toy, read_toy), *registry.UNMARKED))


def test_one_line_adds_a_format(toy: None, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.lpdif-toy").write_bytes(TOY)
    (tmp_path / "b.ply").write_bytes(TOY)
    (tmp_path / "c.doc").write_bytes(TOY)
    with caplog.at_level(logging.INFO, "lpdif"):
        assert load_scan(tmp_path / "a.lpdif-toy").points.tolist() == np.arange(12.0).reshape(4, 3).tolist()
        assert not caplog.messages
        assert load_scan(tmp_path / "b.ply").points.shape == (4, 3)
    assert caplog.messages == ["b.ply: its content is TOY, and is read as that"]
    assert scans_below(tmp_path)[0] == [tmp_path / "a.lpdif-toy", tmp_path / "b.ply"]
    with pytest.raises(InputError, match=r"a\.txt: no such file") as caught:
        load_scan(tmp_path / "a.txt")
    assert "a.lpdif-toy" in caught.value.hint
    with pytest.raises(InputError, match="not a TOY file") as caught:
        read_scan(b"\x01\x02\x03", "a.lpdif-toy")
    assert "TOY, PLY" in caught.value.hint


def test_it_is_the_line_that_adds_it(tmp_path: Path) -> None:
    (tmp_path / "a.lpdif-toy").write_bytes(TOY)
    assert scans_below(tmp_path)[0] == []
    with pytest.raises(InputError, match="not recognised as a scan"):
        load_scan(tmp_path / "a.lpdif-toy")


def test_names_and_endings_occur_once() -> None:
    names = [known.name for known in all_formats()]
    assert len(set(names)) == len(names)
    assert len(set(all_endings())) == len(all_endings())
    assert all(ending == ending.lower() and ending.startswith(".") for ending in all_endings() if ending != "points3d.bin")  # a whole name


def test_every_ending_leads_to_its_format() -> None:
    for known in all_formats():
        for ending in known.endings:
            assert format_by_name(f"SCAN{ending.upper()}") is known
    assert format_by_name("ply") is None


@pytest.mark.parametrize(("name", "format_name"), [("a.obj", "obj"), ("a.stl", "stl"), ("a.ply", ""), ("a.xyz", ""), ("a", "")])
def test_what_nothing_marks_is_read_by_its_name_where_it_may_be_that(name: str, format_name: str) -> None:
    source = Source(name, b"# nothing yet\no part\n" if name == "a.obj" else b"solid part\n")
    if format_name:
        assert format_of(source).name == format_name
    else:
        with pytest.raises(InputError):
            format_of(source)
