"""Command-line options that several commands share, and the types of their values."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from ingestion.base import clock
from ingestion.base.clock import parse_instant
from ingestion.cli.group import LAST, RUN_ID

CommandT = TypeVar("CommandT", bound=Callable[..., Any])
ValueT = TypeVar("ValueT")

_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_LONGEST = timedelta(days=3653)
_LONGEST_NAME = 200


def _kept(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def keep(context: click.Context, parameter: click.Parameter, value: Any) -> None:
        context.meta[name] = value

    return keep


def step_options(command: CommandT) -> CommandT:
    """Let a command be a step of a run in parts; the project that it gets says of which."""
    for option in (
        click.option(
            "--last",
            is_flag=True,
            expose_value=False,
            callback=_kept(LAST),
            help="With --run-id: the run ends with this step, and others may write.",
        ),
        click.option(
            "--run-id",
            type=Parsed("id", _run_id),
            expose_value=False,
            callback=_kept(RUN_ID),
            help="Be a step of this run, as 20260116T213000Z-000000abcd: it is done once.",
        ),
    ):
        command = option(command)
    return command


def _run_id(text: str) -> str:
    if not re.fullmatch(r"\d{8}T\d{6}Z-\d{6}[0-9a-f]{4}", text):
        raise ValueError(
            f"{text!r} is no run id such as 20260116T213000Z-000000abcd: the start in UTC, its "
            "microseconds, and four digits (0 to f)"
        )
    return text


class Parsed(click.ParamType[ValueT]):
    """A value that a function reads from its text; it raises ``ValueError`` with what is wrong."""

    def __init__(self, name: str, read: Callable[[str], ValueT]) -> None:
        self.name, self.read = name, read

    def convert(self, value: Any, param: Any, ctx: Any) -> ValueT:
        """Read a text; a default is a value already."""
        try:
            return self.read(value) if isinstance(value, str) else cast(ValueT, value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration such as 30m, 2h or 4d")
    duration = float(match[1]) * _UNITS[match[2]]
    if duration > _LONGEST:
        raise ValueError(f"{text!r} is longer than ten years")
    return duration


def _rhythm(text: str) -> timedelta:
    if (duration := _duration(text)) < _UNITS["m"]:
        raise ValueError(f"{text!r} is less than a minute")
    return duration


def _instant(text: str) -> datetime:
    try:
        return parse_instant(text)
    except ValueError:
        raise ValueError(f"{text!r} is not ISO 8601, such as 2026-01-16T21:30:00Z") from None


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a date such as 2026-01-16") from None


def day_or_instant(text: str) -> date | datetime:
    """Read a date alone, or an instant."""
    instant = _instant(text)
    try:
        return date.fromisoformat(text)
    except ValueError:
        return instant


def _as_of(text: str) -> datetime:
    """Read an instant; a date is the end of that UTC day, or now while it is not over."""
    given = day_or_instant(text)
    if isinstance(given, datetime):
        return given
    now = clock.now()
    return now if given == now.date() else datetime.combine(given, time.max, UTC)


def _time_of_day(text: str) -> time:
    match = re.fullmatch(r"(\d\d):(\d\d)Z", text)
    if match is None or int(match[1]) >= 24 or int(match[2]) >= 60:
        raise ValueError(f"{text!r} is not a time of day in UTC such as 21:30Z")
    return time(int(match[1]), int(match[2]), tzinfo=UTC)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _limit(text: str) -> tuple[str, float]:
    name, _, limit = text.partition("=")
    if math.isnan(number := _number(limit)):
        raise ValueError(f"{text!r} is not a limit such as ADX=25")
    return name, number


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not re.fullmatch(r"[A-Za-z0-9-]+", name):
        # What it is may be a secret.
        raise ValueError("a header is a name, a colon and a value: 'Referer: …'")
    return name, value.strip()


def _name(text: str) -> str:
    text = text.strip()
    if not 0 < len(text) <= _LONGEST_NAME or not text.isprintable():
        raise ValueError(f"a name has 1 to {_LONGEST_NAME} printable characters")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_name(each) for each in text.split(",")))


def between(low: float, high: float) -> Parsed[float]:
    """Return the type of a number inside bounds; not-a-number would pass any comparison."""

    def read(text: str) -> float:
        if not low <= (value := _number(text)) <= high:
            raise ValueError(f"{text!r} is not between {low:g} and {high:g}")
        return value

    return Parsed("number", read)


DURATION = Parsed("duration", _duration)
"""``90s``, ``30m``, ``2h`` or ``4d``."""
RHYTHM = Parsed("duration", _rhythm)
"""A duration of at least a minute."""
INSTANT = Parsed("instant", _instant)
AS_OF = Parsed("date or instant", _as_of)
"""ISO 8601, UTC unless it has an offset."""
DAY = Parsed("date", _day)
"""ISO 8601 date."""
TIME_OF_DAY = Parsed("time", _time_of_day)
"""``21:30Z``."""
LIMIT = Parsed("feature=number", _limit)
"""``FEATURE=NUMBER``."""
HEADER = Parsed("header", _header)
"""``Name: value``."""
NAME = Parsed("name", _name)
"""A name that fits into one line."""
NAMES = Parsed("names", _names)
"""Names with a comma between them."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

