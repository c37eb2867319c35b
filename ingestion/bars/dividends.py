"""Dividends: files of them, and what the lakehouse has recorded.

An amount is per share as it trades on the ex-date: after a split of that day, before those that
come later. A vendor's split-adjusted amount is the traded one divided by the product of all later
ratios. What is recorded is never changed: another amount is a later version of its row, and 0 says
that there was no dividend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import close_seconds
from ingestion.bars.cells import EMPTY_CELLS
from ingestion.bars.ex_dates import on_ex_dates, undisputed
from ingestion.bars.header import Role
from ingestion.bars.reading import VendorFile, read_batches
from ingestion.bars.refusals import Reason, Refusal, Refusals
from ingestion.bars.splits import read_recorded
from ingestion.bars.vendor_symbols import Naming
from ingestion.base.instants import DAY, date_of_day, utc
from ingestion.base.reading import reading_again
from ingestion.catalog import DIVIDENDS, OHLCV_1D
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    append_rows,
    by_date,
    created_after,
    list_parts,
    read_current,
    read_current_of,
    read_symbols,
)

NEEDED_OF_DIVIDENDS = (Role.TIME, Role.AMOUNT)
DIVIDEND_ROLES = (*NEEDED_OF_DIVIDENDS, Role.CURRENCY, Role.SYMBOL)
"""What the columns of a table of dividends mean."""
_MINOR_UNITS = {"GBp": "GBX", "GBx": "GBX", "ZAc": "ZAC", "ILa": "ILA"}
"""Hundredths of a currency, as vendors write them, by TradingView's code."""


@dataclass(frozen=True)
class Dividend:
    """What one share is paid, by the ex-date from which on it trades without it."""

    symbol: str
    ex_date: date
    """The exchange's own; the next session's where that day has none."""
    close: int
    """Close of its session, Unix seconds."""
    amount: float
    currency: str | None
    """None where the file does not say it, and nothing else does."""
    row: int


@dataclass(frozen=True)
class DividendsFile:
    """The content of a file of dividends."""

    read: int
    """How many rows it has, with the refused ones."""
    repeated: int
    """How many rows repeat an earlier one."""
    dividends: list[Dividend]
    """One per symbol and ex-date."""


def read_dividends(
    path: Path,
    naming: Naming,
    refusals: Refusals,
    currencies: Mapping[str, str],
    date_format: str | None = None,
) -> DividendsFile:
    """Read a file of dividends: symbol, ex-date, amount, and the currency if it says it.

    Parameters
    ----------
    currencies
        Of the symbols' prices, where they are known. A dividend in another one is refused; one
        without a currency is taken to be in that of the price.

    Raises
    ------
    InputError
        If the file cannot be read, or names tickers of no exchange.
    """
    read, days = 0, dict[tuple[str, int], list[Dividend]]()
    for number, file in enumerate(read_batches(path, NEEDED_OF_DIVIDENDS, date_format)):
        read += len(file) + len(file.broken)
        for each in dividends_of(file, naming, refusals, currencies, is_first=number == 0):
            days.setdefault((each.symbol, each.close), []).append(each)

    def refuse(each: Dividend) -> None:
        amount = f"{each.amount:g} on {each.ex_date}"
        refusals.add(Refusal(str(path), each.row, each.symbol, Reason.DIVIDENDS, amount))

    dividends, repeated = undisputed(
        days.values(), lambda each: (each.amount, each.currency), refuse
    )
    return DividendsFile(read, repeated, dividends)


def dividends_of(
    file: VendorFile,
    naming: Naming,
    refusals: Refusals,
    currencies: Mapping[str, str],
    *,
    is_first: bool,
) -> Iterator[Dividend]:
    """Yield the dividends of some rows, and refuse the other rows."""
    amounts, unreadable = file.numbers(Role.AMOUNT)
    written = file.columns.get(Role.CURRENCY)

    def fault(at: int) -> tuple[Reason, str] | None:
        if not unreadable[at] and np.isfinite(amounts[at]) and amounts[at] >= 0:
            return None
        return Reason.AMOUNT, f"{file.columns[Role.AMOUNT][at]}"[:80]

    for each in on_ex_dates(file, naming, refusals, fault, is_first=is_first):
        symbol, price = each.symbol, currencies.get(each.symbol)
        currency = _currency(None if written is None else written[each.at].as_py()) or price
        if price is None or currency == price:
            amount = float(amounts[each.at])
            yield Dividend(symbol, each.day, each.close, amount, currency, each.row)
        else:
            told = f"{currency}, and the price is in {price}"
            refusals.add(Refusal(str(file.path), each.row, symbol, Reason.CURRENCY, told))


def _currency(written: object) -> str | None:
    """Return a currency by TradingView's code; None where nothing is written."""
    text = "" if written is None else str(written).strip()
    if text.casefold() in EMPTY_CELLS:
        return None
    return _MINOR_UNITS.get(text) or text.upper()


