"""How fresh everything is, and what waits for somebody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ingestion.cli.render.units import age, minute
from ingestion.jobs.audit.status import BarsStatus, GroupStatus, ProfileStatus, StatusReport
from ingestion.runs.receipt import plain

_NAMED = 5
"""How many symbols of a kind the text names."""


def status_document(report: StatusReport) -> dict[str, Any]:
    """Return the status for ``--json``; durations are seconds."""
    document: dict[str, Any] = {"passed": report.passed, **plain(report)}
    document["sections"] = {section.name: plain(section.document) for section in report.sections}
    return document


def status_text(report: StatusReport) -> str:
    """Return the status for people: tables, what waits, and which limits are passed."""
    headers = ["", "newest", "age", "coverage", "asked", "stale", "missing", "quarantined"]
    rows = [_group_row(group) for group in report.groups]
    lines = [_table(headers, rows, left=2)]
    if report.profiles:
        headers = ["flow", "symbols", "started", "ago", "every", "state"]
        lines.append(_table(headers, [_flow_row(report, each) for each in report.profiles], left=1))
    for group in report.groups:
        for kind, symbols in (("stale", group.stale), ("missing", group.missing)):
            if symbols:
                lines.append(f"{group.view}, {kind}: {_some(symbols)}")
    lines += [*_bars_lines(report.bars), _store_line(report)]
    if report.without_bars:
        markets = ", ".join(f"{e} {len(s):,}" for e, s in report.without_bars.items())
        lines.append(f"no bars, so nothing recomputed: {markets}; load them: tvfeast import-bars")
    if report.held_back:
        waiting = [f"{held.get('symbol')} {held.get('ratio')}" for held in report.held_back]
        lines.append(f"split suspected, bars held back: {_some(waiting)}")
    lines += [line for section in report.sections for line in section.lines]
    lines += [f"warning: {warning}" for warning in report.warnings]
    return "\n".join([*lines, *(f"PAST ITS LIMIT: {problem}" for problem in report.problems)])


def forget_document(names: tuple[str, ...], receipt: Path) -> dict[str, Any]:
    """Return which flows are expected no more, for ``--json``."""
    return {"forgotten": list(names), "receipt": str(receipt)}


def forget_text(names: tuple[str, ...], receipt: Path) -> str:
    """Return which flows are expected no more, for people."""
    return f"expected no more, until they run again: {', '.join(names)}\n{receipt}"


def _table(headers: list[str], rows: list[list[str]], left: int) -> str:
    align = [*["left"] * left, *["right"] * (len(headers) - left)]
    return tabulate(rows, headers, disable_numparse=True, colalign=align)


def _group_row(group: GroupStatus) -> list[str]:
    return [
        group.view,
        minute(group.newest) if group.newest else "–",
        age(group.age) if group.age is not None else "–",
        f"{group.coverage:.1%}" if group.coverage is not None else "–",
        *(f"{n:,}" for n in (group.asked, len(group.stale), len(group.missing))),
        f"{group.quarantined:,}",
    ]


def _flow_row(report: StatusReport, flow: ProfileStatus) -> list[str]:
    state = f"{flow.state}, absent" if flow.is_absent else flow.state.value
    return [
        flow.name,
        f"{flow.symbols:,}",
        minute(flow.started),
        age(report.at - flow.started),
        _every(flow.every),
        state,
    ]


def _every(every: timedelta | None) -> str:
    return "–" if every is None else age(every)


def _bars_lines(bars: BarsStatus) -> Iterator[str]:
    if bars.first is None:
        return
    yield f"bars: {bars.symbols:,} symbols, {bars.first} to {bars.last}, {bars.dates:,} dates"
    until: dict[date, list[str]] = {}
    for each in bars.markets:
        if each.is_imported:
            until.setdefault(each.newest.date(), []).append(f"{each.exchange} {each.symbols:,}")
    for day, markets in sorted(until.items()):
        yield f"imported until {day}: {_some(markets)}"


def _store_line(report: StatusReport) -> str:
    load, stores = report.load, report.stores
    if load is None:
        return "online store: nothing was ever materialized"
    line = f"online store as of {minute(load.until)}, {age(load.age)} ago"
    if stores.online is None:
        return f"{line}; not looked at, it is of another kind"
    if not stores.has_online:
        return f"{line}: {stores.online} IS MISSING"
    views = [
        f"{each.view} {each.valid:,} of {each.rows:,} rows valid"
        + (f", newest {minute(each.newest)}" if each.newest else "")
        for each in stores.views
    ]
    return f"{line}: {'; '.join(views) or 'no rows'}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
