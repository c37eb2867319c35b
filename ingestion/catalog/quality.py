"""What rows of a feature group must fulfil to be published: limits and identities, as declarations.

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
        """Return a column's limit.

        Examples
        --------
        >>> limits = PerColumn(0.05, (("RSI", None),))
        >>> limits.of("ADX"), limits.of("RSI")
        (0.05, None)
        """
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
    max_same_share: float = 0.99
    """Of the values of one column, those that are its commonest one."""
    max_still_share: PerColumn = PerColumn(0.9)
    """Of the values of one column whose row describes another bar than the symbol's previous row,
    those that are the previous row's in every bit."""
    max_unit_factor: float = 10.0
    """By which a column may be larger or smaller than in the previous rows: the upper quartiles of
    its magnitudes are compared. Another unit is a factor of 100, or of 1,000."""
    compared_from: int = 50
    """Values from which on these three are judged: a few symbols of one kind move together."""
    compared_days: int = 20
    """Dates before the batch's own in which a symbol's previous row is looked for."""
    max_age: timedelta | None = None
    """Of the newest row, when it is promoted; the group's time to live where None is given."""
    judged_from: int = 20
    """Rows from which on a share is judged."""
    parity: ParityLimits | None = None
