"""The page of a rating history."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ingestion.base.disk import replace_file
from ingestion.base.instants import date_of_day
from ingestion.base.wording import by_reason
from ingestion.jobs.history.ratings import CLASSES, NO_CLASS
from ingestion.report.contents import (
    Axis,
    Cell,
    Kind,
    Mark,
    Note,
    Plot,
    Report,
    Row,
    Section,
    Small,
    Table,
    Tile,
    Verdict,
)
from ingestion.report.formats import count, counted, day, figure, share
from ingestion.report.page import page

if TYPE_CHECKING:
    from ingestion.jobs.history.rating_history import HistoryResult
    from ingestion.jobs.history.ratings import Followed, Lasted
    from ingestion.jobs.history.stored_ratings import Coverage

_COLOURS = ("q0", "q1", "q2", "q3", "q4")
_LIMITS = (-0.5, -0.1, 0.1, 0.5)
_MOST_ROWS, _MOST_LINES = 200, 60
"""Symbols of the overview, and those whose rating is drawn as a line; the first of the file."""
_WEEK = 7
_NAMED = 5
_RATING = Axis("rating", "−1 to 1")


def write_page(lakehouse: str, history: HistoryResult) -> None:
    """Write the page; a former one is replaced as a whole."""
    replace_file(history.out, page(history_page(lakehouse, history)).encode())


def history_page(lakehouse: str, history: HistoryResult) -> Report:
    """Return the page's contents."""
    return Report(
        title="tvfeast rating history",
        lakehouse=lakehouse,
        at=history.at,
        verdict=_verdict(history),
        sections=[
            _now(history),
            _over_time(history),
            _lasted(history),
            _followed(history),
            _coverage(history),
        ],
        command=_command(history),
    )


def _verdict(history: HistoryResult) -> Verdict:
    covered = history.coverage
    rated = [each for each in covered if each.rated]
    lacking = [each for each in covered if each.source is None or not each.rated]
    rows = sum(each.rated for each in covered)
    sessions = sum(each.sessions or each.rows for each in covered)
    there = sum(each.rows for each in covered)
    begins = min((each.first for each in rated if each.first), default=None)
    mark = Mark.GOOD if not lacking else Mark.CARE if rated else Mark.BAD
    of = (
        counted(len(rated), "symbol")
        if not lacking
        else f"{len(rated):,} of {len(covered):,} symbols"
    )
    all_rated = Mark.GOOD if len(rated) == len(covered) else mark
    answer = (
        f"Ratings of {of} from {day(begins)} to {day(history.last)}."
        if rated
        else "Not one rating."
    )
    reasons = by_reason({each.symbol: each.missing or "" for each in lacking})
    if len(reasons) > _NAMED:
        reasons[_NAMED:] = [f"{counted(len(reasons) - _NAMED, 'more reason')}, see Coverage."]
    whole = sum(each.spells for each in history.lasted)
    return Verdict(
        answer,
        mark,
        reasons,
        [
            Tile("Symbols with ratings", f"{len(rated):,} of {len(covered):,}", mark=all_rated),
            Tile("Ratings", count(rows), "One per symbol and session."),
            Tile("Sessions with a row", share(there / sessions if sessions else None)),
            Tile("Ratings that came and went", count(whole)),
        ],
        question="What is there?",
        link="What is there",
    )


def _now(history: HistoryResult) -> Section:
    rated = [each for each in history.coverage if each.rating is not None]
    rows: list[Row] = [
        [
            Cell(each.symbol, is_code=True),
            each.rating_class or "",
            figure(each.rating),
            day(each.since),
            day(each.last),
        ]
        for each in sorted(rated, key=lambda each: -(each.rating or 0.0))
    ]
    table = Table(
        "Newest rating of each symbol",
        ("symbol", "rating", "value", "in this class since", "session closed on"),
        rows,
        frozenset({2}),
        "tvfeast select --by Recommend.All",
    )
    lead = "Computed from closed bars by TradingView’s published programs: `Recommend.All`."
    return Section("now", "Now", lead, [table] if rows else [_nothing()])


