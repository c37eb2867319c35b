"""How far served values are from recomputed ones, one column at a time.

A difference is measured against the column's scale: the width of its bounds where the catalog has
both (RSI 100, ratings 2), else the largest magnitude that the symbol's recomputed values have among
the compared bars, so that MACD is judged in the symbol's own money and a crossing of zero is no
infinite error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.catalog import Column
from ingestion.formulas.cross_section import average_ranks
from ingestion.quality.votes import VoteBreak

PARITY_FILE = "parity.json"
NAMED = 20
"""How many differences of a column are named."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """One value that was served otherwise than recomputed."""

    symbol: str
    bar_close: datetime
    served: float
    recomputed: float
    cause: str = ""
    """What the data show of the reason."""


@dataclass(frozen=True)
class ColumnParity:
    """One column over all compared bars; figures are None where no or too few pairs define them."""

    feature: str
    n: int
    """Bars with a value on both sides; all figures are over these."""
    served_only: int
    """Bars whose recomputed value is null."""
    recomputed_only: int
    """Bars whose served value is null."""
    median_error: float | None
    """Median of the absolute differences, in the column's unit."""
    max_error: float | None
    sign_agreement: float | None
    """Share of bars on which both are negative, both zero or both positive."""
    rank_correlation: float | None
    """Spearman's, ties ranked by their average; None if either side is constant."""
    beyond: int
    """Bars that differ by more than the tolerance times the scale."""
    worst: tuple[Difference, ...]
    """The first :data:`NAMED` of those, the largest share of the scale first."""
    causes: Mapping[str, int] = field(default_factory=dict)
    """By cause, how many of them."""


@dataclass(frozen=True)
class ParityReport:
    """Served and recomputed values of the same bars, and the snapshots that could not be compared.

    Each snapshot is counted once: compared, repeated, open, unknown or unmatched.
    """

    run_id: str
    first: date
    """UTC date of the first snapshot looked at."""
    last: date
    tolerance: float
    """Share of a column's scale."""
    snapshots: int
    """Rows of all snapshots, one per symbol."""
    compared: int
    repeated: int
    """Later snapshots of a bar whose final values an earlier one has."""
    open: int
    """Snapshots of bars that were not finished."""
    unknown: int
    """Snapshots that do not show whether their bar was finished."""
    unmatched: int
    """Finished bars without a recomputed row."""
    columns: tuple[ColumnParity, ...]
    broken: tuple[VoteBreak, ...] = ()
    """Ratings whose served values follow other rules since a date."""

    @property
    def beyond(self) -> int:
        """Values of all columns beyond the tolerance."""
        return sum(column.beyond for column in self.columns)


Causes = Callable[[pa.Table], list[str]]
"""The cause of each difference, of its pairs."""


def compare_column(
    column: Column, pairs: pa.Table, tolerance: float, causes: Causes | None = None
) -> ColumnParity:
    """Compare one column.

    Parameters
    ----------
    column
        Its declaration, for name and bounds.
    pairs
        One row per bar, in any order: ``symbol`` (string), ``bar_close`` (int64, Unix s),
        ``served`` and ``recomputed`` (double, null where a side has no value).
    tolerance
        Largest difference that is not named, as a share of the column's scale.
    causes
        Says why values differ; called with the rows of those beyond the tolerance.
    """
    served, recomputed = pairs["served"].to_numpy(), pairs["recomputed"].to_numpy()
    both = ~(np.isnan(served) | np.isnan(recomputed))
    served_only = int((~np.isnan(served) & ~both).sum())
    recomputed_only = int((~np.isnan(recomputed) & ~both).sum())
    pairs, served, recomputed = pairs.filter(pa.array(both)), served[both], recomputed[both]
    n = len(served)
    error = np.abs(served - recomputed)
    scale = _scale(column, pairs["symbol"], recomputed)
    beyond = np.flatnonzero(error > tolerance * scale)
    found = causes(pairs.take(pa.array(beyond))) if causes and len(beyond) else [""] * len(beyond)
    return ColumnParity(
        feature=column.name,
        n=n,
        served_only=served_only,
        recomputed_only=recomputed_only,
        median_error=float(np.median(error)) if n else None,
        max_error=float(error.max()) if n else None,
        sign_agreement=float(np.mean(np.sign(served) == np.sign(recomputed))) if n else None,
        rank_correlation=rank_correlation(served, recomputed),
        beyond=len(beyond),
        worst=_worst(pairs, beyond, error, scale, found),
        causes=dict(Counter(each for each in found if each)),
    )


def rank_correlation(a: Values, b: Values) -> float | None:
    """Return Spearman's rank correlation: Pearson's, of the ranks.

    Parameters
    ----------
    a, b
        Shape ``(n,)`` each, finite.

    Returns
    -------
    float or None
        -1 to 1; None if either side does not vary.
    """
    if len(a) < 2:
        return None
    x, y = (ranks - ranks.mean() for ranks in (average_ranks(a), average_ranks(b)))
    variation = np.sqrt((x @ x) * (y @ y))
    return float(np.clip(x @ y / variation, -1, 1)) if variation else None


def _scale(column: Column, symbols: pa.ChunkedArray, recomputed: Values) -> Values:
    if column.low is not None and column.high is not None:
        return np.full(len(recomputed), column.high - column.low)
    encoded = symbols.combine_chunks().dictionary_encode()
    of_symbol = encoded.indices.to_numpy()
    largest = np.zeros(len(encoded.dictionary))
    np.maximum.at(largest, of_symbol, np.abs(recomputed))
    scale: Values = largest[of_symbol]
    return scale


def _worst(
    pairs: pa.Table,
    beyond: NDArray[np.intp],
    error: Values,
    scale: Values,
    causes: list[str],
) -> tuple[Difference, ...]:
    with np.errstate(divide="ignore"):
        share = error[beyond] / scale[beyond]
    largest = np.argsort(-share, kind="stable")[:NAMED]
    return tuple(
        Difference(
            row["symbol"],
            datetime.fromtimestamp(row["bar_close"], UTC),
            row["served"],
            row["recomputed"],
            causes[number],
        )
        for number, row in zip(
            largest, pairs.take(pa.array(beyond[largest])).to_pylist(), strict=True
        )
    )
