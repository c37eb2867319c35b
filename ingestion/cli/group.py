"""What all commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.cli.alarm import CommandLine

if TYPE_CHECKING:
    from ingestion.markets.candidates import Candidates


class Jobs(click.Group):
    """The commands; each that runs a job has ``--on-alarm``."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, and the option to it."""
        if (name or cmd.name) not in NO_JOBS:
            cmd.params.append(
                click.Option(
                    ["--on-alarm"],
                    type=CommandLine(),
                    expose_value=False,  # whoever ends the command looks for it
                    help="Run this with the JSON on its standard input if the exit code is 1 to 4.",
                )
            )
        super().add_command(cmd, name)


NO_JOBS = frozenset({"catalog", "demo", "replay-scanner", "universe"})


@click.group(cls=Jobs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tvfeast")
def cli() -> None:
    """TradingView screener signals as point-in-time features, served by Feast."""


def candidates_of(path: Path) -> Candidates:
    """Read a candidates file, and say on stderr what in it is left out."""
    from ingestion.markets.candidates import read_candidates

    candidates = read_candidates(path)
    for problem in candidates.problems:
        click.echo(f"{path}, {problem}; left out", err=True)
    return candidates


def sample_folder() -> Path:
    """Return the folder of the sample."""
    return Path(__file__).resolve().parent.parent.parent / "data" / "sample"
