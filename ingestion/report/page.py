"""The page: one HTML file with its style, its script, and the figures of its plots."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator
from datetime import date, datetime
from html import escape
from pathlib import Path

from ingestion.report.contents import (
    Axis,
    Cell,
    FeatureCard,
    GroupCard,
    Mark,
    Note,
    Plot,
    Report,
    Section,
    Small,
    Table,
    Tile,
    Verdict,
)
from ingestion.report.formats import counted, instant

_ASSETS = Path(__file__).resolve().parent / "assets"
_LIBRARIES = ("d3.min.js", "plot.umd.min.js")
_SYMBOLS = {Mark.GOOD: "✓", Mark.CARE: "!", Mark.BAD: "✕"}
"""Beside the colour, for those who do not see it."""
CATALOGUE = "catalogue"
"""Key of the catalogue, beside those of the sections."""
_DIGITS = 6
_LONG, _LONGEST = 14, 36
"""Letters from which on a cell takes two thirds of a phone's width, and all of it."""
_OPTION = re.compile(r"(?<!\S)--?[a-z][a-z-]*")
_WHEN = re.compile(r"\b\d{4}-\d\d-\d\d( \d\d:\d\d UTC)?\b")


def page(report: Report, *, refresh: int | None = None, state: str = "") -> str:
    """Return a report as one HTML document that loads nothing else.

    Parameters
    ----------
    refresh
        After so many seconds the page asks its server whether there is a newer one; never if None.
    state
        What the server answers to that as long as there is none.
    """
    plots = list(_plots(report))
    keys = [plot.key for plot in plots]
    if len(keys) != len(set(keys)):
        raise ValueError("two plots have one key")
    body = "\n".join(
        [
            _header(report),
            _navigation(report),
            '<main id="content">',
            _verdict(report.verdict),
            *map(_section, report.sections),
            _catalogue(report.catalogue),
            "</main>",
            f"<footer><p>Made by {_code(report.command)} at {instant(report.at)} from "
            f"{escape(report.lakehouse)}. All instants are UTC.</p></footer>",
        ]
    )
    scripts = [_text(name) for name in (*_LIBRARIES, "report.js")]
    settings = {"refresh": refresh, "state": state}
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';
 script-src 'unsafe-inline'; img-src data:; connect-src 'self'; base-uri 'none';
 form-action 'none'">
<link rel="icon" href="data:,">
<title>{escape(report.verdict.answer)} – {escape(report.title)}</title>
<style>
{_text("report.css")}</style>
</head>
<body>
{body}
<script type="application/json" id="report-plots">{_json([_told(plot) for plot in plots])}</script>
<script type="application/json" id="report-settings">{_json(settings)}</script>
{"".join(f"<script>{script}</script>" for script in scripts)}
</body>
</html>
"""


def _text(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _json(document: object) -> str:
    """Return JSON that can stand in a script: no text in it can end that."""
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c")


def _plots(report: Report) -> Iterator[Plot]:
    for section in report.sections:
        for each in section.body:
            if isinstance(each, Plot):
                yield each
            elif isinstance(each, Small):
                yield from each.plots
    for group in report.catalogue:
        for feature in group.features:
            if feature.plot is not None:
                yield feature.plot


def _told(plot: Plot) -> dict[str, object]:
    """Return what the script draws a plot from."""
    return {
        "key": plot.key,
        "kind": plot.kind,
        "title": plot.title,
        "x": str(plot.x),
        "y": str(plot.y),
        "colour": str(plot.colour) if plot.colour else None,
        "columns": {name: [_value(each) for each in of] for name, of in plot.columns.items()},
        "steps": list(plot.steps),
        "palette": list(plot.palette),
        "small": plot.is_small,
    }


def _value(value: object) -> object:
    """Return a value for JSON: numbers to a few digits, which is more than a plot can show."""
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value.isoformat() if isinstance(value, (date, datetime)) else value


def _command(command: str) -> str:
    if not command:
        return ""
    text = escape(command)
    return (
        f'<p class="more">More: {_code(command)}<button type="button" class="copy" '
        f'data-copy="{text}" aria-label="Copy the command {text}">copy</button></p>'
    )


def _when(found: re.Match[str]) -> str:
    """Return a date, or an instant that is broken before its time if it must be."""
    date_, _, time = found[0].partition(" ")
    time = f' <span class="when">{time}</span>' if time else ""
    return f'<span class="instant"><span class="when">{date_}</span>{time}</span>'


def _code(text: str) -> str:
    """Return a command or a name, in which options are not broken at the end of a line."""
    whole = _OPTION.sub(r'<span class="option">\g<0></span>', escape(text))
    return f"<code>{whole}</code>"


def _prose(text: str) -> str:
    """Return a text in which what stands between backticks is code, and dates are not broken."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # a backtick without its other one
        pieces = [text]
    return "".join(
        _code(piece) if number % 2 else _WHEN.sub(_when, escape(piece))
        for number, piece in enumerate(pieces)
    )


