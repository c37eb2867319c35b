"""How the report writes numbers: each kind in one way, the same on every page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from math import floor, log10

NONE = "–"
"""What stands where there is no value."""
_SIZES = ("B", "kB", "MB", "GB", "TB")


def count(number: int | None) -> str:
    """Return a whole number.

    Examples
    --------
    >>> count(12345), count(None)
    ('12,345', '–')
    """
    return NONE if number is None else f"{number:,}"


def counted(number: int, thing: str) -> str:
    """Return a number of things.

    Examples
    --------
    >>> counted(1, "symbol"), counted(2, "symbol")
    ('1 symbol', '2 symbols')
    """
    return f"{number:,} {thing}{'s' * (number != 1)}"


def share(value: float | None) -> str:
    """Return a share in percent; what is nearly all is never written as all.

    Examples
    --------
    >>> share(0.953), share(1.0), share(0.9999), share(0.00004)
    ('95.3 %', '100 %', '> 99.9 %', '< 0.1 %')
    """
    if value is None:
        return NONE
    if value in (0.0, 1.0):
        return f"{value:.0%}".replace("%", " %")
    if value > 0.999:
        return "> 99.9 %"
    return "< 0.1 %" if 0 < value < 0.001 else f"{100 * value:.1f} %"


def figure(value: float | None) -> str:
    """Return a measured number to three digits.

    Examples
    --------
    >>> figure(0.012345), figure(1234.5), figure(-3.0), figure(None)
    ('0.0123', '1,234', '−3', '–')
    """
    if value is None or value != value:
        return NONE
    if 1000 <= abs(value) < 1e9:
        return _minus(f"{value:,.0f}")
    return _minus(f"{value:.3g}")


def column(values: Sequence[float | None], *, signed: bool = False) -> list[str]:
    """Return the numbers of one column with the same decimals: three digits of the largest one.

    Examples
    --------
    >>> column([0.4, 0.558, None]), column([59, 62.71, -7]), column([0.2, -0.1], signed=True)
    (['0.400', '0.558', '–'], ['59.0', '62.7', '−7.0'], ['+0.200', '−0.100'])
    """
    there = [abs(value) for value in values if value is not None and value == value]
    largest = max(there, default=0.0)
    decimals = 0 if not largest else min(6, max(0, 2 - floor(log10(largest))))
    sign = "+" if signed else ""
    return [
        NONE if value is None or value != value else _minus(f"{value:{sign},.{decimals}f}")
        for value in values
    ]


def _minus(text: str) -> str:
    return text.replace("-", "−") if "e" not in text else text


def age(duration: timedelta | None) -> str:
    """Return a duration in its two largest units.

    Examples
    --------
    >>> age(timedelta(hours=1, minutes=5)), age(timedelta(days=3, hours=17)), age(timedelta(days=4))
    ('1 h 05 min', '3 d 17 h', '4 d')
    """
    if duration is None:
        return NONE
    minutes = int(abs(duration).total_seconds() // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours:02} h" if hours else f"{days} d"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def size(octets: float) -> str:
    """Return a number of bytes.

    Examples
    --------
    >>> size(512), size(20_400_000)
    ('512 B', '20.4 MB')
    """
    for unit in _SIZES:
        if octets < 1000 or unit == _SIZES[-1]:
            break
        octets /= 1000
    return f"{octets:.0f} {unit}" if unit == "B" else f"{octets:.1f} {unit}"


def instant(when: datetime | None) -> str:
    """Return an instant to the minute.

    Examples
    --------
    >>> from datetime import UTC
    >>> instant(datetime(2021, 4, 19, 21, 30, tzinfo=UTC))
    '2021-04-19 21:30 UTC'
    """
    return NONE if when is None else f"{when:%Y-%m-%d %H:%M} UTC"


def day(when: date | None) -> str:
    """Return a date."""
    return NONE if when is None else f"{when:%Y-%m-%d}"


def seconds(value: float | None) -> str:
    """Return a time that a job took.

    Examples
    --------
    >>> seconds(0.734), seconds(81.2)
    ('0.73 s', '1 min 21 s')
    """
    if value is None:
        return NONE
    if value < 60:
        return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"
    return f"{int(value // 60)} min {int(value % 60):02} s"
