"""Lists in messages: the first few, and how many there are besides."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice


def some_of(things: Sequence[object], most: int = 1, between: str = ", ") -> str:
    """Return the first few of many things as text, and how many more there are.

    Examples
    --------
    >>> some_of(["NASDAQ:AAPL", "NASDAQ:MSFT", "NYSE:JPM"], 2)
    'NASDAQ:AAPL, NASDAQ:MSFT and 1 more'
    >>> some_of(["the first problem"])
    'the first problem'
    """
    first = between.join(map(str, islice(things, most)))
    more = len(things) - most
    return f"{first} and {more:,} more" if more > 0 else first
