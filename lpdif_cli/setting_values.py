"""Reads the value of one setting, from text or as TOML has it."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Callable

from lpdif.config import CHOICES, LIMITS, MOST_COUNT, limits
from lpdif.device import check_device_name
from lpdif.errors import LpdifError, UsageError
from lpdif.text import excerpt

# the hint for the setting sensor
THREE_NUMBERS = "write X Y Z, as in --sensor 0 0 1.5, or under [reconstruct] in lpdif.toml: sensor = [0, 0, 1.5]"

SIZE = "write a size as 500M, 4G or 4GiB, or auto"  # the hint for the setting max_memory

Value = object
Fail = Callable[[str, str], LpdifError]


def read_value(value: Value, kind: type, key: str, where: str, fail: Fail) -> Value:
    """A value (text, or a value of TOML) as `kind`. where: names its place in errors, which `fail` makes."""
    name = key.rpartition(".")[2]
    if key == "device":
        if not isinstance(value, str):
            raise fail(f"{where}: {shown(value)} is not a device", "use auto, cpu, cuda or cuda:N")
        try:
            check_device_name(value, where)
        except UsageError as error:
            raise fail(error.message, error.hint) from None
        return value
    arguments = typing.get_args(kind)
    auto = " or auto" if type(None) in arguments else ""
    if auto:
        if value == "auto":
            return None
        kind = arguments[0]
        arguments = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        return _read_list(value, arguments, name, where, fail)
    if kind is bool:
        return _read_switch(value, where, fail)
    if kind is str and name in CHOICES:
        if value not in CHOICES[name]:
            raise fail(f"{where}: {shown(value)} is not one of {', '.join(CHOICES[name])}", f"write one of {', '.join(CHOICES[name])}")
        return value
    if kind is str:
        if not isinstance(value, str) or not value or "\0" in value:
            raise fail(f"{where}: {shown(value)} is not text", 'write it in quotes: "..."')
        return value
    if name == "max_memory" and isinstance(value, str):
        value = _read_bytes(value, where, fail)
    return _read_number(value, kind, name, where, fail, auto)


def _read_bytes(text: str, where: str, fail: Fail) -> int:
    """A size, as 500M, 4G or 3.5GiB, in bytes."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([KMGT]?)(I?)B?", text.strip().upper())
    if found is None or (found[3] and not found[2]):
        raise fail(f"{where}: {shown(text)} is not a size", SIZE)
    return int(float(found[1]) * (1024 if found[3] else 1000) ** " KMGT".index(found[2] or " "))


def _read_number(value: Value, kind: type, name: str, where: str, fail: Fail, auto: str = "") -> float | int:
    """A number within its limits. auto: " or auto", for the hint, where that word is allowed."""
    what = "a whole number" if kind is int else "a number"
    number: float | int
    try:
        if isinstance(value, bool) or not isinstance(value, (str, int, float) if kind is float else (str, int)):
            raise ValueError
        number = int(value) if kind is int else float(value)
    except ValueError:
        raise fail(f"{where}: {shown(value)} is not {what}", f"write {what}{auto}") from None
    except OverflowError:
        number = math.inf
    low, high = limits(name, kind is int)
    positive = kind is float and name not in LIMITS
    if not (low <= number <= high and number != math.inf) or (positive and number == 0):
        unlimited = high in (math.inf, MOST_COUNT)
        bound = "above 0" if positive else f"at least {low:g}" if unlimited else f"from {low:g} to {high:g}"
        raise fail(f"{where}: {excerpt(value) if isinstance(value, str) else shown(value)} is out of range", f"write {what} {bound}{auto}")
    return number


def _read_switch(value: Value, where: str, fail: Fail) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in {"1", "true", "yes", "on", "0", "false", "no", "off"}:
        return value.lower() in {"1", "true", "yes", "on"}
    raise fail(f"{where}: {shown(value)} is neither true nor false", "write true or false")


def _read_list(value: Value, kinds: tuple[object, ...], name: str, where: str, fail: Fail) -> tuple[Value, ...]:
    """A tuple of whole numbers, or of as many coordinates as there are kinds.

    kinds (int, ...): any number of whole numbers.
    """
    parts = re.split(r"[,\s]+", value.strip(", ")) if isinstance(value, str) else value
    if not isinstance(parts, (list, tuple)):
        raise fail(f"{where}: {shown(value)} is not a list of numbers", "write them with commas")
    if kinds[-1] is Ellipsis:
        return tuple(_read_number(part, int, name, where, fail) for part in parts if part != "")
    if len(parts) != len(kinds):
        raise fail(f"{where}: {len(parts)} numbers instead of {len(kinds)}", THREE_NUMBERS)
    numbers = []
    for part in parts:
        try:
            number = float(part) if isinstance(part, (str, int, float)) else math.nan
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise fail(f"{where}: {shown(part)} is not a number, and three are needed", THREE_NUMBERS)
        numbers.append(number)
    return tuple(numbers)


def shown(value: Value) -> str:
    """A value for a message; text in quotes."""
    try:
        return excerpt(repr(value))
    except ValueError:  # Python does not write numbers of more than 4300 digits
        return "a number of thousands of digits"
