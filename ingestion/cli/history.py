"""Years of ratings in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.errors import demand_all
from ingestion.base.wording import by_reason, counted
from ingestion.cli.group import cli, examples, symbols_so_far, this_project
from ingestion.cli.options import json_option
from ingestion.cli.output import figure, show
from ingestion.cli.tables import table

if TYPE_CHECKING:
    from ingestion.jobs.history.rating_history import HistoryResult

_NAMED = 10
"""How many things that are missing are named one by one."""


@cli.command(
    "history",
    **examples(
        "history --candidates portfolio_candidates.json",
        "history --candidates portfolio_candidates.json --years 10 --source yahoo",
    ),
)
@click.option(
    "--candidates",
    type=click.Path(path_type=Path),
    help="JSON file of symbols, such as portfolio_candidates.json.",
)
@click.option("--universe", help="Everybody who is known to have been in this universe.")
@click.option("--years", type=click.IntRange(1, 50), default=5, help="Years of ratings.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    show_default="all, the highest priority first",
    help="Bar source to ask, as `tvfeast catalog` lists them; several may be named.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    default="rating_history.html",
    help="HTML file to write.",
)
@json_option
def history_command(
    as_json: bool, candidates: Path | None, universe: str | None, years: int, **arguments: Any
) -> None:
    """Fetch years of bars, and write a page of their ratings.

    Each symbol's bars come from the source of the highest priority that has them. Run again, it
    goes on where it was: nothing is fetched twice. Exit 3 if symbols lack bars; exit 4 if nothing
    came.
    """
    from ingestion.jobs.history.rating_history import HistoryRequest, rating_history

    project = this_project()
    symbols = symbols_so_far(project, candidates, universe)
    request = HistoryRequest(symbols=symbols, years=years, candidates=candidates, **arguments)

    def announce(text: str) -> None:
        if not as_json:
            click.echo(text)

    result = rating_history(project, request, announce)
    show(as_json, result, history_text)
    demand_all(result)


def history_text(result: HistoryResult) -> str:
    """Return the newest ratings, what followed, and what is missing, for people."""
    rated = [each for each in result.coverage if each.rated]
    asked = ", ".join(f"{name} for {counted(n, 'symbol')}" for name, n in result.asked.items())
    lines = [
        f"asked {asked}" if asked else "nothing had to be fetched",
        f"{counted(sum(each.rated for each in rated), 'rating')} of "
        f"{counted(len(rated), 'symbol')} from {result.first} to {result.last}",
    ]
    head = ("after a", "sessions", "ratings", "mean %", "excess %", "t")
    rows = [
        (
            each.rating,
            str(each.sessions),
            f"{each.rows:,}",
            _percent(each.mean),
            _percent(each.excess),
            figure(each.t),
        )
        for each in result.followed
        if each.rows
    ]
    if rows:
        lines.append(table(head, rows, {0}))
    lacking = by_reason({each.symbol: each.missing for each in result.coverage if each.missing})
    lines += [f"  {each}" for each in lacking[:_NAMED]]
    if len(lacking) > _NAMED:
        lines.append(f"  {len(lacking) - _NAMED:,} more, see Coverage on the page")
    return "\n".join([*lines, str(result.out), str(result.receipt)])


def _percent(value: float | None) -> str:
    return figure(None if value is None else 100 * value)
