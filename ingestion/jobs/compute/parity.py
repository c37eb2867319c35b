"""Compare what the scanner served with what the bars give, bar by bar.

A snapshot and a recomputed row speak of one bar if they agree on symbol and session close, both by
:mod:`ingestion.markets.hours`: vendors stamp the open of a session differently, its close is one.

1. Snapshots are taken a month at a time, oldest first. Of each bar the first snapshot in which it
   was final counts: later ones repeat its values, and earlier ones show a bar that still moves.
2. Those are joined with the rows of the group that is computed from bars, newest version.
3. What follows the clock (``Perf.*``) is recomputed at the snapshot's own instant, from the bars:
   TradingView's values move on while the market sleeps.
4. The pairs are spilled by column, and each column is compared whole.
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.base.spill import Spill
from ingestion.base.wording import counted
from ingestion.catalog import Column, Dtype, FeatureGroup, FromBars
from ingestion.formulas import BarFormula, compute
from ingestion.formulas.ratings import RATINGS, recommendation
from ingestion.jobs.compute.causes import TOLERANCE, Cause, StoredBars
from ingestion.jobs.compute.rating_votes import vote_breaks
from ingestion.jobs.ingest.scan import Progress
from ingestion.jobs.serve.targets import FORMULA_COLUMNS, read_bars
from ingestion.lakehouse import (
    Lakehouse,
    Part,
    RunFile,
    by_date,
    list_parts,
    read_current,
    utc_date,
)
from ingestion.markets.feeds import Feeds
from ingestion.markets.hours import BarState, bar_close, bar_state
from ingestion.project import Project
from ingestion.quality.parity import PARITY_FILE, ColumnParity, ParityReport, compare_column
from ingestion.quality.votes import VoteBreak
from ingestion.runs.run import Run

REACH = timedelta(days=90)
"""How much longer than the longest window by the clock the bars are searched for its reference.

A symbol without a bar in between is taken for one that began after.
"""

_TIMES = ["symbol", "timestamp", "bar_timestamp"]
_KEYS = ["symbol", "bar_close"]
_RECOMPUTED = " recomputed"
_AGREES = "agrees"
_MEANS_OF_RATINGS = {recommendation.name}
_LONGEST_BAR = 26 * 3_600
"""Seconds, and an hour more than a dealer's day in which clocks go back."""


@dataclass(frozen=True)
class ParityRequest:
    """Which snapshots to compare, and what to name."""

    first: date = date.min
    """UTC date of the first snapshots."""
    last: date = date.max
    """UTC date of the last snapshots, included."""
    tolerance: float = TOLERANCE
    """Differences beyond this share of a column's scale are named."""
    max_vote_share: float = 0.05
    """By how much the share of a vote that is served otherwise may rise from one date to the next.

    A share of the bars on which it is cast.
    """


@dataclass(frozen=True)
class ParityResult:
    """The comparison and where it is written down."""

    report: ParityReport
    receipt: RunFile
    max_vote_share: float

    @property
    def refusal(self) -> str | None:
        """Which votes follow another rule, in a market as a whole; None if none does."""
        past = [
            str(broken)
            for broken in self.report.broken
            if broken.is_told and broken.share_after - broken.share_before > self.max_vote_share
        ]
        return "; ".join(past) or None


