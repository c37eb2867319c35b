"""What is asked of the scanner: bars, metadata, snapshots, and the members of a universe."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ingestion.base.errors import InputError, demand_all
from ingestion.base.wording import counted, did_you_mean, some_of
from ingestion.cli.group import candidates_or, cli, examples, this_project
from ingestion.cli.options import (
    json_option,
    resume_options,
    scanner_arguments,
    scanner_options,
    source_arguments,
    source_options,
    step_options,
)
from ingestion.cli.output import minute, show

if TYPE_CHECKING:
    from ingestion.catalog import Universe
    from ingestion.jobs.ingest.data_ingest import DataIngestResult
    from ingestion.jobs.ingest.feature_ingest import FeatureIngestResult
    from ingestion.jobs.ingest.meta_ingest import MetaIngestResult
    from ingestion.jobs.ingest.scan import ScanRequest
    from ingestion.jobs.ingest.snapshot_rows import Notes
    from ingestion.jobs.ingest.universe_ingest import UniverseIngestResult
    from ingestion.markets.universe import Universe as Source
    from ingestion.project import Project


RequestT = TypeVar("RequestT", bound="ScanRequest")

_NAMED = 20
"""How many symbols of a kind are named."""


@cli.command(
    "data-ingest",
    **examples(
        "data-ingest --candidates portfolio_candidates.json",
        "data-ingest --universe america --json",
    ),
)
@source_options
@scanner_options
@step_options
@json_option
def data_ingest_command(as_json: bool, **arguments: Any) -> None:
    """Fetch the daily bars and append those that have closed.

    Exit 3 while a session is missing.
    """
    from ingestion.jobs.ingest.data_ingest import data_ingest
    from ingestion.jobs.ingest.missing_sessions import refuse_if_missing
    from ingestion.jobs.ingest.scan import ScanRequest

    project = this_project()
    with _about_members(project, ScanRequest, arguments) as request:
        result = data_ingest(project, request)
        show(as_json, result, bars_text)
        demand_all(result)
        refuse_if_missing(result.missing)


def bars_text(result: DataIngestResult) -> str:
    """Return the outcome of a run over daily bars for people."""
    from ingestion.jobs.ingest.missing_sessions import hole_messages

    bars = result.bars
    counts = (
        (bars.restated, "of them restated"),
        (bars.released, "of them released"),
        (bars.unchanged, "there already"),
        (len(bars.overruled), "unlike the imported ones, which stay"),
        (bars.open, "still open"),
        (bars.refused, "refused"),
    )
    told = "".join(f", {count:,} {what}" for count, what in counts if count)
    lines = [f"{counted(bars.written, 'closed bar')} written{told}"]
    if bars.never_closing:
        lines.append(
            f"{bars.never_closing:,} of markets that never close, whose row is always the running "
            "bar: feature_repo/sources.toml lets flows fetch theirs from a bar source"
        )
    if bars.unknown_hours:
        lines.append(
            f"{bars.unknown_hours:,} of exchanges of unknown hours, closed 24 h after their open"
        )
    if days := bars.traded_on_closed_days:
        lines.append(
            f"{len(days):,} days on which symbols traded and the calendar has none; if the market "
            f"was open, write them to feature_repo/sessions.csv: {some_of(days, _NAMED)}"
        )
    if bars.did_not_open:
        lines.append(
            "the market did not open, whatever its calendar says: the previous closes are those "
            f"of before: {some_of(bars.did_not_open, _NAMED)}"
        )
    if bars.assumed_hours:
        lines.append(assumed_text(bars.assumed_hours))
    lines += [f"  refused {count:,}: {why}" for why, count in bars.refused_by_reason.items()]
    if bars.refused_file:
        lines.append(f"  every refused row: {bars.refused_file}")
    lines += [
        f"  split suspected: {each.symbol}, {each.ratio_text} (close {each.close_before:g}, now "
        f"{each.close_after:g}); {what}: record it with `tvfeast import-bars --splits FILE`, "
        f"or a ratio of 1 if there was none: {each.record}"
        for what, suspects in (
            ("held back", bars.held_back),
            ("stored without it", bars.suspected_in_store),
        )
        for each in suspects[:_NAMED]
    ]
    if bars.waiting:
        lines.append(f"{counted(bars.waiting, 'bar is', 'bars are')} held back in all")
    if bars.held_by_import:
        lines.append(
            f"{counted(len(bars.held_by_import), 'symbol waits', 'symbols wait')} since an "
            "import for an answer to a "
            f"suspected split (`tvfeast import-bars --splits FILE`): "
            f"{some_of(bars.held_by_import, _NAMED)}"
        )
    if bars.unsettled:
        names = some_of([each.symbol for each in bars.unsettled], _NAMED)
        lines.append(
            f"{len(bars.unsettled):,} previous closes are not the stored ones, and not by a split "
            f"either; see the receipt: {names}"
        )
    return "\n".join(
        [*lines, str(result.report), str(result.receipt), *hole_messages(result.missing)]
    )


def assumed_text(assumed: Mapping[str, int]) -> str:
    """Return, for people, whose bars lie beyond what is known of their exchange's sessions."""
    told = ", ".join(f"{exchange} {count:,}" for exchange, count in assumed.items())
    return (
        f"the weekday's usual hours are assumed, beyond the calendar's end, for {told}: update "
        "exchange_calendars, or write the year's holidays and short days to "
        "feature_repo/sessions.csv"
    )


