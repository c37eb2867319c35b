"""What keeps a lakehouse small, safe and known: merged, pruned, copied; holes that are accepted."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import GateRefused
from ingestion.base.wording import counted
from ingestion.cli.group import cli, examples, this_project
from ingestion.cli.options import DAY, DURATION, json_option
from ingestion.cli.output import minute, show

if TYPE_CHECKING:
    from ingestion.jobs.audit.compact import CompactResult
    from ingestion.jobs.audit.prune import PruneResult
    from ingestion.jobs.copy_lakehouse import CopyResult
    from ingestion.jobs.ingest.missing_sessions import AcceptedHoles


@cli.command(
    "compact",
    **examples(
        "compact",
        "compact --before 2021-04-01",
    ),
)
@click.option("--before", type=DAY, show_default="today", help="First UTC date to leave alone.")
@json_option
def compact_command(as_json: bool, before: date | None) -> None:
    """Merge the parts of dates that are over.

    No answer changes.
    """
    from ingestion.jobs.audit.compact import compact

    result = compact(this_project(), before)
    show(as_json, result, compact_text)
    if result.left:
        raise GateRefused(f"{counted(len(result.left), 'date was', 'dates were')} left as they are")


def compact_text(result: CompactResult) -> str:
    """Return a compaction for people, one line per date that was left alone."""
    if not result.merged and not result.left:
        return f"nothing to merge: no date before {result.before} has several parts"
    line = (
        f"{counted(result.replaced, 'part')} became {len(result.merged):,}, "
        f"{counted(result.rows, 'row')}, all kept"
    )
    return "\n".join([line, *(f"  left alone: {reason}" for reason in result.left)])


@cli.command(
    "prune",
    **examples(
        "prune --plan",
        "prune --older-than 180d",
    ),
)
@click.option("--older-than", type=DURATION, default="90d", help="Look at these runs.")
@click.option("--plan", is_flag=True, help="Only show what would go, and why the rest stays.")
@json_option
def prune_command(as_json: bool, older_than: timedelta, plan: bool) -> None:
    """Remove the folders of old runs that nothing needs.

    No answer changes.
    """
    from ingestion.jobs.audit.prune import prune

    show(as_json, prune(this_project(), older_than, plan=plan), prune_text)


def prune_text(result: PruneResult) -> str:
    """Return what went and why the other old runs stay, a line for each reason."""
    verb = "would go" if result.run_id is None else "are gone"
    line = f"{counted(len(result.retired), 'run')} from before {minute(result.before)} {verb}"
    ids = [f"  {run_id}" for run_id in result.retired if result.run_id is None]
    stay = [f"  {count:,} stay: {reason}" for reason, count in result.reasons.items()]
    return "\n".join([line, *ids, *stay, f"  {result.younger:,} are younger"])


@cli.command(
    "copy",
    **examples(
        "copy data/lakehouse s3://my-bucket/tvfeast",
        "copy s3://my-bucket/tvfeast /backup/lakehouse",
    ),
)
@click.argument("source")
@click.argument("target")
@json_option
def copy_command(as_json: bool, source: str, target: str) -> None:
    """Copy a lakehouse to another place.

    Each is a folder, or s3://bucket/prefix. Every file is read again and compared by its hash.
    A copy that was interrupted goes on.
    """
    from ingestion.jobs.copy_lakehouse import copy

    show(as_json, copy(source, target), copy_text)


def copy_text(result: CopyResult) -> str:
    """Return in a line what was copied."""
    return (
        f"{counted(result.copied, 'file was', 'files were')} copied, {result.size / 1e6:,.1f} MB; "
        f"{result.target} has the {counted(result.files, 'file')} of {result.source}, "
        "with equal hashes"
    )


@cli.command(
    "accept-hole",
    **examples(
        'accept-hole XNYS 2012-10-29 --to 2012-10-30 --reason "hurricane, says the exchange"',
    ),
)
@click.argument("market")
@click.argument("session", type=DAY)
@click.option(
    "--to", "last", type=DAY, show_default="SESSION alone", help="Last session, included."
)
@click.option("--reason", required=True, help="Why there are no bars, and who says so.")
@json_option
def accept_hole_command(
    as_json: bool, market: str, session: date, last: date | None, reason: str
) -> None:
    """Accept that a market has no bars of a session.

    SESSION is a local date; `tvfeast status` names those that are missing. MARKET is an exchange
    code, or the name of a calendar for all its exchanges.
    """
    from ingestion.jobs.ingest.missing_sessions import accept_hole

    result = accept_hole(this_project(), market, session, last, reason)
    show(as_json, result, accepted_text)


def accepted_text(result: AcceptedHoles) -> str:
    """Return what was accepted, a line for each session."""
    lines = [f"{each.market} {each.session} is accepted as missing" for each in result.sessions]
    return "\n".join([*lines, "run `tvfeast local-features` to compute the values over it"])
