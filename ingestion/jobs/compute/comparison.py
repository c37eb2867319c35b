"""The members of a universe compared with each other: the rows of a cross-section.

1. When they are compared, and who is in then (:mod:`ingestion.datasets.universe_days`).
2. Each member's value, by the offline store's own search: the newest event by that instant, inside
   its time to live, in its newest version.
3. Sector and market as the symbols' metadata was recorded by then; the size as its group was.
4. Each unit once: of several pairs of one coin, the one with the newest row.
5. What is computed of the values (:mod:`ingestion.formulas.cross_section`).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from functools import cached_property
from itertools import tee
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import codes_in, finite, from_numpy, strings, text, to_numpy
from ingestion.base.columns import INSTANT
from ingestion.base.instants import DAY, MICROSECONDS, date_of_day, to_micros
from ingestion.base.ordered import last_before, runs
from ingestion.base.wording import counted
from ingestion.catalog import Catalog, CrossSection, FeatureGroup
from ingestion.catalog.cross_section import CLOSE, Standing, Trait
from ingestion.catalog.sources import COIN
from ingestion.datasets import Features, Membership
from ingestion.datasets.panel import answers
from ingestion.datasets.questions import SLICE, Slice
from ingestion.datasets.universe_days import UniverseDays
from ingestion.formulas.cross_section import (
    percentiles,
    ranks,
    residuals,
    winsorised,
    z_scores,
)
from ingestion.lakehouse import (
    Lakehouse,
    arrow_schema,
    list_dates,
    newest_part,
    read_members,
    read_symbols,
)

Values = NDArray[np.float64]

_TRAITS = {Trait.SECTOR: "sector", Trait.MARKET: "exchange"}
"""By trait, the column of the symbols' metadata."""
_BAR, _STAMP = "bar_timestamp", "timestamp"
_UNKNOWN = -1


@dataclass
class Compared:
    """What was compared so far."""

    days: int = 0
    unknown_days: int = 0
    """Days with a session on which it is not known who was in the universe."""
    without_values: int = 0
    """Days on which no member had a value: they have no rows."""
    members: int = 0
    """Members of all days, each unit once."""
    nulls: Counter[str] = field(default_factory=Counter)
    """Members of all days that are null, by column and reason."""


