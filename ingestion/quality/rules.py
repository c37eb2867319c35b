"""What the rows of a feature group must fulfil, derived from the catalog: each rule declared once.

Each is a rule's ``expectation`` for Great Expectations, and its ``broken`` on whole columns, which
judges millions of rows of history, and whether a day's batch breaks anything at all. Rows are
parted by the rules that they break.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.catalog import Dtype, FeatureGroup, Identity
from ingestion.lakehouse.schema import ascends

if TYPE_CHECKING:
    from great_expectations.expectations import Expectation

LARGEST = sys.float_info.max
"""The largest finite number: the bound of a column that must only be finite."""
_MICROSECONDS = 1e6
_ROUNDING = 1e-9
FAILED = "failed"
"""Column of quarantined rows: the names of the checks that the row broke."""

_FAILED_TYPE = pa.list_(pa.string())

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


@dataclass(frozen=True)
class Rule:
    """A rule for rows; null passes, but where a value must be present."""

    check: str
    """Its name."""
    broken: Callable[[pa.Table], Mask]
    """Returns which rows break it."""
    expected: str
    """Great Expectations' name for the same."""
    arguments: Mapping[str, object]
    """Of that."""
    residual: Callable[[pa.Table], Numbers] | None = None
    """By how much a sum is missed, null where it cannot be judged: the column :attr:`check` of a
    batch, which is judged."""

    def expectation(self, meta: dict[str, str]) -> Expectation:
        """Return the same for Great Expectations, whose import takes seconds."""
        from great_expectations import expectations

        made: Expectation = getattr(expectations, self.expected)(**self.arguments, meta=meta)
        return made


def present(column: str, nulls: float | None = None) -> Rule:
    """Demand values; with ``nulls``, no larger share of nulls, of all rows together."""

    def broken(rows: pa.Table) -> Mask:
        cells = rows[column]
        if not cells.null_count:
            return np.zeros(len(cells), dtype=bool)
        return ~_mask(pc.is_valid(cells))

    return Rule(
        f"{column} present" if nulls is None else f"{column} null share",
        broken,
        "ExpectColumnValuesToNotBeNull",
        {"column": column, "mostly": 1 - (nulls or 0)},
    )


def within(column: str, low: float, high: float) -> Rule:
    """Demand numbers inside bounds, inclusive, and finite."""

    def broken(rows: pa.Table) -> Mask:
        cells = rows[column]
        if _are_inside(cells, low, high):
            return np.zeros(rows.num_rows, dtype=bool)
        inside = pc.and_(pc.greater_equal(cells, low), pc.less_equal(cells, high))
        return _mask(pc.invert(inside))

    bounds = {"column": column, "min_value": low, "max_value": high}
    return Rule(f"{column} bounds", broken, "ExpectColumnValuesToBeBetween", bounds)


def _are_inside(cells: pa.ChunkedArray, low: float, high: float) -> bool:
    """Return whether all numbers of a column are; False also where that takes a closer look.

    Most columns of history are, and this takes a fifth of the time that a mask takes.
    """
    for chunk in cells.chunks:
        own = chunk.drop_null() if chunk.null_count else chunk
        if len(own):
            values = to_numpy(own)
            # The extremes of what has a NaN are NaN, which is not inside.
            if not (low <= values.min() and values.max() <= high):
                return False
    return True


def one_of(column: str, values: tuple[str, ...]) -> Rule:
    """Demand texts of a list."""

    def broken(rows: pa.Table) -> Mask:
        cells = rows[column]
        known = pc.is_in(cells, pa.array(values, cells.type))
        return _mask(pc.and_(pc.is_valid(cells), pc.invert(known)))

    arguments = {"column": column, "value_set": list(values)}
    return Rule(f"{column} values", broken, "ExpectColumnValuesToBeInSet", arguments)


def is_sum(identity: Identity, tolerance: float) -> Rule:
    """Demand a column that is the weighted sum of others; a null part passes."""
    check = f"{identity.column} identity"

    columns = [identity.column, *(name for name, _ in identity.parts)]

    def residual(rows: pa.Table) -> Numbers:
        values, valid = numbers(rows, identity.column)
        with np.errstate(invalid="ignore"):  # an infinity less an infinity is broken too
            for name, weight in identity.parts:
                part = numbers(rows, name)
                values, valid = values - weight * part.values, valid & part.valid
        return Numbers(values, valid)

    def broken(rows: pa.Table) -> Mask:
        # A date at a time: what is made on the way stays in the processor's cache.
        masks = [np.zeros(0, dtype=bool)]
        for chunk in rows.select(columns).to_batches():
            values, valid = residual(chunk)
            masks.append(valid & ~(np.abs(values) <= tolerance))
        return np.concatenate(masks)

    bounds = {"column": check, "min_value": -tolerance, "max_value": tolerance}
    return Rule(check, broken, "ExpectColumnValuesToBeBetween", bounds, residual)


def before(earlier: str, later: str) -> Rule:
    """Demand two instants in their order."""
    return Rule(
        f"{earlier} before {later}",
        lambda rows: _mask(pc.greater_equal(rows[earlier], rows[later])),
        "ExpectColumnPairValuesAToBeGreaterThanB",
        {"column_A": later, "column_B": earlier, "ignore_row_if": "either_value_is_missing"},
    )


