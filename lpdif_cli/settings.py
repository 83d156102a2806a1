"""Reads settings from flags, LPDIF_* variables and lpdif.toml.

A flag counts before a variable, that before the file, and that before the default. `[fit] patterns = 8` in the file is `LPDIF_FIT_PATTERNS=8`
in the environment and, where there is one, the flag `--patterns 8`. The names are those of `lpdif.config`. Keys without a stage are at the top
of the file: workspace, device, threads, and seed, which counts for every stage that has none of its own.
"""

from __future__ import annotations

import codecs
import dataclasses
import difflib
import logging
import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lpdif import config as stages
from lpdif.errors import ModelError, UsageError
from lpdif.storage.safe_open import read_regular
from lpdif.storage.strict_json import check_depth
from lpdif.text import excerpt
from lpdif_cli.setting_values import Value, read_value

log = logging.getLogger("lpdif")

FILE_NAME = "lpdif.toml"
LONGEST_SETTINGS_FILE = 1 << 14  # bytes of a settings file
_STAGES: dict[str, type] = {
    "preprocess": stages.PreprocessConfig,
    "fit": stages.FitConfig,
    "cluster": stages.ClusterConfig,
    "reconstruct": stages.ReconstructConfig,
    "compare": stages.CompareConfig,
    "output": stages.OutputConfig,
}
_NOT_SETTINGS = {"fit.resume"}  # given by a flag alone


@dataclass(frozen=True)
class Settings:
    """The settings of a run: its config, seed and model.

    origins: where each value that is no default comes from.
    """

    config: stages.Config
    seed: int
    model: str | None
    origins: Mapping[str, str]


