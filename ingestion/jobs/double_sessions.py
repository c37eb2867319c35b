"""Stored bars that stand in the way of their session's right one, found over the whole lakehouse.

They come from before bars were placed in sessions: those of an exchange with a calendar that close
with no session of it, and two bars of one symbol and session that close at different instants.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from feature_repo.catalog import OHLCV_1D
from ingestion.bars.twins import keys
from ingestion.lakehouse import read_current
from ingestion.lakehouse.parts import Part
from ingestion.placing import by_hours, misplaced, session_days

_COLUMNS = ["symbol", "timestamp", "event_timestamp"]
_EPOCH = date(1970, 1, 1)


class _Bar(NamedTuple):
    symbol: str
    session: int
    """Day of its session, from 1970-01-01."""
    day: date
    """Its partition's."""


class DoubleSession(NamedTuple):
    """Bars of one symbol and session that cannot both be right, or one that cannot."""

    symbol: str
    session: date
    parts: tuple[Path, ...]
    """Where they are."""
    is_misplaced: bool
    """Whether one of them closes with no session of its exchange's calendar."""

    def __str__(self) -> str:
        what = "closes with no session of its exchange" if self.is_misplaced else "is there twice"
        return f"{self.symbol}, session {self.session}, {what}"


def double_sessions(parts: dict[date, list[Part]]) -> Iterator[DoubleSession]:
    """Yield what stands in the way, in the order of dates.

    Parameters
    ----------
    parts
        Of ``ohlcv_1d``, by date.
    """
    seen: dict[tuple[str, int], date] = {}
    for day, of_day in parts.items():
        bars, wrong = _bars(day, read_current(of_day, OHLCV_1D, _COLUMNS))
        # Bars of one session lie two dates apart at most.
        seen = {key: other for key, other in seen.items() if day - other <= timedelta(days=2)}
        for bar, is_misplaced in zip(bars, wrong, strict=True):
            other = seen.get((bar.symbol, bar.session))
            if other is not None or is_misplaced:
                days = dict.fromkeys([each for each in (other, day) if each is not None])
                paths = tuple(parts[each][-1].path for each in days)
                session = _EPOCH + timedelta(bar.session)
                yield DoubleSession(bar.symbol, session, paths, bool(is_misplaced))
            seen[bar.symbol, bar.session] = day


def _bars(day: date, rows: pa.Table) -> tuple[list[_Bar], list[bool]]:
    symbols, opens, closes = keys(rows)
    days = np.zeros(len(symbols), dtype=np.int64)
    wrong = np.zeros(len(symbols), dtype=bool)
    for symbol, at in by_hours(symbols).items():
        days[at] = session_days(symbol, opens[at], closes[at])
        wrong[at] = misplaced(symbol, opens[at], closes[at])
    numbered = zip(symbols, days.tolist(), strict=True)
    return [_Bar(symbol, number, day) for symbol, number in numbered], wrong.tolist()
