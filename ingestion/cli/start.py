"""A project of one's own, and whether the machine is ready for it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.cli.group import cli, examples, sample_folder
from ingestion.cli.options import json_option
from ingestion.cli.output import show

if TYPE_CHECKING:
    from ingestion.jobs.new_project import NewProject


@cli.command("init", **examples("init my_project   # then: cd my_project"))
@click.argument("folder", type=click.Path(path_type=Path))
@json_option
def init_command(as_json: bool, folder: Path) -> None:
    """Make a project of your own, with a universe and a group.

    A Feast repository, a universe, a feature group and its formula, and a candidates file. Nothing
    is overwritten. Whoever runs tvfeast in FOLDER, or below it, works on that project.
    """
    from ingestion.jobs.new_project import make_project

    show(as_json, make_project(folder), init_text)


def init_text(made: NewProject) -> str:
    """Return what was made, and what to do next, for people."""
    from ingestion.jobs.new_project import FEATURE, UNIVERSE

    bars = sample_folder() / "bars.parquet"
    return f"""\
Made {made.folder}:
{_listing(made.files)}

Go on from there:
  cd {shlex.quote(str(made.folder))}
  tvfeast flow-data --universe {UNIVERSE}     # from TradingView's scanner to the online store
  tvfeast select --top 5

… or try it without TradingView, on recorded bars of 2021; remove data/ before the first real run:
  cd {shlex.quote(str(made.folder))}
  export TVFEAST_NOW=2021-04-12T21:30Z TVFEAST_SCANNER_URL=http://127.0.0.1:8787
  tvfeast replay-scanner &
  tvfeast import-bars {shlex.quote(str(bars))}
  tvfeast flow-data --universe {UNIVERSE}
  tvfeast select --top 5
  tvfeast select --by {FEATURE} --top 5
  kill %1"""


def _listing(files: tuple[str, ...]) -> str:
    return "\n".join(f"  {name}" for name in files)
