"""Reads JSON that others may have written, and checks it.

Checked are depth and size, finite numbers, unique keys, and a declared shape.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lpdif.text import excerpt

DEEPEST = 24  # So many lists and objects may lie in each other.
MOST_NESTED = 1_000_000  # A document may hold so many lists and objects in all.
LARGEST_WHOLE = 2**63  # The absolute value of a whole number is below it.


@dataclass(frozen=True)
class Whole:
    """A whole number from `low` to `high`."""

    low: int = 0
    high: int = LARGEST_WHOLE - 1


@dataclass(frozen=True)
class Number:
    """A number from `low` to `high`, whole or not."""

    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True)
class Text:
    """Text of at most so many letters."""

    most: int = 4096


@dataclass(frozen=True)
class Maybe:
    """A key that may be missing. Where it is there, its value is of this shape."""

    shape: Shape


@dataclass(frozen=True)
class Each:
    """An object with any keys, whose values are all of this shape."""

    shape: Shape


# The shape of a value. [s]: a list of values of shape s; {key: s}: an object with these keys, and maybe others; (s, t): one of several
# shapes; None: null; object: anything.
Shape = Whole | Number | Text | Maybe | Each | list[Any] | dict[str, Any] | tuple[Any, ...] | type[object] | None


def parse(data: bytes | str) -> Any:
    """The value of a JSON text.

    Raises ValueError for anything that is wrong with it; the message quotes only numbers and keys.
    """
    text = data.decode() if isinstance(data, bytes) else data
    if text.count("[") + text.count("{") > MOST_NESTED:
        raise ValueError(f"more than {MOST_NESTED:,} lists and objects")
    try:
        found = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_whole, object_pairs_hook=_unique_keys)
    except RecursionError:
        raise ValueError(f"nested more than {DEEPEST} deep") from None
    check_depth(found)
    return found


def check_depth(value: object) -> None:
    """Raises ValueError where more than DEEPEST lists and objects lie in each other."""
    level = [value]
    for _ in range(DEEPEST + 1):
        level = [part for whole in level for part in _parts(whole)]
        if not level:
            return
    raise ValueError(f"nested more than {DEEPEST} deep")


def check(value: object, shape: Shape, place: str = "") -> None:
    """Raises ValueError, naming the place in the document, where a value is not of this shape."""
    if isinstance(shape, Maybe):
        shape = shape.shape
    if isinstance(shape, dict):
        _expect(isinstance(value, dict), value, place, "an object")
        assert isinstance(value, dict)
        for key, inner in shape.items():
            if key in value:
                check(value[key], inner, f"{place}.{key}" if place else key)
            elif not isinstance(inner, Maybe):
                raise ValueError(f"{place or 'it'} has no {key}")
    elif isinstance(shape, Each):
        _expect(isinstance(value, dict), value, place, "an object")
        assert isinstance(value, dict)
        for key, part in value.items():
            check(part, shape.shape, f"{place}.{excerpt(key)}" if place else excerpt(key))
    elif isinstance(shape, list):
        _expect(isinstance(value, list), value, place, "a list")
        assert isinstance(value, list)
        for number, part in enumerate(value):
            check(part, shape[0], f"{place}[{number}]")
    elif isinstance(shape, tuple):
        if not any(_is(value, one) for one in shape):
            check(value, shape[0], place)
    else:
        _check_single(value, shape, place)


def dump(document: object, **how: Any) -> str:
    """A document as JSON. Numbers that are not finite become null, since JSON has none."""
    return json.dumps(json_value(document), allow_nan=False, **how)


def json_value(value: object) -> object:
    """A value made of what JSON has.

    Numbers of numpy become those of Python, and numbers that are not finite become None.
    """
    if isinstance(value, Mapping):
        return {str(k): json_value(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_value(v) for v in value]
    if hasattr(value, "tolist"):
        return json_value(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def _check_single(value: object, shape: Shape, place: str) -> None:
    """Raises ValueError where a value that is no list or object is not of this shape."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(shape, Whole):
        fits = number and isinstance(value, int) and shape.low <= value <= shape.high
        _expect(fits, value, place, f"a whole number from {shape.low} to {shape.high}")
    elif isinstance(shape, Number):
        bounds = "" if (shape.low, shape.high) == (-math.inf, math.inf) else f" from {shape.low:g} to {shape.high:g}"
        _expect(number and shape.low <= value <= shape.high, value, place, f"a number{bounds}")  # type: ignore[operator]
    elif isinstance(shape, Text):
        _expect(isinstance(value, str) and len(value) <= shape.most, value, place, f"text of at most {shape.most} letters")
    elif shape is None:
        _expect(value is None, value, place, "null")


def _is(value: object, shape: Shape) -> bool:
    try:
        check(value, shape)
    except ValueError:
        return False
    return True


def _expect(fits: bool, value: object, place: str, what: str) -> None:
    if not fits:
        raise ValueError(f"{place or 'it'}: expected {what}, found {excerpt(json.dumps(value))}")


def _parts(whole: object) -> list[Any]:
    """The values in a list or object; none for anything else."""
    return list(whole.values()) if isinstance(whole, dict) else whole if isinstance(whole, list) else []


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {excerpt(twice)} stands there twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {excerpt(text)} is too large")
    return number


def _whole(text: str) -> int:
    if len(text) > 20 or not -LARGEST_WHOLE <= int(text) < LARGEST_WHOLE:
        raise ValueError(f"the number {excerpt(text)} is too large")
    return int(text)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")
