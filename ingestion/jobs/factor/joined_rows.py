"""The rows of a factor report: forward returns, beside features as known at each decision.

The returns are those of :func:`~ingestion.jobs.serve.targets.training_labels`, the features those
of :func:`~ingestion.datasets.panel.answers`: the rows that ``training-set --target`` writes. A
calendar year of labels and a slice of features are in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in, strings, to_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.instants import DAY, MICROSECONDS
from ingestion.base.ordered import last_before
from ingestion.catalog import OHLCV_1D, FeatureGroup
from ingestion.datasets import Entry, Label, Membership, Schedule
from ingestion.datasets.factor_study import DateRows
from ingestion.datasets.factors import Floats, Integers
from ingestion.datasets.panel import Counts, answers, by_group
from ingestion.datasets.questions import SLICE, Slice
from ingestion.jobs.serve.targets import NoDecision, training_labels
from ingestion.lakehouse import Lakehouse, list_dates, read_symbols
from ingestion.markets.sessions import by_hours
from ingestion.project import Project

_DAY = DAY * MICROSECONDS
_NO_END = datetime.fromtimestamp(0, UTC)
"""Where there is no label."""


class _Labels(NamedTuple):
    """The labels of a year, by decision and then by symbol; as :class:`DateRows` has them."""

    codes: NDArray[np.int32]
    decided: Integers
    values: Floats
    ends: Integers

    def where(self, kept: NDArray[np.bool_] | slice) -> _Labels:
        return _Labels(
            self.codes[kept], self.decided[kept], self.values[:, kept], self.ends[:, kept]
        )


@dataclass
class JoinedRows:
    """The rows, and what became of the decisions.

    Raises
    ------
    NoDecision
        If there is no label at all.
    """

    project: Project
    features: Sequence[tuple[FeatureGroup, str]]
    labels: Sequence[Label]
    """Returns."""
    schedule: Schedule
    entry: Entry
    symbols: Sequence[str] | None
    """None is all that have bars."""
    universes: Sequence[Membership]
    """Without any, all rows are of one."""
    known_at: datetime
    as_recorded: bool = False
    counts: Counts = field(default_factory=Counts)
    dropped: dict[str, Counter[str]] = field(default_factory=dict)
    """By target, the decisions without a label, by reason."""
    decisions: int = 0
    """Decisions that bars give, with a label or without."""
    unknown: list[int] = field(default_factory=list)
    """By universe, the dates at which it is not known who was in."""
    sectors: list[str] = field(default_factory=list)
    """Their names, by number."""
    no_sector: int = 0
    """Rows of symbols whose sector was not known then."""

    def __post_init__(self) -> None:
        self._names: pa.Array = strings(())  # pa.array() would import pandas
        self.unknown = [0] * len(self.universes)
        self.dropped = {str(label): Counter() for label in self.labels}

    def dates(self) -> Iterator[DateRows]:
        """Yield the rows of each UTC date of decisions, in order."""
        of = _Sectors.read(self.project.lakehouse, self.known_at)
        self.sectors = of.names
        features = by_group((g, name, f"{g.name}:{name}") for g, name in self.features)
        columns = [f"{group.name}:{name}" for group, name in self.features]
        for labels in self._years():
            pieces = list(_whole_dates(labels.decided))
            asked = (
                Slice(labels.codes[piece], labels.decided[piece], self._names) for piece in pieces
            )
            joined = answers(
                self.project.lakehouse,
                features,
                asked,
                known_at=self.known_at,
                as_recorded=self.as_recorded,
                counts=self.counts,
            )
            for piece, rows in zip(pieces, joined, strict=True):
                values = np.stack([_numbers(rows[name]) for name in columns])
                yield from self._of_dates(labels.where(piece), values, of)

    def _of_dates(self, labels: _Labels, values: Floats, of: _Sectors) -> Iterator[DateRows]:
        members = self._members(labels.codes, labels.decided)
        sectors = of.at(self._names, labels.codes, labels.decided)
        self.no_sector += int(np.count_nonzero(sectors < 0))
        days = labels.decided // _DAY
        begins = np.flatnonzero(np.diff(days, prepend=days[:1] - 1))
        for begin, end in zip(begins, [*begins[1:], len(days)], strict=True):
            # Of two decisions on one date, which few markets have, the later one counts.
            codes, last = np.unique(labels.codes[begin:end][::-1], return_index=True)
            at = end - 1 - last
            yield DateRows(
                day=int(days[begin]),
                codes=codes,
                decided=labels.decided[at],
                values=values[:, at],
                labels=labels.values[:, at],
                ends=labels.ends[:, at],
                sectors=sectors[at],
                members=members[:, at],
            )

    def _years(self) -> Iterator[_Labels]:
        """Yield the labels of each calendar year that has some."""
        first, last = self.schedule.first, self.schedule.last
        days = list_dates(self.project.lakehouse, OHLCV_1D)
        found = False
        nothing: NoDecision | None = None
        for year in sorted({day.year for day in days if first <= day <= last}):
            span = max(first, date(year, 1, 1)), min(last, date(year, 12, 31))
            try:
                labels = self._of_year(*span)
            except NoDecision as error:
                nothing = error
                continue
            if len(labels.codes):
                found = True
                yield labels
        if not found:
            raise nothing or NoDecision(
                f"no decision from {first} to {last} has a label and a member: "
                f"{self._why()}; give another --from or --to"
            )

    def _why(self) -> str:
        reasons = [
            f"{target}: " + (", ".join(f"{n:,} {why}" for why, n in of.items() if n) or "no bar")
            for target, of in self.dropped.items()
        ]
        return "; ".join(reasons)

    def _of_year(self, first: date, last: date) -> _Labels:
        made = training_labels(
            self.project,
            list(self.dropped),
            first,
            last,
            self.entry,
            symbols=self.symbols,
            known_at=self.known_at,
        ).labels
        names = [label.column for label in self.labels]
        missing = made.missing or {names[0]: made.dropped}
        for name, of in zip(names, self.dropped.values(), strict=True):
            of.update({why.value: count for why, count in missing.get(name, {}).items()})
        self.decisions += made.decisions
        codes, decided = self._codes(made.table["symbol"]), _micros(made.table["event_timestamp"])
        order = np.lexsort((codes, decided))
        table = made.table.take(pa.array(order))
        ends = [table[made.spans[name][1]] for name in names]
        labels = _Labels(
            codes[order],
            decided[order],
            np.stack([_numbers(table[name]) for name in names]),
            np.stack([_micros(pc.fill_null(each, _NO_END)) for each in ends]),
        )
        if self.schedule.every != "session":
            labels = labels.where(_on_schedule(self.schedule, self._names, labels))
        if self.universes:
            self._count_unknown(labels.decided)
            of_any = np.logical_or.reduce(self._members(labels.codes, labels.decided))
            labels = labels.where(of_any)
        return labels

    def _codes(self, symbols: pa.ChunkedArray) -> NDArray[np.int32]:
        """Return a number for each symbol, the same in all years."""
        encoded = symbols.dictionary_encode().unify_dictionaries().combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # what no rows at all combine to
            return np.empty(0, np.int32)
        names = encoded.dictionary.cast(pa.string())
        new = names.filter(pc.invert(pc.is_in(names, value_set=self._names)))
        self._names = pa.concat_arrays([self._names, new])
        codes: NDArray[np.int32] = codes_in(self._names, names).astype(np.int32)
        of_rows: NDArray[np.int32] = codes[to_numpy(encoded.indices)]
        return of_rows

    def _members(self, codes: NDArray[np.int32], decided: Integers) -> NDArray[np.bool_]:
        if not self.universes:
            return np.ones((1, len(codes)), dtype=bool)
        return np.stack([each.was_member(self._names, codes, decided) for each in self.universes])

    def _count_unknown(self, decided: Integers) -> None:
        for number, membership in enumerate(self.universes):
            days = decided[~membership.is_known(decided)] // _DAY
            self.unknown[number] += len(np.unique(days))


@dataclass(frozen=True)
class _Sectors:
    """The sector of each symbol, as it was recorded."""

    symbols: pa.Array
    codes: Integers
    """Of each record, the place of its symbol."""
    since: Integers
    numbers: NDArray[np.int32]
    names: list[str]

    @classmethod
    def read(cls, lakehouse: Lakehouse, known_at: datetime) -> _Sectors:
        rows = read_symbols(lakehouse, known_at).combine_chunks()
        symbols = pc.unique(rows["symbol"])
        there = pc.unique(rows["sector"].drop_null())
        names = there.filter(pc.not_equal(there, "")).sort()
        return cls(
            symbols,
            codes_in(symbols, rows["symbol"]),
            _micros(rows["valid_from"]),
            codes_in(names, rows["sector"]).astype(np.int32),
            names.to_pylist(),
        )

    def at(self, names: pa.Array, codes: NDArray[np.int32], times: Integers) -> NDArray[np.int32]:
        """Return the number of each row's sector as known then; -1 where it is not known."""
        record = last_before(self.codes, self.since, codes_in(self.symbols, names)[codes], times)
        return np.where(record < 0, -1, np.append(self.numbers, -1)[record]).astype(np.int32)


def _on_schedule(schedule: Schedule, names: pa.Array, labels: _Labels) -> NDArray[np.bool_]:
    kept = np.zeros(len(labels.codes), dtype=bool)
    for key, places in by_hours(names.to_pylist()).items():
        decisions = np.isin(labels.decided, schedule.decisions(key))
        kept |= decisions & np.isin(labels.codes, places)
    return kept


def _whole_dates(decided: Integers) -> Iterator[slice]:
    """Cut ascending decisions into slices of about one size, at the ends of dates."""
    begins = np.flatnonzero(np.diff(decided // _DAY, prepend=-1))
    first = 0
    for end in [*begins[1:].tolist(), len(decided)]:
        if end - first >= SLICE or end == len(decided):
            yield slice(first, end)
            first = end


def _micros(times: pa.ChunkedArray) -> Integers:
    return to_numpy(times.cast(INSTANT)).astype(np.int64)


def _numbers(column: pa.ChunkedArray) -> Floats:
    """Return values as doubles; NaN where there is none."""
    doubles: Floats = column.cast(pa.float64()).to_numpy()
    return doubles