def parity(
    project: Project,
    request: ParityRequest | None = None,
    run: Run | None = None,
    progress: Progress | None = None,
) -> ParityResult:
    """Compare each group of the scanner with its twin that is computed from bars; judges nothing.

    In memory are a month of snapshots, the bars that its performance columns need, and then one
    column of all pairs. The time grows with the snapshots that are asked for.

    Parameters
    ----------
    progress
        Counts parts of snapshots.

    Raises
    ------
    InputError
        If there are no snapshots in the range, no recomputed rows, or no bar that both have.
    LakehouseLocked
        If another run is writing.
    """
    request, progress = request or ParityRequest(), progress or Progress()
    counts: Counter[str] = Counter()
    with (
        closing(progress),
        Run.open(project, "parity", request, file=PARITY_FILE, step_of=run) as run,
    ):
        parts = 0
        compared: list[ColumnParity] = []
        dates: list[date] = []
        lacking: list[InputError] = []
        broken: list[VoteBreak] = []
        stored = StoredBars(project.lakehouse)
        for twins in _twins(project):
            try:
                snapshots = _snapshot_parts(project.lakehouse, twins.served, request)
                parts += len(snapshots)
                progress.start(parts)
                with Spill(run.scratch("columns")) as columns:
                    own: Counter[str] = Counter()
                    _pair(project.lakehouse, twins, snapshots, columns, own, progress)
                    if not own["compared"]:
                        raise InputError(_nothing(twins, own))
                    for number, pairs in columns.drain():
                        column = twins.columns[number]
                        formula = project.formulas[column.name]
                        own_breaks = (
                            vote_breaks(project.lakehouse, formula, pairs)
                            if formula in RATINGS
                            else []
                        )
                        broken += own_breaks
                        causes = partial(_causes, stored, formula, own_breaks)
                        compared.append(compare_column(column, pairs, request.tolerance, causes))
            except InputError as error:  # of a group that was chosen today there is nothing yet
                lacking.append(error)
                continue
            counts += own
            dates += [snapshots[0].date, snapshots[-1].date]
        if not dates:
            raise lacking[0]
        report = ParityReport(
            run_id=run.id,
            first=min(dates),
            last=max(dates),
            tolerance=request.tolerance,
            snapshots=counts.total(),
            compared=counts["compared"],
            repeated=counts["repeated"],
            open=counts[BarState.OPEN],
            unknown=counts[BarState.UNKNOWN],
            unmatched=counts["unmatched"],
            columns=tuple(compared),
            broken=tuple(broken),
        )
        run.tell(**plain(report))
    return ParityResult(report, run.receipt, request.max_vote_share)


