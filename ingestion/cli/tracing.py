"""What is stored, where it comes from, and how fresh it is."""

from __future__ import annotations

from datetime import date
from typing import Any

import click

from ingestion.base.errors import GateRefused
from ingestion.cli.group import cli, show
from ingestion.cli.options import DAY, DURATION, INSTANT, Number, json_option
from ingestion.project import Project


@cli.command("compact")
@click.option("--before", type=DAY, help="First UTC date to leave alone [today].")
@json_option
def compact_command(as_json: bool, before: date | None) -> None:
    """Merge the parts of dates that are over; no answer changes."""
    from ingestion.cli.render import tracing as render
    from ingestion.jobs.audit.compact import compact

    result = compact(Project.from_environment(), before)
    show(as_json, render.compact_document(result), render.compact_text(result))
    if result.left:
        raise GateRefused(f"{len(result.left)} dates were left as they are")


@cli.command("explain")
@click.argument("symbol")
@click.argument("feature")
@click.option("--as-of", type=INSTANT, help="The value that counted then [now].")
@click.option(
    "--online/--no-online",
    default=True,
    show_default=True,
    help="Look into the online store.",
)
@json_option
def explain_command(as_json: bool, **arguments: Any) -> None:
    """Show where a value comes from: FEATURE, or VIEW:FEATURE, of SYMBOL."""
    from ingestion.cli.render import explanation as render
    from ingestion.jobs.audit.explain import ExplainRequest, explain

    result = explain(Project.from_environment(), ExplainRequest(**arguments))
    show(as_json, render.explain_document(result), render.explain_text(result))


@cli.command("status")
@click.option(
    "--max-age", type=DURATION, help="Of the newest rows and the online store [the catalog's]."
)
@click.option(
    "--min-coverage",
    type=Number(0, 1),
    default=0.95,
    show_default=True,
    help="Of the newest snapshot.",
)
@click.option(
    "--max-stale-share",
    type=Number(0, 1),
    default=0.05,
    show_default=True,
    help="Stale and missing symbols among those asked for.",
)
@click.option(
    "--max-held-back", type=click.IntRange(0), help="Symbols that wait for a split [any number]."
)
@click.option(
    "--forget",
    "forgotten",
    metavar="PROFILE",
    multiple=True,
    help="Do not expect this flow until it runs again.",
)
@json_option
def status_command(as_json: bool, forgotten: tuple[str, ...], **arguments: Any) -> None:
    """Report how fresh and complete everything is; exit 3 past a limit."""
    from ingestion.cli.render import status as render
    from ingestion.jobs.audit.status import StatusLimits, refuse_unless_fresh, status
    from ingestion.jobs.profiles import forget_profiles

    if forgotten:
        receipt = forget_profiles(Project.from_environment(), forgotten)
        show(
            as_json,
            render.forget_document(forgotten, receipt),
            render.forget_text(forgotten, receipt),
        )
        return
    report = status(Project.from_environment(), StatusLimits(**arguments))
    show(as_json, render.status_document(report), render.status_text(report))
    refuse_unless_fresh(report)


@cli.command("accept-hole")
@click.argument("market")
@click.argument("session", type=DAY)
@click.option("--to", "last", type=DAY, help="Last session, included [SESSION alone].")
@click.option("--reason", required=True, help="Why there are no bars, and who says so.")
@json_option
def accept_hole_command(
    as_json: bool, market: str, session: date, last: date | None, reason: str
) -> None:
    """Accept that MARKET has no bars of SESSION, a local date; `status` names what is missing.

    MARKET is an exchange code, or the name of a calendar for all its exchanges.
    """
    from ingestion.cli.render import holes as render
    from ingestion.jobs.ingest.holes import accept_hole

    result = accept_hole(Project.from_environment(), market, session, last, reason)
    show(as_json, render.accepted_document(result), render.accepted_text(result))
