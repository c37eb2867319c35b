"""Parts of the site's reference that are made from the code: commands, settings, exit codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

import click

from ingestion.base.errors import EXIT_CODES, TvfeastError
from ingestion.base.settings import VARIABLES
from ingestion.cli.commands import cli
from ingestion.cli.group import TASKS

_WIDTH = 88
_FROM_CODE = re.compile(r"^<!-- from code: (\w+) -->$", re.MULTILINE)


def with_code(page: str) -> str:
    """Return a page with what is made from code in place of each ``<!-- from code: NAME -->``."""
    return _FROM_CODE.sub(lambda line: MAKERS[line[1]](), page)


def commands() -> str:
    """Return one section for each command, by task: the text of its ``--help``."""
    context = click.Context(cli, info_name="tvfeast")
    lines = []
    for task, names in TASKS.items():
        lines.append(f"## {task}\n")
        for name in names:
            lines += _sections(cli, name, context, 3)
    return "\n".join(lines)


def settings() -> str:
    """Return the table of the environment variables."""
    rows = [
        f"| `{name}` | {meaning} | {default} |" for name, (meaning, default) in VARIABLES.items()
    ]
    return "\n".join(["| variable | is | if it is not set |", "|---|---|---|", *rows])


def exit_codes() -> str:
    """Return the table of the exit codes, with the errors of the library that end with each."""
    errors: dict[int, list[str]] = {}
    for error in _kinds(TvfeastError):
        errors.setdefault(error.exit_code, []).append(f"`{error.__name__}`")
    rows = [
        f"| {code} | {meaning} | {', '.join(errors.get(code, []))} |"
        for code, meaning in EXIT_CODES.items()
    ]
    return "\n".join(["| code | means | errors |", "|---|---|---|", *rows])


def _sections(group: click.Group, name: str, parent: click.Context, level: int) -> Iterator[str]:
    command = group.get_command(parent, name)
    assert command is not None  # noqa: S101 - the group has listed it
    context = click.Context(command, info_name=name, parent=parent)
    context.max_content_width = context.terminal_width = _WIDTH
    yield f"{'#' * level} `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for inner in command.list_commands(context):
            yield from _sections(command, inner, context, level + 1)


def _kinds(error: type[TvfeastError]) -> Iterator[type[TvfeastError]]:
    yield error
    for kind in error.__subclasses__():
        yield from _kinds(kind)


MAKERS: Mapping[str, Callable[[], str]] = {
    "commands": commands,
    "settings": settings,
    "exit_codes": exit_codes,
}
"""What a page can ask for, by name."""
