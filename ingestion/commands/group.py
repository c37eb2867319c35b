"""What all commands share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ingestion.candidates import Candidates


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tvfeast")
def cli() -> None:
    """TradingView screener signals as point-in-time features, served by Feast."""


@dataclass
class Output:
    """What a command has printed so far; the object of its context."""

    is_json: bool = False
    """Whether that is its JSON object."""


def show(as_json: bool, document: dict[str, Any], text: str) -> None:
    """Print a result, as one JSON object or as text."""
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else text)
    output = click.get_current_context().find_object(Output)
    if output is not None:
        output.is_json = as_json


def candidates_of(path: Path) -> Candidates:
    """Read a candidates file, and say on stderr what in it is left out."""
    from ingestion.candidates import read_candidates

    candidates = read_candidates(path)
    for problem in candidates.problems:
        click.echo(f"{path}, {problem}; left out", err=True)
    return candidates


def sample_folder() -> Path:
    """Return the folder of the sample."""
    return Path(__file__).resolve().parent.parent.parent / "data" / "sample"
