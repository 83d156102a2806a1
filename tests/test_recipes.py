"""The recipes in models/recipes: each can be read, and the one of the bundled model fits that model."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT

import lpdif
from lpdif_cli.settings import resolve

RECIPES = sorted((ROOT / "models" / "recipes").glob("*.toml"))
BUNDLED = ROOT / "models" / "lpdif" / "weights" / "default.safetensors"


def test_there_are_recipes() -> None:
    assert [path.name for path in RECIPES if path.name == "default.toml"]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_setting_of_a_recipe_is_taken(path: Path) -> None:
    written = tomllib.loads(path.read_text())
    for stage in ("preprocess", "fit"):
        found = dataclasses.asdict(getattr(resolve(stage, {}, path, {}).config, stage))
        for name, value in written[stage].items():
            assert found[name] == value, name
    assert resolve("fit", {}, path, {}).seed == written["seed"]


@pytest.mark.skipif(not BUNDLED.exists(), reason="no model is bundled yet")
def test_the_bundled_model_is_what_its_recipe_makes() -> None:
    recipe = resolve("fit", {}, ROOT / "models" / "recipes" / "default.toml", {}).config.fit
    sizes = lpdif.load_model(BUNDLED).card["sizes"]
    assert sizes == {"features": recipe.features, "width": recipe.width, "patterns": recipe.patterns}
