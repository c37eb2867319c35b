"""The texts of vendors' cells, and other values, as numbers, dates and times.

A number may have a thousands separator, a decimal comma, a currency sign or, for a volume, a unit.

A date is read if no two countries read its form differently; ``03/04/2021`` is read only if a date
of the same column proves the order, such as ``15/04/2021``. A date without a time of day names a
session; anything else is the instant at which a bar opened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from enum import Enum, IntEnum, StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingestion.base.instants import DAY, day_of_date

if TYPE_CHECKING:
    from numpy.typing import NDArray

EMPTY_CELLS = frozenset(
    {
        *("", "null", "none", "nan", "na", "n/a", "-", "--", "—", "–", ".", "\\n", "<na>", "nat"),
        *("#n/a", "#na", "#n/a n/a", "#value!", "nil"),
    }
)
"""What vendors write where they have no number; lower case."""

_CURRENCY = re.compile(r"^([+-]?)\s*(?:[$€£¥₹₩]|rs\.?|usd|us\$)\s*", re.IGNORECASE)
_GROUPS = re.compile(r"(?<=\d)[\s'’\u00a0\u202f](?=\d)")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(?:,\d{2,3})*,\d{3}(?:\.\d*)?")
_DECIMAL_COMMA = re.compile(r"[+-]?(?:\d+|\d{1,3}(?:\.\d{3})+)(?:,\d*)?")
_UNITS = {"k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12}


class Comma(Enum):
    """What a comma in a number means."""

    THOUSANDS = "1,234.5"
    DECIMAL = "1.234,5"


def read_number(text: str, comma: Comma | None = None) -> float:
    """Read a number; NaN for none.

    Raises
    ------
    ValueError
        If it is no number, or its comma may mean either.

    Examples
    --------
    >>> read_number("$1,234.50", Comma.THOUSANDS), read_number("1,5", Comma.DECIMAL)
    (1234.5, 1.5)
    """
    short = text.strip()
    if short.casefold() in EMPTY_CELLS:
        return float("nan")
    if comma is not Comma.DECIMAL:
        try:
            return float(short)
        except ValueError:
            pass
    short = _GROUPS.sub("", _CURRENCY.sub(r"\1", short))
    if comma is Comma.THOUSANDS and _THOUSANDS.fullmatch(short):
        short = short.replace(",", "")
    elif comma is Comma.DECIMAL and _DECIMAL_COMMA.fullmatch(short):
        short = short.replace(".", "").replace(",", ".")
    return float(short)


def read_volume(text: str, comma: Comma | None = None) -> float:
    """Read a volume, which may be in thousands, millions or billions: ``1.25M``.

    Raises
    ------
    ValueError
        If it is no number.
    """
    short = text.strip()
    unit = _UNITS.get(short[-1:].casefold())
    if unit is None or len(short) < 2 or not (short[-2].isdigit() or short[-2] in " ."):
        return read_number(text, comma)
    # To the share: 1.1 millions are 1,100,000 and not 1,100,000.0000000002.
    return round(read_number(short[:-1], comma) * unit, 6)


def read_numbers(
    texts: Sequence[str | None], comma: Comma | None, *, as_volume: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Read a column of texts.

    Returns
    -------
    tuple
        The values, NaN where there is none, and which of them are there but unreadable.
    """
    read = read_volume if as_volume else read_number
    values = np.full(len(texts), np.nan)
    unreadable = np.zeros(len(texts), dtype=bool)
    for at, text in enumerate(texts):
        if text is None:
            continue
        try:
            values[at] = read(text, comma)
        except ValueError:
            unreadable[at] = True
    return values, unreadable


