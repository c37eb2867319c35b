"""Trying it without TradingView."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ingestion.cli.group import cli, examples, sample_folder, this_project
from ingestion.cli.options import between


@cli.command(
    "replay-scanner",
    **examples(
        "replay-scanner   # then: export TVFEAST_SCANNER_URL=http://127.0.0.1:8787",
        "replay-scanner --port 0 --fail empty:3   # the next three answers have no rows",
    ),
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8787,
    help="Port on 127.0.0.1; 0 for a free one.",
)
@click.option(
    "--bars",
    type=click.Path(path_type=Path),
    help="Folder with bars.parquet and symbols.csv; the sample if not given.",
)
@click.option(
    "--recording",
    "recordings",
    multiple=True,
    metavar="FILE",
    help="Serve a recorded answer instead of bars, or one symbol's values: NASDAQ:AAPL=FILE.",
)
@click.option("--latency", type=between(0, 600), default=0.0, help="Seconds before each answer.")
@click.option(
    "--fail",
    "faults",
    multiple=True,
    metavar="FAULT",
    help="Misbehave: `empty:3` for the next three requests, `html@0.1` for one in ten.",
)
@click.option(
    "--changed-vote",
    "changed_votes",
    multiple=True,
    metavar="VOTE=RULE@DATE",
    help="Cast a vote of the ratings by another rule from a date on: `Mom=reversed@2021-04-06`; "
    "reversed, silent or turning.",
)
def replay_scanner_command(
    port: int,
    bars: Path | None,
    recordings: tuple[str, ...],
    latency: float,
    faults: Any,
    changed_votes: tuple[str, ...],
) -> None:
    """Stand in for TradingView's scanner on this machine.

    It answers from recorded bars, or with recorded answers.
    """
    from ingestion.replay import serve

    serve(
        bars or sample_folder(),
        port=port,
        latency=latency,
        fail=faults,
        recordings=recordings,
        changed_votes=changed_votes,
    )


@cli.command(
    "demo",
    **examples(
        "demo",
        "demo --folder /tmp/demo   # somewhere else",
    ),
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default="data/demo",
    help="Where to build it, relative to the project; replaced if it is an earlier demo.",
)
def demo_command(folder: Path) -> None:
    """Replay a week of real bars, then train and select."""
    from ingestion.cli.checks import parity_table
    from ingestion.cli.serving import selection_text
    from ingestion.jobs.demo import Tables, demo

    beside = this_project().folder
    demo(beside / folder, sample_folder(), click.echo, Tables(parity_table, selection_text))
