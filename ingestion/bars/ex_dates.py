"""Rows of files that say what happens to a symbol on an ex-date: splits, dividends."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from datetime import date
from typing import NamedTuple, TypeVar

from ingestion.bars.bar_reader import name_rows
from ingestion.bars.cells import Kind
from ingestion.bars.header import Role
from ingestion.bars.placing import NO_CLOSE, next_session, place_times, why_no_place
from ingestion.bars.reading import VendorFile
from ingestion.bars.refusals import Reason, Refusal, Refusals
from ingestion.bars.vendor_symbols import Naming
from ingestion.base.instants import date_of_day, day_of_date

RowT = TypeVar("RowT")


class OnExDate(NamedTuple):
    """A row, and the session from whose open on it is in force."""

    at: int
    """Its place among the rows."""
    row: int
    """Its number in the file."""
    symbol: str
    close: int
    """Close of the session, Unix seconds."""
    day: date
    """The session's date: the next one's where the exchange has none on the ex-date."""


def on_ex_dates(
    file: VendorFile,
    naming: Naming,
    refusals: Refusals,
    fault: Callable[[int], tuple[Reason, str] | None],
    *,
    is_first: bool,
) -> Iterator[OnExDate]:
    """Yield the rows that have a symbol and a session, and refuse the others.

    Parameters
    ----------
    fault
        What is wrong with the value of the row at some place; None if nothing is.
    """
    named, which = name_rows(file, naming, refusals, is_first=is_first)
    times = file.times()
    _, closes = place_times(times, [each.symbol for each in named], which)
    for at, row in enumerate(file.rows.tolist()):
        name = named[which[at]]
        symbol, close, day = name.symbol, int(closes[at]), int(times.days[at])
        if symbol is not None and close == NO_CLOSE and (later := next_session(times, at, symbol)):
            close, day = later.closes, day_of_date(later.label)
        if symbol is None:
            reason, detail = name.reason, name.problem
        elif times.kinds[at] == Kind.UNREADABLE:
            reason, detail = Reason.TIME, f"{file.columns[Role.TIME][at]}"[:80]
        elif (found := fault(at)) is not None:
            reason, detail = found
        elif close == NO_CLOSE:
            text = str(file.columns[Role.TIME][at])[:80]
            reason, detail = Reason.SESSION, f"{text}: {why_no_place(times, at, symbol)}"
        else:
            yield OnExDate(at, row, symbol, close, date_of_day(day))
            continue
        refusals.add(Refusal(str(file.path), row, symbol or "", reason, detail))


def undisputed(
    found: Iterable[list[RowT]],
    value: Callable[[RowT], Hashable],
    refuse: Callable[[RowT], None],
) -> tuple[list[RowT], int]:
    """Return one row per symbol and session, and how many others repeat one.

    Parameters
    ----------
    found
        All rows of each symbol and session.
    value
        What they must agree on.
    refuse
        Takes each row of a symbol and session whose rows do not agree.
    """
    kept: list[RowT] = []
    repeated = 0
    for rows in found:
        if len(set(map(value, rows))) > 1:
            for each in rows:
                refuse(each)
        else:
            kept.append(rows[0])
            repeated += len(rows) - 1
    return kept, repeated
