"""What each row of a feature group must hold, derived from the catalog.

A rule is data. Two engines judge by it: Great Expectations (:mod:`ingestion.quality.suite`), a day
at a time, and plain arrays (:mod:`ingestion.quality.rows`) for years of history at once.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ingestion.catalog import Column, Dtype, FeatureGroup

LARGEST = sys.float_info.max
"""The largest finite number: the bound of a column that must only be finite."""


class Level(StrEnum):
    """What a broken check stops."""

    ROW = "row"
    """The rows that break it."""
    BATCH = "batch"
    """All rows."""


@dataclass(frozen=True)
class Present:
    """A column without nulls."""

    column: str

    @property
    def check(self) -> str:
        """The rule's name."""
        return f"{self.column} present"


@dataclass(frozen=True)
class Within:
    """Numbers inside bounds, inclusive, and finite; null passes."""

    column: str
    low: float
    high: float

    @property
    def check(self) -> str:
        """The rule's name."""
        return f"{self.column} bounds"


@dataclass(frozen=True)
class Holds:
    """A column that is the weighted sum of others; null passes, and so does a null part."""

    column: str
    parts: tuple[tuple[str, float], ...]
    tolerance: float

    @property
    def check(self) -> str:
        """The rule's name."""
        return f"{self.column} identity"


@dataclass(frozen=True)
class Before:
    """Two instants in their order; null passes."""

    earlier: str
    later: str

    @property
    def check(self) -> str:
        """The rule's name."""
        return f"{self.earlier} before {self.later}"


@dataclass(frozen=True)
class Unique:
    """A key that no other row of the batch has."""

    columns: tuple[str, ...]

    @property
    def check(self) -> str:
        """The rule's name."""
        return "key unique"


Rule = Present | Within | Holds | Before | Unique


def row_rules(group: FeatureGroup) -> tuple[Rule, ...]:
    """Return what each row of a group must hold."""
    return tuple(_rules(group))


def _rules(group: FeatureGroup) -> Iterator[Rule]:
    quality = group.quality
    for column in group.columns:
        if not column.nullable:
            yield Present(column.name)
        if column.dtype is Dtype.DOUBLE:
            yield _within(column, quality.tolerance)
    for identity in quality.identities:
        yield Holds(identity.column, identity.parts, quality.tolerance)
    for earlier, later in quality.order:
        yield Before(earlier, later)
    yield Unique(group.key)


def _within(column: Column, tolerance: float) -> Within:
    low = -LARGEST if column.low is None else column.low - tolerance
    high = LARGEST if column.high is None else column.high + tolerance
    return Within(column.name, low, high)
