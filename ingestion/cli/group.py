"""What all commands share, and which there are, by task.

A command is imported when it is asked for, so that ``--help`` of one costs nothing of the others.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ingestion.base.errors import GateRefused, InputError
from ingestion.cli.alarm import CommandLine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ingestion.markets.candidates import Candidates
    from ingestion.project import Project

Members = TypeVar("Members")

TASKS: dict[str, dict[str, str]] = {
    "Start": {
        "init": "start",
        "doctor": "start",
        "demo": "replay",
        "replay-scanner": "replay",
        "catalog": "catalog",
    },
    "Every day": {
        "flow-data": "daily",
        "status": "status",
        "select": "serving",
        "report": "report",
        "explain": "explain",
    },
    "Steps of the daily flow": {
        "data-ingest": "ingest",
        "meta-ingest": "ingest",
        "feature-ingest": "ingest",
        "daily-bars": "daily_bars",
        "local-features": "bars",
        "validate": "checks",
        "materialize": "daily",
    },
    "History and training": {
        "history": "history",
        "import-bars": "bars",
        "fetch-bars": "bars",
        "import-features": "features",
        "universe": "universe",
        "backfill": "bars",
        "training-set": "serving",
        "panel": "research",
        "factor-report": "factor",
    },
    "Checks": {
        "verify": "checks",
        "prove": "research",
        "reproduce": "research",
        "replay-decision": "decisions",
        "parity": "checks",
        "compare-sources": "sources",
        "data-docs": "checks",
        "accept-hole": "upkeep",
        "withdraw-bars": "bars",
    },
    "Upkeep": {
        "compact": "upkeep",
        "prune": "upkeep",
        "copy": "upkeep",
        "rebuild": "daily",
        "upgrade": "checks",
    },
}
"""By task the commands, each with the module of this package that it is in."""
_NO_JOBS = frozenset({"catalog", "demo", "init", "replay-scanner", "universe"})


class Jobs(click.Group):
    """Commands; each that runs a job has ``--on-alarm``."""

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, and the option to it."""
        if (name or cmd.name) not in _NO_JOBS:
            cmd.params.append(
                click.Option(
                    ["--on-alarm"],
                    type=CommandLine(),
                    expose_value=False,  # whoever ends the command looks for it
                    help="Run this with the JSON on its standard input if the exit code is 1 to 4.",
                )
            )
        super().add_command(cmd, name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the first word names; a word that is none is refused."""
        word, known = args[0], self.list_commands(ctx)
        if word not in known and not word.startswith("-") and not ctx.resilient_parsing:
            from ingestion.base.wording import did_you_mean

            near = did_you_mean(word, known)
            raise click.UsageError(f"there is no command {word!r}{near}", ctx)
        return super().resolve_command(ctx, args)


class Tasks(Jobs):
    """The commands of :data:`TASKS`, imported when they are asked for."""

    def list_commands(self, ctx: click.Context | None = None) -> list[str]:
        """Return the names, in the order of the tasks."""
        return [name for commands in TASKS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, whose module is imported if that was not done before."""
        for commands in TASKS.values():
            if cmd_name in commands and cmd_name not in self.commands:
                import_module(f"ingestion.cli.{commands[cmd_name]}")
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by task, each with its first line, whole."""
        width = max(map(len, self.list_commands(ctx)))
        for task, names in TASKS.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(task):
                formatter.write_dl(
                    [
                        (f"{name:{width}}", each.get_short_help_str(limit=1_000))
                        for name, each in commands
                        if each is not None
                    ]
                )


@click.group(
    cls=Tasks,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
)
@click.version_option(package_name="tvfeast")
def cli() -> None:
    """TradingView screener signals as point-in-time features, served by Feast."""


def examples(*lines: str) -> dict[str, Any]:
    """Return the settings that put examples below a command's help; each is run by a test.

    Examples
    --------
    >>> examples("status   # how fresh everything is")["epilog"].splitlines()[-1]
    '  tvfeast status   # how fresh everything is'
    """
    # Click keeps the lines of a paragraph that begins with this character.
    return {"epilog": "\n".join(["\b", "Examples:", *(f"  tvfeast {line}" for line in lines)])}


RUN_ID, LAST = "tvfeast.run_id", "tvfeast.last"
"""Where a command's context has which step of a run in parts it is."""


def this_project() -> Project:
    """Return the project that the environment names."""
    from ingestion.project import Project

    project = Project.from_environment()
    context = click.get_current_context(silent=True)
    run_id = context.meta.get(RUN_ID) if context else None
    return (
        project
        if run_id is None
        else replace(project, run_id=run_id, is_last_step=bool(context and context.meta.get(LAST)))
    )


def nothing_stored(project: Project) -> GateRefused:
    """Return the error of a check of a lakehouse in which there is nothing: it may be another."""
    return GateRefused(
        f"nothing is stored in {project.lakehouse}: run `tvfeast flow-data`, or go to the folder "
        "of your project"
    )


def candidates_of(path: Path) -> Candidates:
    """Read a candidates file, and say on stderr what in it is left out."""
    from ingestion.markets.candidates import read_candidates

    candidates = read_candidates(path)
    for problem in candidates.problems:
        click.echo(f"{path}, {problem}; left out", err=True)
    return candidates


def candidates_or(
    candidates: Path | None, universe: str | None, of_universe: Callable[[str], Members]
) -> Candidates | Members:
    """Return the candidates of a file, or what is made of the name of a universe.

    Raises
    ------
    InputError
        If not one of the two is named, or the file cannot be read.
    """
    if candidates and not universe:
        return candidates_of(candidates)
    if universe and not candidates:
        return of_universe(universe)
    raise InputError("name either --candidates FILE or --universe NAME")


def symbols_so_far(
    project: Project, candidates: Path | None, universe: str | None
) -> tuple[str, ...]:
    """Return the symbols of a candidates file, or all that were ever seen in a universe.

    Raises
    ------
    InputError
        As :func:`candidates_or`.
    """
    from ingestion.jobs.serve.show_universe import members_so_far
    from ingestion.markets.candidates import Candidates

    def seen(name: str) -> Candidates:
        return Candidates(name, members_so_far(project, name), (), 0)

    return candidates_or(candidates, universe, seen).symbols


def symbols_of(path: Path | None, universes: object) -> Sequence[str] | None:
    """Return the symbols of a candidates file; None without one.

    Raises
    ------
    InputError
        If a universe is named too, or the file cannot be read.
    """
    if path is None:
        return None
    if universes:
        raise InputError("name --candidates FILE or --universe NAME, not both")
    return candidates_of(path).symbols


def sample_folder() -> Path:
    """Return the folder of the sample."""
    return Path(__file__).resolve().parent.parent.parent / "data" / "sample"
