"""A project of one's own, and whether the machine is ready for it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import demand_all
from ingestion.cli.group import cli, examples, sample_folder
from ingestion.cli.options import json_option
from ingestion.cli.output import show

if TYPE_CHECKING:
    from ingestion.jobs.audit.doctor import Diagnosis
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
  tvfeast doctor                        # is everything ready?
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


@cli.command("doctor", **examples("doctor", "doctor --json   # for a monitor"))
@json_option
def doctor_command(as_json: bool) -> None:
    """Check whether everything is ready, and say what to do.

    The machine, the settings, the project, the disk, the lakehouse, the stores, the scanner and
    the clock. Nothing is changed. Exit 3 if something is wrong.
    """
    from ingestion.jobs.audit.doctor import diagnose

    found = diagnose()
    show(as_json, found, doctor_text)
    demand_all(found)


def doctor_text(found: Diagnosis) -> str:
    """Return the findings, one line each, and below it what to do."""
    width = max(len(each.about) for each in found.findings)
    lines = []
    for each in found.findings:
        colour = {"ok": "green", "note": "yellow", "WRONG": "red"}[each.state.value]
        state = click.style(f"{each.state.value:5}", fg=colour)
        lines.append(f"{state}  {each.about:{width}}  {each.what}")
        if each.remedy:
            lines.append(f"{'':{width + 9}}→ {each.remedy}")
    return "\n".join(lines)


def _listing(files: tuple[str, ...]) -> str:
    return "\n".join(f"  {name}" for name in files)