_SOURCE = (
    click.option(
        "--candidates",
        type=click.Path(path_type=Path),
        help="JSON file of symbols to fetch, such as portfolio_candidates.json.",
    ),
    click.option(
        "--universe",
        metavar="NAME",
        help="Fetch the members of a universe of feature_repo/universes/, and record them; or a "
        "whole market: america, crypto, …",
    ),
    click.option(
        "--min-coverage",
        type=between(0, 1),
        default=0.95,
        help="Publish nothing below this share of symbols.",
    ),
)

_RESUME = (
    click.option(
        "--resume-window",
        type=DURATION,
        default="2h",
        help="Skip symbols with a row younger than this, in groups that each run asks for.",
    ),
    click.option("--refresh", is_flag=True, help="Fetch those too."),
)

_SCANNER = (
    click.option(
        "--batch-size",
        type=click.IntRange(1, 5000),
        default=500,
        help="Symbols per request.",
    ),
    click.option(
        "--max-columns",
        type=click.IntRange(10, 1000),
        default=91,
        help="Columns per request; a wider request is cut.",
    ),
    click.option("--in-flight", type=click.IntRange(1, 16), default=2, help="Requests at once."),
    click.option(
        "--read-timeout",
        type=between(0.01, 600),
        default=30,
        help="Longest silence of an answer, in seconds.",
    ),
    click.option("--retries", type=click.IntRange(0), default=8, help="Rounds without a new row."),
    click.option(
        "--backoff",
        type=between(0, 600),
        default=1,
        help="Seconds to wait after the first such round; they double.",
    ),
    click.option("--header", "headers", type=HEADER, multiple=True, help="Send 'Name: value'."),
    click.option(
        "--allow-insecure", is_flag=True, help="Ask over http beyond this machine, readable by all."
    ),
)

known_at_option = click.option(
    "--known-at",
    type=AS_OF,
    show_default="now",
    help="Read the lakehouse as it was then; a date is the end of that UTC day.",
)

entry_option = click.option(
    "--entry",
    type=click.Choice(["open", "close"]),
    default="open",
    help="Where the position is entered: the next open, or the decision's own close.",
)
as_recorded_option = click.option(
    "--as-recorded", is_flag=True, help="Read only rows that had been written by the decision."
)

_DECISIONS = (
    click.option(
        "--from", "first", type=DAY, required=True, help="UTC date of the first decision."
    ),
    click.option("--to", "last", type=DAY, required=True, help="UTC date of the last decision."),
)


def adding(options: Sequence[Callable[[CommandT], CommandT]]) -> Callable[[CommandT], CommandT]:
    """Return a decorator that adds options to a command, in their order."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


source_options = adding(_SOURCE)
"""Adds the options that say what to fetch and when to be content."""
resume_options = adding(_RESUME)
"""Adds the options that say what is fresh enough to be left alone."""
scanner_options = adding(_SCANNER)
"""Adds the options that say how to ask the scanner."""
decision_options = adding(_DECISIONS)
"""Adds the options that say from when to when decisions are made."""


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
