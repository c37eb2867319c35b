"""Today's selection, and what has moved since the snapshot before."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from ingestion.base.arrow import to_objects
from ingestion.base.errors import InputError, TvfeastError
from ingestion.catalog import FeatureGroup
from ingestion.jobs.serve.select import REASONS, Selected, Selection, SelectRequest, select
from ingestion.lakehouse import list_dates
from ingestion.markets.symbols import exchange_of
from ingestion.project import Project
from ingestion.quality.history import newest_rows
from ingestion.report.contents import Cell, Mark, Note, Row, Section, Table
from ingestion.report.formats import column, counted, day, instant

_TOP = 20


def ranking_section(project: Project, at: datetime, late: Collection[str] = ()) -> Section:
    """Return what ``tvfeast select`` ranks now, each with its place in the snapshot before.

    Parameters
    ----------
    late
        Markets whose last session is missing.
    """
    try:
        now = select(project, SelectRequest(top=None))
    except TvfeastError as error:
        note = Note(f"Nothing can be ranked: {error}", Mark.BAD)
        return Section("selection", "Today’s selection", "There is none.", [note], "tvfeast select")
    group = project.catalog.group(now.group)
    before_at, before = _before(project, group, now, at)
    places = {name: place for place, name in enumerate(before, start=1)}
    first = now.rows[:_TOP]
    columns = [_column([each.features.get(name) for each in first]) for name in now.shown]
    changes = column(
        [_change(each.features.get(now.by), before.get(each.symbol)) for each in first], signed=True
    )
    rows: list[Row] = [
        [
            Cell(
                each.symbol,
                is_code=True,
                title=f"tvfeast explain {each.symbol} {now.group}:{now.by}",
            ),
            str(number + 1),
            _moved(number + 1, places.get(each.symbol)),
            *(of_column[number] for of_column in columns),
            changes[number],
            _bar(each, late),
            instant(each.known_at),
        ]
        for number, each in enumerate(first)
    ]
    head = ("symbol", "place", "moved", *now.shown, f"change of {now.by}", "bar", "known at")
    new = [each.symbol for each in first if places.get(each.symbol, _TOP + 1) > _TOP]
    gone = [name for name in list(before)[:_TOP] if name not in {each.symbol for each in first}]
    since = f"since {instant(before_at)}" if before_at else "; there is no snapshot before it"
    lead = f"The first {len(first)} of {counted(len(now.rows), 'symbol')} by {now.by}" + (
        f", and what has moved {since}." if before_at else f"{since}."
    )
    body: list[Table | Note] = [
        Table("Ranked from what is served now", head, rows, frozenset(range(1, 4 + len(now.shown))))
    ]
    if before_at:
        body.append(
            Note(
                f"New among the first {_TOP}: {', '.join(new) or 'none'}. "
                f"No longer among them: {', '.join(gone) or 'none'}."
            )
        )
    left = [
        f"{REASONS[name]} {number:,}"
        for name, number in now.left_out.items()
        if name != "beyond_top"
    ]
    if left:
        body.append(Note(f"Left out of {counted(now.asked, 'symbol')}: {'; '.join(left)}."))
    return Section("selection", "Today’s selection", lead, body, "tvfeast select --top 20")


def _before(
    project: Project, group: FeatureGroup, now: Selection, at: datetime
) -> tuple[datetime | None, dict[str, float]]:
    """Return the values by which the snapshot of the date before was ranked, best first."""
    newest = max((each.known_at for each in now.rows), default=at)
    days = [day for day in list_dates(project.lakehouse, group) if day < newest.date()]
    if not days:
        return None, {}
    last = datetime.combine(days[-1], newest.timetz().max.replace(tzinfo=newest.tzinfo))
    try:
        rows = newest_rows(project.lakehouse, group, last).rows
    except InputError:
        return None, {}
    by = now.by.rpartition(":")[2]
    if by not in rows.column_names or not rows.num_rows:
        return None, {}
    values = zip(rows["symbol"].to_pylist(), rows[by].to_pylist(), strict=True)
    ranked = sorted((-float(value), name) for name, value in values if value is not None)
    when = max(to_objects(rows["event_timestamp"]))
    return when, {name: -value for value, name in ranked}


def _bar(row: Selected, late: Collection[str]) -> Cell:
    """Return when a row's bar opened, and whether it is closed; marked if its market is late."""
    opened = f"{day(row.bar_open)} " if row.bar_open else ""
    is_late = exchange_of(row.symbol) in late
    return Cell(f"{opened}{row.bar_state}", Mark.CARE if is_late else Mark.NONE)


def _column(values: list[Any]) -> list[str]:
    if all(isinstance(value, (float, int)) or value is None for value in values):
        return column(values)
    return ["–" if value is None else str(value) for value in values]


def _change(now: Any, before: float | None) -> float | None:
    return now - before if isinstance(now, float) and before is not None else None


def _moved(place: int, former: int | None) -> str:
    if former is None:
        return "new"
    if place == former:
        return "="
    return f"▲ {former - place}" if place < former else f"▼ {place - former}"
