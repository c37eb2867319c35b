"""Bars, and the features computed from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.errors import demand_all
from ingestion.base.wording import counted, some_of
from ingestion.cli.group import cli, examples, symbols_so_far, this_project
from ingestion.cli.options import DAY, INSTANT, between, json_option, step_options
from ingestion.cli.output import minute, show

if TYPE_CHECKING:
    from ingestion.bars.refusals import Reason
    from ingestion.jobs.compute.changes import BackfillPlan
    from ingestion.jobs.compute.cross_sections import ComparedGroup, CrossSectionsResult
    from ingestion.jobs.compute.local_features import LocalFeaturesResult
    from ingestion.jobs.compute.publication import GroupRows
    from ingestion.jobs.ingest.fetch_bars import FetchResult
    from ingestion.jobs.ingest.import_bars import ImportResult
    from ingestion.jobs.ingest.withdraw import WithdrawnBars
    from ingestion.project import Project

_NAMED = 10
"""How many symbols are named one by one."""

max_return_option = click.option(
    "--max-return",
    type=between(0.001, 1e9),
    default=5.0,
    help="Refuse, or hold back, bars whose one-day return is larger, as a fraction; a fall is "
    "limited to the same ratio.",
)
restate_option = click.option(
    "--restate",
    is_flag=True,
    help="Replace a stored past by one that is scaled, as by an adjustment since.",
)
duplicates_option = click.option(
    "--duplicates",
    type=click.Choice(["refuse", "first", "last"]),
    default="refuse",
    help="Which row to take of a session whose rows disagree in prices.",
)


@cli.command(
    "import-bars",
    **examples(
        "import-bars history/*.parquet",
        "import-bars AAPL.csv --exchange NASDAQ --splits splits.csv",
        "import-bars bars.csv --date-format %d/%m/%Y --adjusted",
        "import-bars --dividends dividends.csv",
    ),
)
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--exchange", help="Exchange of bare tickers.")
@click.option(
    "--symbol-map",
    type=click.Path(path_type=Path),
    help="JSON object or two-column CSV: vendor's name → EXCHANGE:TICKER.",
)
@click.option(
    "--splits",
    type=click.Path(path_type=Path),
    help="CSV or Parquet with symbol, ex-date and ratio; also without FILES.",
)
@click.option(
    "--dividends",
    type=click.Path(path_type=Path),
    help="CSV or Parquet with symbol, ex-date, amount and currency; also without FILES.",
)
@click.option(
    "--adjusted", is_flag=True, help="The files' prices, and dividends, are split-adjusted."
)
@max_return_option
@restate_option
@duplicates_option
@click.option(
    "--date-format",
    help="How dates are written where countries differ, such as %d/%m/%Y (as of strptime).",
)
@click.option(
    "--widen-range",
    is_flag=True,
    help="Move high and low to contain open and close: auctions may be outside the range.",
)
@json_option
def import_bars_command(as_json: bool, duplicates: str, **arguments: Any) -> None:
    """Load daily bars from vendors' files, CSV or Parquet.

    A file is of one symbol, or of many. Exit 3 if more than 5 % of the files or rows were refused,
    or the bars of a symbol were refused or held back because of its splits.
    """
    from ingestion.bars.duplicates import Duplicates
    from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars

    result = import_bars(
        this_project(), ImportRequest(**arguments, duplicates=Duplicates(duplicates))
    )
    show(as_json, result, import_text)
    demand_all(result)
    if result.doubts:
        click.get_current_context().exit(3)


@cli.command(
    "fetch-bars",
    **examples(
        "fetch-bars --source my_vendor --candidates portfolio_candidates.json",
        "fetch-bars --source my_vendor --universe us_large --from 2015-01-01",
    ),
)
@click.option("--source", required=True, help="Bar source, as `tvfeast catalog` lists them.")
@click.option(
    "--candidates",
    type=click.Path(path_type=Path),
    help="JSON file of symbols, such as portfolio_candidates.json.",
)
@click.option("--universe", help="Everybody who is known to have been in this universe.")
@click.option(
    "--from",
    "first",
    type=DAY,
    show_default="where the last fetch ended; all there is for a new symbol",
    help="Session of the first bar.",
)
@click.option(
    "--to", "last", type=DAY, show_default="today", help="Session of the last bar, included."
)
@max_return_option
@restate_option
@duplicates_option
@json_option
def fetch_bars_command(
    as_json: bool,
    candidates: Path | None,
    universe: str | None,
    duplicates: str,
    **arguments: Any,
) -> None:
    """Load daily bars from Yahoo, an exchange or your own source.

    A source is a file of feature_repo/sources/. Run again, it goes on where it was. Exit 3 if a
    request failed, rows were refused, or symbols have no bars there; exit 4 if nothing came.
    """
    from ingestion.bars.duplicates import Duplicates
    from ingestion.jobs.ingest.fetch_bars import FetchRequest, fetch_bars

    project = this_project()
    project.catalog.source(arguments["source"])
    symbols = symbols_so_far(project, candidates, universe)
    request = FetchRequest(symbols=symbols, duplicates=Duplicates(duplicates), **arguments)
    result = fetch_bars(project, request)
    show(as_json, result, fetch_text)
    demand_all(result)


def fetch_text(result: FetchResult) -> str:
    """Return a fetch's outcome for people."""
    lines = [f"{result.source} was asked for {counted(result.symbols, 'symbol')}"]
    lines += [f"  failed: {why}" for why in list(result.failed.values())[:_NAMED]]
    for what, symbols in (
        ("no bars came of", result.empty),
        ("not asked any more, because of its budget or because it is down", result.not_asked),
        ("of exchanges that it does not know", result.elsewhere),
    ):
        if symbols:
            lines.append(f"  {what}: {some_of(symbols, _NAMED)}")
    return "\n".join([*lines, *map(import_text, result.imports)])


