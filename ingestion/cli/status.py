"""How fresh and complete everything is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.errors import demand_all
from ingestion.base.wording import counted, some_of
from ingestion.cli.group import cli, examples, nothing_stored, this_project
from ingestion.cli.options import DURATION, between
from ingestion.cli.output import age, minute, show
from ingestion.cli.tables import Printing, Rows, rows_options, table

if TYPE_CHECKING:
    from ingestion.jobs.audit.status import BarsStatus, GroupStatus, ProfileStatus, StatusReport

_MOST_SYMBOLS = 5
"""How many symbols of a kind are named."""


@cli.command(
    "status",
    **examples(
        "status",
        "status --max-age 36h --max-stale-share 0.1 --json",
        "status --forget large   # this flow is expected no more",
    ),
)
@click.option(
    "--max-age",
    type=DURATION,
    show_default="the catalog's",
    help="Of the newest rows and the online store.",
)
@click.option(
    "--min-coverage",
    type=between(0, 1),
    default=0.95,
    help="Of the newest snapshot.",
)
@click.option(
    "--max-stale-share",
    type=between(0, 1),
    default=0.05,
    help="Stale and missing symbols among those asked for.",
)
@click.option(
    "--max-held-back",
    type=click.IntRange(0),
    show_default="any number",
    help="Symbols that wait for a split.",
)
@click.option(
    "--forget",
    "forgotten",
    metavar="PROFILE",
    multiple=True,
    help="Do not expect this flow until it runs again.",
)
@rows_options
def status_command(printing: Printing, forgotten: tuple[str, ...], **arguments: Any) -> None:
    """Report how fresh and complete everything is.

    Exit 3 past a limit.
    """
    from ingestion.jobs.audit.status import StatusLimits, status
    from ingestion.jobs.profiles import forget_profiles
    from ingestion.lakehouse import list_dates

    if forgotten:
        receipt = forget_profiles(this_project(), forgotten)
        show(printing.is_json, {"forgotten": forgotten, "receipt": receipt}, forget_text)
        return
    project = this_project()
    report = status(project, StatusLimits(**arguments))
    printing.show(report, status_text, status_rows)
    groups = project.catalog.groups
    if report.bars.first is None and not any(list_dates(project.lakehouse, g) for g in groups):
        raise nothing_stored(project)
    demand_all(report)


def forget_text(done: Mapping[str, Any]) -> str:
    """Return which flows are expected no more, for people."""
    names = ", ".join(done["forgotten"])
    return f"expected no more, until they run again: {names}\n{done['receipt']}"


def status_rows(report: StatusReport) -> Rows:
    """Return how fresh and complete each group is; what is past its limit is the footer."""
    names = (*("group", "newest", "age_s", "coverage", "asked", "stale", "missing", "quarantined"),)
    values = [
        {
            "group": group.view,
            "newest": group.newest,
            "age_s": group.age,
            "coverage": group.coverage,
            "asked": group.asked,
            "stale": len(group.stale),
            "missing": len(group.missing),
            "quarantined": group.quarantined,
        }
        for group in report.groups
    ]
    return Rows(names, values, "\n".join(f"PAST ITS LIMIT: {each}" for each in report.problems))


def status_text(report: StatusReport) -> str:
    """Return the status for people: tables, what waits, and which limits are passed."""
    headers = ["", "newest", "age", "coverage", "asked", "stale", "missing", "quarantined"]
    rows = [_group_row(group) for group in report.groups]
    lines = [table(headers, rows, {0, 1})]
    if report.profiles:
        headers = ["flow", "symbols", "started", "ago", "every", "state"]
        lines.append(table(headers, [_flow_row(report, each) for each in report.profiles], {0}))
    for group in report.groups:
        for kind, symbols in (("stale", group.stale), ("missing", group.missing)):
            if symbols:
                lines.append(f"{group.view}, {kind}: {some_of(symbols, _MOST_SYMBOLS)}")
    lines += [*_bars_lines(report.bars), _store_line(report)]
    if report.without_bars:
        markets = ", ".join(f"{e} {len(s):,}" for e, s in report.without_bars.items())
        lines.append(f"no bars, so nothing recomputed: {markets}; load them: tvfeast import-bars")
    if report.held_back:
        waiting = [f"{held.get('symbol')} {held.get('ratio')}" for held in report.held_back]
        lines.append(f"split suspected, bars held back: {some_of(waiting, _MOST_SYMBOLS)}")
    lines += [line for section in report.sections for line in section.lines]
    lines += [f"warning: {warning}" for warning in report.warnings]
    return "\n".join([*lines, *(f"PAST ITS LIMIT: {problem}" for problem in report.problems)])


def _group_row(group: GroupStatus) -> list[str]:
    old = age(group.age) if group.age is not None else "–"
    return [
        group.view,
        minute(group.newest) if group.newest else "–",
        old if group.is_due else f"{old}, not due",
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
    yield (
        f"bars: {counted(bars.symbols, 'symbol')}, {bars.first} to {bars.last}, "
        f"{counted(bars.dates, 'date')}"
    )
    until: dict[date, list[str]] = {}
    for each in bars.markets:
        if each.is_imported:
            until.setdefault(each.newest.date(), []).append(f"{each.exchange} {each.symbols:,}")
    for day, markets in sorted(until.items()):
        yield f"imported until {day}: {some_of(markets, _MOST_SYMBOLS)}"


def _store_line(report: StatusReport) -> str:
    load, stores = report.load, report.stores
    unreadable = ": CANNOT BE READ" if stores.is_unreadable else ""
    if load is None:
        return f"online store{unreadable or ': nothing was ever materialized'}"
    line = f"online store as of {minute(load.until)}, {age(load.age)} ago"
    if stores.online is None:
        return f"{line}; not looked at, it is of another kind"
    if unreadable:
        return f"{line}{unreadable}"
    if not stores.has_online:
        return f"{line}: {stores.online} IS MISSING"
    views = [
        f"{each.view} {each.valid:,} of {counted(each.rows, 'row')} valid"
        + (f", newest {minute(each.newest)}" if each.newest else "")
        for each in stores.views
    ]
    return f"{line}: {'; '.join(views) or 'no rows'}"
