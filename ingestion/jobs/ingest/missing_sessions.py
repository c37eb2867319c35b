"""The sessions that the lakehouse lacks now, and accepting one of them.

:func:`find_holes` looks among the bars of the last 90 days; the receipt of ``local-features`` has
what that job found earlier, when it read all bars. The newest session of a market is missing once
it is later than its bars have come after any of the last five closes, if somebody still asks for
that market.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingestion.bars.attendance import Attendance, Hole
from ingestion.bars.holes import Accepted, OpenHoles, open_holes, read_accepted, record_accepted
from ingestion.bars.kept_days import BarsOfDay
from ingestion.bars.recent_bars import RecentBars
from ingestion.base import clock
from ingestion.base.clock import parse_instant
from ingestion.base.errors import GateRefused, InputError
from ingestion.base.instants import MICROSECONDS, from_micros, utc
from ingestion.base.ordered import distinct
from ingestion.base.reading import reading_again
from ingestion.base.wording import counted, some_of
from ingestion.jobs.compute.definitions import LOCAL_FEATURES_FILE
from ingestion.jobs.profiles import FLOW_FILE, known_profiles
from ingestion.lakehouse import (
    Lakehouse,
    RunFile,
    run_file,
)
from ingestion.markets.exchanges import CALENDARS
from ingestion.markets.market_sessions import has_known_hours, market_of
from ingestion.markets.sessions import sessions_between
from ingestion.markets.universe import Universe, read_universe
from ingestion.project import Project
from ingestion.runs.receipt_file import is_done, newest_receipt, receipt_told, receipts_told
from ingestion.runs.run import Run

DATA_INGEST_FILE = "data_ingest.json"


def markets_asked_for(
    lakehouse: Lakehouse, markets: AbstractSet[str], since: datetime
) -> AbstractSet[str]:
    """Return those of some markets that somebody still asks for.

    Of each flow, and of each candidates file outside of flows, the newest run counts: a market that
    was taken out of the candidates is asked for no more. Flows that are forgotten do not count.

    Parameters
    ----------
    markets
        Exchange codes.
    since
        Earlier runs do not count; if there are no others, all markets are asked for.
    """

    def read(receipt: dict[str, Any]) -> tuple[str, datetime, Universe]:
        universe = read_universe(receipt["request"]["source"])
        return receipt["run_id"], parse_instant(receipt["started"]), universe

    profiles = known_profiles(lakehouse, lambda _: None)
    seen: set[tuple[bool, str]] = set()
    found: set[str | None] = set()
    for run_id, started, universe in receipts_told(
        lakehouse, DATA_INGEST_FILE, read, lambda _: None
    ):
        if started < since or found >= markets:
            break
        profile = None
        if (file := run_file(lakehouse, run_id, FLOW_FILE)).exists():
            profile = receipt_told(file, lambda receipt: str(receipt["profile"]), lambda _: None)
        key = profile is not None, profile or universe.profile
        if key in seen:
            continue
        seen.add(key)
        if profile is None or profile in profiles:
            found |= markets if universe.symbols is None else set(map(market_of, universe.symbols))
    return markets & found if seen else markets


LOOKBACK = timedelta(days=90)
"""How far back bars are read to find holes."""
RECEIPT_FILE = "accept_hole.json"
_SESSIONS = 5
"""Sessions that show how long after the close a market's bars come."""
_GRACE = timedelta(hours=1)
"""How much later than usual bars may come: a flow takes longer on one day than on another."""
_NAMED = 10
"""Sessions that are listed one by one."""
_DAY = timedelta(days=1)
_NO_MARKET = -1


@dataclass(frozen=True)
class MissingSession:
    """A session of a market without bars."""

    market: str
    session: date
    closes: datetime
    symbols: int
    """How many lack the bar."""

    def __str__(self) -> str:
        symbols = counted(self.symbols, "symbol")
        return (
            f"{self.market} {self.session} is missing for {symbols}: import its bars (`tvfeast "
            "import-bars`), or accept that there are none (`tvfeast accept-hole "
            f"{self.market} {self.session} --reason TEXT`)"
        )


@dataclass(frozen=True)
class Holes:
    """What the lakehouse lacks, and what is known to be missing."""

    open: tuple[MissingSession, ...]
    """In the order of the sessions."""
    accepted: tuple[Accepted, ...]
    imported_until: dict[str, date]
    """By market whose bars came by import alone, its last session."""


