"""Splits: which instruments have them, files of them, recorded ones, and undoing an adjustment.

The lakehouse has prices as traded, and the ratio on the bar of the ex-date. A vendor's
split-adjusted price of a day is the traded one divided by the product of all later ratios; its
volume is multiplied by that.

A split is a fact of its session, whether the bar is stored yet or not: the dataset ``splits``
records it, and the bar takes the ratio when it comes. A recorded ratio of 1 says that there was no
split, whatever the prices look like.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Bars, Index, Split, close_seconds, slices
from ingestion.bars.bar_reader import name_rows
from ingestion.bars.cells import Kind
from ingestion.bars.header import Role
from ingestion.bars.placing import NO_CLOSE, next_session, place_times, why_no_place
from ingestion.bars.reading import VendorFile, read_batches
from ingestion.bars.refusals import Reason, Refusal, Refusals
from ingestion.bars.vendor_symbols import Naming
from ingestion.base.instants import DAY, date_of_day, utc
from ingestion.catalog import OHLCV_1D, SPLITS, SYMBOLS
from ingestion.lakehouse import (
    Lakehouse,
    append_rows,
    by_date,
    created_after,
    list_parts,
    newest_part,
    read_current,
    read_current_of,
    read_symbols,
)
from ingestion.markets.exchanges import INDEX_CODES
from ingestion.markets.hours import ClosingRule, hours_of
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


_TYPES_THAT_SPLIT = frozenset({"stock", "fund", "dr", "structured", "right", "warrant"})
"""Types of instruments, as TradingView and the dataset ``symbols`` call them."""
_RULES_WITHOUT_SPLITS = (ClosingRule.NEW_YORK_ROLL, ClosingRule.MIDNIGHT_UTC)


def may_split(lakehouse: Lakehouse, names: Iterable[str]) -> list[bool]:
    """Return for each symbol whether it may split.

    The type decides, where ``symbols`` has it. Otherwise all may split, except instruments that
    trade round the clock, that dealers quote, or that are indices.
    """
    types: dict[str, str | None] = {}
    if newest_part(lakehouse, SYMBOLS):
        rows = read_symbols(lakehouse)
        types = dict(zip(rows["symbol"].to_pylist(), rows["type"].to_pylist(), strict=True))
    return [
        kind in _TYPES_THAT_SPLIT
        if (kind := types.get(name)) is not None
        else hours_of(name).rule not in _RULES_WITHOUT_SPLITS
        and exchange_of(name) not in INDEX_CODES
        for name in names
    ]


def read_recorded(lakehouse: Lakehouse) -> dict[tuple[str, int], float]:
    """Return the ratios by symbol and close of the ex-date's session, Unix seconds."""
    rows = read_current(
        list_parts(lakehouse, SPLITS), SPLITS, ["symbol", "timestamp", "split_ratio"]
    )
    symbols, events, ratios = (column.to_pylist() for column in rows.columns)
    return dict(zip(zip(symbols, events, strict=True), ratios, strict=True))


def ratios_at(
    bars: Bars, numbers: Mapping[str, int], splits: Mapping[tuple[str, int], float]
) -> NDArray[np.float64]:
    """Return the ratio of each bar's own session; NaN for none.

    Parameters
    ----------
    bars
        In any order.
    numbers
        The numbers of symbols.
    splits
        Ratios by symbol and close, Unix seconds.
    """
    ratios = np.full(len(bars), np.nan)
    here = [
        (numbers[name], event, ratio) for (name, event), ratio in splits.items() if name in numbers
    ]
    if here:
        symbol, event, ratio = (np.array(column) for column in zip(*here, strict=True))
        at = Index(symbol, event).find(bars.symbol, bars.event)
        ratios[at >= 0] = ratio[at[at >= 0]]
    return ratios


