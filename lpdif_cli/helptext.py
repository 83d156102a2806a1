"""How `--help` looks: the text as it was written, first line a command that can be pasted, then the options.

Plain text of at most 80 columns on purpose: it is the same on a terminal, in a pipe and in the README. A narrower terminal gets the same text
in shorter lines.
"""

from __future__ import annotations

import inspect
import shutil
import textwrap
from typing import Any

from typer.core import TyperCommand, TyperGroup

WIDEST_HELP = 80  # columns
NARROWEST_HELP = 50  # where options are no longer folded either


class Command(TyperCommand):
    """A command whose help is its docstring, then its options, then its settings."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)


class Group(TyperGroup):
    """The same for `lpdif --help`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)


def _write(command: Command | Group, ctx: Any, formatter: Any) -> None:
    width = max(NARROWEST_HELP, min(WIDEST_HELP, shutil.get_terminal_size().columns))
    formatter.write(fitted(inspect.cleandoc(command.help or ""), width) + "\n")
    command.format_options(ctx, formatter)
    if command.epilog:
        formatter.write("\n" + fitted(command.epilog, width) + "\n")


def fitted(text: str, width: int) -> str:
    """The text with no line wider than `width`, but for words that are: a paragraph that is wider is filled anew, indented as its last line."""
    paragraphs = text.split("\n\n")
    for n, paragraph in enumerate(paragraphs):
        lines = paragraph.splitlines()
        if max(map(len, lines), default=0) > width:
            indent = lines[-1][: len(lines[-1]) - len(lines[-1].lstrip())] if len(lines) > 1 else ""
            words = " ".join(line.strip() for line in lines)
            paragraphs[n] = textwrap.fill(words, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n\n".join(paragraphs)
