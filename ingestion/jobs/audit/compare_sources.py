"""Two sources' bars of the same sessions, compared.

Each source's bars of a symbol are those that ``ohlcv_1d`` has of it and, where another source
stands before it, those in ``other_bars``. A pair of sources is compared on the sessions from the
later one of their first bars to the earlier one of their last.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from itertools import combinations
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.bars.arrays import PRICES, PRICES_AND_VOLUME, close_seconds
from ingestion.bars.other_bars import name_of, names_of, read_others
from ingestion.bars.precedence import Precedence
from ingestion.bars.source import Source
from ingestion.base.arrow import codes_in, strings
from ingestion.base.errors import InputError
from ingestion.base.instants import utc_date
from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D
from ingestion.jobs.looking import one_look
from ingestion.lakehouse import Lakehouse, list_parts, read_current_of
from ingestion.project import Project

TOLERANCE = 1e-6
"""Relative; vendors that divide by a split and multiply again differ by less."""
MOST_WORST = 10
_COLUMNS = ["symbol", "timestamp", "event_timestamp", "source", *PRICES_AND_VOLUME]

_1970 = 1 << 39
"""What keeps opens before 1970 in the numbers of their own symbol."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CompareRequest:
    """Which bars to compare."""

    symbols: Collection[str] | None = None
    """None for all."""
    first: date = date.min
    last: date = date.max
    """UTC dates of closes, both included."""
    tolerance: float = TOLERANCE
    """Relative difference up to which two values agree."""
    max_share: float = 1.0
    """Share of differing bars of a pair beyond which the comparison is refused."""


@dataclass(frozen=True)
class ColumnDifference:
    """How much a column differs, over the shared sessions."""

    column: str
    differ: int
    """Bars that differ by more than the tolerance."""
    median: float | None
    """Of the relative differences of these bars."""
    largest: float | None


@dataclass(frozen=True)
class WorstDay:
    """A bar whose prices differ much."""

    symbol: str
    date: date
    """UTC date of the close."""
    column: str
    counts: float
    """The value of the source that stands first."""
    other: float
    difference: float
    """Relative to the value of the first."""


@dataclass(frozen=True)
class SourcePair:
    """What two sources say of the same symbols."""

    first: str
    """The source that stands first: ``ohlcv_1d`` has its bars."""
    other: str
    symbols: int
    shared: int
    """Sessions of which both have a bar."""
    differ: int
    """Of these, bars in which a price differs."""
    only_first: int
    """Sessions of which the other one has no bar, although it has earlier and later ones."""
    only_other: int
    columns: tuple[ColumnDifference, ...]
    worst: tuple[WorstDay, ...]

    @property
    def share(self) -> float:
        """The share of shared bars that differ."""
        return self.differ / self.shared if self.shared else 0.0


@dataclass(frozen=True)
class SourcesCompared:
    """All pairs of sources that share symbols."""

    SHOWN: ClassVar = ("refusal",)

    tolerance: float
    max_share: float
    symbols: int
    """Symbols of which two sources have bars."""
    pairs: tuple[SourcePair, ...]

    @property
    def refusal(self) -> str | None:
        """Which pairs differ too often."""
        beyond = [each for each in self.pairs if each.share > self.max_share]
        told = ", ".join(
            f"{each.first} and {each.other} differ on {each.differ:,} of {each.shared:,} bars"
            for each in beyond
        )
        return f"{told}: more than --max-share {self.max_share:g}" if beyond else None


@one_look
def compare_sources(project: Project, request: CompareRequest) -> SourcesCompared:
    """Compare the bars of each two sources that have bars of the same symbols.

    Raises
    ------
    InputError
        If the first date is after the last one.
    CorruptPart
        If a part cannot be read.
    """
    if request.first > request.last:
        raise InputError(f"--from {request.first} is after --to {request.last}")
    lakehouse = project.lakehouse
    bars = reading_again(lambda: _bars(lakehouse, request))
    order = Precedence(project.catalog.sources)
    by_name = {name_of(Source.parse(text)): text for text in bars["source"].unique().to_pylist()}
    names = sorted(by_name, key=lambda name: order.place(Source.parse(by_name[name])))
    of = {name: _OneSource.of(bars.filter(pc.equal(bars["name"], name))) for name in names}
    symbols = strings(sorted(set(bars["symbol"].to_pylist())))
    compared = (
        _compared(one, of[one], other, of[other], symbols, request.tolerance)
        for one, other in combinations(names, 2)
    )
    pairs = tuple(pair for pair in compared if pair is not None)
    return SourcesCompared(request.tolerance, request.max_share, len(symbols), pairs)