@cli.command(
    "meta-ingest",
    **examples(
        "meta-ingest --candidates portfolio_candidates.json",
        "meta-ingest --universe america",
    ),
)
@source_options
@scanner_options
@step_options
@json_option
def meta_ingest_command(as_json: bool, **arguments: Any) -> None:
    """Fetch the symbols' metadata and append what has changed."""
    from ingestion.jobs.ingest.meta_ingest import meta_ingest
    from ingestion.jobs.ingest.scan import ScanRequest

    project = this_project()
    with _about_members(project, ScanRequest, arguments) as request:
        show(as_json, meta_ingest(project, request), symbols_text)


def symbols_text(result: MetaIngestResult) -> str:
    """Return the outcome of a run over metadata for people."""
    symbols = result.symbols
    unknown = _unknown(symbols.unknown_columns, "kept as before")
    lines = [
        f"{counted(symbols.new, 'new symbol')}, {symbols.changed:,} changed, "
        f"{symbols.unchanged:,} as before"
        f"{unknown}"
    ]
    for names, what in (
        (symbols.became_inactive, "no longer active: absent from three complete daily answers"),
        (symbols.returned, "active again"),
    ):
        if names:
            lines.append(f"{len(names):,} {what}: {some_of(names, _NAMED)}")
    if waiting := len(symbols.absent_days) - len(symbols.became_inactive):
        lines.append(f"{counted(waiting, 'active symbol')} absent so far")
    if symbols.other_exchange:
        told = [f"{symbol} {exchange}" for symbol, exchange in symbols.other_exchange.items()]
        lines.append(
            f"{len(told):,} of another exchange than their symbol says: {some_of(told, _NAMED)}"
        )
    return "\n".join([*lines, str(result.report), str(result.receipt)])


@cli.command(
    "feature-ingest",
    **examples(
        "feature-ingest --candidates portfolio_candidates.json",
        "feature-ingest --universe crypto --group tv_technicals_1h --refresh",
    ),
)
@source_options
@resume_options
@scanner_options
@click.option(
    "--group", show_default="that of the selection", help="Group of the scanner to fetch."
)
@step_options
@json_option
def feature_ingest_command(as_json: bool, **arguments: Any) -> None:
    """Fetch one snapshot from the scanner and append it."""
    from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
    from ingestion.jobs.ingest.needed import NotDue

    project, group = this_project(), arguments["group"]
    if group and not arguments["candidates"] and not arguments["universe"]:
        arguments["universe"] = project.catalog.group(group).source.own_market
    with _about_members(project, FeatureIngestRequest, arguments) as request:
        try:
            show(as_json, feature_ingest(project, request), ingest_text)
        except NotDue as why:
            show(as_json, {"not_due": str(why)}, lambda told: f"nothing to add: {told['not_due']}")


def ingest_text(result: FeatureIngestResult) -> str:
    """Return a snapshot's outcome for people."""
    report = result.report
    if result.part is None and result.notes.without:
        return f"nothing to add{_notes_text(result.notes)}"
    if result.part is None:
        missing = f"; {report.missing}" if report.missing else ""
        return (
            f"nothing to add: {report.resumed:,} of {counted(report.asked, 'symbol')} had a "
            "row inside the "
            f"resume window{missing}"
        )
    resumed = f", {report.resumed:,} had a row already" if report.resumed else ""
    stopped = result.quality.quarantined.num_rows if result.quality else 0
    quarantined = f", {stopped:,} of them quarantined" if stopped else ""
    unknown = _unknown(report.unknown_columns, "null in these rows")
    bars = _notes_text(result.notes)
    return (
        f"{counted(report.fetched, 'row')} known at "
        f"{minute(report.known_at)}{quarantined}{resumed}{unknown}"
        f"{bars}\n{report}\n{result.part}"
    )