READABLE_DATES = (
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
_EIGHT_DIGITS = re.compile(r"(\d{4})(\d{2})(\d{2})")
_YEAR_LAST = re.compile(r"(\d{1,2})([\s./\-_])(\d{1,2})\2(\d{4}|\d{2})")
_WEEKDAY = re.compile(r"\b(?:mon|tue|wed|thu|fri|sat|sun)[a-z]*\b[.,]?")
_CLOCK = re.compile(
    r"(?:[\s,t]+|^)(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?:\s*([ap])\.?m\b\.?)?"
)
_ZONE = re.compile(r"(z|utc|gmt)?\s*(?:([+-])(\d{2}):?(\d{2}))?\s*(?:\(.*\))?")
_ZONE_NAME = re.compile(r"[a-z]{2,5}\b")


def read_date(text: str, order: Order | None = None) -> date | datetime:
    """Read a date, or a date with a time of day.

    Parameters
    ----------
    order
        Of dates that are numbers alone, with the year last; none if nothing proves one.

    Raises
    ------
    ValueError
        If it is neither, or if two countries read it differently.

    Examples
    --------
    >>> read_date("Tue, 2-Mar-21"), read_date("03/02/2021", Order.MONTH_FIRST)
    (datetime.date(2021, 3, 2), datetime.date(2021, 3, 2))
    """
    with suppress(ValueError):
        return datetime.fromisoformat(re.sub(r" UTC$", "+00:00", text))
    written, clock, zone = _date_clock_zone(text.strip().casefold())
    day = _day(written, order)
    return day if clock is None else datetime.combine(day, clock, zone)


def is_date_format(form: str) -> bool:
    """Return whether a form of :meth:`datetime.datetime.strptime` gives a whole date."""
    if not re.search(r"%[-#]?[YyGcxs]", form):
        return False
    try:
        return datetime.strptime(_EXAMPLE.strftime(form), form).date() == _EXAMPLE
    except ValueError:
        return False


def possible_orders(text: str) -> frozenset[Order]:
    """Return the orders in which a text is a date; none of them if its form settles the order."""
    written, _, _ = _date_clock_zone(text.strip().casefold())
    match = _YEAR_LAST.fullmatch(written)
    if match is None:
        return frozenset()
    return frozenset(order for order in Order if _in_order(match, order) is not None)


def _date_clock_zone(text: str) -> tuple[str, time | None, tzinfo | None]:
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
    match = _YEAR_FIRST.fullmatch(text) or _EIGHT_DIGITS.fullmatch(text)
    if match is not None:
        return date(int(match[1]), int(match[2]), int(match[3]))
    match = _YEAR_LAST.fullmatch(text)
    if match is not None:
        days = {each: _in_order(match, each) for each in Order}
        distinct = {day for day in days.values() if day is not None}
        if order is not None and (ordered := days[order]) is not None:
            return ordered
        if len(distinct) == 1:
            return distinct.pop()
    raise ValueError(f"{text!r} is no date that all countries read alike")


def _in_order(match: re.Match[str], order: Order) -> date | None:
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
    """Return the year; two digits are read as POSIX does: 69 to 99 are in the last century."""
    year = int(digits)
    return year if len(digits) > 2 else year + (1900 if year >= 69 else 2000)


_EPOCH_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(1900, 1, 1)
_LAST_DAY = date(2199, 12, 31)
_WHOLE_NUMBER = re.compile(r"[0-9]{1,20}(\.0*)?")
_DATE_NUMBERS = range(19_000_101, 22_000_101)
_EARLIEST_UNIX = 100_000_000
"""March 1973; a smaller number is a row index or a spreadsheet's day count, not Unix seconds."""


class Kind(IntEnum):
    """How a time is to be taken."""

    UNREADABLE = 0
    INSTANT = 1
    LABEL = 2
    LOCAL_MIDNIGHT = 3
    """Midnight with an offset: where sessions are known no bar opens then, so it is their label."""


class ReadTime(NamedTuple):
    """One time of a vendor."""

    kind: Kind
    seconds: int = 0
    """Unix seconds of the instant; of 00:00 UTC of a label."""
    day: int = 0
    """Days from 1970-01-01 to the date as written."""


@dataclass(frozen=True)
class Times:
    """The times of a file: parallel arrays of shape ``(n,)``, see :class:`ReadTime`."""

    kinds: NDArray[np.int8]
    seconds: NDArray[np.int64]
    days: NDArray[np.int64]

    def take(self, rows: NDArray[np.intp]) -> Times:
        """Return the times at some positions."""
        return Times(self.kinds[rows], self.seconds[rows], self.days[rows])

    @classmethod
    def of(
        cls,
        values: Sequence[object],
        indices: NDArray[np.int64],
        order: Order | None = None,
        form: str | None = None,
    ) -> Times:
        """Read distinct values, and repeat them as a column does.

        Parameters
        ----------
        values
            Distinct texts, numbers, dates or datetimes.
        indices
            Shape ``(n,)``: which value stands in each row; −1 for none.
        order, form
            See :func:`read_time`.
        """
        read = [
            *(
                # Files of one vendor have the same dates, so texts are cached. Other values can be
                # equal and mean different days: one instant in two zones.
                (_read_time_of_text if isinstance(value, str) else read_time)(value, order, form)
                for value in values
            ),
            ReadTime(Kind.UNREADABLE),
        ]
        kinds, seconds, days = (
            np.array(part, dtype=dtype)
            for part, dtype in zip(
                zip(*read, strict=True), (np.int8, np.int64, np.int64), strict=True
            )
        )
        return cls(kinds[indices], seconds[indices], days[indices])


def read_time(value: object, order: Order | None = None, form: str | None = None) -> ReadTime:
    """Read one time.

    ======================================  =====================================================
    ``2021-03-03``, ``20210303``, a date    label
    ``3-Mar-2021``, ``Mar 3, 2021``         label; see :func:`read_date`
    ``2021-03-03 00:00:00``, no offset      label: what data frames make of a date
    ``2021-03-03 00:00:00-05:00``           label where sessions are known, else an instant
    any other date with a time              instant; UTC where there is no offset
    a number                                Unix seconds, ms, µs or ns, by its size
    ======================================  =====================================================

    Years before 1900 and after 2199 are unreadable, and so are forms that two countries read
    differently, such as 03/04/2021, unless ``order`` or ``form`` decides.

    Parameters
    ----------
    order
        In which a column writes dates of numbers alone.
    form
        The file's, for :meth:`datetime.datetime.strptime`; tried first.
    """
    try:
        read = _read_value(value, order, form)
    except (ValueError, OverflowError):
        return ReadTime(Kind.UNREADABLE)
    first, last = (day_of_date(day) for day in (_FIRST_DAY, _LAST_DAY))
    return read if first <= read.day <= last else ReadTime(Kind.UNREADABLE)


@lru_cache(maxsize=1 << 15)
def _read_time_of_text(text: str, order: Order | None, form: str | None) -> ReadTime:
    return read_time(text, order, form)


def _read_value(value: object, order: Order | None, form: str | None) -> ReadTime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = int(value) if form is None else str(int(value))
    if isinstance(value, str):
        text = value.strip()
        if form is not None:
            with suppress(ValueError):
                return _instant(datetime.strptime(text, form))
        if _WHOLE_NUMBER.fullmatch(text):
            return _number(int(text.partition(".")[0]))
        value = read_date(text, order)
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date):
        return _label(value)
    return _number(value) if type(value) is int else ReadTime(Kind.UNREADABLE)


def _number(number: int) -> ReadTime:
    if number in _DATE_NUMBERS:
        return _label(datetime.strptime(str(number), "%Y%m%d").replace(tzinfo=UTC).date())
    if number < _EARLIEST_UNIX:
        return ReadTime(Kind.UNREADABLE)
    for _ in ("ms", "µs", "ns"):
        if number >= _EARLIEST_UNIX * 1000:
            number //= 1000
    return ReadTime(Kind.INSTANT, number, number // DAY)


def _label(day: date) -> ReadTime:
    days = day_of_date(day)
    return ReadTime(Kind.LABEL, days * DAY, days)


def _instant(when: datetime) -> ReadTime:
    midnight = (when.hour, when.minute, when.second, when.microsecond) == (0, 0, 0, 0)
    offset = when.utcoffset()
    if offset is None and midnight:
        return _label(when.date())
    utc = when.replace(tzinfo=UTC) if offset is None else when
    seconds = (utc - _EPOCH_INSTANT) // timedelta(seconds=1)
    kind = Kind.LOCAL_MIDNIGHT if midnight and offset else Kind.INSTANT
    return ReadTime(kind, seconds, _label(when.date()).day)
