"""The page of a factor report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np

from ingestion.base.disk import replace_file
from ingestion.base.instants import date_of_day
from ingestion.jobs.factor.commands import command_of
from ingestion.jobs.factor.factor_report import FactorReport
from ingestion.jobs.factor.figures import Factor, Figure, OfHorizon
from ingestion.project import Project
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
from ingestion.report.formats import column, count, counted, day, figure, instant, share
from ingestion.report.page import page

_POINTS = 300
"""Dates of a line; of more, each n-th is drawn."""
_NAMED = 5
_STEPS = (-0.05, -0.02, 0.02, 0.05)
_PALETTE = ("q0", "q1", "q2", "q3", "q4")
_MEANT = ("−0.05 or less", "to −0.02", "to 0.02", "to 0.05", "more")
_IC, _SESSIONS = "information coefficient", "sessions"


def write_page(project: Project, report: FactorReport) -> None:
    """Write the page; a former one is replaced as a whole."""
    replace_file(report.out, page(factor_page(str(project.lakehouse), report)).encode())


def factor_page(lakehouse: str, report: FactorReport) -> Report:
    """Return the page's contents."""
    return Report(
        title="tvfeast factor report",
        lakehouse=lakehouse,
        at=report.at,
        verdict=_verdict(report),
        sections=[
            _coefficients(report),
            _decay(report),
            _over_time(report),
            _quantiles(report),
            _turnover(report),
            _matrices(report, "years", "By year", "year", _of_years),
            _matrices(report, "sectors", "By sector", "sector", _of_sectors),
            _coverage(report),
            _tries(report),
        ],
        command=command_of(report),
    )


def _verdict(report: FactorReport) -> Verdict:
    rows = list(_rows(report))
    passing = [f"{_name(of)}, {_sessions(each)}" for of, each in rows if each.passes]
    of_best, best = max(rows, key=lambda row: abs(row[1].t or 0.0))
    answer = (
        f"Yes: {len(passing):,} of {len(rows):,} reach the threshold"
        if passing
        else "No: none reaches the threshold"
    )
    reasons = [*passing[:_NAMED], *report.warnings]
    if len(passing) > _NAMED:
        reasons.insert(_NAMED, f"{len(passing) - _NAMED} more, see the table")
    tiles = [
        Tile("threshold of |t|", figure(report.threshold), f"after {count(report.tried)} tries"),
        Tile("largest |t|", figure(abs(best.t or 0.0)), f"{_name(of_best)}, {_sessions(best)}"),
        Tile("by chance", figure(report.largest_by_chance), "mean of the largest of so many"),
        Tile("decisions", count(report.decisions), f"{day(report.first)} to {day(report.last)}"),
        Tile(
            "known at", day(report.known_at), f"the lakehouse as it was {instant(report.known_at)}"
        ),
    ]
    return Verdict(
        answer,
        Mark.GOOD if passing else Mark.CARE,
        reasons,
        tiles,
        question="Does a feature rank what follows?",
        link="Does it rank?",
    )


def _coefficients(report: FactorReport) -> Section:
    rows, few = list(_rows(report)), sum(report.too_few.values())
    ic = column([each.ic for _, each in rows], signed=True)
    spread = column([each.ic_std for _, each in rows])
    cells: list[Row] = [
        [
            Cell(of.feature, is_code=True),
            of.universe,
            each.label,
            ic[number],
            spread[number],
            Cell(figure(each.t), Mark.GOOD if each.passes else Mark.NONE),
            str(each.lags),
            figure(each.t_independent),
            count(each.independent_dates),
            figure(report.threshold),
            count(each.dates),
            figure(each.symbols),
        ]
        for number, (of, each) in enumerate(rows)
    ]
    head = (
        *("feature", "universe", "horizon", "IC", "its std", "t", "lags", "t, no overlap"),
        *("of dates", "threshold", "dates", "symbols"),
    )
    table = Table(
        "Rank correlation of feature and forward return, mean over dates",
        head,
        cells,
        frozenset(range(2, len(head))),
        f"{command_of(report)} --json",
        "t: Newey and West (1987), over as many lags as labels overlap, at least "
        "⌊4 (dates / 100)^(2/9)⌋. No overlap: plain t of dates whose labels do not overlap.",
    )
    plots = [
        Plot(
            f"ic-{number}",
            _name(of),
            Kind.BARS,
            Axis(_IC, "mean over dates"),
            Axis("horizon", _SESSIONS),
            {
                "y": [each.label for each in of.horizons],
                "value": [each.ic for each in of.horizons],
                "note": [f"t {figure(each.t)}" for each in of.horizons],
            },
            command=command_of(report, of, "--json"),
            is_small=True,
        )
        for number, of in enumerate(report.factors)
        if any(each.ic is not None for each in of.horizons)
    ]
    lead = (
        f"Positions are entered at the {'next open' if report.entry == 'open' else 'close'} and "
        "left at a close so many sessions later. A cross-section has the decisions of one UTC date "
        f"that has {report.min_symbols} symbols with a label; {counted(few, 'date')} had fewer."
    )
    body: list[Table | Small] = (
        [table, Small("By horizon", plots, is_wide=True)] if plots else [table]
    )
    return Section("ic", "Information coefficient", lead, body)


