"""flag > LPDIF_* > lpdif.toml > default; a misspelt key names the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest

from lpdif.config import Config
from lpdif.errors import ModelError, UsageError
from lpdif_cli.settings import describe_keys, resolve


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_given_is_the_default() -> None:
    assert resolve("fit", {"fit.patterns": None}).config == Config()


def test_each_source_outweighs_the_one_below() -> None:
    Path("lpdif.toml").write_text("threads = 1\ndevice = 'cpu'\n[fit]\npatterns = 2\nbatch = 32\nkde_every = 7\n")
    environment = {"LPDIF_FIT_PATTERNS": "3", "LPDIF_FIT_BATCH": "64", "HOME": "/nowhere"}
    chosen = resolve("fit", {"fit.patterns": "4"}, environment=environment)
    assert (chosen.config.fit.patterns, chosen.config.fit.batch, chosen.config.fit.kde_every) == (4, 64, 7)
    assert (chosen.config.threads, chosen.config.device) == (1, "cpu")
    assert chosen.origins["fit.patterns"] == "--patterns"
    assert chosen.origins["fit.batch"] == "LPDIF_FIT_BATCH"
    assert chosen.origins["fit.kde_every"] == "lpdif.toml"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_byte_order_mark_is_no_part_of_the_file(newline: str) -> None:
    Path("lpdif.toml").write_bytes(("\ufeffthreads = 1" + newline + "[fit]" + newline + "patterns = 2" + newline).encode())
    chosen = resolve("fit", {}, environment={})
    assert (chosen.config.threads, chosen.config.fit.patterns) == (1, 2)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_another_encoding_is_told(encoding: str) -> None:
    mark = "\ufeff" if encoding.endswith("be") else ""
    Path("lpdif.toml").write_bytes(f"{mark}threads = 1\n".encode(encoding))
    with pytest.raises(ModelError) as caught:
        resolve("fit", {}, environment={})
    assert caught.value.message == "lpdif.toml: saved as UTF-16 or UTF-32, TOML is UTF-8"
    assert caught.value.hint == "save it again, with the encoding UTF-8"


def test_named_file_takes_the_place_of_the_one_in_the_folder(tmp_path: Path) -> None:
    Path("lpdif.toml").write_text("threads = 1\n")
    (tmp_path / "mine.toml").write_text("device = 'cpu'\n")
    for chosen in (
        resolve(None, {}, tmp_path / "mine.toml", {}),
        resolve(None, {}, None, {"LPDIF_CONFIG": str(tmp_path / "mine.toml")}),
    ):
        assert (chosen.config.threads, chosen.config.device) == (0, "cpu")


def test_seed_is_for_every_stage_unless_the_stage_has_its_own() -> None:
    Path("lpdif.toml").write_text("seed = 5\n[fit]\nseed = 6\n")
    assert resolve("fit", {}, environment={}).seed == 6
    assert resolve("cluster", {}, environment={}).seed == 5
    assert resolve(None, {}, environment={}).seed == 5
    assert resolve("fit", {}, environment={"LPDIF_SEED": "7"}).config.fit.seed == 7
    assert resolve("fit", {"seed": "8"}, environment={"LPDIF_SEED": "7", "LPDIF_FIT_SEED": "9"}).config.fit.seed == 8


@pytest.mark.parametrize(
    ("toml", "message", "hint"),
    [
        ("[fit]\npaterns = 8\n", "unknown key 'paterns' in [fit]", "did you mean 'patterns'?"),
        ("[fitt]\npatterns = 8\n", "unknown table [fitt]", "did you mean 'fit'?"),
        ("thread = 8\n", "unknown key 'thread'", "did you mean 'threads'?"),
        ("[fit]\nresume = true\n", "unknown key 'resume' in [fit]", "known:"),
        ("[fit]\npatterns = 'many'\n", "patterns: 'many' is not a whole number", "a whole number"),
        ("[fit]\npatterns = 0\n", "patterns: 0 is out of range", "from 1 to 4096"),
        ("[fit]\npatterns = true\n", "patterns: True is not a whole number", "a whole number"),
        ("[fit]\nlearning_rate = nan\n", "learning_rate: nan is out of range", "at least"),
        ("[reconstruct]\nresolution = -1\n", "resolution: -1 is out of range", "above 0 or auto"),
        ("[reconstruct]\nadaptive = 0\n", "adaptive: 0 is out of range", "above 0 or auto"),
        ("[reconstruct]\ntexture = 'big'\n", "texture: 'big' is not a whole number", "a whole number or auto"),
        ("[reconstruct]\nwatertight = 'maybe'\n", "watertight: 'maybe' is neither true nor false", "true or false"),
        ("[reconstruct]\nsensor = [1, 2]\n", "sensor: 2 numbers instead of 3", "X Y Z"),
        ("device = 'gpu'\n", "'gpu' is not a device", "auto, cpu, cuda"),
        ("device = 3\n", "3 is not a device", "auto, cpu, cuda"),
        ("workspace = ''\n", "'' is not text", "quotes"),
        ("[preprocess]\nfinest = 0.5\n", "finest is larger than coarsest", "down to"),
        ("fit = \n", "not TOML", "key = value"),
    ],
)
def test_bad_file_is_a_model_error(toml: str, message: str, hint: str) -> None:
    Path("lpdif.toml").write_text(toml)
    with pytest.raises(ModelError) as caught:
        resolve("fit", {}, environment={})
    assert message in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"LPDIF_WORKSPCE": "x"}, "unknown variable LPDIF_WORKSPCE"),
        ({"LPDIF_THREADS": "two"}, "LPDIF_THREADS: 'two' is not a whole number"),
        ({"LPDIF_CONFIG": "nowhere.toml"}, "nowhere.toml: no such settings file"),
    ],
)
def test_bad_environment_is_a_model_error(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        resolve("fit", {}, environment=environment)


def test_misspelt_variable_names_the_nearest() -> None:
    with pytest.raises(ModelError) as caught:
        resolve("fit", {}, environment={"LPDIF_WORKSPCE": "x"})
    assert caught.value.hint == "did you mean 'LPDIF_WORKSPACE'?"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4G", 4 * 10**9),
        ("500M", 500 * 10**6),
        ("1.5 GB", 1_500_000_000),
        ("2GiB", 2**31),
        ("64k", 64_000),
        ("800000000", 800_000_000),
        ("3T", 3 * 10**12),
    ],
)
def test_sizes_of_memory_are_read_with_their_units(text: str, size: int) -> None:
    assert resolve("reconstruct", {"reconstruct.max_memory": text}, environment={}).config.reconstruct.max_memory == size
    Path("lpdif.toml").write_text(f'[reconstruct]\nmax_memory = "{text}"\n')
    assert resolve("reconstruct", {}, environment={}).config.reconstruct.max_memory == size
    assert resolve("reconstruct", {"reconstruct.max_memory": "auto"}, environment={}).config.reconstruct.max_memory is None


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"fit.patterns": "none"}, "--patterns: 'none' is not a whole number"),
        ({"fit.patterns": "0"}, "--patterns: 0 is out of range"),
        ({"reconstruct.region_size": "wide"}, "--region-size: 'wide' is not a number"),
        ({"reconstruct.region_size": "inf"}, "--region-size: inf is out of range"),
        ({"reconstruct.max_distance": "0"}, "--max-distance: 0 is out of range"),
        ({"reconstruct.sensor": ("1", "2", "x")}, "--sensor: 'x' is not a number"),
        ({"reconstruct.faces": "3"}, "--faces: 3 is out of range"),
        ({"reconstruct.max_memory": "4X"}, "--max-memory: '4X' is not a size"),
        ({"reconstruct.max_memory": "-4G"}, "--max-memory: '-4G' is not a size"),
        ({"reconstruct.max_memory": "4iB"}, "--max-memory: '4iB' is not a size"),
        ({"reconstruct.max_memory": "0"}, "--max-memory: 0 is out of range"),
        ({"reconstruct.max_memory": "9999999T"}, "--max-memory: 9999999000000000000 is out of range"),
        ({"cluster.sweep": "2,x"}, "--sweep: 'x' is not a whole number"),
        ({"device": "tpu"}, "--device: 'tpu' is not a device"),
        ({"seed": "-1"}, "--seed: -1 is out of range"),
        ({"threads": "1.5"}, "--threads: '1.5' is not a whole number"),
    ],
)
def test_bad_flag_is_a_usage_error(flags: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve("fit", flags, environment={})
    assert caught.value.message.startswith(message)


def test_values_are_read_from_every_source_alike() -> None:
    Path("lpdif.toml").write_text("[reconstruct]\nsensor = [1, 2.5, -3]\nresolution = 'auto'\nwatertight = true\nmodel = 'm.safetensors'\n")
    chosen = resolve("reconstruct", {}, environment={})
    assert chosen.config.reconstruct.sensor == (1.0, 2.5, -3.0)
    assert chosen.config.reconstruct.resolution is None
    assert chosen.config.reconstruct.watertight is True
    assert chosen.model == "m.safetensors"
    environment = {"LPDIF_RECONSTRUCT_SENSOR": "1 2.5 -3", "LPDIF_RECONSTRUCT_RESOLUTION": "0.5", "LPDIF_CLUSTER_SWEEP": "2, 4,8"}
    chosen = resolve("reconstruct", {"reconstruct.sensor": ("1", "2.5", "-3e0")}, environment=environment)
    assert chosen.config.reconstruct.sensor == (1.0, 2.5, -3.0)
    assert chosen.config.reconstruct.resolution == 0.5
    assert chosen.config.cluster.sweep == (2, 4, 8)


def test_help_lists_every_setting_of_a_stage_with_its_default() -> None:
    text = describe_keys("fit")
    assert "kde_gamma 0.5" in text
    assert "resume" not in text
    assert all(len(line) <= 80 for line in text.splitlines())
