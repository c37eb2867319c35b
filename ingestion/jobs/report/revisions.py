"""Rows that were written again, and rows that came late: how often, how late, how large."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date, timedelta

import numpy as np

from ingestion.jobs.report.stored_rows import StoredRows
from ingestion.report.contents import Axis, Cell, Kind, Note, Plot, Row, Section, Table
from ingestion.report.formats import count, counted, day, figure

_DELAYS = ((1, "within an hour"), (24, "within a day"), (24 * 7, "within a week"))
_LATER = "later"
_MOST = 20


def revisions_section(found: Mapping[str, StoredRows], since: date | None) -> Section:
    """Return a vendor's statistics of revision, over the last year's rows.

    Parameters
    ----------
    since
        Date of the first snapshot: what is of an earlier event was imported, and is not late.
    """
    again = {name: sum(each.rows for each in rows.revised) for name, rows in found.items()}
    late = {
        name: sum(each.late for each in rows.days if since and each.day >= since)
        for name, rows in found.items()
    }
    total, of = sum(again.values()), sum(each.rows for rows in found.values() for each in rows.days)
    lead = (
        f"{counted(total, 'row')} of {of:,} of the last year were written again with other values; "
        "the version before stays readable."
        if total
        else f"None of {counted(of, 'row')} of the last year was written again with other values."
    )
    if came_late := sum(late.values()):
        lead += (
            f" {counted(came_late, 'row')} since the first snapshot ({day(since)}) came more than "
            "a day after the event."
        )
    body: list[Table | Plot | Note] = [_overview(found, again, late)]
    if total:
        body += [*_by_week(found), *_by_feature(found)]
    return Section(
        "revisions", "Restatements and late rows", lead, body, "tvfeast explain SYMBOL FEATURE"
    )


def _overview(
    found: Mapping[str, StoredRows], again: Mapping[str, int], late: Mapping[str, int]
) -> Table:
    head = (
        "dataset",
        "rows",
        "written again",
        *(text for _, text in _DELAYS),
        _LATER,
        "late by over a day",
    )
    rows: list[Row] = []
    for name, each in found.items():
        hours = np.concatenate([np.empty(0), *(part.hours for part in each.revised)])
        spread, before = [], 0
        for limit, _ in _DELAYS:
            until = int((hours <= limit).sum())
            spread.append(count(until - before))
            before = until
        rows.append([
            Cell(name, is_code=True), count(sum(one.rows for one in each.days)),
            count(again[name]), *spread, count(len(hours) - before), count(late[name]),
        ])  # fmt: skip
    note = (
        "How long after the version before it each new one came. Late rows are counted since the "
        "first snapshot, by their first version; imported history is not late."
    )
    return Table("Rows of the last year", head, rows, frozenset(range(1, len(head))), note=note)


def _by_week(found: Mapping[str, StoredRows]) -> Iterator[Plot]:
    series, dates, values = [], [], []
    for name, each in found.items():
        weeks: dict[date, int] = {}
        for part in each.revised:
            monday = part.day - timedelta(days=part.day.weekday())
            weeks[monday] = weeks.get(monday, 0) + part.rows
        for week, rows in sorted(weeks.items()):
            series.append(name)
            dates.append(week.isoformat())
            values.append(rows)
    names = list(dict.fromkeys(series))
    order = sorted(range(len(dates)), key=lambda number: dates[number])
    yield Plot(
        key="restated-by-week",
        title="Rows that were written again, by the week of their event",
        kind=Kind.STACKED,
        x=Axis("week from Monday", "UTC date"),
        y=Axis("rows", "count"),
        columns={
            "x": [dates[number] for number in order],
            "series": [series[number] for number in order],
            "value": [values[number] for number in order],
        },
        palette=[f"s{number % 8}" for number in range(len(names))],
        names=names,
    )


def _by_feature(found: Mapping[str, StoredRows]) -> Iterator[Table]:
    rows: list[tuple[int, Row]] = []
    for name, each in found.items():
        if not each.revised:
            continue
        change = np.concatenate([part.change for part in each.revised])
        before = np.concatenate([part.before for part in each.revised])
        symbols = [symbol for part in each.revised for symbol in part.symbols]
        for number, column in enumerate(each.columns):
            moved = np.nan_to_num(np.abs(change[:, number]))
            those = moved > 0
            if not those.any():
                continue
            base = np.abs(before[:, number])
            with np.errstate(divide="ignore", invalid="ignore"):
                percent = 100 * moved[those] / base[those]
            percent = percent[np.isfinite(percent)]
            worst = int(np.argmax(moved))
            rows.append((int(those.sum()), [
                Cell(f"{name}:{column.name}", is_code=True), count(int(those.sum())),
                f"{figure(float(np.median(moved[those])))} {column.unit}".strip(),
                f"{figure(float(np.median(percent)))} %" if len(percent) else "–",
                f"{figure(float(moved[worst]))} {column.unit}".strip(), symbols[worst],
            ]))  # fmt: skip
    rows.sort(key=lambda row: -row[0])
    if rows:
        head = ("value", "changed", "median change", "of the value before", "largest change", "of")
        caption = "How large the changes were" + (
            f" (the first {_MOST} of {len(rows)} values)" if len(rows) > _MOST else ""
        )
        yield Table(caption, head, [row for _, row in rows[:_MOST]], frozenset({1, 2, 3, 4}))
