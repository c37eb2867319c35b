"""Bars with their scanner columns, and which of them are known at an instant."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.errors import InputError
from ingestion.catalog import Catalog, Scanner
from ingestion.formulas import LOCAL, SHIPPED, compute
from ingestion.markets.hours import ClosingRule, bar_closes, hours_of, time_zone
from ingestion.replay.changed_votes import ChangedVote, by_other_rules
from ingestion.replay.further import drawn_cells, is_drawn, resampled_cells

_BAR_COLUMNS = ("open", "high", "low", "close", "volume")
_TECHNICALS = tuple(each for each in LOCAL.values() if each.scanned)
_LATER = {name: each for name, each in SHIPPED.items() if name not in {*LOCAL, "change"}}
"""Those that are computed when one of them is first asked for; ``change`` is of the bars."""
_US_CALENDAR = "XNYS"
_US_TICK = {"pricescale": 100, "minmov": 1}
"""Shares above a dollar are quoted in cents there."""
COIN = "coin"
"""The market of coins, which are in no other."""
_QUOTE = re.compile(r"(USDT|USDC|USD|EUR)(\.P)?$")
_METADATA = ("sector", "industry", "pricescale", "minmov", "timezone")
_DESCRIPTIVE = ("name", "description", "exchange", "type", "currency", "update_mode")
COLUMNS = frozenset(
    (
        *(*_BAR_COLUMNS, *(each.name for each in _TECHNICALS), *_DESCRIPTIVE, *_METADATA),
        *("change", "time", "last_bar_update_time", "bars_count", "first_bar_time", *_LATER),
    )
)
"""Every column that any panel serves."""
UNLISTED = frozenset({"name", "description", "timezone", "typespecs"})
"""Those that the scanner's ``metainfo`` lacks though they are served."""


@cache
def asked_columns() -> frozenset[str]:
    """Return every name that a shipped group asks for, whether it runs or not."""
    catalog = Catalog.load(formulas=lambda: SHIPPED)
    groups = (*catalog.groups, *catalog.others)
    names = {each.scanner for group in groups for each in group.scanned if each.scanner}
    sources = (group.source for group in groups if isinstance(group.source, Scanner))
    return frozenset(names.union(each.joined_by for each in sources if each.joined_by))


@dataclass(frozen=True)
class Instrument:
    """A symbol, and where its bars lie in the panel's columns."""

    symbol: str
    market: str
    about: Mapping[str, Any]
    """Columns whose values are the same for every bar."""
    first: int
    end: int


class _Columns(dict[str, list[Any]]):
    """Columns by name; what is computed on demand is computed at the first demand."""

    def __init__(self, columns: Mapping[str, list[Any]], bars: pa.Table) -> None:
        super().__init__(columns)
        self._bars = bars
        self._lock = Lock()

    def bars_of(self, first: int, last: int) -> dict[str, np.ndarray[Any, Any]]:
        """Return some rows of the bars, as :func:`further_cells` takes them."""
        rows = self._bars.slice(first, last - first + 1)
        names = {"timestamp": "opened", **{name: name for name in _BAR_COLUMNS}}
        found = {new: rows[name].to_numpy() for name, new in names.items()}
        ones = np.ones(rows.num_rows)
        has_splits = "split_ratio" in rows.column_names
        return found | {"split_ratio": rows["split_ratio"].to_numpy() if has_splits else ones}

    def __missing__(self, name: str) -> list[Any]:
        if name not in _LATER:
            raise KeyError(name)
        with self._lock:  # requests come in threads
            if name not in self:
                features = compute(self._bars, _LATER.values())
                for each in _LATER:
                    self[each] = [_integral(value) for value in features[each].to_pylist()]
        return self[name]