def _bars(lakehouse: Lakehouse, request: CompareRequest) -> pa.Table:
    """Return the bars of each source, of symbols that two have; with the source's ``name``."""
    others = read_others(lakehouse, request.first, request.last, request.symbols)
    others = others.select([*_COLUMNS, "name"])
    symbols = sorted(set(others["symbol"].to_pylist()))
    parts = list_parts(lakehouse, OHLCV_1D, request.first, request.last) if symbols else []
    rows = read_current_of(parts, OHLCV_1D, symbols, _COLUMNS)
    rows = rows.append_column("name", names_of(rows["source"]))
    # A bar of the source that counts now may have been put apart before.
    keys = {(s, t, n) for s, t, n in zip(*_keys(rows), strict=True)}
    gone = [key not in keys for key in zip(*_keys(others), strict=True)]
    return pa.concat_tables([rows, others.filter(pa.array(gone, pa.bool_()))])


def _keys(rows: pa.Table) -> list[list[object]]:
    return [rows[name].to_pylist() for name in ("symbol", "timestamp", "name")]


class _OneSource(NamedTuple):
    """The bars of one source."""

    symbol: pa.ChunkedArray
    opened: NDArray[np.int64]
    closed: NDArray[np.int64]
    values: Floats
    """Shape ``(n, 5)``: prices and volume."""

    @classmethod
    def of(cls, rows: pa.Table) -> _OneSource:
        return cls(
            rows["symbol"],
            rows["timestamp"].to_numpy(),
            close_seconds(rows),
            np.stack([rows[name].to_numpy() for name in PRICES_AND_VOLUME], axis=1),
        )

    def keys(self, symbols: pa.Array) -> NDArray[np.int64]:
        """Return one number per symbol and session."""
        found: NDArray[np.int64] = (codes_in(symbols, self.symbol) << 40) + _1970 + self.opened
        return found


def _compared(
    first: str, one: _OneSource, other: str, two: _OneSource, symbols: pa.Array, tolerance: float
) -> SourcePair | None:
    """Compare two sources; None if they have no symbol in common."""
    keys, theirs = one.keys(symbols), two.keys(symbols)
    both = np.intersect1d(keys >> 40, theirs >> 40)
    if not len(both):
        return None
    inside, inside_theirs = (_in_common(each, keys, theirs, both) for each in (keys, theirs))
    shared, at, at_theirs = np.intersect1d(keys, theirs, return_indices=True)
    values, others = one.values[at], two.values[at_theirs]
    difference = _relative(values, others)
    beyond = difference > tolerance
    prices = slice(len(PRICES))
    differs: NDArray[np.bool_] = np.any(beyond[:, prices], axis=1)
    columns = tuple(
        ColumnDifference(
            name,
            int(beyond[:, n].sum()),
            float(np.median(difference[beyond[:, n], n])) if beyond[:, n].any() else None,
            float(difference[beyond[:, n], n].max()) if beyond[:, n].any() else None,
        )
        for n, name in enumerate(PRICES_AND_VOLUME)
    )
    worst = np.argsort(-difference[:, prices].max(axis=1, initial=0), kind="stable")[:MOST_WORST]
    return SourcePair(
        first,
        other,
        len(both),
        len(shared),
        int(differs.sum()),
        int(np.isin(keys[inside], theirs, invert=True).sum()),
        int(np.isin(theirs[inside_theirs], keys, invert=True).sum()),
        columns,
        tuple(_worst(one, at[n], values[n], others[n], difference[n]) for n in worst if differs[n]),
    )


def _in_common(
    own: NDArray[np.int64],
    keys: NDArray[np.int64],
    theirs: NDArray[np.int64],
    symbols: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which bars lie between the first and the last session that both sources span."""
    inside = np.zeros(len(own), dtype=bool)
    for symbol in symbols.tolist():
        spans = [each[each >> 40 == symbol] for each in (keys, theirs)]
        begin, end = max(each.min() for each in spans), min(each.max() for each in spans)
        inside |= (own >= begin) & (own <= end)
    return inside


def _relative(values: Floats, others: Floats) -> Floats:
    """Return the differences relative to the first values; 0 where both are 0."""
    size = np.maximum(np.abs(values), np.abs(others))
    off = np.abs(values - others)
    found: Floats = np.divide(
        off, np.where(values == 0, size, np.abs(values)), out=np.zeros_like(off), where=size > 0
    )
    return found


def _worst(
    one: _OneSource, at: np.intp, values: Floats, others: Floats, difference: Floats
) -> WorstDay:
    n = int(np.argmax(difference[: len(PRICES)]))
    return WorstDay(
        one.symbol[int(at)].as_py(),
        utc_date(int(one.closed[at])),
        PRICES_AND_VOLUME[n],
        float(values[n]),
        float(others[n]),
        float(difference[n]),
    )
