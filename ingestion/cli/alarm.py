"""``--on-alarm CMD``: a command that runs when a job has ended with an error.

It gets the JSON object that the job would print with ``--json`` on its standard input, with
``command``, ``error`` and ``exit_code`` beside. No secret reaches it: the texts are searched for
them, and the session is not in its environment. What it prints goes to stderr; whatever becomes of
it, the job's exit code stays.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import click

from ingestion.base.redaction import Redaction

RINGS_FOR = frozenset({1, 2, 3, 4})
"""Exit codes; 5 passes by itself, and 130 was somebody's wish."""
LIMIT_S = 60.0
"""How long it may take."""
_SECRET_VARIABLE = "TVFEAST_SESSION_ID"  # noqa: S105 - its name
_OPTION = "--on-alarm"


class CommandLine(click.ParamType[list[str]]):
    """A command and its arguments, as a shell would split them; no shell runs it."""

    name = "command"

    def convert(self, value: Any, param: Any, ctx: Any) -> list[str]:
        """Split the words."""
        if isinstance(value, list):
            return value
        words = _words(value)
        if not words:
            self.fail(f"{value!r} is no command: close its quotes, and name a program", param, ctx)
        return words


def given_command(arguments: Sequence[str]) -> list[str]:
    """Return the alarm command among a command line's arguments; none if there is none.

    The arguments are looked at themselves: a command line that cannot be read is an alarm too.

    Examples
    --------
    >>> given_command(["status", "--on-alarm", "mail -s 'it rings' desk"])
    ['mail', '-s', 'it rings', 'desk']
    """
    for at, word in enumerate(arguments):
        if word == "--":
            break
        name, has_value, value = word.partition("=")
        if name == _OPTION:
            following = arguments[at + 1] if at + 1 < len(arguments) else ""
            return _words(value if has_value else following)
    return []


def ring(words: Sequence[str], document: dict[str, Any], secrets: Redaction) -> None:
    """Run the alarm command; whatever is wrong with it is said on stderr."""
    import json
    import subprocess

    name = secrets.hide(words[0])
    content = json.dumps(_hidden(document, secrets), ensure_ascii=False)
    environment = {key: text for key, text in os.environ.items() if key != _SECRET_VARIABLE}
    try:
        process = subprocess.Popen(  # noqa: S603 - the words are the user's own
            words,
            stdin=subprocess.PIPE,
            stdout=sys.stderr.fileno(),
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        _say(f"{name} could not be run: {error.strerror}")
        return
    try:
        process.communicate(content.encode(errors="replace"), timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # with whatever it has started
        process.wait()
        _say(f"{name} had not ended after {LIMIT_S:g} s, and was killed")
    else:
        if process.returncode:
            _say(f"{name} ended with {process.returncode}")


def _words(text: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError:  # a quote is not closed
        return []


def _hidden(value: Any, secrets: Redaction) -> Any:
    if isinstance(value, dict):
        return {secrets.hide(str(key)): _hidden(member, secrets) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [_hidden(member, secrets) for member in value]
    return secrets.hide(value) if isinstance(value, str) else value


def _say(what: str) -> None:
    click.echo(f"tvfeast: the alarm command {what}", err=True)