def price_currencies(lakehouse: Lakehouse, known_at: datetime | None = None) -> dict[str, str]:
    """Return the currency of each symbol's prices, where one was observed; the newest counts."""
    rows = read_symbols(lakehouse, known_at)
    pairs = zip(rows["symbol"].to_pylist(), rows["currency"].to_pylist(), strict=True)
    return {symbol: currency for symbol, currency in pairs if currency}


def later_ratios(lakehouse: Lakehouse, dividends: Iterable[Dividend]) -> dict[Dividend, float]:
    """Return the product of the split ratios after each dividend's session; 1 without one."""
    of_symbol: dict[str, list[Dividend]] = {}
    for each in dividends:
        of_symbol.setdefault(each.symbol, []).append(each)
    if not of_symbol:
        return {}
    splits = {key: ratio for key, ratio in read_recorded(lakehouse).items() if key[0] in of_symbol}
    first = min(each.close for several in of_symbol.values() for each in several)
    symbols = sorted(of_symbol)

    def read() -> dict[tuple[str, int], float]:
        found: dict[tuple[str, int], float] = {}
        parts = list_parts(lakehouse, OHLCV_1D, date_of_day(first // DAY))
        columns = ["symbol", "timestamp", "event_timestamp", "split_ratio"]
        for day in by_date(parts).values():
            rows = read_current_of(day, OHLCV_1D, symbols, columns)
            rows = rows.filter(pa.array(rows["split_ratio"].to_numpy() != 1))
            keys = zip(rows["symbol"].to_pylist(), close_seconds(rows).tolist(), strict=True)
            found.update(zip(keys, rows["split_ratio"].to_pylist(), strict=True))
        return found

    splits |= reading_again(read)
    products = dict.fromkeys((each for several in of_symbol.values() for each in several), 1.0)
    for (symbol, close), ratio in splits.items():
        for each in of_symbol[symbol]:
            if each.close < close:
                products[each] *= ratio
    return products


def as_traded(dividends: Iterable[Dividend], ratios: Mapping[Dividend, float]) -> list[Dividend]:
    """Turn split-adjusted amounts into those that were paid per share on the ex-date."""
    return [replace(each, amount=each.amount * ratios[each]) for each in dividends]


class RecordedDividends(NamedTuple):
    """What was appended of some dividends."""

    parts: list[Part]
    written: int
    restated: int
    """Among the written, those of which another amount or currency was recorded before."""
    new: list[Dividend]
    """The written."""
    overruled: list[Dividend]
    """Those unlike recorded ones that stay."""


def record_dividends(
    lakehouse: Lakehouse,
    dividends: Mapping[Dividend, float],
    source: str,
    now: datetime,
    run_id: str,
    stays: Callable[[str], bool] = lambda _: False,
) -> RecordedDividends:
    """Append the dividends that are not recorded yet; the caller has the lakehouse's lock.

    Parameters
    ----------
    dividends
        Each with the difference from a recorded amount that counts as none.
    stays
        Whether what is recorded of a source stays as it is.
    """
    versions = read_current(list_parts(lakehouse, DIVIDENDS), DIVIDENDS).to_pylist()
    known = {(row["symbol"], row["timestamp"]): row for row in versions}
    rows, new, restated, overruled = [], [], 0, []
    for each, rounding in dividends.items():
        before = known.get((each.symbol, each.close))
        is_alike = before and abs(before["amount"] - each.amount) <= rounding
        if before and is_alike and before["currency"] == each.currency:
            continue
        if before and stays(before["source"]):
            overruled.append(each)
            continue
        restated += before is not None
        new.append(each)
        rows.append(
            {
                "timestamp": each.close,
                "symbol": each.symbol,
                "ex_date": each.ex_date.isoformat(),
                "amount": each.amount,
                "currency": each.currency,
                "event_timestamp": utc(each.close),
                "created_timestamp": created_after(
                    now, before["created_timestamp"] if before else None
                ),
                "source": source,
            }
        )
    parts = append_rows(lakehouse, DIVIDENDS, rows, run_id)
    return RecordedDividends(parts, len(rows), restated, new, overruled)


def read_paid(lakehouse: Lakehouse, first: date, last: date, known_at: datetime | None) -> pa.Table:
    """Read the recorded dividends whose session closed in a range of dates, both included.

    Returns
    -------
    pa.Table
        ``symbol``, ``event_timestamp``, ``amount``; the amount is null where it is in another
        currency than the price.
    """
    columns = ["symbol", "timestamp", "amount", "currency", "event_timestamp"]
    rows = reading_again(
        lambda: read_current(
            list_parts(lakehouse, DIVIDENDS, first, last), DIVIDENDS, columns, known_at=known_at
        )
    )
    prices = price_currencies(lakehouse, known_at)
    is_other = [
        bool(amount and currency and prices.get(symbol, currency) != currency)
        for symbol, _, amount, currency, _ in zip(*rows.to_pydict().values(), strict=True)
    ]
    amounts = pa.array(rows["amount"].to_pylist(), pa.float64(), mask=np.array(is_other, bool))
    return pa.table(
        {
            "symbol": rows["symbol"],
            "event_timestamp": rows["event_timestamp"],
            "amount": amounts,
        }
    )