class _Twins(NamedTuple):
    """A group of the scanner, the group computed from bars, and what both have."""

    served: FeatureGroup
    recomputed: FeatureGroup
    columns: tuple[Column, ...]
    by_clock: tuple[BarFormula, ...]
    """The formulas of those columns that follow the clock."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)


def _twins(project: Project) -> list[_Twins]:
    """Return the pairs that the catalog declares.

    Raises
    ------
    InputError
        If there is none.
    """
    found = []
    scanned = {group.name: group for group in project.catalog.scanned}
    for group in project.catalog.computed:
        # A twin that the project does not run has no rows to compare with.
        if isinstance(group.source, FromBars) and group.source.twin in scanned:
            served = scanned[group.source.twin]
            names = {column.name for column in group.features if column.dtype is Dtype.DOUBLE}
            columns = tuple(column for column in served.features if column.name in names)
            formulas = (project.formulas[column.name] for column in columns)
            by_clock = tuple(each for each in formulas if each.follows_clock)
            found.append(_Twins(served, group, columns, by_clock))
    if not found:
        raise InputError(
            "no group has a twin to compare with: declare one, as source=FromBars(twin=…)"
        )
    return found


def _snapshot_parts(
    lakehouse: Lakehouse, group: FeatureGroup, request: ParityRequest
) -> list[Part]:
    if request.first > request.last:
        raise InputError(f"--from {request.first} is after --to {request.last}")
    parts = list_parts(lakehouse, group)
    if not parts:
        raise InputError(
            f"{lakehouse} has no snapshots of {group.name} yet: run `tvfeast flow-data`"
        )
    inside = [part for part in parts if request.first <= part.date <= request.last]
    if not inside:
        raise InputError(
            f"{lakehouse} has no snapshots in that range: they are of {parts[0].date} to "
            f"{parts[-1].date}; widen --from and --to"
        )
    return inside


def _nothing(twins: _Twins, counts: Counter[str]) -> str:
    return (
        f"none of {counted(counts.total(), 'snapshot')} can be compared: "
        f"{counts['unmatched']:,} of "
        f"finished bars without a row in {twins.recomputed.name}, {counts[BarState.OPEN]:,} of "
        f"bars still open, {counts[BarState.UNKNOWN]:,} of bars whose state is not known; load the "
        "bars of those days with `tvfeast import-bars FILE`, then run `tvfeast local-features`"
    )


def _pair(
    lakehouse: Lakehouse,
    twins: _Twins,
    snapshots: list[Part],
    columns: Spill,
    counts: Counter[str],
    progress: Progress,
) -> None:
    """Spill the pairs of all snapshots by the number of their column, and count the rest."""
    compared: dict[str, int] = {}
    feeds = Feeds(lakehouse)
    recomputed = by_date(list_parts(lakehouse, twins.recomputed))
    for _, found in groupby(snapshots, lambda part: (part.date.year, part.date.month)):
        month = list(found)
        of_month = [
            _final(
                read_current(of_day, twins.served, [*_TIMES, *twins.names]), compared, counts, feeds
            )
            for of_day in by_date(month).values()
        ]
        served = pa.concat_tables(of_month)
        pairs = _joined(served, twins, recomputed)
        counts["compared"] += pairs.num_rows
        counts["unmatched"] += served.num_rows - pairs.num_rows
        if pairs.num_rows:
            if twins.by_clock:
                pairs = _at_the_snapshot(lakehouse, pairs, twins.by_clock)
            pairs = pairs.append_column(_AGREES, _others_agree(pairs, twins))
            for number, name in enumerate(twins.names):
                own = [name, name + _RECOMPUTED]
                column = pairs.select([*_KEYS, "known_at", _AGREES, *own])
                columns.append(
                    number,
                    column.rename_columns([*_KEYS, "known_at", _AGREES, "served", "recomputed"]),
                )
        progress.advance(len(month))


def _causes(
    stored: StoredBars, formula: BarFormula, broken: list[VoteBreak], pairs: pa.Table
) -> list[str]:
    """Return why values differ, of bars that both sides have."""
    since = min((each.since for each in broken), default=date.max)
    rows = pairs.to_pylist()
    stored.read(row["symbol"] for row in rows)
    return [
        Cause.RULE
        if row["agrees"] and utc_date(row["known_at"]) >= since
        else stored.cause(row["symbol"], row["bar_close"], formula)
        for row in rows
    ]


def _others_agree(pairs: pa.Table, twins: _Twins) -> pa.Array:
    """Return of which bars all columns agree, except ratings and what follows the clock."""
    agrees = np.ones(pairs.num_rows, dtype=np.bool_)
    apart = {each.name for each in (*RATINGS, *twins.by_clock)} | _MEANS_OF_RATINGS
    for name in twins.names:
        if name not in apart:
            served, recomputed = (pairs[each].to_numpy() for each in (name, name + _RECOMPUTED))
            size = np.maximum(np.abs(served), np.abs(recomputed))
            same = np.abs(served - recomputed) <= TOLERANCE * size
            agrees &= same | (np.isnan(served) & np.isnan(recomputed))
    return pa.array(agrees)


def _final(
    rows: pa.Table, compared: dict[str, int], counts: Counter[str], feeds: Feeds
) -> pa.Table:
    """Keep the first final snapshot of each bar, and count the others.

    Parameters
    ----------
    rows
        One UTC date of the served group, sorted by symbol and timestamp.
    compared
        By symbol, the close of the newest bar that an earlier snapshot had; brought up to date.

    Returns
    -------
    pa.Table
        ``symbol``, ``bar_close``, ``known_at`` (both int64, Unix s) and the features.
    """
    kept: list[int] = []
    closes: list[int] = []
    opens = pc.divide(rows["bar_timestamp"].cast(pa.int64()), 1_000_000)
    keys = (cells.to_pylist() for cells in (rows["symbol"], opens, rows["timestamp"]))
    for row, (symbol, opened, known_at) in enumerate(zip(*keys, strict=True)):
        state = bar_state(symbol, opened, known_at, feeds.delay(symbol, known_at))
        if state is not BarState.CLOSED:
            counts[state] += 1
            continue
        close = bar_close(symbol, opened)
        if symbol in compared and close <= compared[symbol]:
            counts["repeated"] += 1
            continue
        compared[symbol] = close
        kept.append(row)
        closes.append(close)
    final = rows.take(pa.array(kept, pa.int64()))
    stamps = [pa.array(closes, pa.int64()), final["timestamp"]]
    names = [name for name in final.column_names if name not in _TIMES]
    return pa.table(
        [final["symbol"], *stamps, *(final[name] for name in names)],
        names=[*_KEYS, "known_at", *names],
    )


def _joined(served: pa.Table, twins: _Twins, recomputed: dict[date, list[Part]]) -> pa.Table:
    """Return the snapshots that have a recomputed row, with its values beside theirs."""
    days = {utc_date(close) for close in served["bar_close"].unique().to_pylist()}
    parts = [part for day in sorted(days) for part in recomputed.get(day, [])]
    local = read_current(parts, twins.recomputed, [*_TIMES, *twins.names])
    # The row of a withdrawn bar has the values of a bar before: it describes no bar of its own.
    opens = pc.divide(local["bar_timestamp"].cast(pa.int64()), 1_000_000)
    is_own = pc.less_equal(pc.subtract(local["timestamp"], opens), _LONGEST_BAR)
    local = local.filter(is_own).drop_columns(["bar_timestamp"])
    local = local.rename_columns([*_KEYS, *twins.names])
    return served.join(local, _KEYS, join_type="inner", right_suffix=_RECOMPUTED)


def _at_the_snapshot(
    lakehouse: Lakehouse, pairs: pa.Table, formulas: tuple[BarFormula, ...]
) -> pa.Table:
    """Replace values that follow the clock, at the bar's close, by those at the snapshot."""
    first, last = (utc_date(pc.min_max(pairs["known_at"])[end].as_py()) for end in ("min", "max"))
    first -= max(each.look_back for each in formulas if isinstance(each.look_back, timedelta))
    first -= REACH
    symbols = pairs["symbol"].unique().to_pylist()
    bars = read_bars(lakehouse, first, last, symbols, FORMULA_COLUMNS)
    place = bars.column_names.index("symbol")
    bars = bars.set_column(place, "symbol", bars["symbol"].cast(pa.string()))
    moved = recomputed_at(bars, pairs.select([*_KEYS, "known_at"]), formulas)
    pairs = pairs.drop_columns([each.name + _RECOMPUTED for each in formulas])
    pairs = pairs.join(moved, _KEYS, join_type="left outer", right_suffix=_RECOMPUTED)
    # A join promises no order, and a receipt should not differ from run to run.
    return pairs.sort_by([(key, "ascending") for key in _KEYS])


