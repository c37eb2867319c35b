"""What the rows of a feature group must fulfil, derived from the catalog: each rule declared once.

Great Expectations judges a day's batch by each rule's ``expectation``. Millions of rows of history
are judged by its ``broken``, on whole columns. Great Expectations takes seconds to import, so only
the methods that need it do.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.catalog import Column, Dtype, FeatureGroup

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

LARGEST = sys.float_info.max
"""The largest finite number: the bound of a column that must only be finite."""
_MICROSECONDS = 1e6

Mask = NDArray[np.bool_]


class Level(StrEnum):
    """What a broken check stops."""

    ROW = "row"
    """The rows that break it."""
    BATCH = "batch"
    """All rows."""


class Numbers(NamedTuple):
    """A column as numbers: instants in Unix seconds."""

    values: NDArray[np.float64]
    valid: Mask
    """False where the column is null; NaN and infinities are valid."""


class Rule(Protocol):
    """A rule for rows; null passes, but for :class:`Present`."""

    @property
    def check(self) -> str:
        """The rule's name."""
        ...

    def broken(self, rows: pa.Table) -> Mask:
        """Return which rows break it."""
        ...

    def expectation(self, meta: dict[str, str]) -> Expectation:
        """Return the same for Great Expectations."""
        ...


@dataclass(frozen=True)
class Present:
    """A column without nulls, or with no more of them than a share of the rows."""

    column: str
    nulls: float | None = None
    """Largest share of nulls, of all rows together; None: each null breaks the rule."""

    @property
    def check(self) -> str:
        """The rule's name."""
        return f"{self.column} present" if self.nulls is None else f"{self.column} null share"

    def broken(self, rows: pa.Table) -> Mask:
        """Return which rows have no value."""
        return ~_mask(pc.is_valid(rows[self.column]))

    def expectation(self, meta: dict[str, str]) -> Expectation:
        """Return the same for Great Expectations."""
        mostly = 1 - (self.nulls or 0)
        return _gxe().ExpectColumnValuesToNotBeNull(column=self.column, mostly=mostly, meta=meta)


@dataclass(frozen=True)
class Within:
    """Numbers inside bounds, inclusive, and finite."""

    column: str
    low: float
    high: float

    @property
    def check(self) -> str:
        """The rule's name."""
        return f"{self.column} bounds"

    def broken(self, rows: pa.Table) -> Mask:
        """Return which rows are outside."""
        cells = rows[self.column]
        inside = pc.and_(pc.greater_equal(cells, self.low), pc.less_equal(cells, self.high))
        return _mask(pc.fill_null(pc.invert(inside), False))

    def expectation(self, meta: dict[str, str]) -> Expectation:
        """Return the same for Great Expectations."""
        return _gxe().ExpectColumnValuesToBeBetween(
            column=self.column, min_value=self.low, max_value=self.high, meta=meta
        )


@dataclass(frozen=True)
class OneOf:
    """Texts of a list."""

    column: str
    values: tuple[str, ...]

    @property
    def check(self) -> str:
        """The rule's name."""
        return f"{self.column} values"

    def broken(self, rows: pa.Table) -> Mask:
        """Return which rows have another text."""
        cells = rows[self.column]
        known = pc.is_in(cells, pa.array(self.values, cells.type))
        return _mask(pc.and_(pc.is_valid(cells), pc.invert(known)))

    def expectation(self, meta: dict[str, str]) -> Expectation:
        """Return the same for Great Expectations."""
        return _gxe().ExpectColumnValuesToBeInSet(
            column=self.column, value_set=list(self.values), meta=meta
        )


@dataclass(frozen=True)
class Sum:
    """A column that is the weighted sum of others; a null part passes."""

    column: str
    parts: tuple[tuple[str, float], ...]
    tolerance: float

    @property
    def check(self) -> str:
        """The rule's name, and that of the column of residuals that a batch is judged by."""
        return f"{self.column} identity"

    def residual(self, rows: pa.Table) -> Numbers:
        """Return by how much the sum is missed; null where it cannot be judged."""
        values, valid = numbers(rows, self.column)
        with np.errstate(invalid="ignore"):  # an infinity less an infinity is broken too
            for name, weight in self.parts:
                part = numbers(rows, name)
                values, valid = values - weight * part.values, valid & part.valid
        return Numbers(values, valid)

    def broken(self, rows: pa.Table) -> Mask:
        """Return which rows miss it."""
        values, valid = self.residual(rows)
        mask: Mask = valid & ~((values >= -self.tolerance) & (values <= self.tolerance))
        return mask

    def expectation(self, meta: dict[str, str]) -> Expectation:
        """Return the same for Great Expectations."""
        return _gxe().ExpectColumnValuesToBeBetween(
            column=self.check, min_value=-self.tolerance, max_value=self.tolerance, meta=meta
        )


