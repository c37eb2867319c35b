"""The verdict, and how fresh and complete everything is, as ``tvfeast status`` finds it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ingestion.base.wording import some_of
from ingestion.catalog import Catalog
from ingestion.jobs.audit.status import Demand, GroupStatus, StatusReport
from ingestion.markets.hours import hours_of_exchange
from ingestion.markets.sessions import sessions_between
from ingestion.markets.symbols import exchange_of
from ingestion.report.contents import (
    Cell,
    Mark,
    Note,
    Plot,
    Row,
    Section,
    Small,
    Table,
    Tile,
    Verdict,
)
from ingestion.report.formats import age, count, counted, day, instant, share

_MOST = 6


def verdict(
    catalog: Catalog, found: StatusReport, late: list[LateMarket], unread: Sequence[str] = ()
) -> Verdict:
    """Answer whether today's rows may be traded on.

    No, if what the selection reads is refused, too old or not served, or if each flow has failed or
    did not run: then rows are of an earlier day. With care, if a limit is passed elsewhere, one of
    several flows has failed, a market is late, or files of earlier rows cannot be read.

    Parameters
    ----------
    unread
        What is said of the files that cannot be read.
    """
    reading = set(catalog.default_service("selection").groups)
    against = list(_against(found, reading))
    others = [each for each in found.problems if each not in against]
    if found.load is None:
        against.append("nothing is served yet: run `tvfeast materialize`")
    care = [*unread, *(str(each) for each in late), *others, *found.warnings]
    reasons = list(dict.fromkeys([*against, *care]))
    stopped = [each.problem for each in found.profiles if each.problem]
    if stopped and len(stopped) == len(found.profiles):  # then nothing is of today
        against += [each for each in stopped if each not in against]
    if late and len(late) == sum(not each.is_imported for each in found.bars.markets):
        against += map(str, late)
    if against:
        answer, mark = "No: not on today’s rows.", Mark.BAD
    elif late:
        answer, mark = f"Yes, but not in {some_of([e.market for e in late], 3)}.", Mark.CARE
    elif care:
        answer, mark = "Yes, with care: not everything is as it should be.", Mark.CARE
    else:
        answer, mark = "Yes: everything is fresh, complete and served.", Mark.GOOD
    return Verdict(answer, mark, _first(reasons), list(_tiles(catalog, found, late)))


def no_verdict(unread: Sequence[str]) -> Verdict:
    """Answer no, as a file that says how fresh everything is cannot be read."""
    return Verdict("No: a file of the newest rows cannot be read.", Mark.BAD, _first(unread), [])


def untold(key: str, title: str, unread: Sequence[str]) -> Section:
    """Return a section without its figures, as a file that has them cannot be read."""
    body = [Note(each, Mark.BAD) for each in _first(unread)]
    return Section(key, title, "A file that it needs cannot be read.", body, "tvfeast verify")


def _first(reasons: Sequence[str]) -> list[str]:
    shown = list(reasons[:_MOST])
    if len(reasons) > _MOST:
        shown.append(f"and {len(reasons) - _MOST} more: `tvfeast status`, `tvfeast verify`")
    return shown


def _against(found: StatusReport, reading: set[str]) -> Iterator[str]:
    for each in found.unpromoted:
        if each.group in reading and str(each) in found.problems:
            yield str(each)
    for problem in found.problems:
        words = problem.replace(":", " ").replace(",", " ").split()
        if any(name in words for name in reading) or "online" in words:
            yield problem


def _tiles(catalog: Catalog, found: StatusReport, late: list[LateMarket]) -> Iterator[Tile]:
    pulse = next((each for each in found.groups if each.view == catalog.pulse.name), None)
    if pulse is not None:
        is_old = pulse.age is None or pulse.age > pulse.max_age
        yield Tile(
            "newest snapshot",
            f"{age(pulse.age)} old" if pulse.age is not None else "none",
            f"{instant(pulse.newest)}; limit {age(pulse.max_age)}",
            Mark.BAD if is_old else Mark.GOOD,
            "tvfeast status",
        )
        fresh = pulse.asked - len(pulse.stale) - len(pulse.missing)
        yield Tile(
            "fresh symbols",
            f"{fresh:,} of {pulse.asked:,}",
            f"{len(pulse.stale):,} stale, {len(pulse.missing):,} missing",
            Mark.GOOD if fresh == pulse.asked else Mark.CARE,
            "tvfeast status --json",
        )
    refused = {each.group for each in found.unpromoted}
    yield Tile(
        "groups passed",
        f"{len(found.groups) - len(refused)} of {len(found.groups)}",
        f"refused: {', '.join(sorted(refused))}" if refused else "none is refused",
        Mark.BAD if refused else Mark.GOOD,
        "tvfeast validate",
    )
    yield Tile(
        "served",
        f"{age(found.load.age)} ago" if found.load else "nothing",
        f"loaded as of {instant(found.load.until)}" if found.load else "",
        Mark.GOOD if found.load else Mark.BAD,
        "tvfeast verify --online",
    )
    yield Tile(
        "late markets",
        count(len(late)),
        ", ".join(each.market for each in late[:4]) or "every market’s last session is there",
        Mark.CARE if late else Mark.GOOD,
        "tvfeast status",
    )


@dataclass(frozen=True)
class LateMarket:
    """A market whose newest bar is not of its last session."""

    market: str
    expected: datetime
    """Close of its last session."""
    newest: datetime
    """Close of its newest bar."""
    sessions: int
    """How many it is behind."""

    def __str__(self) -> str:
        return (
            f"{self.market} is late: its newest bar closed at {instant(self.newest)}, and its last "
            f"session at {instant(self.expected)} ({counted(self.sessions, 'session')} behind): "
            "run its flow again (`tvfeast flow-data`), or import its bars (`tvfeast import-bars`)"
        )


def late_markets(found: StatusReport) -> list[LateMarket]:
    """Return the markets whose last closed session has no bar yet, though somebody fetches them."""
    late = []
    for each in found.bars.markets:
        delay = hours_of_exchange(each.exchange).finality_delay
        until = found.at.timestamp() - delay
        since = each.newest.date() - timedelta(days=2)
        if each.is_imported or (found.at.date() - since).days > 400:
            continue
        closes = [
            session.closes
            for session in sessions_between(each.exchange, since, found.at.date())
            if each.newest.timestamp() < session.closes <= until
        ]
        if closes:
            expected = datetime.fromtimestamp(closes[-1], UTC)
            late.append(LateMarket(each.exchange, expected, each.newest, len(closes)))
    return late


def freshness_section(found: StatusReport, late: list[LateMarket]) -> Section:
    """Return tables of how fresh everything is by group, market, flow and universe."""
    fresh = sum(not each.stale and not each.missing for each in found.groups)
    lead = f"{fresh} of {counted(len(found.groups), 'group')} have a fresh row of every symbol" + (
        f"; {counted(len(late), 'market')} late: {', '.join(each.market for each in late[:5])}."
        if late
        else "; every market’s last session is there."
    )
    body: list[Table | Plot | Note | Small] = [_groups(found), _markets(found, late)]
    if found.profiles:
        body.append(_flows(found))
    universes = next((each.document for each in found.sections if each.name == "universes"), None)
    if isinstance(universes, (list, tuple)) and universes:
        rows: list[Row] = [
            [each.name, count(each.members), instant(each.answered), instant(each.known_until)]
            for each in universes
        ]
        head = ("universe", "members", "last complete answer", "known until")
        body.append(Table("By universe", head, rows, frozenset({1}), "tvfeast universe list"))
    return Section("fresh", "Fresh and complete", lead, body, "tvfeast status")


def _groups(found: StatusReport) -> Table:
    refused = {each.group for each in found.unpromoted}
    rows: list[Row] = [
        [Cell(each.view, is_code=True), *_group(each), count(len(each.stale)),
         count(len(each.missing)), count(each.quarantined),
         Cell("refused", Mark.BAD) if each.view in refused else Cell("passed", Mark.GOOD)]
        for each in found.groups
    ]  # fmt: skip
    head = ("group", "newest row", "age", "limit", "coverage", "symbols", "stale", "missing",
            "quarantined", "gate")  # fmt: skip
    return Table("By group", head, rows, frozenset(range(2, 9)), "tvfeast validate")


def _group(each: GroupStatus) -> list[str | Cell]:
    is_old = each.age is None or each.age > each.max_age
    return [
        instant(each.newest),
        Cell(age(each.age), Mark.BAD if is_old else Mark.NONE),
        age(each.max_age),
        share(each.coverage),
        count(each.asked),
    ]


def _markets(found: StatusReport, late: list[LateMarket]) -> Table:
    behind = {each.market: each for each in late}
    asked: dict[str, set[str]] = {}
    old: dict[str, set[str]] = {}
    for demand in found.demands:
        _count(demand, asked, old)
    with_bars: dict[str, int] = {}
    for symbol in found.bars.newest:
        with_bars[exchange_of(symbol)] = with_bars.get(exchange_of(symbol), 0) + 1
    bars = {each.exchange: each for each in found.bars.markets}
    rows: list[Row] = []
    for market in sorted({*asked, *bars}, key=lambda name: (name not in behind, name)):
        own, there = bars.get(market), behind.get(market)
        state = (
            Cell(f"{counted(there.sessions, 'session')} behind", Mark.CARE)
            if there
            else Cell("imported only")
            if own and own.is_imported
            else Cell("up to date", Mark.GOOD)
            if own
            else Cell("no bars", Mark.CARE)
        )
        rows.append([
            market, count(len(asked.get(market, ()))),
            count(len(asked.get(market, set()) - old.get(market, set()))),
            count(with_bars.get(market, 0)), instant(own.newest) if own else "–", state,
        ])  # fmt: skip
    head = ("market", "symbols asked", "fresh", "with bars", "newest bar’s close", "bars")
    return Table("By market", head, rows, frozenset({1, 2, 3}), "tvfeast status")


def _count(demand: Demand, asked: dict[str, set[str]], old: dict[str, set[str]]) -> None:
    for symbol in demand.wanted:
        asked.setdefault(exchange_of(symbol), set()).add(symbol)
    for symbol in (*demand.stale, *demand.missing):
        old.setdefault(exchange_of(symbol), set()).add(symbol)


def _flows(found: StatusReport) -> Table:
    rows: list[Row] = [
        [
            each.name,
            count(each.symbols),
            instant(each.started),
            age(each.every) if each.every else "–",
            Cell(str(each.state), Mark.GOOD if str(each.state) == "done" else Mark.BAD),
            each.reason or "–",
        ]
        for each in found.profiles
    ]
    head = ("flow", "symbols", "started", "every", "state", "reason")
    return Table("By flow", head, rows, frozenset({1}), "tvfeast status")


def gaps_section(found: StatusReport) -> Section:
    """Return the sessions that have no bars, and the symbols that have none at all."""
    holes = next((each.document for each in found.sections if each.name == "holes"), None)
    missing = list(getattr(holes, "open", ()))
    accepted = list(getattr(holes, "accepted", ()))
    rows: list[Row] = [
        [each.market, day(each.session), instant(each.closes), count(each.symbols)]
        for each in reversed(missing)
    ]
    body: list[Table | Plot | Note | Small] = []
    if rows:
        head = ("market", "session", "its close", "symbols without the bar")
        command = "tvfeast accept-hole MARKET SESSION --reason TEXT"
        body.append(Table("Sessions without bars", head, rows[:30], frozenset({3}), command))
    if accepted:
        told: list[Row] = [[e.market, day(e.session), e.reason] for e in accepted[-30:]]
        body.append(Table("Accepted as missing", ("market", "session", "why"), told))
    if found.without_bars:
        lines: list[Row] = [
            [market, count(len(symbols)), ", ".join(symbols[:8]) + " …" * (len(symbols) > 8)]
            for market, symbols in found.without_bars.items()
        ]
        body.append(
            Table(
                "Symbols that are served and have no bar",
                ("market", "symbols", "which"),
                lines,
                frozenset({1}),
                "tvfeast import-bars FILE",
            )
        )
    span = f"Bars are there from {day(found.bars.first)} to {day(found.bars.last)}"
    lead = (
        f"{counted(len(missing), 'session')} of the last 90 days have no bars where some are "
        f"expected. {span}."
        if missing
        else f"No session of the last 90 days is missing. {span}."
    )
    return Section("gaps", "Gaps in bars", lead, body, "tvfeast status")