def import_text(result: ImportResult) -> str:
    """Return an import's outcome for people."""
    from ingestion.bars.refusals import HINTS

    parts = f" in {counted(len(result.parts), 'part')}"
    lines = [
        f"{counted(result.read, 'row')} read: {result.written:,} "
        f"written{parts if result.written else ''}, "
        f"{result.unchanged:,} there already, {result.refused:,} refused"
        f"{f', {result.held:,} held back' if result.held else ''}; "
        f"{counted(result.symbols, 'symbol')}"
    ]
    for why, count in result.refused_by_reason.items():
        hint = f" ({HINTS[why]})" if why in HINTS else ""
        lines += [f"  refused {count:,}: {why}{hint}", f"    the first: {_first(result, why)}"]
    if adjusted := result.still_adjusted:
        lines.append(f"taken split-adjusted, for want of their splits: {', '.join(adjusted[:10])}")
    if result.splits_ahead:
        lines.append(f"{counted(result.splits_ahead, 'split')} recorded ahead of their bars")
    if result.dividends:
        restated = f", {result.dividends_restated:,} of them restated"
        lines.append(
            f"{counted(result.dividends, 'dividend')} recorded"
            f"{restated if result.dividends_restated else ''}"
        )
    lines += map(str, result.findings)
    if refused := result.refused_files:
        lines.append(f"{counted(len(refused), 'file')} refused:")
        lines += [f"  {problem}" for problem in list(refused.values())[:10]]
        lines += ["  …"] if len(refused) > 10 else []
    if result.released:
        where = "" if result.written else parts
        held = counted(result.released, "bar that was held back is", "bars that were held back are")
        lines.append(f"{held} stored now{where}")
    lines += _doubts(result)
    if result.refused_file:
        lines.append(f"every refused row: {result.refused_file}")
    return "\n".join([*lines, str(result.receipt)])


def _first(result: ImportResult, reason: Reason) -> str:
    one = next(each for each in result.refusals if each.reason is reason)
    told = ", ".join(filter(None, (one.symbol, one.detail)))
    return f"{one.file}, row {one.row}{f': {told}' if told else ''}"


