"""What the command line says of itself: commands by task, their help, their examples."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from ingestion.cli.commands import TASKS, cli
from ingestion.scanner import ScannerOptions

_TERMINAL = 80


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield all commands with their full names, those below others too."""
    context = click.Context(cli, info_name="tvfeast")
    for name in cli.list_commands(context):
        command = cli.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {each}", command.commands[each]) for each in command.commands)


EVERY = dict(every_command())


def help_of(*words: str) -> str:
    result = CliRunner(env={"COLUMNS": str(_TERMINAL)}).invoke(cli, [*words, "--help"])
    assert result.exit_code == 0
    return result.stdout


def examples_of(command: click.Command) -> list[list[str]]:
    """Return the words of a command's examples, without their comments."""
    lines = (command.epilog or "").splitlines()
    assert lines[:2] == ["\b", "Examples:"], command.name
    return [shlex.split(line, comments=True) for line in lines[2:]]


def test_the_commands_are_listed_by_task_each_on_one_line_of_a_small_terminal():
    text = help_of()
    for task, names in TASKS.items():
        section = text.partition(f"\n{task}:\n")[2].partition("\n\n")[0].splitlines()
        assert [line.split()[0] for line in section] == list(names)
        for line in section:
            first = EVERY[line.split()[0]].help
            assert first is not None
            told = line.split(maxsplit=1)[1]
            assert told == first.partition("\n")[0], "the first line, and all of it"
            assert len(line) <= _TERMINAL


@pytest.mark.parametrize("group", ["universe", "catalog"])
def test_the_commands_below_one_have_a_whole_line_too(group: str):
    text = help_of(group)
    for name, command in EVERY.items():
        if name.startswith(f"{group} "):
            first = (command.help or "").partition("\n")[0]
            assert re.search(rf"^  {name.split()[1]} +{re.escape(first)}$", text, re.MULTILINE)


def test_each_command_is_of_one_task():
    names = [name for names in TASKS.values() for name in names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", EVERY)
def test_a_commands_examples_are_printed_and_are_of_that_command(name: str):
    text = help_of(*name.split())
    asked = examples_of(EVERY[name])
    assert asked
    for words in asked:
        assert words[0] == "tvfeast"
        assert words[1:][: len(name.split())] == name.split() or name in words[1]
    for line in (EVERY[name].epilog or "").splitlines()[2:]:
        assert line.strip() in text, "no line is wrapped, so that it can be copied"


@pytest.mark.parametrize("name", EVERY)
def test_a_commands_examples_can_be_parsed(name: str):
    for words in examples_of(EVERY[name]):
        parent, command, rest = click.Context(cli), cli, words[1:]
        while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
            found = command.get_command(parent, rest[0])
            assert found is not None, rest
            command, rest = found, rest[1:]
        command.make_context(command.name, rest, parent=parent)


@pytest.mark.parametrize("name", EVERY)
def test_defaults_are_told_one_way(name: str):
    """As ``[default: …]``, which Click writes; a help text has no brackets of its own."""
    command = EVERY[name]
    for option in command.params:
        if isinstance(option, click.Option):
            assert not re.search(r"[\[\]]", option.help or ""), option.opts
            assert option.show_default is not False, option.opts


def test_the_scanners_defaults_are_those_that_it_has():
    options = EVERY["feature-ingest"].params
    told = {option.name: option.default for option in options}
    own = ScannerOptions()
    for name in ("batch_size", "in_flight", "read_timeout", "retries", "backoff", "max_columns"):
        assert told[name] == getattr(own, name), name


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["slect"], "did you mean select?"),
        (["flow_data"], "did you mean flow-data?"),
        (["universe", "shwo"], "did you mean show?"),
        (["catalog", "chek"], "did you mean check?"),
        (["select", "--topp", "3"], "--top"),
        (["select", "--feautre", "RSI"], "--feature"),
        (["flow-data", "--candidate", "x.json"], "--candidates"),
        (["universe", "show", "us_large", "--asof", "now"], "--as-of"),
        (["Status"], "did you mean status?"),
    ],
)
def test_a_misspelt_word_is_answered_with_the_nearest_one(words: list[str], meant: str):
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 2
    assert meant in result.stderr
    assert result.stdout == ""


def test_a_word_that_is_like_none_is_refused_without_a_guess():
    result = CliRunner().invoke(cli, ["xyzzy"])
    assert result.exit_code == 2
    assert "there is no command 'xyzzy'" in result.stderr
    assert "did you mean" not in result.stderr
