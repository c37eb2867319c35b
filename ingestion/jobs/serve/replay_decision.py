"""A selection as it was made, or would have been made, beside today's view of the same instant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, ClassVar

from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.base.reading import reading_again
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.ranking import Ranking, SelectRequest, rank
from ingestion.jobs.serve.reasons_of_moves import Difference, Kind, Reason, Reasons, Seen
from ingestion.jobs.serve.recorded_selection import (
    RecordedSelection,
    asked,
    definitions_of,
    recorded_selections,
)
from ingestion.project import Project
from ingestion.runs.known_at import first_created, latest_known


@dataclass(frozen=True)
class Move:
    """A symbol that is not listed as it was, or not with the same values."""

    symbol: str
    rank_then: int | None
    """None if it was not ranked, or, of a selection that was kept, not listed."""
    rank_now: int | None
    value_then: Any
    """Of the feature that is ranked by."""
    value_now: Any
    reasons: tuple[Reason, ...]
    more: tuple[str, ...]
    """Commands that say more."""


@dataclass(frozen=True)
class ReplayedDecision:
    """What differs between two views of one instant."""

    SHOWN: ClassVar = ("kinds",)

    at: datetime
    """The decision."""
    recorded: str | None
    """The run that kept the selection as it was made; None if it is what would have been made of
    the rows that had been created by then."""
    known_at: datetime
    """As of when today's view is."""
    group: str
    by: str
    asked_then: int
    asked_now: int
    listed_then: int
    listed_now: int
    moves: tuple[Move, ...]
    """Those with a reason of their own first."""

    @property
    def kinds(self) -> dict[str, int]:
        """How many symbols moved for each kind of reason; one may have several."""
        kinds = (kind for each in self.moves for kind in {why.kind for why in each.reasons})
        return {str(kind): count for kind, count in Counter(kinds).most_common()}


@one_look
def replay_decision(
    project: Project, at: datetime, request: SelectRequest, *, whole_day: bool = False
) -> ReplayedDecision:
    """Compare what was selected at an instant with what the lakehouse says of it today.

    The selection as it was made is the one that ``select --record`` kept of the same question; or,
    where the question leaves all open, the last one of any. Where none was kept, it is what would
    have been selected then: of all rows those that had been created by the instant.

    Parameters
    ----------
    at
        The decision.
    request
        The question; its instants do not count.
    whole_day
        Whether a selection counts that was kept at any time of the UTC date of ``at``.

    Raises
    ------
    InputError
        If ``at`` is in the future, or nothing was known then; else as of
        :func:`~ingestion.jobs.serve.select.select`.
    """
    now = clock.now()
    if at > now:
        raise InputError(
            f"the decision of {at.isoformat()} is in the future: it is {now.isoformat()}"
        )
    record = _record(project, at, request, whole_day=whole_day)
    if record is not None:
        at, request = record.at, record.request
    known_now = latest_known(project.lakehouse)
    known_then = known_now if at >= now else at
    question = replace(request, as_of=at)
    if record is not None and question.service is None:
        question = replace(question, group=record.group)
    would = rank(project, replace(question, known_at=known_then), may_be_empty=True)
    if record is None:
        _demand_known(project, would, at)
    if question.service is None:
        question = replace(question, group=would.group.name)
    today = rank(project, replace(question, known_at=known_now))
    known, view = _seen(would), _seen(today)
    then = known if record is None else _seen_in(record, known)
    redefined = _redefined(project, record, would) if record else frozenset[str]()
    reasons = Reasons(project, would, known_then, request.universe, redefined)
    differences = [
        each
        for symbol in dict.fromkeys([*then, *view])
        if (each := Difference(symbol, *(seen.get(symbol, Seen()) for seen in (then, known, view))))
        and (_is_listed(each.then, request.top) or _is_listed(each.now, request.top))
        and (each.then.rank != each.now.rank or each.labels or each.unserved)
    ]
    return ReplayedDecision(
        at=at,
        recorded=record.run_id if record else None,
        known_at=known_now,
        group=today.group.name,
        by=today.by,
        asked_then=sum(each.is_asked for each in then.values()),
        asked_now=sum(each.is_asked for each in view.values()),
        listed_then=sum(_is_listed(each, request.top) for each in then.values()),
        listed_now=sum(_is_listed(each, request.top) for each in view.values()),
        moves=tuple(_moves(differences, reasons, today)),
    )


