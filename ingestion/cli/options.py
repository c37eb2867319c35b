"""Command-line options that several commands share, and the types of their values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from ingestion.base.clock import parse_instant

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST = timedelta(days=3653)
_LONGEST_NAME = 200


class Duration(click.ParamType[timedelta]):
    """``90s``, ``30m``, ``2h`` or ``4d``."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        """Read a number and its unit."""
        if isinstance(value, timedelta):
            return value
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", str(value))
        if match is None:
            self.fail(f"{value!r} is not a duration such as 30m, 2h or 4d", param, ctx)
        duration = float(match[1]) * _UNITS[match[2]]
        if duration > _LONGEST:
            self.fail(f"{value!r} is longer than ten years", param, ctx)
        return duration


class Instant(click.ParamType[datetime]):
    """ISO 8601, UTC unless it carries an offset."""

    name = "instant"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        """Read an instant."""
        if isinstance(value, datetime):
            return value
        try:
            return parse_instant(value)
        except ValueError:
            self.fail(f"{value!r} is not ISO 8601, such as 2026-01-16T21:30:00Z", param, ctx)


class Day(click.ParamType[date]):
    """ISO 8601 date."""

    name = "date"

    def convert(self, value: Any, param: Any, ctx: Any) -> date:
        """Read a date."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date such as 2026-01-16", param, ctx)


class Limit(click.ParamType[tuple[str, float]]):
    """``FEATURE=NUMBER``."""

    name = "feature=number"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, float]:
        """Read a feature's name and a limit."""
        if isinstance(value, tuple):
            return value
        name, _, text = str(value).partition("=")
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isnan(number):
            self.fail(f"{value!r} is not a limit such as ADX=25", param, ctx)
        return name, number


class Number(click.ParamType[float]):
    """A finite number inside bounds; not-a-number would pass any comparison."""

    name = "number"

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read a number."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not self._low <= number <= self._high:
            self.fail(f"{value!r} is not between {self._low:g} and {self._high:g}", param, ctx)
        return number


class Header(click.ParamType[tuple[str, str]]):
    """``Name: value``."""

    name = "header"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[str, str]:
        """Read a request header."""
        if isinstance(value, tuple):
            return value
        name, colon, text = str(value).partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name):
            # What it is may be a secret.
            self.fail("a header is a name, a colon and a value: 'Referer: …'", param, ctx)
        return name, text.strip()


class Name(click.ParamType[str]):
    """A name that fits into one line."""

    name = "name"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Read a name."""
        text = str(value).strip()
        if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
            self.fail(f"a name has 1 to {_LONGEST_NAME} printable characters", param, ctx)
        return text


class Rhythm(Duration):
    """A duration that is not zero."""

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        """Read a number and its unit."""
        duration = super().convert(value, param, ctx)
        if duration < _UNITS["m"]:
            self.fail(f"{value!r} is less than a minute", param, ctx)
        return duration


NAME, RHYTHM = Name(), Rhythm()
DAY, DURATION, INSTANT, LIMIT, HEADER = Day(), Duration(), Instant(), Limit(), Header()

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

_SOURCE = (
    click.option(
        "--candidates",
        type=click.Path(path_type=Path),
        help="JSON file of symbols to fetch, such as portfolio_candidates.json.",
    ),
    click.option("--universe", metavar="MARKET", help="Fetch a whole market: america, crypto, …"),
    click.option(
        "--min-coverage",
        type=Number(0, 1),
        default=0.95,
        show_default=True,
        help="Publish nothing below this share of symbols.",
    ),
)

_RESUME = (
    click.option(
        "--resume-window",
        type=DURATION,
        default="2h",
        show_default=True,
        help="Skip symbols with a row younger than this.",
    ),
    click.option("--refresh", is_flag=True, help="Fetch those too."),
)

_SCANNER = (
    click.option("--batch-size", type=click.IntRange(1, 5000), help="Symbols per request [500]."),
    click.option(
        "--max-columns",
        type=click.IntRange(10, 1000),
        help="Columns per request [91]; a wider request is cut.",
    ),
    click.option("--in-flight", type=click.IntRange(1, 16), help="Requests at once [2]."),
    click.option(
        "--read-timeout",
        type=Number(0.01, 600),
        help="Longest silence of an answer, in s [30].",
    ),
    click.option("--retries", type=click.IntRange(0), help="Rounds without a new row [8]."),
    click.option(
        "--backoff",
        type=Number(0, 600),
        help="Seconds to wait after the first such round [1]; they double.",
    ),
    click.option("--header", "headers", type=HEADER, multiple=True, help="Send 'Name: value'."),
    click.option(
        "--allow-insecure", is_flag=True, help="Ask over http beyond this machine, readable by all."
    ),
)


def source_options(command: CommandT) -> CommandT:
    """Add the options that say what to fetch and when to be content."""
    return reduce(lambda decorated, option: option(decorated), reversed(_SOURCE), command)


def resume_options(command: CommandT) -> CommandT:
    """Add the options that say what is fresh enough to be left alone."""
    return reduce(lambda decorated, option: option(decorated), reversed(_RESUME), command)


def scanner_options(command: CommandT) -> CommandT:
    """Add the options that say how to ask the scanner."""
    return reduce(lambda decorated, option: option(decorated), reversed(_SCANNER), command)


def source_arguments(arguments: dict[str, Any]) -> tuple[Path | None, str | None]:
    """Take the candidates file and the universe out of a command's arguments."""
    return arguments.pop("candidates"), arguments.pop("universe")


def scanner_arguments(arguments: dict[str, Any]) -> dict[str, Any]:
    """Take the given :class:`ScannerOptions` fields out of a command's arguments."""
    names = ("batch_size", "max_columns", "in_flight", "read_timeout", "retries", "backoff")
    given = {name: arguments.pop(name) for name in names}
    headers = dict(arguments.pop("headers"))
    given |= {"headers": headers or None, "allow_insecure": arguments.pop("allow_insecure")}
    return {name: value for name, value in given.items() if value is not None}
