"""Reading a vendor's times: session labels and instants, kept apart.

A date without a time names a session; anything else is the instant at which a bar opened.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ingestion.bars.dates import Order, read_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

DAY = 86_400
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DAY = date(1900, 1, 1)
_LAST_DAY = date(2199, 12, 31)
_NUMBER = re.compile(r"[0-9]{1,20}(\.0*)?")
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
                # Files of one vendor have the same dates. Other types than texts have values that
                # are equal and yet to be read otherwise: one instant in two zones.
                (_read_text if isinstance(value, str) else read_time)(value, order, form)
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
    ``3-Mar-2021``, ``Mar 3, 2021``         label; see :mod:`ingestion.bars.dates`
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
        read = _read(value, order, form)
    except (ValueError, OverflowError):
        return ReadTime(Kind.UNREADABLE)
    first, last = ((day - date(1970, 1, 1)).days for day in (_FIRST_DAY, _LAST_DAY))
    return read if first <= read.day <= last else ReadTime(Kind.UNREADABLE)


@lru_cache(maxsize=1 << 15)
def _read_text(text: str, order: Order | None, form: str | None) -> ReadTime:
    return read_time(text, order, form)


def _read(value: object, order: Order | None, form: str | None) -> ReadTime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = int(value) if form is None else str(int(value))
    if isinstance(value, str):
        text = value.strip()
        if _NUMBER.fullmatch(text) and not (form is not None and _fits(text, form)):
            return _number(int(text.partition(".")[0]))
        value = read_text(text, order, form)
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, date):
        return _label(value)
    return _number(value) if type(value) is int else ReadTime(Kind.UNREADABLE)


def _fits(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


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
    days = (day - date(1970, 1, 1)).days
    return ReadTime(Kind.LABEL, days * DAY, days)


def _instant(when: datetime) -> ReadTime:
    midnight = (when.hour, when.minute, when.second, when.microsecond) == (0, 0, 0, 0)
    offset = when.utcoffset()
    if offset is None and midnight:
        return _label(when.date())
    utc = when.replace(tzinfo=UTC) if offset is None else when
    seconds = (utc - _EPOCH) // timedelta(seconds=1)
    kind = Kind.LOCAL_MIDNIGHT if midnight and offset else Kind.INSTANT
    return ReadTime(kind, seconds, _label(when.date()).day)
