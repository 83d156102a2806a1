"""How `--help` looks: the text as it was written, first line a command that can be pasted, then the options.

Plain text of at most 80 columns on purpose: it is the same on a terminal, in a pipe and in the README.
"""

from __future__ import annotations

import inspect
from typing import Any

from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose help is its docstring, then its options, then its settings."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(inspect.cleandoc(self.help or "") + "\n")
        self.format_options(ctx, formatter)
        if self.epilog:
            formatter.write("\n" + self.epilog + "\n")


class Group(TyperGroup):
    """The same for `lpdif --help`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(inspect.cleandoc(self.help or "") + "\n")
        self.format_options(ctx, formatter)
        if self.epilog:
            formatter.write("\n" + self.epilog + "\n")