def unique(columns: tuple[str, ...]) -> Rule:
    """Demand a key that no other row of the batch has; null is a key too."""

    def broken(rows: pa.Table) -> Mask:
        if rows.num_rows and _are_apart(rows, columns):
            return np.zeros(rows.num_rows, dtype=bool)
        # A number for each row, equal where the columns are: numbers sort faster than texts
        # group. Those of two columns fit for as many rows as memory does.
        keys = np.zeros(rows.num_rows, dtype=np.int64)
        for name in columns:
            encoded = rows[name].combine_chunks().dictionary_encode(null_encoding="encode")
            keys = keys * len(encoded.dictionary) + to_numpy(encoded.indices)
        ordered = np.sort(keys)
        return np.isin(keys, ordered[1:][ordered[1:] == ordered[:-1]])

    arguments = {"column_list": list(columns), "ignore_row_if": "never"}
    return Rule("key unique", broken, "ExpectCompoundColumnsToBeUnique", arguments)


def _are_apart(rows: pa.Table, key: tuple[str, ...]) -> bool:
    """Return whether all keys differ, as one sees without sorting where dates follow each other.

    They do if they ascend inside each chunk, and a number of theirs from each chunk to the next.
    """
    number = next((name for name in key if pa.types.is_integer(rows.schema.field(name).type)), None)
    if number is None or rows[number].null_count:
        return False
    others = [name for name in key if name != number]
    last = ascending = None
    for chunk in rows.select(key).to_batches():
        own = to_numpy(chunk[number])
        if last is not None and last >= own.min():
            return False
        last, rest = own.max(), chunk.select(others)
        # Most dates have the symbols of the date before.
        if ascending is not None and rest.equals(ascending):
            continue
        if ascends(pa.Table.from_batches([rest]), others):
            ascending = rest
        elif not ascends(pa.Table.from_batches([chunk]), key):
            return False
    return True


def row_rules(group: FeatureGroup) -> tuple[Rule, ...]:
    """Return what each row of a group must fulfil."""
    return tuple(_rules(group))


def null_shares(group: FeatureGroup) -> tuple[Rule, ...]:
    """Return how many rows of a batch may lack each feature."""
    limits = (
        (column.name, group.quality.max_null_share.of(column.name)) for column in group.served
    )
    return tuple(present(name, limit) for name, limit in limits if limit is not None)


def may_be_broken(rule: Rule, rows: pa.Table) -> bool:
    """Return whether rows break a rule, or are as near to that as a rounding."""
    broken = rule.broken(rows)
    allowed = 1 - float(str(rule.arguments.get("mostly", 1)))
    return bool(broken.any()) and float(broken.mean()) > allowed - _ROUNDING


def violations(group: FeatureGroup, rows: pa.Table) -> dict[str, Mask]:
    """Return which rows break which rule, for the rules that some row breaks.

    Parameters
    ----------
    rows
        In the group's schema.
    """
    masks = ((rule.check, rule.broken(rows)) for rule in row_rules(group))
    return {check: mask for check, mask in masks if mask.any()}


class Parted(NamedTuple):
    """Rows in two halves, each in the order given."""

    accepted: pa.Table
    quarantined: pa.Table
    """With a last column :data:`FAILED`, a list of strings."""


def part(rows: pa.Table, broken: Mapping[str, Mask]) -> Parted:
    """Part rows by whether they break anything."""
    if not broken:
        return Parted(rows, rows.slice(0, 0).append_column(FAILED, pa.nulls(0, _FAILED_TYPE)))
    masks = list(broken.values())
    bad, names = np.logical_or.reduce(masks), np.array(list(broken))
    failed = [names[list(row)].tolist() for row in zip(*(mask[bad] for mask in masks), strict=True)]
    quarantined = _with_failed(rows.filter(from_numpy(bad)), failed)
    return Parted(rows.filter(from_numpy(~bad)), quarantined)


def all_quarantined(parted: Parted, checks: Sequence[str]) -> pa.Table:
    """Return all rows as quarantined for these checks, besides those that they broke already."""
    failed = [*([[]] * len(parted.accepted)), *parted.quarantined[FAILED].to_pylist()]
    rows = pa.concat_tables([parted.accepted, parted.quarantined.drop_columns([FAILED])])
    return _with_failed(rows, [[*own, *checks] for own in failed])


def _with_failed(rows: pa.Table, failed: list[list[str]]) -> pa.Table:
    return rows.append_column(FAILED, pa.array(failed, _FAILED_TYPE))


def numbers(rows: pa.Table, column: str) -> Numbers:
    """Return a column of numbers or instants."""
    cells = rows[column]
    instants = pa.types.is_timestamp(cells.type)
    valid = _mask(pc.is_valid(cells)) if cells.null_count else np.ones(len(cells), dtype=bool)
    values = to_numpy(cells, null=0).astype(np.float64, copy=False)
    return Numbers(values / _MICROSECONDS if instants else values, valid)


def _rules(group: FeatureGroup) -> Iterator[Rule]:
    quality = group.quality
    for column in group.columns:
        if not column.nullable:
            yield present(column.name)
        if column.dtype is Dtype.DOUBLE:
            low = -LARGEST if column.low is None else column.low - quality.tolerance
            high = LARGEST if column.high is None else column.high + quality.tolerance
            yield within(column.name, low, high)
        if column.dtype is Dtype.INT64 and (column.low, column.high) != (None, None):
            # Whole numbers: beyond 2**53, a double would stand for several.
            whole = np.iinfo(np.int64)
            least = int(whole.min) if column.low is None else math.ceil(column.low)
            most = int(whole.max) if column.high is None else math.floor(column.high)
            yield within(column.name, least, most)
        if column.values:
            yield one_of(column.name, column.values)
    for identity in quality.identities:
        yield is_sum(identity, quality.tolerance)
    for earlier, later in quality.order:
        yield before(earlier, later)
    yield unique(group.key)


def _mask(values: pa.ChunkedArray) -> Mask:
    """Return truth values; null is false."""
    if values.null_count:
        values = pc.and_kleene(values, pc.is_valid(values))
    return to_numpy(values)