def find_holes(lakehouse: Lakehouse, at: datetime, bars: RecentBars | None = None) -> Holes:
    """Look for sessions that are missing now.

    Parameters
    ----------
    bars
        Those of the last 90 days at least, if the caller has read them.

    Raises
    ------
    CorruptPart
        If a part of the last 90 days cannot be read.
    """
    return _find(lakehouse, at, _Recent.look(lakehouse, at, bars))


def _find(lakehouse: Lakehouse, at: datetime, recent: _Recent) -> Holes:
    accepted = read_accepted(lakehouse)
    known = {(each.market, each.session) for each in accepted}
    holes = reading_again(lambda: open_holes(lakehouse, recent.attendance))
    since = (at - LOOKBACK).timestamp()
    found = [
        *(_missing_session(hole) for hole in holes.of_markets),
        *_of_symbols(holes),
        *recent.overdue(lakehouse, at),
        *(
            _missing_session(hole)
            for hole in known_holes(lakehouse).of_markets
            if hole.closes < since
        ),
    ]
    of_session: dict[tuple[str, date], MissingSession] = {}
    for each in found:
        if (each.market, each.session) not in known:
            of_session.setdefault((each.market, each.session), each)
    return Holes(
        open=tuple(sorted(of_session.values(), key=lambda hole: (hole.closes, hole.market))),
        accepted=tuple(accepted),
        imported_until={
            market: last
            for market, last in recent.attendance.markets.items()
            if market not in recent.lags
        },
    )


def hole_messages(holes: Iterable[MissingSession]) -> list[str]:
    """Return a message per missing session, the newest first, each with what to do."""
    newest = list(holes)[::-1]
    more = len(newest) - _NAMED
    rest = (
        f"and {counted(more, 'earlier session is', 'earlier sessions are')} missing: "
        "`tvfeast status --json` lists them"
    )
    return [*map(str, newest[:_NAMED]), *([rest] if more > 0 else [])]


def refuse_if_missing(holes: Sequence[MissingSession]) -> None:
    """Say that sessions are missing; what came was published.

    Raises
    ------
    GateRefused
        If any is.
    """
    if holes:
        raise GateRefused(some_of(holes[::-1]))


@dataclass(frozen=True)
class AcceptedHoles:
    """What was accepted."""

    run_id: str
    reason: str
    sessions: tuple[MissingSession, ...]
    receipt: RunFile


def accept_hole(
    project: Project, market: str, first: date, last: date | None, reason: str
) -> AcceptedHoles:
    """Accept that a market has no bars of a session.

    Parameters
    ----------
    market
        Exchange code; the name of a calendar for all exchanges that keep it.
    first, last
        Local dates of the first and last session, both included; one session if there is no last.

    Raises
    ------
    InputError
        If there is no reason, or the market lacks no such session.
    LakehouseLocked
        If another run is writing.
    """
    if not reason.strip():
        raise InputError("accept-hole needs a --reason: why there are no bars, and who says so")
    last = last or first
    if first > last:
        raise InputError(f"the first session, {first}, is after the last, {last}")
    lakehouse = project.lakehouse
    request = {"market": market, "first": first, "last": last, "reason": reason}
    with Run.open(project, "accept-hole", request, file=RECEIPT_FILE) as run:
        now = clock.now()
        recent = _Recent.look(lakehouse, now)
        # Sessions after the market's last bar count too, however early it is to ask.
        just_closed = recent.after_the_last(now, lambda _: timedelta(0))
        open_now = [*_find(lakehouse, now, recent).open, *just_closed]
        wanted = {
            (each.session, each.market): each
            for each in open_now
            if market in (each.market, CALENDARS.get(each.market)) and first <= each.session <= last
        }
        if not wanted:
            raise InputError(_nothing_open(market, first, last, open_now))
        chosen = tuple(wanted[key] for key in sorted(wanted))
        sessions = [(each.market, each.session, int(each.closes.timestamp())) for each in chosen]
        record_accepted(lakehouse, sessions, reason, now, run.id)
        run.tell(sessions=chosen)
    return AcceptedHoles(run.id, reason, chosen, run.receipt)


def _nothing_open(market: str, first: date, last: date, open_now: list[MissingSession]) -> str:
    span = str(first) if first == last else f"from {first} to {last}"
    others = [f"{each.market} {each.session}" for each in open_now]
    listed = ", ".join(others[-_NAMED:]) or "none"
    return (
        f"{market} lacks no session {span} that is not accepted already; open are: {listed}. Older "
        "ones are known once `tvfeast local-features` has read all bars"
    )


