"""What is stored, where it comes from, and how fresh it is."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.errors import GateRefused, demand_all
from ingestion.base.wording import counted, some_of
from ingestion.cli.group import cli, examples, this_project
from ingestion.cli.options import AS_OF, DAY, DURATION, between, json_option
from ingestion.cli.output import age, minute, show
from ingestion.cli.tables import Printing, Rows, rows_options, table, terminal_width

if TYPE_CHECKING:
    from ingestion.jobs.audit.compact import CompactResult
    from ingestion.jobs.audit.lineage import Bar, Explanation, Online, Story, Version
    from ingestion.jobs.audit.prune import PruneResult
    from ingestion.jobs.audit.status import BarsStatus, GroupStatus, ProfileStatus, StatusReport
    from ingestion.jobs.copy_lakehouse import CopyResult
    from ingestion.jobs.ingest.missing_sessions import AcceptedHoles

_WIDTH = 100
_MOST_SYMBOLS = 5
"""How many symbols of a kind `status` names."""
_MOST_SESSIONS = 10
"""How many missing sessions `explain` names."""


@cli.command(
    "compact",
    **examples(
        "compact",
        "compact --before 2021-04-01",
    ),
)
@click.option("--before", type=DAY, show_default="today", help="First UTC date to leave alone.")
@json_option
def compact_command(as_json: bool, before: date | None) -> None:
    """Merge the parts of dates that are over.

    No answer changes.
    """
    from ingestion.jobs.audit.compact import compact

    result = compact(this_project(), before)
    show(as_json, result, compact_text)
    if result.left:
        raise GateRefused(f"{counted(len(result.left), 'date was', 'dates were')} left as they are")


def compact_text(result: CompactResult) -> str:
    """Return a compaction for people, one line per date that was left alone."""
    if not result.merged and not result.left:
        return f"nothing to merge: no date before {result.before} has several parts"
    line = (
        f"{counted(result.replaced, 'part')} became {len(result.merged):,}, "
        f"{counted(result.rows, 'row')}, all kept"
    )
    return "\n".join([line, *(f"  left alone: {reason}" for reason in result.left)])


@cli.command(
    "prune",
    **examples(
        "prune --plan",
        "prune --older-than 180d",
    ),
)
@click.option("--older-than", type=DURATION, default="90d", help="Look at these runs.")
@click.option("--plan", is_flag=True, help="Only show what would go, and why the rest stays.")
@json_option
def prune_command(as_json: bool, older_than: timedelta, plan: bool) -> None:
    """Remove the folders of old runs that nothing needs.

    No answer changes.
    """
    from ingestion.jobs.audit.prune import prune

    show(as_json, prune(this_project(), older_than, plan=plan), prune_text)


def prune_text(result: PruneResult) -> str:
    """Return what went and why the other old runs stay, a line for each reason."""
    verb = "would go" if result.run_id is None else "are gone"
    line = f"{counted(len(result.retired), 'run')} from before {minute(result.before)} {verb}"
    ids = [f"  {run_id}" for run_id in result.retired if result.run_id is None]
    stay = [f"  {count:,} stay: {reason}" for reason, count in result.reasons.items()]
    return "\n".join([line, *ids, *stay, f"  {result.younger:,} are younger"])


@cli.command(
    "copy",
    **examples(
        "copy data/lakehouse s3://my-bucket/tvfeast",
        "copy s3://my-bucket/tvfeast /backup/lakehouse",
    ),
)
@click.argument("source")
@click.argument("target")
@json_option
def copy_command(as_json: bool, source: str, target: str) -> None:
    """Copy a lakehouse to another place.

    Each is a folder, or s3://bucket/prefix. Every file is read again and compared by its hash.
    A copy that was interrupted goes on.
    """
    from ingestion.jobs.copy_lakehouse import copy

    show(as_json, copy(source, target), copy_text)


def copy_text(result: CopyResult) -> str:
    """Return in a line what was copied."""
    return (
        f"{counted(result.copied, 'file was', 'files were')} copied, {result.size / 1e6:,.1f} MB; "
        f"{result.target} has the {counted(result.files, 'file')} of {result.source}, "
        "with equal hashes"
    )


@cli.command(
    "accept-hole",
    **examples(
        'accept-hole XNYS 2012-10-29 --to 2012-10-30 --reason "hurricane, says the exchange"',
    ),
)
@click.argument("market")
@click.argument("session", type=DAY)
@click.option(
    "--to", "last", type=DAY, show_default="SESSION alone", help="Last session, included."
)
@click.option("--reason", required=True, help="Why there are no bars, and who says so.")
@json_option
def accept_hole_command(
    as_json: bool, market: str, session: date, last: date | None, reason: str
) -> None:
    """Accept that a market has no bars of a session.

    SESSION is a local date; `tvfeast status` names those that are missing. MARKET is an exchange
    code, or the name of a calendar for all its exchanges.
    """
    from ingestion.jobs.ingest.missing_sessions import accept_hole

    result = accept_hole(this_project(), market, session, last, reason)
    show(as_json, result, accepted_text)


def accepted_text(result: AcceptedHoles) -> str:
    """Return what was accepted, a line for each session."""
    lines = [f"{each.market} {each.session} is accepted as missing" for each in result.sessions]
    return "\n".join([*lines, "run `tvfeast local-features` to compute the values over it"])


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

    if forgotten:
        receipt = forget_profiles(this_project(), forgotten)
        show(printing.is_json, {"forgotten": forgotten, "receipt": receipt}, forget_text)
        return
    report = status(this_project(), StatusLimits(**arguments))
    printing.show(report, status_text, status_rows)
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
    if load is None:
        return "online store: nothing was ever materialized"
    line = f"online store as of {minute(load.until)}, {age(load.age)} ago"
    if stores.online is None:
        return f"{line}; not looked at, it is of another kind"
    if not stores.has_online:
        return f"{line}: {stores.online} IS MISSING"
    views = [
        f"{each.view} {each.valid:,} of {counted(each.rows, 'row')} valid"
        + (f", newest {minute(each.newest)}" if each.newest else "")
        for each in stores.views
    ]
    return f"{line}: {'; '.join(views) or 'no rows'}"


@cli.command(
    "explain",
    **examples(
        "explain NASDAQ:AAPL RSI",
        "explain NASDAQ:AAPL local_1d:RSI --as-of 2021-03-05T22:00Z",
    ),
)
@click.argument("symbol")
@click.argument("feature")
@click.option(
    "--as-of",
    type=AS_OF,
    show_default="now",
    help="The value that counted then; a date is its end in UTC.",
)
@click.option(
    "--online/--no-online",
    default=True,
    help="Look into the online store.",
)
@rows_options
def explain_command(printing: Printing, **arguments: Any) -> None:
    """Show where a value of a symbol comes from.

    FEATURE is a name, or GROUP:FEATURE for the one of a group.
    """
    from ingestion.jobs.audit.explain import ExplainRequest, explain

    result = explain(this_project(), ExplainRequest(**arguments))
    printing.show(result, explain_text, explain_rows)


def explain_rows(result: Explanation) -> Rows:
    """Return the rows of a value's history, and what is served."""
    names = ("group", "what", "value", "known_at", "created", "run_id", "part")
    values: list[dict[str, Any]] = []
    for story in result.stories:
        superseded = ["superseded"] * (len(story.versions) - 1)
        told = [*zip(["counts", *superseded], story.versions, strict=False)]
        told += [(what, each) for what, each in (
            ("before", story.supersedes), ("after", story.superseded_by),
        ) if each]  # fmt: skip
        for what, each in told:
            cells = (story.view, what, each.value, each.event, each.created, each.run_id, each.part)
            values.append(dict(zip(names, cells, strict=True)))
        if story.online is not None and not isinstance(story.online, str):
            served = story.online
            of_row = (story.view, "online", served.value, served.event, served.created)
            values.append(dict(zip(names, of_row, strict=False)))
    return Rows(names, values)


