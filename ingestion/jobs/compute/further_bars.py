"""Compute the bars that are new, from what was kept of the bars before.

1. Which parts have new rows, and whether all that the state was made with is there.
2. Which symbols cannot go on: an old bar of theirs was restated or withdrawn, came late, or has a
   session missing before it that was not, or the reverse. They are computed from all their bars.
3. The others go on, a block of symbols at a time; a symbol that is new begins. Where nothing was
   traded in a new bar, its row gets the values of the bar before, and what is kept stays.
4. Rows are published, and then what is kept now takes the place of what was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.arrays import SymbolTable, close_seconds
from ingestion.bars.attendance import NEVER_CLOSED, Attendance
from ingestion.bars.holes import OpenHoles, open_holes
from ingestion.base.arrow import codes_in, empty_table, from_numpy, to_numpy
from ingestion.base.instants import DAY
from ingestion.base.spill import Spill
from ingestion.catalog import OHLCV_1D
from ingestion.formulas.carry import OtherReads
from ingestion.formulas.incremental import Kept, Plan, begin_blocks, go_on_block
from ingestion.formulas.panel import Block
from ingestion.jobs.compute.bars_by_symbol import BarsBySymbol
from ingestion.jobs.compute.definitions import computed_formulas
from ingestion.jobs.compute.formula_state import (
    NOT_KEPT,
    FormulaState,
    Seen,
    StateUse,
    StateWriter,
    Unfit,
)
from ingestion.jobs.compute.publication import Publication
from ingestion.jobs.compute.transpose import (
    BAR_COLUMNS,
    NOT_COUNTED,
    WITHDRAWN,
    Names,
    features,
    further_features,
    left_out_rows,
    note_attendance,
    numbered,
    spill_by_month,
    spill_by_symbol,
)
from ingestion.lakehouse import Part, SeenParts, arrow_schema, current, read_unseen
from ingestion.markets.market_sessions import market_of
from ingestion.project import Project
from ingestion.runs.run import Run

_EVER, _LATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
"""Days from 1970-01-01 before and behind all others."""
_MONTHS_AT_ONCE = 4
"""Of bars by symbol, made by one run: each takes what reading its bars does."""


@dataclass(frozen=True)
class Done:
    """What was computed."""

    bars: int
    """Bars read."""
    holes: OpenHoles
    state: StateUse


def compute_further(
    project: Project, run: Run, state: FormulaState, publication: Publication
) -> Done | None:
    """Compute what is new and publish it; None if nothing is new.

    Raises
    ------
    Unfit
        If everything must be computed from all bars; nothing was published then.
    """
    lakehouse, head = project.lakehouse, state.head
    plan = Plan(tuple(computed_formulas(project)), head.others)
    _check_formulas(plan, head.marks)
    seen = Seen.look(project, head.seen)
    seen.check(head.seen)
    parts = seen.bars.new_since(head.seen.bars)
    if not parts and not seen.says_more(head.seen):
        return None
    everything = seen.bars.parts
    if everything[0].date < head.first:
        raise Unfit("there are bars from before its first date", everything[0].date)

    by_symbol = BarsBySymbol(lakehouse, seen.bars, run.scratch("by_symbol"))
    symbols = SymbolTable(head.symbols)
    fresh = _read_unseen(parts, head.seen.bars, symbols)
    last = _padded(state.times(), len(symbols.names))
    attendance = state.attendance(everything[-1].date)
    again = _Again(len(symbols.names))
    newest = np.pad(
        attendance.last_close,
        (0, len(symbols.names) - len(head.symbols)),
        constant_values=NEVER_CLOSED,
    )
    again.add_misplaced(fresh, last, newest, len(head.symbols), plan)
    attendance.forget(np.flatnonzero(again.which))
    further = again.without(fresh)
    count = note_attendance(further, attendance, symbols)
    with (
        Spill(run.scratch("symbols")) as of_symbols,
        Spill(run.scratch("months")) as months,
        StateWriter(run.scratch("state"), plan, symbols.names) as writer,
    ):
        if again.which.any():
            only = np.flatnonzero(again.which)
            count += spill_by_symbol(everything, by_symbol, of_symbols, attendance, symbols, only)
        holes = open_holes(lakehouse, attendance)
        if len(only := again.add_changed(head.holes, holes, symbols.names, last)):
            # Their bars are counted already.
            unused = Attendance(everything[0].date, everything[-1].date)
            count += spill_by_symbol(everything, by_symbol, of_symbols, unused, symbols, only)
            further = again.without(further)
        names = Names(symbols.names)

        def begin(bars: pa.Table) -> Iterable[Block]:
            return begin_blocks(bars, plan, writer.keep)

        first = np.full(len(symbols.names), _EVER)
        first[names.place_of] = again.first_day
        for _, rows in of_symbols.drain():
            for computed in features(rows, names, holes, begin):
                spill_by_month(computed, first, date.max, months)
        is_known = to_numpy(further["number"]) < len(head.symbols)
        if not is_known.all():
            young = further.filter(from_numpy(~is_known))
            for computed in features(young, names, holes, begin):
                spill_by_month(computed, first, date.max, months)
            further = further.filter(from_numpy(is_known))
        for numbers, kept in state.blocks():
            stays = np.flatnonzero(~again.which[numbers])
            numbers, kept = numbers[stays], kept.take(stays)
            own = further.filter(from_numpy(np.isin(to_numpy(further["number"]), numbers)))
            go_on = _GoingOn(numbers, kept, plan, names, writer)
            for computed in go_on.features(own, holes, last):
                spill_by_month(computed, first, date.max, months)
        publication.publish(everything[-1].date, months, names, holes)
        now = seen.with_own(publication.written, run.id)
        writer.finish(project, run.id, now, holes, attendance, head.first)
    by_symbol.refresh(parts, _MONTHS_AT_ONCE)
    continued = len(np.unique(to_numpy(further["number"])))
    return Done(count, holes, StateUse(continued, int(again.which.sum()), again.reasons))


def _check_formulas(plan: Plan, marks: dict[str, str]) -> None:
    now = plan.marks
    if now != marks:
        names = {*now, *marks} - {""}
        changed = sorted(name for name in names if now.get(name) != marks.get(name))
        raise Unfit(f"other formulas: {', '.join(changed) or 'they keep something else'}")


def _read_unseen(parts: list[Part], seen: SeenParts, symbols: SymbolTable) -> pa.Table:
    """Return the bars that were not seen yet, withdrawn ones too, with numbers."""
    columns = [*BAR_COLUMNS, "created_timestamp"]
    tables = [read_unseen(part, OHLCV_1D, columns, seen) for part in parts]
    nothing = empty_table(arrow_schema(OHLCV_1D)).select(columns)
    bars = current(pa.concat_tables([*tables, nothing]))
    return numbered(bars.drop_columns(["created_timestamp"]), symbols)


def _padded(times: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return when last bars opened and closed, with new symbols at the end."""
    return np.pad(times, ((0, 0), (0, size - times.shape[1])), constant_values=NOT_KEPT)