def _doubts(result: ImportResult) -> Iterator[str]:
    from ingestion.jobs.ingest.import_report import SCALED_PAST

    found = result.doubts
    for what, lines in (
        (
            "prices contradict the split",
            [
                f"{each.symbol}, {counted(each.bars, 'bar')}: {each.told}"
                for each in found.contradictions
            ],
        ),
        ("restated", [each.text for each in found.restatements]),
        (f"refused: {SCALED_PAST}", [each.text for each in found.scaled_pasts]),
        (
            "split suspected, bars held back from there on",
            [each.text for each in found.suspected_splits],
        ),
    ):
        yield from (f"  {what}: {line}" for line in lines[:_NAMED])
        if len(lines) > _NAMED:
            yield f"  {what}: {len(lines) - _NAMED:,} more, see the receipt"
    if result.suspects_file:
        yield (
            f"correct the ratios in {result.suspects_file} (1: there was no split) and give it "
            f"back: tvfeast import-bars --splits {result.suspects_file}"
        )


@cli.command(
    "local-features",
    **examples(
        "local-features",
        "local-features --json",
    ),
)
@step_options
@json_option
def local_features_command(as_json: bool) -> None:
    """Compute the features of the bars that are new.

    Then the groups that compare the members of a universe, for the days that changed.
    """
    from ingestion.jobs.compute.local_features import local_features

    project = this_project()
    _show_computed(as_json, project, lambda: local_features(project))


@cli.command(
    "backfill",
    **examples(
        "backfill --from 2015-01-01 --to 2026-01-16",
        "backfill --from 2021-03-01 --to 2021-03-31 --plan   # only says how much it will write",
    ),
)
@click.option("--from", "first", type=DAY, required=True, help="First date of bars' closes, UTC.")
@click.option("--to", "last", type=DAY, required=True, help="Last date, included.")
@click.option("--plan", "only_plan", is_flag=True, help="Say how much it will write, and stop.")
@json_option
def backfill_command(as_json: bool, only_plan: bool, first: date, last: date) -> None:
    """Compute the features of a span of history.

    Then the groups that compare the members of a universe. Writes only what differs. Says first
    about how many bytes it will write. A column that was added to the group is filled so; the
    receipt has `definition` as the reason of these rows.
    """
    from ingestion.jobs.compute.local_features import backfill, plan_backfill

    project = this_project()
    if only_plan:
        show(as_json, plan_backfill(project, first, last), plan_text)
        return

    def announce(planned: BackfillPlan) -> None:
        if not as_json:
            click.echo(plan_text(planned))

    dates = first, last
    _show_computed(as_json, project, lambda: backfill(project, *dates, announce), dates)


def _show_computed(
    as_json: bool,
    project: Project,
    compute: Callable[[], LocalFeaturesResult],
    dates: tuple[date, date] | None = None,
) -> None:
    """Compute features of bars, and then compare members; show both as one result."""
    text = partial(local_text, dates=dates)
    if not project.catalog.cross_sections:
        show(as_json, compute(), text)
        return
    from ingestion.catalog import OHLCV_1D
    from ingestion.jobs.compute.cross_sections import cross_sections
    from ingestion.lakehouse import newest_part

    local = None if newest_part(project.lakehouse, OHLCV_1D) is None else compute()
    compared = cross_sections(project, dates=dates)
    if local is None:  # what scans or files have brought can be compared without any bar
        show(as_json, compared, cross_sections_text)
    else:
        show(as_json, replace(local, cross_sections=compared), text)


def plan_text(planned: BackfillPlan) -> str:
    """Return how much a backfill will write, for people."""
    later = f", for {', '.join(planned.columns)}" if planned.columns else ""
    if planned.changed_columns:
        later += (
            f"; of these, up to {counted(planned.changed_rows, 'row is', 'rows are')} "
            "stored, and the formulas of "
            f"{', '.join(planned.changed_columns)} compute something else now"
        )
    rows = ", ".join(f"{counted(count, 'row')} of {group}" for group, count in planned.rows.items())
    return (
        f"will write about {planned.bytes / 1e6:,.1f} MB: "
        f"{counted(planned.dates, 'date')}, {rows}{later}"
    )