def _over_time(history: HistoryResult) -> Section:
    rows = history.rows
    rated = rows.code != NO_CLASS
    months = rows.day.astype("datetime64[D]").astype("datetime64[M]")
    shares: dict[str, list[object]] = {"x": [], "series": [], "value": []}
    for month in np.unique(months[rated]):
        own = rows.code[rated & (months == month)]
        for code, name in enumerate(CLASSES):
            shares["x"].append(f"{month}-01")
            shares["series"].append(name)
            shares["value"].append(100 * float((own == code).mean()))
    named = _symbols(history)
    body: list[Table | Plot | Note | Small] = []
    if shares["x"]:
        body += [
            Plot(
                "shares",
                "Share of each class, by month",
                Kind.STACKED,
                Axis("month", "UTC"),
                Axis("ratings", "%"),
                shares,
                palette=_COLOURS,
                names=CLASSES,
            ),
            _overview(history, named[:_MOST_ROWS]),
            Small(
                "Each symbol, by week",
                [_line(history, number, name) for number, name in enumerate(named[:_MOST_LINES])],
                "The rating at the close of a week’s last session."
                + _of_more(len(named), _MOST_LINES),
                is_wide=True,
            ),
        ]
    lead = "A rating above 0.1 is a buy, above 0.5 a strong buy; likewise below zero."
    return Section("time", "Over time", lead, body or [_nothing()])


def _symbols(history: HistoryResult) -> list[str]:
    return [each.symbol for each in history.coverage if each.rated]


def _of_more(count: int, most: int) -> str:
    return f" The first {most} of {count:,} symbols." if count > most else ""


def _overview(history: HistoryResult, named: Sequence[str]) -> Plot:
    rows = history.rows
    cells: list[tuple[str, int, str, float, int]] = []
    for place, name in enumerate(named):
        own = rows.of(name)
        values = rows.rating[own]
        months = rows.day[own].astype("datetime64[D]").astype("datetime64[M]")
        for month in np.unique(months[~np.isnan(values)]):
            some = values[(months == month) & ~np.isnan(values)]
            cells.append((str(month), place, name, float(some.mean()), len(some)))
    cells.sort()
    return Plot(
        "months",
        "Mean rating of each month",
        Kind.MATRIX,
        Axis("month", "UTC"),
        Axis("symbol", "EXCHANGE:TICKER"),
        {
            "x": [month for month, *_ in cells],
            "y": [name for _, _, name, _, _ in cells],
            "value": [value for *_, value, _ in cells],
            "note": [f"{figure(value)}, {counted(n, 'rating')}" for *_, value, n in cells],
        },
        _RATING,
        _LIMITS,
        _COLOURS,
        CLASSES,
        note=_of_more(len(_symbols(history)), _MOST_ROWS).strip(),
    )


