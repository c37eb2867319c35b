"""Splits: which instruments have them, those that are recorded, and undoing an adjustment.

The lakehouse has prices as traded, and the ratio on the bar of the ex-date. A vendor's
split-adjusted price of a day is the traded one divided by the product of all later ratios; its
volume is multiplied by that.

A split is a fact of its session, whether the bar is stored yet or not: the dataset ``splits``
records it, and the bar takes the ratio when it comes. A recorded ratio of 1 says that there was no
split, whatever the prices look like.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from ingestion.bars.arrays import Bars, Index, Split, close_seconds, slices
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


def ratio_text(ratio: float) -> str:
    """Return a ratio for people and for a splits file.

    Examples
    --------
    >>> ratio_text(4.0), ratio_text(2 / 3), ratio_text(1.0485)
    ('4:1', '2:3', '1.0485')
    """
    from fractions import Fraction  # where there are no splits, nobody needs it

    near = Fraction(ratio).limit_denominator(1000)
    if min(near.numerator, near.denominator) <= 10 and abs(float(near) / ratio - 1) < 1e-9:
        return f"{near.numerator}:{near.denominator}"
    return f"{ratio:.6g}"


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