def local_text(result: LocalFeaturesResult, dates: tuple[date, date] | None = None) -> str:
    """Return a recomputation's outcome for people; ``dates`` are those of a backfill."""
    compared = result.cross_sections
    more = f"\n{cross_sections_text(compared)}" if compared else ""
    if not result.dates:
        if dates is None:
            return f"nothing new: no bar was written since features were computed{more}"
        return f"nothing to compute: no bar closed from {dates[0]} to {dates[1]}{more}"
    groups = "; ".join(map(_group_text, result.groups))
    columns = f"; {result.rows_defined:,} of the rows for columns that were declared later"
    return (
        f"{counted(result.bars, 'bar')} read, {counted(result.dates, 'date')}; {groups}"
        f"{columns if result.rows_defined else ''}; {counted(len(result.parts), 'part')}{more}"
    )


def cross_sections_text(result: CrossSectionsResult) -> str:
    """Return what became of cross-sections for people."""
    return "\n".join(map(_compared_text, result.groups))


def _compared_text(group: ComparedGroup) -> str:
    if not group.days and not group.unknown_days:
        return f"{group.group}: nothing new to compare"
    told = [
        f"{group.group}: {counted(group.days, 'day')} of {group.universe}",
        f"{counted(group.written, 'row')} written",
    ]
    counts = (
        (group.restated, "of them restated"),
        (group.unchanged, "unchanged"),
        (group.quarantined, "quarantined"),
        (sum(group.nulls.values()), "values null"),
        (group.without_values, "days without a value"),
        (group.unknown_days, "days with unknown members"),
    )
    return ", ".join([*told, *(f"{count:,} {what}" for count, what in counts if count)])


def _group_text(rows: GroupRows) -> str:
    stopped = f", {rows.quarantined:,} quarantined" if rows.quarantined else ""
    return (
        f"{rows.group}: {counted(rows.written, 'row')} written, {rows.unchanged:,} "
        f"unchanged{stopped}"
    )


@cli.command(
    "withdraw-bars",
    **examples(
        'withdraw-bars NASDAQ:AAPL 2021-04-12 --reason "wrong close, says the vendor"',
        'withdraw-bars --listed --reason "doubles that verify lists"',
    ),
)
@click.argument("symbol", required=False)
@click.argument("first", metavar="[SESSION]", type=DAY, required=False)
@click.option(
    "--to", "last", type=DAY, show_default="SESSION alone", help="Last session, included."
)
@click.option("--close", type=INSTANT, help="Which bar, where a session has two.")
@click.option("--listed", is_flag=True, help="All bars that `tvfeast verify` lists.")
@click.option("--reason", required=True, help="What is wrong with the bars, and who says so.")
@json_option
def withdraw_bars_command(as_json: bool, **arguments: Any) -> None:
    """Take back stored bars that are wrong; deletes nothing.

    The bar of SYMBOL and SESSION, a local date. With --listed instead: the bars of no session, and
    of two in one the one that came later.
    """
    from ingestion.jobs.ingest.withdraw import WithdrawRequest, withdraw_bars

    result = withdraw_bars(this_project(), WithdrawRequest(**arguments))
    show(as_json, result, withdrawn_text)


def withdrawn_text(result: WithdrawnBars) -> str:
    """Return what was taken back for people."""
    be = "is" if result.bars == 1 else "are"
    lines = [f"{counted(result.bars, 'bar')} of {counted(result.symbols, 'symbol')} {be} withdrawn"]
    lines += [
        f"  {split.symbol}: the bar that closes "
        f"{minute(datetime.fromtimestamp(split.event, UTC))} has the split ratio "
        f"{split.ratio:g} now"
        for split in result.splits[:_NAMED]
    ]
    lines.append("run `tvfeast local-features` to compute what follows from them")
    return "\n".join([*lines, str(result.receipt)])