def _notes_text(notes: Notes) -> str:
    """Return what is remarkable about rows that are published all the same; a flow shows it too."""
    told = [
        f"{count:,} {check}" for check, count in notes.bar_checks.items() if check != "expected"
    ]
    bars = f"; bars not as expected (kept, see bar_check): {', '.join(told)}" if told else ""
    if lacking := ", ".join(f"{count:,} {why}" for why, count in notes.without.items()):
        bars += f"; without a row: {lacking}"
    symbols = sorted({symbol for each in notes.restated.values() for symbol in each})
    if not symbols:
        return bars
    values = sum(map(len, notes.restated.values()))
    return (
        f"{bars}; {counted(values, 'reported value')} restated within their period: "
        f"{some_of(symbols)}"
    )


def _unknown(columns: Sequence[str], consequence: str) -> str:
    """Return which optional columns the scanner does not know; a flow shows the first line only."""
    return f"; the scanner does not know {', '.join(columns)}: {consequence}" if columns else ""


def declared(project: Project, arguments: dict[str, Any]) -> Universe | None:
    """Return the universe that a command names, unless it is a market or is named with a file.

    Raises
    ------
    InputError
        If it is neither a universe that is declared nor a market that the scanner is known to have.
    """
    from ingestion.catalog.scanner_vocabulary import MARKETS

    name, catalog = arguments["universe"], project.catalog
    if arguments["candidates"] or not name:
        return None
    found = catalog.universe(name)
    markets = MARKETS.union(group.source.own_market or "" for group in catalog.groups)
    if found is None and name not in markets:
        raise InputError(_neither(project, name))
    return found


def _neither(project: Project, name: str) -> str:
    """Return what to do about a name that is neither a declared universe nor a market."""
    from ingestion.catalog.scanner_vocabulary import MARKETS
    from ingestion.lakehouse import recorded_universes

    if name in recorded_universes(project.lakehouse):
        return (
            f"{name} has recorded members, but no file says which symbols it has today: declare it "
            f"in feature_repo/universes/{name}.toml, as docs/reference/universes.md shows"
        )
    names = [each.name for each in project.catalog.universes]
    near = did_you_mean(name, (*names, *sorted(MARKETS)), most=3)
    return (
        f"--universe {name}: there is no such universe, and no such market of the scanner{near}; "
        "universes are declared in feature_repo/universes/ "
        f"(there are {', '.join(names)}), markets are america, crypto, forex, … and each country's"
    )


@contextmanager
def _about_members(
    project: Project, kind: Callable[..., RequestT], arguments: dict[str, Any]
) -> Iterator[RequestT]:
    """Give a job its request; ask first for the members of a universe, if it names one.

    An answer that is not complete is reported after the job is done.
    """
    from ingestion.jobs.ingest.universe_ingest import universe_ingest

    named = dict(arguments)
    request = read_request(kind, arguments)
    universe = declared(project, named)
    if universe is None:
        yield request
        return
    asked = universe_ingest(project, universe, request.scanner)
    click.echo(universe_text(asked), err=True)
    yield replace(request, source=asked.candidates)
    demand_all(asked)


def universe_text(result: UniverseIngestResult) -> str:
    """Return for people who is in a universe, and what has changed."""
    changes = "".join(
        f", {len(names):,} {what}"
        for names, what in ((result.joined, "new"), (result.left, "left"))
        if names
    )
    names = some_of(result.unusable, 3)
    unusable = f", {len(result.unusable):,} names are no symbols ({names})" if names else ""
    if result.short is not None:
        return (
            f"{result.short}; {counted(len(result.members), 'member')} of "
            f"{minute(result.members_of)}"
        )
    return (
        f"{counted(result.listed, 'member')} of "
        f"{result.universe}{changes}{unusable}\n{result.receipt}"
    )


def read_request(kind: Callable[..., RequestT], arguments: dict[str, Any]) -> RequestT:
    """Return a job's request, out of what its command was given."""
    from ingestion.markets.universe import Market
    from ingestion.scanner import ScannerOptions

    source: Source = candidates_or(*source_arguments(arguments), Market)
    options = ScannerOptions(**scanner_arguments(arguments))
    return kind(source=source, scanner=options, **arguments)
