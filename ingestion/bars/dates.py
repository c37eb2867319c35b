"""Dates and times as people and programs write them.

Read are forms that no two countries read differently; ``03/04/2021`` is one only beside a date of
the same column that proves the order, such as ``15/04/2021``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from enum import StrEnum

ACCEPTED = (
    "read are 2021-03-15, 20210315 or any date with the year first; 15-Mar-2021 or any date with "
    "the month's name; 15/03/2021 where some day of the file is over 12; Unix seconds, ms, µs or ns"
)
"""What a message says of the forms that are read."""


class Order(StrEnum):
    """In which order a date of numbers alone is written."""

    DAY_FIRST = "%d/%m/%Y"
    MONTH_FIRST = "%m/%d/%Y"
    YEAR_FIRST = "%y/%m/%d"


_EXAMPLE = date(2021, 3, 15)
_MONTHS = {
    name[:length]: number
    for number, name in enumerate(
        (
            *("january", "february", "march", "april", "may", "june", "july", "august"),
            *("september", "october", "november", "december"),
        ),
        start=1,
    )
    for length in (3, len(name))
} | {"sept": 9}
_SEPARATOR = r"[\s,./\-_]*"
_MONTH = r"(?P<month>[a-z]{3,9})\.?"
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_NAMED = tuple(
    re.compile(_SEPARATOR.join(parts))
    for parts in (
        (_DAY, _MONTH, r"(?P<year>\d{4}|\d{2})"),
        (_MONTH, rf"{_DAY}\b", r"(?P<year>\d{4}|\d{2})"),
        (r"(?P<year>\d{4})", _MONTH, _DAY),
    )
)
_YEAR_FIRST = re.compile(r"(\d{4})[\s./\-_年](\d{1,2})[\s./\-_月](\d{1,2})日?")
_DIGITS = re.compile(r"(\d{4})(\d{2})(\d{2})")
_YEAR_LAST = re.compile(r"(\d{1,2})([\s./\-_])(\d{1,2})\2(\d{4}|\d{2})")
_WEEKDAY = re.compile(r"\b(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\b[.,]?")
_CLOCK = re.compile(
    r"(?:[\s,t]+|^)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([ap])\.?m\b\.?)?"
)
_ZONE = re.compile(r"(z|utc|gmt)?\s*(?:([+-])(\d{2}):?(\d{2}))?\s*(?:\(.*\))?")
_ZONE_NAME = re.compile(r"[a-z]{2,5}\b")


def read_text(text: str, order: Order | None = None, form: str | None = None) -> date | datetime:
    """Read a date, or a date with a time of day.

    Parameters
    ----------
    order
        Of dates that are numbers alone, with the year last; none if nothing proves one.
    form
        Of :meth:`datetime.datetime.strptime`, tried before all else.

    Raises
    ------
    ValueError
        If it is neither, or if two countries read it differently.

    Examples
    --------
    >>> read_text("Tue, 2-Mar-21"), read_text("03/02/2021", Order.MONTH_FIRST)
    (datetime.date(2021, 3, 2), datetime.date(2021, 3, 2))
    """
    if form is not None:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            pass
    try:
        return datetime.fromisoformat(re.sub(r" UTC$", "+00:00", text))
    except ValueError:
        return _read(text.strip().casefold(), order)


def is_date_format(form: str) -> bool:
    """Tell whether a form of :meth:`datetime.datetime.strptime` gives a whole date."""
    if not re.search(r"%[-#]?[YyGcxs]", form):
        return False
    try:
        return datetime.strptime(_EXAMPLE.strftime(form), form).date() == _EXAMPLE
    except ValueError:
        return False


def possible_orders(text: str) -> frozenset[Order]:
    """Return the orders in which a text is a date; none of them if its form settles the order."""
    written, _, _ = _apart(text.strip().casefold())
    match = _YEAR_LAST.fullmatch(written)
    if match is None:
        return frozenset()
    return frozenset(order for order in Order if _numbers(match, order) is not None)


def settle_order(texts: Iterable[str]) -> Order | None:
    """Return the one order in which all dates of a column are dates; none if several are left.

    Raises
    ------
    ValueError
        If one date proves one order and another date another: names both.
    """
    left: dict[Order, None] = dict.fromkeys(Order)
    proofs: dict[frozenset[Order], str] = {}
    for text in texts:
        orders = possible_orders(text)
        if not orders:
            continue
        proofs.setdefault(orders, text)
        left = {order: None for order in left if order in orders}
        if not left:
            first, last = next(iter(proofs.values())), text
            for other, example in proofs.items():
                if not other & orders:
                    first = example
            raise ValueError(f"{first!r} and {last!r} are not written in one order")
    if not proofs:
        return None
    # Both readings of 03/03/2021 are one day, so what is left may still be two orders.
    return next(iter(left)) if len(left) == 1 else None


def _read(text: str, order: Order | None) -> date | datetime:
    written, clock, zone = _apart(text)
    day = _day(written, order)
    return day if clock is None else datetime.combine(day, clock, zone)


def _apart(text: str) -> tuple[str, time | None, tzinfo | None]:
    """Split a text into its date, time of day and zone."""
    clock, zone = None, None
    match = _CLOCK.search(text)
    if match is not None:
        hour, minute, second = (int(part or 0) for part in match.groups()[:3])
        if match[5] and 1 <= hour <= 12:
            hour = hour % 12 + (12 if match[5] == "p" else 0)
        micros = int((match[4] or "0").ljust(6, "0")[:6])
        try:
            clock = time(hour, minute, second, micros)
        except ValueError:
            return text, None, None
        before, after = text[: match.start()], text[match.end() :].strip()
        named = _ZONE.match(after)
        if named is not None and named[0]:
            after = after[named.end() :]
            zone = UTC
            if named[2]:
                offset = timedelta(hours=int(named[3]), minutes=int(named[4]))
                zone = timezone(offset if named[2] == "+" else -offset)
        elif clock == time(0):
            after = _ZONE_NAME.sub("", after)  # midnight somewhere: the date's label
        text = f"{before} {after}"
    return _WEEKDAY.sub(" ", text).strip(" ,"), clock, zone


def _day(text: str, order: Order | None) -> date:
    for named in _NAMED:
        match = named.fullmatch(text)
        if match is not None and match["month"] in _MONTHS:
            return date(_year(match["year"]), _MONTHS[match["month"]], int(match["day"]))
    match = _YEAR_FIRST.fullmatch(text) or _DIGITS.fullmatch(text)
    if match is not None:
        return date(int(match[1]), int(match[2]), int(match[3]))
    match = _YEAR_LAST.fullmatch(text)
    if match is not None:
        days = {each: _numbers(match, each) for each in Order}
        distinct = {day for day in days.values() if day is not None}
        if order is not None and (ordered := days[order]) is not None:
            return ordered
        if len(distinct) == 1:
            return distinct.pop()
    raise ValueError(f"{text!r} is no date that all countries read alike")


def _numbers(match: re.Match[str], order: Order) -> date | None:
    first, second, third = int(match[1]), int(match[3]), match[4]
    if order is Order.YEAR_FIRST and (len(third) == 4 or len(match[1]) == 1):
        return None
    day, month, year = {
        Order.DAY_FIRST: (first, second, _year(third)),
        Order.MONTH_FIRST: (second, first, _year(third)),
        Order.YEAR_FIRST: (int(third), second, _year(match[1])),
    }[order]
    try:
        return date(year, month, day)
    except ValueError:
        return None


def _year(digits: str) -> int:
    """Return the year; of two digits as POSIX reads them, 69 to 99 in the last century."""
    year = int(digits)
    return year if len(digits) > 2 else year + (1900 if year >= 69 else 2000)
