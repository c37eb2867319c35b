"""Where bars come from besides files and the scanner: a source of the project's own.

A source is one file of ``feature_repo/sources/``. It answers requests for symbols with tables of
bars, each with its columns by name, as files have them. What follows is shared by all sources and
by files: a bar is placed in its session, checked, compared with splits and stored bars, and stored.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from ingestion.base.errors import CatalogError

SCANNER_PRIORITY, FILES_PRIORITY = 0, 100
"""Priorities of the scanner's bars, and of those of files."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class TimesMean(StrEnum):
    """What the times of a source's rows mean."""

    AS_WRITTEN = "as written"
    """As in files: a date is that session's, any other time is when the bar opened."""
    DATES = "dates"
    """The date is the session's, whatever time of day is written beside it."""
    OPENS = "opens"
    """When the bar opened; a date is its 00:00 UTC."""
    CLOSES = "closes"
    """When the bar closed."""


class SourceBusy(Exception):
    """A source raises it where asking again may help: it is limited, or its server is down.

    Parameters
    ----------
    why
        What happened, for people.
    wait
        Seconds to wait before the next try, where the server says so; a back-off if None.
    """

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait: float | None = None
        if isinstance(wait, int | float) and math.isfinite(wait):
            self.wait = max(0.0, float(wait))


@dataclass(frozen=True)
class BarRequest:
    """What a source is asked for."""

    symbols: tuple[str, ...]
    """Unified symbols, ``EXCHANGE:TICKER``; at most :attr:`BarSource.batch` of them."""
    first: date
    """Session of the first bar; 1970-01-01 for all that there are."""
    last: date
    """Session of the last one, included."""

    @property
    def symbol(self) -> str:
        """The first symbol: the only one, unless the source has a larger batch.

        Examples
        --------
        >>> BarRequest(("BINANCE:BTCUSDT",), date(2021, 1, 1), date(2021, 1, 31)).symbol
        'BINANCE:BTCUSDT'
        """
        return self.symbols[0]


@dataclass(frozen=True)
class BarTable:
    """Some bars, in any order.

    Parameters
    ----------
    columns
        By name, sequences of equal length: a mapping, a pandas ``DataFrame`` or a pyarrow
        ``Table``. The names are those that files may have: ``date`` or ``timestamp``, ``open``,
        ``high``, ``low``, ``close``, ``volume``, ``split_ratio``, ``symbol`` and others.
    symbol
        Whose bars they are. Without it the column ``symbol`` says so, or the request if it is for
        one symbol.

    Examples
    --------
    >>> BarTable({"date": ["2021-03-01"], "open": [1], "high": [2], "low": [1], "close": [2]},
    ...          symbol="BINANCE:BTCUSDT").symbol
    'BINANCE:BTCUSDT'
    """

    columns: Any
    symbol: str | None = None


@dataclass(frozen=True)
class SplitTable(BarTable):
    """All splits of a symbol, or of several, since the first bar: columns ``date`` and ``ratio``.

    The date is the ex-date, the ratio new shares for one old: ``4``, ``"4:1"``. A table without a
    row says that there was no split. A column ``split_ratio`` beside the prices says the same.
    """


@dataclass(frozen=True)
class DividendTable(BarTable):
    """All dividends of a symbol, or of several, between the dates of the request.

    Columns ``date`` (the ex-date) and ``amount`` per share, and ``currency`` where it is known.
    Amounts are adjusted for later splits as the source's prices are, and turned back as these are.
    A table without a row says that there was no dividend.

    Parameters
    ----------
    decimals
        To how many decimals a vendor rounds amounts that it has adjusted. Of the amounts that would
        be rounded so the one with the fewest decimals is taken; None if they are not rounded.
    """

    decimals: int | None = None


@dataclass(frozen=True)
class BarSource:
    """A source of daily bars.

    Parameters
    ----------
    name
        What ``--source`` names, and ``source`` in the rows: ``fetch:NAME``.
    tables
        Answers a request; called again with the same request if it raises :class:`SourceBusy` or
        ``OSError``. What it yields before an error is kept.
    times
        What the times of its rows mean.
    adjusted
        Whether prices and volumes are split-adjusted. They are turned back where the source yields
        the splits too.
    priority
        A stored bar of a source with a higher priority stays as it is. Files have 100, the scanner
        has 0.
    exchanges
        TradingView's codes of the exchanges that it knows; all if empty. It is not asked for
        symbols of others.
    batch
        How many symbols a request has at most.
    pause
        Seconds between two requests.
    budget
        How many requests a run may make; no limit if None.
    delay
        Seconds after a close in which a bar's values may still change.
    key
        The environment variable that has the user's key, where the vendor wants one. As long as it
        is empty, the source is asked only by who names it.
    days_back
        Of how many days, with today, it has bars; of all if None. It is not asked for older ones.

    Examples
    --------
    >>> def tables(want):
    ...     yield BarTable({"date": [], "open": [], "high": [], "low": [], "close": []})
    >>> BarSource("mine", "my vendor's bars", tables, times="dates").times
    <TimesMean.DATES: 'dates'>
    """

    name: str
    meaning: str
    tables: Callable[[BarRequest], Iterable[BarTable]]
    times: TimesMean = TimesMean.AS_WRITTEN
    adjusted: bool = False
    priority: int = 50
    exchanges: Sequence[str] = ()
    batch: int = 1
    pause: float = 0.0
    budget: int | None = None
    delay: float = 0.0
    key: str | None = None
    days_back: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise CatalogError(
                f"{self.name!r} cannot be a bar source's name: begin with a letter; a-z, 0-9 and _ "
                "may follow"
            )
        if not callable(self.tables):
            raise CatalogError(f"{self.name}: tables is not a function that takes a request")
        try:
            object.__setattr__(self, "times", TimesMean(self.times))
        except ValueError:
            known = ", ".join(repr(each.value) for each in TimesMean)
            raise CatalogError(f"{self.name}: times {self.times!r} is none of {known}") from None
        if isinstance(self.exchanges, str):
            raise CatalogError(f"{self.name}: exchanges is a text; write a list of texts")
        object.__setattr__(self, "exchanges", tuple(self.exchanges))
        if not _is_whole(self.priority, 1):
            raise CatalogError(f"{self.name}: priority {self.priority!r} is no number from 1 on")
        if not _is_whole(self.batch, 1):
            raise CatalogError(f"{self.name}: batch {self.batch!r} is no number from 1 on")
        for name in ("budget", "days_back"):
            value = getattr(self, name)
            if value is not None and not _is_whole(value, 1):
                raise CatalogError(f"{self.name}: {name} {value!r} is no number from 1 on")
        for name in ("pause", "delay"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not 0 <= value < math.inf:
                raise CatalogError(f"{self.name}: {name} {value!r} is no number of seconds")

    @property
    def is_ready(self) -> bool:
        """Whether it can be asked: it wants no key, or has one."""
        return self.key is None or bool((os.environ.get(self.key) or "").strip())

    def has(self, symbol: str) -> bool:
        """Return whether it may know a symbol, by its exchange.

        Examples
        --------
        >>> source = BarSource("mine", "my vendor's bars", print, exchanges=["BINANCE"])
        >>> source.has("BINANCE:BTCUSDT"), source.has("NASDAQ:AAPL")
        (True, False)
        """
        return not self.exchanges or symbol.partition(":")[0] in self.exchanges


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
