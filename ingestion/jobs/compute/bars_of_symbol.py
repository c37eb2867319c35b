"""One symbol's bars, from one on back: read as far as somebody asks, and once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime
from typing import NamedTuple

from ingestion.base.arrow import to_objects
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.compute.bars_by_symbol import has_month, month_of, read_month
from ingestion.lakehouse import Lakehouse, list_dates, parts_of, read_current_of, standing

_COLUMNS = ["symbol", "timestamp", "volume", "event_timestamp"]


class Bar(NamedTuple):
    """What is asked of a bar."""

    close: datetime
    volume: float | None


class BarsOfSymbol:
    """A symbol's current bars up to a UTC date, without those that are withdrawn.

    A month of which the bars lie by symbol is read there, if all of it is wanted; others by date.
    """

    def __init__(self, lakehouse: Lakehouse, symbol: str, last: date) -> None:
        self._lakehouse, self._symbol = lakehouse, symbol
        dates = list_dates(lakehouse, OHLCV_1D)
        self._of_month = Counter(map(month_of, dates))
        self._left = [day for day in dates if day <= last]
        self._bars: list[Bar] = []

    def back_from(self, close: datetime) -> Iterator[Bar]:
        """Yield those that closed by an instant, the newest first.

        Raises
        ------
        CorruptPart
            If a part that has to be read cannot be.
        FileNotFoundError
            If one is gone since it was listed; asked again, it is read where it is now.
        """
        at = 0
        while at < len(self._bars) or self._read_more():
            bar, at = self._bars[at], at + 1
            if bar.close <= close:
                yield bar

    def _read_more(self) -> bool:
        """Read until there is a further bar; return whether there is one."""
        while self._left:
            month = month_of(self._left[-1])
            days = [day for day in self._left if month_of(day) == month]
            if len(days) == self._of_month[month] and has_month(self._lakehouse, month):
                rows = standing(read_month(self._lakehouse, days, [self._symbol]))
            else:
                days = days[-1:]
                parts = parts_of(self._lakehouse, OHLCV_1D, days[0])
                rows = read_current_of(parts, OHLCV_1D, [self._symbol], _COLUMNS)
            del self._left[-len(days) :]
            closes, volumes = to_objects(rows["event_timestamp"]), rows["volume"].to_pylist()
            found = sorted(map(Bar, closes, volumes), key=lambda bar: bar.close, reverse=True)
            if found:
                self._bars += found
                return True
        return False
