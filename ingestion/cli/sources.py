"""Bars of two sources beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import demand_all
from ingestion.base.wording import counted
from ingestion.cli.group import candidates_of, cli, examples, this_project
from ingestion.cli.options import DAY, NAMES, between, json_option
from ingestion.cli.output import show
from ingestion.cli.tables import table

if TYPE_CHECKING:
    from ingestion.jobs.audit.compare_sources import SourcePair, SourcesCompared


@cli.command(
    "compare-sources",
    **examples(
        "compare-sources",
        "compare-sources --symbols NASDAQ:AAPL,NYSE:KO --from 2021-01-04",
    ),
)
@click.option("--symbols", type=NAMES, show_default="all", help="Symbols, with commas between.")
@click.option(
    "--candidates", type=click.Path(path_type=Path), help="JSON file that names the symbols."
)
@click.option("--from", "first", type=DAY, show_default="all", help="UTC date of the first close.")
@click.option(
    "--to", "last", type=DAY, show_default="all", help="UTC date of the last close, included."
)
@click.option(
    "--tolerance",
    type=between(0, 1),
    default=1e-6,
    help="Relative difference up to which two values agree.",
)
@click.option(
    "--max-share",
    type=between(0, 1),
    default=1.0,
    help="Exit 3 if prices of a larger share of two sources' shared bars differ.",
)
@json_option
def compare_sources_command(
    as_json: bool,
    symbols: tuple[str, ...] | None,
    candidates: Path | None,
    first: date | None,
    last: date | None,
    tolerance: float,
    max_share: float,
) -> None:
    """Compare the bars of sources that have the same symbols.

    Where two sources have a bar of a session, that of the higher priority counts, and the other
    one is kept beside it: by pair, how often they differ, how much, and on which days most.
    """
    from ingestion.jobs.audit.compare_sources import CompareRequest, compare_sources

    if candidates is not None:
        symbols = (*(symbols or ()), *candidates_of(candidates).symbols)
    request = CompareRequest(symbols, first or date.min, last or date.max, tolerance, max_share)
    result = compare_sources(this_project(), request)
    show(as_json, result, compared_text)
    demand_all(result)


def compared_text(result: SourcesCompared) -> str:
    """Return the differences of each pair of sources for people."""
    if not result.pairs:
        return "no symbol has bars of two sources"
    return "\n".join(line for pair in result.pairs for line in _pair_lines(pair))


def _pair_lines(pair: SourcePair) -> Iterator[str]:
    yield (
        f"{pair.first} counts before {pair.other}: {counted(pair.symbols, 'symbol')}, "
        f"{counted(pair.shared, 'shared bar')}, prices differ on {pair.differ:,}; "
        f"{pair.only_first:,} only in {pair.first}, {pair.only_other:,} only in {pair.other}"
    )
    rows = [
        (each.column, f"{each.differ:,}", _percent(each.median), _percent(each.largest))
        for each in pair.columns
        if each.differ
    ]
    if rows:
        yield table(("column", "differ", "median %", "largest %"), rows, {0})
    for day in pair.worst:
        yield (
            f"  {day.symbol} {day.date} {day.column}: {day.counts:g}, and {day.other:g} in "
            f"{pair.other} ({100 * day.difference:.3g} %)"
        )


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.3g}"
