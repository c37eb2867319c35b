"""What commands print: results, progress, and how instants, durations and numbers are written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click

from ingestion.base.plain import plain
from ingestion.base.progress import Progress, showing

ResultT = TypeVar("ResultT")


@dataclass
class Output:
    """What a command has printed so far; the object of its context."""

    is_json: bool = False
    """Whether that is its JSON object."""
    document: dict[str, Any] = field(default_factory=dict)
    """That object, printed or not."""


def warn(warnings: Iterable[str]) -> None:
    """Print warnings, each in a line of its own, beside the result."""
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


def show(as_json: bool, result: ResultT, text: Callable[[ResultT], str]) -> None:
    """Print a result, as one JSON object (see :func:`~ingestion.base.plain.plain`) or as text."""
    import json

    document = plain(result)
    click.echo(json.dumps(document, ensure_ascii=False) if as_json else text(result))
    output = click.get_current_context().find_object(Output)
    if output is not None:
        output.is_json, output.document = as_json, document


class Bar(Progress):
    """A progress bar on stderr: count, rate and time left; it goes when the work is done."""

    def __init__(self, what: str, unit: str, at_once: bool) -> None:
        self._what, self._unit, self._delay = what, unit and f" {unit}", 0 if at_once else 1
        self._bar: Any = None

    def start(self, total: int | None) -> None:
        """Show it, if there is anything to do."""
        from tqdm import tqdm

        if self._bar is not None:
            self._bar.total = total
        elif total != 0:
            self._bar = tqdm(
                total=total,
                desc=self._what,
                unit=self._unit,
                delay=self._delay,
                miniters=1,  # few things that take long are each shown
                leave=False,
                file=sys.stderr,
            )

    def advance(self, number: int) -> None:
        """Draw it anew, unless that was done a moment ago."""
        if self._bar is not None:
            self._bar.update(number)

    def note(self, text: str) -> None:
        """Print a line above the bars."""
        from tqdm import tqdm

        tqdm.write(text, file=sys.stderr)

    def close(self) -> None:
        """Wipe it."""
        if self._bar is not None:
            self._bar.close()


def bars_on_terminal() -> AbstractContextManager[None]:
    """Show how far work is while it is done, on a terminal alone."""
    return showing(Bar) if sys.stderr.isatty() else nullcontext()


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