def _decay(report: FactorReport) -> Section:
    shortest = report.factors[0].horizons[0]
    plots = [
        Plot(
            f"decay-{number}",
            _name(of),
            Kind.BARS,
            Axis(_IC, "mean over dates"),
            Axis("age of the value", "dates of decisions"),
            {
                "y": [str(lag) for lag in of.decay.lags],
                "value": list(of.decay.ic),
                "note": [figure(ic) for ic in of.decay.ic],
            },
            note=_half_life(of),
            command=command_of(report, of, "--json"),
            is_small=True,
        )
        for number, of in enumerate(report.factors)
        if any(ic is not None for ic in of.decay.ic)
    ]
    lead = f"The return of {_sessions(shortest)}, as values of some dates before rank it."
    body = [Small("By the value’s age", plots, is_wide=True)] if plots else [_nothing()]
    return Section("decay", "Decay", lead, body)


def _half_life(of: Factor) -> str:
    if of.decay.half_life is None:
        return "It is not halved within these dates."
    return f"Half-life: {of.decay.half_life:.1f} dates."


def _over_time(report: FactorReport) -> Section:
    plots = []
    for number, of in enumerate(report.factors):
        columns: dict[str, list[object]] = {"date": [], "series": [], "value": []}
        names = [_sessions(each) for each in of.horizons]
        for name, each in zip(names, of.horizons, strict=True):
            total = np.nancumsum(each.series.ic)
            for at in _thinned(len(total)):
                columns["date"].append(date_of_day(each.series.days[at]))
                columns["series"].append(name)
                columns["value"].append(float(total[at]))
        if columns["date"]:
            plots.append(
                Plot(
                    f"time-{number}",
                    _name(of),
                    Kind.LINES,
                    Axis("date", "UTC"),
                    Axis(_IC, "sum over dates"),
                    columns,
                    palette=[f"s{place}" for place in range(len(names))],
                    names=names,
                    command=command_of(report, of, "--json"),
                )
            )
    lead = "The sum so far: a straight line is a feature that works alike at all times."
    return Section("time", "Over time", lead, plots or [_nothing()])


def _quantiles(report: FactorReport) -> Section:
    plots: list[Plot] = []
    cells: list[Row] = []
    names = [str(number) for number in range(1, report.quantiles + 1)]
    for number, (of, each) in enumerate(_rows(report)):
        cells.append(
            [
                Cell(of.feature, is_code=True),
                of.universe,
                each.label,
                *(_percent(value) for value in each.quantile_returns),
                _percent(each.spread),
                figure(each.spread_t),
            ]
        )
        if any(value is not None for value in each.quantile_excess):
            plots.append(
                Plot(
                    f"quantiles-{number}",
                    f"{_name(of)}, {_sessions(each)}",
                    Kind.BARS,
                    Axis("return less the date’s mean", "%"),
                    Axis("quantile of the feature", "1 has the lowest values"),
                    {
                        "y": names,
                        "value": [None if v is None else 100 * v for v in each.quantile_excess],
                        "note": [_percent(value) for value in each.quantile_excess],
                    },
                    command=command_of(report, of, "--json", each),
                    is_small=True,
                )
            )
    head = ("feature", "universe", "horizon", *names, "spread", "its t")
    table = Table(
        "Forward return of each quantile, %", head, cells, frozenset(range(2, len(head))),
        f"{command_of(report)} --json",
    )  # fmt: skip
    lead = "The mean over dates of each date’s mean; the spread is the highest less the lowest."
    body: list[Table | Small] = (
        [table, Small("Above and below the mean", plots, is_wide=True)] if plots else [table]
    )
    return Section("quantiles", "Returns by quantile", lead, body)


def _turnover(report: FactorReport) -> Section:
    cells: list[Row] = [
        [
            Cell(of.feature, is_code=True),
            of.universe,
            each.label,
            share(each.turnover[0]),
            share(each.turnover[-1]),
            figure(each.rank_autocorrelation),
        ]
        for of, each in _rows(report)
    ]
    head = ("feature", "universe", "horizon", "lowest quantile", "highest", "rank autocorrelation")
    table = Table(
        "Turnover when a label is over", head, cells, frozenset(range(2, 6)),
        f"{command_of(report)} --json",
    )  # fmt: skip
    lead = (
        "The share of a quantile’s symbols that are new since the latest date whose labels are "
        "over, and how the ranks correlate with those of that date."
    )
    return Section("turnover", "Turnover", lead, [table])


_Part = tuple[str, str, Figure, str]
"""Column, row, information coefficient and what it says on pointing at it."""


def _of_years(of: Factor) -> Iterator[_Part]:
    for each in of.horizons:
        for one in each.by_year:
            note = f"IC {figure(one.ic)}, t {figure(one.t)}, {counted(one.dates, 'date')}"
            yield str(one.year), _sessions(each), one.ic, note


