"""The command line's entry: runs a command, and ends every error in one line and an exit code."""

from __future__ import annotations

import sys
import tempfile
import traceback
from datetime import datetime
from pathlib import Path
from typing import NoReturn

import click

from ingestion.commands import cli
from ingestion.errors import InputError, TvfeastError
from ingestion.settings import Settings


def main() -> None:
    """Run the command line; every error ends in one line and its exit code."""
    try:
        status = cli(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except TvfeastError as error:
        click.echo(f"tvfeast: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            _internal(error)
        click.echo(f"tvfeast: {error.filename}: {error.strerror}", err=True)
        sys.exit(InputError.exit_code)
    except Exception as error:  # noqa: BLE001 - the last resort: a line and where to look
        _internal(error)
    sys.exit(status if isinstance(status, int) else 0)


def _internal(error: Exception) -> NoReturn:
    """Say that it is our fault and where the traceback is; the options may hold secrets."""
    text = "".join(traceback.format_exception(error))
    command = next((word for word in sys.argv[1:2] if word in cli.commands), "")
    entry = f"--- {datetime.now().astimezone().isoformat()} tvfeast {command}\n{text}"
    try:
        folder = Settings.from_environment().log_folder
        folder.mkdir(parents=True, exist_ok=True)
    except (TvfeastError, OSError):
        folder = Path(tempfile.gettempdir())
    path = folder / "tvfeast.log"
    try:
        with path.open("a") as file:
            file.write(entry)
    except OSError:
        click.echo(text, err=True)
    click.echo(f"tvfeast: internal error: {error!r}; traceback in {path}", err=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
