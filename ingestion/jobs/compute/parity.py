"""Compare what the scanner served with what the bars give, bar by bar.

1. Snapshots are taken a month at a time, oldest first. Of each bar the first snapshot in which it
   was final counts: later ones repeat its values, and earlier ones show a bar that still moves.
2. Those are joined with the rows of the group that is computed from bars, newest version
   (:mod:`~ingestion.jobs.compute.pairs`).
3. What follows the clock (``Perf.*``) is recomputed at the snapshot's own instant, from the bars:
   TradingView's values move on while the market sleeps.
4. The pairs are spilled by column, and each column is compared whole.
5. Of ratings that differ, the votes are computed, and those whose rule has changed are named
   (:mod:`~ingestion.jobs.compute.rating_votes`).
6. Each difference gets its cause (:mod:`~ingestion.jobs.compute.causes`).
"""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from datetime import date
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.base.progress import Progress, progress
from ingestion.base.spill import Spill
from ingestion.base.wording import counted
from ingestion.catalog import FeatureGroup
from ingestion.formulas.ratings import RATINGS
from ingestion.jobs.compute.by_clock import at_the_snapshot
from ingestion.jobs.compute.causes import TOLERANCE, Causes
from ingestion.jobs.compute.pairs import (
    KEYS,
    MARKS,
    NEIGHBOURS,
    RECOMPUTED,
    TIMES,
    Twins,
    side_by_side,
    twins_of,
    with_open_bars,
)
from ingestion.jobs.compute.rating_votes import RatedBars
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
from ingestion.markets.hours import BarState, MarketHours, bar_close, bar_state, hours_of
from ingestion.project import Project
from ingestion.quality.parity import PARITY_FILE, ColumnParity, ParityReport, compare_column
from ingestion.quality.votes import VoteBreak
from ingestion.runs.run import Run


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
) -> ParityResult:
    """Compare each group of the scanner with its twin that is computed from bars; judges nothing.

    In memory are a month of snapshots, the bars that its performance columns need, and then one
    column of all pairs, beside a number for each bar behind those that differ. The time grows with
    the snapshots that are asked for; it does not with the bars that are older than any of these
    needs.

    Raises
    ------
    InputError
        If there are no snapshots in the range, no recomputed rows, or no bar that both have.
    LakehouseLocked
        If another run is writing.
    """
    request = request or ParityRequest()
    counter = progress("parity", "parts of snapshots")
    counts: Counter[str] = Counter()
    with (
        closing(counter),
        Run.open(project, "parity", request, file=PARITY_FILE, step_of=run) as run,
    ):
        parts = 0
        compared: list[ColumnParity] = []
        dates: list[date] = []
        lacking: list[InputError] = []
        broken: list[VoteBreak] = []
        for twins in _twins(project):
            try:
                snapshots = _snapshot_parts(project.lakehouse, twins.served, request)
                parts += len(snapshots)
                counter.start(parts)
                with Spill(run.scratch("columns")) as columns:
                    own: Counter[str] = Counter()
                    _pair(project.lakehouse, twins, snapshots, columns, own, counter)
                    if not own["compared"]:
                        raise InputError(_nothing(twins, own))
                    found, broken_of = _compare(project, twins, columns, request.tolerance)
            except InputError as error:  # of a group that was chosen today there is nothing yet
                lacking.append(error)
                continue
            compared += found
            broken += broken_of
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


def _twins(project: Project) -> list[Twins]:
    found = list(twins_of(project))
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


def _nothing(twins: Twins, counts: Counter[str]) -> str:
    return (
        f"none of {counted(counts.total(), 'snapshot')} can be compared: "
        f"{counts['unmatched']:,} of "
        f"finished bars without a row in {twins.recomputed.name}, {counts[BarState.OPEN]:,} of "
        f"bars still open, {counts[BarState.UNKNOWN]:,} of bars whose state is not known; load the "
        "bars of those days with `tvfeast import-bars FILE`, then run `tvfeast local-features`"
    )


def _pair(
    lakehouse: Lakehouse,
    twins: Twins,
    snapshots: list[Part],
    columns: Spill,
    counts: Counter[str],
    counter: Progress,
) -> None:
    """Spill the pairs of all snapshots by the number of their column, and count the rest."""
    compared: dict[str, int] = {}
    states = _States(Feeds(lakehouse))
    recomputed = by_date(list_parts(lakehouse, twins.recomputed))
    for _, found in groupby(snapshots, lambda part: (part.date.year, part.date.month)):
        month = list(found)
        of_days = [
            _final(read_current(of_day, twins.served, twins.read), compared, counts, states)
            for of_day in by_date(month).values()
        ]
        first, later = (pa.concat_tables(tables) for tables in zip(*of_days, strict=True))
        local = _recomputed(first, twins, recomputed)
        pairs = side_by_side(first, local, twins)
        counts["compared"] += pairs.num_rows
        counts["unmatched"] += first.num_rows - pairs.num_rows
        if pairs.num_rows:
            disagreeing = pairs.filter(pc.invert(pairs["agrees"])).select(KEYS)
            later = later.join(disagreeing, KEYS, join_type="left semi")
            pairs = with_open_bars(pairs, side_by_side(later, local, twins))
            if twins.by_clock:
                pairs = at_the_snapshot(lakehouse, pairs, twins.by_clock)
            for number, name in enumerate(twins.names):
                column = pairs.select([*KEYS, *MARKS, name, name + RECOMPUTED])
                columns.append(
                    number, column.rename_columns([*KEYS, *MARKS, "served", "recomputed"])
                )
        counter.advance(len(month))