def _of_sectors(of: Factor) -> Iterator[_Part]:
    for each in of.horizons:
        for one in each.by_sector:
            note = f"IC {figure(one.ic)}, t {figure(one.t)}, {figure(one.symbols)} symbols"
            yield each.label, one.sector, one.ic, note


def _matrices(
    report: FactorReport,
    key: str,
    title: str,
    what: str,
    parts: Callable[[Factor], Iterator[_Part]],
) -> Section:
    plots = []
    for number, of in enumerate(report.factors):
        found = list(parts(of))
        if not found:
            continue
        is_year = what == "year"
        plots.append(
            Plot(
                f"{key}-{number}",
                _name(of),
                Kind.MATRIX,
                Axis("year", "UTC") if is_year else Axis("horizon", _SESSIONS),
                Axis("horizon", _SESSIONS) if is_year else Axis("sector", "as known then"),
                {
                    "x": [x for x, *_ in found],
                    "y": [y for _, y, *_ in found],
                    "value": [value for *_, value, _ in found],
                    "note": [note for *_, note in found],
                },
                Axis(_IC, "mean over dates"),
                _STEPS,
                _PALETTE,
                _MEANT,
                command=command_of(report, of, "--json"),
            )
        )
    lead = (
        "Of the dates of one year."
        if what == "year"
        else "Ranked within the sector, as it was recorded by the decision, never today’s; "
        f"{counted(report.no_sector, 'row')} of symbols whose sector was not known then "
        f"{'is' if report.no_sector == 1 else 'are'} not among them."
    )
    return Section(key, title, lead, plots or [_nothing()])


def _coverage(report: FactorReport) -> Section:
    rows: list[Row] = [
        [Cell(of.feature, is_code=True), of.universe, count(of.asked), share(of.coverage)]
        for of in report.factors
    ]
    table = Table(
        "Rows with a label, and those of them with a value",
        ("feature", "universe", "rows", "with a value"),
        rows,
        frozenset({2, 3}),
    )
    plots = []
    for number, (universe, group) in enumerate(groupby(report.factors, lambda of: of.universe)):
        columns: dict[str, list[object]] = {"date": [], "series": [], "value": []}
        names = []
        for of in group:
            names.append(of.feature)
            found = of.by_date
            for at in _thinned(len(found.days)):
                columns["date"].append(date_of_day(found.days[at]))
                columns["series"].append(of.feature)
                columns["value"].append(100 * found.valued[at] / found.asked[at])
        if columns["date"]:
            plots.append(
                Plot(
                    f"coverage-{number}", f"Rows with a value, {universe}", Kind.LINES,
                    Axis("date", "UTC"), Axis("rows with a value", "%"), columns,
                    palette=[f"s{place % 8}" for place in range(len(names))], names=names,
                    command=f"{command_of(report)} --json",
                )
            )  # fmt: skip
    reasons: list[Row] = [
        [target, why.replace("_", " "), count(number)]
        for target, of_target in report.dropped.items()
        for why, number in of_target.items()
        if number
    ]
    body: list[Table | Plot | Note | Small] = [table, *plots]
    if reasons:
        head = ("label", "why there is none", "decisions")
        body.append(Table("Decisions without a label", head, reasons, frozenset({2})))
    later = sum(report.created_later.values())
    lead = (
        f"{counted(report.decisions, 'decision')}; {counted(later, 'joined row')} "
        f"{'was' if later == 1 else 'were'} written after their decision."
    )
    return Section("coverage", "Coverage", lead, body)


def _tries(report: FactorReport) -> Section:
    text = (
        f"{counted(report.tried, 'combination')} of feature, universe and horizon so far, as the "
        "receipts of this lakehouse record them; a feature whose definition was changed is another "
        f"one. With so many, |t| must reach {figure(report.threshold)} so that all together find "
        "nothing 19 times in 20 where there is nothing: Bonferroni’s z(1 − 0.05 / 2N), as Harvey, "
        "Liu and Zhu (2016) demand of factors. The best of so many would reach "
        f"{figure(report.largest_by_chance)} on average, with either sign: Bailey and López de "
        "Prado (2014), for 2N."
    )
    return Section("tries", "How many were tried", text)


def _rows(report: FactorReport) -> Iterator[tuple[Factor, OfHorizon]]:
    return ((of, each) for of in report.factors for each in of.horizons)


def _name(of: Factor) -> str:
    return f"{of.feature}, {of.universe}"


def _sessions(each: OfHorizon) -> str:
    return counted(each.horizon, "session")


def _percent(value: Figure) -> str:
    return figure(None if value is None else 100 * value)


def _nothing() -> Note:
    return Note("There is nothing to show.")


def _thinned(size: int) -> Sequence[int]:
    """Return which of so many dates are drawn: the last one always."""
    step = -(-size // _POINTS) or 1
    return range((size - 1) % step, size, step)
