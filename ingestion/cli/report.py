"""What people look at each morning."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import InputError
from ingestion.cli.group import cli, examples, this_project
from ingestion.cli.options import json_option
from ingestion.cli.output import show

if TYPE_CHECKING:
    from ingestion.jobs.report.make_report import ReportResult


@cli.command(
    "report",
    **examples(
        "report           # writes data/report.html; open it in a browser",
        "report --serve   # … or look at it on this machine, always the newest",
    ),
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="data/report.html of the project",
    help="The HTML file to write.",
)
@click.option("--serve", is_flag=True, help="Serve it on this machine alone, made anew if need be.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8790,
    help="Port on 127.0.0.1 for --serve; 0 for a free one.",
)
@json_option
def report_command(as_json: bool, out: Path | None, serve: bool, port: int) -> None:
    """Write the HTML page to look at each morning.

    With --serve nothing is written: the page is on 127.0.0.1, and an open one is loaded again when
    a run has begun or ended.
    """
    from ingestion.jobs.report.make_report import make_report

    if serve:
        if out is not None or as_json:
            raise InputError("--serve writes no file and prints no JSON: leave --out, --json out")
        _serve(port)
        return
    show(as_json, make_report(this_project(), out), report_text)


def _serve(port: int) -> None:
    from ingestion.jobs.report.report_server import ReportServer

    with ReportServer(this_project(), port) as server:
        click.echo(f"the report is at {server.url}; Ctrl-C ends this")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def report_text(result: ReportResult) -> str:
    """Return what was written, and the report's answer, for people."""
    lines = (f"  {reason}" for reason in result.reasons)
    return "\n".join([result.answer, *lines, f"{result.path} ({result.size / 1e6:.1f} MB)"])