@dataclass(frozen=True)
class Comparison:
    """The cross-section of one group, in one lakehouse."""

    lakehouse: Lakehouse
    catalog: Catalog
    group: FeatureGroup

    @cached_property
    def source(self) -> CrossSection:
        """What is compared, and how."""
        source = self.group.source
        assert isinstance(source, CrossSection)  # noqa: S101 - for mypy
        return source

    @cached_property
    def of(self) -> FeatureGroup:
        """The group whose values are compared."""
        return self.catalog.group(self.source.of_group)

    @cached_property
    def size_group(self) -> FeatureGroup | None:
        """The group that the members' sizes are of; None without."""
        name = self.source.size.partition(":")[0]
        return self.catalog.group(name) if name else None

    @cached_property
    def unit(self) -> str:
        """The column by which members count once."""
        has_coins = any(column.name == COIN.name for column in self.of.columns)
        return self.source.unit or (COIN.name if has_coins else "symbol")

    @cached_property
    def reads_symbols(self) -> bool:
        """Whether the symbols' metadata matters."""
        return any(trait in _TRAITS for trait in self.source.against)

    def days(self, first: date, last: date, until: int) -> UniverseDays:
        """Return when the members are compared between two dates, up to an instant, Unix µs."""
        rows = read_members(self.lakehouse, self.source.universe)
        at = None if self.source.at == CLOSE else time.fromisoformat(self.source.at)
        return UniverseDays(Membership.of(rows), at, first, last, until)

    def available(self) -> tuple[date, date]:
        """Return the first and the last UTC date on which a value may be valid; an empty span."""
        dates = list_dates(self.lakehouse, self.of)
        if not dates:
            return date.max, date.min
        return dates[0], dates[-1] + self.of.ttl + timedelta(days=1)

    def rows(
        self, days: UniverseDays, counts: Compared, size: int = SLICE
    ) -> Iterator[tuple[date, pa.Table]]:
        """Yield the rows of each UTC date, in the group's schema but for when they were created.

        ``created_timestamp`` is the event's. A day on which no member has a value has no rows.
        """
        counts.unknown_days += days.unknown()
        waiting: list[pa.Table] = []
        for day in self.compared(days, size):
            table = day.table(counts)
            if table is None:
                continue
            if waiting and _date(waiting[-1]) != _date(table):
                yield _date(waiting[-1]), pa.concat_tables(waiting)
                waiting = []
            waiting.append(table)
        if waiting:
            yield _date(waiting[-1]), pa.concat_tables(waiting)

    def compared(self, days: UniverseDays, size: int = SLICE) -> Iterator[Day]:
        """Yield the members of each instant, and what was known of them; none without any value."""
        if newest_part(self.lakehouse, self.of) is None:
            return
        traits = self._traits(days.names)
        of_values, of_sizes = tee(days.slices(size))
        for (asked, values), sizes in zip(
            self._values(of_values), self._sizes(of_sizes), strict=True
        ):
            for instant, start, end in runs(asked.instants):
                count = end - start
                yield Day(
                    self,
                    instant,
                    asked.names.take(from_numpy(asked.codes[start:end])),
                    values.slice(start, count),
                    {name: of.at(asked.codes[start:end], instant) for name, of in traits.items()}
                    | ({} if sizes is None else _size(self.source, sizes.slice(start, count))),
                )

    def told(self, column: str, symbol: str, event: datetime) -> Iterator[str]:
        """Yield how a value of a row came about, by what is stored now."""
        made = {name: feature for name, feature, _ in self.source.made_of()}
        days = self.days(event.date(), event.date(), to_micros(event))
        feature, instant = made[column], to_micros(event)
        for day in (each for each in self.compared(days) if each.instant == instant):
            place = pc.index(day.symbols, text(symbol)).as_py()
            if place < 0:
                continue
            of_member, chosen = day.units
            values = day.values_of(feature)
            own, there = values[of_member[place]], values[np.isfinite(values)]
            among = f"{counted(len(chosen), 'member')} of {self.source.universe}"
            told = (
                f"compared: {self.source.of_group}:{feature} of {among}, {len(there):,} with a "
                f"value by {event:%Y-%m-%d %H:%M} UTC"
            )
            if len(there):
                mean, deviation = float(np.mean(there)), float(np.std(there))
                told += (
                    f": mean {mean:.6g}, deviation {deviation:.6g}, from {there.min():.6g} to "
                    f"{there.max():.6g}"
                )
            yield f"{told}; {symbol} has {own:.6g}" if np.isfinite(own) else f"{told}; it has none"

    def _values(self, slices: Iterator[Slice]) -> Iterator[tuple[Slice, pa.Table]]:
        names = [name.partition(":")[2] for name in self.source.of]
        also = [_BAR, _STAMP, *([] if self.unit == "symbol" else [self.unit])]
        # The answer's own keys may have the same names.
        features = Features(self.of, {name: f"of:{name}" for name in [*names, *also]})
        asked, again = tee(slices)
        found = answers(self.lakehouse, [features], again)
        return zip(asked, found, strict=True)

    def _sizes(self, slices: Iterator[Slice]) -> Iterator[pa.Table | None]:
        group = self.size_group
        if group is None or newest_part(self.lakehouse, group) is None:
            return (None for _ in slices)
        names = [self.source.size, *filter(None, [self.source.currency])]
        features = Features(group, {name.partition(":")[2]: name for name in names})
        as_recorded = not group.source.is_history
        return answers(self.lakehouse, [features], slices, as_recorded=as_recorded)

    def _traits(self, names: pa.Array) -> dict[str, _Recorded]:
        wanted = [trait for trait in _TRAITS if trait in self.source.against]
        if not wanted:
            return {}
        rows = read_symbols(self.lakehouse)
        return {str(trait): _Recorded.of(rows, _TRAITS[trait], names) for trait in wanted}


@dataclass(frozen=True)
class _Recorded:
    """What was recorded of the symbols over time, as codes; ``_UNKNOWN`` where nothing was."""

    names: NDArray[np.int64]
    """Of each row, the symbol's place among all names; ascending."""
    since: NDArray[np.int64]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, rows: pa.Table, column: str, names: pa.Array) -> _Recorded:
        place = codes_in(names, rows["symbol"])
        rows, place = rows.filter(from_numpy(place >= 0)), place[place >= 0]
        # Both are sorted by symbol, and the rows of a symbol by time.
        return cls(place, to_numpy(rows["valid_from"].cast(INSTANT)), _codes(rows[column]))

    def at(self, places: NDArray[np.int32], instant: int) -> NDArray[np.int64]:
        """Return what was recorded of some symbols by an instant."""
        own, times = places.astype(np.int64), np.full(len(places), instant, np.int64)
        row = last_before(self.names, self.since, own, times)
        return np.append(self.codes, _UNKNOWN)[row]


