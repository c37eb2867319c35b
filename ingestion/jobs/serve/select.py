"""Rank the candidates by what Feast serves, or served at some instant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from ingestion.base.instants import from_micros
from ingestion.jobs.looking import one_look
from ingestion.jobs.serve.ranking import REASONS, BarStates, Ranking, SelectRequest, rank
from ingestion.jobs.serve.rows_to_rank import UNKNOWN, Rows
from ingestion.markets.hours import BarState
from ingestion.project import Project

if TYPE_CHECKING:
    from ingestion.jobs.serve.models import ScoredBy

__all__ = ["REASONS", "SelectRequest", "Selected", "Selection", "select"]


@dataclass(frozen=True)
class Selected:
    """One ranked symbol."""

    symbol: str
    features: dict[str, Any]
    known_at: datetime
    """When its snapshot was taken, or its bar closed."""
    bar_open: datetime | None
    bar_state: BarState
    others: Mapping[str, datetime | None] = field(default_factory=dict)
    """By further group of its features, when those were known; None where there are none."""


@dataclass(frozen=True)
class Selection:
    """The ranking, best first, and what was left out, by the keys of :data:`REASONS`."""

    at: datetime
    source: str
    group: str
    """Whose rows were ranked."""
    of_closed_bars: bool
    """Whether those are computed from closed bars, and not snapshots."""
    by: str
    model: ScoredBy | None
    """What gave the scores that are ranked; None where a feature is."""
    asked: int
    features: tuple[str, ...]
    """Names of the service's features, in its order, a model's score before them."""
    shown: tuple[str, ...]
    """Those that a table shows, the one ranked by first."""
    groups: tuple[str, ...]
    """Further groups whose features a table shows."""
    rows: tuple[Selected, ...]
    left_out: dict[str, int]
    written_later: int
    """Rows among those ranked that were written after ``at``, as all of imported history is."""
    known_at: datetime | None = None
    """As of when the lakehouse was read, if that was asked."""


@one_look
def select(project: Project, request: SelectRequest) -> Selection:
    """Rank candidates by a feature.

    Without ``as_of`` the online store is read at ``clock.now()``. With it the offline store is, and
    the online store is not touched: snapshots that had been taken and written by then, or the rows
    of computed groups whose bars had closed by then, whenever they were computed. The TTL is
    counted at that instant. With ``known_at`` too, only rows count that were created by then, of
    whatever kind, and so does the universe's membership.

    Raises
    ------
    InputError
        If a feature is not served, the model cannot be used, ``as_of`` lies in the future, there
        is no symbol to rank or no such service or universe, or the online store is empty; if
        ``known_at`` is without ``as_of``, in the future, or before the first row of a group that is
        read.
    GateRefused
        If it is not known who was in the universe.
    FeastRepositoryError
        If the registry is missing, describes another lakehouse, or has a view that Feast does not
        serve.
    """
    ranking = rank(project, request)
    return listed(ranking, request)


def listed(ranking: Ranking, request: SelectRequest) -> Selection:
    """Return the first of a ranking, and how many are left out for which reason."""
    first = ranking.order[: request.top].tolist()
    beyond = len(ranking.order) - len(first)
    wanted, group = ranking.wanted, ranking.group
    shown = wanted.shown(ranking.by, ranking.service, request.features)
    score = (ranking.by,) if ranking.model else ()
    later = ranking.rows.written_later[ranking.order]
    return Selection(
        at=ranking.at,
        source="online store" if request.as_of is None else "offline store",
        group=group.name,
        of_closed_bars=group.source.of_closed_bars,
        by=ranking.by,
        model=ranking.model,
        asked=len(ranking.symbols),
        features=(*score, *wanted.labels),
        shown=(*score, *shown),
        groups=wanted.groups(shown, group.name),
        rows=tuple(_selected(ranking.rows, first, ranking.states)),
        left_out=ranking.counts | ({"beyond_top": beyond} if beyond else {}),
        written_later=int(np.count_nonzero(later)),
        known_at=request.known_at,
    )


def _selected(rows: Rows, listed: Sequence[int], states: BarStates) -> Iterator[Selected]:
    """Yield the rows that are listed, as Python has them."""
    columns = {
        name: values.take(np.array(listed, np.intp)).to_objects()
        for name, values in rows.features.items()
    }
    for place, row in enumerate(listed):
        bar = int(rows.bar_open[row])
        yield Selected(
            symbol=rows.symbols[row],
            features={name: values[place] for name, values in columns.items()},
            known_at=from_micros(int(rows.known_at[row])),
            bar_open=None if bar == UNKNOWN else from_micros(bar),
            bar_state=states.of(row),
            others={
                name: None if events[row] == UNKNOWN else from_micros(int(events[row]))
                for name, events in rows.others.items()
            },
        )
