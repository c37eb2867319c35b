"""``--on-alarm``, with real commands in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

from ingestion.cli.alarm import given_command
from ingestion.cli.commands import cli
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import LocalDisk

SECRET = "0123456789abcdefghij"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return make_workspace(tmp_path / "project")


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Where the alarm command puts what it is told, and its environment."""
    return tmp_path / "told"


def alarm(kept: Path, more: str = "") -> str:
    """A command that keeps what it is told, and prints it."""
    code = f"import os, sys; text = sys.stdin.read(); print(text); {more or 'pass'}"
    code += f"; open({str(kept)!r}, 'w').write(text + str(dict(os.environ)))"
    return f'{sys.executable} -c "{code}"'


def run(project: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {"TVFEAST_PROJECT": str(project), "PATH": os.environ["PATH"], **environment}
    command = [sys.executable, "-m", "ingestion.cli", *words]
    return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)


def told(kept: Path) -> dict[str, object]:
    document, _ = json.JSONDecoder().raw_decode(kept.read_text())
    return dict(document)


def test_an_alarm_gets_the_report_with_the_error_beside(project: Path, kept: Path):
    ended = run(project, "status", "--json", "--on-alarm", alarm(kept))
    assert ended.returncode == 3
    printed, document = json.loads(ended.stdout), told(kept)
    assert document.pop("command") == "status"
    assert document.pop("exit_code") == 3
    assert "run `tvfeast flow-data`" in str(document.pop("error"))
    assert document == printed


def test_what_the_alarm_prints_is_not_on_standard_output(project: Path, kept: Path):
    quiet = run(project, "status")
    ended = run(project, "status", "--on-alarm", alarm(kept))
    assert ended.stdout == quiet.stdout
    assert '"command": "status"' in ended.stderr


def test_without_a_report_the_error_alone_is_told(project: Path, kept: Path):
    ended = run(project, "materialize", f"--on-alarm={alarm(kept)}")
    assert ended.returncode == 2
    document = told(kept)
    assert document.keys() == {"command", "error", "exit_code"}
    assert f"tvfeast: {document['error']}" in ended.stderr


def test_a_command_line_that_cannot_be_read_is_an_alarm_too(project: Path, kept: Path):
    ended = run(project, "status", "--on-alarm", alarm(kept), "--no-such-option")
    assert (ended.returncode, told(kept)["exit_code"]) == (2, 2)


def test_success_is_no_alarm(project: Path, kept: Path):
    assert run(project, "compact", "--on-alarm", alarm(kept)).returncode == 0
    assert not kept.exists()


def test_another_writer_is_no_alarm(project: Path, kept: Path):
    from ingestion.lakehouse import lakehouse_lock

    with lakehouse_lock(LocalDisk(project / "data" / "lakehouse"), "another"):
        ended = run(project, "compact", "--on-alarm", alarm(kept))
    assert ended.returncode == 5
    assert not kept.exists()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("no-such-program --now", "no-such-program could not be run"),
        ("false", "false ended with 1"),
        (f'{sys.executable} -c "import os; os.kill(os.getpid(), 9)"', "ended with -9"),
    ],
)
def test_a_failing_alarm_is_said_and_changes_nothing_else(project: Path, command: str, said: str):
    ended = run(project, "status", "--on-alarm", command)
    assert ended.returncode == 3
    assert "tvfeast: the alarm command" in ended.stderr
    assert said in ended.stderr


@pytest.mark.parametrize("command", ["", "mail 'desk"])
def test_no_command_is_bad_usage(project: Path, command: str):
    ended = run(project, "status", "--on-alarm", command)
    assert ended.returncode == 2
    assert "is no command" in ended.stderr


def test_a_hanging_alarm_is_killed_with_what_it_has_started(project: Path, kept: Path):
    sleeper = "import subprocess; subprocess.run(['sleep', '60'])"
    code = (
        "import sys; from ingestion.cli import alarm; from ingestion.cli import main; "
        "alarm.LIMIT_S = 0.5; sys.argv = ['tvfeast', 'status', '--on-alarm', sys.argv[1]]; main()"
    )
    began = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", code, alarm(kept, sleeper)],
        env={"TVFEAST_PROJECT": str(project), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert ended.returncode == 3
    assert "had not ended after 0.5 s, and was killed" in ended.stderr
    assert time.monotonic() - began < 45
    assert not kept.exists()


def test_no_secret_reaches_it(project: Path, kept: Path, tmp_path: Path):
    """Neither the session nor a header, where an error repeats them: here the file's name does."""
    name = f"sessionid={SECRET}.json"
    words = ("flow-data", "--candidates", name, "--header", f"X-Token: {SECRET}x")
    ended = run(project, *words, "--on-alarm", alarm(kept), TVFEAST_SESSION_ID=SECRET)
    assert ended.returncode == 2
    assert SECRET not in kept.read_text()
    assert "***" in str(told(kept)["error"])


def test_every_job_has_the_option():
    assert without_alarm(cli) == {"catalog", "demo", "init", "replay-scanner", "universe"}
    universe = cli.get_command(click.Context(cli), "universe")
    assert isinstance(universe, click.Group)
    assert without_alarm(universe) == set()


def without_alarm(group: click.Group) -> set[str]:
    context = click.Context(group)
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {
        name
        for name, command in commands.items()
        if command and all("--on-alarm" not in option.opts for option in command.params)
    }


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["status", "--on-alarm", "ring it"], ["ring", "it"]),
        (["status", "--on-alarm=ring it"], ["ring", "it"]),
        (["status", "--on-alarm"], []),
        (["import-bars", "--", "--on-alarm", "x"], []),
        (["status", "--on-alarm", "ring 'it"], []),
        (["status"], []),
    ],
)
def test_the_command_is_found_among_the_arguments(words: list[str], command: list[str]):
    assert given_command(words) == command
