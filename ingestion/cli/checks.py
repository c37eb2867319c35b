"""Checking what is stored."""

from __future__ import annotations

from datetime import date

import click

from ingestion.base.errors import GateRefused, InputError
from ingestion.cli.group import cli, show
from ingestion.cli.options import DAY, Number, json_option
from ingestion.project import Project


@cli.command("verify")
@click.option("--lookahead", is_flag=True, help="Prove that no feature of a bar looks past it.")
@click.option("--online", is_flag=True, help="Compare the online store with the lakehouse.")
@click.option(
    "--accept",
    "accepted",
    metavar="PART",
    multiple=True,
    help="Record why a part or receipt, or all of a folder, is gone.",
)
@click.option("--reason", help="What became of it, and who says so.")
@json_option
def verify_command(
    as_json: bool, lookahead: bool, online: bool, accepted: tuple[str, ...], reason: str | None
) -> None:
    """Check the files of the lakehouse; exit 3 if one is wrong.

    Without an option, every file: its hash, schema, order, keys, date and values, and the receipts.
    """
    if lookahead + online + bool(accepted) > 1:
        raise InputError("verify one thing at a time: --lookahead, --online or --accept")
    if reason is not None and not accepted:
        raise InputError("--reason goes with --accept")
    if accepted:
        _accept(as_json, accepted, reason or "")
    elif lookahead:
        _verify_lookahead(as_json)
    elif online:
        _verify_online(as_json)
    else:
        _verify_files(as_json)


def _verify_files(as_json: bool) -> None:
    from ingestion.cli.render import tracing as render
    from ingestion.jobs.audit.verify_lakehouse import check_lakehouse

    report = check_lakehouse(Project.from_environment())
    show(as_json, render.verify_document(report), render.verify_text(report))
    if not report.passed:
        files = len({fault.file for fault in report.faults})
        raise GateRefused(f"{files} files of the lakehouse are not sound")


def _accept(as_json: bool, names: tuple[str, ...], reason: str) -> None:
    from ingestion.cli.render import tracing as render
    from ingestion.jobs.audit.accept import accept_losses

    result = accept_losses(Project.from_environment(), names, reason)
    show(as_json, render.accept_document(result), render.accept_text(result))


def _verify_lookahead(as_json: bool) -> None:
    from ingestion.cli.render import checks as render
    from ingestion.jobs.compute.lookahead import verify_lakehouse

    report = verify_lakehouse(Project.from_environment())
    show(as_json, render.lookahead_document(report), render.lookahead_text(report))
    if not report.passed:
        raise GateRefused(f"{len(report.leaks)} features look ahead")


def _verify_online(as_json: bool) -> None:
    from ingestion.cli.render import online as render
    from ingestion.jobs.serve.verify_online import refuse_unless_equal, verify_online

    report = verify_online(Project.from_environment())
    show(as_json, render.online_document(report), render.online_text(report))
    refuse_unless_equal(report)


@cli.command("parity")
@click.option("--from", "first", type=DAY, help="UTC date of the first snapshots [all].")
@click.option("--to", "last", type=DAY, help="UTC date of the last snapshots, included.")
@click.option(
    "--tolerance",
    type=Number(0, 1),
    default=0.01,
    show_default=True,
    help="Name differences beyond this share of a column's scale.",
)
@json_option
def parity_command(as_json: bool, first: date | None, last: date | None, tolerance: float) -> None:
    """Compare served technicals with those recomputed from the bars."""
    from ingestion.cli.render import checks as render
    from ingestion.jobs.compute.parity import ParityRequest, parity

    request = ParityRequest(first or date.min, last or date.max, tolerance)
    result = parity(Project.from_environment(), request)
    show(as_json, render.parity_document(result), render.parity_text(result.report))
