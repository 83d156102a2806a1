"""The parts of a page: nothing from outside is markup, and numbers are as readers want them."""

from __future__ import annotations

import pytest
from pages import Page

from lpdif.report.page import MARK, Message, Run, Setting, about_run, key_figures, number, page, safe, table, told, warning_box

EVIL = '<script>alert("1")</script>&\'\x1b[31m\u202e\udcff'
RUN = Run(EVIL, EVIL, 3.25, 7, [(EVIL, EVIL)], [Setting(EVIL, EVIL, EVIL), Setting("held_out", "9")])


def test_nothing_from_outside_is_markup() -> None:
    body = key_figures([(EVIL, EVIL)]) + warning_box([EVIL]) + told([Message(EVIL), Message(EVIL, True)]) + about_run(RUN)
    made = Page(page(EVIL, RUN, body + table([EVIL], [[safe(EVIL)]])))
    made.check_stands_alone()
    assert made.text.count('<script>alert("1")</script>&\'\\x1b[31m\\u202e\\udcff') == 16  # as text, with the control characters as codes


def test_a_page_is_told_by_its_beginning() -> None:
    assert page("title", RUN, "").startswith(MARK.encode())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (0.0123456, "0.01235"),
        (12.5, "12.5"),
        (54321.6, "54,322"),
        (-54321.6, "-54,322"),
        (1e-7, "1e-07"),
        (2e13, "2e+13"),
        (float("nan"), "-"),
        (float("inf"), "-"),
        ("given", "given"),
        (True, "True"),
    ],
)
def test_numbers(value: object, words: str) -> None:
    assert number(value) == words


def test_a_box_of_no_warnings_is_not_there() -> None:
    assert warning_box([]) == ""


def test_defaults_are_told_as_such() -> None:
    rows = Page(page("title", RUN, about_run(RUN))).rows
    assert rows["held_out"] == ["9", "default"]
