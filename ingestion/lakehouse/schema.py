"""Arrow schemas, derived from the catalog."""

from __future__ import annotations

import pyarrow as pa

from ingestion.catalog import Dataset, Dtype

_ARROW_TYPES: dict[Dtype, pa.DataType] = {
    Dtype.INT64: pa.int64(),
    Dtype.STRING: pa.string(),
    Dtype.BOOL: pa.bool_(),
    Dtype.DOUBLE: pa.float64(),
    Dtype.TIMESTAMP: pa.timestamp("us", tz="UTC"),
}


def arrow_schema(dataset: Dataset) -> pa.Schema:
    """Return the schema of every file of a dataset.

    Fields are nullable in the Parquet sense even where the catalog forbids nulls: readers differ
    in what they make of required columns, and :func:`append_part` checks the values.
    """
    return pa.schema([(column.name, _ARROW_TYPES[column.dtype]) for column in dataset.columns])