def _badge(mark: Mark, text: str) -> str:
    if mark is Mark.NONE:
        return _prose(text)
    return (
        f'<span class="mark {mark}"><span aria-hidden="true">{_SYMBOLS[mark]}</span> '
        f"{_prose(text)}</span>"
    )


def _header(report: Report) -> str:
    return f"""<a class="skip" href="#content">Skip to the report</a>
<header class="top">
<div><p class="name">{escape(report.title)}</p><p class="where">as of
<time datetime="{report.at.isoformat()}">{instant(report.at)}</time></p></div>
<button type="button" id="theme" aria-pressed="false">Dark</button>
</header>"""


def _navigation(report: Report) -> str:
    links = [("verdict", report.verdict.link)]
    links += [(section.key, section.title) for section in report.sections]
    if report.catalogue:
        links.append((CATALOGUE, "Feature catalogue"))
    items = "".join(f'<li><a href="#{key}">{escape(title)}</a></li>' for key, title in links)
    return f'<nav aria-label="Sections"><ul>{items}</ul></nav>'


def _verdict(verdict: Verdict) -> str:
    reasons = "".join(f"<li>{_prose(reason)}</li>" for reason in verdict.reasons)
    tiles = "".join(map(_tile, verdict.tiles))
    return f"""<section id="verdict" class="verdict {verdict.mark}" aria-labelledby="verdict-title">
<p class="question" id="verdict-question">{escape(verdict.question)}</p>
<h1 id="verdict-title"><span class="sign" aria-hidden="true">{_SYMBOLS.get(verdict.mark, "")}</span>
{escape(verdict.answer)}</h1>
{f'<ul class="reasons">{reasons}</ul>' if reasons else ""}
<dl class="tiles">{tiles}</dl>
</section>"""


def _tile(tile: Tile) -> str:
    note = f'<dd class="note">{_prose(tile.note)}</dd>' if tile.note else ""
    command = f'<dd class="says">{_code(tile.command)}</dd>' if tile.command else ""
    return (
        f'<div class="tile"><dt>{escape(tile.label)}</dt>'
        f'<dd class="value">{_badge(tile.mark, tile.value)}</dd>{note}{command}</div>'
    )


def _section(section: Section) -> str:
    body = "\n".join(map(_block, section.body))
    named = {getattr(each, "command", "") for each in section.body}
    command = "" if section.command in named else _command(section.command)
    return f"""<section id="{section.key}" aria-labelledby="{section.key}-title">
<h2 id="{section.key}-title">{escape(section.title)}</h2>
<p class="lead">{_prose(section.lead)}</p>
{body}
{command}
</section>"""


def _block(block: Table | Plot | Note | Small) -> str:
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Plot):
        return _plot(block)
    if isinstance(block, Note):
        return f'<p class="remark">{_badge(block.mark, block.text)}</p>'
    figures = "".join(_plot(plot, has_legend=False) for plot in block.plots)
    note = f"<p>{_prose(block.note)}</p>" if block.note else ""
    legend = _legend(block.plots[0]) if block.plots else ""
    size = "multiples two" if block.is_wide else "multiples"
    return (
        f'<div class="multiples-head"><h3>{escape(block.title)}</h3>{note}{legend}</div>'
        f'<div class="{size}">{figures}</div>'
    )