@dataclass(frozen=True)
class Day:
    """The members of one instant, and what was known of them."""

    comparison: Comparison
    instant: int
    symbols: pa.Array
    """Sorted."""
    values: pa.Table
    """Of each member, the columns of the group that is compared."""
    traits: dict[str, NDArray[Any]]
    """By trait, what was recorded of each member: codes; of the size, its logarithm, and
    ``currency`` as codes."""

    @cached_property
    def units(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Each member's unit, and the member that stands for each unit."""
        unit = self.comparison.unit
        if unit == "symbol":
            own = np.arange(len(self.symbols))
            return own, own
        named = pc.coalesce(self.values[f"of:{unit}"].combine_chunks(), self.symbols)
        _, of_member = np.unique(_codes(named), return_inverse=True)
        stamps = pc.fill_null(self.values[f"of:{_STAMP}"], from_numpy(np.array([-1]))[0])
        order = np.lexsort((np.arange(len(of_member)), -to_numpy(stamps), of_member))
        _, first = np.unique(of_member[order], return_index=True)
        return of_member, order[first]

    def table(self, counts: Compared) -> pa.Table | None:
        """Return the rows; None if no member has a value."""
        group, source = self.comparison.group, self.comparison.source
        of_member, chosen = self.units
        counts.days += 1
        names = [name.partition(":")[2] for name in source.of]
        values = {name: self.values_of(name) for name in names}
        if not any(np.isfinite(each).any() for each in values.values()):
            counts.without_values += 1
            return None
        counts.members += len(chosen)
        count, schema = len(self.symbols), arrow_schema(group)
        at = from_numpy(np.full(count, self.instant, np.int64))
        columns: dict[str, pa.Array] = {
            "timestamp": from_numpy(np.full(count, self.instant // MICROSECONDS, np.int64)),
            "symbol": self.symbols,
            "event_timestamp": at,
            "created_timestamp": at,
            _BAR: self.values[f"of:{_BAR}"],
            "universe_size": from_numpy(np.full(count, len(chosen), np.int64)),
            "universe_hash": strings([universe_hash(self.symbols)] * count),
        }
        for name, feature, by in source.made_of():
            column = finite(self.computed(values[feature], by, name, counts)[of_member])
            columns[name] = column
        for name in schema.names:
            columns.setdefault(name, pa.nulls(count))  # it is retired
        return pa.table(
            [columns[name].cast(schema.field(name).type) for name in schema.names], schema
        )

    def computed(self, values: Values, by: Standing, name: str, counts: Compared) -> Values:
        """Return where each unit's value stands; NaN where that is not known."""
        source, chosen = self.comparison.source, self.units[1]
        there = np.isfinite(values)
        counts.nulls[f"{name}: no value"] += int((~there).sum())
        if by is Standing.NEUTRALISED:
            for trait in source.against:
                known = self._is_known(trait)[chosen]
                counts.nulls[f"{name}: no {trait}"] += int((there & ~known).sum())
                there &= known
        of = values[there]
        if by is Standing.RANK:
            found = ranks(of)
        elif by is Standing.PERCENTILE:
            found = percentiles(of)
        elif by is Standing.ZSCORE:
            found = z_scores(of)
        elif by is Standing.WINSORISED:
            found = winsorised(of, source.tails)
        else:
            found = residuals(of, *self._regressors(source.against, chosen[there]))
        counts.nulls[f"{name}: nothing to compare"] += int((~np.isfinite(found)).sum())
        result = np.full(len(values), np.nan)
        result[there] = found
        return result

    def _is_known(self, trait: str) -> NDArray[np.bool_]:
        if trait not in self.traits:
            return np.zeros(len(self.symbols), dtype=bool)
        if trait == Trait.SIZE:
            known: NDArray[np.bool_] = np.isfinite(self.traits[trait])
            currency = self.traits.get("currency")
            return known if currency is None else known & (currency != _UNKNOWN)
        recorded: NDArray[np.bool_] = self.traits[trait] != _UNKNOWN
        return recorded

    def _regressors(
        self, against: Sequence[str], members: NDArray[np.int64]
    ) -> tuple[list[NDArray[np.int64]], list[Values]]:
        categories = [self.traits[each][members] for each in against if each != Trait.SIZE]
        numbers = [self.traits[each][members] for each in against if each == Trait.SIZE]
        if numbers and "currency" in self.traits:
            # Sizes in another currency differ by a constant, which so takes no part.
            categories.append(self.traits["currency"][members])
        return categories, numbers

    def values_of(self, feature: str) -> Values:
        """Return each unit's value of a feature; NaN where none is valid."""
        return _doubles(self.values[f"of:{feature}"])[self.units[1]]


def universe_hash(symbols: pa.Array) -> str:
    """Return the SHA-256 of symbols, which are sorted, with a line feed between them."""
    return hashlib.sha256("\n".join(symbols.to_pylist()).encode()).hexdigest()


def _size(source: CrossSection, sizes: pa.Table) -> dict[str, NDArray[Any]]:
    amounts = _doubles(sizes[source.size])
    logarithms = np.log(amounts, where=amounts > 0, out=np.full(len(amounts), np.nan))
    found: dict[str, NDArray[Any]] = {str(Trait.SIZE): logarithms}
    if source.currency:
        found["currency"] = _codes(sizes[source.currency])
    return found


def _doubles(column: pa.ChunkedArray) -> Values:
    """Return numbers as doubles, NaN where they are null."""
    values: Values = to_numpy(pc.fill_null(column.cast(pa.float64()), float("nan")))
    return values


def _codes(column: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
    """Return texts as whole numbers, ``_UNKNOWN`` where they are null; equal texts, equal ones."""
    texts = column.cast(pa.string())
    return codes_in(pc.unique(texts.drop_null()), texts)


def _date(rows: pa.Table) -> date:
    return date_of_day(int(to_numpy(rows["timestamp"][:1])[0]) // DAY)
