"""What is known of bars and waits, or was taken back, so that no value shows it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pyarrow.compute as pc

from ingestion.bars.arrays import Split
from ingestion.bars.held_bars import waiting_bars
from ingestion.bars.other_bars import read_others
from ingestion.bars.splits import ratio_text, splits_without_effect
from ingestion.bars.untraded import is_untraded
from ingestion.base.arrow import from_numpy, text, to_numpy, to_objects, to_rows
from ingestion.base.instants import to_micros
from ingestion.base.reading import reading_again
from ingestion.base.wording import counted, some_of
from ingestion.catalog import OHLCV_1D
from ingestion.catalog.formula import Formula
from ingestion.jobs.audit.lineage import MissingSession
from ingestion.jobs.compute.bars_of_symbol import BarsOfSymbol
from ingestion.lakehouse import (
    Lakehouse,
    is_withdrawn,
    parts_of,
    read_current_of,
)
from ingestion.markets.market_sessions import market_of, sessions_of_market

_NAMED = 10
"""Symbols, or splits, that are named one by one."""
_FEW_BARS = 90
"""So many bars of one symbol are read sooner than all bars of the days that may have holes."""
_ANSWER = "`tvfeast import-bars --splits FILE`, with a ratio of 1 if there was none"


def waiting_for_answers(lakehouse: Lakehouse) -> Iterator[str]:
    """Say which symbols' bars are held back, and which recorded splits no bar shows yet.

    Raises
    ------
    CorruptPart
        If a part cannot be read.
    """
    held = reading_again(lambda: waiting_bars(lakehouse))
    symbols = held["symbol"].unique().to_pylist()
    if symbols:
        be = "is" if held.num_rows == 1 else "are"
        yield (
            f"{counted(held.num_rows, 'bar')} of {counted(len(symbols), 'symbol')} {be} "
            "held back until a suspected "
            f"split is recorded ({_ANSWER}): {some_of(symbols, _NAMED)}"
        )
    splits = reading_again(lambda: splits_without_effect(lakehouse))
    if splits:
        wait = counted(len(splits), "recorded split waits", "recorded splits wait")
        yield (
            f"{wait} for a bar of their session or a later one: "
            f"{some_of([f'{split.symbol} {_told(split)}' for split in splits], _NAMED)}"
        )


def notes_on_bars(
    lakehouse: Lakehouse, symbol: str, event: datetime, as_of: datetime
) -> Iterator[str]:
    """Say what a value of a symbol does not show.

    Parameters
    ----------
    event
        Close of the value's bar.
    as_of
        What is later than that does not matter.
    """
    yield from _left_out(lakehouse, symbol, event)
    yield from _of_other_sources(lakehouse, symbol, event)
    held = waiting_bars(lakehouse)
    held = held.filter(pc.equal(held["symbol"], text(symbol)))
    closes = [each for each in to_objects(held["event_timestamp"]) if each <= as_of]
    if closes:
        be = "is" if len(closes) == 1 else "are"
        yield (
            f"{counted(len(closes), 'bar')} since, from {min(closes):%Y-%m-%d} on, {be} "
            "held back until a "
            f"suspected split is recorded: {_ANSWER}"
        )
    for split in splits_without_effect(lakehouse):
        if split.symbol == symbol and split.event <= as_of.timestamp():
            yield f"a split of {_told(split)} is recorded, and waits for a bar to take effect at"


def _left_out(lakehouse: Lakehouse, symbol: str, event: datetime) -> Iterator[str]:
    """Say why formulas do not count the bar that closed then, if they do not."""
    of_day = parts_of(lakehouse, OHLCV_1D, event.date())
    rows = read_current_of(of_day, OHLCV_1D, [symbol], withdrawn=True)
    # To compare with a datetime would import pandas.
    rows = rows.filter(from_numpy(to_numpy(rows["event_timestamp"]) == to_micros(event)))
    gone = rows.filter(is_withdrawn(rows))
    if not len(gone) and len(rows) and is_untraded(rows).all():
        yield "nothing was traded in the bar that closed then: these are values of the bar before"
    elif len(gone) and len(gone) == len(rows):
        from ingestion.bars.stored_bars import as_withdrawn  # few rows need it

        last = max(map(as_withdrawn, to_rows(gone)), key=lambda each: each.created)
        yield (
            f"the bar that closed then was withdrawn on {last.created:%Y-%m-%d}: {last.why}; these "
            "are the values of the bar before"
        )


def _of_other_sources(lakehouse: Lakehouse, symbol: str, event: datetime) -> Iterator[str]:
    for row in to_rows(read_others(lakehouse, event.date(), event.date(), [symbol])):
        if row["event_timestamp"] == event:
            yield (
                f"{row['name']} has a bar of this session too, which does not count: close "
                f"{row['close']:g}, volume {row['volume']:g}; see `tvfeast compare-sources`"
            )


def _told(split: Split) -> str:
    return f"{ratio_text(split.ratio)} on {datetime.fromtimestamp(split.event, UTC):%Y-%m-%d}"


def missing_in_window(
    lakehouse: Lakehouse,
    symbol: str,
    formula: Formula,
    event: datetime,
    now: datetime,
    own: BarsOfSymbol,
) -> tuple[MissingSession, ...]:
    """Return the sessions that a symbol lacks among those that a formula's value spans.

    Parameters
    ----------
    event
        Close of the value's bar.
    own
        The symbol's bars up to its date.
    """
    if (market := market_of(symbol)) is None:  # nobody knows its sessions
        return ()
    bars: list[datetime] = []
    if isinstance(formula.look_back, int) and formula.look_back <= _FEW_BARS:
        bars = _bars_back(own, formula, event)
        if _has_each_session(market, bars):
            return ()
    from ingestion.bars.holes import read_accepted  # few windows need them
    from ingestion.jobs.ingest.missing_sessions import find_holes

    accepted = {
        each.closes: MissingSession(each.session, f"{each.accepted_at:%Y-%m-%d}: {each.reason}")
        for each in read_accepted(lakehouse)
        if each.market == market
    }
    missing = accepted | {
        int(each.closes.timestamp()): MissingSession(each.session, None)
        for each in find_holes(lakehouse, now).open
        if each.market == market
    }
    if not missing:
        return ()
    bars = bars or _bars_back(own, formula, event)
    first, stored = bars[-1], {int(each.timestamp()) for each in bars}
    return tuple(
        session
        for closes, session in sorted(missing.items())
        if first.timestamp() < closes < event.timestamp() and closes not in stored
    )


def _has_each_session(market: str, bars: list[datetime]) -> bool:
    """Return whether bars, the newest first, are of all sessions from the first to the last."""
    first, last = bars[-1], bars[0]
    closes = sessions_of_market(market, first.date(), last.date()).closes
    inside = closes[(closes > first.timestamp()) & (closes < last.timestamp())]
    return {int(each.timestamp()) for each in bars}.issuperset(inside.tolist())


def _bars_back(own: BarsOfSymbol, formula: Formula, event: datetime) -> list[datetime]:
    """Return the closes of the bars that a formula reads, the newest first."""
    back = formula.look_back
    found = [event]
    for bar in own.back_from(event):
        if isinstance(back, timedelta) and found[-1] < event - back:
            break
        if isinstance(back, int) and len(found) > back:
            break
        if bar.close < found[-1]:
            found.append(bar.close)
    return found