def _line(history: HistoryResult, number: int, name: str) -> Plot:
    own = history.rows.of(name)
    days, values = history.rows.day[own], history.rows.rating[own]
    is_last = np.append(np.diff((days + 3) // _WEEK) != 0, True)  # 1970-01-01 was a Thursday
    at = np.flatnonzero(is_last & ~np.isnan(values))
    return Plot(
        f"rating-{number}",
        name,
        Kind.LINES,
        Axis("date", "UTC"),
        _RATING,
        {
            "date": [date_of_day(int(days[n])) for n in at],
            "series": [name] * len(at),
            "value": [float(values[n]) for n in at],
        },
        palette=("s0",),
        command=f"tvfeast explain {shlex.quote(name)} local_1d:Recommend.All",
        is_small=True,
    )


def _lasted(history: HistoryResult) -> Section:
    of: Sequence[Lasted] = history.lasted
    rows: list[Row] = [
        [
            each.rating,
            count(each.rows),
            count(each.spells),
            figure(each.median),
            figure(each.mean),
            count(each.longest),
            count(each.not_whole),
        ]
        for each in of
    ]
    table = Table(
        "How many sessions a rating lasted",
        ("rating", "sessions", "came and went", "median", "mean", "longest", "not seen whole"),
        rows,
        frozenset(range(1, 7)),
        note="Median, mean and longest are of ratings whose begin and end were seen.",
    )
    cells = [
        (following, each.rating, of_next)
        for each in of
        for following, of_next in zip(CLASSES, each.next, strict=True)
        if of_next is not None
    ]
    body: list[Table | Plot | Note | Small] = [table]
    if cells:
        body.append(
            Plot(
                "next",
                "Which rating came next",
                Kind.MATRIX,
                Axis("next rating", "class"),
                Axis("rating", "class"),
                {
                    "x": [x for x, _, _ in sorted(cells, key=_by_class)],
                    "y": [y for _, y, _ in sorted(cells, key=_by_class)],
                    "value": [value for *_, value in sorted(cells, key=_by_class)],
                    "note": [share(value) for *_, value in sorted(cells, key=_by_class)],
                },
                Axis("share of ends", "%"),
                (0.05, 0.2, 0.5, 0.8),
                ("m0", "m1", "m2", "m3", "m4"),
                ("to 5 %", "to 20 %", "to 50 %", "to 80 %", "more"),
            )
        )
    lead = "A session without a rating ends nothing and begins nothing: it is counted apart."
    return Section("lasted", "How long a rating lasted", lead, body)


def _by_class(cell: tuple[str, str, float]) -> tuple[int, int]:
    return CLASSES.index(cell[1]), CLASSES.index(cell[0])


def _followed(history: HistoryResult) -> Section:
    found: Sequence[Followed] = history.followed
    rows: list[Row] = [
        [
            each.rating,
            str(each.sessions),
            count(each.rows),
            _percent(each.mean),
            _percent(each.median),
            share(each.rose),
            _percent(each.excess),
            figure(each.t),
            count(each.dates),
        ]
        for each in found
    ]
    head = ("rating", "sessions", "ratings", "mean %", "median %", "rose", "excess %", "t", "dates")
    table = Table(
        "Return after a rating",
        head,
        rows,
        frozenset(range(1, len(head))),
        note="Excess: less the mean of all rated symbols of that date. t: of the excess, by Newey "
        "and West (1987), over as many lags as returns overlap.",
    )
    plots = [
        Plot(
            f"followed-{sessions}",
            f"Excess over {sessions} sessions",
            Kind.BARS,
            Axis("excess", "%"),
            Axis("rating", "class"),
            {
                "y": [each.rating for each in own],
                "value": [None if each.excess is None else 100 * each.excess for each in own],
                "note": [f"t {figure(each.t)}" for each in own],
            },
            is_small=True,
        )
        for sessions, own in _by_horizon(found)
    ]
    lead = (
        "A position is entered at the open after the rating became known, and left at a close so "
        "many sessions later: nothing of the rating’s own day is in its return. Splits are no "
        "return; dividends are not counted."
    )
    warning = Note(
        "These symbols are known today: those that were delisted before are missing, so the means "
        "are too good. The excess compares the symbols with each other.",
        Mark.CARE,
    )
    body: list[Table | Plot | Note | Small] = (
        [table, Small("Excess by class", plots, is_wide=True), warning] if rows else [_nothing()]
    )
    return Section("followed", "What followed", lead, body)


def _by_horizon(found: Sequence[Followed]) -> Iterator[tuple[int, list[Followed]]]:
    for sessions in dict.fromkeys(each.sessions for each in found):
        own = [each for each in found if each.sessions == sessions]
        if any(each.excess is not None for each in own):
            yield sessions, own


def _coverage(history: HistoryResult) -> Section:
    rows: list[Row] = [
        [
            Cell(each.symbol, is_code=True),
            each.source or Cell("none", Mark.BAD),
            day(each.first),
            day(each.last),
            count(each.rows),
            _of_sessions(each),
            count(each.rated),
            each.missing or "",
        ]
        for each in history.coverage
    ]
    head = ("symbol", "source", "first", "last", "rows", "of sessions", "rated", "missing, and why")
    table = Table("What there is of each symbol", head, rows, frozenset({4, 5, 6}))
    lead = (
        f"Ratings are of {day(history.first)} to {day(history.last)}; bars were fetched from three "
        f"years before, so that averages have settled. Asked in this order: "
        f"{', '.join(history.sources)}."
    )
    return Section("coverage", "Coverage", lead, [table], _command(history))


def _of_sessions(each: Coverage) -> str | Cell:
    if each.sessions is None or not each.rows:
        return figure(None)
    part = each.rows / each.sessions
    return Cell(share(part), Mark.NONE if part == 1 else Mark.CARE)


def _percent(value: float | None) -> str:
    return figure(None if value is None else 100 * value)


def _nothing() -> Note:
    return Note("There is nothing to show.")


def _command(history: HistoryResult) -> str:
    words = ["tvfeast", "history"]
    if history.candidates is not None:
        words += ["--candidates", str(history.candidates)]
    return shlex.join([*words, "--years", str(history.years)])
