"""Splits: reading them, and undoing a vendor's adjustment for them.

The lakehouse holds prices as traded, with the ratio on the ex-date. A vendor's split-adjusted price
of a day is the traded one divided by the product of all later ratios; its volume is multiplied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Bars, Split, keys_of, slices
from ingestion.bars.cells import Kind, Times
from ingestion.bars.layout import Role
from ingestion.bars.placing import NO_CLOSE, place_times, why_no_place
from ingestion.bars.reading import VendorFile, read_vendor_file
from ingestion.bars.refusals import Reason, Refusals
from ingestion.bars.vendor_symbols import NAMELESS, Naming, demand_exchange
from ingestion.markets.hours import DAY
from ingestion.markets.sessions import sessions_between
from ingestion.markets.symbols import exchange_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_NEEDED = (Role.TIME, Role.SPLIT_RATIO)
_NEXT_SESSION = timedelta(days=14)
"""How far after an ex-date on which the market is closed its next session is looked for."""


@dataclass(frozen=True)
class SplitsFile:
    """What a file of splits says."""

    read: int
    """Its rows, the refused ones too."""
    repeated: int
    """Rows that say the same as one before them."""
    splits: list[Split]
    """One a symbol and ex-date."""


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
    file = read_vendor_file(path, _NEEDED, date_format)
    refusals.add(Reason.CELLS, str(path), file.broken, lambda _: ("", ""))
    names, which = file.symbols() or ([naming.of_file(path)], np.zeros(len(file), dtype=np.int64))
    named = [*(naming.unify(name) for name in names), NAMELESS]
    demand_exchange(path, names, named[:-1])
    times = file.times()
    _, closes = place_times(times, [each.symbol for each in named], which)
    days: dict[tuple[str, int], list[Split]] = {}
    for at, (row, ratio) in enumerate(zip(file.rows.tolist(), _ratios(file), strict=True)):
        symbol, close = named[which[at]].symbol, int(closes[at])
        if symbol is not None and close == NO_CLOSE:
            close = _next_close(times, at, symbol)
        if symbol is None:
            reason, detail = named[which[at]].reason, named[which[at]].problem
        elif times.kinds[at] == Kind.UNREADABLE:
            reason, detail = Reason.TIME, f"{file.columns[Role.TIME][at]}"[:80]
        elif not (np.isfinite(ratio) and ratio > 0):
            reason, detail = Reason.SPLIT, _as_written(file, at)
        elif close == NO_CLOSE:
            told = str(file.columns[Role.TIME][at])[:80]
            reason, detail = Reason.SESSION, f"{told}: {why_no_place(times, at, symbol)}"
        else:
            split = Split(symbol, close, ratio, row)
            days.setdefault((symbol, split.event), []).append(split)
            continue
        answer = (symbol or "", detail)
        refusals.add(reason, str(path), [row], lambda _, answer=answer: answer)  # type: ignore[misc]
    repeated = 0
    for (symbol, _), rows in list(days.items()):
        if len({split.ratio for split in rows}) > 1:
            del days[symbol, rows[0].event]
            answers = [(split.symbol, f"ratio {split.ratio:g}") for split in rows]
            disputed = [split.row for split in rows]
            refusals.add(Reason.DUPLICATE, str(path), disputed, answers.__getitem__)
        else:
            repeated += len(rows) - 1
    splits = [rows[0] for rows in days.values()]
    return SplitsFile(len(file) + len(file.broken), repeated, splits)


def _next_close(times: Times, at: int, symbol: str) -> int:
    """Return the close of the next session after a date without one; else ``NO_CLOSE``."""
    kind, seconds = times.kinds[at], int(times.seconds[at])
    if kind == Kind.UNREADABLE or (kind == Kind.INSTANT and seconds % DAY):
        return NO_CLOSE
    days = seconds // DAY if kind == Kind.INSTANT else int(times.days[at])
    day = date(1970, 1, 1) + timedelta(days)
    sessions = sessions_between(exchange_of(symbol), day, day + _NEXT_SESSION)
    return sessions[0].closes if sessions else NO_CLOSE


def turn_back(bars: Bars, names: Sequence[str], splits: Iterable[Split]) -> None:
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
        factor = _later(sorted(ordered, key=lambda split: split.event), bars.event[place])
        with np.errstate(all="ignore"):
            for price in (bars.open, bars.high, bars.low, bars.close):
                price[place] *= factor
            bars.volume[place] /= factor


def _later(ordered: list[Split], closes: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return, for each bar, the product of the ratios whose ex-date is after it."""
    ratios = np.array([split.ratio for split in ordered])
    with np.errstate(all="ignore"):
        products = np.append(np.cumprod(ratios[::-1])[::-1], 1.0)
    ex_dates = np.array([split.event for split in ordered])
    factors: NDArray[np.float64] = products[np.searchsorted(ex_dates, closes, side="right")]
    return factors


def place(bars: Bars, names: Sequence[str], splits: Iterable[Split]) -> None:
    """Write the ratios on the bars of their ex-dates, in place.

    Parameters
    ----------
    bars
        As :func:`ingestion.bars.arrays.in_order` leaves them.
    """
    numbers = {name: number for number, name in enumerate(names)}
    keys = keys_of(bars.symbol, bars.event)
    for split in splits:
        number = numbers.get(split.symbol)
        if number is not None:
            key = keys_of(np.array([number]), np.array([split.event]))[0]
            first, end = (np.searchsorted(keys, key, side) for side in ("left", "right"))
            bars.split_ratio[first:end] = split.ratio


def _ratios(file: VendorFile) -> list[float]:
    if Role.SPLIT_RATIO not in file.columns:
        new, old = (file.numbers(role)[0] for role in (Role.SPLIT_TO, Role.SPLIT_FROM))
        with np.errstate(all="ignore"):
            return list((new / old).tolist())
    column = file.columns[Role.SPLIT_RATIO]
    if _is_text(column.type):
        return [_ratio(value) for value in column.to_pylist()]
    values: list[float] = file.numbers(Role.SPLIT_RATIO)[0].tolist()
    return values


def _as_written(file: VendorFile, at: int) -> str:
    roles = (Role.SPLIT_RATIO, Role.SPLIT_TO, Role.SPLIT_FROM)
    told = [f"{file.columns[role][at]}"[:80] for role in roles if role in file.columns]
    return " for ".join(told)


def _is_text(kind: pa.DataType) -> bool:
    """Tell whether a column may hold ``4:1``; what else there is must be numbers."""
    types = pa.types
    kind = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _ratio(value: Any) -> float:
    new, *old = re.split(r"\s*(?::|/|\bfor\b)\s*|-for-", str(value).strip().casefold(), maxsplit=1)
    try:
        return float(new) / float(old[0] if old else 1)
    except (ValueError, ZeroDivisionError):
        return float("nan")
