"""What commands print: results, progress, and how instants, durations and numbers are written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ingestion.base.plain import plain

if TYPE_CHECKING:
    from ingestion.jobs.ingest.scan import Progress

ResultT = TypeVar("ResultT")


@dataclass
class Output:
    """What a command has printed so far; the object of its context."""

    is_json: bool = False
    """Whether that is its JSON object."""
    document: dict[str, Any] = field(default_factory=dict)
    """That object, printed or not."""


def show(as_json: bool, result: ResultT, text: Callable[[ResultT], str]) -> None:
    """Print a result, as one JSON object (see :func:`~ingestion.base.plain.plain`) or as text."""
    import json

    document = plain(result)
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else text(result))
    output = click.get_current_context().find_object(Output)
    if output is not None:
        output.is_json, output.document = as_json, document


def progress(what: str = "scanner", unit: str = "symbols") -> Progress:
    """Return a progress bar on a terminal, and silence elsewhere."""
    from tqdm import tqdm

    from ingestion.jobs.ingest.scan import Progress

    class Bar(Progress):
        """A progress bar on stderr."""

        def __init__(self) -> None:
            self._bar: Any = None

        def start(self, total: int) -> None:
            if self._bar is not None:
                self._bar.total = total
            elif total:
                self._bar = tqdm(total=total, unit=f" {unit}", desc=what, file=sys.stderr)

        def advance(self, symbols: int) -> None:
            if self._bar is not None:
                self._bar.update(symbols)

        def close(self) -> None:
            if self._bar is not None:
                self._bar.close()

    return Bar() if sys.stderr.isatty() else Progress()


def bars_on_terminal() -> AbstractContextManager[None]:
    """Show how far work is while it is done: count, rate and time left, on a terminal alone."""
    if not sys.stderr.isatty():
        return nullcontext()
    from ingestion.base.progress import showing

    def show(things: Iterable[Any], total: int | None, what: str) -> Iterable[Any]:
        from tqdm import tqdm

        # Work of less than a second shows nothing; few things that take long are each shown.
        return tqdm(
            things,
            total=total,
            desc=what,
            unit="",
            delay=1,
            miniters=1,
            leave=False,
            file=sys.stderr,
        )

    return showing(show)


def age(duration: timedelta) -> str:
    """Return a duration in its two largest units: ``3 d 17 h``, ``1 h 05 m``."""
    minutes = int(duration.total_seconds() // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours:02} h" if days else f"{hours} h {minutes:02} m"


def figure(value: object) -> str:
    """Return a number with two decimals, a dash for none, and a text as it is."""
    if value is None:
        return "–"
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def minute(instant: datetime) -> str:
    """Return an instant to the minute."""
    return f"{instant:%Y-%m-%d %H:%M} UTC"
