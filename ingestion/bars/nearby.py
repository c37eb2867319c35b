"""What the lakehouse holds around some bars."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from feature_repo.catalog import OHLCV_1D
from ingestion.bars.model import Bars
from ingestion.bars.series import keys_of
from ingestion.bars.times import DAY
from ingestion.lakehouse import by_date, list_parts, read_current_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOOKBACK = timedelta(days=12)
"""How far back a bar before is looked for: the longest pause of a large exchange is 11 days."""
ADJUSTED = ";adjusted"
"""Is in the source of a bar whose prices are split-adjusted, for want of its splits."""
STORED = -1
"""The file number of a stored bar."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).date()
_VALUES = ("open", "high", "low", "close", "volume", "split_ratio")
_COLUMNS = ["symbol", "timestamp", *_VALUES, "event_timestamp", "source"]


class NearbyBars:
    """The stored bars of some symbols, on the dates of some bars and in the days around them.

    Parameters
    ----------
    symbol, event
        Of some bars, in any order: which symbols to read, and around which closes.
    names
        Symbols by number.
    until_end
        Read every later date too.
    """

    def __init__(
        self,
        root: Path,
        symbol: NDArray[np.int32],
        event: NDArray[np.int64],
        names: Sequence[str],
        *,
        until_end: bool = False,
    ) -> None:
        self._numbers = {name: number for number, name in enumerate(names)}
        days = np.unique(event // DAY)
        around = np.arange(-LOOKBACK.days, LOOKBACK.days + 1)
        wanted = set(np.unique(days[:, None] + around).tolist())
        self._parts = by_date(list_parts(root, OHLCV_1D))
        last = max(((day - _EPOCH).days for day in self._parts), default=0)
        if until_end and len(days):
            wanted |= set(range(int(days[-1]), last + 1))
        self.bars, self.is_adjusted = _none(), np.zeros(0, dtype=bool)
        symbols = sorted(names[number] for number in np.unique(symbol))
        self._add(dict.fromkeys(wanted, symbols))
        self._read = wanted

    def extend(self, symbols_by_day: Mapping[int, Collection[int]], names: Sequence[str]) -> None:
        """Read further dates, days from 1970-01-01, each of them for its own symbols."""
        wanted = {
            day: sorted(names[number] for number in symbols)
            for day, symbols in symbols_by_day.items()
        }
        self._add(wanted)

    def has_read(self, days: Iterable[int]) -> bool:
        """Return whether all of these dates that the lakehouse has were read, for every symbol."""
        dates = {(day - _EPOCH).days for day in self._parts}
        return all(day in self._read for day in days if day in dates)

    def find(self, bars: Bars) -> NDArray[np.intp]:
        """Return, for each bar, the position of the stored one of its session; −1 for none."""
        keys = keys_of(self.bars.symbol, self.bars.event)
        wanted = keys_of(bars.symbol, bars.event)
        if not len(keys):
            return np.full(len(wanted), -1, dtype=np.intp)
        at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        return np.where(keys[at] == wanted, at, -1)

    def before(self, symbol: str, event: int) -> tuple[int, float] | None:
        """Return close time and price of a symbol's newest bar before the one of ``event``."""
        at = self._position(symbol, event)
        if at is None or at == 0 or self.bars.symbol[at - 1] != self._numbers[symbol]:
            return None
        closed = int(self.bars.event[at - 1])
        if closed < event - LOOKBACK // timedelta(seconds=1):
            return None
        return closed, float(self.bars.close[at - 1])

    def ratio(self, symbol: str, event: int) -> float | None:
        """Return the stored bar's split ratio; None if there is no such bar."""
        at = self._position(symbol, event)
        if at is None or at == len(self.bars):
            return None
        if self.bars.symbol[at] != self._numbers[symbol] or self.bars.event[at] != event:
            return None
        return float(self.bars.split_ratio[at])

    def _position(self, symbol: str, event: int) -> int | None:
        number = self._numbers.get(symbol)
        if number is None:
            return None
        key = keys_of(np.array([number]), np.array([event]))
        return int(np.searchsorted(keys_of(self.bars.symbol, self.bars.event), key)[0])

    def _add(self, wanted: Mapping[int, list[str]]) -> None:
        """Read each date once, days from 1970-01-01, and keep the rows of its symbols."""
        found = [self.bars], [self.is_adjusted]
        for day, parts in self._parts.items():
            symbols = wanted.get((day - _EPOCH).days)
            if symbols is None:
                continue
            rows = read_current_of(parts, OHLCV_1D, symbols, _COLUMNS)
            if not rows.num_rows:
                continue
            found[0].append(self._bars(rows))
            found[1].append(
                pc.match_substring(rows["source"], ADJUSTED).to_numpy(zero_copy_only=False)
            )
        bars, is_adjusted = Bars.concatenate(found[0]), np.concatenate(found[1])
        first = np.unique(keys_of(bars.symbol, bars.event), return_index=True)[1]
        self.bars, self.is_adjusted = bars.take(first), is_adjusted[first]

    def _bars(self, rows: pa.Table) -> Bars:
        size = rows.num_rows
        numbers = [self._numbers[symbol] for symbol in rows["symbol"].to_pylist()]
        return Bars(
            file=np.full(size, STORED, dtype=np.int32),
            row=np.zeros(size, dtype=np.int64),
            symbol=np.array(numbers, dtype=np.int32),
            timestamp=rows["timestamp"].to_numpy(),
            event=rows["event_timestamp"].cast(pa.int64()).to_numpy() // 1_000_000,
            **{name: rows[name].to_numpy() for name in _VALUES},
        )


def _none() -> Bars:
    return Bars.concatenate([])
