"""The closed bars of a day, from a bar source: a step of the daily flow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import InputError, demand_all
from ingestion.base.wording import counted, some_of
from ingestion.cli.bars import fetch_text
from ingestion.cli.group import candidates_or, cli, examples, this_project
from ingestion.cli.options import json_option, source_options, step_options
from ingestion.cli.output import show

if TYPE_CHECKING:
    from ingestion.jobs.ingest.daily_bars import DailyResult
    from ingestion.markets.candidates import Candidates
    from ingestion.project import Project

_NAMED = 10


@cli.command(
    "daily-bars",
    **examples(
        "daily-bars --source binance --candidates portfolio_candidates.json",
    ),
)
@click.option(
    "--source",
    "name",
    show_default="the only one of feature_repo/sources.toml",
    help="Bar source that feature_repo/sources.toml gives exchanges to.",
)
@source_options
@step_options
@json_option
def daily_bars_command(
    as_json: bool,
    name: str | None,
    candidates: Path | None,
    universe: str | None,
    min_coverage: float,
) -> None:
    """Fetch the closed bars that a bar source is to give.

    Asks for what is new since the last time, and for sessions that lack a bar. Exit 3 if too many
    symbols are without the bar of their newest session, or a request failed.
    """
    from ingestion.jobs.ingest.daily_bars import DailyRequest, fetch_daily

    project = this_project()
    daily = project.catalog.daily
    if name is None:
        if len(daily.names) != 1:
            there = ", ".join(daily.names) or "none: write feature_repo/sources.toml"
            raise InputError(f"name a bar source with --source; there are {there}")
        (name,) = daily.names
    if name not in daily.names:
        raise InputError(f"feature_repo/sources.toml gives no exchange to {name!r}")
    source = candidates_or(candidates, universe, lambda each: _members(project, each))
    symbols = daily.symbols(name, source.symbols)
    if not symbols:
        exchanges = ", ".join(daily.exchanges(name))
        raise InputError(f"none of the symbols is of {exchanges}, which {name} is to give")
    result = fetch_daily(project, DailyRequest(name, source, symbols, min_coverage))
    show(as_json, result, daily_text)
    demand_all(result)


def _members(project: Project, universe: str) -> Candidates:
    from ingestion.jobs.serve.show_universe import show_universe
    from ingestion.markets.candidates import Candidates

    shown = show_universe(project, universe)
    demand_all(shown)
    return Candidates(universe, shown.symbols, (), 0)


def daily_text(result: DailyResult) -> str:
    """Return what became of a day's closed bars for people."""
    counts = (
        (result.gaps, "sessions without a bar, to be asked for again"),
        (result.absent, "sessions recorded as absent"),
    )
    told = [
        f"{counted(result.written, 'closed bar')} of {result.bar_source} written",
        f"{result.symbols - result.not_due:,} of {counted(result.symbols, 'symbol')} due",
        *(f"{count:,} {what}" for count, what in counts if count),
    ]
    lines = [", ".join(told)]
    if result.behind:
        behind = some_of(result.behind, _NAMED)
        lines.append(f"  without the bar of their newest session: {behind}")
    if result.fetch:
        lines.append(fetch_text(result.fetch))
    return "\n".join([*lines, str(result.receipt)])
