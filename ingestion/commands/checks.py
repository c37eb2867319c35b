"""Checking what is stored."""

from __future__ import annotations

import click

from ingestion.commands.group import cli, show
from ingestion.errors import GateRefused, InputError
from ingestion.options import json_option
from ingestion.settings import Settings


@cli.command("verify")
@click.option("--lookahead", is_flag=True, help="Prove that no feature of a bar looks past it.")
@json_option
def verify_command(as_json: bool, lookahead: bool) -> None:
    """Check what the lakehouse holds; exit 3 if something does not hold."""
    from ingestion.jobs.lookahead import verify_lakehouse
    from ingestion.render import checks as render

    if not lookahead:
        raise InputError("name what to verify: --lookahead")
    report = verify_lakehouse(Settings.from_environment())
    show(as_json, render.lookahead_document(report), render.lookahead_text(report))
    if not report.passed:
        raise GateRefused(f"{len(report.leaks)} features look ahead")