def record_splits(
    lakehouse: Lakehouse, splits: Iterable[Split], source: str, now: datetime, run_id: str
) -> int:
    """Append the splits that are not recorded yet; the caller has the lakehouse's lock.

    Returns
    -------
    int
        How many were appended; a ratio that differs from the recorded one is a restatement.
    """
    versions = read_current(list_parts(lakehouse, SPLITS), SPLITS).to_pylist()
    known = {(row["symbol"], row["timestamp"]): row for row in versions}
    rows = []
    for split in splits:
        before = known.get((split.symbol, split.event))
        if before is None or before["split_ratio"] != split.ratio:
            rows.append(
                {
                    "timestamp": split.event,
                    "symbol": split.symbol,
                    "split_ratio": split.ratio,
                    "event_timestamp": utc(split.event),
                    "created_timestamp": created_after(
                        now, before["created_timestamp"] if before else None
                    ),
                    "source": source,
                }
            )
    append_rows(lakehouse, SPLITS, rows, run_id)
    return len(rows)


def splits_without_effect(lakehouse: Lakehouse) -> list[Split]:
    """Return the recorded splits that no stored bar shows yet, in the order of their sessions.

    They take effect at the symbol's first bar of their session or after it.
    """
    waiting = {key: ratio for key, ratio in read_recorded(lakehouse).items() if ratio != 1}
    if not waiting:
        return []
    first = min(event for _, event in waiting)
    dates = by_date(list_parts(lakehouse, OHLCV_1D, date_of_day(first // DAY)))
    for parts in dates.values():
        if not waiting:
            break
        symbols = sorted({symbol for symbol, _ in waiting})
        rows = read_current_of(parts, OHLCV_1D, symbols, ["symbol", "timestamp", "event_timestamp"])
        closes = close_seconds(rows).tolist()
        stored = dict(zip(rows["symbol"].to_pylist(), closes, strict=True))
        waiting = {
            (symbol, event): ratio
            for (symbol, event), ratio in waiting.items()
            if stored.get(symbol, event - 1) < event
        }
    ordered = sorted(waiting.items(), key=lambda item: (item[0][1], item[0][0]))
    return [Split(symbol, event, ratio) for (symbol, event), ratio in ordered]


_NEEDED = (Role.TIME, Role.SPLIT_RATIO)
SPLIT_ROLES = (*_NEEDED, Role.SPLIT_FROM, Role.SPLIT_TO, Role.SYMBOL)
"""What the columns of a table of splits mean."""


@dataclass(frozen=True)
class SplitsFile:
    """The content of a file of splits."""

    read: int
    """How many rows it has, with the refused ones."""
    repeated: int
    """How many rows repeat an earlier one."""
    splits: list[Split]
    """One per symbol and ex-date."""


def read_splits(
    path: Path, naming: Naming, refusals: Refusals, date_format: str | None = None
) -> SplitsFile:
    """Read a file of splits: symbol, ex-date, ratio.

    A ratio is new shares for old: ``4``, ``4:1``, ``4/1``, ``4-for-1``, ``1 for 10``, or two
    columns such as ``split_to`` and ``split_from``.

    Raises
    ------
    InputError
        If the file cannot be read, or names tickers of no exchange.
    """
    read, days = 0, dict[tuple[str, int], list[Split]]()
    for number, file in enumerate(read_batches(path, _NEEDED, date_format)):
        read += len(file) + len(file.broken)
        for split in splits_of(file, naming, refusals, is_first=number == 0):
            days.setdefault((split.symbol, split.event), []).append(split)
    repeated = 0
    for (symbol, _), rows in list(days.items()):
        if len({split.ratio for split in rows}) > 1:
            del days[symbol, rows[0].event]
            for each in rows:
                ratio_of_row = f"ratio {each.ratio:g}"
                refusals.add(Refusal(str(path), each.row, symbol, Reason.DUPLICATE, ratio_of_row))
        else:
            repeated += len(rows) - 1
    splits = [rows[0] for rows in days.values()]
    return SplitsFile(read, repeated, splits)


def splits_of(
    file: VendorFile, naming: Naming, refusals: Refusals, *, is_first: bool
) -> Iterator[Split]:
    """Yield the splits of some rows, and refuse the other rows."""
    named, which = name_rows(file, naming, refusals, is_first=is_first)
    times = file.times()
    _, closes = place_times(times, [each.symbol for each in named], which)
    for at, (row, ratio) in enumerate(zip(file.rows.tolist(), _ratios_of_file(file), strict=True)):
        symbol, close = named[which[at]].symbol, int(closes[at])
        if symbol is not None and close == NO_CLOSE:
            later = next_session(times, at, symbol)
            close = later.closes if later else NO_CLOSE
        if symbol is None:
            reason, detail = named[which[at]].reason, named[which[at]].problem
        elif times.kinds[at] == Kind.UNREADABLE:
            reason, detail = Reason.TIME, f"{file.columns[Role.TIME][at]}"[:80]
        elif not (np.isfinite(ratio) and ratio > 0):
            reason, detail = Reason.SPLIT, _as_written(file, at)
        elif close == NO_CLOSE:
            text = str(file.columns[Role.TIME][at])[:80]
            reason, detail = Reason.SESSION, f"{text}: {why_no_place(times, at, symbol)}"
        else:
            yield Split(symbol, close, ratio, row)
            continue
        refusals.add(Refusal(str(file.path), row, symbol or "", reason, detail))


def undo_adjustment(bars: Bars, names: Sequence[str], splits: Iterable[Split]) -> None:
    """Turn split-adjusted prices and volumes into those that were traded, in place.

    Parameters
    ----------
    bars
        Split-adjusted, as :func:`ingestion.bars.arrays.in_order` leaves them.
    names
        Symbols by number.
    splits
        Of any symbols, unique on (symbol, ex-date); later ones than the last bar count too. An
        absurd ratio leaves infinities and zeros, for the caller to refuse.
    """
    of_symbol: dict[str, list[Split]] = {}
    for split in splits:
        of_symbol.setdefault(split.symbol, []).append(split)
    for number, place in slices(bars):
        ordered = of_symbol.get(names[number])
        if ordered is None:
            continue
        factor = _product_of_later_ratios(
            sorted(ordered, key=lambda split: split.event), bars.event[place]
        )
        with np.errstate(all="ignore"):
            for price in bars.prices:
                price[place] *= factor
            bars.volume[place] /= factor


def _product_of_later_ratios(
    ordered: list[Split], closes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return, for each bar, the product of the ratios whose ex-date is after it."""
    ratios = np.array([split.ratio for split in ordered])
    with np.errstate(all="ignore"):
        products = np.append(np.cumprod(ratios[::-1])[::-1], 1.0)
    ex_dates = np.array([split.event for split in ordered])
    factors: NDArray[np.float64] = products[np.searchsorted(ex_dates, closes, side="right")]
    return factors


def put_on_bars(bars: Bars, names: Sequence[str], splits: Iterable[Split]) -> None:
    """Write the ratios on the bars of their ex-dates, in place.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them.
    """
    numbers = {name: number for number, name in enumerate(names)}
    given = {(split.symbol, split.event): split.ratio for split in splits}
    ratios = ratios_at(bars, numbers, given)
    bars.split_ratio[:] = np.where(np.isnan(ratios), bars.split_ratio, ratios)


def _ratios_of_file(file: VendorFile) -> list[float]:
    if Role.SPLIT_RATIO not in file.columns:
        new, old = (file.numbers(role)[0] for role in (Role.SPLIT_TO, Role.SPLIT_FROM))
        with np.errstate(all="ignore"):
            return list((new / old).tolist())
    column = file.columns[Role.SPLIT_RATIO]
    if pa.types.is_string(column.type):  # it may contain 4:1
        return [_ratio_of_text(value) for value in column.to_pylist()]
    values: list[float] = file.numbers(Role.SPLIT_RATIO)[0].tolist()
    return values


def _as_written(file: VendorFile, at: int) -> str:
    roles = (Role.SPLIT_RATIO, Role.SPLIT_TO, Role.SPLIT_FROM)
    parts = [f"{file.columns[role][at]}"[:80] for role in roles if role in file.columns]
    return " for ".join(parts)


def _ratio_of_text(value: Any) -> float:
    new, *old = re.split(r"\s*(?::|/|\bfor\b)\s*|-for-", str(value).strip().casefold(), maxsplit=1)
    try:
        return float(new) / float(old[0] if old else 1)
    except (ValueError, ZeroDivisionError):
        return float("nan")
