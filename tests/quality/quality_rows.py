"""Rows of both groups that hold everything, to be spoiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from ingestion.catalog import FeatureGroup
from ingestion.lakehouse import arrow_schema
from tests.declared import LOCAL_1D, TV_TECHNICALS_1D

EVENING = datetime(2021, 4, 12, 21, 30, tzinfo=UTC)


def names(count: int) -> list[str]:
    return [f"NASDAQ:S{number:05}" for number in range(count)]


def good_rows(
    group: FeatureGroup,
    count: int,
    at: datetime = EVENING,
    seed: int = 0,
    symbols: Sequence[str] | None = None,
) -> pa.Table:
    """One row a symbol, uniform between the bounds, of a bar that opened 8 hours before."""
    random = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        column.name: random.uniform(
            -50 if column.low is None else column.low,
            100 if column.high is None else column.high,
            count,
        )
        for column in group.features
    }
    columns["Recommend.All"] = (columns["Recommend.MA"] + columns["Recommend.Other"]) / 2
    columns |= {
        "timestamp": [int(at.timestamp())] * count,
        "symbol": list(symbols or names(count)),
        "event_timestamp": [at] * count,
        "created_timestamp": [at] * count,
        "bar_timestamp": [at - timedelta(hours=8)] * count,
        "bar_update_timestamp": [at - timedelta(hours=1)] * count,
    }
    schema = arrow_schema(group)
    return pa.table(
        [pa.array(columns[name], schema.field(name).type) for name in schema.names], schema=schema
    )


def spoiled(rows: pa.Table, changes: Mapping[str, Mapping[int, Any]]) -> pa.Table:
    """The same rows with some cells replaced: by column, by position."""
    for name, cells in changes.items():
        values = rows[name].to_pylist()
        for position, value in cells.items():
            values[position] = value
        index = rows.schema.get_field_index(name)
        rows = rows.set_column(
            index, rows.schema.field(index), pa.array(values, rows.schema.field(index).type)
        )
    return rows


def technicals(count: int, **changes: Any) -> pa.Table:
    return good_rows(TV_TECHNICALS_1D, count, **changes)


def local(count: int, **changes: Any) -> pa.Table:
    return good_rows(LOCAL_1D, count, **changes)
