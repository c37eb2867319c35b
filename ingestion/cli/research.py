"""Data sets for research."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.errors import InputError
from ingestion.base.wording import counted
from ingestion.cli.group import candidates_of, cli, examples, this_project
from ingestion.cli.options import AS_OF, DAY, TIME_OF_DAY, json_option
from ingestion.cli.output import minute, show

if TYPE_CHECKING:
    from ingestion.jobs.serve.panel import PanelResult


@cli.command(
    "panel",
    **examples(
        "panel --from 2021-03-01 --to 2021-03-31",
        "panel --from 2021-03-01 --to 2021-03-31 --every week --at 21:30Z --feature local_1d:RSI",
    ),
)
@click.option("--from", "first", type=DAY, required=True, help="UTC date of the first decision.")
@click.option("--to", "last", type=DAY, required=True, help="UTC date of the last decision.")
@click.option(
    "--every",
    type=click.Choice(["session", "week", "month"]),
    default="session",
    help="Decide at each session, or at the last of each week or month, by exchange.",
)
@click.option(
    "--at",
    type=TIME_OF_DAY,
    show_default="the session's close",
    help="Decide at this time of the session's date, UTC, as 21:30Z.",
)
@click.option("--universe", help="Ask about the members of this universe at each decision.")
@click.option(
    "--candidates",
    type=click.Path(path_type=Path),
    help="Ask about the symbols of this file; without both, about all with a value then.",
)
@click.option(
    "--service", show_default="the catalog's for --target", help="Feature service to write."
)
@click.option(
    "--feature",
    "features",
    multiple=True,
    help="Write this feature, of any group, and no service: FEATURE or GROUP:FEATURE.",
)
@click.option(
    "--known-at",
    type=AS_OF,
    show_default="now",
    help="Read the lakehouse as it was then; a date is the end of that UTC day.",
)
@click.option(
    "--as-recorded", is_flag=True, help="Read only rows that had been written by the decision."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="panel.parquet",
    help="Parquet file to write.",
)
@json_option
def panel_command(as_json: bool, candidates: Path | None, **arguments: Any) -> None:
    """Write features of many symbols at each decision."""
    from ingestion.datasets import Schedule
    from ingestion.jobs.serve.panel import PanelRequest, write_panel

    schedule = Schedule(**{name: arguments.pop(name) for name in ("first", "last", "every", "at")})
    if candidates and arguments["universe"]:
        raise InputError("name --candidates FILE or --universe NAME, not both")
    if arguments["service"] and arguments["features"]:
        raise InputError("name --service or --feature, not both")
    symbols = candidates_of(candidates).symbols if candidates else None
    request = PanelRequest(schedule=schedule, symbols=symbols, **arguments)
    result = write_panel(this_project(), request)
    for warning in result.warnings:
        click.echo(f"warning: {warning}", err=True)
    show(as_json, result, panel_text)


def panel_text(result: PanelResult) -> str:
    """Return a panel's outcome for people."""
    later = (
        f"{counted(result.created_later, 'joined row was', 'joined rows were')} written after "
        "their decision: knowable then, recorded later (--as-recorded leaves them out)\n"
        if result.created_later
        else ""
    )
    return (
        f"{counted(result.rows, 'row')} of {counted(result.symbols, 'symbol')} at "
        f"{counted(result.decisions, 'decision')}, {result.matched:,} of them with features known "
        f"then ({counted(len(result.features), 'column')}), as the lakehouse was at "
        f"{minute(result.known_at)}\n{later}{result.out}\n{result.receipt}"
    )