def _compare(
    project: Project, twins: Twins, columns: Spill, tolerance: float
) -> tuple[list[ColumnParity], list[VoteBreak]]:
    """Compare each column; then, where some differ, look for changed rules and causes."""
    compared: list[ColumnParity] = []
    broken: list[VoteBreak] = []
    differing: set[str] = set()
    closes: list[int] = []

    def note(pairs: pa.Table) -> list[str]:
        differing.update(pairs["symbol"].to_pylist())
        closes.extend(pc.min_max(pairs["bar_close"]).as_py().values())
        return [""] * pairs.num_rows

    rated = RatedBars(project.lakehouse)
    for number, column in enumerate(twins.columns):
        pairs = pa.concat_tables(columns.take(number))
        compared.append(compare_column(column, pairs, tolerance, note))
        formula = project.formulas[column.name]
        if formula in RATINGS:
            broken += rated.breaks(formula, pairs)
        if compared[number].beyond:
            columns.append(number, pairs)
    if not differing:
        return compared, broken
    formulas = [project.formulas[twins.columns[number].name] for number in columns.numbers]
    causes = Causes(project.lakehouse, differing, formulas, (min(closes), max(closes)), broken)
    for number, pairs in columns.drain():
        column = twins.columns[number]
        why = causes.of(project.formulas[column.name])
        compared[number] = compare_column(column, pairs, tolerance, why)
    return compared, broken


class _States:
    """Whether bars were final, and when they close; most symbols of a date share both."""

    def __init__(self, feeds: Feeds) -> None:
        self._feeds = feeds
        self._hours: dict[str, MarketHours] = {}
        self._known: dict[tuple[MarketHours, int | None, int, int], tuple[BarState, int]] = {}

    def of(self, symbol: str, opened: int | None, known_at: int) -> tuple[BarState, int]:
        """Return a bar's state in a snapshot, and its close where that is not unknown."""
        hours = self._hours.get(symbol)
        if hours is None:
            hours = self._hours.setdefault(symbol, hours_of(symbol))
        key = hours, opened, known_at, self._feeds.delay(symbol, known_at)
        if key not in self._known:
            state = bar_state(symbol, opened, known_at, key[-1])
            self._known[key] = state, 0 if opened is None else bar_close(symbol, opened)
        return self._known[key]


def _final(
    rows: pa.Table, compared: dict[str, int], counts: Counter[str], states: _States
) -> tuple[pa.Table, pa.Table]:
    """Return the first final snapshot of each bar, and the later ones; count the others.

    Parameters
    ----------
    rows
        One UTC date of the served group, sorted by symbol and timestamp.
    compared
        By symbol, the close of the newest bar that an earlier snapshot had; brought up to date.

    Returns
    -------
    tuple of pa.Table
        ``symbol``, ``bar_close``, ``known_at`` (both int64, Unix s) and the features.
    """
    kept: tuple[list[int], list[int]] = ([], [])
    closes: tuple[list[int], list[int]] = ([], [])
    opens = pc.divide(rows["bar_timestamp"].cast(pa.int64()), 1_000_000)
    keys = (cells.to_pylist() for cells in (rows["symbol"], opens, rows["timestamp"]))
    for row, (symbol, opened, known_at) in enumerate(zip(*keys, strict=True)):
        state, close = states.of(symbol, opened, known_at)
        if state is not BarState.CLOSED:
            counts[state] += 1
            continue
        is_later = symbol in compared and close <= compared[symbol]
        counts["repeated"] += is_later
        if not is_later:
            compared[symbol] = close
        kept[is_later].append(row)
        closes[is_later].append(close)
    names = [name for name in rows.column_names if name not in TIMES]

    def taken(places: list[int], close: list[int]) -> pa.Table:
        found = rows.take(pa.array(places, pa.int64()))
        stamps = [pa.array(close, pa.int64()), found["timestamp"]]
        return pa.table(
            [found["symbol"], *stamps, *(found[name] for name in names)],
            names=[*KEYS, "known_at", *names],
        )

    first, later = (taken(*each) for each in zip(kept, closes, strict=True))
    return first, later


def _recomputed(served: pa.Table, twins: Twins, recomputed: dict[date, list[Part]]) -> pa.Table:
    """Return the recomputed rows of some bars, and of the bars around them."""
    ends = pc.min_max(served["bar_close"])
    first, last = (utc_date(ends[end].as_py() or 0) for end in ("min", "max"))
    parts = [
        part
        for day, of_day in recomputed.items()
        if first - NEIGHBOURS <= day <= last + NEIGHBOURS
        for part in of_day
    ]
    return read_current(parts, twins.recomputed, [*TIMES, *twins.names])
