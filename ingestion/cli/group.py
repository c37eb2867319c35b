"""What all commands share."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

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


NO_JOBS = frozenset({"demo", "replay-scanner"})


@click.group(cls=Jobs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tvfeast")
def cli() -> None:
    """TradingView screener signals as point-in-time features, served by Feast."""


@dataclass
class Output:
    """What a command has printed so far; the object of its context."""

    is_json: bool = False
    """Whether that is its JSON object."""
    document: dict[str, Any] = field(default_factory=dict)
    """That object, printed or not."""


def show(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print a result, as one JSON object or as text."""
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else text)
    output = click.get_current_context().find_object(Output)
    if output is not None:
        output.is_json, output.document = as_json, document


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
