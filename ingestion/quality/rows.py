"""Row rules judged on whole columns, and rows parted by what they break.

This is the engine for history: millions of rows, a partition at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.catalog import FeatureGroup
from ingestion.quality.rules import Before, Holds, Present, Rule, Unique, Within, row_rules

FAILED = "failed"
"""Column of quarantined rows: the names of the checks that the row broke."""

_MICROSECONDS = 1e6

Mask = NDArray[np.bool_]


class Numbers(NamedTuple):
    """A column as numbers: instants in Unix seconds."""

    values: NDArray[np.float64]
    valid: Mask
    """False where the column is null; NaN and infinities are valid."""


class Parted(NamedTuple):
    """Rows in two halves, each in the order given."""

    accepted: pa.Table
    quarantined: pa.Table
    """With a last column :data:`FAILED`, a list of strings."""


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


def residual(rows: pa.Table, identity: Holds) -> Numbers:
    """Return by how much an identity is missed; null where it cannot be judged."""
    values, valid = numbers(rows, identity.column)
    with np.errstate(invalid="ignore"):  # an infinity less an infinity is broken too
        for name, weight in identity.parts:
            part = numbers(rows, name)
            values, valid = values - weight * part.values, valid & part.valid
    return Numbers(values, valid)


def violations(group: FeatureGroup, rows: pa.Table) -> dict[str, Mask]:
    """Return which rows break which rule, for the rules that some row breaks.

    Parameters
    ----------
    rows
        In the group's schema.
    """
    masks = ((rule.check, _broken(rule, rows)) for rule in row_rules(group))
    return {check: mask for check, mask in masks if mask.any()}


def part(rows: pa.Table, broken: Mapping[str, Mask]) -> Parted:
    """Part rows by whether they break anything."""
    masks = list(broken.values())
    bad = np.logical_or.reduce(masks) if masks else np.zeros(rows.num_rows, dtype=bool)
    names = np.array(list(broken))
    failed = [names[list(row)].tolist() for row in zip(*(mask[bad] for mask in masks), strict=True)]
    quarantined = _with_failed(rows.filter(pa.array(bad)), failed)
    return Parted(rows.filter(pa.array(~bad)) if bad.any() else rows, quarantined)


def all_quarantined(parted: Parted, checks: Sequence[str]) -> pa.Table:
    """Return all rows as quarantined for these checks, besides those that they broke already."""
    failed = [*([[]] * len(parted.accepted)), *parted.quarantined[FAILED].to_pylist()]
    rows = pa.concat_tables([parted.accepted, parted.quarantined.drop_columns([FAILED])])
    return _with_failed(rows, [[*own, *checks] for own in failed])


def _with_failed(rows: pa.Table, failed: list[list[str]]) -> pa.Table:
    return rows.append_column(FAILED, pa.array(failed, pa.list_(pa.string())))


def _broken(rule: Rule, rows: pa.Table) -> Mask:
    match rule:
        case Present(column):
            return ~_mask(pc.is_valid(rows[column]))
        case Within(column, low, high):
            cells = rows[column]
            inside = pc.and_(pc.greater_equal(cells, low), pc.less_equal(cells, high))
            return _mask(pc.fill_null(pc.invert(inside), False))
        case Holds(_, _, tolerance):
            return _outside(residual(rows, rule), -tolerance, tolerance)
        case Before(earlier, later):
            return _mask(pc.fill_null(pc.greater_equal(rows[earlier], rows[later]), False))
        case Unique(columns):
            return _repeated(rows, columns)


def _outside(column: Numbers, low: float, high: float) -> Mask:
    mask: Mask = column.valid & ~((column.values >= low) & (column.values <= high))
    return mask


def _repeated(rows: pa.Table, columns: Sequence[str]) -> Mask:
    keys = _numbered(rows, columns)
    ordered = np.sort(keys)
    again = ordered[1:] == ordered[:-1]
    return np.isin(keys, ordered[1:][again])


def _numbered(rows: pa.Table, columns: Sequence[str]) -> NDArray[np.int64]:
    """Return a number a row, equal where the columns are: numbers sort faster than texts group.

    Those of two columns fit for as many rows as memory does.
    """
    keys = np.zeros(rows.num_rows, dtype=np.int64)
    for name in columns:
        encoded = rows[name].combine_chunks().dictionary_encode(null_encoding="encode")
        keys = keys * len(encoded.dictionary) + encoded.indices.to_numpy()
    return keys


def _mask(values: pa.ChunkedArray) -> Mask:
    mask: Mask = values.to_numpy()
    return mask
