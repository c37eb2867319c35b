"""What bars there are: of which symbols, from when until when, and who brings them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache

import numpy as np

from ingestion.bars.recent_bars import RecentBars
from ingestion.base.instants import from_micros, to_micros

_NEVER = np.iinfo(np.int64).min


@dataclass(frozen=True)
class MarketBars:
    """The bars of one exchange."""

    exchange: str
    symbols: int
    newest: datetime
    """Close of its newest bar."""
    is_imported: bool
    """Whether its bars came by import alone: then nothing more is expected of it."""


@dataclass(frozen=True)
class BarsStatus:
    """The stored bars, up to now."""

    dates: int
    first: date | None
    """Date of the earliest bar's close; None if there is no bar."""
    last: date | None
    symbols: int
    """Those with a bar in the last 90 days of the history, of which the following are too."""
    markets: tuple[MarketBars, ...]
    newest: Mapping[str, datetime] = field(repr=False)
    """By symbol, the close of its newest bar."""

    @property
    def is_imported(self) -> bool:
        """Whether no job of this project brings bars each day."""
        return all(each.is_imported for each in self.markets)

    @property
    def imported(self) -> frozenset[str]:
        """Exchanges whose bars came by import alone."""
        return frozenset(each.exchange for each in self.markets if each.is_imported)


def bars(dates: Sequence[date], recent: RecentBars, at: datetime) -> BarsStatus:
    """Look at the bars that had closed at an instant.

    Parameters
    ----------
    dates
        Those that have bars, in their order.
    recent
        The bars of the last 90 days of the history.
    """
    newest = np.full(len(recent.names), _NEVER)
    is_scanned = np.zeros(len(recent.names), dtype=bool)
    for each in recent.days:
        closed = each.close <= to_micros(at)
        np.maximum.at(newest, each.symbol[closed], each.close[closed])
        is_scanned[each.symbol[closed & each.is_scanned]] = True
    instant = cache(from_micros)  # most symbols have the same
    events: dict[str, datetime] = {}
    of_exchange: dict[str, list[int]] = {}
    bars_of = zip(recent.names, recent.exchanges, newest.tolist(), strict=True)
    for name, exchange, close in bars_of:
        if close != _NEVER:
            events[name] = instant(close)
            of_exchange.setdefault(exchange, []).append(close)
    scanned = {recent.exchanges[at] for at in np.flatnonzero(is_scanned).tolist()}
    return BarsStatus(
        dates=len(dates),
        first=dates[0] if dates else None,
        last=dates[-1] if dates else None,
        symbols=len(events),
        markets=tuple(
            MarketBars(exchange, len(closes), instant(max(closes)), exchange not in scanned)
            for exchange, closes in sorted(of_exchange.items())
        ),
        newest=events,
    )
