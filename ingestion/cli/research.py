"""Data sets for research."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.errors import GateRefused, InputError
from ingestion.base.wording import counted
from ingestion.cli.group import cli, examples, symbols_of, this_project
from ingestion.cli.options import (
    TIME_OF_DAY,
    as_recorded_option,
    decision_options,
    json_option,
    known_at_option,
)
from ingestion.cli.output import minute, show, warn

if TYPE_CHECKING:
    from ingestion.jobs.serve.panel import PanelResult
    from ingestion.jobs.serve.prove import Proof
    from ingestion.jobs.serve.reproduce import Reproduction


@cli.command(
    "panel",
    **examples(
        "panel --from 2021-03-01 --to 2021-03-31",
        "panel --from 2021-03-01 --to 2021-03-31 --every week --at 21:30Z --feature local_1d:RSI",
    ),
)
@decision_options
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
@known_at_option
@as_recorded_option
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
    if arguments["service"] and arguments["features"]:
        raise InputError("name --service or --feature, not both")
    symbols = symbols_of(candidates, arguments["universe"])
    request = PanelRequest(schedule=schedule, symbols=symbols, **arguments)
    result = write_panel(this_project(), request)
    warn(result.warnings)
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


@cli.command("prove", **examples("prove panel.parquet", "prove training_set.parquet --json"))
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def prove_command(as_json: bool, file: Path) -> None:
    """Check that each cell of a data set was knowable.

    With the lakehouse at hand every cell is asked again, members and labels are made again, and
    formulas are proved not to look ahead; without it, only what the file alone can show is checked.
    Exit 3 if a fault was found.
    """
    from ingestion.jobs.serve.prove import prove

    proof = prove(this_project(), file)
    show(as_json, proof, proof_text)
    if not proof.passed:
        faults = [each.name for each in proof.checks if each.finding == "fault"]
        raise GateRefused(f"{file} is not sound: {', '.join(faults)}")


def proof_text(proof: Proof) -> str:
    """Return a proof for people, one line per check, and examples below it."""
    width = max(len(each.name) for each in proof.checks)
    lines = []
    for each in proof.checks:
        lines.append(f"{each.name:{width}}  {each.finding.value:11}  {each.told}")
        lines += [f"{'':{width}}  {example}" for example in each.examples]
    later = {name: count for name, count in proof.created_later.items() if count}
    if later:
        told = ", ".join(f"{count:,} of {name}" for name, count in later.items())
        lines.append(f"written after their decision, knowable then: {told}")
    return "\n".join(lines)


@cli.command(
    "reproduce",
    **examples("reproduce panel.parquet", "reproduce training_set.parquet --out again.parquet"),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    show_default="beside it, with .again in its name",
    help="Parquet file to write.",
)
@json_option
def reproduce_command(as_json: bool, file: Path, out: Path | None) -> None:
    """Make a data set again, and compare.

    It is read as of its own instant. Exit 3 if a row is not there again, equal in each bit.
    """
    from ingestion.jobs.serve.reproduce import reproduce

    made = reproduce(this_project(), file, out)
    show(as_json, made, reproduction_text)
    if not made.passed:
        raise GateRefused(f"{file} cannot be made again as it was")


def reproduction_text(made: Reproduction) -> str:
    """Return for people what came again."""
    if made.passed:
        told = f"{counted(made.rows, 'row')} again, equal in each bit"
        return f"{told}: {made.fingerprint['rows']}\n{made.out}"
    by_column = [f"{name} ({counted(count, 'cell')})" for name, count in made.cells.items()]
    told = f"{counted(made.rows, 'row')} then, {made.rows_again:,} now"
    differ = f"; other cells: {', '.join(by_column)}" if by_column else ""
    return "\n".join([f"{told}{differ}", *made.reasons, str(made.out)])