class Panel:
    """All bars of all symbols, with the columns that the scanner would show at their close.

    Parameters
    ----------
    instruments
        Each with its own range of rows.
    closes
        Shape ``(rows,)``: when each bar closes, Unix s; ascending within an instrument.
    columns
        By name, a JSON value a row.
    coins
        What the market ``coin`` lists beside the instruments of it; no other market does.
    """

    def __init__(
        self,
        instruments: Iterable[Instrument],
        closes: np.ndarray[Any, np.dtype[np.int64]],
        columns: Mapping[str, list[Any]],
        coins: Iterable[Instrument] = (),
    ) -> None:
        self._instruments = {instrument.symbol: instrument for instrument in instruments}
        self._coins = {coin.symbol: coin for coin in coins}
        self._closes = closes
        self._columns = columns
        further = (each.about for each in self._instruments.values())
        self.columns = COLUMNS.union(columns, *further)
        """Every column that it serves; any other is an unknown field."""
        if isinstance(columns, _Columns):
            self.columns |= asked_columns()
        self._drawn: dict[tuple[str, int], dict[str, Any]] = {}
        self._resampled: dict[tuple[int, int], dict[str, Any]] = {}
        self.markets = frozenset(
            each.market for each in (*self._instruments.values(), *self._coins.values())
        )
        self.symbolsets: dict[str, Mapping[str, Sequence[tuple[float, float]]]] = {}
        """By name as ``SYML:SP;SPX`` and by symbol, when it is a member: from, until; Unix s."""

    @classmethod
    def from_folder(cls, folder: Path, changes: Sequence[ChangedVote] = ()) -> Panel:
        """Read ``bars.parquet`` and ``symbols.csv``.

        Parameters
        ----------
        changes
            As of :meth:`from_bars`.

        Raises
        ------
        InputError
            If one of them is missing or not of the sample's form.
        """
        try:
            bars = pq.read_table(folder / "bars.parquet")
            with (folder / "symbols.csv").open(newline="", encoding="utf-8") as file:
                symbols = {row["symbol"]: row for row in csv.DictReader(file)}
        except (OSError, KeyError, pa.ArrowException) as error:
            raise InputError(f"{folder} has no bars to replay: {error}") from None
        return cls.from_bars(bars, symbols, changes)

    @classmethod
    def from_bars(
        cls,
        bars: pa.Table,
        symbols: Mapping[str, Mapping[str, str]],
        changes: Sequence[ChangedVote] = (),
    ) -> Panel:
        """Compute the columns of every bar.

        Parameters
        ----------
        bars
            In the form of :func:`ingestion.formulas.compute`.
        symbols
            By symbol: ``market``, ``type``, ``currency``, ``description``; where they are known,
            ``sector``, ``industry``, ``pricescale``, ``minmov``, ``timezone``.
        changes
            Votes whose rule changes on a date; the daily ratings follow.

        Raises
        ------
        InputError
            If ``symbols`` lacks a symbol of the bars.
        """
        bars = bars.sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
        names = np.asarray(bars["symbol"].to_pylist(), dtype=object)
        starts = np.flatnonzero(np.r_[True, names[1:] != names[:-1]]).tolist()
        ends = [*starts[1:], len(names)]
        opens = bars["timestamp"].to_numpy()
        if missing := set(names) - symbols.keys():
            raise InputError(f"symbols.csv lacks {min(missing)}, which has bars")
        instruments = [
            _instrument(names[first], symbols[names[first]], first, end)
            for first, end in zip(starts, ends, strict=True)
        ]
        # Where a close is only a rule of thumb, a bar may seem to outlast its successor.
        closes = np.concatenate(
            [
                np.maximum.accumulate(bar_closes(each.symbol, opens[each.first : each.end]))
                for each in instruments
            ]
        )
        bars = bars.append_column("close_timestamp", pa.array(closes))
        features = compute(bars, [by_other_rules(each, changes) for each in _TECHNICALS])
        columns = {name: bars[name].to_pylist() for name in _BAR_COLUMNS}
        columns |= {each.name: features[each.name].to_pylist() for each in _TECHNICALS}
        columns["change"] = _changes(bars, instruments)
        columns = {name: [_integral(value) for value in cells] for name, cells in columns.items()}
        columns |= {"time": opens.tolist(), "last_bar_update_time": closes.tolist()}
        first = np.repeat(starts, np.subtract(ends, starts))
        columns["bars_count"] = (np.arange(len(opens)) - first + 1).tolist()
        columns["first_bar_time"] = opens[first].tolist()
        instruments, coins = _with_ids(instruments)
        return cls(instruments, closes, _Columns(columns, bars), coins)

    @classmethod
    def from_rows(cls, rows: Mapping[str, Mapping[str, Any]], columns: Iterable[str]) -> Panel:
        """Serve recorded rows as they are, at every instant; what a row lacks is null.

        Parameters
        ----------
        rows
            By symbol, JSON values by column.
        columns
            Further names that are served.
        """
        names = set(columns).union(*rows.values())
        instruments = [
            Instrument(symbol, _market_of(symbol), dict.fromkeys(names) | dict(values), 0, 1)
            for symbol, values in rows.items()
        ]
        nulls: Mapping[str, list[Any]] = {name: [None] for name in COLUMNS}
        return cls(instruments, np.zeros(1, dtype=np.int64), nulls)

    def with_aliases(self, count: int, exchange: str = "BENCH") -> Panel:
        """Return a panel of ``count`` symbols that repeat these under other names."""
        originals = list(self._instruments.values())
        aliases = (
            replace(
                original,
                symbol=f"{exchange}:{ticker}",
                about={**original.about, "name": ticker, "exchange": exchange},
            )
            for number in range(count)
            for original in (originals[number % len(originals)],)
            for ticker in (f"S{number:06}",)
        )
        return Panel(islice(aliases, count), self._closes, self._columns, self._coins.values())

    def of_exchanges(self, exchanges: Collection[str]) -> Panel:
        """Return a panel of the symbols of some exchanges alone."""
        kept = (each for each in self._instruments.values() if each.about["exchange"] in exchanges)
        return Panel(kept, self._closes, self._columns)

    def with_columns(self, cells: Mapping[str, Mapping[str, Any]]) -> Panel:
        """Return a panel that serves further columns.

        Parameters
        ----------
        cells
            By column and symbol, a JSON value that is the same for every bar; null for the other
            symbols.
        """
        instruments = (
            replace(
                each,
                about={**each.about, **{name: cells[name].get(each.symbol) for name in cells}},
            )
            for each in self._instruments.values()
        )
        return Panel(instruments, self._closes, self._columns, self._coins.values())

    def kind(self, column: str) -> str:
        """Return a column's type as ``metainfo`` gives it."""
        cells = (each.about[column] for each in self._instruments.values() if column in each.about)
        example = next((cell for cell in cells if cell is not None), None)
        return {bool: "bool", str: "text", list: "set"}.get(type(example), "number")

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols, in the panel's order."""
        return tuple(self._instruments)

    def known(self, now: int, market: str | None = None) -> dict[str, int]:
        """Return each symbol's last bar that had closed by ``now`` (Unix s), as a row number.

        A symbol without one is not known yet.
        """
        rows: dict[str, int] = {}
        found: dict[int, int] = {}
        coins = self._coins.values() if market == COIN else ()
        for each in (*self._instruments.values(), *coins):
            if market is not None and each.market != market:
                continue
            if each.first not in found:  # aliases share their original's bars
                closed = self._closes[each.first : each.end].searchsorted(now, side="right")
                found[each.first] = each.first + int(closed) - 1
            if found[each.first] >= each.first:
                rows[each.symbol] = found[each.first]
        return rows

    def drawn(self, columns: object) -> list[str]:
        """Return those of some columns that are drawn from ranges: neither real nor computed."""
        if not isinstance(columns, Iterable) or not isinstance(self._columns, _Columns):
            return []
        asked = (name for name in columns if isinstance(name, str))
        own = COLUMNS.union(*(each.about for each in islice(self._instruments.values(), 1)))
        return [
            name for name in asked if name in self.columns and name not in own and is_drawn(name)
        ]

    def values(self, symbol: str, row: int, columns: Iterable[str]) -> list[Any]:
        """Return a bar's JSON values."""
        each = self._instruments.get(symbol) or self._coins[symbol]
        return [self._value(each, row, name) for name in columns]

    def _value(self, instrument: Instrument, row: int, name: str) -> Any:
        if name in instrument.about:
            return instrument.about[name]
        if name in COLUMNS or not isinstance(self._columns, _Columns):
            return self._columns[name][row]
        symbol, first, close = instrument.symbol, instrument.first, int(self._closes[row])
        if is_drawn(name):
            if (symbol, row) not in self._drawn:
                price = float(self._columns["close"][row])
                self._drawn[symbol, row] = drawn_cells(symbol, instrument.about, price, close)
            return _integral(self._drawn[symbol, row].get(name))
        if (first, row) not in self._resampled:  # aliases share their original's bars
            bars = self._columns.bars_of(first, row)
            self._resampled[first, row] = resampled_cells(symbol, bars, close)
        return _integral(self._resampled[first, row].get(name))