def resolve(
    stage: str | None,
    flags: Mapping[str, Value],
    config_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """The settings of a run of `stage`; None for a command that is no stage.

    flags: the text given for each dotted key, or None; environment: the variables, by default those of the process.
    Raises UsageError for a bad flag, ModelError for a bad file or variable.
    """
    environment = os.environ if environment is None else environment
    keys = all_keys()
    values: dict[str, Value] = {}
    origins: dict[str, str] = {}
    for source in (_from_file(config_file, environment, keys), _from_environment(environment, keys), _from_flags(flags, keys)):
        for key, (value, where) in source.items():
            values[key], origins[key] = value, where
            if key == "seed":  # it replaces the seeds of stages that come from weaker sources
                for other in [k for k in values if k.endswith(".seed") and k not in source]:
                    del values[other], origins[other]
    for key, where in origins.items():
        log.debug("setting %s: %s (%s)", key, values[key], where)
    return _assemble(stage, values, origins)


def describe_keys(stage: str) -> str:
    """The keys of a stage with their defaults, for the end of its --help."""
    pairs = [
        f"{field.name} {show_value(field.default)}"
        for field in dataclasses.fields(_STAGES[stage])
        if f"{stage}.{field.name}" not in _NOT_SETTINGS
    ]
    lines, line = [], " "
    for pair in [p + "," for p in pairs[:-1]] + pairs[-1:]:
        if len(line) + len(pair) > 76:
            lines.append(line)
            line = " "
        line += " " + pair
    head = f"Settings: [{stage}] in lpdif.toml, or LPDIF_{stage.upper()}_<NAME>:"
    return "\n".join([head, *lines, line, "  (`lpdif config show` says what each means)"])


def workspace_words(place: Path) -> tuple[str, ...]:
    """The options that a suggested command needs for this workspace."""
    return () if place == Path(stages.Config.workspace) else ("--workspace", str(place))


def same_place(settings: Settings, config_file: Path | None = None) -> tuple[str, ...]:
    """The options that a suggested command needs for the workspace and the settings file of this run."""
    place = Path(settings.config.workspace)
    named = settings.origins.get("workspace") == "--workspace"  # a settings file may name another one
    where = ("--workspace", str(place)) if named else workspace_words(place)
    return (*where, *given("--config", config_file))


def given(flag: str, value: Value) -> tuple[str, ...]:
    """A flag for a suggested command, where it was given in this run."""
    return () if value is None else (flag, str(value))


def all_keys() -> dict[str, type]:
    """Every dotted key and its type."""
    keys: dict[str, type] = {"workspace": str, "device": str, "threads": int, "seed": int}
    for stage, kind in _STAGES.items():
        hints = typing.get_type_hints(kind)
        keys |= {f"{stage}.{field.name}": hints[field.name] for field in dataclasses.fields(kind)}
    keys["reconstruct.model"] = str
    return {key: kind for key, kind in keys.items() if key not in _NOT_SETTINGS}


def _from_flags(flags: Mapping[str, Value], keys: Mapping[str, type]) -> dict[str, tuple[Value, str]]:
    found = {}
    for key, value in flags.items():
        if value is not None:
            flag = "--" + key.rpartition(".")[2].replace("_", "-")
            found[key] = (read_value(value, keys[key], key, flag, UsageError), flag)
    return found


def _from_environment(environment: Mapping[str, str], keys: Mapping[str, type]) -> dict[str, tuple[Value, str]]:
    names = {"LPDIF_" + key.replace(".", "_").upper(): key for key in keys}
    found = {}
    for name, text in environment.items():
        if not name.startswith("LPDIF_") or name == "LPDIF_CONFIG":
            continue
        if name not in names:
            raise ModelError(f"environment: unknown variable {excerpt(name)}", _nearest(name, [*names, "LPDIF_CONFIG"]))
        found[names[name]] = (read_value(text, keys[names[name]], names[name], name, ModelError), name)
    return found


def _from_file(config_file: Path | None, environment: Mapping[str, str], keys: Mapping[str, type]) -> dict[str, tuple[Value, str]]:
    named = config_file or (Path(environment["LPDIF_CONFIG"]) if environment.get("LPDIF_CONFIG") else None)
    path = named or Path(FILE_NAME)
    try:
        document = tomllib.loads(settings_text(read_regular(path, LONGEST_SETTINGS_FILE), path))
        check_depth(document)
    except FileNotFoundError:
        if named is None:
            return {}
        raise ModelError(f"{path}: no such settings file", "check --config and LPDIF_CONFIG") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})", "a settings file is a TOML text file") from error
    except RecursionError:
        raise ModelError(f"{path}: not TOML: nested too deeply", "write one `key = value` a line, text in quotes") from None
    except ValueError as error:
        raise ModelError(f"{path}: not TOML: {error}", "write one `key = value` a line, text in quotes") from error
    found = {}
    for name, value in document.items():
        if isinstance(value, dict):
            if name not in _STAGES:
                raise ModelError(f"{path}: unknown table [{excerpt(name)}]", _nearest(name, list(_STAGES)))
            entries = {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            entries = {name: value}
        for key, inner in entries.items():
            stage, _, last = key.rpartition(".")
            if key not in keys:
                siblings = [k.rpartition(".")[2] for k in keys if k.rpartition(".")[0] == stage]
                place = f" in [{stage}]" if stage else ""
                raise ModelError(f"{path}: unknown key '{excerpt(last)}'{place}", _nearest(last, siblings))
            found[key] = (read_value(inner, keys[key], key, f"{path}: {last}", ModelError), str(path))
    return found


def settings_text(data: bytes, path: Path) -> str:
    """The text of a settings file without a byte order mark, as editors on Windows write.

    Raises ModelError for UTF-16 and UTF-32.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)):
        raise ModelError(f"{path}: saved as UTF-16 or UTF-32, TOML is UTF-8", "save it again, with the encoding UTF-8")
    return data.decode("utf-8-sig")


def _nearest(name: str, known: list[str]) -> str:
    """The hint for a misspelt name."""
    close = difflib.get_close_matches(name, known, 1, 0.6)
    return f"did you mean '{close[0]}'?" if close else "known: " + ", ".join(sorted(known))


def _assemble(stage: str | None, values: Mapping[str, Value], origins: Mapping[str, str]) -> Settings:
    """The settings made of these values, and of defaults for the others."""
    tables: dict[str, typing.Any] = {}
    for name, kind in _STAGES.items():
        own = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(name + ".")}
        own.pop("model", None)
        if "seed" in values and name != "output":
            own.setdefault("seed", values["seed"])
        tables[name] = kind(**own)
    common: dict[str, typing.Any] = {key: values[key] for key in ("workspace", "device", "threads") if key in values}
    config = stages.Config(**common, **tables)
    if config.preprocess.finest > config.preprocess.coarsest:
        raise ModelError("[preprocess] finest is larger than coarsest", "regions go from `coarsest` down to `finest`")
    seed = tables[stage].seed if stage else values.get("seed", 0)
    model = values.get("reconstruct.model")
    assert isinstance(seed, int)
    assert model is None or isinstance(model, str)
    return Settings(config, seed, model, origins)


def show_value(value: Value) -> str:
    """A value as it is written in a settings file; texts of a fixed choice without quotes."""
    if value is None:
        return "auto"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)
