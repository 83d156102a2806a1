"""A page of HTML that stands alone: its head, its style, and the parts of which all reports are made."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from lpdif.text import printable

MARK = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="generator" content="lpdif report">'
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # no script, and no request at all
STYLE = """
:root { color-scheme: light; --ink: #1f2a36; --pale: #66727e; --line: #dfe3e7; --blue: #3b6ea5; --amber: #8a4b00; --red: #a3211b }
* { box-sizing: border-box }
body { font: 14px/1.5 system-ui, "Segoe UI", sans-serif; color: var(--ink); background: #fff; max-width: 1120px;
 margin: 32px auto; padding: 0 20px }
h1 { font-size: 22px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere }
h2 { font-size: 15px; margin: 34px 0 10px; padding-top: 12px; border-top: 1px solid var(--line) }
p { margin: 4px 0; max-width: 100ch; overflow-wrap: anywhere }
.pale, figcaption, th, svg text { color: var(--pale); fill: var(--pale) }
.key { display: flex; flex-wrap: wrap; gap: 8px 34px; margin: 18px 0 0 }
.key div { min-width: 84px } .key b { display: block; font-size: 20px; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums }
.key span { color: var(--pale); font-size: 12px }
.warnings { margin: 18px 0 0; padding: 8px 14px; border-left: 3px solid #d08a2e; background: #fdf6ec; color: var(--amber) }
.failures { border-left-color: var(--red); background: #fdf2f1; color: var(--red) }
.warnings p { margin: 3px 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th { font-weight: 500; font-size: 12px; text-align: left; vertical-align: bottom }
td, th { padding: 3px 18px 3px 0; vertical-align: top; overflow-wrap: break-word } tr + tr td { border-top: 1px solid #eef0f2 }
.n { text-align: right; white-space: nowrap; overflow-wrap: normal } .wide { width: 100% }
.wide td:nth-child(2) { min-width: 210px; overflow-wrap: anywhere } .wide td:last-child { overflow-wrap: anywhere }
.warn { color: var(--amber) } .bad { color: var(--red) }
.sides { display: grid; grid-template-columns: 46px repeat(4, 1fr); gap: 8px; align-items: center }
.sides span { color: var(--pale); font-size: 12px }
.sides img { width: 100%; border: 1px solid var(--line); border-radius: 6px; display: block }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 22px 26px }
.curves { display: grid; grid-template-columns: repeat(auto-fill, minmax(460px, 1fr)); gap: 26px }
.beside { display: grid; grid-template-columns: minmax(0, 2fr) minmax(0, 3fr); gap: 40px }
@media (max-width: 760px) { .beside { display: block } }
figure { margin: 0 } figcaption { font-size: 12px; line-height: 1.4 } figcaption b { color: var(--ink); font-weight: 600 }
svg { width: 100%; display: block } svg text { font-size: 11px; font-family: inherit }
.told { margin: 0; padding: 0; list-style: none } .told li { padding: 3px 0; border-top: 1px solid #eef0f2; overflow-wrap: anywhere }
.told li:first-child { border-top: 0 }
.thumb { width: 96px; height: 96px; border: 1px solid var(--line); border-radius: 4px; display: block }
code { font: 12.5px/1.5 ui-monospace, Consolas, monospace; background: #f3f5f7; padding: 2px 5px; border-radius: 3px; overflow-wrap: anywhere }
.gallery { max-width: 100%; border: 1px solid var(--line); border-radius: 6px }
@media print { body { margin: 0 } h2, figure, tr { break-inside: avoid } }
"""


class Setting(NamedTuple):
    """A setting of a run, as text, and where it comes from; "" for a default."""

    name: str
    value: str
    origin: str = ""


class Run(NamedTuple):
    """What every report says of its run.

    command: as it was typed; made: when it ended; versions: (package, version) of what it used.
    """

    command: str
    made: str
    seconds: float
    seed: int
    versions: Sequence[tuple[str, str]]
    settings: Sequence[Setting]


class Message(NamedTuple):
    """A line that a run has told its user."""

    text: str
    warning: bool = False


def safe(value: object) -> str:
    """A text that may come from anywhere, for HTML: nothing in it is markup."""
    return html.escape(printable(str(value)), quote=True)


def number(value: object) -> str:
    """A value as a reader wants it: whole numbers whole, others to four digits, thousands with commas; text as it is."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Sequence[int] = (), kind: str = "") -> str:
    """A table. Cells are HTML; those of the columns in `right` are aligned to the right. Without head no first row."""

    def row(cells: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(_cell(cell, tag, i in right) for i, cell in enumerate(cells))}</tr>"

    first = row([safe(cell) for cell in head], "th") if head else ""
    return f'<table class="{kind}">{first}{"".join(row(cells, "td") for cells in rows)}</table>'


def _cell(content: str, tag: str, right: bool) -> str:
    return f'<{tag} class="n">{content}</{tag}>' if right else f"<{tag}>{content}</{tag}>"


def key_figures(figures: Iterable[tuple[str, str]]) -> str:
    """The few figures at the top of a page: (name, value)."""
    return f'<div class="key">{"".join(f"<div><b>{safe(value)}</b><span>{safe(name)}</span></div>" for name, value in figures)}</div>'


def warning_box(messages: Iterable[str], kind: str = "") -> str:
    """Warnings in a box; nothing where there is none. kind: "failures" for what went wrong."""
    lines = "".join(f"<p>{safe(text)}</p>" for text in messages)
    return f'<div class="warnings {kind}">{lines}</div>' if lines else ""


def told(messages: Iterable[Message]) -> str:
    """What a run has told, line by line."""
    lines = "".join(f'<li class="{"warn" if message.warning else ""}">{safe(message.text)}</li>' for message in messages)
    return f'<ul class="told">{lines}</ul>'


def about_run(run: Run) -> str:
    """The last section of every report: settings, versions, seed."""
    settings = [(safe(s.name), safe(s.value), f'<span class="pale">{safe(s.origin or "default")}</span>') for s in run.settings]
    versions = [(safe(name), safe(version)) for name, version in run.versions]
    return (
        f"<h2>Settings and versions</h2><p><code>{safe(run.command)}</code></p>"
        f'<p class="pale">Seed {run.seed}. The same input, settings and versions give the same result, whatever the number of threads.</p>'
        f'<div class="beside"><div>{table(("package", "version"), versions)}</div>'
        f"<div>{table(('setting', 'value', 'from'), settings)}</div></div>"
    )


def page(title: str, run: Run, body: str) -> bytes:
    """The whole page, of a title and the HTML below it."""
    head = f'<meta http-equiv="Content-Security-Policy" content="{POLICY}"><meta name="viewport" content="width=device-width">'
    made = f'<p class="pale">{safe(run.made)}</p>'
    return f"{MARK}{head}<title>{safe(title)}</title><style>{STYLE}</style><h1>{safe(title)}</h1>{made}{body}</html>\n".encode()