def _table(table: Table) -> str:
    def aligned(number: int, cell: str | Cell = "") -> str:
        text = cell if isinstance(cell, str) else cell.text
        width = "longest" if len(text) > _LONGEST else "long" if len(text) > _LONG else ""
        kind = " ".join(filter(None, ["number" if number in table.numbers else "", width]))
        return f' class="{kind}"' if kind else ""

    # The roles are those that the tags have: a phone's style makes blocks of them.
    head = "".join(
        f'<th scope="col" role="columnheader"{aligned(number)}>{escape(name)}</th>'
        for number, name in enumerate(table.head)
    )
    rows = "".join(
        '<tr role="row">'
        + "".join(
            f'<th scope="row" role="rowheader">{_cell(cell)}</th>'
            if number == 0
            else f'<td role="cell" data-name="{escape(table.head[number])}"{aligned(number, cell)}>'
            f"{_cell(cell)}</td>"
            for number, cell in enumerate(row)
        )
        + "</tr>"
        for row in table.rows
    )
    label = escape(table.caption)
    note = f'<span class="note">{_prose(table.note)}</span>' if table.note else ""
    return (
        f'<div class="table" role="region" aria-label="{label}" tabindex="0"><table role="table">'
        f"<caption>{_prose(table.caption)}{note}</caption>"
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{rows}</tbody></table></div>{_command(table.command)}'
    )


def _cell(cell: str | Cell) -> str:
    if isinstance(cell, str):
        return _prose(cell)
    text = f"<code>{escape(cell.text)}</code>" if cell.is_code else _badge(cell.mark, cell.text)
    return f'<span title="{escape(cell.title)}">{text}</span>' if cell.title else text


def _legend(plot: Plot) -> str:
    names = zip(plot.palette, plot.names, strict=False)
    legend = "".join(
        f'<li><span class="swatch" style="background:var(--{colour})"></span>{escape(name)}</li>'
        for colour, name in names
    )
    colours = f'<p class="colour">{escape(str(plot.colour))}</p>' if plot.colour else ""
    return f'<div class="legend">{colours}<ul>{legend}</ul></div>' if legend else ""


def _plot(plot: Plot, *, has_legend: bool = True) -> str:
    level = "h4" if plot.is_small else "h3"
    legend = _legend(plot) if has_legend else ""
    note = f'<p class="note">{_prose(plot.note)}</p>' if plot.note else ""
    size = "small" if plot.is_small else "wide"
    return f"""<figure class="plot {size}" id="plot-{plot.key}" data-key="{plot.key}">
<figcaption><{level}>{escape(plot.title)}</{level}>{note}</figcaption>
{legend}<div class="drawing"></div>
<details class="figures"><summary>Figures<span class="hidden"> of {escape(plot.title)}</span>
</summary></details>
{_command(plot.command)}</figure>"""


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    rows = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{_prose(value)}</dd></div>" for name, value in facts
    )
    return f'<dl class="facts">{rows}</dl>'


def _catalogue(groups: Iterable[GroupCard]) -> str:
    groups = list(groups)
    if not groups:
        return ""
    total = sum(len(group.features) for group in groups)
    return f"""<section id="{CATALOGUE}" aria-labelledby="{CATALOGUE}-title">
<h2 id="{CATALOGUE}-title">Feature catalogue</h2>
<p class="lead">{counted(total, "feature")} of {counted(len(groups), "group")}: what each one means,
where it comes from, how it is distributed now, and who reads it.</p>
<div class="search" role="search">
<label for="search">Search names, meanings, sources, services</label>
<input id="search" type="search" autocomplete="off" placeholder="RSI, oscillator, selection …">
<p id="found" role="status">{counted(total, "feature")}</p></div>
{"".join(map(_group, groups))}
</section>"""


def _group(group: GroupCard) -> str:
    cards = "".join(map(_feature, group.features))
    return f"""<section class="group" id="group-{escape(group.name)}"
 aria-labelledby="group-{escape(group.name)}-title">
<h3 id="group-{escape(group.name)}-title"><code>{escape(group.name)}</code></h3>
<p>{_prose(group.meaning)}</p>
{_facts(group.facts)}
<div class="features">{cards}</div>
</section>"""


def _feature(feature: FeatureCard) -> str:
    key = f"feature-{feature.group}-{feature.name}"
    plot = _plot(feature.plot) if feature.plot else ""
    words = " ".join([feature.group, feature.name, feature.meaning, *(v for _, v in feature.facts)])
    return f"""<article class="feature" id="{escape(key)}" data-words="{escape(words.lower())}">
<h4><code>{escape(feature.name)}</code></h4>
<p>{_prose(feature.meaning)}</p>
{plot}
{_facts(feature.facts)}
{_command(feature.command)}
</article>"""


__all__ = ["CATALOGUE", "Axis", "page"]
