"""The command line's entry: runs a command, and ends every error in one line and an exit code.

With ``--json`` or ``--format json``, the line is an object on stdout too, unless the command has
printed its own: whoever reads one finds one. ``--on-alarm`` is served here too, where every error
ends.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import gc
import io
import os
import signal
import sys
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from ingestion.base.errors import InputError, TvfeastError
from ingestion.base.redaction import Redaction, session_header
from ingestion.base.settings import variable
from ingestion.cli.alarm import RINGS_FOR, given_command, ring
from ingestion.cli.group import cli, this_project
from ingestion.cli.output import Output, bars_on_terminal

_OBJECTS_A_COLLECTION = 100_000
"""Made before Python looks for what nobody refers to; with its 700, that is 5 % of `select`."""
_INTERRUPTED = 130
"""128 and the number of the signal, as shells have it."""
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MAKE_ROOM = (
    "nothing was left half done; make room where the project and its lakehouse lie, and run again"
)
_NO_RIGHT = (errno.EACCES, errno.EPERM, errno.EROFS)
_GIVE_RIGHT = "run as the user whose it is, or give this one the right to it; then run again"


def main() -> None:
    """Run the command line; every error ends in one line and its exit code."""
    gc.set_threshold(_OBJECTS_A_COLLECTION)
    # Python would look through all there is once more at the end, which is 5 % of `status`.
    atexit.register(gc.freeze)
    output = Output()
    # Asked to end, as by systemd, a job leaves its receipt as after Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with bars_on_terminal():
            status = cli(standalone_mode=False, obj=output, color=_colour())
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        _end("interrupted", _INTERRUPTED, output)
    except click.ClickException as error:
        told = io.StringIO()
        error.show(told)
        click.echo(_redaction().hide(told.getvalue()), nl=False, err=True)
        _end(_redaction().hide(error.format_message()), error.exit_code, output)
    except TvfeastError as error:
        line = " ".join(str(error).split())  # other libraries' reasons may be of several
        _say(_redaction().hide(line), error.exit_code, output)
    except BrokenPipeError:
        _ring("standard output was closed", TvfeastError.exit_code, output)
        sys.exit(TvfeastError.exit_code)
    except OSError as error:
        if error.errno in _NO_ROOM:
            _say(f"{os.strerror(error.errno)}: {_MAKE_ROOM}", InputError.exit_code, output)
        if error.filename is None:
            _internal(error, output)
        remedy = f"; {_GIVE_RIGHT}" if error.errno in _NO_RIGHT else ""
        _say(f"{error.filename}: {error.strerror}{remedy}", InputError.exit_code, output)
    except Exception as error:  # noqa: BLE001 - the last resort: a line and where to look
        _internal(error, output)
    sys.exit(status if isinstance(status, int) else 0)


def _colour() -> bool | None:
    """Return that there are none where ``NO_COLOR`` says so; else what is printed on decides."""
    return False if os.environ.get("NO_COLOR") else None


def _say(line: str, exit_code: int, output: Output) -> NoReturn:
    click.echo(f"tvfeast: {line}", err=True)
    _end(line, exit_code, output)


def _end(line: str, exit_code: int, output: Output) -> NoReturn:
    if _is_json_wanted(sys.argv[1:]) and not output.is_json:
        import json

        document = {"error": line, "exit_code": exit_code}
        with contextlib.suppress(BrokenPipeError):
            click.echo(json.dumps(document, ensure_ascii=False))
    _ring(line, exit_code, output)
    sys.exit(exit_code)


def _is_json_wanted(words: list[str]) -> bool:
    """Look at the words themselves: what cannot be parsed ends in an object too."""
    following = [*words[1:], ""]
    return any(
        word in ("--json", "--format=json") or (word == "--format" and after == "json")
        for word, after in zip(words, following, strict=True)
    )


def _ring(line: str, exit_code: int, output: Output) -> None:
    words = given_command(sys.argv[1:])
    if words and exit_code in RINGS_FOR:
        told = {"command": _command(), "error": line, "exit_code": exit_code}
        ring(words, output.document | told, _redaction())


def _command() -> str:
    """Return the command alone: its arguments may be secret."""
    return next((word for word in sys.argv[1:2] if word in cli.list_commands()), "")


def _internal(error: Exception, output: Output) -> NoReturn:
    """Say that it is our fault and where the traceback is, without the secrets it may repeat."""
    import traceback

    secrets = _redaction()
    text = secrets.hide("".join(traceback.format_exception(error)))
    path = _append(f"--- {datetime.now().astimezone().isoformat()} tvfeast {_command()}\n{text}")
    if path is None:
        click.echo(text, err=True)
    where = f"; traceback in {path}" if path else ""
    _say(f"internal error: {secrets.hide(repr(error))}{where}", TvfeastError.exit_code, output)


def _append(entry: str) -> Path | None:
    """Append to the log, its owner's alone, or to a new temporary file; none if neither can be."""
    with contextlib.suppress(TvfeastError, OSError):
        folder = this_project().log_folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "tvfeast.log"
        _write(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), entry)
        return path
    import tempfile

    with contextlib.suppress(OSError):
        # A name that nobody can have laid a link under.
        descriptor, name = tempfile.mkstemp(prefix="tvfeast-", suffix=".log")
        _write(descriptor, entry)
        return Path(name)
    return None


def _write(descriptor: int, entry: str) -> None:
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(entry)


def _redaction() -> Redaction:
    """Return what hides the session and the headers that this command was given."""
    session = variable("TVFEAST_SESSION_ID")
    headers = [session_header(session)] if session else []
    for at, word in enumerate(sys.argv):
        name, given, value = word.partition("=")
        if name == "--header":
            text = value if given else "".join(sys.argv[at + 1 : at + 2])
            key, colon, secret = text.partition(":")
            headers.append((key, secret) if colon else ("", text))
    return Redaction(headers)


if __name__ == "__main__":
    main()