def _record(
    project: Project, at: datetime, request: SelectRequest, *, whole_day: bool
) -> RecordedSelection | None:
    """Return the selection that was kept, if one was."""
    wanted, leaves_all_open = asked(request), asked(request) == asked(SelectRequest())
    for each in recorded_selections(project, at.date()):
        is_then = whole_day or each.at == at
        if is_then and (leaves_all_open or asked(each.request) == wanted):
            return each
    return None


def _demand_known(project: Project, would: Ranking, at: datetime) -> None:
    """Refuse a decision at which nothing had been created."""
    group, lakehouse = would.group, project.lakehouse
    first = reading_again(partial(first_created, lakehouse, group, at))
    if first is not None and first > at:
        raise InputError(
            f"no row of {group.name} had been created at {at.isoformat()}: the first one was at "
            f"{first.isoformat()}; `tvfeast select --as-of` ranks what is known of it today"
        )


def _seen(ranking: Ranking) -> dict[str, Seen]:
    """Return what a ranking has of each symbol."""
    rows = ranking.rows
    columns = {name: values.to_objects() for name, values in rows.features.items()}
    ranks = {rows.symbols[row]: place for place, row in enumerate(ranking.order.tolist(), 1)}
    found = {symbol: Seen(left_out="unknown", is_asked=True) for symbol in ranking.symbols}
    for row, symbol in enumerate(rows.symbols):
        found[symbol] = Seen(
            rank=ranks.get(symbol),
            left_out=ranking.left_out.get(symbol),
            values={name: plain(values[row]) for name, values in columns.items()},
            is_asked=True,
        )
    return found


def _seen_in(record: RecordedSelection, known: Mapping[str, Seen]) -> dict[str, Seen]:
    """Return what a selection that was kept has of each symbol; of others, what was known."""
    found = {}
    ranks = {symbol: place for place, symbol in enumerate(record.rows, 1)}
    # A list that is shorter than asked has all that could be ranked.
    is_whole = record.request.top is None or len(ranks) < record.request.top
    for symbol in dict.fromkeys([*ranks, *known, *record.symbols]):
        of_symbol = known.get(symbol, Seen())
        is_asked = symbol in record.symbols
        unserved = is_whole and is_asked and of_symbol.rank is not None
        found[symbol] = replace(of_symbol, rank=None, is_asked=is_asked, is_unserved=unserved)
        if symbol in ranks:
            values = record.rows[symbol]
            found[symbol] = Seen(ranks[symbol], None, values, is_asked=True)
    return found


def _redefined(project: Project, record: RecordedSelection, would: Ranking) -> frozenset[str]:
    """Return the features that are declared otherwise than when a selection was kept."""
    now = definitions_of(project, would)
    then = record.definitions
    return frozenset(name for name, sha256 in now.items() if then.get(name, sha256) != sha256)


def _is_listed(seen: Seen, top: int | None) -> bool:
    return seen.rank is not None and (top is None or seen.rank <= top)


def _moves(differences: Sequence[Difference], reasons: Reasons, today: Ranking) -> Iterator[Move]:
    found = list(zip(differences, reasons.of(differences), strict=True))
    last = today.at.isoformat().replace("+00:00", "Z")

    def place(one: tuple[Difference, tuple[Reason, ...]]) -> tuple[object, ...]:
        each, why = one
        ranks = [rank for rank in (each.now.rank, each.then.rank) if rank is not None]
        return why[0].kind is Kind.OTHERS, min(ranks), each.symbol

    for each, why in sorted(found, key=place):
        kinds = {one.kind for one in why}
        of_features = today.wanted.by_label
        differing = [name for name in each.labels or each.unserved if name in of_features]
        labels = differing or [*of_features]
        label = today.by if today.by in labels else labels[0]
        more = []
        if kinds - {Kind.MEMBERSHIP}:
            more.append(f"tvfeast explain {each.symbol} {of_features[label]} --as-of {last}")
        if Kind.MEMBERSHIP in kinds:
            more.append(f"tvfeast universe show {reasons.universe} --as-of {last}")
        yield Move(
            symbol=each.symbol,
            rank_then=each.then.rank,
            rank_now=each.now.rank,
            value_then=each.then.values.get(today.by),
            value_now=each.now.values.get(today.by),
            reasons=why,
            more=tuple(more),
        )
