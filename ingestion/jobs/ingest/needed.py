"""Of which symbols a run needs a row of a group: those that are due, and have none of late.

A symbol was asked for if it has a row, or if it was among the symbols of a published snapshot: it
may be one that the scanner does not know, and would be asked for in each run otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, NamedTuple

from ingestion.base import clock
from ingestion.base.clock import parse_instant
from ingestion.catalog import Cadence, FeatureGroup
from ingestion.lakehouse import Lakehouse, newest_between
from ingestion.markets.due import Due
from ingestion.markets.universe import Market, Universe, read_universe
from ingestion.runs.receipt_file import (
    NOTHING,
    PUBLISH,
    ended_before,
    is_done,
    is_of_group,
    receipts_told,
    snapshot_file,
)


class NotDue(Exception):
    """A group is not worth asking for any symbol of a run; ``str()`` says why."""


@dataclass(frozen=True)
class Needed:
    """What a run needs no row of, of one group; judged once per run."""

    recent: frozenset[str] = frozenset()
    """Symbols with a row that leaves nothing to ask for yet: they are covered."""
    settled: frozenset[str] = frozenset()
    """Symbols without such a row that were asked for of late: no answer is missing."""
    due: Due | None = None
    """What the group's cadence says; None if it says nothing."""
    is_asked: bool = True
    """Whether any symbol of the run is to be asked for."""

    @classmethod
    def of(
        cls, lakehouse: Lakehouse, group: FeatureGroup, universe: Universe, window: timedelta | None
    ) -> Needed:
        """Return what a run about a universe needs now.

        Parameters
        ----------
        window
            The resume window, of groups that each run asks for; None to ask for everything.
        """
        if window is None:
            return cls()
        now = clock.now()
        resumed = _inside(lakehouse, group, now, window)
        if group.is_asked_always:
            return cls(resumed)
        due, symbols = Due(group, now), universe.symbols
        since = due.looks_back(symbols)
        newest = newest_between(lakehouse, group, since, int((now + window).timestamp()))
        told = _asked_since(lakehouse, group, since)
        asked = {symbol: each.at for each in reversed(told) for symbol in each.symbols}
        asked = {symbol: max(at, newest.get(symbol, at)) for symbol, at in asked.items()}
        recent = frozenset(s for s in due.recent(newest) if not due.waits(s))
        if group.cadence is Cadence.EACH_RUN:
            recent |= resumed
        settled = due.recent(asked) - recent
        if symbols is not None:
            idle = recent | settled
            return cls(
                recent, settled, due, any(s not in idle and not due.waits(s) for s in symbols)
            )
        whole = max((each.at for each in told if each.market == universe), default=None)
        is_asked = whole is None or any(
            due.is_due(symbol, max(whole, newest.get(symbol, whole))) for symbol in ("", *newest)
        )
        return cls(recent, settled, due, is_asked)

    def idle(self, symbols: Iterable[str]) -> frozenset[str]:
        """Return those of some symbols that are not asked for, and are not missing without a row.

        Their market's hours forbid the question, or they were asked for of late.
        """
        waiting = self.due and frozenset(s for s in symbols if self.due and self.due.waits(s))
        return (self.settled.intersection(symbols) | (waiting or frozenset())) - self.recent


def _inside(
    lakehouse: Lakehouse, group: FeatureGroup, now: datetime, window: timedelta
) -> frozenset[str]:
    """Return the symbols that have a row inside the resume window.

    The window reaches forward too: after a clock was set back a little, a retry still finds the
    rows of the run that it completes.
    """
    if not window:
        return frozenset()
    at, reach = now.timestamp(), window.total_seconds()
    newest = newest_between(lakehouse, group, int(at - reach), int(at + reach) + 1)
    return frozenset(symbol for symbol, second in newest.items() if abs(at - second) < reach)


class _Asked(NamedTuple):
    """What a published snapshot was of."""

    at: int
    market: Market | None
    symbols: tuple[str, ...]
    """Those whose answer came, a row or none."""


def _asked_since(lakehouse: Lakehouse, group: FeatureGroup, since: int) -> list[_Asked]:
    """Return the snapshots of a group since a second, the newest first."""

    def read(receipt: dict[str, Any]) -> _Asked | None:
        if ended_before(receipt, "verdict") or not is_of_group(receipt, group):
            return None
        if receipt["verdict"] not in (PUBLISH, NOTHING) or not is_done(receipt):
            return None
        if receipt.get("not_due"):  # it does not say of which symbols
            return None
        universe, failed = read_universe(receipt["request"]["source"]), receipt["failed_symbols"]
        market = universe if isinstance(universe, Market) else None
        symbols = tuple(each for each in universe.symbols or () if each not in failed)
        at = int(parse_instant(receipt["known_at"]).timestamp())
        return _Asked(at, market, symbols)

    told = receipts_told(lakehouse, snapshot_file(group), read)
    return list(takewhile(lambda each: each.at >= since, told))
