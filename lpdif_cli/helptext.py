"""The layout of `--help`: a command to paste, the text of the docstring, then the options, by panel.

It is plain text of at most 80 columns, the same on a terminal and in a pipe; on a narrower terminal the lines are shorter.
"""

from __future__ import annotations

import inspect
import shutil
import textwrap
from typing import Any

from typer.core import TyperCommand, TyperGroup

WIDEST_HELP = 80  # columns
NARROWEST_HELP = 50  # columns


class Command(TyperCommand):
    """A command whose help is its docstring, its options and its settings."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)


class Group(TyperGroup):
    """The same for `lpdif --help`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write(self, ctx, formatter)


def _write(command: Command | Group, ctx: Any, formatter: Any) -> None:
    width = max(NARROWEST_HELP, min(WIDEST_HELP, shutil.get_terminal_size().columns))
    formatter.write(fitted(inspect.cleandoc(command.help or ""), width) + "\n")
    _write_options(command, ctx, formatter)
    if isinstance(command, Group):
        command.format_commands(ctx, formatter)
    if command.epilog:
        formatter.write("\n" + fitted(command.epilog, width) + "\n")


def _write_options(command: Command | Group, ctx: Any, formatter: Any) -> None:
    """The options under the heading of their panel, in the order in which panels first appear."""
    panels: dict[str, list[tuple[str, str]]] = {}
    for option in command.get_params(ctx):
        record = option.get_help_record(ctx)
        if record is not None:
            title = getattr(option, "rich_help_panel", None) or (next(reversed(panels), "Options") if option.name == "help" else "Options")
            panels.setdefault(title, []).append(record)
    widest = max((len(names) for records in panels.values() for names, _ in records), default=0)
    for title, records in panels.items():
        with formatter.section(title):
            formatter.write_dl([(names.ljust(widest), about) for names, about in records])


def fitted(text: str, width: int) -> str:
    """The text with no line longer than `width`, except for longer words.

    A paragraph with longer lines is wrapped as one.
    """
    paragraphs = text.split("\n\n")
    for n, paragraph in enumerate(paragraphs):
        lines = paragraph.splitlines()
        if max(map(len, lines), default=0) > width:
            indent = lines[-1][: len(lines[-1]) - len(lines[-1].lstrip())] if len(lines) > 1 else ""
            words = " ".join(line.strip() for line in lines)
            paragraphs[n] = textwrap.fill(words, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n\n".join(paragraphs)
