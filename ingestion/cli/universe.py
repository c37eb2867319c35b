"""Universes: importing and showing who was in them."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import GateRefused, demand_all
from ingestion.base.wording import counted
from ingestion.cli.group import Jobs, cli, examples, this_project
from ingestion.cli.options import Parsed, day_or_instant, json_option
from ingestion.cli.output import minute, show
from ingestion.cli.tables import Printing, Rows, cell, rows_options, table

if TYPE_CHECKING:
    from ingestion.jobs.ingest.import_universe import ImportUniverseResult
    from ingestion.jobs.serve.show_universe import UniverseList, UniverseMembers

_NAMED = 10
"""How many refused lines are named one by one."""


_AS_OF: Parsed[date | datetime] = Parsed("date or instant", day_or_instant)


@cli.group(
    "universe",
    cls=Jobs,
    **examples(
        "universe list",
        "universe show us_large --as-of 2021-04-12",
    ),
)
def universe_group() -> None:
    """Import and show who was in a universe."""


@universe_group.command(
    "import",
    **examples(
        "universe import members.csv --name my_index",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="Name of the universe.")
@click.option(
    "--replace",
    is_flag=True,
    help="Symbols that the file does not name never were members; else they stay as they are.",
)
@click.option(
    "--new",
    is_flag=True,
    help="The name is of another universe, though it is near to a known one's.",
)
@json_option
def import_command(as_json: bool, file: Path, name: str, replace: bool, new: bool) -> None:
    """Load the dated membership of an index from a file.

    FILE has the columns symbol, from, to and, if it is known, announced. Exit 3 if lines were
    refused.
    """
    from ingestion.jobs.ingest.import_universe import ImportUniverseRequest, import_universe

    request = ImportUniverseRequest(file, name, replace, new)
    result = import_universe(this_project(), request)
    show(as_json, result, import_text)
    if result.refused:
        line, why = next(iter(result.refused.items()))
        raise GateRefused(
            f"{counted(len(result.refused), f'line of {file} was', f'lines of {file} were')} "
            f"refused, the first one is line {line}: "
            f"{why}; the others are imported"
        )


def import_text(result: ImportUniverseResult) -> str:
    """Return an import's outcome for people."""
    counts = (
        (result.written, "new"),
        (result.restated, "restated"),
        (result.withdrawn, "withdrawn"),
        (result.unchanged, "there already"),
        (result.repeated, "repeated"),
        (len(result.refused), "refused"),
    )
    told = ", ".join(f"{count:,} {what}" for count, what in counts if count) or "nothing"
    new = ", a new universe" if result.is_new else ""
    lines = [
        f"{result.universe}{new}: {counted(result.spans, 'span')} of "
        f"{counted(result.symbols, 'symbol')}: {told}"
    ]
    if result.moved:
        lines.append(
            f"{counted(result.moved, 'date has', 'dates have')} no session: the next one counts"
        )
    if result.unknown_hours:
        lines.append(
            f"the sessions of {', '.join(result.unknown_hours)} are not known: dates are UTC days"
        )
    if result.ignored:
        lines.append(f"not read: the columns {', '.join(result.ignored)}")
    refused = list(result.refused.items())
    lines += [f"  line {line}: {why}" for line, why in refused[:_NAMED]]
    lines += ["  …"] if len(refused) > _NAMED else []
    return "\n".join([*lines, str(result.receipt)])


@universe_group.command(
    "show",
    **examples(
        "universe show us_large",
        "universe show us_large --as-of 2021-04-12T21:30Z --json",
    ),
)
@click.argument("name")
@click.option(
    "--as-of",
    type=_AS_OF,
    show_default="now",
    help="Instant; or date: its end, at each symbol's own exchange.",
)
@rows_options
def show_command(printing: Printing, name: str, as_of: date | datetime | None) -> None:
    """List who was in a universe, as it was known then.

    Exit 3 if that is not known.
    """
    from ingestion.jobs.serve.show_universe import show_universe

    shown = show_universe(this_project(), name, as_of)
    printing.show(shown, members_text, members_rows)
    demand_all(shown)


def members_rows(shown: UniverseMembers) -> Rows:
    """Return the members; the line above their list is the footer."""
    values = [{"universe": shown.universe, "symbol": symbol} for symbol in shown.symbols]
    return Rows(("universe", "symbol"), values, members_text(shown).partition("\n")[0])


def members_text(shown: UniverseMembers) -> str:
    """Return the members, one per line."""
    at = minute(shown.as_of) if isinstance(shown.as_of, datetime) else f"the end of {shown.as_of}"
    if not shown.is_known:
        return f"{shown.universe} at {at}: unknown"
    by = (
        f"{shown.source} of {minute(shown.answered)}"
        if shown.answered and shown.source != "import"
        else "import"
    )
    return "\n".join(
        [
            f"{counted(len(shown.symbols), 'member')} of {shown.universe} at {at}, by {by}",
            *shown.symbols,
        ]
    )


@universe_group.command(
    "list",
    **examples(
        "universe list",
    ),
)
@rows_options
def list_command(printing: Printing) -> None:
    """List the universes that are declared or recorded."""
    from ingestion.jobs.serve.show_universe import list_universes

    printing.show(list_universes(this_project()), universes_text, universes_rows)


def universes_rows(listing: UniverseList) -> Rows:
    """Return the universes."""
    names = ("universe", "members", "last_answer", "imported_spans", "symbols_from")
    found = [
        (each.name, each.members, each.answered, each.imported, each.declared)
        for each in listing.universes
    ]
    return Rows(names, [dict(zip(names, each, strict=True)) for each in found])


def universes_text(listing: UniverseList) -> str:
    """Return the universes as a table."""
    if not listing.universes:
        return "no universe is declared or recorded"
    rows = [
        [
            each.name,
            "unknown" if each.members is None else cell(each.members),
            cell(each.answered),
            cell(each.imported or None),
            each.declared or "not declared",
        ]
        for each in listing.universes
    ]
    head = ["universe", "members", "last answer", "imported spans", "symbols from"]
    return table(head, rows, {0, 4})
