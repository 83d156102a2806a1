"""What forms and patterns are called, wherever they are shown. `core/forms.py` says what each form is. Does not load torch."""

from __future__ import annotations

from collections.abc import Sequence

FORMS = ("smooth", "convex edge", "concave edge", "convex corner", "concave corner", "convex saddle", "concave saddle")

NOWHERE = {-1: "no region"}  # the number that stands where no region is


def pattern_names(form: Sequence[int]) -> list[str]:
    """The name of each pattern, of their forms (K,): that of its form, with the pattern's number where several have this form."""
    return [FORMS[one] if form.count(one) == 1 else f"{FORMS[one]} {number}" for number, one in enumerate(form)]