class _Again:
    """The symbols that are computed from all their bars, why, and from which day on rows differ."""

    def __init__(self, symbols: int) -> None:
        self.which = np.zeros(symbols, dtype=bool)
        """By number."""
        self.first_day = np.full(symbols, _EVER)
        """By number, days from 1970-01-01; before all others where all computed rows are new."""
        self.reasons: dict[str, int] = {}

    def without(self, bars: pa.Table) -> pa.Table:
        """Return the bars of the other symbols."""
        return bars.filter(from_numpy(~self.which[to_numpy(bars["number"])]))

    def add_misplaced(
        self,
        bars: pa.Table,
        last: NDArray[np.int64],
        newest: NDArray[np.int64],
        known: int,
        plan: Plan,
    ) -> None:
        """Take the symbols that have bars which do not go on from the last one.

        Parameters
        ----------
        bars
            All that were not seen yet.
        last
            Open and close of the last bar that counts, by number, Unix s.
        newest
            Close of the newest row; one that does not count has the values of the bar before.
        known
            How many symbols were known before; the others have no earlier bars.
        """
        number, closes = to_numpy(bars["number"]), close_seconds(bars)
        opens, withdrawn = to_numpy(bars["timestamp"]), to_numpy(bars[WITHDRAWN])
        order = np.lexsort((opens, number))
        same = np.diff(number[order], prepend=-1) == 0
        is_late = np.empty(len(number), dtype=bool)
        is_late[order] = same & (np.diff(closes[order], prepend=0) <= 0)
        is_late |= (closes <= newest[number]) | (opens <= last[0, number])
        is_old = number < known
        for reason, is_one in (
            ("a formula reads all bars", np.full(len(number), bool(plan.from_all_bars))),
            ("nothing was kept of it", last[1, number] == NOT_KEPT),
            ("a bar was restated, withdrawn, or came late", is_late | withdrawn),
        ):
            # By the open: a bar that opened later may have closed earlier, beside a wrong one.
            self._take(reason, number[is_old & is_one], number, opens // DAY)

    def add_changed(
        self, before: OpenHoles, now: OpenHoles, names: list[str], last: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Take the symbols with old bars before which a session is missing now, or no longer.

        Returns
        -------
        NDArray of int64
            Those that were not among them before.
        """
        was, markets = self.which.copy(), None
        for closes, who in sorted(before.keys ^ now.keys):
            markets = (
                np.array([market_of(name) or "" for name in names]) if markets is None else markets
            )
            own = np.flatnonzero(((markets == who) | (np.array(names) == who)) & (last[1] > closes))
            self._take("other sessions are missing", own, own, np.full(len(own), closes // DAY))
        return np.flatnonzero(self.which & ~was)

    def _take(
        self,
        reason: str,
        numbers: NDArray[np.integer],
        of_days: NDArray[np.integer],
        days: NDArray[np.int64],
    ) -> None:
        """Take some symbols; what is new of them is on some days, beside days of others."""
        new = np.unique(numbers)
        new = new[~self.which[new]]
        if len(new):
            self.reasons[reason] = self.reasons.get(reason, 0) + len(new)
            self.which[new] = True
            self.first_day[new] = _LATEST
        own = np.isin(of_days, numbers)
        np.minimum.at(self.first_day, of_days[own], days[own])


class _GoingOn:
    """Computes formulas on further bars of a block of symbols, and passes on what is kept then."""

    def __init__(
        self,
        numbers: NDArray[np.int64],
        kept: Kept,
        plan: Plan,
        names: Names,
        writer: StateWriter,
    ) -> None:
        self._numbers, self._kept, self._plan = numbers, kept, plan
        self._names, self._writer = names, writer

    def features(
        self, bars: pa.Table, holes: OpenHoles, last: NDArray[np.int64]
    ) -> Iterator[pa.Table]:
        """Yield rows of further bars, as :func:`further_features`; also of those not counted."""
        left_out = bars[NOT_COUNTED]
        counted, computed = bars.filter(pc.invert(left_out)), []
        if counted.num_rows:
            computed = [*further_features(counted, self._names, holes, self, last[1])]
            yield from computed
        else:
            self._writer.add(self._numbers, self._kept)
        if counted.num_rows < bars.num_rows:
            rows = bars.filter(left_out)
            own = np.flatnonzero(np.isin(self._numbers, to_numpy(rows["number"])))
            values = self._plan.last_values(self._kept.take(own))
            shown = {"number": self._numbers[own], **values}
            shown_rows = pa.table({name: from_numpy(each) for name, each in shown.items()})
            yield left_out_rows(rows, computed, self._names, last, shown_rows)

    def __call__(self, bars: pa.Table) -> Iterable[Block]:
        places = np.sort(codes_in(self._names.ordered, pc.unique(bars["symbol"].cast(pa.string()))))
        at = np.argsort(self._names.place_of[self._numbers])
        at = at[np.searchsorted(self._names.place_of[self._numbers[at]], places)]
        try:
            block, kept = go_on_block(bars, self._plan, self._kept.take(at))
        except OtherReads:
            raise Unfit("a formula reads otherwise than it did before") from None
        self._writer.add(self._numbers[at], kept)
        others = np.setdiff1d(np.arange(len(self._numbers)), at)
        self._writer.add(self._numbers[others], self._kept.take(others))
        return [block]