def recomputed_at(bars: pa.Table, asked: pa.Table, formulas: tuple[BarFormula, ...]) -> pa.Table:
    """Recompute formulas that follow the clock, for some bars, with another instant for "now".

    Parameters
    ----------
    bars
        Columns of ``ohlcv_1d``, unique on (``symbol``, ``timestamp``) and on (``symbol``,
        ``event_timestamp``), in any order; ``symbol`` is a string. They reach back to each symbol's
        first bar or past the longest window.
    asked
        ``symbol``, ``bar_close`` and ``known_at`` (int64, Unix s): which bars, and the instant for
        each; unique on the first two.

    Returns
    -------
    pyarrow.Table
        ``symbol``, ``bar_close`` and the formulas' values, for those of the asked bars that are
        there.
    """
    closes = pc.divide(bars["event_timestamp"].cast(pa.int64()), 1_000_000)
    bars = (
        bars.append_column("bar_close", closes)
        .join(asked, ["symbol", "bar_close"], join_type="left outer")
        .sort_by([("symbol", "ascending"), ("timestamp", "ascending")])
    )
    now = pc.coalesce(bars["known_at"], bars["bar_close"])
    values = compute(bars.append_column("close_timestamp", now), formulas)
    table = values.set_column(0, "bar_close", bars["bar_close"])
    return table.filter(pc.is_valid(bars["known_at"]))