@dataclass(frozen=True)
class Before:
    """Two instants in their order."""

    earlier: str
    later: str

    @property
    def check(self) -> str:
        """The rule's name."""
        return f"{self.earlier} before {self.later}"

    def broken(self, rows: pa.Table) -> Mask:
        """Return which rows have another order."""
        late = pc.greater_equal(rows[self.earlier], rows[self.later])
        return _mask(pc.fill_null(late, False))

    def expectation(self, meta: dict[str, str]) -> Expectation:
        """Return the same for Great Expectations."""
        return _gxe().ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=self.later,
            column_B=self.earlier,
            ignore_row_if="either_value_is_missing",
            meta=meta,
        )


@dataclass(frozen=True)
class Unique:
    """A key that no other row of the batch has; null is a key too."""

    columns: tuple[str, ...]

    @property
    def check(self) -> str:
        """The rule's name."""
        return "key unique"

    def broken(self, rows: pa.Table) -> Mask:
        """Return which rows have the key of another."""
        # A number for each row, equal where the columns are: numbers sort faster than texts
        # group. Those of two columns fit for as many rows as memory does.
        keys = np.zeros(rows.num_rows, dtype=np.int64)
        for name in self.columns:
            encoded = rows[name].combine_chunks().dictionary_encode(null_encoding="encode")
            keys = keys * len(encoded.dictionary) + encoded.indices.to_numpy()
        ordered = np.sort(keys)
        return np.isin(keys, ordered[1:][ordered[1:] == ordered[:-1]])

    def expectation(self, meta: dict[str, str]) -> Expectation:
        """Return the same for Great Expectations."""
        return _gxe().ExpectCompoundColumnsToBeUnique(
            column_list=list(self.columns), ignore_row_if="never", meta=meta
        )


def row_rules(group: FeatureGroup) -> tuple[Rule, ...]:
    """Return what each row of a group must fulfil."""
    return tuple(_rules(group))


def null_shares(group: FeatureGroup) -> tuple[Present, ...]:
    """Return how many rows of a batch may lack each feature."""
    limits = (
        (column.name, group.quality.max_null_share.of(column.name)) for column in group.served
    )
    return tuple(Present(name, limit) for name, limit in limits if limit is not None)


def violations(group: FeatureGroup, rows: pa.Table) -> dict[str, Mask]:
    """Return which rows break which rule, for the rules that some row breaks.

    Parameters
    ----------
    rows
        In the group's schema.
    """
    masks = ((rule.check, rule.broken(rows)) for rule in row_rules(group))
    return {check: mask for check, mask in masks if mask.any()}


def numbers(rows: pa.Table, column: str) -> Numbers:
    """Return a column of numbers or instants."""
    cells = rows[column]
    instants = pa.types.is_timestamp(cells.type)
    valid = _mask(pc.is_valid(cells))
    if instants:
        cells = cells.cast(pa.int64())
    filled = pc.fill_null(cells, 0) if cells.null_count else cells
    values = filled.to_numpy().astype(np.float64, copy=False)
    return Numbers(values / _MICROSECONDS if instants else values, valid)


def _rules(group: FeatureGroup) -> Iterator[Rule]:
    quality = group.quality
    for column in group.columns:
        if not column.nullable:
            yield Present(column.name)
        if column.dtype is Dtype.DOUBLE:
            yield _finite(column, quality.tolerance)
        if column.dtype is Dtype.INT64 and (column.low, column.high) != (None, None):
            yield _whole(column)
        if column.values:
            yield OneOf(column.name, column.values)
    for identity in quality.identities:
        yield Sum(identity.column, identity.parts, quality.tolerance)
    for earlier, later in quality.order:
        yield Before(earlier, later)
    yield Unique(group.key)


def _finite(column: Column, tolerance: float) -> Within:
    low = -LARGEST if column.low is None else column.low - tolerance
    high = LARGEST if column.high is None else column.high + tolerance
    return Within(column.name, low, high)


def _whole(column: Column) -> Within:
    """Return bounds that are whole numbers: beyond 2**53, a double would stand for several."""
    smallest, largest = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    low = int(smallest) if column.low is None else math.ceil(column.low)
    high = int(largest) if column.high is None else math.floor(column.high)
    return Within(column.name, low, high)


def _mask(values: pa.ChunkedArray) -> Mask:
    mask: Mask = values.to_numpy()
    return mask


def _gxe() -> Any:
    from great_expectations import expectations

    return expectations