def _with_ids(instruments: Sequence[Instrument]) -> tuple[list[Instrument], list[Instrument]]:
    """Return the instruments with the id of their coin where they are pairs, and the coins."""
    found, coins = [], {}
    for each in instruments:
        base = _QUOTE.sub("", each.symbol.partition(":")[2])
        is_pair = (each.market, each.about["type"]) == ("crypto", "spot")
        id_ = f"XTVC{base}" if is_pair else None
        found.append(replace(each, about={**each.about, "base_currency_id": id_}))
        if is_pair and base not in coins:
            about = {**found[-1].about, "name": f"{base}USD", "exchange": "CRYPTO"}
            about |= {"currency": "USD", "description": base}
            coins[base] = replace(each, symbol=f"CRYPTO:{base}USD", market=COIN, about=about)
    return found, list(coins.values())


def _market_of(symbol: str) -> str:
    """Return the market in which a symbol of unknown bars is listed, by its exchange's hours."""
    rule = hours_of(symbol).rule
    markets = {ClosingRule.MIDNIGHT_UTC: "crypto", ClosingRule.NEW_YORK_ROLL: "forex"}
    return "coin" if symbol.startswith("CRYPTO:") else markets.get(rule, "america")


def _instrument(symbol: str, about: Mapping[str, str], first: int, end: int) -> Instrument:
    exchange, _, ticker = symbol.partition(":")
    streams = hours_of(symbol).rule is ClosingRule.MIDNIGHT_UTC
    kinds = {"stock": ["common"], "spot": ["crypto"]}
    values: dict[str, Any] = {
        "name": ticker,
        "exchange": exchange,
        "description": about["description"],
        "type": about["type"],
        "typespecs": kinds.get(about["type"], []),
        "is_primary": True,
        "currency": about["currency"],
        "update_mode": "streaming" if streams else "delayed_streaming_900",
        "sector": about.get("sector") or None,
        "industry": about.get("industry") or None,
        "timezone": about.get("timezone") or time_zone(symbol),
    }
    for name, usual in _US_TICK.items():
        known = usual if hours_of(symbol).calendar == _US_CALENDAR else None
        values[name] = int(about[name]) if about.get(name) else known
    return Instrument(symbol, about["market"], values, first, end)


def _changes(bars: pa.Table, instruments: Iterable[Instrument]) -> list[float | None]:
    """Return % against the previous close, in the money of the bar's own day."""
    close = bars["close"].to_numpy()
    split = bars["split_ratio"].to_numpy() if "split_ratio" in bars.column_names else 1.0
    previous = np.r_[np.nan, close[:-1]] / split
    change = (close / previous - 1) * 100
    change[[each.first for each in instruments]] = np.nan
    return [None if np.isnan(value) else float(value) for value in change]


def _integral(value: Any) -> Any:
    """Write whole numbers without a decimal point, as the scanner does."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
