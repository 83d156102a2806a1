"""JSON of strangers: every way in which it may be more than it seems is a ValueError, and nothing else."""

from __future__ import annotations

import json
import math
import re

import numpy as np
import pytest

from lpdif.storage.strict_json import DEEPEST, LARGEST_WHOLE, Each, Maybe, Number, Shape, Text, Whole, check, dump, parse


def test_what_is_plain_is_read_as_json_reads_it() -> None:
    document = {"a": [1, -2.5, None, True, "x\x1b", {}], "b": {"c": LARGEST_WHOLE - 1, "d": -LARGEST_WHOLE}, "": "ä\ud800"}
    assert parse(json.dumps(document)) == document
    assert parse(json.dumps(document).encode()) == document


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "Expecting value"),
        (b"[1] 2", "Extra data"),
        (b'{"a": "\xff"}', "can't decode"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ('{"a": 1, "b": 2, "a": 1}', "the key a stands there twice"),
        ("[NaN]", "NaN is no number of JSON"),
        ("[-Infinity]", "-Infinity is no number of JSON"),
        ("[1e999]", "1e999 is too large"),
        ("[-1e999]", "-1e999 is too large"),
        (f"[{LARGEST_WHOLE}]", "too large"),
        ("[" + "9" * 10_000 + "]", "too large"),
        ("[" * (DEEPEST + 2) + "]" * (DEEPEST + 2), "deep"),
        ('{"a":' * (DEEPEST + 2) + "1" + "}" * (DEEPEST + 2), "deep"),
        ("[" * 500_000, "deep"),
        ("[" * 500_000 + "]" * 500_000, "deep"),
        ("[" + "{}," * 1_100_000 + "1]", "lists and objects"),
    ],
)
def test_what_is_not_is_a_value_error(text: str | bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        parse(text)
    assert len(str(caught.value)) < 200


def test_depth_is_allowed_up_to_its_limit() -> None:
    assert parse("[" * DEEPEST + "]" * DEEPEST)


ROW: Shape = {"n": Whole(0, 9), "x": Maybe(Number(-1, 1)), "name": Text(3), "more": Maybe([Each((Whole(), None))])}


@pytest.mark.parametrize(
    "value",
    [{"n": 0, "name": ""}, {"n": 9, "name": "abc", "x": 1, "other": []}, {"n": 1, "name": "a", "x": -0.5, "more": [{"a": 1, "b": None}, {}]}],
)
def test_values_of_the_shape(value: object) -> None:
    check([value], [ROW])


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "[0]: expected an object, found []"),
        ({"name": "a"}, "[0] has no n"),
        ({"n": -1, "name": "a"}, "[0].n: expected a whole number from 0 to 9, found -1"),
        ({"n": True, "name": "a"}, "[0].n: expected a whole number from 0 to 9, found true"),
        ({"n": 1.0, "name": "a"}, "[0].n: expected a whole number from 0 to 9, found 1.0"),
        ({"n": 1, "name": 2}, "[0].name: expected text of at most 3 letters, found 2"),
        ({"n": 1, "name": "long"}, '[0].name: expected text of at most 3 letters, found "long"'),
        ({"n": 1, "name": "a", "x": "y"}, '[0].x: expected a number from -1 to 1, found "y"'),
        ({"n": 1, "name": "a", "x": 2}, "[0].x: expected a number from -1 to 1, found 2"),
        ({"n": 1, "name": "a", "more": {}}, "[0].more: expected a list, found {}"),
        ({"n": 1, "name": "a", "more": [{"b": -1}]}, f"[0].more[0].b: expected a whole number from 0 to {LARGEST_WHOLE - 1}, found -1"),
    ],
)
def test_the_place_of_what_is_not_of_the_shape_is_named(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said) + "$"):
        check([value], [ROW])


def test_numbers_that_json_has_not_are_null() -> None:
    document = {"a": math.nan, "b": [np.float32(np.inf), np.int64(3)], "c": np.array([1.5, np.nan])}
    assert parse(dump(document)) == {"a": None, "b": [None, 3], "c": [1.5, None]}
