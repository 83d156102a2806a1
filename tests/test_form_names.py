"""The names of patterns: by their form, and by their number where a form comes several times."""

from __future__ import annotations

from lpdif.form_names import FORMS, pattern_names


def test_a_form_that_comes_once_is_the_name() -> None:
    assert pattern_names(range(len(FORMS))) == list(FORMS)
    assert pattern_names([0]) == ["smooth"]


def test_patterns_of_one_form_are_told_apart_by_their_numbers() -> None:
    assert pattern_names([0, 0, 0, 1, 2]) == ["smooth 0", "smooth 1", "smooth 2", "convex edge", "concave edge"]
    assert len(set(pattern_names([0] * 50 + list(range(1, len(FORMS)))))) == 49 + len(FORMS)


def test_no_pattern_has_no_name() -> None:
    assert pattern_names([]) == []