def explain_text(result: Explanation) -> str:
    """Return a value's story for people, a paragraph a view."""
    title = f"{result.symbol} {result.feature}, as of {_second(result.as_of)}"
    return "\n".join([title, *(line for story in result.stories for line in _story(story))])


def _story(story: Story) -> Iterator[str]:
    yield ""
    yield f"{story.view}: {story.meaning}"
    yield from textwrap.wrap(
        story.source, terminal_width() or _WIDTH, initial_indent="  ", subsequent_indent="    "
    )
    if not story.versions:
        yield "  no row"
    for number, version in enumerate(story.versions):
        how = "superseded: " if number else ""
        yield f"  {how}{_value(version.value)}, known at {_second(version.event)}"
        yield from _written(version)
    if story.expired:
        yield f"  EXPIRED: past its time to live of {story.ttl}, so no value"
    if story.versions and story.recorded != story.versions[0]:
        recorded = story.recorded
        yield (
            f"  as recorded then: {_value(recorded.value)}, created {_second(recorded.created)}"
            if recorded
            else "  as recorded then: nothing; the row was written later"
        )
    if story.bar is not None:
        yield f"  {_bar(story.bar)}"
    if story.difference is not None:
        yield f"  {story.difference}"
    for each in story.missing[:_MOST_SESSIONS]:
        state = f"accepted on {each.accepted}" if each.accepted else "open: the value is null"
        yield f"  session {each.session} is missing in its window, {state}"
    if (more := len(story.missing) - _MOST_SESSIONS) > 0:
        yield f"  and {counted(more, 'later session')}"
    yield from (f"  {note}" for note in story.notes)
    for label, other in (("before", story.supersedes), ("after", story.superseded_by)):
        if other is not None:
            yield f"  {label}: {_value(other.value)}, known at {_second(other.event)}"
    for kept in story.kept_back:
        rules = ", ".join(kept.failed)
        yield f"  KEPT BACK: {_value(kept.value)}, known at {_second(kept.event)}: {rules}"
        yield f"    by run {kept.run_id}, in its quarantine.parquet"
    if story.online is not None:
        yield f"  online: {_online(story.online)}"


def _written(version: Version) -> Iterator[str]:
    yield f"    written {_second(version.created)} by run {version.run_id or '(unknown)'}"
    if version.is_older:
        yield "    null because the column was declared after this row was written"
    if version.was_unknown:
        yield "    null because the scanner did not know the column, which is optional"
    if version.reason == "definition":
        yield "    written because of a column's declaration or formula; it restates nothing"
    if version.definition:
        yield f"    computed by another definition than today's: {version.definition}"
    merged = f", merged from {version.written_as}" if version.written_as else ""
    yield f"    {version.part}{merged}"
    yield f"    {f'SHA-256 {version.sha256}' if version.sha256 else 'no hash was recorded'}"
    if version.receipt:
        yield f"    {version.receipt}"


def _bar(bar: Bar) -> str:
    stored = f"stored by run {bar.run_id} from {bar.source}" if bar.source else "not stored"
    return f"bar {_second(bar.open)} to {_second(bar.close)}, {bar.state} by then; {stored}"


def _online(online: Online | str) -> str:
    if isinstance(online, str):
        return f"not known: {online}"
    if online.event is None:
        return "no row"
    return f"{_value(online.value)}, known at {_second(online.event)}, {online.state}"


def _value(value: float | None) -> str:
    return "null" if value is None else repr(value)


def _second(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
