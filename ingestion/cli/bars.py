"""Bars, and the features computed from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ingestion.base.errors import GateRefused
from ingestion.cli.group import cli, show
from ingestion.cli.options import DAY, INSTANT, Number, json_option
from ingestion.project import Project


@cli.command("import-bars")
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
@click.option("--adjusted", is_flag=True, help="The files' prices are split-adjusted.")
@click.option(
    "--max-return",
    type=Number(0.001, 1e9),
    default=5.0,
    show_default=True,
    help="Refuse, or hold back, bars whose one-day return is larger, as a fraction; a fall is "
    "limited to the same ratio.",
)
@click.option(
    "--restate",
    is_flag=True,
    help="Replace a stored past by one that is scaled, as by an adjustment since.",
)
@click.option(
    "--duplicates",
    type=click.Choice(["refuse", "first", "last"]),
    default="refuse",
    show_default=True,
    help="Which row to take of a session whose rows disagree in prices.",
)
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
    """Load daily bars from vendors' FILES: CSV or Parquet, of one symbol each or of many.

    Exit 3 if more than 5 % of the files or rows were refused, or the bars of a symbol were refused
    or held back because of its splits.
    """
    from ingestion.bars import Duplicates
    from ingestion.cli.render import bars as render
    from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars

    result = import_bars(
        Project.from_environment(), ImportRequest(**arguments, duplicates=Duplicates(duplicates))
    )
    show(as_json, render.import_document(result), render.import_text(result))
    if result.too_much_refused:
        raise GateRefused(result.too_much_refused)
    if result.doubts:
        click.get_current_context().exit(3)


@cli.command("local-features")
@json_option
def local_features_command(as_json: bool) -> None:
    """Compute local_1d for the bars that are new."""
    from ingestion.cli.render import bars as render
    from ingestion.jobs.compute.local_features import local_features

    result = local_features(Project.from_environment())
    show(as_json, render.local_document(result), render.local_text(result))


@cli.command("backfill")
@click.option("--from", "first", type=DAY, required=True, help="First date of bars' closes, UTC.")
@click.option("--to", "last", type=DAY, required=True, help="Last date, included.")
@json_option
def backfill_command(as_json: bool, **arguments: Any) -> None:
    """Compute local_1d for a span of history; writes only what differs."""
    from ingestion.cli.render import bars as render
    from ingestion.jobs.compute.local_features import backfill

    result = backfill(Project.from_environment(), **arguments)
    show(as_json, render.local_document(result), render.local_text(result))


@cli.command("withdraw-bars")
@click.argument("symbol", required=False)
@click.argument("first", metavar="[SESSION]", type=DAY, required=False)
@click.option("--to", "last", type=DAY, help="Last session, included [SESSION alone].")
@click.option("--close", type=INSTANT, help="Which bar, where a session has two.")
@click.option("--listed", is_flag=True, help="All bars that `tvfeast verify` lists.")
@click.option("--reason", required=True, help="What is wrong with the bars, and who says so.")
@json_option
def withdraw_bars_command(as_json: bool, **arguments: Any) -> None:
    """Take back the stored bar of SYMBOL and SESSION, a local date; nothing is deleted.

    With --listed instead: the bars of no session, and of two in one the one that came later.
    """
    from ingestion.cli.render import bars as render
    from ingestion.jobs.ingest.withdraw import WithdrawRequest, withdraw_bars

    result = withdraw_bars(Project.from_environment(), WithdrawRequest(**arguments))
    show(as_json, render.withdrawn_document(result), render.withdrawn_text(result))
