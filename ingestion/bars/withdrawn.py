"""Bars that somebody has taken back, so that they are there no more.

A withdrawn bar is a last version of its row whose ``source`` says so, and why. What was recorded
before stays, as of then; a later version with other values puts a bar there again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ingestion.bars.arrays import Bars, Split
from ingestion.bars.pending import Known, read_around, take_effect
from ingestion.bars.refusals import Reason
from ingestion.bars.source import Source
from ingestion.bars.splits import read_recorded
from ingestion.bars.stored_bars import LOOKBACK, NearbyBars
from ingestion.catalog import OHLCV_1D
from ingestion.lakehouse import by_date, list_parts, read_current_of
from ingestion.lakehouse.parts import Part
from ingestion.markets.hours import known_calendar
from ingestion.markets.placing import session_days
from ingestion.markets.sessions import sessions_between
from ingestion.markets.symbols import exchange_of

_EPOCH = date(1970, 1, 1)
_PRICES = ("open", "high", "low", "close")


@dataclass(frozen=True)
class Withdrawn:
    """A stored bar that was taken back."""

    symbol: str
    opens: int
    """Unix s, as is the next."""
    event: int
    prices: Mapping[str, float]
    """Open, high, low and close, as they were."""
    why: str
    created: datetime
    """When it was taken back."""
    reason: ClassVar = Reason.WITHDRAWN
    """Why the same bar is refused when it comes again."""

    def __str__(self) -> str:
        return f"it was withdrawn on {self.created:%Y-%m-%d}: {self.why}"


def as_withdrawn(row: Mapping[str, Any]) -> Withdrawn:
    """Read a row of ``ohlcv_1d`` whose source says that it is withdrawn."""
    return Withdrawn(
        symbol=row["symbol"],
        opens=row["timestamp"],
        event=int(row["event_timestamp"].timestamp()),
        prices={name: row[name] for name in _PRICES},
        why=Source.parse(row["source"]).withdrawn or "",
        created=row["created_timestamp"],
    )


@dataclass(frozen=True)
class KeptSplits:
    """What becomes of the splits that withdrawn bars tell."""

    ahead: list[Split]
    """Those whose session has no other bar: they are to be recorded."""
    ratios: list[Split]
    """The ratios that stored bars get: of the same session, or the next one of their symbol."""


def keep_splits(
    root: Path, rows: Sequence[Mapping[str, Any]], gone: Container[tuple[str, int]]
) -> KeptSplits:
    """Find where the splits go that no other bar of their session tells.

    Parameters
    ----------
    rows
        Of ``ohlcv_1d``: the bars that tell a split and are to be withdrawn.
    gone
        Symbol and open of all bars that are to be withdrawn.
    """
    stored = by_date(list_parts(root, OHLCV_1D))
    ahead, ratios = [], []
    for row in rows:
        symbol, ratio = row["symbol"], row["split_ratio"]
        session, beside = _session(row), _beside(row, stored, gone)
        if not beside:
            ahead.append(Split(symbol, _close(row, session), ratio))
        elif all(other["split_ratio"] == 1 for other in beside):
            ratios.append(Split(symbol, _seconds(beside[0]["event_timestamp"]), ratio))
    return KeptSplits(ahead, [*ratios, *_taken_up(root, ahead, gone)])


def _beside(
    row: Mapping[str, Any], stored: Mapping[date, list[Part]], gone: Container[tuple[str, int]]
) -> list[dict[str, Any]]:
    """Return the other bars of a bar's session."""
    day = row["event_timestamp"].date()
    near = [part for n in (-1, 0, 1) for part in stored.get(day + timedelta(n), [])]
    rows = read_current_of(near, OHLCV_1D, [row["symbol"]]).to_pylist()
    session = _session(row)
    return [
        other
        for other in rows
        if (other["symbol"], other["timestamp"]) not in gone and _session(other) == session
    ]


def _session(row: Mapping[str, Any]) -> int:
    """Return the day of a bar's session, from 1970-01-01."""
    times = (row["timestamp"], _seconds(row["event_timestamp"]))
    opens, closes = (np.array([each], dtype=np.int64) for each in times)
    return int(session_days(row["symbol"], opens, closes)[0])


def _close(row: Mapping[str, Any], session: int) -> int:
    """Return the close of a session, or of the next one on a day without one."""
    day = _EPOCH + timedelta(session)
    if known_calendar(row["symbol"]) is None:
        return _seconds(row["event_timestamp"])
    sessions = sessions_between(exchange_of(row["symbol"]), day, day + LOOKBACK)
    return sessions[0].closes if sessions else _seconds(row["event_timestamp"])


def _taken_up(root: Path, ahead: list[Split], gone: Container[tuple[str, int]]) -> list[Split]:
    """Return the ratios of the stored bars at which splits without a bar take effect now."""
    if not ahead:
        return []
    names = sorted({split.symbol for split in ahead})
    numbers = np.array([names.index(split.symbol) for split in ahead], dtype=np.int32)
    events = np.array([split.event for split in ahead], dtype=np.int64)
    stored = NearbyBars.around(root, numbers, events, names)
    before = read_recorded(root)
    known = Known(names, stored, before, ahead)
    _leave_out(stored, names, gone)
    read_around(stored, Bars.concatenate([]), known)
    _leave_out(stored, names, gone)
    known.waiting_now(ahead)
    return take_effect(Bars.concatenate([]), stored, known, before)[1]


def _leave_out(stored: NearbyBars, names: Sequence[str], gone: Container[tuple[str, int]]) -> None:
    keys = zip(stored.bars.symbol.tolist(), stored.bars.timestamp.tolist(), strict=True)
    stays = np.array([(names[number], opens) not in gone for number, opens in keys], dtype=bool)
    stored.keep(stays)


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())
