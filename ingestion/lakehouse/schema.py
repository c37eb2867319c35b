"""A dataset's columns, as the catalog declares them, for Arrow; and the order of its rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base.arrow import from_numpy, to_numpy
from ingestion.base.columns import INSTANT, Column, may_widen
from ingestion.catalog import Dataset, Dtype

_ARROW_TYPES: dict[Dtype, pa.DataType] = {
    Dtype.INT64: pa.int64(),
    Dtype.STRING: pa.string(),
    Dtype.BOOL: pa.bool_(),
    Dtype.DOUBLE: pa.float64(),
    Dtype.TIMESTAMP: INSTANT,
}


def arrow_schema(dataset: Dataset) -> pa.Schema:
    """Return the schema of a part that is written now.

    Fields are nullable in the Parquet sense even where the catalog forbids nulls: readers differ
    in what they make of required columns, and :func:`append_part` checks the values.
    """
    return pa.schema([(column.name, _ARROW_TYPES[column.dtype]) for column in dataset.columns])


def columns_to_read(dataset: Dataset, names: Sequence[str] | None = None) -> list[Column]:
    """Return how some columns of a dataset are read, in the given order; all in the catalog's."""
    wanted = dataset.columns
    if names is not None:
        by_name = {column.name: column for column in dataset.columns}
        wanted = tuple(by_name[name] for name in names)
    return [
        Column(
            column.name,
            _ARROW_TYPES[column.dtype],
            required=not (column.nullable or column.retired),
        )
        for column in wanted
    ]


def misfits(dataset: Dataset, stored: pa.Schema, *, ordered: bool = True) -> list[str]:
    """Say why a part's columns cannot be read as the catalog declares the dataset; empty if so.

    The catalog may have more columns than the part, anywhere between, and a double where the part
    has an int64.

    Parameters
    ----------
    ordered
        Whether the part must have the catalog's order; Feast writes parts in any.
    """
    declared = arrow_schema(dataset)
    required = {column.name for column in columns_to_read(dataset) if column.required}
    found = [
        f"{name} is stored, and not declared: declare it again, with `retired=True` if it is no "
        "longer wanted"
        for name in stored.names
        if name not in declared.names
    ]
    for field in stored:
        if field.name in declared.names:
            kind = declared.field(field.name).type
            if stored.names.count(field.name) > 1:
                found.append(f"{field.name} is there twice")
            elif field.type != kind and not may_widen(field.type, kind):
                found.append(
                    f"{field.name} is stored as {field.type} and declared as {kind}: declare it as "
                    f"{field.type} again, and what is {kind} under another name"
                )
    if lacking := [name for name in declared.names if name in required - set(stored.names)]:
        found.append(
            f"{lacking[0]} is missing, and may not be null: a new column is null in parts that are "
            "older than it"
        )
    order = [name for name in stored.names if name in declared.names]
    if ordered and not found and order != [name for name in declared.names if name in order]:
        found.append(
            f"the columns are in another order ({', '.join(order)}): stored columns keep their "
            "order, new ones may stand anywhere between"
        )
    return found


def ascends(rows: pa.Table, names: Sequence[str]) -> bool:
    """Return whether each key is above the key before it: the rows are sorted and unique by it.

    Parameters
    ----------
    names
        The key's columns, the first of them counting most. A null is above nothing.
    """
    if rows.num_rows < 2:
        return True
    column = rows[names[0]]
    # As it is: the same array equals itself without a look at its texts.
    first = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    if any(first.equals(texts) for texts in tuple(_ascending)):
        return True
    if pa.types.is_string(first.type) and _all(_rises(rows, names[:1])):
        _ascending.append(first)
        return True
    return _all(_rises(rows, names))


def last_of_repeated(rows: pa.Table, key: Sequence[str]) -> pa.Table:
    """Return one row of each key that several rows have: the last one by the other columns.

    Parameters
    ----------
    key
        Columns; a null equals a null. The other columns count in their order.
    """
    if ascends(rows, key):
        return rows.slice(0, 0)
    others = [name for name in rows.column_names if name not in key]
    ordered = rows.take(pc.sort_indices(rows, [(name, "ascending") for name in (*key, *others)]))
    is_same = np.ones(rows.num_rows - 1, bool)
    for name in key:
        column = ordered[name].combine_chunks()
        before, after = column[:-1], column[1:]
        are_null = pc.and_(pc.is_null(before), pc.is_null(after))
        is_same &= to_numpy(pc.equal(before, after), null=0) | to_numpy(are_null)
    # Arrow's own `group_by` would import pandas.
    is_last = is_same & ~np.append(is_same[1:], False)
    return ordered.filter(from_numpy(np.append(False, is_last)))


_ascending: deque[pa.StringArray] = deque(maxlen=1)
"""The texts that were last seen to ascend: most dates have the symbols of the date before."""


def _rises(rows: pa.Table, names: Sequence[str]) -> pa.Array:
    """Return for each row but the first whether it is above the one before; null for a null."""
    name, *others = names
    column = rows[name].combine_chunks()
    before, after = column[:-1], column[1:]
    rises = pc.less(before, after)
    if not others or _all(rises):
        return rises
    return pc.or_(rises, pc.and_(pc.equal(before, after), _rises(rows, others)))


def _all(values: pa.Array) -> bool:
    return pc.all(values, skip_nulls=False).as_py() is True
