"""Sections of tables, plots and texts → one page; everything that came from outside is escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Table:
    """A table; `numeric` are the columns (from 0) that are set flush right; a row may be marked good or bad."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    caption: str = ""
    marks: tuple[str, ...] = ()
    """For each row `good`, `bad` or nothing; empty when no row is marked."""
    is_folded: bool = False
    """Whether only the caption is seen until somebody asks for more."""


@dataclass(frozen=True)
class Plot:
    """A drawing of our own making."""

    svg: str
    caption: str


@dataclass(frozen=True)
class Example:
    """A question with what was answered, for people to read."""

    title: str
    lines: tuple[tuple[str, str], ...]
    """What a text is, and the text."""


@dataclass(frozen=True)
class Examples:
    """Several of them, folded away until somebody wants them."""

    summary: str
    entries: tuple[Example, ...]


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    title: str
    texts: tuple[str, ...] = ()
    blocks: tuple[Table | Plot | Examples, ...] = ()


@dataclass(frozen=True)
class Page:
    """One report in one language."""

    language: str
    title: str
    subtitle: str
    badge: tuple[str, str]
    """The verdict's word and `good`, `bad` or `plain`."""
    summary: tuple[str, ...]
    sections: tuple[Section, ...]
    footer: str


def render(page: Page) -> str:
    """Return the page as HTML."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_TEMPLATE)
    return template.render(page=page, kind=lambda block: type(block).__name__, svg=_svg)


def _svg(plot: Plot) -> Markup:
    return Markup(plot.svg)  # drawn by plots.py, which escapes its texts


def share(value: float | None) -> str:
    """Return a share as percent with one decimal, a dash for none."""
    return "–" if value is None else f"{value * 100:.1f} %"


def number(value: float | None) -> str:
    """Return a number with four significant digits, a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.4g}"


def cut(text: str, longest: int) -> str:
    """Return a text of at most `longest` characters; what is cut is said by an ellipsis."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def texts(*candidates: str | None) -> tuple[str, ...]:
    """Return the sentences that there are."""
    return tuple(text for text in candidates if text)


def pairs(header: tuple[str, str], rows: Sequence[tuple[str, str]]) -> Table:
    """Return a table of names and values."""
    return Table(header, tuple(rows))


_TEMPLATE = """<!DOCTYPE html>
<html lang="{{ page.language }}">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ page.title }}</title>
<style>
:root { --ink: #0f172a; --soft: #64748b; --line: #e2e8f0; --good: #15803d; --bad: #b91c1c; }
* { box-sizing: border-box; }
body { font: 15px/1.55 system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif;
  color: var(--ink); max-width: 60rem; margin: 2rem auto; padding: 0 1.25rem; background: #fff; }
svg text { font-family: system-ui, "Noto Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei", sans-serif
  !important; }
svg { max-width: 100%; height: auto; }
h1 { font-size: 1.7rem; margin: 0; } h2 { font-size: 1.25rem; margin: 2.2rem 0 .5rem; }
.soft, caption, figcaption, footer { color: var(--soft); font-size: .875rem; }
.badge { display: inline-block; padding: .15rem .8rem; border-radius: 1rem; font-weight: 600; color: #fff;
  background: var(--soft); margin: .8rem 0 .2rem; } .badge.good { background: var(--good); }
.badge.bad { background: var(--bad); }
.summary { border-left: 4px solid var(--line); padding: .2rem 0 .2rem 1rem; font-size: 1.05rem; }
.table { overflow-x: auto; margin: .8rem 0; }
table { border-collapse: collapse; min-width: 50%; font-size: .9rem; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top;
  word-break: keep-all; }
th { color: var(--soft); font-weight: 600; } .n { text-align: right; font-variant-numeric: tabular-nums; }
td.n { white-space: nowrap; }
tr.good td:first-child { color: var(--good); } tr.bad td:first-child { color: var(--bad); }
figure { margin: 1rem 0; } details { margin: .8rem 0; } summary { cursor: pointer; font-weight: 600; }
.example { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .9rem; margin: .6rem 0; }
.example dt { color: var(--soft); font-size: .8rem; } .example dd { margin: 0 0 .4rem; white-space: pre-wrap;
  overflow-wrap: anywhere; }
footer { margin: 3rem 0 1rem; border-top: 1px solid var(--line); padding-top: .8rem; }
@media print { details { display: block; } body { margin: 0; max-width: none; } }
</style>
</head>
<body>
<h1>{{ page.title }}</h1>
<p class="soft">{{ page.subtitle }}</p>
<span class="badge {{ page.badge[1] }}">{{ page.badge[0] }}</span>
<div class="summary">
{% for text in page.summary %}
<p>{{ text }}</p>
{% endfor %}
</div>
{% for section in page.sections %}
<section>
<h2>{{ section.title }}</h2>
{% for text in section.texts %}
<p>{{ text }}</p>
{% endfor %}
{% for block in section.blocks %}
{% if kind(block) == "Table" %}
{% if block.is_folded %}
<details><summary>{{ block.caption }}</summary>
{% endif %}
<div class="table"><table>
{% if block.caption and not block.is_folded %}
<caption>{{ block.caption }}</caption>
{% endif %}
<thead><tr>
{% for cell in block.header %}
<th{% if loop.index0 in block.numeric %} class="n"{% endif %}>{{ cell }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in block.rows %}
<tr{% if block.marks and block.marks[loop.index0] %} class="{{ block.marks[loop.index0] }}"{% endif %}>
{% for cell in row %}
<td{% if loop.index0 in block.numeric %} class="n"{% endif %}>{{ cell }}</td>
{% endfor %}
</tr>
{% endfor %}
</tbody>
</table></div>
{% if block.is_folded %}
</details>
{% endif %}
{% elif kind(block) == "Plot" %}
<figure>{{ svg(block) }}<figcaption>{{ block.caption }}</figcaption></figure>
{% else %}
<details><summary>{{ block.summary }}</summary>
{% for example in block.entries %}
<div class="example"><strong>{{ example.title }}</strong><dl>
{% for name, text in example.lines %}
<dt>{{ name }}</dt><dd>{{ text }}</dd>
{% endfor %}
</dl></div>
{% endfor %}
</details>
{% endif %}
{% endfor %}
</section>
{% endfor %}
<footer>{{ page.footer }}</footer>
</body>
</html>
"""
