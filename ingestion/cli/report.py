"""What people look at each morning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.cli.group import cli, examples, this_project
from ingestion.cli.options import json_option
from ingestion.cli.output import show

if TYPE_CHECKING:
    from ingestion.jobs.report.make_report import ReportResult


@cli.command("report", **examples("report   # writes data/report.html; open it in a browser"))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="data/report.html of the project",
    help="The HTML file to write.",
)
@json_option
def report_command(as_json: bool, out: Path | None) -> None:
    """Write the HTML page to look at each morning."""
    from ingestion.jobs.report.make_report import make_report

    show(as_json, make_report(this_project(), out), report_text)


def report_text(result: ReportResult) -> str:
    """Return what was written, and the report's answer, for people."""
    lines = (f"  {reason}" for reason in result.reasons)
    return "\n".join([result.answer, *lines, f"{result.path} ({result.size / 1e6:.1f} MB)"])