def _missing_session(hole: Hole) -> MissingSession:
    closes = utc(hole.closes)
    return MissingSession(hole.market, hole.session, closes, hole.symbols)


def _of_symbols(holes: OpenHoles) -> list[MissingSession]:
    """Return the sessions that single symbols have missed."""
    found: dict[tuple[str, date], MissingSession] = {}
    for _, hole in holes.of_symbols:
        key = hole.market, hole.session
        before = found.get(key, replace(_missing_session(hole), symbols=0))
        found[key] = replace(before, symbols=before.symbols + 1)
    return list(found.values())


def known_holes(lakehouse: Lakehouse) -> OpenHoles:
    """Return the holes that the newest finished run over all bars has found."""

    def read(receipt: dict[str, Any]) -> OpenHoles | None:
        if not is_done(receipt) or "holes" not in receipt:
            return None
        return OpenHoles.of_document(receipt["holes"])

    return newest_receipt(lakehouse, LOCAL_FEATURES_FILE, read, lambda _: None) or OpenHoles(())


@dataclass
class _Recent:
    """The bars of the last 90 days."""

    attendance: Attendance
    lags: dict[str, dict[datetime, timedelta]]
    """By market and close, how long after it the scanner's first bar was stored."""
    symbols: dict[str, dict[datetime, int]]
    """By market and close, the number of stored bars."""

    @classmethod
    def look(cls, lakehouse: Lakehouse, at: datetime, bars: RecentBars | None = None) -> _Recent:
        first, last = (at - LOOKBACK).date(), at.date()
        bars = bars or RecentBars.read(lakehouse, first, last)
        recent = cls(Attendance(first, last), {}, {})
        markets = sorted(each for each in set(bars.exchanges) if has_known_hours(each))
        numbers = {market: number for number, market in enumerate(markets)}
        market = np.array([numbers.get(each, _NO_MARKET) for each in bars.exchanges], np.int32)
        for each in bars.days:
            if first <= each.day <= last:
                closes = each.close // MICROSECONDS
                recent.attendance.add(each.symbol, closes, bars.names)
                recent._note_lags(each, market[each.symbol], markets)
        return recent

    def _note_lags(
        self, bars: BarsOfDay, market: NDArray[np.int32], markets: Sequence[str]
    ) -> None:
        """Note how many bars of each market there are, and how long after the close they came."""
        for number, name in enumerate(markets):
            own = market == number
            for key in distinct(bars.close[own] * 2 + bars.is_scanned[own]).tolist():
                close, is_scanned = key >> 1, bool(key & 1)
                those = own & (bars.close == close) & (bars.is_scanned == is_scanned)
                instant = from_micros(close)
                count = int(np.count_nonzero(np.bincount(bars.symbol[those])))
                counts = self.symbols.setdefault(name, {})
                counts[instant] = max(count, counts.get(instant, 0))
                if is_scanned:
                    created = from_micros(int(bars.created[those].min()))
                    self.lags.setdefault(name, {})[instant] = created - instant

    def overdue(self, lakehouse: Lakehouse, at: datetime) -> list[MissingSession]:
        """Return the sessions after a market's last one whose bars should have come.

        Only markets that somebody still asks for count.
        """

        def usual(market: str) -> timedelta:
            lags = self.lags[market]
            return max(lags[close] for close in sorted(lags)[-_SESSIONS:]) + _GRACE

        late = self.after_the_last(at, usual)
        asked = markets_asked_for(lakehouse, {each.market for each in late}, at - LOOKBACK)
        return [each for each in late if each.market in asked]

    def after_the_last(
        self, at: datetime, delay: Callable[[str], timedelta]
    ) -> list[MissingSession]:
        """Return the sessions after each market's last one that closed long enough ago.

        Only markets with sessions count: the scanner brings them each day. Dealers and markets that
        never close show the running bar.
        """
        found = []
        for market, last in self.attendance.markets.items():
            if market not in self.lags or market not in CALENDARS:
                continue
            newest = self.symbols[market][max(self.symbols[market])]
            for session in sessions_between(market, last + _DAY, at.date() + _DAY):
                closes = utc(session.closes)
                if closes + delay(market) <= at and not session.is_assumed:
                    found.append(MissingSession(market, session.label, closes, newest))
        return found
