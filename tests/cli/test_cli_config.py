"""`lpdif config show`: values and where they come from, as lines of a settings file."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from conftest import Cli

from lpdif_cli.settings import all_keys
from lpdif_cli.settings_about import ABOUT


def test_every_setting_is_shown_with_its_default(cli: Cli) -> None:
    found = cli("config", "show", "--json").document["settings"]
    assert set(found) == set(all_keys())
    assert {entry["source"] for entry in found.values()} == {"default"}
    assert found["fit.patterns"]["value"] == 8
    assert found["output.units"]["value"] is None


def test_each_source_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("lpdif.toml").write_text("seed = 7\n[fit]\npatterns = 4\n[output]\nunits = 'mm'\n")
    monkeypatch.setenv("LPDIF_FIT_BATCH", "32")
    found = cli("config", "show", "--threads", "3", "--json").document["settings"]
    assert found["fit.patterns"] == {"value": 4, "source": "lpdif.toml", "about": ABOUT["fit.patterns"]}
    assert found["output.units"] == {"value": "mm", "source": "lpdif.toml", "about": ABOUT["output.units"]}
    assert found["fit.batch"] == {"value": 32, "source": "LPDIF_FIT_BATCH", "about": ABOUT["fit.batch"]}
    assert found["threads"] == {"value": 3, "source": "--threads", "about": ABOUT["threads"]}
    seed = found["reconstruct.seed"]
    assert (seed["value"], seed["source"]) == (7, "lpdif.toml")  # the common seed counts for every stage
    assert found["fit.width"]["source"] == "default"


def test_what_is_shown_is_a_settings_file_that_says_the_same(cli: Cli) -> None:
    Path("lpdif.toml").write_text('device = "cpu"\n[reconstruct]\nsensor = [0, 0, 1.5]\nwatertight = true\n[cluster]\nsweep = [2, 4]\n')
    shown = cli("config", "show").out
    assert max(map(len, shown.splitlines())) <= 80
    assert tomllib.loads(shown)["reconstruct"]["watertight"] is True
    before = cli("config", "show", "--json").document["settings"]
    Path("lpdif.toml").write_text(shown)
    after = cli("config", "show", "--json").document["settings"]
    assert {key: entry["value"] for key, entry in after.items()} == {key: entry["value"] for key, entry in before.items()}


def test_every_setting_is_explained_above_its_line(cli: Cli) -> None:
    assert set(ABOUT) == set(all_keys())
    lines = cli("config", "show").out.splitlines()
    for key, words in ABOUT.items():
        stage, _, name = key.rpartition(".")
        begin = lines.index(f"[{stage}]") if stage else 0
        line = next(line for line in lines[begin:] if line.startswith((f"{name} = ", f"# {name} is ")))
        assert lines[lines.index(line, begin) - 1] == f"# {words}"


def test_only_show_is_known(cli: Cli) -> None:
    ran = cli("config", "set")
    assert (ran.code, ran.lines) == (2, ["error: config cannot 'set'", "  hint: write: lpdif config show"])
    Path("lpdif.toml").write_text("[fit]\npattrns = 4\n")
    ran = cli("config", "show")
    assert (ran.code, ran.lines[0]) == (4, "error: lpdif.toml: unknown key 'pattrns' in [fit]")
