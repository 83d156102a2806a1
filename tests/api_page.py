"""Writes docs/api.md from the docstrings of what `lpdif` offers: python tests/api_page.py."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "models"))

import lpdif  # noqa: E402 (after the path)

PAGE = ROOT / "docs" / "api.md"
METHODS = {"LocalField": ("sdf", "gradient")}  # classes of which these alone are for users
HEAD = """# Python API

What `import lpdif` offers, from its docstrings (made by `tests/api_page.py`). [Python](python.md) shows how it is used.
"""


def signature(thing: object) -> str:
    """The call of a function or class as one writes it, without the quotes of annotations."""
    try:
        found = str(inspect.signature(thing))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return ""
    return re.sub(r"<function <?(\w+)>? at \w+>", r"\1", re.sub(r"(?<=[:>] )'([^']*)'", r"\1", found))


def entry(name: str, thing: object) -> list[str]:
    """The lines of a function or class, and of the public methods that the class itself defines or takes from lpdif."""
    lines = [f"## {name}", "", "```text", f"{name}{signature(thing)}", "```", "", text(thing)]
    for method, found in inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else []:
        if (
            method in METHODS.get(name, (method,))
            and not method.startswith("_")
            and found.__module__.startswith("lpdif")
            and inspect.getdoc(found)
        ):
            lines += ["", f"### {name}.{method}", "", "```text", f"{method}{signature(found)}", "```", "", text(found)]
    return [*lines, ""]


def text(thing: object) -> str:
    """A docstring as a block, as it stands: its columns keep their places."""
    return f"```text\n{inspect.getdoc(thing) or ''}\n```"


def page() -> str:
    """The whole page."""
    names = [name for name in sorted(lpdif.__all__, key=str.lower) if not name.startswith("__")]
    return "\n".join([HEAD, *(line for name in names for line in entry(name, getattr(lpdif, name)))]).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
