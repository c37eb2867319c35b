"""What bars there are: of which symbols, from when until when, and who brings them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.bars.source import of_each_source
from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import Lakehouse, by_date, list_parts, read_part, without_withdrawn
from ingestion.markets.symbols import exchange_of

_INSTANT = pa.timestamp("us", "UTC")
_KEPT = ["symbol", "event_timestamp", "source"]
_COLUMNS = [*_KEPT, "timestamp", "created_timestamp"]


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


def bars(lakehouse: Lakehouse, at: datetime, lookback: timedelta) -> BarsStatus:
    """Look at the bars that had closed at an instant.

    Parameters
    ----------
    lookback
        How long before the last bar's date the symbols are read from.

    Raises
    ------
    CorruptPart
        If a part of that span cannot be read.
    """
    return reading_again(partial(_bars, lakehouse, at, lookback))


def _bars(lakehouse: Lakehouse, at: datetime, lookback: timedelta) -> BarsStatus:
    parts = [part for part in list_parts(lakehouse, OHLCV_1D) if part.date <= at.date()]
    if not parts:
        return BarsStatus(0, None, None, 0, (), {})
    tables = []
    for day, of_day in by_date(parts).items():
        if day >= parts[-1].date - lookback:
            tables_of_day = [read_part(part, OHLCV_1D, _COLUMNS) for part in of_day]
            rows = without_withdrawn(pa.concat_tables(tables_of_day)).select(_KEPT)
            rows = rows.filter(pc.less_equal(rows["event_timestamp"], pa.scalar(at, _INSTANT)))
            is_scanned = of_each_source(rows["source"], lambda source: source.is_scanned)
            rows = rows.drop_columns(["source"]).append_column("scanned", pa.array(is_scanned))
            tables.append(_by_symbol(rows))
    rows = _by_symbol(pa.concat_tables(tables))
    newest = dict(zip(rows["symbol"].to_pylist(), rows["event_timestamp"].to_pylist(), strict=True))
    scanned = rows.filter(rows["scanned"])["symbol"].to_pylist()
    return BarsStatus(
        dates=len({part.date for part in parts}),
        first=parts[0].date,
        last=parts[-1].date,
        symbols=len(newest),
        markets=_markets(newest, frozenset(map(exchange_of, scanned))),
        newest=newest,
    )


def _by_symbol(rows: pa.Table) -> pa.Table:
    grouped = rows.group_by("symbol").aggregate([("event_timestamp", "max"), ("scanned", "any")])
    return grouped.rename_columns(["symbol", "event_timestamp", "scanned"])


def _markets(newest: Mapping[str, datetime], scanned: frozenset[str]) -> tuple[MarketBars, ...]:
    by_exchange: dict[str, list[datetime]] = {}
    for symbol, event in newest.items():
        by_exchange.setdefault(exchange_of(symbol), []).append(event)
    return tuple(
        MarketBars(exchange, len(events), max(events), exchange not in scanned)
        for exchange, events in sorted(by_exchange.items())
    )
