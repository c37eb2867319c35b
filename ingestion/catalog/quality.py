"""What rows of a feature group must hold to be published: limits and identities, as declarations.

Types, nullability and bounds are those of the columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True)
class PerColumn:
    """A limit for every feature, and another one for some."""

    default: float | None
    """None for no limit."""
    but: tuple[tuple[str, float | None], ...] = ()

    def of(self, column: str) -> float | None:
        """Return a column's limit."""
        return dict(self.but).get(column, self.default)


@dataclass(frozen=True)
class Identity:
    """A column that is a weighted sum of others; instants count in Unix seconds."""

    column: str
    parts: tuple[tuple[str, float], ...]
    """Names and weights."""


@dataclass(frozen=True)
class ParityLimits:
    """How far served values may be from recomputed ones, each column by itself."""

    max_beyond_share: PerColumn = PerColumn(0.05)
    """Of the compared values, those beyond the comparison's own tolerance."""
    min_rank_correlation: float = 0.95
    min_sign_agreement: float = 0.9


@dataclass(frozen=True)
class Quality:
    """The limits of one group.

    The first three are judged row by row: a row that breaks one is quarantined, the others are
    published. The rest are judged over a batch: if one is broken, nothing of it is published.
    """

    tolerance: float = 1e-6
    """By which bounds and identities may be missed."""
    identities: tuple[Identity, ...] = ()
    order: tuple[tuple[str, str], ...] = ()
    """Instants of which the first comes before the second."""
    max_quarantined_share: float = 0.05
    """Of the rows: more than that is no longer a fault of rows."""
    max_null_share: PerColumn = PerColumn(None)
    """Of the rows, those without a value."""
    max_lost_share: float = 0.1
    """Of the symbols with a value in their previous row, those without one now."""
    max_unmoved_share: float | None = None
    """Of the symbols with a session since their previous row, those that show the same bar again;
    None where a row is a bar."""
    max_drift: PerColumn = PerColumn(6.0)
    """Population stability index against the trailing days, see
    :func:`ingestion.quality.figures.stability_index`: no value exceeds 6.2, which is all values in
    one tenth of the former ones."""
    drift_days: int = 20
    """Days in the lakehouse from which on drift is judged."""
    drift_from: int = 50
    """Values from which on drift is judged: a few symbols of one kind do drift together."""
    max_age: timedelta = timedelta(days=4)
    """Of the newest row, when it is promoted."""
    judged_from: int = 20
    """Rows from which on a share is judged."""
    parity: ParityLimits | None = None


MARKET_DRIFT = PerColumn(
    6.0,
    (
        *((name, 5.0) for name in ("Recommend.All", "Recommend.MA", "Recommend.Other", "RSI")),
        *((name, 3.0) for name in ("ADX", "MACD.macd", "MACD.signal")),
    ),
)
"""Drift that a market can have in earnest.

The sample's 441 days from July 2019, the crash of 2020 among them, reach 5.8 for ``returns_1d``,
4.1 for the ratings, 3.5 for RSI and 2.3 for the three slow columns.
"""
